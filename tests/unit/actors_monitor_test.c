/* SPDX-License-Identifier: Apache-2.0
 *
 * Monitors: each end of an activation is told once, in order, to who monitors it then, and to
 * nobody else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_script.h"
#include "fake_world.h"

static const char *const options[] = {"", "shared"};

/* T is watched, and W/w watches. */
static void release(struct world *w, const char *id, const char *how, const char *code)
{
    struct isola_host_type types[] = {world_type("T", how, code), world_type("W", how, "")};
    types[0].life = (struct isola_host_life){.restarts = 100, .within_ms = 60000};
    world_release_types(w, "t", id, 2, types);
}

static struct world *watched(const char *how, const char *code)
{
    struct world *w = world_new(2);
    release(w, "1", how, code);
    must_reply(w, world_ask(w, "t/W/w", "monitor t/T/a; echo 0"), 0);
    return w;
}

/* How often W has heard that t/T/a is down for this reason, when all that was sent to it so far has
 * been seen. */
static unsigned downs(struct world *w, const char *reason)
{
    char note[100];
    must_reply(w, world_ask(w, "t/W/w", "echo 0"), 0);
    snprintf(note, sizeof(note), "t/W/w down t/T/a %s", reason);
    return fake_count_note(note);
}

static unsigned all_downs(struct world *w)
{
    return downs(w, "crashed") + downs(w, "stopped") + downs(w, "failed") + downs(w, "lost");
}

static void crash(struct world *w)
{
    must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", "get"),
               0); /* and it is there again: who hears, has heard */
}

static void each_end_is_told_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = watched(options[i], "");
        assert_int_equal(all_downs(w), 0); /* one that is not active is not down */
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        for (unsigned n = 1; n < 4; n++) {
            crash(w);
            assert_int_equal(downs(w, "crashed"), n);
        }
        must_reply(w, world_stop(w, "t/T/a"), true);
        assert_int_equal(downs(w, "stopped"), 1);
        must_reply(w, world_stop(w, "t/T/a"), false); /* nobody is there to end */
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        must_reply(w, world_stop(w, "t/T/a"), true);
        assert_int_equal(downs(w, "stopped"), 2);
        assert_int_equal(all_downs(w), 5);
        crash(w);
        must_reply(w, world_ask(w, "t/W/w", "unsub; echo 0"), 0);
        crash(w);
        must_reply(w, world_stop(w, "t/T/a"), true);
        assert_int_equal(all_downs(w), 6);
        world_end(w);
    }
}

static void what_is_no_end_is_not_told(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = watched(options[i], "");
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        release(w, "2", options[i], ""); /* a newer release */
        must_reply(w, world_ask(w, "t/W/w", "monitor t/T/a; echo 0"), 0);
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 2);
        struct isola_host_type types[] = {world_type("T", options[i], "start note start"),
                                          world_type("W", options[i], "")};
        types[0].life.hibernate_after_ms = 1;
        world_release_types(w, "t", "3", 2, types); /* hibernation */
        must_reply(w, world_ask(w, "t/W/w", "monitor t/T/a; echo 0"), 0);
        for (unsigned n = 1; n < 4; n++) {
            must_reply(w, world_ask(w, "t/T/a", "get"), 2);
            fake_await_note("t/T/a start", n);
            uint64_t deadline = fake_deadline();
            while (strcmp(world_state(w, "t/T/a"), "none") != 0)
                assert_true(isola_clock_ms() < deadline);
        }
        must_reply(w, world_ask(w, "t/T/a", "get"), 2);
        world_place(w, "t/T/a", 2); /* a move: the monitor goes after it */
        isola_host_moved(world_host(w));
        world_await_forwarded(w, 1);
        const struct isola_mail *m = world_forwarded(w, 0);
        assert_int_equal(m->kind, ISOLA_MSG_SUB);
        assert_true(isola_is_monitor(m));
        assert_true(isola_slice_is(m->dst, "t/T/a") && isola_slice_is(m->src, "t/W/w"));
        assert_int_equal(all_downs(w), 0);
        world_end(w);
    }
}

