/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns: one message, to the end of its handler's promise. The answer becomes an effect behind the
 * output gate.
 *
 * An error thrown in an ask is the answer to it, and the actor lives on. One thrown where nobody
 * asked (an emit, an event) crashes the actor.
 */
#include "actors/turn.h"

#include "actors/durable.h"
#include "actors/gate.h"
#include "actors/life.h"
#include "actors/schedule.h"
#include "actors/stack.h"
#include "base/msgpack.h"

struct isola_turn *isola__turn_find(struct isola_actor *a, uint32_t id)
{
    struct isola_turn *t = a->running;
    while (t != NULL && t->id != id)
        t = t->next;
    return t;
}

struct isola_slice isola__turn_trace(struct isola_actor *a, uint32_t id)
{
    if (a->realm->traced == 0 && !a->activating)
        return (struct isola_slice){0};
    const struct isola_turn *t = isola__turn_find(a, id);
    const struct isola_mail *m = t != NULL ? t->mail : a->activating ? a->waiting.head : NULL;
    return m != NULL ? isola_mail_trace(m) : (struct isola_slice){0};
}

void isola__turn_begin(struct isola_actor *a, struct isola_mail *mail)
{
    struct isola_realm *r = a->realm;
    struct isola_turn *t = r->free_turns;
    if (t != NULL)
        r->free_turns = t->next;
    else
        t = isola_alloc(sizeof(*t));
    r->next_turn = r->next_turn % ISOLA_TURN_MAX + 1;
    t->id = r->next_turn;
    t->mail = mail;
    t->cpu_ns = 0;
    t->cancelled = ISOLA_TURN_WANTED;
    t->watched = t->unheard = false;
    t->queued = 0;
    t->next = a->running;
    a->running = t;
    a->nrunning++;
    a->begun = true;
    r->running++;
    r->begun++;
    atomic_store_explicit(&a->state, ISOLA_ACTOR_RUNNING, memory_order_release);
    atomic_store_explicit(&a->turns, atomic_load_explicit(&a->turns, memory_order_relaxed) + 1,
                          memory_order_relaxed); /* nobody else writes it */
    r->traced += mail->traced;
    uint32_t id = t->id;
    if (mail->kind == ISOLA_MSG_STOP || mail->kind == ISOLA_MAIL_UPGRADE ||
        mail->kind == ISOLA_MAIL_HIBERNATE) {
        a->stopping = mail;
        t->mail = NULL;
        r->traced -= mail->traced;
        isola_js_hibernate(r->js, a->serial, id);
    } else if (mail->kind == ISOLA_MSG_EVENT) {
        if (a->nrunning > 1) /* not before messages that have come before it */
            (void)isola__batch_run(r);
        isola_js_event(r->js, a->serial, id, mail->origin.id, mail->args);
    } else if (mail->kind == ISOLA_MSG_START) {    /* that it takes messages is all */
        static const uint8_t yes[] = {0x91, 0xc3}; /* [true] */
        isola__turn_done(a, id, true, isola_slice(yes, sizeof(yes)), NULL);
    } else {
        isola__batch_turn(a, t);
    }
}

static void take(struct isola_actor *a, struct isola_turn *t)
{
    struct isola_turn **at = &a->running;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    if (--a->nrunning == 0)
        atomic_store_explicit(&a->state, ISOLA_ACTOR_IDLE, memory_order_release);
    a->realm->running--;
    a->realm->traced -= t->mail != NULL && t->mail->traced;
    if (t->queued != 0)
        isola__batch_forget(a->realm, t);
    if (t->watched)
        isola__cancel_unwatch(a, t->id);
}

static void put_back(struct isola_realm *r, struct isola_turn *t)
{
    t->next = r->free_turns;
    r->free_turns = t;
}

static void note_crash(struct isola_actor *a, struct isola_slice args)
{
    struct isola_slice value;
    if (a->crash.len > 0)
        return;
    if (isola_mp_at(args, 0, &value))
        isola__error_text(value, &a->crash);
    if (a->crash.len == 0) /* a script may leave an error without any text */
        isola_buf_puts(&a->crash, "an unknown error");
    a->hurt = true;
}

/* What is kept of its message says that it is done. */
static void durable_done(struct isola_actor *a, const struct isola_mail *m, bool ok, bool heard,
                         struct isola_slice args)
{
    if (m->fired)
        isola__schedule_done(a, m, heard);
    else
        isola__durable_done(a, m, ok, heard, args);
}

static void durable_crashed(struct isola_actor *a, const struct isola_mail *m)
{
    struct isola_slice why = isola__first_line(isola_buf_slice(&a->crash));
    if (m->fired)
        isola__schedule_crashed(a, m, why);
    else
        isola__durable_crashed(a, m, why);
}

void isola__turn_done(struct isola_actor *a, uint32_t id, bool ok, struct isola_slice args,
                      void **memory)
{
    struct isola_turn *t = isola__turn_find(a, id);
    if (t != NULL) /* else it was abandoned */
        isola__turn_finished(a, t, ok, args, memory);
}

void isola__turn_finished(struct isola_actor *a, struct isola_turn *t, bool ok,
                          struct isola_slice args, void **memory)
{
    take(a, t);
    struct isola_mail *m = t->mail;
    struct isola_realm *r = a->realm;
    if (!ok && m != NULL && isola_msg_is_ask(m->kind))
        isola__tally_refused(a, args);
    bool open = r->settled && isola__gate_open(a);
    if (m != NULL && m->durable) {
        open = false; /* that it is done is to be written */
        if (ok || m->kind == ISOLA_MSG_ASK) {
            durable_done(a, m, ok, !t->unheard, args);
        } else {
            note_crash(a, args);
            durable_crashed(a, m);
        }
    } else if (m != NULL && isola_msg_is_ask(m->kind)) {
        struct isola_mail *answer = open ? isola_mail_turn_round(m, ok, args) : NULL;
        if (answer != NULL) {
            m = NULL;
        } else {
            answer = isola_mail_answer_in(memory, isola_mail_take_origin(m), ok, args);
        }
        if (answer != NULL && open)
            isola__gate_reply(r, answer);
        else if (answer != NULL)
            isola_mailq_push(&a->effects, answer);
    } else if (!ok) {
        note_crash(a, args);
        if (m != NULL)
            isola_host_dead_letter(a->host, m, ISOLA_ESCRIPT, isola_buf_slice(&a->crash));
    }
    if (open && !a->hurt && a->waiting.head == NULL && a->stopping == NULL && a->upgrade == NULL) {
        isola__idle_used(a); /* nothing is to be settled */
    } else {
        a->turn_ended = true;
        isola__realm_touch(r, a);
    }
    isola_mail_free(m);
    put_back(r, t);
}

void isola__turns_abandon(struct isola_actor *a, int code, const char *why)
{
    while (a->running != NULL) {
        struct isola_turn *t = a->running;
        take(a, t);
        bool durable = t->mail != NULL && t->mail->durable; /* comes again */
        if (durable && a->crash.len > 0 && !a->bystander)
            durable_crashed(a, t->mail);
        if (t->mail != NULL && !durable)
            isola_host_dead_letter(a->host, t->mail, code, isola_slice_str(why));
        if (t->mail != NULL && !durable && isola_msg_is_ask(t->mail->kind))
            isola__gate_fail(a->host, t->mail, code, why);
        isola_mail_free(t->mail);
        put_back(a->realm, t);
    }
}
