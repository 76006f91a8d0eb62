/* SPDX-License-Identifier: Apache-2.0
 *
 * What actors may use, and what becomes of those that use more (docs/limits.md).
 */
#include "actors/internal.h"

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

struct isola_v8_limits isola__limits_of(const struct isola_type *type)
{
    struct isola_v8_limits l = {type->def.limits.heap, type->def.limits.external};
    const struct isola_release_rt *release = type->release;
    for (size_t i = 0; type->def.shared && i < release->ntypes; i++) {
        const struct isola_host_type *other = &release->types[i].def;
        if (other->shared) {
            l.heap = larger(l.heap, other->limits.heap);
            l.external = larger(l.external, other->limits.external);
        }
    }
    return l;
}
