/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory of a test's own, under /tmp, and its end.
 */
#ifndef ISOLA_TESTS_TEMPDIR_H
#define ISOLA_TESTS_TEMPDIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEMPDIR_SIZE 64

/* Makes one, that nobody else may look into, and writes its path. 0, or -1 with errno. */
static inline int tempdir_make(char dir[TEMPDIR_SIZE])
{
    strcpy(dir, "/tmp/isola-test-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static inline int tempdir_remove_one(const char *path, const struct stat *st, int flag,
                                     struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* Removes it with all that is in it, through no link. 0, or -1 with errno. */
static inline int tempdir_remove(const char *dir)
{
    return nftw(dir, tempdir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int tempdir_clear_one(const char *path, const struct stat *st, int flag,
                                    struct FTW *ftw)
{
    return ftw->level == 0 ? 0 : tempdir_remove_one(path, st, flag, ftw);
}

/* Removes what is in it. 0, or -1 with errno. */
static inline int tempdir_clear(const char *dir)
{
    return nftw(dir, tempdir_clear_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
