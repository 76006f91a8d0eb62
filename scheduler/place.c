/* SPDX-License-Identifier: Apache-2.0
 *
 * Rendezvous hashing of shards over nodes.
 *
 * Invariants: the map depends on the set of names, not on their order; taking a name away moves
 * only the shards it had; adding one moves shards only to it. Both follow from each score depending
 * on one shard and one name alone. The constants and hash functions are part of the protocol: two
 * nodes that disagree on them disagree on who owns what.
 */
#include "scheduler/place.h"

#include "base/check.h"
#include "base/hash.h"

/* Keeps the hashes of names apart from those of addresses and of tables. */
#define SEED_NAME 0x69736f6c616e6f64u

static uint64_t score(uint64_t name, uint32_t shard)
{
    return isola_hash_mix(name ^ isola_hash_mix(shard + 1));
}

void isola_place_map(const char *const *names, size_t n, uint16_t map[ISOLA_SHARDS])
{
    ISOLA_CHECK(n >= 1 && n <= UINT16_MAX);
    uint64_t best[ISOLA_SHARDS];
    for (size_t i = 0; i < n; i++) {
        uint64_t name = isola_hash(names[i], strlen(names[i]), SEED_NAME);
        for (uint32_t s = 0; s < ISOLA_SHARDS; s++) {
            uint64_t mine = score(name, s);
            /* Equal scores are all but impossible; the names then decide, so that order still does
             * not matter. */
            if (i == 0 || mine > best[s] ||
                (mine == best[s] && strcmp(names[i], names[map[s]]) > 0)) {
                best[s] = mine;
                map[s] = (uint16_t)i;
            }
        }
    }
}
