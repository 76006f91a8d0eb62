/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of the wire as JSON and back: every type, back references, and bytes that lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "base/msgpack.h"
#include "cli/json.h"
#include "cli/value.h"
#include "tests/bytes.h"

/* Takes `b`. The JSON text, or "ENAME: sentence". */
static char *shown(struct isola_buf *b)
{
    json_t *json = NULL;
    struct isola_err err = {0};
    struct isola_buf out = {0};
    int rc = isola__value_to_json(isola_buf_slice(b), &json, &err);
    if (rc == 0)
        isola__json_print(json, false, &out);
    else
        isola_buf_printf(&out, "%s: %s", isola_error_name(rc), err.text);
    json_decref(json);
    isola_buf_free(b);
    return isola_buf_cstr(&out);
}

static void expect_buf(struct isola_buf b, const char *json)
{
    char *text = shown(&b);
    assert_string_equal(text, json);
    free(text);
}

static void expect(const char *hex, const char *json)
{
    expect_buf(unhex(hex), json);
}

static void refuses(const char *hex, const char *code)
{
    struct isola_buf b = unhex(hex);
    char *text = shown(&b);
    assert_memory_equal(text, code, strlen(code));
    free(text);
}

static void plain_values(void **state)
{
    (void)state;
    expect("90", "[]");
    expect("95 c0 c2 c3 05 fb", "[null,false,true,5,-5]");
    expect("91 cf 00 20 00 00 00 00 00 00", "[9007199254740992]");
    expect("91 cf ff ff ff ff ff ff ff ff", "[\"18446744073709551615\"]");
    expect("91 a3 61 0a 62", "[\"a\\nb\"]");
    expect("91 a2 61 00", "[\"a\\u0000\"]");
    expect("91 a1 ff", "[\"\xef\xbf\xbd\"]"); /* not UTF-8 */
    expect("91 82 a1 78 01 a1 79 92 02 03", "[{\"x\":1,\"y\":[2,3]}]");
    expect("91 82 a1 78 01 a1 78 02", "[{\"x\":2}]");  /* the last one wins */
    expect("91 81 a2 61 00 01", "[{\"a\\u0000\":1}]"); /* NUL in a key */
    expect("91 a4 1b 5b 7f 9b", "[\"\\u001b[\\u007f\xef\xbf\xbd\"]");
    expect("91 a2 c2 9b", "[\"\\u009b\"]"); /* a C1 control */
}

static void doubles(void **state)
{
    static const struct {
        double d;
        const char *text;
    } cases[] = {{0.1, "[0.1]"},
                 {1.0 / 3, "[0.3333333333333333]"},
                 {0.1 + 0.2, "[0.30000000000000004]"},
                 {1e21, "[1e+21]"},
                 {1e15, "[1000000000000000]"},
                 {-0.0, "[-0]"},
                 {1.7976931348623157e308, "[1.7976931348623157e+308]"},
                 {NAN, "[null]"},
                 {INFINITY, "[null]"},
                 {-INFINITY, "[null]"}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct isola_buf b = {0};
        isola_mp_array(&b, 1);
        isola_mp_double(&b, cases[i].d);
        expect_buf(b, cases[i].text);
    }
}

static void scalars_of_javascript(void **state)
{
    (void)state;
    expect("91 c7 00 01", "[null]"); /* undefined */
    expect("91 d5 02 00 05", "[5]");
    expect("91 d5 02 01 05", "[-5]");
    expect("91 d4 02 00", "[0]");
    /* 2^53 + 1, 2^64, -2^64: digits */
    expect("91 c7 08 02 00 01 00 00 00 00 00 20", "[\"9007199254740993\"]");
    expect("91 c7 0a 02 00 00 00 00 00 00 00 00 00 01", "[\"18446744073709551616\"]");
    expect("91 c7 0a 02 01 00 00 00 00 00 00 00 00 01", "[\"-18446744073709551616\"]");
    /* 10^27, so that a group of nine digits is all zeros */
    expect("91 c7 0d 02 00 00 00 00 e8 3c 80 d0 9f 3c 2e 3b 03",
           "[\"1000000000000000000000000000\"]");
    expect("91 d7 03 00 00 00 00 00 00 00 00", "[\"1970-01-01T00:00:00.000Z\"]");
    expect("91 d7 03 bf f0 00 00 00 00 00 00", "[\"1969-12-31T23:59:59.999Z\"]");
    expect("91 d7 03 7f f8 00 00 00 00 00 00", "[null]"); /* an invalid date */
    expect("91 d7 03 43 3e b2 08 c2 dc 00 00", "[\"+275760-09-13T00:00:00.000Z\"]");
    expect("91 d7 03 c3 3e b2 08 c2 dc 00 00", "[\"-271821-04-20T00:00:00.000Z\"]");
    expect("91 c7 06 06 a3 61 2f 62 a1 67", "[\"/a/b/g\"]");
    expect("91 c7 05 0a 61 2f 42 2f 63", "[{\"$actor\":\"a/B/c\"}]");
}

