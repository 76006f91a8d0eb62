/* SPDX-License-Identifier: Apache-2.0
 *
 * store/sql.h over pages in memory: what is kept is there again and what is not is gone, whatever
 * the statements; what scripts may not do; limits; pages that are damaged.
 */
#include "store/sql.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/msgpack.h"

#define MB ((uint64_t)1 << 20)

static const struct isola_sql_ops *const sql = &isola_sql_ops;

/* --- what keeps the pages --- */

struct disk {
    struct isola_idmap values; /* number + 1 → struct isola_buf */
    unsigned reads, fails;     /* fails: so many reads to come */
    size_t bytes;              /* that were written since it was zero */
    void *memory;              /* SQLite's, in which it keeps something between reads */
};

static int disk_read(void *arg, uint64_t n, struct isola_buf *out, struct isola_err *err)
{
    struct disk *d = arg;
    struct isola_buf *value = isola_idmap_get(&d->values, n + 1);
    d->reads++;
    sqlite3_free(d->memory);
    d->memory = sqlite3_malloc(1000000);
    if (d->fails > 0) {
        d->fails--;
        return isola_fail(err, ISOLA_EIO, "the disk is on fire");
    }
    if (value == NULL)
        return ISOLA_ENOENT;
    isola_buf_append(out, value->data, value->len);
    return 0;
}

static void disk_write(void *arg, uint64_t n, struct isola_slice value)
{
    struct disk *d = arg;
    struct isola_buf *old = isola_idmap_get(&d->values, n + 1);
    if (old == NULL) {
        old = isola_zalloc(sizeof(*old));
        isola_idmap_add(&d->values, n + 1, old);
    }
    old->len = 0;
    isola_buf_append(old, value.data, value.len);
    d->bytes += value.len;
}

static void disk_free(struct disk *d)
{
    ISOLA_IDMAP_EACH(&d->values, v)
    {
        isola_buf_free(v);
        free(v);
    }
    isola_idmap_free(&d->values);
    sqlite3_free(d->memory);
}

static struct isola_sql *open_most(struct disk *d, uint64_t most)
{
    struct isola_sql_pages pages = {.read = disk_read, .arg = d};
    struct isola_sql_fault fault;
    struct isola_sql *db = NULL;
    if (sql->open(&pages, most, &db, &fault) != 0)
        fail_msg("%s", fault.err.text);
    return db;
}

static struct isola_sql *open_db(struct disk *d)
{
    return open_most(d, 64 * MB);
}

static uint64_t keep(struct disk *d, struct isola_sql *db)
{
    sql->rest(db);
    return sql->take(db, disk_write, d);
}

/* --- queries --- */

static struct isola_sql_fault last; /* failure */

static struct isola_sql_run query(const char *text)
{
    return (struct isola_sql_run){.text = isola_slice_str(text), .max_rows = 1000, .max_bytes = MB};
}

static void free_run(struct isola_sql_run *run)
{
    isola_buf_free(&run->columns);
    isola_buf_free(&run->rows);
}

/* Values as text, rows apart by a bar. */
static void show(struct isola_sql_run *run, char *out, size_t size)
{
    struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&run->rows));
    struct isola_mp_item item;
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; at < size && isola_mp_next(&r, &item) == 0; i++) {
        const char *sep = i == 0 ? "" : i % run->ncolumns == 0 ? "|" : ",";
        at += (size_t)snprintf(out + at, size - at, "%s", sep);
        if (at >= size)
            break;
        if (item.type == ISOLA_MP_NIL)
            at += (size_t)snprintf(out + at, size - at, "null");
        else if (item.type == ISOLA_MP_UINT)
            at += (size_t)snprintf(out + at, size - at, "%llu", (unsigned long long)item.u);
        else if (item.type == ISOLA_MP_INT)
            at += (size_t)snprintf(out + at, size - at, "%lld", (long long)item.i);
        else if (item.type == ISOLA_MP_DOUBLE)
            at += (size_t)snprintf(out + at, size - at, "%g", item.d);
        else
            at += (size_t)snprintf(out + at, size - at,
                                   item.type == ISOLA_MP_BIN ? "x%.*s" : "'%.*s'",
                                   ISOLA_FMT(item.bytes));
    }
}

static int run_with(struct isola_sql *db, const char *text, struct isola_buf *values, char *out,
                    size_t size)
{
    struct isola_sql_run run = query(text);
    if (values != NULL)
        run.values = isola_buf_slice(values);
    int code = sql->exec(db, &run, &last);
    if (out != NULL)
        show(&run, out, size);
    if (run.cursor != 0)
        sql->end(db, run.cursor);
    free_run(&run);
    if (values != NULL)
        isola_buf_free(values);
    return code;
}

static void must(struct isola_sql *db, const char *text)
{
    if (run_with(db, text, NULL, NULL, 0) != 0)
        fail_msg("%s: %s", text, last.err.text);
}

