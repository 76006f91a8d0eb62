/* SPDX-License-Identifier: Apache-2.0
 *
 * Links whose peer is hostile, gone or not there, and addresses that are wrong or taken: the same
 * suite over unix sockets and over TCP.
 */
#include "link_harness.h"

#include "transport/inflow.h"

/* --- how long something takes, on a machine that may have no time for us now and then --- */

#define WATCH_MS 20

/* Time in which the loop was run, up to its last look: each counts for so much at the most. */
struct watch {
    uv_timer_t timer;
    uint64_t looked_ns, ns;
};

static void on_watch(uv_timer_t *timer)
{
    struct watch *w = timer->data;
    uint64_t now = uv_hrtime(), gap = now - w->looked_ns, most = 5 * WATCH_MS * 1000000u;
    w->looked_ns = now;
    w->ns += gap < most ? gap : most;
}

static void watch_start(struct watch *w)
{
    *w = (struct watch){.looked_ns = uv_hrtime()};
    uv_timer_init(&loop, &w->timer);
    w->timer.data = w;
    uv_timer_start(&w->timer, on_watch, WATCH_MS, WATCH_MS);
}

static uint64_t watch_stop(struct watch *w)
{
    uv_close((uv_handle_t *)&w->timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return w->ns;
}

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
        assert_non_null(strstr(server.why, i == 1 ? "which is unknown" : "67108864 are allowed"));
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
    WAIT_FOR(server.link == NULL || bytes_out(server.link) >= 10);
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
    assert_int_equal(
        isola_link_dial(&loop, url, &security, NULL, &ops, &client, &client.link, &err), 0);
    send_bytes(&client, "waits", 5, 0);
    WAIT_FOR(client.downs);
    assert_int_equal(client.ups, 0);
    assert_int_equal(client.code, ISOLA_EUNREACHABLE);
    assert_non_null(strstr(client.why, url));
    assert_non_null(strstr(client.why, "nothing listens there"));
}

/* Waits for the next frame on the raw end of a connection, and decodes it: `got` has slices of
 * `in`, until the next one is read. */
static unsigned next_envelope(int fd, struct isola__inflow *in, struct isola_msg *got)
{
    struct isola_slice bytes = {0};
    struct isola_err err;
    enum isola__item kind;
    unsigned version;
    while (isola__inflow_next(in, &kind, &bytes, &err) != 1) {
        uint8_t *to;
        size_t room;
        WAIT_FOR(raw_readable(fd));
        assert_int_equal(isola__inflow_room(in, &to, &room), 0);
        ssize_t n = recv(fd, to, room, MSG_DONTWAIT);
        assert_true(n > 0);
        isola__inflow_arrived(in, (size_t)n);
    }
    assert_int_equal(kind, ISOLA__ITEM_FRAME);
    assert_int_equal(isola_envelope_decode(bytes, got, &version, &err), 0);
    return version;
}

/* The peer of `link` begins to speak that version. */
static void speak(struct isola_link *link, unsigned version)
{
    struct isola_msg m = {.kind = ISOLA_MSG_EMIT, .event = isola_slice_str("x")}, got;
    struct isola_buf frame = {0};
    struct isola_err err;
    isola_envelope_encode(&m, version, &frame);
    assert_int_equal(isola_link_decode(link, isola_buf_slice(&frame), &got, &err), 0);
    isola_buf_free(&frame);
}

/* A client that begins to speak an older version while parts are on their way to it: what its
 * version says nothing of goes on, since it has taken them once. */
static void test_falls_back(void **state)
{
    struct end server = {0};
    struct isola__inflow in = {0};
    struct isola_buf args = {0};
    struct isola_msg m = {.kind = ISOLA_MSG_EMIT, .event = isola_slice_str("x")}, got;
    (void)state;
    int fd = raw_pair(&server);
    for (unsigned version = 2; version > 0; version--) {
        speak(server.link, version);
        args.len = 0;
        isola_mp_array(&args, 1);
        isola_mp_bin_header(&args, version == 2 ? 3 << 20 : 10);
        isola_buf_extend(&args, version == 2 ? 3 << 20 : 10);
        m.args = isola_buf_slice(&args);
        assert_int_equal(isola_link_send_msg(server.link, &m), 0);
    }
    assert_int_equal(next_envelope(fd, &in, &got), 2);
    assert_true(got.args.len > 3 << 20);
    assert_int_equal(next_envelope(fd, &in, &got), 1);
    assert_int_equal(got.args.len, 13);
    isola__inflow_free(&in);
    isola_buf_free(&args);
    close(fd);
    WAIT_FOR(server.downs);
}

