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
#include "transport/envelope.h"

#define DEADLINE_MS 30000

static bool tcp; /* which suite */
static uv_loop_t loop;
static uv_timer_t deadline;
static bool late;
static char dir[] = "/tmp/isola-link-XXXXXX";
static char listen_url[128];
static bool in_call; /* a call of ours into the link is on the stack */

static inline void on_deadline(uv_timer_t *t)
{
    (void)t;
    late = true;
}

#define WAIT_FOR(cond)                                                                             \
    do {                                                                                           \
        late = false;                                                                              \
        uv_timer_start(&deadline, on_deadline, DEADLINE_MS, 0);                                    \
        while (!(cond) && !late)                                                                   \
            uv_run(&loop, UV_RUN_ONCE);                                                            \
        uv_timer_stop(&deadline);                                                                  \
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

static const struct isola_link_ops ops = {on_up, on_frame, on_down, on_drained};

/* The listener hands its links to `offered`, one by one. */
static struct isola_listener *listener;
static struct end *offered[512];
static int n_offered, n_accepted;
static bool refuse;

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
    isola_link_accept(link, &ops, e);
}

static const struct isola_listener_ops listener_ops = {on_accepted};

static inline void start_listening(void)
{
    struct isola_err err;
    n_accepted = n_offered = 0;
    refuse = false;
    if (isola_listener_open(&loop, listen_url, &listener_ops, NULL, &listener, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void dial(struct end *e)
{
    struct isola_err err;
    if (isola_link_dial(&loop, isola_listener_url(listener), &ops, e, &e->link, &err) != 0)
        fail_msg("%s", err.text);
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

/* A blocking socket connected to the listener. */
static inline int raw_connect(void)
{
    int fd;
    const char *url = isola_listener_url(listener);
    if (tcp) {
        struct sockaddr_in sa = {.sin_family = AF_INET};
        sa.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    } else {
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        strcpy(sa.sun_path, url + strlen("unix:"));
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
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

static inline void raw_write(int fd, const void *data, size_t len)
{
    assert_int_equal(write(fd, data, len), len);
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

static inline uint64_t bytes_out(const struct isola_link *link)
{
    struct isola_link_stats stats;
    isola_link_stats(link, &stats);
    return stats.bytes_out;
}

static inline int setup(void **state)
{
    (void)state;
    if (uv_loop_init(&loop) != 0 || uv_timer_init(&loop, &deadline) != 0)
        return -1;
    listener = NULL;
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
    uv_timer_start(&deadline, on_deadline, DEADLINE_MS, 0);
    uv_unref((uv_handle_t *)&deadline);
    late = false;
    while (uv_loop_alive(&loop) && !late)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&deadline, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    if (late || uv_loop_close(&loop) != 0) {
        print_error("the loop is not empty\n");
        return -1;
    }
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* The rest of main. */
#define RUN_BOTH(unix_suite, tcp_suite)                                                            \
    do {                                                                                           \
        if (mkdtemp(dir) == NULL)                                                                  \
            return 1;                                                                              \
        int failed = cmocka_run_group_tests_name("unix", unix_suite, NULL, NULL);                  \
        tcp = true;                                                                                \
        failed += cmocka_run_group_tests_name("tcp", tcp_suite, NULL, NULL);                       \
        rmdir(dir);                                                                                \
        return failed != 0;                                                                        \
    } while (0)

#endif
