/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a peer is silent, by a clock of the test's: who looks may stand still itself, once or
 * again and again.
 */
#include "transport/silence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000000ull

/* Looks every `every` ms, `n` times at the most; the number of the look that gives up, or 0. Before
 * each, `heard` ms ago something has come, unless it is negative. */
static unsigned looks(struct isola__silence *s, uint64_t *now, uint64_t every, int heard,
                      unsigned n)
{
    uint64_t last = *now;
    for (unsigned i = 1; i <= n; i++) {
        *now += every * MS;
        if (heard >= 0)
            last = *now - (uint64_t)heard * MS;
        if (isola__silence_look(s, *now, last))
            return i;
    }
    return 0;
}

static void start(struct isola__silence *s, uint64_t *now)
{
    *now = 5000 * MS;
    isola__silence_start(s, *now);
}

static void test_silence(void **state)
{
    (void)state;
    struct isola__silence s;
    uint64_t now;
    /* on time: after 2,250 ms and not before */
    for (uint64_t every = 1; every <= 500; every++) {
        start(&s, &now);
        unsigned n = looks(&s, &now, every, -1, 10000);
        assert_int_equal(n, 2250 / every + 1);
    }
    /* heard of, at whatever time before a look */
    for (int ago = 0; ago <= 250; ago += 50) {
        start(&s, &now);
        assert_int_equal(looks(&s, &now, 250, ago, 1000), 0);
        assert_int_equal(s.ns, (uint64_t)ago * MS);
    }
    /* by the clock of another thread, a little later */
    start(&s, &now);
    assert_false(isola__silence_look(&s, now + 250 * MS, now + 251 * MS));
    assert_int_equal(s.ns, 0);
}

static void test_stood_still(void **state)
{
    (void)state;
    struct isola__silence s;
    uint64_t now;
    /* once, for an hour: nothing follows from that, and real silence is noticed as soon */
    start(&s, &now);
    assert_int_equal(looks(&s, &now, 3600000, -1, 1), 0);
    assert_int_equal(looks(&s, &now, 250, 100, 10), 0);
    uint64_t from = now;
    assert_int_not_equal(looks(&s, &now, 250, -1, 100), 0);
    assert_true(now - from <= 2500 * MS);
    /* again and again, each time for longer than the peer may be silent: it is given up after
     * so many looks, however long each takes, and not while it is heard of */
    for (uint64_t every = 500; every < 100000; every += 700) {
        start(&s, &now);
        assert_int_equal(looks(&s, &now, every, -1, 100), 5);
        start(&s, &now);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(looks(&s, &now, every, -1, 3), 0);
            assert_int_equal(looks(&s, &now, every, 0, 1), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_silence),
                                       cmocka_unit_test(test_stood_still)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
