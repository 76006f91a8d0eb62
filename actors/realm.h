/* SPDX-License-Identifier: Apache-2.0
 *
 * An isolate and what runs in it: the unit of scheduling.
 *
 * Threads. An actor belongs to its realm, and a realm is visited by one worker at a time, though
 * not always by the same one: everything of an actor, of its realm, turns and effects is touched in
 * a visit alone, but for what is marked otherwise. "Visit" in these headers means: on the worker
 * that visits the realm. Other threads reach an actor by putting a mail into its realm's inbox,
 * under the directory shard's lock, so that an actor can neither leave nor change its realm while
 * mail is on its way. What a read or write of its state ends with comes the same way.
 */
#ifndef ISOLA_ACTORS_REALM_H
#define ISOLA_ACTORS_REALM_H

#include <pthread.h>
#include <stdatomic.h>

#include "actors/batch.h"
#include "actors/host.h"
#include "actors/refs.h"
#include "actors/v8/realm.h"
#include "base/heap.h"
#include "base/idmap.h"
#include "base/map.h"

struct isola_check;
struct isola_idle;
struct isola_release_rt;
struct isola_type;
struct isola_worker;

struct isola_module {
    enum { ISOLA_MODULE_LOADING, ISOLA_MODULE_READY, ISOLA_MODULE_FAILED } state;
    struct isola_buf error; /* args array with the Error value */
};

/* When a delayed task of V8's is due; in a list, until the realm is visited and makes a struct
 * isola_pending of it. */
struct isola_delay {
    struct isola_delay *next;
    uint64_t at; /* ms of isola_clock_ms */
};

enum isola_realm_state {
    ISOLA_REALM_IDLE,
    ISOLA_REALM_READY, /* in the queue of a worker, once */
    ISOLA_REALM_RUNNING,
    ISOLA_REALM_CLOSED,
};

#define ISOLA_REALM_LINES 144

/* An isolate and what runs in it: a unit of scheduling. */
struct isola_realm {
    atomic_uint refs;
    atomic_int state; /* enum isola_realm_state */
    struct isola_host *host;
    struct isola_release_rt *release;
    struct isola_worker *owner; /* shared: in whose map it is */
    bool shared;
    struct isola_v8_limits limits;

    /* What other threads hand over. */
    _Atomic(struct isola_mail *) inbox; /* a stack, the last one first; taken as a whole */
    atomic_bool nudged;                 /* there is something to do beside the inbox */
    atomic_bool tasks;                  /* V8 has posted some */
    atomic_bool closing;
    _Atomic(struct isola_worker *) worker; /* that visited it last: its queue is where it goes */
    struct isola_realm *next_ready;        /* the worker's queue (under the worker's lock) */
    pthread_mutex_t lock;                  /* guards the next five */
    struct isola_delay *delays;            /* tasks of V8's for later */
    struct isola_inspect *inspects;        /* to be done soon (inspect.c) */
    struct isola_inspect *at_end;          /* to be done before the isolate ends */
    bool inspected;                        /* nothing more can be done: it has ended */
    struct isola_v8 *v8; /* NULL until the first visit; changed in a visit, under the lock, so that
                            a check may read it there */

    atomic_uint pins;   /* not 0: it stays with the worker that visits it */
    unsigned residents; /* shared: the actors that have it as their realm; under the host's
                           shared_lock */

    atomic_size_t heap_used; /* as of a recent visit */
    atomic_int start;        /* enum isola_start of the module it loaded last */

    /* in a visit only */
    struct isola_js *js;
    struct isola_mailq held;                     /* taken out of the inbox, not handed out yet */
    struct isola_map modules;                    /* type name → struct isola_module */
    struct isola_idmap actors;                   /* serial → struct isola_actor */
    struct isola_actor *touched, **touched_tail; /* list: to be settled and pumped */
    uint32_t next_serial, next_turn;
    unsigned begun;   /* turns, in this visit */
    unsigned running; /* turns; as long as there are any, the host counts as busy */
    unsigned traced;  /* of these: their message has a trace context */
    bool busy;
    struct isola_turn *free_turns;
    struct isola_batch batch;
    struct isola_mailq
        direct;   /* from the inbox, or from here: to begin turns with, in the isolate */
    bool settled; /* what scripts send now is all they send in this entry, and none of
                     them has crashed that is not hurt */
    struct isola_refs refs_of;
    struct isola_pending **asks; /* by ISOLA_ASK_SLOT */
    uint32_t nslots;
    struct isola_buf scratch;
    uint64_t heap_seen;    /* when heap_used was, ms */
    struct isola_heap due; /* of struct isola_pending */
    struct isola_pending **pending;
    uint32_t npending, free_pending; /* free_pending: index + 1 */
    struct isola_map ios; /* id (8 bytes) → struct isola_io (io.c): what is done for its scripts */
    uint64_t next_io;
    unsigned budget;             /* turns left in this visit */
    uint64_t until;              /* ns: no new turn in this visit after it */
    struct isola_check *check;   /* not NULL: only loads modules (check.c) */
    struct isola_idle *idle;     /* idle.c: a list, one for each type */
    uint64_t now;                /* when this visit began, ms */
    uint32_t idle_now;           /* the time of this visit as isola__idle_time has it */
    bool emptied;                /* a pending EMPTY is there */
    struct isola_actor *leaving; /* whose asks are being cancelled as its activation ends */
    bool dead;                   /* its isolate has ended: no actor starts here */
    struct isola_entered {       /* the entry under way */
        uint32_t actor, turn;
        bool batch; /* it is a run of the batch */
        bool over;  /* by isola__limits_exceeded */
    } entered;

