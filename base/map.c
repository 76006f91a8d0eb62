/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/check.h"
#include "base/hash.h"

void isola_map_free(struct isola_map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    *m = (struct isola_map){0};
}

/* The slot that holds the key, or the empty one where it would go. */
static size_t find(const struct isola_map *m, struct isola_slice key, uint64_t hash)
{
    size_t i = hash & (m->cap - 1);
    while (m->slots[i].key != NULL) {
        struct isola_map_entry *e = &m->slots[i];
        if (e->hash == hash && isola_slice_eq(isola_slice(e->key, e->len), key))
            break;
        i = (i + 1) & (m->cap - 1);
    }
    return i;
}

static void grow(struct isola_map *m)
{
    struct isola_map bigger = {.cap = m->cap ? m->cap * 2 : 8, .count = m->count};
    bigger.slots = isola_zalloc(bigger.cap * sizeof(*bigger.slots));
    for (size_t i = 0; i < m->cap; i++) {
        struct isola_map_entry *e = &m->slots[i];
        if (e->key != NULL)
            bigger.slots[find(&bigger, isola_slice(e->key, e->len), e->hash)] = *e;
    }
    free(m->slots);
    *m = bigger;
}

void *isola_map_get(const struct isola_map *m, struct isola_slice key)
{
    if (m->count == 0)
        return NULL;
    struct isola_map_entry *e = &m->slots[find(m, key, isola_hash_table(key.data, key.len))];
    return e->key != NULL ? e->value : NULL;
}

void *isola_map_set(struct isola_map *m, struct isola_slice key, void *value)
{
    ISOLA_CHECK(value != NULL);
    if (m->count + 1 > m->cap / 4 * 3)
        grow(m);
    uint64_t hash = isola_hash_table(key.data, key.len);
    struct isola_map_entry *e = &m->slots[find(m, key, hash)];
    void *before = e->value;
    if (e->key == NULL) {
        e->key = (uint8_t *)isola_strndup((const char *)key.data, key.len);
        e->len = key.len;
        e->hash = hash;
        m->count++;
    }
    e->value = value;
    return before;
}

void *isola_map_del(struct isola_map *m, struct isola_slice key)
{
    if (m->count == 0)
        return NULL;
    size_t hole = find(m, key, isola_hash_table(key.data, key.len));
    struct isola_map_entry *e = &m->slots[hole];
    if (e->key == NULL)
        return NULL;
    void *value = e->value;
    free(e->key);
    m->count--;
    /* Close the gap: move back every later entry of the run that may not stand behind an empty
     * slot. */
    for (size_t i = (hole + 1) & (m->cap - 1); m->slots[i].key != NULL;
         i = (i + 1) & (m->cap - 1)) {
        size_t home = m->slots[i].hash & (m->cap - 1);
        if (((i - home) & (m->cap - 1)) >= ((i - hole) & (m->cap - 1))) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct isola_map_entry){0};
    return value;
}

struct isola_map_entry *isola_map_next(const struct isola_map *m, size_t *at)
{
    while (*at < m->cap) {
        struct isola_map_entry *e = &m->slots[(*at)++];
        if (e->key != NULL)
            return e;
    }
    return NULL;
}