static void collections(void **state)
{
    (void)state;
    expect("91 c7 06 04 a1 61 01 a1 62 02", "[{\"a\":1,\"b\":2}]");
    expect("91 c7 05 04 a1 61 01 02 03", "[[[\"a\",1],[2,3]]]"); /* not all keys are strings */
    expect("91 c7 00 04", "[{}]");
    expect("91 c7 03 05 01 a1 61", "[[1,\"a\"]]");
    expect("91 c4 03 01 02 03", "[{\"$base64\":\"AQID\"}]");
    expect("91 c7 05 0b 01 02 03 04 05", "[{\"$base64\":\"AQIDBAU=\"}]");
    expect("91 c7 02 08 0b 01", "[{\"$base64\":\"AQ==\"}]");
    expect("91 c7 03 08 01 ff 01", "[[-1,1]]");
    expect("91 c7 03 08 02 ff 01", "[[255,1]]");
    expect("91 c7 05 08 03 fe ff 02 00", "[[-2,2]]");
    expect("91 c7 05 08 06 ff ff ff ff", "[[4294967295]]");
    expect("91 c7 05 08 07 00 00 00 3f", "[[0.5]]");
    expect("91 c7 09 08 08 00 00 00 00 00 00 f8 7f", "[[null]]");
    expect("91 c7 09 08 09 ff ff ff ff ff ff ff ff", "[[-1]]");
    expect("91 c7 09 08 0a ff ff ff ff ff ff ff ff", "[[\"18446744073709551615\"]]");
    expect("91 c7 09 08 09 00 00 00 00 00 00 00 80", "[[\"-9223372036854775808\"]]");
    expect("91 c7 05 08 0c 00 3c 01 00", "[[1,5.9604644775390625e-08]]");
}

static void errors(void **state)
{
    (void)state;
    struct isola_buf b = {0};
    isola_mp_array(&b, 1);
    isola_mp_error(&b, ISOLA_EFAILED, "no", "Error: no\n    at x");
    expect_buf(b, "[{\"name\":\"Error\",\"message\":\"no\",\"stack\":\"Error: no\\n    at "
                  "x\",\"code\":\"EFAILED\"}]");
}

static void references(void **state)
{
    (void)state;
    /* args is 0, the first array 1: the second element is the first again */
    expect("92 91 07 d4 09 01", "[[7],[7]]");
    /* a cycle: an array in itself */
    expect("91 91 d4 09 01", "[[\"[Circular]\"]]");
    expect("91 d4 09 00", "[\"[Circular]\"]");
    /* an Error is 1, its map 2, its cause 3; then the cause again */
    expect("92 c7 09 07 81 a5 63 61 75 73 65 91 01 d4 09 03", "[{\"cause\":[1]},[1]]");
    /* a Date and a bin have numbers, a string and a BigInt have none */
    expect("95 a1 61 d5 02 00 05 d7 03 00 00 00 00 00 00 00 00 c4 01 00 d4 09 02",
           "[\"a\",5,\"1970-01-01T00:00:00.000Z\",{\"$base64\":\"AA==\"},{\"$base64\":\"AA==\"}]");
    /* what was replaced by an equal key can still be referred to */
    expect("92 82 a1 78 91 01 a1 78 02 d4 09 02", "[{\"x\":2},[1]]");
    refuses("91 d4 09 02", "EPROTO");
    refuses("91 c7 03 09 00 00 00", "EPROTO");
    refuses("91 d4 0e 25", "ECLONE"); /* an end of a stream, or what would be one */
}

