/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes to the items of an actor's storage: the last one of each key, in memory of their own, as
 * rows of the commit they are written with. Counted references; one thread at a time.
 */
#ifndef ISOLA_ACTORS_ITEMS_H
#define ISOLA_ACTORS_ITEMS_H

#include "base/kept.h"

struct isola_items_piece;

struct isola_items {
    unsigned refs;
    bool wiped;             /* all items there were go first: the row of that is row[0] */
    struct isola_kept *row; /* of ISOLA_KEPT_ITEM; in the order they were changed first */
    size_t n, cap;
    uint32_t *hash;  /* of each row's key */
    uint32_t *table; /* of row numbers + 1; NULL while there are few */
    size_t size;     /* a power of two */
    struct isola_items_piece *pieces;
    size_t bytes; /* taken by keys and values, those that were replaced too */
};

/* With a reference. */
struct isola_items *isola__items_new(void);
struct isola_items *isola__items_ref(struct isola_items *items);
void isola__items_unref(struct isola_items *items); /* NULL is allowed */

/* Copies. `value` is not looked at when it is gone. */
void isola__items_put(struct isola_items *items, struct isola_slice key, struct isola_slice value,
                      bool gone);
/* The change of this key, until the next one, or NULL. */
const struct isola_kept *isola__items_find(const struct isola_items *items, struct isola_slice key);
/* Forgets all changes: every item goes. */
void isola__items_wipe(struct isola_items *items);
/* The changes of `over`, which has wiped nothing, come after those of `items`. Takes `over`. */
void isola__items_join(struct isola_items *items, struct isola_items *over);
/* Puts the rows into the order of keys, to be written. They are not changed from now on. */
void isola__items_sort(struct isola_items *items);

/* Changes in [from, to) (an empty `to` is no end), those of `over` before those of `under` (each
 * may be NULL), in the order of keys or the reverse. Slices of theirs, which stay as they are while
 * they are referred to. The caller frees. */
struct isola_kept *isola__items_range(const struct isola_items *under,
                                      const struct isola_items *over, struct isola_slice from,
                                      struct isola_slice to, bool reverse, size_t *n);

#endif
