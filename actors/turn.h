/* SPDX-License-Identifier: Apache-2.0
 *
 * One message to an actor, from the beginning of its handler to the end.
 */
#ifndef ISOLA_ACTORS_TURN_H
#define ISOLA_ACTORS_TURN_H

#include "actors/mail.h"

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

#endif