static void must_give(struct isola_sql *db, const char *text, const char *expected)
{
    static char got[1 << 16];
    if (run_with(db, text, NULL, got, sizeof(got)) != 0)
        fail_msg("%s: %s", text, last.err.text);
    if (strcmp(got, expected) != 0)
        fail_msg("%s gives %s, not %s", text, got, expected);
}

static void must_fail(struct isola_sql *db, const char *text, int code, const char *name,
                      const char *said)
{
    if (run_with(db, text, NULL, NULL, 0) != code)
        fail_msg("%s: not %d but %d, %s", text, code, last.err.code, last.err.text);
    if (strstr(last.err.text, said) == NULL)
        fail_msg("%s: \"%s\", where \"%s\" was expected", text, last.err.text, said);
    if ((name == NULL) != (last.name == NULL) || (name != NULL && strcmp(name, last.name) != 0))
        fail_msg("%s: %s, where %s was expected", text, last.name, name);
}

/* --- values --- */

static void test_values(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    struct isola_buf v = {0};
    char got[500];
    must(db, "CREATE TABLE t (a, b, c, d, e, f, g, h)");
    isola_mp_array(&v, 8);
    isola_mp_nil(&v);
    isola_mp_bool(&v, true);
    isola_mp_int(&v, INT64_MIN);
    isola_mp_int(&v, INT64_MAX);
    isola_mp_double(&v, 0.5);
    isola_mp_cstr(&v, "gr\xc3\xbc\xc3\x9f");
    isola_mp_bin(&v, isola_slice("\0\1", 2));
    isola_mp_bin(&v, isola_slice(NULL, 0));
    assert_int_equal(run_with(db, "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?)", &v, NULL, 0), 0);
    must_give(db, "SELECT a, b, c, d, e, f, hex(g), typeof(h), h FROM t",
              "null,1,-9223372036854775808,9223372036854775807,0.5,'gr\xc3\xbc\xc3\x9f','0001',"
              "'blob',x");
    isola_mp_map(&v, 2);
    isola_mp_kuint(&v, "n", 2);
    isola_mp_cstr(&v, "m");
    isola_mp_int(&v, -3);
    assert_int_equal(run_with(db, "SELECT $m, :n, @n, $n, :other", &v, got, sizeof(got)),
                     ISOLA_EINVAL);
    assert_string_equal(last.err.text, "no value is given for :other");
    isola_mp_map(&v, 2);
    isola_mp_kuint(&v, "n", 2);
    isola_mp_cstr(&v, "m");
    isola_mp_int(&v, -3);
    assert_int_equal(run_with(db, "SELECT $m, :n, @n, $n", &v, got, sizeof(got)), 0);
    assert_string_equal(got, "-3,2,2,2");
    sql->close(db);
    disk_free(&d);
}

static void test_wrong_values(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    struct isola_buf v = {0};
    isola_mp_array(&v, 1);
    isola_mp_int(&v, 1);
    assert_int_equal(run_with(db, "SELECT ?, ?", &v, NULL, 0), ISOLA_EINVAL);
    assert_string_equal(last.err.text, "the query has 2 parameters, and 1 value is given");
    isola_mp_array(&v, 1);
    isola_mp_uint(&v, UINT64_MAX);
    assert_int_equal(run_with(db, "SELECT ?", &v, NULL, 0), ISOLA_EINVAL);
    isola_mp_map(&v, 1);
    isola_mp_kuint(&v, "other", 1);
    assert_int_equal(run_with(db, "SELECT :one", &v, NULL, 0), ISOLA_EINVAL);
    isola_mp_map(&v, 0);
    assert_int_equal(run_with(db, "SELECT ?", &v, NULL, 0), ISOLA_EINVAL);
    isola_mp_map(&v, 1);
    for (int i = 0; i < 200; i++)
        isola_buf_append(&v, "\xa1x\x01",
                         3); /* more than the map says: the rest is not looked at */
    assert_int_equal(run_with(db, "SELECT :x", &v, NULL, 0), 0);
    isola_buf_append(&v, "\x91\xc1", 2);
    assert_int_equal(run_with(db, "SELECT ?", &v, NULL, 0), ISOLA_EPROTO);
    isola_mp_array(&v, 1);
    isola_mp_array(&v, 0);
    assert_int_equal(run_with(db, "SELECT ?", &v, NULL, 0), ISOLA_EPROTO);
    must_fail(db, "SELECT ?", ISOLA_EINVAL, NULL, "1 parameter, and 0 values are given");
    must_give(db, "SELECT 1", "1");
    sql->close(db);
    disk_free(&d);
}

/* --- what is kept --- */

