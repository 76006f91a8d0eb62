/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of actors/ share.
 *
 * Threads. An actor belongs to its realm, and a realm is visited by one worker at a time, though
 * not always by the same one: everything of an actor, of its realm, turns and effects is touched in
 * a visit alone, but for what is marked otherwise. "Visit" below means: on the worker that visits
 * the realm. Other threads reach an actor by putting a mail into its realm's inbox, under the
 * directory shard's lock, so that an actor can neither leave nor change its realm while mail is on
 * its way. What a read or write of its state ends with comes the same way.
 */
#ifndef ISOLA_ACTORS_INTERNAL_H
#define ISOLA_ACTORS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "actors/durable.h"
#include "actors/host.h"
#include "actors/life.h"
#include "actors/schedule.h"
#include "actors/sql.h"
#include "actors/stack.h"
#include "actors/storage.h"
#include "actors/v8/realm.h"
#include "base/check.h"
#include "base/heap.h"
#include "base/idmap.h"
#include "base/lock.h"
#include "base/map.h"

struct isola_worker;
struct isola_check;
struct isola_realm;
struct isola_actor;
struct isola_prepared;

/* --- releases (release.c) --- */

struct isola_type {
    struct isola_host_type def; /* strings and code owned by the release */
    struct isola_release_rt *release;
    struct isola_prepared *prepared;       /* what isolates begin with (prepared.c) */
    _Atomic(struct isola_sourcemap *) map; /* decoded when a stack first asks for it */
    atomic_bool map_is_bad;
};

/* What its actors have done (tally.c). */
#define ISOLA_TALLY_STRIPES 8u /* so many workers count at once without waiting for one another */
struct isola_tally {
    struct {
        _Alignas(64) atomic_ullong n;
    } turns[ISOLA_TALLY_STRIPES];
    atomic_ullong errors;
    atomic_bool has_first;
    pthread_mutex_t lock;             /* guards the next two */
    struct isola_buf first_of, first; /* the first error since it is watched: whose, and its text */
};
struct isola_app;
struct isola_actor;

struct isola_tally_sum {
    uint64_t turns, errors;
};
void isola__tally_init(struct isola_tally *t);
void isola__tally_free(struct isola_tally *t);
/* `app` has had the releases of `old`, and has others now, or another share: from here on it is
 * counted what they do. `unproven`: what came before `old->current` is the measure. With apps_lock.
 */
void isola__tally_begin(struct isola_app *app, const struct isola_app *old, bool unproven);
/* It has crashed, or could not start; it has answered an ask with an error (args array). */
void isola__tally_error(const struct isola_actor *a, struct isola_slice text);
void isola__tally_refused(const struct isola_actor *a, struct isola_slice args);

/* A release some of whose actors may be alive. Immutable but for its count and its tally. */
struct isola_release_rt {
    atomic_uint refs;
    char *app, *id;
    char *version; /* NULL: none */
    char *net;     /* "" when it may connect to nothing */
    char *apps;    /* "" when it may send to no other app */
    size_t app_len;
    struct isola_slice env;
    size_t ntypes;
    struct isola_type *types;
    struct isola_tally tally;
};

/* What an app has: in the host's map, under its apps_lock. */
struct isola_app {
    struct isola_release_rt *current;   /* counted */
    struct isola_release_rt *candidate; /* counted: a canary; or NULL */
    uint32_t share;                     /* of that (base/canary.h) */
    /* What the candidate, or the current one when there is none, had done when the two became what
     * they are; what the current one had, while there is a candidate; and what is the measure of
     * the current one: what the release before it did. */
    struct isola_tally_sum since, beside, before;
};
/* The type that an actor of this app is of: the candidate's when it is in its share, or no other
 * has it. NULL: there is none. */
const struct isola_type *isola__app_type(const struct isola_app *app,
                                         const struct isola_address *at);
/* Is this one of its app's? With apps_lock. */
bool isola__release_is_live(struct isola_host *h, const struct isola_release_rt *r);

struct isola_release_rt *isola__release_new(const struct isola_host_release *def);
struct isola_release_rt *isola__release_ref(struct isola_release_rt *r);
void isola__release_unref(struct isola_release_rt *r);
/* The current type of an address, with a reference to its release; NULL and an error sentence when
 * there is none: one that names the app which was probably meant, when that may be `told`. */
const struct isola_type *isola__type_find(struct isola_host *h, const struct isola_address *at,
                                          bool told, struct isola_err *err);

/* --- permissions (permit.c) --- */

/* May it send to another app than its own? ISOLA_EPERM and how to permit it. */
int isola__permit_other(const struct isola_release_rt *r, struct isola_slice app,
                        struct isola_err *err);
static inline int isola__permit(const struct isola_release_rt *r, struct isola_slice app,
                                struct isola_err *err)
{
    if (app.len == r->app_len && memcmp(app.data, r->app, app.len) == 0)
        return 0;
    return isola__permit_other(r, app, err);
}
/* May this mail of an actor of another node's reach its receiver here? */
ANY_THREAD int isola__permit_from(struct isola_host *h, const struct isola_mail *m,
                                  struct isola_err *err);

/* --- limits (limits.c) --- */

/* Those of an isolate of its own for `type`, or of one that its release's shared types share. */
struct isola_v8_limits isola__limits_of(const struct isola_type *type);
/* ops of the isolate: the watch over its entries, and what becomes of actors whose scripts were
 * ended. */
