/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses that are wrong, taken, or where nobody answers, and dials that take their time: the
 * same suite over unix sockets and over TCP.
 */
#include "link_harness.h"

/* --- addresses --- */

static void expect_url(const char *url, int code)
{
    struct end e = {0};
    struct isola_listener *l;
    struct isola_err err = {0};
    assert_int_equal(isola_link_dial(&loop, url, &security, NULL, &ops, &e, &e.link, &err), code);
    assert_int_equal(err.code, code);
    assert_true(strlen(err.text) > 20);
    assert_int_equal(isola_listener_open(&loop, url, &security, &listener_ops, NULL, &l, &err),
                     code);
    assert_int_equal(err.code, code);
}

static void test_urls(void **state)
{
    static const char *const bad[] = {"",
                                      "unix:",
                                      "unix",
                                      "tcp:127.0.0.1:1",
                                      "tcp://",
                                      "tcp://127.0.0.1",
                                      "tcp://127.0.0.1:",
                                      "tcp://127.0.0.1:x",
                                      "tcp://127.0.0.1:1x",
                                      "tcp://127.0.0.1:-1",
                                      "tcp://127.0.0.1:65536",
                                      "tcp://127.0.0.1:000001",
                                      "tcp://:80",
                                      "tcp://::1:80",
                                      "tcp://[::1]80",
                                      "tcp://[::1",
                                      "tcp://[127.0.0.1]:80",
                                      "tcp://a@127.0.0.1:1",
                                      "tcp://127.0.0.1/:1",
                                      "http://127.0.0.1:1",
                                      "/tmp/socket"};
    static const char *const names[] = {
        "tcp://example.com:1", "tcp://localhost.evil:1", "tcp://127.0.0.1.evil:1", "tcp://127.1:1",
        "tcp://*:1",
    };
    static const char *const abroad[] = {"tcp://0.0.0.0:1",   "tcp://192.168.1.1:1",
                                         "tcp://[::]:1",      "tcp://[fe80::1]:1",
                                         "tcp://128.0.0.1:1", "tcp://[::ffff:10.0.0.1]:1"};
    char longest[300];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_url(bad[i], ISOLA_EINVAL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        expect_url(names[i], ISOLA_EINVAL);
    for (size_t i = 0; i < sizeof(abroad) / sizeof(abroad[0]); i++) { /* not without an identity */
        struct end none = {0};
        struct isola_listener *l;
        struct isola_err refused;
        assert_int_equal(
            isola_link_dial(&loop, abroad[i], NULL, NULL, &ops, &none, &none.link, &refused),
            ISOLA_EPERM);
        assert_int_equal(
            isola_listener_open(&loop, abroad[i], NULL, &listener_ops, NULL, &l, &refused),
            ISOLA_EPERM);
        assert_non_null(strstr(refused.text, "without an identity"));
    }
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "unix:/tmp/", 10);
    longest[5 + 108] = '\0';
    expect_url(longest, ISOLA_EINVAL);
    memset(longest, 'a', sizeof(longest) - 1);
    memcpy(longest, "tcp://", 6);
    memcpy(longest + 290, ":1", 3);
    expect_url(longest, ISOLA_EINVAL);

    struct end e = {0};
    struct isola_err err;
    assert_int_equal(
        isola_link_dial(&loop, "tcp://127.0.0.1:0", &security, NULL, &ops, &e, &e.link, &err),
        ISOLA_EINVAL);
}

static void test_taken(void **state)
{
    struct isola_listener *second;
    struct isola_err err;
    struct end client = {0}, server = {.echo = true};
    char url[128];
    (void)state;
    start_listening();
    refuse = true; /* on a unix socket the second one looks whether anybody answers */
    strcpy(url, isola_listener_url(listener));
    assert_int_equal(isola_listener_open(&loop, url, &security, &listener_ops, NULL, &second, &err),
                     ISOLA_EBUSY);
    assert_non_null(strstr(err.text, tcp ? url : url + strlen("unix:")));
    WAIT_FOR(tcp || n_accepted == 1);
    refuse = false;
    n_accepted = 0;
    offer(&server); /* the first one is as it was */
    dial(&client);
    send_bytes(&client, "hello", 5, 0);
    WAIT_FOR(client.frames == 1);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);

    isola_listener_close(listener);
    listener = NULL;
    while (uv_loop_alive(&loop))
        uv_run(&loop, UV_RUN_ONCE);
    strcpy(listen_url, url); /* free again, at once */
    start_listening();
    assert_string_equal(isola_listener_url(listener), url);
}

