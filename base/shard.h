/* SPDX-License-Identifier: Apache-2.0
 *
 * Keyed actors hash to shards: what is placed, kept together and moved. The number and the hash are
 * part of the protocol and of the files of the store.
 */
#ifndef ISOLA_BASE_SHARD_H
#define ISOLA_BASE_SHARD_H

#include "base/buf.h"
#include "base/hash.h"

#define ISOLA_SHARDS 1024

/* The seed keeps hashes of addresses apart from those of tables. */
static inline uint32_t isola_shard(struct isola_slice address)
{
    return (uint32_t)(isola_hash(address.data, address.len, 0x69736f6c61736861u) % ISOLA_SHARDS);
}

#endif
