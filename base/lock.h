/* SPDX-License-Identifier: Apache-2.0
 *
 * A lock of four bytes, for what there are very many of: Drepper's mutex2 ("Futexes Are Tricky",
 * 2011). Zero is an unlocked one. Not recursive; waiters are served in no order.
 */
#ifndef ISOLA_BASE_LOCK_H
#define ISOLA_BASE_LOCK_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 0: free, 1: taken, 2: taken, and somebody waits. */
struct isola_lock {
    atomic_uint word;
};

static inline void isola_lock_take(struct isola_lock *l)
{
    unsigned seen = 0;
    if (atomic_compare_exchange_strong_explicit(&l->word, &seen, 1, memory_order_acquire,
                                                memory_order_relaxed))
        return;
    if (seen != 2)
        seen = atomic_exchange_explicit(&l->word, 2, memory_order_acquire);
    while (seen != 0) {
        (void)syscall(SYS_futex, &l->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
        seen = atomic_exchange_explicit(&l->word, 2, memory_order_acquire);
    }
}

static inline void isola_lock_drop(struct isola_lock *l)
{
    if (atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2)
        (void)syscall(SYS_futex, &l->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* In a loop that waits for another CPU. */
static inline void isola_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
