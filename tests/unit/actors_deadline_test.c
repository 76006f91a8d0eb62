/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines: they travel with the chain of asks, and what nobody waits for any more is not begun.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_world.h"

static void count(const struct isola_host_letter *l, void *arg)
{
    if (l->code == ISOLA_ETIMEDOUT)
        ++*(unsigned *)arg;
}

static void what_has_waited_too_long_is_not_begun(void **state)
{
    (void)state;
    static const char *const options[] = {"", "shared"};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        struct isola_slice none = {0};
        unsigned letters = 0;
        world_release(w, "t", "1", options[i], "");
        world_release(w, "u", "1", "", "");
        uint64_t held = world_ask(w, "t/T/a", "note in; block go; get");
        fake_await_note("t/T/a in", 1);
        must_reply(w, world_ask(w, "u/T/b", "tryask t/T/a {note begun; add 1} 30"),
                   ISOLA_ETIMEDOUT);
        uint64_t after = world_ask(w, "t/T/a", "get"); /* without a limit */
        fake_open("go");
        must_reply(w, held, 0);
        must_reply(w, after, 0);
        assert_int_equal(fake_count_note("t/T/a begun"), 0);
        (void)isola_host_letters(world_host(w), none, 0, count, &letters);
        assert_int_equal(letters, 1);
        world_end(w);
    }
}

static void asks_within_an_ask_end_with_it(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "reentrant");
    world_release(w, "u", "1", "", "");
    uint64_t from = isola_clock_ms();
    /* a asks b with 40 ms; b asks c with 15 s, in vain. */
    must_reply(
        w, world_ask(w, "u/T/a", "tryask u/T/b {tryask u/T/c {note c; block go} 15000; note b} 40"),
        ISOLA_ETIMEDOUT);
    fake_await_note("u/T/b b", 1);
    assert_true(isola_clock_ms() - from < 10000);
    fake_open("go");
    /* Whoever asks when the time is over is told at once. */
    must_reply(
        w, world_ask(w, "u/T/a", "tryask u/T/b {timer 60; tryask u/T/c {get} 15000; note late} 30"),
        ISOLA_ETIMEDOUT);
    fake_await_note("u/T/b late", 1);
    world_end(w);
}

static void the_deadline_goes_to_other_nodes(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    uint64_t ask = world_ask(w, "t/T/a", "tryask t/T/b {ask t/T/far {get} 15000} 500");
    world_await_forwarded(w, 1);
    const struct isola_mail *m = world_forwarded(w, 0);
    assert_in_range(m->timeout_ms, 1, 500);
    assert_true(m->deadline != 0 && m->deadline <= isola_clock_ms() + 500);
    must_reply(w, ask, ISOLA_ETIMEDOUT);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_waited_too_long_is_not_begun),
        cmocka_unit_test(asks_within_an_ask_end_with_it),
        cmocka_unit_test(the_deadline_goes_to_other_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
