/* SPDX-License-Identifier: Apache-2.0
 *
 * Which node an actor lives on. Pure: no I/O, no clock, no threads; the same answer on every node
 * that has the same view.
 *
 * An address hashes to one of ISOLA_SHARDS shards (base/shard.h), a shard goes to the live node
 * with the highest hash of (shard, node name): rendezvous hashing (Thaler and Ravishankar, "Using
 * name-based mappings to increase hit rates", 1998), so that a node that comes or goes moves only
 * its own shards.
 */
#ifndef ISOLA_SCHEDULER_PLACE_H
#define ISOLA_SCHEDULER_PLACE_H

#include "base/shard.h"

/* Fills map[shard] with an index into `names` (NUL-terminated, unique, in any order; `n` 1 …
 * 65535). */
ANY_THREAD void isola_place_map(const char *const *names, size_t n, uint16_t map[ISOLA_SHARDS]);

#endif
