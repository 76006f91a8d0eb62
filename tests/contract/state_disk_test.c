/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/state.h on a disk that fails (crash_disk.h): each operation of it, one
 * after the other, once and from then on; a full disk, one that is read-only, one whose syncs lose
 * what was written, one whose bytes change. What is concerned gets an error and a sentence, the
 * rest goes on, nothing that was answered is lost, and when the disk is well so is the store.
 */
#include "state_look.h"

static uint64_t seed_of_all;

static struct isola_state *try_open(struct disk *d, struct isola_err *err)
{
    struct isola_state *s = NULL;
    crash_vfs_use(d);
    *err = (struct isola_err){0};
    return isola_state_open_with(path, &store_options, &s, err) == 0 ? s : NULL;
}

static void ask_in_one_batch(struct work *w, struct isola_state *s, size_t n)
{
    struct gate g;
    shut_gate(s, &g);
    work_ask(w, s, n, false);
    open_gate(&g);
    work_wait(w);
}

static size_t failed_so_far(const struct work *w)
{
    struct work_answers a;
    work_answers(w, &a);
    return a.failed;
}

static void expect_right(char *wrong, const char *what)
{
    if (wrong == NULL)
        return;
    print_error("ISOLA_TEST_SEED=%llu, %s:\n%s\n", (unsigned long long)seed_of_all, what, wrong);
    free(wrong);
    fail();
}

/* What is there is what the book says; and when the power goes. */
static void expect_all_there(struct disk *d, struct isola_state *s, struct work *w, uint64_t seed,
                             const char *what)
{
    expect_right(work_judge(w), what);
    for (int i = 0; i < 4; i++) {
        struct findings found = {0};
        struct disk *left = i == 0 ? NULL : disk_lose_power(d, seed + (uint64_t)i);
        if (left != NULL)
            s = open_on(left);
        expect_right(find_all(s, &found, seed), what);
        expect_right(work_compare(w, SIZE_MAX, &found), what);
        close_all(s);
        check_files(left != NULL ? left : d);
        findings_free(&found);
        disk_free(left);
    }
}

struct fault {
    const char *name;
    unsigned kinds;
    int error;
    bool evict;
};

/* Whether the fault was met. */
static bool work_through(const struct fault *f, size_t first, size_t times, uint64_t seed)
{
    char what[200];
    struct isola_err err;
    struct disk *d = disk_new(NULL);
    struct work *w = work_new(d, seed, NULL);
    choose_options(seed);
    if (store_options.groups > 1)
        work_forgets_nothing(w);
    struct isola_state *s = open_on(d);
    snprintf(what, sizeof(what), "%s number %zu fails, %s", f->name, first,
             times == 1 ? "once" : "and all after it");
    work_ask(w, s, 20, false);
    work_wait(w);
    bool opens = disk_pick(&seed, 2) == 0;
    if (opens)
        close_all(s);

    disk_fail(d, f->kinds, first, times, f->error, f->evict, seed);
    if (opens && (s = try_open(d, &err)) == NULL) {
        assert_true(strlen(err.text) > strlen("cannot open ") + strlen(path));
        assert_int_equal(crash_vfs_open_files(), open_before);
    }
    if (s != NULL) {
        ask_in_one_batch(w, s, 12);
        for (int i = 0; i < 6; i++) {
            work_ask(w, s, 1, false);
            work_wait(w);
        }
    }
    disk_heal(d);

    bool met = disk_failures(d) > 0;
    size_t failed = failed_so_far(w);
    if (s == NULL)
        s = open_on(d);
    if (!met)
        assert_int_equal(failed, 0);
    work_ask(w, s, 10, false);
    ask_in_one_batch(w, s, 10);
    assert_int_equal(failed_so_far(w), failed); /* it has recovered */
    expect_all_there(d, s, w, seed, what);
    work_free(w);
    disk_free(d);
    return met;
}

