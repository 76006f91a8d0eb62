/* SPDX-License-Identifier: Apache-2.0
 *
 * The output gate, writes that fail, and crashes: nothing an actor causes is seen before the state
 * it was caused in is stored, and a crash takes back exactly what had not ended.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fake_world.h"

static void nothing_is_seen_before_it_is_stored(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    (void)world_sub(w, 2, "t/T/a", "x");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    must_reply(w, world_ask(w, "t/T/b", "add 0"), 0);
    world_hold_store(w, true);
    uint64_t changed = world_ask(w, "t/T/a", "add 1; emit t/T/b {note told}; pub x {get}; get");
    uint64_t asking = world_ask(w, "t/T/a", "add 1; ask t/T/b {note asked; echo 1}; get");
    world_await_held(w, 2); /* b's own state is not to be read or written: it does not change */
    uint64_t other = world_ask(w, "t/T/b", "note other; get");
    must_reply(w, other, 0); /* b has no write under way, so its answers leave */
    assert_int_equal(world_outcome(w, changed).kind, 0);
    assert_int_equal(world_outcome(w, asking).kind, 0);
    assert_int_equal(fake_count_note("t/T/b told"), 0);
    assert_int_equal(fake_count_note("t/T/b asked"), 0);
    assert_int_equal(world_events(w, 2), 0);
    assert_int_equal(world_stored(w, "t/T/a"), 1);
    world_hold_store(w, false);
    must_reply(w, changed, 2);
    must_reply(w, asking, 3);
    world_await_events(w, 2, 1);
    assert_int_equal(world_stored(w, "t/T/a"), 3);
    assert_string_equal(fake_note_at("t/T/b ", 1), "t/T/b told");
    assert_string_equal(fake_note_at("t/T/b ", 2), "t/T/b asked");
    world_end(w);
}

/* What does not change the state may not overtake what does. */
static void effects_leave_in_their_order(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    world_hold_store(w, true);
    uint64_t asks[6];
    for (int i = 0; i < 6; i++)
        asks[i] = world_ask(w, "t/T/a", i % 2 ? "get" : "add 1");
    world_await_held(w, 3);
    world_hold_store(w, false);
    unsigned last = 0;
    for (int i = 0; i < 6; i++) {
        must_reply(w, asks[i], 2 + i / 2);
        assert_true(world_outcome(w, asks[i]).order > last);
        last = world_outcome(w, asks[i]).order;
    }
    world_end(w);
}

/* Between actors of one host answers leave on the store's thread, whatever the actor does then. */
static void answers_do_not_wait_for_the_next_visit(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/b", "add 1"), 1);
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    world_hold_store(w, true);
    uint64_t asking = world_ask(w, "t/T/a", "ask t/T/b {add 1}; note answered");
    world_await_held(w, 1);
    world_emit(w, "t/T/b", "note busy; block gate");
    fake_await_note("t/T/b busy", 1);
    world_hold_store(w, false);
    fake_await_note("t/T/a answered", 1);
    fake_open("gate");
    (void)world_await(w, asking);
    must_reply(w, world_ask(w, "t/T/b", "get"), 2);
    world_end(w);
}

/* And go around nothing that waits for a visit. */
static void those_answers_keep_their_order(void **state)
{
    static const char *const programs[] = {
        "add 1", "get", "add 1", "add 1; emit t/T/c {note told}", "add 1", "pub x {get}"};
    (void)state;
    struct world *w = world_new(2);
    static const unsigned writes[] = {1, 1, 2, 3, 4, 4};
    char text[100], noted[100];
    world_release(w, "t", "1", "reentrant", "reentrant");
    must_reply(w, world_ask(w, "t/T/b", "add 1"), 1);
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    world_hold_store(w, true);
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof(text), "note asks; ask t/T/b {%s}; note %d", programs[i], i);
        world_emit(w, "t/T/a", text);
        fake_await_note("t/T/a asks", (unsigned)i + 1);
        must_reply(w, world_ask(w, "t/T/a", "get"), 0); /* the ask has left */
        world_await_held(w, writes[i]);
    }
    world_emit(w, "t/T/b", "note busy; block gate");
    fake_await_note("t/T/b busy", 1);
    world_hold_store(w, false);
    while (world_stored(w, "t/T/b") < 5)
        sched_yield();
    fake_open("gate");
    fake_await_note("t/T/a 5", 1);
    for (int i = 0; i < 6; i++) {
        snprintf(noted, sizeof(noted), "t/T/a %d", i);
        assert_string_equal(fake_note_at("t/T/a ", (unsigned)i + 6), noted);
    }
    fake_await_note("t/T/c told", 1);
    world_end(w);
}

