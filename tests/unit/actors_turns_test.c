/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages and turns: their order, one at a time, reentrancy, deadlocks, time-outs, the mailbox's
 * bound, timers, tasks of V8, events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fake_world.h"

static void an_ask_is_answered(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 5"), 5);
    must_reply(w, world_ask(w, "t/T/a", "add 2; get"), 7);
    assert_string_equal(world_await(w, world_ask(w, "t/T/a", "echo hello")).text, "hello");
    struct outcome o = world_await(w, world_ask(w, "t/T/a", "throw no"));
    assert_int_equal(o.code, ISOLA_ESCRIPT);
    assert_string_equal(o.text, "no");
    must_reply(w, world_ask(w, "t/T/a", "get"), 7); /* it lives on */
    assert_int_equal(world_stored(w, "t/T/a"), 7);
    world_end(w);
}

static void what_cannot_be_delivered_is_refused(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    must_fail(w, world_ask(w, "u/T/a", "get"), ISOLA_ENOACTOR);
    must_fail(w, world_ask(w, "t/U/a", "get"), ISOLA_ENOACTOR);
    must_fail(w, world_ask(w, "t/T", "get"), ISOLA_EINVAL);
    must_reply(w, world_stop(w, "t/T/a"), false);
    must_fail(w, world_sub(w, 1, "u/T/a", "x"), ISOLA_ENOACTOR);
    must_fail(w, world_ask(w, "t/T/a", "ask u/T/a get"), ISOLA_ENOACTOR);
    must_fail(w, world_ask(w, "t/T/a", "ask nowhere get"), ISOLA_EINVAL);
    world_end(w);
}

static void mail_of_a_pair_keeps_its_order(void **state)
{
    (void)state;
    struct world *w = world_new(3);
    char program[64];
    world_release(w, "t", "1", "", "");
    world_release(w, "s", "1", "shared", "");
    for (int i = 0; i < 1000; i++) { /* more than a visit takes */
        snprintf(program, sizeof(program), "note n%d", i);
        world_emit(w, "t/T/a", program);
        snprintf(program, sizeof(program), "emit s/T/b {note n%d}", i);
        world_emit(w, "t/T/c", program);
    }
    fake_await_note("t/T/a n999", 1);
    fake_await_note("s/T/b n999", 1);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(program, sizeof(program), "t/T/a n%u", i);
        assert_string_equal(fake_note_at("t/T/a ", i), program);
        snprintf(program, sizeof(program), "s/T/b n%u", i);
        assert_string_equal(fake_note_at("s/T/b ", i), program);
    }
    world_end(w);
}

static void turns_come_one_at_a_time(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "shared", "");
    uint64_t first =
        world_ask(w, "t/T/a", "note begin; ask t/T/b {note held; hold x; add 5}; note end; add 1");
    uint64_t next = world_ask(w, "t/T/a", "note next; add 1");
    fake_await_note("t/T/b held", 1);
    must_reply(w, world_ask(w, "t/T/c", "get"), 0); /* others are not held up */
    assert_int_equal(fake_count_note("t/T/a next"), 0);
    assert_int_equal(world_outcome(w, first).kind, 0);
    must_reply(w, world_ask(w, "t/T/c", "open x; get"), 0);
    must_reply(w, first, 1);
    must_reply(w, next, 2);
    assert_string_equal(fake_note_at("t/T/a ", 1), "t/T/a end");
    assert_string_equal(fake_note_at("t/T/a ", 2), "t/T/a next");
    world_end(w);
}

static void a_reentrant_actor_lets_others_in(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "reentrant", "reentrant");
    uint64_t held = world_ask(w, "t/T/a", "add 1; note held; hold x; get");
    fake_await_note("t/T/a held", 1);
    must_reply(w, world_ask(w, "t/T/a", "add 10"), 11);
    assert_int_equal(world_outcome(w, held).kind, 0);
    must_reply(w, world_ask(w, "t/T/a", "open x; add 100"), 111);
    must_reply(w, held, 111);
    must_reply(w, world_ask(w, "t/T/a", "ask t/T/a {add 1}"), 112); /* itself, too */
    world_end(w);
}

