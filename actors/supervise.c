/* SPDX-License-Identifier: Apache-2.0
 *
 * Parents and children, as Erlang's supervisors have them. A parent's activation monitors the
 * children it has spawned, in their order, and starts them again when they crash: one_for_one that
 * child alone, one_for_all all of them, rest_for_one that child and those spawned after it; others
 * are stopped first, the last one first, each step after the one before has been answered.
 * escalate: the parent crashes with the child. How often a child may crash is for its own type to
 * say (restart.c); one that has failed crashes its parent, whichever the strategy.
 *
 * When the parent stops, crashes or fails its children are stopped, the last one first. When it
 * crashes, or ends for a newer release or another node, it starts again by itself and spawns anew;
 * for a release or a move the children live on meanwhile.
 */
#include "actors/gate.h"
#include "actors/life.h"
#include "actors/pending.h"
#include "actors/turn.h"
#include "actors/worker.h"
#include "base/clock.h"
#include "base/msgpack.h"

#define STEP_MS      10000 /* a step that is not answered is given up */
#define RETRY_MS     100   /* pause before a start that reached no node is tried again; doubled */
#define RETRY_MAX_MS 5000
#define CHILDREN_MAX 10000

struct isola_child {
    struct isola_child *next, *prev;
    struct isola_slice address; /* owned */
    uint64_t sub;               /* the monitor's id */
    int mode;                   /* enum isola_child_mode */
    unsigned stopping;          /* STOPs of ours whose `stopped` has not been heard */
};

struct step {
    struct step *next;
    struct isola_child *child;
    int kind; /* ISOLA_MSG_STOP or ISOLA_MSG_START */
    unsigned tries;
    uint64_t not_before; /* ms */
};

struct isola_family {
    struct isola_child *first, *last;
    size_t count;
    bool stop;                     /* the children are to end with the parent */
    struct step *steps;            /* those that wait, in order */
    struct step *current;          /* the one under way, or NULL */
    struct isola_pending *pending; /* its answer, or the time of one that waits */
};

static void post(struct isola_actor *a, int kind, struct isola_slice dst, uint64_t id)
{
    struct isola_slice none = {0};
    struct isola_mail *m = isola_mail_new(kind, a->address, dst, none, none, none);
    if (m == NULL)
        return;
    m->timeout_ms = STEP_MS;
    if (id != 0) {
        m->origin.realm = isola__realm_ref(a->realm);
        m->origin.id = id;
    }
    isola__gate_follow(a, m);
}

/* A step ends with its answer, or when there is none for so long. */
static void wait_for(struct isola_actor *a, uint64_t ms)
{
    struct isola_family *f = a->family;
    f->pending = isola__pending_new(a->realm, ISOLA_PENDING_FAMILY, a, ms);
    f->pending->whose = a;
    isola__worker_wake_at(a->realm);
}

/* Takes the next step, unless one is under way. */
static void go_on(struct isola_actor *a)
{
    struct isola_family *f = a->family;
    struct step **at = &f->steps;
    uint64_t now = isola_clock_ms(), soonest = UINT64_MAX;
    if (f->current != NULL || f->steps == NULL)
        return;
    if (f->pending != NULL) /* for one that waits, but perhaps not this one */
        isola__pending_free(a->realm, f->pending);
    f->pending = NULL;
    for (; *at != NULL && (*at)->not_before > now; at = &(*at)->next)
        soonest = (*at)->not_before < soonest ? (*at)->not_before : soonest;
    struct step *s = *at;
    if (s == NULL) {
        wait_for(a, soonest - now);
        return;
    }
    *at = s->next;
    f->current = s;
    wait_for(a, STEP_MS);
    if (s->kind == ISOLA_MSG_STOP)
        s->child->stopping++;
    post(a, s->kind, s->child->address, isola__pending_id(f->pending) | ISOLA_FAMILY_ID);
}

