/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside fake_world: what a world holds, and what its files call of each other.
 */
#ifndef ISOLA_TESTS_FAKE_WORLD_PARTS_H
#define ISOLA_TESTS_FAKE_WORLD_PARTS_H

#include <pthread.h>

#include "actors/host_own.h"
#include "base/check.h"
#include "fake_world.h"

#define WORLD_LINK 1 /* of messages whose answers are collected */

struct world {
    struct world *next; /* all of them, so that none counts as leaked */
    struct isola_host *host;
    const char *apps; /* what releases permit */
    uint64_t seed, store_seed;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    /* the store */
    struct world_job *jobs, **jobs_tail;
    unsigned waiting;
    unsigned undone; /* that wait, or are being done */
    bool held;
    struct isola_map stored; /* address → struct isola_buf */
    struct isola_map kept;   /* address → struct isola_kept_rows */
    unsigned fail_writes, fail_per_mille, fail_reads, writes;
    int fail_reads_code;
    /* places */
    struct isola_map places; /* address → (void *) node */
    struct isola_mailq forwarded;
    bool others_refuse;
    struct world *other; /* the node they go to; NULL: they wait */
    unsigned mess;
    struct isola_mail *late; /* to follow the next one */
    bool cut;                /* nothing gets out any more */
    /* answers, by id */
    struct outcome *outcomes;
    uint64_t noutcomes, cap;
    unsigned answers;
    struct isola_mailq events;
    bool drained;
    char *stuck; /* "ADDRESS: why" */
    bool expected_stuck;
    unsigned lifted;
    char lifted_last[100];
    char **log;
    unsigned nlog;
};

/* fake_world.c */

/* The next random number of that seed, in [0, n). */
unsigned world__random(uint64_t *seed, unsigned n);
/* Lets go of the lock of a world in which something has changed. */
void world__changed(struct world *w);
/* Waits for the next change; aborts at the deadline, and says what did not come. The lock is held.
 */
void world__wait_for(struct world *w, uint64_t deadline, const char *what);
/* A number as msgpack; 0 when it is none. */
int64_t world__int(struct isola_slice value);

/* fake_store.c */

void *world__store_thread(void *world);
/* What is stored, copied into empty maps. The lock is held. */
void world__copy_store(struct world *w, struct isola_map *stored, struct isola_map *kept);
void world__state_read(void *arg, struct isola_state_io *io);
void world__state_write(void *arg, struct isola_state_io *io);
void world__state_due(void *arg, struct isola_state_io *io);
void world__state_rows(void *arg, struct isola_state_io *io);
void world__state_range(void *arg, struct isola_state_io *io);
int world__state_row(void *arg, struct isola_slice address, const struct isola_kept *wanted,
                     struct isola_buf *out, struct isola_err *err);

/* fake_wire.c */

int world__locate(void *arg, struct isola_slice address);
void world__forward(void *arg, int node, struct isola_mail *mail);

/* fake_answers.c */

void world__answer(void *arg, struct isola_mail *mail);
void world__log(void *arg, enum isola_log_level level, struct isola_slice address,
                struct isola_slice text);
/* A script cannot be stopped: where the process would end, its watchdog does. */
void world__stuck(void *arg, struct isola_slice address, const char *why);
void world__lifted_one(void *arg, struct isola_slice address);
void world__drained_now(void *arg);

#endif
