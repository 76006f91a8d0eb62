/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands have in common: checking operands, and a call of one of the agent's methods
 * from connect to result.
 */
#ifndef ISOLA_CLI_CALL_H
#define ISOLA_CLI_CALL_H

#include "cli/cli.h"

struct isola_msg;

/* How long the agent may take to answer ps, nodes and logs: it gives each of its peers two seconds.
 */
#define ISOLA__STATUS_MS 10000u

/* Whether `operand` is an address, or can be an app's name; if not, tells so (wrong usage). */
LOOP_THREAD ISOLA_MUST_USE bool isola__check_address(struct isola__cli *cli, const char *operand);
LOOP_THREAD ISOLA_MUST_USE bool isola__check_app(struct isola__cli *cli, const char *operand);

/* Whether the cluster has the app, or the actor type, that `of` names; if not, or when that cannot
 * be learned, tells so. */
LOOP_THREAD ISOLA_MUST_USE bool isola__find(struct isola__cli *cli, const char *of);

/* --timeout, or `otherwise`. */
ANY_THREAD uint32_t isola__wait_ms(const struct isola__cli *cli, uint32_t otherwise);

/* The value of a REPLY as JSON: an object, which has the array `list` unless that is NULL. NULL: it
 * is something else, or a FAIL, and that has been told. The caller owns it. */
LOOP_THREAD json_t *isola__result(struct isola__cli *cli, const struct isola_msg *answer,
                                  const char *list);
/* Connects, calls `method`, closes: the agent's answer, which the caller frees; NULL: there is
 * none, and it has been told why. Takes what `params` holds. `wait_ms`: for the answer, unless
 * --timeout says otherwise. */
LOOP_THREAD struct isola_msg *isola__request(struct isola__cli *cli, const char *method,
                                             struct isola_buf *params, uint32_t wait_ms);
/* Connects, calls `method`, closes; the result as above. Takes what `params` holds. `wait_ms`: for
 * the answer, unless --timeout says otherwise. */
LOOP_THREAD json_t *isola__call(struct isola__cli *cli, const char *method,
                                struct isola_buf *params, uint32_t wait_ms, const char *list);

/* Appends a line with the nodes that did not answer, and what that means; nothing when all have. */
ANY_THREAD void isola__list_unreachable(const json_t *names, const char *meaning, bool colour,
                                        struct isola_buf *out);

/* The same of `value`, for what is no table: writes `note` to stderr, and behind it a line for each
 * node. Takes what `note` holds. */
LOOP_THREAD void isola__tell_missing(const json_t *value, const char *meaning,
                                     struct isola_buf *note);

/* The text of a JSON string, empty for anything else. Borrowed from `v`. */
ANY_THREAD struct isola_slice isola__text_of(const json_t *v);

#endif
