/* SPDX-License-Identifier: Apache-2.0
 *
 * A realm: an isolate, the actors in it, and its visits.
 *
 * A realm is idle, ready (in a worker's queue), running (being visited) or closed; it is in a queue
 * at most once, and never visited by two workers. A visit first hands the inbox out, which needs no
 * isolate; only when some actor then has something to run is the isolate made (at the first time)
 * and entered. It ends after a bounded number of turns, or some time; what is left makes the realm
 * ready again, behind the others.
 *
 * The inbox is a stack that is pushed to without a lock and taken as a whole (Treiber). Whoever
 * pushes makes an idle realm ready; the visitor, having made it idle, looks once more: one of the
 * two sees the other.
 */
#include "actors/realm.h"

#include "actors/check.h"
#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/inspect.h"
#include "actors/io.h"
#include "actors/limits.h"
#include "actors/pace.h"
#include "actors/prepared.h"
#include "actors/storage.h"
#include "actors/turn.h"
#include "base/clock.h"
#include "base/fetch.h"
#include "base/msgpack.h"

/* Turns in one visit, and how long new ones begin in it. */
#define BUDGET   256
#define VISIT_NS 2000000
/* Ids of pending asks and timers are numbers a script can hold exactly: 53 bits. */
#define INDEX_BITS 24
/* How old the heap's size may be when there are visits, ms. */
#define HEAP_AGE 500
/* Visits of an isolate between two looks at what it needs. The first message to an actor is not
 * the one to learn from. */
#define LINES_VISITS 256
#define LINES_FIRST  4
/* Of a state, to compare it: most differ soon, bytes. */
#define SAVED 128

struct isola_realm *isola__realm_new(struct isola_host *h, struct isola_worker *w,
                                     struct isola_release_rt *release, bool shared,
                                     struct isola_v8_limits limits)
{
    struct isola_realm *r = isola_zalloc(sizeof(*r));
    atomic_init(&r->refs, 1);
    atomic_init(&r->state, ISOLA_REALM_IDLE);
    atomic_init(&r->worker, w);
    r->host = h;
    r->owner = w;
    r->release = isola__release_ref(release);
    r->shared = shared;
    r->limits = limits;
    r->lines_age = LINES_FIRST;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

struct isola_realm *isola__realm_ref(struct isola_realm *r)
{
    atomic_fetch_add(&r->refs, 1);
    return r;
}

void isola__realm_unref(struct isola_realm *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    ISOLA_CHECK(r->v8 == NULL && r->actors.count == 0 && atomic_load(&r->inbox) == NULL &&
                r->held.count == 0 && r->direct.count == 0);
    isola__release_unref(r->release);
    isola_heap_free(&r->due);
    for (uint32_t i = 0; i < r->npending; i++)
        free(r->pending[i]);
    free(r->pending);
    isola_map_free(&r->ios);
    free(r->batch.items);
    isola__refs_free(&r->refs_of);
    free(r->asks);
    for (struct isola_turn *next, *t = r->free_turns; t != NULL; t = next) {
        next = t->next;
        free(t);
    }
    isola_buf_free(&r->scratch);
    isola_idmap_free(&r->actors);
    isola_map_free(&r->modules);
    isola__idle_free(r);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* Moves the inbox to the end of `to`, in the order it came in. */
static void take_inbox(struct isola_realm *r, struct isola_mailq *to)
{
    struct isola_mail *m = atomic_exchange(&r->inbox, NULL);
    if (m == NULL)
        return;
    struct isola_mailq q = {.tail = &m->next};
    struct isola_mail *first = NULL;
    while (m != NULL) { /* what has been written by other threads is fetched meanwhile */
        struct isola_mail *before = m->next;
        isola_fetch(m, sizeof(*m));
        if (m->actor != NULL)
            isola__actor_fetch(m->actor, true);
        m->next = first;
        first = m;
        m = before;
        q.count++;
    }
    q.head = first;
    isola_mailq_join(to, &q);
}

/* What has come to a realm that is closed: answers to activations that have ended, and the ends of
 * writes of actors that are gone. */
static void drop_orphans(struct isola_realm *r, struct isola_mailq *q)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(q)) != NULL) {
        if (m->actor == NULL) {
            isola_mail_free(m);
            continue;
        }
        ISOLA_CHECK(m->kind == ISOLA_MAIL_READ || m->kind == ISOLA_MAIL_COMMITTED);
        struct isola_host *h = r->host;
        pthread_mutex_lock(&h->orphans);
        isola__actor_take(m->actor, m);
        pthread_mutex_unlock(&h->orphans);
    }
}

