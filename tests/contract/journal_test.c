/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/journal.h on a disk that fails: a commit that was refused is not found by
 * who opens the files after a close, or after the process was killed; nor where the next ones have
 * gone to the other file.
 */
#include "crash_vfs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "store/journal.h"
#include "tests/tempdir.h"

static char dir[TEMPDIR_SIZE], path[TEMPDIR_SIZE + 8];

static int make_place(void **state)
{
    (void)state;
    if (tempdir_make(dir) != 0)
        return -1;
    snprintf(path, sizeof(path), "%s/a.db", dir);
    return 0;
}

static int remove_place(void **state)
{
    (void)state;
    return tempdir_remove(dir);
}

/* "1 one, 2 two," */
static bool note(void *arg, int64_t number, int64_t written, struct isola_slice changes)
{
    (void)written;
    isola_buf_printf(arg, "%lld %.*s, ", (long long)number, ISOLA_FMT(changes));
    return true;
}

static struct isola__journal *open_on(struct disk *d, struct isola_buf *found)
{
    struct isola__journal *j = NULL;
    struct isola_err err;
    crash_vfs_use(d);
    if (isola__journal_open(path, 0, note, found, &j, &err) != 0)
        fail_msg("%s", err.text);
    return j;
}

static int append(struct isola__journal *j, const char *text)
{
    struct isola_buf commit = {0};
    struct isola_err err;
    isola__journal_begin(&commit);
    isola_buf_puts(&commit, text);
    int code = isola__journal_append(j, &commit, 1, &err);
    isola_buf_free(&commit);
    return code;
}

static void expect(struct disk *d, const char *expected)
{
    struct isola_buf found = {0};
    struct isola__journal *j = open_on(d, &found);
    assert_string_equal(isola_buf_cstr(&found), expected);
    isola__journal_close(j, 0);
    isola_buf_free(&found);
}

/* What is there when the process is killed now. */
static void expect_after_kill(const struct disk *d, const char *expected)
{
    struct disk *left = disk_kill(d);
    expect(left, expected);
    disk_free(left);
}

/* All these operations fail while it is written. */
static struct isola__journal *begin_and_refuse(struct disk *d, unsigned kinds)
{
    struct isola_buf none = {0};
    struct isola__journal *j = open_on(d, &none);
    assert_int_equal(none.len, 0);
    assert_int_equal(append(j, "one"), 0);
    disk_fail(d, kinds, 1, SIZE_MAX, EIO, false, 1);
    assert_int_equal(append(j, "refused"), ISOLA_EIO);
    assert_int_equal(isola__journal_number(j), 1);
    return j;
}

static void what_was_refused_is_cut_off_at_once(void **state)
{
    (void)state;
    struct disk *d = disk_new(NULL);
    struct isola__journal *j = begin_and_refuse(d, DISK_SYNC);
    disk_heal(d);
    expect_after_kill(d, "1 one, ");
    isola__journal_close(j, 0);
    disk_free(d);
}

static void or_with_the_next_one(void **state)
{
    static const char *const next[] = {"two", "as long", "longer than that"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct disk *d = disk_new(NULL);
        char expected[60];
        struct isola__journal *j = begin_and_refuse(d, DISK_SYNC | DISK_TRUNCATE);
        disk_heal(d);
        assert_int_equal(append(j, next[i]), 0);
        assert_int_equal(append(j, "three"), 0);
        snprintf(expected, sizeof(expected), "1 one, 2 %s, 3 three, ", next[i]);
        expect_after_kill(d, expected);
        isola__journal_close(j, 0);
        expect(d, expected);
        disk_free(d);
    }
}

static void or_with_the_close(void **state)
{
    (void)state;
    struct disk *d = disk_new(NULL);
    struct isola__journal *j = begin_and_refuse(d, DISK_SYNC | DISK_TRUNCATE);
    disk_heal(d);
    isola__journal_close(j, 0);
    expect(d, "1 one, ");
    disk_free(d);
}

/* It has the number of the first one there. */
static void it_is_not_read_when_the_next_ones_are_in_the_other_file(void **state)
{
    (void)state;
    struct disk *d = disk_new(NULL);
    struct isola__journal *j = begin_and_refuse(d, DISK_SYNC | DISK_TRUNCATE);
    disk_heal(d);
    isola__journal_turn(j, 0);
    assert_int_equal(append(j, "two"), 0);
    assert_int_equal(append(j, "three"), 0);
    expect_after_kill(d, "1 one, 2 two, 3 three, ");
    isola__journal_close(j, 0);
    expect(d, "1 one, 2 two, 3 three, ");
    disk_free(d);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_refused_is_cut_off_at_once),
        TEST(or_with_the_next_one),
        TEST(or_with_the_close),
        TEST(it_is_not_read_when_the_next_ones_are_in_the_other_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
