/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting a byte stream into items, wherever it is torn; and lanes: priority, order, parts.
 */
#include "transport/inflow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "transport/link.h"
#include "transport/outflow.h"

/* --- arriving --- */

/* As much of `data` as there is room for, `most` bytes at a time. */
static size_t feed(struct isola__inflow *in, const uint8_t *data, size_t len, size_t most)
{
    uint8_t *to;
    size_t room;
    assert_int_equal(isola__inflow_room(in, &to, &room), 0);
    assert_true(room > 0);
    size_t n = len < most ? len : most;
    n = n < room ? n : room;
    memcpy(to, data, n);
    isola__inflow_arrived(in, n);
    return n;
}

/* The next frame; the goodbye counts as an empty one. */
static int next(struct isola__inflow *in, struct isola_slice *f)
{
    enum isola__item kind;
    struct isola_err err;
    int rc = isola__inflow_next(in, &kind, f, &err);
    if (rc == 1)
        assert_true(kind == ISOLA__ITEM_FRAME || (kind == ISOLA__ITEM_GOODBYE && f->len == 0));
    return rc;
}

static size_t frame_size(size_t i)
{
    static const size_t sizes[] = {0, 1, 3, 100, 5000, 20000, 70000, 2, 300000, 4};
    return sizes[i % 10];
}

