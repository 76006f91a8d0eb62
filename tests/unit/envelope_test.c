/* SPDX-License-Identifier: Apache-2.0
 *
 * Envelopes: test vectors, round trips, and every way of being malformed.
 */
#include "transport/envelope.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/bytes.h"

/* Byte for byte what docs/wire.md says. */
static const struct {
    const char *hex;
    enum isola_msg_kind kind;
    uint64_t id;
    uint32_t timeout;
    const char *src, *dst, *event, *chain, *args;
    uint64_t seq;
    uint32_t flags;
    const char *trace;
} vectors[] = {
    /* an ask from outside: shop/Counter/a, add(1), 2 s */
    {"99 01 01 2a a0 ae 73686f702f436f756e7465722f61 a3 616464 cd07d0 90 91 01", ISOLA_MSG_ASK, 42,
     2000, "", "shop/Counter/a", "add", "", "\x91\x01", 0, 0, NULL},
    /* an emit between actors, with a chain */
    {"99 01 02 00 a5 612f412f31 a5 622f422f32 a2 676f 00 91 a5 612f412f31 90", ISOLA_MSG_EMIT, 0, 0,
     "a/A/1", "b/B/2", "go",
     "\x91\xa5"
     "a/A/1",
     "\x90", 0, 0, NULL},
    /* a reply: [true] */
    {"99 01 03 cd0100 a0 a0 a0 00 90 91 c3", ISOLA_MSG_REPLY, 256, 0, "", "", "", "", "\x91\xc3", 0,
     0, NULL},
    /* an event with the largest id and timeout */
    {"99 01 07 cfffffffffffffffff a5 612f412f31 a0 a1 65 ceffffffff 90 90", ISOLA_MSG_EVENT,
     UINT64_MAX, UINT32_MAX, "a/A/1", "", "e", "", "\x90", 0, 0, NULL},
    /* version 2: an ask from outside */
    {"9c 02 01 00 2a 00 a0 ae 73686f702f436f756e7465722f61 a3 616464 cd07d0 c400 90 91 01",
     ISOLA_MSG_ASK, 42, 2000, "", "shop/Counter/a", "add", "", "\x91\x01", 0, 0, NULL},
    /* a durable emit, the third of its pair, within a trace */
    {"9c 02 02 01 00 03 a5 612f412f31 a5 622f422f32 a2 676f 00 c419"
     "4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 01 90 90",
     ISOLA_MSG_EMIT, 0, 0, "a/A/1", "b/B/2", "go", "", "\x90", 3, ISOLA_MSG_DURABLE,
     "\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36"
     "\x00\xf0\x67\xaa\x0b\xa9\x02\xb7\x01"},
    /* its acknowledgement */
    {"9c 02 0b 00 00 03 a5 622f422f32 a5 612f412f31 a0 00 c400 90 90", ISOLA_MSG_ACK, 0, 0, "b/B/2",
     "a/A/1", "", "", "\x90", 3, 0, NULL},
    /* the mailbox of b/B/2 fills */
    {"9c 02 0c 00 01 00 a5 622f422f32 a0 a0 00 c400 90 90", ISOLA_MSG_PACE, 1, 0, "b/B/2", "", "",
     "", "\x90", 0, 0, NULL},
};
#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static void test_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        struct isola_buf b = unhex(vectors[i].hex);
        struct isola_msg m;
        struct isola_err err = {0};
        unsigned version = 0;
        if (isola_envelope_decode(isola_buf_slice(&b), &m, &version, &err) != 0)
            fail_msg("vector %zu: %s", i, err.text);
        assert_null(m.next);
        assert_null(m.context);
        assert_int_equal(m.kind, vectors[i].kind);
        assert_true(m.id == vectors[i].id);
        assert_int_equal(m.timeout_ms, vectors[i].timeout);
        assert_true(isola_slice_is(m.src, vectors[i].src));
        assert_true(isola_slice_is(m.dst, vectors[i].dst));
        assert_true(isola_slice_is(m.event, vectors[i].event));
        assert_true(isola_slice_is(m.chain, vectors[i].chain));
        assert_true(isola_slice_is(m.args, vectors[i].args));

        struct isola_buf again = {0};
        assert_int_equal(version, b.data[1]);
        assert_true(m.seq == vectors[i].seq);
        assert_int_equal(m.flags, vectors[i].flags);
        size_t traced = vectors[i].trace != NULL ? ISOLA_TRACE_SIZE : 0;
        assert_true(isola_slice_eq(m.trace, isola_slice(vectors[i].trace, traced)));
        isola_envelope_encode(&m, version, &again);
        assert_false(again.failed);
        assert_true(isola_slice_eq(isola_buf_slice(&again), isola_buf_slice(&b)));
        isola_buf_free(&again);
        isola_buf_free(&b);
    }
}

/* Every byte changed to every other value, and cut off at every length: an answer, never a crash.
 */
