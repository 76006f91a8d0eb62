/* SPDX-License-Identifier: Apache-2.0
 *
 * store/sql.h over pages in memory: what is said of failures, what scripts may not do, limits,
 * pages that cannot be had.
 */
#include "sql_harness.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),  cmocka_unit_test(test_denied),
        cmocka_unit_test(test_allowed), cmocka_unit_test(test_full),
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_memory),
        cmocka_unit_test(test_stop),    cmocka_unit_test(test_unreadable),
    };
    isola_sql_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
