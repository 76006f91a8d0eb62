/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting a byte stream into items, wherever it is torn; and lanes: priority, order, parts.
 */
#include "transport/inflow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/bytes.h"
#include "transport/link.h"
#include "transport/outflow.h"

/* --- both ends, anew for each test, and what is under way from one to the other --- */

static struct isola__outflow out;
static struct isola__inflow in;
static struct isola__fill fill;
static size_t crossed; /* bytes of it */

static int renew(void **state)
{
    (void)state;
    isola__fill_free(&fill);
    isola__outflow_free(&out);
    isola__inflow_free(&in);
    out = (struct isola__outflow){0};
    crossed = 0;
    return 0;
}

static void fill_up(bool gaps)
{
    assert_int_equal(isola__outflow_fill(&out, gaps, &fill), 0);
    crossed = 0;
}

/* As much of `data` as there is room for, `most` bytes at a time. */
static size_t feed(const uint8_t *data, size_t len, size_t most)
{
    uint8_t *to;
    size_t room;
    assert_int_equal(isola__inflow_room(&in, &to, &room), 0);
    assert_true(room > 0);
    size_t n = len < most ? len : most;
    n = n < room ? n : room;
    memcpy(to, data, n);
    isola__inflow_arrived(&in, n);
    return n;
}

/* The next frame; the goodbye counts as an empty one. */
static int next(struct isola_slice *f)
{
    enum isola__item kind;
    struct isola_err err;
    int rc = isola__inflow_next(&in, &kind, f, &err);
    if (rc == 1)
        assert_true(kind == ISOLA__ITEM_FRAME || (kind == ISOLA__ITEM_GOODBYE && f->len == 0));
    return rc;
}

/* The next frame of those that `fill` is or ends; false: it has come whole. */
static bool next_crosses(struct isola_slice *f)
{
    int rc;
    while ((rc = next(f)) == 0 && crossed < fill.bytes.len)
        crossed += feed(fill.bytes.data + crossed, fill.bytes.len - crossed, SIZE_MAX);
    assert_true(rc >= 0);
    return rc == 1;
}

/* --- arriving --- */

static size_t frame_size(size_t i)
{
    static const size_t sizes[] = {0, 1, 3, 100, 5000, 20000, 70000, 2, 300000, 4};
    return sizes[i % 10];
}

