/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks and timers under way, and what else of a realm has a time. They are found by ids, which are
 * numbers a script can hold exactly, 53 bits: a place in the realm's table, and how often that has
 * been used. Asks are found by their slots in the isolate as well.
 */
#include "actors/pending.h"

#include "actors/actor.h"
#include "base/check.h"
#include "base/clock.h"

#define INDEX_BITS 24

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
