/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of store/sql*.c share. Internal to store/.
 *
 * A database is used by one thread at a time, and between isola__sql_enter and the end of that
 * scope is that thread's `current` one: so the file system and the allocator, which SQLite calls
 * without saying for whom, know whose the files and the memory are.
 */
#ifndef ISOLA_STORE_SQL_IMPL_H
#define ISOLA_STORE_SQL_IMPL_H

#include <sqlite3.h>

#include "store/sql.h"
#include "store/sql_pages.h"

#define ISOLA__SQL_VFS       "isola"
#define ISOLA__SQL_PREPARED  50   /* statements that are kept to be run again */
#define ISOLA__SQL_VARIABLES 1000 /* parameters of a statement */

/* A statement that is kept. */
struct isola__prepared {
    sqlite3_stmt *stmt; /* NULL: this place is free */
    char *text;
    size_t len;
    uint64_t hash;
    uint64_t used; /* when: by isola_sql.uses */
    bool runs;
};

struct isola__cursor {
    uint32_t id; /* 0: this place is free */
    sqlite3_stmt *stmt;
    struct isola__prepared *prepared; /* whose it is, or NULL */
};

struct isola_sql {
    sqlite3 *handle;
    struct isola__pages pages;
    uint64_t most;           /* bytes it may have */
    uint64_t memory, budget; /* bytes of memory that SQLite uses for it, and may */
    bool ours;               /* what is prepared now is no script's */
    const char *denied;      /* why the authorizer said no, static; NULL: it did not */
    bool (*stop)(void *arg); /* of the run under way */
    void *stop_arg;
    unsigned depth; /* of transactions */
    uint32_t ids;   /* of cursors, so far */
    uint64_t uses;
    sqlite3_stmt *page_count;
    struct isola__prepared prepared[ISOLA__SQL_PREPARED];
    struct isola__cursor cursors[ISOLA_SQL_CURSORS];
};

extern _Thread_local struct isola_sql *isola__sql_current;

/* sql_vfs.c: the file system whose one database is `current`'s pages. Once. */
void isola__sql_vfs_start(void);
/* sql_memory.c: an allocator that holds each database to its budget. Once, before SQLite starts. */
void isola__sql_memory_start(void);
/* sql_rules.c: what scripts may not do, on a handle that is new. An SQLite code. */
int isola__sql_rules(struct isola_sql *db);
/* sql_fault.c: says why SQLite gave `rc`. `text`: what was prepared or run, `from` is where in it
 * the statement begins; returns fault->err.code. */
int isola__sql_fault(struct isola_sql *db, int rc, struct isola_slice text, size_t from,
                     struct isola_sql_fault *fault);
/* One of our own making. */
int isola__sql_refuse(struct isola_sql_fault *fault, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* sql_values.c: sets the parameters. */
ISOLA_MUST_USE int isola__sql_bind(struct isola_sql *db, sqlite3_stmt *stmt,
                                   struct isola_slice values, struct isola_sql_fault *fault);
/* Appends the row the statement stands at to run->rows. */
ISOLA_MUST_USE int isola__sql_row(sqlite3_stmt *stmt, struct isola_sql_run *run,
                                  struct isola_sql_fault *fault);
void isola__sql_columns(sqlite3_stmt *stmt, struct isola_sql_run *run);

#endif
