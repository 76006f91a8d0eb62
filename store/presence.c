/* SPDX-License-Identifier: Apache-2.0 */
#include "store/presence.h"

#include "base/check.h"
#include "base/hash.h"

/* Four bits of each address, at sixteen bits for each: one "perhaps" too many in 150. The number of
 * addresses is taken from the size of the file, and is half a million at least. */
#define BITS      4
#define BYTES_MIN (UINT64_C(1) << 20)
#define BYTES_MAX (UINT64_C(64) << 20)

void isola__presence_init(struct isola__presence *p, uint64_t file_bytes)
{
    uint64_t bytes = BYTES_MIN;
    while (bytes < BYTES_MAX && bytes < file_bytes / 64)
        bytes *= 2;
    p->words = isola_zalloc(bytes);
    p->mask = bytes / 8 - 1;
    atomic_init(&p->complete, false);
}

void isola__presence_free(struct isola__presence *p)
{
    free((void *)(uintptr_t)p->words);
    p->words = NULL;
}

/* Where its bits are, and which they are. */
static _Atomic uint64_t *word_of(const struct isola__presence *p, struct isola_slice address,
                                 uint64_t *bits)
{
    uint64_t hash = isola_hash(address.data, address.len, 3);
    *bits = 0;
    for (unsigned i = 0; i < BITS; i++)
        *bits |= UINT64_C(1) << (hash >> 6 * i & 63);
    return &p->words[hash >> 6 * BITS & p->mask];
}

void isola__presence_add(struct isola__presence *p, struct isola_slice address)
{
    if (p->words == NULL)
        return;
    uint64_t bits;
    _Atomic uint64_t *word = word_of(p, address, &bits);
    if ((atomic_load_explicit(word, memory_order_relaxed) & bits) != bits)
        atomic_fetch_or_explicit(word, bits, memory_order_relaxed);
}

void isola__presence_complete(struct isola__presence *p)
{
    atomic_store_explicit(&p->complete, true, memory_order_release);
}

bool isola__presence_absent(struct isola__presence *p, struct isola_slice address)
{
    if (!atomic_load_explicit(&p->complete, memory_order_acquire))
        return false;
    uint64_t bits;
    const _Atomic uint64_t *word = word_of(p, address, &bits);
    return (atomic_load_explicit(word, memory_order_relaxed) & bits) != bits;
}
