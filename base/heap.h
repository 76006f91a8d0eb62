/* SPDX-License-Identifier: Apache-2.0
 *
 * A binary min-heap of nodes embedded in the caller's structures: for deadlines. A node knows its
 * place, so it can be removed in O(log n) without a search. Not thread-safe.
 */
#ifndef ISOLA_BASE_HEAP_H
#define ISOLA_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/annotate.h"

ISOLA_BEGIN_C

struct isola_heap_node {
    uint64_t key;
    size_t place; /* 1 … n while in a heap, 0 otherwise */
};

struct isola_heap {
    struct isola_heap_node **nodes;
    size_t n;
    size_t cap;
};

/* Zero is an empty heap. Frees the table, not the nodes. */
ANY_THREAD void isola_heap_free(struct isola_heap *h);
/* `node` must not be in a heap. */
ANY_THREAD void isola_heap_insert(struct isola_heap *h, struct isola_heap_node *node, uint64_t key);
/* Does nothing when it is in none. */
ANY_THREAD void isola_heap_remove(struct isola_heap *h, struct isola_heap_node *node);
/* The node with the least key, or NULL. */
static inline struct isola_heap_node *isola_heap_min(const struct isola_heap *h)
{
    return h->n > 0 ? h->nodes[0] : NULL;
}

ISOLA_END_C

#endif
