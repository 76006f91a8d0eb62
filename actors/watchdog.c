/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/watchdog.h"

#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "actors/host_own.h"
#include "base/clock.h"
#include "base/thread.h"

#define MS 1000000u /* ns */
/* Between two looks, while there is something to look at; less for limits that are small. */
#define LOOK_NS     (20 * MS)
#define LOOK_MIN_NS (2 * MS)
/* Looks that find nothing, after which it sleeps. */
#define IDLE_LOOKS 50
/* Sleep when the kernel has no membarrier: an entry could miss that it must wake us. */
#define NAP_NS (500 * MS)
/* CPU time after a kill by which it must have taken: a worker is held up by one call that ends by
 * itself (compiling a pattern of a million groups takes a second), its end would hold up all of
 * them. */
#define GRACE_NS (3000 * (uint64_t)MS)

/* `state` of a slot: 0 outside of scripts, else the number of the entry shifted by two, whether it
 * is being stopped, and whether the watchdog looks at it: the thread does not leave meanwhile. */
#define STOPPED UINT64_C(1)
#define HELD    UINT64_C(2)

struct slot {
    _Alignas(64) atomic_uint_fast64_t state;
    /* The thread's own, read by the watchdog while it holds the slot. */
    uint64_t entry;
    struct isola_realm *realm;
    bool run; /* of the realm's batch */
    struct isola_slice address;
    struct isola_watchdog *dog;
    uint64_t limit_ns, used_ns;
    uint64_t charged; /* written by the watchdog while it holds the slot */

    /* The watchdog's. */
    _Alignas(64) pthread_mutex_t lock; /* with HELD */
    atomic_bool joined;
    clockid_t clock;
    uint64_t seen, seen_at; /* entry of the last look, and record */
    uint64_t cpu;           /* of the thread, at the last look */
    uint64_t charge;        /* of what was seen */
    uint64_t stop_cpu;      /* of the thread, when it was stopped */
};