static void failures_are_told(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        /* It cannot start. */
        struct world *w = watched(options[i], "start throwif broken");
        fake_flag("broken", true);
        must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
        assert_int_equal(downs(w, "failed"), 1);
        must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED); /* not tried again yet */
        assert_int_equal(all_downs(w), 1);
        /* It has failed before it is monitored; so has what does not exist. */
        must_reply(
            w, world_ask(w, "t/W/x", "monitor t/T/a; monitor t/None/a; monitor u/T/a; echo 0"), 0);
        fake_await_note("t/W/x down t/T/a failed", 1);
        fake_await_note("t/W/x down t/None/a failed", 1);
        fake_await_note("t/W/x down u/T/a failed", 1);
        world_end(w);

        /* It crashes too often. */
        w = world_new(2);
        struct isola_host_type types[] = {world_type("T", options[i], ""),
                                          world_type("W", options[i], "")};
        types[0].life = (struct isola_host_life){.restarts = 2, .within_ms = 60000};
        world_release_types(w, "t", "1", 2, types);
        must_reply(w, world_ask(w, "t/W/w", "monitor t/T/a; echo 0"), 0);
        for (int n = 0; n < 3; n++)
            must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
        must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
        fake_await_note("t/W/w down t/T/a failed", 1);
        assert_int_equal(downs(w, "crashed"), 3);
        assert_int_equal(all_downs(w), 4);
        /* Its app loses the type. */
        must_reply(w, world_stop(w, "t/T/a"), true);
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        assert_int_equal(downs(w, "stopped"), 1);
        must_reply(w, world_ask(w, "t/W/y", "monitor t/T/a; echo 0"), 0);
        world_release_types(w, "t", "2", 1, types + 1);
        /* Watchers end for the release, too, but their monitors were there when it was told or have
         * ended before: never is one told twice. */
        must_reply(w, world_ask(w, "t/W/y", "echo 0"), 0);
        assert_in_range(fake_count_note("t/W/y down t/T/a stopped"), 0, 1);
        world_end(w);
    }
}

/* Who hears that it is down has heard before what it caused while it was up. */
static void what_was_caused_before_comes_before(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct world *w = watched(options[i % 2], "");
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        world_hold_store(w, true);
        (void)world_ask(w, "t/T/a", "add 1; emit t/W/w {note caused}; echo 0");
        world_await_held(w, 1);
        if (i < 2)
            must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
        else
            (void)world_stop(w, "t/T/a");
        must_reply(w, world_ask(w, "t/W/w", "echo 0"), 0);
        assert_int_equal(all_downs(w), 0);
        world_hold_store(w, false);
        fake_await_note(i < 2 ? "t/W/w down t/T/a crashed" : "t/W/w down t/T/a stopped", 1);
        assert_string_equal(fake_note_at("t/W/w ", 0), "t/W/w caused");
        assert_int_equal(all_downs(w), 1);
        world_end(w);
    }
}

/* Nor does it get lost when what it waits for cannot be written; neither do a parent's last words.
 */
static void a_write_that_fails_does_not_swallow_it(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct world *w = watched(options[i % 2], "stop note stop");
        must_reply(w, world_ask(w, "t/T/a", "spawn t/T/child; add 1"), 1);
        world_hold_store(w, true);
        uint64_t lost = world_ask(w, "t/T/a", "add 1; emit t/W/w {note caused}");
        world_await_held(w, 1);
        if (i < 2)
            must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
        else
            (void)world_stop(w, "t/T/a");
        if (i >= 2)
            fake_await_note("t/T/a stop", 1);
        world_fail_writes(w, 1);
        world_hold_store(w, false);
        must_fail(w, lost, ISOLA_EIO);
        fake_await_note("t/T/child stop", 1);
        fake_await_note("t/W/w down t/T/a crashed", 1); /* which a stop becomes as well */
        assert_int_equal(all_downs(w), 1);
        assert_int_equal(fake_count_note("t/W/w caused"), 0);
        must_reply(w, world_ask(w, "t/T/a", "get"), 1);
        world_end(w);
    }
}

/* An end of a monitor finds it where it is, while its actor moves. */
static void a_monitor_ends_while_its_actor_moves(void **state)
{
    (void)state;
    struct world *w = watched("", "");
    world_place(w, "t/T/a", 2);
    must_reply(w, world_ask(w, "t/W/w", "unsub; echo 0"),
               0); /* it has not been sent after it yet */
    isola_host_moved(world_host(w));
    must_reply(w, world_ask(w, "t/W/w", "echo 0"), 0);
    assert_int_equal(world_forwards(w), 0);
    world_end(w); /* and none is left */
}

/* Nor does one whose beginning still waits for a write, when the turn that ended it crashes. */
static void an_end_does_not_overtake_the_beginning(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        release(w, "1", options[i], "");
        must_reply(w, world_ask(w, "t/W/w", "get"), 0);
        world_hold_store(w, true);
        uint64_t begins = world_ask(w, "t/W/w", "add 1; monitor t/T/a; get");
        world_await_held(w, 1);
        must_fail(w, world_ask(w, "t/W/w", "unsub; crash oh"), ISOLA_EFAILED);
        world_hold_store(w, false);
        must_reply(w, begins, 1);
        must_reply(w, world_ask(w, "t/W/w", "get"), 1);
        world_end(w); /* and none is left */
    }
}

/* A monitor ends with the activation that made it. */
static void a_watcher_that_ends_hears_no_more(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = watched(options[i], "");
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        crash(w);
        assert_int_equal(all_downs(w), 1);
        must_fail(w, world_ask(w, "t/W/w", "crash oh"), ISOLA_EFAILED);
        must_reply(w, world_ask(w, "t/W/w", "echo 0"), 0);
        crash(w);
        assert_int_equal(all_downs(w), 1);
        must_reply(w, world_ask(w, "t/W/w", "monitor t/T/a; echo 0"), 0);
        crash(w);
        assert_int_equal(all_downs(w), 2);
        must_reply(w, world_stop(w, "t/W/w"), true);
        crash(w);
        must_reply(w, world_ask(w, "t/W/w", "echo 0"), 0);
        assert_int_equal(all_downs(w), 2);
        world_end(w); /* no subscription is left */
    }
}

