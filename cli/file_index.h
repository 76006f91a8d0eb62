/* SPDX-License-Identifier: Apache-2.0
 *
 * The hashes of an app's files as they were at the last deploy, with what says whether a file is
 * still the same: size, inode, and the times of its last changes. As git's index does, a file that
 * was changed so shortly before the index was written that a later change could have the same time
 * is not believed.
 *
 * It lies in $XDG_CACHE_HOME/isola or ~/.cache/isola, a file for each app's directory. Whatever is
 * wrong with it, or with writing it, costs time alone.
 */
#ifndef ISOLA_CLI_FILE_INDEX_H
#define ISOLA_CLI_FILE_INDEX_H

#include <sys/stat.h>

#include "store/tree.h"

struct isola__file_index;

/* That of the app in `dir`; an empty one when there is none. The caller frees. */
ANY_THREAD struct isola__file_index *isola__file_index_open(const char *dir);
/* The hashes of a regular file at `path`, if it is still the one that has them: NULL: not known.
 * Borrowed from the index. */
ANY_THREAD const struct isola_hash *isola__file_index_find(const struct isola__file_index *x,
                                                           const char *path, const struct stat *st);
/* Notes them, for the next time; copies. `known`: isola__file_index_find had them. */
ANY_THREAD void isola__file_index_note(struct isola__file_index *x, const char *path,
                                       const struct stat *st, const struct isola_hash *hashes,
                                       bool known);
/* Writes what was noted, if any of it is new or something is gone; frees. */
ANY_THREAD void isola__file_index_close(struct isola__file_index *x);

/* "CACHE/isola/NAME", and the directory is there; NULL: there is no place for it. The caller frees.
 */
ANY_THREAD char *isola__cache_path(const char *name);

#endif
