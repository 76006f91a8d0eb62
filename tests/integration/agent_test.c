/* SPDX-License-Identifier: Apache-2.0
 *
 * One agent with a fake actor-host: start and stop, what it refuses, the way of messages, a host
 * that dies, is stuck or is stopped.
 */
#include "agent_harness.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/msgpack.h"

/* Their memory outlives a test that fails. */
static struct agent east, west;
static struct client client, other;

static void one_agent(void)
{
    agent_start(&east, "east", NULL);
    agent_wait_ready(&east);
    client_open(&client, east.socket);
}

static void end_one(void)
{
    client_close(&client);
    agent_stop(&east);
}

static void starts_and_stops(void **state)
{
    (void)state;
    agent_start(&east, "east", "--threads", "3", NULL);
    agent_wait_ready(&east);
    char expected[200];
    snprintf(expected, sizeof(expected), "%s/east/agent.sock", world.dir);
    assert_string_equal(east.socket, expected);
    client_open(&client, east.socket);
    struct isola_buf p = {0};
    isola_mp_map(&p, 2);
    isola_mp_kstr(&p, "program", "test");
    isola_mp_kstr(&p, "version", "1");
    struct isola_msg *m = client_call(&client, "hello", &p);
    struct isola_slice s;
    uint64_t pid;
    assert_true(isola_mp_find_str(value_of(m), "node", &s) && isola_slice_is(s, "east"));
    assert_true(isola_mp_find_uint(value_of(m), "pid", &pid) && pid == (uint64_t)east.process.pid);
    free(m);
    assert_string_equal(node_state(&client, "east"), "up");
    assert_int_equal(node_field(&client, "east", "threads"), 3);
    assert_int_equal(node_field(&client, "east", "actors"), 2);
    agent_stop(&east);
    client_close(&client);
}

static void sigint_and_stubborn_host(void **state)
{
    (void)state;
    setenv("FAKE_HOST", "stubborn", 1);
    agent_start(&east, "east", NULL);
    unsetenv("FAKE_HOST");
    agent_wait_ready(&east);
    uv_process_kill(&east.process, SIGINT);
    agent_wait_exit(&east);
    assert_int_equal(east.status, 0);
    assert_non_null(strstr(east.err, "is killed"));
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
        {"--host-timeout", "86401", "--host-timeout \"86401\": give a number from 0 to 86400"},
        {"--host-timeout", "1m", "--host-timeout \"1m\""},
        {"--memory", "63MB", "--memory \"63MB\""},
        {"--memory", "2", "--memory \"2\""},
        {"--memory", "-2GB", "--memory \"-2GB\""},
        {"--history", "24", "--history \"24\": give a time such as 90s, 30m, 24h or 7d"},
        {"--history", "1w", "--history \"1w\""},
        {"--history", "3651d", "--history \"3651d\""},
        {"--history", "-1h", "--history \"-1h\""},
        {"--history", "99999999999999999999h", "--history \"99999999999999999999h\""},
        {"--history-size", "0", "--history-size \"0\": give a size such as 512MB or 4GB"},
        {"--history-size", "1GiB", "--history-size \"1GiB\""},
        {"--history-size", "99999999GB", "--history-size \"99999999GB\""},
        {"--listen", "127.0.0.1:1", "--listen \"127.0.0.1:1\""},
        {"--listen", "tcp://0.0.0.0:0", "say with --advertise HOST"},
        {"--data-listen", "tcp://[::]:0", "--data-listen listens on all addresses"},
        {"--advertise", "0.0.0.0", "--advertise \"0.0.0.0\""},
        {"--join", "nonsense", "--join: this is no token"},
        {"--join", "isola_lgHEIKf", "mistyped or cut off"},
        {"--join", "@/nowhere/token", "--join @/nowhere/token: the file cannot be read"},
        {"--nmae", "x", "unknown option --nmae (did you mean --name?); see node-agent --help"},
        {"--http", "x", "unknown option --http;"},
        {"--socket", NULL, "option --socket needs a value"},
        {"extra", NULL, "unexpected argument \"extra\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        agent_start(&east, "east", cases[i][0], cases[i][1], NULL);
        expect_start_failure(&east, 2, cases[i][2]);
        assert_non_null(strstr(east.err, "node-agent --help"));
        assert_ptr_equal(strchr(east.err, '\n'), east.err + east.nerr - 1);
    }
}