/* From another node, or from its link to one. */
static void connections_monitor_too(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    release(w, "1", "", "");
    uint64_t two = world_sub(w, 2, "t/T/a", FAKE_DOWN), three = world_sub(w, 3, "t/T/a", FAKE_DOWN);
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    crash(w);
    world_await_events(w, 2, 1);
    world_await_events(w, 3, 1);
    world_unsub(w, 2, two, "t/T/a", FAKE_DOWN);
    crash(w);
    world_await_events(w, 3, 2);
    isola_host_drop_link(world_host(w), 3);
    crash(w);
    (void)three;
    assert_int_equal(world_events(w, 2), 1);
    assert_int_equal(world_events(w, 3), 2);
    world_end(w);
}

/* One that lives on another node: its end comes as an event, and the loss of the node as a down of
 * this one's. */
static void others_are_told_of_from_afar(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    release(w, "1", "", "");
    world_place(w, "t/T/a", 2);
    must_reply(w, world_ask(w, "t/W/w", "monitor t/T/a; echo 0"), 0);
    world_await_forwarded(w, 1);
    const struct isola_mail *sub = world_forwarded(w, 0);
    assert_true(isola_is_monitor(sub));
    isola_host_down(world_host(w), sub, "lost", isola_slice_str("the link broke"));
    assert_int_equal(downs(w, "lost"), 1);
    isola_host_down(world_host(w), sub, "crashed", isola_slice_str("oh"));
    assert_int_equal(downs(w, "crashed"), 1);
    must_reply(w, world_ask(w, "t/W/w", "unsub; echo 0"), 0);
    isola_host_down(world_host(w), sub, "lost", isola_slice_str("the link broke"));
    assert_int_equal(all_downs(w), 2);
    must_reply(w, world_stop(w, "t/W/w"), true);
    isola_host_down(world_host(w), sub, "lost", isola_slice_str("the link broke"));
    must_reply(w, world_ask(w, "t/W/w", "echo 0"), 0);
    assert_int_equal(all_downs(w), 2);
    world_end(w);
}

/* Crashes, stops, and monitors that come and go, at once: each end is told at most once, all of
 * them to one who monitors all the time. */
static void in_every_order_it_is_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = watched(options[i], "");
        uint64_t ids[300];
        unsigned crashes = 0, stops = 0, n = 0;
        bool watching = false;
        while (n < 300) {
            switch (world_random(w, 6)) {
            case 0:
                ids[n++] = world_ask(w, "t/T/a", "crash oh");
                break;
            case 1:
                ids[n++] = world_stop(w, "t/T/a");
                break;
            case 2:
            case 3:
                ids[n++] =
                    world_ask(w, "t/W/x", watching ? "unsub; echo 0" : "monitor t/T/a; echo 0");
                watching = !watching;
                break;
            case 4:
                ids[n++] = world_ask(w, "t/T/a", "timer 1; get");
                break;
            default:
                (void)world_await(w,
                                  n > 0 ? ids[n - 1] : (ids[n++] = world_ask(w, "t/T/a", "get")));
                break;
            }
        }
        for (unsigned k = 0; k < n; k++)
            (void)world_await(w, ids[k]);
        must_reply(w, world_ask(w, "t/W/w", "echo 0"), 0);
        crashes = world_logged(w, "t/T/a: crashed");
        if (world_logged(w, "t/T/a: failed") == 0) {
            must_reply(w, world_ask(w, "t/T/a", "get"), 0);
            assert_int_equal(downs(w, "crashed"), crashes);
            for (unsigned k = 0; k < n; k++)
                stops += world_outcome(w, ids[k]).kind == ISOLA_MSG_REPLY &&
                         world_outcome(w, ids[k]).is_bool && world_outcome(w, ids[k]).value;
            assert_int_equal(downs(w, "stopped"), stops);
        }
        assert_true(fake_count_note("t/W/x down t/T/a crashed") <= crashes);
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_end_is_told_once),
        cmocka_unit_test(what_is_no_end_is_not_told),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(what_was_caused_before_comes_before),
        cmocka_unit_test(a_write_that_fails_does_not_swallow_it),
        cmocka_unit_test(a_monitor_ends_while_its_actor_moves),
        cmocka_unit_test(an_end_does_not_overtake_the_beginning),
        cmocka_unit_test(a_watcher_that_ends_hears_no_more),
        cmocka_unit_test(connections_monitor_too),
        cmocka_unit_test(others_are_told_of_from_afar),
        cmocka_unit_test(in_every_order_it_is_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
