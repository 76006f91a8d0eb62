/* SPDX-License-Identifier: Apache-2.0
 *
 * Values for who speaks version 1: those of tests/vectors/values.json, deep ones, and bytes that
 * lie.
 */
#include "transport/older.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/msgpack.h"
#include "tests/bytes.h"

/* `older` NULL: it is as version 1 has it. */
static void expect(const char *name, const char *hex, const char *older)
{
    struct isola_buf args = unhex(hex), wanted = unhex(older != NULL ? older : ""), out = {0};
    int rc = isola__older_args(isola_buf_slice(&args), &out);
    if (rc != (older != NULL) || !isola_slice_eq(isola_buf_slice(&out), isola_buf_slice(&wanted)))
        fail_msg("%s: %d, %zu bytes", name, rc, out.len);
    isola_buf_free(&args);
    isola_buf_free(&wanted);
    isola_buf_free(&out);
}

static void test_vectors(void **state)
{
    (void)state;
    json_error_t error;
    json_t *vectors = json_load_file(ISOLA_VECTORS, 0, &error), *vector;
    size_t i, older = 0;
    assert_non_null(vectors);
    json_array_foreach(vectors, i, vector)
    {
        const char *wanted = json_string_value(json_object_get(vector, "older"));
        expect(json_string_value(json_object_get(vector, "name")),
               json_string_value(json_object_get(vector, "bytes")), wanted);
        older += wanted != NULL;
    }
    assert_true(older > 5 && older < i);
    json_decref(vectors);
}

/* What surrounds a string, and the length of every extension that it is in. */
static void test_around(void **state)
{
    (void)state;
    expect("empty ones", "92 c7000c c7000d", "92 a0 a0");
    expect("a name", "91 81 d50cc3a9 01", "91 81 a4c383c2a9 01");
    expect("a pair", "91 d60d3dd800de", "91 a4f09f9880");
    expect("a pair the wrong way round", "91 d60d00de3dd8", "91 a6efbfbdefbfbd");
    expect("a pair that is cut off", "91 c7060d 41003dd84100", "91 a5 41efbfbd41");
    expect("one behind a byte", "91 c7050d 00 41004200", "91 a24142");
    expect("one among others", "95 01 c403010203 d50ce941 d40903 c0",
           "95 01 c403010203 a3c3a941 d40903 c0");
    expect("extensions that hold no values", "92 c703080c0d0c d40ce9", "92 c703080c0d0c a2c3a9");
    expect("an extension that was 16 bytes long", "91 d805 d70c4141414141414141 d40c41 d40c41",
           "91 c70d05 a84141414141414141 a141 a141");
    expect("an Error in a Map", "92 c70d04 01 c70907 81a163 d60cffffffff 90",
           "92 d804 01 c70c07 81a163 a8c3bfc3bfc3bfc3bf 90");
}

/* From 16 bytes to 4 GB, lengths have forms of their own. */
static void test_lengths(void **state)
{
    (void)state;
    static const size_t lengths[] = {1,   15,  16,    31,    32,    127,   128,
                                     255, 256, 32767, 32768, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        for (int wide = 0; wide < 2; wide++) {
            size_t n = lengths[i];
            struct isola_buf text = {0}, args = {0}, out = {0};
            for (size_t k = 0; k < n; k++) {
                isola_buf_append(&text, "\xe9", 1);
                if (wide)
                    isola_buf_append(&text, "\0", 1);
            }
            size_t begun;
            isola_mp_array(&args, 2);
            begun = isola_mp_ext_begin(&args, ISOLA_EXT_SET);
            isola_mp_ext(&args, wide ? ISOLA_EXT_UTF16 : ISOLA_EXT_LATIN1, isola_buf_slice(&text));
            isola_mp_ext_end(&args, begun);
            isola_mp_nil(&args);
            assert_int_equal(isola__older_args(isola_buf_slice(&args), &out), 1);
            assert_false(out.failed);

            struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&out));
            struct isola_mp_item item;
            assert_true(isola_mp_take(&r, ISOLA_MP_ARRAY, &item) && item.n == 2);
            assert_true(isola_mp_take(&r, ISOLA_MP_EXT, &item) && item.ext == ISOLA_EXT_SET);
            struct isola_mp_reader in = isola_mp_reader(item.bytes);
            assert_true(isola_mp_take(&r, ISOLA_MP_NIL, &item) && r.p == r.end);
            assert_true(isola_mp_take(&in, ISOLA_MP_STR, &item) && in.p == in.end);
            assert_int_equal(item.bytes.len, 2 * n);
            for (size_t k = 0; k < n; k++)
                assert_memory_equal(item.bytes.data + 2 * k, "\u00e9", 2);
            isola_buf_free(&text);
            isola_buf_free(&args);
            isola_buf_free(&out);
        }
}

static int nested(size_t depth, bool sets, struct isola_buf *out)
{
    struct isola_buf args = nested_args(isola_slice("\xd5\x0c\xe9\x41", 4), depth, sets);
    int rc = isola__older_args(isola_buf_slice(&args), out);
    isola_buf_free(&args);
    return rc;
}

static void test_depth(void **state)
{
    (void)state;
    for (int sets = 0; sets < 2; sets++) {
        struct isola_buf out = {0};
        assert_int_equal(nested(ISOLA_VALUE_DEPTH, sets, &out), 1);
        assert_memory_equal(out.data + out.len - 4, "\xa3\u00e9\x41", 4);
        out.len = 0;
        assert_int_equal(nested(ISOLA_VALUE_DEPTH + 1, sets, &out), ISOLA_EPROTO);
        assert_int_equal(nested(100000, false, &out), ISOLA_EPROTO);
        assert_int_equal(out.len, 0);
        isola_buf_free(&out);
    }
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "92 d50ce941",        /* cut off */
        "91 d50ce9",          /* within a string */
        "92 d50ce941 d40d41", /* half a unit */
        "91 d50ce941 c0",     /* more than args */
        "91 c7030d 01 4100",  /* no byte to be left out */
        "91 c1",              /* no msgpack */
        "91 d505 d50c",       /* a string that goes on behind the Set it is in */
        "92 d40592 d40ce9",   /* an array that does */
        "91 dd ffffffff",     /* more than there is */
        "91 c9 ffffffff 0c",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct isola_buf args = unhex(bad[i]), out = {0};
        /* Where it ends, memory ends: the sanitizer sees a step beyond. */
        uint8_t *copy = malloc(args.len != 0 ? args.len : 1);
        if (args.len != 0)
            memcpy(copy, args.data, args.len);
        if (isola__older_args(isola_slice(copy, args.len), &out) != ISOLA_EPROTO || out.len != 0)
            fail_msg("%s was taken", bad[i]);
        free(copy);
        isola_buf_free(&args);
        isola_buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),   cmocka_unit_test(test_around),
        cmocka_unit_test(test_lengths),   cmocka_unit_test(test_depth),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
