/* SPDX-License-Identifier: Apache-2.0
 *
 * base/msgpack against msgpack-c as an independent oracle, both ways, and against bytes that lie.
 */
#include "base/msgpack.h"

#include <math.h>
#include <msgpack.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct isola_buf ours;
static msgpack_sbuffer theirs;
static msgpack_packer pk;

static int setup(void **state)
{
    (void)state;
    ours = (struct isola_buf){0};
    msgpack_sbuffer_init(&theirs);
    msgpack_packer_init(&pk, &theirs, msgpack_sbuffer_write);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    isola_buf_free(&ours);
    msgpack_sbuffer_destroy(&theirs);
    return 0;
}

static void same(void)
{
    assert_false(ours.failed);
    assert_int_equal(ours.len, theirs.size);
    if (ours.len > 0)
        assert_memory_equal(ours.data, theirs.data, theirs.size);
}

/* The only item of `ours`. */
static struct isola_mp_item only(void)
{
    struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&ours));
    struct isola_mp_item item;
    assert_int_equal(isola_mp_next(&r, &item), 0);
    assert_ptr_equal(r.p, r.end);
    return item;
}

static void reset(void)
{
    ours.len = 0;
    msgpack_sbuffer_clear(&theirs);
}

static void test_integers(void **state)
{
    static const int64_t edges[] = {0,
                                    1,
                                    31,
                                    32,
                                    127,
                                    128,
                                    255,
                                    256,
                                    32767,
                                    32768,
                                    65535,
                                    65536,
                                    2147483647,
                                    INT64_C(2147483648),
                                    4294967295,
                                    4294967296,
                                    INT64_C(1) << 53,
                                    INT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        for (int sign = 1; sign >= -1; sign -= 2)
            for (int delta = -1; delta <= 1; delta++) {
                if (edges[i] == INT64_MAX && delta > 0)
                    continue;
                int64_t v = sign * (edges[i] + delta);
                reset();
                isola_mp_int(&ours, v);
                msgpack_pack_int64(&pk, v);
                same();
                struct isola_mp_item item = only();
                assert_int_equal(item.type, v >= 0 ? ISOLA_MP_UINT : ISOLA_MP_INT);
                assert_int_equal(item.i, v);
            }
    reset();
    isola_mp_int(&ours, INT64_MIN);
    msgpack_pack_int64(&pk, INT64_MIN);
    same();
    assert_true(only().i == INT64_MIN);
    for (int bit = 0; bit < 64; bit++)
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t v = (UINT64_C(1) << bit) + (uint64_t)delta;
            reset();
            isola_mp_uint(&ours, v);
            msgpack_pack_uint64(&pk, v);
            same();
            assert_int_equal(only().type, ISOLA_MP_UINT);
            assert_true(only().u == v);
        }
}

/* What others may send though we would not: integers in more bytes than needed, signed types with
 * positive values. */
static void test_long_forms(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        int64_t value;
    } forms[] = {
        {"\xcc\x05", 2, 5},
        {"\xcd\x00\x05", 3, 5},
        {"\xce\x00\x00\x00\x05", 5, 5},
        {"\xcf\x00\x00\x00\x00\x00\x00\x00\x05", 9, 5},
        {"\xd0\x05", 2, 5},
        {"\xd0\xff", 2, -1},
        {"\xd1\xff\xff", 3, -1},
        {"\xd2\xff\xff\xff\xff", 5, -1},
        {"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", 9, -1},
        {"\xd3\x00\x00\x00\x00\x00\x00\x00\x07", 9, 7},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct isola_mp_reader r = isola_mp_reader(isola_slice(forms[i].bytes, forms[i].len));
        struct isola_mp_item item;
        assert_int_equal(isola_mp_next(&r, &item), 0);
        assert_ptr_equal(r.p, r.end);
        assert_int_equal(item.type, forms[i].value >= 0 ? ISOLA_MP_UINT : ISOLA_MP_INT);
        assert_int_equal(item.i, forms[i].value);
    }
}

