/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <stdlib.h>

#include "base/check.h"

void isola_heap_free(struct isola_heap *h)
{
    free(h->nodes);
    *h = (struct isola_heap){0};
}

static void put(struct isola_heap *h, size_t i, struct isola_heap_node *node)
{
    h->nodes[i] = node;
    node->place = i + 1;
}

static void up(struct isola_heap *h, size_t i, struct isola_heap_node *node)
{
    while (i > 0 && h->nodes[(i - 1) / 2]->key > node->key) {
        put(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(h, i, node);
}

static void down(struct isola_heap *h, size_t i, struct isola_heap_node *node)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (h->nodes[child]->key >= node->key)
            break;
        put(h, i, h->nodes[child]);
        i = child;
    }
    put(h, i, node);
}

void isola_heap_insert(struct isola_heap *h, struct isola_heap_node *node, uint64_t key)
{
    ISOLA_CHECK(node->place == 0);
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 16;
        h->nodes = isola_realloc(h->nodes, h->cap * sizeof(struct isola_heap_node *));
    }
    node->key = key;
    up(h, h->n++, node);
}

void isola_heap_remove(struct isola_heap *h, struct isola_heap_node *node)
{
    if (node->place == 0)
        return;
    size_t i = node->place - 1;
    ISOLA_CHECK(i < h->n && h->nodes[i] == node);
    node->place = 0;
    struct isola_heap_node *last = h->nodes[--h->n];
    if (last == node)
        return;
    if (i > 0 && h->nodes[(i - 1) / 2]->key > last->key)
        up(h, i, last);
    else
        down(h, i, last);
}
