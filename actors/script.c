/* SPDX-License-Identifier: Apache-2.0
 *
 * What scripts do, as the isolate reports it (actors/v8/realm.h): `arg` is the realm. All but the
 * wakes run on the realm's worker in the middle of a visit; they queue, and never enter JavaScript.
 */
#include "actors/pace.h"

#include <stdio.h>

#include "actors/check.h"
#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/inspect.h"
#include "actors/io.h"
#include "actors/limits.h"
#include "actors/pending.h"
#include "actors/permit.h"
#include "actors/sql.h"
#include "actors/stack.h"
#include "actors/storage.h"
#include "actors/subs.h"
#include "actors/turn.h"
#include "actors/upgrade.h"
#include "base/clock.h"
#include "base/msgpack.h"

/* How long a chain of asks that wait for one another may get. */
#define CHAIN_MAX 128

static void wake(void *arg)
{
    struct isola_realm *r = arg;
    atomic_store(&r->tasks, true);
    isola__realm_post(r, NULL);
}

/* From any thread, also while the worker visits the realm: it arms the timer itself. */
static void wake_later(void *arg, uint64_t ms)
{
    struct isola_realm *r = arg;
    struct isola_delay *d = isola_alloc(sizeof(*d));
    d->at = isola_clock_ms() + ms;
    pthread_mutex_lock(&r->lock);
    d->next = r->delays;
    r->delays = d;
    pthread_mutex_unlock(&r->lock);
    isola__realm_post(r, NULL);
}

/* The addresses that wait for this call: those that wait for the turn it is made in, and the
 * caller. A reentrant caller takes other messages meanwhile, but those that wait for it may not. A
 * start and a last turn are waited for as well. */
static int chain_of(struct isola_actor *a, uint32_t turn, struct isola_buf *out,
                    struct isola_err *err)
{
    struct isola_turn *t = a != NULL ? isola__turn_find(a, turn) : NULL;
    if (t == NULL && (a == NULL || !a->activating))
        return 0;
    bool asked = t != NULL && t->mail != NULL && t->mail->kind == ISOLA_MSG_ASK;
    size_t n = asked ? isola_mp_count(t->mail->chain) : 0;
    if (n >= CHAIN_MAX)
        return isola_fail(err, ISOLA_EDEADLOCK, "more than %d actors wait for one another",
                          CHAIN_MAX);
    isola_mp_array(out, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct isola_slice item;
        if (isola_mp_at(t->mail->chain, i, &item))
            isola_buf_append(out, item.data, item.len);
    }
    isola_mp_str(out, a->address);
    return 0;
}

/* An ask that is made within another cannot be waited for any longer than that one is. */
static int time_left(struct isola_actor *a, uint32_t turn, uint32_t *timeout, struct isola_err *err)
{
    struct isola_turn *t = a != NULL ? isola__turn_find(a, turn) : NULL;
    if (t == NULL || t->mail == NULL || t->mail->deadline == 0)
        return 0;
    uint64_t now = a->realm->now;
    if (t->mail->deadline <= now)
        return isola_fail(err, ISOLA_ETIMEDOUT,
                          "the ask that this one is part of is not waited for any more");
    if (*timeout > t->mail->deadline - now)
        *timeout = (uint32_t)(t->mail->deadline - now);
    return 0;
}

static void note_subscription(struct isola_actor *a, uint64_t id, const struct isola_v8_send *s)
{
    struct isola_sub_of *sub = isola_zalloc(sizeof(*sub));
    sub->id = id;
    isola_buf_append(&sub->dst, s->dst.data, s->dst.len);
    isola_buf_append(&sub->event, s->event.data, s->event.len);
    sub->next = a->subs;
    a->subs = sub;
    a->nsubs++;
}

