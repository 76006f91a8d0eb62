/* SPDX-License-Identifier: Apache-2.0
 *
 * Durable timers: each comes at its time or after it and changes its actor's state once, whatever
 * crashes, whoever dies and however long nobody was there; and what repeats goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/schedule.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "fake_world.h"

static void await_stored(struct world *w, const char *address, int64_t value)
{
    uint64_t deadline = fake_deadline();
    while (world_stored(w, address) != value) {
        assert_true(isola_clock_ms() < deadline);
        must_reply(w, world_ask(w, "t/T/clock", "timer 1"), 0); /* something else happens */
    }
}

/* How often it has been noted by "note W", after a while in which nothing else is to come. */
static void stays(struct world *w, const char *note, unsigned times)
{
    for (int i = 0; i < 5; i++)
        must_reply(w, world_ask(w, "t/T/clock", "timer 20"), 0);
    assert_int_equal(fake_count_note(note), times);
}

static void a_timer_fires_once_and_is_gone(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note fired} 50; schedules"), 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_TIMER, 1);
    fake_await_note("t/T/a fired", 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_TIMER, 0);
    must_reply(w, world_ask(w, "t/T/a", "schedules"), 0);
    must_reply(w, world_ask(w, "t/T/a", "get"), 1);
    stays(w, "t/T/a fired", 1);
    world_end(w);
}

static void it_is_not_seen_before_it_is_on_disk(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    must_reply(w, world_ask(w, "t/T/clock", "timer 1"), 0);
    world_hold_store(w, true);
    uint64_t id = world_ask(w, "t/T/a", "schedule x {note fired} 0; schedules");
    world_await_held(w, 1);
    assert_int_equal(world_outcome(w, id).kind, 0);
    stays(w, "t/T/a fired", 0);
    world_hold_store(w, false);
    must_reply(w, id, 1);
    fake_await_note("t/T/a fired", 1);
    world_end(w);
}

static void a_timer_is_replaced_and_cancelled(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note one} 60000; schedule y {note y} 60000"),
               0);
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note two} 20; schedules"), 2);
    fake_await_note("t/T/a two", 1);
    must_reply(w, world_ask(w, "t/T/a", "cancel y"), 1);
    must_reply(w, world_ask(w, "t/T/a", "cancel y"), 0);
    must_reply(w, world_ask(w, "t/T/a", "cancel x"), 0);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_TIMER, 0);
    assert_int_equal(fake_count_note("t/T/a one"), 0);
    world_end(w);
}

static void what_a_turn_that_crashed_has_set_or_cancelled_is_as_before(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note x} 200; schedules"), 1);
    world_emit(w, "t/T/a", "cancel x; schedule y {note y} 0; throw oh");
    world_await_logged(w, "crashed", 1);
    fake_await_note("t/T/a x", 1);
    await_stored(w, "t/T/a", 1);
    stays(w, "t/T/a y", 0);
    must_reply(w, world_ask(w, "t/T/a", "schedules"), 0);
    world_end(w);
}

static void an_actor_that_hibernates_is_woken(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct isola_host_type type = world_type("T", "shared", "");
    type.life.hibernate_after_ms = 20;
    world_release_types(w, "t", "1", 1, &type);
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note x} 400; schedules"), 1);
    uint64_t deadline = fake_deadline();
    while (strcmp(world_state(w, "t/T/a"), "none") != 0)
        assert_true(isola_clock_ms() < deadline);
    assert_int_equal(fake_count_note("t/T/a x"), 0);
    fake_await_note("t/T/a x", 1);
    await_stored(w, "t/T/a", 1);
    world_end(w);
}

static void an_interval_goes_on_from_its_start(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note x} 30 30; schedules"), 1);
    fake_await_note("t/T/a x", 5);
    must_reply(w, world_ask(w, "t/T/a", "cancel x"), 1);
    unsigned n = fake_count_note("t/T/a x");
    stays(w, "t/T/a x", n);
    must_reply(w, world_ask(w, "t/T/a", "get"), n);
    /* Set long ago: what was missed comes once, and then it is due at its own times. */
    must_reply(w, world_ask(w, "t/T/b", "schedule x {note x} -10000050 10000000; schedules"), 1);
    fake_await_note("t/T/b x", 1);
    stays(w, "t/T/b x", 1);
    must_reply(w, world_ask(w, "t/T/b", "schedules"), 1);
    world_end(w);
}

