/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is not there: the nth allocation fails, from when a test says so. What the program's
 * own code allocates is meant (the linker puts these in place of malloc and its like: CMakeLists),
 * not what shared libraries do. A program includes it once.
 */
#ifndef ISOLA_TESTS_NOMEM_H
#define ISOLA_TESTS_NOMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__real_sodium_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);
void *__wrap_sodium_malloc(size_t n);

static atomic_uint due;    /* so many more, and one fails; 0: none will */
static atomic_bool no_mem; /* one has failed */
static atomic_long living; /* allocations that were not freed */
static atomic_ulong asked; /* for memory: how often */

static bool fails(void)
{
    unsigned left = atomic_load(&due);
    atomic_fetch_add(&asked, 1);
    while (left > 0 && !atomic_compare_exchange_weak(&due, &left, left - 1))
        ;
    if (left == 1)
        atomic_store(&no_mem, true);
    return left == 1;
}

static void *made(void *p)
{
    atomic_fetch_add(&living, p != NULL);
    return p;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : made(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : made(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (fails())
        return NULL;
    return p == NULL ? made(__real_realloc(p, n)) : __real_realloc(p, n);
}

void __wrap_free(void *p)
{
    atomic_fetch_sub(&living, p != NULL);
    __real_free(p);
}

/* Whose memory sodium_free frees. */
void *__wrap_sodium_malloc(size_t n)
{
    return fails() ? NULL : __real_sodium_malloc(n);
}

/* From now on the `nth` allocation fails, and no other; 0: none. */
static inline void fail_nth(unsigned nth)
{
    if (nth > 0)
        atomic_store(&no_mem, false);
    atomic_store(&due, nth);
}

#endif
