/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/state.h when the power goes: at each operation of the disk, with each of
 * the things that may then be left of what was not synced (crash_disk.h), what was answered is
 * there, whole, and the rest is there whole or not at all; and when the power goes again while
 * the store comes back.
 *
 * A run of work is logged once; then the disk is made again as it was after each of its operations.
 * CRASH_POINTS=all takes all of them; else as many as CRASH_SECONDS of CPU time allow for each
 * test, evenly spread. CRASH_SEED makes a run again. It knows nothing of which files there are.
 */
#include "crash_vfs.h"
#include "state_harness.h"
#include "state_work.h"

#include "base/check.h"

#define SPREAD 64u /* a power of two: runs are gone through with this stride, from each start */

static struct {
    uint64_t seed;
    double seconds; /* CPU time for each test */
    bool all;
} options;

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- looking at a store --- */

static size_t open_before; /* files: of a test that has failed */

static int make_place(void **state)
{
    open_before = crash_vfs_open_files();
    return make_dir(state);
}

static struct isola_state *open_on(struct disk *d)
{
    crash_vfs_use(d);
    return open_state();
}

static void close_all(struct isola_state *s)
{
    isola_state_close(s);
    assert_int_equal(crash_vfs_open_files(), open_before);
}

static size_t count_rows(const struct wait *w, uint8_t part)
{
    size_t n = 0;
    for (size_t i = 0; i < w->rows.n; i++)
        n += w->rows.row[i].part == part;
    return n;
}

static char *rows_text(const struct wait *w)
{
    return model_text_of(isola_slice(NULL, 0), w->rows.row, w->rows.n);
}

/* A range has the rows that come with the state. */
static char *compare_range(struct isola_state *s, const struct wait *all, const char *address,
                           uint8_t part)
{
    struct wait w;
    struct isola_kept_range range = {.part = part};
    struct isola_buf expected = {0};
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
    isola_buf_free(&expected);
    forget(&w);
    return wrong;
}

/* The timers of all addresses, in pages. Their number; they are in order, and each is there. */
static char *compare_timers(struct isola_state *s, struct wait all[WORK_ADDRESSES])
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

static char *compare_outboxes(struct isola_state *s, const struct wait all[WORK_ADDRESSES])
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
static char *find_all(struct isola_state *s, struct findings *found, uint64_t seed)
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
static void check_files(struct disk *d)
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

/* --- a run, and what is left of it --- */

struct run {
    struct disk *before, *disk; /* as it was, and with what was done to it */
    struct work *work;
};

static void run_free(struct run *r)
{
    work_free(r->work);
    disk_free(r->disk);
    disk_free(r->before);
}

static void expect_right(char *wrong, uint64_t seed, const char *what)
{
    if (wrong == NULL)
        return;
    print_error("CRASH_SEED=%llu, %s:\n%s\n", (unsigned long long)options.seed, what, wrong);
    free(wrong);
    fail_msg("seed %llu", (unsigned long long)seed);
}

/* A store comes back on what is left, and is used again. `r`: that as a run, unless NULL. */
static void come_back(const struct work *work, size_t ops, struct disk *left, uint64_t seed,
                      struct run *r)
{
    char what[200];
    struct findings found = {0}, later = {0}, last = {0};
    struct disk *d = disk_new(left);
    struct isola_state *s = open_on(d);
    snprintf(what, sizeof(what), "power lost after operation %zu (%s)", ops,
             disk_what_is_lost(seed));
    char *wrong = find_all(s, &found, seed);
    if (wrong == NULL)
        wrong = work_compare(work, ops, &found);
    expect_right(wrong, seed, what);

    struct work *more = work_new(d, seed, &found);
    work_ask(more, s, 6, false);
    work_wait(more);
    expect_right(work_judge(more), seed, what);
    expect_right(find_all(s, &later, seed), seed, what);
    expect_right(work_compare(more, SIZE_MAX, &later), seed, what);
    close_all(s);
    check_files(d);
    if (disk_pick(&seed, 8) == 0) { /* what closing it has left */
        s = open_on(d);
        expect_right(find_all(s, &last, seed), seed, what);
        expect_right(work_compare(more, SIZE_MAX, &last), seed, what);
        close_all(s);
    }
    findings_free(&later);
    findings_free(&last);
    if (r != NULL) {
        *r = (struct run){.before = disk_new(left), .disk = d, .work = more};
        return;
    }
    work_free(more);
    disk_free(d);
}