/* Who speaks version 1 gets values as that has them; what is malformed it does not get, and is no
 * matter of the connection. */
static void test_older_values(void **state)
{
    static const struct isola_slice values = {(const uint8_t *)"\x91\xd5\x0c\xe9\x41", 5};
    struct end server = {0};
    struct isola__inflow in = {0};
    struct isola_msg m = {.kind = ISOLA_MSG_EMIT, .event = isola_slice_str("x")}, got;
    (void)state;
    int fd = raw_pair(&server);
    for (unsigned version = 2; version > 0; version--) {
        speak(server.link, version);
        m.args = isola_slice("\x91\xd4\x0d\x41", 4);
        if (version == 1)
            assert_int_equal(isola_link_send_msg(server.link, &m), ISOLA_EPROTO);
        m.args = values;
        assert_int_equal(isola_link_send_msg(server.link, &m), 0);
        m.args = isola_slice(NULL, 0);
        assert_int_equal(isola_link_send_msg(server.link, &m), 0);
    }
    assert_int_equal(next_envelope(fd, &in, &got), 2);
    assert_true(isola_slice_eq(got.args, values));
    assert_int_equal(next_envelope(fd, &in, &got), 2);
    assert_true(isola_slice_is(got.args, "\x90"));
    assert_int_equal(next_envelope(fd, &in, &got), 1);
    assert_true(isola_slice_is(got.args, "\x91\xa3\u00e9\x41"));
    assert_int_equal(next_envelope(fd, &in, &got), 1);
    assert_true(isola_slice_is(got.args, "\x90"));

    /* what lies in memory of its own stays there, and is its sender's */
    struct isola_buf large = {0};
    isola_buf_extend(&large, ISOLA_MSG_BEFORE);
    isola_mp_array(&large, 1);
    size_t begun = isola_mp_ext_begin(&large, ISOLA_EXT_LATIN1);
    memset(isola_buf_extend(&large, 100000), 0xe9, 100000);
    isola_mp_ext_end(&large, begun);
    m.args = isola_slice(large.data + ISOLA_MSG_BEFORE, large.len - ISOLA_MSG_BEFORE);
    void *memory = large.data;
    assert_int_equal(isola_link_send_own(server.link, &m, &memory), 0);
    assert_ptr_equal(memory, large.data);
    assert_int_equal(next_envelope(fd, &in, &got), 1);
    assert_int_equal(got.args.len, 200006);
    isola_buf_free(&large);
    isola__inflow_free(&in);
    close(fd);
    WAIT_FOR(server.downs);
}

/* A peer that pings and does not read: what it is owed does not pile up. */
static void test_pings_unread(void **state)
{
    enum { PINGS = 4000, TIMES = 400 };
    struct end server = {0};
    struct isola_link_stats stats;
    uint8_t *pings = calloc(PINGS, 12);
    size_t sent = 0, most = 0;
    (void)state;
    int fd = raw_pair(&server);
    for (size_t i = 0; i < PINGS; i++)
        memcpy(pings + 12 * i,
               "\x83\0\0\10"
               "12345678",
               12);
    isola_link_stats(server.link, &stats);
    uint64_t before = stats.bytes_in;
    for (int i = 0; i < TIMES; i++) {
        raw_write(fd, pings, (size_t)PINGS * 12);
        sent += (size_t)PINGS * 12;
        WAIT_FOR((isola_link_stats(server.link, &stats), stats.bytes_in - before >= sent));
        most = stats.queued_frames > most ? stats.queued_frames : most;
    }
    assert_true(most > 0);
    if (most > 1100)
        fail_msg("%zu things wait for a peer that only pings", most);
    raw_write(fd, "\0\0\0\2ok", 6); /* it is heard all the same */
    WAIT_FOR(server.frames == 1);
    close(fd);
    WAIT_FOR(server.downs);
    free(pings);
}