void isola__realm_drop(struct isola_realm *r)
{
    struct isola_mailq q = {0};
    take_inbox(r, &q);
    drop_orphans(r, &r->direct);
    drop_orphans(r, &r->held);
    drop_orphans(r, &q);
}

static void put(struct isola_realm *r, struct isola_mail *mail)
{
    struct isola_mail *first = atomic_load(&r->inbox);
    do
        mail->next = first;
    while (!atomic_compare_exchange_weak(&r->inbox, &first, mail));
}

bool isola__realm_leave(struct isola_realm *r, struct isola_mail *mail)
{
    put(r, mail);
    return atomic_load(&r->state) != ISOLA_REALM_CLOSED;
}

bool isola__realm_push(struct isola_realm *r, struct isola_mail *mail)
{
    if (mail != NULL) {
        put(r, mail);
    } else {
        atomic_store(&r->nudged, true);
    }
    int idle = ISOLA_REALM_IDLE;
    if (atomic_compare_exchange_strong(&r->state, &idle, ISOLA_REALM_READY))
        isola__worker_ready(r);
    return idle != ISOLA_REALM_CLOSED;
}

void isola__realm_post(struct isola_realm *r, struct isola_mail *mail)
{
    if (!isola__realm_push(r, mail))
        isola__realm_drop(r);
}

void isola__realm_take(struct isola_realm *r, struct isola_actor *a, struct isola_mailq *to)
{
    struct isola_mailq all = r->direct;
    struct isola_mail *m;
    r->direct = (struct isola_mailq){0};
    while ((m = isola_mailq_pop(&all)) != NULL)
        isola_mailq_push(m->actor == a ? to : &r->direct, m);
    a->ndirect = 0;
    isola_mailq_join(&all, &r->held);
    take_inbox(r, &all);
    while ((m = isola_mailq_pop(&all)) != NULL)
        isola_mailq_push(m->actor == a ? to : &r->held, m);
}

/* Can it begin a turn, as far as can be seen outside of the isolate? */
static bool is_free(const struct isola_actor *a)
{
    int state = atomic_load_explicit(&a->state, memory_order_relaxed);
    return (state == ISOLA_ACTOR_IDLE || state == ISOLA_ACTOR_RUNNING) && a->waiting.head == NULL &&
           isola__actor_may_begin(a) && !a->cancelling && a->upgrade == NULL;
}

static bool is_message(const struct isola_mail *m)
{
    return (m->kind == ISOLA_MSG_ASK || m->kind == ISOLA_MSG_EMIT) && !m->durable;
}

/* An answer. Takes it. */
static void answered(struct isola_realm *r, struct isola_mail *m)
{
    struct isola_pending *p;
    if (m->origin.id & ISOLA_FAMILY_ID) {
        p = isola__pending_find(r, m->origin.id & ~ISOLA_FAMILY_ID, ISOLA_PENDING_FAMILY);
        if (p != NULL)
            isola__family_answered(r, p, m);
    } else if ((p = isola__pending_ask(r, m->origin.id)) != NULL) {
        uint32_t serial = p->actor;
        struct isola_actor *a = p->whose;
        isola__pending_free(r, p);
        isola__batch_answer(r, a, serial, m);
        return;
    }
    isola_mail_free(m);
}

