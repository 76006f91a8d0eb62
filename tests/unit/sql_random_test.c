/* SPDX-License-Identifier: Apache-2.0
 *
 * store/sql.h over pages in memory: transactions at random beside plain SQLite, damaged pages, any
 * text as a query, several at once.
 */
#include "sql_harness.h"

#include <pthread.h>

#include "base/clock.h"

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
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_any_text),
        cmocka_unit_test(test_threads),
    };
    isola_sql_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
