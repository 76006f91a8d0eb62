/* SPDX-License-Identifier: Apache-2.0
 *
 * The happy path: a query is one of those that were run before, or is prepared; its values are
 * bound, and it is run. One that writes is run to its end, and what it returns is given as a whole,
 * so no change is ever half done; of one that reads so many rows are given as are asked for, and a
 * cursor for the rest. SQLite commits each statement, or the outermost transaction, into pages in
 * memory (sql_pages.h); whoever keeps them takes them when the turn is settled.
 *
 * Failure modes: a statement that fails has changed nothing. Some failures (a full database, no
 * memory, ROLLBACK as a way to resolve conflicts) end all transactions there are: what is run
 * within one after that is refused, until it has been rolled back. Pages that are damaged or cannot
 * be read are errors of the query that wants them.
 */
#include "store/sql_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"

#define CACHE_KB         1024 /* of pages, for each database */
#define PREPARED_TEXT    4096 /* bytes: a longer query is not kept */
#define TRANSACTIONS_MAX 100  /* one within another */

static const struct isola_slice no_text = {0};

static struct isola_sql *enter(struct isola_sql *db)
{
    struct isola_sql *before = isola__sql_current;
    isola__sql_current = db;
    return before;
}

static void leave(struct isola_sql **before)
{
    isola__sql_current = *before;
}

/* To the end of the block, what SQLite does it does for this database. */
#define ENTER(db) __attribute__((cleanup(leave))) struct isola_sql *entered__ = enter(db)

/* A statement of our own. */
static int own(struct isola_sql *db, const char *text)
{
    db->ours = true;
    int rc = sqlite3_exec(db->handle, text, NULL, NULL, NULL);
    db->ours = false;
    return rc;
}

void isola_sql_start(void)
{
    isola__sql_memory_start();
    ISOLA_CHECK(sqlite3_initialize() == SQLITE_OK);
    isola__sql_vfs_start();
}

/* --- opening --- */

static void close_db(struct isola_sql *db)
{
    ENTER(db);
    for (size_t i = 0; i < ISOLA_SQL_CURSORS; i++)
        if (db->cursors[i].id != 0 && db->cursors[i].prepared == NULL)
            sqlite3_finalize(db->cursors[i].stmt);
    for (size_t i = 0; i < ISOLA__SQL_PREPARED; i++) {
        sqlite3_finalize(db->prepared[i].stmt);
        free(db->prepared[i].text);
    }
    sqlite3_finalize(db->page_count);
    ISOLA_CHECK(sqlite3_close(db->handle) == SQLITE_OK);
    isola__pages_close(&db->pages);
}

static void sql_close(struct isola_sql *db)
{
    close_db(db);
    free(db);
}

static int set_up(struct isola_sql *db)
{
    int rc = isola__sql_rules(db);
    if (rc != SQLITE_OK)
        return rc;
    char *text = isola_format("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY;"
                              "PRAGMA synchronous = OFF; PRAGMA cache_size = -%d;"
                              "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA max_page_count = %llu",
                              CACHE_KB, (unsigned long long)db->most / ISOLA__PAGE);
    rc = own(db, text);
    free(text);
    if (rc != SQLITE_OK)
        return rc;
    db->ours = true;
    rc = sqlite3_prepare_v3(db->handle, "PRAGMA page_count", -1, SQLITE_PREPARE_PERSISTENT,
                            &db->page_count, NULL);
    db->ours = false;
    return rc;
}

static int sql_open(const struct isola_sql_pages *pages, uint64_t most, struct isola_sql **out,
                    struct isola_sql_fault *fault)
{
    struct isola_sql *db = calloc(1, sizeof(*db));
    if (db == NULL)
        return isola__sql_refuse(fault, ISOLA_ENOMEM, "no memory for a database");
    ENTER(db);
    db->most = most;
    db->budget = most + ISOLA_SQL_MEMORY;
    if (isola__pages_open(&db->pages, pages) != 0) {
        *fault = (struct isola_sql_fault){.err = db->pages.err, .offset = -1};
        free(db);
        return fault->err.code;
    }
    int rc = sqlite3_open_v2("actor", &db->handle,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_EXRESCODE,
                             ISOLA__SQL_VFS);
    if (rc == SQLITE_OK)
        rc = set_up(db);
    if (rc == SQLITE_OK) {
        db->pages.changed = false; /* an empty one has a first page now, which can wait */
        *out = db;
        return 0;
    }
    isola__sql_fault(db, rc, no_text, 0, fault);
    sql_close(db);
    return fault->err.code;
}

/* --- statements that are kept --- */

