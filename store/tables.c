/* SPDX-License-Identifier: Apache-2.0 */
#include "store/tables.h"

#include <stdio.h>

#include "base/check.h"

static const char *const migrations[ISOLA__GROUP_SCHEMA] = {
    "CREATE TABLE state (address TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL,"
    " written INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE kept (address TEXT NOT NULL, part INTEGER NOT NULL, peer TEXT NOT NULL,"
    " seq INTEGER NOT NULL, value BLOB NOT NULL, written INTEGER NOT NULL,"
    " PRIMARY KEY (address, part, peer, seq)) WITHOUT ROWID;"
    "CREATE INDEX outboxes ON kept (address) WHERE part = 2;"
    "CREATE INDEX forgettable ON kept (written) WHERE part = 4 OR (part = 3 AND peer >= '~');"
    "CREATE INDEX timers ON kept (seq, address, peer) WHERE part = 5;"
    "CREATE TABLE folded (number INTEGER NOT NULL); INSERT INTO folded VALUES (0)",
    "CREATE TABLE past (id INTEGER PRIMARY KEY, until INTEGER NOT NULL, address TEXT NOT NULL,"
    " part INTEGER NOT NULL, peer TEXT NOT NULL, seq INTEGER NOT NULL, written INTEGER NOT NULL,"
    " value BLOB NOT NULL);"
    "CREATE INDEX past_of ON past (address);"
    "CREATE TABLE history (point INTEGER NOT NULL, since INTEGER NOT NULL);"
    "INSERT INTO history SELECT max(coalesce((SELECT max(written) FROM state), 0),"
    " coalesce((SELECT max(written) FROM kept), 0)), 0",
};
static const struct isola__schema schema = {ISOLA__GROUP_SCHEMA, migrations, .exclusive = false,
                                            .checkpoints = true, .shrinks = true};

static const char *const sql[ISOLA__STATEMENTS] = {
    [ISOLA__BEGIN] = "BEGIN IMMEDIATE",
    [ISOLA__SNAPSHOT] = "BEGIN",
    [ISOLA__COMMIT] = "COMMIT",
    [ISOLA__ROLLBACK] = "ROLLBACK",
    [ISOLA__GET] = "SELECT value FROM state WHERE address = ?1",
    [ISOLA__PUT] = ("INSERT INTO state (address, value, written) VALUES (?1, ?2, ?3) ON CONFLICT"
                    " (address) DO UPDATE SET value = excluded.value, written = excluded.written"),
    [ISOLA__TOUCH] = ("INSERT INTO state (address, value, written) VALUES (?1, x'', ?2)"
                      " ON CONFLICT DO NOTHING"),
    [ISOLA__DEL] = "DELETE FROM state WHERE address = ?1",
    [ISOLA__SCAN] = "SELECT address FROM state WHERE address > ?1 ORDER BY address LIMIT ?2",
    [ISOLA__ANY_ROWS] = "SELECT EXISTS (SELECT 1 FROM kept)",
    [ISOLA__GET_ROWS] = ("SELECT part, peer, seq, value FROM kept WHERE address = ?1 AND part <= ?2"
                         " ORDER BY part, peer, seq"),
    [ISOLA__GET_ROW] = ("SELECT part, peer, seq, value FROM kept"
                        " WHERE address = ?1 AND part = ?2 AND peer = ?3 AND seq = ?4"),
    [ISOLA__GET_UP] = ("SELECT part, peer, seq, value FROM kept WHERE address = ?1 AND part = ?2"
                       " AND peer >= ?3 AND peer < ?4 ORDER BY peer, seq"),
    [ISOLA__GET_DOWN] = ("SELECT part, peer, seq, value FROM kept WHERE address = ?1 AND part = ?2"
                         " AND peer >= ?3 AND peer < ?4 ORDER BY peer DESC, seq DESC"),
    [ISOLA__GET_BEYOND] = ("SELECT part, peer, seq, value FROM kept WHERE address = ?1"
                           " AND (part, peer, seq) > (?2, ?3, ?4) ORDER BY part, peer, seq"),
    [ISOLA__GET_LAST] =
        ("SELECT part, peer, seq, '', (SELECT sum(length(value) + length(CAST(peer AS BLOB)))"
         " FROM kept WHERE address = ?1)"
         " FROM kept WHERE address = ?1 ORDER BY part DESC, peer DESC, seq DESC LIMIT 1"),
    [ISOLA__GET_DUE] =
        ("SELECT part, peer, seq, address FROM kept WHERE part = 5 AND seq <= ?1"
         " AND (seq, address, peer) > (?2, ?3, ?4) ORDER BY seq, address, peer LIMIT ?5"),
    [ISOLA__PUT_ROW] = ("INSERT INTO kept (address, part, peer, seq, value, written)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (address, part, peer, seq)"
                        " DO UPDATE SET value = excluded.value, written = excluded.written"),
    [ISOLA__DEL_ROWS] =
        "DELETE FROM kept WHERE address = ?1 AND part = ?2 AND peer = ?3 AND seq <= ?4",
    [ISOLA__DEL_ROW] =
        "DELETE FROM kept WHERE address = ?1 AND part = ?2 AND peer = ?3 AND seq = ?4",
    [ISOLA__DEL_PART] = "DELETE FROM kept WHERE address = ?1 AND part = ?2",
    [ISOLA__CLEAR_ROWS] = "DELETE FROM kept WHERE address = ?1",
    [ISOLA__OUTBOXES] = "SELECT DISTINCT address FROM kept WHERE part = 2 ORDER BY address",
    [ISOLA__FORGET] = ("DELETE FROM kept WHERE (part = 4 OR (part = 3 AND peer >= '~'))"
                       " AND written <= ?1"),
    [ISOLA__FOLDED] = "SELECT number FROM folded",
    [ISOLA__PAGES] = "PRAGMA page_count",
    [ISOLA__FREE_PAGES] = "PRAGMA freelist_count",
    [ISOLA__FOLD] = "UPDATE folded SET number = ?1",
};

