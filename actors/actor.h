/* SPDX-License-Identifier: Apache-2.0
 *
 * One actor: its activation, its mailbox, and all that is under way for it; of state, what is
 * read.
 */
#ifndef ISOLA_ACTORS_ACTOR_H
#define ISOLA_ACTORS_ACTOR_H

#include <stdatomic.h>
#include <stddef.h>

#include "actors/realm.h"
#include "actors/release.h"
#include "base/lock.h"

struct isola_commit;
struct isola_crashes;
struct isola_durable;
struct isola_family;
struct isola_schedule;
struct isola_storage;

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

#endif
