/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting a byte stream into frames, wherever it is torn, and joining frames for few writes.
 */
#include "transport/frames.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "transport/link.h"

/* --- arriving --- */

/* As much of `data` as there is room for, `most` bytes at a time. */
static size_t feed(struct isola__frames_in *in, const uint8_t *data, size_t len, size_t most)
{
    uint8_t *to;
    size_t room;
    assert_int_equal(isola__frames_room(in, &to, &room), 0);
    assert_true(room > 0);
    size_t n = len < most ? len : most;
    n = n < room ? n : room;
    memcpy(to, data, n);
    isola__frames_arrived(in, n);
    return n;
}

static size_t frame_size(size_t i)
{
    static const size_t sizes[] = {0, 1, 3, 100, 5000, 20000, 70000, 2, 300000, 4};
    return sizes[i % 10];
}

/* 30 frames of many sizes, torn every `most` bytes. */
static void cut(size_t most)
{
    struct isola__frames_in in = {0};
    struct isola_buf stream = {0};
    for (size_t i = 0; i < 30; i++) {
        size_t n = frame_size(i);
        uint8_t header[4] = {0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
        isola_buf_append(&stream, header, 4);
        if (n > 0)
            memset(isola_buf_extend(&stream, n), (int)('a' + i), n);
    }
    size_t frames = 0, at = 0;
    while (at < stream.len) {
        at += feed(&in, stream.data + at, stream.len - at, most);
        struct isola_slice f;
        int rc;
        while ((rc = isola__frames_next(&in, &f)) == 1) {
            assert_int_equal(f.len, frame_size(frames));
            for (size_t k = 0; k < f.len; k += 97)
                assert_int_equal(f.data[k], 'a' + frames);
            if (f.len > 0)
                assert_int_equal(f.data[f.len - 1], 'a' + frames);
            frames++;
        }
        assert_int_equal(rc, 0);
    }
    assert_int_equal(frames, 30);
    assert_int_equal(isola__frames_partial(&in), 0);
    isola__frames_in_free(&in);
    isola_buf_free(&stream);
}

static void test_cut(void **state)
{
    (void)state;
    for (size_t most = 1; most < 12; most++)
        cut(most);
    cut(4095);
    cut(16384);
    cut(65536);
    cut(SIZE_MAX);
}

static void test_oversized(void **state)
{
    struct isola__frames_in in = {0};
    struct isola_slice f;
    (void)state;
    feed(&in, (const uint8_t *)"\0\0\0\1x\4\0\0\1", 9, SIZE_MAX);
    assert_int_equal(isola__frames_next(&in, &f), 1);
    assert_int_equal(isola__frames_next(&in, &f), ISOLA_EPROTO);
    assert_int_equal(isola__frames_next(&in, &f), ISOLA_EPROTO);
    isola__frames_in_free(&in);
}

/* A header that claims 64 MiB costs what has arrived, not what it claims. */
static void test_memory_follows(void **state)
{
    struct isola__frames_in in = {0};
    struct isola_slice f;
    uint8_t *block = calloc(1, 1 << 20);
    size_t arrived = 0;
    (void)state;
    arrived += feed(&in, (const uint8_t *)"\4\0\0\0", 4, SIZE_MAX);
    uint8_t *to;
    size_t room;
    assert_int_equal(isola__frames_room(&in, &to, &room), 0);
    assert_true(in.cap <= ISOLA__FRAMES_REST);
    while (arrived < ISOLA_FRAME_MAX + 4u) {
        size_t left = ISOLA_FRAME_MAX + 4u - arrived;
        arrived += feed(&in, block, left < 1 << 20 ? left : 1 << 20, SIZE_MAX);
        assert_true(in.cap <= 2 * arrived + 2 * ISOLA__FRAMES_REST);
        if (arrived < ISOLA_FRAME_MAX + 4u)
            assert_int_equal(isola__frames_next(&in, &f), 0);
    }
    assert_int_equal(isola__frames_next(&in, &f), 1);
    assert_int_equal(f.len, ISOLA_FRAME_MAX);
    /* and gives it back when the frame is done with */
    assert_int_equal(isola__frames_room(&in, &to, &room), 0);
    assert_true(in.cap <= ISOLA__FRAMES_REST);
    isola__frames_in_free(&in);
    free(block);
}

/* A large frame that comes in tiny pieces is not copied once for each of them. */
static void test_tiny_reads(void **state)
{
    struct isola__frames_in in = {0};
    struct isola_slice f;
    const size_t n = 1u << 20;
    size_t cap = 0;
    unsigned grown = 0;
    (void)state;
    feed(&in, (const uint8_t *)"\0\x10\0\0", 4, SIZE_MAX);
    for (size_t i = 0; i < n; i++) {
        feed(&in, (const uint8_t *)"x", 1, 1);
        grown += in.cap != cap;
        cap = in.cap;
    }
    assert_true(grown <= 10);
    assert_int_equal(isola__frames_next(&in, &f), 1);
    assert_int_equal(f.len, n);
    isola__frames_in_free(&in);
}

/* --- leaving --- */

/* Takes all of `out` in writes of `most` bytes, and returns it. */
static struct isola_buf take(struct isola__frames_out *out, size_t max_spans, size_t most)
{
    struct isola_buf all = {0};
    struct isola__span spans[8];
    while (out->bytes > 0) {
        size_t n = isola__frames_gather(out, spans, max_spans);
        assert_true(n > 0 && n <= max_spans);
        size_t taken = 0;
        for (size_t i = 0; i < n && taken < most; i++) {
            assert_true(spans[i].len > 0);
            size_t k = spans[i].len < most - taken ? spans[i].len : most - taken;
            isola_buf_append(&all, spans[i].data, k);
            taken += k;
        }
        isola__frames_written(out, taken);
    }
    assert_null(out->head);
    assert_null(out->tail);
    return all;
}

static void push(struct isola__frames_out *out, char c, size_t len)
{
    struct isola_buf b = {0};
    if (len > 0)
        memset(isola_buf_extend(&b, len), c, len);
    assert_int_equal(isola__frames_push(out, &b), 0);
    assert_null(b.data);
}

static void join(size_t max_spans, size_t most)
{
    struct isola__frames_out out = {0};
    size_t expected = 0;
    for (size_t i = 0; i < 30; i++) {
        push(&out, (char)('a' + i), frame_size(i));
        expected += frame_size(i) + 4;
        assert_int_equal(out.bytes, expected);
    }
    struct isola_buf all = take(&out, max_spans, most);
    assert_int_equal(all.len, expected);
    size_t at = 0;
    for (size_t i = 0; i < 30; i++) {
        size_t n = frame_size(i);
        uint8_t header[4] = {0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
        assert_memory_equal(all.data + at, header, 4);
        for (size_t k = 0; k < n; k++)
            if (all.data[at + 4 + k] != 'a' + i)
                fail_msg("frame %zu, byte %zu", i, k);
        at += 4 + n;
    }
    isola_buf_free(&all);
    isola__frames_out_free(&out);
}

static void test_join(void **state)
{
    (void)state;
    join(8, SIZE_MAX);
    join(1, SIZE_MAX);
    join(8, 1000);
    join(3, 7);
}

static void test_small_ones_share(void **state)
{
    struct isola__frames_out out = {0};
    struct isola__span spans[8];
    (void)state;
    for (int i = 0; i < 1000; i++)
        push(&out, 'x', 20);
    assert_int_equal(isola__frames_gather(&out, spans, 8), 1);
    assert_int_equal(spans[0].len, 24000);

    /* what a write looks at stays where it is */
    uint8_t *data = spans[0].data;
    for (int i = 0; i < 10000; i++)
        push(&out, 'y', 20);
    assert_int_equal(isola__frames_gather(&out, spans, 8), 5);
    assert_ptr_equal(spans[0].data, data);
    assert_int_equal(spans[0].len, 24000);
    assert_int_equal(data[23999], 'x');
    isola__frames_out_free(&out);
    assert_int_equal(out.bytes, 0);
}

static void test_large_ones_are_taken(void **state)
{
    struct isola__frames_out out = {0};
    struct isola__span spans[8];
    struct isola_buf b = {0};
    (void)state;
    isola_buf_extend(&b, 1 << 20);
    uint8_t *data = b.data;
    push(&out, 'x', 5);
    assert_int_equal(isola__frames_push(&out, &b), 0);
    assert_int_equal(isola__frames_gather(&out, spans, 8), 2);
    assert_int_equal(spans[0].len, 9 + 4); /* its header went with the small one */
    assert_ptr_equal(spans[1].data, data);
    isola__frames_out_free(&out);
}

static void test_refusals_change_nothing(void **state)
{
    struct isola__frames_out out = {0};
    struct isola_buf b = {0};
    (void)state;
    isola_buf_extend(&b, ISOLA_FRAME_MAX + 1u);
    assert_int_equal(isola__frames_push(&out, &b), ISOLA_ETOOBIG);
    assert_non_null(b.data);
    assert_null(out.head);
    push(&out, 'x', 3);
    assert_int_equal(isola__frames_push(&out, &b), ISOLA_ETOOBIG);
    isola_buf_free(&b);

    struct isola_buf *to = isola__frames_begin(&out, 10);
    isola_buf_puts(to, "half");
    to->failed = true; /* no memory in the middle of it */
    assert_int_equal(isola__frames_end(&out), ISOLA_ENOMEM);
    to = isola__frames_begin(&out, 100000); /* the same in a chunk of its own */
    to->failed = true;
    assert_int_equal(isola__frames_end(&out), ISOLA_ENOMEM);
    to = isola__frames_begin(&out, 1);
    isola_buf_puts(to, "longer than estimated");
    assert_int_equal(isola__frames_end(&out), 0);
    struct isola_buf all = take(&out, 8, SIZE_MAX);
    assert_int_equal(all.len, 7 + 4 + 21);
    assert_memory_equal(all.data, "\0\0\0\3xxx\0\0\0\25longer than", 22);
    isola_buf_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_oversized),
        cmocka_unit_test(test_memory_follows),
        cmocka_unit_test(test_tiny_reads),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_small_ones_share),
        cmocka_unit_test(test_large_ones_are_taken),
        cmocka_unit_test(test_refusals_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