static int prepare_all(struct isola__tables *t, struct isola_err *err)
{
    int code = 0;
    for (int i = 0; code == 0 && i < ISOLA__STATEMENTS; i++)
        code = isola__db_prepare(&t->db, sql[i], &t->stmt[i], err);
    if (code != 0)
        isola__tables_close(t);
    return code;
}

int isola__tables_open(struct isola__tables *t, const char *path, struct isola_err *err)
{
    *t = (struct isola__tables){0};
    int code = isola__db_open(&t->db, path, &schema, err);
    return code != 0 ? code : prepare_all(t, err);
}

int isola__tables_join(struct isola__tables *t, const char *path, struct isola_err *err)
{
    *t = (struct isola__tables){0};
    int code = isola__db_join(&t->db, path, err);
    return code != 0 ? code : prepare_all(t, err);
}

void isola__tables_close(struct isola__tables *t)
{
    for (int i = 0; i < ISOLA__STATEMENTS; i++) {
        sqlite3_finalize(t->stmt[i]);
        t->stmt[i] = NULL;
    }
    isola__db_close(&t->db);
}

/* --- binding --- */

static int bind_blob(struct isola__tables *t, sqlite3_stmt *stmt, int at, struct isola_slice value)
{
    const void *p = value.len != 0 ? (const void *)value.data : "";
    int rc = sqlite3_bind_blob64(stmt, at, p, value.len, SQLITE_STATIC);
    /* over SQLite's limit of 1,000,000,000 bytes */
    return rc != SQLITE_OK ? isola__db_fail(&t->db, rc, "write", &t->err) : 0;
}

int isola__tables_run(struct isola__tables *t, enum isola__statement which)
{
    return isola__db_run(&t->db, t->stmt[which], "write", &t->err);
}

static int run_bound(struct isola__tables *t, enum isola__statement which)
{
    int code = isola__tables_run(t, which);
    sqlite3_clear_bindings(t->stmt[which]);
    return code;
}

void isola__tables_roll_back(struct isola__tables *t)
{
    /* Should even this fail, the next BEGIN fails with a reason and comes back here. */
    if (!sqlite3_get_autocommit(t->db.handle)) {
        sqlite3_step(t->stmt[ISOLA__ROLLBACK]);
        sqlite3_reset(t->stmt[ISOLA__ROLLBACK]);
    }
}

/* --- writes --- */

int isola__tables_put(struct isola__tables *t, struct isola_slice address, struct isola_slice value,
                      int64_t written)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__PUT];
    isola__bind_text(stmt, 1, address);
    isola__bind_int(stmt, 3, written);
    int code = bind_blob(t, stmt, 2, value);
    return code != 0 ? code : run_bound(t, ISOLA__PUT);
}

int isola__tables_touch(struct isola__tables *t, struct isola_slice address, int64_t written)
{
    isola__bind_text(t->stmt[ISOLA__TOUCH], 1, address);
    isola__bind_int(t->stmt[ISOLA__TOUCH], 2, written);
    return run_bound(t, ISOLA__TOUCH);
}

static int run_at(struct isola__tables *t, enum isola__statement which, struct isola_slice address)
{
    isola__bind_text(t->stmt[which], 1, address);
    return run_bound(t, which);
}

int isola__tables_del(struct isola__tables *t, struct isola_slice address)
{
    return run_at(t, ISOLA__DEL, address);
}

int isola__tables_clear_rows(struct isola__tables *t, struct isola_slice address)
{
    return run_at(t, ISOLA__CLEAR_ROWS, address);
}