static void test_simple(void **state)
{
    static const double doubles[] = {0.0, -0.0, 0.5, -1.25, 1e300, -1e-300, INFINITY, -INFINITY};
    (void)state;
    isola_mp_nil(&ours);
    msgpack_pack_nil(&pk);
    same();
    assert_int_equal(only().type, ISOLA_MP_NIL);
    reset();
    isola_mp_bool(&ours, true);
    msgpack_pack_true(&pk);
    same();
    assert_true(only().type == ISOLA_MP_BOOL && only().b);
    reset();
    isola_mp_bool(&ours, false);
    msgpack_pack_false(&pk);
    same();
    assert_true(only().type == ISOLA_MP_BOOL && !only().b);
    for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
        reset();
        isola_mp_double(&ours, doubles[i]);
        msgpack_pack_double(&pk, doubles[i]);
        same();
        struct isola_mp_item item = only();
        assert_int_equal(item.type, ISOLA_MP_DOUBLE);
        assert_memory_equal(&item.d, &doubles[i], sizeof(double));
    }
    reset();
    isola_mp_double(&ours, NAN);
    assert_true(isnan(only().d));
    reset();
    msgpack_pack_float(&pk, 1.5f);
    isola_buf_append(&ours, theirs.data, theirs.size);
    assert_true(only().type == ISOLA_MP_DOUBLE && only().d == 1.5);
}

static void test_lengths(void **state)
{
    static const size_t edges[] = {0,  1,   2,   3,   4,   5,   8,     15,    16,    17,    31,
                                   32, 127, 128, 255, 256, 257, 65535, 65536, 65537, 200000};
    (void)state;
    char *data = calloc(1, 200000);
    assert_non_null(data);
    for (size_t i = 0; i < 200000; i++)
        data[i] = (char)('a' + i % 26);
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        size_t n = edges[i];
        reset();
        isola_mp_str(&ours, isola_slice(data, n));
        msgpack_pack_str(&pk, n);
        msgpack_pack_str_body(&pk, data, n);
        same();
        assert_int_equal(only().type, ISOLA_MP_STR);
        assert_true(isola_slice_eq(only().bytes, isola_slice(data, n)));

        reset();
        isola_mp_bin(&ours, isola_slice(data, n));
        msgpack_pack_bin(&pk, n);
        msgpack_pack_bin_body(&pk, data, n);
        same();
        assert_int_equal(only().type, ISOLA_MP_BIN);
        assert_true(isola_slice_eq(only().bytes, isola_slice(data, n)));

        reset();
        isola_mp_ext(&ours, ISOLA_EXT_REF, isola_slice(data, n));
        msgpack_pack_ext(&pk, n, ISOLA_EXT_REF);
        msgpack_pack_ext_body(&pk, data, n);
        same();
        assert_int_equal(only().type, ISOLA_MP_EXT);
        assert_int_equal(only().ext, ISOLA_EXT_REF);
        assert_true(isola_slice_eq(only().bytes, isola_slice(data, n)));

        reset(); /* the same, with the length known only afterwards, and something before and after
                  */
        isola_mp_nil(&ours);
        size_t begun = isola_mp_ext_begin(&ours, ISOLA_EXT_SET);
        isola_buf_append(&ours, data, n);
        isola_mp_ext_end(&ours, begun);
        isola_mp_nil(&ours);
        msgpack_pack_nil(&pk);
        msgpack_pack_ext(&pk, n, ISOLA_EXT_SET);
        msgpack_pack_ext_body(&pk, data, n);
        msgpack_pack_nil(&pk);
        same();

        reset();
        isola_mp_array(&ours, n);
        msgpack_pack_array(&pk, n);
        for (size_t k = 0; k < n; k++) {
            isola_mp_uint(&ours, k);
            msgpack_pack_uint64(&pk, k);
        }
        same();
        assert_int_equal(isola_mp_count(isola_buf_slice(&ours)), n);

        reset();
        isola_mp_map(&ours, n);
        msgpack_pack_map(&pk, n);
        for (size_t k = 0; k < 2 * n; k++) {
            isola_mp_nil(&ours);
            msgpack_pack_nil(&pk);
        }
        same();
        struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&ours));
        assert_int_equal(isola_mp_skip(&r, NULL), 0);
        assert_ptr_equal(r.p, r.end);
    }
    free(data);
}

