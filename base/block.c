/* SPDX-License-Identifier: Apache-2.0 */
#include "base/block.h"

#include <stdatomic.h>
#include <stdlib.h>

struct isola_block {
    atomic_uint refs;
    void *memory;
};

struct isola_block *isola_block_new(void *memory)
{
    struct isola_block *b = malloc(sizeof(*b));
    if (b == NULL)
        return NULL;
    atomic_init(&b->refs, 1);
    b->memory = memory;
    return b;
}

struct isola_block *isola_block_ref(struct isola_block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void isola_block_unref(struct isola_block *b)
{
    if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(b->memory);
    free(b);
}
