/* SPDX-License-Identifier: Apache-2.0
 *
 * What the actors of a release have done, for who watches it: turns and errors.
 */
#ifndef ISOLA_ACTORS_TALLY_H
#define ISOLA_ACTORS_TALLY_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/error.h"

struct isola_actor;
struct isola_app;

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

#endif
