/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of links share: a loop for each test, ends that record what they saw, raw sockets
 * as hostile peers. A program includes it once, lists its tests, and runs them over unix sockets
 * and over TCP.
 */
#ifndef ISOLA_TESTS_LINK_HARNESS_H
#define ISOLA_TESTS_LINK_HARNESS_H

#include "transport/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/msgpack.h"
#include "tests/tempdir.h"
#include "tests/watch.h"
#include "transport/envelope.h"
#include "transport/link_impl.h"
#include "transport/secure.h"

#define DEADLINE_MS 30000

static bool tcp; /* which suite */
static uv_loop_t loop;
static struct watch deadline;
static char dir[TEMPDIR_SIZE];
static char listen_url[128];
static bool in_call; /* a call of ours into the link is on the stack */

#define WAIT_FOR(cond)                                                                             \
    do {                                                                                           \
        watch_reset(&deadline);                                                                    \
        while (!(cond) && !watch_over(&deadline, DEADLINE_MS))                                     \
            uv_run(&loop, UV_RUN_ONCE);                                                            \
        uv_timer_stop(&deadline.timer);                                                            \
        if (!(cond))                                                                               \
            fail_msg("not in time: %s", #cond);                                                    \
    } while (0)

/* One end of a link, and what it saw. */
struct end {
    struct isola_link *link;
    int ups, downs, drains, frames;
    int code;
    char why[400];
    size_t bytes;
    uint32_t next; /* numbered(): the number expected */
    bool out_of_order;
    bool echo;
    int close_at_frame; /* close inside that frame */
    int close_at_up;
    bool keep_last;
    struct isola_buf last;
};

static inline void send_bytes(struct end *e, const void *data, size_t len, int expected)
{
    struct isola_buf b = {0};
    isola_buf_append(&b, data, len);
    in_call = true;
    assert_int_equal(isola_link_send(e->link, &b), expected);
    in_call = false;
    if (expected == 0)
        assert_null(b.data);
    isola_buf_free(&b);
}

static inline void close_end(struct end *e)
{
    in_call = true;
    isola_link_close(e->link);
    isola_link_close(e->link);
    in_call = false;
}

static inline void on_up(struct isola_link *link, void *arg)
{
    struct end *e = arg;
    assert_ptr_equal(link, e->link);
    e->ups++;
    if (e->close_at_up)
        close_end(e);
}

static inline void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct end *e = arg;
    assert_false(in_call);
    assert_int_equal(e->downs, 0);
    e->frames++;
    e->bytes += frame.len;
    if (frame.len == sizeof(uint32_t)) {
        uint32_t number;
        memcpy(&number, frame.data, sizeof(number));
        e->out_of_order |= number != e->next++;
    }
    if (e->keep_last) {
        e->last.len = 0;
        isola_buf_append(&e->last, frame.data, frame.len);
    }
    if (e->echo) {
        struct isola_buf b = {0};
        isola_buf_append(&b, frame.data, frame.len);
        assert_int_equal(isola_link_send(link, &b), 0);
    }
    if (e->close_at_frame == e->frames)
        close_end(e);
}

static inline void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct end *e = arg;
    assert_ptr_equal(link, e->link);
    assert_false(in_call);
    e->downs++;
    assert_int_equal(e->downs, 1);
    e->code = code;
    snprintf(e->why, sizeof(e->why), "%s", why);
    assert_true(e->why[0] != '\0');
    e->link = NULL;
}

static inline void on_drained(struct isola_link *link, void *arg)
{
    struct end *e = arg;
    (void)link;
    assert_false(in_call);
    e->drains++;
}

static const struct isola_link_ops ops = {on_up, on_frame, on_down, on_drained, NULL};

/* Both ends are one node of a cluster of its own. */
static struct isola_node_keys node_keys;
static struct isola_link_security security;
static uint8_t cluster_key[ISOLA_KEY_SIZE];
static struct isola_buf chain;
static const uint8_t *dial_key; /* NULL: XX */
static bool admit_none;

static inline int on_admit(void *arg, struct isola_link *link, const uint8_t peer[ISOLA_KEY_SIZE],
                           struct isola_slice shown, struct isola_identity *who,
                           struct isola_err *err)
{
    (void)arg, (void)link;
    if (admit_none)
        return isola_fail(err, ISOLA_EPERM, "nobody is let in here");
    return isola_identity_check(cluster_key, shown, peer, NULL, who, err);
}