static void a_call_that_waits_for_itself_fails_at_once(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct isola_host_type types[] = {
        world_type("T", "", ""), world_type("R", "reentrant", "reentrant"),
        world_type("S", "", "start tryask t/T/b {ask t/S/s get}; add 0"),
        world_type("H", "", "stop tryask t/T/b {tryask t/H/h {get}; note saw}")};
    world_release_types(w, "t", "1", 4, types);
    must_fail(w, world_ask(w, "t/T/a", "ask t/T/a get"), ISOLA_EDEADLOCK);
    must_fail(w, world_ask(w, "t/T/a", "ask t/T/b {ask t/T/a get}"), ISOLA_EDEADLOCK);
    must_fail(w, world_ask(w, "t/T/a", "ask t/T/b {ask t/T/c {ask t/T/d {ask t/T/b get}}}"),
              ISOLA_EDEADLOCK);
    must_reply(w, world_ask(w, "t/T/a", "ask t/T/b {emit t/T/a get; echo 1; add 3}"), 3);
    /* through one that is reentrant: the first still waits */
    must_fail(w, world_ask(w, "t/T/a", "ask t/R/r {ask t/T/a get}"), ISOLA_EDEADLOCK);
    /* from a start and from a last turn, for which mail waits as well */
    must_reply(w, world_ask(w, "t/S/s", "get"), 0);
    must_reply(w, world_ask(w, "t/H/h", "get"), 0);
    must_reply(w, world_stop(w, "t/H/h"), true);
    fake_await_note("t/T/b saw", 1);
    world_end(w);
}

static void an_ask_times_out(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "reentrant", "reentrant");
    uint64_t asked = world_ask(w, "t/T/a", "ask t/T/b {add 1; hold x; note late; get} 20");
    must_fail(w, asked, ISOLA_ETIMEDOUT);
    must_reply(w, world_ask(w, "t/T/a", "tryask t/T/b {hold x} 1"), ISOLA_ETIMEDOUT);
    must_reply(w, world_ask(w, "t/T/b", "open x; get"), 1);
    fake_await_note("t/T/b late", 1); /* the answer comes to nobody, and hurts nobody */
    must_reply(w, world_ask(w, "t/T/a", "add 4"), 4);
    world_end(w);
}

/* Realms that were visited by the thread that is held now are taken by the other one. */
static void a_thread_that_is_held_holds_nobody_else(void **state)
{
    (void)state;
    char address[32];
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    for (int i = 0; i < 32; i++) {
        snprintf(address, sizeof(address), "t/T/%d", i);
        must_reply(w, world_ask(w, address, "add 1"), 1);
    }
    uint64_t held = world_ask(w, "t/T/0", "note held; block go; get");
    fake_await_note("t/T/0 held", 1);
    for (int i = 1; i < 32; i++) {
        snprintf(address, sizeof(address), "t/T/%d", i);
        must_reply(w, world_ask(w, address, "add 1"), 2);
    }
    fake_open("go");
    must_reply(w, held, 1);
    world_end(w);
}

static void the_mailbox_is_bounded(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct isola_host_type types[] = {world_type("T", "", ""), world_type("M", "small", "")};
    world_release_types(w, "t", "1", 2, types);
    uint64_t held = world_ask(w, "t/M/m", "note in; block go; add 1");
    fake_await_note("t/M/m in", 1);
    uint64_t asks[4];
    for (int i = 0; i < 4; i++)
        asks[i] = world_ask(w, "t/M/m", "add 1");
    must_fail(w, world_ask(w, "t/M/m", "add 1"), ISOLA_EOVERLOAD);
    world_emit(w, "t/M/m", "add 100");
    world_await_logged(w, "was dropped: the mailbox of t/M/m is full (limit \"mailbox\")", 1);
    fake_open("go");
    must_reply(w, held, 1);
    for (int i = 0; i < 4; i++)
        must_reply(w, asks[i], i + 2);
    must_reply(w, world_ask(w, "t/M/m", "get"), 5);
    world_end(w);
}

static void an_emit_tells_of_congestion(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct isola_host_type types[] = {
        world_type("T", "", ""), world_type("M", "small reentrant", "reentrant\nstart hold s")};
    world_release_types(w, "t", "1", 2, types);
    must_reply(w, world_ask(w, "t/T/a", "emit t/M/m {add 1}"), 1);
    for (int i = 0; i < 3; i++)
        world_emit(w, "t/M/m", "add 1");
    must_reply(w, world_ask(w, "t/T/a", "emit t/M/m {add 1}"), 0); /* and it is dropped */
    world_await_logged(w, "the mailbox of t/M/m is full", 1);
    world_end(w);
}

