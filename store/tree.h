/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of an app, as its release names them: of each its path, whether it can be run, its
 * size, and the BLAKE2b-256 of its pieces, which are in the package cache (cache.h).
 *
 * Its bytes are canonical, the paths in the order of their bytes: the same files give the same
 * bytes, wherever they lie. They are hostile until decoded. What has been decoded can be written
 * below a directory without leaving it: no path leads up, none goes through a link, and of a link's
 * target only the beginning leads up, and never out.
 */
#ifndef ISOLA_STORE_TREE_H
#define ISOLA_STORE_TREE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

#define ISOLA_TREE_FILES 200000u             /* the most of one app */
#define ISOLA_TREE_BYTES ((uint64_t)4 << 30) /* of all its files, at the most */
#define ISOLA_TREE_TEXT  ((size_t)48 << 20)  /* of its encoded form, at the most */
#define ISOLA_PIECE_MAX  (4u << 20)          /* bytes of a piece; all but a file's last have them */
#define ISOLA_HASH_SIZE  32u                 /* BLAKE2b-256 */

struct isola_hash {
    uint8_t bytes[ISOLA_HASH_SIZE];
};
ANY_THREAD struct isola_hash isola_hash_of(struct isola_slice content);

enum isola_tree_kind { ISOLA_TREE_FILE, ISOLA_TREE_PROGRAM, ISOLA_TREE_LINK };

struct isola_tree_entry {
    char *path; /* relative to the app's directory, "/" between its names */
    enum isola_tree_kind kind;
    char *target;              /* of a link; else NULL */
    uint64_t size;             /* of a file; its pieces follow from it */
    struct isola_hash *pieces; /* isola_tree_pieces() of them */
};

struct isola_tree {
    struct isola_tree_entry *entries;
    size_t n, room;
    uint64_t bytes; /* of all files */
};

/* How many pieces a file of so many bytes has. */
static inline size_t isola_tree_pieces(uint64_t size)
{
    return (size_t)((size + ISOLA_PIECE_MAX - 1) / ISOLA_PIECE_MAX);
}

/* Adds a file or a link; copies. In any order, before isola_tree_encode. */
ANY_THREAD void isola_tree_add(struct isola_tree *t, const struct isola_tree_entry *entry);
/* Sorts, and appends its bytes. ISOLA_EINVAL and ISOLA_ETOOBIG as isola_tree_decode. */
ANY_THREAD ISOLA_MUST_USE int isola_tree_encode(struct isola_tree *t, struct isola_buf *out,
                                                struct isola_err *err);
/* Fills `out`, for isola_tree_free. ISOLA_EINVAL: it is no tree, not canonical, or leads out, with
 * the path concerned; ISOLA_ETOOBIG: more than is allowed. */
ANY_THREAD ISOLA_MUST_USE int isola_tree_decode(struct isola_slice bytes, struct isola_tree *out,
                                                struct isola_err *err);
ANY_THREAD void isola_tree_free(struct isola_tree *t);
/* The entry at `path`, or NULL; of a tree that was encoded or decoded. */
ANY_THREAD const struct isola_tree_entry *isola_tree_find(const struct isola_tree *t,
                                                          struct isola_slice path);

#endif
