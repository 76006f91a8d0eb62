/* SPDX-License-Identifier: Apache-2.0
 *
 * How activations begin and end: starts that fail, STOP, new releases, actors that move to another
 * node, drain.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host_own.h"
#include "actors/limits.h"
#include "base/clock.h"
#include "base/hash.h"
#include "fake_world.h"

/* Asks until it is let in again: after a failed start there is a pause. */
static void comes_back(struct world *w, const char *address, int64_t value)
{
    uint64_t deadline = fake_deadline();
    world_release(w, "clock", "1", "", "");
    struct outcome o = world_await(w, world_ask(w, address, "get"));
    while (o.kind == ISOLA_MSG_FAIL && isola_clock_ms() < deadline) {
        must_reply(w, world_ask(w, "clock/T/c", "timer 50; get"), 0);
        o = world_await(w, world_ask(w, address, "get"));
    }
    assert_int_equal(o.kind, ISOLA_MSG_REPLY);
    assert_int_equal(o.value, value);
}

static void a_module_that_fails_is_tried_again(void **state)
{
    (void)state;
    static const char *const options[] = {"", "shared"};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        fake_flag("broken", true);
        world_release(w, "t", "1", options[i], "load failif broken");
        struct outcome o = world_await(w, world_ask(w, "t/T/a", "get"));
        assert_int_equal(o.code, ISOLA_EFAILED);
        assert_string_equal(o.text, "t/T/a could not start: it does not parse");
        assert_string_equal(world_state(w, "t/T/a"), "failed");
        fake_flag("broken", false);
        comes_back(w, "t/T/a", 0);
        world_end(w);
    }
}

static void a_start_that_fails_is_tried_again(void **state)
{
    (void)state;
    static const char *const starts[] = {"start throwif broken", "start timer 1; throwif broken",
                                         "start tryask t/T/none {get} 1; add 1; throwif broken"};
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(2);
        fake_flag("broken", true);
        world_release(w, "t", "1", "shared", starts[i]);
        uint64_t first = world_ask(w, "t/T/a", "get"), second = world_ask(w, "t/T/a", "get");
        must_fail(w, first, ISOLA_EFAILED);
        must_fail(w, second, ISOLA_EFAILED);
        fake_flag("broken", false);
        if (i < 2)
            comes_back(w, "t/T/a", 0);
        world_end(w);
    }
}

/* What crashes while it starts has failed to start: not to be tried again and again without a
 * pause. */
static void a_crash_while_it_starts_is_a_failed_start(void **state)
{
    (void)state;
    static const char *const starts[] = {"start crash oh", "start crash oh; hold never",
                                         "start later 1 {throw oh}; hold never"};
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(2);
        world_release(w, "t", "1", i == 1 ? "shared" : "", starts[i]);
        struct outcome o = world_await(w, world_ask(w, "t/T/a", "get"));
        assert_int_equal(o.code, ISOLA_EFAILED);
        assert_string_equal(o.text, "t/T/a could not start: oh");
        assert_string_equal(world_state(w, "t/T/a"), "failed");
        world_end(w);
    }
}

static void an_isolate_that_cannot_be_made_is_tried_again(void **state)
{
    (void)state;
    static const char *const options[] = {"", "shared"};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        world_release(w, "t", "1", options[i], "");
        fake_fail_opens(1);
        must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
        comes_back(w, "t/T/a", 0);
        world_end(w);
    }
}

static void a_pause_follows_a_failed_start(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "start throw oh");
    unsigned before = fake_activations();
    for (int i = 0; i < 200; i++)
        must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
    assert_in_range(fake_activations() - before, 1, 10); /* 100 ms, 200, 400 … */
    world_end(w);
}

static void modules_may_load_later(void **state)
{
    (void)state;
    static const char *const options[] = {"", "shared"};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        uint64_t asks[20];
        world_release(w, "t", "1", options[i], "load later\nstart task; add 1");
        for (int n = 0; n < 20; n++)
            asks[n] = world_ask(w, n % 2 ? "t/T/a" : "t/T/b", "add 1");
        for (int n = 0; n < 20; n++)
            must_reply(w, asks[n], 2 + n / 2);
        assert_int_equal(world_stored(w, "t/T/a"), 11); /* with what the start did */
        world_end(w);
    }
}

