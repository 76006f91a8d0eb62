/* SPDX-License-Identifier: Apache-2.0
 *
 * The host, as its own files see it: all that is there once.
 */
#ifndef ISOLA_ACTORS_HOST_OWN_H
#define ISOLA_ACTORS_HOST_OWN_H

#include <pthread.h>
#include <stdatomic.h>

#include "actors/directory.h"
#include "actors/durable.h"
#include "actors/letters.h"
#include "actors/life.h"
#include "actors/schedule.h"
#include "actors/spare.h"
#include "actors/worker.h"

struct isola_watchdog;

struct isola_host {
    const struct isola_host_ops *ops;
    struct isola_watchdog *watchdog;
    void *arg;
    unsigned nworkers;
    struct isola_worker *workers;
    atomic_bool draining, drained;
    atomic_uint next_worker;
    atomic_ullong next_sub;
    pthread_mutex_t quarantine_lock;
    struct isola_map quarantine; /* address → why; under its lock */
    atomic_uint nquarantined;
    atomic_uint moves;        /* so often other nodes have come or gone */
    atomic_uint crowded;      /* actors whose mailbox is, and what else makes emit return false */
    atomic_ullong full_until; /* isola_clock_ns: no processor is to spare till then (stint.c) */
    atomic_ullong full_ns;    /* for how long that was believed last */
    struct isola_pace {
        pthread_mutex_t lock;
        struct isola_map of; /* address → what pace.c knows of it */
        int *slow;           /* nodes whose links have much to send */
        size_t nslow;
    } pace;
    struct isola_directory_shard directory[ISOLA_DIRECTORY_SHARDS];
    pthread_rwlock_t apps_lock;
    struct isola_map apps; /* app → struct isola_app */
    pthread_rwlock_t subs_lock;
    struct isola_map subs;       /* "address\0event" → struct isola_sub_list (subs.c) */
    pthread_mutex_t shared_lock; /* guards every worker's `shared` map */
    atomic_uint ios;             /* io.c: what is under way for scripts, and the bytes of it */
    atomic_size_t io_bytes;
    struct isola_letters letters;
    struct isola_outbox outbox;
    struct isola_durables durables;
    struct isola_alarm alarm;
    struct isola_graces graces; /* set as it starts */
    struct isola_memory memory;
    struct isola_spares spares;
    atomic_size_t image_bytes; /* of all images */
    pthread_mutex_t orphans; /* held while what a write of an actor that is gone ended with is seen
                                to */
    /* Written with every visit: not beside what is read with every message. */
    atomic_ullong busy; /* realms with running turns, visits, reads, commits, DRAIN mails: what a
                           drain waits for */
};

/* Counts something a drain waits for. */
ANY_THREAD void isola__host_busy(struct isola_host *h);
ANY_THREAD void isola__host_unbusy(struct isola_host *h);
/* Nobody waits any more for what this connection has asked. */
ANY_THREAD void isola__host_cancel_link(struct isola_host *h, uint64_t link);
ANY_THREAD void isola__host_logf(struct isola_host *h, enum isola_log_level level,
                                 struct isola_slice address, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
