/* SPDX-License-Identifier: Apache-2.0
 *
 * What every link does, whatever carries it: the same suite over unix sockets (libuv) and over TCP
 * (nng). Each test ends by running its loop until nothing is left in it.
 */
#include "link_harness.h"

/* --- the happy path --- */

static void test_echo(void **state)
{
    struct end client = {.keep_last = true}, server = {.echo = true};
    struct isola_link_stats stats;
    (void)state;
    connect_pair(&client, &server);
    assert_int_equal(server.ups, 0); /* accepted links are up when handed over */
    assert_string_equal(isola_link_peer(client.link), isola_listener_url(listener));
    assert_memory_equal(isola_link_peer(server.link), tcp ? "tcp://127.0.0.1:" : listen_url,
                        strlen(tcp ? "tcp://127.0.0.1:" : listen_url));
    send_bytes(&client, "hello", 5, 0);
    WAIT_FOR(client.frames == 1);
    assert_memory_equal(client.last.data, "hello", 5);
    WAIT_FOR(bytes_out(client.link) >= 9);
    isola_link_stats(client.link, &stats);
    assert_int_equal(stats.frames_in, 1);
    assert_int_equal(stats.frames_out, 1);
    assert_true(tcp ? stats.bytes_in > 9 : stats.bytes_in == 9);
    assert_int_equal(stats.queued_bytes, 0);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(client.code, 0);
    assert_int_equal(server.code, ISOLA_ECLOSED);
    assert_string_equal(client.why, "closed by the peer"); /* our goodbye was answered */
    isola_buf_free(&client.last);
}

static void test_message(void **state)
{
    struct end client = {0}, server = {.keep_last = true};
    struct isola_buf args = {0};
    (void)state;
    connect_pair(&client, &server);
    isola_mp_array(&args, 1);
    isola_mp_uint(&args, 7);
    struct isola_msg m = {.kind = ISOLA_MSG_ASK,
                          .id = 42,
                          .timeout_ms = 1000,
                          .dst = isola_slice_str("shop/Counter/a"),
                          .event = isola_slice_str("add"),
                          .args = isola_buf_slice(&args)};
    assert_int_equal(isola_link_send_msg(client.link, &m), 0);
    WAIT_FOR(server.frames == 1);
    struct isola_msg got;
    assert_int_equal(isola_envelope_decode(isola_buf_slice(&server.last), &got, NULL, NULL), 0);
    assert_int_equal(got.id, 42);
    assert_true(isola_slice_is(got.dst, "shop/Counter/a"));
    isola_buf_free(&args);

    /* a large one is encoded into memory of its own */
    isola_mp_array(&args, 1);
    isola_mp_bin_header(&args, 3 << 20);
    memset(isola_buf_extend(&args, 3 << 20), 'x', 3 << 20);
    m.args = isola_buf_slice(&args);
    assert_int_equal(isola_link_send_msg(client.link, &m), 0);
    WAIT_FOR(server.frames == 2);
    assert_int_equal(isola_envelope_decode(isola_buf_slice(&server.last), &got, NULL, NULL), 0);
    assert_true(isola_slice_eq(got.args, isola_buf_slice(&args)));

    /* one over the limit is refused, and leaves the link as it was */
    size_t most = tcp ? ISOLA_MESSAGE_MAX : ISOLA_FRAME_MAX; /* a unix peer has not said more yet */
    for (size_t i = 0; i < 2; i++) {
        args.len = 0;
        isola_mp_array(&args, 1);
        isola_mp_bin_header(&args, i == 0 ? most : most - 11);
        isola_buf_extend(&args, i == 0 ? most : most - 11);
        m.args = isola_buf_slice(&args);
        assert_int_equal(isola_link_send_msg(client.link, &m), ISOLA_ETOOBIG);
    }
    m.args = isola_slice(NULL, 0);
    assert_int_equal(isola_link_send_msg(client.link, &m), 0);
    WAIT_FOR(server.frames == 3);
    assert_int_equal(isola_envelope_decode(isola_buf_slice(&server.last), &got, NULL, NULL), 0);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
    isola_buf_free(&args);
    isola_buf_free(&server.last);
}