static void a_stop_comes_after_what_was_sent_before(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "stop add 100; emit t/T/b {note stopped}");
    must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    uint64_t one = world_ask(w, "t/T/a", "add 1; note in; block go; get");
    fake_await_note("t/T/a in", 1);
    uint64_t two = world_ask(w, "t/T/a", "timer 1; add 1");
    uint64_t stop = world_stop(w, "t/T/a");
    uint64_t again = world_stop(w, "t/T/a");
    uint64_t three = world_ask(w, "t/T/a", "add 1");
    fake_open("go");
    must_reply(w, one, 1);
    must_reply(w, two, 2);
    must_reply(w, stop, true);
    must_reply(w, again, true);
    must_reply(w, three, 103);
    fake_await_note("t/T/b stopped", 1);
    must_reply(w, world_stop(w, "t/T/a"), true);
    must_reply(w, world_stop(w, "t/T/a"), false);
    assert_int_equal(world_live(w), 1);
    world_end(w);
}

static void a_stop_waits_for_the_store(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    world_hold_store(w, true);
    uint64_t add = world_ask(w, "t/T/a", "add 1"), stop = world_stop(w, "t/T/a");
    world_await_held(w, 1);
    must_reply(w, world_ask(w, "t/T/b", "get"), 0); /* the worker is not held up */
    assert_int_equal(world_outcome(w, stop).kind, 0);
    world_hold_store(w, false);
    must_reply(w, stop, true);
    assert_int_equal(world_outcome(w, add).order + 1, world_outcome(w, stop).order);
    world_end(w);
}

static void a_stop_whose_last_turn_crashes_fails(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "stop add 1; throw oh");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    must_fail(w, world_stop(w, "t/T/a"), ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", "get"), 1);
    must_fail(w, world_stop(w, "t/T/a"), ISOLA_EFAILED);
    world_end(w);
}

/* It is told to stop when it is not there any more, but what it did before is on its way to disk.
 */
static void a_stop_behind_a_crash_waits_for_the_store(void **state)
{
    (void)state;
    static const char *const options[] = {"", "shared"};
    for (int i = 0; i < 4; i++) {
        struct world *w = world_new(1);
        world_release(w, "t", "1", options[i % 2], "");
        world_release(w, "clock", "1", "", "");
        must_reply(w, world_ask(w, "clock/T/c", "get"), 0);
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        world_hold_store(w, true);
        uint64_t add = world_ask(w, "t/T/a", "add 1");
        world_await_held(w, 1);
        uint64_t crash = world_ask(w, "t/T/a", "note in; block go; crash oh");
        fake_await_note("t/T/a in", 1);
        uint64_t stop = world_stop(w, "t/T/a");
        fake_open("go");
        must_fail(w, crash, ISOLA_EFAILED);
        if (i >= 2) /* a new release, while it waits for the store */
            world_release(w, "t", "2", options[i % 2], "");
        must_reply(w, world_ask(w, "clock/T/c", "timer 5; echo 1"), 0);
        uint64_t again = world_stop(w, "t/T/a");
        uint64_t after = world_ask(w, "t/T/a", "get");
        must_reply(w, world_ask(w, "clock/T/c", "timer 5; echo 1"), 0);
        world_hold_store(w, false);
        must_reply(w, stop, true);
        must_reply(w, again, true);
        must_reply(w, after, 1);
        must_reply(w, add, 1);
        world_end(w);
    }
}

/* --- releases --- */

