/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory pressure: when the process has more memory resident than its budget, or more isolates than
 * the kernel has room for, idle actors hibernate, those that have been idle longest first.
 *
 * Looked at after visits, so only when something has happened, and not more than ten times a
 * second. Whom it strikes is found out by a thread of its own: that goes through the whole
 * directory. Mails do the rest: an actor that is not idle any more when its mail comes forgets it.
 */
#include <stdio.h>
#include <unistd.h>

#include "actors/host_own.h"
#include "base/clock.h"
#include "base/thread.h"

#define LOOK_MS 100    /* between two looks at what is resident */
#define REST_MS 1000   /* after an eviction: memory comes back as isolates are closed */
#define TELL_MS 60000  /* between two lines of the log that say it does not help */
#define AIM     9 / 10 /* of the budget: what is to be left */
#define CROWD   16 /* the share of what is resident that isolates give up when they are too many */

/* What an actor is thought to free, beside the heap of its isolate: what V8 has around it. */
#define ISOLATE_BYTES (512u << 10)
#define SHARED_BYTES  (2u << 10)

static uint64_t resident(void)
{
    unsigned long long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &pages) != 2)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct candidate {
    uint32_t since;
    uint32_t kb;
};
struct candidates {
    struct candidate *all;
    size_t n, cap;
};

/* `isolates`: only who has one for itself. */
static bool may_go(const struct isola_actor *a, bool isolates)
{
    return !(isolates && a->type->def.shared) && atomic_load(&a->state) == ISOLA_ACTOR_IDLE &&
           atomic_load(&a->mailbox) == 0;
}

static void add(struct candidates *c, const struct isola_actor *a)
{
    if (c->n == c->cap) {
        c->cap = c->cap > 0 ? c->cap * 2 : 256;
        c->all = isola_realloc(c->all, c->cap * sizeof(*c->all));
    }
    uint64_t bytes =
        a->type->def.shared ? SHARED_BYTES : ISOLATE_BYTES + atomic_load(&a->realm->heap_used);
    c->all[c->n++] = (struct candidate){atomic_load(&a->idle_since), (uint32_t)(bytes >> 10)};
}

static int by_since(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return x->since < y->since ? -1 : x->since > y->since;
}

/* Those that have been idle since before this are to go; 0: there is nobody. */
static uint32_t limit(struct isola_host *h, uint64_t too_much, bool isolates)
{
    struct candidates c = {0};
    for (int i = 0; i < ISOLA_DIRECTORY_SHARDS; i++) {
        struct isola_directory_shard *shard = &h->directory[i];
        pthread_mutex_lock(&shard->lock);
        ISOLA_SHARD_EACH(shard, a)
        {
            if (may_go(a, isolates))
                add(&c, a);
        }
        pthread_mutex_unlock(&shard->lock);
    }
    uint64_t kb = 0;
    size_t i = 0;
    if (c.n > 0)
        qsort(c.all, c.n, sizeof(*c.all), by_since);
    while (i < c.n && kb < too_much >> 10)
        kb += c.all[i++].kb;
    uint32_t since = i > 0 ? c.all[i - 1].since + 1 : 0;
    free(c.all);
    return since;
}

static void evict(struct isola_host *h, uint32_t before, bool isolates)
{
    struct isola_slice none = {0};
    for (int i = 0; i < ISOLA_DIRECTORY_SHARDS; i++) {
        struct isola_directory_shard *shard = &h->directory[i];
        struct isola_mailq out = {0};
        pthread_mutex_lock(&shard->lock);
        ISOLA_SHARD_EACH(shard, a)
        {
            if (may_go(a, isolates) && atomic_load(&a->idle_since) < before) {
                struct isola_mail *m =
                    isola_mail_new(ISOLA_MAIL_HIBERNATE, none, a->address, none, none, none);
                if (m != NULL)
                    isola_mailq_push(&out, m);
            }
        }
        pthread_mutex_unlock(&shard->lock);
        struct isola_mail *m;
        while ((m = isola_mailq_pop(&out)) != NULL)
            isola__directory_post(h, m);
    }
}

static void *relieve(void *arg)
{
    struct isola_host *h = arg;
    uint64_t budget = atomic_load(&h->memory.budget), used = resident(), now = isola_clock_ms();
    if (atomic_load(&h->memory.crowded) || (budget != 0 && used > budget))
        isola__spare_drop(h, NULL);
    if (atomic_exchange(&h->memory.crowded, false))
        evict(h, limit(h, used / CROWD, true), true);
    else if (budget != 0 && used > budget) {
        uint32_t before = limit(h, used - budget * AIM, false);
        if (before != 0) {
            evict(h, before, false);
        } else if (h->memory.told == 0 || now - h->memory.told > TELL_MS) {
            h->memory.told = now;
            isola__host_logf(h, ISOLA_LOG_WARN, (struct isola_slice){0},
                             "this actor-host has %llu MB of memory in use, and its budget is %llu "
                             "MB (--memory); no actor is idle that could hibernate",
                             (unsigned long long)(used >> 20), (unsigned long long)(budget >> 20));
        }
    }
    atomic_store(&h->memory.seen, now + REST_MS);
    atomic_store(&h->memory.evicting, false);
    isola__host_unbusy(h);
    return NULL;
}

void isola__memory_check(struct isola_host *h, uint64_t now)
{
    struct isola_memory *m = &h->memory;
    uint64_t budget = atomic_load(&m->budget);
    bool crowded = atomic_load(&m->crowded);
    if (budget == 0 && !crowded)
        return;
    unsigned long long seen = atomic_load(&m->seen);
    if (now < seen + LOOK_MS || !atomic_compare_exchange_strong(&m->seen, &seen, now) ||
        (resident() <= budget && !crowded) || atomic_load(&h->draining) ||
        atomic_exchange(&m->evicting, true))
        return;
    pthread_t thread;
    isola__host_busy(h);
    if (isola_thread_start(&thread, "isola-memory", relieve, h) == 0) {
        pthread_detach(thread);
    } else {
        atomic_store(&m->evicting, false);
        isola__host_unbusy(h);
    }
}