/* 30 frames of many sizes, torn every `most` bytes. */
static void cut(size_t most)
{
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
        at += feed(stream.data + at, stream.len - at, most);
        struct isola_slice f;
        int rc;
        while ((rc = next(&f)) == 1) {
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
    struct isola_slice f;
    (void)state;
    feed((const uint8_t *)"\0\0\0\1x\4\0\0\1", 9, SIZE_MAX);
    assert_int_equal(next(&f), 1);
    assert_int_equal(next(&f), ISOLA_EPROTO);
    assert_int_equal(next(&f), ISOLA_EPROTO);
}

/* A header that claims 64 MiB costs what has arrived, not what it claims. */
static void test_memory_follows(void **state)
{
    struct isola_slice f;
    uint8_t *block = calloc(1, 1 << 20);
    size_t arrived = 0;
    (void)state;
    arrived += feed((const uint8_t *)"\4\0\0\0", 4, SIZE_MAX);
    uint8_t *to;
    size_t room;
    assert_int_equal(isola__inflow_room(&in, &to, &room), 0);
    assert_true(in.cap <= ISOLA__INFLOW_REST);
    while (arrived < ISOLA_FRAME_MAX + 4u) {
        size_t left = ISOLA_FRAME_MAX + 4u - arrived;
        arrived += feed(block, left < 1 << 20 ? left : 1 << 20, SIZE_MAX);
        assert_true(in.cap <= 2 * arrived + 4 * ISOLA__INFLOW_REST);
        if (arrived < ISOLA_FRAME_MAX + 4u)
            assert_int_equal(next(&f), 0);
    }
    assert_int_equal(next(&f), 1);
    assert_int_equal(f.len, ISOLA_FRAME_MAX);
    /* and gives it back when the frame is done with, and little comes */
    feed((const uint8_t *)"\0\0\0\1x", 5, SIZE_MAX);
    assert_int_equal(next(&f), 1);
    assert_int_equal(isola__inflow_room(&in, &to, &room), 0);
    assert_true(in.cap <= ISOLA__INFLOW_REST);
    free(block);
}

/* A large frame that comes in tiny pieces is not copied once for each of them. */
static void test_tiny_reads(void **state)
{
    struct isola_slice f;
    const size_t n = 1u << 20;
    size_t cap = 0;
    unsigned grown = 0;
    (void)state;
    feed((const uint8_t *)"\0\x10\0\0", 4, SIZE_MAX);
    for (size_t i = 0; i < n; i++) {
        feed((const uint8_t *)"x", 1, 1);
        grown += in.cap != cap;
        cap = in.cap;
    }
    assert_true(grown <= 10);
    assert_int_equal(next(&f), 1);
    assert_int_equal(f.len, n);
}

/* The bytes of a vector of docs/wire.md; the caller frees them. */
static struct isola_buf vector(const char *name)
{
    FILE *f = fopen(ISOLA_SOURCE "/docs/wire.md", "rb");
    char line[400], head[100];
    bool found = false;
    assert_non_null(f);
    snprintf(head, sizeof(head), "%s = ", name);
    while (!found && fgets(line, sizeof(line), f) != NULL)
        found = strncmp(line, head, strlen(head)) == 0;
    fclose(f);
    if (!found)
        fail_msg("docs/wire.md has no vector \"%s\"", name);
    line[strcspn(line, "\n")] = '\0';
    return unhex(line + strlen(head));
}

static void expect_item(const char *name, enum isola__item kind, const char *bytes, size_t len)
{
    struct isola_buf data = vector(name);
    struct isola_slice item;
    enum isola__item got;
    struct isola_err err;
    for (size_t i = 0; i < data.len; i++) {
        bool whole = i + 1 == data.len && bytes != NULL;
        assert_int_equal(feed(data.data + i, 1, 1), 1);
        assert_int_equal(isola__inflow_next(&in, &got, &item, &err), whole);
    }
    isola_buf_free(&data);
    if (bytes == NULL)
        return;
    assert_int_equal(got, kind);
    assert_int_equal(item.len, len);
    assert_memory_equal(item.data, bytes, len);
}

static void expect_sent(const char *name)
{
    struct isola_buf data = vector(name);
    fill_up(false);
    assert_int_equal(fill.bytes.len, data.len);
    assert_memory_equal(fill.bytes.data, data.data, data.len);
    isola_buf_free(&data);
}

/* As documented, both ways. */
static void test_vectors(void **state)
{
    const char *stamp = "\1\2\3\4\5\6\7\10";
    (void)state;
    expect_item("frame", ISOLA__ITEM_FRAME, "hi", 2);
    expect_item("beginning of a large frame", ISOLA__ITEM_OPEN, NULL, 0);
    expect_item("ping", ISOLA__ITEM_PING, stamp, 8);
    expect_item("the rest of it", ISOLA__ITEM_FRAME, "abcde", 5);
    expect_item("pong", ISOLA__ITEM_PONG, stamp, 8);
    expect_item("again", ISOLA__ITEM_AGAIN, "\0\7\x91\2", 4);
    expect_item("goodbye", ISOLA__ITEM_GOODBYE, "", 0);

    isola_buf_append(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, 2), "hi", 2);
    assert_int_equal(isola__outflow_end(&out), 0);
    expect_sent("frame");
    assert_int_equal(isola__outflow_item(&out, ISOLA__ITEM_PING, stamp, 8), 0);
    expect_sent("ping");
    assert_int_equal(isola__outflow_item(&out, ISOLA__ITEM_PONG, stamp, 8), 0);
    expect_sent("pong");
    assert_int_equal(isola__outflow_item(&out, ISOLA__ITEM_GOODBYE, NULL, 0), 0);
    expect_sent("goodbye");
    isola_buf_append(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, 4), "\0\7\x91\2", 4);
    assert_int_equal(isola__outflow_end_as(&out, ISOLA__ITEM_AGAIN), 0);
    expect_sent("again");

    /* A large frame, as it begins and goes on. */
    uint8_t *block = calloc(1, 100000);
    isola_buf_append(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, 100000), block, 100000);
    assert_int_equal(isola__outflow_end(&out), 0);
    fill_up(false);
    const uint8_t *p = fill.bytes.data;
    size_t first = (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    assert_int_equal(p[0], 0x82);
    assert_memory_equal(p + 8, "\0\0\0\0\0\1\x86\xa0", 8); /* 100000 */
    assert_int_equal(p[4 + first], 0x81);
    assert_memory_equal(p + 4, p + 4 + first + 4, 4); /* its number */
    free(block);
}

