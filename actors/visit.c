/* SPDX-License-Identifier: Apache-2.0
 *
 * Visits of a realm. One first hands the inbox out, which needs no isolate; only when some actor
 * then has something to run is the isolate made (at the first time) and entered. It ends after a
 * bounded number of turns, or some time; what is left makes the realm ready again, behind the
 * others.
 */
#include "actors/realm.h"

#include "actors/check.h"
#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/inspect.h"
#include "actors/io.h"
#include "actors/limits.h"
#include "actors/pace.h"
#include "actors/pending.h"
#include "actors/prepared.h"
#include "actors/storage.h"
#include "actors/turn.h"
#include "base/clock.h"

/* Turns in one visit, and how long new ones begin in it. */
#define BUDGET   256
#define VISIT_NS 2000000
/* How old the heap's size may be when there are visits, ms. */
#define HEAP_AGE 500

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

static struct isola_actor *next_touched(struct isola_realm *r)
{
    struct isola_actor *a = r->touched;
    if (a != NULL) {
        r->touched = a->next_touched;
        a->is_touched = false;
    }
    return a;
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
    isola__realm_inbox(r, &r->held);
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
    isola__realm_note(r);
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
