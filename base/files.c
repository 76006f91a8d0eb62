/* SPDX-License-Identifier: Apache-2.0 */
#include "base/files.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

int isola_write_all(int fd, struct isola_slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes.data += n;
        bytes.len -= (size_t)n;
    }
    return 0;
}

int isola_dir_make_above(const char *path, mode_t mode)
{
    char *copy = isola_strdup(path);
    int rc = 0;
    for (char *at = strchr(copy + 1, '/'); rc == 0 && at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(copy, mode) != 0 && errno != EEXIST)
            rc = -1;
        *at = '/';
    }
    free(copy);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st, (void)flag, (void)at;
    return remove(path);
}

int isola_dir_remove(const char *dir)
{
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT ? -1 : 0;
}
