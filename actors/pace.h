/* SPDX-License-Identifier: Apache-2.0
 *
 * Crowded receivers, and who waits for them (pace.c).
 */
#ifndef ISOLA_ACTORS_PACE_H
#define ISOLA_ACTORS_PACE_H

#include "actors/actor.h"

/* A message of this connection's has come: the peer is told, once, if it has found it crowded, and
 * again when it is not any more; and that it has come, if it asks. */
ANY_THREAD void isola__pace_tell(struct isola_host *h, struct isola_slice address, uint64_t link,
                                 bool asked);
/* An emit that asks for a PACE goes to this address on another node. Each ISOLA_PACE_EACH does,
 * where each 2^ISOLA_PACE_BYTES bytes are like one more. */
ANY_THREAD void isola__pace_ask(struct isola_host *h, struct isola_slice address);
#define ISOLA_PACE_EACH  16
#define ISOLA_PACE_BYTES 11
/* Should who sends to it wait? */
ANY_THREAD bool isola__pace_crowded(struct isola_host *h, struct isola_slice address);
/* `origin` is answered when it is not crowded any more: at once, if it is not. Takes the origin. */
ANY_THREAD void isola__pace_wait(struct isola_host *h, struct isola_slice address,
                                 struct isola_origin origin);

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

#endif
