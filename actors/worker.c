/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker: a thread that visits the realms that have something to do, with a libuv loop to sleep
 * in.
 *
 * A realm that becomes ready goes into the queue of the worker that visited it last, whose caches
 * may still hold its heap. A worker that runs out of work takes from the others: what waits behind
 * another realm, or behind a visit that lasts. A worker with nothing to take sleeps in its loop;
 * whoever makes work for it wakes it. As long as another worker is awake it watches in its sleep:
 * it looks each millisecond whether something waits, or should have begun, behind a visit that
 * lasts; when all have slept for a while, nobody looks at anything. One timer stands for the least
 * deadline of the realms whose deadlines it keeps.
 *
 * A worker that watches is not woken by each message but at the end of the visit that makes work
 * for it, or after some turns: so it finds many at once, and there are fewer switches between
 * threads.
 *
 * Invariants: `sleep` is set before the queues are looked at for the last time, and whoever adds to
 * a queue looks at `sleep` after it: one of the two sees the other. Locks of two workers are never
 * held at once.
 */
#include "actors/worker.h"

#include <sched.h>

#include "actors/host_own.h"
#include "actors/limits.h"
#include "actors/watchdog.h"
#include "base/clock.h"
#include "base/fetch.h"

/* Visits before the loop gets a turn for its timer. */
#define VISITS 64
/* A visit that has lasted so long holds up what waits behind it, ns. */
#define LONG_VISIT 100000
/* Realms taken from another worker at once. */
#define TAKE_MAX 64
/* How often a worker that watches looks, ms, and how often it does when everyone sleeps. */
#define WATCH_MS    1
#define WATCH_LOOKS 50
/* Turns after which a wake that is owed is given, when the visit lasts. */
#define OWED_TURNS 32
/* How long a worker looks for work before it sleeps, at most, and how often between two looks at
 * the clock. */
#define LINGER_NS    100000
#define LINGER_LOOKS 16
/* One part in so many of all time may be lost by that, */
#define LINGER_SHARE 50
/* and a little more: after a sleep that was so short, it would have been better to look on. So two
 * that wait for one another, each asleep when the other has something for it, come out of that. */
#define LINGER_SHORT (2 * LINGER_NS)
#define LINGER_VAIN  3
#define LINGER_EACH  20000000 /* ns in which it may be in vain that often */
/* Likewise for what other nodes send, which takes longer; there it is the time of an idle core. */
#define LOOK_NS     200000
#define LOOK_SHARE  8
#define LOOK_YIELDS 64 /* in how many looks it gives way once */

enum isola_sleep {
    AWAKE,
    WATCHING, /* sleeps, but looks after the others now and then */
    ASLEEP,
};

static ISOLA_THREAD_LOCAL struct isola_worker *here;

struct isola_worker *isola__worker_here(void)
{
    return here;
}

/* --- the queue --- */

/* Behind all that wait or, when a write has ended, behind such alone: what waited for it can leave,
 * which takes a microsecond, and somebody waits for that. */
static void push(struct isola_worker *w, struct isola_realm *r)
{
    const struct isola_mail *m = atomic_load_explicit(&r->inbox, memory_order_acquire);
    bool ended = m != NULL && m->kind == ISOLA_MAIL_COMMITTED;
    pthread_mutex_lock(&w->lock);
    struct isola_realm **at = ended ? w->ready_ended : w->ready_tail;
    r->next_ready = *at;
    *at = r;
    if (r->next_ready == NULL)
        w->ready_tail = &r->next_ready;
    if (ended)
        w->ready_ended = &r->next_ready;
    atomic_fetch_add(&w->backlog, 1);
    pthread_mutex_unlock(&w->lock);
}

/* The first in the queue is what is visited next, perhaps. Its struct was fetched when it was the
 * second. With the lock; returns the one before, whose reference is to be let go without it. */
