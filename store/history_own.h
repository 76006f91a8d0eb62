/* SPDX-License-Identifier: Apache-2.0
 *
 * What rows were before they were changed: taken while changes are brought into the tables.
 * history.c has the story. Internal to store/; the folder's thread, with the tables.
 */
#ifndef ISOLA_STORE_HISTORY_OWN_H
#define ISOLA_STORE_HISTORY_OWN_H

#include "base/kept.h"
#include "store/tables.h"

enum isola__history_statement {
    ISOLA__HISTORY_GET,
    ISOLA__HISTORY_SINCE,
    ISOLA__HISTORY_POINT,
    ISOLA__PAST_LAST,
    ISOLA__PAST_FIRST,
    ISOLA__PAST_ADD,
    ISOLA__PAST_DROP,
    ISOLA__NOW_STATE,
    ISOLA__NOW_ROW,
    ISOLA__NOW_ROWS,
    ISOLA__NOW_PART,
    ISOLA__NOW_ALL,
    ISOLA__HISTORY_STATEMENTS
};

/* Images of rows of these parts are taken, and of states. */
#define ISOLA__HISTORY_FROM ISOLA_KEPT_TIMER
/* The part of a state in `past`. */
#define ISOLA__PAST_STATE 0

struct isola__history_limits {
    uint64_t ms;            /* as old as images become; 0: none are taken */
    uint64_t bytes;         /* as many as they take, about */
    int64_t (*clock)(void); /* ms since 1970 */
};

struct isola__history {
    struct isola__tables *tables;
    sqlite3_stmt *stmt[ISOLA__HISTORY_STATEMENTS];
    struct isola__history_limits limits;
    bool on;            /* they are taken of this generation */
    int64_t point;      /* of this generation */
    int64_t last;       /* id of the newest image */
    unsigned added;     /* in this transaction */
    uint64_t off_until; /* none are taken before, ms of isola_clock_ms: it has failed */
    uint64_t due;       /* the oldest is too old then, ms of isola_clock_ms; 0: there is none */
};

POOL_THREAD ISOLA_MUST_USE int isola__history_open(struct isola__history *h,
                                                   struct isola__tables *tables,
                                                   const struct isola__history_limits *limits,
                                                   struct isola_err *err);
POOL_THREAD void isola__history_close(struct isola__history *h); /* a zero one is fine */

/* These return 0 or a code, with the sentence in tables->err. */

/* The point of the last generation that is in the tables. */
POOL_THREAD int isola__history_point(struct isola__history *h, int64_t *point);
/* A generation is to be brought into the tables, with this point. */
POOL_THREAD void isola__history_generation(struct isola__history *h, int64_t point);
/* First in each transaction of it. */
POOL_THREAD int isola__history_begin(struct isola__history *h);
/* Before a put of a row, or (`row` NULL) a state: an image of what is there. *same: that is the
 * same, and is to stay. */
POOL_THREAD int isola__history_put(struct isola__history *h, struct isola_slice address,
                                   const struct isola_kept *row, struct isola_slice value,
                                   bool *same);
/* Before the removal that `row` asks for, or (NULL) that of all rows. */
POOL_THREAD int isola__history_gone(struct isola__history *h, struct isola_slice address,
                                    const struct isola_kept *row);
/* Before that of a state. */
POOL_THREAD int isola__history_deleted(struct isola__history *h, struct isola_slice address);
/* All of the generation is in the tables with this transaction. */
POOL_THREAD int isola__history_mark(struct isola__history *h);
/* In a transaction: up to `n` images that are too old, or too many, go; *more: there may be more of
 * them. */
POOL_THREAD int isola__history_trim(struct isola__history *h, unsigned n, bool *more);
/* A transaction has failed with it: none are taken for a while. False: none were. */
POOL_THREAD bool isola__history_give_up(struct isola__history *h);
/* But it fails without, too. */
POOL_THREAD void isola__history_take_back(struct isola__history *h);

#endif
