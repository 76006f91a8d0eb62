/* SPDX-License-Identifier: Apache-2.0
 *
 * Links whose peer is hostile, gone or not there, and addresses that are wrong or taken: the same
 * suite over unix sockets and over TCP.
 */
#include "link_harness.h"

/* --- the peer ends, lies or vanishes --- */

static void test_half_frame(void **state)
{
    struct end server = {0};
    (void)state;
    int fd = raw_pair(&server);
    raw_write(fd, "\0\0\0\5hello\0\0\1\0half", 17);
    close(fd);
    WAIT_FOR(server.downs);
    assert_int_equal(server.frames, 1);
    assert_int_equal(server.code, ISOLA_ECLOSED);
    assert_non_null(strstr(server.why, "in the middle of a frame, after 8 bytes"));
}

static void test_half_header(void **state)
{
    struct end server = {0};
    (void)state;
    int fd = raw_pair(&server);
    raw_write(fd, "\0\0", 2);
    close(fd);
    WAIT_FOR(server.downs);
    assert_int_equal(server.code, ISOLA_ECLOSED);
    assert_int_equal(server.frames, 0);
}

static void test_oversized(void **state)
{
    static const char *const headers[] = {"\4\0\0\1", "\377\377\377\377", "GET "};
    (void)state;
    start_listening();
    for (size_t i = 0; i < 3; i++) {
        struct end server = {0};
        struct drain d;
        offer(&server);
        int fd = raw_connect();
        drain_start(&d, fd);
        raw_write(fd, "\0\0\0\2ok", 6);
        raw_write(fd, headers[i], 4);
        WAIT_FOR(server.downs && d.at_end);
        assert_int_equal(server.frames, 1);
        assert_int_equal(server.code, ISOLA_EPROTO);
        assert_non_null(strstr(server.why, "67108864 are allowed"));
        drain_stop(&d, fd);
    }
}

static void test_largest_claim(void **state)
{
    struct end server = {0};
    (void)state;
    int fd = raw_pair(&server);
    raw_write(fd, "\4\0\0\0", 4); /* exactly the limit: fine, if it came */
    raw_write(fd, "x", 1);
    close(fd);
    WAIT_FOR(server.downs);
    assert_int_equal(server.code, ISOLA_ECLOSED);
}

static void test_goodbye(void **state)
{
    struct end server = {0};
    struct drain d;
    (void)state;
    int fd = raw_pair(&server);
    drain_start(&d, fd);
    raw_write(fd, "\0\0\0\2ok\0\0\0\0", 10);
    WAIT_FOR(server.downs && d.at_end);
    assert_int_equal(server.frames, 1);
    assert_int_equal(server.code, ISOLA_ECLOSED);
    drain_stop(&d, fd);
}

static void test_peer_resets(void **state)
{
    struct end server = {0};
    (void)state;
    int fd = raw_pair(&server);
    struct linger abort_on_close = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof(abort_on_close));
    send_bytes(&server, "unread", 6, 0);
    WAIT_FOR(bytes_out(server.link) == 10);
    close(fd);
    WAIT_FOR(server.downs);
    assert_int_equal(server.code, ISOLA_ECLOSED);
}

/* The peer sent a last word and closed while we were writing to it: the word still arrives. */
static void test_last_word(void **state)
{
    struct end server = {0};
    (void)state;
    int fd = raw_pair(&server);
    raw_write(fd, "\0\0\0\4last", 8);
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 100; i++)
        send_bytes(&server, "more", 4, 0);
    WAIT_FOR(server.downs);
    assert_int_equal(server.frames, 1);
    assert_int_equal(server.code, ISOLA_ECLOSED);
    close(fd);
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
    assert_int_equal(isola_link_dial(&loop, url, &ops, &client, &client.link, &err), 0);
    send_bytes(&client, "waits", 5, 0);
    WAIT_FOR(client.downs);
    assert_int_equal(client.ups, 0);
    assert_int_equal(client.code, ISOLA_EUNREACHABLE);
    assert_non_null(strstr(client.why, url));
    assert_non_null(strstr(client.why, "nothing listens there"));
}

/* --- addresses --- */

static void expect_url(const char *url, int code)
{
    struct end e = {0};
    struct isola_listener *l;
    struct isola_err err = {0};
    assert_int_equal(isola_link_dial(&loop, url, &ops, &e, &e.link, &err), code);
    assert_int_equal(err.code, code);
    assert_true(strlen(err.text) > 20);
    assert_int_equal(isola_listener_open(&loop, url, &listener_ops, NULL, &l, &err), code);
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
    static const char *const denied[] = {"tcp://0.0.0.0:1",
                                         "tcp://192.168.1.1:1",
                                         "tcp://example.com:1",
                                         "tcp://localhost.evil:1",
                                         "tcp://127.0.0.1.evil:1",
                                         "tcp://[::]:1",
                                         "tcp://[fe80::1]:1",
                                         "tcp://[::ffff:10.0.0.1]:1",
                                         "tcp://128.0.0.1:1",
                                         "tcp://127.1:1",
                                         "tcp://*:1"};
    char longest[300];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_url(bad[i], ISOLA_EINVAL);
    for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
        expect_url(denied[i], ISOLA_EPERM);
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "unix:/tmp/", 10);
    longest[5 + 108] = '\0';
    expect_url(longest, ISOLA_EINVAL);
    memset(longest, 'a', sizeof(longest) - 1);
    memcpy(longest, "tcp://", 6);
    memcpy(longest + 290, ":1", 3);
    expect_url(longest, ISOLA_EPERM);

    struct end e = {0};
    struct isola_err err;
    assert_int_equal(isola_link_dial(&loop, "tcp://127.0.0.1:0", &ops, &e, &e.link, &err),
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
    assert_int_equal(isola_listener_open(&loop, url, &listener_ops, NULL, &second, &err),
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
    assert_int_equal(
        isola_listener_open(&loop, "tcp://localhost:0", &listener_ops, NULL, &listener, &err), 0);
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
    if (isola_listener_open(&loop, "tcp://[::1]:0", &listener_ops, NULL, &listener, &err) != 0)
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
    assert_int_equal(isola_listener_open(&loop, listen_url, &listener_ops, NULL, &listener, &err),
                     ISOLA_EBUSY);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    unlink(path);

    /* no such directory */
    char url[128];
    snprintf(url, sizeof(url), "unix:%s/none/s", dir);
    assert_int_equal(isola_listener_open(&loop, url, &listener_ops, NULL, &listener, &err),
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

#define BOTH                                                                                       \
    TEST(test_half_frame), TEST(test_half_header), TEST(test_oversized), TEST(test_largest_claim), \
        TEST(test_goodbye), TEST(test_peer_resets), TEST(test_last_word), TEST(test_dial_nothing), \
        TEST(test_taken)

int main(void)
{
    const struct CMUnitTest unix_suite[] = {BOTH, TEST(test_urls), TEST(test_socket_file),
                                            TEST(test_file_of_another)};
    const struct CMUnitTest tcp_suite[] = {BOTH, TEST(test_localhost), TEST(test_ipv6)};
    RUN_BOTH(unix_suite, tcp_suite);
}
