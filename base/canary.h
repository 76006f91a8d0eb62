/* SPDX-License-Identifier: Apache-2.0
 *
 * Canaries: which part of an app runs the release that is tried beside the current one. Every node
 * decides by itself, and all alike.
 */
#ifndef ISOLA_BASE_CANARY_H
#define ISOLA_BASE_CANARY_H

#include <stdbool.h>

#include "base/annotate.h"
#include "base/buf.h"
#include "base/hash.h"

/* A share is so many of these. */
#define ISOLA_CANARY_WHOLE 1000000u
#define ISOLA_CANARY_SEED  UINT64_C(0x63616e617279) /* places of actors have another */

/* Is the actor of this address in the share? Always the same ones, and with a larger share some
 * more. */
static inline bool isola_canary_has(struct isola_slice address, uint32_t share)
{
    return share > 0 &&
           isola_hash(address.data, address.len, ISOLA_CANARY_SEED) % ISOLA_CANARY_WHOLE < share;
}

/* Of `n` instances of a service (2 or more), so many: the share, rounded, at least one and fewer
 * than all. */
static inline uint64_t isola_canary_of(uint64_t n, uint32_t share)
{
    uint64_t many = (n * share + ISOLA_CANARY_WHOLE / 2) / ISOLA_CANARY_WHOLE;
    return many < 1 ? 1 : many > n - 1 ? n - 1 : many;
}

#endif
