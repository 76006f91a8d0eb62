/* SPDX-License-Identifier: Apache-2.0
 *
 * Hibernation: an actor without a turn for as long as its type says ends its activation, by a last
 * turn (onHibernate) and the same path as a stop; its next message makes a new one from what is on
 * disk.
 *
 * Every activation is in one slot of its realm's wheel for its type, by when it could be due. A
 * turn only notes the time (isola__idle_used). When a slot's time has come, those in it that have
 * been used since move to a later one; so an actor is looked at about once in its period, however
 * busy it is. Slots hold serials, and those of activations that have ended are skipped: nothing
 * needs to be taken out. A slot is an eighth of the period: that is how late hibernation may be.
 *
 * Not idle is who has a turn, mail, a timer, an ask, a fetch or a write under way, or listens to
 * others: it could not hear them asleep.
 */
#include "actors/actor.h"
#include "actors/life.h"
#include "actors/pending.h"
#include "actors/storage.h"
#include "actors/turn.h"
#include "actors/worker.h"
#include "base/clock.h"

/* Looked at in one visit. */
#define LOOKS 256
/* How long a realm that many can share stays at the most when nobody is left in it, ms. */
#define EMPTY_MS 30000

#define SLOTS 16

struct slot {
    uint32_t *serials;
    uint32_t n, cap;
};

/* The wheel of one type in a realm. */
struct isola_idle {
    struct isola_idle *next;
    const struct isola_type *type;
    uint64_t width;              /* of a slot, ms */
    uint64_t at;                 /* the next slot to be looked at; slot i begins at i * width */
    size_t count;                /* serials in all slots */
    struct isola_pending *timer; /* NULL when count is 0 */
    struct slot slots[SLOTS];
};

static uint64_t period(const struct isola_idle *w)
{
    return w->type->def.life.hibernate_after_ms;
}

static void put(struct isola_idle *w, uint32_t serial, uint64_t due)
{
    uint64_t to = due / w->width + 1; /* all of it is over then */
    if (to < w->at)
        to = w->at;
    if (to >= w->at + SLOTS - 1) /* not the one that is being gone through */
        to = w->at + SLOTS - 2;
    struct slot *s = &w->slots[to % SLOTS];
    if (s->n == s->cap) {
        s->cap = s->cap > 0 ? s->cap * 2 : 1;
        s->serials = isola_realloc(s->serials, s->cap * sizeof(uint32_t));
    }
    s->serials[s->n++] = serial;
    w->count++;
}

static void arm(struct isola_realm *r, struct isola_idle *w, bool at_once)
{
    uint64_t now = isola_clock_ms(), at = w->at;
    if (w->timer != NULL)
        isola__pending_free(r, w->timer);
    w->timer = NULL;
    if (w->count == 0)
        return;
    while (w->slots[at % SLOTS].n == 0)
        at++;
    at *= w->width;
    w->timer = isola__pending_new(r, ISOLA_PENDING_IDLE, NULL,
                                  at_once    ? 1
                                  : at > now ? at - now
                                             : 0);
}

static struct isola_idle *wheel(struct isola_realm *r, const struct isola_type *type)
{
    struct isola_idle *w = r->idle;
    while (w != NULL && w->type != type)
        w = w->next;
    if (w == NULL) {
        w = isola_zalloc(sizeof(*w));
        w->type = type;
        w->width = (type->def.life.hibernate_after_ms + 7) / 8;
        w->next = r->idle;
        r->idle = w;
    }
    return w;
}

void isola__idle_add(struct isola_actor *a)
{
    struct isola_realm *r = a->realm;
    uint64_t now = isola_clock_ms();
    if (a->type->def.life.hibernate_after_ms == 0)
        return;
    struct isola_idle *w = wheel(r, a->type);
    bool first = w->count == 0;
    if (first)
        w->at = now / w->width + 1;
    isola__idle_used(a);
    put(w, a->serial, now + period(w));
    if (first)
        arm(r, w, false);
}

bool isola__idle_is(const struct isola_actor *a)
{
    return atomic_load(&a->state) == ISOLA_ACTOR_IDLE && a->nrunning == 0 &&
           atomic_load(&a->mailbox) == 0 && a->upgrade == NULL && a->stopping == NULL &&
           !a->turn_ended && a->effects.count == 0 && a->commits == NULL && a->crash.len == 0 &&
           a->subs == NULL && a->nios == 0 && a->pending == NULL && !isola__storage_waits(a);
}

static void look(struct isola_realm *r, struct isola_idle *w, uint32_t serial, uint64_t now)
{
    struct isola_actor *a = isola__realm_actor(r, serial);
    if (a == NULL)
        return;
    uint64_t due = isola__idle_ms(atomic_load(&a->idle_since)) + period(w);
    if (due > now) {
        put(w, serial, due);
    } else if (!isola__idle_is(a)) {
        put(w, serial, now + period(w));
    } else {
        struct isola_slice none = {0};
        struct isola_mail *m =
            isola_mail_new(ISOLA_MAIL_HIBERNATE, none, a->address, none, none, none);
        if (m == NULL)
            put(w, serial, now + period(w));
        else
            isola__turn_begin(a, m);
    }
}

void isola__idle_due(struct isola_realm *r, struct isola_pending *p)
{
    struct isola_idle *w = r->idle;
    uint64_t now = isola_clock_ms();
    unsigned looks = LOOKS;
    while (w->timer != p)
        w = w->next;
    isola__pending_free(r, p);
    w->timer = NULL;
    if (w->at + SLOTS < now / w->width) /* visits were held up: all slots are due */
        w->at = now / w->width - SLOTS;
    while (w->count > 0 && looks > 0 && w->at * w->width <= now) {
        struct slot *s = &w->slots[w->at % SLOTS];
        if (s->n == 0) {
            free(s->serials);
            *s = (struct slot){0};
            w->at++;
            continue;
        }
        uint32_t serial = s->serials[--s->n];
        w->count--;
        looks--;
        w->at++; /* what is put again goes behind this slot */
        look(r, w, serial, now);
        w->at--;
    }
    arm(r, w, looks == 0);
}

void isola__idle_free(struct isola_realm *r)
{
    while (r->idle != NULL) {
        struct isola_idle *w = r->idle;
        r->idle = w->next;
        for (int i = 0; i < SLOTS; i++)
            free(w->slots[i].serials);
        free(w);
    }
}

/* --- realms nobody is left in --- */

void isola__idle_empty(struct isola_realm *r)
{
    if (r->emptied)
        return;
    r->emptied = true;
    uint64_t wait = EMPTY_MS;
    for (size_t i = 0; i < r->release->ntypes; i++) {
        uint64_t after = r->release->types[i].def.life.hibernate_after_ms;
        if (r->release->types[i].def.shared && after > 0 && after < wait)
            wait = after;
    }
    (void)isola__pending_new(r, ISOLA_PENDING_EMPTY, NULL, wait);
}

void isola__idle_empty_due(struct isola_realm *r, struct isola_pending *p)
{
    isola__pending_free(r, p);
    r->emptied = false;
    isola__worker_evict_shared(r);
}
