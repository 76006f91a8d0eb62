/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits for a link to another node: in order, counted, and to be given up one by one.
 */
#include "node-agent/actor-host/waiting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct isola_mail *mail(int kind, uint64_t link, uint64_t id, size_t bytes)
{
    static const uint8_t args[100];
    struct isola_slice none = {0};
    struct isola_mail *m =
        isola_mail_new(kind, none, isola_slice_str("a/A/b"), none, none, isola_slice(args, bytes));
    assert_non_null(m);
    m->origin.link = link;
    m->origin.id = id;
    return m;
}

static struct isola_origin origin(uint64_t link, uint64_t id)
{
    return (struct isola_origin){.link = link, .id = id};
}

/* Takes the first, which is this one. */
static void expect(struct waiting *w, uint64_t link, uint64_t id)
{
    struct isola_mail *m = waiting_take(w);
    assert_non_null(m);
    assert_int_equal(m->origin.link, link);
    assert_int_equal(m->origin.id, id);
    isola_mail_free(m);
}

static void cancel(struct waiting *w, uint64_t link, uint64_t id, bool there)
{
    struct isola_mail *m = waiting_cancel(w, origin(link, id));
    assert_int_equal(m != NULL, there);
    if (there)
        assert_true(m->kind == ISOLA_MSG_ASK && m->origin.link == link && m->origin.id == id);
    isola_mail_free(m);
}

static void test_order(void **state)
{
    (void)state;
    struct waiting w = {0};
    assert_null(waiting_take(&w));
    cancel(&w, 1, 1, false);
    for (int round = 0; round < 2; round++) { /* empty again, it is as new */
        for (uint64_t i = 1; i <= 5; i++)
            waiting_put(&w, mail(ISOLA_MSG_ASK, 9, i, i));
        waiting_put(&w, mail(ISOLA_MSG_EMIT, 9, 3, 50)); /* an emit is nobody's to give up */
        assert_int_equal(w.count, 6);
        assert_int_equal(w.bytes, 65);
        cancel(&w, 9, 3, true);
        cancel(&w, 9, 3, false);
        cancel(&w, 8, 4, false);
        cancel(&w, 9, 1, true); /* the first, and the last of them */
        cancel(&w, 9, 5, true);
        expect(&w, 9, 2);
        expect(&w, 9, 4);
        cancel(&w, 9, 4, false);
        waiting_put(&w, mail(ISOLA_MSG_ASK, 9, 6, 1));
        expect(&w, 9, 3);
        cancel(&w, 9, 6, true);
        assert_int_equal(w.count, 0);
        assert_int_equal(w.bytes, 0);
        assert_null(waiting_take(&w));
    }
}

/* Of a durable ask there is a copy that is sent again; and a program may use a number twice. */
static void test_others(void **state)
{
    (void)state;
    struct waiting w = {0};
    struct isola_mail *durable = mail(ISOLA_MSG_ASK, 5, 1, 0);
    durable->durable = true;
    waiting_put(&w, durable);
    cancel(&w, 5, 1, false);
    waiting_put(&w, mail(ISOLA_MSG_ASK, 5, 1, 10));
    waiting_put(&w, mail(ISOLA_MSG_ASK, 5, 1, 20));
    cancel(&w, 5, 1, true);
    assert_int_equal(w.bytes, 10);
    cancel(&w, 5, 1, false);
    expect(&w, 5, 1);
    expect(&w, 5, 1);
    assert_null(waiting_take(&w));
}

/* Any number may be given up in any order, for the price of what is given up. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 100000, STEP = 38197 }; /* which has no divisor with MANY */
    struct waiting w = {0};
    for (uint64_t i = 0; i < MANY; i++)
        waiting_put(&w, mail(ISOLA_MSG_ASK, i % 7, i, 1));
    for (uint64_t k = 0, i = 0; k < MANY / 2; k++, i = (i + STEP) % MANY)
        cancel(&w, i % 7, i, true);
    assert_int_equal(w.count, MANY / 2);
    struct isola_mail *m;
    uint64_t last = 0, n = 0;
    while ((m = waiting_take(&w)) != NULL) {
        assert_true(n == 0 || m->origin.id > last);
        last = m->origin.id;
        isola_mail_free(m);
        n++;
    }
    assert_int_equal(n, MANY / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_others),
                                       cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