/* Who waits for room is told when there is some, not when nothing waits any more. */
static void test_drained_at_half(void **state)
{
    struct end server = {0};
    struct isola_link_stats stats;
    static uint8_t data[64 << 10];
    const int small = 64 << 10;
    (void)state;
    int fd = raw_pair(&server);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    do
        send_bytes(&server, data, sizeof(data), 0);
    while (isola_link_stats(server.link, &stats),
           stats.queued_bytes + sizeof(data) <= ISOLA_LINK_QUEUE_MAX);
    send_bytes(&server, data, sizeof(data), ISOLA_EOVERLOAD);
    do {
        WAIT_FOR(raw_readable(fd));
        assert_true(recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0);
        uv_run(&loop, UV_RUN_NOWAIT);
    } while (server.drains == 0);
    isola_link_stats(server.link, &stats);
    assert_in_range(stats.queued_bytes, 1, ISOLA_LINK_CROWDED); /* with what is being written */
    close(fd);
    WAIT_FOR(server.downs);
}

/* Closed with something to send while the peer does not say who it is: it ends like any close. */
static void test_close_while_shaking(void **state)
{
    struct end client = {0};
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    struct isola_err err;
    char url[64];
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", ntohs(sa.sin_port));
    assert_int_equal(
        isola_link_dial(&loop, url, &security, NULL, &ops, &client, &client.link, &err), 0);
    send_bytes(&client, "waits", 5, 0);
    int peer = accept(fd, NULL, NULL);
    WAIT_FOR(raw_readable(peer)); /* it has begun */
    struct watch watch;
    watch_start(&watch);
    close_end(&client);
    WAIT_FOR(client.downs);
    assert_int_equal(client.code, 0);
    assert_non_null(strstr(client.why, "9 bytes could not be written in time"));
    assert_true(watch_stop(&watch) < 2000000000u);
    close(peer);
    close(fd);
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
    watch_start(&watch);
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
    watch_start(&watch);
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

/* --- strangers: TCP only --- */

static struct isola_listener_stats listener_stats(void)
{
    struct isola_listener_stats stats;
    isola_listener_stats(listener, &stats);
    return stats;
}

/* Has the listener ended the connection? */
static bool ended(int fd)
{
    uint8_t bytes[1000];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        continue;
    return n == 0 || errno != EAGAIN;
}

/* One that says nothing, one that says a byte now and then, one that says other things. */
static void test_strangers(void **state)
{
    struct end client = {0}, server = {0};
    (void)state;
    start_listening();
    int silent = raw_socket(), slow = raw_socket(), wrong = raw_socket();
    int loud = raw_socket(), half = raw_socket();
    char *flood = calloc(1, 1 << 20);
    raw_write(slow, "\x89", 1);
    raw_write(wrong, "GET / HTTP/1.1\r\n\r\n", 18);
    raw_write(half, "\x89Isola\1\1\0\2\0\2\0\0\0\0\0\x20half", 22);
    (void)!send(loud, flood, 1 << 20, MSG_DONTWAIT | MSG_NOSIGNAL);
    WAIT_FOR(ended(wrong) && ended(loud));
    WAIT_FOR(listener_stats().strangers == 3);

    /* nobody else waits for them */
    offer(&server);
    dial(&client);
    WAIT_FOR(client.ups == 1 && server.link != NULL);
    raw_write(slow, "I", 1);
    WAIT_FOR(ended(silent) && ended(slow) && ended(half));
    assert_int_equal(listener_stats().strangers, 0);
    assert_int_equal(listener_stats().refused, 5);
    assert_int_equal(listener_stats().accepted, 1);
    assert_int_equal(n_accepted, 1);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
    close(silent), close(slow), close(wrong), close(loud), close(half);
    free(flood);
}

enum { CROWD = 300 };

/* Many come, one by one; how many of them are strangers then. */
static unsigned crowd_comes(int fds[CROWD])
{
    uint64_t before = listener_stats().refused;
    for (unsigned i = 0; i < CROWD; i++) {
        fds[i] = raw_socket();
        WAIT_FOR(listener_stats().refused - before + listener_stats().strangers == i + 1);
    }
    return listener_stats().strangers;
}

static void crowd_goes(int fds[CROWD])
{
    for (int i = 0; i < CROWD; i++) {
        WAIT_FOR(ended(fds[i]));
        close(fds[i]);
    }
}

static void test_too_many_strangers(void **state)
{
    int fds[CROWD], tries = 1;
    (void)state;
    start_listening();
    while (crowd_comes(fds) != 256 && tries++ < 5) /* the first may be late before the last come */
        crowd_goes(fds);
    assert_int_equal(listener_stats().strangers, 256);
    isola_listener_close(listener); /* and they go with it */
    listener = NULL;
    crowd_goes(fds);
}

/* A node that is not let in, at either end; one of another cluster; another key than expected. */
static void test_not_let_in(void **state)
{
    struct end a = {0}, b = {0}, c = {0};
    uint8_t other[ISOLA_KEY_SIZE];
    (void)state;
    start_listening();
    admit_none = true;
    dial(&a);
    WAIT_FOR(a.downs);
    assert_int_equal(a.code, ISOLA_EPERM);
    assert_non_null(strstr(a.why, "nobody is let in here"));
    admit_none = false;

    struct isola_static_keys stranger;
    isola_static_keys_new(&stranger);
    memcpy(other, stranger.public_key, sizeof(other));
    dial_key = other; /* the listener cannot open what is meant for another */
    dial(&b);
    WAIT_FOR(b.downs);
    assert_int_equal(b.ups, 0);
    assert_int_equal(b.code, ISOLA_EPROTO);

    dial_key = node_keys.fixed.public_key;
    struct end server = {0};
    offer(&server);
    dial(&c);
    WAIT_FOR(c.ups == 1 && server.link != NULL);
    assert_string_equal(isola_link_identity(c.link)->name, "north");
    assert_string_equal(isola_link_identity(server.link)->name, "north");
    close_end(&c);
    WAIT_FOR(c.downs && server.downs);
    assert_int_equal(n_accepted, 1);
}

/* Records that are changed, left out, or said again: the link ends, and nothing of it arrives. */
static void tampered(int how)
{
    struct end server = {0};
    uint8_t records[3][64];
    struct isola_err err;
    int fd = raw_pair(&server);
    for (int i = 0; i < 3; i++) {
        uint8_t frame[] = {0, 0, 0, 2, 'o', (uint8_t)('0' + i)};
        assert_int_equal(isola__secure_seal(&raw_channel, frame, sizeof(frame), records[i], &err),
                         0);
    }
    size_t n = 6 + ISOLA__SECURE_OVERHEAD;
    if (how == 0)
        records[1][10] ^= 1;
    if (how == 1)
        memcpy(records[1], records[0], n); /* again */
    if (how == 2)
        memcpy(records[1], records[2], n); /* one left out */
    if (how == 3)
        records[1][1]--; /* another length */
    for (int i = 0; i < 3; i++)
        assert_int_equal(write(fd, records[i], n), n);
    WAIT_FOR(server.downs);
    assert_int_equal(server.frames, 1);
    assert_int_equal(server.code, ISOLA_EPROTO);
    close(fd);
    isola_listener_close(listener);
    listener = NULL;
}

static void test_tampering(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++)
        tampered(how);
}