static void test_kept(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    assert_false(sql->changed(db));
    must_give(db, "SELECT count(*) FROM sqlite_schema", "0");
    assert_false(sql->changed(db)); /* to look is not to change */
    must(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t (b) VALUES ('one')");
    assert_true(sql->changed(db));
    uint64_t taken = keep(&d, db);
    assert_false(sql->changed(db));
    assert_true(d.bytes < 1000); /* little is little */
    sql->kept(db, taken);
    must_give(db, "INSERT INTO t (b) VALUES ('two') RETURNING a, b", "2,'two'");
    sql->close(db); /* not taken */
    db = open_db(&d);
    must_give(db, "SELECT * FROM t", "1,'one'");
    sql->close(db);
    disk_free(&d);
}

/* A statement that changes a row is a page to write, in a database that is open already. */
static void test_few_pages(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);"
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
             "INSERT INTO t SELECT i, 'value of ' || i FROM n");
    keep(&d, db);
    d.bytes = 0;
    must(db, "UPDATE t SET b = 'another' WHERE a = 5000");
    keep(&d, db);
    assert_true(d.bytes > 0 && d.bytes <= 4096);
    unsigned reads = d.reads;
    must_give(db, "SELECT b FROM t WHERE a = 5000", "'another'");
    assert_int_equal(d.reads, reads); /* of what is in the cache nothing is read */
    sql->close(db);
    disk_free(&d);
}

/* What keeps the pages uses SQLite too, in the middle of a query: that is not the query's memory.
 */
static void test_memory_of_others(void **state)
{
    (void)state;
    struct disk d = {0}, other = {0};
    struct isola_sql *db = open_db(&d), *another = open_db(&other);
    must(db, "CREATE TABLE t (b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
             "WHERE i < 2000) INSERT INTO t SELECT randomblob(3000) FROM n");
    sql->kept(db, keep(&d, db));
    void *before = d.memory;
    d.memory = NULL;
    must_give(db, "SELECT sum(length(b)) FROM t", "6000000");
    sqlite3_free(d.memory);
    d.memory = before; /* from before there was a query */
    must_give(db, "SELECT sum(length(b)) FROM t", "6000000");
    must(another, "CREATE TABLE t (a)");
    must_give(db, "SELECT sum(length(b)) FROM t", "6000000");
    sql->close(db);
    sql->close(another);
    disk_free(&d);
    disk_free(&other);
}

static void test_shrinks(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE t (b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
             "WHERE i < 500) INSERT INTO t SELECT randomblob(3000) FROM n");
    sql->kept(db, keep(&d, db));
    uint64_t size = sql->size(db);
    assert_true(size > 500 * 3000);
    must(db, "DELETE FROM t WHERE rowid > 3; PRAGMA incremental_vacuum");
    sql->kept(db, keep(&d, db));
    assert_true(sql->size(db) < 40000);
    size_t bytes = 0;
    ISOLA_IDMAP_EACH(&d.values, v)
    bytes += ((struct isola_buf *)v)->len;
    assert_true(bytes < 40000);
    sql->close(db);
    db = open_db(&d);
    must_give(db, "SELECT count(*), sum(length(b)) FROM t", "3,9000");
    must(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) INSERT "
             "INTO t SELECT zeroblob(5000) FROM n");
    sql->kept(db, keep(&d, db));
    sql->close(db);
    db = open_db(&d);
    must_give(db, "SELECT count(*), sum(length(b)) FROM t", "103,509000");
    must_give(db, "PRAGMA integrity_check", "'ok'");
    sql->close(db);
    disk_free(&d);
}

/* While what was taken is being written it is read from memory. */
static void test_held_until_kept(void **state)
{
    (void)state;
    struct disk d = {0}, nowhere = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE t (b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
             "WHERE i < 2000) INSERT INTO t SELECT randomblob(3000) FROM n");
    sql->rest(db);
    uint64_t taken = sql->take(db, disk_write, &nowhere);
    must_give(db, "SELECT count(*), sum(length(b)) FROM t", "2000,6000000");
    assert_int_equal(d.reads, 1); /* the size, at first */
    sql->kept(db, taken);
    must_fail(db, "SELECT sum(length(b)) FROM t", ISOLA_EIO, "SQLITE_IOERR", "is missing");
    sql->close(db);
    disk_free(&d);
    disk_free(&nowhere);
}

/* --- transactions --- */

static void begin(struct isola_sql *db)
{
    assert_int_equal(sql->begin(db, &last), 0);
}

static void test_transactions(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE t (a)");
    begin(db);
    must(db, "INSERT INTO t VALUES (1)");
    begin(db);
    must(db, "INSERT INTO t VALUES (2)");
    sql->rollback(db);
    must(db, "INSERT INTO t VALUES (3)");
    assert_int_equal(sql->commit(db, &last), 0);
    must_give(db, "SELECT a FROM t", "1|3");
    begin(db);
    must(db, "DELETE FROM t; DROP TABLE t");
    sql->rollback(db);
    must_give(db, "SELECT a FROM t", "1|3");
    begin(db);
    must(db, "DELETE FROM t");
    uint64_t taken = keep(&d, db); /* nobody ended it */
    sql->kept(db, taken);
    must_give(db, "SELECT a FROM t", "1|3");
    for (int i = 0; i < 100; i++)
        begin(db);
    assert_int_equal(sql->begin(db, &last), ISOLA_ESQL);
    sql->rest(db);
    sql->close(db);
    disk_free(&d);
}

