/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashing for tables and for placement. FNV-1a (Fowler, Noll, Vo) with the finalizer of MurmurHash3
 * (Appleby): fast on short keys, the same on every machine and in every release, because shard
 * numbers are derived from it. Not for secrets.
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

#endif