static inline void make_identity(void)
{
    struct isola_sign_keys cluster;
    struct isola_identity node = {.name = "north", .serial = 1, .issued_ms = 1};
    struct isola_buf cert = {0};
    isola_sign_keys_new(&cluster);
    memcpy(cluster_key, cluster.public_key, sizeof(cluster_key));
    isola_sign_keys_new(&node_keys.sign);
    isola_static_keys_new(&node_keys.fixed);
    memcpy(node.node_key, node_keys.sign.public_key, ISOLA_KEY_SIZE);
    memcpy(node.node_static, node_keys.fixed.public_key, ISOLA_KEY_SIZE);
    isola_node_certify(&cluster, &node, &cert);
    isola_chain_write(isola_buf_slice(&cert), isola_slice(NULL, 0), &chain);
    isola_buf_free(&cert);
    security = (struct isola_link_security){.keys = &node_keys.fixed,
                                            .chain = isola_buf_slice(&chain),
                                            .purpose = ISOLA_LINK_CONTROL,
                                            .admit = on_admit};
}

/* The listener hands its links to `offered`, one by one. */
static struct isola_listener *listener;
static struct end *offered[512];
static int n_offered, n_accepted;
static bool refuse;
static bool patient; /* its links take all the time they need to close */

static inline void on_accepted(struct isola_listener *l, struct isola_link *link, void *arg)
{
    (void)arg;
    assert_ptr_equal(l, listener);
    n_accepted++;
    if (refuse)
        return;
    assert_true(n_accepted <= n_offered);
    struct end *e = offered[n_accepted - 1];
    e->link = link;
    if (patient)
        link->linger_ms = DEADLINE_MS;
    isola_link_accept(link, &ops, e);
}

static const struct isola_listener_ops listener_ops = {on_accepted};

static inline void start_listening(void)
{
    struct isola_err err;
    n_accepted = n_offered = 0;
    refuse = false;
    if (isola_listener_open(&loop, listen_url, &security, &listener_ops, NULL, &listener, &err) !=
        0)
        fail_msg("%s", err.text);
}

static inline void dial(struct end *e)
{
    struct isola_err err;
    if (isola_link_dial(&loop, isola_listener_url(listener), &security, dial_key, &ops, e, &e->link,
                        &err) != 0)
        fail_msg("%s", err.text);
    if (patient)
        e->link->linger_ms = DEADLINE_MS;
}

static inline void offer(struct end *e)
{
    offered[n_offered++] = e;
}

/* Two connected ends. */
static inline void connect_pair(struct end *client, struct end *server)
{
    start_listening();
    offer(server);
    dial(client);
    WAIT_FOR(client->ups == 1 && server->link != NULL);
}

/* A peer that is no link: it holds the channel's own end, so it can say what a link would not. */
static struct isola__secure raw_channel;
static bool raw_shaken;

/* A blocking socket connected to the listener. */
static inline int raw_socket(void)
{
    int fd;
    const char *url = isola_listener_url(listener);
    if (tcp) {
        struct sockaddr_in sa = {.sin_family = AF_INET};
        sa.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
            fail_msg("cannot connect: %s", strerror(errno));
    } else {
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        strcpy(sa.sun_path, url + strlen("unix:"));
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    }
    raw_shaken = false;
    return fd;
}

static inline int raw_verify(void *arg, const uint8_t peer[ISOLA_KEY_SIZE],
                             struct isola_slice payload, struct isola_err *err)
{
    struct isola_identity who;
    (void)arg;
    return isola_identity_check(cluster_key, payload, peer, NULL, &who, err);
}

static inline void raw_configure(struct isola__secure_config *config)
{
    *config = (struct isola__secure_config){.keys = &node_keys.fixed,
                                            .pattern = ISOLA__NOISE_XX,
                                            .least = ISOLA_WIRE_CHANNEL,
                                            .greatest = ISOLA_WIRE_VERSION,
                                            .purpose = ISOLA_LINK_CONTROL,
                                            .payload = isola_buf_slice(&chain),
                                            .verify = raw_verify};
}

/* Bytes, or the end. */
static inline bool raw_readable(int fd)
{
    uint8_t byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno != EAGAIN;
}

/* The handshake of `raw_channel` on `fd`. False: the listener has ended it. */
static inline bool raw_shake(int fd)
{
    struct isola_buf out = {0};
    struct isola_err err;
    uint8_t in[20000];
    size_t have = 0;
    int rc = 0;
    assert_int_equal(isola__secure_start(&raw_channel, &out, &err), 0);
    for (;;) {
        if (out.len > 0)
            assert_int_equal(write(fd, out.data, out.len), out.len);
        isola_buf_free(&out);
        if (rc == 1)
            break;
        WAIT_FOR(raw_readable(fd));
        ssize_t n = recv(fd, in + have, sizeof(in) - have, MSG_DONTWAIT);
        if (n <= 0)
            return false;
        have += (size_t)n;
        size_t used;
        rc = isola__secure_shake(&raw_channel, in, have, &used, &out, &err);
        if (rc < 0)
            fail_msg("%s", err.text);
        memmove(in, in + used, have -= used);
    }
    raw_shaken = true;
    return true;
}