    struct isola_heap_node wake; /* by the least of `due`; under waker's wakes_lock */
    struct isola_worker *waker;  /* in whose heap `wake` is; changed in a visit */

    /* What the next visits are to fetch before they need it (isola__realm_fetch): the first nheard
     * also to hear of a write alone; where the state lies that was saved last; and visits until it
     * is noted anew. Written in visits; read by whoever will be the next. */
    _Atomic(const void *) lines[ISOLA_REALM_LINES], saved;
    atomic_uint nlines, nheard;
    unsigned lines_age;
};

/* Fetches a part of what its next visit will need, of ISOLA_FETCHES; `heard`: it will hear of a
 * write, and that is likely to be all. Whoever has a reference. */
#define ISOLA_FETCHES 3
ANY_THREAD void isola__realm_fetch(const struct isola_realm *r, unsigned part, bool heard);

/* In a visit, in the isolate: notes now and then what the next ones need. */
void isola__realm_note(struct isola_realm *r);

struct isola_realm *isola__realm_new(struct isola_host *h, struct isola_worker *w,
                                     struct isola_release_rt *release, bool shared,
                                     struct isola_v8_limits limits);
ANY_THREAD struct isola_realm *isola__realm_ref(struct isola_realm *r);
ANY_THREAD void isola__realm_unref(struct isola_realm *r);
/* Puts a mail (NULL: nothing, only wake) into the inbox and makes the realm ready. */
ANY_THREAD void isola__realm_post(struct isola_realm *r, struct isola_mail *mail);
/* Likewise; false: the realm is closed, and isola__realm_drop is to be called, without any lock. */
ANY_THREAD ISOLA_MUST_USE bool isola__realm_push(struct isola_realm *r, struct isola_mail *mail);
/* Likewise, for whenever it is visited next. */
ANY_THREAD ISOLA_MUST_USE bool isola__realm_leave(struct isola_realm *r, struct isola_mail *mail);
/* Sees to what has come to a realm that is closed. */
ANY_THREAD void isola__realm_drop(struct isola_realm *r);
/* In a visit: moves the mails for `a` that wait in its inbox to `to`. The directory's shard of `a`
 * is locked, so no more come. */
void isola__realm_take(struct isola_realm *r, struct isola_actor *a, struct isola_mailq *to);
/* In a visit, in the isolate: begins turns with what is direct. False: there was none. */
bool isola__realm_direct(struct isola_realm *r);
/* Worker: one visit. */
void isola__realm_visit(struct isola_realm *r);
/* No more visits; the isolate is closed after the present one. */
ANY_THREAD void isola__realm_close(struct isola_realm *r);
/* In a visit: moves the inbox to the end of `to`, in the order it came in. */
void isola__realm_inbox(struct isola_realm *r, struct isola_mailq *to);
void isola__realm_touch(struct isola_realm *r, struct isola_actor *a);
/* Takes it off the list again, if it is there. */
void isola__realm_untouch(struct isola_realm *r, struct isola_actor *a);
/* In a visit: code of this actor has run: what it did is to be settled. */
void isola__realm_ran(struct isola_realm *r, struct isola_actor *a);
extern const struct isola_v8_ops isola__v8_ops; /* script.c */
static inline struct isola_actor *isola__realm_actor(struct isola_realm *r, uint32_t serial)
{
    return isola_idmap_get(&r->actors, serial);
}
/* Makes sure the module of `type` is loaded or loading. */
struct isola_module *isola__realm_module(struct isola_realm *r, const struct isola_type *type);

#endif