static void forget_subscription(struct isola_actor *a, uint64_t id)
{
    for (struct isola_sub_of **at = &a->subs; *at != NULL; at = &(*at)->next) {
        struct isola_sub_of *sub = *at;
        if (sub->id == id) {
            *at = sub->next;
            a->nsubs--;
            isola_buf_free(&sub->dst);
            isola_buf_free(&sub->event);
            free(sub);
            return;
        }
    }
}

/* A mail that keeps `*memory`, where its args are, and the rest of it before them. NULL: there is
 * no room for that, and nothing has changed; or no memory, and it is gone. */
static struct isola_mail *mail_in(void **memory, struct isola_slice trace, int kind,
                                  struct isola_slice src, struct isola_slice dst,
                                  struct isola_slice event, struct isola_slice chain,
                                  struct isola_slice args)
{
    uint8_t *at = *memory;
    if (src.len + dst.len + event.len + chain.len > (size_t)(args.data - at))
        return NULL;
    struct isola_slice *all[] = {&src, &dst, &event, &chain};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (all[i]->len > 0)
            memcpy(at, all[i]->data, all[i]->len);
        all[i]->data = at;
        at += all[i]->len;
    }
    struct isola_mail *m = isola_mail_around(*memory, trace, kind, src, dst, event, chain, args);
    *memory = NULL;
    return m;
}

