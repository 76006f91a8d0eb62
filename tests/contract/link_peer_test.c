/* SPDX-License-Identifier: Apache-2.0
 *
 * Links whose peer is hostile, gone or silent: the same suite over unix sockets and over TCP.
 */
#include "link_harness.h"
#include "transport/inflow.h"

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
    watch_start(&watch, &loop);
    close_end(&client);
    WAIT_FOR(client.downs);
    assert_int_equal(client.code, 0);
    assert_non_null(strstr(client.why, "9 bytes could not be written in time"));
    assert_true(watch_stop(&watch) < 2000000000u);
    close(peer);
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
    watch_start(&watch, &loop);
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
        TEST(test_pings_unread)

int main(void)
{
    const struct CMUnitTest unix_suite[] = {BOTH,
                                            TEST(test_falls_back),
                                            TEST(test_older_values),
                                            TEST(test_drained_at_half),
                                            TEST(test_half_frame),
                                            TEST(test_half_header),
                                            TEST(test_largest_claim)};
    const struct CMUnitTest tcp_suite[] = {BOTH, TEST(test_close_while_shaking), TEST(test_silence),
                                           TEST(test_quiet)};
    RUN_BOTH(unix_suite, tcp_suite);
}
