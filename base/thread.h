/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads of our own, and what they wait for until some time.
 */
#ifndef ISOLA_BASE_THREAD_H
#define ISOLA_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Starts one that no signal comes to: those belong to the threads of the program. `name`: 15
 * characters at the most. 0, or an errno. */
static inline int isola_thread_start(pthread_t *thread, const char *name, void *(*run)(void *),
                                     void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_setname_np(*thread, name);
    return rc;
}

/* This thread is one that others wait for, and works for microseconds at a time: it goes before
 * other threads where the system lets it (CAP_SYS_NICE, RLIMIT_NICE), and its sleeps end in time.
 */
static inline void isola_thread_goes_first(void)
{
    enum { NICE = -5 };
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); /* of the thread alone */
    (void)prctl(PR_SET_TIMERSLACK, 1);
}

/* A condition whose times are those of isola_clock_ms; pthread_cond_init's are of the wall clock.
 */
static inline void isola_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* Waits, until `ms` of its clock at the latest. */
static inline void isola_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ms)
{
    struct timespec until = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    pthread_cond_timedwait(cond, lock, &until);
}

#endif