static void a_cron_expression_goes_on_as_the_isolate_says(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note x} 10 c30; schedules"), 1);
    fake_await_note("t/T/a x", 3);
    must_reply(w, world_ask(w, "t/T/a", "cancel x"), 1);
    must_reply(w, world_ask(w, "t/T/b", "schedule x {note x} 10 c0; schedules"), 1);
    fake_await_note("t/T/b x", 1);
    world_await_kept(w, "t/T/b", ISOLA_KEPT_TIMER, 0); /* it never comes again */
    world_end(w);
}

static void one_that_repeats_and_is_set_again_as_it_is_stays_as_it_is(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    /* What its start sets does not put off what has woken it. */
    struct isola_host_type type = world_type(
        "T", "shared", "start schedule x {add 1; note x} 400 =400; schedule c {note c} 400 c400");
    type.life.hibernate_after_ms = 20;
    world_release_types(w, "t", "1", 1, &type);
    must_reply(w, world_ask(w, "t/T/a", "schedules"), 2);
    fake_await_note("t/T/a x", 3);
    fake_await_note("t/T/a c", 3);
    assert_true(fake_activations() > 2);
    must_reply(w, world_ask(w, "t/T/a", "schedules"), 2);
    world_end(w);
}

static void one_that_repeats_and_is_set_otherwise_is_another(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note one} 60000 =60000; schedules"), 1);
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note one} 10 =60000; schedules"), 1);
    must_reply(w, world_ask(w, "t/T/a", "schedule y {note y} 60000; schedules"), 2);
    stays(w, "t/T/a one", 0);
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note two} 10 =60000; schedules"), 2);
    fake_await_note("t/T/a two", 1);
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note two} 10 =50000; schedules"), 2);
    fake_await_note("t/T/a two", 2);
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note two} 10 50000; schedules"), 2);
    fake_await_note("t/T/a two", 3);
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note two} 10 c50000; schedules"), 2);
    fake_await_note("t/T/a two", 4);
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note two} 10; schedules"), 2);
    fake_await_note("t/T/a two", 5);
    world_end(w);
}

static void a_timer_may_change_itself(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note x; cancel x} 10 20; schedules"), 1);
    fake_await_note("t/T/a x", 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_TIMER, 0);
    must_reply(
        w, world_ask(w, "t/T/b", "schedule x {note x; schedule x {note other} 10} 10; schedules"),
        1);
    fake_await_note("t/T/b other", 1);
    world_await_kept(w, "t/T/b", ISOLA_KEPT_TIMER, 0);
    stays(w, "t/T/b x", 1);
    stays(w, "t/T/a x", 1);
    world_end(w);
}

static void one_whose_turn_crashes_comes_again_and_changes_the_state_once(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    fake_flag("down", true);
    must_reply(w,
               world_ask(w, "t/T/a",
                         "schedule x {add 1; demit t/T/b {add 1}; note x; throwif down; note done} "
                         "10; schedules"),
               1);
    fake_await_note("t/T/a x", 2);
    fake_flag("down", false);
    fake_await_note("t/T/a done", 1);
    await_stored(w, "t/T/a", 1);
    await_stored(w, "t/T/b", 1);
    must_reply(w, world_ask(w, "t/T/a", "schedules"), 0);
    world_end(w);
}

static void a_turn_that_is_saved_in_its_middle_is_not_over(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    fake_flag("down", true);
    must_reply(
        w,
        world_ask(w, "t/T/a",
                  "schedule x {add 1; ask t/T/b {add 1}; throwif down; note done} 10; schedules"),
        1);
    world_await_logged(w, "crashed", 1);
    fake_flag("down", false);
    fake_await_note("t/T/a done", 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_TIMER, 0);
    world_end(w);
}

static void count_letter(const struct isola_host_letter *letter, void *arg)
{
    *(unsigned *)arg += letter->code == ISOLA_EFAILED && letter->kind == ISOLA_MSG_EMIT;
}

static unsigned letters(struct world *w)
{
    unsigned n = 0;
    (void)isola_host_letters(world_host(w), (struct isola_slice){0}, 0, count_letter, &n);
    return n;
}

static void after_three_crashes_in_a_row_it_is_given_up(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note x; throw oh} 10; schedules"), 1);
    world_await_logged(w, "was given up: it crashed t/T/a 3 times in a row", 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_TIMER, 0);
    assert_int_equal(letters(w), 1);
    stays(w, "t/T/a x", 3);
    /* One that repeats goes on with its next time. */
    must_reply(w, world_ask(w, "t/T/b", "schedule x {note x; throw oh} -5 3600000; schedules"), 1);
    world_await_logged(w, "was given up: it crashed t/T/b 3 times in a row", 1);
    must_reply(w, world_ask(w, "t/T/b", "schedules"), 1);
    stays(w, "t/T/b x", 3);
    world_end(w);
}

