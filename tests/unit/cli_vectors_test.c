/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of tests/vectors/values.json, read in C: each is one whole value, and can be shown.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/msgpack.h"
#include "cli/value.h"
#include "tests/bytes.h"

static void each_is_a_value(void **state)
{
    (void)state;
    json_error_t error;
    json_t *vectors = json_load_file(ISOLA_VECTORS, 0, &error), *vector;
    size_t i;
    assert_non_null(vectors);
    assert_true(json_array_size(vectors) > 40);
    json_array_foreach(vectors, i, vector)
    {
        struct isola_buf bytes = unhex(json_string_value(json_object_get(vector, "bytes")));
        struct isola_slice whole;
        struct isola_err err = {0};
        json_t *shown = NULL;
        assert_false(bytes.failed);
        struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&bytes));
        assert_int_equal(isola_mp_skip(&r, &whole), 0);
        assert_ptr_equal(r.p, r.end);
        assert_int_equal(isola_mp_count(isola_buf_slice(&bytes)), 1);
        assert_int_equal(isola__value_to_json(isola_buf_slice(&bytes), &shown, &err), 0);
        assert_int_equal(json_array_size(shown), 1);
        json_decref(shown);
        isola_buf_free(&bytes);
    }
    json_decref(vectors);
}

static void every_form_of_a_string(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *text;
    } forms[] = {{"91a3c3a941", "\u00e9A"},
                 {"91d50ce941", "\u00e9A"},
                 {"91d60de9004100", "\u00e9A"},
                 {"91d60d3dd800de", "\U0001f600"},
                 {"91d50d3dd8", "\ufffd"}};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct isola_buf bytes = unhex(forms[i].hex);
        struct isola_err err = {0};
        json_t *shown = NULL;
        assert_int_equal(isola__value_to_json(isola_buf_slice(&bytes), &shown, &err), 0);
        assert_string_equal(json_string_value(json_array_get(shown, 0)), forms[i].text);
        json_decref(shown);
        isola_buf_free(&bytes);
    }
    struct isola_err err = {0};
    json_t *shown = NULL;
    static const uint8_t odd[] = {0x91, 0xd4, 0x0d, 0x41};
    assert_int_equal(isola__value_to_json(isola_slice(odd, sizeof(odd)), &shown, &err),
                     ISOLA_EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_a_value),
        cmocka_unit_test(every_form_of_a_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