static void test_nested_extensions(void **state)
{
    (void)state;
    size_t outer = isola_mp_ext_begin(&ours, ISOLA_EXT_MAP);
    isola_mp_cstr(&ours, "k");
    size_t inner = isola_mp_ext_begin(&ours, ISOLA_EXT_SET);
    isola_mp_uint(&ours, 300);
    isola_mp_ext_end(&ours, inner);
    isola_mp_ext_end(&ours, outer);
    assert_int_equal(ours.len, 10);
    assert_memory_equal(ours.data, "\xd7\x04\xa1k\xc7\x03\x05\xcd\x01\x2c", 10);
}

/* Something of everything. */
static void fill(void)
{
    isola_mp_map(&ours, 6);
    isola_mp_kstr(&ours, "s", "text");
    isola_mp_kuint(&ours, "u", 70000);
    isola_mp_kbool(&ours, "b", true);
    isola_mp_cstr(&ours, "a");
    isola_mp_array(&ours, 3);
    isola_mp_int(&ours, -5);
    isola_mp_double(&ours, 2.5);
    isola_mp_map(&ours, 1);
    isola_mp_kstr(&ours, "deep", NULL);
    isola_mp_cstr(&ours, "bin");
    isola_mp_bin(&ours, isola_slice_str("\1\2\3"));
    isola_mp_cstr(&ours, "x");
    isola_mp_ext(&ours, ISOLA_EXT_UNDEFINED, isola_slice(NULL, 0));
}

static void test_find(void **state)
{
    struct isola_slice v;
    uint64_t u;
    bool b;
    (void)state;
    fill();
    struct isola_slice map = isola_buf_slice(&ours);
    assert_true(isola_mp_find_str(map, "s", &v) && isola_slice_is(v, "text"));
    assert_true(isola_mp_find_uint(map, "u", &u) && u == 70000);
    assert_true(isola_mp_find_bool(map, "b", &b) && b);
    assert_true(isola_mp_find_bin(map, "bin", &v) && v.len == 3);
    assert_true(isola_mp_find(map, "x", &v) && v.len == 3);
    assert_true(isola_mp_find(map, "a", &v));
    assert_int_equal(isola_mp_count(v), 3);
    struct isola_slice element;
    assert_true(isola_mp_at(v, 0, &element) && element.len == 1 && element.data[0] == 0xfb);
    assert_true(isola_mp_at(v, 2, &element) && element.data[0] == 0x81);
    assert_false(isola_mp_at(v, 3, &element));
    assert_false(isola_mp_at(map, 0, &element));
    assert_int_equal(isola_mp_count(map), 0);

    u = 1;
    v = isola_slice_str("untouched");
    assert_false(isola_mp_find(map, "none", &v));
    assert_false(isola_mp_find(map, "", &v));
    assert_false(isola_mp_find_str(map, "u", &v));
    assert_false(isola_mp_find_bin(map, "s", &v));
    assert_false(isola_mp_find_uint(map, "s", &u));
    assert_false(isola_mp_find_bool(map, "u", &b));
    assert_false(isola_mp_find(isola_slice(NULL, 0), "s", &v));
    assert_false(isola_mp_find(isola_slice_str("\x93\x01\x02\x03"), "s", &v));
    assert_true(isola_slice_is(v, "untouched") && u == 1);
}

