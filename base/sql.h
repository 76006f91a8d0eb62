/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor's SQL database, as those who run scripts use it and the store makes it (store/sql.h):
 * plain data, and a table of functions.
 *
 * Whoever opens one says where its pages are read; what has changed of them is asked for when it is
 * to be kept, and written by the caller. So nothing is on disk before that, and what a database
 * was closed with is gone.
 */
#ifndef ISOLA_BASE_SQL_H
#define ISOLA_BASE_SQL_H

#include "base/buf.h"
#include "base/error.h"

ISOLA_BEGIN_C

struct isola_sql; /* one that is open; one thread at a time */

/* Where the pages are that were kept. */
struct isola_sql_pages {
    /* Appends what was kept as number `n`. 0, ISOLA_ENOENT: nothing was, or ISOLA_EIO. Blocks. */
    int (*read)(void *arg, uint64_t n, struct isola_buf *out, struct isola_err *err);
    void *arg;
};

/* Why something failed. */
struct isola_sql_fault {
    /* ISOLA_ESQL: SQLite refuses the query or cannot go on with it; ISOLA_EINVAL: the values do not
     * fit the query, or there is no such cursor; ISOLA_EOVERLOAD: too many cursors; ISOLA_EIO:
     * pages cannot be read; with a sentence. */
    struct isola_err err;
    const char *name; /* of SQLite's code, "SQLITE_CONSTRAINT_UNIQUE"; NULL: it has none. Static */
    int64_t offset;   /* where in the text, in bytes; -1: that is not known */
};

/* A query, and what it gives. */
struct isola_sql_run {
    struct isola_slice text;
    /* An array of values, or a map of them by their names without the sign, as msgpack: nil, bool,
     * integers, doubles, str, bin. Of several statements they are for the last one. */
    struct isola_slice values;
    /* Is it to end now? Asked every so often; may be NULL. */
    bool (*stop)(void *arg);
    void *arg;
    uint32_t max_rows; /* as many at once, at the most; all that a statement gives which writes */
    size_t max_bytes;  /* and bytes, of values, but one row in any case */
    /* Set: */
    struct isola_buf columns; /* the caller frees both. Their names, as one array */
    struct isola_buf rows;    /* `ncolumns` values for each row, one after the other: nil, integers,
                                 doubles, str, bin */
    uint32_t ncolumns, nrows;
    uint32_t cursor;  /* there may be more, and this is how they are asked for; 0: there are not */
    uint64_t written; /* rows that were inserted, changed and deleted, by triggers too */
};

struct isola_sql_ops {
    /* With nothing kept, an empty one. It grows to `most` bytes. `pages->arg` must outlive it. */
    int (*open)(const struct isola_sql_pages *pages, uint64_t most, struct isola_sql **out,
                struct isola_sql_fault *fault);
    /* What has changed and was not taken is gone. */
    void (*close)(struct isola_sql *db);
    /* Runs the statements in the text, the last one as far as `max_rows` and `max_bytes` go. On
     * failure the statement at fault has changed nothing; those before it have. */
    int (*exec)(struct isola_sql *db, struct isola_sql_run *run, struct isola_sql_fault *fault);
    /* More rows of run->cursor, which becomes 0 when there are no more. On failure it has ended. */
    int (*more)(struct isola_sql *db, struct isola_sql_run *run, struct isola_sql_fault *fault);
    void (*end)(struct isola_sql *db, uint32_t cursor); /* it need not be there any more */
    /* Transactions, one within another. After a commit that has failed a rollback is owed. */
    int (*begin)(struct isola_sql *db, struct isola_sql_fault *fault);
    int (*commit)(struct isola_sql *db, struct isola_sql_fault *fault);
    void (*rollback)(struct isola_sql *db);
    uint64_t (*size)(struct isola_sql *db); /* bytes */
    /* Nobody goes on with what is open: cursors end, transactions are rolled back. */
    void (*rest)(struct isola_sql *db);
    /* Is anything to be kept? */
    bool (*changed)(const struct isola_sql *db);
    /* Calls `each` for all that is to be kept since the last time: `value`, which is borrowed for
     * the call, replaces what was kept as number `n`. Returns a number for it, not 0, for `kept`.
     * After `rest`. */
    uint64_t (*take)(struct isola_sql *db,
                     void (*each)(void *arg, uint64_t n, struct isola_slice value), void *arg);
    /* What was taken up to this number can be read now; until then it is held in memory. */
    void (*kept)(struct isola_sql *db, uint64_t taken);
};

ISOLA_END_C

#endif
