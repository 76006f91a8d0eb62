/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands that make a release current have in common.
 */
#ifndef ISOLA_CLI_DEPLOY_H
#define ISOLA_CLI_DEPLOY_H

#include "cli/cli.h"
#include "store/catalog.h"

/* Says who deploys, and what they say of it (--message). Sets r->by and r->message, the caller's to
 * free. ISOLA_EINVAL: the message is too long, or not UTF-8. */
LOOP_THREAD ISOLA_MUST_USE int isola__deploy_note(struct isola__cli *cli, struct isola_release *r,
                                                  struct isola_err *err);
/* Signs it with one's own key; leaves it unsigned when there is none. ISOLA_EIO, ISOLA_EPERM: the
 * key cannot be used. */
POOL_THREAD ISOLA_MUST_USE int isola__deploy_sign(struct isola_release *r, struct isola_err *err);
/* The same of what has this hash, and is of `app`; *is_signed stays as it is when there is no key.
 */
POOL_THREAD ISOLA_MUST_USE int isola__sign(const char *app,
                                           const uint8_t hash[ISOLA_RELEASE_HASH_SIZE],
                                           uint8_t signature[ISOLA_RELEASE_SIGNATURE],
                                           bool *is_signed, struct isola_err *err);
/* Appends lines with the nodes that have the release, and those that get it later. */
ANY_THREAD void isola__deploy_nodes(const json_t *result, struct isola_buf *out);
/* Appends a line with the instances of services that run a canary ("instances" of `result`), behind
 * this title; nothing when there are none. */
ANY_THREAD void isola__deploy_instances(const json_t *result, const char *title,
                                        struct isola_buf *out);

#endif
