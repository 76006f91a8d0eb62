/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting until a release that has become current has proven itself, or has failed (--wait).
 */
#ifndef ISOLA_CLI_ROLLOUT_H
#define ISOLA_CLI_ROLLOUT_H

#include "cli/cli.h"

/* How long it is waited for, unless --timeout says otherwise: the manifest has a deadline too. */
#define ISOLA__ROLLOUT_MS 900000u

/* `result`: what the agent has said to `deploy` or `rollback`; gets a key "rollout", what was seen.
 * `begun`: when the command began, ms, from which on --timeout counts. `dir`: the app's, for the
 * code around an error, or NULL. False: it has failed, or could not be waited for, and that has
 * been told. */
LOOP_THREAD ISOLA_MUST_USE bool isola__rollout_wait(struct isola__cli *cli, json_t *result,
                                                    uint64_t begun, const char *dir);
/* Appends a line of what was seen, if it was waited for. */
ANY_THREAD void isola__rollout_line(const json_t *result, struct isola_buf *out);

/* What `ps` says of the app that the operand is of, before a restart; NULL: told why there is none.
 * The caller owns it. */
LOOP_THREAD json_t *isola__restart_rows(struct isola__cli *cli);
/* The same of instances of services that were told to restart: `instances` as `service` says,
 * `before` as above. False as above. */
LOOP_THREAD ISOLA_MUST_USE bool isola__restart_wait(struct isola__cli *cli, const json_t *instances,
                                                    const json_t *before);

#endif
