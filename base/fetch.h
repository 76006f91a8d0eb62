/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetching memory before it is needed: hints, which may be of memory that is gone.
 */
#ifndef ISOLA_BASE_FETCH_H
#define ISOLA_BASE_FETCH_H

#include <stddef.h>

#define ISOLA_LINE 64 /* of a processor's cache, bytes: of x86-64 and nearly all ARM64 */

/* `size` bytes from `at` on, which may be NULL. Any thread. */
static inline void isola_fetch(const void *at, size_t size)
{
    for (size_t i = 0; at != NULL && i < size; i += ISOLA_LINE)
        __builtin_prefetch((const char *)at + i);
}

#endif