static void gets_over_each_failure(void **state)
{
    static const struct fault faults[] = {
        {"a read", DISK_READ, EIO, false},
        {"a write", DISK_WRITE, EIO, false},
        {"a write on a full disk", DISK_WRITE, ENOSPC, false},
        {"a sync", DISK_SYNC, EIO, false},
        {"a sync whose loss is seen at once", DISK_SYNC, EIO, true},
        {"a truncate", DISK_TRUNCATE, EIO, false},
        {"an open", DISK_OPEN, EACCES, false},
        {"a remove", DISK_DELETE, EIO, false},
        {"anything that changes the disk", DISK_WRITE | DISK_SYNC | DISK_TRUNCATE | DISK_DELETE,
         EROFS, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        for (size_t times = 1, n; times != 0; times = times == 1 ? SIZE_MAX : 0) {
            unsigned in_vain = 0, runs = 0; /* not each run opens files again */
            uint64_t step = seed_of_all;
            for (n = 1; in_vain < 4; n += n < 30 ? 1 : 1 + disk_pick(&step, 4), runs++)
                in_vain = work_through(&faults[i], n, times, seed_of_all + n) ? 0 : in_vain + 1;
            print_message("%s fails, %s: %u runs\n", faults[i].name,
                          times == 1 ? "once" : "and all after it", runs);
        }
}

/* --- what is said --- */

/* "cannot write FILE: " and this; which of the store's files it is, is its own affair. */
static void expect_said(struct isola_state *s, const char *address, const char *expected)
{
    static char big[3u << 20];
    char start[100];
    struct wait w;
    memset(big, 'x', sizeof(big) - 1);
    put(s, &w, address, big);
    await(&w.done);
    assert_int_equal(w.code, ISOLA_EIO);
    snprintf(start, sizeof(start), "cannot write %s/", dir);
    const char *end = strstr(w.why, ": ");
    if (strncmp(w.why, start, strlen(start)) != 0 || end == NULL || strcmp(end + 2, expected) != 0)
        fail_msg("it says: %s", w.why);
    forget(&w);
}

static void says_what_to_do(void **state)
{
    (void)state;
    struct wait w;
    struct disk *d = disk_new(NULL);
    struct isola_state *s = open_on(d);
    put(s, &w, "a/B/x", "before");
    ended(&w, 0);

    disk_set_room(d, 1u << 20);
    expect_said(s, "a/B/big", "the disk is full; make room on it");
    put(s, &w, "a/B/small", "fits");
    ended(&w, 0);
    disk_heal(d);

    disk_fail(d, DISK_SYNC, 1, SIZE_MAX, EIO, false, 1);
    expect_said(s, "a/B/x",
                "input/output error; see what the system's log says of the disk, and make it well");
    get(s, &w, "a/B/x");
    answered(&w, "before");
    disk_heal(d);
    put(s, &w, "a/B/x", "after");
    ended(&w, 0);
    get(s, &w, "a/B/small");
    answered(&w, "fits");
    close_all(s);
    check_files(d);
    disk_free(d);
}

static void refuse(struct isola_state *s, struct disk *d)
{
    struct wait w;
    put(s, &w, "a/B/x", "before");
    ended(&w, 0);
    disk_fail(d, DISK_SYNC | DISK_TRUNCATE, 1, SIZE_MAX, EIO, false, 1);
    put(s, &w, "a/B/x", "refused");
    ended(&w, ISOLA_EIO);
    disk_heal(d);
}

static void is_found(struct disk *d, const char *value)
{
    struct wait w;
    struct isola_state *s = open_on(d);
    get(s, &w, "a/B/x");
    answered(&w, value);
    close_all(s);
}

/* Who comes next does not find it either. */
static void does_not_have_what_it_has_refused(void **state)
{
    (void)state;
    struct disk *d = disk_new(NULL);
    struct isola_state *s = open_on(d);
    refuse(s, d);
    close_all(s);
    is_found(d, "before");
    disk_free(d);
}

/* Nor when something was written elsewhere since, and the process was killed. */
static void does_not_come_back_to_what_it_has_refused(void **state)
{
    (void)state;
    struct wait w;
    struct disk *d = disk_new(NULL);
    struct isola_state *s = open_on(d);
    refuse(s, d);
    prepare(&w, ""); /* all goes into the tables */
    isola_state_forget(s, &w.req, INT32_MAX);
    ended(&w, 0);
    put(s, &w, "a/B/x", "after");
    ended(&w, 0);
    struct disk *left = disk_new(d);
    close_all(s);
    is_found(left, "after");
    disk_free(left);
    disk_free(d);
}

/* --- bytes that change --- */

/* Whatever it makes of them, each request is answered. */
static void use_anyhow(struct disk *d, uint64_t seed, size_t *refused, size_t *failed)
{
    struct isola_err err;
    struct findings none = {0};
    struct isola_state *s = try_open(d, &err);
    if (s == NULL) {
        assert_true(strlen(err.text) > strlen("cannot open ") + strlen(path));
        ++*refused;
        return;
    }
    for (size_t i = 0; i < WORK_ADDRESSES; i++)
        none.text[i] = isola_strdup("not known");
    struct work *w = work_new(d, seed, &none);
    work_ask(w, s, 30, false);
    work_wait(w);
    *failed += failed_so_far(w) > 0;
    struct wait all, timers;
    struct isola_kept_due due = {.until = INT64_MAX, .rows = 100};
    prepare(&timers, "");
    isola_state_due(s, &timers.req, &due);
    prepare(&all, "");
    isola_state_outboxes(s, &all.req);
    await(&all.done);
    await(&timers.done);
    forget(&all);
    forget(&timers);
    close_all(s);
    work_free(w);
}

static void lives_with_bytes_that_change(void **state)
{
    size_t refused = 0, failed = 0, n = 0;
    uint64_t seed = seed_of_all;
    char *name;
    (void)state;
    struct disk *d = disk_new(NULL);
    struct isola_state *s = open_on(d);
    struct work *w = work_new(d, seed, NULL);
    work_ask(w, s, 150, false);
    work_wait(w);
    /* One with its log, one without. */
    struct disk *image[2] = {disk_lose_power(d, 0), NULL};
    close_all(s);
    image[1] = disk_lose_power(d, 0);
    for (double until = cpu_seconds() + 4; cpu_seconds() < until; n++) {
        struct disk *damaged = disk_new(image[n % 2]);
        for (size_t i = 0; (name = disk_name(damaged, i)) != NULL; i++) {
            bool made;
            int file;
            assert_int_equal(disk_open(damaged, name, false, &file, &made), 0);
            size_t size = disk_size(damaged, file), pages = size / 4096;
            for (size_t k = disk_pick(&seed, 20); k > 0 && size > 0; k--) {
                /* Near the beginning of a page is most of what says how to read it. */
                size_t at = disk_pick(&seed, pages + 1) * 4096 + disk_pick(&seed, 64);
                if (disk_pick(&seed, 2) == 0 || at >= size)
                    at = disk_pick(&seed, size);
                disk_flip(damaged, name, at, (uint8_t)(1 + disk_pick(&seed, 255)));
            }
            if (size > 0 && disk_pick(&seed, 8) == 0)
                assert_int_equal(disk_truncate(damaged, file, disk_pick(&seed, size)), 0);
            free(name);
        }
        use_anyhow(damaged, seed, &refused, &failed);
        disk_free(damaged);
    }
    print_message("%zu damaged disks: %zu are refused, on %zu something fails\n", n, refused,
                  failed);
    assert_true(refused > 0 && failed > 0);
    work_free(w);
    disk_free(image[0]);
    disk_free(image[1]);
    disk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gets_over_each_failure, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(says_what_to_do, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(does_not_have_what_it_has_refused, make_place, remove_dir),
        cmocka_unit_test_setup_teardown(does_not_come_back_to_what_it_has_refused, make_place,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(lives_with_bytes_that_change, make_place, remove_dir),
    };
    const char *text = getenv("ISOLA_TEST_SEED");
    seed_of_all = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("ISOLA_TEST_SEED=%llu\n", (unsigned long long)seed_of_all);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