static void a_write_that_fails_takes_back_what_it_stood_for(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    (void)world_sub(w, 2, "t/T/a", "x");
    must_reply(w, world_ask(w, "t/T/a", "add 5"), 5);
    world_fail_writes(w, 1);
    must_fail(w, world_ask(w, "t/T/a", "add 1; emit t/T/b {note told}; pub x {get}"), ISOLA_EIO);
    must_reply(w, world_ask(w, "t/T/a", "get"), 5);
    must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    assert_int_equal(fake_count_note("t/T/b told"), 0);
    assert_int_equal(world_events(w, 2), 0);
    assert_int_equal(world_stored(w, "t/T/a"), 5);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 6);
    world_end(w);
}

static void a_write_that_fails_ends_the_turn_that_runs(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_fail_writes(w, 1);
    must_fail(w, world_ask(w, "t/T/a", "add 1; ask t/T/b get; note never"), ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    assert_int_equal(fake_count_note("t/T/a never"), 0);
    world_end(w);
}

static void a_crash_takes_back_the_turns_that_had_not_ended(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 5"), 5);
    must_fail(w, world_ask(w, "t/T/a", "add 1; emit t/T/b {note told}; crash; echo 1"),
              ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", "get"), 5);
    world_emit(w, "t/T/a", "add 1; emit t/T/b {note told}; throw oh");
    world_await_logged(w, "crashed: oh", 1);
    must_reply(w, world_ask(w, "t/T/a", "get"), 5);
    must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    assert_int_equal(fake_count_note("t/T/b told"), 0);
    must_fail(w, world_ask(w, "t/T/a", "add 1; bad"),
              ISOLA_EFAILED); /* a state that cannot be stored */
    world_await_logged(w, "state.f is a function", 1);
    must_reply(w, world_ask(w, "t/T/a", "later 1 {add 1; throw late}; get"), 5);
    world_await_logged(w, "crashed: late", 1);
    must_reply(w, world_ask(w, "t/T/a", "get"), 5);
    world_end(w);
}

/* An error may be without any text; it is a crash all the same. */
static void a_crash_needs_no_words(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    world_emit(w, "t/T/a", "add 1; throw");
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    must_fail(w, world_ask(w, "t/T/a", "add 1; crash"), ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    world_end(w);
}

static void a_crash_ends_every_turn_of_a_reentrant_actor(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "reentrant shared", "reentrant");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    uint64_t one = world_ask(w, "t/T/a", "add 10; hold x");
    uint64_t two = world_ask(w, "t/T/a", "ask t/T/b {note asked; hold x}");
    fake_await_note("t/T/b asked",
                    1); /* the ask has left, so what was changed until then is stored */
    uint64_t three = world_ask(w, "t/T/a", "timer 10000");
    world_emit(w, "t/T/a", "throw oh");
    must_fail(w, one, ISOLA_EFAILED);
    must_fail(w, two, ISOLA_EFAILED);
    must_fail(w, three, ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", "get"), 11);
    must_reply(w, world_ask(w, "t/T/b", "open x; get"), 0);
    world_end(w);
}

/* What ended before the crash counts, though its write was still on its way. */
static void a_crash_does_not_take_back_turns_that_had_ended(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    world_hold_store(w, true);
    uint64_t ended = world_ask(w, "t/T/a", "add 1");
    world_await_held(w, 1);
    uint64_t crashed = world_ask(w, "t/T/a", "add 100; crash oh");
    must_fail(w, crashed, ISOLA_EFAILED);
    uint64_t after = world_ask(w, "t/T/a", "get");
    world_await_held(w, 2); /* the next activation's read */
    world_hold_store(w, false);
    must_reply(w, ended, 2);
    must_reply(w, after, 2);
    world_end(w);
}

/* Subscribing is an effect too: one that leaves after its subscriber has crashed must not stay for
 * ever. */
static void subscriptions_end_with_a_crash(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    world_hold_store(w, true);
    uint64_t subscribed = world_ask(w, "t/T/a", "add 1; sub t/T/b x");
    world_await_held(w, 1);
    must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
    world_hold_store(w, false);
    (void)world_await(w, subscribed);
    must_reply(w, world_ask(w, "t/T/a", "get"), 2);
    /* and one that was ended in the turn that crashed */
    must_reply(w, world_ask(w, "t/T/a", "sub t/T/b y; get"), 2);
    must_fail(w, world_ask(w, "t/T/a", "unsub; crash oh"), ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", "sub t/T/b y; get"), 2);
    world_fail_writes(w, 1);
    must_fail(w, world_ask(w, "t/T/a", "unsub; add 1"), ISOLA_EIO);
    world_end(w); /* finds no subscription left */
}

static void state_that_cannot_be_had_is_not_overwritten(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 5"), 5);
    must_reply(w, world_stop(w, "t/T/a"), true);
    world_fail_reads(w, 1, ISOLA_EUNREACHABLE); /* without saying why */
    must_fail(w, world_ask(w, "t/T/a", "add 1"), ISOLA_EUNREACHABLE);
    assert_string_equal(world_await(w, world_ask(w, "t/T/a", "echo yes")).text, "yes");
    must_reply(w, world_stop(w, "t/T/a"), true);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 6);
    must_reply(w, world_stop(w, "t/T/a"), true);
    world_fail_reads(w, 1, ISOLA_EIO);
    must_fail(w, world_ask(w, "t/T/a", "add 1"), ISOLA_EFAILED);
    assert_int_equal(world_stored(w, "t/T/a"), 6);
    world_end(w);
}

/* Wherever a script looks at it: in its start, in a turn of an ask, in one nobody waits for. */
static void who_has_no_state_says_so_by_its_code(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    const struct isola_host_type types[] = {world_type("Start", "", "start add 1"),
                                            world_type("T", "reentrant", "reentrant"),
                                            world_type("Other", "", "start throw oh")};
    world_release_types(w, "t", "1", 3, types);

    world_fail_reads(w, 2, ISOLA_EUNREACHABLE);
    uint64_t first = world_ask(w, "t/Start/a", "get");
    struct outcome o = world_await(w, first);
    assert_int_equal(o.code, ISOLA_EUNREACHABLE);
    assert_non_null(strstr(o.text, "its state cannot be had now"));
    must_fail(w, world_ask(w, "t/Start/a", "get"),
              ISOLA_EUNREACHABLE); /* before it is tried again */
    must_reply(w, world_stop(w, "t/Start/a"), true);
    world_fail_reads(w, 0, 0);
    must_reply(w, world_ask(w, "t/Start/a", "get"), 1);

    world_fail_reads(w, 1, ISOLA_EUNREACHABLE);
    uint64_t waits = world_ask(w, "t/T/b", "hold never");
    world_emit(w, "t/T/b", "add 1");
    must_fail(w, waits, ISOLA_EUNREACHABLE); /* the emit has crashed it */

    world_fail_reads(w, 1, ISOLA_EUNREACHABLE);
    must_fail(w, world_ask(w, "t/Other/c", "get"), ISOLA_EFAILED); /* not for that */
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_no_state_says_so_by_its_code),
        cmocka_unit_test(nothing_is_seen_before_it_is_stored),
        cmocka_unit_test(effects_leave_in_their_order),
        cmocka_unit_test(answers_do_not_wait_for_the_next_visit),
        cmocka_unit_test(those_answers_keep_their_order),
        cmocka_unit_test(a_write_that_fails_takes_back_what_it_stood_for),
        cmocka_unit_test(a_write_that_fails_ends_the_turn_that_runs),
        cmocka_unit_test(a_crash_takes_back_the_turns_that_had_not_ended),
        cmocka_unit_test(a_crash_needs_no_words),
        cmocka_unit_test(a_crash_ends_every_turn_of_a_reentrant_actor),
        cmocka_unit_test(a_crash_does_not_take_back_turns_that_had_ended),
        cmocka_unit_test(subscriptions_end_with_a_crash),
        cmocka_unit_test(state_that_cannot_be_had_is_not_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
