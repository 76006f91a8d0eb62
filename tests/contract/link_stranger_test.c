/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is not let in over TCP: strangers that do not say who they are, nodes that may not come, and
 * records that are not what their sender wrote.
 */
#include <sched.h>

#include "link_harness.h"

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

/* As many as may be there at once, however long they take to come; those beyond are sent away. */
static void test_too_many_strangers(void **state)
{
    int fds[CROWD];
    (void)state;
    start_listening();
    listener->shake_ms = 100 * DEADLINE_MS;
    for (unsigned i = 0; i < CROWD; i++) {
        fds[i] = raw_socket();
        WAIT_FOR(listener_stats().refused + listener_stats().strangers == i + 1);
    }
    assert_int_equal(listener_stats().strangers, 256);
    isola_listener_close(listener); /* and they go with it */
    listener = NULL;
    for (int i = 0; i < CROWD; i++) {
        WAIT_FOR(ended(fds[i]));
        close(fds[i]);
    }
}

/* What a stranger has said while we stood still is heard, however long ago its time was over. */
static void test_stood_still(void **state)
{
    struct end server = {0};
    struct isola__secure_config config;
    struct isola_buf out = {0};
    struct isola_err err;
    uint8_t in[4000];
    size_t used;
    (void)state;
    start_listening();
    listener->shake_ms = 1500;
    offer(&server);
    int fd = raw_socket();
    raw_configure(&config);
    assert_int_equal(isola__secure_init(&raw_channel, &config, true, &err), 0);
    assert_int_equal(isola__secure_start(&raw_channel, &out, &err), 0);
    raw_write(fd, out.data, out.len);
    isola_buf_free(&out);
    WAIT_FOR(raw_readable(fd));
    size_t n = (size_t)recv(fd, in, sizeof(in), 0);
    assert_int_equal(isola__secure_shake(&raw_channel, in, n, &used, &out, &err), 1);
    raw_write(fd, out.data, out.len);
    isola_buf_free(&out);
    for (uint64_t until = uv_hrtime() + 1600000000u; uv_hrtime() < until;)
        sched_yield();
    WAIT_FOR(server.link != NULL);
    close(fd);
    WAIT_FOR(server.downs);
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

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_strangers),
                                       TEST(test_too_many_strangers),
                                       TEST(test_stood_still),
                                       TEST(test_not_let_in),
                                       TEST(test_tampering),
                                       TEST(test_other_versions),
                                       TEST(test_recorded_first_message)};
    tcp = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
