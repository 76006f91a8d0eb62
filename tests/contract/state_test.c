/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of store/state.h while nothing fails: order, grouping, who reads, what is known to
 * be absent.
 */
#include "state_harness.h"

#include <sched.h>

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
    assert_int_equal(stats(s).writes, 1); /* the gate's */
    open_gate(&g);
    for (int i = 0; i < N; i++)
        ended(&w[i], 0);
    assert_int_equal(stats(s).writes, 1 + N);
    assert_int_equal(stats(s).commits, 2);
    assert_int_equal(stats(s).failed_commits, 0);
    put(s, &w[0], address[0], "alone");
    ended(&w[0], 0);
    assert_int_equal(stats(s).commits, 3);
    for (int i = 1; i < N; i++)
        get(s, &w[i], address[i]);
    for (int i = 1; i < N; i++)
        answered(&w[i], address[i]);
    assert_int_equal(stats(s).reads, N - 1);
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
    assert_int_equal(stats(s).commits, 3); /* the first one, the gate's, and these two */
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

/* --- what is not there --- */

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
    FILE *f = fopen(data_path, "r+b"); /* a page in the middle is no longer a table's */
    assert_non_null(f);
    assert_int_equal(fseek(f, 2 * 4096, SEEK_SET), 0);
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

int main(void)
{
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
