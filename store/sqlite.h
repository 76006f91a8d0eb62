/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening SQLite files the one way this project opens them, and turning SQLite's codes into ours.
 * Internal to store/.
 *
 * Every file is in WAL mode with synchronous=FULL (a commit that returned is on disk), carries our
 * application_id, and its schema version in user_version. A connection belongs to one thread at a
 * time.
 */
#ifndef ISOLA_STORE_SQLITE_H
#define ISOLA_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

/* The files of a data directory and the schema of each that this release knows. */
#define ISOLA__STATE_FILE     "state.db"
#define ISOLA__STATE_SCHEMA   4 /* of the file that says which others there are (state.c) */
#define ISOLA__GROUP_SCHEMA   2
#define ISOLA__GROUPS_MAX     64
#define ISOLA__CATALOG_FILE   "catalog.db"
#define ISOLA__CATALOG_SCHEMA 8
#define ISOLA__CACHE_FILE     "cache.db"
#define ISOLA__CACHE_SCHEMA   1

/* How long an open or a transaction waits for another process to let go of the file. */
#define ISOLA__BUSY_MS 5000

struct isola__schema {
    int version;
    const char *const
        *migrations;  /* `version` SQL scripts: number i takes a file from schema i to i + 1 */
    bool exclusive;   /* this process alone may have the file open: keeps a predecessor that still
                         runs out */
    bool checkpoints; /* the caller sees to checkpoints */
    bool shrinks;     /* the caller gives free pages back (PRAGMA incremental_vacuum) */
};

struct isola__db {
    sqlite3 *handle;
    char *path;
};

/* Opens or creates `path`, checks it, brings it to `schema->version`. On failure nothing is left
 * open and a file of a newer or foreign schema is unchanged. ISOLA_ESCHEMA, ISOLA_EBUSY,
 * ISOLA_EPERM, ISOLA_EIO, ISOLA_ENOMEM. */
POOL_THREAD ISOLA_MUST_USE int isola__db_open(struct isola__db *db, const char *path,
                                              const struct isola__schema *schema,
                                              struct isola_err *err);
/* One more connection to a file that is open already. */
POOL_THREAD ISOLA_MUST_USE int isola__db_join(struct isola__db *db, const char *path,
                                              struct isola_err *err);
/* All statements must be finalized. Zeroes `db`; a zero `db` is fine. */
POOL_THREAD void isola__db_close(struct isola__db *db);

/* A statement to be kept; finalize with sqlite3_finalize. */
POOL_THREAD ISOLA_MUST_USE int isola__db_prepare(struct isola__db *db, const char *sql,
                                                 sqlite3_stmt **out, struct isola_err *err);
/* Runs a statement that gives no rows, to its end, and resets it. `doing` is the verb of the
 * sentence: "write". */
POOL_THREAD ISOLA_MUST_USE int isola__db_run(struct isola__db *db, sqlite3_stmt *stmt,
                                             const char *doing, struct isola_err *err);

/* Bytes are borrowed until the statement is reset; an empty slice is an empty text, not NULL. */
POOL_THREAD void isola__bind_text(sqlite3_stmt *stmt, int at, struct isola_slice text);
POOL_THREAD void isola__bind_int(sqlite3_stmt *stmt, int at, int64_t n);
/* The bytes in a column of the row it stands at; valid until the next step. */
POOL_THREAD struct isola_slice isola__column(sqlite3_stmt *stmt, int at);

/* Runs statements that give no rows. */
POOL_THREAD ISOLA_MUST_USE int isola__db_exec(struct isola__db *db, const char *sql,
                                              const char *doing, struct isola_err *err);
/* The number a statement gives. */
POOL_THREAD ISOLA_MUST_USE int isola__db_int(struct isola__db *db, const char *sql, int *out,
                                             struct isola_err *err);
/* Translates SQLite's `rc` into an ISOLA_E… and "cannot DOING PATH: why; what to do". */
ANY_THREAD int isola__db_fail(struct isola__db *db, int rc, const char *doing,
                              struct isola_err *err);
/* The same for a file: `sys` is an errno or 0, `said` what SQLite says, or NULL. */
ANY_THREAD int isola__io_fail(const char *path, int rc, int sys, const char *said,
                              const char *doing, struct isola_err *err);
/* "PATH was written by a newer version of Isola (schema FOUND, this one knows KNOWN): …" */
ANY_THREAD int isola__db_newer(const char *path, int found, int known, struct isola_err *err);

#endif
