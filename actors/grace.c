/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns that do not end when their activation is to: for a stop, as the host goes down, for a newer
 * release or another node.
 *
 * They get a while to end by themselves. Then they are cancelled, as turns are that nobody waits
 * for any more: their signals abort and the asks they have made fail (cancel.c). A second later
 * they are given up: who waits for them is told, what they have changed and caused is dropped, and
 * the activation ends without its onHibernate. The same holds for a start that waits. What a turn
 * may use of the CPU is for limits.c to say.
 */
#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/pace.h"
#include "actors/pending.h"
#include "actors/turn.h"
#include "base/clock.h"

#define STOP_MS    3000  /* less than the agent waits for a host that is to end */
#define UPGRADE_MS 30000 /* as long as asks are waited for, unless it is said otherwise */
#define LAST_MS    1000

enum { WAIT, LAST };

struct isola_graces isola__graces(void)
{
    return (struct isola_graces){.stop = STOP_MS, .upgrade = UPGRADE_MS, .last = LAST_MS};
}

/* What is waited for: a turn, the oldest there is, or (0) the start. Each that came before a stop
 * has its own while. */
static uint32_t oldest(const struct isola_actor *a)
{
    const struct isola_turn *t = a->running;
    while (t != NULL && t->next != NULL)
        t = t->next;
    return t != NULL ? t->id : 0;
}

static void arm(struct isola_actor *a, uint64_t ms, uint32_t phase)
{
    struct isola_pending *p = isola__pending_new(a->realm, ISOLA_PENDING_GRACE, NULL, ms);
    p->whose = a;
    p->turn = oldest(a);
    p->actor = phase;
    a->grace = p;
    isola__worker_wake_at(a->realm);
}

void isola__grace_arm(struct isola_actor *a, int kind)
{
    const struct isola_graces *g = &a->host->graces;
    uint64_t ms = kind == ISOLA_MAIL_UPGRADE ? g->upgrade : g->stop;
    if (a->serial == 0) /* nothing runs */
        return;
    if (a->grace != NULL && a->grace->due.key <= isola_clock_ms() + ms)
        return;
    isola__grace_disarm(a);
    arm(a, ms, WAIT);
}

void isola__grace_disarm(struct isola_actor *a)
{
    if (a->grace == NULL)
        return;
    isola__pending_free(a->realm, a->grace);
    a->grace = NULL;
}

/* The first STOP that waits, taken out of the mailbox. */
static struct isola_mail *take_stop(struct isola_actor *a)
{
    struct isola_mailq all = a->waiting;
    struct isola_mail *m, *stop = NULL;
    a->waiting = (struct isola_mailq){0};
    while ((m = isola_mailq_pop(&all)) != NULL) {
        if (stop == NULL && m->kind == ISOLA_MSG_STOP)
            stop = m;
        else
            isola_mailq_push(&a->waiting, m);
    }
    if (stop != NULL)
        isola__mailbox_sub(a, 1);
    return stop;
}

static bool stop_waits(const struct isola_actor *a)
{
    const struct isola_mail *m = a->waiting.head;
    while (m != NULL && m->kind != ISOLA_MSG_STOP)
        m = m->next;
    return m != NULL;
}

static void cancel(struct isola_actor *a)
{
    for (struct isola_turn *t = a->running; t != NULL; t = t->next)
        if (t->cancelled == ISOLA_TURN_WANTED) {
            t->cancelled = ISOLA_TURN_CANCEL;
            a->cancelling = true;
        }
    isola__realm_touch(a->realm, a);
}

/* What the activation ends with: its STOP. While messages wait that came before it, the STOP waits
 * behind them, for the activation they make. A start that waits would wait again. */
static struct isola_mail *end_of(struct isola_actor *a, bool starts)
{
    struct isola_slice none = {0};
    struct isola_mail *end = NULL;
    if (!starts && stop_waits(a) && a->waiting.head->kind != ISOLA_MSG_STOP)
        end = isola_mail_new(ISOLA_MAIL_HIBERNATE, none, none, none, none, none);
    return end != NULL ? end : take_stop(a);
}

static void give_up(struct isola_actor *a)
{
    bool starts = a->nrunning == 0, upgrade = false;
    if (a->stopping == NULL && a->upgrade != NULL) {
        a->stopping = a->upgrade;
        a->upgrade = NULL;
    } else if (a->stopping == NULL) {
        a->stopping = end_of(a, starts);
    }
    upgrade = a->stopping != NULL && a->stopping->kind == ISOLA_MAIL_UPGRADE;
    bool drains = a->stopping == NULL;
    int code = drains ? ISOLA_EUNREACHABLE : upgrade ? ISOLA_EUPGRADE : ISOLA_ECANCELED;
    const char *why = drains    ? "the node is shutting down"
                      : upgrade ? "the activation it ran in was to end, and waited too long for it"
                                : "the actor was stopped, and waited too long for it";
    isola__host_logf(a->host, ISOLA_LOG_WARN, a->address, "%s did not end when %s: given up",
                     starts ? "its start" : "a turn",
                     drains    ? "the node was to stop"
                     : upgrade ? "its activation was to, for another release or node"
                               : "it was to stop");
    isola__gate_refuse(a, code, why);
    isola__turns_abandon(a, code, why);
    a->activating = a->turn_ended = false;
    isola__realm_touch(a->realm, a);
}

void isola__grace_starts(struct isola_actor *a)
{
    if (stop_waits(a))
        isola__grace_arm(a, ISOLA_MSG_STOP);
}

void isola__grace_due(struct isola_pending *p)
{
    struct isola_actor *a = p->whose;
    bool last = p->actor == LAST;
    bool held =
        (a->nrunning > 0 || atomic_load(&a->state) == ISOLA_ACTOR_STARTING) && p->turn == oldest(a);
    isola__grace_disarm(a);
    bool wanted = a->stopping != NULL || a->upgrade != NULL || stop_waits(a) ||
                  atomic_load(&a->host->draining);
    if (!wanted || a->hurt)
        return;
    if (!held) { /* another turn by now, which came before the stop */
        arm(a, a->host->graces.stop, WAIT);
    } else if (last) {
        give_up(a);
    } else {
        cancel(a);
        arm(a, a->host->graces.last, LAST);
    }
}
