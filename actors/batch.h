/* SPDX-License-Identifier: Apache-2.0
 *
 * What is handed to an isolate together, and run in one entry.
 */
#ifndef ISOLA_ACTORS_BATCH_H
#define ISOLA_ACTORS_BATCH_H

#include <stdatomic.h>

#include "actors/mail.h"

struct isola_turn;

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

#endif