bool isola__realm_direct(struct isola_realm *r)
{
    struct isola_mail *m;
    bool any = false;
    while (r->budget > 0 && (m = isola_mailq_pop(&r->direct)) != NULL) {
        struct isola_actor *a = m->actor;
        any = true;
        if (a == NULL) {
            answered(r, m);
            continue;
        }
        a->ndirect--;
        if (is_message(m) && is_free(a) && !atomic_load(&r->host->draining) && !r->dead &&
            (m->deadline == 0 || m->deadline > r->now)) {
            r->budget--;
            isola__mailbox_sub(a, 1);
            isola__turn_begin(a, m);
        } else {
            isola__actor_take(a, m);
            if (a->type->def.reentrant) /* it may begin before what follows, and is to */
                break;
        }
        if (r->dead)
            break;
    }
    return any;
}

/* Puts the messages of an actor (NULL: of all) where others wait; without an actor, drops answers.
 */
static void give_back_direct(struct isola_realm *r, const struct isola_actor *whose)
{
    struct isola_mailq all = r->direct;
    struct isola_mail *m;
    r->direct = (struct isola_mailq){0};
    while ((m = isola_mailq_pop(&all)) != NULL) {
        if (whose != NULL && m->actor != whose) {
            isola_mailq_push(&r->direct, m);
        } else if (m->actor != NULL) {
            m->actor->ndirect--;
            isola__actor_take(m->actor, m);
        } else {
            isola_mail_free(m);
        }
    }
}

void isola__realm_touch(struct isola_realm *r, struct isola_actor *a)
{
    if (a->is_touched)
        return;
    a->is_touched = true;
    isola__actor_ref(a);
    a->next_touched = NULL;
    if (r->touched == NULL)
        r->touched = a;
    else
        *r->touched_tail = a;
    r->touched_tail = &a->next_touched;
}

void isola__realm_untouch(struct isola_realm *r, struct isola_actor *a)
{
    if (!a->is_touched)
        return;
    struct isola_actor **at = &r->touched;
    while (*at != a)
        at = &(*at)->next_touched;
    *at = a->next_touched;
    if (*at == NULL)
        r->touched_tail = at;
    a->is_touched = false;
    isola__actor_unref(a);
}

static struct isola_actor *next_touched(struct isola_realm *r)
{
    struct isola_actor *a = r->touched;
    if (a != NULL) {
        r->touched = a->next_touched;
        a->is_touched = false;
    }
    return a;
}

/* --- pending asks and timers --- */

struct isola_pending *isola__pending_at(struct isola_realm *r, int what, struct isola_actor *a,
                                        uint64_t at)
{
    struct isola_pending *p;
    if (r->free_pending != 0) {
        p = r->pending[r->free_pending - 1];
        r->free_pending = p->next_free;
    } else {
        if ((r->npending & (r->npending - 1)) == 0)
            r->pending = isola_realloc(r->pending, (r->npending ? r->npending * 2 : 1) *
                                                       sizeof(struct isola_pending *));
        ISOLA_CHECK(r->npending < 1u << INDEX_BITS);
        p = isola_zalloc(sizeof(*p));
        p->index = r->npending;
        r->pending[r->npending++] = p;
    }
    p->what = what;
    p->actor = 0;
    p->next = NULL;
    p->prev = NULL;
    if (a != NULL) {
        p->actor = a->serial;
        p->whose = a;
        a->nasks += what == ISOLA_PENDING_ASK;
        a->ntimers += what == ISOLA_PENDING_TIMER;
        p->next = a->pending;
        p->prev = &a->pending;
        if (p->next != NULL)
            p->next->prev = &p->next;
        a->pending = p;
    }
    p->generation = (p->generation + 1) & 0x1fffffff;
    p->durable = false;
    p->period = 0;
    isola_heap_insert(&r->due, &p->due, at);
    return p;
}

struct isola_pending *isola__pending_new(struct isola_realm *r, int what, struct isola_actor *a,
                                         uint64_t ms)
{
    return isola__pending_at(r, what, a, isola_clock_ms() + ms);
}

