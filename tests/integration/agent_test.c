/* SPDX-License-Identifier: Apache-2.0
 *
 * One agent with a fake actor-host: start and stop, what it refuses, the way of messages, the death
 * of its host.
 */
#include "agent_harness.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/msgpack.h"

static void kill_host(struct client *c, const char *node)
{
    pid_t pid = (pid_t)node_field(c, node, "host_pid");
    assert_true(pid > 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
}

static void starts_and_stops(void **state)
{
    (void)state;
    static struct agent a;
    static struct client c;
    agent_start(&a, "east", "--threads", "3", NULL);
    agent_wait_ready(&a);
    char expected[200];
    snprintf(expected, sizeof(expected), "%s/east/agent.sock", world.dir);
    assert_string_equal(a.socket, expected);
    client_open(&c, a.socket);
    struct isola_buf p = {0};
    isola_mp_map(&p, 2);
    isola_mp_kstr(&p, "program", "test");
    isola_mp_kstr(&p, "version", "1");
    struct isola_msg *m = client_call(&c, "hello", &p);
    struct isola_slice s;
    uint64_t pid;
    assert_true(isola_mp_find_str(value_of(m), "node", &s) && isola_slice_is(s, "east"));
    assert_true(isola_mp_find_uint(value_of(m), "pid", &pid) && pid == (uint64_t)a.process.pid);
    free(m);
    assert_string_equal(node_state(&c, "east"), "up");
    assert_int_equal(node_field(&c, "east", "threads"), 3);
    assert_int_equal(node_field(&c, "east", "actors"), 2);
    agent_stop(&a);
    client_close(&c);
}

static void sigint_and_stubborn_host(void **state)
{
    (void)state;
    static struct agent a;
    setenv("FAKE_HOST", "stubborn", 1);
    agent_start(&a, "east", NULL);
    unsetenv("FAKE_HOST");
    agent_wait_ready(&a);
    uv_process_kill(&a.process, SIGINT);
    agent_wait_exit(&a);
    assert_int_equal(a.status, 0);
    assert_non_null(strstr(a.err, "is killed"));
}

static void expect_start_failure(struct agent *a, int status, const char *text)
{
    agent_wait_exit(a);
    if (a->status != status || strstr(a->err, text) == NULL || a->nout != 0)
        fail_msg("expected status %d and \"%s\", got %d, \"%s\", stdout \"%s\"", status, text,
                 (int)a->status, a->err, a->out);
}

static void wrong_usage(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"--name", "no spaces please", "--name \"no spaces please\""},
        {"--threads", "0", "--threads \"0\""},
        {"--threads", "x", "--threads \"x\""},
        {"--memory", "63MB", "--memory \"63MB\""},
        {"--memory", "2", "--memory \"2\""},
        {"--memory", "-2GB", "--memory \"-2GB\""},
        {"--listen", "127.0.0.1:1", "--listen \"127.0.0.1:1\""},
        {"--listen", "tcp://0.0.0.0:0", "say with --advertise HOST"},
        {"--data-listen", "tcp://[::]:0", "--data-listen listens on all addresses"},
        {"--advertise", "0.0.0.0", "--advertise \"0.0.0.0\""},
        {"--join", "nonsense", "--join: this is no token"},
        {"--join", "isola_lgHEIKf", "mistyped or cut off"},
        {"--join", "@/nowhere/token", "--join @/nowhere/token: the file cannot be read"},
        {"--nmae", "x", "unknown option --nmae"},
        {"--socket", NULL, "option --socket needs a value"},
        {"extra", NULL, "unexpected argument \"extra\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static struct agent a;
        agent_start(&a, "east", cases[i][0], cases[i][1], NULL);
        expect_start_failure(&a, 2, cases[i][2]);
        assert_non_null(strstr(a.err, "node-agent --help"));
        assert_ptr_equal(strchr(a.err, '\n'), a.err + a.nerr - 1);
    }
}

static void help_and_version(void **state)
{
    (void)state;
    static struct agent a;
    agent_start(&a, "east", "--help", NULL);
    agent_wait_exit(&a);
    assert_int_equal(a.status, 0);
    assert_non_null(strstr(a.out, "--join"));
    agent_start(&a, "east", "--version", NULL);
    agent_wait_exit(&a);
    assert_int_equal(a.status, 0);
    assert_non_null(strstr(a.out, "node-agent 0."));
}