static void test_corruption(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        struct isola_buf b = unhex(vectors[i].hex);
        struct isola_msg m;
        struct isola_err err;
        for (size_t n = 0; n < b.len; n++) {
            uint8_t *copy = malloc(n ? n : 1);
            memcpy(copy, b.data, n);
            assert_int_equal(isola_envelope_decode(isola_slice(copy, n), &m, NULL, &err),
                             ISOLA_EPROTO);
            free(copy);
        }
        for (size_t at = 0; at < b.len; at++) {
            uint8_t was = b.data[at];
            for (unsigned v = 0; v < 256; v++) {
                uint8_t *copy = malloc(b.len);
                memcpy(copy, b.data, b.len);
                copy[at] = (uint8_t)v;
                err.text[0] = '\0';
                unsigned version;
                int rc = isola_envelope_decode(isola_slice(copy, b.len), &m, &version, &err);
                assert_true(rc == 0 || (rc == ISOLA_EPROTO && err.text[0] != '\0'));
                if (rc == 0) { /* then its slices lie within it, and it can be said again */
                    struct isola_buf again = {0};
                    isola_envelope_encode(&m, version, &again);
                    assert_false(again.failed);
                    assert_true(again.len <= b.len);
                    isola_buf_free(&again);
                }
                free(copy);
            }
            b.data[at] = was;
        }
        isola_buf_free(&b);
    }
}

static void expect_bad(const char *hex, const char *why)
{
    struct isola_buf b = unhex(hex);
    struct isola_msg m = {.id = 99};
    struct isola_err err = {0};
    assert_int_equal(isola_envelope_decode(isola_buf_slice(&b), &m, NULL, &err), ISOLA_EPROTO);
    assert_int_equal(m.id, 99);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    assert_int_equal(isola_envelope_decode(isola_buf_slice(&b), &m, NULL, NULL), ISOLA_EPROTO);
    isola_buf_free(&b);
}

static void test_malformed(void **state)
{
    (void)state;
    expect_bad("", "not an array");
    expect_bad("c0", "not an array");
    expect_bad("90", "not an array");
    expect_bad("99 03 01 00 a0 a0 a0 00 90 90", "wire version 3");
    expect_bad("93 03 01 00", "wire version 3"); /* of another version, whatever its shape */
    expect_bad("99 a1 01 00 a0 a0 a0 00 90 90", "version is not an unsigned integer");
    expect_bad("98 01 01 00 a0 a0 a0 00 90", "8 fields, wire version 1 has 9");
    expect_bad("9a 01 01 00 a0 a0 a0 00 90 90 c0", "10 fields, wire version 1 has 9");
    expect_bad("99 01 00 00 a0 a0 a0 00 90 90", "kind 0 is unknown");
    expect_bad("99 01 0b 00 a0 a0 a0 00 90 90", "kind 11 is unknown");
    expect_bad("99 01 ff 00 a0 a0 a0 00 90 90", "kind is not an unsigned integer");
    expect_bad("99 01 01 ff a0 a0 a0 00 90 90", "id is not an unsigned integer");
    expect_bad("99 01 01 00 c0 a0 a0 00 90 90", "src is not a string");
    expect_bad("99 01 01 00 a0 c400 a0 00 90 90", "dst is not a string");
    expect_bad("99 01 01 00 a0 a0 05 00 90 90", "event is not a string");
    expect_bad("99 01 01 00 a0 a0 a0 cf0000000100000000 90 90", "timeout is out of range");
    expect_bad("99 01 01 00 a0 a0 a0 00 c0 90", "chain is not an array");
    expect_bad("99 01 01 00 a0 a0 a0 00 91 01 90", "chain is not a string");
    expect_bad("99 01 01 00 a0 a0 a0 00 90 c0", "args is not an array");
    expect_bad("99 01 01 00 a0 a0 a0 00 90 80", "args is not an array");
    expect_bad("99 01 01 00 a0 a0 a0 00 90 91 c1", "malformed value");
    expect_bad("99 01 01 00 a0 a0 a0 00 90 90 c0", "1 bytes after its end");
    expect_bad("99 02 01 00 a0 a0 a0 00 90 90", "9 fields, wire version 2 has 12");
    expect_bad("99 00 01 00 a0 a0 a0 00 90 90", "wire version 0");
    expect_bad("9c 02 0d 00 00 00 a0 a0 a0 00 c400 90 90", "kind 13 is unknown");
    expect_bad("9c 02 01 08 01 00 a0 a0 a0 00 c400 90 90", "flags is out of range");
    expect_bad("9c 02 05 01 01 01 a0 a0 a0 00 c400 90 90", "flags say durable");
    expect_bad("9c 02 01 04 01 00 a0 a0 a0 00 c400 90 90", "flags ask to be told");
    expect_bad("9c 02 02 01 00 00 a0 a0 a0 00 c400 90 90", "seq is missing");
    expect_bad("9c 02 0b 00 00 00 a0 a0 a0 00 c400 90 90", "seq is missing");
    expect_bad("9c 02 02 00 00 01 a0 a0 a0 00 c400 90 90", "seq is not for this kind");
    expect_bad("9c 02 02 00 00 00 a0 a0 a0 00 c40101 90 90", "trace is no trace context");
    expect_bad("9c 02 02 00 00 00 a0 a0 a0 00 a0 90 90", "trace is no trace context");
    /* ids that are no ids */
    expect_bad("9c 02 02 00 00 00 a0 a0 a0 00 c419 00000000000000000000000000000000 "
               "00f067aa0ba902b7 01 90 90",
               "trace is no trace context");
    expect_bad("9c 02 02 00 00 00 a0 a0 a0 00 c419 4bf92f3577b34da6a3ce929d0e0e4736 "
               "0000000000000000 01 90 90",
               "trace is no trace context");
    /* a Map whose value is cut off, a Set that holds what is none, an Error with half a map */
    expect_bad("99 01 01 00 a0 a0 a0 00 90 91 c70304a16ba2", "malformed value");
    expect_bad("99 01 01 00 a0 a0 a0 00 90 91 d405c1", "malformed value");
    expect_bad("99 01 01 00 a0 a0 a0 00 90 91 d40781", "malformed value");
}