static void help_and_version(void **state)
{
    (void)state;
    agent_start(&east, "east", "--help", NULL);
    agent_wait_exit(&east);
    assert_int_equal(east.status, 0);
    assert_non_null(strstr(east.out, "--join"));
    agent_start(&east, "east", "--version", NULL);
    agent_wait_exit(&east);
    assert_int_equal(east.status, 0);
    assert_non_null(strstr(east.out, "node-agent 0."));
}

/* That of docs/security.md with tcp://127.0.0.1:1, where nobody listens. */
#define DEAD_TOKEN                                                                                 \
    "isola_lgHEIKf236-POLibqM5km1lPkeTQH9xX-"                                                      \
    "clJPfQ7XlCpmHNnxAgBAQEBAQEBAcQgAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgLPAAABi8_"           \
    "laACRsXRjcDovLzEyNy4wLjAuMToxLxmR7w"

static void refuses_to_start(void **state)
{
    (void)state;
    char path[200];
    agent_start(&east, "east", NULL);
    agent_wait_ready(&east);

    snprintf(path, sizeof(path), "%s/east", world.dir);
    agent_start(&west, "west", "--data", path, NULL);
    expect_start_failure(&west, 1, path);
    assert_int_equal(access(east.socket, F_OK), 0);

    agent_start(&west, "west", "--socket", east.socket, NULL);
    expect_start_failure(&west, 1, east.socket);
    assert_int_equal(access(east.socket, F_OK), 0);

    agent_start(&west, "west", "--join", DEAD_TOKEN, NULL);
    expect_start_failure(&west, 1, "cannot join the cluster of this token at tcp://127.0.0.1:1");

    setenv("FAKE_HOST", "exit", 1);
    agent_start(&west, "west", NULL);
    unsetenv("FAKE_HOST");
    expect_start_failure(&west, 1, "the actor-host ended before it was ready");
    snprintf(path, sizeof(path), "%s/west/agent.sock", world.dir);
    assert_int_not_equal(access(path, F_OK), 0);

    const char *host = getenv("ISOLA_ACTOR_HOST");
    setenv("ISOLA_ACTOR_HOST", "/nowhere/actor-host", 1);
    agent_start(&west, "west", NULL);
    setenv("ISOLA_ACTOR_HOST", host, 1);
    expect_start_failure(&west, 1, "cannot start the actor-host /nowhere/actor-host");

    client_open(&client, east.socket);
    assert_string_equal(node_state(&client, "east"), "up"); /* none of it disturbed the first */
    end_one();
}

static void newer_schema(void **state)
{
    (void)state;
    char path[200];
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/east", world.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/catalog.db");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "CREATE TABLE t(a); PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    agent_start(&east, "east", NULL);
    expect_start_failure(&east, 1, "newer version");
}

