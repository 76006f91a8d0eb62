/* SPDX-License-Identifier: Apache-2.0
 *
 * store/sql.h over pages in memory: what is kept is there again and what is not is gone, whatever
 * the statements.
 */
#include "sql_harness.h"

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
    };
    isola_sql_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
