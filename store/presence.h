/* SPDX-License-Identifier: Apache-2.0
 *
 * Which addresses may have state: a Bloom filter (Bloom 1970), with all bits of an address in one
 * word, which is one place of memory to wait for (Putze, Sanders and Singler 2007), so that an
 * actor which has never saved any need not wait for the store to say so. Internal to store/.
 *
 * Addresses are added by whoever writes, before the write; those that were in the file before are
 * added by the store's thread little by little, and until it is through nothing is known to be
 * absent. What is deleted stays in it. Fuller than it was made for, it answers "perhaps" more
 * often.
 */
#ifndef ISOLA_STORE_PRESENCE_H
#define ISOLA_STORE_PRESENCE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/annotate.h"
#include "base/buf.h"

struct isola__presence {
    _Atomic uint64_t *words;
    uint64_t mask; /* of numbers of words */
    atomic_bool complete;
};

/* For a file of so many bytes. One that was never made, all zeros, knows of nothing that it is
 * absent. */
void isola__presence_init(struct isola__presence *p, uint64_t file_bytes);
void isola__presence_free(struct isola__presence *p);
ANY_THREAD void isola__presence_add(struct isola__presence *p, struct isola_slice address);
/* All that was there before has been added. */
ANY_THREAD void isola__presence_complete(struct isola__presence *p);
/* True: it was never added. */
ANY_THREAD bool isola__presence_absent(struct isola__presence *p, struct isola_slice address);

#endif