/* 30 frames of many sizes, torn every `most` bytes. */
static void cut(size_t most)
{
    struct isola__inflow in = {0};
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
        while ((rc = next(&in, &f)) == 1) {
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
    assert_int_equal(isola__inflow_partial(&in), 0);
    isola__inflow_free(&in);
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
    struct isola__inflow in = {0};
    struct isola_slice f;
    (void)state;
    feed(&in, (const uint8_t *)"\0\0\0\1x\4\0\0\1", 9, SIZE_MAX);
    assert_int_equal(next(&in, &f), 1);
    assert_int_equal(next(&in, &f), ISOLA_EPROTO);
    assert_int_equal(next(&in, &f), ISOLA_EPROTO);
    isola__inflow_free(&in);
}

/* A header that claims 64 MiB costs what has arrived, not what it claims. */
static void test_memory_follows(void **state)
{
    struct isola__inflow in = {0};
    struct isola_slice f;
    uint8_t *block = calloc(1, 1 << 20);
    size_t arrived = 0;
    (void)state;
    arrived += feed(&in, (const uint8_t *)"\4\0\0\0", 4, SIZE_MAX);
    uint8_t *to;
    size_t room;
    assert_int_equal(isola__inflow_room(&in, &to, &room), 0);
    assert_true(in.cap <= ISOLA__INFLOW_REST);
    while (arrived < ISOLA_FRAME_MAX + 4u) {
        size_t left = ISOLA_FRAME_MAX + 4u - arrived;
        arrived += feed(&in, block, left < 1 << 20 ? left : 1 << 20, SIZE_MAX);
        assert_true(in.cap <= 2 * arrived + 4 * ISOLA__INFLOW_REST);
        if (arrived < ISOLA_FRAME_MAX + 4u)
            assert_int_equal(next(&in, &f), 0);
    }
    assert_int_equal(next(&in, &f), 1);
    assert_int_equal(f.len, ISOLA_FRAME_MAX);
    /* and gives it back when the frame is done with, and little comes */
    feed(&in, (const uint8_t *)"\0\0\0\1x", 5, SIZE_MAX);
    assert_int_equal(next(&in, &f), 1);
    assert_int_equal(isola__inflow_room(&in, &to, &room), 0);
    assert_true(in.cap <= ISOLA__INFLOW_REST);
    isola__inflow_free(&in);
    free(block);
}

/* A large frame that comes in tiny pieces is not copied once for each of them. */
static void test_tiny_reads(void **state)
{
    struct isola__inflow in = {0};
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
    assert_int_equal(next(&in, &f), 1);
    assert_int_equal(f.len, n);
    isola__inflow_free(&in);
}

/* The bytes of a vector of docs/wire.md. */
static size_t vector(const char *name, uint8_t *out, size_t room)
{
    FILE *f = fopen(ISOLA_SOURCE "/docs/wire.md", "rb");
    char line[400], head[100];
    size_t n = 0;
    bool found = false;
    assert_non_null(f);
    snprintf(head, sizeof(head), "%s = ", name);
    while (!found && fgets(line, sizeof(line), f) != NULL)
        found = strncmp(line, head, strlen(head)) == 0;
    fclose(f);
    if (!found)
        fail_msg("docs/wire.md has no vector \"%s\"", name);
    for (const char *p = line + strlen(head); *p != '\0' && *p != '\n'; p += *p == ' ' ? 1 : 2) {
        unsigned byte;
        if (*p == ' ')
            continue;
        assert_true(n < room && sscanf(p, "%2x", &byte) == 1);
        out[n++] = (uint8_t)byte;
    }
    return n;
}

static void expect_item(struct isola__inflow *in, const char *name, enum isola__item kind,
                        const char *bytes, size_t len)
{
    uint8_t data[100];
    struct isola_slice item;
    enum isola__item got;
    struct isola_err err;
    size_t n = vector(name, data, sizeof(data));
    for (size_t i = 0; i + 1 < n; i++) {
        assert_int_equal(feed(in, data + i, 1, 1), 1);
        assert_int_equal(isola__inflow_next(in, &got, &item, &err), 0);
    }
    feed(in, data + n - 1, 1, 1);
    assert_int_equal(isola__inflow_next(in, &got, &item, &err), bytes == NULL ? 0 : 1);
    if (bytes == NULL)
        return;
    assert_int_equal(got, kind);
    assert_int_equal(item.len, len);
    assert_memory_equal(item.data, bytes, len);
}

static void expect_sent(struct isola__outflow *out, const char *name)
{
    uint8_t data[100];
    struct isola__fill fill = {0};
    size_t n = vector(name, data, sizeof(data));
    assert_int_equal(isola__outflow_fill(out, false, &fill), 0);
    assert_int_equal(fill.bytes.len, n);
    assert_memory_equal(fill.bytes.data, data, n);
    isola_buf_free(&fill.bytes);
}

/* As documented, both ways. */
static void test_vectors(void **state)
{
    struct isola__inflow in = {0};
    struct isola__outflow out = {0};
    const char *stamp = "\1\2\3\4\5\6\7\10";
    (void)state;
    expect_item(&in, "frame", ISOLA__ITEM_FRAME, "hi", 2);
    expect_item(&in, "beginning of a large frame", ISOLA__ITEM_OPEN, NULL, 0);
    expect_item(&in, "ping", ISOLA__ITEM_PING, stamp, 8);
    expect_item(&in, "the rest of it", ISOLA__ITEM_FRAME, "abcde", 5);
    expect_item(&in, "pong", ISOLA__ITEM_PONG, stamp, 8);
    expect_item(&in, "again", ISOLA__ITEM_AGAIN, "\0\7\x91\2", 4);
    expect_item(&in, "goodbye", ISOLA__ITEM_GOODBYE, "", 0);
    isola__inflow_free(&in);

    isola_buf_append(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, 2), "hi", 2);
    assert_int_equal(isola__outflow_end(&out), 0);
    expect_sent(&out, "frame");
    assert_int_equal(isola__outflow_item(&out, ISOLA__ITEM_PING, stamp, 8), 0);
    expect_sent(&out, "ping");
    assert_int_equal(isola__outflow_item(&out, ISOLA__ITEM_PONG, stamp, 8), 0);
    expect_sent(&out, "pong");
    assert_int_equal(isola__outflow_item(&out, ISOLA__ITEM_GOODBYE, NULL, 0), 0);
    expect_sent(&out, "goodbye");
    isola_buf_append(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, 4), "\0\7\x91\2", 4);
    assert_int_equal(isola__outflow_end_as(&out, ISOLA__ITEM_AGAIN), 0);
    expect_sent(&out, "again");

    /* A large frame, as it begins and goes on. */
    struct isola__fill fill = {0};
    uint8_t *block = calloc(1, 100000);
    isola_buf_append(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, 100000), block, 100000);
    assert_int_equal(isola__outflow_end(&out), 0);
    assert_int_equal(isola__outflow_fill(&out, false, &fill), 0);
    const uint8_t *p = fill.bytes.data;
    size_t first = (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    assert_int_equal(p[0], 0x82);
    assert_memory_equal(p + 8, "\0\0\0\0\0\1\x86\xa0", 8); /* 100000 */
    assert_int_equal(p[4 + first], 0x81);
    assert_memory_equal(p + 4, p + 4 + first + 4, 4); /* its number */
    isola_buf_free(&fill.bytes);
    isola__outflow_free(&out);
    free(block);
}

