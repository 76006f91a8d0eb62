/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of an actor's turns and activations beside mail: cancellation, ends that are
 * waited for, monitors, children, restarts, hibernation.
 */
#ifndef ISOLA_ACTORS_LIFE_H
#define ISOLA_ACTORS_LIFE_H

#include <stdatomic.h>

#include "actors/mail.h"
#include "base/error.h"

struct isola_host;
struct isola_pending;

/* --- cancellation (cancel.c) --- */

/* In a visit, called by a script: nobody waits for this ask any more, which went to `dst`. */
void isola__cancel_ask(struct isola_realm *r, uint64_t ask, struct isola_slice dst);
/* In a visit: the activation ends; its asks are cancelled. */
void isola__cancel_asks(struct isola_actor *a);
/* In a visit: a CANCEL has come. Borrows it. */
void isola__cancel_take(struct isola_actor *a, const struct isola_mail *cancel);
/* In a visit, in the isolate: cancels the turns that are to be. */
void isola__cancel_run(struct isola_actor *a);
/* In a visit, called by a script: wants to know when the turn is cancelled. 0: it does not run, 1:
 * done, 2: it is. */
int isola__cancel_watch(struct isola_realm *r, uint32_t actor, uint32_t turn);
/* In a visit, in the isolate: a SIGNAL is due. Takes it. */
void isola__cancel_due(struct isola_realm *r, struct isola_pending *p);
/* In a visit: a watched turn has ended. */
void isola__cancel_unwatch(struct isola_actor *a, uint32_t turn);

/* --- turns that do not end when they are to (grace.c) --- */

/* How long turns may take then before they are cancelled, and from there until they are given up,
 * ms. */
struct isola_graces {
    uint64_t stop, upgrade, last;
};
struct isola_graces isola__graces(void);
/* In a visit: a STOP, UPGRADE or DRAIN has come. */
void isola__grace_arm(struct isola_actor *a, int kind);
/* In a visit: a start begins; a STOP may wait behind other mail. */
void isola__grace_starts(struct isola_actor *a);
/* In a visit: it leaves its realm. */
void isola__grace_disarm(struct isola_actor *a);
/* In a visit: a GRACE is due. Takes it. */
void isola__grace_due(struct isola_pending *p);

/* --- monitors (monitor.c) --- */

/* In a visit: its activation ends for this reason; tells who monitors it. */
void isola__down(struct isola_actor *a, const char *reason, struct isola_slice message);
/* Slices of the event's. */
void isola__down_read(const struct isola_mail *event, struct isola_slice *reason,
                      struct isola_slice *message);

/* Likewise, whatever it ends for: whom its streams are with hear of it. */
#define ISOLA_ENDED "\1ended"
void isola__ended(struct isola_actor *a);

/* --- streams (stream.c) --- */

#define ISOLA_STREAM "\1stream" /* the event of what their ends say to each other */

/* Is it that, or an ISOLA_ENDED? These are no turns. */
ANY_THREAD bool isola__stream_is(const struct isola_mail *m);
/* Is it of a stream, for which who was given an end of it needs no other permission? */
ANY_THREAD bool isola__stream_permits(const struct isola_mail *m);
/* In a visit, in the isolate: hands it to the script. Takes it. The serial of the actor whose code
 * has run, or 0. */
uint32_t isola__stream_take(struct isola_realm *r, struct isola_mail *m);
/* In a visit: there is no isolate for it. Takes it. */
void isola__stream_drop(struct isola_mail *m);
/* In a visit: what an actor's end says to the other. */
int isola__stream_send(struct isola_realm *r, uint32_t actor, struct isola_slice dst,
                       struct isola_slice args, struct isola_err *err);

/* --- parents and children (supervise.c) --- */

enum isola_child_mode {
    ISOLA_CHILD_TRANSIENT, /* started again when it crashes */
    ISOLA_CHILD_PERMANENT, /* when it is stopped too */
    ISOLA_CHILD_TEMPORARY, /* never */
};
/* In a visit, called by a script. */
ISOLA_MUST_USE int isola__family_spawn(struct isola_realm *r, uint32_t actor, uint32_t turn,
                                       struct isola_slice dst, int mode, struct isola_err *err);
/* In a visit: takes an EVENT for `a`, which has a family, if it is about a child: true. */
bool isola__family_event(struct isola_actor *a, struct isola_mail *event);
/* In a visit: a FAMILY is due (`answer` NULL), or was answered. Takes it; borrows the answer. */
void isola__family_answered(struct isola_realm *r, struct isola_pending *p,
                            const struct isola_mail *answer);
/* In a visit: its children are to end with its activation. */
void isola__family_stops(struct isola_actor *a);
/* In a visit: a parent is to start again by itself. */
void isola__family_respawns(struct isola_actor *a);
/* In a visit: it leaves its realm. */
void isola__family_end(struct isola_actor *a);

/* --- after a crash (restart.c) --- */

/* Logs what it crashed of, with the stack unless it is that of the crash before. */
void isola__restart_explain(struct isola_actor *a, struct isola_slice why);
/* In a visit: its turns have been answered; `why` is what it crashed of, with the stack. Ends the
 * activation. */
void isola__restart(struct isola_actor *a, struct isola_slice why);
/* ms before the restart after the nth crash of those that are followed by a pause, n from 0. */
uint64_t isola__restart_pause(const struct isola_actor *a, uint32_t nth);
/* In a visit: is it not to start yet? Its realm is visited when it is. */
bool isola__restart_pauses(const struct isola_actor *a);
/* In a visit of `r`, which it has come to. Once is enough. */
void isola__restart_arm(struct isola_actor *a, struct isola_realm *r);
/* In a visit: it leaves its realm. */
void isola__restart_disarm(struct isola_actor *a);
/* In a visit: its crashes do not count any more. */
void isola__restart_forget(struct isola_actor *a);
/* In a visit, before the isolate is entered or in it: a RESTART is due. Takes it. */
void isola__restart_due(struct isola_pending *p);

/* --- hibernation (idle.c) --- */

/* Times of day are kept in units of 64 ms, rounded up: 32 bits of them are eight years. */
static inline uint32_t isola__idle_time(uint64_t ms)
{
    return (uint32_t)((ms + 63) / 64);
}
static inline uint64_t isola__idle_ms(uint32_t time)
{
    return (uint64_t)time * 64;
}
/* In a visit: an activation is complete. */
void isola__idle_add(struct isola_actor *a);
/* In a visit: it has nothing to do, and nothing it waits for. */
bool isola__idle_is(const struct isola_actor *a);
/* In a visit: an IDLE is due. Takes it. */
void isola__idle_due(struct isola_realm *r, struct isola_pending *p);
/* In a visit of a realm that many share: the last of them has left. */
void isola__idle_empty(struct isola_realm *r);
/* In a visit: an EMPTY is due. Takes it. */
void isola__idle_empty_due(struct isola_realm *r, struct isola_pending *p);
/* The realm goes. */
void isola__idle_free(struct isola_realm *r);

/* --- memory (memory.c) --- */

struct isola_memory {
    atomic_ullong budget; /* bytes resident; 0: none */
    atomic_ullong seen;   /* when it was looked at last, ms */
    atomic_bool crowded;  /* the kernel has room for few more isolates (mappings.c) */
    atomic_bool evicting;
    uint64_t told; /* the evicting thread's: when a person was told, ms */
};
/* In a visit that began at `now` (ms): hibernates actors when the process has grown over its
 * budget. */
void isola__memory_check(struct isola_host *h, uint64_t now);

#endif
