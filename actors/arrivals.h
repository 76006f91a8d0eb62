/* SPDX-License-Identifier: Apache-2.0
 *
 * The short way for what comes from another node: from addresses to the receiver itself.
 *
 * A connection has a struct isola_arrivals, which one thread uses at a time.
 */
#ifndef ISOLA_ACTORS_ARRIVALS_H
#define ISOLA_ACTORS_ARRIVALS_H

#include "actors/host.h"

struct isola_actor;
struct isola_arrivals;

/* The receiver of an ASK or EMIT from `src` to `dst`, if both are known, and of one app, whose
 * actors need no permission to send to each other. Else NULL, as when `a` is. `head`: what stands
 * for the two on this connection and is quicker to look for, or 0. Borrowed until `a` is used
 * again. */
ANY_THREAD struct isola_actor *isola_arrivals_find(const struct isola_host *h,
                                                   struct isola_arrivals *a, uint32_t head,
                                                   struct isola_slice src, struct isola_slice dst);
/* A message between the two has come by isola_host_post: the next may be found. Makes *at when it
 * is NULL; some 60 KB. */
ANY_THREAD void isola_arrivals_note(struct isola_host *h, struct isola_arrivals **at,
                                    struct isola_slice src, struct isola_slice dst);
ANY_THREAD void isola_arrivals_free(struct isola_arrivals *a);
/* Hands over an ASK or EMIT of an actor of another node, which has no `dst` of its own. Takes it,
 * but when it returns false: then it is to be posted, with its address. */
ANY_THREAD bool isola_host_hand(struct isola_actor *a, struct isola_mail *mail);

#endif
