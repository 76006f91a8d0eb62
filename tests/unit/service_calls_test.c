/* SPDX-License-Identifier: Apache-2.0
 *
 * Which instance of a service the key of an address names.
 */
#include "node-agent/service_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static unsigned instance(const char *key, unsigned instances)
{
    unsigned n = isola__calls_instance(isola_slice_str(key), instances);
    assert_true(n < instances);
    assert_int_equal(isola__calls_instance(isola_slice_str(key), instances), n); /* always */
    return n;
}

static void a_number_is_that_one(void **state)
{
    (void)state;
    char key[16];
    for (unsigned i = 0; i < 1024; i++) {
        snprintf(key, sizeof(key), "%u", i);
        assert_int_equal(instance(key, 1024), i);
    }
    assert_int_equal(instance("0", 1), 0);
}

static void any_other_key_is_one_of_them(void **state)
{
    (void)state;
    static const char *const keys[] = {"01", "+1",  "-1", "1.0", " 1",          "1/2",
                                       "2",  "1e1", "x",  "é",   "99999999999", "4294967296"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        (void)instance(keys[i], 2);
    assert_int_equal(instance("anything", 1), 0);
    assert_int_equal(isola__calls_instance(isola_slice_str("x"), 0), 0); /* there is none */
}

static void keys_spread(void **state)
{
    (void)state;
    unsigned of[8] = {0};
    char key[32];
    for (unsigned i = 0; i < 8000; i++) {
        snprintf(key, sizeof(key), "user-%u", i);
        of[instance(key, 8)]++;
    }
    for (size_t i = 0; i < 8; i++)
        assert_in_range(of[i], 850, 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_that_one),
        cmocka_unit_test(any_other_key_is_one_of_them),
        cmocka_unit_test(keys_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