/* ASK, EMIT. */
static int send_message(struct isola_realm *r, struct isola_actor *a, const struct isola_v8_send *s,
                        struct isola_err *err)
{
    ISOLA_CHECK(s->to - 1 < r->refs_of.count);
    struct isola_buf *chain = &r->scratch;
    struct isola_slice none = {0};
    bool ask = s->kind == ISOLA_MSG_ASK, open = a != NULL && r->settled && isola__gate_open(a);
    uint32_t timeout = s->timeout_ms;
    int e = 0;
    chain->len = 0;
    if (ask)
        e = chain_of(a, s->turn, chain, err);
    if (e == 0 && ask)
        e = time_left(a, s->turn, &timeout, err);
    if (e == 0 && a != NULL)
        e = isola__limits_send(a, s->kind, open ? 0 : s->event.len + s->args.len, err);
    if (e != 0)
        return e;
    struct isola_slice src = a != NULL ? a->address : none, dst = none,
                       trace = a != NULL ? isola__turn_trace(a, s->turn) : none;
    int node = open ? isola__ref_node(r, s->to) : 0;
    if (!open || node > 0) /* else the actor is known: its address is in no cache */
        dst = isola__ref_address(&r->refs_of.all[s->to - 1]);
    union {
        struct isola_mail mail;
        uint8_t bytes[sizeof(struct isola_mail) + ISOLA_MAIL_OWN];
    } away;
    struct isola_mail *m = &away.mail;
    bool own = s->memory != NULL;
    if (node > 0) {
        *m = (struct isola_mail){.kind = (uint8_t)s->kind,
                                 .traced = trace.len > 0,
                                 .src = src,
                                 .dst = dst,
                                 .event = s->event,
                                 .chain = isola_buf_slice(chain),
                                 .args = s->args};
        if (trace.len > 0)
            memcpy(away.bytes + sizeof(*m), trace.data, trace.len);
        if (own)
            isola_mail_lend_memory(m, *s->memory);
    } else {
        m = own ? mail_in(s->memory, trace, s->kind, src, dst, s->event, isola_buf_slice(chain),
                          s->args)
                : NULL;
        if (m == NULL && (!own || *s->memory != NULL))
            m = isola_mail_new_in(trace, s->kind, src, dst, s->event, isola_buf_slice(chain),
                                  s->args);
    }
    if (m == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a message of %zu bytes", s->args.len);
    if (ask) {
        struct isola_pending *p = isola__pending_at(r, ISOLA_PENDING_ASK, a, r->now + timeout);
        p->turn = s->turn;
        isola__pending_name(r, p, s->id);
        m->timeout_ms = timeout;
        m->deadline = p->due.key;
        m->origin.realm = isola__realm_ref(r);
        m->origin.id = s->id;
    }
    if (node > 0) {
        isola__ref_send_away(r, s->to, node, m);
        if (own && !m->around)
            *s->memory = NULL;
    } else if (open) {
        isola__ref_send(r, s->to, m);
    } else {
        m->ref = s->to;
        m->ref_table = r->refs_of.id;
        isola__gate_put(r, a, m);
    }
    return 0;
}

/* ASK, EMIT, to be carried out whatever becomes of this activation (durable.c). */
static int send_durable(struct isola_realm *r, struct isola_actor *a, const struct isola_v8_send *s,
                        uint64_t *congested, struct isola_err *err)
{
    struct isola_address to;
    struct isola_buf *chain = &r->scratch;
    bool ask = s->kind == ISOLA_MSG_ASK, much = false;
    uint32_t timeout = s->timeout_ms;
    chain->len = 0;
    int e = isola_address_parse(s->dst, &to, err);
    if (e == 0)
        e = isola__permit(r->release, to.app, err);
    if (e == 0 && a == NULL)
        e = isola_fail(err, ISOLA_EINVAL,
                       "a durable message is kept with the state of the actor that sends it; this "
                       "code is of none");
    if (e == 0 && a->no_state.len > 0)
        e = isola_fail(err, ISOLA_EUNREACHABLE, "%.*s", ISOLA_FMT(isola_buf_slice(&a->no_state)));
    if (e == 0 && ask)
        e = chain_of(a, s->turn, chain, err);
    if (e == 0 && ask)
        e = time_left(a, s->turn, &timeout, err);
    if (e == 0)
        e = isola__limits_send(a, s->kind, s->event.len + s->args.len, err);
    if (e != 0)
        return e;
    struct isola_mail *m = isola_mail_new_in(isola__turn_trace(a, s->turn), s->kind, a->address,
                                             s->dst, s->event, isola_buf_slice(chain), s->args);
    if (m == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a message of %zu bytes", s->args.len);
    m->durable = true;
    e = isola__outbox_reserve(r->host, a->address, m, &much, err);
    if (e != 0) {
        isola_mail_free(m);
        return e;
    }
    if (ask) {
        struct isola_pending *p = isola__pending_at(r, ISOLA_PENDING_ASK, a, r->now + timeout);
        p->turn = s->turn;
        p->durable = true;
        isola__pending_name(r, p, s->id);
        m->deadline = p->due.key;
        m->origin.realm = isola__realm_ref(r);
        m->origin.id = s->id;
    }
    *congested = much;
    isola__durable_sent(a);
    isola__gate_put(r, a, m);
    return 0;
}

/* SUB, UNSUB. Those of streams (`ended`) need no permission. */
static int send_interest(struct isola_realm *r, struct isola_actor *a,
                         const struct isola_v8_send *s, bool ended, uint64_t *id,
                         struct isola_err *err)
{
    struct isola_address to;
    struct isola_slice none = {0};
    int e = isola_address_parse(s->dst, &to, err);
    if (e == 0 && !ended)
        e = isola__permit(r->release, to.app, err);
    if (e == 0 && a != NULL)
        e = isola__limits_send(a, s->kind, s->event.len, err);
    if (e != 0)
        return e;
    struct isola_mail *m =
        isola_mail_new(s->kind, a != NULL ? a->address : none, s->dst, s->event, none, s->args);
    if (m == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a message");
    if (s->kind == ISOLA_MSG_SUB) {
        m->origin.id = *id = atomic_fetch_add(&r->host->next_sub, 1) + 1;
        if (a != NULL)
            note_subscription(a, *id, s);
    } else {
        m->origin.id = s->id;
        if (a != NULL)
            forget_subscription(a, s->id);
    }
    isola__gate_put(r, a, m);
    return 0;
}

static int script_send(void *arg, const struct isola_v8_send *s, uint64_t *id,
                       struct isola_err *err)
{
    struct isola_realm *r = arg;
    struct isola_actor *a = isola__batch_actor(r, s->actor);
    if (a == NULL &&
        s->actor != 0) /* what a crash or a stop has ended goes on in an isolate others share */
        return isola_fail(err, ISOLA_ECLOSED, "this activation of the actor has ended");
    if (s->durable)
        return send_durable(r, a, s, id, err);
    return s->kind == ISOLA_MSG_ASK || s->kind == ISOLA_MSG_EMIT
               ? send_message(r, a, s, err)
               : send_interest(r, a, s, false, id, err);
}

static int stream_send(void *arg, uint32_t actor, struct isola_slice dst, struct isola_slice args,
                       struct isola_err *err)
{
    return isola__stream_send(arg, actor, dst, args, err);
}

static int stream_watch(void *arg, uint32_t actor, struct isola_slice dst, uint64_t *id,
                        struct isola_err *err)
{
    static const uint8_t no_args[] = {0x90};
    struct isola_realm *r = arg;
    struct isola_actor *a = isola__realm_actor(r, actor);
    struct isola_v8_send s = {.actor = actor,
                              .kind = *id == 0 ? ISOLA_MSG_SUB : ISOLA_MSG_UNSUB,
                              .dst = dst,
                              .event = isola_slice_str(ISOLA_ENDED),
                              .args = isola_slice(no_args, sizeof(no_args)),
                              .id = *id};
    if (a == NULL)
        return isola_fail(err, ISOLA_ECLOSED, "this activation of the actor has ended");
    return send_interest(r, a, &s, true, id, err);
}

static void cancel(void *arg, uint64_t ask, struct isola_slice dst)
{
    isola__cancel_ask(arg, ask, dst);
}

static uint32_t refer(void *arg, struct isola_slice address, uint32_t *epoch, struct isola_err *err)
{
    struct isola_realm *r = arg;
    struct isola_address to;
    if (isola_address_parse(address, &to, err) != 0 || isola__permit(r->release, to.app, err) != 0)
        return 0;
    uint32_t number = isola__refs_number(r, address);
    *epoch = r->refs_of.epoch;
    return number;
}

static bool congested(void *arg, uint32_t to)
{
    struct isola_realm *r = arg;
    return to - 1 < r->refs_of.count &&
           isola__pace_crowded(r->host, isola__ref_address(&r->refs_of.all[to - 1]));
}

static bool crowded(void *arg)
{
    struct isola_realm *r = arg;
    return atomic_load_explicit(&r->host->crowded, memory_order_relaxed) > 0;
}

/* However long it takes: the activation's end ends it. */
#define PACE_MS (24u * 3600 * 1000)

static void pace(void *arg, uint32_t actor, uint64_t id, struct isola_slice dst)
{
    struct isola_realm *r = arg;
    struct isola_actor *a = isola__batch_actor(r, actor);
    struct isola_pending *p = isola__pending_at(r, ISOLA_PENDING_ASK, a, r->now + PACE_MS);
    isola__pending_name(r, p, id);
    struct isola_slice none = {0};
    struct isola_slice src = dst.len == 0 && a != NULL ? a->address : none;
    struct isola_mail *m = isola_mail_new(ISOLA_MAIL_PACE, src, dst, none, none, none);
    ISOLA_CHECK(m != NULL);
    m->origin = (struct isola_origin){.realm = isola__realm_ref(r), .id = id};
    isola__gate_put(r, a, m); /* behind what it has emitted */
}

static void drains(void *arg, bool last)
{
    struct isola_realm *r = arg;
    r->now = isola_clock_ms();
    r->settled = last;
}

static void drained(void *arg)
{
    struct isola_realm *r = arg;
    r->settled = false;
}

/* Touches what messages to them will: of those who live in other realms only what is shared. They
 * are not in a cache where there are thousands, and a loop of a few instructions has the processor
 * wait for the memory of many at once. */
static void expects(void *arg, const uint32_t *to, uint32_t n)
{
    const struct isola_realm *r = arg;
    struct isola_actor *here[ISOLA_EXPECTED];
    uint32_t found = 0;
    uintptr_t seen = 0;
    for (uint32_t k = 0; k < n; k++) {
        if (to[k] - 1 >= r->refs_of.count)
            continue;
        const struct isola_receiver *at = &r->refs_of.receivers[to[k] - 1];
        if (at->actor != NULL && at->realm == r)
            here[found++] = at->actor;
        else if (at->actor != NULL)
            __builtin_prefetch(at->actor, 1);
    }
    for (uint32_t k = 0; k < found; k++)
        seen ^= (uintptr_t)atomic_load_explicit(&here[k]->realm, memory_order_relaxed) ^
                (uintptr_t)atomic_load_explicit(&here[k]->turns, memory_order_relaxed);
    __asm__ volatile("" : : "r"(seen)); /* else nothing would be read */
}

static int watch(void *arg, uint32_t actor, uint32_t turn)
{
    return isola__cancel_watch(arg, actor, turn);
}

static bool runs(void *arg, uint32_t actor, uint32_t turn)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    return a != NULL && isola__turn_find(a, turn) != NULL;
}

static int spawn(void *arg, uint32_t actor, uint32_t turn, struct isola_slice dst, int mode,
                 struct isola_err *err)
{
    return isola__family_spawn(arg, actor, turn, dst, mode, err);
}

static bool heard(void *arg, uint32_t actor, struct isola_slice event)
{
    struct isola_realm *r = arg;
    struct isola_actor *a = isola__realm_actor(r, actor);
    return a != NULL && isola__subs_heard(r->host, a->address, event);
}

static bool trace(void *arg, uint32_t actor, uint32_t turn, struct isola_buf *out)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    struct isola_slice t = a != NULL ? isola__turn_trace(a, turn) : (struct isola_slice){0};
    isola_buf_append(out, t.data, t.len);
    return t.len > 0;
}

static void publish(void *arg, uint32_t actor, uint32_t turn, struct isola_slice event,
                    struct isola_slice args)
{
    struct isola_realm *r = arg;
    struct isola_actor *a = isola__realm_actor(r, actor);
    struct isola_slice none = {0};
    struct isola_mail *m = a != NULL
                               ? isola_mail_new_in(isola__turn_trace(a, turn), ISOLA_MAIL_PUBLISH,
                                                   a->address, none, event, none, args)
                               : NULL;
    if (m == NULL)
        return;
    isola__gate_put(r, a, m);
    struct isola_err ignored; /* its script is ended, if so */
    (void)!isola__limits_send(a, ISOLA_MAIL_PUBLISH, event.len + args.len, &ignored);
}

static void unheard(void *arg, uint32_t actor, uint32_t turn)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    struct isola_turn *t = a != NULL ? isola__turn_find(a, turn) : NULL;
    char why[300];
    if (t == NULL || t->mail == NULL)
        return;
    t->unheard = true;
    snprintf(why, sizeof(why), "%.*s/%.*s has no handler for it", ISOLA_FMT(a->at.app),
             ISOLA_FMT(a->at.type));
    isola_host_dead_letter(a->host, t->mail, ISOLA_ENOACTOR, isola_slice_str(why));
}