uint64_t isola__pending_id(const struct isola_pending *p)
{
    return (uint64_t)p->generation << INDEX_BITS | p->index;
}

struct isola_pending *isola__pending_find(struct isola_realm *r, uint64_t id, int what)
{
    uint32_t index = (uint32_t)(id & ((1u << INDEX_BITS) - 1));
    if (index >= r->npending)
        return NULL;
    struct isola_pending *p = r->pending[index];
    return (int)p->what == what && isola__pending_id(p) == id ? p : NULL;
}

void isola__pending_free(struct isola_realm *r, struct isola_pending *p)
{
    isola_heap_remove(&r->due, &p->due);
    if (p->what == ISOLA_PENDING_ASK)
        r->asks[ISOLA_ASK_SLOT(p->ask)] = NULL;
    if (p->prev != NULL && p->what == ISOLA_PENDING_ASK)
        p->whose->nasks--;
    else if (p->prev != NULL && p->what == ISOLA_PENDING_TIMER)
        p->whose->ntimers--;
    if (p->prev != NULL)
        *p->prev = p->next;
    if (p->next != NULL)
        p->next->prev = p->prev;
    p->what = ISOLA_PENDING_FREE;
    p->next_free = r->free_pending;
    r->free_pending = p->index + 1;
}

struct isola_pending *isola__pending_ask(const struct isola_realm *r, uint64_t ask)
{
    uint32_t slot = ISOLA_ASK_SLOT(ask);
    struct isola_pending *p = slot < r->nslots ? r->asks[slot] : NULL;
    return p != NULL && p->ask == ask ? p : NULL;
}

void isola__pending_name(struct isola_realm *r, struct isola_pending *p, uint64_t ask)
{
    uint32_t slot = ISOLA_ASK_SLOT(ask);
    if (slot >= r->nslots) {
        uint32_t size = r->nslots == 0 ? 4 : r->nslots;
        while (size <= slot)
            size *= 2;
        r->asks = isola_realloc(r->asks, size * sizeof(*r->asks));
        memset(r->asks + r->nslots, 0, (size - r->nslots) * sizeof(*r->asks));
        r->nslots = size;
    }
    ISOLA_CHECK(r->asks[slot] == NULL);
    r->asks[slot] = p;
    p->ask = ask;
}

/* Outside of a turn this is like the end of one. */
void isola__realm_ran(struct isola_realm *r, struct isola_actor *a)
{
    if (isola__gate_open(a)) { /* what it sent has left */
        isola__idle_used(a);
        return;
    }
    if (a->nrunning == 0)
        a->turn_ended = true;
    isola__realm_touch(r, a);
}

static void ran(struct isola_realm *r, uint32_t serial)
{
    struct isola_actor *a = isola__realm_actor(r, serial);
    if (a != NULL)
        isola__realm_ran(r, a);
}

static void expire(struct isola_realm *r, struct isola_pending *p)
{
    if (p->what == ISOLA_PENDING_ASK) {
        uint64_t id = p->ask;
        uint32_t actor = p->actor;
        isola__pending_free(r, p);
        isola_js_expire(r->js, actor, id);
        ran(r, actor);
    } else if (p->what == ISOLA_PENDING_TIMER) {
        uint64_t id = isola__pending_id(p);
        uint32_t actor = p->actor;
        if (p->period != 0) {
            isola_heap_remove(&r->due, &p->due);
            isola_heap_insert(&r->due, &p->due, isola_clock_ms() + p->period);
        } else {
            isola__pending_free(r, p);
        }
        isola_js_timer(r->js, actor, id);
        ran(r, actor);
    } else if (p->what == ISOLA_PENDING_SIGNAL) {
        isola__cancel_due(r, p);
    } else if (p->what == ISOLA_PENDING_FAMILY) {
        isola__family_answered(r, p, NULL);
    } else if (p->what == ISOLA_PENDING_GRACE) {
        isola__grace_due(p);
    } else if (p->what == ISOLA_PENDING_RESTART) {
        isola__restart_due(p);
    } else if (p->what == ISOLA_PENDING_IDLE) {
        isola__idle_due(r, p);
    } else if (p->what == ISOLA_PENDING_EMPTY) {
        isola__idle_empty_due(r, p);
    } else {
        isola__pending_free(r, p);
        isola_js_tasks(r->js);
    }
}