/* That of docs/security.md with tcp://127.0.0.1:1, where nobody listens. */
#define DEAD_TOKEN                                                                                 \
    "isola_lgHEIKf236-POLibqM5km1lPkeTQH9xX-"                                                      \
    "clJPfQ7XlCpmHNnxAgBAQEBAQEBAcQgAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgLPAAABi8_"           \
    "laACRsXRjcDovLzEyNy4wLjAuMToxLxmR7w"

static void refuses_to_start(void **state)
{
    (void)state;
    static struct agent a;
    static struct agent b;
    char path[200];
    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);

    snprintf(path, sizeof(path), "%s/east", world.dir);
    agent_start(&b, "west", "--data", path, NULL);
    expect_start_failure(&b, 1, path);
    assert_int_equal(access(a.socket, F_OK), 0);

    agent_start(&b, "west", "--socket", a.socket, NULL);
    expect_start_failure(&b, 1, a.socket);
    assert_int_equal(access(a.socket, F_OK), 0);

    agent_start(&b, "west", "--join", DEAD_TOKEN, NULL);
    expect_start_failure(&b, 1, "cannot join the cluster of this token at tcp://127.0.0.1:1");

    setenv("FAKE_HOST", "exit", 1);
    agent_start(&b, "west", NULL);
    unsetenv("FAKE_HOST");
    expect_start_failure(&b, 1, "the actor-host ended before it was ready");
    snprintf(path, sizeof(path), "%s/west/agent.sock", world.dir);
    assert_int_not_equal(access(path, F_OK), 0);

    const char *host = getenv("ISOLA_ACTOR_HOST");
    setenv("ISOLA_ACTOR_HOST", "/nowhere/actor-host", 1);
    agent_start(&b, "west", NULL);
    setenv("ISOLA_ACTOR_HOST", host, 1);
    expect_start_failure(&b, 1, "cannot start the actor-host /nowhere/actor-host");

    static struct client c;
    client_open(&c, a.socket);
    assert_string_equal(node_state(&c, "east"), "up"); /* none of it disturbed the first */
    client_close(&c);
    agent_stop(&a);
}

static void newer_schema(void **state)
{
    (void)state;
    static struct agent a;
    char path[200];
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/east", world.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/catalog.db");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "CREATE TABLE t(a); PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    agent_start(&a, "east", NULL);
    expect_start_failure(&a, 1, "newer version");
}

static void messages_go_through(void **state)
{
    (void)state;
    static struct agent a;
    static struct client c;
    static struct client d;
    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);
    client_open(&c, a.socket);
    client_open(&d, a.socket);

    struct isola_buf args = {0};
    isola_mp_array(&args, 2);
    isola_mp_cstr(&args, "hello");
    isola_mp_uint(&args, 42);
    uint64_t id = client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "echo", &args, 1000);
    struct isola_msg *m = client_answer(&c, id);
    assert_true(isola_slice_eq(value_of(m), isola_buf_slice(&args)));
    free(m);

    m = client_answer(&c, client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "timeout", NULL, 1234));
    assert_int_equal(uint_of(m), 1234);
    free(m);
    m = client_answer(&c, client_send(&c, ISOLA_MSG_STOP, "shop/Counter/a", "", NULL, 0));
    assert_int_equal(value_of(m).data[0], 0xc3);
    free(m);
    assert_fail(client_ask(&c, "shop/Counter/a", "nothing"), ISOLA_ENOACTOR, "no handler");
    assert_fail(client_ask(&c, "shop//a", "echo"), ISOLA_EINVAL, "");
    assert_fail(client_ask(&c, "", "nosuch"), ISOLA_EINVAL, "\"nosuch\"");
    assert_fail(client_call(&c, "deploy", NULL), ISOLA_EINVAL, "\"app\"");

    for (int i = 0; i < 1000; i++)
        client_send(&d, ISOLA_MSG_EMIT, "shop/Counter/a", "count", NULL, 0);
    m = client_ask(&d, "shop/Counter/a", "counted");
    assert_int_equal(uint_of(m), 1000);
    free(m);

    /* Two clients with the same ids of their own; each hears its own. */
    uint64_t sc = client_send(&c, ISOLA_MSG_SUB, "shop/Counter/a", "changed", NULL, 0);
    uint64_t sd = client_send(&d, ISOLA_MSG_SUB, "shop/Counter/b", "renamed", NULL, 0);
    free(client_answer(&c, sc));
    free(client_answer(&d, sd));
    free(client_ask(&c, "shop/Counter/a", "fire"));
    m = client_next(&c, ISOLA_MSG_EVENT);
    assert_true(m->id == sc && isola_slice_is(m->event, "changed"));
    free(m);
    m = client_next(&d, ISOLA_MSG_EVENT);
    assert_true(m->id == sd && isola_slice_is(m->event, "renamed"));
    free(m);
    struct isola_msg unsub = {.kind = ISOLA_MSG_UNSUB,
                              .id = sc,
                              .dst = isola_slice_str("shop/Counter/a"),
                              .event = isola_slice_str("changed"),
                              .args = isola_slice("\x90", 1)};
    assert_int_equal(isola_link_send_msg(c.link, &unsub), 0);
    m = client_ask(&c, "shop/Counter/a", "subs");
    assert_int_equal(uint_of(m), 1);
    free(m);
    client_close(&d); /* takes its subscription with it */
    do {
        m = client_ask(&c, "shop/Counter/a", "subs");
        id = uint_of(m);
        free(m);
    } while (id != 0);

    isola_buf_free(&args);
    client_close(&c);
    agent_stop(&a);
}