static void a_write_that_fails_leaves_it_to_come_again(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1; schedule x {block go; add 1; note x} 0; schedules"),
               1);
    world_fail_writes(w, 1);
    fake_open("go");
    fake_await_note("t/T/a x", 2);
    await_stored(w, "t/T/a", 2);
    must_reply(w, world_ask(w, "t/T/a", "schedules"), 0);
    stays(w, "t/T/a x", 2);
    world_end(w);
}

static void timers_of_before_fire_after_a_death(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(
        w,
        world_ask(
            w, "t/T/a",
            "schedule x {add 1; note x} 60000 60000; schedule y {add 10; note y} 300; schedules"),
        2);
    must_reply(w, world_ask(w, "t/T/b", "schedule y {add 1; note b} -86400000; schedules"), 1);
    w = world_crash(w);
    world_release(w, "t", "1", "", "");
    isola_host_outbox_begin(world_host(w));
    fake_await_note("t/T/a y", 1);
    await_stored(w, "t/T/a", 10);
    fake_await_note("t/T/b b", 1);
    world_await_kept(w, "t/T/b", ISOLA_KEPT_TIMER, 0);
    must_reply(w, world_ask(w, "t/T/a", "schedules"), 1);
    world_end(w);
}

static void deaths_at_any_moment_change_nothing(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    char program[100];
    world_release(w, "t", "1", "", "");
    for (int i = 0; i < 60; i++) {
        snprintf(program, sizeof(program),
                 "schedule i%d {add 1; demit t/T/sink {add 1}} %u; schedules", i,
                 world_random(w, 300));
        uint64_t id = world_ask(w, i % 2 == 0 ? "t/T/a" : "t/T/b", program);
        assert_int_equal(world_await(w, id).kind, ISOLA_MSG_REPLY);
    }
    for (int i = 0; i < 4; i++) {
        snprintf(program, sizeof(program), "timer %u", world_random(w, 50));
        must_reply(w, world_ask(w, "t/T/clock", program), 0);
        w = world_crash(w);
        world_release(w, "t", "1", "", "");
        isola_host_outbox_begin(world_host(w));
    }
    await_stored(w, "t/T/a", 30);
    await_stored(w, "t/T/b", 30);
    await_stored(w, "t/T/sink", 60);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_TIMER, 0);
    world_await_kept(w, "t/T/b", ISOLA_KEPT_TIMER, 0);
    world_end(w);
}

static void one_whose_app_is_not_there_waits_for_it(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note x} 100; schedules"), 1);
    w = world_crash(w);
    world_release(w, "u", "1", "", "");
    isola_host_outbox_begin(world_host(w));
    must_reply(w, world_ask(w, "u/T/clock", "timer 200"), 0);
    assert_int_equal(world_logged(w, "t/T/a"), 0);
    world_release(w, "t", "1", "", "");
    fake_await_note("t/T/a x", 1);
    await_stored(w, "t/T/a", 1);
    world_end(w);
}

static void one_whose_actor_cannot_start_waits_for_it(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "shared", "start throwif down");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note x} 100; schedules"), 1);
    fake_flag("down", true);
    w = world_crash(w);
    world_release(w, "t", "1", "shared", "start throwif down");
    isola_host_outbox_begin(world_host(w));
    world_await_logged(w, "could not start", 2);
    fake_flag("down", false);
    fake_await_note("t/T/a x", 1);
    await_stored(w, "t/T/a", 1);
    world_end(w);
}

static void one_without_its_state_waits_for_it(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {add 1; note x} 100; schedules"), 1);
    w = world_crash(w);
    world_release(w, "t", "1", "", "");
    world_fail_reads(w, 1, ISOLA_EUNREACHABLE);
    must_fail(w, world_ask(w, "t/T/a", "schedules"), ISOLA_EUNREACHABLE);
    must_fail(w, world_ask(w, "t/T/a", "schedule y {note y} 0"), ISOLA_EUNREACHABLE);
    must_fail(w, world_ask(w, "t/T/a", "cancel x"), ISOLA_EUNREACHABLE);
    isola_host_outbox_begin(world_host(w));
    must_reply(w, world_ask(w, "t/T/clock", "timer 200"), 0);
    assert_int_equal(fake_count_note("t/T/a x"), 0);
    (void)world_await(w, world_stop(w, "t/T/a"));
    fake_await_note("t/T/a x", 1);
    world_end(w);
}

