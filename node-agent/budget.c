/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define LEAST ((uint64_t)64 << 20)

static void lower(uint64_t *least, const char *path)
{
    FILE *f = fopen(path, "re");
    unsigned long long n;
    if (f == NULL)
        return;
    if (fscanf(f, "%llu", &n) == 1 && n > 0 && n < *least) /* else it says "max" */
        *least = n;
    fclose(f);
}

/* The limits of the cgroup at `path` (of version 2) and of all that hold it. */
static void walk(uint64_t *least, char *path)
{
    for (;;) {
        char *file = isola_format("/sys/fs/cgroup%s/memory.max", path);
        lower(least, file);
        free(file);
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return;
        *slash = '\0';
    }
}

uint64_t isola__memory_available(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
    uint64_t least = machine > 0 ? machine : UINT64_MAX;
    char line[4096];
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0)
            walk(&least, line + 3);
    }
    if (f != NULL)
        fclose(f);
    lower(&least, "/sys/fs/cgroup/memory/memory.limit_in_bytes"); /* version 1 */
    return least != UINT64_MAX ? least : 0;
}

uint64_t isola__memory_parse(const char *text)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"MB", 20}, {"GB", 30}, {"TB", 40}};
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || n > 1000000)
        return 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end, units[i].unit) == 0) {
            uint64_t bytes = (uint64_t)n << units[i].shift;
            return bytes >= LEAST ? bytes : 0;
        }
    return 0;
}
