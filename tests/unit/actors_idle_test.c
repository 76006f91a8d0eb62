/* SPDX-License-Identifier: Apache-2.0
 *
 * Hibernation: who hibernates and who does not, what comes meanwhile, realms nobody is left in,
 * memory pressure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host.h"
#include "base/check.h"
#include "base/clock.h"
#include "fake_world.h"

static void release(struct world *w, const char *options, const char *code, uint64_t after_ms)
{
    struct isola_host_type type = world_type("T", options, code);
    type.life.hibernate_after_ms = after_ms;
    world_release_types(w, "t", "1", 1, &type);
    world_release(w, "clock", "1", "", "");
}

/* Lets time pass. */
static void wait_ms(struct world *w, unsigned ms)
{
    char program[32];
    snprintf(program, sizeof(program), "timer %u; echo 1", ms);
    assert_int_equal(world_await(w, world_ask(w, "clock/T/c", program)).kind, ISOLA_MSG_REPLY);
}

static const char *const options[] = {"", "shared"};

static void who_is_idle_hibernates_and_wakes_with_its_state(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        unsigned before = fake_activations();
        release(w, options[i], "stop add 100; note asleep", 20);
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        fake_await_note("t/T/a asleep", 1);
        fake_await_isolates(0); /* a shared one goes as well when nobody is left in it */
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 102);
        fake_await_note("t/T/a asleep", 2);
        assert_int_equal(fake_activations() - before, 2);
        world_end(w);
    }
}

static void who_waits_for_something_stays(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(1);
        release(w, i == 0 ? "reentrant" : "reentrant shared", "reentrant\nstop note asleep", 20);
        must_reply(w, world_ask(w, "t/T/timer", "later 400 {note timer}; echo 0"), 0);
        must_reply(w, world_ask(w, "t/T/sub", "sub t/T/x e; echo 0"), 0);
        uint64_t held = world_ask(w, "t/T/turn", "hold end; echo 0");
        world_place(w, "t/T/far", 1);
        must_reply(
            w, world_ask(w, "t/T/ask", "later 1 {tryask t/T/far {get} 400; note answer}; echo 0"),
            0);
        must_reply(w, world_ask(w, "t/T/idle", "get"), 0);
        fake_await_note("t/T/idle asleep", 1);
        wait_ms(w, 100);
        assert_int_equal(fake_count_note("t/T/timer asleep"), 0);
        assert_int_equal(fake_count_note("t/T/sub asleep"), 0);
        assert_int_equal(fake_count_note("t/T/turn asleep"), 0);
        assert_int_equal(fake_count_note("t/T/ask asleep"), 0);
        fake_await_note("t/T/timer timer", 1);
        fake_await_note("t/T/ask answer", 1);
        fake_await_note("t/T/timer asleep", 1); /* now there is nothing any more */
        fake_await_note("t/T/ask asleep", 1);
        must_reply(w, world_ask(w, "t/T/sub", "unsub; echo 0"), 0);
        fake_await_note("t/T/sub asleep", 1);
        assert_int_equal(world_outcome(w, held).kind, 0);
        world_place(w, "t/T/far", 0);
        must_reply(w, world_ask(w, "t/T/turn", "open end; echo 0"), 0);
        must_reply(w, held, 0);
        world_end(w);
    }
}

static void who_is_used_stays(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    release(w, "shared", "stop note asleep", 1000);
    unsigned excused = 0; /* on a machine that stands still for a while */
    uint64_t last = isola_clock_ms();
    for (int i = 0; i < 24; i++) {
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        uint64_t now = isola_clock_ms();
        excused += now - last >= 900;
        last = now;
        wait_ms(w, 100);
        if (i < 23)
            continue;
        assert_true(fake_count_note("t/T/a asleep") <= excused + (isola_clock_ms() - last >= 900));
    }
    world_end(w);
}

static void never_is_never(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    release(w, "", "stop note asleep", 0);
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    wait_ms(w, 100);
    assert_int_equal(fake_count_note("t/T/a asleep"), 0);
    assert_int_equal(world_live(w), 2);
    world_end(w);
}

static void what_comes_as_it_hibernates_waits_for_the_next_activation(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        uint64_t asks[50];
        release(w, options[i], "stop add 100; note in; block go", 20);
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        fake_await_note("t/T/a in", 1);
        for (int n = 0; n < 50; n++)
            asks[n] = world_ask(w, "t/T/a", "add 1");
        uint64_t stop = world_stop(w, "t/T/a");
        fake_open("go");
        for (int n = 0; n < 50; n++)
            must_reply(w, asks[n], 102 + n);
        must_reply(w, stop, true);
        world_end(w);
    }
}

static void a_last_turn_that_crashes_is_a_crash(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    release(w, "", "stop add 1; throw oh", 20);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    world_await_logged(w, "crashed: oh", 1);
    must_reply(w, world_ask(w, "t/T/a", "get"), 1);
    world_end(w);
}

#define MANY 5000

static void many_hibernate(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    uint64_t *asks = isola_zalloc(MANY * sizeof(*asks));
    release(w, "shared", "", 200);
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < MANY; i++) {
            char address[32];
            snprintf(address, sizeof(address), "t/T/%d", i);
            asks[i] = world_ask(w, address, "add 1");
        }
        for (int i = 0; i < MANY; i++)
            must_reply(w, asks[i], round);
        while (world_live(w) > 1)
            wait_ms(w, 20);
    }
    free(asks);
    world_end(w);
}

static void memory_pressure_takes_those_that_are_idle(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(3);
        release(w, options[i], "stop note asleep", 0);
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        uint64_t held = world_ask(w, "t/T/b", "ask clock/T/other {note in; block go}; get");
        fake_await_note("clock/T/other in", 1);
        isola_host_set_memory(world_host(w), 1); /* there is always more */
        uint64_t deadline = fake_deadline();
        while (fake_count_note("t/T/a asleep") == 0) { /* visits look at the memory now and then */
            must_reply(w, world_ask(w, "t/T/c", "get"), 0);
            assert_true(isola_clock_ms() < deadline);
        }
        assert_int_equal(fake_count_note("t/T/b asleep"), 0);
        fake_open("go");
        must_reply(w, held, 0);
        isola_host_set_memory(world_host(w), 0);
        must_reply(w, world_ask(w, "t/T/a", "get"), 1);
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_idle_hibernates_and_wakes_with_its_state),
        cmocka_unit_test(who_waits_for_something_stays),
        cmocka_unit_test(who_is_used_stays),
        cmocka_unit_test(never_is_never),
        cmocka_unit_test(what_comes_as_it_hibernates_waits_for_the_next_activation),
        cmocka_unit_test(a_last_turn_that_crashes_is_a_crash),
        cmocka_unit_test(many_hibernate),
        cmocka_unit_test(memory_pressure_takes_those_that_are_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