/* Args of `n` bytes and more, each another, behind `before` bytes of memory that are nobody's. */
static uint8_t *own_args(size_t before, size_t n, uint8_t first, struct isola_slice *args)
{
    struct isola_buf b = {0};
    if (before > 0)
        assert_non_null(isola_buf_extend(&b, before));
    isola_mp_array(&b, 1);
    isola_mp_bin_header(&b, n);
    uint8_t *to = isola_buf_extend(&b, n);
    assert_non_null(to);
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(first + (i * 2654435761u >> 13));
    *args = isola_slice(b.data + before, b.len - before);
    return b.data;
}

/* What is large leaves with its memory, where the peer takes parts; and is as it was. */
static void test_own_memory(void **state)
{
    static const size_t sizes[] = {1000000, 61430, 200000, 17000, 100, 122000};
    struct end client = {0}, server = {.keep_last = true};
    struct isola_slice args;
    (void)state;
    connect_pair(&client, &server);
    struct isola_msg m = {.kind = ISOLA_MSG_EMIT,
                          .src = isola_slice_str("shop/Counter/a"),
                          .dst = isola_slice_str("shop/Counter/b"),
                          .event = isola_slice_str("add")};
    struct isola_msg got;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        void *memory = own_args(ISOLA_MSG_BEFORE, sizes[i], (uint8_t)i, &args), *had = memory;
        struct isola_slice want;
        void *copy = own_args(0, sizes[i], (uint8_t)i, &want);
        m.args = args;
        assert_int_equal(isola_link_send_own(client.link, &m, &memory), 0);
        assert_true(memory == (tcp && sizes[i] > 16384 ? NULL : had));
        WAIT_FOR(server.frames == (int)i + 1);
        assert_int_equal(isola_envelope_decode(isola_buf_slice(&server.last), &got, NULL, NULL), 0);
        assert_true(isola_slice_is(got.src, "shop/Counter/a"));
        assert_true(isola_slice_eq(got.args, want));
        free(memory);
        free(copy);
    }
    /* No room for the envelope before it: it is copied. */
    void *memory = own_args(20, 100000, 7, &args);
    m.args = args;
    assert_int_equal(isola_link_send_own(client.link, &m, &memory), 0);
    assert_non_null(memory);
    WAIT_FOR(server.frames == (int)(sizeof(sizes) / sizeof(*sizes)) + 1);
    assert_int_equal(isola_envelope_decode(isola_buf_slice(&server.last), &got, NULL, NULL), 0);
    assert_true(isola_slice_eq(got.args, args));
    free(memory);
    /* One that is refused stays, unchanged. */
    close_end(&client);
    memory = own_args(ISOLA_MSG_BEFORE, 100000, 8, &args);
    struct isola_slice want;
    void *copy = own_args(0, 100000, 8, &want);
    m.args = args;
    assert_int_equal(isola_link_send_own(client.link, &m, &memory), ISOLA_ECLOSED);
    assert_true(memory != NULL && isola_slice_eq(args, want));
    free(memory);
    free(copy);
    WAIT_FOR(client.downs && server.downs);
    isola_buf_free(&server.last);
}

static void test_order(void **state)
{
    struct end client = {0}, server = {.echo = true};
    (void)state;
    connect_pair(&client, &server);
    for (uint32_t i = 0; i < 100000; i++)
        send_bytes(&client, &i, sizeof(i), 0);
    WAIT_FOR(client.frames == 100000);
    assert_int_equal(server.frames, 100000);
    assert_false(server.out_of_order);
    assert_false(client.out_of_order);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
}