static void done(void *arg, uint32_t actor, uint32_t turn, bool ok, struct isola_slice args,
                 void **memory)
{
    struct isola_actor *a = isola__batch_actor(arg, actor);
    if (a != NULL)
        isola__turn_done(a, turn, ok, args, memory);
}

static void finished(void *arg, uint32_t record, struct isola_slice args, void **memory)
{
    isola__batch_finished(arg, record, args, memory);
}

static void upgrades(void *arg, uint32_t actor)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    if (a != NULL)
        isola__upgrade_begins(a);
}

static void activated(void *arg, uint32_t actor, struct isola_slice error)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    if (a != NULL)
        isola__actor_activated(a, error);
}

static void crash(void *arg, uint32_t actor, struct isola_slice text)
{
    struct isola_realm *r = arg;
    struct isola_actor *a = isola__realm_actor(r, actor);
    if (a == NULL) {
        isola__host_logf(r->host, ISOLA_LOG_ERROR, isola_slice_str(r->release->app),
                         "uncaught: %.*s", ISOLA_FMT(text));
        return;
    }
    if (a->crash.len == 0)
        isola_buf_printf(&a->crash, "%.*s",
                         ISOLA_FMT(text.len > 0 ? text : isola_slice_str("an unknown error")));
    a->hurt = true;
    isola__realm_touch(r, a);
}