static void arm_delays(struct isola_realm *r, struct isola_delay *d)
{
    uint64_t now = isola_clock_ms();
    while (d != NULL) {
        struct isola_delay *next = d->next;
        isola__pending_new(r, ISOLA_PENDING_WAKE, NULL, d->at > now ? d->at - now : 0);
        free(d);
        d = next;
    }
}

/* --- modules --- */

struct isola_module *isola__realm_module(struct isola_realm *r, const struct isola_type *type)
{
    struct isola_slice name = isola_slice_str(type->def.name);
    struct isola_module *m = isola_map_get(&r->modules, name);
    if (m == NULL) {
        m = isola_zalloc(sizeof(*m));
        isola_map_set(&r->modules, name, m);
        isola__prepared_load(r, type);
    }
    return m;
}

/* --- visits --- */

/* All of it lies where a pointer in the struct itself says: what that points to may be gone. */
void isola__realm_fetch(const struct isola_realm *r, unsigned part, bool heard)
{
    unsigned n = atomic_load_explicit(heard ? &r->nheard : &r->nlines, memory_order_relaxed);
    if (part == 0) {
        const char *m = (const char *)atomic_load_explicit(&r->inbox, memory_order_relaxed);
        isola_fetch(m, sizeof(struct isola_mail));
        if (heard && m != NULL)
            isola_fetch(m - offsetof(struct isola_commit, note), sizeof(struct isola_commit));
        isola_fetch(atomic_load_explicit(&r->saved, memory_order_relaxed), heard ? 1 : SAVED);
    }
    for (unsigned i = part * n / ISOLA_FETCHES; i < (part + 1) * n / ISOLA_FETCHES; i++)
        __builtin_prefetch(atomic_load_explicit(&r->lines[i], memory_order_relaxed));
}

struct visit {
    struct isola_realm *realm;
    struct isola_mailq io;
    bool tasks, inspect;
};

static void drop_pending(struct isola_realm *r)
{
    struct isola_heap_node *node;
    while ((node = isola_heap_min(&r->due)) != NULL)
        isola__pending_free(
            r,
            (struct isola_pending *)(void *)((char *)node - offsetof(struct isola_pending, due)));
}

/* Hands out what has come. Messages and answers stay in their order; what comes from outside of
 * isolates, or was stored, or is part of a stream, goes to `io`. */
static void hand_out(struct isola_realm *r, struct isola_mailq *io)
{
    struct isola_mail *m;
    take_inbox(r, &r->held);
    while ((m = isola_mailq_pop(&r->held)) != NULL) {
        struct isola_actor *a = m->actor;
        if (a != NULL && m->hidden && isola__stream_is(m)) {
            isola_mailq_push(io, m); /* no turn: it may be what one waits for */
        } else if (a == NULL) {
            bool outside = m->kind == ISOLA_MAIL_IO_EVENT || m->kind == ISOLA_MAIL_IO_END ||
                           m->kind == ISOLA_MAIL_STORED;
            isola_mailq_push(outside ? io : &r->direct, m);
        } else if (is_message(m) && (a->ndirect > 0 || a->type->def.reentrant || is_free(a))) {
            a->ndirect++;
            isola_mailq_push(&r->direct, m);
        } else {
            if (a->ndirect > 0) /* it may be about them */
                give_back_direct(r, a);
            isola__actor_take(a, m);
        }
    }
}

static void settle_io(struct isola_realm *r, struct isola_mailq *io)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(io)) != NULL) {
        if (m->actor != NULL) {
            ran(r, isola__stream_take(r, m));
            continue;
        }
        ran(r,
            m->kind == ISOLA_MAIL_STORED ? isola__storage_answered(r, m) : isola__io_event(r, m));
        isola_mail_free(m);
    }
}

