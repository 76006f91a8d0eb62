/* SPDX-License-Identifier: Apache-2.0
 *
 * No memory for a link, whole: listening, dialling, the handshake, frames small and large in both
 * directions, the end. Whichever allocation fails, everything that was sent arrives, or who sent it
 * is told, or the link goes down and says why; and nothing is left behind.
 */
#include "tests/contract/link_harness.h"

#include <signal.h>

#include "nomem.h"

#define LARGE 300000 /* goes in parts, of which not all have room in one write */

/* One end. With a direct link, frames are counted on nng's threads. */
struct side {
    struct isola_link *link;
    bool is_up, is_down;
    int code;
    char why[400];
    atomic_uint got;
    unsigned sent;
    int told; /* of a call, that there is no memory */
};

static struct side client, server;
static bool direct;
static uv_async_t nudge; /* a frame came on another thread */
static uint8_t payload[LARGE];

static void side_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct side *s = arg;
    (void)link;
    assert_true(frame.len == 10 || frame.len == LARGE);
    assert_memory_equal(frame.data, payload, frame.len);
    atomic_fetch_add(&s->got, 1);
    uv_async_send(&nudge);
}

static void side_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct side *s = arg;
    (void)link;
    s->is_down = true;
    s->code = code;
    snprintf(s->why, sizeof(s->why), "%s", why);
}

/* The frame's memory is the test's, so it is not what fails. */
static void say(struct side *s, size_t len)
{
    struct isola_buf b = {__real_malloc(len), len, len, false};
    memcpy(b.data, payload, len);
    int rc = isola_link_send(s->link, &b);
    if (rc >= 0) {
        s->sent++;
        atomic_fetch_add(&living, 1); /* it was taken, and freed: as if it had been counted */
    } else {
        assert_true(rc == ISOLA_ENOMEM || rc == ISOLA_ECLOSED);
        s->told |= rc == ISOLA_ENOMEM;
        __real_free(b.data);
    }
}

static void say_all(struct side *s)
{
    for (int i = 0; i < 3; i++) {
        say(s, 10);
        say(s, LARGE);
    }
    isola_link_flush(s->link);
}

static void side_up(struct isola_link *link, void *arg)
{
    struct side *s = arg;
    (void)link;
    s->is_up = true;
    say_all(s);
}

static const struct isola_link_ops side_ops = {side_up, side_frame, side_down, NULL, NULL};

static void side_accepted(struct isola_listener *l, struct isola_link *link, void *arg)
{
    (void)l, (void)arg;
    server.link = link;
    server.is_up = true;
    if (direct)
        isola_link_direct(link);
    isola_link_accept(link, &side_ops, &server);
    say_all(&server);
}

static const struct isola_listener_ops side_listener_ops = {side_accepted};

static bool all_there(void)
{
    return client.is_up && server.is_up && atomic_load(&client.got) == server.sent &&
           atomic_load(&server.got) == client.sent;
}

static bool of_memory(const struct side *s)
{
    return s->told || s->code == ISOLA_ENOMEM || strstr(s->why, "memory") != NULL;
}

/* 0, or what could not be begun. */
static int begin(void)
{
    struct isola_err err;
    int rc = isola_listener_open(&loop, listen_url, &security, &side_listener_ops, NULL, &listener,
                                 &err);
    if (rc == 0)
        rc = isola_link_dial(&loop, isola_listener_url(listener), &security, dial_key, &side_ops,
                             &client, &client.link, &err);
    if (rc != 0)
        assert_int_equal(err.code, rc);
    else if (direct)
        isola_link_direct(client.link);
    return rc;
}

static void talk(unsigned nth)
{
    client = server = (struct side){0};
    listener = NULL;
    fail_nth(nth);
    int rc = begin();
    if (rc == 0) {
        WAIT_FOR(all_there() || client.is_down || server.is_down);
        bool all = all_there();
        if (!client.is_down)
            isola_link_close(client.link);
        if (server.link != NULL && !server.is_down)
            isola_link_close(server.link);
        WAIT_FOR(client.is_down && (server.link == NULL || server.is_down));
        struct isola_listener_stats stats; /* a connection may have ended before anybody had it */
        isola_listener_stats(listener, &stats);
        if (!all && !(of_memory(&client) || of_memory(&server) || stats.refused == 1))
            fail_msg("allocation %u: client %d %s; server %d %s", nth, client.code, client.why,
                     server.code, server.why);
    }
    if (listener != NULL)
        isola_listener_close(listener);
    listener = NULL;
    fail_nth(0);
    assert_true(rc == 0 || rc == ISOLA_ENOMEM);
    assert_true(rc == 0 || no_mem);
}

/* Nothing is left in the loop of links and listeners. */
static void settle(void)
{
    uv_unref((uv_handle_t *)&deadline.timer);
    WAIT_FOR(!uv_loop_alive(&loop));
    uv_ref((uv_handle_t *)&deadline.timer);
}

static void on_nudge(uv_async_t *handle)
{
    (void)handle;
}

static void test_each(void **state)
{
    (void)state;
    unsigned nth = 0;
    uv_async_init(&loop, &nudge, on_nudge);
    uv_unref((uv_handle_t *)&nudge);
    for (size_t i = 0; i < LARGE; i++)
        payload[i] = (uint8_t)(i * 7 + i / 256);
    do {
        long before = living;
        talk(++nth);
        settle();
        if (living != before)
            fail_msg("allocation %u failed: %ld are left", nth, living - before);
    } while (no_mem);
    assert_true(nth > 20);
    uv_close((uv_handle_t *)&nudge, NULL);
}

static void test_each_known(void **state)
{
    dial_key = node_keys.fixed.public_key;
    test_each(state);
}

static void test_each_direct(void **state)
{
    direct = true;
    test_each(state);
    direct = false;
}

int main(void)
{
    const struct CMUnitTest unix_tests[] = {TEST(test_each)};
    const struct CMUnitTest tcp_tests[] = {TEST(test_each), TEST(test_each_known),
                                           TEST(test_each_direct)};
    signal(SIGPIPE, SIG_IGN); /* as programs with links do */
    RUN_BOTH(unix_tests, tcp_tests);
}