static inline int raw_connect(void)
{
    int fd = raw_socket();
    if (tcp) {
        struct isola__secure_config config;
        struct isola_err err;
        raw_configure(&config);
        assert_int_equal(isola__secure_init(&raw_channel, &config, true, &err), 0);
        assert_true(raw_shake(fd));
    }
    return fd;
}

static inline int raw_pair(struct end *server)
{
    start_listening();
    offer(server);
    int fd = raw_connect();
    WAIT_FOR(server->link != NULL);
    return fd;
}

/* As a record, where there are records. */
static inline void raw_write(int fd, const void *data, size_t len)
{
    if (raw_shaken) {
        uint8_t *record = malloc(len + ISOLA__SECURE_OVERHEAD);
        struct isola_err err;
        assert_int_equal(isola__secure_seal(&raw_channel, data, len, record, &err), 0);
        len += ISOLA__SECURE_OVERHEAD;
        assert_int_equal(write(fd, record, len), len);
        free(record);
    } else {
        assert_int_equal(write(fd, data, len), len);
    }
}

/* A raw peer that is to wait for longer than a link waits to hear of it: it says again and again
 * that it is there (an answer to a ping, which nothing answers). Stopped before either end closes.
 */
static uv_timer_t raw_voice;

static inline void on_raw_voice(uv_timer_t *timer)
{
    raw_write((int)(intptr_t)timer->data, "\x84\0\0\10\0\0\0\0\0\0\0\0", 12);
}

static inline void raw_speaks(int fd)
{
    if (!tcp)
        return;
    uv_timer_init(&loop, &raw_voice);
    raw_voice.data = (void *)(intptr_t)fd;
    uv_timer_start(&raw_voice, on_raw_voice, 0, 250);
}

static inline void raw_is_silent(void)
{
    if (tcp)
        uv_close((uv_handle_t *)&raw_voice, NULL);
}

/* Reads from a raw socket as the loop finds something; `at_end` when it is at its end or was reset.
 */
struct drain {
    uv_poll_t poll;
    size_t bytes, first;
    bool at_end;
};

static inline void on_drain_readable(uv_poll_t *poll, int status, int events)
{
    static uint8_t buf[1 << 20];
    struct drain *d = poll->data;
    int fd;
    (void)events;
    assert_int_equal(status, 0);
    assert_int_equal(uv_fileno((uv_handle_t *)poll, &fd), 0);
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0) {
        if (d->bytes == 0)
            d->first = (size_t)n;
        d->bytes += (size_t)n;
    } else if (n == 0 || errno != EAGAIN) {
        d->at_end = true;
        uv_poll_stop(poll);
    }
}

static inline void drain_start(struct drain *d, int fd)
{
    *d = (struct drain){0};
    assert_int_equal(uv_poll_init(&loop, &d->poll, fd), 0);
    d->poll.data = d;
    assert_int_equal(uv_poll_start(&d->poll, UV_READABLE, on_drain_readable), 0);
}

static inline void drain_stop(struct drain *d, int fd)
{
    uv_close((uv_handle_t *)&d->poll, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    close(fd);
}

static inline uint64_t bytes_out(struct isola_link *link)
{
    struct isola_link_stats stats;
    isola_link_stats(link, &stats);
    return stats.bytes_out;
}

static inline int setup(void **state)
{
    (void)state;
    if (uv_loop_init(&loop) != 0 || watch_init(&deadline, &loop) != 0)
        return -1;
    listener = NULL;
    patient = false;
    dial_key = NULL;
    admit_none = false;
    if (security.keys == NULL)
        make_identity();
    if (tcp)
        strcpy(listen_url, "tcp://127.0.0.1:0");
    else
        snprintf(listen_url, sizeof(listen_url), "unix:%s/s", dir);
    return 0;
}

/* Nothing may be left that keeps the loop alive. */
static inline int teardown(void **state)
{
    (void)state;
    if (listener != NULL)
        isola_listener_close(listener);
    watch_reset(&deadline);
    uv_unref((uv_handle_t *)&deadline.timer);
    while (uv_loop_alive(&loop) && !watch_over(&deadline, DEADLINE_MS))
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&deadline.timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    if (uv_loop_close(&loop) != 0) {
        print_error("the loop is not empty\n");
        return -1;
    }
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* The rest of main. */
#define RUN_BOTH(unix_suite, tcp_suite)                                                            \
    do {                                                                                           \
        if (tempdir_make(dir) != 0)                                                                \
            return 1;                                                                              \
        int failed = cmocka_run_group_tests_name("unix", unix_suite, NULL, NULL);                  \
        tcp = true;                                                                                \
        failed += cmocka_run_group_tests_name("tcp", tcp_suite, NULL, NULL);                       \
        return tempdir_remove(dir) != 0 || failed != 0;                                            \
    } while (0)

#endif