static void test_foreign_keys(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE a (id INTEGER PRIMARY KEY);"
             "CREATE TABLE b (a REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED)");
    must_fail(db, "INSERT INTO b VALUES (1)", ISOLA_ESQL, "SQLITE_CONSTRAINT_FOREIGNKEY",
              "FOREIGN KEY");
    must_fail(db, "INSERT INTO b VALUES (1) RETURNING a", ISOLA_ESQL,
              "SQLITE_CONSTRAINT_FOREIGNKEY", "FOREIGN KEY");
    begin(db);
    must(db, "INSERT INTO b VALUES (1)");
    assert_int_equal(sql->commit(db, &last), ISOLA_ESQL);
    must(db, "INSERT INTO a VALUES (1)");
    assert_int_equal(sql->commit(db, &last), 0);
    begin(db);
    must(db, "INSERT INTO b VALUES (2)");
    assert_int_equal(sql->commit(db, &last), ISOLA_ESQL);
    sql->rollback(db);
    must_give(db, "SELECT a FROM b", "1");
    sql->close(db);
    disk_free(&d);
}

/* What ends a transaction by itself is no way to leave half of it. */
static void test_lost_transaction(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1)");
    begin(db);
    begin(db);
    must(db, "INSERT INTO t VALUES (2)");
    must_fail(db, "INSERT OR ROLLBACK INTO t VALUES (1)", ISOLA_ESQL, "SQLITE_CONSTRAINT_UNIQUE",
              "UNIQUE constraint failed: t.a");
    must_fail(db, "INSERT INTO t VALUES (3)", ISOLA_ESQL, NULL, "was rolled back");
    assert_int_equal(sql->begin(db, &last), ISOLA_ESQL);
    assert_int_equal(sql->commit(db, &last), ISOLA_ESQL);
    sql->rollback(db);
    assert_int_equal(sql->commit(db, &last), ISOLA_ESQL);
    sql->rollback(db);
    must_give(db, "SELECT a FROM t", "1");
    must(db, "INSERT INTO t VALUES (3)");
    sql->close(db);
    disk_free(&d);
}

/* --- cursors --- */

static void test_cursors(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    const char *many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                       "100) SELECT i, 'text' AS t FROM n";
    struct isola_sql_run run = query(many), other = query(many);
    uint64_t sum = 0;
    run.max_rows = other.max_rows = 7;
    assert_int_equal(sql->exec(db, &run, &last), 0);
    assert_int_equal(sql->exec(db, &other, &last), 0); /* the same statement, twice */
    assert_int_not_equal(run.cursor, other.cursor);
    sql->end(db, other.cursor);
    assert_memory_equal(run.columns.data, "\x92\xa1i\xa1t", run.columns.len);
    for (;;) {
        sum += run.nrows;
        if (run.cursor == 0)
            break;
        run.nrows = 0;
        run.rows.len = 0;
        assert_int_equal(sql->more(db, &run, &last), 0);
    }
    assert_int_equal(sum, 100);
    free_run(&run);
    run = query(many);
    run.max_bytes = 1; /* a row in any case */
    assert_int_equal(sql->exec(db, &run, &last), 0);
    assert_int_equal(run.nrows, 1);
    assert_int_not_equal(run.cursor, 0);
    must(db, "CREATE TABLE t (a)"); /* goes on meanwhile */
    sql->rest(db);
    assert_int_equal(sql->more(db, &run, &last), ISOLA_EINVAL);
    free_run(&run);
    free_run(&other);
    for (int i = 0; i <= ISOLA_SQL_CURSORS; i++) {
        run = query(many);
        run.max_rows = 1;
        assert_int_equal(sql->exec(db, &run, &last), i < ISOLA_SQL_CURSORS ? 0 : ISOLA_EOVERLOAD);
        free_run(&run);
    }
    sql->close(db); /* with all of them */
    disk_free(&d);
}

static void test_statements_are_kept(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE t (a)");
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 80; i++) { /* more than are kept */
            char text[100];
            snprintf(text, sizeof(text), "INSERT INTO t VALUES (%d)", i);
            must(db, text);
        }
    must_give(db, "SELECT * FROM t WHERE a = 79", "79|79|79");
    must(db, "ALTER TABLE t ADD COLUMN b DEFAULT 'new'");
    must_give(db, "SELECT * FROM t WHERE a = 79", "79,'new'|79,'new'|79,'new'");
    must(db, "DROP TABLE t");
    must_fail(db, "SELECT * FROM t WHERE a = 79", ISOLA_ESQL, "SQLITE_ERROR", "no such table: t");
    sql->close(db);
    disk_free(&d);
}

/* --- what is said of failures --- */