static void test_large_frame(void **state)
{
    struct end client = {.keep_last = true}, server = {.echo = true};
    size_t len = 32u << 20;
    (void)state;
    connect_pair(&client, &server);
    uint8_t *data = malloc(len);
    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    send_bytes(&client, "before", 6, 0);
    send_bytes(&client, data, len, 0);
    WAIT_FOR(client.frames == 2);
    assert_int_equal(client.last.len, len);
    assert_memory_equal(client.last.data, data, len);
    send_bytes(&client, "after", 5, 0);
    WAIT_FOR(client.frames == 3);
    assert_memory_equal(client.last.data, "after", 5);
    free(data);
    isola_buf_free(&client.last);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
}

/* Frames of all sizes about the places where copying turns into taking and buffers grow. */
static void test_sizes(void **state)
{
    static const size_t sizes[] = {1,     2,     63,    8191,  8192,  8193,   16380,
                                   16384, 65531, 65532, 65536, 65537, 262144, 1000000};
    size_t n = sizeof(sizes) / sizeof(sizes[0]), total = 0;
    struct end client = {0}, server = {.echo = true};
    (void)state;
    connect_pair(&client, &server);
    uint8_t *data = calloc(1, 1000000);
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < n; i++) {
            send_bytes(&client, data, sizes[i], 0);
            total += sizes[i];
        }
    WAIT_FOR(client.bytes == total);
    assert_int_equal(client.frames, 5 * n);
    free(data);
    close_end(&server);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(server.code, 0);
    assert_int_equal(client.code, ISOLA_ECLOSED);
}

static void test_one_write(void **state)
{
    struct end server = {0};
    struct drain d;
    uint8_t ping[12 + ISOLA__SECURE_OVERHEAD]; /* what a link says first */
    (void)state;
    int fd = raw_pair(&server);
    WAIT_FOR(!tcp || raw_readable(fd));
    assert_true(!tcp || recv(fd, ping, sizeof(ping), 0) == sizeof(ping));
    drain_start(&d, fd);
    for (int i = 0; i < 100; i++)
        send_bytes(&server, "0123456789", 10, 0);
    size_t expected = 1400 + (tcp ? ISOLA__SECURE_OVERHEAD : 0);
    WAIT_FOR(d.bytes == expected);
    assert_int_equal(d.first, expected);
    drain_stop(&d, fd);
    WAIT_FOR(server.downs);
}

static void test_many_frames_in_one_write(void **state)
{
    struct end server = {0};
    struct isola_buf b = {0};
    (void)state;
    int fd = raw_pair(&server);
    for (uint32_t i = 0; i < 4000; i++) {
        isola_buf_append(&b, "\0\0\0\4", 4);
        isola_buf_append(&b, &i, 4);
    }
    raw_write(fd, b.data, b.len);
    WAIT_FOR(server.frames == 4000);
    assert_false(server.out_of_order);
    isola_buf_free(&b);
    close(fd);
    WAIT_FOR(server.downs);
    assert_int_equal(server.code, ISOLA_ECLOSED);
    assert_null(strstr(server.why, "middle"));
}

/* --- closing --- */

static void test_close_inside_frame(void **state)
{
    struct end client = {0}, server = {.close_at_frame = 3};
    (void)state;
    connect_pair(&client, &server);
    for (int i = 0; i < 10; i++)
        send_bytes(&client, "hello", 5, 0);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(server.frames, 3); /* none after the close */
    assert_int_equal(server.code, 0);
    assert_int_equal(client.code, ISOLA_ECLOSED);
}

static void test_close_before_up(void **state)
{
    struct end client = {0}, server = {0};
    (void)state;
    start_listening();
    offer(&server);
    dial(&client);
    close_end(&client);
    send_bytes(&client, "x", 1, ISOLA_ECLOSED);
    assert_int_equal(client.downs, 0);
    WAIT_FOR(client.downs);
    assert_int_equal(client.ups, 0);
    assert_int_equal(client.code, 0);
    if (server.link != NULL)
        WAIT_FOR(server.downs);
}

