/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/watchdog.h"

#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "actors/internal.h"
#include "base/clock.h"

#define MS 1000000u /* ns */
/* Between two looks, while there is something to look at; less for limits that are small. */
#define LOOK_NS     (20 * MS)
#define LOOK_MIN_NS (2 * MS)
/* Looks that find nothing, after which it sleeps. */
#define IDLE_LOOKS 50
/* Sleep when the kernel has no membarrier: an entry could miss that it must wake us. */
#define NAP_NS (500 * MS)
/* CPU time after a kill by which it must have taken. */
#define GRACE_NS (1000 * (uint64_t)MS)

/* `state` of a slot: 0 outside of scripts, else the number of the entry shifted by one, and whether
 * it is being stopped. */
#define STOPPED 1u

struct slot {
    _Alignas(64) atomic_uint_fast64_t state;
    /* The thread's own, read by the watchdog while it keeps the thread from leaving. */
    uint64_t entry;
    struct isola_realm *realm;
    struct isola_slice address;
    struct isola_watchdog *dog;
    /* Read by the watchdog at any time: may belong to the entry before. */
    atomic_uint_fast64_t limit_ns, used_ns;

    /* The watchdog's. `charged`: ns in the upper 48 bits, the entry's lower 16 bits below. */
    _Alignas(64) atomic_uint_fast64_t charged;
    pthread_mutex_t lock; /* held while it stops an entry */
    atomic_bool joined;
    clockid_t clock;
    uint64_t seen;     /* entry of the last look */
    uint64_t cpu;      /* of the thread, at the last look */
    uint64_t charge;   /* of the entry seen */
    uint64_t stop_cpu; /* of the thread, when it was stopped */
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

static _Thread_local struct slot *mine;

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

void isola__watch_enter(struct isola_realm *r, struct isola_slice address, uint64_t limit_ns,
                        uint64_t used_ns)
{
    struct slot *s = mine;
    if (s == NULL)
        return;
    s->realm = r;
    s->address = address;
    atomic_store_explicit(&s->limit_ns, limit_ns, memory_order_relaxed);
    atomic_store_explicit(&s->used_ns, used_ns, memory_order_relaxed);
    s->entry++;
    atomic_store_explicit(&s->state, s->entry << 1, memory_order_release);
    /* The other half of this is in doze(). */
    atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&s->dog->asleep, memory_order_relaxed))
        wake(s->dog);
}

struct isola_watched isola__watch_leave(void)
{
    struct slot *s = mine;
    struct isola_watched w = {0};
    if (s == NULL)
        return w;
    uint64_t state = atomic_exchange(&s->state, 0);
    if (state & STOPPED) { /* until it has been */
        pthread_mutex_lock(&s->lock);
        pthread_mutex_unlock(&s->lock);
        w.stopped = true;
    }
    uint64_t charged = atomic_load_explicit(&s->charged, memory_order_relaxed);
    if ((charged & 0xffff) == (s->entry & 0xffff))
        w.cpu_ns = charged >> 16;
    return w;
}

struct isola_slice isola__watch_whose(void)
{
    const struct slot *s = mine;
    if (s == NULL || atomic_load_explicit(&s->state, memory_order_relaxed) == 0)
        return (struct isola_slice){0};
    return s->address;
}

/* --- the watchdog --- */

/* Charges the entry that is under way in this slot. Returns when to look again. */
static uint64_t charge(struct slot *s, uint64_t entry)
{
    uint64_t cpu = cpu_of(s), spent = cpu > s->cpu ? cpu - s->cpu : 0;
    uint64_t limit = atomic_load_explicit(&s->limit_ns, memory_order_relaxed);
    s->cpu = cpu;
    if (entry != s->seen) { /* not all of that was its own */
        s->seen = entry;
        s->charge = 0;
        s->stop_cpu = 0;
        if (limit > 0 && spent > limit / 10)
            spent = limit / 10;
    }
    s->charge += spent;
    atomic_store_explicit(&s->charged, s->charge << 16 | (entry & 0xffff), memory_order_relaxed);
    uint64_t again = limit > 0 && limit / 10 < LOOK_NS ? limit / 10 : LOOK_NS;
    return again < LOOK_MIN_NS ? LOOK_MIN_NS : again;
}

/* Stops the entry unless it ends by itself first. */
static void stop(struct slot *s, uint64_t entry)
{
    uint_fast64_t expected = entry << 1;
    pthread_mutex_lock(&s->lock);
    if (atomic_compare_exchange_strong(&s->state, &expected, entry << 1 | STOPPED)) {
        isola_v8_halt(s->realm->v8); /* and the next look ends what does not notice it */
        s->stop_cpu = s->cpu;
    }
    pthread_mutex_unlock(&s->lock);
}

/* Native code may have caught the end of a script and begun another. */
static void stop_again(struct slot *s, uint64_t entry)
{
    pthread_mutex_lock(&s->lock);
    if (atomic_load(&s->state) == (entry << 1 | STOPPED))
        isola_v8_terminate(s->realm->v8);
    pthread_mutex_unlock(&s->lock);
}

/* A stop that has not taken. */
static void give_up(struct isola_watchdog *d, struct slot *s, uint64_t entry)
{
    char why[200], address[400] = "";
    snprintf(why, sizeof(why),
             "it has used more than %llu ms of CPU in one turn (limit \"cpu\") and could not be "
             "stopped",
             (unsigned long long)(atomic_load(&s->limit_ns) / MS));
    pthread_mutex_lock(&s->lock);
    bool still = atomic_load(&s->state) == (entry << 1 | STOPPED);
    if (still)
        snprintf(address, sizeof(address), "%.*s", ISOLA_FMT(s->address));
    pthread_mutex_unlock(&s->lock);
    if (still)
        d->host->ops->stuck(d->host->arg, isola_slice_str(address), why);
}

/* Looks at a slot. True: there is something under way in it; *again may become sooner. */
static bool look(struct isola_watchdog *d, struct slot *s, uint64_t *again)
{
    uint64_t state = atomic_load(&s->state), entry = state >> 1;
    if (!atomic_load(&s->joined) || state == 0)
        return false;
    uint64_t soon = charge(s, entry);
    if (soon < *again)
        *again = soon;
    uint64_t limit = atomic_load_explicit(&s->limit_ns, memory_order_relaxed);
    uint64_t used = atomic_load_explicit(&s->used_ns, memory_order_relaxed) + s->charge;
    if (atomic_load(&s->state) != state) /* that was of another entry, perhaps */
        return true;
    if (!(state & STOPPED)) {
        if (limit > 0 && used >= limit)
            stop(s, entry);
    } else if (s->cpu - s->stop_cpu >= GRACE_NS) {
        give_up(d, s, entry);
    } else {
        stop_again(s, entry);
    }
    return true;
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
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    h->watchdog = d;
    int r = pthread_create(&d->thread, NULL, run, d);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot start the watchdog: %s", strerror(r));
    return 0;
}