static void test_localhost(void **state)
{
    struct isola_err err;
    (void)state;
    assert_int_equal(isola_listener_open(&loop, "tcp://localhost:0", &security, &listener_ops, NULL,
                                         &listener, &err),
                     0);
    assert_memory_equal(isola_listener_url(listener), "tcp://127.0.0.1:", 16);
    assert_true(atoi(isola_listener_url(listener) + 16) > 0);
}

static void test_ipv6(void **state)
{
    struct end client = {0}, server = {.echo = true};
    struct isola_err err;
    (void)state;
    start_listening();
    isola_listener_close(listener);
    listener = NULL;
    if (isola_listener_open(&loop, "tcp://[::1]:0", &security, &listener_ops, NULL, &listener,
                            &err) != 0)
        skip(); /* a machine without IPv6 */
    offer(&server);
    dial(&client);
    send_bytes(&client, "hello", 5, 0);
    WAIT_FOR(client.frames == 1);
    assert_memory_equal(isola_link_peer(server.link), "tcp://[::1]:", 12);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
}

static void test_socket_file(void **state)
{
    struct isola_err err;
    struct stat st;
    char *path = listen_url + strlen("unix:");
    (void)state;
    mode_t before = umask(0);
    start_listening();
    umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    isola_listener_close(listener);
    assert_int_equal(stat(path, &st), -1);

    /* left behind by a process that died: replaced */
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    strcpy(sa.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    close(fd);
    start_listening();
    close(raw_connect());
    isola_listener_close(listener);
    listener = NULL;

    /* not a socket: left alone */
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(
        isola_listener_open(&loop, listen_url, &security, &listener_ops, NULL, &listener, &err),
        ISOLA_EBUSY);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    unlink(path);

    /* no such directory */
    char url[128];
    snprintf(url, sizeof(url), "unix:%s/none/s", dir);
    assert_int_equal(
        isola_listener_open(&loop, url, &security, &listener_ops, NULL, &listener, &err),
        ISOLA_EIO);
    assert_non_null(strstr(err.text, "create its directory"));
    listener = NULL;
}

static void test_file_of_another(void **state)
{
    struct isola_listener *first;
    struct stat st;
    char *path = listen_url + strlen("unix:");
    (void)state;
    start_listening();
    first = listener;
    unlink(path); /* someone removed it, and another took the path */
    start_listening();
    isola_listener_close(first);
    assert_int_equal(stat(path, &st), 0);
}

static void test_dial_nothing(void **state)
{
    struct end client = {0};
    struct isola_err err;
    char url[128];
    (void)state;
    start_listening(); /* to learn a port that is free once it is closed */
    strcpy(url, isola_listener_url(listener));
    isola_listener_close(listener);
    listener = NULL;
    while (uv_loop_alive(&loop))
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(
        isola_link_dial(&loop, url, &security, NULL, &ops, &client, &client.link, &err), 0);
    send_bytes(&client, "waits", 5, 0);
    WAIT_FOR(client.downs);
    assert_int_equal(client.ups, 0);
    assert_int_equal(client.code, ISOLA_EUNREACHABLE);
    assert_non_null(strstr(client.why, url));
    assert_non_null(strstr(client.why, "nothing listens there"));
}

/* --- connecting takes its time, as it does everywhere but on loopback --- */

enum { DIALS = 32, ROOM = 2 * DIALS };

/* A listening socket that has no room for one more, until somebody of `crowd` is accepted. */
static int full_listener(int crowd[ROOM + 1], char url[64])
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, ROOM), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    for (int i = 0; i <= ROOM; i++) { /* the queue takes one more than it is said to */
        crowd[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(crowd[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
    }
    snprintf(url, 64, "tcp://127.0.0.1:%d", ntohs(sa.sin_port));
    return fd;
}

/* They are under way for so long that one that took itself for connected would be up. */
static void dial_slowly(struct end slow[DIALS], const char *url, const struct watch *watch)
{
    struct isola_err err;
    memset(slow, 0, DIALS * sizeof(*slow));
    uint64_t begun = watch->ns;
    for (int i = 0; i < DIALS; i++)
        assert_int_equal(
            isola_link_dial(&loop, url, &security, NULL, &ops, &slow[i], &slow[i].link, &err), 0);
    WAIT_FOR(watch->ns - begun > 200000000u);
    for (int i = 0; i < DIALS; i++)
        if (slow[i].downs > 0)
            fail_msg("%s", slow[i].why);
}

static void expect_down(struct end slow[DIALS], int code, const char *why)
{
    for (int i = 0; i < DIALS; i++) {
        WAIT_FOR(slow[i].downs == 1);
        assert_int_equal(slow[i].ups, 0);
        assert_int_equal(slow[i].code, code);
        if (strstr(slow[i].why, why) == NULL)
            fail_msg("%s", slow[i].why);
    }
}

static bool accepted(int fd, int *peer)
{
    if (*peer < 0)
        *peer = accept(fd, NULL, NULL);
    return *peer >= 0;
}

/* No dial takes itself for connected, or for failed, before it is. */
static void test_slow_connect(void **state)
{
    static struct end slow[DIALS];
    struct watch watch;
    int crowd[ROOM + 1], came[DIALS];
    char url[64];
    (void)state;
    int fd = full_listener(crowd, url);
    watch_start(&watch, &loop);
    dial_slowly(slow, url, &watch);
    for (int i = 0; i <= ROOM; i++) {
        close(accept(fd, NULL, NULL));
        close(crowd[i]);
    }
    for (int i = 0; i < DIALS; i++) {
        came[i] = -1;
        WAIT_FOR(accepted(fd, &came[i]));
        WAIT_FOR(raw_readable(came[i])); /* it says who it is */
    }
    for (int i = 0; i < DIALS; i++) {
        assert_int_equal(slow[i].downs, 0);
        close(came[i]);
    }
    expect_down(slow, ISOLA_ECLOSED, "closed by the peer");
    (void)watch_stop(&watch);
    close(fd);
}

/* Nobody is there any more, when at last it is asked; or this end has closed meanwhile. */
static void test_slow_failure(void **state)
{
    static struct end slow[DIALS];
    struct watch watch;
    int crowd[ROOM + 1];
    char url[64];
    (void)state;
    watch_start(&watch, &loop);
    for (int how = 0; how < 2; how++) {
        int fd = full_listener(crowd, url);
        dial_slowly(slow, url, &watch);
        for (int i = 0; how == 0 && i < DIALS; i++) {
            if (i % 2 == 0)
                send_bytes(&slow[i], "waits", 5, 0);
            close_end(&slow[i]);
        }
        if (how == 0)
            expect_down(slow, 0, "closed");
        close(fd);
        for (int i = 0; i <= ROOM; i++)
            close(crowd[i]);
        if (how == 1)
            expect_down(slow, ISOLA_EUNREACHABLE, "nothing listens there");
    }
    (void)watch_stop(&watch);
}

#define BOTH TEST(test_dial_nothing), TEST(test_taken)

int main(void)
{
    const struct CMUnitTest unix_suite[] = {BOTH, TEST(test_urls), TEST(test_socket_file),
                                            TEST(test_file_of_another)};
    const struct CMUnitTest tcp_suite[] = {BOTH, TEST(test_localhost), TEST(test_slow_connect),
                                           TEST(test_slow_failure), TEST(test_ipv6)};
    RUN_BOTH(unix_suite, tcp_suite);
}