static void a_release_replaces_the_one_before_between_turns(void **state)
{
    (void)state;
    static const char *const options[] = {"", "shared"};
    for (int i = 0; i < 4; i++) {
        struct world *w = world_new(2);
        world_release(w, "t", "1", options[i / 2], "start note one");
        uint64_t held = world_ask(w, "t/T/a", "add 1; note in; timer 1; block go; get");
        fake_await_note("t/T/a in", 1);
        uint64_t waits[50];
        for (int n = 0; n < 25; n++)
            waits[n] = world_ask(w, "t/T/a", "add 1");
        world_release(w, "t", "2", options[i % 2], "start note two");
        for (int n = 25; n < 50; n++)
            waits[n] = world_ask(w, "t/T/a", "add 1");
        fake_open("go");
        must_reply(w, held, 1);
        for (int n = 0; n < 50; n++)
            must_reply(w, waits[n], n + 2);
        assert_int_equal(fake_count_note("t/T/a one"), 1);
        assert_int_equal(fake_count_note("t/T/a two"), 1);
        fake_await_isolates(1); /* the old one goes, shared or not */
        world_end(w);
    }
}

/* Realms that many share go when the last one has left, but not under those that have still to
 * start in them. */
static void an_old_shared_realm_goes_when_all_have_left(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "shared", "start throwif broken\nstop note stopping; block go");
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    fake_flag("broken", true);
    must_fail(w, world_ask(w, "t/T/failed", "get"), ISOLA_EFAILED);
    fake_flag("broken", false);
    uint64_t stop = world_stop(w, "t/T/a");
    fake_await_note("t/T/a stopping", 1);
    uint64_t failed = world_ask(w, "t/T/failed", "get"), fresh = world_ask(w, "t/T/fresh", "get");
    world_release(w, "t", "2", "shared", "start note two");
    fake_open("go");
    must_reply(w, stop, true);
    must_reply(w, fresh, 0);
    (void)world_await(w, failed); /* answered, one way or the other */
    must_reply(w, world_ask(w, "t/T/failed", "get"), 0);
    fake_await_isolates(1);
    /* and one that is empty when the release changes */
    must_reply(w, world_stop(w, "t/T/fresh"), true);
    must_reply(w, world_stop(w, "t/T/failed"), true);
    fake_await_isolates(1);
    world_release(w, "t", "3", "shared", "");
    fake_await_isolates(0);
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    world_end(w);
}

static void a_start_that_never_ends_is_replaced(void **state)
{
    (void)state;
    static const char *const codes[] = {"load never", "start hold never",
                                        "start add 5; ask u/T/b {get}"};
    for (int i = 0; i < 6; i++) {
        struct world *w = world_new(2);
        world_release(w, "u", "1", "", "load never");
        world_release(w, "t", "1", i < 3 ? "shared" : "", codes[i % 3]);
        uint64_t ask = world_ask(w, "t/T/a", "add 1");
        must_reply(w, world_stop(w, "t/T/nobody"), false);
        world_release(w, "t", "2", "", "");
        must_reply(w, ask, 1);
        world_end(w);
    }
}

/* A release that mends a start which fails is used by those that have failed. */
static void a_failed_actor_starts_under_the_new_release(void **state)
{
    (void)state;
    static const char *const options[] = {"", "shared"};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(1);
        world_release(w, "t", "1", options[i], "start note in; block go; throw oh");
        uint64_t failing = world_ask(w, "t/T/a", "get");
        fake_await_note("t/T/a in", 1);
        world_release(w, "t", "2", options[i], "start note two"); /* comes as it is starting */
        fake_open("go");
        (void)world_await(w, failing);
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        assert_int_equal(fake_count_note("t/T/a two"), 1);
        world_end(w);
    }
}

static void a_type_that_is_gone_answers_what_waits(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    uint64_t held = world_ask(w, "t/T/a", "note in; block go; get");
    fake_await_note("t/T/a in", 1);
    world_release_types(w, "t", "2", 0, NULL);
    must_fail(w, world_ask(w, "t/T/b", "get"), ISOLA_ENOACTOR);
    uint64_t waits = world_ask(w, "t/T/a", "get");
    fake_open("go");
    must_reply(w, held, 0);
    must_fail(w, waits, ISOLA_ENOACTOR);
    world_end(w);
}

