/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at a store on a disk of crash_disk.h: all that is there, by each way to it. For programs
 * that include state_harness.h; once, as that.
 */
#ifndef ISOLA_TESTS_STATE_LOOK_H
#define ISOLA_TESTS_STATE_LOOK_H

#include "crash_vfs.h"
#include "state_harness.h"
#include "state_work.h"

#include "base/check.h"

static inline double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t open_before; /* files: of a test that has failed */

static inline int make_place(void **state)
{
    open_before = crash_vfs_open_files();
    return make_dir(state);
}

static inline struct isola_state *open_on(struct disk *d)
{
    crash_vfs_use(d);
    return open_state();
}

/* One file or three, whose journals are brought into the tables rarely or all the time, with a
 * history or without. */
static inline void choose_options(uint64_t seed)
{
    store_options.groups = seed % 2 == 0 ? 1 : 3;
    store_options.fold_bytes = seed / 2 % 2 == 0 ? 0 : 2000;
    store_options.history_ms = seed / 4 % 2 == 0 ? 3600000 : 0;
}

static inline void close_all(struct isola_state *s)
{
    isola_state_close(s);
    assert_int_equal(crash_vfs_open_files(), open_before);
}

static inline size_t count_rows(const struct wait *w, uint8_t part)
{
    size_t n = 0;
    for (size_t i = 0; i < w->rows.n; i++)
        n += w->rows.row[i].part == part;
    return n;
}

static inline char *rows_text(const struct wait *w)
{
    return model_text_of(isola_slice(NULL, 0), w->rows.row, w->rows.n);
}

/* A range has the rows that come with the state. */
static inline char *compare_range(struct isola_state *s, const struct wait *all,
                                  const char *address, uint8_t part)
{
    struct wait w;
    struct isola_kept_range range = {.part = part};
    prepare(&w, address);
    isola_state_range(s, &w.req, &range);
    await(&w.done);
    assert_int_equal(w.code, 0);
    struct isola_kept *first = all->rows.row;
    while (first < all->rows.row + all->rows.n && first->part < part)
        first++;
    char *is = rows_text(&w);
    char *should = model_text_of(isola_slice(NULL, 0), first, count_rows(all, part));
    char *wrong = strcmp(is, should) == 0
                      ? NULL
                      : isola_format("at %s the range of part %u is\n  %s\nnot\n  %s", address,
                                     part, is, should);
    free(is);
    free(should);
    forget(&w);
    return wrong;
}

/* The timers of all addresses, in pages. Their number; they are in order, and each is there. */
static inline char *compare_timers(struct isola_state *s, struct wait all[WORK_ADDRESSES])
{
    struct isola_kept_due due = {.until = INT64_MAX, .rows = 7};
    struct wait w = {0};
    size_t expected = 0, found = 0;
    char *wrong = NULL;
    for (size_t i = 0; i < WORK_ADDRESSES; i++)
        expected += count_rows(&all[i], ISOLA_KEPT_TIMER);
    for (bool more = true; more && wrong == NULL;) {
        struct wait page;
        prepare(&page, "");
        isola_state_due(s, &page.req, &due);
        await(&page.done);
        assert_int_equal(page.code, 0);
        for (size_t k = 0; k < page.rows.n && wrong == NULL; k++) {
            const struct isola_kept *t = &page.rows.row[k];
            bool is = false;
            for (size_t i = 0; i < WORK_ADDRESSES && !is; i++)
                for (size_t r = 0; r < all[i].rows.n && !is; r++)
                    is = all[i].rows.row[r].part == ISOLA_KEPT_TIMER &&
                         all[i].rows.row[r].seq == t->seq &&
                         isola_slice_eq(all[i].rows.row[r].peer, t->peer) &&
                         isola_slice_is(t->value, work_address(i));
            if (!is || t->seq < due.due)
                wrong = isola_format("timer %.*s of %.*s, due at %llu, is not its or out of order",
                                     ISOLA_FMT(t->peer), ISOLA_FMT(t->value),
                                     (unsigned long long)t->seq);
            due.due = t->seq;
            due.address = t->value;
            due.id = t->peer;
        }
        found += page.rows.n;
        more = page.rows.n == due.rows;
        forget(&w);
        w = page; /* the next page begins behind its last */
    }
    forget(&w);
    if (wrong == NULL && found != expected)
        wrong = isola_format("%zu timers are listed, %zu are there", found, expected);
    return wrong;
}

static inline char *compare_outboxes(struct isola_state *s, const struct wait all[WORK_ADDRESSES])
{
    struct wait w;
    size_t expected = 0;
    char *wrong = NULL;
    prepare(&w, "");
    isola_state_outboxes(s, &w.req);
    await(&w.done);
    assert_int_equal(w.code, 0);
    for (size_t i = 0; i < WORK_ADDRESSES; i++)
        expected += count_rows(&all[i], ISOLA_KEPT_OUTBOX) > 0;
    if (w.rows.n != expected)
        wrong = isola_format("%zu outboxes are listed, %zu are there", w.rows.n, expected);
    forget(&w);
    return wrong;
}

/* All that is there, by each way to it. NULL, or what does not go together. */
static inline char *find_all(struct isola_state *s, struct findings *found, uint64_t seed)
{
    struct wait all[WORK_ADDRESSES] = {0};
    for (size_t i = 0; i < WORK_ADDRESSES; i++) {
        prepare(&all[i], work_address(i));
        isola_state_get_all(s, &all[i].req);
    }
    for (size_t i = 0; i < WORK_ADDRESSES; i++) {
        await(&all[i].done);
        if (all[i].code != ISOLA_ENOENT && all[i].code != 0)
            fail_msg("%s", all[i].why);
        found->text[i] = all[i].code == ISOLA_ENOENT
                             ? isola_strdup("none")
                             : model_text_of(isola_slice(all[i].value, all[i].len), all[i].rows.row,
                                             all[i].rows.n);
        assert_false(all[i].code == 0 && isola_state_absent(s, isola_slice_str(work_address(i))));
    }
    char *wrong = compare_timers(s, all);
    if (wrong == NULL)
        wrong = compare_outboxes(s, all);
    for (int i = 0; i < 3 && wrong == NULL; i++) {
        size_t at = disk_pick(&seed, WORK_ADDRESSES);
        wrong = compare_range(s, &all[at], work_address(at),
                              (uint8_t)(1 + disk_pick(&seed, ISOLA_KEPT_LAST)));
    }
    for (size_t i = 0; i < WORK_ADDRESSES; i++)
        forget(&all[i]);
    return wrong;
}

/* Each database on the disk. */
static inline void check_files(struct disk *d)
{
    char *name;
    crash_vfs_use(d);
    for (size_t i = 0; (name = disk_name(d, i)) != NULL; i++) {
        static const char magic[16] = "SQLite format 3";
        char head[16];
        size_t got;
        int file;
        bool made;
        assert_int_equal(disk_open(d, name, false, &file, &made), 0);
        assert_int_equal(disk_read(d, file, head, sizeof(head), 0, &got), 0);
        if (memcmp(head, magic, sizeof(magic)) == 0) {
            sqlite3 *db = NULL;
            sqlite3_stmt *stmt = NULL;
            assert_int_equal(sqlite3_open(name, &db), SQLITE_OK);
            assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL),
                             SQLITE_OK);
            assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
            assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
            sqlite3_finalize(stmt);
            assert_int_equal(sqlite3_close(db), SQLITE_OK);
        }
        free(name);
    }
}

#endif
