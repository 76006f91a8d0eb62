/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns and starts that do not end when their activation is to: cancelled after a while, then given
 * up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host_own.h"
#include "base/clock.h"
#include "fake_world.h"

#define STOP    150 /* ms */
#define UPGRADE 400
#define LAST    100

static const char *const options[] = {"", "shared"};

static struct world *world(const char *how, const char *code)
{
    struct world *w = world_new(2);
    world_host(w)->graces = (struct isola_graces){.stop = STOP, .upgrade = UPGRADE, .last = LAST};
    world_release(w, "t", "1", how, code);
    return w;
}

static void a_turn_that_waits_is_cancelled_and_then_given_up(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world(options[i], "stop note last");
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        uint64_t from = isola_clock_ms();
        uint64_t turn = world_ask(w, "t/T/a", "watch; add 1; hold never");
        uint64_t after = world_ask(w, "t/T/a", "add 1");
        uint64_t stop = world_stop(w, "t/T/a");
        must_reply(w, stop, true);
        assert_true(isola_clock_ms() - from >= STOP + LAST);
        struct outcome o = world_await(w, turn);
        assert_int_equal(o.code, ISOLA_ECANCELED);
        assert_string_equal(o.text, "the actor was stopped, and waited too long for it");
        assert_int_equal(fake_count_note("t/T/a ECANCELED"), 1); /* its signal was aborted before */
        must_reply(w, after, 2); /* by the next activation, which the stop ends in order */
        assert_int_equal(fake_count_note("t/T/a last"), 1);
        assert_int_equal(world_logged(w, "t/T/a: a turn did not end when it was to stop: given up"),
                         1);
        world_end(w);
    }
}

/* Nor is a stop done before what came before it. */
static void each_turn_before_a_stop_has_its_own_while(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world(options[i], "");
        uint64_t first = world_ask(w, "t/T/a", "add 1; hold never");
        uint64_t second = world_ask(w, "t/T/a", "add 1");
        uint64_t third = world_ask(w, "t/T/a", "add 1; hold never");
        must_reply(w, world_stop(w, "t/T/a"), true);
        assert_int_equal(world_outcome(w, first).code, ISOLA_ECANCELED);
        assert_int_equal(world_outcome(w, second).value, 1);
        assert_int_equal(world_outcome(w, third).code, ISOLA_ECANCELED);
        assert_int_equal(world_live(w), 0);
        assert_int_equal(world_stored(w, "t/T/a"), 1);
        world_end(w);
    }
}

/* One that heeds its signal, or the end of what it has asked, ends by itself. */
static void a_turn_that_is_cancelled_may_end_in_order(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world(options[i], "stop note last");
        uint64_t holds = world_ask(w, "t/T/a", "tryask t/T/b {note in; hold never}; add 1; get");
        fake_await_note("t/T/b in", 1);
        uint64_t stop = world_stop(w, "t/T/a");
        must_reply(w, holds, 1);
        must_reply(w, stop, true);
        assert_int_equal(world_stored(w, "t/T/a"), 1);
        assert_int_equal(fake_count_note("t/T/a last"), 1);
        assert_int_equal(world_logged(w, "given up"), 0);
        world_stop(w, "t/T/b");
        world_end(w);
    }
}

static void turns_that_end_in_time_are_left_alone(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world(options[i], "stop note last");
        uint64_t turn = world_ask(w, "t/T/a", "watch; note in; timer 50; add 1");
        fake_await_note("t/T/a in", 1);
        uint64_t stop = world_stop(w, "t/T/a");
        must_reply(w, turn, 1);
        must_reply(w, stop, true);
        assert_int_equal(fake_count_note("t/T/a ECANCELED"), 0);
        assert_int_equal(fake_count_note("t/T/a last"), 1);
        /* Nor does what is left of that time end the next activation's. */
        turn = world_ask(w, "t/T/a", "watch; timer 400; add 1");
        must_reply(w, turn, 2);
        assert_int_equal(fake_count_note("t/T/a ECANCELED"), 0);
        world_end(w);
    }
}

static void starts_and_last_turns_that_wait_are_given_up(void **state)
{
    (void)state;
    static const char *const codes[] = {"start note in; hold never", "load never",
                                        "stop note in; hold never"};
    for (int i = 0; i < 6; i++) {
        struct world *w = world(options[i % 2], codes[i / 2]);
        uint64_t ask = world_ask(w, "t/T/a", "get");
        if (i / 2 != 1 && i / 2 != 2)
            fake_await_note("t/T/a in", 1);
        if (i / 2 == 2)
            must_reply(w, ask, 0);
        must_reply(w, world_stop(w, "t/T/a"), true);
        assert_int_equal(
            world_logged(w, i / 2 == 2 ? "a turn did not end" : "its start did not end"), 1);
        world_release(w, "t", "2", options[i % 2], "");
        must_reply(w, ask, 0);
        world_end(w);
    }
}

