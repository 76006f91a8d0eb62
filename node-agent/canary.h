/* SPDX-License-Identifier: Apache-2.0
 *
 * Canaries: a release that is tried beside its app's current one, for a share of the app
 * (base/canary.h), until it is promoted, dropped, or another deploy ends it.
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
/* The app's current release, to be put with `r` beside it: at r's revision, and with its note.
 * NULL: there is none, or it cannot be read. Borrows `r` until isola__canary_free. */
LOOP_THREAD struct isola_release *isola__canary_beside(struct isola__agent *agent,
                                                       struct isola_release *r, uint32_t share,
                                                       struct isola_err *err);
LOOP_THREAD void isola__canary_free(struct isola_release *beside);
/* The release that is tried. ISOLA_ENOENT, with what to do. */
LOOP_THREAD ISOLA_MUST_USE int isola__canary_of(struct isola__agent *agent, const char *app,
                                                char id[ISOLA_RELEASE_ID_SIZE],
                                                struct isola_err *err);

#endif
