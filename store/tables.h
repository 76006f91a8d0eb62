/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of a file of states, and one connection to them: statements, and what they read and
 * write. Internal to store/. A connection belongs to one thread at a time.
 *
 * An address with rows in `kept` has one in `state`, whose value may be empty: so that who looks
 * for an address looks into one table. `written` is the point (history.c) that brought it, ms since
 * 1970.
 * `folded` says up to which commit of the journal (journal.h) all is in the tables. `past` and
 * `history` are history.c's.
 */
#ifndef ISOLA_STORE_TABLES_H
#define ISOLA_STORE_TABLES_H

#include "base/kept.h"
#include "store/sqlite.h"
#include "store/state.h"

enum isola__statement {
    ISOLA__BEGIN,
    ISOLA__SNAPSHOT,
    ISOLA__COMMIT,
    ISOLA__ROLLBACK,
    ISOLA__GET,
    ISOLA__PUT,
    ISOLA__TOUCH,
    ISOLA__DEL,
    ISOLA__SCAN,
    ISOLA__ANY_ROWS,
    ISOLA__GET_ROWS,
    ISOLA__GET_ROW,
    ISOLA__GET_UP,
    ISOLA__GET_DOWN,
    ISOLA__GET_BEYOND,
    ISOLA__GET_LAST,
    ISOLA__GET_DUE,
    ISOLA__PUT_ROW,
    ISOLA__DEL_ROW,
    ISOLA__DEL_ROWS,
    ISOLA__DEL_PART,
    ISOLA__CLEAR_ROWS,
    ISOLA__OUTBOXES,
    ISOLA__FORGET,
    ISOLA__FOLDED,
    ISOLA__FOLD,
    ISOLA__PAGES,
    ISOLA__FREE_PAGES,
    ISOLA__STATEMENTS
};

struct isola__tables {
    struct isola__db db;
    sqlite3_stmt *stmt[ISOLA__STATEMENTS];
    struct isola_err err; /* of the last failure */
};

/* The file's first connection: creates it, brings it to the present schema. Errors as
 * isola__db_open. On failure nothing is left open. */
POOL_THREAD ISOLA_MUST_USE int isola__tables_open(struct isola__tables *t, const char *path,
                                                  struct isola_err *err);
/* One more, to a file that is open. */
POOL_THREAD ISOLA_MUST_USE int isola__tables_join(struct isola__tables *t, const char *path,
                                                  struct isola_err *err);
POOL_THREAD void isola__tables_close(struct isola__tables *t); /* a zero one is fine */

/* These return 0 or a code, with the sentence in t->err. */

POOL_THREAD int isola__tables_run(struct isola__tables *t, enum isola__statement which);
/* Ends a transaction that has failed; some errors have ended it already. t->err stays. */
POOL_THREAD void isola__tables_roll_back(struct isola__tables *t);

/* Writes, in a transaction. `written`: ms since 1970. */
POOL_THREAD int isola__tables_put(struct isola__tables *t, struct isola_slice address,
                                  struct isola_slice value, int64_t written);
POOL_THREAD int isola__tables_touch(struct isola__tables *t, struct isola_slice address,
                                    int64_t written);
POOL_THREAD int isola__tables_del(struct isola__tables *t, struct isola_slice address);
POOL_THREAD int isola__tables_clear_rows(struct isola__tables *t, struct isola_slice address);
POOL_THREAD int isola__tables_put_row(struct isola__tables *t, struct isola_slice address,
                                      const struct isola_kept *row, int64_t written);
/* Marks of programs, and answers, that were written then or before. */
POOL_THREAD int isola__tables_forget(struct isola__tables *t, int64_t written);

/* Reads. */

/* ISOLA_ENOENT: there is none. `value` is appended. */
POOL_THREAD int isola__tables_get(struct isola__tables *t, struct isola_slice address,
                                  struct isola_buf *value);
/* Parts up to `last`, in the order of part, peer and number. */
POOL_THREAD int isola__tables_kept(struct isola__tables *t, struct isola_slice address,
                                   uint8_t last, struct isola_kept_rows *out);
POOL_THREAD int isola__tables_row(struct isola__tables *t, struct isola_slice address,
                                  const struct isola_kept *wanted, struct isola_kept_rows *out);
POOL_THREAD int isola__tables_range(struct isola__tables *t, struct isola_slice address,
                                    const struct isola_kept_range *range,
                                    struct isola_kept_rows *out);
/* *more: there are further rows. */
POOL_THREAD int isola__tables_piece(struct isola__tables *t, struct isola_slice address,
                                    const struct isola_kept_after *after,
                                    struct isola_kept_rows *out, bool *more);
/* As isola_state_extent. */
POOL_THREAD int isola__tables_extent(struct isola__tables *t, struct isola_slice address,
                                     struct isola_kept_rows *out);
POOL_THREAD int isola__tables_due(struct isola__tables *t, const struct isola_kept_due *due,
                                  struct isola_kept_rows *out);
POOL_THREAD int isola__tables_outboxes(struct isola__tables *t, struct isola_kept_rows *out);
/* Is there any row in `kept`? True where that cannot be read: reads will say so. */
POOL_THREAD bool isola__tables_any_rows(struct isola__tables *t);
/* Up to `n` addresses after `from`, each given to `fn`; *last gets the last one. *end: there are no
 * more. */
POOL_THREAD int isola__tables_scan(struct isola__tables *t, struct isola_slice from, unsigned n,
                                   void (*fn)(void *arg, struct isola_slice address), void *arg,
                                   struct isola_buf *last, bool *end);

/* Up to which commit all is in the tables. */
POOL_THREAD int isola__tables_folded(struct isola__tables *t, int64_t *number);
POOL_THREAD int isola__tables_fold(struct isola__tables *t, int64_t number);

/* A step of giving free pages back to the file system, `step` of them, if there are at least `min`,
 * and a quarter of the file. False: there are not, or it cannot be done now. */
POOL_THREAD bool isola__tables_give_back(struct isola__tables *t, unsigned min, unsigned step);

#endif