static void for_a_newer_release_there_is_more_time(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world(options[i], "");
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        uint64_t ends = world_ask(w, "t/T/b", "note in; timer 350; add 1");
        uint64_t from = isola_clock_ms();
        uint64_t turn = world_ask(w, "t/T/a", "note in; add 1; hold never");
        fake_await_note("t/T/a in", 1);
        fake_await_note("t/T/b in", 1);
        world_release(w, "t", "2", options[i], "start note new");
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 2);
        assert_true(isola_clock_ms() - from >= UPGRADE + LAST);
        must_fail(w, turn, ISOLA_EUPGRADE);
        must_reply(w, ends, 1);
        fake_await_note("t/T/a new", 1);
        assert_int_equal(world_logged(w, "t/T/a: a turn did not end when its activation was to"),
                         1);
        assert_int_equal(world_logged(w, "given up"), 1);
        world_end(w);
    }
}

static void a_drain_ends(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world(options[i], "");
        uint64_t saved = world_ask(w, "t/T/a", "add 1");
        must_reply(w, saved, 1);
        uint64_t turn = world_ask(w, "t/T/a", "note in; add 1; hold never");
        uint64_t fine = world_ask(w, "t/T/b", "note in; timer 50; add 1");
        fake_await_note("t/T/a in", 1);
        fake_await_note("t/T/b in", 1);
        isola_host_drain(world_host(w));
        must_reply(w, fine, 1);
        world_await_drained(w);
        must_fail(w, turn, ISOLA_EUNREACHABLE);
        assert_int_equal(world_stored(w, "t/T/a"), 1);
        assert_int_equal(world_logged(w, "t/T/a: a turn did not end when the node was to stop"), 1);
        assert_int_equal(world_logged(w, "given up"), 1);
    }
}

static void with_several_turns_each_is_given_up(void **state)
{
    (void)state;
    struct world *w = world("reentrant", "reentrant");
    uint64_t one = world_ask(w, "t/T/a", "note in; hold never"),
             two = world_ask(w, "t/T/a", "note in; hold never"),
             ends = world_ask(w, "t/T/a", "note in; timer 50; add 1");
    fake_await_note("t/T/a in", 3);
    uint64_t stop = world_stop(w, "t/T/a"), again = world_stop(w, "t/T/a");
    must_reply(w, ends, 1);
    must_reply(w, stop, true);
    must_reply(w, again, true);
    must_fail(w, one, ISOLA_ECANCELED);
    must_fail(w, two, ISOLA_ECANCELED);
    world_end(w);
}

/* A stop waits behind what came before it: turns that take their time, each less than there is, are
 * not cut short because there are many. */
static void each_turn_has_its_time(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world(options[i], "stop note last");
        uint64_t ids[6];
        for (int n = 0; n < 6; n++)
            ids[n] = world_ask(w, "t/T/a", "watch; timer 70; add 1");
        uint64_t stop = world_stop(w, "t/T/a");
        for (int n = 0; n < 6; n++)
            must_reply(w, ids[n], n + 1);
        must_reply(w, stop, true);
        assert_int_equal(fake_count_note("t/T/a ECANCELED"), 0);
        assert_int_equal(fake_count_note("t/T/a last"), 1);
        /* And the one among them that does not end is found. */
        uint64_t before = world_ask(w, "t/T/a", "timer 70; add 1"),
                 never = world_ask(w, "t/T/a", "timer 70; hold never"),
                 after = world_ask(w, "t/T/a", "add 1");
        stop = world_stop(w, "t/T/a");
        must_reply(w, before, 7);
        must_fail(w, never, ISOLA_ECANCELED);
        must_reply(w, stop, true);
        must_reply(w, after, 8);
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_that_waits_is_cancelled_and_then_given_up),
        cmocka_unit_test(each_turn_before_a_stop_has_its_own_while),
        cmocka_unit_test(a_turn_that_is_cancelled_may_end_in_order),
        cmocka_unit_test(turns_that_end_in_time_are_left_alone),
        cmocka_unit_test(starts_and_last_turns_that_wait_are_given_up),
        cmocka_unit_test(for_a_newer_release_there_is_more_time),
        cmocka_unit_test(a_drain_ends),
        cmocka_unit_test(with_several_turns_each_is_given_up),
        cmocka_unit_test(each_turn_has_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