/* --- moves --- */

static void what_waits_follows_an_actor_that_moves(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    char program[32];
    world_release(w, "t", "1", "", "");
    uint64_t held = world_ask(w, "t/T/a", "add 1; note in; block go; get");
    fake_await_note("t/T/a in", 1);
    for (int i = 0; i < 10; i++) {
        snprintf(program, sizeof(program), "add %d", i);
        (void)world_ask(w, "t/T/a", program);
    }
    world_place(w, "t/T/a", 2);
    isola_host_moved(world_host(w));
    /* the new place asks for the state: the activation is to end here, not there */
    struct isola_slice none = {0};
    struct isola_mail *claim =
        isola_mail_new(ISOLA_MSG_STOP, none, isola_slice_str("t/T/a"), none, none, none);
    uint64_t claimed = world_number(w);
    claim->origin.link = 1;
    claim->origin.id = claimed;
    isola_host_stop(world_host(w), claim);
    (void)world_ask(w, "t/T/a", "add 10"); /* goes there at once: it may overtake those that wait */
    fake_open("go");
    must_reply(w, held, 1);
    must_reply(w, claimed, true);
    world_await_forwarded(w, 11);
    unsigned n = 0;
    for (unsigned i = 0; i < 11; i++) {
        const struct isola_mail *m = world_forwarded(w, i);
        assert_int_equal(m->kind, ISOLA_MSG_ASK);
        snprintf(program, sizeof(program), "add %u", n);
        if (memcmp(m->args.data + 2, program, 5) == 0 && m->args.len == 7)
            n++;
    }
    assert_int_equal(n, 10); /* those that waited in their order */
    assert_int_equal(world_live(w), 0);
    world_end(w);
}

/* As for a newer release; the answer: was there one to end? */
static uint64_t end_activation(struct world *w, const char *address)
{
    struct isola_slice none = {0};
    struct isola_mail *end =
        isola_mail_new(ISOLA_MAIL_UPGRADE, none, isola_slice_str(address), none, none, none);
    uint64_t id = world_number(w);
    end->origin.link = 1;
    end->origin.id = id;
    isola_host_stop(world_host(w), end);
    return id;
}

static void it_is_told_when_an_activation_has_ended(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        world_release(w, "t", "1", i == 0 ? "" : "shared", "start note start");
        must_reply(w, end_activation(w, "t/T/a"), false);
        uint64_t held = world_ask(w, "t/T/a", "add 1; note in; block go; get");
        fake_await_note("t/T/a in", 1);
        uint64_t waits = world_ask(w, "t/T/a", "add 1; get");
        uint64_t first = end_activation(w, "t/T/a"), second = end_activation(w, "t/T/a");
        fake_open("go");
        must_reply(w, held, 1);
        must_reply(w, first, true);
        must_reply(w, second, true);
        must_reply(w, waits, 2); /* of the next one */
        fake_await_note("t/T/a start", 2);
        must_reply(w, end_activation(w, "t/T/a"), true);
        must_reply(w, world_ask(w, "t/T/a", "get"), 2);
        fake_await_note("t/T/a start", 3);
        world_end(w);
    }
}

static void one_that_has_failed_starts_again_when_it_is_ended(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct isola_host_type type = world_type("T", "", "");
    type.life = (struct isola_host_life){.restarts = 0, .within_ms = 60000};
    world_release_types(w, "t", "1", 1, &type);
    must_reply(w, world_ask(w, "t/T/a", "add 1; get"), 1);
    must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
    must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
    must_reply(w, end_activation(w, "t/T/a"), true);
    must_reply(w, world_ask(w, "t/T/a", "get"), 1);
    world_end(w);
}

