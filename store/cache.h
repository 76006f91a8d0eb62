/* SPDX-License-Identifier: Apache-2.0
 *
 * The package cache (`DIR/cache.db`): the pieces of the files that releases have, each once, under
 * its BLAKE2b-256, whichever apps, releases and paths it is of.
 *
 * What is read is checked against its name; a damaged piece is dropped, so that it is fetched
 * again. Any thread; calls wait for each other.
 */
#ifndef ISOLA_STORE_CACHE_H
#define ISOLA_STORE_CACHE_H

#include "store/tree.h"

struct isola_cache;

POOL_THREAD ISOLA_MUST_USE int isola_cache_open(const char *path, struct isola_cache **out,
                                                struct isola_err *err);
POOL_THREAD void isola_cache_close(struct isola_cache *c);

/* Leaves those of the `*n` hashes that are not there, each once, in their order. */
POOL_THREAD ISOLA_MUST_USE int isola_cache_missing(struct isola_cache *c, struct isola_hash *hashes,
                                                   size_t *n, struct isola_err *err);
/* The same of a tree: `*out` is allocated, the caller frees. */
POOL_THREAD ISOLA_MUST_USE int isola_cache_lacks(struct isola_cache *c, const struct isola_tree *t,
                                                 struct isola_hash **out, size_t *n,
                                                 struct isola_err *err);
/* Keeps the pieces, in one transaction: on disk when it returns 0. Those that are there already are
 * left. ISOLA_ETOOBIG: one is longer than ISOLA_PIECE_MAX. ISOLA_EIO also when the disk would have
 * too little room then for what actors keep (store/room.h). */
POOL_THREAD ISOLA_MUST_USE int isola_cache_put(struct isola_cache *c,
                                               const struct isola_slice *pieces, size_t n,
                                               struct isola_err *err);
/* Appends a piece. ISOLA_ENOENT; ISOLA_EIO: it was damaged, and is not there any more. */
POOL_THREAD ISOLA_MUST_USE int isola_cache_get(struct isola_cache *c, const struct isola_hash *hash,
                                               struct isola_buf *out, struct isola_err *err);
struct isola_cache_counts {
    uint64_t pieces, bytes;
};
/* Drops what none of the trees has and was stored before `before`, ms since 1970 (what is younger
 * may be of a deploy that is under way); `gone` counts it. Its room goes back to the disk. */
POOL_THREAD ISOLA_MUST_USE int isola_cache_collect(struct isola_cache *c,
                                                   const struct isola_tree *const *trees, size_t n,
                                                   int64_t before, struct isola_cache_counts *gone,
                                                   struct isola_err *err);
/* What there is, and of that what the trees have. */
POOL_THREAD ISOLA_MUST_USE int isola_cache_count(struct isola_cache *c,
                                                 const struct isola_tree *const *trees, size_t n,
                                                 struct isola_cache_counts *all,
                                                 struct isola_cache_counts *used,
                                                 struct isola_err *err);

#endif