static void expect_bad(const char *bytes, size_t n, const char *why)
{
    struct isola__inflow in = {0};
    struct isola_slice f;
    enum isola__item kind;
    struct isola_err err = {0};
    int rc;
    feed(&in, (const uint8_t *)bytes, n, SIZE_MAX);
    while ((rc = isola__inflow_next(&in, &kind, &f, &err)) == 1)
        continue;
    assert_int_equal(rc, ISOLA_EPROTO);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    isola__inflow_free(&in);
}
#define BAD(bytes, why) expect_bad(bytes, sizeof(bytes) - 1, why)

static void test_bad_items(void **state)
{
    (void)state;
    BAD("\x80\0\0\0", "kind 0");
    BAD("\x87\0\0\0", "kind 7");
    BAD("\xff\0\0\1", "kind 127");
    BAD("\x81\x01\0\1", "kind 1 and 65537 bytes");
    BAD("\x81\0\0\2xx", "cut off");
    BAD("\x81\0\0\5\0\0\0\7x", "which was not begun");
    BAD("\x82\0\0\4\0\0\0\7", "cut off");
    BAD("\x82\0\0\x0d\0\0\0\7\0\0\0\0\0\0\0\0x", "a frame of 0 bytes");
    BAD("\x82\0\0\x0d\0\0\0\7\0\0\0\0\x40\0\0\1x", "1073741825 bytes was announced");
    BAD("\x82\0\0\x0c\0\0\0\7\0\0\0\0\0\0\0\2", "0 bytes for large frame 7");
    BAD("\x82\0\0\x0f\0\0\0\7\0\0\0\0\0\0\0\2xxx", "3 bytes for large frame 7, which lacks 2");
    BAD("\x82\0\0\x0d\0\0\0\7\0\0\0\0\0\0\0\2x"
        "\x82\0\0\x0d\0\0\0\7\0\0\0\0\0\0\0\2x",
        "begun twice");
    BAD("\x82\0\0\x0d\0\0\0\7\0\0\0\0\x40\0\0\0x"
        "\x82\0\0\x0d\0\0\0\x08\0\0\0\0\x20\0\0\1x",
        "too much was begun");
    BAD("\x83\0\0\7aaaaaaa", "a ping of 7 bytes");
    struct isola_buf many = {0}; /* small ones, but too many at once */
    for (unsigned i = 0; i <= ISOLA__PARTS_MAX; i++) {
        uint8_t one[17] = {0x82, 0, 0, 13, 0, 0, 0, (uint8_t)i, [15] = 2, [16] = 'x'};
        isola_buf_append(&many, one, sizeof(one));
    }
    expect_bad((const char *)many.data, many.len, "too much was begun");
    isola_buf_free(&many);
}

/* --- leaving, and arriving --- */