/* Far more than are under way at once, or read at once. */
static void many_fire_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    char address[40];
    enum { N = 3000 };
    static uint64_t ids[N];
    world_release(w, "t", "1", "shared", "");
    for (int i = 0; i < N; i++) {
        snprintf(address, sizeof(address), "t/T/%d", i);
        ids[i] = world_ask(w, address, "schedule x {demit t/T/sink {add 1}} -50000; schedules");
    }
    for (int i = 0; i < N; i++)
        (void)world_await(w, ids[i]);
    w = world_crash(w);
    world_release(w, "t", "1", "shared", "");
    isola_host_outbox_begin(world_host(w));
    await_stored(w, "t/T/sink", N);
    world_end(w);
}

static void an_actor_has_so_many_and_no_more(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    char program[60];
    for (int i = 0; i < ISOLA_TIMERS_MAX; i++) {
        snprintf(program, sizeof(program), "schedule i%d {note x} 3600000", i);
        world_emit(w, "t/T/a", program);
        if (i % 500 == 499) /* its mailbox has a limit */
            (void)world_await(w, world_ask(w, "t/T/a", "schedules"));
    }
    must_reply(w, world_ask(w, "t/T/a", "schedules"), ISOLA_TIMERS_MAX);
    must_fail(w, world_ask(w, "t/T/a", "schedule one {note x} 3600000"), ISOLA_EOVERLOAD);
    must_reply(w, world_ask(w, "t/T/a", "schedule i7 {note x} 3600000; schedules"),
               ISOLA_TIMERS_MAX);
    must_reply(w, world_ask(w, "t/T/a", "cancel i7; schedule one {note x} 3600000; schedules"),
               ISOLA_TIMERS_MAX);
    world_end(w);
}

static void an_actor_that_lives_elsewhere_is_started_there(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "schedule x {note x} 100; schedules"), 1);
    world_place(w, "t/T/a", 1);
    isola_host_moved(world_host(w));
    struct isola_mail *m = world_take_forwarded(w);
    assert_int_equal(m->kind, ISOLA_MSG_START);
    assert_true(isola_slice_is(m->dst, "t/T/a"));
    isola_host_answer(world_host(w), isola_mail_answer(isola_mail_take_origin(m), true,
                                                       isola_slice("\x91\xc3", 2)));
    isola_mail_free(m);
    stays(w, "t/T/a x", 0);
    assert_int_equal(world_forwards(w), 0);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_once_and_is_gone),
        cmocka_unit_test(it_is_not_seen_before_it_is_on_disk),
        cmocka_unit_test(a_timer_is_replaced_and_cancelled),
        cmocka_unit_test(what_a_turn_that_crashed_has_set_or_cancelled_is_as_before),
        cmocka_unit_test(an_actor_that_hibernates_is_woken),
        cmocka_unit_test(an_interval_goes_on_from_its_start),
        cmocka_unit_test(a_cron_expression_goes_on_as_the_isolate_says),
        cmocka_unit_test(one_that_repeats_and_is_set_again_as_it_is_stays_as_it_is),
        cmocka_unit_test(one_that_repeats_and_is_set_otherwise_is_another),
        cmocka_unit_test(a_timer_may_change_itself),
        cmocka_unit_test(one_whose_turn_crashes_comes_again_and_changes_the_state_once),
        cmocka_unit_test(a_turn_that_is_saved_in_its_middle_is_not_over),
        cmocka_unit_test(after_three_crashes_in_a_row_it_is_given_up),
        cmocka_unit_test(a_write_that_fails_leaves_it_to_come_again),
        cmocka_unit_test(timers_of_before_fire_after_a_death),
        cmocka_unit_test(deaths_at_any_moment_change_nothing),
        cmocka_unit_test(one_whose_app_is_not_there_waits_for_it),
        cmocka_unit_test(one_whose_actor_cannot_start_waits_for_it),
        cmocka_unit_test(one_without_its_state_waits_for_it),
        cmocka_unit_test(many_fire_at_once),
        cmocka_unit_test(an_actor_has_so_many_and_no_more),
        cmocka_unit_test(an_actor_that_lives_elsewhere_is_started_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