static void log_line(void *arg, uint32_t actor, enum isola_log_level level, struct isola_slice text)
{
    struct isola_realm *r = arg;
    struct isola_actor *a = isola__realm_actor(r, actor);
    struct isola_slice from = a != NULL ? a->address : isola_slice_str(r->release->app);
    if (a != NULL && !isola__limits_log(a, text.len))
        return;
    r->host->ops->log(r->host->arg, level, from, text);
}

static uint64_t timer_set(void *arg, uint32_t actor, uint64_t ms, bool repeat)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    if (actor != 0 && a == NULL)
        return 0; /* of an activation that has ended: it never fires */
    const struct isola_host_limits *l = a != NULL ? &a->type->def.limits : NULL;
    if (l != NULL && l->timers > 0 && a->ntimers >= l->timers) {
        isola__limits_exceeded(a, "it set more than %u timers (limit \"timers\")", l->timers);
        return 0;
    }
    struct isola_pending *p = isola__pending_new(arg, ISOLA_PENDING_TIMER, a, ms);
    p->period = repeat ? ms : 0;
    return isola__pending_id(p);
}

static void timer_clear(void *arg, uint64_t id)
{
    struct isola_pending *p = isola__pending_find(arg, id, ISOLA_PENDING_TIMER);
    if (p != NULL)
        isola__pending_free(arg, p);
}

