/* SPDX-License-Identifier: Apache-2.0
 *
 * What follows a crash: restarts, pauses, the end of them, and the ways out of that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_world.h"

static const char *const options[] = {"", "shared"};

static void release(struct world *w, const char *id, const char *how, const char *code,
                    struct isola_host_life life)
{
    struct isola_host_type type = world_type("T", how, code);
    type.life = life;
    world_release_types(w, "t", id, 1, &type);
}

static void crash(struct world *w)
{
    must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
}

static void the_first_restart_is_at_once_and_then_there_are_pauses(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(1);
        release(w, "1", options[i], "start note start",
                (struct isola_host_life){
                    .restarts = 10, .within_ms = 60000, .backoff_ms = 100, .max_backoff_ms = 200});
        uint64_t from = isola_clock_ms();
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        crash(w);
        must_reply(w, world_ask(w, "t/T/a", "get"), 1);
        assert_int_equal(world_logged(w, "not started again before"), 0);
        static const unsigned pauses[] = {100, 200, 200};
        for (int n = 0; n < 3; n++) {
            from = isola_clock_ms();
            crash(w);
            uint64_t first = world_ask(w, "t/T/a", "add 1"); /* waits, and is not refused */
            uint64_t second = world_ask(w, "t/T/a", "add 1");
            world_await_logged(w, "not started again before", 1 + (unsigned)n);
            must_reply(w, first, 2 + 2 * n);
            must_reply(w, second, 3 + 2 * n);
            assert_true(isola_clock_ms() - from >= pauses[n]);
        }
        assert_int_equal(world_logged(w, "crash 2 within 60 s: not started again before 0.1 s"), 1);
        assert_int_equal(world_logged(w, "crash 4 within 60 s: not started again before 0.2 s"), 1);
        world_end(w);
    }
}

static void too_many_crashes_are_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        release(w, "1", options[i], "",
                (struct isola_host_life){.restarts = 3, .within_ms = 60000});
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        for (int n = 0; n < 3; n++) {
            crash(w);
            must_reply(w, world_ask(w, "t/T/a", "get"), 1);
        }
        uint64_t last = world_ask(w, "t/T/a", "note in; block go; crash oh");
        fake_await_note("t/T/a in", 1);
        uint64_t waiting = world_ask(w, "t/T/a", "get");
        fake_open("go");
        must_fail(w, last, ISOLA_EFAILED);
        must_fail(w, waiting, ISOLA_EFAILED);
        struct outcome o = world_await(w, world_ask(w, "t/T/a", "get"));
        assert_int_equal(o.code, ISOLA_EFAILED);
        assert_string_equal(o.text, "t/T/a has failed: it crashed 4 times within 60 s and is not "
                                    "started again (`ctl restart` does); the last time of: oh");
        assert_string_equal(world_state(w, "t/T/a"), "failed");
        must_reply(w, world_ask(w, "t/T/b", "get"), 0); /* the others go on */
        must_reply(w, world_stop(w, "t/T/a"), true);    /* so does this one after a stop */
        must_reply(w, world_ask(w, "t/T/a", "get"), 1);
        for (int n = 0; n < 4; n++)
            crash(w);
        must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
        release(w, "2", options[i], "",
                (struct isola_host_life){.restarts = 3, .within_ms = 60000});
        must_reply(w, world_ask(w, "t/T/a", "get"), 1); /* and under a newer release */
        world_end(w);
    }
}

static void none_allowed_is_none(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    release(w, "1", "", "", (struct isola_host_life){.restarts = 0, .within_ms = 1});
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    crash(w);
    must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
    world_end(w);
}

/* Crashes that lie far apart are each the first one, and an actor that nobody wants any more is not
 * kept for them. */
static void old_crashes_do_not_count(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(1);
        release(w, "1", options[i], "", (struct isola_host_life){.restarts = 1, .within_ms = 30});
        world_release(w, "clock", "1", "", "");
        for (int n = 0; n < 5; n++) {
            crash(w);
            must_reply(w, world_ask(w, "clock/T/c", "timer 60; echo 0"), 0);
        }
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        crash(w);
        fake_await_isolates(i == 0 ? 1 : 2); /* the clock's, and a shared one */
        for (uint64_t end = fake_deadline(); world_live(w) > 1 && isola_clock_ms() < end;)
            must_reply(w, world_ask(w, "clock/T/c", "timer 10; echo 0"), 0);
        assert_int_equal(world_live(w), 1);
        world_end(w);
    }
}

static void a_stop_or_a_release_ends_a_pause(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct world *w = world_new(2);
        struct isola_host_life life = {
            .restarts = 9, .within_ms = 600000, .backoff_ms = 600000, .max_backoff_ms = 600000};
        release(w, "1", options[i % 2], "", life);
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        crash(w);
        crash(w);
        uint64_t ask = world_ask(w, "t/T/a", "add 1");
        assert_int_equal(world_outcome(w, ask).kind, 0);
        if (i < 2) {
            uint64_t stop = world_stop(w, "t/T/a"); /* behind the ask: it waits as well */
            assert_int_equal(world_outcome(w, stop).kind, 0);
            must_reply(w, world_ask(w, "t/T/b", "get"), 0);
            release(w, "2", options[i % 2], "", life);
            must_reply(w, ask, 2);
            must_reply(w, stop, true);
        } else {
            release(w, "2", options[i % 2], "", life);
            must_reply(w, ask, 2);
        }
        world_end(w);
    }
}

/* What an actor crashes of is told whole when it is new, and in a line when it is not. */
static void a_crash_is_explained_once(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    release(w, "1", "", "", (struct isola_host_life){.restarts = 10, .within_ms = 60000});
    must_fail(w, world_ask(w, "t/T/a", "crash {oh\nat stack}"), ISOLA_EFAILED);
    for (int n = 0; n < 2; n++)
        must_fail(w, world_ask(w, "t/T/a", "crash {oh\nat stack}"), ISOLA_EFAILED);
    must_fail(w, world_ask(w, "t/T/a", "crash {no\nat stack}"), ISOLA_EFAILED);
    must_fail(w, world_ask(w, "t/T/a", "crash {oh\nat stack}"), ISOLA_EFAILED);
    world_await_logged(w, "crashed: oh\nat stack", 2);
    assert_int_equal(world_logged(w, "crashed again, as before: oh"), 2);
    assert_int_equal(world_logged(w, "crashed: no\nat stack"), 1);
    assert_int_equal(world_logged(w, "at stack"), 3);
    world_end(w);

    w = world_new(1);
    fake_flag("broken", true);
    release(w, "1", "", "start throwif broken",
            (struct isola_host_life){
                .restarts = 10, .within_ms = 60000, .backoff_ms = 150, .max_backoff_ms = 200});
    must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
    world_await_logged(w, "could not start: broken is set", 1);
    while (world_logged(w, "could not start, 2 times in a row now, not tried before 0.2 s have "
                           "passed; as before: broken is set") == 0)
        must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
    fake_flag("broken", false);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_restart_is_at_once_and_then_there_are_pauses),
        cmocka_unit_test(too_many_crashes_are_the_end),
        cmocka_unit_test(none_allowed_is_none),
        cmocka_unit_test(old_crashes_do_not_count),
        cmocka_unit_test(a_stop_or_a_release_ends_a_pause),
        cmocka_unit_test(a_crash_is_explained_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