static void drop_io(struct isola_mailq *io)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(io)) != NULL) {
        if (m->actor != NULL)
            isola__stream_drop(m);
        else
            isola_mail_free(m);
    }
}

/* What has come since the visit began goes with what is to be run next: the more the better. */
static void look_again(struct isola_realm *r)
{
    struct isola_mailq io = {0};
    if (r->budget == 0 || r->dead || atomic_load_explicit(&r->inbox, memory_order_relaxed) == NULL)
        return;
    hand_out(r, &io);
    settle_io(r, &io);
}

static void settle_touched(struct isola_realm *r)
{
    struct isola_actor *later = NULL, **later_tail = &later;
    struct isola_actor *a;
    while ((a = next_touched(r)) != NULL ||
           (r->js != NULL && (isola__realm_direct(r) || isola__batch_run(r)))) {
        isola__worker_fetch();
        if (a == NULL) {
            if (r->batch.count == 0)
                look_again(r);
            continue;
        }
        bool here = isola__gate_settle(a);
        if (here && a->cancelling)
            isola__cancel_run(a);
        isola__worker_between(1);
        if (here && r->dead) { /* it had not begun to start: it does so in a realm that lives */
            isola__actor_end(a);
            here = false;
        }
        if (here && r->budget > 0)
            here = isola__actor_pump(a);
        if (here && r->budget == 0 && !a->is_touched && isola__actor_has_work(a)) {
            a->is_touched = true;
            a->next_touched = NULL;
            *later_tail = a;
            later_tail = &a->next_touched;
        } else {
            isola__actor_unref(a);
        }
    }
    r->touched = later; /* empty until here */
    r->touched_tail = later_tail;
}

static unsigned add_lines(struct isola_realm *r, unsigned n, const void *at, size_t size)
{
    const char *line = (const char *)((uintptr_t)at & ~(uintptr_t)(ISOLA_LINE - 1));
    for (; at != NULL && line < (const char *)at + size && n < ISOLA_REALM_LINES;
         line += ISOLA_LINE)
        atomic_store_explicit(&r->lines[n++], line, memory_order_relaxed);
    return n;
}

/* What visits need, as far as it stays where it is. */
static void note_lines(struct isola_realm *r)
{
    const void *of_v8[ISOLA_REALM_LINES];
    unsigned n = 0;
    ISOLA_IDMAP_EACH(&r->actors, e)
    {
        n = add_lines(r, n, e, offsetof(struct isola_actor, text));
    }
    atomic_store_explicit(&r->nheard, n, memory_order_relaxed);
    n = add_lines(r, n, r->actors.slots, sizeof(*r->actors.slots) << r->actors.bits);
    n = add_lines(r, n, r->free_turns, sizeof(*r->free_turns));
    n = add_lines(r, n, r->batch.items, sizeof(*r->batch.items));
    unsigned more = isola_js_footprint(r->js, of_v8, ISOLA_REALM_LINES - n);
    for (unsigned i = 0; i < more; i++)
        n = add_lines(r, n, of_v8[i], 1);
    atomic_store_explicit(&r->nlines, n, memory_order_relaxed);
    r->lines_age = LINES_VISITS;
}

