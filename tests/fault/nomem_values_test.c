/* SPDX-License-Identifier: Apache-2.0
 *
 * No memory for what is in frames: to read an envelope, and to step through values, takes none; to
 * make one or to show values does, and says so when there is none. (Values in an isolate:
 * tests/fault/codec_test.mjs.)
 */
#include "transport/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/msgpack.h"
#include "cli/value.h"
#include "nomem.h"
#include "tests/bytes.h"
#include "transport/older.h"

static struct isola_buf values[100]; /* those of tests/vectors, each one args array */
static size_t n_values;

static int read_values(void **state)
{
    (void)state;
    json_error_t error;
    json_t *vectors = json_load_file(ISOLA_VECTORS, 0, &error), *vector;
    size_t i;
    json_array_foreach(vectors, i, vector)
    {
        assert_true(n_values < sizeof(values) / sizeof(values[0]));
        values[n_values++] = unhex(json_string_value(json_object_get(vector, "bytes")));
    }
    json_decref(vectors);
    json_set_alloc_funcs(__wrap_malloc, __wrap_free); /* whose memory is asked for here */
    return n_values > 40 ? 0 : -1;
}

static int free_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_values; i++)
        isola_buf_free(&values[i]);
    return 0;
}

static void test_envelopes(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_values; i++)
        for (unsigned version = ISOLA_WIRE_OLDEST; version <= ISOLA_WIRE_VERSION; version++) {
            const struct isola_msg m = {.kind = ISOLA_MSG_ASK,
                                        .id = 7,
                                        .src = isola_slice_str("shop/Cart/a"),
                                        .dst = isola_slice_str("shop/Counter/b"),
                                        .event = isola_slice_str("add"),
                                        .args = isola_buf_slice(&values[i])};
            unsigned tries = 0, told = 0;
            do {
                struct isola_buf b = {0};
                struct isola_msg got;
                struct isola_err err;
                long before = living;
                fail_nth(++tries);
                isola_envelope_encode(&m, version, &b);
                fail_nth(0);
                assert_int_equal(b.failed, no_mem);
                told += b.failed;
                unsigned long had = asked;
                int rc = isola_envelope_decode(isola_buf_slice(&b), &got, NULL, &err);
                assert_int_equal(asked, had);
                if (!no_mem) {
                    assert_int_equal(rc, 0);
                    assert_true(isola_slice_eq(got.args, m.args));
                }
                for (size_t n = 0; n < b.len; n++) /* cut off */
                    assert_int_equal(
                        isola_envelope_decode(isola_slice(b.data, n), &got, NULL, &err),
                        ISOLA_EPROTO);
                assert_int_equal(asked, had);
                isola_buf_free(&b);
                assert_int_equal(living, before);
            } while (no_mem);
            assert_true(told > 0);
        }
}

static void test_older(void **state)
{
    unsigned told = 0;
    (void)state;
    for (size_t i = 0; i < n_values; i++) {
        unsigned tries = 0;
        do {
            struct isola_buf b = {0};
            long before = living;
            fail_nth(++tries);
            int rc = isola__older_args(isola_buf_slice(&values[i]), &b);
            fail_nth(0);
            assert_true(rc == 1 || (rc == 0 && !no_mem));
            assert_int_equal(b.failed, no_mem);
            told += b.failed;
            isola_buf_free(&b);
            assert_int_equal(living, before);
        } while (no_mem);
    }
    assert_true(told > 5);
}

static void test_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_values; i++) {
        unsigned tries = 0;
        do {
            struct isola_err err = {0};
            json_t *shown = NULL;
            long before = living;
            fail_nth(++tries);
            int rc = isola__value_to_json(isola_buf_slice(&values[i]), &shown, &err);
            fail_nth(0);
            if (rc != 0) {
                if (!no_mem || rc != ISOLA_ENOMEM || err.code != rc || shown != NULL)
                    fail_msg("value %zu, allocation %u: %d, %s", i, tries, rc, err.text);
            } else {
                assert_int_equal(json_array_size(shown), 1);
                json_decref(shown);
            }
            if (living != before)
                fail_msg("value %zu, allocation %u: %ld are left", i, tries, living - before);
        } while (no_mem);
        assert_true(tries > 1);
    }
}

/* And back: what was typed at a command line. (It is read by jansson 2.14, which does not look for
 * failed allocations in a text.) */
static void test_typed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\": [1, 2.5, null, true, \"x\"], \"b\": {\"$base64\": \"AAECAwQFBgcICQ==\"}}",
        "[{\"$actor\": \"shop/Counter/a\"}, \"a text of more than thirty-one characters\"]",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct isola_err err = {0};
        json_t *v = NULL;
        unsigned tries = 0;
        assert_int_equal(isola__value_parse(texts[i], &v, &err), 0);
        do {
            struct isola_buf b = {0};
            long before = living;
            fail_nth(++tries);
            int rc = isola__value_from_json(v, &b, &err);
            fail_nth(0);
            if (rc != (no_mem ? ISOLA_ENOMEM : 0))
                fail_msg("text %zu, allocation %u: %d", i, tries, rc);
            isola_buf_free(&b);
            if (living != before)
                fail_msg("text %zu, allocation %u: %ld are left", i, tries, living - before);
        } while (no_mem);
        assert_true(tries > 1);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_envelopes),
                                       cmocka_unit_test(test_older), cmocka_unit_test(test_shown),
                                       cmocka_unit_test(test_typed)};
    return cmocka_run_group_tests(tests, read_values, free_values);
}