static int decode_nested(size_t depth, bool sets)
{
    struct isola_buf b = unhex("99 01 01 00 a0 a0 a0 00 90");
    struct isola_buf args = nested_args(isola_slice("\xc0", 1), depth, sets);
    isola_buf_append(&b, args.data, args.len);
    struct isola_msg m;
    int rc = isola_envelope_decode(isola_buf_slice(&b), &m, NULL, NULL);
    isola_buf_free(&b);
    isola_buf_free(&args);
    return rc;
}

static void test_depth(void **state)
{
    (void)state;
    for (int sets = 0; sets < 2; sets++) {
        assert_int_equal(decode_nested(1, sets), 0);
        assert_int_equal(decode_nested(ISOLA_VALUE_DEPTH, sets), 0);
        assert_int_equal(decode_nested(ISOLA_VALUE_DEPTH + 1, sets), ISOLA_EPROTO);
        assert_int_equal(decode_nested(ISOLA_VALUE_DEPTH + 100, sets), ISOLA_EPROTO);
    }
    /* an array that begins in a Set must end in it */
    struct isola_buf b = unhex("99 01 01 00 a0 a0 a0 00 90 92 92 d40590 c701 05 91 c0");
    struct isola_msg m;
    assert_int_equal(isola_envelope_decode(isola_buf_slice(&b), &m, NULL, NULL), ISOLA_EPROTO);
    isola_buf_free(&b);
    b = unhex("99 01 01 00 a0 a0 a0 00 90 94 92 d40590 c70205 91c0 c7040481a16101c0 81a16b90");
    assert_int_equal(isola_envelope_decode(isola_buf_slice(&b), &m, NULL, NULL), 0);
    isola_buf_free(&b);
}

/* Whatever is before them, large args begin at an even place, and all is read as it was. */
static void test_large_args(void **state)
{
    (void)state;
    static const uint8_t trace[ISOLA_TRACE_SIZE] = {[0] = 1, [16] = 1};
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    size_t begun = isola_mp_ext_begin(&args, ISOLA_EXT_ARRAY_BUFFER);
    memset(isola_buf_extend(&args, ISOLA_VALUES_LARGE), 7, ISOLA_VALUES_LARGE);
    isola_mp_ext_end(&args, begun);
    for (size_t event = 0; event < 4; event++)
        for (int traced = 0; traced < 2; traced++)
            for (int chained = 0; chained < 2; chained++) {
                struct isola_buf b = {0};
                struct isola_msg got, m = {.kind = ISOLA_MSG_ASK,
                                           .id = 7,
                                           .dst = isola_slice_str("shop/Counter/a"),
                                           .event = isola_slice("adds", event),
                                           .trace = isola_slice(trace, traced ? sizeof(trace) : 0),
                                           .args = isola_buf_slice(&args)};
                if (chained)
                    m.chain = isola_slice("\x91\xa5"
                                          "a/A/1",
                                          7);
                isola_buf_append(&b, "odd", 3); /* an envelope may begin anywhere */
                isola_envelope_encode(&m, ISOLA_WIRE_VERSION, &b);
                struct isola_slice frame = isola_slice(b.data + 3, b.len - 3);
                assert_int_equal(isola_envelope_decode(frame, &got, NULL, NULL), 0);
                assert_int_equal((got.args.data - frame.data) % 2, 0);
                assert_true(isola_slice_eq(got.args, m.args) && isola_slice_eq(got.event, m.event));
                assert_true(isola_slice_eq(got.trace, m.trace) &&
                            isola_slice_eq(got.chain, m.chain));
                isola_buf_free(&b);
            }
    isola_buf_free(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),    cmocka_unit_test(test_corruption),
        cmocka_unit_test(test_malformed),  cmocka_unit_test(test_depth),
        cmocka_unit_test(test_large_args),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