static void expect_bad(const char *bytes, size_t n, const char *why)
{
    struct isola_slice f;
    enum isola__item kind;
    struct isola_err err = {0};
    int rc;
    (void)renew(NULL);
    feed((const uint8_t *)bytes, n, SIZE_MAX);
    while ((rc = isola__inflow_next(&in, &kind, &f, &err)) == 1)
        continue;
    assert_int_equal(rc, ISOLA_EPROTO);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
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

static void put(enum isola__lane lane, uint8_t key, uint32_t number, size_t len)
{
    struct isola_buf *b = isola__outflow_begin(&out, lane, key, true, len);
    assert_non_null(b);
    write_frame(b, lane, key, number, len);
    assert_int_equal(isola__outflow_end(&out), 0);
}

/* The same for a large one, from memory of its own. */
static void put_own(enum isola__lane lane, uint8_t key, uint32_t number, size_t len)
{
    struct isola_buf b = {0};
    assert_non_null(isola_buf_extend(&b, ISOLA__FRAME_BEFORE + 5));
    write_frame(&b, lane, key, number, len);
    assert_int_equal(isola__outflow_take(&out, key, b.data, b.data + ISOLA__FRAME_BEFORE + 5, len),
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

/* The bytes of a write, in one piece: without its gaps, as they would be encrypted, record by
 * record. Valid until the next one. */
static struct isola_slice items_of(bool gaps, struct isola_buf *apart)
{
    size_t at = 0;
    apart->len = 0;
    for (size_t r = 0; r < fill.nrecords; r++) {
        const struct isola__span *record = &fill.records[r];
        assert_int_equal(record->at, gaps ? at + ISOLA__RECORD_BEFORE : at);
        assert_in_range(record->len, 1, ISOLA__RECORD_MAX);
        at = record->at + record->len + (gaps ? ISOLA__RECORD_AFTER : 0);
        if (gaps)
            isola_buf_append(apart, isola__fill_plain(&fill, r), record->len);
    }
    assert_int_equal(fill.bytes.len, at);
    isola__fill_spent(&fill);
    return isola_buf_slice(gaps ? apart : &fill.bytes);
}

/* Those that have come, and one that was taken. */
struct arrivals {
    int round;
    uint32_t got[KEYS]; /* without order for key 0 */
    struct isola_slice kept;
    void *memory;
    unsigned taken;
};

static void arrive(struct arrivals *a, struct isola_slice f)
{
    uint8_t key = f.data[0];
    uint32_t due = a->got[key]++;
    check_frame(f);
    if (key != 0 && number_of(f) != due)
        fail_msg("round %d: frame %u of key %u came when %u was due", a->round, number_of(f), key,
                 due);
    if (dice(2) == 0)
        return;
    if (a->memory != NULL)
        check_frame(a->kept);
    free(a->memory);
    a->memory = isola__inflow_take(&in, f);
    a->kept = f;
    a->taken += a->memory != NULL;
    assert_null(isola__inflow_take(&in, f));
}

static void put_some(uint32_t sent[KEYS])
{
    for (uint32_t n = dice(12); n > 0; n--) {
        uint8_t key = (uint8_t)dice(KEYS);
        size_t len = dice(20) == 0  ? 6 + dice(300000)
                     : dice(5) == 0 ? 6 + dice(30000)
                                    : 6 + dice(300);
        enum isola__lane lane = (enum isola__lane)dice(ISOLA__LANE_LARGE);
        (len > ISOLA__SMALL_MAX && dice(2) ? put_own : put)(lane, key, sent[key]++, len);
    }
}

/* Whatever is put whenever, all of it arrives, once and whole, in the order of each key; what is
 * taken stays as it was. */
static void test_random(void **state)
{
    unsigned taken = 0;
    for (int round = 1; round <= 60; round++) {
        struct isola_buf apart = {0};
        struct arrivals a = {.round = round};
        uint32_t sent[KEYS] = {0};
        bool gaps = round % 2 == 0;
        (void)renew(state);
        seed = (uint64_t)round;
        for (unsigned step = 0; step < 400 || out.count > 0; step++) {
            if (step < 400)
                put_some(sent);
            if (dice(3) == 0)
                continue;
            fill_up(gaps);
            struct isola_slice bytes = items_of(gaps, &apart), f;
            for (size_t at = 0; at < bytes.len;) {
                int rc;
                at += feed(bytes.data + at, bytes.len - at, 1 + dice(100000));
                while ((rc = next(&f)) == 1)
                    arrive(&a, f);
                assert_int_equal(rc, 0);
            }
        }
        assert_int_equal(out.bytes, 0);
        assert_memory_equal(a.got, sent, sizeof(sent));
        taken += a.taken;
        free(a.memory);
        isola_buf_free(&apart);
    }
    assert_true(taken > 100);
}

/* The frames that arrive of one fill, as text: lane and number. Valid until the next one. */
static const char *arrived(void)
{
    static char text[200];
    struct isola_slice f;
    size_t n = 0;
    fill_up(false);
    text[0] = '\0';
    while (next_crosses(&f)) {
        assert_true(n < sizeof(text));
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%c%u ", "CRAE"[f.data[1]], number_of(f));
    }
    return text;
}

static void test_priority(void **state)
{
    (void)state;
    put(ISOLA__LANE_EMIT, 1, 1, 50);
    put(ISOLA__LANE_ASK, 2, 2, 50);
    put(ISOLA__LANE_EMIT, 2, 3, 50);
    put(ISOLA__LANE_REPLY, 0, 4, 50);
    put(ISOLA__LANE_ASK, 1, 5, 50); /* not before what key 1 has emitted */
    put(ISOLA__LANE_CONTROL, 0, 6, 50);
    assert_string_equal(arrived(), "C6 R4 A2 E1 E3 A5 ");

    /* What is large holds nobody up, but what follows from the same sender. */
    put(ISOLA__LANE_EMIT, 3, 1, 300000);
    put(ISOLA__LANE_REPLY, 3, 2, 50);
    put(ISOLA__LANE_REPLY, 4, 3, 50);
    assert_string_equal(arrived(), "R3 ");
    put(ISOLA__LANE_EMIT, 5, 4, 50);
    assert_string_equal(arrived(), "E4 ");
    assert_string_equal(arrived(), "E1 R2 ");
    assert_int_equal(out.count, 0);
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

static void put_msg(const struct isola_msg *m, uint32_t number)
{
    enum isola__lane lane = isola__lane_of(m);
    struct isola_buf *b = isola__outflow_begin(&out, lane, isola__key_of(m), true, 6);
    assert_non_null(b);
    const uint8_t head[6] = {0, (uint8_t)lane, 0, 0, 0, (uint8_t)number};
    isola_buf_append(b, head, sizeof(head));
    assert_int_equal(isola__outflow_end(&out), 0);
}

/* What docs/actors.md says of order between nodes: asks and emits of one sender keep theirs, an
 * answer comes before what who answers has emitted. */
static void test_order_of_messages(void **state)
{
    (void)state;
    const struct isola_slice a = isola_slice_str("x/A/a"), b = isola_slice_str("x/B/b");
    const struct isola_msg emit = {.kind = ISOLA_MSG_EMIT, .src = a, .dst = b};
    const struct isola_msg ask = {.kind = ISOLA_MSG_ASK, .src = a, .dst = b};
    const struct isola_msg event = {.kind = ISOLA_MSG_EVENT, .src = a, .dst = b};
    const struct isola_msg reply = {.kind = ISOLA_MSG_REPLY, .order = 99991};
    put_msg(&emit, 1);
    put_msg(&ask, 2);
    put_msg(&event, 3);
    put_msg(&emit, 4);
    put_msg(&reply, 5);
    assert_string_equal(arrived(), "R5 E1 A2 E3 E4 ");
}

/* However much is small, what is large goes on; and large ones take turns. */
static void test_no_starvation(void **state)
{
    unsigned fills = 0, first = 0, second = 0;
    (void)state;
    put(ISOLA__LANE_EMIT, 1, 111, 2000000);
    put(ISOLA__LANE_EMIT, 2, 222, 300000);
    while (first == 0 || second == 0) {
        for (int i = 0; i < 400; i++)
            put(ISOLA__LANE_ASK, 3, 7, 1000);
        struct isola_slice f;
        fill_up(false);
        fills++;
        assert_true(fills < 300);
        while (next_crosses(&f)) {
            if (number_of(f) == 111)
                first = fills;
            if (number_of(f) == 222)
                second = fills;
        }
    }
    assert_true(second < first);
}

static void test_refusals_change_nothing(void **state)
{
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
    put(ISOLA__LANE_EMIT, 1, 5, 40);
    assert_string_equal(arrived(), "E5 ");
}

/* Without parts a large frame goes whole, in its place. */
static void test_uncut(void **state)
{
    struct isola_slice f;
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct isola_buf *b = isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, false, 200000);
        memset(isola_buf_extend(b, 200000), 'a' + i, 200000);
        assert_int_equal(isola__outflow_end(&out), 0);
    }
    int seen = 0;
    while (out.count > 0) {
        fill_up(false);
        assert_true(fill.nrecords > 0);
        while (next_crosses(&f)) {
            assert_int_equal(f.len, 200000);
            assert_int_equal(f.data[199999], 'a' + seen++);
        }
    }
    assert_int_equal(seen, 3);
}

/* A frame that is not to be cut, of a sender whose large frame waits: it goes behind that. */
static void test_uncut_behind_large(void **state)
{
    const char *text = "";
    (void)state;
    put(ISOLA__LANE_EMIT, 1, 1, 100000);
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
        text = arrived();
    }
    assert_string_equal(text, "E1 A2 A3 A4 ");
    assert_int_equal(out.bytes, 0);
}

static unsigned fills(void)
{
    unsigned n = 0;
    for (; out.count > 0; n++) {
        fill_up(true);
        assert_true(fill.nrecords > 0);
    }
    assert_int_equal(out.bytes, 0);
    return n;
}

/* What is small and waits behind something large of its sender shares records all the same. */
static void test_small_behind_large(void **state)
{
    (void)state;
    put(ISOLA__LANE_EMIT, 1, 0, 100000);
    for (uint32_t i = 1; i < 5000; i++)
        put(ISOLA__LANE_EMIT, 1, i, 50);
    unsigned n = fills();
    if (n > 10)
        fail_msg("%u writes for 350 KB", n);
}

/* Those beyond the number that is under way at once are let in between two frames of others. */
static void test_many_large(void **state)
{
    enum { SENDERS = ISOLA__SENDERS_MAX + 9 };
    uint32_t got[SENDERS + 1] = {0}, least = 0;
    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        for (uint8_t key = 1; key <= SENDERS; key++)
            put(ISOLA__LANE_EMIT, key, i, 70000);
    while (out.count > 0) {
        assert_true(out.senders <= ISOLA__SENDERS_MAX);
        struct isola_slice f;
        fill_up(false);
        while (next_crosses(&f)) {
            assert_int_equal(number_of(f), got[f.data[0]]++);
            least = UINT32_MAX;
            for (int k = 1; k <= SENDERS; k++)
                least = got[k] < least ? got[k] : least;
            if (got[f.data[0]] > least + 2)
                fail_msg("a sender is at its frame %u, another at %u", got[f.data[0]], least);
        }
    }
    assert_int_equal(least, 5);
    assert_int_equal(out.bytes, 0);
}

/* One that there was no memory for costs the next ones nothing. */
static void test_no_memory(void **state)
{
    const size_t huge = SIZE_MAX - 4096; /* refused before any allocator sees it */
    (void)state;
    put(ISOLA__LANE_EMIT, 1, 1, 40); /* leaves a spare chunk */
    assert_string_equal(arrived(), "E1 ");
    assert_null(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, false, huge));
    assert_null(isola__outflow_begin(&out, ISOLA__LANE_EMIT, 1, true, huge));
    assert_int_equal(out.count, 0);
    put(ISOLA__LANE_EMIT, 1, 2, 100000);
    put(ISOLA__LANE_EMIT, 2, 3, 40);
    assert_string_equal(arrived(), "E3 E2 ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, renew, renew)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cut),
        TEST(test_oversized),
        TEST(test_memory_follows),
        TEST(test_tiny_reads),
        TEST(test_vectors),
        TEST(test_bad_items),
        TEST(test_random),
        TEST(test_lanes),
        TEST(test_order_of_messages),
        TEST(test_priority),
        TEST(test_no_starvation),
        TEST(test_refusals_change_nothing),
        TEST(test_uncut),
        TEST(test_uncut_behind_large),
        TEST(test_small_behind_large),
        TEST(test_many_large),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