static void messages_go_through(void **state)
{
    (void)state;
    one_agent();
    client_open(&other, east.socket);

    struct isola_buf args = {0};
    isola_mp_array(&args, 2);
    isola_mp_cstr(&args, "hello");
    isola_mp_uint(&args, 42);
    uint64_t id = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "echo", &args, 1000);
    struct isola_msg *m = client_answer(&client, id);
    assert_true(isola_slice_eq(value_of(m), isola_buf_slice(&args)));
    free(m);

    m = client_answer(&client,
                      client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "timeout", NULL, 1234));
    assert_int_equal(uint_of(m), 1234);
    free(m);
    m = client_answer(&client, client_send(&client, ISOLA_MSG_STOP, "shop/Counter/a", "", NULL, 0));
    assert_int_equal(value_of(m).data[0], 0xc3);
    free(m);
    assert_fail(client_ask(&client, "shop/Counter/a", "nothing"), ISOLA_ENOACTOR, "no handler");
    assert_fail(client_ask(&client, "shop//a", "echo"), ISOLA_EINVAL, "");
    assert_fail(client_ask(&client, "", "nosuch"), ISOLA_EINVAL, "\"nosuch\"");
    assert_fail(client_call(&client, "deploy", NULL), ISOLA_EINVAL, "\"app\"");

    for (int i = 0; i < 1000; i++)
        client_send(&other, ISOLA_MSG_EMIT, "shop/Counter/a", "count", NULL, 0);
    m = client_ask(&other, "shop/Counter/a", "counted");
    assert_int_equal(uint_of(m), 1000);
    free(m);

    /* Two clients with the same ids of their own; each hears its own. */
    uint64_t sc = client_send(&client, ISOLA_MSG_SUB, "shop/Counter/a", "changed", NULL, 0);
    uint64_t sd = client_send(&other, ISOLA_MSG_SUB, "shop/Counter/b", "renamed", NULL, 0);
    free(client_answer(&client, sc));
    free(client_answer(&other, sd));
    free(client_ask(&client, "shop/Counter/a", "fire"));
    m = client_next(&client, ISOLA_MSG_EVENT);
    assert_true(m->id == sc && isola_slice_is(m->event, "changed"));
    free(m);
    m = client_next(&other, ISOLA_MSG_EVENT);
    assert_true(m->id == sd && isola_slice_is(m->event, "renamed"));
    free(m);
    struct isola_msg unsub = {.kind = ISOLA_MSG_UNSUB,
                              .id = sc,
                              .dst = isola_slice_str("shop/Counter/a"),
                              .event = isola_slice_str("changed"),
                              .args = isola_slice("\x90", 1)};
    assert_int_equal(isola_link_send_msg(client.link, &unsub), 0);
    m = client_ask(&client, "shop/Counter/a", "subs");
    assert_int_equal(uint_of(m), 1);
    free(m);
    client_close(&other); /* takes its subscription with it */
    do {
        m = client_ask(&client, "shop/Counter/a", "subs");
        id = uint_of(m);
        free(m);
    } while (id != 0);

    isola_buf_free(&args);
    end_one();
}

static void asks_expire(void **state)
{
    (void)state;
    one_agent();
    uint64_t slow = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 300);
    uint64_t quick = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 1);
    assert_fail(client_answer(&client, quick), ISOLA_ETIMEDOUT, "1 ms");
    assert_fail(client_answer(&client, slow), ISOLA_ETIMEDOUT, "300 ms");
    client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL,
                0); /* never answered, never leaked */
    end_one();
}

static void bounds_of_a_client(void **state)
{
    (void)state;
    one_agent();
    uint64_t last = 0;
    for (int i = 0; i <= 100000; i++)
        last = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 0);
    assert_fail(client_answer(&client, last), ISOLA_EOVERLOAD, "100000 requests");
    client_close(&client);
    client_open(&client, east.socket);
    free(client_ask(&client, "shop/Counter/a", "echo"));
    end_one();
}

static void host_dies(void **state)
{
    (void)state;
    one_agent();
    uint64_t before = node_field(&client, "east", "host_pid");
    uint64_t sub = client_send(&client, ISOLA_MSG_SUB, "shop/Counter/a", "changed", NULL, 0);
    free(client_answer(&client, sub));
    uint64_t lost = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 60000);
    free(client_ask(&client, "shop/Counter/a", "echo"));
    (void)host_kill(&client, "east");
    assert_fail(
        client_answer(&client, lost), ISOLA_EUNREACHABLE,
        "the actor-host of node east died while it had this request; it may or may not have "
        "been carried out");
    /* Now it is down: what is sent waits for the next one. */
    uint64_t waiting = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "echo", NULL, 60000);
    struct isola_msg *m = client_answer(&client, waiting);
    value_of(m);
    free(m);
    m = client_ask(&client, "shop/Counter/a", "fire");
    assert_int_equal(uint_of(m), 1); /* the subscription was repeated */
    free(m);
    m = client_next(&client, ISOLA_MSG_EVENT);
    assert_int_equal(m->id, sub);
    free(m);
    assert_false(client_has(&client, ISOLA_MSG_REPLY)); /* and not answered a second time */
    assert_int_not_equal(node_field(&client, "east", "host_pid"), before);

    /* A host that breaks the link is as good as dead. */
    assert_fail(client_ask(&client, "shop/Counter/a", "garbage"), ISOLA_EUNREACHABLE, "died");
    free(client_ask(&client, "shop/Counter/a", "echo"));
    assert_fail(client_ask(&client, "shop/Counter/a", "die"), ISOLA_EUNREACHABLE, "died");
    free(client_ask(&client, "shop/Counter/a", "echo"));
    end_one();
}

