/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of a tree, from the package cache into a directory.
 */
#ifndef ISOLA_STORE_UNPACK_H
#define ISOLA_STORE_UNPACK_H

#include "store/cache.h"

/* Writes the files of a tree into the new directory `dir`, whose parent is there: all of them, on
 * disk, or there is no `dir`. What an earlier attempt has left is removed. `spare` (or NULL): a
 * directory of the same parent that was made so and that nobody uses any more; it is gone then, and
 * what in it is as the tree has it was not written again. It need not be there. ISOLA_EEXIST: `dir`
 * is there; ISOLA_ENOENT: a piece is missing; ISOLA_EIO, ISOLA_EPERM. */
POOL_THREAD ISOLA_MUST_USE int isola_cache_unpack(struct isola_cache *c, const struct isola_tree *t,
                                                  const char *dir, const char *spare,
                                                  struct isola_err *err);

/* reuse.c: removes from `dir` all that is not as the tree has it, and what it has not; notes in
 * `kept` (one for each entry) what is left. 0, or -1 with errno: it cannot be used. */
POOL_THREAD ISOLA_MUST_USE int isola__tree_keep(const struct isola_tree *t, const char *dir,
                                                bool *kept);

#endif