static void test_faults(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b NOT NULL CHECK (b <> 7))");
    must_fail(db, "SELECT a,\n  nmae FROM t", ISOLA_ESQL, "SQLITE_ERROR",
              "no such column: nmae (line 2, column 3: nmae FROM t)");
    assert_int_equal(last.offset, 12);
    must_fail(db, "SELECT 1; SELECT 2 FORM t", ISOLA_ESQL, "SQLITE_ERROR",
              "near \"t\": syntax error (line 1, column 25: t)");
    must_fail(db, "SELECT \"gr\xc3\xbcn\", FROM t", ISOLA_ESQL, "SQLITE_ERROR",
              "column 16: FROM t");
    must_fail(db, "INSERT INTO t VALUES (1, NULL)", ISOLA_ESQL, "SQLITE_CONSTRAINT_NOTNULL",
              "NOT NULL constraint failed: t.b");
    must_fail(db, "INSERT INTO t VALUES (1, 7)", ISOLA_ESQL, "SQLITE_CONSTRAINT_CHECK", "CHECK");
    must_fail(db, "INSERT INTO t VALUES (1, 1), (1, 2)", ISOLA_ESQL, "SQLITE_CONSTRAINT_PRIMARYKEY",
              "UNIQUE constraint failed: t.a");
    must_give(db, "SELECT count(*) FROM t", "0"); /* all of a statement or nothing */
    must_fail(db, "INSERT INTO t VALUES ('x', 1)", ISOLA_ESQL, "SQLITE_MISMATCH", "mismatch");
    must_fail(db, "SELECT \"text\"", ISOLA_ESQL, "SQLITE_ERROR", "no such column");
    must_fail(db, "", ISOLA_EINVAL, NULL, "no statement");
    must_fail(db, " ; -- nothing\n", ISOLA_EINVAL, NULL, "no statement");
    must_give(db, "/* a */ SELECT 1; -- nothing more\n ; /* nor here */ ", "1");
    must_give(db, "SELECT 1 /* never closed", "1");
    struct isola_sql_run nul = query("SELECT 1");
    nul.text = isola_slice("SELECT 1\0 FROM x", 16);
    assert_int_equal(sql->exec(db, &nul, &last), ISOLA_EINVAL);
    free_run(&nul);
    sql->close(db);
    disk_free(&d);
}

/* --- what is not for scripts --- */

