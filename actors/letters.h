/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters: what reached no handler.
 */
#ifndef ISOLA_ACTORS_LETTERS_H
#define ISOLA_ACTORS_LETTERS_H

#include <pthread.h>

#include "actors/host.h"

#define ISOLA_LETTERS 1000 /* kept */

struct isola_letters {
    pthread_mutex_t lock;
    uint64_t count; /* so far */
    bool watched;
    struct isola_host_letter *ring[ISOLA_LETTERS];
};

#endif
