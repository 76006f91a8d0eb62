/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashing for placement and for tables. isola_hash is FNV-1a (Fowler, Noll, Vo) with the finalizer
 * of MurmurHash3 (Appleby): the same on every machine and in every release, because shard numbers
 * are derived from it. Neither is for secrets.
 */
#ifndef ISOLA_BASE_HASH_H
#define ISOLA_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t isola_hash_mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    h ^= h >> 33;
    return h;
}

static inline uint64_t isola_hash(const void *data, size_t len, uint64_t seed)
{
    const uint8_t *p = (const uint8_t *)data;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return isola_hash_mix(h);
}

/* Random, of this process: whoever chooses the keys of a table cannot know which collide. */
extern uint64_t isola__hash_seed;

static inline uint64_t isola__hash_fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* For tables in memory: eight bytes at a time, by folded multiplication (wyhash, Wang Yi; the
 * constants are digits of the golden ratio and of pi). Differs between processes. */
static inline uint64_t isola_hash_table(const void *data, size_t len)
{
    const uint8_t *p = (const uint8_t *)data;
    uint64_t h =
        isola__hash_seed ^ isola__hash_fold(len + 0x9e3779b97f4a7c15u, 0x243f6a8885a308d3u);
    uint64_t word;
    for (; len > 8; len -= 8, p += 8) {
        __builtin_memcpy(&word, p, 8);
        h = isola__hash_fold(h ^ word, 0x13198a2e03707345u);
    }
    word = 0;
    if (len > 0)
        __builtin_memcpy(&word, p, len);
    return isola__hash_fold(h ^ word, 0x9e3779b97f4a7c15u);
}

#endif
