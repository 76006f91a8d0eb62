/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpus.h"

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"

/* Of how long it is measured, ns. */
#define WINDOW 5000000

static uint64_t program_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned count(void)
{
    cpu_set_t all;
    int n = sched_getaffinity(0, sizeof(all), &all) == 0 ? CPU_COUNT(&all) : 1;
    return n > 0 ? (unsigned)n : 1;
}

unsigned isola_cpus_used(void)
{
    static atomic_ullong since;
    static _Atomic(uint64_t) then; /* of whoever moved `since` */
    static atomic_uint used;
    unsigned long long from = atomic_load(&since), now = isola_clock_ns();
    if (now - from >= WINDOW && atomic_compare_exchange_strong(&since, &from, now)) {
        uint64_t ran = program_ns(), before = atomic_exchange(&then, ran);
        uint64_t part =
            from == 0 || ran < before ? 0 : (ran - before) * 100 / count() / (now - from);
        atomic_store(&used, part > 100 ? 100 : (unsigned)part);
    }
    return atomic_load(&used);
}

int isola_cpus_leave(const cpu_set_t *taken)
{
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        return -1;
    int cpu = 0;
    while (cpu < CPU_SETSIZE && (!CPU_ISSET(cpu, &all) || CPU_ISSET(cpu, taken)))
        cpu++;
    if (cpu == CPU_SETSIZE)
        return -1;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        return -1;
    (void)sched_setaffinity(0, sizeof(all), &all);
    return cpu;
}