static uint64_t seed;
static uint32_t dice(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

#define KEYS 7
/* A frame that says whose it is, in which lane it was put, and its number among those of its key.
 */
static void write_frame(struct isola_buf *b, enum isola__lane lane, uint8_t key, uint32_t number,
                        size_t len)
{
    uint8_t head[6] = {key,
                       (uint8_t)lane,
                       (uint8_t)(number >> 24),
                       (uint8_t)(number >> 16),
                       (uint8_t)(number >> 8),
                       (uint8_t)number};
    isola_buf_append(b, head, sizeof(head));
    memset(isola_buf_extend(b, len - 6), 'a' + (int)(number % 26), len - 6);
}

static void put(struct isola__outflow *out, enum isola__lane lane, uint8_t key, uint32_t number,
                size_t len)
{
    struct isola_buf *b = isola__outflow_begin(out, lane, key, true, len);
    assert_non_null(b);
    write_frame(b, lane, key, number, len);
    assert_int_equal(isola__outflow_end(out), 0);
}

/* The same for a large one, from memory of its own. */
static void put_own(struct isola__outflow *out, enum isola__lane lane, uint8_t key, uint32_t number,
                    size_t len)
{
    struct isola_buf b = {0};
    assert_non_null(isola_buf_extend(&b, ISOLA__FRAME_BEFORE + 5));
    write_frame(&b, lane, key, number, len);
    assert_int_equal(isola__outflow_take(out, key, b.data, b.data + ISOLA__FRAME_BEFORE + 5, len),
                     0);
}

static uint32_t number_of(struct isola_slice f)
{
    return (uint32_t)f.data[2] << 24 | (uint32_t)f.data[3] << 16 | (uint32_t)f.data[4] << 8 |
           f.data[5];
}

static void check_frame(struct isola_slice f)
{
    uint32_t number = number_of(f);
    for (size_t i = 6; i < f.len; i++)
        if (f.data[i] != 'a' + (int)(number % 26))
            fail_msg("frame %u has a wrong byte at %zu", number, i);
}

/* The bytes of a write without its gaps, as they would be encrypted: record by record. */
static void items_of(struct isola__fill *fill, struct isola_buf *out)
{
    size_t at = 0;
    out->len = 0;
    for (size_t r = 0; r < fill->nrecords; r++) {
        assert_int_equal(fill->records[r].at, at + ISOLA__RECORD_BEFORE);
        at = fill->records[r].at + fill->records[r].len + ISOLA__RECORD_AFTER;
        isola_buf_append(out, isola__fill_plain(fill, r), fill->records[r].len);
    }
    assert_int_equal(fill->bytes.len, at);
    isola__fill_spent(fill);
}

/* Whatever is put whenever, all of it arrives, once and whole, in the order of each key; what is
 * taken stays as it was. */
static void test_random(void **state)
{
    unsigned taken = 0;
    (void)state;
    for (uint64_t round = 1; round <= 60; round++) {
        struct isola__outflow out = {0};
        struct isola__inflow in = {0};
        struct isola__fill fill = {0};
        struct isola_buf apart = {0};
        bool gaps = round % 2 == 0;
        uint32_t sent[KEYS] = {0}, got[KEYS] = {0}, loose = 0;
        struct isola_slice kept = {0};
        void *memory = NULL;
        seed = round;
        for (unsigned step = 0; step < 400 || out.count > 0; step++) {
            for (uint32_t n = step < 400 ? dice(12) : 0; n > 0; n--) {
                uint8_t key = (uint8_t)dice(KEYS);
                size_t len = dice(20) == 0  ? 6 + dice(300000)
                             : dice(5) == 0 ? 6 + dice(30000)
                                            : 6 + dice(300);
                enum isola__lane lane = (enum isola__lane)dice(ISOLA__LANE_LARGE);
                (len > ISOLA__SMALL_MAX && dice(2) ? put_own : put)(&out, lane, key, sent[key]++,
                                                                    len);
            }
            if (dice(3) == 0)
                continue;
            assert_int_equal(isola__outflow_fill(&out, gaps, &fill), 0);
            size_t at = 0;
            for (size_t r = 0; r < fill.nrecords; r++) {
                assert_true(gaps || fill.records[r].at == at);
                assert_true(fill.records[r].len > 0);
                assert_true(fill.records[r].len <= ISOLA__RECORD_MAX);
                at += fill.records[r].len;
            }
            struct isola_buf *bytes = &fill.bytes;
            if (gaps)
                items_of(&fill, bytes = &apart);
            assert_int_equal(bytes->len, at);
            for (at = 0; at < bytes->len;) {
                struct isola_slice f;
                int rc;
                at += feed(&in, bytes->data + at, bytes->len - at, 1 + dice(100000));
                while ((rc = next(&in, &f)) == 1) {
                    uint8_t key = f.data[0];
                    check_frame(f);
                    if (key == 0)
                        loose++;
                    else if (number_of(f) != got[key]++)
                        fail_msg("round %d: frame %u of key %u came when %u was due", (int)round,
                                 number_of(f), key, got[key] - 1);
                    if (dice(2) == 0)
                        continue;
                    if (memory != NULL)
                        check_frame(kept);
                    free(memory);
                    memory = isola__inflow_take(&in, f);
                    kept = f;
                    taken += memory != NULL;
                    assert_null(isola__inflow_take(&in, f));
                }
                assert_int_equal(rc, 0);
            }
        }
        assert_int_equal(out.bytes, 0);
        assert_int_equal(loose, sent[0]);
        for (int k = 1; k < KEYS; k++)
            assert_int_equal(got[k], sent[k]);
        free(memory);
        isola_buf_free(&apart);
        isola__fill_free(&fill);
        isola__outflow_free(&out);
        isola__inflow_free(&in);
    }
    assert_true(taken > 100);
}

/* The frames that arrive of one fill, as text: lane and number. */
static void arrived(struct isola__outflow *out, struct isola__inflow *in, char *text, size_t room)
{
    struct isola__fill fill = {0};
    text[0] = '\0';
    assert_int_equal(isola__outflow_fill(out, false, &fill), 0);
    for (size_t at = 0; at < fill.bytes.len;) {
        struct isola_slice f;
        at += feed(in, fill.bytes.data + at, fill.bytes.len - at, SIZE_MAX);
        while (next(in, &f) == 1)
            if (strlen(text) + 12 < room)
                snprintf(text + strlen(text), room - strlen(text), "%c%u ", "CRAE"[f.data[1]],
                         number_of(f));
    }
    isola_buf_free(&fill.bytes);
}

static void test_priority(void **state)
{
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    char text[200];
    (void)state;
    put(&out, ISOLA__LANE_EMIT, 1, 1, 50);
    put(&out, ISOLA__LANE_ASK, 2, 2, 50);
    put(&out, ISOLA__LANE_EMIT, 2, 3, 50);
    put(&out, ISOLA__LANE_REPLY, 0, 4, 50);
    put(&out, ISOLA__LANE_ASK, 1, 5, 50); /* not before what key 1 has emitted */
    put(&out, ISOLA__LANE_CONTROL, 0, 6, 50);
    arrived(&out, &in, text, sizeof(text));
    assert_string_equal(text, "C6 R4 A2 E1 E3 A5 ");

    /* What is large holds nobody up, but what follows from the same sender. */
    put(&out, ISOLA__LANE_EMIT, 3, 1, 300000);
    put(&out, ISOLA__LANE_REPLY, 3, 2, 50);
    put(&out, ISOLA__LANE_REPLY, 4, 3, 50);
    arrived(&out, &in, text, sizeof(text));
    assert_string_equal(text, "R3 ");
    put(&out, ISOLA__LANE_EMIT, 5, 4, 50);
    arrived(&out, &in, text, sizeof(text));
    assert_string_equal(text, "E4 ");
    arrived(&out, &in, text, sizeof(text));
    assert_string_equal(text, "E1 R2 ");
    assert_int_equal(out.count, 0);
    isola__outflow_free(&out);
    isola__inflow_free(&in);
}

/* What processes say to one another comes before what actors do; but not lines of logs. */
static void test_lanes(void **state)
{
    (void)state;
    const struct isola_slice dst = isola_slice_str("a/B/c");
    const struct {
        struct isola_msg m;
        enum isola__lane lane;
    } cases[] = {
        {{.kind = ISOLA_MSG_EMIT}, ISOLA__LANE_CONTROL},
        {{.kind = ISOLA_MSG_EMIT, .bulk = true}, ISOLA__LANE_EMIT},
        {{.kind = ISOLA_MSG_EMIT, .dst = dst}, ISOLA__LANE_EMIT},
        {{.kind = ISOLA_MSG_EVENT, .dst = dst}, ISOLA__LANE_EMIT},
        {{.kind = ISOLA_MSG_ASK}, ISOLA__LANE_CONTROL},
        {{.kind = ISOLA_MSG_ASK, .dst = dst}, ISOLA__LANE_ASK},
        {{.kind = ISOLA_MSG_SUB, .dst = dst}, ISOLA__LANE_ASK},
        {{.kind = ISOLA_MSG_REPLY}, ISOLA__LANE_REPLY},
        {{.kind = ISOLA_MSG_FAIL}, ISOLA__LANE_REPLY},
        {{.kind = ISOLA_MSG_ACK, .dst = dst}, ISOLA__LANE_CONTROL},
        {{.kind = ISOLA_MSG_PACE}, ISOLA__LANE_CONTROL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(isola__lane_of(&cases[i].m), cases[i].lane);
}

static void put_msg(struct isola__outflow *out, const struct isola_msg *m, uint32_t number)
{
    enum isola__lane lane = isola__lane_of(m);
    struct isola_buf *b = isola__outflow_begin(out, lane, isola__key_of(m), true, 6);
    assert_non_null(b);
    const uint8_t head[6] = {0, (uint8_t)lane, 0, 0, 0, (uint8_t)number};
    isola_buf_append(b, head, sizeof(head));
    assert_int_equal(isola__outflow_end(out), 0);
}

/* What docs/actors.md says of order between nodes: asks and emits of one sender keep theirs, an
 * answer comes before what who answers has emitted. */
static void test_order_of_messages(void **state)
{
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    char text[200];
    (void)state;
    const struct isola_slice a = isola_slice_str("x/A/a"), b = isola_slice_str("x/B/b");
    const struct isola_msg emit = {.kind = ISOLA_MSG_EMIT, .src = a, .dst = b};
    const struct isola_msg ask = {.kind = ISOLA_MSG_ASK, .src = a, .dst = b};
    const struct isola_msg event = {.kind = ISOLA_MSG_EVENT, .src = a, .dst = b};
    const struct isola_msg reply = {.kind = ISOLA_MSG_REPLY, .order = 99991};
    put_msg(&out, &emit, 1);
    put_msg(&out, &ask, 2);
    put_msg(&out, &event, 3);
    put_msg(&out, &emit, 4);
    put_msg(&out, &reply, 5);
    arrived(&out, &in, text, sizeof(text));
    assert_string_equal(text, "R5 E1 A2 E3 E4 ");
    isola__outflow_free(&out);
    isola__inflow_free(&in);
}

/* However much is small, what is large goes on; and large ones take turns. */
static void test_no_starvation(void **state)
{
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    unsigned fills = 0, first = 0, second = 0;
    (void)state;
    put(&out, ISOLA__LANE_EMIT, 1, 111, 2000000);
    put(&out, ISOLA__LANE_EMIT, 2, 222, 300000);
    while (first == 0 || second == 0) {
        for (int i = 0; i < 400; i++)
            put(&out, ISOLA__LANE_ASK, 3, 7, 1000);
        struct isola__fill fill = {0};
        assert_int_equal(isola__outflow_fill(&out, false, &fill), 0);
        fills++;
        assert_true(fills < 300);
        for (size_t at = 0; at < fill.bytes.len;) {
            struct isola_slice f;
            at += feed(&in, fill.bytes.data + at, fill.bytes.len - at, SIZE_MAX);
            while (next(&in, &f) == 1) {
                if (number_of(f) == 111)
                    first = fills;
                if (number_of(f) == 222)
                    second = fills;
            }
        }
        isola_buf_free(&fill.bytes);
    }
    assert_true(second < first);
    isola__outflow_free(&out);
    isola__inflow_free(&in);
}

static void test_refusals_change_nothing(void **state)
{
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    char text[100];
    (void)state;
    struct isola_buf *b = isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, false, 10);
    isola_buf_puts(b, "half");
    b->failed = true; /* no memory in the middle of it */
    assert_int_equal(isola__outflow_end(&out), ISOLA_ENOMEM);
    b = isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, 100000);
    b->failed = true;
    assert_int_equal(isola__outflow_end(&out), ISOLA_ENOMEM);
    b = isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, false, 10);
    isola_buf_extend(b, ISOLA_FRAME_MAX + 1u);
    assert_int_equal(isola__outflow_end(&out), ISOLA_ETOOBIG);
    assert_int_equal(out.count, 0);
    assert_int_equal(out.bytes, 0);
    put(&out, ISOLA__LANE_EMIT, 1, 5, 40);
    arrived(&out, &in, text, sizeof(text));
    assert_string_equal(text, "E5 ");
    isola__outflow_free(&out);
    isola__inflow_free(&in);
}

