/* SPDX-License-Identifier: Apache-2.0
 *
 * Cancellation: what nobody waits for any more.
 *
 * The asker's side: an ask that is aborted by its signal, or whose activation or turn ends, sends a
 * CANCEL after itself: only its script knows to whom (actors/lib/runtime/ref.js).
 *
 * The other side: an ask that still waits in the mailbox is taken out of it; the turn of one that
 * has begun is cancelled: its `self.signal` aborts, if its script has looked at it, and so do the
 * asks it has made. A turn whose signal is looked at is cancelled as well when its asker's time is
 * over. It goes on for as long as its script wants to; its answer goes nowhere.
 */
#include "actors/gate.h"
#include "actors/life.h"
#include "actors/pace.h"
#include "actors/pending.h"
#include "actors/turn.h"
#include "base/clock.h"

/* --- the asker's side --- */

void isola__cancel_ask(struct isola_realm *r, uint64_t ask, struct isola_slice dst)
{
    struct isola_slice none = {0};
    struct isola_pending *p = isola__pending_ask(r, ask);
    if (p == NULL)
        return;
    if (p->durable) { /* it is carried out all the same */
        isola__pending_free(r, p);
        return;
    }
    struct isola_actor *a = isola__realm_actor(r, p->actor);
    struct isola_mail *m =
        isola_mail_new(ISOLA_MSG_CANCEL, a != NULL ? a->address : none, dst, none, none, none);
    if (m != NULL) {
        m->origin.realm = isola__realm_ref(r);
        m->origin.id = ask;
    }
    isola__pending_free(r, p);
    if (m == NULL)
        return;
    if (a != NULL && r->leaving == a)
        isola__gate_follow(a, m);
    else
        isola__gate_put(r, a, m);
}

void isola__cancel_asks(struct isola_actor *a)
{
    struct isola_realm *r = a->realm;
    if (r->js == NULL)
        return;
    r->leaving = a;
    for (struct isola_pending *p = a->pending, *next; p != NULL; p = next) {
        next = p->next;
        if (p->what == ISOLA_PENDING_ASK)
            isola_js_drop_ask(r->js, a->serial, p->ask);
    }
    r->leaving = NULL;
}

/* --- the side that was asked --- */

static bool is_of(const struct isola_mail *m, const struct isola_mail *cancel)
{
    const struct isola_origin *x = &m->origin, *y = &cancel->origin;
    return m->kind == ISOLA_MSG_ASK && !m->durable && x->realm == y->realm && x->link == y->link &&
           (x->id == y->id || (y->id == 0 && y->link != 0)); /* 0: all of a connection */
}

void isola__cancel_take(struct isola_actor *a, const struct isola_mail *cancel)
{
    struct isola_mailq left = {0};
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&a->waiting)) != NULL) {
        if (!is_of(m, cancel)) {
            isola_mailq_push(&left, m);
            continue;
        }
        isola__mailbox_sub(a, 1);
        isola_mail_free(m);
    }
    a->waiting = left;
    for (struct isola_turn *t = a->running; t != NULL; t = t->next)
        if (t->mail != NULL && is_of(t->mail, cancel) && t->cancelled == ISOLA_TURN_WANTED) {
            t->cancelled = ISOLA_TURN_CANCEL;
            a->cancelling = true;
            isola__realm_touch(a->realm, a);
        }
}

static struct isola_pending *ask_of(const struct isola_actor *a, uint32_t turn)
{
    struct isola_pending *p = a->pending;
    while (p != NULL && (p->what != ISOLA_PENDING_ASK || p->turn != turn))
        p = p->next;
    return p;
}

/* The script runs, and may end this turn and others. */
static void cancel_turn(struct isola_actor *a, struct isola_turn *t, int code)
{
    struct isola_realm *r = a->realm;
    uint32_t id = t->id;
    bool watched = t->watched;
    struct isola_pending *p;
    t->cancelled = ISOLA_TURN_CANCELLED;
    if (watched)
        isola_js_abort(r->js, a->serial, id, code);
    while ((p = ask_of(a, id)) != NULL) {
        uint64_t ask = p->ask;
        isola_js_cancelled(r->js, a->serial, ask);
        p = isola__pending_ask(r, ask);
        if (p != NULL) /* nobody knew of it */
            isola__pending_free(r, p);
    }
    isola__realm_touch(r, a);
}

void isola__cancel_run(struct isola_actor *a)
{
    struct isola_turn *t = a->running;
    a->cancelling = false;
    while (t != NULL && !a->hurt) {
        if (t->cancelled == ISOLA_TURN_CANCEL) {
            cancel_turn(a, t, ISOLA_ECANCELED);
            t = a->running;
        } else {
            t = t->next;
        }
    }
}

int isola__cancel_watch(struct isola_realm *r, uint32_t actor, uint32_t turn)
{
    struct isola_actor *a = isola__realm_actor(r, actor);
    struct isola_turn *t = a != NULL ? isola__turn_find(a, turn) : NULL;
    if (t == NULL)
        return 0;
    if (t->cancelled == ISOLA_TURN_CANCELLED)
        return 2;
    if (!t->watched && t->mail != NULL && t->mail->deadline != 0) {
        uint64_t now = isola_clock_ms();
        struct isola_pending *p = isola__pending_new(
            r, ISOLA_PENDING_SIGNAL, a, t->mail->deadline > now ? t->mail->deadline - now : 0);
        p->turn = turn;
    }
    t->watched = true;
    return 1;
}

void isola__cancel_due(struct isola_realm *r, struct isola_pending *p)
{
    struct isola_actor *a = isola__realm_actor(r, p->actor);
    struct isola_turn *t = a != NULL ? isola__turn_find(a, p->turn) : NULL;
    isola__pending_free(r, p);
    if (t != NULL && t->cancelled != ISOLA_TURN_CANCELLED)
        cancel_turn(a, t, ISOLA_ETIMEDOUT);
}

void isola__cancel_unwatch(struct isola_actor *a, uint32_t turn)
{
    struct isola_pending *p = a->pending;
    while (p != NULL && (p->what != ISOLA_PENDING_SIGNAL || p->turn != turn))
        p = p->next;
    if (p != NULL)
        isola__pending_free(a->realm, p);
}
