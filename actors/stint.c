/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers and processors: which of them a worker is on, and whether there are enough.
 *
 * A worker that is awake looks now and then how long it ran of that time. Had it to wait, and not
 * for other threads of this program, then other programs have the processors, and what is brief
 * stays with the worker that has it (worker.c). Are they this program's, then it shares none with
 * another worker: a kernel that sees a thread sleep for microseconds at a time, as the store's
 * does, leaves its processor to it, and two workers to the other one.
 */
#include "actors/worker.h"

#include <sched.h>
#include <time.h>

#include "actors/host_own.h"
#include "base/clock.h"
#include "base/cpus.h"

/* How often a worker that is awake looks; of which part of that, twice running, it had to wait when
 * there is none to spare; for how long that is believed, at first and at most. ns */
#define STINT_NS     5000000
#define STINT_WAITED 8
#define FULL_NS      50000000
#define FULL_MOST_NS 800000000

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool isola__stint_full(const struct isola_host *h, uint64_t now)
{
    return now < atomic_load_explicit(&h->full_until, memory_order_relaxed);
}

void isola__stint_begin(struct isola_worker *w)
{
    w->stint_ns = isola_clock_ns();
    w->stint_cpu_ns = cpu_ns();
}

void isola__stint_slept(struct isola_worker *w, uint64_t since)
{
    w->stint_ns += isola_clock_ns() - since;
}

void isola__stint_look(struct isola_worker *w, uint64_t now)
{
    struct isola_host *h = w->host;
    uint64_t took = now - w->stint_ns;
    if (took < STINT_NS)
        return;
    uint64_t cpu = cpu_ns(), ran = cpu - w->stint_cpu_ns;
    bool waited =
        took > ran && took - ran > took / STINT_WAITED && isola_cpus_used() < ISOLA_CPUS_SHORT;
    if (waited && w->stint_waited && !isola__stint_full(h, now)) {
        /* Again, soon after it was tried: the next try is later. */
        bool soon = now < atomic_load(&h->full_until) + FULL_NS;
        uint64_t last = atomic_load(&h->full_ns), next = soon ? 2 * last : last / 2;
        next = next < FULL_NS ? FULL_NS : next > FULL_MOST_NS ? FULL_MOST_NS : next;
        atomic_store(&h->full_ns, next);
        atomic_store(&h->full_until, now + next);
    }
    w->stint_ns = now;
    w->stint_cpu_ns = cpu;
    w->stint_waited = waited;
}

void isola__stint_place(struct isola_worker *w)
{
    const struct isola_host *h = w->host;
    int cpu = sched_getcpu();
    bool shared = false;
    cpu_set_t taken;
    CPU_ZERO(&taken);
    for (unsigned i = 0; i < h->nworkers; i++) {
        int other = atomic_load_explicit(&h->workers[i].cpu, memory_order_relaxed);
        if (&h->workers[i] == w || other < 0)
            continue;
        CPU_SET(other, &taken);
        shared = shared || other == cpu;
    }
    if (shared && isola_cpus_used() >= ISOLA_CPUS_SHORT) { /* else there are others, too */
        int there = isola_cpus_leave(&taken);
        cpu = there >= 0 ? there : cpu;
    }
    atomic_store_explicit(&w->cpu, cpu, memory_order_relaxed);
}

void isola__stint_leave(struct isola_worker *w)
{
    atomic_store_explicit(&w->cpu, -1, memory_order_relaxed);
}