/* Without parts a large frame goes whole, in its place. */
static void test_uncut(void **state)
{
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    struct isola__fill fill = {0};
    struct isola_slice f;
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct isola_buf *b = isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, false, 200000);
        memset(isola_buf_extend(b, 200000), 'a' + i, 200000);
        assert_int_equal(isola__outflow_end(&out), 0);
    }
    int seen = 0;
    while (out.count > 0) {
        assert_int_equal(isola__outflow_fill(&out, false, &fill), 0);
        assert_true(fill.nrecords > 0);
        for (size_t at = 0; at < fill.bytes.len;) {
            at += feed(&in, fill.bytes.data + at, fill.bytes.len - at, SIZE_MAX);
            while (next(&in, &f) == 1) {
                assert_int_equal(f.len, 200000);
                assert_int_equal(f.data[199999], 'a' + seen++);
            }
        }
    }
    assert_int_equal(seen, 3);
    isola_buf_free(&fill.bytes);
    isola__outflow_free(&out);
    isola__inflow_free(&in);
}

/* A frame that is not to be cut, of a sender whose large frame waits: it goes behind that. */
static void test_uncut_behind_large(void **state)
{
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    char text[100] = "";
    (void)state;
    put(&out, ISOLA__LANE_EMIT, 1, 1, 100000);
    for (unsigned i = 2; i < 5; i++) {
        struct isola_buf *b = isola__outflow_begin(&out, ISOLA__LANE_ASK, 1, false, 40);
        assert_non_null(b);
        uint8_t head[6] = {1, ISOLA__LANE_ASK, 0, 0, 0, (uint8_t)i};
        isola_buf_append(b, head, sizeof(head));
        memset(isola_buf_extend(b, 30), 'a' + (int)i, 30);
        assert_int_equal(isola__outflow_end(&out), 0);
    }
    while (out.count > 0) {
        assert_string_equal(text, "");
        arrived(&out, &in, text, sizeof(text));
    }
    assert_string_equal(text, "E1 A2 A3 A4 ");
    assert_int_equal(out.bytes, 0);
    isola__outflow_free(&out);
    isola__inflow_free(&in);
}