void isola__limits_enter(void *realm, uint32_t actor, uint32_t turn);
void isola__limits_run(void *realm);
void isola__limits_leave(void *realm);
bool isola__limits_ended(void *realm, uint32_t actor, enum isola_v8_end why);
/* In a visit: the actor has used more than it may of something other than CPU and memory. Its
 * script is ended, and it crashes with this text. */
void isola__limits_exceeded(struct isola_actor *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* It is about to send so many bytes. EOVERLOAD: too many asks are under way; or its script is
 * ended, for the other limits. */
int isola__limits_send(struct isola_actor *a, int kind, size_t bytes, struct isola_err *err);
/* May it log a line of so many bytes? */
bool isola__limits_log(struct isola_actor *a, size_t bytes);
/* Worker, the isolate not entered: an isolate whose scripts were ended for good goes; the realm
 * stays until all who live in it have found another. */
void isola__limits_bury(struct isola_realm *r);

/* --- what modules begin with (prepared.c) --- */

enum isola_start { ISOLA_START_NONE, ISOLA_START_SOURCE, ISOLA_START_CACHE, ISOLA_START_IMAGE };

/* `cache`: V8's code for the module, as kept by an earlier process, or empty; copies. */
struct isola_prepared *isola__prepared_new(struct isola_slice cache);
void isola__prepared_free(struct isola_prepared *p);
/* Worker: opens the isolate of a realm, for actors of `type` (NULL: of any), whose module is loaded
 * already when it begins from an image. */
ISOLA_MUST_USE int isola__prepared_open(struct isola_realm *r, const struct isola_type *type,
                                        struct isola_v8 **out, struct isola_err *err);
/* Worker, in a visit: loads the module. */
void isola__prepared_load(struct isola_realm *r, const struct isola_type *type);
/* The image of the type, or NULL; has what there is not made. It lives as long as the release. */
ANY_THREAD const struct isola_v8_image *isola__prepared_image(struct isola_host *h,
                                                              const struct isola_type *type);
/* How it began, for `ps`, or NULL when it has not; `why` not from a snapshot, or "". Under the
 * lock of its directory shard. */
#define ISOLA_WHY_SIZE 200
ANY_THREAD const char *isola__prepared_start(const struct isola_actor *a, char why[ISOLA_WHY_SIZE]);
/* What stacks call the type's module. The caller frees. */
char *isola__module_file(const struct isola_type *type);

/* --- isolates opened ahead (spare.c) --- */

#define ISOLA_SPARES_MAX 2
struct isola_spare {
    const struct isola_type *type; /* counted by its release; NULL: this place is free */
    const struct isola_v8_image *image;
    struct isola_v8 *v8; /* NULL: it is being made */
    uint64_t number;     /* the larger, the later it was begun */
};
struct isola_spares {
    pthread_mutex_t lock; /* guards all but `wanted` */
    atomic_uint wanted;   /* of `want` */
    unsigned most;
    uint64_t epoch, numbers;
    const struct isola_type *want[ISOLA_SPARES_MAX]; /* NULL: none; counted by their releases */
    struct isola_spare slot[ISOLA_SPARES_MAX];
};
/* An isolate of the type has begun: one more may be wanted soon. */
void isola__spare_want(struct isola_host *h, const struct isola_type *type);
/* Worker, without work: makes one, if one is wanted. */
void isola__spare_make(struct isola_host *h);
/* Worker: one of the type, made from this image (or NULL), which is the realm's now; or NULL. */
struct isola_v8 *isola__spare_take(struct isola_realm *r, const struct isola_type *type,
                                   const struct isola_v8_image *image);
/* Those of this release (NULL: all) go, and none that is wanted now is made. */
ANY_THREAD void isola__spare_drop(struct isola_host *h, const struct isola_release_rt *release);

/* --- quarantine (quarantine.c) --- */

/* Is it? Then err says so; `lift`: it is not any more. */
ANY_THREAD bool isola__quarantined(struct isola_host *h, struct isola_slice address, bool lift,
                                   struct isola_err *err);
ANY_THREAD size_t isola__quarantine_each(struct isola_host *h, struct isola_slice app,
                                         void (*each)(const struct isola_host_info *info,
                                                      void *arg),
                                         void *arg);

/* --- realms (realm.c) --- */

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

/* --- what is handed to the isolate together (batch.c) --- */

struct isola_batch_item {
    struct isola_actor *actor; /* NULL: it has left */
    struct isola_turn *turn;   /* of a message, until it has ended; NULL: an answer, or it has */
    bool message;
    uint64_t used;    /* CPU time of its turn before the run, ns */
    uint64_t charged; /* and in it: the watchdog's */
};
struct isola_batch {
    struct isola_batch_item *items; /* limits.batch, in the order of their records */
    uint32_t count, near;           /* near: found last */
    bool runs;
    const _Atomic(int32_t) *at; /* in a run: the index of the record that runs; or NULL */
    uint64_t pace;              /* ns one takes, as a guess on the safe side */
    struct isola_mailq lent;    /* answers whose values the isolate reads yet */
};
/* In a visit, in the isolate. Begins the turn with its mail. */
void isola__batch_turn(struct isola_actor *a, struct isola_turn *t);
/* An answer to an ask of this actor (or NULL). Takes it. */
void isola__batch_answer(struct isola_realm *r, struct isola_actor *a, uint32_t serial,
                         struct isola_mail *m);
/* The actor of a serial: quick for those of the batch, when they are asked for in its order. */
struct isola_actor *isola__batch_actor(struct isola_realm *r, uint32_t serial);
/* The turn of the record has ended well. */
void isola__batch_finished(struct isola_realm *r, uint32_t record, struct isola_slice args,
                           void **memory);
/* The turn, which is queued, has ended: it is not to begin, unless it has. */
void isola__batch_forget(struct isola_realm *r, struct isola_turn *t);
/* The actor leaves its realm. */
void isola__batch_leaves(struct isola_actor *a);
/* So many records have run, or begun to. */
uint32_t isola__batch_ran(const struct isola_batch *b);
/* Runs them. False: there was nothing to run. */
bool isola__batch_run(struct isola_realm *r);

/* --- whom scripts send to (refs.c) --- */

struct isola_ref {
    uint64_t hash; /* isola_hash_table of the address */
    char *text;
    uint32_t len;
    uint32_t next; /* of the same head: its number, or 0 */
};
struct isola_receiver {
    struct isola_actor *actor; /* counted: who lives at the address here; NULL: not known */
    const void *realm;         /* where it lived when it got something last */
    uint32_t away;             /* emits to another node */
    int node;                  /* > 0: where it lives, as long as h->moves is `seen` */
    unsigned seen;
};
struct isola_refs {
    struct isola_ref *all;            /* a number is an index + 1 */
    struct isola_receiver *receivers; /* as `all`: a message needs no more of a ref */
    uint32_t *heads;
    uint32_t count, size; /* size: a power of two, or 0 */
    uint32_t epoch, swept;
    uint64_t id; /* no two tables of the process, nor epochs of one, have the same; 0: none yet */
};
/* In a visit. When they have become too many, the epoch changes and all others mean nothing. */
uint32_t isola__refs_number(struct isola_realm *r, struct isola_slice address);
void isola__refs_free(struct isola_refs *t);
/* Lets go of some actors that have gone: they, and the realms they were in, would stay. */
void isola__refs_sweep(struct isola_refs *t);
/* The node it lives on, as far as is known; 0: this one. */
int isola__ref_node(struct isola_realm *r, uint32_t number);
/* Sends an ASK or EMIT of a script's to it there, at once. Borrows it, but for an ask's origin. */
void isola__ref_send_away(struct isola_realm *r, uint32_t number, int node,
                          struct isola_mail *mail);
/* Sends a mail of a script's to it, at once. Takes it. */
void isola__ref_send(struct isola_realm *r, uint32_t number, struct isola_mail *mail);
static inline struct isola_slice isola__ref_address(const struct isola_ref *ref)
{
    return isola_slice(ref->text, ref->len);
}

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
/* mappings.c: an isolate is about to be made. ISOLA_EOVERLOAD: the kernel has no room for it. */
ANY_THREAD ISOLA_MUST_USE int isola__mappings_take(struct isola_host *h, struct isola_err *err);
/* Takes them for one more if there is no want of them. */
ANY_THREAD bool isola__mappings_plenty(void);
/* No more visits; the isolate is closed after the present one. */
ANY_THREAD void isola__realm_close(struct isola_realm *r);
void isola__realm_touch(struct isola_realm *r, struct isola_actor *a);
/* Takes it off the list again, if it is there. */
void isola__realm_untouch(struct isola_realm *r, struct isola_actor *a);
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
/* In a visit: code of this actor has run: what it did is to be settled. */
void isola__realm_ran(struct isola_realm *r, struct isola_actor *a);
void isola__pending_free(struct isola_realm *r, struct isola_pending *p);
uint64_t isola__pending_id(const struct isola_pending *p);
extern const struct isola_v8_ops isola__v8_ops; /* script.c */
static inline struct isola_actor *isola__realm_actor(struct isola_realm *r, uint32_t serial)
{
    return isola_idmap_get(&r->actors, serial);
}
/* Makes sure the module of `type` is loaded or loading. */
struct isola_module *isola__realm_module(struct isola_realm *r, const struct isola_type *type);

/* --- looking into isolates (inspect.c) --- */

ANY_THREAD bool isola__inspect_waits(struct isola_realm *r);
/* Worker, with the isolate (or NULL): does what waits to be done in it. */
void isola__inspect_run(struct isola_realm *r, struct isola_js *js);
/* Worker: the isolate ends after this. */
void isola__inspect_close(struct isola_realm *r);

/* --- actors (actor.c, turn.c) --- */

/* Turns of a realm are numbered from 1 to this, and again: two of them that run at once differ. */
#define ISOLA_TURN_MAX ((1u << 21) - 1)

struct isola_turn {
    struct isola_turn *next;
    uint32_t id;
    struct isola_mail *mail;
    uint64_t cpu_ns; /* used, as far as the watchdog has seen */
    enum {
        ISOLA_TURN_WANTED,
        ISOLA_TURN_CANCEL, /* to be cancelled in the isolate */
        ISOLA_TURN_CANCELLED,
    } cancelled;
    bool watched;    /* its script has looked at its signal */
    bool unheard;    /* there was no handler for it */
    uint32_t queued; /* its place in the batch, counted from 1, until that has run; or 0 */
};

/* A write of state on its way, and the effects that wait for it. */
struct isola_commit {
    struct isola_state_io io;
    struct isola_mail note;    /* ISOLA_MAIL_COMMITTED: it has ended */
    struct isola_commit *next; /* the actor's list, oldest first */
    struct isola_actor *actor; /* counted */
    uint32_t activation;       /* the actor's, when it began */
    struct isola_buf value;    /* io.has_value: its state */
    struct isola_kept_rows rows;
    bool timers;                /* there are some among its rows */
    struct isola_items *items;  /* rows of its storage, or NULL */
    struct isola_kept *all;     /* those and `rows`, where there are both */
    uint64_t sql_taken;         /* its rows of self.sql are, or 0 */
    struct isola_mailq effects; /* the store's thread's until it has ended */
    struct isola_mailq later;   /* of turns that changed nothing, behind those */
    bool direct;                /* its effects leave from the store's thread, if it succeeds */
    bool quiet;                 /* under the shard's lock: and nobody waits for word of that */
    int code;
    char *why; /* of a code, or NULL */
};

/* A read of state on its way. */
struct isola_read {
    struct isola_state_io io;
    struct isola_mail note;    /* ISOLA_MAIL_READ: it has ended */
    struct isola_actor *actor; /* counted */
    uint32_t activation;
    struct isola_buf value;
    struct isola_kept_rows rows;
    int code;
    char why[200];
};

struct isola_sub_of {
    struct isola_sub_of *next;
    uint64_t id;
    struct isola_buf dst, event;
};

enum isola_actor_state {
    ISOLA_ACTOR_STARTING,
    ISOLA_ACTOR_IDLE,
    ISOLA_ACTOR_RUNNING,
    ISOLA_ACTOR_FAILED,
    ISOLA_ACTOR_GONE, /* out of the directory */
};

enum isola_looked {
    ISOLA_LOOKED_STATE = 1, /* it has looked at its state */
    ISOLA_LOOKED_KEPT = 2,  /* it has changed what is kept beside that */
};

enum isola_mark {
    ISOLA_MARK_GOOD,   /* its state is marked with its release */
    ISOLA_MARK_WANTED, /* it will be with what is written next */
    ISOLA_MARK_OWED,   /* it is to be at the next settle */
};

struct isola_actor {
    /* The first two cache lines are all a message touches; others than its realm's visitor touch
     * the first one alone. */
    /* Changed in a visit, under the shard's lock and its own; a counted reference. */
    _Atomic(struct isola_realm *) realm;
    const struct isola_type *type; /* holds a reference to its release; changed likewise */
    atomic_uint mailbox;           /* mails in the inbox or waiting */
    atomic_int state;       /* enum isola_actor_state; written in visits; to GONE under `lock` */
    struct isola_lock lock; /* whoever hands it mail without looking it up in the directory */
    atomic_uint refs;

    /* in a visit of its realm only, unless it is said otherwise */
    uint32_t serial; /* what its realm knows it by; 0: nothing yet */
    unsigned nrunning;
    unsigned ndirect;       /* of its mails that are in realm->direct */
    atomic_uint idle_since; /* the last turn's end (isola__idle_time); also read by memory.c */
    struct isola_turn *running;
    bool is_touched;
    bool turn_ended;
    uint8_t looked;  /* enum isola_looked: what its script may have changed since the last settle */
    bool begun;      /* this activation has had a turn */
    bool hurt;       /* there is a crash, or a start_error */
    bool cancelling; /* a turn of it is to be cancelled */
    bool behind;     /* mail may wait for it in the inbox that came before the last visit */
    bool activating;

    atomic_ullong turns; /* read by other threads */
    struct isola_commit *commits;
    struct isola_mail
        *stopping; /* the STOP or UPGRADE that ends this activation once all is quiet */
    struct isola_mail *upgrade; /* an UPGRADE: comes before what waits, gives a start up */
    struct isola_mailq waiting;
    struct isola_mailq effects; /* caused since the last settle; its head ends the two lines */

    struct isola_actor *next_same; /* in the directory's bucket; under the shard's lock */
    uint64_t hash;                 /* of the address */
    struct isola_slice address;    /* `text` */
    struct isola_host *host;
    struct isola_actor *next_touched;
    struct isola_commit **commits_tail;
    struct isola_commit *newest; /* of `commits`, the last with a state of this activation's */
    bool reading, have_state;
    int failure_code; /* what its senders are told while it has failed: with `failure` */

    struct isola_pending *pending; /* its asks and timers */
    struct isola_address at;       /* into `text`; read by other threads */
    uint32_t activation;           /* counts them */
    unsigned nios;                 /* of its realm's ios */
    size_t io_bytes;               /* of the requests of these */
    struct isola_buf saved;        /* the state as on disk, or empty */
    struct isola_buf no_state;     /* why the state cannot be had; empty: it can */
    struct isola_buf crash;        /* what it crashed of; empty: it did not */
    struct isola_buf start_error;  /* args array with the Error its start ended with */
    struct isola_family *family;   /* its children (supervise.c), or NULL */
    struct isola_pending *grace;   /* grace.c, or NULL */
    atomic_size_t mail_bytes;      /* of large mails in its mailbox and turns */
    atomic_bool paced;             /* its mailbox is crowded (pace.c) */
    size_t effect_bytes;           /* of its effects since the last settle */
    atomic_ullong cpu_ns;          /* of its scripts, as far as the watchdog has seen */
    uint32_t nasks, ntimers, nsubs;
    uint32_t log_count, log_dropped; /* lines of the second `log_second` */
    uint64_t log_second;
    bool bystander; /* `crash` is no fault of its own: its isolate was stopped */
    bool hooked;    /* this activation has onUpgrade: its state is marked (upgrade.c) */
    bool upgrading; /* that is under way */
    uint8_t mark;   /* enum isola_mark */
    bool was_kept;  /* there was something of it on disk */
    struct isola_crashes *crashes; /* those that count (restart.c), or NULL */
    unsigned failures;             /* activations that failed in a row */
    uint64_t retry_at;             /* FAILED: not before, ms */
    struct isola_buf failure;      /* FAILED: "could not start: …" or "has failed: …"; changed
                                      under the directory's lock */
    struct isola_sub_of *subs;
    struct isola_durable *durable;   /* durable.c, or NULL */
    struct isola_schedule *schedule; /* schedule.c, or NULL; changed under the directory's lock */
    struct isola_storage *storage;   /* storage.c, or NULL */
    struct isola_sql *sql;           /* sql.c, or NULL */
    char text[];                     /* the address */
};
_Static_assert(offsetof(struct isola_actor, turns) == 64 &&
                   offsetof(struct isola_actor, effects.head) == 120,
               "what messages touch is in two cache lines");

ANY_THREAD struct isola_actor *isola__actor_ref(struct isola_actor *a);
ANY_THREAD void isola__actor_unref(struct isola_actor *a);
/* In a visit. A mail from the inbox for this actor. Takes it. */
void isola__actor_take(struct isola_actor *a, struct isola_mail *mail);
/* In a visit: starts what can be started: the activation, or turns. */
/* False: it has failed, and is not to be touched again. */
ISOLA_MUST_USE bool isola__actor_pump(struct isola_actor *a);
/* In a visit: the activation has ended with success (error empty) or not. */
void isola__actor_activated(struct isola_actor *a, struct isola_slice error);
/* In a visit: the state was read. */
void isola__actor_read(struct isola_read *read);
/* In a visit: ends the activation; the next message (or one that waits already) makes a new
 * one. The actor may belong to another realm afterwards: do not touch it again. */
void isola__actor_end(struct isola_actor *a);
/* In a visit: activation or module failed: `error` is an args array with an Error value. Do not
 * touch the actor again. */
void isola__actor_fail(struct isola_actor *a, struct isola_slice error);
/* In a visit: it is not to start again; `why` is a sentence. Do not touch the actor again. */
void isola__actor_give_up(struct isola_actor *a, struct isola_slice why);
/* In a visit: the code of a failure or crash of that error: ISOLA_EUNREACHABLE when it says why the
 * state cannot be had, so that a sender need not read it to tell that from a mistake in a script.
 */
int isola__failure_code(const struct isola_actor *a, struct isola_slice what);
/* In a visit: has it mail to begin turns with? */
bool isola__actor_has_work(const struct isola_actor *a);
/* Answers a STOP. Takes it. */
ANY_THREAD void isola__stop_answer(struct isola_host *h, struct isola_mail *stop, bool was_there);
/* The activation that these (by `next`; NULL: none) were to end has ended: who waits for that is
 * told. Takes them. */
ANY_THREAD void isola__upgraded(struct isola_host *h, struct isola_mail *upgrade);

/* --- which release has written a state (upgrade.c). In a visit --- */

/* Its stored state without its mark, if it has one. `from`: what onUpgrade is to be told of who has
 * written it, borrowed: a version or the id of a release; no bytes: it is not known; NULL data:
 * there is nothing to be upgraded. */
struct isola_slice isola__upgrade_from(struct isola_actor *a, struct isola_slice *from);
/* Its script has the hook, which is called now if it was told a `from`. */
void isola__upgrade_begins(struct isola_actor *a);
/* Its start has ended well. */
void isola__upgrade_ended(struct isola_actor *a);
/* Appends its mark, which is in front of each state that it writes; nothing, without the hook. */
void isola__upgrade_mark(const struct isola_actor *a, struct isola_buf *out);
/* Is its mark to be written, though its state need not be? `kept`: something else of it is. */
bool isola__upgrade_due(const struct isola_actor *a, bool kept);
/* Appends `state`, as it was written last (or empty), with the present mark. */
void isola__upgrade_remark(const struct isola_actor *a, struct isola_slice state,
                           struct isola_buf *out);

/* --- turns and the output gate (turn.c, gate.c) --- */

void isola__turn_begin(struct isola_actor *a, struct isola_mail *mail);
/* `memory` as in ops->done. */
void isola__turn_done(struct isola_actor *a, uint32_t id, bool ok, struct isola_slice args,
                      void **memory);
void isola__turn_finished(struct isola_actor *a, struct isola_turn *t, bool ok,
                          struct isola_slice args, void **memory);
/* Ends every running turn with an error, for a crash. */
void isola__turns_abandon(struct isola_actor *a, int code, const char *why);
struct isola_turn *isola__turn_find(struct isola_actor *a, uint32_t id);
/* In a visit: the trace context of what the actor's code sends in this turn: that of the message
 * the turn began with; in a start, of the message it starts for. Often there is none. */
struct isola_slice isola__turn_trace(struct isola_actor *a, uint32_t id);

/* In a visit, after scripts of this actor have run: saves its state if that is due and lets
 * its effects out, now or when the state is on disk. False: its activation has ended, and it is not
 * to be touched again. */
ISOLA_MUST_USE bool isola__gate_settle(struct isola_actor *a);
/* In a visit: what a script of this actor has caused waits for its settle; of none (NULL), it goes
 * at once. Takes it. */
void isola__gate_put(struct isola_realm *r, struct isola_actor *a, struct isola_mail *m);
/* In a visit: of what its script has caused and that waits for nothing yet, answers become errors
 * and all else is dropped, but for what the host sends of itself. */
void isola__gate_refuse(struct isola_actor *a, int code, const char *why);
/* In a visit: sends a mail of this actor after all that waits for its writes. Takes it. */
void isola__gate_follow(struct isola_actor *a, struct isola_mail *mail);
/* In a visit: writes these rows alone, for `effects` to leave then. Takes both. */
void isola__gate_keep(struct isola_actor *a, struct isola_kept_rows *rows,
                      struct isola_mailq *effects);
/* In a visit, or when there are no more: a write has ended. */
void isola__gate_committed(struct isola_commit *c);
/* May what it sends leave at once? */
static inline bool isola__gate_open(const struct isola_actor *a)
{
    return !a->hurt && !a->looked && !a->activating && a->commits == NULL &&
           a->effects.head == NULL;
}
/* An answer of an actor that lives in `r`: to where it is waited for, in order with messages that
 * go there. Takes it. */
void isola__gate_reply(struct isola_realm *r, struct isola_mail *answer);
/* Whoever waits for the answer to this mail is told why there is none. Its origin is gone then. */
void isola__gate_fail(struct isola_host *h, struct isola_mail *m, int code, const char *why);
/* Sends one effect on its way. Takes it. */
void isola__gate_release(struct isola_host *h, struct isola_mail *mail);

/* --- directory (directory.c) --- */

#define ISOLA_DIRECTORY_SHARDS 256

/* A hash table of actors, chained through them. */
struct isola_directory_shard {
    pthread_mutex_t lock;
    struct isola_actor **buckets;
    size_t nbuckets; /* a power of two, or 0 */
    size_t count;
    uint64_t drops_second; /* what has been dropped of its actors in this second */
    unsigned drops;
};
struct isola_directory_shard *isola__directory_shard(struct isola_host *h, uint64_t hash);
/* Calls `each` for all actors of a shard, which is locked. */
#define ISOLA_SHARD_EACH(shard, a)                                                                 \
    for (size_t a##_at = 0; a##_at < (shard)->nbuckets; a##_at++)                                  \
        for (struct isola_actor *a = (shard)->buckets[a##_at]; a != NULL; a = a->next_same)

/* What a read or write of an actor's state has ended with, to its realm; takes nothing. True: there
 * is no hurry (`quiet`, unless that is NULL), and it hears of it when it is visited next. */
ANY_THREAD bool isola__directory_notify(struct isola_actor *a, struct isola_mail *note,
                                        const bool *quiet);
/* In a visit: there is some hurry, if that note has not been sent yet. */
void isola__directory_await(struct isola_actor *a, const struct isola_mail *note, bool *quiet);
/* Who lives at the address, counted, or NULL. */
ANY_THREAD struct isola_actor *isola__directory_actor(struct isola_host *h,
                                                      struct isola_slice address, uint64_t hash);
/* Hands it to an actor that was found before. ISOLA_ECLOSED: it has gone; ISOLA_EBUSY: it has no
 * room, or the host ends: isola__directory_post says so. Takes it when it returns 0. `r`: the realm
 * this thread visits. */
ISOLA_MUST_USE int isola__directory_hand(struct isola_actor *a, struct isola_mail *mail,
                                         struct isola_realm *r);
/* Hands a mail to the actor on this node, making the actor when there is none. Takes it. */
ANY_THREAD void isola__directory_post(struct isola_host *h, struct isola_mail *mail);
/* Logs that a message to the address was dropped; of many in one second only the first. */
ANY_THREAD void isola__directory_dropped(struct isola_host *h, struct isola_slice address,
                                         struct isola_slice event, const char *why);
/* A dead letter, an answer when it is an ask, a line of log when it is an emit. Takes it. */
ANY_THREAD void isola__directory_refuse(struct isola_host *h, struct isola_mail *mail, int code,
                                        const char *why);
/* In a visit: takes the actor out unless mail waits for it; true when it is out. */
bool isola__directory_leave(struct isola_actor *a);
/* Is the receiver of an emit here, and its mailbox crowded? `limits`: its own, or 0; NULL: nobody
 * asks. */
ANY_THREAD bool isola__directory_paced(struct isola_host *h, struct isola_slice address,
                                       struct isola_host_limits *limits);
/* The realm the actor lives in, with a reference, and its state; NULL when it is not here. */
ANY_THREAD struct isola_realm *isola__directory_realm(struct isola_host *h,
                                                      struct isola_slice address, int *state);

/* --- subscriptions (subs.c) --- */

ANY_THREAD bool isola__subs_heard(struct isola_host *h, struct isola_slice address,
                                  struct isola_slice event);
ANY_THREAD void isola__subs_add(struct isola_host *h, struct isola_mail *sub);
/* Is it here, and not any more? */
ANY_THREAD bool isola__subs_remove(struct isola_host *h, const struct isola_mail *unsub);
/* Sends subscriptions to actors that live elsewhere now after them. */
ANY_THREAD void isola__subs_moved(struct isola_host *h);
/* Fans a PUBLISH out. */
ANY_THREAD void isola__subs_publish(struct isola_host *h, struct isola_mail *mail);

/* --- what is done for scripts outside of isolates (io.c). Worker, in a visit --- */

/* As the ops of v8/realm.h. */
int isola__io_start(struct isola_realm *r, uint32_t actor, bool gated, struct isola_slice what,
                    struct isola_slice head, struct isola_slice body, uint64_t *id,
                    struct isola_err *err);
void isola__io_more(struct isola_realm *r, uint64_t id);
void isola__io_cancel(struct isola_realm *r, uint64_t id);
/* Cancels all of an actor whose activation ends, or (NULL) of a realm that is closed. */
void isola__io_forget(struct isola_realm *r, struct isola_actor *a);
/* An IO_EVENT or IO_END from the inbox. The serial of the actor whose code has run, or 0. */
uint32_t isola__io_event(struct isola_realm *r, const struct isola_mail *m);
/* Hands a mail to the outside. Takes it. */
ANY_THREAD void isola__io_release(struct isola_host *h, struct isola_mail *mail);

/* --- checks of a release (check.c) --- */

/* In a visit of a realm that only loads a module. */
void isola__check_visit(struct isola_realm *r);
void isola__check_loaded(struct isola_realm *r, struct isola_slice type, struct isola_slice error);
void isola__check_ended(struct isola_realm *r, const char *why);

/* --- workers (worker.c) --- */

struct isola_worker {
    struct isola_host *host;
    unsigned number;
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t async;
    uv_timer_t timer;
    uv_poll_t gate;                               /* what other nodes send while it sleeps */
    atomic_int sleep;                             /* enum isola_sleep (worker.c) */
    atomic_uint backlog;                          /* realms in the queue */
    atomic_ullong visit_since;                    /* ns of isola_clock_ns; 0: in no visit */
    pthread_mutex_t lock;                         /* guards the next one */
    struct isola_realm *ready_head, **ready_tail; /* where the next one goes */
    struct isola_realm **ready_ended;             /* and one whose write has ended */
    struct isola_realm *ahead; /* its own: what it visits next, perhaps; a reference, or NULL */
    bool ahead_ended;          /* its write has ended */
    unsigned ahead_fetched;    /* parts of it */
    uint64_t owed;             /* its own: bits of the workers it is to wake soon */
    unsigned owed_turns;
    atomic_bool lingers;             /* it looks for work before it sleeps */
    bool looks;                      /* its own: what comes is what it has read itself */
    uint64_t look_ns, looked;        /* likewise, for what other nodes send */
    atomic_ullong visit_ns;          /* what its visits take, lately */
    uint64_t stint_ns, stint_cpu_ns; /* its own: when it last looked how long it ran, and that */
    bool stint_waited;               /* it had to wait for much of it */
    atomic_int cpu;                  /* the processor it was on; negative: it sleeps (stint.c) */
    uint64_t linger_ns, lingered;    /* its own: for how long it may, and when it last did */
    unsigned vain;                   /* how often it has in vain lately, and since when */
    uint64_t forgiven;
    struct isola_map shared;    /* release (the pointer) → the realm many actors share; under the
                                   host's shared_lock */
    pthread_mutex_t wakes_lock; /* guards the next one */
    struct isola_heap wakes;    /* realms by their least deadline */
    struct isola_commit *spare_commit; /* its own: gate.c's, for the next one, or NULL */
    struct isola_buf spare_state;      /* likewise, for a state: no content */
};

/* Of a worker's own thread, as all that follows: it begins, and has slept since then, which is no
 * waiting; after a visit. */
void isola__stint_begin(struct isola_worker *w);
void isola__stint_slept(struct isola_worker *w, uint64_t since);
void isola__stint_look(struct isola_worker *w, uint64_t now);
/* It is awake, and moves when another one is on its processor; it is about to sleep. */
void isola__stint_place(struct isola_worker *w);
void isola__stint_leave(struct isola_worker *w);
/* Is there no processor to spare, as far as is known? `now`: isola_clock_ns. */
ANY_THREAD bool isola__stint_full(const struct isola_host *h, uint64_t now);

int isola__worker_start(struct isola_worker *w, struct isola_host *h, unsigned number,
                        struct isola_err *err);
ANY_THREAD void isola__worker_ready(struct isola_realm *r);
/* In a visit: the realm's least deadline has changed. */
void isola__worker_wake_at(struct isola_realm *r);
/* There is something to do for a worker that would sleep. */
void isola__worker_wake_sleeper(struct isola_host *h);
/* The worker whose thread this is, or NULL. */
struct isola_worker *isola__worker_here(void);
/* In a visit, where the processor has something else to do: fetches some of what is to be visited
 * next. */
void isola__worker_fetch(void);
/* In a visit, after so many turns: wakes whom it owes it by now. */
void isola__worker_between(unsigned turns);
/* The realm this worker's actors of the type share, with a reference and one more resident. */
ANY_THREAD struct isola_realm *isola__worker_shared_realm(struct isola_worker *w,
                                                          const struct isola_type *type);
/* A resident leaves: a realm nobody is left in goes, if its release is no longer current. */
ANY_THREAD void isola__worker_leave_shared(struct isola_realm *r);
/* Closes a shared realm if nobody is in it. */
void isola__worker_evict_shared(struct isola_realm *r);
/* Nobody starts in this realm any more: its isolate has ended. The next who would share it make
 * another. */
void isola__worker_drop_shared(struct isola_realm *r);
/* Closes this worker's realm of a release that is no longer current if nobody is in it. */
ANY_THREAD void isola__worker_sweep_shared(struct isola_worker *w,
                                           const struct isola_release_rt *release);

/* --- dead letters (letters.c) --- */

#define ISOLA_LETTERS 1000 /* kept */

struct isola_letters {
    pthread_mutex_t lock;
    uint64_t count; /* so far */
    bool watched;
    struct isola_host_letter *ring[ISOLA_LETTERS];
};

/* --- the host (host.c) --- */

struct isola_watchdog;

struct isola_host {
    const struct isola_host_ops *ops;
    struct isola_watchdog *watchdog;
    void *arg;
    unsigned nworkers;
    struct isola_worker *workers;
    atomic_bool draining, drained;
    atomic_uint next_worker;
    atomic_ullong next_sub;
    pthread_mutex_t quarantine_lock;
    struct isola_map quarantine; /* address → why; under its lock */
    atomic_uint nquarantined;
    atomic_uint moves;        /* so often other nodes have come or gone */
    atomic_uint crowded;      /* actors whose mailbox is, and what else makes emit return false */
    atomic_ullong full_until; /* isola_clock_ns: no processor is to spare till then (stint.c) */
    atomic_ullong full_ns;    /* for how long that was believed last */
    struct isola_pace {
        pthread_mutex_t lock;
        struct isola_map of; /* address → what pace.c knows of it */
        int *slow;           /* nodes whose links have much to send */
        size_t nslow;
    } pace;
    struct isola_directory_shard directory[ISOLA_DIRECTORY_SHARDS];
    pthread_rwlock_t apps_lock;
    struct isola_map apps; /* app → struct isola_app */
    pthread_rwlock_t subs_lock;
    struct isola_map subs;       /* "address\0event" → struct isola_sub_list (subs.c) */
    pthread_mutex_t shared_lock; /* guards every worker's `shared` map */
    atomic_uint ios;             /* io.c: what is under way for scripts, and the bytes of it */
    atomic_size_t io_bytes;
    struct isola_letters letters;
    struct isola_outbox outbox;
    struct isola_durables durables;
    struct isola_alarm alarm;
    struct isola_graces graces; /* set as it starts */
    struct isola_memory memory;
    struct isola_spares spares;
    atomic_size_t image_bytes; /* of all images */
    pthread_mutex_t orphans; /* held while what a write of an actor that is gone ended with is seen
                                to */
    /* Written with every visit: not beside what is read with every message. */
    atomic_ullong busy; /* realms with running turns, visits, reads, commits, DRAIN mails: what a
                           drain waits for */
};

/* In a visit: its script has run. */
static inline void isola__idle_used(struct isola_actor *a)
{
    atomic_store_explicit(&a->idle_since, a->realm->idle_now, memory_order_relaxed);
}
/* Can it begin one more turn, as far as those that run and what has ended let it? */
static inline bool isola__actor_may_begin(const struct isola_actor *a)
{
    return a->stopping == NULL && !a->turn_ended && !a->hurt &&
           (a->nrunning == 0 || a->type->def.reentrant);
}
/* Fetches what a message to it touches; not `here`: what is shared with other realms alone. */
static inline void isola__actor_fetch(const struct isola_actor *a, bool here)
{
    __builtin_prefetch(a, 1);
    if (here)
        __builtin_prefetch(&a->turns, 1);
}

/* Counts mail into the mailbox of an actor, or out of it; pace.c looks after those that fill. */
/* It has come to hold more than half of what it may, or perhaps less than a quarter again: worker
 * or who posts, with whatever locks of the directory. */
ANY_THREAD void isola__pace_filled(struct isola_actor *a);
ANY_THREAD void isola__pace_emptied(struct isola_actor *a);
static inline void isola__mailbox_add(struct isola_actor *a)
{
    if (atomic_fetch_add(&a->mailbox, 1) == a->type->def.limits.mailbox / 2)
        isola__pace_filled(a);
}
static inline void isola__mailbox_sub(struct isola_actor *a, unsigned n)
{
    unsigned before = atomic_fetch_sub(&a->mailbox, n), few = a->type->def.limits.mailbox / 4;
    if (before > few && before - n <= few && atomic_load_explicit(&a->paced, memory_order_relaxed))
        isola__pace_emptied(a);
}
/* Counts something a drain waits for. */
ANY_THREAD void isola__host_busy(struct isola_host *h);
ANY_THREAD void isola__host_unbusy(struct isola_host *h);
/* Nobody waits any more for what this connection has asked. */
ANY_THREAD void isola__host_cancel_link(struct isola_host *h, uint64_t link);
ANY_THREAD void isola__host_logf(struct isola_host *h, enum isola_log_level level,
                                 struct isola_slice address, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