static void append(struct isola_family *f, struct step *s)
{
    struct step **end = &f->steps;
    while (*end != NULL)
        end = &(*end)->next;
    s->next = NULL;
    *end = s;
}

static void plan(struct isola_family *f, struct isola_child *child, int kind)
{
    struct step *s = isola_zalloc(sizeof(*s));
    s->child = child;
    s->kind = kind;
    append(f, s);
}

/* The child was on no node that could be reached: it is started where it lives as soon as there is
 * one. Other steps need not wait for that. */
static void retry(struct isola_family *f, struct step *s)
{
    uint64_t pause = s->tries < 6 ? (uint64_t)RETRY_MS << s->tries : RETRY_MAX_MS;
    s->tries++;
    s->not_before = isola_clock_ms() + (pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS);
    append(f, s);
}

static void conclude(struct isola_family *f, struct step *s, const struct isola_mail *answer)
{
    struct isola_slice value = {0};
    struct isola_mp_error e = {0};
    bool has = answer != NULL && isola_mp_at(answer->args, 0, &value);
    if (has && answer->kind == ISOLA_MSG_FAIL)
        (void)isola_mp_read_error(value, &e);
    if (s->kind == ISOLA_MSG_START && e.code == ISOLA_EUNREACHABLE) {
        retry(f, s);
        return;
    }
    bool stopped =
        has && answer->kind == ISOLA_MSG_REPLY && value.len == 1 && value.data[0] == 0xc3;
    if (s->kind == ISOLA_MSG_STOP && has && !stopped && s->child->stopping > 0)
        s->child->stopping--; /* nothing was there that could be heard to have stopped */
    free(s);
}

void isola__family_answered(struct isola_realm *r, struct isola_pending *p,
                            const struct isola_mail *answer)
{
    struct isola_actor *a = p->whose;
    struct isola_family *f = a->family;
    struct step *s = f->current;
    isola__pending_free(r, p);
    f->pending = NULL;
    f->current = NULL;
    if (s != NULL)
        conclude(f, s, answer);
    go_on(a);
}

/* --- spawning --- */

static struct isola_child *child_at(const struct isola_family *f, struct isola_slice address)
{
    struct isola_child *c = f->first;
    while (c != NULL && !isola_slice_eq(c->address, address))
        c = c->next;
    return c;
}

int isola__family_spawn(struct isola_realm *r, uint32_t actor, uint32_t turn,
                        struct isola_slice dst, int mode, struct isola_err *err)
{
    struct isola_actor *a = isola__realm_actor(r, actor);
    struct isola_slice none = {0};
    struct isola_address at;
    if (a == NULL)
        return isola_fail(err, ISOLA_ECLOSED, "this activation of the actor has ended");
    int e = isola_address_parse(dst, &at, err);
    if (e != 0)
        return e;
    if (isola_slice_eq(dst, a->address))
        return isola_fail(err, ISOLA_EINVAL, "an actor cannot be its own child");
    if (a->family == NULL)
        a->family = isola_zalloc(sizeof(*a->family));
    struct isola_family *f = a->family;
    struct isola_child *c = child_at(f, dst);
    if (c == NULL) {
        if (f->count >= CHILDREN_MAX)
            return isola_fail(err, ISOLA_EOVERLOAD, "an actor has at most %d children",
                              CHILDREN_MAX);
        struct isola_v8_send s = {.actor = actor,
                                  .turn = turn,
                                  .kind = ISOLA_MSG_SUB,
                                  .dst = dst,
                                  .event = isola_slice_str(ISOLA_DOWN)};
        uint64_t sub;
        e = isola__v8_ops.send(r, &s, &sub, err);
        if (e != 0)
            return e;
        c = isola_zalloc(sizeof(*c));
        c->address = isola_slice(isola_strndup((const char *)dst.data, dst.len), dst.len);
        c->sub = sub;
        c->prev = f->last;
        *(f->last != NULL ? &f->last->next : &f->first) = c;
        f->last = c;
        f->count++;
    }
    c->mode = mode;
    struct isola_mail *m = isola_mail_new_in(isola__turn_trace(a, turn), ISOLA_MSG_START,
                                             a->address, dst, none, none, none);
    if (m != NULL)
        isola_mailq_push(&a->effects, m);
    isola__realm_touch(r, a);
    return 0;
}