static struct isola_realm *look_ahead(struct isola_worker *w)
{
    struct isola_realm *first = w->ready_head, *before = w->ahead;
    w->ahead = first != NULL ? isola__realm_ref(first) : NULL;
    w->ahead_ended = w->ready_ended != &w->ready_head;
    w->ahead_fetched = 0;
    if (first != NULL && first->next_ready != NULL)
        isola_fetch(first->next_ready, sizeof(*first));
    return before;
}

void isola__worker_fetch(void)
{
    struct isola_worker *w = here;
    if (w->ahead != NULL && w->ahead_fetched < ISOLA_FETCHES)
        isola__realm_fetch(w->ahead, w->ahead_fetched++, w->ahead_ended);
}

static struct isola_realm *pop(struct isola_worker *w)
{
    if (atomic_load(&w->backlog) == 0 && w->ahead == NULL)
        return NULL;
    pthread_mutex_lock(&w->lock);
    struct isola_realm *r = w->ready_head;
    bool ended = w->ready_ended != &w->ready_head;
    unsigned fetched = r == w->ahead ? w->ahead_fetched : 0;
    if (r != NULL) {
        w->ready_head = r->next_ready;
        if (w->ready_ended == &r->next_ready)
            w->ready_ended = &w->ready_head;
        if (w->ready_head == NULL)
            w->ready_tail = &w->ready_head;
        atomic_fetch_sub(&w->backlog, 1);
    }
    struct isola_realm *before = look_ahead(w);
    pthread_mutex_unlock(&w->lock);
    if (before != NULL)
        isola__realm_unref(before);
    while (r != NULL && fetched < ISOLA_FETCHES)
        isola__realm_fetch(r, fetched++, ended);
    return r;
}

static bool in_long_visit(struct isola_worker *w)
{
    uint64_t since = atomic_load(&w->visit_since);
    return since != 0 && isola_clock_ns() - since > LONG_VISIT;
}

/* --- when no processor is to spare --- */

/* A visit that is done sooner is not worth another worker then. */
#define BRIEF_NS 2000000
/* But one that has lasted so long holds up what waits behind it. */
#define FULL_LONG_VISIT 4000000

/* Is what waits at `w` left to it? Another worker would have to share its processor, and more of
 * their time would go into what they do for one another than into the visits. */
static bool keeps(const struct isola_host *h, const struct isola_worker *w)
{
    uint64_t now = isola_clock_ns(), since = atomic_load(&w->visit_since);
    return isola__stint_full(h, now) &&
           atomic_load_explicit(&w->visit_ns, memory_order_relaxed) < BRIEF_NS &&
           (since == 0 || now - since < FULL_LONG_VISIT);
}

/* Who is at work, other than `but`, and keeps what waits there; or NULL. */
static struct isola_worker *keeper(struct isola_host *h, const struct isola_worker *but)
{
    for (unsigned i = 0; i < h->nworkers; i++) {
        struct isola_worker *w = &h->workers[i];
        if (w != but && atomic_load(&w->sleep) == AWAKE && keeps(h, w))
            return w;
    }
    return NULL;
}

/* --- sleeping and waking --- */

static bool wake(struct isola_worker *w)
{
    if (atomic_load(&w->sleep) == AWAKE || atomic_exchange(&w->sleep, AWAKE) == AWAKE)
        return false;
    uv_async_send(&w->async);
    return true;
}

static void wake_another(struct isola_worker *w)
{
    struct isola_host *h = w->host;
    for (unsigned i = 1; i < h->nworkers; i++)
        if (wake(&h->workers[(w->number + i) % h->nworkers]))
            return;
}

void isola__worker_wake_sleeper(struct isola_host *h)
{
    for (unsigned i = 0; i < h->nworkers; i++)
        if (wake(&h->workers[i]))
            return;
}

/* Something waits at `w`, which is awake and will come to it unless its visit lasts: is there
 * anyone to see to it then? */
static void see_to_watch(struct isola_worker *w)
{
    struct isola_host *h = w->host;
    struct isola_worker *sleeper = NULL;
    for (unsigned i = 1; i < h->nworkers; i++) {
        struct isola_worker *other = &h->workers[(w->number + i) % h->nworkers];
        int sleep = atomic_load(&other->sleep);
        if (sleep == WATCHING)
            return;
        if (sleep == ASLEEP)
            sleeper = other;
    }
    if (sleeper != NULL)
        wake(sleeper); /* it finds nothing to take yet, and watches */
}

