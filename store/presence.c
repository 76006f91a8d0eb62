/* SPDX-License-Identifier: Apache-2.0 */
#include "store/presence.h"

#include "base/check.h"
#include "base/hash.h"

/* Four bits of each address, at sixteen bits for each: one "perhaps" too many in 400. The number of
 * addresses is taken from the size of the file, and is half a million at least. */
#define PROBES    4
#define BYTES_MIN (UINT64_C(1) << 20)
#define BYTES_MAX (UINT64_C(64) << 20)

void isola__presence_init(struct isola__presence *p, uint64_t file_bytes)
{
    uint64_t bytes = BYTES_MIN;
    while (bytes < BYTES_MAX && bytes < file_bytes / 64)
        bytes *= 2;
    p->words = isola_zalloc(bytes);
    p->mask = bytes * 8 - 1;
    atomic_init(&p->complete, false);
}

void isola__presence_free(struct isola__presence *p)
{
    free((void *)(uintptr_t)p->words);
    p->words = NULL;
}

/* Bit number `i` of an address (Kirsch and Mitzenmacher: two hashes are as good as many). */
static uint64_t bit(const struct isola__presence *p, uint64_t hash, unsigned i)
{
    return (hash + i * (hash >> 32 | 1)) & p->mask;
}

void isola__presence_add(struct isola__presence *p, struct isola_slice address)
{
    if (p->words == NULL)
        return;
    uint64_t hash = isola_hash(address.data, address.len, 3);
    for (unsigned i = 0; i < PROBES; i++) {
        uint64_t at = bit(p, hash, i), one = UINT64_C(1) << at % 64;
        if ((atomic_load_explicit(&p->words[at / 64], memory_order_relaxed) & one) == 0)
            atomic_fetch_or_explicit(&p->words[at / 64], one, memory_order_relaxed);
    }
}

void isola__presence_complete(struct isola__presence *p)
{
    atomic_store_explicit(&p->complete, true, memory_order_release);
}

bool isola__presence_absent(struct isola__presence *p, struct isola_slice address)
{
    if (!atomic_load_explicit(&p->complete, memory_order_acquire))
        return false;
    uint64_t hash = isola_hash(address.data, address.len, 3);
    for (unsigned i = 0; i < PROBES; i++) {
        uint64_t at = bit(p, hash, i);
        if ((atomic_load_explicit(&p->words[at / 64], memory_order_relaxed) >> at % 64 & 1) == 0)
            return true;
    }
    return false;
}
