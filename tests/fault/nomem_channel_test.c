/* SPDX-License-Identifier: Apache-2.0
 *
 * No memory for a secure channel: it asks for some when it says something in a handshake, and then
 * only. An end that gets none is over, knows no secrets any more, and its peer is never done.
 */
#include "tests/unit/secure_ends.h"

#include <sodium.h>

#include "nomem.h"

/* Room for all that an end hears, which is the test's to have. */
static void hear_without_asking(struct end *e)
{
    assert_true(isola_buf_grow(&e->in, 2 * ISOLA__SECURE_SHAKE_MAX));
}

static void check_failed(const struct end *e, const struct isola_static_keys *keys)
{
    assert_int_equal(e->err.code, ISOLA_ENOMEM);
    assert_non_null(strstr(e->err.text, "no memory"));
    assert_int_equal(e->s.state, ISOLA__SECURE_FAILED);
    assert_int_equal(e->out.len, 0); /* not half of what it was to say */
    assert_false(holds(&e->s, keys->secret_key));
    assert_true(sodium_is_zero((const uint8_t *)&e->s.noise, sizeof(e->s.noise)));
}

static void test_shake(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    {
        unsigned told = 0, tries = 0;
        do {
            struct pair p;
            struct isola__secure_config ca = plain(&p.a, true, pattern),
                                        cb = plain(&p.b, false, pattern);
            long before = living;
            open_end(&p.a, &ca, true);
            open_end(&p.b, &cb, false);
            hear_without_asking(&p.a);
            hear_without_asking(&p.b);
            fail_nth(++tries);
            p.a.rc = isola__secure_start(&p.a.s, &p.a.out, &p.a.err);
            if (p.a.rc == 0)
                shake(&p.a, &p.b, SIZE_MAX);
            fail_nth(0);
            if (p.a.rc == ISOLA_ENOMEM) {
                check_failed(&p.a, &alice);
                assert_int_not_equal(p.b.s.state, ISOLA__SECURE_DONE);
                told++;
            } else if (p.b.rc == ISOLA_ENOMEM) {
                check_failed(&p.b, &bob);
                assert_int_not_equal(p.a.s.state, ISOLA__SECURE_DONE);
                told++;
            } else {
                assert_false(no_mem);
                exchange(&p.a, &p.b);
            }
            close_pair(&p);
            assert_int_equal(living, before);
        } while (no_mem);
        assert_int_equal(told, 3); /* XX has so many messages; the first of IK asks twice */
    }
}

/* What is refused is refused with or without memory to say so. */
static void test_refusal(void **state)
{
    (void)state;
    FOR_BOTH(pattern)
    for (unsigned nth = 1; nth < 3; nth++) {
        struct pair p;
        open_pair(&p, pattern);
        p.b.s.config.purpose = 8;
        hear_without_asking(&p.b);
        fail_nth(nth);
        deliver(&p.a, &p.b, SIZE_MAX);
        fail_nth(0);
        assert_int_equal(p.b.rc, ISOLA_EPROTO);
        assert_int_equal(p.b.err.code, ISOLA_EPROTO);
        assert_int_equal(p.b.out.len, nth == 1 ? 0 : ISOLA__SECURE_PREAMBLE);
        assert_int_equal(no_mem, nth == 1);
        close_pair(&p);
    }
}

/* Records, new keys, what does not open: none of it asks for memory. */
static void test_records(void **state)
{
    (void)state;
    struct pair p;
    struct isola_slice got;
    struct isola_err err;
    size_t size;
    open_done_pair(&p, ISOLA__NOISE_XX);
    unsigned long before = asked;
    for (unsigned i = 0; i <= ISOLA__SECURE_REKEY_EVERY; i++)
        exchange(&p.a, &p.b);
    assert_int_equal(p.b.s.rx.rekeys, 1);
    uint8_t record[100] = {0, 30};
    assert_int_equal(isola__secure_open(&p.a.s, record, sizeof(record), &got, &size, &err),
                     ISOLA_EPROTO);
    isola__secure_wipe(&p.b.s);
    assert_int_equal(asked, before);
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shake), cmocka_unit_test(test_refusal),
                                       cmocka_unit_test(test_records)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
