/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of rows by key, with linear probing, and the memory of keys and values in pieces that
 * grow: a turn may put a hundred thousand items. A value that replaces another takes its place if
 * it fits and nobody else may be reading it.
 *
 * Invariants: a key is in one row; the bytes of a row do not move while there are references.
 */
#include "actors/items.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"

#define FEW         8 /* rows that are compared one by one */
#define PIECE_FIRST 512u
#define PIECE_MOST  (256u << 10)

struct isola_items_piece {
    struct isola_items_piece *next;
    size_t used, size;
    uint8_t bytes[];
};

struct isola_items *isola__items_new(void)
{
    struct isola_items *items = isola_zalloc(sizeof(*items));
    items->refs = 1;
    return items;
}

struct isola_items *isola__items_ref(struct isola_items *items)
{
    items->refs++;
    return items;
}

static void free_pieces(struct isola_items *items)
{
    for (struct isola_items_piece *next, *p = items->pieces; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    items->pieces = NULL;
}

void isola__items_unref(struct isola_items *items)
{
    if (items == NULL || --items->refs > 0)
        return;
    free_pieces(items);
    free(items->row);
    free(items->hash);
    free(items->table);
    free(items);
}

/* --- memory --- */

static uint8_t *take(struct isola_items *items, size_t len)
{
    struct isola_items_piece *p = items->pieces;
    if (p == NULL || p->size - p->used < len) {
        size_t size = p == NULL ? PIECE_FIRST : p->size < PIECE_MOST ? p->size * 4 : PIECE_MOST;
        bool alone = len > size;
        size = alone ? len : size;
        struct isola_items_piece *fresh = isola_alloc(sizeof(*fresh) + size);
        fresh->used = 0;
        fresh->size = size;
        if (alone && p != NULL) { /* behind the one that has room */
            fresh->next = p->next;
            p->next = fresh;
        } else {
            fresh->next = p;
            items->pieces = fresh;
        }
        p = fresh;
    }
    uint8_t *at = p->bytes + p->used;
    p->used += len;
    items->bytes += len;
    return at;
}

static struct isola_slice copied(struct isola_items *items, struct isola_slice s)
{
    uint8_t *at = take(items, s.len);
    if (s.len > 0)
        memcpy(at, s.data, s.len);
    return isola_slice(at, s.len);
}

/* --- the table --- */

static uint32_t hash_of(struct isola_slice key)
{
    return (uint32_t)isola_hash_table(key.data, key.len);
}

static bool is_row(const struct isola_items *items, size_t i, uint32_t hash, struct isola_slice key)
{
    return items->hash[i] == hash && isola_slice_eq(items->row[i].peer, key);
}

/* The number of a key's row + 1, or 0. */
static size_t number_of(const struct isola_items *items, uint32_t hash, struct isola_slice key)
{
    if (items->table == NULL) {
        for (size_t i = items->wiped; i < items->n; i++)
            if (is_row(items, i, hash, key))
                return i + 1;
        return 0;
    }
    size_t mask = items->size - 1, at = hash & mask;
    while (items->table[at] != 0 && !is_row(items, items->table[at] - 1, hash, key))
        at = (at + 1) & mask;
    return items->table[at];
}

static void enter(struct isola_items *items, size_t row)
{
    size_t mask = items->size - 1, at = items->hash[row] & mask;
    while (items->table[at] != 0)
        at = (at + 1) & mask;
    items->table[at] = (uint32_t)row + 1;
}

static void grow_table(struct isola_items *items)
{
    free(items->table);
    items->size = items->size == 0 ? (size_t)4 * FEW : items->size * 2;
    items->table = isola_zalloc(items->size * sizeof(*items->table));
    for (size_t i = items->wiped; i < items->n; i++)
        enter(items, i);
}

static struct isola_kept *add(struct isola_items *items, uint32_t hash)
{
    if (items->n == items->cap) {
        items->cap = items->cap == 0 ? 4 : items->cap * 2;
        items->row = isola_realloc(items->row, items->cap * sizeof(*items->row));
        items->hash = isola_realloc(items->hash, items->cap * sizeof(*items->hash));
    }
    ISOLA_CHECK(items->n < UINT32_MAX);
    items->hash[items->n] = hash;
    struct isola_kept *row = &items->row[items->n++];
    *row = (struct isola_kept){.part = ISOLA_KEPT_ITEM};
    return row;
}

/* A new row, whose slices are set by the caller. */
static struct isola_kept *add_named(struct isola_items *items, uint32_t hash)
{
    struct isola_kept *row = add(items, hash);
    if (items->n > FEW && items->n * 2 > items->size)
        grow_table(items);
    else if (items->table != NULL)
        enter(items, items->n - 1);
    return row;
}

/* --- changes --- */

void isola__items_put(struct isola_items *items, struct isola_slice key, struct isola_slice value,
                      bool gone)
{
    uint32_t hash = hash_of(key);
    size_t number = number_of(items, hash, key);
    struct isola_kept *row;
    if (number != 0) {
        row = &items->row[number - 1];
    } else {
        row = add_named(items, hash);
        row->peer = copied(items, key);
    }
    bool fits = number != 0 && items->refs == 1 && !row->gone && value.len <= row->value.len;
    row->gone = gone;
    if (gone) {
        row->value = (struct isola_slice){0};
    } else if (fits) {
        if (value.len > 0)
            memcpy((uint8_t *)(uintptr_t)row->value.data, value.data, value.len);
        row->value.len = value.len;
    } else {
        row->value = copied(items, value);
    }
}

const struct isola_kept *isola__items_find(const struct isola_items *items, struct isola_slice key)
{
    size_t number = number_of(items, hash_of(key), key);
    return number != 0 ? &items->row[number - 1] : NULL;
}

void isola__items_wipe(struct isola_items *items)
{
    if (items->refs == 1) { /* else who refers to them has their bytes */
        free_pieces(items);
        items->bytes = 0;
    }
    free(items->table);
    items->table = NULL;
    items->n = items->size = 0;
    items->wiped = true;
    struct isola_kept *all = add(items, 0);
    all->gone = all->whole = true;
}

void isola__items_join(struct isola_items *items, struct isola_items *over)
{
    ISOLA_CHECK(!over->wiped && over->refs > 0);
    if (over->refs > 1) { /* its bytes are to stay where they are */
        for (size_t i = 0; i < over->n; i++)
            isola__items_put(items, over->row[i].peer, over->row[i].value, over->row[i].gone);
        isola__items_unref(over);
        return;
    }
    for (size_t i = 0; i < over->n; i++) {
        size_t number = number_of(items, over->hash[i], over->row[i].peer);
        struct isola_kept *row =
            number != 0 ? &items->row[number - 1] : add_named(items, over->hash[i]);
        *row = over->row[i];
    }
    struct isola_items_piece **end = &items->pieces; /* the one with room stays the first */
    while (*end != NULL)
        end = &(*end)->next;
    *end = over->pieces;
    items->bytes += over->bytes;
    over->pieces = NULL;
    isola__items_unref(over);
}

/* --- order --- */

static int by_key(const void *a, const void *b)
{
    return isola_slice_order(((const struct isola_kept *)a)->peer,
                             ((const struct isola_kept *)b)->peer);
}

static int by_key_down(const void *a, const void *b)
{
    return by_key(b, a);
}

static void sort(struct isola_kept *rows, size_t n, int (*compare)(const void *, const void *))
{
    size_t i = 1;
    while (i < n && compare(&rows[i - 1], &rows[i]) < 0) /* often they are put in their order */
        i++;
    if (i < n)
        qsort(rows, n, sizeof(*rows), compare);
}

void isola__items_sort(struct isola_items *items)
{
    free(items->table);
    items->table = NULL;
    if (items->n > items->wiped)
        sort(items->row + items->wiped, items->n - items->wiped, by_key);
}

struct isola_kept *isola__items_range(const struct isola_items *under,
                                      const struct isola_items *over, struct isola_slice from,
                                      struct isola_slice to, bool reverse, size_t *n)
{
    const struct isola_items *layers[] = {under, over};
    struct isola_kept *rows = NULL;
    size_t cap = 0;
    *n = 0;
    for (int k = 0; k < 2; k++) {
        for (size_t i = layers[k] != NULL ? layers[k]->wiped : 0;
             layers[k] != NULL && i < layers[k]->n; i++) {
            const struct isola_kept *row = &layers[k]->row[i];
            bool in = isola_slice_order(row->peer, from) >= 0 &&
                      (to.len == 0 || isola_slice_order(row->peer, to) < 0);
            if (!in || (k == 0 && over != NULL && isola__items_find(over, row->peer) != NULL))
                continue;
            if (*n == cap) {
                cap = cap == 0 ? 16 : cap * 2;
                rows = isola_realloc(rows, cap * sizeof(*rows));
            }
            rows[(*n)++] = *row;
        }
    }
    if (*n > 0)
        sort(rows, *n, reverse ? by_key_down : by_key);
    return rows;
}