static void subscriptions_follow_an_actor_that_moves(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    for (int i = 0; i < 30; i++) {
        char event[16];
        snprintf(event, sizeof(event), "e%d", i);
        (void)world_sub(w, 2, i % 2 ? "t/T/a" : "t/T/b", event);
    }
    must_reply(w, world_ask(w, "t/T/c", "sub t/T/a x; get"), 0);
    world_place(w, "t/T/a", 2);
    isola_host_moved(world_host(w));
    world_await_forwarded(w, 16);
    assert_int_equal(world_forwards(w), 16);
    for (unsigned i = 0; i < 16; i++) {
        const struct isola_mail *m = world_forwarded(w, i);
        assert_int_equal(m->kind, ISOLA_MSG_SUB);
        assert_true(isola_slice_is(m->dst, "t/T/a"));
    }
    must_reply(w, world_stop(w, "t/T/c"), true);
    world_await_forwarded(w, 17);
    assert_int_equal(world_forwarded(w, 16)->kind, ISOLA_MSG_UNSUB);
    world_end(w);
}

/* From another node, which saw t/T/a here. */
static uint64_t pass_on(struct world *w, const char *event, bool final)
{
    struct isola_slice none = {0};
    struct isola_mail *m = isola_mail_new(ISOLA_MSG_ASK, none, isola_slice_str("t/T/a"),
                                          isola_slice_str(event), none, none);
    uint64_t id = world_number(w);
    m->passed_on = true;
    m->final = final;
    m->origin.link = 1;
    m->origin.id = id;
    isola_host_post(world_host(w), m);
    return id;
}

static void a_message_is_passed_on_once(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/a", 2);
    must_fail(w, pass_on(w, "run", true), ISOLA_EUNREACHABLE);
    assert_int_equal(world_forwards(w), 0);
    uint64_t id = pass_on(w, "run", false);
    struct isola_mail *m = world_take_forwarded(w);
    assert_true(m->final);
    assert_int_equal(m->origin.id, id);
    isola_mail_free(m);
    world_place(w, "t/T/a", ISOLA_EUNREACHABLE);
    must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EUNREACHABLE);
    world_end(w);
}

/* --- drain --- */

static void a_drain_ends_what_runs_and_refuses_what_waits(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    uint64_t held = world_ask(w, "t/T/a", "add 1; note in; block go; get");
    fake_await_note("t/T/a in", 1);
    uint64_t waits = world_ask(w, "t/T/a", "add 1");
    isola_host_drain(world_host(w));
    must_fail(w, world_ask(w, "t/T/a", "add 1"), ISOLA_EUNREACHABLE);
    must_fail(w, world_ask(w, "t/T/b", "add 1"), ISOLA_EUNREACHABLE);
    assert_false(world_drained(w));
    world_hold_store(w, true);
    fake_open("go");
    world_await_held(w, 1);
    assert_false(world_drained(w)); /* the turn has ended, its state is not saved */
    world_hold_store(w, false);
    world_await_drained(w);
    assert_int_equal(world_outcome(w, held).value, 2); /* all answered by then */
    assert_int_equal(world_outcome(w, waits).code, ISOLA_EUNREACHABLE);
    assert_int_equal(world_stored(w, "t/T/a"), 2);
}

static void a_drain_of_an_idle_host_ends(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    isola_host_drain(world_host(w));
    world_await_drained(w);
}

/* Drained means that what waited was told, however the drain and its answer race. */
static void a_drain_ends_after_its_refusals(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        struct world *w = world_new(2);
        world_release(w, "t", "1", "", "load never");
        uint64_t asks[10];
        for (int i = 0; i < 10; i++)
            asks[i] = world_ask(w, i % 2 ? "t/T/a" : "t/T/b", "get");
        isola_host_drain(world_host(w));
        world_await_drained(w);
        for (int i = 0; i < 10; i++)
            assert_int_equal(world_outcome(w, asks[i]).code, ISOLA_EUNREACHABLE);
    }
}

static void ignore(void *arg, int code, const char *why)
{
    (void)arg;
    (void)code;
    (void)why;
}