static void test_denied(void **state)
{
    (void)state;
    static const char *const denied[][2] = {
        {"ATTACH 'x' AS y", "an actor has one database"},
        {"DETACH main", "an actor has one database"},
        {"VACUUM", "VACUUM"},
        {"VACUUM INTO '/tmp/x'", "VACUUM"},
        {"BEGIN", "self.sql.transaction"},
        {"COMMIT", "self.sql.transaction"},
        {"ROLLBACK", "self.sql.transaction"},
        {"SAVEPOINT x", "self.sql.transaction"},
        {"RELEASE x", "self.sql.transaction"},
        {"CREATE TEMP TABLE x (a)", "hibernates"},
        {"CREATE TEMP VIEW x AS SELECT 1", "hibernates"},
        {"CREATE VIRTUAL TABLE x USING fts4 (a)", "of virtual tables"},
        {"CREATE VIRTUAL TABLE x USING dbstat", "of virtual tables"},
        {"SELECT load_extension('x')", "not for scripts"},
        {"SELECT fts3_tokenizer('x')", "not for scripts"},
        {"PRAGMA journal_mode = DELETE", "not for scripts"},
        {"PRAGMA writable_schema = ON", "not for scripts"},
        {"PRAGMA cache_size = 1000000", "not for scripts"},
        {"PRAGMA max_page_count = 1000000", "not for scripts"},
        {"PRAGMA page_size = 512", "not for scripts"},
        {"PRAGMA locking_mode = NORMAL", "not for scripts"},
        {"PRAGMA temp_store_directory = '/'", "not for scripts"},
        {"PRAGMA encoding = 'UTF-16'", "not for scripts"},
        {"PRAGMA hard_heap_limit = 1", "not for scripts"},
        {"SELECT * FROM pragma_cache_size", "not for scripts"},
        {"INSERT INTO sqlite_schema VALUES (1, 2, 3, 4, 5)", "may not be modified"},
        {"DELETE FROM f_data", "may not be modified"},
    };
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE VIRTUAL TABLE f USING fts5 (text)");
    for (size_t i = 0; i < sizeof(denied) / sizeof(*denied); i++) {
        if (run_with(db, denied[i][0], NULL, NULL, 0) != ISOLA_ESQL)
            fail_msg("%s: %d, %s", denied[i][0], last.err.code, last.err.text);
        if (strstr(last.err.text, denied[i][1]) == NULL)
            fail_msg("%s: %s", denied[i][0], last.err.text);
    }
    must_give(db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'x'", "0");
    sql->close(db);
    disk_free(&d);
}

static void test_allowed(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    must(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t (b);"
             "CREATE VIEW v AS SELECT b FROM t;"
             "CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET b = upper(b); END");
    must(db, "INSERT INTO t (b) VALUES ('x')");
    must_give(db, "SELECT * FROM v", "'X'");
    must_give(db, "SELECT name, type FROM pragma_table_info('t')", "'a','INTEGER'|'b',''");
    must_give(db, "PRAGMA user_version = 7; PRAGMA user_version", "7");
    must_give(db, "SELECT value FROM json_each('[1,2]')", "1|2");
    must_give(db, "SELECT json_extract('{\"a\":[1,{\"b\":2}]}', '$.a[1].b')", "2");
    must(db, "CREATE VIRTUAL TABLE f USING fts5 (text); INSERT INTO f VALUES ('the quick fox')");
    must(db, "INSERT INTO f VALUES ('a slow snail')");
    must_give(db, "SELECT highlight(f, 0, '<', '>') FROM f WHERE f MATCH 'quick'",
              "'the <quick> fox'");
    must(db, "CREATE VIRTUAL TABLE r USING rtree (id, a, b); INSERT INTO r VALUES (1, 2, 3)");
    must_give(db, "SELECT id FROM r WHERE a < 2.5", "1");
    must(db, "ANALYZE; REINDEX");
    sql->kept(db, keep(&d, db));
    sql->close(db);
    db = open_db(&d);
    must_give(db, "SELECT text FROM f WHERE f MATCH 'snail'", "'a slow snail'");
    must_give(db, "PRAGMA user_version", "7");
    must_give(db, "PRAGMA foreign_keys", "1");
    must_give(db, "PRAGMA integrity_check", "'ok'");
    sql->close(db);
    disk_free(&d);
}

/* --- limits --- */

static const char fill[] =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
    "INSERT INTO t SELECT randomblob(3000) FROM n";

static void test_full(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_most(&d, MB);
    must(db, "CREATE TABLE t (a)");
    must_fail(db, fill, ISOLA_ESQL, "SQLITE_FULL", "it has 1024 KB at the most");
    must_give(db, "SELECT count(*) FROM t", "0");
    begin(db);
    must(db, "INSERT INTO t VALUES (1)");
    must_fail(db, fill, ISOLA_ESQL, "SQLITE_FULL", "it has 1024 KB at the most");
    assert_int_equal(sql->commit(db, &last), 0); /* of the rest */
    must(db, "INSERT INTO t VALUES (2)");
    sql->kept(db, keep(&d, db));
    assert_true(sql->size(db) <= MB);
    sql->close(db);
    db = open_most(&d, MB);
    must_give(db, "SELECT a FROM t", "1|2");
    sql->close(db);
    disk_free(&d);
}

static void test_sizes(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    struct isola_sql_run run = query("");
    must_fail(db, "SELECT hex(zeroblob(2000000))", ISOLA_ESQL, "SQLITE_TOOBIG", "too big");
    struct isola_buf text = {0};
    isola_buf_puts(&text, "SELECT 1");
    for (int i = 1; i < 150; i++)
        isola_buf_puts(&text, ", zeroblob(1000000)");
    run.text = isola_buf_slice(&text);
    assert_int_equal(sql->exec(db, &run, &last), ISOLA_ESQL);
    free_run(&run);
    while (text.len <= ISOLA_SQL_TEXT_MAX)
        isola_buf_puts(&text, " ");
    run = query("");
    run.text = isola_buf_slice(&text);
    assert_int_equal(sql->exec(db, &run, &last), ISOLA_ESQL);
    isola_buf_free(&text);
    must(db, "CREATE TABLE t (a)");
    must(db, fill);
    must_fail(db, "UPDATE t SET a = zeroblob(30000) RETURNING a", ISOLA_ESQL, NULL,
              "nothing was changed");
    must_give(db, "SELECT max(length(a)), count(*) FROM t", "3000,1000");
    sql->close(db);
    disk_free(&d);
}

static void test_memory(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_most(&d, MB);
    static const char *const hungry[] = {
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) "
        "SELECT count(*) FROM (SELECT hex(randomblob(1000)) AS x FROM n ORDER BY x)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n LIMIT 100000000) SELECT "
        "count(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) "
        "SELECT count(DISTINCT hex(randomblob(1000))) FROM n"};
    for (size_t i = 0; i < sizeof(hungry) / sizeof(*hungry); i++)
        must_fail(db, hungry[i], ISOLA_ESQL, "SQLITE_NOMEM", "more than 65 MB of memory");
    must(db, "CREATE TABLE t (a)"); /* and it goes on */
    must_give(db,
              "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000) "
              "SELECT count(*) FROM (SELECT hex(randomblob(1000)) AS x FROM n ORDER BY x)",
              "10000"); /* beside its cache */
    sql->close(db);
    disk_free(&d);
}

static bool stops(void *arg)
{
    unsigned *asked = arg;
    return ++*asked >= 100;
}

static void test_stop(void **state)
{
    (void)state;
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    unsigned asked = 0;
    must(db, "CREATE TABLE t (a)");
    static const char *const endless[] = {
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < "
        "0",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT "
        "1 FROM n WHERE i % 1000 = 1",
        "SELECT 1; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;"
        " SELECT 2"};
    for (size_t i = 0; i < sizeof(endless) / sizeof(*endless); i++) {
        struct isola_sql_run run = query(endless[i]);
        run.stop = stops;
        run.arg = &asked;
        asked = 0;
        assert_int_equal(sql->exec(db, &run, &last), ISOLA_ESQL);
        assert_string_equal(last.name, "SQLITE_INTERRUPT");
        assert_int_equal(asked, 100);
        free_run(&run);
    }
    must_give(db, "SELECT count(*) FROM t", "0");
    sql->close(db);
    disk_free(&d);
}