/* --- what becomes of children --- */

static void crash_with(struct isola_actor *a, const struct isola_child *c, const char *what,
                       struct isola_slice message)
{
    static const char says_so[] = "has failed: ";
    size_t n = sizeof(says_so) - 1;
    if (message.len >= n && memcmp(message.data, says_so, n) == 0)
        message = isola_slice(message.data + n, message.len - n);
    if (a->crash.len == 0)
        isola_buf_printf(&a->crash, "its child %.*s %s: %.*s", ISOLA_FMT(c->address), what,
                         ISOLA_FMT(message));
    a->hurt = true;
    a->begun = a->begun || atomic_load(&a->state) != ISOLA_ACTOR_STARTING;
    isola__realm_touch(a->realm, a);
}

static void restart(struct isola_actor *a, struct isola_child *c, struct isola_slice message)
{
    struct isola_family *f = a->family;
    struct isola_child *from = c;
    switch (a->type->def.life.strategy) {
    case ISOLA_ESCALATE:
        crash_with(a, c, "crashed", message);
        return;
    case ISOLA_ONE_FOR_ONE:
        plan(f, c, ISOLA_MSG_START);
        break;
    case ISOLA_ONE_FOR_ALL:
        from = f->first;
        /* fall through */
    case ISOLA_REST_FOR_ONE:
        for (struct isola_child *x = f->last; x != NULL && x != from->prev; x = x->prev)
            if (x != c)
                plan(f, x, ISOLA_MSG_STOP);
        for (struct isola_child *x = from; x != NULL; x = x->next)
            if (x == c || x->mode != ISOLA_CHILD_TEMPORARY)
                plan(f, x, ISOLA_MSG_START);
        break;
    }
    go_on(a);
}

bool isola__family_event(struct isola_actor *a, struct isola_mail *event)
{
    struct isola_slice reason, message;
    struct isola_child *c = a->family->first;
    while (c != NULL && c->sub != event->origin.id)
        c = c->next;
    if (c == NULL || !isola_is_monitor(event))
        return false;
    isola__down_read(event, &reason, &message);
    if (isola_slice_is(reason, "stopped") && c->stopping > 0)
        c->stopping--;
    else if (isola_slice_is(reason, "failed") && c->mode != ISOLA_CHILD_TEMPORARY)
        crash_with(a, c, "failed", message);
    else if (isola_slice_is(reason, "stopped") ? c->mode == ISOLA_CHILD_PERMANENT
                                               : c->mode != ISOLA_CHILD_TEMPORARY)
        restart(a, c, message);
    isola_mail_free(event);
    return true;
}

/* --- the end of the parent's activation --- */

void isola__family_stops(struct isola_actor *a)
{
    if (a->family != NULL)
        a->family->stop = true;
}

void isola__family_respawns(struct isola_actor *a)
{
    if (a->family != NULL)
        post(a, ISOLA_MSG_START, a->address, 0);
}

void isola__family_end(struct isola_actor *a)
{
    struct isola_family *f = a->family;
    if (f == NULL)
        return;
    if (f->pending != NULL)
        isola__pending_free(a->realm, f->pending);
    free(f->current);
    while (f->steps != NULL) {
        struct step *s = f->steps;
        f->steps = s->next;
        free(s);
    }
    while (f->last != NULL) {
        struct isola_child *c = f->last;
        f->last = c->prev;
        if (f->stop)
            post(a, ISOLA_MSG_STOP, c->address, 0);
        free((void *)(uintptr_t)c->address.data);
        free(c);
    }
    a->family = NULL;
    free(f);
}