/* In whose queue it goes. One that many share has a worker of its own, and comes back to it when
 * another has visited it meanwhile: two that are busy would stay together else, each ready again
 * before its worker's visit of the other is long enough for it to be taken away. */
static struct isola_worker *home(const struct isola_realm *r)
{
    return r->shared && atomic_load(&r->pins) == 0 ? r->owner : atomic_load(&r->worker);
}

/* Who visits it instead of its worker that sleeps: who has nothing else to do, or will have done it
 * soon enough. NULL: nobody. */
static struct isola_worker *instead(const struct isola_realm *r)
{
    if (atomic_load(&r->pins) != 0)
        return NULL;
    if (here == NULL)
        return keeper(r->host, NULL);
    return here->looks || keeps(r->host, here) ? here : NULL;
}

void isola__worker_ready(struct isola_realm *r)
{
    struct isola_worker *w = home(r);
    isola__realm_ref(r);
    int sleep = atomic_load(&w->sleep);
    struct isola_worker *other = sleep != AWAKE ? instead(r) : NULL;
    if (other != NULL) {
        w = other;
        atomic_store(&r->worker, w);
    }
    push(w, r);
    /* `r` may be gone from here on. */
    bool at_once = w == here && w->looks; /* is when it comes to it */
    sleep = at_once ? AWAKE : atomic_load(&w->sleep);
    if (sleep == WATCHING && here != NULL && atomic_load(&here->visit_since) != 0 && w->number < 64)
        here->owed |= (uint64_t)1 << w->number;
    else if (sleep != AWAKE)
        wake(w);
    else if (((atomic_load(&w->backlog) > 1 && !at_once) || (w != here && in_long_visit(w))) &&
             !keeps(w->host, w))
        wake_another(w);
    else
        see_to_watch(w);
}

static void pay(struct isola_worker *w)
{
    for (uint64_t owed = w->owed; owed != 0; owed &= owed - 1)
        wake(&w->host->workers[__builtin_ctzll(owed)]);
    w->owed = 0;
    w->owed_turns = 0;
}

void isola__worker_between(unsigned turns)
{
    if (here->owed != 0 && (here->owed_turns += turns) >= OWED_TURNS)
        pay(here);
    if (here->host->ops->batch != NULL) {
        here->host->ops->batch(here->host->arg, false);
        here->host->ops->batch(here->host->arg, true);
    }
}

/* --- taking from others --- */

/* Takes half of what waits at another worker into the own queue; true when there was any. */
static bool take_from(struct isola_worker *w, struct isola_worker *from)
{
    unsigned n = atomic_load(&from->backlog);
    if (n == 0 || (n == 1 && !in_long_visit(from)) || keeps(w->host, from))
        return false;
    pthread_mutex_lock(&from->lock);
    n = (atomic_load(&from->backlog) + 1) / 2;
    if (n > TAKE_MAX)
        n = TAKE_MAX;
    struct isola_realm *first = NULL, *last = NULL, **at = &from->ready_head;
    unsigned taken = 0;
    while (taken < n && *at != NULL) {
        struct isola_realm *r = *at;
        if (atomic_load(&r->pins) != 0) {
            at = &r->next_ready;
            continue;
        }
        *at = r->next_ready;
        if (last != NULL)
            last->next_ready = r;
        else
            first = r;
        last = r;
        taken++;
        atomic_store(&r->worker, w);
    }
    if (*at == NULL)
        from->ready_tail = at;
    from->ready_ended = &from->ready_head; /* others like it may still wait, but first of all */
    n = taken;
    atomic_fetch_sub(&from->backlog, n);
    pthread_mutex_unlock(&from->lock);
    if (n == 0)
        return false;
    last->next_ready = NULL;
    pthread_mutex_lock(&w->lock);
    *w->ready_tail = first;
    w->ready_tail = &last->next_ready;
    atomic_fetch_add(&w->backlog, n);
    pthread_mutex_unlock(&w->lock);
    return true;
}