static int gone(struct isola_err *err)
{
    return isola_fail(err, ISOLA_ECLOSED, "this activation of the actor has ended");
}

static int schedule(void *arg, uint32_t actor, const struct isola_v8_timer *timer,
                    struct isola_buf *id, struct isola_err *err)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    return a != NULL ? isola__schedule_set(a, timer, id, err) : gone(err);
}

static int unschedule(void *arg, uint32_t actor, struct isola_slice id, bool *was,
                      struct isola_err *err)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    return a != NULL ? isola__schedule_cancel(a, id, was, err) : gone(err);
}

static int schedules(void *arg, uint32_t actor,
                     void (*each)(void *ctx, const struct isola_v8_timer *timer), void *ctx,
                     struct isola_err *err)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    return a != NULL ? isola__schedule_each(a, each, ctx, err) : gone(err);
}

static int io_start(void *arg, uint32_t actor, bool gated, struct isola_slice what,
                    struct isola_slice head, struct isola_slice body, uint64_t *id,
                    struct isola_err *err)
{
    return isola__io_start(arg, actor, gated, what, head, body, id, err);
}

static void io_more(void *arg, uint64_t id)
{
    isola__io_more(arg, id);
}

static void io_cancel(void *arg, uint64_t id)
{
    isola__io_cancel(arg, id);
}

static int storage_put(void *arg, uint32_t actor, struct isola_slice key,
                       const struct isola_slice *value, struct isola_err *err)
{
    return isola__storage_put(arg, actor, key, value, err);
}

static int storage_peek(void *arg, uint32_t actor, struct isola_slice key,
                        const struct isola_kept **item, struct isola_err *err)
{
    return isola__storage_peek(arg, actor, key, item, err);
}

static int storage_get(void *arg, uint32_t actor, uint64_t id, const struct isola_slice *keys,
                       size_t n, struct isola_err *err)
{
    return isola__storage_get(arg, actor, id, keys, n, err);
}