/* Cut off anywhere, nothing is accepted, read past, or moved. */
static void test_truncation(void **state)
{
    (void)state;
    fill();
    isola_mp_str(&ours, isola_slice_str("a string that needs the longer header, by its length"));
    struct isola_mp_reader all = isola_mp_reader(isola_buf_slice(&ours));
    assert_int_equal(isola_mp_skip(&all, NULL), 0);
    size_t first = (size_t)(all.p - ours.data);
    for (size_t n = 0; n < first; n++) {
        uint8_t *copy = malloc(n ? n : 1); /* of exact size, for the sanitizers to watch its end */
        memcpy(copy, ours.data, n);
        struct isola_mp_reader r = isola_mp_reader(isola_slice(copy, n));
        assert_int_equal(isola_mp_skip(&r, NULL), ISOLA_EPROTO);
        assert_ptr_equal(r.p, copy);
        struct isola_mp_item item;
        for (int i = 0; i < 100 && isola_mp_next(&r, &item) == 0; i++)
            ;
        free(copy);
    }
}

static void test_hostile(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } lies[] = {
        {"", 0},
        {"\xc1", 1},
        {"\x91", 1},
        {"\x82\x01\x02\x03", 4},
        {"\xdc\xff\xff\x01", 4},
        {"\xdd\xff\xff\xff\xff\x01\x02", 7},
        {"\xdf\xff\xff\xff\xff\x01\x02", 7},
        {"\xdf\x80\x00\x00\x00\x01\x02", 7},
        {"\xdb\xff\xff\xff\xff\x61", 6},
        {"\xc6\xff\xff\xff\xff\x61", 6},
        {"\xc9\xff\xff\xff\xff\x01\x61", 7},
        {"\xd9\x02\x61", 3},
        {"\xd8\x01\x61", 3},
    };
    struct isola_mp_item item;
    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct isola_mp_reader r = isola_mp_reader(isola_slice(lies[i].bytes, lies[i].len));
        assert_int_equal(isola_mp_skip(&r, NULL), ISOLA_EPROTO);
        assert_ptr_equal(r.p, lies[i].bytes);
    }
    struct isola_mp_reader r = isola_mp_reader(isola_slice("\xdd\xff\xff\xff\xff\x01", 6));
    assert_int_equal(isola_mp_next(&r, &item),
                     ISOLA_EPROTO); /* a count is refused before anyone allocates */

    r = isola_mp_reader(isola_slice("\xde\x00\x03\x01\x02\x03\x04\x05", 8));
    assert_int_equal(isola_mp_next(&r, &item), ISOLA_EPROTO); /* three pairs are six items */

    /* ten million levels deep: skipped without a stack */
    size_t n = 10000000;
    uint8_t *deep = malloc(n);
    memset(deep, 0x91, n);
    deep[n - 1] = 0xc0;
    r = isola_mp_reader(isola_slice(deep, n));
    assert_int_equal(isola_mp_skip(&r, NULL), 0);
    assert_ptr_equal(r.p, r.end);
    /* and each level claiming all that is left */
    for (size_t i = 0; i + 5 < n; i += 5) {
        uint32_t left = (uint32_t)(n - i - 5);
        deep[i] = 0xdd;
        deep[i + 1] = (uint8_t)(left >> 24);
        deep[i + 2] = (uint8_t)(left >> 16);
        deep[i + 3] = (uint8_t)(left >> 8);
        deep[i + 4] = (uint8_t)left;
    }
    r = isola_mp_reader(isola_slice(deep, n));
    assert_int_equal(isola_mp_skip(&r, NULL), ISOLA_EPROTO);
    free(deep);
}