static bool steal(struct isola_worker *w)
{
    struct isola_host *h = w->host;
    for (unsigned i = 1; i < h->nworkers; i++)
        if (take_from(w, &h->workers[(w->number + i) % h->nworkers]))
            return true;
    return false;
}

/* --- deadlines --- */

static void on_timer(uv_timer_t *timer);

/* The timer: for the least deadline, or to look after the others. */
static void arm(struct isola_worker *w)
{
    uint64_t now = isola_clock_ms();
    pthread_mutex_lock(&w->wakes_lock);
    struct isola_heap_node *node = isola_heap_min(&w->wakes);
    uint64_t in = node == NULL ? UINT64_MAX : node->key > now ? node->key - now : 0;
    pthread_mutex_unlock(&w->wakes_lock);
    if (atomic_load(&w->sleep) == WATCHING && in > WATCH_MS)
        in = WATCH_MS;
    if (in == UINT64_MAX) {
        uv_timer_stop(&w->timer);
        return;
    }
    uv_update_time(&w->loop);
    uv_timer_start(&w->timer, on_timer, in, 0);
}

/* Makes the realms ready whose deadlines have come. From any thread. */
static void fire(struct isola_worker *w)
{
    uint64_t now = isola_clock_ms();
    pthread_mutex_lock(&w->wakes_lock);
    struct isola_heap_node *node;
    while ((node = isola_heap_min(&w->wakes)) != NULL && node->key <= now) {
        isola_heap_remove(&w->wakes, node);
        struct isola_realm *r =
            (struct isola_realm *)(void *)((char *)node - offsetof(struct isola_realm, wake));
        isola__realm_post(r, NULL); /* the visit that ends its life takes it out of here first */
    }
    pthread_mutex_unlock(&w->wakes_lock);
}

static bool keeps_deadlines(struct isola_worker *w)
{
    pthread_mutex_lock(&w->wakes_lock);
    bool any = isola_heap_min(&w->wakes) != NULL;
    pthread_mutex_unlock(&w->wakes_lock);
    return any;
}