/* The power goes after that operation, and now and then again. */
static void lose_power_at(const struct run *r, struct disk *d, size_t ops, uint64_t seed)
{
    disk_follow(d, r->disk, ops);
    struct disk *left = disk_lose_power(d, seed);
    if (disk_pick(&seed, 4) != 0) {
        come_back(r->work, ops, left, seed, NULL);
    } else {
        struct run back;
        come_back(r->work, ops, left, seed, &back);
        for (int i = 0; i < 3; i++) {
            struct disk *again = disk_new(left);
            size_t at = disk_pick(&seed, disk_ops(back.disk) + 1);
            disk_follow(again, back.disk, at);
            struct disk *rest = disk_lose_power(again, disk_random(&seed));
            come_back(back.work, at, rest, seed, NULL);
            disk_free(rest);
            disk_free(again);
        }
        run_free(&back);
    }
    disk_free(left);
}

/* As many times as there is time for; from each of SPREAD starts, those far apart first. */
static size_t lose_power_everywhere(const struct run *runs, size_t n, uint64_t seed)
{
    double until = cpu_seconds() + options.seconds;
    size_t points = 0;
    for (unsigned i = 0; i < SPREAD && (options.all || cpu_seconds() < until); i++) {
        unsigned start = 0;
        for (unsigned b = 1; b < SPREAD; b *= 2)
            start = start * 2 + ((i & b) != 0);
        for (size_t k = 0; k < n; k++) {
            struct disk *d = disk_new(runs[k].before);
            for (size_t at = start; at <= disk_ops(runs[k].disk); at += SPREAD, points++) {
                lose_power_at(&runs[k], d, at, disk_random(&seed));
                if (!options.all && cpu_seconds() > until)
                    break;
            }
            disk_free(d);
        }
    }
    return points;
}

/* --- work --- */

/* In batches and one by one, with the store closed and opened in between. */
static struct run run_of(uint64_t seed, size_t rounds, bool large)
{
    struct run r = {.disk = disk_new(NULL)};
    r.work = work_new(r.disk, seed, NULL);
    struct isola_state *s = open_on(r.disk);
    for (size_t i = 0; i < rounds; i++) {
        struct gate g;
        bool batch = disk_pick(&seed, 2) == 0;
        if (batch)
            shut_gate(s, &g);
        work_ask(r.work, s, 1 + disk_pick(&seed, 10), large);
        if (batch)
            open_gate(&g);
        if (disk_pick(&seed, 3) == 0)
            work_wait(r.work);
        if (disk_pick(&seed, 12) == 0) {
            close_all(s);
            s = open_on(r.disk);
        }
    }
    close_all(s);
    expect_right(work_judge(r.work), seed, "nothing fails");
    check_files(r.disk);
    return r;
}

static void keeps_what_it_has_answered(void **state)
{
    enum { RUNS = 6 };
    struct run runs[RUNS];
    size_t ops = 0;
    (void)state;
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = run_of(options.seed + i, 30, false);
        ops += disk_ops(runs[i].disk);
    }
    size_t points = lose_power_everywhere(runs, RUNS, options.seed);
    print_message("power lost %zu times in %zu operations\n", points, ops);
    for (size_t i = 0; i < RUNS; i++)
        run_free(&runs[i]);
}

/* So much that what is in a log has to go where it belongs, meanwhile. */
static void keeps_large_values(void **state)
{
    (void)state;
    struct run run = run_of(options.seed, 500, true);
    size_t points = lose_power_everywhere(&run, 1, options.seed);
    print_message("power lost %zu times in %zu operations\n", points, disk_ops(run.disk));
    run_free(&run);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_it_has_answered, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(keeps_large_values, make_place, remove_dir),
    };
    const char *points = getenv("CRASH_POINTS");
    options.all = points != NULL && strcmp(points, "all") == 0;
    options.seconds = (double)number("CRASH_SECONDS", 8);
    options.seed = number("CRASH_SEED", (uint64_t)time(NULL));
    print_message("CRASH_SEED=%llu\n", (unsigned long long)options.seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
