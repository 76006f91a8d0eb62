/* SPDX-License-Identifier: Apache-2.0
 *
 * A group as its own files see it: group.c (requests and commits), reads.c, fold.c (from the
 * journal into the tables, and what is tidied up).
 */
#ifndef ISOLA_STORE_GROUP_OWN_H
#define ISOLA_STORE_GROUP_OWN_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/group.h"

struct isola__group {
    struct isola__group_ops ops;
    char *path;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct isola__queue queue; /* under the lock */
    bool closing;              /* under the lock */
    pthread_t thread;
    atomic_uint flying[ISOLA__PLACES]; /* of the thread's requests, until their callbacks end; */
    atomic_uint flying_all;            /* of those of all addresses */
    _Atomic uint64_t reads, writes, commits, failed_commits;
    atomic_bool any_rows; /* there may be rows in `kept` */

    pthread_mutex_t pending_lock;  /* guards what `fresh` and `folding` hold; the thread alone */
    struct isola__overlay fresh;   /* changes it, with the lock */
    struct isola__overlay folding; /* no change comes to it; it goes into the tables */

    pthread_mutex_t failure_lock;
    struct isola_err failure; /* of the last read or commit that failed; code 0: none has */
    int64_t failed_at;        /* ms since 1970 */

    pthread_mutex_t reader_lock;
    struct isola__tables reader;

    pthread_mutex_t ckpt_lock;
    struct isola__db ckpt;
    atomic_bool ckpt_wanted; /* somebody has been told */
    atomic_bool ckpt_tail;   /* most of the log is in the file: the thread does the rest */

    /* --- the thread's own --- */
    struct isola__tables tables;
    bool in_tx;
    int64_t number; /* of the last commit */
    struct {
        struct isola__queue queue; /* the writes of the next commit */
        size_t count;
        struct isola_buf changes;
        uint64_t filter[ISOLA__PLACES / 64];
    } group;
    struct {
        struct isola__entry *at;    /* the next of `folding`, */
        struct isola__entry *begun; /* and what it was when the transaction began */
        bool ended;                 /* all of it is in the tables, with this transaction */
        bool refused;               /* the tables have refused one, in this transaction */
        bool single;                /* one at a time, as some fail */
        unsigned left;              /* entries that have not been tried */
        unsigned failures;          /* in a row */
        uint64_t not_before;        /* ms of isola_clock_ms */
    } fold;
    int64_t trim_to, trimmed; /* the journal: numbers */
};

/* --- group.c --- */

/* Begins a transaction if there is none. 0 or a code (tables.err). */
int isola__group_begin(struct isola__group *g);
/* Ends it. A code: it was rolled back. */
int isola__group_end(struct isola__group *g);
void isola__group_abort(struct isola__group *g);
/* Commits what was added. */
void isola__group_finish(struct isola__group *g);
/* Notes, for isola__group_failure, that something has failed. */
void isola__group_failed(struct isola__group *g, const char *why);

/* --- reads.c. On the thread, with no uncommitted write of the address --- */

void isola__group_answer(struct isola__group *g, struct isola_state_req *req);

/* --- fold.c. On the thread --- */

/* Some of what waits to be folded, in the transaction of a commit of so many bytes. 0 or a code: to
 * be rolled back. */
int isola__fold_along(struct isola__group *g, size_t bytes);
/* Between two commits: when far too much waits, until it is less. */
void isola__fold_pressed(struct isola__group *g);
/* There is nothing else to do: takes a step. False: nothing is left, but perhaps at *at (ms of
 * isola_clock_ms; 0: never). */
bool isola__fold_step(struct isola__group *g, uint64_t *at);
/* Has all that waits in the tables, and nothing waits any more. 0 or a code. */
int isola__fold_now(struct isola__group *g);
/* The same as far as the tables take it, in some seconds: before the file is closed. */
void isola__fold_all(struct isola__group *g);
/* Puts into the tables, in a transaction it begins, what waits of an address, or of these parts
 * (bits). */
int isola__fold_address(struct isola__group *g, struct isola_slice address);
int isola__fold_parts(struct isola__group *g, unsigned parts);
/* A transaction ended, well or not. */
void isola__fold_committed(struct isola__group *g);
void isola__fold_aborted(struct isola__group *g);
/* What is in the journal and not in the tables, when the file is opened. */
ISOLA_MUST_USE int isola__fold_restore(struct isola__group *g, struct isola_err *err);

#endif
