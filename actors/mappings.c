/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's limit on the memory mappings of a process (vm.max_map_count). An isolate takes
 * several, and V8 ends the process when it cannot have one more: so an isolate that might not fit
 * is not begun.
 *
 * Counting them takes the kernel a moment, so it is done only when all that were free at the last
 * count may be in use, and not again and again while none are.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/internal.h"
#include "base/clock.h"

/* Of an isolate that begins: heap pages, code, tables. */
#define PER_ISOLATE 12
/* Left to what lives: heaps grow, threads start. */
#define RESERVE 1500
/* Between two counts that find nothing free, ms. */
#define RECOUNT_MS 1000

static struct {
    pthread_mutex_t lock;
    long left; /* that may be free; < 0: to be counted */
    long limit;
    uint64_t full_at; /* when a count found nothing free, ms; 0: it did not */
} maps = {.lock = PTHREAD_MUTEX_INITIALIZER, .left = -1};

/* The number a file of /proc holds; -1 when it cannot be read. */
static long number_in(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    return n > 0 ? strtol(text, NULL, 10) : -1;
}

/* Lines of /proc/self/maps; -1 when it cannot be read. */
static long count_maps(void)
{
    char text[16384];
    long lines = 0;
    ssize_t n;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    while ((n = read(fd, text, sizeof(text))) > 0)
        for (char *p = text; (p = memchr(p, '\n', (size_t)(text + n - p))) != NULL; p++)
            lines++;
    close(fd);
    return n < 0 ? -1 : lines;
}

static void count(void)
{
    long used = count_maps();
    maps.limit = number_in("/proc/sys/vm/max_map_count");
    maps.left = used < 0 || maps.limit < 0 ? LONG_MAX : maps.limit - RESERVE - used;
    maps.full_at = maps.left < PER_ISOLATE ? isola_clock_ms() : 0;
}

int isola__mappings_take(struct isola_err *err)
{
    pthread_mutex_lock(&maps.lock);
    bool counted = maps.full_at != 0 && isola_clock_ms() - maps.full_at < RECOUNT_MS;
    if (maps.left < PER_ISOLATE && !counted)
        count();
    bool fits = maps.left >= PER_ISOLATE;
    long limit = maps.limit;
    if (fits)
        maps.left -= PER_ISOLATE;
    pthread_mutex_unlock(&maps.lock);
    if (fits)
        return 0;
    return isola_fail(err, ISOLA_EOVERLOAD,
                      "no room for one more isolate: the kernel allows this process %ld memory "
                      "mappings (sysctl vm.max_map_count), of which nearly all are in use",
                      limit);
}