static void test_close_before_up_with_frames(void **state)
{
    struct end client = {0}, server = {0};
    (void)state;
    patient = true;
    start_listening();
    offer(&server);
    dial(&client);
    send_bytes(&client, "one", 3, 0);
    send_bytes(&client, "two", 3, 0);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(client.ups, 0);
    assert_int_equal(client.code, 0);
    assert_int_equal(server.frames, 2);
    assert_int_equal(server.code, ISOLA_ECLOSED);
}

static void test_close_inside_up(void **state)
{
    struct end client = {.close_at_up = 1}, server = {0};
    (void)state;
    patient = true;
    start_listening();
    offer(&server);
    dial(&client);
    send_bytes(&client, "one", 3, 0);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(server.frames, 1);
    assert_int_equal(client.code, 0);
}

static void test_close_flushes(void **state)
{
    struct end client = {0}, server = {0};
    (void)state;
    patient = true;
    connect_pair(&client, &server);
    uint8_t *data = calloc(1, 1 << 20);
    for (int i = 0; i < 6; i++)
        send_bytes(&client, data, 1 << 20, 0);
    close_end(&client);
    send_bytes(&client, "late", 4, ISOLA_ECLOSED);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(server.frames, 6);
    assert_int_equal(client.code, 0);
    free(data);
}

/* A close while the other side's frames lie unread must not destroy what was sent before it. */
static void test_close_with_unread(void **state)
{
    struct end client = {0}, server = {.close_at_frame = 1};
    (void)state;
    patient = true;
    connect_pair(&client, &server);
    uint8_t *data = calloc(1, 1 << 20);
    for (int i = 0; i < 10; i++)
        send_bytes(&client, data, 1 << 20, 0);
    for (int i = 0; i < 3; i++)
        send_bytes(&server, data, 1 << 20, 0);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(server.frames, 1);
    assert_int_equal(server.code, 0);
    assert_int_equal(client.frames, 3);
    assert_int_equal(client.code, ISOLA_ECLOSED);
    free(data);
}

static void test_close_both(void **state)
{
    struct end client = {0}, server = {0};
    (void)state;
    connect_pair(&client, &server);
    close_end(&client);
    close_end(&server);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(client.code, 0);
    assert_int_equal(server.code, 0);
    assert_string_equal(client.why,
                        "closed by the peer"); /* neither waited for the other in vain */
    assert_string_equal(server.why, "closed by the peer");
}

/* A peer that neither reads nor closes is given up after a second. */
static void test_close_gives_up(void **state)
{
    struct end server = {0};
    (void)state;
    int fd = raw_pair(&server);
    uint8_t *data = calloc(1, 32 << 20);
    send_bytes(&server, data, 32 << 20, 0);
    free(data);
    uint64_t start = uv_hrtime();
    close_end(&server);
    WAIT_FOR(server.downs);
    assert_true(uv_hrtime() - start > 900000000u);
    assert_int_equal(server.code, 0);
    assert_non_null(strstr(server.why, "could not be written"));
    close(fd);
}

static void test_refused_peer(void **state)
{
    struct end client = {0};
    (void)state;
    start_listening();
    refuse = true;
    dial(&client);
    WAIT_FOR(client.downs);
    assert_int_equal(n_accepted, 1);
    assert_int_equal(client.code, ISOLA_ECLOSED);
}

static void test_listener_closed(void **state)
{
    struct end client = {0}, server = {.echo = true};
    (void)state;
    connect_pair(&client, &server);
    isola_listener_close(listener);
    listener = NULL;
    send_bytes(&client, "still", 5, 0);
    WAIT_FOR(client.frames == 1);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
}

enum { N = 200 };
static struct end clients[N], servers[N];

/* Which server end belongs to which client is not said, so what is up and does not end by itself is
 * closed. */