/* A peer of a release that is two newer, and one of the other purpose: told so by name. */
static void test_other_versions(void **state)
{
    struct isola__secure_config config;
    struct isola_err err;
    (void)state;
    start_listening();
    for (int i = 0; i < 2; i++) {
        uint8_t in[4000];
        struct isola_buf out = {0};
        size_t used, n = 0;
        int fd = raw_socket();
        raw_configure(&config);
        if (i == 0) {
            config.least = ISOLA_WIRE_VERSION + 1;
            config.greatest = ISOLA_WIRE_VERSION + 2;
        } else {
            config.purpose = ISOLA_LINK_DATA;
        }
        assert_int_equal(isola__secure_init(&raw_channel, &config, true, &err), 0);
        assert_int_equal(isola__secure_start(&raw_channel, &out, &err), 0);
        raw_write(fd, out.data, out.len);
        isola_buf_free(&out);
        WAIT_FOR(raw_readable(fd));
        n = (size_t)recv(fd, in, sizeof(in), 0);
        assert_int_equal(isola__secure_shake(&raw_channel, in, n, &used, &out, &err), ISOLA_EPROTO);
        if (i == 0 && strstr(err.text, "at most one apart") == NULL)
            fail_msg("%s", err.text);
        isola_buf_free(&out);
        WAIT_FOR(ended(fd));
        close(fd);
    }
    assert_int_equal(listener_stats().refused, 2);

    /* One that is one newer speaks our version too. */
    struct end server = {0};
    offer(&server);
    int fd = raw_socket();
    raw_configure(&config);
    config.greatest = ISOLA_WIRE_VERSION + 1;
    assert_int_equal(isola__secure_init(&raw_channel, &config, true, &err), 0);
    assert_true(raw_shake(fd));
    WAIT_FOR(server.link != NULL);
    raw_write(fd, "\0\0\0\1x", 5);
    WAIT_FOR(server.frames == 1);
    struct isola_link_stats stats;
    isola_link_stats(server.link, &stats);
    assert_int_equal(stats.wire, ISOLA_WIRE_VERSION);
    close(fd);
    WAIT_FOR(server.downs);
}

