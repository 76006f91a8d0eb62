/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks and timers under way, and what else of a realm has a time. In a visit.
 */
#ifndef ISOLA_ACTORS_PENDING_H
#define ISOLA_ACTORS_PENDING_H

#include <stdbool.h>

#include "base/heap.h"

struct isola_actor;
struct isola_realm;

/* An ask a script waits for, or a timer it set: something with a time, and an id scripts know it
 * by. */
struct isola_pending {
    struct isola_heap_node due; /* ms of isola_clock_ms */
    enum {
        ISOLA_PENDING_FREE,
        ISOLA_PENDING_ASK,
        ISOLA_PENDING_TIMER,
        ISOLA_PENDING_WAKE,
        ISOLA_PENDING_IDLE,    /* idle.c: actors to be looked at */
        ISOLA_PENDING_EMPTY,   /* idle.c: a realm nobody is left in */
        ISOLA_PENDING_RESTART, /* restart.c: `whose` crashes */
        ISOLA_PENDING_FAMILY,  /* supervise.c: a step of `whose` */
        ISOLA_PENDING_GRACE,   /* grace.c: turns of `whose` are to end */
        ISOLA_PENDING_SIGNAL,  /* cancel.c: the deadline of a turn whose signal is looked at */
    } what;
    uint32_t index, generation;
    uint32_t actor;                     /* serial */
    struct isola_pending *next, **prev; /* the actor's list */
    uint64_t period;                    /* of a repeating timer, ms; 0 otherwise */
    struct isola_actor *whose;          /* RESTART, FAMILY, GRACE */
    uint32_t turn;                      /* ASK: the turn it was made in; SIGNAL */
    uint64_t ask;                       /* ASK: its id in the isolate */
    bool durable;                       /* ASK: it is carried out, whoever waits */
    uint32_t next_free;
};

/* What is in the origin of a family's asks, beside the pending id. */
#define ISOLA_FAMILY_ID (UINT64_C(1) << 60)
/* `a` may be NULL. At a time, and in so many ms. */
struct isola_pending *isola__pending_at(struct isola_realm *r, int what, struct isola_actor *a,
                                        uint64_t at);
struct isola_pending *isola__pending_new(struct isola_realm *r, int what, struct isola_actor *a,
                                         uint64_t ms);
struct isola_pending *isola__pending_find(struct isola_realm *r, uint64_t id, int what);
/* The ask with this id of its isolate's, if it waits. */
struct isola_pending *isola__pending_ask(const struct isola_realm *r, uint64_t ask);
/* Gives an ASK its id in the isolate, whose slot nobody else has. */
void isola__pending_name(struct isola_realm *r, struct isola_pending *p, uint64_t ask);
void isola__pending_free(struct isola_realm *r, struct isola_pending *p);
uint64_t isola__pending_id(const struct isola_pending *p);

#endif
