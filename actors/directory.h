/* SPDX-License-Identifier: Apache-2.0
 *
 * Address to actor: the one place where mail meets an actor.
 */
#ifndef ISOLA_ACTORS_DIRECTORY_H
#define ISOLA_ACTORS_DIRECTORY_H

#include <pthread.h>

#include "actors/actor.h"

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

#endif