/* The first message of IK, recorded: whoever says it again has not shown that it is there. */
static void test_recorded_first_message(void **state)
{
    struct isola__secure_config config;
    struct isola_err err;
    struct isola_buf out = {0};
    (void)state;
    start_listening();
    raw_configure(&config);
    config.pattern = ISOLA__NOISE_IK;
    config.peer = node_keys.fixed.public_key;
    assert_int_equal(isola__secure_init(&raw_channel, &config, true, &err), 0);
    assert_int_equal(isola__secure_start(&raw_channel, &out, &err), 0);
    int fd = raw_socket();
    raw_write(fd, out.data, out.len);
    isola_buf_free(&out);
    WAIT_FOR(raw_readable(fd)); /* it answers, as it must */
    WAIT_FOR(ended(fd));
    assert_int_equal(n_accepted, 0);
    assert_int_equal(listener_stats().refused, 1);
    close(fd);
}

/* --- silence --- */

/* A peer that is there no more, though nothing says so: noticed in less than 3 s. */
static void test_silence(void **state)
{
    struct end server = {0};
    (void)state;
    int fd = raw_pair(&server);
    struct watch watch;
    watch_start(&watch);
    WAIT_FOR(server.downs);
    assert_int_equal(server.code, ISOLA_EUNREACHABLE);
    assert_non_null(strstr(server.why, "not heard of"));
    assert_true(watch_stop(&watch) < 3000000000u);
    close(fd);
}

/* Two that have nothing to say are not taken for dead. */
static void test_quiet(void **state)
{
    struct end client = {0}, server = {0};
    struct isola_link_stats stats;
    (void)state;
    connect_pair(&client, &server);
    uint64_t begun = uv_hrtime();
    WAIT_FOR(uv_hrtime() - begun > 3500000000u || client.downs);
    assert_int_equal(client.downs + server.downs, 0);
    isola_link_stats(client.link, &stats);
    assert_true(stats.rtt_ns > 0);
    assert_int_equal(stats.frames_in, 0);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
}

#define BOTH                                                                                       \
    TEST(test_oversized), TEST(test_goodbye), TEST(test_peer_resets), TEST(test_last_word),        \
        TEST(test_dial_nothing), TEST(test_taken), TEST(test_pings_unread)

int main(void)
{
    const struct CMUnitTest unix_suite[] = {BOTH,
                                            TEST(test_falls_back),
                                            TEST(test_older_values),
                                            TEST(test_drained_at_half),
                                            TEST(test_half_frame),
                                            TEST(test_half_header),
                                            TEST(test_largest_claim),
                                            TEST(test_urls),
                                            TEST(test_socket_file),
                                            TEST(test_file_of_another)};
    const struct CMUnitTest tcp_suite[] = {BOTH,
                                           TEST(test_localhost),
                                           TEST(test_close_while_shaking),
                                           TEST(test_slow_connect),
                                           TEST(test_slow_failure),
                                           TEST(test_ipv6),
                                           TEST(test_strangers),
                                           TEST(test_too_many_strangers),
                                           TEST(test_not_let_in),
                                           TEST(test_tampering),
                                           TEST(test_other_versions),
                                           TEST(test_recorded_first_message),
                                           TEST(test_silence),
                                           TEST(test_quiet)};
    RUN_BOTH(unix_suite, tcp_suite);
}
