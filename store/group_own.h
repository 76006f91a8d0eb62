/* SPDX-License-Identifier: Apache-2.0
 *
 * A group as its own files see it: group.c (requests and commits), reads.c, fold.c (what brings
 * changes into the tables, and tidies up).
 *
 * Locks, in this order: tables_lock, overlay_lock.
 */
#ifndef ISOLA_STORE_GROUP_OWN_H
#define ISOLA_STORE_GROUP_OWN_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/group.h"
#include "store/journal.h"

struct isola__group {
    struct isola__group_ops ops;
    char *path;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct isola__queue queue; /* under the lock */
    bool closing;              /* under the lock */
    bool poked;                /* under the lock: there may be something else to do */
    pthread_t thread, folder;
    bool runs, folds;                  /* these threads do */
    atomic_uint flying[ISOLA__PLACES]; /* of the thread's requests, until their callbacks end; */
    atomic_uint flying_all;            /* of those of all addresses */
    _Atomic uint64_t reads, writes, commits, failed_commits;
    atomic_bool any_rows; /* there may be rows in `kept` */

    pthread_mutex_t overlay_lock;
    pthread_cond_t folded;         /* one of the next has changed */
    struct isola__overlay fresh;   /* the thread alone changes it, with the lock; so it needs none
                                      to read it */
    struct isola__overlay folding; /* nothing is added to it; it goes into the tables. Set by the
                                      thread, emptied by the folder */
    bool ending;                   /* the thread has ended */
    bool stuck;                    /* the tables took nothing, and the folder waits a while */
    struct isola__carry *carry;    /* the folder waits for the thread to do this; or NULL */
    int64_t number;                /* of the commit up to which all is in the tables, on disk */

    pthread_mutex_t tables_lock;
    struct isola__tables tables;
    struct isola__history history; /* with the tables; the folder's */
    atomic_bool tables_wanted;     /* the folder is to let go of them soon */

    pthread_mutex_t reader_lock;
    struct isola__tables reader;

    struct isola__db copier; /* the folder's own: SQLite's log goes into the file through it */

    pthread_mutex_t failure_lock;
    struct isola_err failure; /* of the last read or commit that failed; code 0: none has */
    int64_t failed_at;        /* ms since 1970 */

    /* --- the thread's own --- */
    struct isola__journal *journal;
    int64_t next_written; /* no commit is of an earlier time */
    struct isola_err err; /* of the last failure */
    struct {
        struct isola__queue queue; /* the writes of the next commit */
        size_t count;
        struct isola_buf commit;
        uint64_t filter[ISOLA__PLACES / 64];
    } group;
};

/* --- group.c --- */

/* Notes, for isola__group_failure, that something has failed. Any thread. */
void isola__group_failed(struct isola__group *g, const char *why);

/* What the tables do not take is to stay in the journal. */
struct isola__carry {
    bool done;
    int code;
};
/* The folder's: has the thread do it. 0 or a code. */
int isola__group_carry(struct isola__group *g);

/* On the thread: */

/* Commits what was added. */
void isola__group_finish(struct isola__group *g);
/* `fresh` is to go into the tables, if nothing else is on its way there. False: something is. */
bool isola__group_turn_over(struct isola__group *g);
/* Everything that is not yet, and waits. 0 or a code (g->err). */
int isola__group_fold_all(struct isola__group *g);

/* --- reads.c. On the thread, with no uncommitted write of the address --- */

void isola__group_answer(struct isola__group *g, struct isola_state_req *req);

/* --- fold.c --- */

/* The folder's thread. */
void *isola__fold_run(void *group);
/* For others than the folder: takes the tables from it, between two transactions, and gives them
 * back; a transaction that is open then was for looking only. */
void isola__fold_take_tables(struct isola__group *g);
void isola__fold_leave_tables(struct isola__group *g);
/* On the group's thread, with the tables: in a transaction that is not to be committed, puts into
 * them what waits of these parts (bits), and of the state, of an address, or of all that have any
 * of these parts. 0 or a code (tables.err). */
int isola__fold_peek_address(struct isola__group *g, struct isola_slice address, unsigned parts);
int isola__fold_peek_parts(struct isola__group *g, unsigned parts);

#endif