static unsigned fills(struct isola__outflow *out)
{
    struct isola__fill fill = {0};
    unsigned n = 0;
    for (; out->count > 0; n++) {
        assert_int_equal(isola__outflow_fill(out, true, &fill), 0);
        assert_true(fill.nrecords > 0);
    }
    assert_int_equal(out->bytes, 0);
    isola__fill_free(&fill);
    return n;
}

/* What is small and waits behind something large of its sender shares records all the same. */
static void test_small_behind_large(void **state)
{
    struct isola__outflow out = {0};
    (void)state;
    put(&out, ISOLA__LANE_EMIT, 1, 0, 100000);
    for (uint32_t i = 1; i < 5000; i++)
        put(&out, ISOLA__LANE_EMIT, 1, i, 50);
    unsigned n = fills(&out);
    if (n > 10)
        fail_msg("%u writes for 350 KB", n);
    isola__outflow_free(&out);
}

/* Those beyond the number that is under way at once are let in between two frames of others. */
static void test_many_large(void **state)
{
    enum { SENDERS = ISOLA__SENDERS_MAX + 9 };
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    struct isola__fill fill = {0};
    uint32_t got[SENDERS + 1] = {0}, least = 0;
    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        for (uint8_t key = 1; key <= SENDERS; key++)
            put(&out, ISOLA__LANE_EMIT, key, i, 70000);
    while (out.count > 0) {
        assert_true(out.senders <= ISOLA__SENDERS_MAX);
        assert_int_equal(isola__outflow_fill(&out, false, &fill), 0);
        for (size_t at = 0; at < fill.bytes.len;) {
            struct isola_slice f;
            at += feed(&in, fill.bytes.data + at, fill.bytes.len - at, SIZE_MAX);
            while (next(&in, &f) == 1) {
                assert_int_equal(number_of(f), got[f.data[0]]++);
                least = UINT32_MAX;
                for (int k = 1; k <= SENDERS; k++)
                    least = got[k] < least ? got[k] : least;
                if (got[f.data[0]] > least + 2)
                    fail_msg("a sender is at its frame %u, another at %u", got[f.data[0]], least);
            }
        }
    }
    assert_int_equal(least, 5);
    assert_int_equal(out.bytes, 0);
    isola_buf_free(&fill.bytes);
    isola__outflow_free(&out);
    isola__inflow_free(&in);
}