/* --- pages that cannot be had --- */

static void test_unreadable(void **state)
{
    (void)state;
    struct disk d = {.fails = 1};
    struct isola_sql_pages pages = {.read = disk_read, .arg = &d};
    struct isola_sql *db = NULL;
    assert_int_equal(sql->open(&pages, MB, &db, &last), ISOLA_EIO);
    assert_non_null(strstr(last.err.text, "the disk is on fire"));
    db = open_db(&d);
    must(db, "CREATE TABLE t (a)");
    must(db, fill);
    sql->kept(db, keep(&d, db));
    sql->close(db);
    db = open_db(&d); /* does not look at more than the size */
    for (unsigned fails = 1; fails < 4; fails++) {
        d.fails = fails;
        must_fail(db, "SELECT sum(length(a)) FROM t", ISOLA_EIO, "SQLITE_IOERR", "on fire");
        d.fails = 0;
        must_give(db, "SELECT sum(length(a)) FROM t", "3000000");
    }
    sql->close(db);
    disk_write(&d, 0, isola_slice("abc", 3));
    assert_int_equal(sql->open(&pages, MB, &db, &last), ISOLA_EIO);
    assert_non_null(strstr(last.err.text, "damaged"));
    disk_free(&d);
}

/* --- at random --- */

static uint64_t seed(void)
{
    const char *given = getenv("ISOLA_TEST_SEED");
    uint64_t s = given != NULL ? strtoull(given, NULL, 10) : isola_clock_ns() | 1;
    printf("seed: ISOLA_TEST_SEED=%llu\n", (unsigned long long)s);
    return s;
}

static unsigned next(uint64_t *s, unsigned n)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((*s >> 33) % n);
}

static void digest(struct isola_sql *db, char *out, size_t size)
{
    if (run_with(db, "SELECT count(*), sum(a), sum(length(b)), sum(b LIKE '%3%') FROM t", NULL, out,
                 size) != 0)
        fail_msg("%s", last.err.text);
}

/* One step: something is changed, perhaps within transactions. */
static void change(struct isola_sql *db, uint64_t *s)
{
    static const char *const steps[] = {
        "INSERT INTO t (b) VALUES (hex(randomblob(%u)))",
        "UPDATE t SET b = hex(randomblob(%u)) WHERE a %% 7 = 3",
        "DELETE FROM t WHERE a %% 31 = %u",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200) INSERT INTO t "
        "(b) SELECT zeroblob(%u) FROM n",
        "DELETE FROM t WHERE a > %u",
        "CREATE INDEX IF NOT EXISTS i%u ON t (b)",
        "DROP INDEX IF EXISTS i%u",
        "PRAGMA incremental_vacuum(%u)",
        "INSERT INTO t (b) VALUES (randomblob(%u * 100))",
        "UPDATE OR IGNORE t SET a = a + 1000000 WHERE a %% 500 = %u RETURNING a"};
    static const unsigned most[] = {3000, 2000, 31, 500, 3000, 2, 2, 50, 3000, 500};
    char text[200];
    unsigned i = next(s, sizeof(steps) / sizeof(*steps)), levels = next(s, 3);
    for (unsigned k = 0; k < levels; k++)
        begin(db);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof(text), steps[i], next(s, most[i]));
#pragma GCC diagnostic pop
    must(db, text);
    for (unsigned k = 0; k < levels; k++)
        if (next(s, 3) == 0)
            sql->rollback(db);
        else
            assert_int_equal(sql->commit(db, &last), 0);
}

static void test_random(void **state)
{
    (void)state;
    uint64_t s = seed();
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    char kept[200], now[200];
    must(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b)");
    uint64_t taken = keep(&d, db);
    digest(db, kept, sizeof(kept));
    for (unsigned step = 0; step < 2000; step++) {
        change(db, &s);
        switch (next(&s, 12)) {
        case 0:
        case 1:
            taken = keep(&d, db);
            digest(db, kept, sizeof(kept));
            break;
        case 2:
            sql->kept(db, taken);
            break;
        case 3: /* what was not taken is gone */
            sql->close(db);
            db = open_db(&d);
            digest(db, now, sizeof(now));
            assert_string_equal(now, kept);
            break;
        }
    }
    must_give(db, "PRAGMA integrity_check", "'ok'");
    sql->close(db);
    disk_free(&d);
}

