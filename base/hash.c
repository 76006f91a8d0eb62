/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <sys/random.h>

#include "base/check.h"

uint64_t isola__hash_seed;

__attribute__((constructor)) static void draw(void)
{
    ISOLA_CHECK(getrandom(&isola__hash_seed, sizeof(isola__hash_seed), 0) ==
                (ssize_t)sizeof(isola__hash_seed));
}
