/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariants of ours, and memory for small structures. A broken ISOLA_CHECK is a bug in Isola,
 * never bad input.
 */
#ifndef ISOLA_BASE_CHECK_H
#define ISOLA_BASE_CHECK_H

#include <stddef.h>

#include "base/annotate.h"

ISOLA_BEGIN_C

#define ISOLA_CHECK(cond)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            isola_check_failed(#cond, __FILE__, __LINE__);                                         \
    } while (0)

/* Prints the broken condition to stderr and aborts. */
ANY_THREAD void isola_check_failed(const char *cond, const char *file, int line)
    __attribute__((noreturn, cold));

/* Memory for small, bounded structures of our own: never NULL, a refusal aborts with a message.
 * What a peer, a file or a script makes us allocate goes through malloc and returns ISOLA_ENOMEM
 * instead. Free with free(). */
ANY_THREAD void *isola_alloc(size_t size) __attribute__((malloc));
ANY_THREAD void *isola_zalloc(size_t size) __attribute__((malloc));
ANY_THREAD void *isola_realloc(void *p, size_t size);
ANY_THREAD char *isola_strdup(const char *s) __attribute__((malloc));
ANY_THREAD char *isola_strndup(const char *s, size_t n) __attribute__((malloc));
/* printf into a fresh string. */
ANY_THREAD char *isola_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

ISOLA_END_C

#endif