static void asks_expire(void **state)
{
    (void)state;
    static struct agent a;
    static struct client c;
    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);
    client_open(&c, a.socket);
    uint64_t slow = client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 300);
    uint64_t quick = client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 1);
    assert_fail(client_answer(&c, quick), ISOLA_ETIMEDOUT, "1 ms");
    assert_fail(client_answer(&c, slow), ISOLA_ETIMEDOUT, "300 ms");
    client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL,
                0); /* never answered, never leaked */
    client_close(&c);
    agent_stop(&a);
}

static void bounds_of_a_client(void **state)
{
    (void)state;
    static struct agent a;
    static struct client c;
    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);
    client_open(&c, a.socket);
    uint64_t last = 0;
    for (int i = 0; i <= 100000; i++)
        last = client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 0);
    assert_fail(client_answer(&c, last), ISOLA_EOVERLOAD, "100000 requests");
    client_close(&c);
    client_open(&c, a.socket);
    free(client_ask(&c, "shop/Counter/a", "echo"));
    client_close(&c);
    agent_stop(&a);
}

static void host_dies(void **state)
{
    (void)state;
    static struct agent a;
    static struct client c;
    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);
    client_open(&c, a.socket);
    uint64_t before = node_field(&c, "east", "host_pid");
    uint64_t sub = client_send(&c, ISOLA_MSG_SUB, "shop/Counter/a", "changed", NULL, 0);
    free(client_answer(&c, sub));
    uint64_t lost = client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 60000);
    free(client_ask(&c, "shop/Counter/a", "echo"));
    kill_host(&c, "east");
    assert_fail(
        client_answer(&c, lost), ISOLA_EUNREACHABLE,
        "the actor-host of node east died while it had this request; it may or may not have "
        "been carried out");
    /* Now it is down: what is sent waits for the next one. */
    uint64_t waiting = client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "echo", NULL, 60000);
    struct isola_msg *m = client_answer(&c, waiting);
    value_of(m);
    free(m);
    m = client_ask(&c, "shop/Counter/a", "fire");
    assert_int_equal(uint_of(m), 1); /* the subscription was repeated */
    free(m);
    m = client_next(&c, ISOLA_MSG_EVENT);
    assert_int_equal(m->id, sub);
    free(m);
    assert_false(client_has(&c, ISOLA_MSG_REPLY)); /* and not answered a second time */
    assert_int_not_equal(node_field(&c, "east", "host_pid"), before);

    /* A host that breaks the link is as good as dead. */
    assert_fail(client_ask(&c, "shop/Counter/a", "garbage"), ISOLA_EUNREACHABLE, "died");
    free(client_ask(&c, "shop/Counter/a", "echo"));
    assert_fail(client_ask(&c, "shop/Counter/a", "die"), ISOLA_EUNREACHABLE, "died");
    free(client_ask(&c, "shop/Counter/a", "echo"));
    client_close(&c);
    agent_stop(&a);
}

static void stops_while_waiting(void **state)
{
    (void)state;
    static struct agent a;
    static struct client c;
    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);
    client_open(&c, a.socket);
    uint64_t held = client_send(&c, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 0);
    free(client_ask(&c, "shop/Counter/a", "echo"));
    uv_process_kill(&a.process, SIGTERM);
    assert_fail(client_answer(&c, held), ISOLA_EUNREACHABLE, "");
    agent_wait_exit(&a);
    assert_int_equal(a.status, 0);
    client_close(&c);
}