/* Damage is told of, or not noticed; nothing else. */
static void test_damage(void **state)
{
    (void)state;
    uint64_t s = seed();
    static const char *const queries[] = {"SELECT count(*), sum(length(b)) FROM t",
                                          "SELECT * FROM t WHERE b > 'F' ORDER BY b LIMIT 5",
                                          "INSERT INTO t (b) VALUES ('more')",
                                          "UPDATE t SET b = b || 'x'",
                                          "DELETE FROM t WHERE a > 50",
                                          "SELECT * FROM f WHERE f MATCH 'a*'",
                                          "INSERT INTO f VALUES ('some more text')",
                                          "PRAGMA integrity_check",
                                          "DROP TABLE t"};
    for (unsigned round = 0; round < 300; round++) {
        struct disk d = {0};
        struct isola_sql *db = open_db(&d);
        must(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b); CREATE INDEX i ON t (b);"
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200) INSERT "
                 "INTO t (b) SELECT hex(randomblob(i % 90)) FROM n;"
                 "CREATE VIRTUAL TABLE f USING fts5 (x); INSERT INTO f SELECT b FROM t");
        sql->kept(db, keep(&d, db));
        sql->close(db);
        for (unsigned k = next(&s, 8) + 1; k > 0; k--) {
            struct isola_buf *value = isola_idmap_get(&d.values, next(&s, d.values.count) + 1);
            if (value == NULL || value->len == 0)
                continue;
            if (next(&s, 4) == 0)
                value->len = next(&s, (unsigned)value->len);
            else
                value->data[next(&s, (unsigned)value->len)] = (uint8_t)next(&s, 256);
        }
        struct isola_sql_pages pages = {.read = disk_read, .arg = &d};
        if (sql->open(&pages, 64 * MB, &db, &last) == 0) {
            for (size_t i = 0; i < sizeof(queries) / sizeof(*queries); i++) {
                unsigned asked = 0;
                struct isola_sql_run run = query(queries[i]);
                run.stop = stops; /* a page that is its own successor */
                run.arg = &asked;
                (void)!sql->exec(db, &run, &last);
                free_run(&run);
            }
            sql->rest(db);
            (void)sql->take(db, disk_write, &d);
            sql->close(db);
        }
        disk_free(&d);
    }
}

/* Words of SQL in any order. */
static void test_any_text(void **state)
{
    (void)state;
    static const char *const words[] = {
        "SELECT", "INSERT",   "INTO",    "t",          "(",         ")",
        ",",      "*",        "FROM",    "WHERE",      "a",         "b",
        "=",      "1",        "'x'",     "VALUES",     "UPDATE",    "SET",
        "DELETE", "CREATE",   "TABLE",   "INDEX",      "VIEW",      "TRIGGER",
        "ON",     "AS",       "WITH",    "RECURSIVE",  "UNION",     "ALL",
        "ORDER",  "BY",       "LIMIT",   ";",          "PRAGMA",    "foreign_keys",
        "ATTACH", "BEGIN",    "COMMIT",  "END",        "RETURNING", "?",
        ":x",     "--",       "/*",      "\"",         "'",         "DROP",
        "ALTER",  "ADD",      "COLUMN",  "randomblob", "count",     "REPLACE",
        "OR",     "ROLLBACK", "VIRTUAL", "USING",      "fts5",      "EXPLAIN",
        "QUERY",  "PLAN",     "ANALYZE", "NULL"};
    uint64_t s = seed();
    struct disk d = {0};
    struct isola_sql *db = open_db(&d);
    for (unsigned round = 0; round < 30000; round++) {
        struct isola_buf text = {0};
        for (unsigned k = next(&s, 12) + 1; k > 0; k--) {
            isola_buf_puts(&text, words[next(&s, sizeof(words) / sizeof(*words))]);
            isola_buf_puts(&text, " ");
        }
        unsigned asked = 0;
        struct isola_sql_run run = query("");
        run.text = isola_buf_slice(&text);
        run.max_rows = 3;
        run.stop = stops;
        run.arg = &asked;
        if (sql->exec(db, &run, &last) != 0)
            assert_true(last.err.text[0] != '\0' && last.err.code != ISOLA_EIO);
        free_run(&run);
        isola_buf_free(&text);
        if (round % 64 == 0) {
            sql->kept(db, keep(&d, db));
            must(db, "CREATE TABLE IF NOT EXISTS t (a, b)");
        }
    }
    must_give(db, "PRAGMA integrity_check", "'ok'");
    sql->close(db);
    disk_free(&d);
}

/* --- several --- */

static void *work(void *arg)
{
    struct disk *d = arg;
    struct isola_sql *db = open_db(d);
    struct isola_sql_fault fault;
    for (int i = 0; i < 200; i++) {
        struct isola_sql_run run =
            query(i == 0 ? "CREATE TABLE t (a)" : "INSERT INTO t VALUES (1) RETURNING rowid");
        ISOLA_CHECK(sql->exec(db, &run, &fault) == 0);
        free_run(&run);
        if (i % 10 == 9)
            sql->kept(db, keep(d, db));
    }
    sql->close(db);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct disk d[4] = {0};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &d[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++) {
        struct isola_sql *db = open_db(&d[i]);
        must_give(db, "SELECT count(*) FROM t", "199");
        sql->close(db);
        disk_free(&d[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_few_pages),
        cmocka_unit_test(test_memory_of_others),
        cmocka_unit_test(test_shrinks),
        cmocka_unit_test(test_held_until_kept),
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_foreign_keys),
        cmocka_unit_test(test_lost_transaction),
        cmocka_unit_test(test_cursors),
        cmocka_unit_test(test_statements_are_kept),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_denied),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_any_text),
        cmocka_unit_test(test_threads),
    };
    isola_sql_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