static struct isola__prepared *find(struct isola_sql *db, struct isola_slice text, uint64_t hash)
{
    for (size_t i = 0; i < ISOLA__SQL_PREPARED; i++) {
        struct isola__prepared *p = &db->prepared[i];
        if (p->stmt != NULL && p->hash == hash && !p->runs &&
            isola_slice_eq(isola_slice(p->text, p->len), text))
            return p;
    }
    return NULL;
}

/* A place for one more: a free one, or that of who was run longest ago. NULL: all run. */
static struct isola__prepared *place(struct isola_sql *db)
{
    struct isola__prepared *oldest = NULL;
    for (size_t i = 0; i < ISOLA__SQL_PREPARED; i++) {
        struct isola__prepared *p = &db->prepared[i];
        if (p->stmt == NULL)
            return p;
        if (!p->runs && (oldest == NULL || p->used < oldest->used))
            oldest = p;
    }
    if (oldest != NULL) {
        sqlite3_finalize(oldest->stmt);
        free(oldest->text);
        *oldest = (struct isola__prepared){0};
    }
    return oldest;
}

static struct isola__prepared *keep(struct isola_sql *db, struct isola_slice text, uint64_t hash,
                                    sqlite3_stmt *stmt)
{
    struct isola__prepared *p = text.len <= PREPARED_TEXT ? place(db) : NULL;
    if (p != NULL)
        *p = (struct isola__prepared){.stmt = stmt,
                                      .text = isola_strndup((const char *)text.data, text.len),
                                      .len = text.len,
                                      .hash = hash};
    return p;
}

/* A statement that is run, until `put_back`. */
struct running {
    sqlite3_stmt *stmt;
    struct isola__prepared *prepared; /* whose it is, or NULL */
};

static void put_back(struct running s)
{
    if (s.prepared == NULL) {
        sqlite3_finalize(s.stmt);
        return;
    }
    sqlite3_reset(s.stmt);
    sqlite3_clear_bindings(s.stmt);
    s.prepared->runs = false;
}

/* --- running --- */

/* Some failures roll back more than their statement. */
static int not_lost(struct isola_sql *db, struct isola_sql_fault *fault)
{
    if (db->depth > 0 && sqlite3_get_autocommit(db->handle))
        return isola__sql_refuse(fault, ISOLA_ESQL,
                                 "the transaction was rolled back by an error in it: nothing more "
                                 "can be done in it");
    return 0;
}

/* What it fails with after a step; of more than its own text. */
static int failed(struct isola_sql *db, int rc, struct isola_sql_fault *fault)
{
    return isola__sql_fault(db, rc, no_text, 0, fault);
}

static int run_through(struct isola_sql *db, sqlite3_stmt *stmt, struct isola_sql_fault *fault)
{
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        ;
    return rc == SQLITE_DONE ? 0 : failed(db, rc, fault);
}

static int no_room(struct isola_sql_fault *fault)
{
    return isola__sql_refuse(fault, ISOLA_ESQL,
                             "the statement returns more than %u MB: nothing was changed",
                             ISOLA_SQL_GIVES_MAX >> 20);
}

static int give_all(struct isola_sql *db, sqlite3_stmt *stmt, struct isola_sql_run *run,
                    struct isola_sql_fault *fault)
{
    int rc, code = 0;
    while (code == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (run->nrows == 0)
            isola__sql_columns(stmt, run);
        code = isola__sql_row(stmt, run, fault);
        if (code == 0 && run->rows.len > ISOLA_SQL_GIVES_MAX)
            code = no_room(fault);
    }
    return code == 0 && rc != SQLITE_DONE ? failed(db, rc, fault) : code;
}

/* One that writes, to its end. What it returns may turn out to be too much when it has changed
 * all it changes. */
static int run_writer(struct isola_sql *db, sqlite3_stmt *stmt, struct isola_sql_run *run,
                      struct isola_sql_fault *fault)
{
    isola__sql_columns(stmt, run);
    if (run->ncolumns == 0)
        return run_through(db, stmt, fault);
    int rc = own(db, "SAVEPOINT r");
    if (rc != SQLITE_OK)
        return failed(db, rc, fault);
    int code = give_all(db, stmt, run, fault);
    sqlite3_reset(stmt);
    if (sqlite3_get_autocommit(db->handle))
        return code; /* its failure has rolled back all there was */
    if (code != 0)
        (void)own(db, "ROLLBACK TO r");
    rc = own(db, "RELEASE r");
    if (rc == SQLITE_OK)
        return code;
    if (code == 0)
        code = failed(db, rc, fault); /* a foreign key that is checked at the end */
    (void)own(db, "ROLLBACK TO r; RELEASE r");
    return code;
}

