/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits for the link to another node, in order. Whoever waits for the answer to an ask may
 * give it up before it was sent; it is found without looking at the others.
 */
#ifndef ISOLA_ACTOR_HOST_WAITING_H
#define ISOLA_ACTOR_HOST_WAITING_H

#include "actors/mail.h"
#include "base/map.h"

struct waiter;

/* Zero is empty. One thread at a time. */
struct waiting {
    struct waiter *first, **end;
    size_t count, bytes; /* of their arguments */
    struct isola_map asks;
};

/* Behind all others. Takes the mail. */
ANY_THREAD void waiting_put(struct waiting *w, struct isola_mail *mail);
/* The first, which is the caller's; NULL: there is none. */
ANY_THREAD struct isola_mail *waiting_take(struct waiting *w);
/* The plain ask of this origin, or of several the last, which is the caller's; NULL: there is none.
 */
ANY_THREAD struct isola_mail *waiting_cancel(struct waiting *w, struct isola_origin origin);

#endif
