/* SPDX-License-Identifier: Apache-2.0
 *
 * base/map.h against a plain array: random sets and deletions (which move entries back over the
 * gap), all keys looked up after each.
 */
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"

#define KEYS 64

static uint64_t next(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}

static void keys_are_byte_strings(void **state)
{
    (void)state;
    struct isola_map m = {0};
    int one, two, three, four;
    assert_null(isola_map_get(&m, isola_slice_str("x")));
    assert_null(isola_map_del(&m, isola_slice_str("x")));
    assert_null(isola_map_set(&m, isola_slice("a\0b", 3), &one));
    assert_null(isola_map_set(&m, isola_slice("a\0c", 3), &two));
    assert_null(isola_map_set(&m, isola_slice("a", 1), &three));
    assert_null(isola_map_set(&m, isola_slice("", 0), &four));
    assert_ptr_equal(isola_map_get(&m, isola_slice("a\0b", 3)), &one);
    assert_ptr_equal(isola_map_get(&m, isola_slice("a\0c", 3)), &two);
    assert_ptr_equal(isola_map_get(&m, isola_slice("a", 1)), &three);
    assert_ptr_equal(isola_map_get(&m, isola_slice("", 0)), &four);
    assert_ptr_equal(isola_map_set(&m, isola_slice("a", 1), &one), &three);
    assert_int_equal(m.count, 4);
    assert_ptr_equal(isola_map_del(&m, isola_slice("", 0)), &four);
    assert_null(isola_map_get(&m, isola_slice("", 0)));
    isola_map_free(&m);
    assert_int_equal(m.count, 0);
}

static void keys_are_copied(void **state)
{
    (void)state;
    struct isola_map m = {0};
    char key[] = "key";
    isola_map_set(&m, isola_slice(key, 3), &m);
    key[0] = 'X';
    assert_ptr_equal(isola_map_get(&m, isola_slice_str("key")), &m);
    assert_null(isola_map_get(&m, isola_slice(key, 3)));
    isola_map_free(&m);
}

static void it_holds_what_was_set(void **state)
{
    (void)state;
    const char *given = getenv("ISOLA_TEST_SEED");
    uint64_t s = given != NULL ? strtoull(given, NULL, 10) : isola_clock_ns() | 1;
    printf("seed: ISOLA_TEST_SEED=%llu\n", (unsigned long long)s);
    struct isola_map m = {0};
    char keys[KEYS][8];
    int values[2 * KEYS];
    void *expected[KEYS] = {0};
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof(keys[i]), "k%d", i);
    for (int step = 0; step < 20000; step++) {
        size_t i = next(&s) % KEYS, count = 0;
        if (next(&s) % 2) {
            void *value = &values[next(&s) % (2 * KEYS)];
            assert_ptr_equal(isola_map_set(&m, isola_slice_str(keys[i]), value), expected[i]);
            expected[i] = value;
        } else {
            assert_ptr_equal(isola_map_del(&m, isola_slice_str(keys[i])), expected[i]);
            expected[i] = NULL;
        }
        for (size_t n = 0; n < KEYS; n++) {
            assert_ptr_equal(isola_map_get(&m, isola_slice_str(keys[n])), expected[n]);
            count += expected[n] != NULL;
        }
        size_t seen = 0;
        ISOLA_MAP_EACH(&m, e)
        {
            assert_non_null(e->value);
            seen++;
        }
        assert_int_equal(m.count, count);
        assert_int_equal(seen, count);
    }
    isola_map_free(&m);
}

static void it_grows(void **state)
{
    (void)state;
    struct isola_map m = {0};
    char key[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_null(isola_map_set(&m, isola_slice_str(key), &m));
    }
    assert_int_equal(m.count, 20000);
    for (int i = 0; i < 20000; i += 2) {
        snprintf(key, sizeof(key), "%d", i);
        assert_ptr_equal(isola_map_del(&m, isola_slice_str(key)), &m);
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_ptr_equal(isola_map_get(&m, isola_slice_str(key)), i % 2 ? &m : NULL);
    }
    isola_map_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_byte_strings),
        cmocka_unit_test(keys_are_copied),
        cmocka_unit_test(it_holds_what_was_set),
        cmocka_unit_test(it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