struct isola_watchdog {
    struct isola_host *host;
    unsigned nslots;
    struct slot *slots;
    pthread_t thread;
    bool barriers; /* membarrier works */
    atomic_bool asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static ISOLA_THREAD_LOCAL struct slot *mine;

static uint64_t cpu_of(const struct slot *s)
{
    const struct isola_host *h = s->dog->host;
    struct timespec t;
    if (h->ops->cpu != NULL)
        return h->ops->cpu(h->arg, (unsigned)(s - s->dog->slots));
    if (clock_gettime(s->clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- the threads that are watched --- */

void isola__watchdog_join(struct isola_host *h, unsigned number)
{
    ISOLA_CHECK(number < h->watchdog->nslots);
    struct slot *s = &h->watchdog->slots[number];
    if (pthread_getcpuclockid(pthread_self(), &s->clock) != 0)
        return; /* then it cannot be watched */
    mine = s;
    atomic_store(&s->joined, true);
}

static void wake(struct isola_watchdog *d)
{
    pthread_mutex_lock(&d->lock);
    atomic_store(&d->asleep, false);
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

static void enter(struct slot *s, struct isola_realm *r, bool run, struct isola_slice address,
                  uint64_t limit_ns, uint64_t used_ns)
{
    s->realm = r;
    s->run = run;
    s->address = address;
    s->limit_ns = limit_ns;
    s->used_ns = used_ns;
    s->charged = 0;
    s->entry++;
    atomic_store_explicit(&s->state, s->entry << 2, memory_order_release);
    /* The other half of this is in doze(). */
    atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&s->dog->asleep, memory_order_relaxed))
        wake(s->dog);
}

void isola__watch_enter(struct isola_realm *r, struct isola_slice address, uint64_t limit_ns,
                        uint64_t used_ns)
{
    if (mine != NULL)
        enter(mine, r, false, address, limit_ns, used_ns);
}

void isola__watch_run(struct isola_realm *r, uint64_t limit_ns)
{
    if (mine != NULL)
        enter(mine, r, true, isola_slice_str(r->release->app), limit_ns, 0);
}

struct isola_watched isola__watch_leave(void)
{
    struct slot *s = mine;
    struct isola_watched w = {0};
    if (s == NULL)
        return w;
    uint64_t state = atomic_exchange(&s->state, 0);
    if (state & (STOPPED | HELD)) { /* until it has been */
        pthread_mutex_lock(&s->lock);
        pthread_mutex_unlock(&s->lock);
    }
    w.stopped = (state & STOPPED) != 0;
    w.cpu_ns = s->charged;
    return w;
}

/* The record that runs; NULL outside of a run. Where the slot is held, or its own thread. */
static struct isola_batch_item *item_of(const struct slot *s, uint32_t *at)
{
    struct isola_batch *b = &s->realm->batch;
    *at = 0;
    if (!s->run || b->count == 0)
        return NULL;
    uint32_t ran = isola__batch_ran(b);
    *at = ran > 0 && ran <= b->count ? ran - 1 : 0;
    return &b->items[*at];
}

static struct isola_slice address_of(const struct slot *s)
{
    uint32_t at;
    const struct isola_batch_item *item = item_of(s, &at);
    return item != NULL && item->actor != NULL ? item->actor->address : s->address;
}

struct isola_slice isola__watch_whose(void)
{
    const struct slot *s = mine;
    if (s == NULL || atomic_load_explicit(&s->state, memory_order_relaxed) == 0)
        return (struct isola_slice){0};
    return address_of(s);
}

/* --- the watchdog, with the slot held --- */

static uint64_t limit_of(const struct slot *s, const struct isola_batch_item *item)
{
    return item != NULL && item->actor != NULL ? item->actor->type->def.limits.cpu_ms * (uint64_t)MS
                                               : s->limit_ns;
}

/* Charges what is under way. Returns what it has used with that. */
static uint64_t charge(struct slot *s, uint64_t limit)
{
    uint32_t at;
    struct isola_batch_item *item = item_of(s, &at);
    uint64_t cpu = cpu_of(s), spent = cpu > s->cpu ? cpu - s->cpu : 0;
    s->cpu = cpu;
    if (s->entry != s->seen || at != s->seen_at) { /* not all of that was its own */
        s->seen = s->entry;
        s->seen_at = at;
        s->charge = 0;
        s->stop_cpu = 0;
        if (limit > 0 && spent > limit / 10)
            spent = limit / 10;
    }
    s->charge += spent;
    s->charged += spent;
    uint64_t used = s->used_ns;
    if (item != NULL) {
        item->charged += spent;
        used = item->used; /* its turn may be ending at this moment */
    }
    return used + s->charge;
}

/* A stop that has not taken. */
struct given_up {
    bool is;
    char address[400], why[200];
};

/* Looks at a slot that is held. */
static void look_at(struct slot *s, uint64_t *again, struct given_up *over)
{
    uint32_t at;
    const struct isola_batch_item *item = item_of(s, &at);
    uint64_t limit = limit_of(s, item), used = charge(s, limit);
    uint64_t soon = limit > 0 && limit / 10 < LOOK_NS ? limit / 10 : LOOK_NS;
    soon = soon < LOOK_MIN_NS ? LOOK_MIN_NS : soon;
    if (soon < *again)
        *again = soon;
    if (!(atomic_load(&s->state) & STOPPED)) {
        uint_fast64_t held = s->entry << 2 | HELD;
        if (limit > 0 && used >= limit &&
            atomic_compare_exchange_strong(&s->state, &held, held | STOPPED)) {
            isola_v8_halt(s->realm->v8); /* and the next look ends what does not notice it */
            s->stop_cpu = s->cpu;
        }
    } else if (s->stop_cpu != 0 && s->cpu - s->stop_cpu >= GRACE_NS) {
        over->is = true;
        snprintf(over->address, sizeof(over->address), "%.*s", ISOLA_FMT(address_of(s)));
        snprintf(over->why, sizeof(over->why),
                 "it has used more than %llu ms of CPU in one turn (limit \"cpu\") and could not "
                 "be stopped",
                 (unsigned long long)(limit / MS));
    } else { /* native code may have caught the end of a script and begun another */
        if (s->stop_cpu == 0)
            s->stop_cpu = s->cpu;
        isola_v8_terminate(s->realm->v8);
    }
}

/* True: there is something under way in it; *again may become sooner. */
static bool look(struct isola_watchdog *d, struct slot *s, uint64_t *again)
{
    struct given_up over = {.is = false};
    if (!atomic_load(&s->joined) || atomic_load(&s->state) == 0)
        return false;
    pthread_mutex_lock(&s->lock);
    uint_fast64_t state = atomic_load(&s->state);
    while (state != 0 && !atomic_compare_exchange_weak(&s->state, &state, state | HELD))
        continue;
    if (state != 0) {
        look_at(s, again, &over);
        state = atomic_load(&s->state);
        while (state != 0 && !atomic_compare_exchange_weak(&s->state, &state, state & ~HELD))
            continue;
    }
    pthread_mutex_unlock(&s->lock);
    if (over.is)
        d->host->ops->stuck(d->host->arg, isola_slice_str(over.address), over.why);
    return state != 0;
}

static struct timespec from_now(uint64_t ns)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    ns += (uint64_t)t.tv_nsec;
    t.tv_sec += (time_t)(ns / 1000000000u);
    t.tv_nsec = (long)(ns % 1000000000u);
    return t;
}

/* Sleeps until something is entered. An entry first stores its state and then looks whether we are
 * asleep; here it is the other way round, and the barrier makes both see one order. */
static void doze(struct isola_watchdog *d)
{
    atomic_store(&d->asleep, true);
    if (d->barriers)
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    for (unsigned i = 0; i < d->nslots; i++)
        if (atomic_load(&d->slots[i].state) != 0)
            atomic_store(&d->asleep, false);
    struct timespec until = from_now(NAP_NS);
    pthread_mutex_lock(&d->lock);
    while (atomic_load(&d->asleep)) {
        if (d->barriers)
            pthread_cond_wait(&d->wake, &d->lock);
        else if (pthread_cond_timedwait(&d->wake, &d->lock, &until) != 0)
            break;
    }
    pthread_mutex_unlock(&d->lock);
}

static void *run(void *arg)
{
    struct isola_watchdog *d = arg;
    for (unsigned idle = 0;;) {
        uint64_t again = LOOK_NS;
        bool busy = false;
        for (unsigned i = 0; i < d->nslots; i++)
            busy |= look(d, &d->slots[i], &again);
        idle = busy ? 0 : idle + 1;
        if (idle > IDLE_LOOKS) {
            doze(d);
            idle = 0;
        }
        struct timespec until = from_now(again);
        pthread_mutex_lock(&d->lock);
        while (pthread_cond_timedwait(&d->wake, &d->lock, &until) == 0)
            continue;
        pthread_mutex_unlock(&d->lock);
    }
    return NULL;
}

int isola__watchdog_start(struct isola_host *h, unsigned threads, struct isola_err *err)
{
    struct isola_watchdog *d = isola_zalloc(sizeof(*d));
    d->host = h;
    d->nslots = threads;
    d->slots = aligned_alloc(64, threads * sizeof(struct slot));
    ISOLA_CHECK(d->slots != NULL);
    memset(d->slots, 0, threads * sizeof(struct slot));
    for (unsigned i = 0; i < threads; i++) {
        d->slots[i].dog = d;
        pthread_mutex_init(&d->slots[i].lock, NULL);
    }
    d->barriers = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    pthread_mutex_init(&d->lock, NULL);
    isola_cond_init(&d->wake);
    h->watchdog = d;
    int r = isola_thread_start(&d->thread, "isola-watchdog", run, d);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot start the watchdog: %s", strerror(r));
    return 0;
}