/* One that there was no memory for costs the next ones nothing. */
static void test_no_memory(void **state)
{
    struct isola__outflow out = {0};
    struct isola__inflow in = {0};
    char text[100];
    const size_t huge = SIZE_MAX - 4096; /* refused before any allocator sees it */
    (void)state;
    put(&out, ISOLA__LANE_EMIT, 1, 1, 40); /* leaves a spare chunk */
    arrived(&out, &in, text, sizeof(text));
    assert_null(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, false, huge));
    assert_null(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, huge));
    assert_int_equal(out.count, 0);
    put(&out, ISOLA__LANE_EMIT, 1, 2, 100000);
    put(&out, ISOLA__LANE_EMIT, 2, 3, 40);
    text[0] = '\0';
    arrived(&out, &in, text, sizeof(text));
    assert_string_equal(text, "E3 E2 ");
    isola__outflow_free(&out);
    isola__inflow_free(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_oversized),
        cmocka_unit_test(test_memory_follows),
        cmocka_unit_test(test_tiny_reads),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_bad_items),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_order_of_messages),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_no_starvation),
        cmocka_unit_test(test_refusals_change_nothing),
        cmocka_unit_test(test_uncut),
        cmocka_unit_test(test_uncut_behind_large),
        cmocka_unit_test(test_small_behind_large),
        cmocka_unit_test(test_many_large),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