static int storage_list(void *arg, uint32_t actor, uint64_t id, const struct isola_v8_range *range,
                        struct isola_err *err)
{
    return isola__storage_list(arg, actor, id, range, err);
}

static int storage_step(void *arg, uint32_t actor, enum isola_v8_step step, uint64_t id,
                        struct isola_err *err)
{
    return isola__storage_step(arg, actor, step, id, err);
}

static void looked(void *arg, uint32_t actor)
{
    struct isola_actor *a = isola__realm_actor(arg, actor);
    if (a != NULL)
        a->looked |= ISOLA_LOOKED_STATE;
}

static struct isola_sql *sql(void *arg, uint32_t actor, const struct isola_sql_ops **ops,
                             struct isola_sql_fault *fault)
{
    return isola__sql_of(arg, actor, ops, fault);
}

/* Whoever waited for this module goes on, or fails with it. */
static void loaded(void *arg, struct isola_slice type, struct isola_slice error)
{
    struct isola_realm *r = arg;
    if (r->check != NULL) {
        isola__check_loaded(r, type, error);
        return;
    }
    struct isola_module *m = isola_map_get(&r->modules, type);
    if (m == NULL)
        return;
    m->state = error.len == 0 ? ISOLA_MODULE_READY : ISOLA_MODULE_FAILED;
    isola_buf_append(&m->error, error.data, error.len);
    ISOLA_IDMAP_EACH(&r->actors, e)
    {
        struct isola_actor *a = e;
        if (!a->activating && atomic_load(&a->state) == ISOLA_ACTOR_STARTING)
            isola__realm_touch(r, a);
    }
}

static struct isola_slice env(void *arg)
{
    const struct isola_realm *r = arg;
    return r->release->env;
}

static struct isola_slice secrets(void *arg)
{
    const struct isola_realm *r = arg;
    return r->release->secrets;
}

static void place(void *arg, struct isola_slice text, struct isola_buf *out)
{
    struct isola_realm *r = arg;
    isola__stack_map(r->host, r->release, text, out);
}

/* In the middle of an entry, whose time this is not. */
static void interrupted(void *arg, struct isola_js *js)
{
    struct isola_realm *r = arg;
    struct isola_entered was = r->entered;
    isola__limits_leave(r);
    isola__inspect_run(r, js);
    if (was.batch)
        isola__limits_run(r);
    else
        isola__limits_enter(r, was.actor, was.turn);
    r->entered.over = was.over;
}

const struct isola_v8_ops isola__v8_ops = {
    .wake = wake,
    .wake_later = wake_later,
    .enter = isola__limits_enter,
    .run = isola__limits_run,
    .leave = isola__limits_leave,
    .ended = isola__limits_ended,
    .refer = refer,
    .congested = congested,
    .crowded = crowded,
    .pace = pace,
    .drains = drains,
    .drained = drained,
    .expects = expects,
    .send = script_send,
    .stream_send = stream_send,
    .stream_watch = stream_watch,
    .cancel = cancel,
    .watch = watch,
    .runs = runs,
    .spawn = spawn,
    .trace = trace,
    .heard = heard,
    .publish = publish,
    .unheard = unheard,
    .done = done,
    .finished = finished,
    .upgrades = upgrades,
    .activated = activated,
    .crash = crash,
    .log = log_line,
    .timer_set = timer_set,
    .timer_clear = timer_clear,
    .schedule = schedule,
    .unschedule = unschedule,
    .schedules = schedules,
    .storage_put = storage_put,
    .storage_peek = storage_peek,
    .storage_get = storage_get,
    .storage_list = storage_list,
    .storage_step = storage_step,
    .looked = looked,
    .sql = sql,
    .loaded = loaded,
    .place = place,
    .env = env,
    .secrets = secrets,
    .io_start = io_start,
    .io_more = io_more,
    .io_cancel = io_cancel,
    .interrupted = interrupted,
};
