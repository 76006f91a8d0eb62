/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads that visit realms, their queues, and the processors they are on.
 */
#ifndef ISOLA_ACTORS_WORKER_H
#define ISOLA_ACTORS_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "actors/realm.h"

struct isola_commit;

struct isola_worker {
    struct isola_host *host;
    unsigned number;
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t async;
    uv_timer_t timer;
    uv_poll_t gate;                               /* what other nodes send while it sleeps */
    atomic_int sleep;                             /* enum isola_sleep (worker.c) */
    atomic_uint backlog;                          /* realms in the queue */
    atomic_ullong visit_since;                    /* ns of isola_clock_ns; 0: in no visit */
    pthread_mutex_t lock;                         /* guards the next one */
    struct isola_realm *ready_head, **ready_tail; /* where the next one goes */
    struct isola_realm **ready_ended;             /* and one whose write has ended */
    struct isola_realm *ahead; /* its own: what it visits next, perhaps; a reference, or NULL */
    bool ahead_ended;          /* its write has ended */
    unsigned ahead_fetched;    /* parts of it */
    uint64_t owed;             /* its own: bits of the workers it is to wake soon */
    unsigned owed_turns;
    atomic_bool lingers;             /* it looks for work before it sleeps */
    bool looks;                      /* its own: what comes is what it has read itself */
    uint64_t look_ns, looked;        /* likewise, for what other nodes send */
    atomic_ullong visit_ns;          /* what its visits take, lately */
    uint64_t stint_ns, stint_cpu_ns; /* its own: when it last looked how long it ran, and that */
    bool stint_waited;               /* it had to wait for much of it */
    atomic_int cpu;                  /* the processor it was on; negative: it sleeps (stint.c) */
    uint64_t linger_ns, lingered;    /* its own: for how long it may, and when it last did */
    unsigned vain;                   /* how often it has in vain lately, and since when */
    uint64_t forgiven;
    struct isola_map shared;    /* release (the pointer) → the realm many actors share; under the
                                   host's shared_lock */
    pthread_mutex_t wakes_lock; /* guards the next one */
    struct isola_heap wakes;    /* realms by their least deadline */
    struct isola_commit *spare_commit; /* its own: gate.c's, for the next one, or NULL */
    struct isola_buf spare_state;      /* likewise, for a state: no content */
};

/* Of a worker's own thread, as all that follows: it begins, and has slept since then, which is no
 * waiting; after a visit. */
void isola__stint_begin(struct isola_worker *w);
void isola__stint_slept(struct isola_worker *w, uint64_t since);
void isola__stint_look(struct isola_worker *w, uint64_t now);
/* It is awake, and moves when another one is on its processor; it is about to sleep. */
void isola__stint_place(struct isola_worker *w);
void isola__stint_leave(struct isola_worker *w);
/* Is there no processor to spare, as far as is known? `now`: isola_clock_ns. */
ANY_THREAD bool isola__stint_full(const struct isola_host *h, uint64_t now);

int isola__worker_start(struct isola_worker *w, struct isola_host *h, unsigned number,
                        struct isola_err *err);
ANY_THREAD void isola__worker_ready(struct isola_realm *r);
/* In a visit: the realm's least deadline has changed. */
void isola__worker_wake_at(struct isola_realm *r);
/* There is something to do for a worker that would sleep. */
void isola__worker_wake_sleeper(struct isola_host *h);
/* The worker whose thread this is, or NULL. */
struct isola_worker *isola__worker_here(void);
/* In a visit, where the processor has something else to do: fetches some of what is to be visited
 * next. */
void isola__worker_fetch(void);
/* In a visit, after so many turns: wakes whom it owes it by now. */
void isola__worker_between(unsigned turns);
/* The realm this worker's actors of the type share, with a reference and one more resident. */
ANY_THREAD struct isola_realm *isola__worker_shared_realm(struct isola_worker *w,
                                                          const struct isola_type *type);
/* A resident leaves: a realm nobody is left in goes, if its release is no longer current. */
ANY_THREAD void isola__worker_leave_shared(struct isola_realm *r);
/* Closes a shared realm if nobody is in it. */
void isola__worker_evict_shared(struct isola_realm *r);
/* Nobody starts in this realm any more: its isolate has ended. The next who would share it make
 * another. */
void isola__worker_drop_shared(struct isola_realm *r);
/* Closes this worker's realm of a release that is no longer current if nobody is in it. */
ANY_THREAD void isola__worker_sweep_shared(struct isola_worker *w,
                                           const struct isola_release_rt *release);

#endif
