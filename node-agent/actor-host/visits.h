/* SPDX-License-Identifier: Apache-2.0
 *
 * What workers do with links to other nodes between their visits of isolates (visits.c).
 */
#ifndef ISOLA_NODE_AGENT_VISITS_H
#define ISOLA_NODE_AGENT_VISITS_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "actors/host.h"
#include "transport/link.h"

/* Links that workers look at themselves; what comes by others is delivered by nng's threads. */
#define ISOLA_HOT_MAX 32

struct visits {
    pthread_mutex_t lock;
    struct {
        struct isola_link *link; /* a reference; NULL: free */
        uint64_t used;           /* ms */
    } hot[ISOLA_HOT_MAX];
    int links;           /* epoll: the sockets of those that are hot */
    int gate;            /* of the worker that is woken by them, -1: nobody is */
    atomic_uint nhot;    /* changed with the lock, */
    atomic_uint changes; /* this too: of which links are hot */
    atomic_bool watched; /* and this: the worker of the gate sleeps */
    atomic_bool looked;  /* a worker looks and does nothing else: no second one does */
    atomic_uint reading; /* workers that read, or are about to */
    atomic_bool heard;   /* nng has delivered something since one has begun to */
    atomic_uint looks;
    atomic_bool guarded; /* the guard runs, or is about to */
    uv_async_t wake;     /* of the guard */
    uv_timer_t guard;
    unsigned seen, quiet; /* the guard's: looks, and times nothing was to be done */
};

LOOP_THREAD int visits_open(struct visits *v, uv_loop_t *loop, struct isola_err *err);
/* Workers: ops->batch, ops->look and ops->gate of the actor runtime; `arg` is the app. */
ANY_THREAD void visits_batch(void *arg, bool begin);
ANY_THREAD bool visits_look(void *arg, enum isola_look look);
ANY_THREAD int visits_gate(void *arg);
/* Something was sent on `link`, by this thread; with whatever locks. */
ANY_THREAD void visits_sent(struct isola_link *link);
/* Something has come on `link`, on this thread. */
ANY_THREAD void visits_heard(struct visits *v, struct isola_link *link);
/* Locks are given up: it may leave, unless this thread holds it for what follows. */
ANY_THREAD void visits_sent_all(void);
/* This thread holds what it sends, to leave together, or has done so. */
ANY_THREAD void visits_hold(bool hold);

#endif