static void in_visit(struct isola_js *js, void *arg)
{
    struct visit *visit = arg;
    struct isola_realm *r = visit->realm;
    uint64_t ns = isola_clock_ns(), now = ns / 1000000;
    r->js = js;
    r->budget = BUDGET;
    r->until = ns + VISIT_NS;
    r->now = now;
    r->idle_now = isola__idle_time(now);
    if (r->batch.at == NULL)
        r->batch.at = (const _Atomic(int32_t) *)isola_js_at(js);
    if (visit->inspect)
        isola__inspect_run(r, js);
    if (visit->tasks)
        isola_js_tasks(js);
    settle_io(r, &visit->io);
    struct isola_heap_node *node;
    while ((node = isola_heap_min(&r->due)) != NULL && node->key <= now)
        expire(r, (struct isola_pending *)(void *)((char *)node -
                                                   offsetof(struct isola_pending, due)));
    if (r->check != NULL)
        isola__check_visit(r);
    settle_touched(r);
    if (!r->dead && (r->heap_seen == 0 || now - r->heap_seen >= HEAP_AGE)) {
        r->heap_seen = now;
        atomic_store(&r->heap_used, isola_js_heap(js));
        isola__refs_sweep(&r->refs_of);
    }
    isola__memory_check(r->host, now);
    if (!r->shared && r->lines_age-- == 0)
        note_lines(r);
    r->js = NULL;
}

/* The isolate has ended, and so have all who were in it: what comes is for others, who still have
 * this realm. */
static void visit_dead(struct isola_realm *r, struct visit *visit)
{
    drop_io(&visit->io);
    give_back_direct(r, NULL);
    settle_touched(r);
    struct isola_pending *p;
    for (uint32_t i = 0; i < r->npending; i++) { /* pauses before restarts go on */
        p = r->pending[i];
        if (p->what != ISOLA_PENDING_FREE && p->what != ISOLA_PENDING_RESTART)
            isola__pending_free(r, p);
    }
    isola__inspect_run(r, NULL);
    isola__idle_free(r);
    r->emptied = false;
}

/* The isolate is there, or made now. */
static bool is_open(struct isola_realm *r, struct isola_err *err)
{
    struct isola_v8 *v8 = NULL;
    if (r->v8 != NULL)
        return true;
    const struct isola_actor *a = r->touched; /* the one there is, unless they share it */
    const struct isola_type *type =
        !r->shared && a != NULL && a->realm == r && a->type->release == r->release ? a->type : NULL;
    if (isola__prepared_open(r, type, &v8, err) != 0)
        return false;
    pthread_mutex_lock(&r->lock);
    r->v8 = v8;
    pthread_mutex_unlock(&r->lock);
    return true;
}

/* An isolate cannot be made: all its actors fail. */
static void cannot_open(struct isola_realm *r, struct visit *visit, const struct isola_err *err)
{
    drop_io(&visit->io);
    give_back_direct(r, NULL);
    struct isola_mail *why =
        isola_mail_failure((struct isola_origin){0}, ISOLA_EFAILED, "%s", err->text);
    struct isola_actor *a, *once = r->touched;
    r->touched = NULL; /* each of them once: those that are touched by it wait for the next visit */
    while ((a = once) != NULL) {
        once = a->next_touched;
        a->is_touched = false;
        if (a->upgrade != NULL)
            isola__actor_end(a);
        else
            isola__actor_fail(a, why != NULL ? why->args : (struct isola_slice){0});
        isola__actor_unref(a);
    }
    if (r->check != NULL)
        isola__check_loaded(r, (struct isola_slice){0},
                            why != NULL ? why->args : (struct isola_slice){0});
    isola_mail_free(why);
    isola__inspect_run(r, NULL);
}

static struct isola_delay *take_delays(struct isola_realm *r)
{
    pthread_mutex_lock(&r->lock);
    struct isola_delay *delays = r->delays;
    r->delays = NULL;
    pthread_mutex_unlock(&r->lock);
    return delays;
}

static void close_now(struct isola_realm *r)
{
    isola__realm_drop(r);
    isola__io_forget(r, NULL);
    arm_delays(r, take_delays(r));
    drop_pending(r);
    isola__worker_wake_at(r);
    ISOLA_MAP_EACH(&r->modules, e)
    {
        struct isola_module *module = e->value;
        isola_buf_free(&module->error);
        free(module);
    }
    isola_map_free(&r->modules);
    isola__refs_free(&r->refs_of); /* actors hold their realms, so this would hold itself */
    isola__inspect_close(r);
    struct isola_v8 *v8 = r->v8;
    pthread_mutex_lock(&r->lock);
    r->v8 = NULL;
    pthread_mutex_unlock(&r->lock);
    if (v8 != NULL)
        isola_v8_close(v8);
}