static void stops_while_waiting(void **state)
{
    (void)state;
    one_agent();
    uint64_t held = client_send(&client, ISOLA_MSG_ASK, "shop/Counter/a", "hold", NULL, 0);
    free(client_ask(&client, "shop/Counter/a", "echo"));
    uv_process_kill(&east.process, SIGTERM);
    assert_fail(client_answer(&client, held), ISOLA_EUNREACHABLE, "");
    agent_wait_exit(&east);
    assert_int_equal(east.status, 0);
    client_close(&client);
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
    struct isola_buf p;
    one_agent();
    client_say(&client, "shop/Counter/a", "one \"quoted\"\n\xc3\xa4");
    client_say(&client, "mail/Box/b", "two");
    client_say(&client, "shopping/Box/b", "three");
    assert_int_equal(count_lines(client_call(&client, "logs", NULL)), 3);
    p = logs_params(200, false, "shop");
    assert_int_equal(count_lines(client_call(&client, "logs", &p)), 1);
    p = logs_params(2, false, NULL);
    assert_int_equal(count_lines(client_call(&client, "logs", &p)), 2);
    p = logs_params(0, true, "mail");
    assert_int_equal(count_lines(client_call(&client, "logs", &p)), 0);
    client_say(&client, "shop/Counter/a", "not followed");
    client_say(&client, "mail/Box/b", "followed");
    struct isola_msg *m = client_next(&client, ISOLA_MSG_EMIT);
    assert_true(isola_slice_is(m->event, "log"));
    assert_non_null(strstr(printable(m->args), "followed"));
    assert_null(strstr(printable(m->args), "not followed"));
    free(m);
    end_one();

    one_agent();
    m = client_call(&client, "logs", NULL);
    assert_non_null(strstr(printable(value_of(m)), "one \"quoted\""));
    assert_int_equal(count_lines(m), 5);
    end_one();
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
    one_agent();
    uint64_t sub = client_send(&client, ISOLA_MSG_SUB, "shop/Counter/a", "changed", NULL, 0);
    free(client_answer(&client, sub));
    raw(east.socket, "\xff\xff\xff\xff", 4);
    raw(east.socket, "GET / HTTP/1.1\r\n\r\n", 18);
    raw(east.socket, "\0\0\0\1\xc1", 5);
    raw(east.socket, "\0\0\0\2\x90\x90", 6);
    raw(east.socket, "\0\0\x10\0half", 7);
    client_open(&other, east.socket);
    struct isola_buf junk = {0};
    isola_buf_puts(&junk, "junk");
    assert_int_equal(isola_link_send(other.link, &junk), 0);
    assert_fail(client_next(&other, ISOLA_MSG_FAIL), ISOLA_EPROTO, "");
    WAIT_FOR(other.down);
    client_close(&other);
    client_open(&other, east.socket);
    client_send(&other, ISOLA_MSG_REPLY, "", "", NULL, 0);
    WAIT_FOR(other.down);
    client_close(&other);
    free(client_ask(&client, "shop/Counter/a", "fire"));
    free(client_next(&client, ISOLA_MSG_EVENT));
    end_one();
}

/* --- a service manager --- */

static struct {
    int fd;
    uv_poll_t poll;
    char last[512]; /* what it was told last */
    unsigned told, beats;
} manager;

static void on_told(uv_poll_t *poll, int status, int events)
{
    (void)poll, (void)status, (void)events;
    ssize_t n = recv(manager.fd, manager.last, sizeof(manager.last) - 1, MSG_DONTWAIT);
    if (n < 0)
        return;
    manager.last[n] = '\0';
    manager.told++;
    manager.beats += strstr(manager.last, "\nWATCHDOG=1") != NULL;
}

static void manager_listen(void)
{
    int rc = uv_poll_start(&manager.poll, UV_READABLE, on_told);
    assert_int_equal(rc, 0);
}

