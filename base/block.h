/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that several share, and that the last of them frees.
 */
#ifndef ISOLA_BASE_BLOCK_H
#define ISOLA_BASE_BLOCK_H

#include "base/annotate.h"

ISOLA_BEGIN_C

struct isola_block;

/* Takes `memory`, of malloc; the caller has the one reference. NULL when there is no memory; then
 * it has taken nothing. */
ANY_THREAD struct isola_block *isola_block_new(void *memory);
ANY_THREAD struct isola_block *isola_block_ref(struct isola_block *b);
/* NULL is allowed. */
ANY_THREAD void isola_block_unref(struct isola_block *b);

ISOLA_END_C

#endif
