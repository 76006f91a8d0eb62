/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows a crash: the actor starts again with its next message, at once the first time, after
 * a growing pause when it crashes again within the window of its type (`restart` in the manifest).
 * More crashes in the window than that allows, and it has failed: its senders are told why, until a
 * STOP or a newer release ends that.
 *
 * An actor that fails while it starts (actor.c) is tried again after the same pauses, but without
 * end, and the first time after one, since a message may come at once.
 *
 * During a pause messages wait in the mailbox. While its crashes count the actor stays in the
 * directory, with no more than this: so they are not forgotten between two messages. One timer
 * stands for the end of the pause, then for that of the window.
 */
#include <stdio.h>

#include "actors/host_own.h"
#include "actors/pending.h"
#include "actors/stack.h"
#include "base/clock.h"
#include "base/hash.h"

#define COUNTED 1000 /* the most crashes that are remembered */

struct isola_crashes {
    uint64_t said;               /* the hash of what it crashed of last */
    uint64_t pause_until;        /* no start before, ms */
    struct isola_pending *timer; /* in the actor's realm; NULL while it is between two */
    uint32_t n, cap, newest;     /* the last `n` of a ring of `cap` */
    uint64_t at[];               /* ms */
};

static const struct isola_host_life *life(const struct isola_actor *a)
{
    return &a->type->def.life;
}

/* Those within the window, this one among them. */
static uint32_t count(struct isola_actor *a, uint64_t now)
{
    if (a->crashes == NULL) {
        uint32_t cap = (life(a)->restarts < COUNTED ? life(a)->restarts : COUNTED) + 1;
        a->crashes = isola_zalloc(sizeof(*a->crashes) + cap * sizeof(uint64_t));
        a->crashes->cap = cap;
    }
    struct isola_crashes *c = a->crashes;
    c->newest = (c->newest + 1) % c->cap;
    c->at[c->newest] = now;
    if (c->n < c->cap)
        c->n++;
    while (c->n > 0 && now - c->at[(c->newest + c->cap - (c->n - 1)) % c->cap] > life(a)->within_ms)
        c->n--;
    return c->n;
}

uint64_t isola__restart_pause(const struct isola_actor *a, uint32_t nth)
{
    const struct isola_host_life *l = life(a);
    uint64_t pause = nth < 40 ? l->backoff_ms << nth : l->max_backoff_ms;
    return pause < l->max_backoff_ms ? pause : l->max_backoff_ms;
}

void isola__restart_forget(struct isola_actor *a)
{
    isola__restart_disarm(a);
    free(a->crashes);
    a->crashes = NULL;
}

void isola__restart_disarm(struct isola_actor *a)
{
    if (a->crashes == NULL || a->crashes->timer == NULL)
        return;
    isola__pending_free(a->realm, a->crashes->timer);
    a->crashes->timer = NULL;
}

void isola__restart_arm(struct isola_actor *a, struct isola_realm *r)
{
    struct isola_crashes *c = a->crashes;
    uint64_t now = isola_clock_ms();
    if (c == NULL || c->timer != NULL)
        return;
    uint64_t until = c->at[c->newest] + life(a)->within_ms + 1;
    if (c->pause_until > now)
        until = c->pause_until;
    c->timer = isola__pending_new(r, ISOLA_PENDING_RESTART, NULL, until > now ? until - now : 0);
    c->timer->whose = a;
    isola__worker_wake_at(r);
}

bool isola__restart_pauses(const struct isola_actor *a)
{
    return a->crashes != NULL && a->crashes->pause_until > isola_clock_ms();
}

void isola__restart_due(struct isola_pending *p)
{
    struct isola_actor *a = p->whose;
    struct isola_crashes *c = a->crashes;
    isola__restart_disarm(a);
    if (isola_clock_ms() <= c->at[c->newest] + life(a)->within_ms) {
        if (isola__actor_has_work(a))
            isola__realm_touch(a->realm, a);
        isola__restart_arm(a, a->realm);
        return;
    }
    isola__restart_forget(a);
    if (isola__actor_has_work(a))
        isola__realm_touch(a->realm, a);
    else if (atomic_load(&a->state) == ISOLA_ACTOR_STARTING && a->serial == 0 &&
             a->stopping == NULL && a->commits == NULL)
        isola__actor_end(a); /* nothing was kept but the count */
}

void isola__restart_explain(struct isola_actor *a, struct isola_slice why)
{
    bool same = a->crashes != NULL && a->crashes->said == isola_hash_table(why.data, why.len);
    struct isola_slice said = same ? isola__first_line(why) : why;
    isola__host_logf(a->host, ISOLA_LOG_ERROR, a->address, "crashed%s: %.*s",
                     same ? " again, as before" : "", ISOLA_FMT(said));
}

void isola__restart(struct isola_actor *a, struct isola_slice why)
{
    struct isola_host *h = a->host;
    const struct isola_host_life *l = life(a);
    uint64_t now = isola_clock_ms();
    if (a->upgrade != NULL) { /* what crashed is being replaced */
        isola__restart_forget(a);
        isola__actor_end(a);
        return;
    }
    uint32_t n = count(a, now);
    a->crashes->said = isola_hash_table(why.data, why.len);
    if (n > l->restarts) {
        char text[600];
        snprintf(text, sizeof(text),
                 "it crashed %u times within %g s and is not started again (`ctl restart` does); "
                 "the last time of: %.*s",
                 n, (double)l->within_ms / 1000, ISOLA_FMT(isola__first_line(why)));
        isola__restart_forget(a);
        isola__host_logf(h, ISOLA_LOG_ERROR, a->address, "failed: %s", text);
        isola__actor_give_up(a, isola_slice_str(text));
        return;
    }
    uint64_t pause = n > 1 ? isola__restart_pause(a, n - 2) : 0;
    a->crashes->pause_until = now + pause;
    if (pause > 0)
        isola__host_logf(h, ISOLA_LOG_WARN, a->address,
                         "crash %u within %g s: not started again before %g s have passed", n,
                         (double)l->within_ms / 1000, (double)pause / 1000);
    isola__actor_end(a);
}
