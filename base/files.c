/* SPDX-License-Identifier: Apache-2.0 */
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
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

ssize_t isola_read_all(int fd, void *to, size_t max)
{
    size_t at = 0;
    while (at < max) {
        ssize_t n = read(fd, (char *)to + at, max - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return (ssize_t)at;
}

static int read_regular(int fd, size_t max, struct isola_buf *out)
{
    struct stat st;
    uint8_t block[16384];
    if (fstat(fd, &st) != 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    for (bool ended = false; max > 0 && !ended;) {
        size_t most = max < sizeof(block) ? max : sizeof(block);
        ssize_t n = isola_read_all(fd, block, most);
        if (n < 0)
            return -1;
        isola_buf_append(out, block, (size_t)n);
        max -= (size_t)n;
        ended = (size_t)n < most;
    }
    errno = ENOMEM;
    return out->failed ? -1 : 0;
}

int isola_file_read(const char *path, size_t max, struct isola_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    int rc = read_regular(fd, max, out), e = errno;
    close(fd);
    errno = e;
    return rc;
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

bool isola_dir_has(const char *dir, const char *name)
{
    char *path = isola_format("%s/%s", dir, name);
    bool has = access(path, F_OK) == 0;
    free(path);
    return has;
}

int isola_dir_remove(const char *dir)
{
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT ? -1 : 0;
}