static void count_turns(struct isola_realm *r)
{
    if (r->begun == 0)
        return;
    unsigned stripe = atomic_load_explicit(&r->worker, memory_order_relaxed)->number;
    atomic_fetch_add_explicit(&r->release->tally.turns[stripe % ISOLA_TALLY_STRIPES].n, r->begun,
                              memory_order_relaxed);
    r->begun = 0;
}

/* A realm in which turns run counts as one thing a drain waits for. */
static void count_busy(struct isola_realm *r)
{
    if ((r->running > 0) == r->busy)
        return;
    r->busy = !r->busy;
    if (r->busy)
        isola__host_busy(r->host);
    else
        isola__host_unbusy(r->host);
}

/* Crashes whose time has come need no isolate. */
static bool restarts(struct isola_realm *r)
{
    struct isola_heap_node *node;
    bool any = false;
    while ((node = isola_heap_min(&r->due)) != NULL && node->key <= isola_clock_ms()) {
        struct isola_pending *p =
            (struct isola_pending *)(void *)((char *)node - offsetof(struct isola_pending, due));
        if (p->what != ISOLA_PENDING_RESTART)
            break;
        isola__restart_due(p);
        any = true;
    }
    return any;
}

void isola__realm_visit(struct isola_realm *r)
{
    struct visit visit = {.realm = r};
    atomic_store(&r->state, ISOLA_REALM_RUNNING);
    /* Turns end in a visit, and so does what they have changed begin to be written: a drain must
     * not end in between. */
    isola__host_busy(r->host);
    bool nudged = atomic_exchange(&r->nudged, false);
    if (nudged) {
        visit.tasks = atomic_exchange(&r->tasks, false);
        visit.inspect = isola__inspect_waits(r);
        arm_delays(r, take_delays(r));
    }
    hand_out(r, &visit.io);
    bool restarted = restarts(r);
    struct isola_heap_node *least = isola_heap_min(&r->due);
    bool due = least != NULL && least->key <= isola_clock_ms();
    bool enter = r->touched != NULL || r->direct.head != NULL || visit.io.count > 0 || due ||
                 visit.tasks || r->check != NULL || visit.inspect;
    if (enter) {
        struct isola_err err;
        isola__worker_fetch();
        if (r->dead)
            visit_dead(r, &visit);
        else if (is_open(r, &err))
            isola_v8_visit(r->v8, in_visit, &visit);
        else
            cannot_open(r, &visit, &err);
    }
    isola__limits_bury(r);
    if (enter || nudged || restarted) /* who nudged may have taken its deadline out of the heap */
        isola__worker_wake_at(r);
    count_busy(r);
    count_turns(r);

    if (atomic_load(&r->closing)) {
        close_now(r);
        atomic_store(&r->state, ISOLA_REALM_CLOSED);
        isola__realm_drop(
            r); /* what has come meanwhile; from now on, whoever posts sees that it is closed */
        isola__host_unbusy(r->host);
    } else {
        bool more = r->touched != NULL || r->held.count > 0 || r->direct.head != NULL;
        atomic_store(&r->state, ISOLA_REALM_IDLE);
        int idle = ISOLA_REALM_IDLE;
        if ((more || atomic_load(&r->inbox) != NULL || atomic_load(&r->nudged)) &&
            atomic_compare_exchange_strong(&r->state, &idle, ISOLA_REALM_READY))
            isola__worker_ready(r);
    }
    isola__host_unbusy(r->host);
}

void isola__realm_close(struct isola_realm *r)
{
    isola__host_busy(r->host); /* until it is closed: a drain waits for that */
    if (!atomic_exchange(&r->closing, true))
        isola__realm_post(r, NULL); /* in case it is not being visited */
    else
        isola__host_unbusy(r->host);
}
