/* SPDX-License-Identifier: Apache-2.0
 *
 * No memory for what leaves a link and what comes on it: the nth allocation fails, for n = 1, 2, …
 * until none does any more. Each failure is told as ISOLA_ENOMEM, or done without, and nothing is
 * left behind.
 */
#include "transport/heads.h"
#include "transport/inflow.h"
#include "transport/outflow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "nomem.h"
#include "transport/envelope.h"

/* --- a stream from one to the other --- */

static uint8_t bytes[200000];

static int put(struct isola__outflow *out, enum isola__lane lane, uint32_t key, size_t len)
{
    const struct isola_msg m = {.kind = ISOLA_MSG_EMIT,
                                .src = isola_slice_str("a/A/a"),
                                .dst = isola_slice_str("b/B/b"),
                                .event = isola_slice_str("e"),
                                .args = isola_slice(bytes, len)};
    struct isola_buf *b = isola__outflow_begin(out, lane, key, true, len + 100);
    if (b == NULL)
        return ISOLA_ENOMEM;
    isola_envelope_encode(&m, 2, b);
    return isola__outflow_end(out);
}

static int put_all(struct isola__outflow *out)
{
    int rc = put(out, ISOLA__LANE_EMIT, 1, 100);
    for (uint32_t i = 0; i < 40 && rc == 0; i++)
        rc = put(out, i % 2 ? ISOLA__LANE_ASK : ISOLA__LANE_EMIT, 1 + i % 3, 3000);
    for (uint32_t i = 0; i < 20 && rc == 0; i++) /* more than may be under way at once */
        rc = put(out, ISOLA__LANE_EMIT, 10 + i, 20000 + i * 1000);
    if (rc == 0)
        rc = put(out, ISOLA__LANE_REPLY, 10, 50); /* behind what is large */
    if (rc == 0)
        rc = isola__outflow_item(out, ISOLA__ITEM_PING, "12345678", 8);
    return rc;
}

static int receive(struct isola__inflow *in, struct isola_slice what, unsigned *frames)
{
    enum isola__item kind;
    struct isola_slice f;
    struct isola_err err;
    for (size_t at = 0; at < what.len;) {
        uint8_t *to;
        size_t room;
        int rc = isola__inflow_room(in, &to, &room);
        if (rc != 0)
            return rc;
        size_t n = what.len - at < room ? what.len - at : room;
        memcpy(to, what.data + at, n);
        at += n;
        isola__inflow_arrived(in, n);
        while ((rc = isola__inflow_next(in, &kind, &f, &err)) == 1)
            *frames += kind == ISOLA__ITEM_FRAME;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int stream(unsigned *frames)
{
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    struct isola__fill fill = {0};
    int rc = put_all(&out);
    while (rc == 0) {
        rc = isola__outflow_fill(&out, false, &fill);
        if (rc != 0 || fill.nrecords == 0)
            break;
        rc = receive(&in, isola_buf_slice(&fill.bytes), frames);
    }
    isola_buf_free(&fill.bytes);
    isola__outflow_free(&out);
    isola__inflow_free(&in);
    return rc;
}

static void test_stream(void **state)
{
    (void)state;
    unsigned tries = 0, told = 0, frames;
    bytes[0] = 0xdd; /* an array, as far as the encoder looks */
    do {
        fail_nth(++tries);
        frames = 0;
        long before = living;
        int rc = stream(&frames);
        fail_nth(0);
        if (living != before)
            fail_msg("allocation %u failed: %ld are left", tries, living - before);
        told += rc != 0;
        if (rc != 0 ? !no_mem || rc != ISOLA_ENOMEM : frames != 62) /* a write may do with less */
            fail_msg("allocation %u %s: %d, and %u frames", tries,
                     no_mem ? "failed" : "did not fail", rc, frames);
    } while (no_mem);
    assert_true(told > 50);
}

/* What finds no memory is not sent, and changes nothing: it may be sent again, and all arrives. */
static void test_again(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth < 6; nth++) {
        struct isola__outflow out = {0};
        struct isola__inflow in = {0};
        struct isola__fill fill = {0};
        unsigned frames = 0, refused = 0;
        for (uint32_t i = 0; i < 60; i++) {
            size_t len = i % 7 == 0 ? 30000 : 2500;
            fail_nth(nth);
            int rc = put(&out, ISOLA__LANE_EMIT, i % 5, len);
            fail_nth(0);
            if (rc != 0) {
                assert_int_equal(rc, ISOLA_ENOMEM);
                refused++;
                assert_int_equal(put(&out, ISOLA__LANE_EMIT, i % 5, len), 0);
            }
        }
        while (isola__outflow_fill(&out, false, &fill) == 0 && fill.nrecords > 0)
            assert_int_equal(receive(&in, isola_buf_slice(&fill.bytes), &frames), 0);
        assert_int_equal(frames, 60);
        assert_int_equal(out.bytes, 0);
        assert_int_equal(out.count, 0);
        assert_true(nth > 1 || refused > 0);
        isola_buf_free(&fill.bytes);
        isola__outflow_free(&out);
        isola__inflow_free(&in);
    }
}

/* The same message six times, its head said once: what each went as. */
static int headed(char went[7])
{
    struct isola__heads_out out = {0};
    struct isola__heads_in in = {0};
    const struct isola_msg m = {.kind = ISOLA_MSG_EMIT,
                                .src = isola_slice_str("a/A/a"),
                                .dst = isola_slice_str("b/B/b"),
                                .event = isola_slice_str("e"),
                                .args = isola_slice("\x90", 1)};
    struct isola_buf b = {0};
    struct isola_err err;
    int rc = 0;
    isola_buf_append(&b, "\0", 2);
    isola_envelope_encode(&m, 2, &b);
    for (int i = 0; i < 6 && rc == 0 && !b.failed; i++) {
        unsigned number = 0;
        uint32_t key;
        enum isola__item kind = isola__heads_find(&out, &m, &number, &key);
        struct isola_slice item = isola_buf_slice(&b);
        went[i] = kind == ISOLA__ITEM_FRAME ? 'f' : kind == ISOLA__ITEM_HEAD ? 'h' : 'a';
        b.data[0] = (uint8_t)(number >> 8);
        b.data[1] = (uint8_t)number;
        if (kind == ISOLA__ITEM_HEAD) {
            isola__heads_given(&out, &m, number, 1);
            rc = isola__heads_learn(&in, &item, &err);
        } else if (kind == ISOLA__ITEM_AGAIN) {
            assert_non_null(isola__heads_recall(&in, &item, &err));
        }
    }
    rc = b.failed ? ISOLA_ENOMEM : rc;
    isola_buf_free(&b);
    isola__heads_out_free(&out);
    isola__heads_in_free(&in);
    return rc;
}

/* Who sends does without, and tries again; who receives says so, and its link ends. */
static void test_heads(void **state)
{
    (void)state;
    unsigned tries = 0, told = 0, without = 0;
    do {
        char went[7] = "";
        fail_nth(++tries);
        long before = living;
        int rc = headed(went);
        fail_nth(0);
        assert_int_equal(living, before);
        assert_true(rc == 0 || (no_mem && rc == ISOLA_ENOMEM));
        told += rc != 0;
        without += no_mem && rc == 0;
        if (rc == 0)
            assert_true(strcmp(went + 4, "aa") == 0);
    } while (no_mem);
    assert_true(told >= 3 && without >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stream), cmocka_unit_test(test_again),
                                       cmocka_unit_test(test_heads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
