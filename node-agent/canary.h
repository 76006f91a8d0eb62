/* SPDX-License-Identifier: Apache-2.0
 *
 * Canaries: a release that is tried beside its app's current one, for a share of the app
 * (base/canary.h, base/roster.h), until it is promoted, dropped, or another deploy ends it.
 *
 * It is prepared by all as any release. The commit is of the app as a whole, the current release
 * and what is tried beside it, at one revision: so nodes agree about both, and who was away fetches
 * both.
 */
#ifndef ISOLA_NODE_AGENT_CANARY_H
#define ISOLA_NODE_AGENT_CANARY_H

#include "base/annotate.h"
#include "store/catalog.h"

struct isola__agent;
struct isola__current;

/* The share that the parameters of a `deploy` or `commit` have, of a million; 0: they have none.
 * ISOLA_EINVAL. */
LOOP_THREAD ISOLA_MUST_USE int isola__canary_read(struct isola_slice params, uint32_t *share,
                                                  struct isola_err *err);
/* Whatever came beside `r` is let go of. */
LOOP_THREAD void isola__canary_strip(struct isola_release *r);
/* May `r` be tried for so much? *same: it is being. ISOLA_EINVAL, with what to do. */
LOOP_THREAD ISOLA_MUST_USE int isola__canary_check(struct isola__agent *agent,
                                                   const struct isola_release *r, uint32_t share,
                                                   bool *same, struct isola_err *err);
/* The app's current release, to be put with `r` beside it: at r's revision, with its note, and
 * with these nodes (copied).
 * NULL: there is none, or it cannot be read. Borrows `r` until isola__canary_free. */
LOOP_THREAD struct isola_release *isola__canary_beside(struct isola__agent *agent,
                                                       struct isola_release *r, uint32_t share,
                                                       const struct isola_roster *roster,
                                                       struct isola_err *err);
LOOP_THREAD void isola__canary_free(struct isola_release *beside);
/* The release that is tried. ISOLA_ENOENT, with what to do. */
LOOP_THREAD ISOLA_MUST_USE int isola__canary_of(struct isola__agent *agent, const char *app,
                                                char id[ISOLA_RELEASE_ID_SIZE],
                                                struct isola_err *err);

/* What this node has of a service of the app's current release while there is a canary of it: none
 * of the canary when that has no such service, or this node had not prepared it. */
LOOP_THREAD struct isola_roster_part isola__canary_part(const struct isola__agent *agent,
                                                        const char *app,
                                                        const struct isola__current *current,
                                                        const char *type);
/* Appends key "instances": those of services that run the app's canary, on all nodes, or are to:
 * [{node, address}…], the first thousand. */
LOOP_THREAD void isola__canary_put_instances(struct isola__agent *agent, const char *app,
                                             struct isola_buf *out);

#endif
