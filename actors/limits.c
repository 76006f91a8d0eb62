/* SPDX-License-Identifier: Apache-2.0
 *
 * What actors may use, and what becomes of those that use more (docs/limits.md).
 */
#include "actors/internal.h"

/* New objects of many actors: most are dead after a turn, and the more room they have the more of
 * them are, when they are looked through. */
#define SHARED_YOUNG (24u << 20)

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

struct isola_v8_limits isola__limits_of(const struct isola_type *type)
{
    struct isola_v8_limits l = {type->def.limits.heap, type->def.limits.external, 0};
    const struct isola_release_rt *release = type->release;
    for (size_t i = 0; type->def.shared && i < release->ntypes; i++) {
        const struct isola_host_type *other = &release->types[i].def;
        if (other->shared) {
            l.heap = larger(l.heap, other->limits.heap);
            l.external = larger(l.external, other->limits.external);
        }
    }
    if (type->def.shared && l.heap > 4 * (uint64_t)SHARED_YOUNG)
        l.young = SHARED_YOUNG;
    return l;
}
