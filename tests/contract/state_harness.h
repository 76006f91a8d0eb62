/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of store/state.h share: a file of their own for each test, requests that are
 * waited for, disks that are full, and a process that writes until it is killed: the program
 * itself, started with "writer PATH". A program includes it once.
 */
#ifndef ISOLA_TESTS_STATE_HARNESS_H
#define ISOLA_TESTS_STATE_HARNESS_H

#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/tempdir.h"

#define DEADLINE_S 60

static const char *self; /* this program */
static char dir[TEMPDIR_SIZE];
static char path[96];
static char data_path[96]; /* the file with the tables, when there is one group */
static struct isola_state_options store_options = {.groups = 1};

/* --- waiting for callbacks --- */

struct wait {
    struct isola_state_req req;
    int code;
    bool done;
    char why[1000];
    uint8_t *value; /* a copy, with a NUL behind it */
    size_t len;
    struct isola_kept_rows rows; /* likewise */
    unsigned order;              /* which callback of all it was */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned callbacks;

static inline void on_done(struct isola_state_req *req, int code, struct isola_slice value,
                           const char *why)
{
    struct wait *w = req->arg;
    pthread_mutex_lock(&lock);
    w->code = code;
    w->len = value.len;
    w->value = calloc(1, value.len + 1);
    if (value.len != 0)
        memcpy(w->value, value.data, value.len);
    if (code == 0)
        isola_kept_copy(&w->rows, req->rows, req->nrows);
    snprintf(w->why, sizeof(w->why), "%s", why != NULL ? why : "");
    w->order = ++callbacks;
    w->done = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static inline void await(const bool *flag)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_S;
    pthread_mutex_lock(&lock);
    while (!*flag && pthread_cond_timedwait(&changed, &lock, &until) == 0)
        continue;
    bool ok = *flag;
    pthread_mutex_unlock(&lock);
    assert_true(ok);
}

static inline void forget(struct wait *w)
{
    free(w->value);
    isola_kept_free(&w->rows);
    *w = (struct wait){0};
}

static inline void prepare(struct wait *w, const char *address)
{
    *w = (struct wait){.req = {.cb = on_done, .arg = w, .address = isola_slice_str(address)}};
}

static inline void put(struct isola_state *s, struct wait *w, const char *address,
                       const char *value)
{
    prepare(w, address);
    isola_state_put(s, &w->req, isola_slice_str(value));
}
static inline void get(struct isola_state *s, struct wait *w, const char *address)
{
    prepare(w, address);
    isola_state_get(s, &w->req);
}
static inline void del(struct isola_state *s, struct wait *w, const char *address)
{
    prepare(w, address);
    isola_state_del(s, &w->req);
}

static inline void answered(struct wait *w, const char *value)
{
    await(&w->done);
    assert_int_equal(w->code, 0);
    assert_int_equal(w->len, strlen(value));
    assert_memory_equal(w->value, value, w->len);
    forget(w);
}
static inline void ended(struct wait *w, int code)
{
    await(&w->done);
    assert_int_equal(w->code, code);
    forget(w);
}

static inline struct isola_state *open_state(void)
{
    struct isola_state *s = NULL;
    struct isola_err err = {0};
    if (isola_state_open_with(path, &store_options, &s, &err) != 0)
        fail_msg("%s", err.text);
    return s;
}

/* Holds the store's thread in a callback until opened, so that what is requested meanwhile is one
 * batch. */
struct gate {
    struct isola_state_req req;
    bool entered, open, left;
};
static inline void on_gate(struct isola_state_req *req, int code, struct isola_slice value,
                           const char *why)
{
    (void)code, (void)value, (void)why;
    struct gate *g = req->arg;
    pthread_mutex_lock(&lock);
    g->entered = true;
    pthread_cond_broadcast(&changed);
    while (!g->open)
        pthread_cond_wait(&changed, &lock);
    g->left = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}
static inline void shut_gate(struct isola_state *s, struct gate *g)
{
    *g = (struct gate){.req = {.cb = on_gate, .arg = g, .address = isola_slice_str("gate/G/g")}};
    isola_state_del(s, &g->req);
    await(&g->entered);
}
static inline void open_gate(struct gate *g)
{
    pthread_mutex_lock(&lock);
    g->open = true;
    pthread_cond_broadcast(&changed);
    while (!g->left)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static inline struct isola_state_stats stats(struct isola_state *s)
{
    struct isola_state_stats st;
    isola_state_stats(s, &st);
    return st;
}

/* --- files --- */

static inline int make_dir(void **state)
{
    (void)state;
    if (tempdir_make(dir) != 0)
        return -1;
    snprintf(path, sizeof(path), "%s/state.db", dir);
    snprintf(data_path, sizeof(data_path), "%s/state-0.db", dir);
    return 0;
}
static inline int remove_dir(void **state)
{
    (void)state;
    return tempdir_remove(dir);
}

static inline void sql(const char *file, const char *text)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline void check_integrity(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open(data_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

static inline void set_file_size_limit(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes > r.rlim_max ? r.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* --- the process that is killed --- */

static inline pid_t spawn_writer(int *out)
{
    int fds[2];
    pid_t pid;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    char arg0[] = "test", arg1[] = "writer";
    char *argv[] = {arg0, arg1, path, NULL};
    extern char **environ;
    assert_int_equal(posix_spawn(&pid, self, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    *out = fds[0];
    return pid;
}

static inline void kill_and_reap(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

/* False: the writer has ended. */
static inline bool read_whole(int fd, void *to, size_t n)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = read(fd, (char *)to + have, n - have);
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

/* The rest of main: `run` is the writer's, given the path. */
#define RUN(tests, run)                                                                            \
    self = argv[0];                                                                                \
    if (argc == 3 && strcmp(argv[1], "writer") == 0)                                               \
        return run(argv[2]);                                                                       \
    return cmocka_run_group_tests(tests, NULL, NULL)

#endif