static void hostile(void **state)
{
    static const char *const bad[] = {
        "",                  /* nothing */
        "01",                /* no array */
        "91",                /* cut off */
        "91 01 02",          /* more than it says */
        "dd ff ff ff ff 01", /* claims 4 G items */
        "91 c1",             /* not msgpack */
        "91 81 01 02",       /* a key that is no string */
        "91 c7 01 04 01",    /* Map with half a pair */
        "91 c7 01 07 01",    /* Error without its map */
        "91 c7 00 07",       /* the same, empty */
        "91 c7 02 07 80 01", /* bytes after it */
        "91 c7 00 08",       /* typed array without kind */
        "91 c7 02 08 03 01", /* half an element */
        "91 c7 02 08 63 01", /* unknown kind */
        "91 d4 03 00",       /* Date of one byte */
        "91 c7 00 02",       /* BigInt without sign */
        "91 d5 02 02 05",    /* a sign of 2 */
        "91 c7 01 06 a0",    /* RegExp without flags */
        "91 c7 00 63",       /* unknown extension */
        "91 c7 00 ff",       /* negative extension */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refuses(bad[i], "EPROTO");
}

static void nesting(void **state)
{
    (void)state;
    for (int depth = ISOLA_VALUE_DEPTH; depth <= ISOLA_VALUE_DEPTH + 1; depth++) {
        struct isola_buf b = {0};
        for (int i = 0; i <= depth; i++) /* args, and `depth` arrays in it */
            isola_mp_array(&b, 1);
        isola_mp_nil(&b);
        char *text = shown(&b);
        assert_int_equal(strncmp(text, "EPROTO", 6) == 0, depth > ISOLA_VALUE_DEPTH);
        free(text);
    }
}

/* Each array refers twice to the one before: 2^40 elements when written out. */
static void sharing_that_explodes(void **state)
{
    (void)state;
    struct isola_buf b = {0};
    isola_mp_array(&b, 40);
    isola_mp_array(&b, 0);
    for (uint8_t i = 1; i < 40; i++) {
        isola_mp_array(&b, 2);
        isola_mp_ext(&b, ISOLA_EXT_BACKREF, isola_slice(&i, 1));
        isola_mp_ext(&b, ISOLA_EXT_BACKREF, isola_slice(&i, 1));
    }
    char *text = shown(&b);
    assert_memory_equal(text, "ETOOBIG", 7);
    free(text);
}

/* Each array holds the one before: as deep as it is long when written out. */
static void sharing_that_deepens(void **state)
{
    (void)state;
    struct isola_buf b = {0};
    isola_mp_array(&b, 50000);
    isola_mp_array(&b, 0);
    for (uint32_t i = 1; i < 50000; i++) {
        uint8_t number[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        isola_mp_array(&b, 1);
        isola_mp_ext(&b, ISOLA_EXT_BACKREF, isola_slice(number, 2));
    }
    char *text = shown(&b);
    assert_memory_equal(text, "ETOOBIG: the value nests", 24);
    free(text);
}

static void a_huge_bigint(void **state)
{
    (void)state;
    struct isola_buf b = {0}, payload = {0};
    uint8_t *p = isola_buf_extend(&payload, 1 << 20);
    assert_non_null(p);
    memset(p, 0xff, 1 << 20);
    p[0] = 1;
    isola_mp_array(&b, 1);
    isola_mp_ext(&b, ISOLA_EXT_BIGINT, isola_buf_slice(&payload));
    isola_buf_free(&payload);
    char *text = shown(&b);
    assert_memory_equal(text, "[\"-0xffff", 9);
    free(text);
}

/* Cut anywhere, a value is refused or read; never more is read than is there (run under ASan). */
static void cut_and_flipped(void **state)
{
    static const char hex[] =
        "94 c7 06 04 a1 61 01 a1 62 02 c7 0a 07 81 a5 63 61 75 73 65 92 01 02 "
        "d7 03 00 00 00 00 00 00 00 00 81 a1 78 c7 05 08 03 fe ff 02 00";
    (void)state;
    struct isola_buf whole = unhex(hex);
    for (size_t n = 0; n < whole.len; n++) {
        struct isola_buf part = {0};
        isola_buf_append(&part, whole.data, n);
        free(shown(&part));
        for (unsigned flip = 0; flip < 256; flip++) {
            isola_buf_append(&part, whole.data, whole.len);
            part.data[n] ^= (uint8_t)flip;
            free(shown(&part));
        }
    }
    isola_buf_free(&whole);
}

static void sends(const char *json, const char *hex)
{
    json_t *v;
    struct isola_err err;
    struct isola_buf out = {0}, wanted = unhex(hex);
    assert_int_equal(isola__value_parse(json, &v, &err), 0);
    assert_int_equal(isola__value_from_json(v, &out, &err), 0);
    json_decref(v);
    assert_int_equal(out.len, wanted.len);
    assert_memory_equal(out.data, wanted.data, wanted.len);
    isola_buf_free(&out);
    isola_buf_free(&wanted);
}

static void json_to_the_wire(void **state)
{
    (void)state;
    sends("null", "c0");
    sends(" true ", "c3");
    sends("5", "05");
    sends("5.0", "05");
    sends("-5", "fb");
    sends("1e3", "cd 03 e8");
    sends("9007199254740992", "cf 00 20 00 00 00 00 00 00");
    sends("-0", "cb 80 00 00 00 00 00 00 00");
    sends("0.5", "cb 3f e0 00 00 00 00 00 00");
    sends("123456789012345678901234567890", "cb 45 f8 ee 90 ff 6c 37 3e");
    sends("\"\"", "a0");
    sends("\"a\\u0000\"", "a2 61 00");
    sends("\"\\u00e4\"", "a2 c3 a4");
    sends("[1, [2]]", "92 01 91 02");
    sends("{\"a\": {\"b\": null}}", "81 a1 61 81 a1 62 c0");
    sends("{\"$base64\": \"AQID\"}", "c4 03 01 02 03");
    sends("{\"$base64\": \"AQ\"}", "c4 01 01");
    sends("{\"$base64\": \"\"}", "c4 00");
    sends("{\"$actor\": \"a/B/c\"}", "c7 05 0a 61 2f 42 2f 63");
    /* with another key it is an ordinary object */
    sends("{\"$base64\": 1, \"x\": 2}", "82 a7 24 62 61 73 65 36 34 01 a1 78 02");
}

static void json_that_cannot_be_sent(void **state)
{
    static const char *const bad[] = {
        "{\"$base64\": \"A\"}", "{\"$base64\": \"A=BC\"}",       "{\"$base64\": \"AR\"}",
        "{\"$base64\": 5}",     "{\"$base64\": \"A\\u0000BC\"}", "{\"$actor\": \"nobody\"}",
        "{\"$actor\": null}"};
    static const char *const not_json[] = {"",         "foo", "{",   "[1,]",  "'a'",     "1 2",
                                           "\"\xff\"", "01",  "NaN", "1e999", "{\"a\":}"};
    json_t *v;
    struct isola_err err;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct isola_buf out = {0};
        assert_int_equal(isola__value_parse(bad[i], &v, &err), 0);
        assert_int_equal(isola__value_from_json(v, &out, &err), ISOLA_EINVAL);
        json_decref(v);
        isola_buf_free(&out);
    }
    for (size_t i = 0; i < sizeof(not_json) / sizeof(not_json[0]); i++)
        assert_int_equal(isola__value_parse(not_json[i], &v, &err), ISOLA_EINVAL);

    struct isola_buf deep = {0}, out = {0};
    for (int i = 0; i < ISOLA_VALUE_DEPTH + 1; i++)
        isola_buf_puts(&deep, "[");
    for (int i = 0; i < ISOLA_VALUE_DEPTH + 1; i++)
        isola_buf_puts(&deep, "]");
    assert_int_equal(isola__value_parse(isola_buf_cstr(&deep), &v, &err), 0);
    assert_int_equal(isola__value_from_json(v, &out, &err), ISOLA_EINVAL);
    json_decref(v);
    isola_buf_free(&deep);
    isola_buf_free(&out);
}

static void pretty(void **state)
{
    (void)state;
    json_t *v = json_loads("{\"a\":[],\"b\":{},\"c\":[1,{\"d\":null}]}", 0, NULL);
    struct isola_buf out = {0};
    isola__json_print(v, true, &out);
    assert_string_equal(isola_buf_cstr(&out), "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n"
                                              "    {\n      \"d\": null\n    }\n  ]\n}");
    isola_buf_free(&out);
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values),
        cmocka_unit_test(doubles),
        cmocka_unit_test(scalars_of_javascript),
        cmocka_unit_test(collections),
        cmocka_unit_test(errors),
        cmocka_unit_test(references),
        cmocka_unit_test(hostile),
        cmocka_unit_test(nesting),
        cmocka_unit_test(sharing_that_explodes),
        cmocka_unit_test(sharing_that_deepens),
        cmocka_unit_test(a_huge_bigint),
        cmocka_unit_test(cut_and_flipped),
        cmocka_unit_test(json_to_the_wire),
        cmocka_unit_test(json_that_cannot_be_sent),
        cmocka_unit_test(pretty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
