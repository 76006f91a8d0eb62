/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directory: made, locked, refused.
 *
 * Started with "holder DIR" this program is the other agent that has the directory: it says so on
 * stdout and waits.
 */
#include "store/db.h"
#include "store/sqlite.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/tempdir.h"

static const char *self; /* this program */
static char root[TEMPDIR_SIZE];
static char path[128];

static int make_root(void **state)
{
    (void)state;
    if (tempdir_make(root) != 0)
        return -1;
    snprintf(path, sizeof(path), "%s/a/data", root);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    chmod(path, 0700); /* one that was not writable */
    return tempdir_remove(root);
}

static void refused(const char *at, int code, const char *sentence)
{
    struct isola_datadir *dir = NULL;
    struct isola_err err = {0};
    assert_int_equal(isola_datadir_open(at, &dir, &err), code);
    assert_string_equal(err.text, sentence);
    assert_null(dir);
}

static struct isola_datadir *opened(const char *at)
{
    struct isola_datadir *dir = NULL;
    struct isola_err err = {0};
    if (isola_datadir_open(at, &dir, &err) != 0)
        fail_msg("%s", err.text);
    return dir;
}

static void creates_what_is_missing(void **state)
{
    (void)state;
    struct isola_datadir *dir = opened(path);
    struct stat st;
    assert_string_equal(isola_datadir_path(dir), path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    isola_datadir_close(dir);
    dir = opened(path); /* again, with what the first left */
    isola_datadir_close(dir);
    char around[160];
    snprintf(around, sizeof(around), "%s/../data//", path);
    dir = opened(around);
    assert_string_equal(isola_datadir_path(dir), path);
    isola_datadir_close(dir);
}

static void locks_within_one_process(void **state)
{
    (void)state;
    char sentence[400];
    struct isola_datadir *dir = opened(path);
    snprintf(sentence, sizeof(sentence),
             "the data directory %s is in use by another agent (pid %ld): stop it, or use another "
             "directory",
             path, (long)getpid());
    refused(path, ISOLA_EBUSY, sentence);
    isola_datadir_close(dir);
    isola_datadir_close(opened(path));
}

static int hold(const char *at)
{
    struct isola_datadir *dir;
    struct isola_err err;
    char ready = '!';
    if (isola_datadir_open(at, &dir, &err) != 0 || write(STDOUT_FILENO, &ready, 1) != 1)
        return 1;
    for (;;)
        pause();
}

static void names_the_process_that_has_it(void **state)
{
    (void)state;
    int fds[2], status;
    pid_t pid;
    char ready, sentence[400];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    char arg0[] = "datadir_test", arg1[] = "holder";
    char *argv[] = {arg0, arg1, path, NULL};
    extern char **environ;
    assert_int_equal(posix_spawn(&pid, self, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    assert_int_equal(read(fds[0], &ready, 1), 1);
    close(fds[0]);
    snprintf(sentence, sizeof(sentence),
             "the data directory %s is in use by another agent (pid %ld): stop it, or use another "
             "directory",
             path, (long)pid);
    refused(path, ISOLA_EBUSY, sentence);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    isola_datadir_close(opened(path)); /* a killed owner leaves nothing in the way */
}

static void refuses_what_cannot_be_a_directory(void **state)
{
    (void)state;
    char file[128], below[160], sentence[400];
    snprintf(file, sizeof(file), "%s/file", root);
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    snprintf(sentence, sizeof(sentence),
             "cannot use the data directory %s: Not a directory; choose another data directory",
             file);
    refused(file, ISOLA_EIO, sentence);
    snprintf(below, sizeof(below), "%s/data", file);
    refused(below, ISOLA_EIO, sentence);
    refused("/proc/isola", ISOLA_EIO,
            "cannot create the data directory /proc/isola: No such file or directory; choose "
            "another data directory");
    refused("", ISOLA_EINVAL, "the data directory's name is empty");
}

/* As root every directory can be written, so another user has to try. */
static int try_as_nobody(void)
{
    struct isola_datadir *dir = NULL;
    struct isola_err err = {0};
    char sentence[400];
    if (geteuid() == 0 && setuid(65534) != 0)
        return 2;
    snprintf(sentence, sizeof(sentence),
             "cannot write to the data directory %s: Permission denied; choose another data "
             "directory",
             path);
    if (isola_datadir_open(path, &dir, &err) != ISOLA_EPERM || strcmp(err.text, sentence) != 0)
        return 3;
    snprintf(sentence, sizeof(sentence),
             "cannot create the data directory %s/x: Permission denied; choose another data "
             "directory",
             path);
    strcat(path, "/x");
    if (isola_datadir_open(path, &dir, &err) != ISOLA_EPERM || strcmp(err.text, sentence) != 0)
        return 4;
    return 0;
}

static void refuses_a_directory_that_is_not_writable(void **state)
{
    (void)state;
    int status;
    isola_datadir_close(opened(path));
    char parent[80];
    snprintf(parent, sizeof(parent), "%s/a", root);
    assert_int_equal(chmod(root, 0755) | chmod(parent, 0755) | chmod(path, 0555), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(try_as_nobody());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void refuses_what_others_may_write_to(void **state)
{
    (void)state;
    static const mode_t modes[] = {0720, 0702, 0775, 01777};
    char sentence[800];
    isola_datadir_close(opened(path));
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        snprintf(sentence, sizeof(sentence),
                 "others may write to the data directory %s (mode %03o), where keys and state are: "
                 "if you trust what is in it, `chmod go-w %s`, else choose another data directory",
                 path, (unsigned)modes[i] & 0777, path);
        refused(path, ISOLA_EPERM, sentence);
    }
    assert_int_equal(chmod(path, 0755), 0); /* others may look, not write */
    isola_datadir_close(opened(path));
}

static void refuses_what_is_another_users(void **state)
{
    (void)state;
    char sentence[800];
    if (geteuid() != 0)
        skip(); /* only root can give a directory away */
    isola_datadir_close(opened(path));
    assert_int_equal(chown(path, 65534, 65534), 0);
    snprintf(sentence, sizeof(sentence),
             "the data directory %s belongs to user 65534, not to user 0 as whom this runs: run it "
             "as that one, `chown -R 0 %s`, or choose another data directory",
             path, path);
    refused(path, ISOLA_EPERM, sentence);
}

static void refuses_a_newer_schema(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int schema;
    } files[] = {{"state.db", ISOLA__STATE_SCHEMA}, {"catalog.db", ISOLA__CATALOG_SCHEMA}};
    isola_datadir_close(opened(path));
    for (size_t i = 0; i < 2; i++) {
        char file[160], sentence[400];
        sqlite3 *db = NULL;
        snprintf(file, sizeof(file), "%s/%s", path, files[i].name);
        assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        snprintf(sentence, sizeof(sentence),
                 "%s was written by a newer version of Isola (schema 99, this one knows %d): start "
                 "that version, or use another data directory",
                 file, files[i].schema);
        refused(path, ISOLA_ESCHEMA, sentence);
        assert_int_equal(unlink(file), 0);
        isola_datadir_close(opened(path)); /* the refusal did not keep the lock */
    }
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 3 && strcmp(argv[1], "holder") == 0)
        return hold(argv[2]);
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(creates_what_is_missing),
        TEST(locks_within_one_process),
        TEST(names_the_process_that_has_it),
        TEST(refuses_what_cannot_be_a_directory),
        TEST(refuses_a_directory_that_is_not_writable),
        TEST(refuses_what_others_may_write_to),
        TEST(refuses_what_is_another_users),
        TEST(refuses_a_newer_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