static struct isola_buf logs_params(uint64_t lines, bool follow, const char *app)
{
    struct isola_buf p = {0};
    isola_mp_map(&p, app != NULL ? 3 : 2);
    isola_mp_kuint(&p, "lines", lines);
    isola_mp_kbool(&p, "follow", follow);
    if (app != NULL)
        isola_mp_kstr(&p, "app", app);
    return p;
}

static void say(struct client *c, const char *address, const char *text)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_cstr(&args, text);
    free(client_answer(c, client_send(c, ISOLA_MSG_ASK, address, "log", &args, 0)));
    isola_buf_free(&args);
}

static size_t count_lines(struct isola_msg *m)
{
    struct isola_slice lines = {0};
    assert_true(isola_mp_find(value_of(m), "lines", &lines));
    size_t n = isola_mp_count(lines);
    free(m);
    return n;
}

static void logs(void **state)
{
    (void)state;
    static struct agent a;
    static struct client c;
    struct isola_buf p;
    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);
    client_open(&c, a.socket);
    say(&c, "shop/Counter/a", "one \"quoted\"\n\xc3\xa4");
    say(&c, "mail/Box/b", "two");
    say(&c, "shopping/Box/b", "three");
    assert_int_equal(count_lines(client_call(&c, "logs", NULL)), 3);
    p = logs_params(200, false, "shop");
    assert_int_equal(count_lines(client_call(&c, "logs", &p)), 1);
    p = logs_params(2, false, NULL);
    assert_int_equal(count_lines(client_call(&c, "logs", &p)), 2);
    p = logs_params(0, true, "mail");
    assert_int_equal(count_lines(client_call(&c, "logs", &p)), 0);
    say(&c, "shop/Counter/a", "not followed");
    say(&c, "mail/Box/b", "followed");
    struct isola_msg *m = client_next(&c, ISOLA_MSG_EMIT);
    assert_true(isola_slice_is(m->event, "log"));
    assert_non_null(strstr(printable(m->args), "followed"));
    assert_null(strstr(printable(m->args), "not followed"));
    free(m);
    client_close(&c);
    agent_stop(&a);

    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);
    client_open(&c, a.socket);
    m = client_call(&c, "logs", NULL);
    assert_non_null(strstr(printable(value_of(m)), "one \"quoted\""));
    assert_int_equal(count_lines(m), 5);
    client_close(&c);
    agent_stop(&a);
}

/* A plain socket, for bytes that no link would send. */
static void raw(const char *path, const void *bytes, size_t n)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    assert_true(strlen(path) < sizeof(to.sun_path));
    strcpy(to.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
    if (n % 2 == 0) { /* some wait to be hung up on, some just leave */
        char drop[4096];
        while (recv(fd, drop, sizeof(drop), 0) > 0)
            continue;
    }
    close(fd);
}

static void hostile_clients(void **state)
{
    (void)state;
    static struct agent a;
    static struct client c;
    static struct client d;
    agent_start(&a, "east", NULL);
    agent_wait_ready(&a);
    client_open(&c, a.socket);
    uint64_t sub = client_send(&c, ISOLA_MSG_SUB, "shop/Counter/a", "changed", NULL, 0);
    free(client_answer(&c, sub));
    raw(a.socket, "\xff\xff\xff\xff", 4);
    raw(a.socket, "GET / HTTP/1.1\r\n\r\n", 18);
    raw(a.socket, "\0\0\0\1\xc1", 5);
    raw(a.socket, "\0\0\0\2\x90\x90", 6);
    raw(a.socket, "\0\0\x10\0half", 7);
    client_open(&d, a.socket);
    struct isola_buf junk = {0};
    isola_buf_puts(&junk, "junk");
    assert_int_equal(isola_link_send(d.link, &junk), 0);
    assert_fail(client_next(&d, ISOLA_MSG_FAIL), ISOLA_EPROTO, "");
    WAIT_FOR(d.down);
    client_close(&d);
    client_open(&d, a.socket);
    client_send(&d, ISOLA_MSG_REPLY, "", "", NULL, 0);
    WAIT_FOR(d.down);
    client_close(&d);
    free(client_ask(&c, "shop/Counter/a", "fire"));
    free(client_next(&c, ISOLA_MSG_EVENT));
    client_close(&c);
    agent_stop(&a);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(starts_and_stops),    TEST(sigint_and_stubborn_host),
        TEST(wrong_usage),         TEST(help_and_version),
        TEST(refuses_to_start),    TEST(newer_schema),
        TEST(messages_go_through), TEST(asks_expire),
        TEST(bounds_of_a_client),  TEST(host_dies),
        TEST(stops_while_waiting), TEST(logs),
        TEST(hostile_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
