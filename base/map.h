/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash table from byte strings to pointers: open addressing, linear probing, grows at 3/4.
 * Keys are copied; values are the caller's. Not thread-safe.
 */
#ifndef ISOLA_BASE_MAP_H
#define ISOLA_BASE_MAP_H

#include <stdbool.h>

#include "base/buf.h"

ISOLA_BEGIN_C

struct isola_map_entry {
    uint8_t *key; /* owned by the map; NULL: empty */
    size_t len;
    uint64_t hash;
    void *value;
};

struct isola_map {
    struct isola_map_entry *slots;
    size_t cap;
    size_t count;
};

/* Zero is a valid empty map. Frees keys and table, not the values. */
ANY_THREAD void isola_map_free(struct isola_map *m);
/* The value, or NULL. */
ANY_THREAD void *isola_map_get(const struct isola_map *m, struct isola_slice key);
/* Sets and returns what was there before (NULL: nothing). `value` must not be NULL. */
ANY_THREAD void *isola_map_set(struct isola_map *m, struct isola_slice key, void *value);
/* Removes and returns what was there (NULL: nothing). */
ANY_THREAD void *isola_map_del(struct isola_map *m, struct isola_slice key);
/* Iterates in no order: start with *at = 0; NULL at the end. The map must not change meanwhile,
 * except that the entry just returned may be deleted when the iteration is then started again. */
ANY_THREAD struct isola_map_entry *isola_map_next(const struct isola_map *m, size_t *at);

#define ISOLA_MAP_EACH(m, e)                                                                       \
    size_t e##_at = 0;                                                                             \
    for (struct isola_map_entry * e; (e = isola_map_next((m), &e##_at)) != NULL;)

ISOLA_END_C

#endif
