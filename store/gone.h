/* SPDX-License-Identifier: Apache-2.0
 *
 * Apps that were deleted, as the catalog keeps them: that they were, and at which revision, so that
 * a node that was away learns of it and does not bring them back. Whatever of the app has a lower
 * revision is gone: releases, the list of deploys, secrets. A deploy after it has a higher one, and
 * the app is there again; the entry stays.
 */
#ifndef ISOLA_STORE_GONE_H
#define ISOLA_STORE_GONE_H

#include "store/catalog.h"

struct isola_gone {
    const char *app;
    uint64_t revision;  /* 1 … 2^63 - 1; the higher one holds */
    int64_t deleted_ms; /* since 1970 */
    const char *by;     /* who says to have asked for it, "user@host"; may be "" */
    bool state;         /* what its actors kept goes too */
    bool todo;          /* it has not gone yet on this node */
    bool is_signed;
    uint8_t signature[ISOLA_RELEASE_SIGNATURE]; /* by who deletes it (isola_gone_hash) */
};

/* What is signed of it, in place of a release's hash. */
ANY_THREAD void isola_gone_hash(const struct isola_gone *gone,
                                uint8_t hash[ISOLA_RELEASE_HASH_SIZE]);

/* Deletes the app, in one transaction. `todo` is not looked at: it is so when `state` is, or was
 * and had not gone. ISOLA_EEXIST: the app, or an entry of it, has this revision or a higher one
 * already. */
POOL_THREAD ISOLA_MUST_USE int
isola_catalog_delete(struct isola_catalog *c, const struct isola_gone *gone, struct isola_err *err);
/* Its state has gone on this node. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_wiped(struct isola_catalog *c, const char *app,
                                                   struct isola_err *err);
/* Calls `each` (borrowed for the call; it must not use the catalog) for all, by app. */
POOL_THREAD ISOLA_MUST_USE int
isola_catalog_gone(struct isola_catalog *c, void (*each)(const struct isola_gone *gone, void *arg),
                   void *arg, struct isola_err *err);

#endif
