/* SPDX-License-Identifier: Apache-2.0
 *
 * What reading the history needs: past.c, points.c. Internal to store/. One thread.
 */
#ifndef ISOLA_STORE_PAST_OWN_H
#define ISOLA_STORE_PAST_OWN_H

#include "store/history.h"
#include "store/history_own.h"

struct isola__look {
    struct isola__db db;
    struct isola_slice address;
    int64_t point; /* of the last generation */
    int64_t since; /* when the history begins; 0: there is none */
    struct isola_err *err;
};

/* Brings all that waits of the address into the tables, and begins a snapshot of them on a
 * connection of its own. On failure nothing is left open. */
POOL_THREAD ISOLA_MUST_USE int isola__look_open(struct isola__look *l, struct isola_state *s,
                                                struct isola_slice address, struct isola_err *err);
POOL_THREAD void isola__look_close(struct isola__look *l);

/* A statement, unless *code is a failure; and its end, with what its last step gave. */
POOL_THREAD sqlite3_stmt *isola__look_prepare(struct isola__look *l, const char *sql, int *code);
POOL_THREAD void isola__look_end(struct isola__look *l, sqlite3_stmt *stmt, int rc, int *code);

/* Rows as they were until after `from`, and as they are: part, peer, seq, written, until
 * (INT64_MAX: it is so), bytes, id (0: it is so). 0 or a code. */
POOL_THREAD ISOLA_MUST_USE int isola__look_each(struct isola__look *l, int64_t from,
                                                void (*fn)(void *arg, sqlite3_stmt *row),
                                                void *arg);

ANY_THREAD void isola__history_count(struct isola_history_changes *what, int part, bool gone,
                                     uint64_t bytes);

#endif
