/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers to pointers: open addressing with linear probing, multiplicative (Fibonacci) hashing. For
 * numbers we choose ourselves, which nobody can pick to collide.
 */
#ifndef ISOLA_BASE_IDMAP_H
#define ISOLA_BASE_IDMAP_H

#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"

ISOLA_BEGIN_C

struct isola_idmap_entry {
    uint64_t id; /* 0: empty */
    void *value;
};

/* Zero is a valid empty map. One thread at a time. */
struct isola_idmap {
    struct isola_idmap_entry *slots;
    uint32_t bits; /* log2 of the slots; 0: none yet */
    uint32_t count;
};

static inline size_t isola__idmap_home(const struct isola_idmap *m, uint64_t id)
{
    return (size_t)((id * 0x9e3779b97f4a7c15u) >> (64 - m->bits));
}

/* The slot that holds the id, or the empty one where it would go. */
static inline struct isola_idmap_entry *isola__idmap_slot(const struct isola_idmap *m, uint64_t id)
{
    size_t mask = ((size_t)1 << m->bits) - 1;
    size_t i = isola__idmap_home(m, id);
    while (m->slots[i].id != id && m->slots[i].id != 0)
        i = (i + 1) & mask;
    return &m->slots[i];
}

/* NULL when it is not there. */
static inline void *isola_idmap_get(const struct isola_idmap *m, uint64_t id)
{
    return m->count == 0 ? NULL : isola__idmap_slot(m, id)->value;
}

/* `id` is not 0 and not there yet; `value` is not NULL. */
static inline void isola_idmap_add(struct isola_idmap *m, uint64_t id, void *value)
{
    if (m->bits == 0 || m->count + 1 > ((uint32_t)3 << m->bits) / 4) {
        struct isola_idmap bigger = {.bits = m->bits ? m->bits + 1 : 2, .count = m->count};
        bigger.slots =
            (struct isola_idmap_entry *)isola_zalloc(sizeof(*bigger.slots) << bigger.bits);
        for (size_t i = 0; m->bits != 0 && i < (size_t)1 << m->bits; i++)
            if (m->slots[i].id != 0)
                *isola__idmap_slot(&bigger, m->slots[i].id) = m->slots[i];
        free(m->slots);
        *m = bigger;
    }
    struct isola_idmap_entry *e = isola__idmap_slot(m, id);
    ISOLA_CHECK(e->id == 0);
    *e = (struct isola_idmap_entry){id, value};
    m->count++;
}

/* Does nothing when it is not there. */
static inline void isola_idmap_del(struct isola_idmap *m, uint64_t id)
{
    struct isola_idmap_entry *e = m->count == 0 ? NULL : isola__idmap_slot(m, id);
    if (e == NULL || e->id == 0)
        return;
    size_t mask = ((size_t)1 << m->bits) - 1;
    size_t hole = (size_t)(e - m->slots);
    m->count--;
    /* Close the gap: move back what may not stand behind an empty slot. */
    for (size_t i = (hole + 1) & mask; m->slots[i].id != 0; i = (i + 1) & mask) {
        size_t home = isola__idmap_home(m, m->slots[i].id);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct isola_idmap_entry){0, NULL};
}

static inline void isola_idmap_free(struct isola_idmap *m)
{
    free(m->slots);
    *m = (struct isola_idmap){0};
}

/* Every value, in no order; the map must not change meanwhile. */
#define ISOLA_IDMAP_EACH(m, v)                                                                     \
    for (size_t v##_at = 0; (m)->bits != 0 && v##_at < (size_t)1 << (m)->bits; v##_at++)           \
        for (void *v = (m)->slots[v##_at].value; v != NULL; v = NULL)

ISOLA_END_C

#endif
