/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/state.h: order, grouping, durability under kill -9, I/O errors and
 * recovery, refused files.
 *
 * Started with "writer PATH" this program is the process that gets killed: it writes without end,
 * and reports each acknowledged put on stdout.
 */
#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
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

#define DEADLINE_S 60

static const char *self; /* this program */
static char dir[64];
static char path[96];

/* --- waiting for callbacks --- */

struct wait {
    struct isola_state_req req;
    int code;
    bool done;
    char why[1000];
    uint8_t *value; /* a copy */
    size_t len;
    unsigned order; /* which callback of all it was */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned callbacks;

static void on_done(struct isola_state_req *req, int code, struct isola_slice value,
                    const char *why)
{
    struct wait *w = req->arg;
    pthread_mutex_lock(&lock);
    w->code = code;
    w->len = value.len;
    w->value = malloc(value.len + 1);
    if (value.len != 0)
        memcpy(w->value, value.data, value.len);
    snprintf(w->why, sizeof(w->why), "%s", why != NULL ? why : "");
    w->order = ++callbacks;
    w->done = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void await(const bool *flag)
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

static void forget(struct wait *w)
{
    free(w->value);
    *w = (struct wait){0};
}

static void prepare(struct wait *w, const char *address)
{
    w->req = (struct isola_state_req){.cb = on_done, .arg = w, .address = isola_slice_str(address)};
}

static void put(struct isola_state *s, struct wait *w, const char *address, const char *value)
{
    prepare(w, address);
    isola_state_put(s, &w->req, isola_slice_str(value));
}
static void get(struct isola_state *s, struct wait *w, const char *address)
{
    prepare(w, address);
    isola_state_get(s, &w->req);
}
static void del(struct isola_state *s, struct wait *w, const char *address)
{
    prepare(w, address);
    isola_state_del(s, &w->req);
}

static void answered(struct wait *w, const char *value)
{
    await(&w->done);
    assert_int_equal(w->code, 0);
    assert_int_equal(w->len, strlen(value));
    assert_memory_equal(w->value, value, w->len);
    forget(w);
}
static void ended(struct wait *w, int code)
{
    await(&w->done);
    assert_int_equal(w->code, code);
    forget(w);
}

static struct isola_state *open_state(void)
{
    struct isola_state *s = NULL;
    struct isola_err err = {0};
    if (isola_state_open(path, &s, &err) != 0)
        fail_msg("%s", err.text);
    return s;
}

static void expect_refused(int code, const char *before, const char *after)
{
    struct isola_state *s = NULL;
    struct isola_err err = {0};
    assert_int_equal(isola_state_open(path, &s, &err), code);
    assert_int_equal(err.code, code);
    char expected[1000];
    snprintf(expected, sizeof(expected), "%s%s%s", before, path, after);
    assert_string_equal(err.text, expected);
    assert_null(s);
}

/* Holds the store's thread in a callback until opened, so that what is requested meanwhile is one
 * batch. */
struct gate {
    struct isola_state_req req;
    bool entered, open;
};
static void on_gate(struct isola_state_req *req, int code, struct isola_slice value,
                    const char *why)
{
    (void)code, (void)value, (void)why;
    struct gate *g = req->arg;
    pthread_mutex_lock(&lock);
    g->entered = true;
    pthread_cond_broadcast(&changed);
    while (!g->open)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}
static void shut_gate(struct isola_state *s, struct gate *g)
{
    *g = (struct gate){.req = {.cb = on_gate, .arg = g, .address = isola_slice_str("gate/G/g")}};
    isola_state_get(s, &g->req);
    await(&g->entered);
}
static void open_gate(struct gate *g)
{
    pthread_mutex_lock(&lock);
    g->open = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static struct isola_state_stats stats(struct isola_state *s)
{
    struct isola_state_stats st;
    isola_state_stats(s, &st);
    return st;
}

/* --- files --- */

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/isola-state-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/state.db", dir);
    return 0;
}
static int remove_dir(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++) {
        char file[128];
        snprintf(file, sizeof(file), "%s%s", path, suffixes[i]);
        unlink(file);
    }
    return rmdir(dir);
}

static void sql(const char *text)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void check_integrity(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

/* --- the contract --- */

static void keeps_what_was_put(void **state)
{
    (void)state;
    struct wait a = {0}, b = {0};
    struct isola_state *s = open_state();
    get(s, &a, "shop/Counter/1");
    ended(&a, ISOLA_ENOENT);
    put(s, &a, "shop/Counter/1", "one");
    ended(&a, 0);
    put(s, &a, "shop/Counter/1", "two");
    put(s, &b, "shop/Counter/2", "other");
    ended(&a, 0);
    ended(&b, 0);
    isola_state_close(s);
    s = open_state();
    get(s, &a, "shop/Counter/1");
    answered(&a, "two");
    get(s, &b, "shop/Counter/2");
    answered(&b, "other");
    isola_state_close(s);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void takes_requests_in_order(void **state)
{
    (void)state;
    struct wait w[10] = {0}, other = {0};
    struct gate g;
    struct isola_state *s = open_state();
    put(s, &other, "a/B/other", "stored");
    ended(&other, 0);
    shut_gate(s, &g);
    get(s, &w[0], "a/B/x");
    put(s, &w[1], "a/B/x", "1");
    get(s, &w[2], "a/B/x");
    get(s, &other, "a/B/other");
    put(s, &w[3], "a/B/x", "2");
    put(s, &w[4], "a/B/x", "3");
    get(s, &w[5], "a/B/x");
    del(s, &w[6], "a/B/x");
    get(s, &w[7], "a/B/x");
    del(s, &w[8], "a/B/x"); /* of what is not there: done, nothing changed */
    put(s, &w[9], "a/B/x", "4");
    open_gate(&g);
    for (size_t i = 0; i < 10; i++)
        await(&w[i].done);
    for (size_t i = 1; i < 10; i++)
        assert_true(w[i - 1].order < w[i].order);
    ended(&w[0], ISOLA_ENOENT);
    answered(&w[2], "1");
    answered(&w[5], "3");
    ended(&w[7], ISOLA_ENOENT);
    answered(&other, "stored");
    ended(&w[1], 0);
    ended(&w[3], 0);
    ended(&w[4], 0);
    ended(&w[6], 0);
    ended(&w[8], 0);
    ended(&w[9], 0);
    get(s, &w[0], "a/B/x");
    answered(&w[0], "4");
    isola_state_close(s);
}

static void takes_empty_and_large_values(void **state)
{
    (void)state;
    size_t big = 10u << 20;
    uint8_t *bytes = malloc(big);
    for (size_t i = 0; i < big; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 4093);
    struct wait a = {0}, b = {0};
    struct isola_state *s = open_state();
    put(s, &a, "a/B/empty", "");
    prepare(&b, "a/B/big");
    isola_state_put(s, &b.req, isola_slice(bytes, big));
    ended(&a, 0);
    ended(&b, 0);
    prepare(&a, "a/B/null");
    isola_state_put(s, &a.req, isola_slice(NULL, 0));
    ended(&a, 0);
    isola_state_close(s);
    s = open_state();
    get(s, &a, "a/B/empty");
    answered(&a, "");
    get(s, &a, "a/B/null");
    answered(&a, "");
    get(s, &b, "a/B/big");
    await(&b.done);
    assert_int_equal(b.code, 0);
    assert_int_equal(b.len, big);
    assert_memory_equal(b.value, bytes, big);
    forget(&b);
    isola_state_close(s);
    free(bytes);
}

static void groups_commits(void **state)
{
    (void)state;
    enum { N = 2000 };
    static struct wait w[N];
    static char address[N][32];
    struct gate g;
    struct isola_state *s = open_state();
    shut_gate(s, &g);
    for (int i = 0; i < N; i++) {
        snprintf(address[i], sizeof(address[i]), "a/B/%d", i);
        put(s, &w[i], address[i], address[i]);
    }
    assert_int_equal(stats(s).writes, 0);
    open_gate(&g);
    for (int i = 0; i < N; i++)
        ended(&w[i], 0);
    assert_int_equal(stats(s).writes, N);
    assert_int_equal(stats(s).commits, 1);
    assert_int_equal(stats(s).failed_commits, 0);
    put(s, &w[0], address[0], "alone");
    ended(&w[0], 0);
    assert_int_equal(stats(s).commits, 2);
    for (int i = 1; i < N; i++)
        get(s, &w[i], address[i]);
    for (int i = 1; i < N; i++)
        answered(&w[i], address[i]);
    assert_int_equal(stats(s).reads, N);
    isola_state_close(s);
}

static void answers_reads_of_others_without_a_commit(void **state)
{
    (void)state;
    struct wait p[2] = {0}, q = {0};
    struct gate g;
    struct isola_state *s = open_state();
    put(s, &q, "a/B/reader", "r");
    ended(&q, 0);
    shut_gate(s, &g);
    put(s, &p[0], "a/B/first", "1");
    get(s, &q, "a/B/reader");
    put(s, &p[1], "a/B/second", "2");
    open_gate(&g);
    answered(&q, "r");
    ended(&p[0], 0);
    ended(&p[1], 0);
    assert_int_equal(stats(s).commits, 2);
    isola_state_close(s);
}

/* Until the store's thread sleeps, a read may be its own. */
static void read_here(struct isola_state *s, const char *address, const char *value)
{
    struct wait w = {0};
    bool here = false;
    for (int tries = 0; tries < 10000 && !here; tries++) {
        prepare(&w, address);
        isola_state_get_here(s, &w.req);
        pthread_mutex_lock(&lock);
        here = w.done;
        pthread_mutex_unlock(&lock);
        answered(&w, value);
    }
    assert_true(here);
}

static void a_lone_read_is_done_by_who_asks(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct wait w = {0}, behind = {0}, read = {0};
    struct gate g;
    put(s, &w, "a/B/c", "one");
    answered(&w, "");
    read_here(s, "a/B/c", "one");
    /* Not when the thread is busy, and never before what was requested earlier. */
    shut_gate(s, &g);
    put(s, &behind, "a/B/c", "two");
    prepare(&read, "a/B/c");
    isola_state_get_here(s, &read.req);
    assert_false(read.done);
    open_gate(&g);
    answered(&behind, "");
    answered(&read, "two");
    isola_state_close(s);
}

struct reader {
    pthread_t thread;
    struct isola_state *s;
    unsigned number;
};
static void *read_and_write(void *arg)
{
    struct reader *r = arg;
    char address[32], value[32];
    struct wait w = {0};
    snprintf(address, sizeof(address), "a/B/%u", r->number);
    for (unsigned i = 0; i < 300; i++) {
        snprintf(value, sizeof(value), "%u", i / 3);
        if (i % 3 == 0) {
            put(r->s, &w, address, value);
            answered(&w, "");
        } else {
            prepare(&w, address);
            isola_state_get_here(r->s, &w.req);
            answered(&w, value);
        }
    }
    return NULL;
}

static void threads_take_turns_with_the_file(void **state)
{
    (void)state;
    struct isola_state *s = open_state();
    struct reader all[4];
    for (unsigned i = 0; i < 4; i++) {
        all[i] = (struct reader){.s = s, .number = i};
        assert_int_equal(pthread_create(&all[i].thread, NULL, read_and_write, &all[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(all[i].thread, NULL);
    assert_int_equal(stats(s).reads, 800);
    isola_state_close(s);
}

/* --- at random: who asks, whoever reads, each address is as if alone --- */

enum { ACTS = 600, OWN = 3, NOBODY = -1 };

struct act {
    struct isola_state_req req;
    struct clerk *clerk;
    unsigned place, turn; /* the nth request of its address */
    int value;            /* what is written, or is to be read */
    bool reads, again;    /* its callback reads once more */
    char text[12];
};
/* A thread with addresses of its own. */
struct clerk {
    pthread_t thread;
    struct isola_state *s;
    uint64_t seed;
    char address[OWN][24];
    struct act acts[ACTS], reread[ACTS];
    /* under `lock` */
    unsigned answered[OWN], wrong, open;
};

static unsigned at_random(struct clerk *c, unsigned n)
{
    c->seed ^= c->seed << 13;
    c->seed ^= c->seed >> 7;
    c->seed ^= c->seed << 17;
    return (unsigned)(c->seed >> 33) % n;
}

static void closed(struct clerk *c, bool right)
{
    c->wrong += !right;
    c->open--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_reread(struct isola_state_req *req, int code, struct isola_slice value,
                      const char *why)
{
    struct act *a = req->arg;
    (void)why;
    pthread_mutex_lock(&lock);
    closed(a->clerk, code == 0 && isola_slice_is(value, "constant"));
}

static void on_act(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct act *a = req->arg;
    struct clerk *c = a->clerk;
    char text[12];
    (void)why;
    snprintf(text, sizeof(text), "%d", a->value);
    bool right = !a->reads || a->value == NOBODY ? code == (a->reads ? ISOLA_ENOENT : 0)
                                                 : code == 0 && isola_slice_is(value, text);
    if (a->again) {
        struct act *more = &c->reread[a - c->acts];
        more->clerk = c;
        more->req = (struct isola_state_req){
            .cb = on_reread, .arg = more, .address = isola_slice_str("a/Constant/c")};
        isola_state_get_here(c->s, &more->req);
    }
    pthread_mutex_lock(&lock);
    right = right && ++c->answered[a->place] == a->turn;
    closed(c, right);
}

static void *act_at_random(void *arg)
{
    struct clerk *c = arg;
    int value[OWN];
    unsigned turns[OWN] = {0};
    for (unsigned i = 0; i < OWN; i++)
        value[i] = NOBODY;
    for (unsigned i = 0; i < ACTS; i++) {
        struct act *a = &c->acts[i];
        unsigned what = at_random(c, 10), at = at_random(c, OWN);
        *a = (struct act){.clerk = c, .place = at, .turn = ++turns[at], .reads = what >= 3};
        a->again = at_random(c, 4) == 0;
        a->req = (struct isola_state_req){
            .cb = on_act, .arg = a, .address = isola_slice_str(c->address[at])};
        pthread_mutex_lock(&lock);
        c->open += a->again ? 2 : 1;
        /* Now and then all has been answered, so that the store's thread may sleep. */
        while (at_random(c, 3) > 0 && c->open > (a->again ? 2u : 1u))
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        if (what == 0)
            value[at] = NOBODY;
        else if (what < 3)
            value[at] = (int)i;
        a->value = value[at];
        snprintf(a->text, sizeof(a->text), "%d", a->value);
        if (what == 0)
            isola_state_del(c->s, &a->req);
        else if (what < 3)
            isola_state_put(c->s, &a->req, isola_slice_str(a->text));
        else if (what < 5)
            isola_state_get(c->s, &a->req);
        else
            isola_state_get_here(c->s, &a->req);
    }
    return NULL;
}

static void each_address_is_as_if_alone(void **state)
{
    (void)state;
    enum { CLERKS = 4 };
    struct isola_state *s = open_state();
    struct wait w = {0};
    struct clerk *all = calloc(CLERKS, sizeof(*all));
    put(s, &w, "a/Constant/c", "constant");
    answered(&w, "");
    for (unsigned i = 0; i < CLERKS; i++) {
        struct clerk *c = &all[i];
        c->s = s;
        c->seed = ((uint64_t)getpid() << 20 | (uint64_t)time(NULL)) * 2654435761u + i + 1;
        print_message("seed %llu\n", (unsigned long long)c->seed);
        for (unsigned k = 0; k < OWN; k++)
            snprintf(c->address[k], sizeof(c->address[k]), "a/Own/%u-%u", i, k);
        assert_int_equal(pthread_create(&c->thread, NULL, act_at_random, c), 0);
    }
    for (unsigned i = 0; i < CLERKS; i++)
        pthread_join(all[i].thread, NULL);
    isola_state_close(s); /* with what is open still */
    for (unsigned i = 0; i < CLERKS; i++) {
        assert_int_equal(all[i].wrong, 0);
        assert_int_equal(all[i].open, 0);
    }
    free(all);
}

static void close_finishes_what_was_requested(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct wait w[N];
    struct isola_state *s = open_state();
    for (int i = 0; i < N; i++)
        put(s, &w[i], i % 2 ? "a/B/odd" : "a/B/even", i == N - 1 ? "last" : "earlier");
    isola_state_close(s);
    for (int i = 0; i < N; i++) {
        assert_true(w[i].done);
        ended(&w[i], 0);
    }
    s = open_state();
    get(s, &w[0], "a/B/odd");
    answered(&w[0], "last");
    isola_state_close(s);
}

/* --- I/O errors --- */

static void set_file_size_limit(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes > r.rlim_max ? r.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void fails_what_the_disk_refuses_and_recovers(void **state)
{
    (void)state;
    size_t big = 16u << 20;
    uint8_t *bytes = calloc(1, big);
    struct wait a = {0}, b = {0}, c = {0}, d = {0};
    struct gate g;
    struct isola_state *s = open_state();
    put(s, &a, "a/B/big", "before");
    ended(&a, 0);

    signal(SIGXFSZ, SIG_IGN);
    set_file_size_limit(4u << 20);
    shut_gate(s, &g);
    put(s, &a, "a/B/a", "small");
    prepare(&b, "a/B/big");
    isola_state_put(s, &b.req, isola_slice(bytes, big));
    put(s, &c, "a/B/c", "small too");
    get(s, &d, "a/B/big");
    open_gate(&g);
    await(&b.done);
    char expected[256];
    snprintf(expected, sizeof(expected), "cannot write %s: File too large", path);
    assert_string_equal(b.why, expected);
    ended(&b, ISOLA_EIO);
    ended(&a, 0); /* its neighbours are not concerned */
    ended(&c, 0);
    answered(&d, "before");
    assert_true(stats(s).failed_commits > 0);

    set_file_size_limit(RLIM_INFINITY);
    prepare(&b, "a/B/big");
    isola_state_put(s, &b.req, isola_slice(bytes, big));
    ended(&b, 0);
    isola_state_close(s);
    s = open_state();
    get(s, &a, "a/B/a");
    answered(&a, "small");
    get(s, &c, "a/B/c");
    answered(&c, "small too");
    get(s, &b, "a/B/big");
    await(&b.done);
    assert_int_equal(b.len, big);
    forget(&b);
    isola_state_close(s);
    check_integrity();
    free(bytes);
}

static void fails_all_while_nothing_can_be_written(void **state)
{
    (void)state;
    enum { N = 100 };
    static struct wait w[N];
    struct gate g;
    struct isola_state *s = open_state();
    put(s, &w[0], "a/B/x", "before");
    ended(&w[0], 0);
    signal(SIGXFSZ, SIG_IGN);
    set_file_size_limit(0);
    shut_gate(s, &g);
    for (int i = 0; i < N; i++)
        put(s, &w[i], "a/B/x", "after");
    open_gate(&g);
    for (int i = 0; i < N; i++) {
        await(&w[i].done);
        assert_int_not_equal(strlen(w[i].why), 0);
        ended(&w[i], ISOLA_EIO);
    }
    assert_in_range(stats(s).failed_commits, 2, 20); /* it does not try each of them in vain */
    get(s, &w[0], "a/B/x");
    answered(&w[0], "before");
    set_file_size_limit(RLIM_INFINITY);
    put(s, &w[0], "a/B/x", "again");
    ended(&w[0], 0);
    get(s, &w[0], "a/B/x");
    answered(&w[0], "again");
    isola_state_close(s);
    check_integrity();
}

/* --- files that are refused --- */

static void refuses_a_newer_schema(void **state)
{
    (void)state;
    isola_state_close(open_state());
    sql("PRAGMA user_version = 7");
    expect_refused(ISOLA_ESCHEMA, "",
                   " was written by a newer version of Isola (schema 7, this one knows 1): start "
                   "that version, or use another data directory");
    sql("PRAGMA user_version = 1");
    isola_state_close(open_state());
}

static void refuses_what_is_not_its_own(void **state)
{
    (void)state;
    sql("CREATE TABLE songs (title TEXT)");
    expect_refused(ISOLA_EIO, "cannot open ",
                   ": it is a database of another program; move it away");
    sql("SELECT title FROM songs");

    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("This is not a database at all, but it is long enough to have a header of 100 bytes: "
          "so it has to be read and judged.\n",
          f);
    fclose(f);
    expect_refused(ISOLA_EIO, "cannot open ", ": it is not an SQLite database; move it away");
}

static void refuses_a_place_it_cannot_write(void **state)
{
    (void)state;
    char kept[sizeof(path)];
    memcpy(kept, path, sizeof(path));
    snprintf(path, sizeof(path), "%s/missing/state.db", dir);
    expect_refused(ISOLA_EIO, "cannot open ", ": No such file or directory");
    snprintf(path, sizeof(path), "%s", dir);
    expect_refused(ISOLA_EIO, "cannot open ", ": Is a directory");
    memcpy(path, kept, sizeof(path));
}

/* --- kill -9 --- */

#define WRITER_KEYS 40

struct ack {
    uint32_t key;
    uint32_t n;
};

struct writer_slot {
    struct isola_state_req req;
    struct isola_state *s;
    struct ack next;
    char address[32];
    uint8_t value[600];
};

static void writer_put(struct writer_slot *slot)
{
    slot->next.n++;
    memset(slot->value, (int)(slot->next.n & 0xff), sizeof(slot->value));
    memcpy(slot->value, &slot->next, sizeof(slot->next));
    isola_state_put(slot->s, &slot->req, isola_slice(slot->value, 100 + slot->next.n * 37 % 500));
}

static void on_written(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    (void)value, (void)why;
    struct writer_slot *slot = req->arg;
    if (code != 0 || write(STDOUT_FILENO, &slot->next, sizeof(slot->next)) < 0)
        _exit(1);
    writer_put(slot);
}

static int writer(const char *file)
{
    static struct writer_slot slots[WRITER_KEYS];
    struct isola_state *s;
    struct isola_err err;
    if (isola_state_open(file, &s, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (uint32_t i = 0; i < WRITER_KEYS; i++) {
        snprintf(slots[i].address, sizeof(slots[i].address), "a/B/%u", i);
        slots[i].s = s;
        slots[i].next.key = i;
        slots[i].req = (struct isola_state_req){
            .cb = on_written, .arg = &slots[i], .address = isola_slice_str(slots[i].address)};
        writer_put(&slots[i]);
    }
    for (;;)
        pause();
}

static pid_t spawn_writer(int *out)
{
    int fds[2];
    pid_t pid;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    char arg0[] = "state_test", arg1[] = "writer";
    char *argv[] = {arg0, arg1, path, NULL};
    extern char **environ;
    assert_int_equal(posix_spawn(&pid, self, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    *out = fds[0];
    return pid;
}

static void kill_and_reap(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static bool read_ack(int fd, struct ack *ack)
{
    size_t have = 0;
    while (have < sizeof(*ack)) {
        ssize_t n = read(fd, (char *)ack + have, sizeof(*ack) - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    return true;
}

static void expect_acknowledged(const uint32_t *acked)
{
    struct isola_state *s = open_state();
    for (uint32_t i = 0; i < WRITER_KEYS; i++) {
        struct wait w = {0};
        char address[32];
        struct ack found;
        snprintf(address, sizeof(address), "a/B/%u", i);
        get(s, &w, address);
        await(&w.done);
        if (w.code == ISOLA_ENOENT) {
            assert_int_equal(acked[i], 0);
        } else {
            assert_int_equal(w.code, 0);
            assert_true(w.len >= sizeof(found));
            memcpy(&found, w.value, sizeof(found));
            assert_int_equal(found.key, i);
            assert_true(found.n >= acked[i]);
            assert_int_equal(w.len, 100 + found.n * 37 % 500);
            for (size_t k = sizeof(found); k < w.len; k++) /* whole, not half of two */
                assert_int_equal(w.value[k], found.n & 0xff);
        }
        forget(&w);
    }
    isola_state_close(s);
}

static void loses_nothing_acknowledged_to_kill(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("seed %u\n", seed);
    srand(seed);
    for (int round = 0; round < 25; round++) {
        uint32_t acked[WRITER_KEYS] = {0};
        struct ack ack;
        int fd;
        pid_t pid = spawn_writer(&fd);
        int after = rand() % (round % 5 == 0 ? 5 : 20000);
        for (int i = 0; i < after; i++) {
            assert_true(read_ack(fd, &ack));
            acked[ack.key] = ack.n;
        }
        kill_and_reap(pid);
        while (read_ack(fd, &ack))
            acked[ack.key] = ack.n;
        close(fd);
        expect_acknowledged(acked);
        check_integrity();
        assert_int_equal(unlink(path), 0);
    }
}

static void keeps_a_second_process_out(void **state)
{
    (void)state;
    int fd;
    struct ack ack;
    pid_t pid = spawn_writer(&fd);
    assert_true(read_ack(fd, &ack)); /* it is open over there */
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT count(*) FROM state", NULL, NULL, NULL), SQLITE_BUSY);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    expect_refused(ISOLA_EBUSY, "cannot open ",
                   ": another process has it open; stop that one first");
    kill_and_reap(pid);
    close(fd);
    isola_state_close(open_state());
}

static struct isola_slice nth_address(char *text, size_t room, int i)
{
    snprintf(text, room, "app/Type/%d", i);
    return isola_slice_str(text);
}

/* Nothing tells when the store has looked through its file: asks until it knows. */
static void await_absent(struct isola_state *s, const char *address)
{
    struct timespec now, begun;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    while (!isola_state_absent(s, isola_slice_str(address))) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        assert_true(now.tv_sec - begun.tv_sec < DEADLINE_S);
        sched_yield();
    }
}

static void knows_what_is_not_there(void **state)
{
    (void)state;
    enum { N = 2500 }; /* several goes of the scan */
    static struct wait w[N];
    static char text[N][32];
    char other[32];
    struct isola_state *s = open_state();
    await_absent(s, "app/Type/0");
    for (int i = 0; i < N; i++) {
        nth_address(text[i], sizeof(text[i]), i);
        put(s, &w[i], text[i], "v");
        assert_false(isola_state_absent(s, isola_slice_str(text[i]))); /* though not on disk yet */
    }
    for (int i = 0; i < N; i++)
        ended(&w[i], 0);
    del(s, &w[0], text[0]);
    ended(&w[0], 0);
    isola_state_close(s);

    s = open_state();
    await_absent(s, "app/Type/none");
    assert_true(isola_state_absent(s, isola_slice_str("")));
    int perhaps = 0;
    for (int i = 1; i < N; i++) {
        assert_false(isola_state_absent(s, isola_slice_str(text[i])));
        perhaps += !isola_state_absent(s, nth_address(other, sizeof(other), -i));
    }
    assert_true(perhaps < N / 50);
    isola_state_close(s);
}

static void knows_nothing_of_a_file_it_cannot_read(void **state)
{
    (void)state;
    struct wait w = {0};
    struct isola_state *s = open_state();
    put(s, &w, "a", "v");
    ended(&w, 0);
    isola_state_close(s);
    FILE *f = fopen(path, "r+b"); /* the pages after the first are no longer a table's */
    assert_non_null(f);
    assert_int_equal(fseek(f, 4096, SEEK_SET), 0);
    for (int i = 0; i < 4096; i++)
        fputc(0xff, f);
    assert_int_equal(fclose(f), 0);
    s = open_state();
    get(s, &w, "a");
    ended(&w, ISOLA_EIO);
    assert_false(isola_state_absent(s, isola_slice_str("b")));
    get(s, &w, "b"); /* by now a scan has been tried */
    ended(&w, ISOLA_EIO);
    assert_false(isola_state_absent(s, isola_slice_str("b")));
    isola_state_close(s);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 3 && strcmp(argv[1], "writer") == 0)
        return writer(argv[2]);
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        TEST(keeps_what_was_put),
        TEST(takes_requests_in_order),
        TEST(takes_empty_and_large_values),
        TEST(groups_commits),
        TEST(answers_reads_of_others_without_a_commit),
        TEST(knows_what_is_not_there),
        TEST(knows_nothing_of_a_file_it_cannot_read),
        TEST(a_lone_read_is_done_by_who_asks),
        TEST(threads_take_turns_with_the_file),
        TEST(each_address_is_as_if_alone),
        TEST(close_finishes_what_was_requested),
        TEST(fails_what_the_disk_refuses_and_recovers),
        TEST(fails_all_while_nothing_can_be_written),
        TEST(refuses_a_newer_schema),
        TEST(refuses_what_is_not_its_own),
        TEST(refuses_a_place_it_cannot_write),
        TEST(loses_nothing_acknowledged_to_kill),
        TEST(keeps_a_second_process_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
