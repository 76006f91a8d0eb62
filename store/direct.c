/* SPDX-License-Identifier: Apache-2.0 */
#include "store/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

/* The kernel wants memory that lies so, for any disk. */
#define MEMORY_UNIT 4096

struct isola__direct {
    int fd;
    uint8_t *room; /* ISOLA__DIRECT_MOST */
};

struct isola__direct *isola__direct_open(const char *path)
{
    void *room = NULL;
    int fd = open(path, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (posix_memalign(&room, MEMORY_UNIT, ISOLA__DIRECT_MOST) != 0) {
        close(fd);
        return NULL;
    }
    struct isola__direct *d = isola_zalloc(sizeof(*d));
    d->fd = fd;
    d->room = room;
    return d;
}

void isola__direct_close(struct isola__direct *d)
{
    if (d == NULL)
        return;
    close(d->fd);
    free(d->room);
    free(d);
}

int isola__direct_write(struct isola__direct *d, const void *p, size_t n, int64_t at)
{
    ISOLA_CHECK(n <= ISOLA__DIRECT_MOST && n % ISOLA__DIRECT_UNIT == 0 &&
                at % ISOLA__DIRECT_UNIT == 0);
    memcpy(d->room, p, n);
    for (size_t done = 0; done < n;) {
        ssize_t got = pwrite(d->fd, d->room + done, n - done, at + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EIO;
        done += (size_t)got; /* of whole units, or the next is EINVAL */
    }
    return 0;
}