/* Rows of one that reads. `*over`: there are no more. */
static int run_reader(struct isola_sql *db, sqlite3_stmt *stmt, struct isola_sql_run *run,
                      bool *over, struct isola_sql_fault *fault)
{
    int rc = SQLITE_ROW, code = 0;
    *over = true;
    while (code == 0 && run->nrows < run->max_rows &&
           (run->nrows == 0 || run->rows.len < run->max_bytes) &&
           (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (run->nrows == 0)
            isola__sql_columns(stmt, run); /* after a change of tables they may be others */
        code = isola__sql_row(stmt, run, fault);
    }
    if (code == 0 && rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = failed(db, rc, fault);
    if (code == 0 && run->nrows == 0)
        isola__sql_columns(stmt, run);
    *over = code != 0 || rc == SQLITE_DONE;
    return code;
}

static int new_cursor(struct isola_sql *db, struct running s, uint32_t *id,
                      struct isola_sql_fault *fault)
{
    for (size_t i = 0; i < ISOLA_SQL_CURSORS; i++) {
        struct isola__cursor *c = &db->cursors[i];
        if (c->id != 0)
            continue;
        if (++db->ids == 0)
            db->ids++;
        *c = (struct isola__cursor){.id = db->ids, .stmt = s.stmt, .prepared = s.prepared};
        *id = c->id;
        return 0;
    }
    return isola__sql_refuse(fault, ISOLA_EOVERLOAD,
                             "%d cursors are open: read them to their end, or less at a time",
                             ISOLA_SQL_CURSORS);
}

static int run_last(struct isola_sql *db, struct running s, struct isola_sql_run *run,
                    struct isola_sql_fault *fault)
{
    bool over = true;
    int code = isola__sql_bind(db, s.stmt, run->values, fault);
    if (code == 0)
        code = sqlite3_stmt_readonly(s.stmt) ? run_reader(db, s.stmt, run, &over, fault)
                                             : run_writer(db, s.stmt, run, fault);
    if (!over)
        code = new_cursor(db, s, &run->cursor, fault);
    if (run->cursor == 0)
        put_back(s);
    return code;
}

/* Nothing but white space, comments and semicolons from here. */
static bool is_empty(const char *at, const char *end)
{
    while (at < end) {
        const char *close = NULL;
        if (strchr(" \t\n\f\r;", *at) != NULL) {
            at++;
            continue;
        }
        if (end - at >= 2 && memcmp(at, "--", 2) == 0)
            close = memchr(at, '\n', (size_t)(end - at));
        else if (end - at >= 2 && memcmp(at, "/*", 2) == 0)
            close = memmem(at + 2, (size_t)(end - at) - 2, "*/", 2);
        else
            return false;
        if (close == NULL)
            return true;
        at = close + (*close == '*' ? 2 : 1);
    }
    return true;
}

/* Each of the statements, the last one with its values. */
static int run_text(struct isola_sql *db, struct isola_sql_run *run, uint64_t hash,
                    struct isola_sql_fault *fault)
{
    const char *begin = (const char *)run->text.data, *end = begin + run->text.len, *at = begin;
    for (;;) {
        struct running s = {0};
        const char *tail = NULL;
        int rc = sqlite3_prepare_v3(db->handle, at, (int)(end - at), SQLITE_PREPARE_PERSISTENT,
                                    &s.stmt, &tail);
        if (rc != SQLITE_OK)
            return isola__sql_fault(db, rc, run->text, (size_t)(at - begin), fault);
        if (s.stmt == NULL && tail < end && tail > at) { /* a comment */
            at = tail;
            continue;
        }
        if (s.stmt == NULL)
            return isola__sql_refuse(fault, ISOLA_EINVAL, "there is no statement in the query");
        if (tail >= end || is_empty(tail, end)) {
            if (at == begin)
                s.prepared = keep(db, run->text, hash, s.stmt);
            if (s.prepared != NULL) {
                s.prepared->used = ++db->uses;
                s.prepared->runs = true;
            }
            return run_last(db, s, run, fault);
        }
        int code = isola__sql_bind(db, s.stmt, no_text, fault);
        if (code == 0)
            code = run_through(db, s.stmt, fault);
        sqlite3_finalize(s.stmt);
        if (code != 0)
            return code;
        at = tail;
    }
}

static int sql_exec(struct isola_sql *db, struct isola_sql_run *run, struct isola_sql_fault *fault)
{
    ENTER(db);
    int code = not_lost(db, fault);
    if (code != 0)
        return code;
    if (run->text.len > ISOLA_SQL_TEXT_MAX)
        return isola__sql_refuse(fault, ISOLA_ESQL, "the query has %zu bytes; %u at the most",
                                 run->text.len, ISOLA_SQL_TEXT_MAX);
    if (run->text.len > 0 && memchr(run->text.data, 0, run->text.len) != NULL)
        return isola__sql_refuse(fault, ISOLA_EINVAL, "there is a NUL in the query");
    uint64_t hash = isola_hash_table(run->text.data, run->text.len);
    sqlite3_int64 before = sqlite3_total_changes64(db->handle);
    db->stop = run->stop;
    db->stop_arg = run->arg;
    db->denied = NULL;
    struct isola__prepared *p = find(db, run->text, hash);
    if (p != NULL) {
        p->used = ++db->uses;
        p->runs = true;
        code = run_last(db, (struct running){p->stmt, p}, run, fault);
    } else {
        code = run_text(db, run, hash, fault);
    }
    db->stop = NULL;
    run->written = (uint64_t)(sqlite3_total_changes64(db->handle) - before);
    return code;
}

/* --- cursors --- */

static struct isola__cursor *cursor_of(struct isola_sql *db, uint32_t id)
{
    for (size_t i = 0; id != 0 && i < ISOLA_SQL_CURSORS; i++)
        if (db->cursors[i].id == id)
            return &db->cursors[i];
    return NULL;
}

static void end_cursor(struct isola__cursor *c)
{
    put_back((struct running){c->stmt, c->prepared});
    *c = (struct isola__cursor){0};
}

static int sql_more(struct isola_sql *db, struct isola_sql_run *run, struct isola_sql_fault *fault)
{
    ENTER(db);
    struct isola__cursor *c = cursor_of(db, run->cursor);
    bool over;
    if (c == NULL)
        return isola__sql_refuse(fault, ISOLA_EINVAL,
                                 "this cursor has ended: read all it gives (toArray()) before the "
                                 "code waits for anything");
    db->stop = run->stop;
    db->stop_arg = run->arg;
    int code = run_reader(db, c->stmt, run, &over, fault);
    db->stop = NULL;
    if (over) {
        end_cursor(c);
        run->cursor = 0;
    }
    return code;
}

static void sql_end(struct isola_sql *db, uint32_t id)
{
    ENTER(db);
    struct isola__cursor *c = cursor_of(db, id);
    if (c != NULL)
        end_cursor(c);
}

/* --- transactions --- */

static int sql_begin(struct isola_sql *db, struct isola_sql_fault *fault)
{
    ENTER(db);
    int code = not_lost(db, fault);
    if (code != 0)
        return code;
    if (db->depth == TRANSACTIONS_MAX)
        return isola__sql_refuse(
            fault, ISOLA_ESQL, "transactions within one another: %d at the most", TRANSACTIONS_MAX);
    int rc = own(db, "SAVEPOINT t");
    if (rc != SQLITE_OK)
        return failed(db, rc, fault);
    db->depth++;
    return 0;
}

static int sql_commit(struct isola_sql *db, struct isola_sql_fault *fault)
{
    ENTER(db);
    ISOLA_CHECK(db->depth > 0);
    int code = not_lost(db, fault);
    if (code != 0)
        return code;
    int rc = own(db, "RELEASE t");
    if (rc != SQLITE_OK)
        return failed(db, rc, fault);
    db->depth--;
    return 0;
}

static void sql_rollback(struct isola_sql *db)
{
    ENTER(db);
    ISOLA_CHECK(db->depth > 0);
    if (!sqlite3_get_autocommit(db->handle))
        (void)own(db, "ROLLBACK TO t; RELEASE t");
    db->depth--;
}

static void sql_rest(struct isola_sql *db)
{
    ENTER(db);
    for (size_t i = 0; i < ISOLA_SQL_CURSORS; i++)
        if (db->cursors[i].id != 0)
            end_cursor(&db->cursors[i]);
    if (!sqlite3_get_autocommit(db->handle))
        (void)own(db, "ROLLBACK");
    db->depth = 0;
}

/* --- what is kept --- */

static uint64_t sql_size(struct isola_sql *db)
{
    ENTER(db);
    uint64_t pages = 0;
    if (sqlite3_step(db->page_count) == SQLITE_ROW)
        pages = (uint64_t)sqlite3_column_int64(db->page_count, 0);
    sqlite3_reset(db->page_count);
    return pages * ISOLA__PAGE;
}

static bool sql_changed(const struct isola_sql *db)
{
    return db->pages.changed;
}

static uint64_t sql_take(struct isola_sql *db,
                         void (*each)(void *arg, uint64_t n, struct isola_slice value), void *arg)
{
    ISOLA_CHECK(sqlite3_get_autocommit(db->handle));
    return isola__pages_take(&db->pages, each, arg);
}

static void sql_kept(struct isola_sql *db, uint64_t taken)
{
    isola__pages_kept(&db->pages, taken);
}

const struct isola_sql_ops isola_sql_ops = {
    .open = sql_open,
    .close = sql_close,
    .exec = sql_exec,
    .more = sql_more,
    .end = sql_end,
    .begin = sql_begin,
    .commit = sql_commit,
    .rollback = sql_rollback,
    .size = sql_size,
    .rest = sql_rest,
    .changed = sql_changed,
    .take = sql_take,
    .kept = sql_kept,
};