static bool all_down(void)
{
    int downs = 0;
    for (int i = 0; i < N; i++) {
        downs += clients[i].downs;
        if (clients[i].ups && clients[i].link != NULL)
            close_end(&clients[i]);
    }
    for (int i = 0; i < n_accepted; i++)
        downs += servers[i].downs;
    return downs == N + n_accepted;
}

/* Links closed at every stage of their life, many at once. */
static void test_churn(void **state)
{
    memset(clients, 0, sizeof(clients));
    memset(servers, 0, sizeof(servers));
    (void)state;
    start_listening();
    for (int i = 0; i < N; i++)
        offer(&servers[i]);
    for (int i = 0; i < N; i++) {
        clients[i].close_at_up = i % 5 == 1;
        servers[i].close_at_frame = i % 5 == 2;
        servers[i].echo = i % 5 == 3;
        clients[i].close_at_frame = i % 5 == 3;
        dial(&clients[i]);
        if (i % 5 != 0)
            send_bytes(&clients[i], "hello", 5, 0);
        if (i % 5 == 0 || i % 5 == 4)
            close_end(&clients[i]);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    WAIT_FOR(all_down());
}

/* --- bounds --- */

/* Small ones do on a link that is full, and nothing else: as many as the reserve has room for.
 * The bytes they take on the link. */
static size_t answers_find_room(struct isola_link *link)
{
    enum { HEAD = 3, ITEMS = ISOLA_LINK_ANSWER_MAX - HEAD };
    static uint8_t large[HEAD + ITEMS] = {0xdc, ITEMS >> 8, ITEMS & 0xff}; /* args */
    struct isola_msg *fail = isola_msg_fail(7, ISOLA_EOVERLOAD, "no room");
    struct isola_msg reply = {.kind = ISOLA_MSG_REPLY, .id = 7, .args = isola_slice("\x91\xc0", 2)};
    struct isola_msg emit = reply, much = reply;
    struct isola_link_stats stats;
    emit.kind = ISOLA_MSG_EMIT;
    much.args = isola_slice(large, sizeof(large));
    assert_non_null(fail);
    isola_link_stats(link, &stats);
    size_t before = stats.queued_bytes;
    while (isola_link_send_msg(link, &much) == 0 || isola_link_send_msg(link, &emit) == 0)
        ;
    isola_link_stats(link, &stats);
    size_t refused = stats.refused;
    assert_int_equal(isola_link_send_msg(link, &much), ISOLA_EOVERLOAD);
    assert_int_equal(isola_link_send_msg(link, fail), 0);
    assert_int_equal(isola_link_send_msg(link, &reply), 0);
    while (isola_link_send_msg(link, fail) == 0)
        isola_link_stats(link, &stats);
    assert_int_equal(isola_link_send_msg(link, fail), ISOLA_EOVERLOAD);
    assert_int_equal(isola_link_send_msg(link, &emit), ISOLA_EOVERLOAD);
    assert_true(stats.queued_bytes - before > ISOLA_LINK_RESERVE_BYTES / 2);
    assert_true(stats.queued_bytes <=
                ISOLA_LINK_QUEUE_MAX + ISOLA_LINK_RESERVE_BYTES + (2 << 20)); /* and a write */
    isola_link_stats(link, &stats);
    assert_int_equal(stats.refused, refused + 4); /* a large one, a FAIL twice, an EMIT */
    free(fail);
    return stats.queued_bytes - before;
}

static void test_queue_bound(void **state)
{
    struct end server = {0};
    struct drain d;
    struct isola_link_stats stats;
    size_t accepted = 0;
    int rc;
    (void)state;
    int fd = raw_pair(&server);
    raw_speaks(fd);
    for (;;) {
        struct isola_buf b = {0};
        memset(isola_buf_extend(&b, 1 << 20), 'x', 1 << 20);
        rc = isola_link_send(server.link, &b);
        if (rc != 0) {
            assert_int_equal(b.len, 1 << 20); /* still ours */
            isola_buf_free(&b);
            break;
        }
        accepted++;
        isola_link_stats(server.link, &stats);
        assert_true(stats.queued_bytes <= ISOLA_LINK_QUEUE_MAX + (2 << 20)); /* and a write */
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(rc, ISOLA_EOVERLOAD);
    assert_true(accepted >= 126 && accepted < 160);
    size_t answers = answers_find_room(server.link);
    assert_int_equal(server.drains, 0);
    drain_start(&d, fd);
    WAIT_FOR(server.drains == 1);
    isola_link_stats(server.link, &stats);
    assert_true(stats.queued_bytes < ISOLA_LINK_QUEUE_MAX / 2);
    send_bytes(&server, "again", 5, 0);
    WAIT_FOR(d.bytes >= accepted * ((1 << 20) + 4) + answers + 9);
    assert_int_equal(server.drains, 1);
    raw_is_silent();
    close_end(&server);
    WAIT_FOR(d.at_end);
    drain_stop(&d, fd);
    WAIT_FOR(server.downs);
}

static void test_send_refuses(void **state)
{
    struct end client = {0}, server = {0};
    struct isola_buf b = {0};
    (void)state;
    connect_pair(&client, &server);
    assert_int_equal(isola_link_send(client.link, &b), ISOLA_EINVAL);
    size_t over = (size_t)(tcp ? ISOLA_MESSAGE_MAX : ISOLA_FRAME_MAX) + 1;
    isola_buf_extend(&b, over);
    assert_int_equal(isola_link_send(client.link, &b), ISOLA_ETOOBIG);
    assert_int_equal(b.len, over);
    b.failed = true;
    assert_int_equal(isola_link_send(client.link, &b), ISOLA_ENOMEM);
    isola_buf_free(&b);
    close_end(&client);
    WAIT_FOR(client.downs && server.downs);
    assert_int_equal(server.frames, 0);
}

static void test_open_fd(void **state)
{
    struct end a = {0}, b = {.echo = true};
    struct isola_err err;
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(isola_link_open_fd(&loop, fds[0], &ops, &a, &a.link, &err), 0);
    assert_int_equal(isola_link_open_fd(&loop, fds[1], &ops, &b, &b.link, &err), 0);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    send_bytes(&a, "hello", 5, 0);
    WAIT_FOR(a.frames == 1);
    close_end(&b);
    WAIT_FOR(a.downs && b.downs);
    assert_int_equal(a.ups + b.ups, 0);

    struct end c = {0};
    assert_int_equal(isola_link_open_fd(&loop, -1, &ops, &c, &c.link, &err), ISOLA_EINVAL);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(isola_link_open_fd(&loop, fd, &ops, &c, &c.link, &err), ISOLA_EINVAL);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC); /* still open, still ours */
    close(fd);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(isola_link_open_fd(&loop, fd, &ops, &c, &c.link, &err), ISOLA_EINVAL);
    close(fd);
}

#define BOTH                                                                                       \
    TEST(test_echo), TEST(test_message), TEST(test_own_memory), TEST(test_order),                  \
        TEST(test_large_frame), TEST(test_sizes), TEST(test_one_write),                            \
        TEST(test_many_frames_in_one_write), TEST(test_close_inside_frame),                        \
        TEST(test_close_before_up), TEST(test_close_before_up_with_frames),                        \
        TEST(test_close_inside_up), TEST(test_close_flushes), TEST(test_close_with_unread),        \
        TEST(test_close_both), TEST(test_close_gives_up), TEST(test_refused_peer),                 \
        TEST(test_listener_closed), TEST(test_churn), TEST(test_queue_bound),                      \
        TEST(test_send_refuses)

int main(void)
{
    const struct CMUnitTest unix_suite[] = {BOTH, TEST(test_open_fd)};
    const struct CMUnitTest tcp_suite[] = {BOTH};
    RUN_BOTH(unix_suite, tcp_suite);
}