/* Nor does it before the realms are closed that are to be. */
static void a_drain_ends_when_realms_are_closed(void **state)
{
    (void)state;
    enum { REALMS = 20000 };
    struct world *w = world_new(1);
    struct isola_host *h = world_host(w);
    struct isola_host_type type = world_type("T", "", "load deaf closing");
    struct isola_realm **realms = isola_zalloc(REALMS * sizeof(*realms));
    world_release(w, "t", "1", "", "");
    const struct isola_type *t = isola__type_find(
        h, &(struct isola_address){.app = isola_slice_str("t"), .type = isola_slice_str("T")},
        false, NULL);
    assert_non_null(t);
    isola_host_check(
        h, &(struct isola_host_release){.app = "t", .id = "2", .ntypes = 1, .types = &type}, 20000,
        ignore, NULL);
    fake_await_isolates(1); /* it has the worker until the name is opened */
    for (int i = 0; i < REALMS; i++) {
        realms[i] = isola__realm_new(h, &h->workers[0], t->release, false, isola__limits_of(t));
        isola__realm_close(realms[i]);
        isola__realm_close(realms[i]); /* which is nothing new */
    }
    isola_host_drain(h);
    fake_open("closing");
    world_await_drained(w);
    assert_int_equal(atomic_load(&realms[REALMS - 1]->state), ISOLA_REALM_CLOSED);
    for (int i = 0; i < REALMS; i++)
        isola__realm_unref(realms[i]);
    free(realms);
    isola__release_unref(t->release);
}

/* Those of who is there still are left out when numbers begin anew, and so is none. */
static void serials_begin_anew(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct isola_slice address = isola_slice_str("t/T/a");
    world_release(w, "t", "1", "shared", "");
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    must_reply(w, world_ask(w, "t/T/b", "add 2"), 2);
    struct isola_actor *a =
        isola__directory_actor(world_host(w), address, isola_hash_table(address.data, address.len));
    assert_non_null(a);
    atomic_load(&a->realm)->next_serial = UINT32_MAX - 1;
    isola__actor_unref(a);
    must_reply(w, world_ask(w, "t/T/c", "add 3"), 3);
    must_reply(w, world_ask(w, "t/T/d", "add 4"), 4);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 2);
    must_reply(w, world_ask(w, "t/T/b", "add 2"), 4);
    must_reply(w, world_ask(w, "t/T/c", "add 3"), 6);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_module_that_fails_is_tried_again),
        cmocka_unit_test(a_start_that_fails_is_tried_again),
        cmocka_unit_test(a_crash_while_it_starts_is_a_failed_start),
        cmocka_unit_test(an_isolate_that_cannot_be_made_is_tried_again),
        cmocka_unit_test(a_pause_follows_a_failed_start),
        cmocka_unit_test(modules_may_load_later),
        cmocka_unit_test(a_stop_comes_after_what_was_sent_before),
        cmocka_unit_test(a_stop_waits_for_the_store),
        cmocka_unit_test(a_stop_whose_last_turn_crashes_fails),
        cmocka_unit_test(a_stop_behind_a_crash_waits_for_the_store),
        cmocka_unit_test(a_release_replaces_the_one_before_between_turns),
        cmocka_unit_test(an_old_shared_realm_goes_when_all_have_left),
        cmocka_unit_test(a_start_that_never_ends_is_replaced),
        cmocka_unit_test(a_failed_actor_starts_under_the_new_release),
        cmocka_unit_test(a_type_that_is_gone_answers_what_waits),
        cmocka_unit_test(what_waits_follows_an_actor_that_moves),
        cmocka_unit_test(it_is_told_when_an_activation_has_ended),
        cmocka_unit_test(one_that_has_failed_starts_again_when_it_is_ended),
        cmocka_unit_test(subscriptions_follow_an_actor_that_moves),
        cmocka_unit_test(a_message_is_passed_on_once),
        cmocka_unit_test(a_drain_ends_what_runs_and_refuses_what_waits),
        cmocka_unit_test(a_drain_of_an_idle_host_ends),
        cmocka_unit_test(a_drain_ends_after_its_refusals),
        cmocka_unit_test(a_drain_ends_when_realms_are_closed),
        cmocka_unit_test(serials_begin_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