int isola__tables_put_row(struct isola__tables *t, struct isola_slice address,
                          const struct isola_kept *row, int64_t written)
{
    enum isola__statement which = row->gone && row->whole   ? ISOLA__DEL_PART
                                  : row->gone               ? ISOLA__DEL_ROWS
                                  : isola_kept_is_none(row) ? ISOLA__DEL_ROW
                                                            : ISOLA__PUT_ROW;
    sqlite3_stmt *stmt = t->stmt[which];
    ISOLA_CHECK(row->seq <= INT64_MAX);
    isola__bind_text(stmt, 1, address);
    isola__bind_int(stmt, 2, row->part);
    if (which == ISOLA__DEL_PART)
        return run_bound(t, which);
    isola__bind_text(stmt, 3, row->peer);
    isola__bind_int(stmt, 4, (int64_t)row->seq);
    if (which == ISOLA__PUT_ROW) {
        int code = bind_blob(t, stmt, 5, row->value);
        if (code != 0)
            return code;
        isola__bind_int(stmt, 6, written);
    }
    return run_bound(t, which);
}

int isola__tables_forget(struct isola__tables *t, int64_t written)
{
    isola__bind_int(t->stmt[ISOLA__FORGET], 1, written);
    return run_bound(t, ISOLA__FORGET);
}

/* --- reads --- */

static int end(struct isola__tables *t, sqlite3_stmt *stmt, int rc)
{
    int code =
        rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : isola__db_fail(&t->db, rc, "read", &t->err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return code;
}

int isola__tables_get(struct isola__tables *t, struct isola_slice address, struct isola_buf *value)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__GET];
    isola__bind_text(stmt, 1, address);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        struct isola_slice v = isola__column(stmt, 0);
        if (v.data == NULL && sqlite3_errcode(t->db.handle) == SQLITE_NOMEM)
            rc = SQLITE_NOMEM;
        else
            isola_buf_append(value, v.data, v.len);
        if (value->failed)
            rc = SQLITE_NOMEM;
    }
    int code = end(t, stmt, rc);
    return code == 0 && rc == SQLITE_DONE ? ISOLA_ENOENT : code;
}

static struct isola_kept row_of(sqlite3_stmt *stmt)
{
    return (struct isola_kept){.part = (uint8_t)sqlite3_column_int(stmt, 0),
                               .peer = isola__column(stmt, 1),
                               .seq = (uint64_t)sqlite3_column_int64(stmt, 2),
                               .value = isola__column(stmt, 3)};
}

/* As many rows as there are, or are wanted; copies, as each step of SQLite's takes the last row
 * back. *more: the next one would have been too many bytes. */
static int read_some(struct isola__tables *t, enum isola__statement which, size_t rows,
                     size_t bytes, struct isola_kept_rows *out, bool *more)
{
    sqlite3_stmt *stmt = t->stmt[which];
    int rc = SQLITE_DONE;
    *more = false;
    while (!*more && out->n < rows && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_kept row = row_of(stmt);
        *more = out->n > 0 && out->bytes + row.peer.len + row.value.len > bytes;
        if (!*more)
            isola_kept_add(out, &row);
    }
    return end(t, stmt, rc);
}

static int read_rows(struct isola__tables *t, enum isola__statement which, size_t rows,
                     size_t bytes, struct isola_kept_rows *out)
{
    bool more;
    return read_some(t, which, rows, bytes, out, &more);
}

int isola__tables_kept(struct isola__tables *t, struct isola_slice address, uint8_t last,
                       struct isola_kept_rows *out)
{
    isola__bind_text(t->stmt[ISOLA__GET_ROWS], 1, address);
    isola__bind_int(t->stmt[ISOLA__GET_ROWS], 2, last);
    return read_rows(t, ISOLA__GET_ROWS, SIZE_MAX, SIZE_MAX, out);
}

int isola__tables_row(struct isola__tables *t, struct isola_slice address,
                      const struct isola_kept *wanted, struct isola_kept_rows *out)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__GET_ROW];
    isola__bind_text(stmt, 1, address);
    isola__bind_int(stmt, 2, wanted->part);
    isola__bind_text(stmt, 3, wanted->peer);
    isola__bind_int(stmt, 4, (int64_t)wanted->seq);
    return read_rows(t, ISOLA__GET_ROW, SIZE_MAX, SIZE_MAX, out);
}

