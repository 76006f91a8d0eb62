/* SPDX-License-Identifier: Apache-2.0
 *
 * Files with secrets: written whole, and read only when nobody else could have.
 */
#include "transport/keyfile.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/tempdir.h"
#include "transport/identity.h"

static char root[TEMPDIR_SIZE], dir[128], file[160];

static int make_root(void **state)
{
    (void)state;
    if (tempdir_make(root) != 0)
        return -1;
    snprintf(dir, sizeof(dir), "%s/cluster", root);
    snprintf(file, sizeof(file), "%s/node.key", dir);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    return tempdir_remove(root);
}

static void unreadable(int code, const char *sentence)
{
    struct isola_err err = {0};
    uint8_t *data = NULL;
    size_t len = 0;
    assert_int_equal(isola_secret_read(file, 100, &data, &len, &err), code);
    assert_null(data);
    if (strstr(err.text, sentence) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
}

static void written_and_read(void **state)
{
    (void)state;
    struct isola_err err;
    struct stat st;
    uint8_t *data;
    size_t len;
    assert_int_equal(isola_secret_dir(dir, &err), 0);
    assert_int_equal(isola_secret_dir(dir, &err), 0);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    unreadable(ISOLA_ENOENT, "No such file");
    mode_t before = umask(0);
    assert_int_equal(isola_secret_write(file, isola_slice_str("one"), &err), 0);
    assert_int_equal(isola_secret_write(file, isola_slice_str("two!"), &err), 0);
    umask(before);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(isola_secret_read(file, 100, &data, &len, &err), 0);
    assert_int_equal(len, 4);
    assert_memory_equal(data, "two!", 4);
    isola_secret_free(data);

    char fresh[170];
    snprintf(fresh, sizeof(fresh), "%s.new", file);
    assert_int_not_equal(access(fresh, F_OK), 0);
    /* One that a crash has left is in nobody's way. */
    int fd = open(fresh, O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(isola_secret_write(file, isola_slice_str("three"), &err), 0);
    assert_int_not_equal(access(fresh, F_OK), 0);
    assert_int_equal(isola_secret_read(file, 4, &data, &len, &err), ISOLA_ETOOBIG);
}

static void others_could_read_it(void **state)
{
    (void)state;
    struct isola_err err;
    assert_int_equal(isola_secret_dir(dir, &err), 0);
    assert_int_equal(isola_secret_write(file, isola_slice_str("one"), &err), 0);
    for (mode_t bit = 1; bit <= 040; bit <<= 1) {
        assert_int_equal(chmod(file, 0600 | bit), 0);
        unreadable(ISOLA_EPERM, "others have rights to");
    }
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(chmod(dir, 0701), 0);
    unreadable(ISOLA_EPERM, "chmod 700");
    assert_int_equal(isola_secret_write(file, isola_slice_str("two"), &err), ISOLA_EPERM);
    assert_int_equal(isola_secret_dir(dir, &err), ISOLA_EPERM);
    assert_int_equal(chmod(dir, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(file, 65534, 65534), 0);
        unreadable(ISOLA_EPERM, "belongs to user 65534");
        assert_int_equal(chown(dir, 65534, 65534), 0);
        assert_int_equal(isola_secret_dir(dir, &err), ISOLA_EPERM);
        assert_int_equal(chown(dir, 0, 0), 0);
    }
}

static void no_ordinary_files(void **state)
{
    (void)state;
    struct isola_err err;
    assert_int_equal(isola_secret_dir(dir, &err), 0);
    assert_int_equal(symlink("/etc/passwd", file), 0);
    unreadable(ISOLA_EIO, "node.key");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    unreadable(ISOLA_EPERM, "no ordinary file");
    assert_int_not_equal(isola_secret_write(file, isola_slice_str("x"), &err), 0);
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(mkfifo(file, 0600), 0); /* opened without waiting for a writer */
    unreadable(ISOLA_EPERM, "no ordinary file");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(symlink("/", dir), 0);
    assert_int_not_equal(isola_secret_dir(dir, &err), 0);
    assert_int_equal(unlink(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(written_and_read, make_root, remove_root),
        cmocka_unit_test_setup_teardown(others_could_read_it, make_root, remove_root),
        cmocka_unit_test_setup_teardown(no_ordinary_files, make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
