/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of store/sql.h share: pages in memory, queries, and what is expected of them.
 */
#ifndef ISOLA_TESTS_SQL_HARNESS_H
#define ISOLA_TESTS_SQL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/check.h"
#include "base/idmap.h"
#include "base/msgpack.h"
#include "store/sql.h"

#define MB ((uint64_t)1 << 20)

static const struct isola_sql_ops *const sql = &isola_sql_ops;

/* --- what keeps the pages --- */

struct disk {
    struct isola_idmap values; /* number + 1 → struct isola_buf */
    unsigned reads, fails;     /* fails: so many reads to come */
    size_t bytes;              /* that were written since it was zero */
    void *memory;              /* SQLite's, in which it keeps something between reads */
};

static inline int disk_read(void *arg, uint64_t n, struct isola_buf *out, struct isola_err *err)
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

static inline void disk_write(void *arg, uint64_t n, struct isola_slice value)
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

static inline void disk_free(struct disk *d)
{
    ISOLA_IDMAP_EACH(&d->values, v)
    {
        isola_buf_free(v);
        free(v);
    }
    isola_idmap_free(&d->values);
    sqlite3_free(d->memory);
}

static inline struct isola_sql *open_most(struct disk *d, uint64_t most)
{
    struct isola_sql_pages pages = {.read = disk_read, .arg = d};
    struct isola_sql_fault fault;
    struct isola_sql *db = NULL;
    if (sql->open(&pages, most, &db, &fault) != 0)
        fail_msg("%s", fault.err.text);
    return db;
}

static inline struct isola_sql *open_db(struct disk *d)
{
    return open_most(d, 64 * MB);
}

static inline uint64_t keep(struct disk *d, struct isola_sql *db)
{
    sql->rest(db);
    return sql->take(db, disk_write, d);
}

/* --- queries --- */

static struct isola_sql_fault last; /* failure */

static inline struct isola_sql_run query(const char *text)
{
    return (struct isola_sql_run){.text = isola_slice_str(text), .max_rows = 1000, .max_bytes = MB};
}

static inline void free_run(struct isola_sql_run *run)
{
    isola_buf_free(&run->columns);
    isola_buf_free(&run->rows);
}

/* Values as text, rows apart by a bar. */
static inline void show(struct isola_sql_run *run, char *out, size_t size)
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

static inline int run_with(struct isola_sql *db, const char *text, struct isola_buf *values,
                           char *out, size_t size)
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

static inline void must(struct isola_sql *db, const char *text)
{
    if (run_with(db, text, NULL, NULL, 0) != 0)
        fail_msg("%s: %s", text, last.err.text);
}

static inline void must_give(struct isola_sql *db, const char *text, const char *expected)
{
    static char got[1 << 16];
    if (run_with(db, text, NULL, got, sizeof(got)) != 0)
        fail_msg("%s: %s", text, last.err.text);
    if (strcmp(got, expected) != 0)
        fail_msg("%s gives %s, not %s", text, got, expected);
}

static inline void must_fail(struct isola_sql *db, const char *text, int code, const char *name,
                             const char *said)
{
    if (run_with(db, text, NULL, NULL, 0) != code)
        fail_msg("%s: not %d but %d, %s", text, code, last.err.code, last.err.text);
    if (strstr(last.err.text, said) == NULL)
        fail_msg("%s: \"%s\", where \"%s\" was expected", text, last.err.text, said);
    if ((name == NULL) != (last.name == NULL) || (name != NULL && strcmp(name, last.name) != 0))
        fail_msg("%s: %s, where %s was expected", text, last.name != NULL ? last.name : "none",
                 name != NULL ? name : "none");
}

static inline void begin(struct isola_sql *db)
{
    assert_int_equal(sql->begin(db, &last), 0);
}

/* Of a run, whose `arg` counts: it is stopped the 100th time that this is asked. */
static inline bool stops(void *arg)
{
    unsigned *asked = arg;
    return ++*asked >= 100;
}

#endif