int isola__tables_range(struct isola__tables *t, struct isola_slice address,
                        const struct isola_kept_range *range, struct isola_kept_rows *out)
{
    enum isola__statement which = range->reverse ? ISOLA__GET_DOWN : ISOLA__GET_UP;
    sqlite3_stmt *stmt = t->stmt[which];
    isola__bind_text(stmt, 1, address);
    isola__bind_int(stmt, 2, range->part);
    isola__bind_text(stmt, 3, range->from);
    if (range->to.len > 0)
        isola__bind_text(stmt, 4, range->to);
    else /* a blob is beyond all texts */
        ISOLA_CHECK(sqlite3_bind_zeroblob(stmt, 4, 0) == SQLITE_OK);
    return read_rows(t, which, range->rows > 0 ? range->rows : SIZE_MAX,
                     range->bytes > 0 ? range->bytes : SIZE_MAX, out);
}

int isola__tables_piece(struct isola__tables *t, struct isola_slice address,
                        const struct isola_kept_after *after, struct isola_kept_rows *out,
                        bool *more)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__GET_BEYOND];
    isola__bind_text(stmt, 1, address);
    isola__bind_int(stmt, 2, after->part);
    isola__bind_text(stmt, 3, after->peer);
    isola__bind_int(stmt, 4, (int64_t)after->seq);
    return read_some(t, ISOLA__GET_BEYOND, SIZE_MAX, after->bytes > 0 ? after->bytes : SIZE_MAX,
                     out, more);
}

int isola__tables_extent(struct isola__tables *t, struct isola_slice address,
                         struct isola_kept_rows *out)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__GET_LAST];
    isola__bind_text(stmt, 1, address);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        uint8_t number[8];
        struct isola_kept row = row_of(stmt);
        row.value = isola_kept_number(number, (uint64_t)sqlite3_column_int64(stmt, 4));
        isola_kept_add(out, &row);
    }
    return end(t, stmt, rc);
}

int isola__tables_due(struct isola__tables *t, const struct isola_kept_due *due,
                      struct isola_kept_rows *out)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__GET_DUE];
    ISOLA_CHECK(due->until <= INT64_MAX && due->due <= INT64_MAX && due->rows <= INT64_MAX);
    isola__bind_int(stmt, 1, (int64_t)due->until);
    isola__bind_int(stmt, 2, (int64_t)due->due);
    isola__bind_text(stmt, 3, due->address);
    isola__bind_text(stmt, 4, due->id);
    isola__bind_int(stmt, 5, (int64_t)due->rows);
    return read_rows(t, ISOLA__GET_DUE, SIZE_MAX, SIZE_MAX, out);
}

int isola__tables_outboxes(struct isola__tables *t, struct isola_kept_rows *out)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__OUTBOXES];
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_kept row = {.part = ISOLA_KEPT_OUTBOX, .peer = isola__column(stmt, 0)};
        isola_kept_add(out, &row);
    }
    return end(t, stmt, rc);
}

bool isola__tables_any_rows(struct isola__tables *t)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__ANY_ROWS];
    bool any = sqlite3_step(stmt) != SQLITE_ROW || sqlite3_column_int(stmt, 0) != 0;
    sqlite3_reset(stmt);
    return any;
}

int isola__tables_scan(struct isola__tables *t, struct isola_slice from, unsigned n,
                       void (*fn)(void *arg, struct isola_slice address), void *arg,
                       struct isola_buf *last, bool *at_end)
{
    sqlite3_stmt *stmt = t->stmt[ISOLA__SCAN];
    unsigned rows = 0;
    int rc;
    isola__bind_text(stmt, 1, from);
    isola__bind_int(stmt, 2, n);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_slice address = isola__column(stmt, 0);
        fn(arg, address);
        if (++rows == n)
            isola_buf_append(last, address.data, address.len);
    }
    *at_end = rows < n || last->failed;
    return end(t, stmt, rc);
}

static int read_number(struct isola__tables *t, enum isola__statement which, int64_t *number)
{
    int rc = sqlite3_step(t->stmt[which]);
    *number = rc == SQLITE_ROW ? sqlite3_column_int64(t->stmt[which], 0) : 0;
    return end(t, t->stmt[which], rc);
}

int isola__tables_folded(struct isola__tables *t, int64_t *number)
{
    return read_number(t, ISOLA__FOLDED, number);
}

int isola__tables_fold(struct isola__tables *t, int64_t number)
{
    isola__bind_int(t->stmt[ISOLA__FOLD], 1, number);
    return run_bound(t, ISOLA__FOLD);
}

bool isola__tables_give_back(struct isola__tables *t, unsigned min, unsigned step)
{
    int64_t pages = 0, unused = 0;
    char text[64];
    if (read_number(t, ISOLA__FREE_PAGES, &unused) != 0 || unused < min ||
        read_number(t, ISOLA__PAGES, &pages) != 0 || unused < pages / 4)
        return false;
    snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%u)", step);
    return sqlite3_exec(t->db.handle, text, NULL, NULL, NULL) == SQLITE_OK;
}
