/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/state.h when the power goes: at each operation of the disk, with each of
 * the things that may then be left of what was not synced (crash_disk.h), what was answered is
 * there, whole, and the rest is there whole or not at all; and when the power goes again while
 * the store comes back. The same when the process is killed there, and the power goes later.
 *
 * A run of work is logged once; then the disk is made again as it was after each of its operations.
 * CRASH_POINTS=all takes all of them; else as many as CRASH_SECONDS of CPU time allow for each
 * test, evenly spread. CRASH_SEED makes a run again. It knows nothing of which files there are.
 */
#include "state_look.h"

#define SPREAD 64u /* a power of two: runs are gone through with this stride, from each start */

static struct {
    uint64_t seed;
    double seconds; /* CPU time for each test */
    bool all;
} options;

/* --- a run, and what is left of it --- */

struct run {
    uint64_t seed;
    struct disk *disk; /* with what was done to it */
    size_t opened;     /* operations of opening it */
    struct work *work;
};

static void run_free(struct run *r)
{
    work_free(r->work);
    disk_free(r->disk);
}

static void expect_right(char *wrong, uint64_t seed, const char *what)
{
    if (wrong == NULL)
        return;
    print_error("CRASH_SEED=%llu, %s:\n%s\n", (unsigned long long)options.seed, what, wrong);
    free(wrong);
    fail_msg("seed %llu", (unsigned long long)seed);
}

/* A store comes back on `d`, which it takes, and is used again, `n` times: that as a run. */
static struct run come_back(const struct work *work, size_t ops, struct disk *d, size_t n,
                            uint64_t seed, const char *what)
{
    struct findings found = {0}, later = {0}, last = {0};
    struct isola_state *s = open_on(d);
    size_t opened = disk_ops(d);
    char *wrong = find_all(s, &found, seed);
    if (wrong == NULL)
        wrong = work_compare(work, ops, &found);
    expect_right(wrong, seed, what);

    struct work *more = work_new(d, seed, &found);
    work_ask(more, s, n, false);
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
    return (struct run){.disk = d, .opened = opened, .work = more};
}

/* After that operation the power goes, or the process is killed. It comes back, and the power goes
 * again, so many times: what a process finds that comes after one that was killed is sure when it
 * has opened it. */
static void end_at(const struct run *r, struct disk *d, size_t ops, bool killed, size_t again,
                   uint64_t seed)
{
    char what[200];
    size_t n = killed ? 24 : 6; /* so that journals take turns */
    disk_follow(d, r->disk, ops);
    struct disk *left = killed ? disk_kill(d) : disk_lose_power(d, seed);
    struct disk *(*copy)(const struct disk *) = killed ? disk_kill : disk_new;
    snprintf(what, sizeof(what),
             killed ? "killed after operation %zu" : "power lost after operation %zu (%s)", ops,
             disk_what_is_lost(seed));
    struct run back = come_back(r->work, ops, copy(left), n, seed, what);
    for (; again > 0; again--) {
        struct disk *then = copy(left);
        size_t at = disk_pick(&seed, disk_ops(back.disk) + 1);
        uint64_t how = disk_random(&seed);
        disk_follow(then, back.disk, at);
        snprintf(what, sizeof(what),
                 "%s after operation %zu, then power lost after operation %zu of %zu, %zu of "
                 "opening (%s)",
                 killed ? "killed" : "power lost", ops, at, disk_ops(back.disk), back.opened,
                 disk_what_is_lost(how));
        struct disk *rest = disk_lose_power(then, how);
        struct run last = at < back.opened ? come_back(r->work, ops, disk_new(rest), 6, how, what)
                                           : come_back(back.work, at, disk_new(rest), 6, how, what);
        run_free(&last);
        disk_free(rest);
        disk_free(then);
    }
    run_free(&back);
    disk_free(left);
}

/* Mostly the power goes, once. */
static void lose_power_at(const struct run *r, struct disk *d, size_t ops, uint64_t seed)
{
    bool killed = disk_pick(&seed, 4) == 0, again = killed || disk_pick(&seed, 4) == 0;
    end_at(r, d, ops, killed, again ? 3 : 0, seed);
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
            struct disk *d = disk_new(NULL);
            choose_options(runs[k].seed);
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
    struct run r = {.seed = seed, .disk = disk_new(NULL)};
    choose_options(seed);
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
    /* the one store as the other is not */
    struct run runs[] = {run_of(options.seed, 300, true), run_of(options.seed ^ 3, 300, true)};
    size_t points = lose_power_everywhere(runs, 2, options.seed);
    print_message("power lost %zu times in %zu operations\n", points,
                  disk_ops(runs[0].disk) + disk_ops(runs[1].disk));
    run_free(&runs[0]);
    run_free(&runs[1]);
}

/* What was written and not synced, by a process that was killed, is lost with the power later. */
static void is_sure_of_what_it_finds(void **state)
{
    double until = cpu_seconds() + options.seconds;
    uint64_t seed = options.seed;
    size_t points = 0;
    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        struct run r = run_of(4 * (options.seed + i) + 2, 20, false); /* folded all the time */
        struct disk *d = disk_new(NULL);
        for (size_t at = 0; at < disk_ops(r.disk) && (options.all || cpu_seconds() < until); at++)
            if (disk_syncs(r.disk, at) && (options.all || disk_pick(&seed, 8) == 0)) {
                end_at(&r, d, at, true, 8, disk_random(&seed));
                points++;
            }
        disk_free(d);
        run_free(&r);
    }
    print_message("killed %zu times\n", points);
}

/* Closing leaves nothing to read for who comes next: each of its operations, in some ways. */
static void keeps_what_it_is_closed_with(void **state)
{
    enum { RUNS = 4 };
    const int ways = options.all ? 8 : 1;
    uint64_t seed = options.seed;
    size_t points = 0;
    (void)state;
    for (size_t i = 0; i < RUNS; i++) {
        struct run r = {.seed = options.seed + i, .disk = disk_new(NULL)};
        struct disk *d = disk_new(NULL);
        choose_options(r.seed);
        r.work = work_new(r.disk, r.seed, NULL);
        struct isola_state *s = open_on(r.disk);
        for (int k = 0; k < 5; k++) {
            work_ask(r.work, s, 5, false);
            work_wait(r.work);
        }
        size_t at = disk_ops(r.disk);
        close_all(s);
        expect_right(work_judge(r.work), r.seed, "nothing fails");
        for (; at <= disk_ops(r.disk); at++)
            for (int way = 0; way < ways; way++, points++)
                lose_power_at(&r, d, at, disk_random(&seed));
        disk_free(d);
        run_free(&r);
    }
    print_message("power lost %zu times\n", points);
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
        cmocka_unit_test_setup_teardown(is_sure_of_what_it_finds, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(keeps_what_it_is_closed_with, make_place, remove_dir),
    };
    const char *points = getenv("CRASH_POINTS");
    options.all = points != NULL && strcmp(points, "all") == 0;
    options.seconds = (double)number("CRASH_SECONDS", 8);
    options.seed = number("CRASH_SEED", (uint64_t)time(NULL));
    print_message("CRASH_SEED=%llu\n", (unsigned long long)options.seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
