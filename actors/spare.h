/* SPDX-License-Identifier: Apache-2.0
 *
 * Isolates opened ahead, while workers have nothing to do.
 */
#ifndef ISOLA_ACTORS_SPARE_H
#define ISOLA_ACTORS_SPARE_H

#include <pthread.h>
#include <stdatomic.h>

#include "actors/v8/realm.h"

struct isola_host;
struct isola_realm;
struct isola_release_rt;
struct isola_type;

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

#endif