static void timers_and_tasks_continue_turns(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "shared", "");
    must_reply(w, world_ask(w, "t/T/a", "timer 5; add 1"), 1);
    must_reply(w, world_ask(w, "t/T/a", "task; add 1"), 2);
    must_reply(w, world_ask(w, "t/T/a", "task 5; add 1"), 3);
    must_reply(
        w, world_ask(w, "t/T/a", "later 5 {add 10; note later; emit t/T/b {add 7; note b}}; get"),
        3);
    fake_await_note("t/T/a later", 1);
    fake_await_note("t/T/b b", 1);
    must_reply(w, world_ask(w, "t/T/a", "get"), 13);
    must_reply(w, world_stop(w, "t/T/a"), true);
    assert_int_equal(world_stored(w, "t/T/a"), 13); /* what a timer changed is saved as well */
    world_end(w);
}

/* Tasks that V8's threads post while the isolate is visited by its worker. */
static void tasks_come_from_any_thread_at_any_time(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    char address[32];
    uint64_t asks[200];
    world_release(w, "t", "1", "shared", "");
    for (int i = 0; i < 200; i++) {
        snprintf(address, sizeof(address), "t/T/%d", i % 20);
        asks[i] = world_ask(
            w, address, i % 2 ? "task; add 1; task 1; get" : "task 1; task; add 1; task 2; get");
    }
    for (int i = 0; i < 200; i++)
        must_reply(w, asks[i], i / 20 + 1);
    world_end(w);
}

static void events_reach_their_subscribers(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    uint64_t sub = world_sub(w, 2, "t/T/a", "x");
    (void)world_sub(w, 3, "t/T/a", "x");
    must_reply(w, world_ask(w, "t/T/b", "sub t/T/a x; add 0"), 0);
    must_reply(w, world_ask(w, "t/T/a", "pub x {add 1; note heard}; add 1"), 1);
    fake_await_note("t/T/b heard", 1);
    world_await_events(w, 2, 1);
    world_await_events(w, 3, 1);
    must_reply(w, world_ask(w, "t/T/b", "unsub; get"), 1);
    world_unsub(w, 2, sub, "t/T/a", "x");
    must_reply(w, world_ask(w, "t/T/a", "pub x {add 1; note heard}; add 1"), 2);
    world_await_events(w, 3, 2);
    assert_int_equal(world_events(w, 2), 1);
    isola_host_drop_link(world_host(w), 3);
    must_reply(w, world_ask(w, "t/T/a", "pub x {add 1; note heard}; add 1"), 3);
    must_reply(w, world_ask(w, "t/T/b", "get"), 1);
    assert_int_equal(world_events(w, 3), 2);
    assert_int_equal(fake_count_note("t/T/b heard"), 1);
    /* a subscription ends with the subscriber's activation */
    must_reply(w, world_ask(w, "t/T/b", "sub t/T/a y; sub t/T/a x; add 0"), 1);
    must_reply(w, world_stop(w, "t/T/b"), true);
    must_reply(w, world_ask(w, "t/T/a", "pub y {note heard}; pub x {note heard}; add 1"), 4);
    must_reply(w, world_ask(w, "t/T/b", "get"), 1);
    assert_int_equal(fake_count_note("t/T/b heard"), 1);
    world_end(w);
}

static void a_dropped_link_loses_all_its_subscriptions(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    char event[16];
    world_release(w, "t", "1", "", "");
    for (int i = 0; i < 100; i++) {
        snprintf(event, sizeof(event), "e%d", i);
        (void)world_sub(w, 2 + (uint64_t)(i % 2), "t/T/a", event);
    }
    isola_host_drop_link(world_host(w), 2);
    char program[2048] = "";
    for (int i = 0; i < 100; i++)
        snprintf(program + strlen(program), sizeof(program) - strlen(program), "pub e%d {get};", i);
    (void)world_await(w, world_ask(w, "t/T/a", program));
    world_await_events(w, 3, 50);
    assert_int_equal(world_events(w, 2), 0);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ask_is_answered),
        cmocka_unit_test(what_cannot_be_delivered_is_refused),
        cmocka_unit_test(mail_of_a_pair_keeps_its_order),
        cmocka_unit_test(turns_come_one_at_a_time),
        cmocka_unit_test(a_reentrant_actor_lets_others_in),
        cmocka_unit_test(a_call_that_waits_for_itself_fails_at_once),
        cmocka_unit_test(an_ask_times_out),
        cmocka_unit_test(a_thread_that_is_held_holds_nobody_else),
        cmocka_unit_test(the_mailbox_is_bounded),
        cmocka_unit_test(an_emit_tells_of_congestion),
        cmocka_unit_test(timers_and_tasks_continue_turns),
        cmocka_unit_test(tasks_come_from_any_thread_at_any_time),
        cmocka_unit_test(events_reach_their_subscribers),
        cmocka_unit_test(a_dropped_link_loses_all_its_subscriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