/* Deadlines that another worker keeps, and cannot see to because its visit lasts. */
static void fire_for_others(struct isola_worker *w)
{
    struct isola_host *h = w->host;
    for (unsigned i = 1; i < h->nworkers; i++) {
        struct isola_worker *other = &h->workers[(w->number + i) % h->nworkers];
        if (in_long_visit(other))
            fire(other);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct isola_worker *w = timer->data;
    fire(w);
    arm(w); /* always: the loop may run timers before it polls, and it must not poll without one */
}

void isola__worker_wake_at(struct isola_realm *r)
{
    struct isola_heap_node *least = isola_heap_min(&r->due);
    struct isola_worker *w = r->waker;
    if (w == NULL && least == NULL)
        return;
    if (w != NULL) {
        pthread_mutex_lock(&w->wakes_lock);
        bool same = least != NULL && r->wake.place != 0 && r->wake.key == least->key;
        if (!same)
            isola_heap_remove(&w->wakes, &r->wake);
        pthread_mutex_unlock(&w->wakes_lock);
        if (same)
            return;
    }
    r->waker = NULL;
    if (least == NULL)
        return; /* a timer that is armed for it fires for nothing, once */
    w = r->waker = here;
    pthread_mutex_lock(&w->wakes_lock);
    isola_heap_insert(&w->wakes, &r->wake, least->key);
    bool first = isola_heap_min(&w->wakes) == &r->wake;
    pthread_mutex_unlock(&w->wakes_lock);
    if (first)
        arm(w);
}

/* --- the thread --- */

static void batch(const struct isola_worker *w, bool begin)
{
    if (w->host->ops->batch != NULL)
        w->host->ops->batch(w->host->arg, begin);
}

static void visit(struct isola_worker *w, struct isola_realm *r)
{
    uint64_t begun = isola_clock_ns();
    atomic_store(&r->worker, w);
    atomic_store(&w->visit_since, begun);
    batch(w, true);
    isola__realm_visit(r);
    uint64_t now = isola_clock_ns(); /* what is written then may be much, and is no visit */
    batch(w, false);
    atomic_store(&w->visit_since, 0);
    atomic_store_explicit(&w->visit_ns, w->visit_ns - w->visit_ns / 8 + (now - begun) / 8,
                          memory_order_relaxed);
    isola__stint_look(w, now);
    if (w->owed != 0)
        pay(w);
    isola__realm_unref(r);
}

static void on_async(uv_async_t *async)
{
    (void)async; /* the loop has returned: that is all */
}

static struct isola_realm *next(struct isola_worker *w)
{
    struct isola_realm *r = pop(w);
    if (r == NULL && steal(w))
        r = pop(w);
    return r;
}

static bool others_work(const struct isola_worker *w)
{
    const struct isola_host *h = w->host;
    for (unsigned i = 0; i < h->nworkers; i++) {
        const struct isola_worker *other = &h->workers[i];
        if (other != w && atomic_load(&other->sleep) == AWAKE &&
            (!atomic_load(&other->lingers) || atomic_load(&other->backlog) > 0))
            return true;
    }
    return false;
}

static bool look_as(const struct isola_worker *w, enum isola_look look)
{
    return w->host->ops->look != NULL && w->host->ops->look(w->host->arg, look);
}

/* Delivers what has come from other nodes: it has nothing else to do. */
static void look(struct isola_worker *w, enum isola_look how)
{
    w->looks = true;
    (void)look_as(w, how);
    w->looks = false;
}

/* Whoever else would run goes first now and then, so that it is the time nobody needs that is spent
 * on this: not each time, since the kernel has who gives way again and again wait for tens of
 * milliseconds. */
static void look_on(struct isola_worker *w, unsigned times)
{
    look(w, ISOLA_LOOK_ON);
    if (times % LOOK_YIELDS == LOOK_YIELDS / 4 && atomic_load(&w->backlog) == 0)
        sched_yield();
}

static void on_gate(uv_poll_t *gate, int status, int events)
{
    (void)status, (void)events;
    look(gate->data, ISOLA_LOOK_ON);
}

/* May it look for what comes from other nodes? It either looks for long enough or not at all. */
static bool look_begin(struct isola_worker *w, uint64_t now)
{
    w->look_ns += (now - w->looked) / LOOK_SHARE;
    w->looked = now;
    if (w->look_ns > LOOK_NS)
        w->look_ns = LOOK_NS;
    return w->look_ns == LOOK_NS && look_as(w, ISOLA_LOOK_BEGIN);
}

static void look_end(struct isola_worker *w, uint64_t now, bool found)
{
    if (!found)
        w->look_ns = 0;
    w->looked = now;
    (void)look_as(w, ISOLA_LOOK_END);
}

/* Looks for work a little longer while others work, or are about to, who may make some, or other
 * nodes may send some: for as long as it may take to be put to sleep and woken (Karlin et al.,
 * "Competitive snoopy caching", 1988, say why). What it has looked for in vain it must save up
 * again: a small part of all time is all that is lost by it. */
static struct isola_realm *linger(struct isola_worker *w)
{
    uint64_t now = isola_clock_ns(), saved = (now - w->lingered) / LINGER_SHARE;
    struct isola_realm *r = NULL;
    if (isola__stint_full(w->host, now) && others_work(w))
        return NULL;
    w->linger_ns = w->linger_ns + saved < LINGER_NS ? w->linger_ns + saved : LINGER_NS;
    bool looks = look_begin(w, now);
    unsigned times = 0;
    uint64_t until = now + w->linger_ns, look_until = looks ? now + LOOK_NS : 0;
    while (r == NULL && (now < look_until || (now < until && others_work(w)))) {
        atomic_store(&w->lingers, true);
        if (looks)
            look_on(w, times++);
        for (int i = 0; i < LINGER_LOOKS && atomic_load(&w->backlog) == 0; i++)
            isola_cpu_relax();
        atomic_store(&w->lingers, false); /* before what has come is taken: somebody relies on it */
        r = next(w);
        now = isola_clock_ns();
    }
    if (looks)
        look_end(w, now, r != NULL);
    w->lingered = now;
    if (r != NULL) {
        w->linger_ns = LINGER_NS;
        w->vain = 0;
    } else {
        w->linger_ns = until > now ? until - now : 0;
    }
    return r;
}

/* It has slept since it lingered, and there is something to do. */
static void slept(struct isola_worker *w)
{
    uint64_t now = isola_clock_ns();
    if (now - w->forgiven > LINGER_EACH) {
        w->forgiven = now;
        w->vain = 0;
    }
    if (now - w->lingered < LINGER_SHORT && w->vain < LINGER_VAIN) {
        w->vain++;
        w->linger_ns = LINGER_NS;
    }
}

static bool all_sleep(const struct isola_host *h)
{
    for (unsigned i = 0; i < h->nworkers; i++)
        if (atomic_load(&h->workers[i].sleep) == AWAKE)
            return false;
    return true;
}

/* To the others it is a visit that lasts. True: it has been awake meanwhile. */
static bool make_spare(struct isola_worker *w)
{
    if (atomic_load(&w->host->spares.wanted) == 0)
        return false;
    atomic_store(&w->sleep, AWAKE);
    atomic_store(&w->visit_since, isola_clock_ns());
    isola__spare_make(w->host);
    atomic_store(&w->visit_since, 0);
    return true;
}

/* Sleeps until there is something to visit, which it returns. A worker that has begun to sleep, and
 * has found nothing since, opens an isolate for later first, if one is wanted. */
static struct isola_realm *sleep_until_ready(struct isola_worker *w)
{
    struct isola_realm *r;
    uint64_t begun = isola_clock_ns();
    bool long_ago = false, looked = false;
    isola__stint_leave(w);
    for (unsigned quiet = 0;; quiet = all_sleep(w->host) ? quiet + 1 : 0) {
        bool watch = (quiet < WATCH_LOOKS && w->host->nworkers > 1) ||
                     atomic_load(&w->host->spares.wanted) > 0;
        atomic_store(&w->sleep, watch ? WATCHING : ASLEEP);
        long_ago = !watch;
        fire_for_others(w);
        if (keeper(w->host, w) == NULL) /* who will look itself, when its visit is done */
            look(w, ISOLA_LOOK_SLEEP);
        r = next(w);
        if (r != NULL)
            break;
        if (looked && make_spare(w))
            continue;
        looked = true;
        arm(w);
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    atomic_store(&w->sleep, AWAKE);
    (void)look_as(w, ISOLA_LOOK_WAKE);
    slept(w);
    isola__stint_slept(w, begun);
    if (long_ago && keeps_deadlines(w)) /* should this visit last */
        see_to_watch(w);
    return r;
}

static void open_gate(struct isola_worker *w)
{
    const struct isola_host_ops *ops = w->host->ops;
    int fd = ops->gate != NULL ? ops->gate(w->host->arg) : -1;
    w->gate.data = w;
    if (fd >= 0 && uv_poll_init(&w->loop, &w->gate, fd) == 0)
        (void)uv_poll_start(&w->gate, UV_READABLE, on_gate);
}

static void *run(void *arg)
{
    struct isola_worker *w = arg;
    here = w;
    isola__stint_begin(w);
    isola__stint_place(w);
    isola__watchdog_join(w->host, w->number);
    open_gate(w);
    for (unsigned visits = 0;; visits++) {
        struct isola_realm *r = next(w);
        if (r == NULL)
            r = linger(w);
        if (r == NULL) {
            r = sleep_until_ready(w);
            isola__stint_place(w);
        } else if (visits % VISITS == VISITS - 1) {
            uv_run(&w->loop, UV_RUN_NOWAIT);
            fire_for_others(w);
            isola__stint_place(w);
        }
        visit(w, r);
        look(w, ISOLA_LOOK_GLANCE);
    }
    return NULL;
}

/* --- realms that are shared --- */

/* A release is one object for as long as a realm refers to it, while its id may be that of an older
 * one that comes back. */
static struct isola_slice shared_key(struct isola_release_rt *const *release)
{
    return isola_slice(release, sizeof(struct isola_release_rt *));
}

struct isola_realm *isola__worker_shared_realm(struct isola_worker *w,
                                               const struct isola_type *type)
{
    struct isola_host *h = w->host;
    pthread_mutex_lock(&h->shared_lock);
    struct isola_realm *r = isola_map_get(&w->shared, shared_key(&type->release));
    if (r == NULL) {
        r = isola__realm_new(h, w, type->release, true, isola__limits_of(type));
        isola_map_set(&w->shared, shared_key(&type->release), r);
    }
    isola__realm_ref(r);
    r->residents++;
    pthread_mutex_unlock(&h->shared_lock);
    return r;
}

void isola__worker_leave_shared(struct isola_realm *r)
{
    struct isola_worker *w = r->owner;
    struct isola_host *h = w->host;
    /* Both locks, so that either we see the newer release or its sweep sees that nobody is left. */
    pthread_rwlock_rdlock(&h->apps_lock);
    pthread_mutex_lock(&h->shared_lock);
    bool current = isola__release_is_live(h, r->release);
    bool over = --r->residents == 0 && (!current || r->dead);
    bool empty = r->residents == 0;
    if (over && !r->dead)
        ISOLA_CHECK(isola_map_del(&w->shared, shared_key(&r->release)) == r);
    pthread_mutex_unlock(&h->shared_lock);
    pthread_rwlock_unlock(&h->apps_lock);
    if (over) {
        isola__realm_close(r);
        isola__realm_unref(r);
    } else if (empty) {
        isola__idle_empty(r);
    }
}

void isola__worker_evict_shared(struct isola_realm *r)
{
    struct isola_host *h = r->host;
    struct isola_worker *w = r->owner;
    pthread_mutex_lock(&h->shared_lock);
    bool over = r->residents == 0 && isola_map_get(&w->shared, shared_key(&r->release)) == r;
    if (over)
        isola_map_del(&w->shared, shared_key(&r->release));
    pthread_mutex_unlock(&h->shared_lock);
    if (over) {
        isola__realm_close(r);
        isola__realm_unref(r);
    }
}

void isola__worker_drop_shared(struct isola_realm *r)
{
    struct isola_worker *w = r->owner;
    pthread_mutex_lock(&w->host->shared_lock);
    if (r->shared && !r->dead) /* the map's reference goes with the last resident */
        ISOLA_CHECK(isola_map_del(&w->shared, shared_key(&r->release)) == r);
    r->dead = true;
    pthread_mutex_unlock(&w->host->shared_lock);
}

void isola__worker_sweep_shared(struct isola_worker *w, const struct isola_release_rt *release)
{
    struct isola_host *h = w->host;
    pthread_mutex_lock(&h->shared_lock);
    struct isola_realm *r = isola_map_get(&w->shared, isola_slice(&release, sizeof(release)));
    if (r != NULL && r->residents == 0)
        isola_map_del(&w->shared, isola_slice(&release, sizeof(release)));
    else
        r = NULL;
    pthread_mutex_unlock(&h->shared_lock);
    if (r != NULL) {
        isola__realm_close(r);
        isola__realm_unref(r);
    }
}

int isola__worker_start(struct isola_worker *w, struct isola_host *h, unsigned number,
                        struct isola_err *err)
{
    w->host = h;
    w->number = number;
    w->linger_ns = LINGER_NS;
    atomic_init(&w->cpu, -1);
    w->ready_tail = w->ready_ended = &w->ready_head;
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->wakes_lock, NULL);
    int r = uv_loop_init(&w->loop);
    if (r == 0)
        r = uv_async_init(&w->loop, &w->async, on_async);
    if (r == 0)
        r = uv_timer_init(&w->loop, &w->timer);
    w->async.data = w;
    w->timer.data = w;
    if (r == 0)
        r = -pthread_create(&w->thread, NULL, run, w);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot start worker thread %u: %s", number,
                          uv_strerror(r));
    return 0;
}
