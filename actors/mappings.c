/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's limit on the memory mappings of a process (vm.max_map_count). An isolate takes
 * several, and V8 ends the process when it cannot have one more: so an isolate that might not fit
 * is not begun.
 *
 * Before that, when few are left, isolates that have been idle longest hibernate (memory.c).
 *
 * Counting takes the kernel a moment: it is done when all that were free at the last count may be
 * in use, and once a second while few are.
 */
#include "actors/mappings.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/host_own.h"
#include "base/clock.h"

/* Of an isolate that begins, at the most: code, tables, heap pages that lie alone. */
#define PER_ISOLATE 12
/* Left to what lives: heaps grow, threads start. */
#define RESERVE 1500
/* Few are left: isolates should go. */
#define FEW (128 * PER_ISOLATE)
/* Between two counts while few are left, ms. */
#define RECOUNT_MS 1000

static struct {
    pthread_mutex_t lock;
    long left; /* that are free for certain */
    long limit;
    bool few;            /* at the last count */
    uint64_t counted_at; /* ms */
} maps = {.lock = PTHREAD_MUTEX_INITIALIZER};

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

static void count(uint64_t now)
{
    long used = count_maps();
    maps.limit = number_in("/proc/sys/vm/max_map_count");
    maps.left = used < 0 || maps.limit < 0 ? LONG_MAX : maps.limit - RESERVE - used;
    maps.few = maps.left < FEW;
    maps.counted_at = now;
}

bool isola__mappings_plenty(void)
{
    pthread_mutex_lock(&maps.lock);
    bool fits = !maps.few && maps.left >= FEW;
    if (fits)
        maps.left -= PER_ISOLATE;
    pthread_mutex_unlock(&maps.lock);
    return fits;
}

int isola__mappings_take(struct isola_host *h, struct isola_err *err)
{
    uint64_t now = isola_clock_ms();
    pthread_mutex_lock(&maps.lock);
    if (maps.few ? now - maps.counted_at >= RECOUNT_MS : maps.left < FEW)
        count(now);
    bool fits = maps.left >= PER_ISOLATE, few = maps.few;
    long limit = maps.limit;
    if (fits)
        maps.left -= PER_ISOLATE;
    pthread_mutex_unlock(&maps.lock);
    if (few) {
        atomic_store(&h->memory.crowded, true);
        isola__memory_check(h, now);
    }
    if (fits)
        return 0;
    return isola_fail(err, ISOLA_EOVERLOAD,
                      "no room for one more isolate: the kernel allows this process %ld memory "
                      "mappings (sysctl vm.max_map_count), of which nearly all are in use",
                      limit);
}