/* Listens at `path`, or with @ at a name in no file system, and says so to what is started then. */
static void manager_open(const char *path, const char *usec)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    memset(&manager, 0, sizeof(manager));
    memcpy(at.sun_path, path, len);
    if (path[0] == '@')
        at.sun_path[0] = '\0';
    manager.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(manager.fd, (struct sockaddr *)&at,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", usec, 1);
    assert_int_equal(uv_poll_init(&world.loop, &manager.poll, manager.fd), 0);
}

static void on_poll_closed(uv_handle_t *handle)
{
    (void)handle;
    close(manager.fd);
}

static void manager_close(void)
{
    uv_close((uv_handle_t *)&manager.poll, on_poll_closed);
    uv_run(&world.loop, UV_RUN_NOWAIT);
}

static void env_of(uint64_t pid, char *out, size_t size)
{
    char path[40];
    snprintf(path, sizeof(path), "/proc/%llu/environ", (unsigned long long)pid);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(out, 1, size - 1, f);
    fclose(f);
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '\0' ? '\n' : out[i];
    out[n] = '\0';
}

static void tells_the_service_manager(void **state)
{
    (void)state;
    char path[200], env[65536];
    snprintf(path, sizeof(path), "%s/notify", world.dir);
    manager_open(path, "200000");
    manager_listen();
    agent_start(&east, "east", NULL);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    WAIT_FOR(manager.told > 0);
    assert_string_equal(manager.last, "STATUS=starting\nWATCHDOG=1");
    agent_wait_ready(&east);
    WAIT_FOR(strcmp(manager.last, "READY=1\nSTATUS=node east in no cluster\nWATCHDOG=1") == 0);
    unsigned beats = manager.beats;
    WAIT_FOR(manager.beats >= beats + 3);

    client_open(&client, east.socket);
    uint64_t host = node_field(&client, "east", "host_pid");
    env_of(host, env, sizeof(env));
    assert_non_null(strstr(env, "ISOLA_ACTOR_HOST"));
    assert_null(strstr(env, "NOTIFY_SOCKET"));
    assert_null(strstr(env, "WATCHDOG_USEC"));

    agent_init(&east);
    WAIT_FOR(strstr(manager.last, "node east of cluster isola, 1 of 1 nodes up\n") != NULL);
    client_close(&client);
    uv_process_kill(&east.process, SIGTERM);
    WAIT_FOR(strstr(manager.last, "STOPPING=1\nSTATUS=stopping") == manager.last);
    agent_wait_exit(&east);
    assert_int_equal(east.status, 0);
    manager_close();
}

/* Whether a datagram to the manager would have to wait. */
static bool manager_full(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path + 1, name + 1, strlen(name) - 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ssize_t n = sendto(fd, "X=1", 3, MSG_DONTWAIT, (struct sockaddr *)&to,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)));
    bool full = n < 0 && (errno == EAGAIN || errno == ENOBUFS);
    close(fd);
    return full;
}

static void waits_for_no_service_manager(void **state)
{
    (void)state;
    char name[60];
    snprintf(name, sizeof(name), "@isola-agent-test-%d", (int)getpid());
    manager_open(name, "2000");
    one_agent();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    while (!manager_full(name))
        assert_string_equal(node_state(&client, "east"), "up");
    assert_string_equal(node_state(&client, "east"), "up"); /* it is answered all the same */
    manager_listen();
    WAIT_FOR(manager.beats > 2000); /* more than could wait: it goes on with them */
    assert_non_null(strstr(manager.last, "READY=1"));
    end_one();
    manager_close();

    setenv("NOTIFY_SOCKET", "nowhere", 1); /* a mistake of whoever set it is no reason not to run */
    one_agent();
    unsetenv("NOTIFY_SOCKET");
    end_one();
    assert_non_null(strstr(east.err, "NOTIFY_SOCKET is \"nowhere\""));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(starts_and_stops),
        TEST(sigint_and_stubborn_host),
        TEST(wrong_usage),
        TEST(help_and_version),
        TEST(refuses_to_start),
        TEST(newer_schema),
        TEST(messages_go_through),
        TEST(asks_expire),
        TEST(bounds_of_a_client),
        TEST(host_dies),

        TEST(stops_while_waiting),
        TEST(logs),
        TEST(hostile_clients),
        TEST(tells_the_service_manager),
        TEST(waits_for_no_service_manager),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