/* Random bytes: we accept what msgpack-c accepts, and the same length of it. */
static void test_random_against_oracle(void **state)
{
    uint64_t seed = 88172645463325252u;
    int accepted = 0;
    (void)state;
    for (int round = 0; round < 300000; round++) {
        uint8_t data[24];
        size_t len = 1 + (size_t)(round % 24);
        for (size_t i = 0; i < len; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            data[i] = (uint8_t)(seed >> 24);
            if (seed & (1u << 8)) /* half of them from where the headers are */
                data[i] = (uint8_t)(0x80 | (data[i] & 0x63));
            if (data[i] == 0xdd || data[i] == 0xdf) /* it allocates what 32-bit counts claim */
                data[i]--;
        }
        struct isola_mp_reader r = isola_mp_reader(isola_slice(data, len));
        int rc = isola_mp_skip(&r, NULL);
        size_t off = 0;
        msgpack_unpacked result;
        msgpack_unpacked_init(&result);
        msgpack_unpack_return theirs_rc =
            msgpack_unpack_next(&result, (const char *)data, len, &off);
        bool ok = theirs_rc == MSGPACK_UNPACK_SUCCESS;
        if (ok != (rc == 0) || (ok && off != (size_t)(r.p - data)))
            fail_msg("round %d: ours %d, theirs %d", round, rc, (int)theirs_rc);
        accepted += ok;
        msgpack_unpacked_destroy(&result);
    }
    assert_true(accepted > 10000);
}

static void test_errors(void **state)
{
    struct isola_mp_error e;
    (void)state;
    isola_mp_error(&ours, ISOLA_ETIMEDOUT, "no reply", "Error: no reply\n  at x");
    assert_true(isola_mp_read_error(isola_buf_slice(&ours), &e));
    assert_int_equal(e.code, ISOLA_ETIMEDOUT);
    assert_true(isola_slice_is(e.name, "Error"));
    assert_true(isola_slice_is(e.code_name, "ETIMEDOUT"));
    assert_true(isola_slice_is(e.message, "no reply"));
    assert_true(isola_slice_is(e.stack, "Error: no reply\n  at x"));
    for (size_t n = 0; n < ours.len; n++)
        assert_false(isola_mp_read_error(isola_slice(ours.data, n), &e));

    reset();
    isola_mp_error(&ours, ISOLA_EPERM, NULL, NULL);
    assert_true(isola_mp_read_error(isola_buf_slice(&ours), &e));
    assert_true(isola_slice_is(e.message, isola_error_text(ISOLA_EPERM)));
    assert_int_equal(e.stack.len, 0);

    reset(); /* a script's own: numeric code, a cause, in another order */
    size_t begun = isola_mp_ext_begin(&ours, ISOLA_EXT_ERROR);
    isola_mp_map(&ours, 4);
    isola_mp_kuint(&ours, "code", 404);
    isola_mp_cstr(&ours, "cause");
    isola_mp_array(&ours, 1);
    isola_mp_nil(&ours);
    isola_mp_kstr(&ours, "name", "TypeError");
    isola_mp_kstr(&ours, "message", "");
    isola_mp_ext_end(&ours, begun);
    assert_true(isola_mp_read_error(isola_buf_slice(&ours), &e));
    assert_int_equal(e.code, ISOLA_ESCRIPT);
    assert_int_equal(e.code_name.len, 0);
    assert_true(isola_slice_is(e.name, "TypeError"));

    assert_false(isola_mp_read_error(isola_slice_str("\x80"), &e));
    assert_false(isola_mp_read_error(isola_slice("\xd4\x07\xc0", 3), &e));
    assert_false(isola_mp_read_error(isola_slice("\xd4\x05\x80", 3), &e));
    assert_true(
        isola_mp_read_error(isola_slice("\xd4\x07\x80", 3), &e)); /* an error without anything */
    assert_int_equal(e.code, ISOLA_ESCRIPT);
}

static void test_no_memory(void **state)
{
    (void)state;
    isola_mp_str_header(&ours, (size_t)UINT32_MAX + 1);
    assert_true(ours.failed);
    isola_buf_free(&ours);
    isola_mp_array(&ours, (size_t)UINT32_MAX + 1);
    assert_true(ours.failed);
    size_t begun = isola_mp_ext_begin(&ours, ISOLA_EXT_MAP);
    isola_mp_nil(&ours);
    isola_mp_ext_end(&ours, begun);
    assert_true(ours.failed);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_integers),   TEST(test_long_forms),
        TEST(test_simple),     TEST(test_lengths),
        TEST(test_find),       TEST(test_nested_extensions),
        TEST(test_truncation), TEST(test_hostile),
        TEST(test_errors),     TEST(test_random_against_oracle),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
