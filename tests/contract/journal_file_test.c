/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/journal.h on the system's own files: commits of any size are found again,
 * each in sectors of its own, also by who is given files of the version before; and what was
 * refused is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "store/direct.h"
#include "store/journal.h"
#include "tests/tempdir.h"

static char dir[TEMPDIR_SIZE], path[TEMPDIR_SIZE + 8], file[TEMPDIR_SIZE + 16];

static int make_place(void **state)
{
    (void)state;
    if (tempdir_make(dir) != 0)
        return -1;
    snprintf(path, sizeof(path), "%s/a.db", dir);
    snprintf(file, sizeof(file), "%s-log1", path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600); /* the database: new files get its mode */
    return fd >= 0 ? close(fd) : -1;
}

static int remove_place(void **state)
{
    (void)state;
    return tempdir_remove(dir);
}

/* Commit `number` is so many bytes, all of them the same. */
struct found {
    int64_t last;
    size_t size[40];
};

static bool note(void *arg, int64_t number, int64_t written, struct isola_slice changes)
{
    struct found *f = arg;
    assert_int_equal(number, f->last + 1);
    assert_int_equal(written, 7);
    for (size_t i = 0; i < changes.len; i++)
        assert_int_equal(changes.data[i], number);
    f->size[number] = changes.len;
    f->last = number;
    return true;
}

static struct isola__journal *open_here(struct found *f)
{
    struct isola__journal *j = NULL;
    struct isola_err err;
    *f = (struct found){0};
    if (isola__journal_open(path, 0, note, f, &j, &err) != 0)
        fail_msg("%s", err.text);
    return j;
}

static int append(struct isola__journal *j, size_t n, struct isola_err *err)
{
    struct isola_buf commit = {0};
    isola__journal_begin(&commit);
    uint8_t *to = isola_buf_extend(&commit, n);
    assert_non_null(to);
    memset(to, (int)(isola__journal_number(j) + 1), n);
    int code = isola__journal_append(j, &commit, 7, err);
    isola_buf_free(&commit);
    return code;
}

static void must_append(struct isola__journal *j, size_t n)
{
    struct isola_err err;
    if (append(j, n, &err) != 0)
        fail_msg("%s", err.text);
}

static void commits_of_any_size_begin_at_sectors_of_their_own(void **state)
{
    static const size_t sizes[] = {1,
                                   479,
                                   480, /* with its record a sector */
                                   481,
                                   5000,
                                   ISOLA__DIRECT_MOST - 32,
                                   ISOLA__DIRECT_MOST, /* more than goes at once */
                                   3 << 20,
                                   9};
    const unsigned n = sizeof(sizes) / sizeof(*sizes);
    (void)state;
    struct found f;
    struct isola__journal *j = open_here(&f);
    assert_int_equal(f.last, 0);
    for (unsigned i = 0; i < n; i++)
        must_append(j, sizes[i]);
    isola__journal_close(j, 0);

    int fd = open(file, O_RDONLY);
    off_t at = ISOLA__DIRECT_UNIT;
    for (unsigned i = 0; i < n; i++) {
        struct {
            uint32_t len, zero;
            int64_t number;
        } record;
        assert_int_equal(pread(fd, &record, sizeof(record), at), sizeof(record));
        assert_int_equal(record.number, i + 1);
        assert_int_equal(record.len, sizes[i]);
        size_t whole = sizes[i] + ISOLA__JOURNAL_ROOM + ISOLA__DIRECT_UNIT - 1;
        at += (off_t)(whole - whole % ISOLA__DIRECT_UNIT);
    }
    struct stat s;
    assert_int_equal(fstat(fd, &s), 0);
    assert_int_equal(s.st_size, at);
    close(fd);

    j = open_here(&f);
    assert_int_equal(f.last, n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(f.size[i + 1], sizes[i]);
    must_append(j, 10);
    isola__journal_close(j, 0);
    isola__journal_close(open_here(&f), 0);
    assert_int_equal(f.last, n + 1);
}

static void put(struct isola_buf *b, const void *p, size_t n)
{
    isola_buf_append(b, p, n);
}

/* A hash of the bytes from `head` on with one of `changes` behind them. */
static void put_check(struct isola_buf *b, size_t head, const uint8_t key[16], const char *changes)
{
    uint8_t both[64], check[8];
    size_t n = b->len - head;
    memcpy(both, b->data + head, n);
    crypto_shorthash(both + n, (const uint8_t *)changes, strlen(changes), key);
    crypto_shorthash(check, both, n + 8, key);
    put(b, check, 8);
}

/* As it was written before commits had sectors: one right behind the other. */
static void files_of_the_version_before_are_read_and_go_on(void **state)
{
    static const char *const commits[] = {"\1\1\1", "\2\2\2\2\2"};
    static const uint8_t key[16] = "sixteen bytes...";
    const uint32_t version = 1, zero = 0;
    const int64_t first = 1, written = 7;
    (void)state;
    struct isola_buf b = {0};
    put(&b, "IsolaLog", 8);
    put(&b, &version, 4);
    put(&b, &zero, 4);
    put(&b, &first, 8);
    put(&b, key, 16);
    put_check(&b, 0, key, "");
    for (int64_t i = 1; i <= 2; i++) {
        size_t head = b.len;
        uint32_t len = (uint32_t)strlen(commits[i - 1]);
        put(&b, &len, 4);
        put(&b, &zero, 4);
        put(&b, &i, 8);
        put(&b, &written, 8);
        put_check(&b, head, key, commits[i - 1]);
        put(&b, commits[i - 1], len);
    }
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, b.data, b.len), b.len);
    close(fd);
    isola_buf_free(&b);

    struct found f;
    struct isola__journal *j = open_here(&f);
    assert_int_equal(f.last, 2);
    must_append(j, 30);        /* where those are */
    isola__journal_turn(j, 0); /* the other file, which is of this version */
    must_append(j, 40);
    isola__journal_close(j, 0);
    isola__journal_close(open_here(&f), 0);
    assert_int_equal(f.last, 4);
    assert_int_equal(f.size[3], 30);
    assert_int_equal(f.size[4], 40);
}

static void what_does_not_fit_is_refused_and_not_found(void **state)
{
    (void)state;
    struct rlimit before, small;
    struct isola_err err;
    struct found f;
    struct isola__journal *j = open_here(&f);
    must_append(j, 100);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 20 * ISOLA__DIRECT_UNIT;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int code = append(j, 100000, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(code, ISOLA_EIO);
    assert_non_null(strstr(err.text, file));
    assert_non_null(strstr(err.text, strerror(EFBIG)));
    assert_int_equal(isola__journal_number(j), 1);
    must_append(j, 200);
    isola__journal_close(j, 0);
    isola__journal_close(open_here(&f), 0);
    assert_int_equal(f.last, 2);
    assert_int_equal(f.size[2], 200);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commits_of_any_size_begin_at_sectors_of_their_own),
        TEST(files_of_the_version_before_are_read_and_go_on),
        TEST(what_does_not_fit_is_refused_and_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
