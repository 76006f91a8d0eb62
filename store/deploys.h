/* SPDX-License-Identifier: Apache-2.0
 *
 * The deploys of an app: which release each made current, when and by whom, the newest first.
 *
 * A roll-back is a deploy too, one that restores an earlier one. So the list is read as a pile: a
 * deploy is laid on top of what was current, a roll-back takes off what lies above the one it
 * restores. One more roll-back therefore goes further back, never forth to what was just left.
 *
 * A canary is in the list too, but not in the pile: it lies beside what is current until another
 * deploy ends it, and a deploy that promotes it is one as any. A roll-back that drops it restores
 * what is current.
 *
 * Invariants: revisions fall along the list; what a roll-back restores is no roll-back itself.
 */
#ifndef ISOLA_STORE_DEPLOYS_H
#define ISOLA_STORE_DEPLOYS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "store/catalog.h"

#define ISOLA_RELEASES_KEPT 10  /* of an app, the last ones */
#define ISOLA_DEPLOYS_KEPT  100 /* of an app, likewise */

struct isola_deploy {
    uint64_t revision;
    uint64_t
        restores;   /* of a roll-back: the revision of the deploy that it restores; 0 of others */
    uint32_t share; /* of a canary: of a million; such a one has never been current */
    int64_t deployed_ms; /* since 1970 */
    char release[ISOLA_RELEASE_ID_SIZE];
    char *by;      /* who says to have asked for it, "user@host"; "" when not known */
    char *message; /* what they say of it; may be "" */
};

struct isola_deploys {
    struct isola_deploy *list; /* the newest first */
    size_t count;
};

ANY_THREAD void isola_deploys_free(struct isola_deploys *deploys);
/* Adds one behind the others; takes what it holds. */
ANY_THREAD void isola_deploys_add(struct isola_deploys *deploys, struct isola_deploy *deploy);

/* The list on the wire: an array of maps {revision, release, deployed_ms, by, message, restores,
 * share},
 * both ways. read copies, and refuses what is malformed or not in order with ISOLA_EPROTO. */
ANY_THREAD void isola_deploys_write(const struct isola_deploys *deploys, struct isola_buf *out);
ANY_THREAD ISOLA_MUST_USE int isola_deploys_read(struct isola_slice array,
                                                 struct isola_deploys *out, struct isola_err *err);

/* The one that made current what is: the first that is no canary. NULL: there is none. */
ANY_THREAD const struct isola_deploy *isola_deploys_current(const struct isola_deploys *deploys);
/* The deploy that one more roll-back would restore: the first below the current one in the pile
 * that has another release. NULL: there is none. */
ANY_THREAD const struct isola_deploy *isola_deploys_back(const struct isola_deploys *deploys);
/* The last deploy of the release whose id begins with `id` (1 to 16 hex digits). ISOLA_EINVAL: it
 * is no such thing, or there are several; ISOLA_ENOENT, with those there are. */
ANY_THREAD ISOLA_MUST_USE int isola_deploys_find(const struct isola_deploys *deploys,
                                                 const char *app, struct isola_slice id,
                                                 const struct isola_deploy **out,
                                                 struct isola_err *err);
/* The deploy that `deploy` restores, when it is a roll-back and that one is still known; else
 * itself. */
ANY_THREAD const struct isola_deploy *isola_deploys_base(const struct isola_deploys *deploys,
                                                         const struct isola_deploy *deploy);
/* Sets keep[i] for those to be kept: the last ISOLA_DEPLOYS_KEPT, as far as they are of the last
 * ISOLA_RELEASES_KEPT releases; and whatever they are, the current one and those that two
 * roll-backs from it go to. */
ANY_THREAD void isola_deploys_keep(const struct isola_deploys *deploys, bool *keep);

#endif
