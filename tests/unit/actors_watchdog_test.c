/* SPDX-License-Identifier: Apache-2.0
 *
 * The watchdog, on a CPU clock of the test's own: whom it stops, whom it leaves alone, and whom it
 * names when nobody can be stopped. And the quarantine that follows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fake_world.h"

static void release(struct world *w, const char *how, const char *code, uint64_t cpu_ms)
{
    struct isola_host_type type = world_type("T", how, code);
    type.limits.cpu_ms = cpu_ms;
    world_release_types(w, "t", "1", 1, &type);
}

/* --- armed and disarmed --- */

static void each_thread_is_watched_for_itself(void **state)
{
    (void)state;
    struct world *w = world_new(3);
    release(w, "", "", 20);
    uint64_t held = world_ask(w, "t/T/a", "note in; block go; add 1");
    fake_await_note("t/T/a in", 1);
    uint64_t b = world_ask(w, "t/T/b", "loop"), c = world_ask(w, "t/T/c", "loop hard");
    must_fail(w, b, ISOLA_EFAILED);
    must_fail(w, c, ISOLA_EFAILED);
    fake_open("go"); /* it has used no CPU time, however long it took */
    must_reply(w, held, 1);
    assert_int_equal(world_logged(w, "crashed"), 2);
    world_end(w);
}

/* Of what is entered and left over and over only what uses its time up is stopped. */
static void what_is_left_in_time_is_not_stopped(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    release(w, "shared", "", 20);
    for (int i = 0; i < 20; i++) {
        uint64_t fine = world_ask(w, "t/T/a", "spin 15; add 1");
        uint64_t not = world_ask(w, "t/T/b", "spin 22; add 1");
        must_reply(w, fine, i + 1);
        must_fail(w, not, ISOLA_EFAILED);
        must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    }
    assert_int_equal(world_logged(w, "t/T/b: crashed"), 20);
    assert_int_equal(world_logged(w, "crashed"), 20);
    world_end(w);
}

/* It sleeps when nothing has been entered for a while. */
static void an_entry_wakes_it(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    release(w, "", "", 20);
    for (int i = 0; i < 2; i++) {
        must_reply(w, world_ask(w, "t/T/a", "timer 1300; add 1"), i + 1); /* more than 50 looks */
        must_fail(w, world_ask(w, "t/T/b", "loop"), ISOLA_EFAILED);
    }
    world_end(w);
}

/* --- a kill that does not take --- */

static void who_cannot_be_stopped_is_named(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(3);
        release(w, i == 0 ? "" : "shared", "", 20);
        world_release(w, "u", "1", "", "");
        fake_cpu_step(100);
        /* Another thread is in a script too, which does no harm. */
        uint64_t beside = world_ask(w, "u/T/b", "note in; block go; add 1");
        fake_await_note("u/T/b in", 1);
        for (int n = 0; n < 3; n++) /* those that can be stopped are not named */
            must_fail(w, world_ask(w, "t/T/c", "loop hard"), ISOLA_EFAILED);
        uint64_t deaf = world_ask(w, "t/T/d", "note in; loop deaf ears; add 1");
        fake_await_note("t/T/d in", 1);
        assert_string_equal(world_await_stuck(w),
                            "t/T/d: it has used more than 20 ms of CPU in one turn (limit "
                            "\"cpu\") and could not be stopped");
        fake_open("ears");
        fake_open("go");
        must_fail(w, deaf, ISOLA_EFAILED);
        must_reply(w, beside, 1);
        world_end(w);
    }
}

/* The actor to blame is the one whose code it was when it was entered; a module's is its app's. */
static void a_module_that_cannot_be_stopped_is_its_apps(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    release(w, "shared", "load deaf ears", 20);
    fake_cpu_step(100);
    uint64_t ask = world_ask(w, "t/T/a", "get");
    assert_string_equal(world_await_stuck(w), "t: it has used more than 20 ms of CPU in one turn "
                                              "(limit \"cpu\") and could not be stopped");
    fake_open("ears");
    must_fail(w, ask, ISOLA_EFAILED);
    world_end(w);
}

/* It has three seconds of its CPU time to end: until then nobody is told. */
static void it_has_seconds_to_end(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    release(w, "", "", 20);
    fake_cpu_step(0);
    /* 25 ms, and it is told to stop; 2970 ms more, and it ends by itself. */
    uint64_t ask = world_ask(w, "t/T/a", "note in; spin 25 deaf; spin 2970 deaf; add 1");
    must_fail(w, ask, ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    world_end(w); /* checks that nobody was told */
    w = world_new(1);
    release(w, "", "", 20);
    fake_cpu_step(100);
    uint64_t before = fake_cpu(0);
    ask = world_ask(w, "t/T/a", "loop deaf ears");
    assert_non_null(strstr(world_await_stuck(w), "t/T/a: "));
    assert_in_range((fake_cpu(0) - before) / 1000000, 3020, 3500);
    fake_open("ears");
    must_fail(w, ask, ISOLA_EFAILED);
    world_end(w);
}

/* --- quarantine --- */

static struct quarantined {
    unsigned n;
    char of[300];
} listed;

static void list(const struct isola_host_info *info, void *arg)
{
    (void)arg;
    if (strcmp(info->state, "quarantined") == 0) {
        listed.n++;
        snprintf(listed.of, sizeof(listed.of), "%.*s: %.*s", ISOLA_FMT(info->address),
                 ISOLA_FMT(info->failure));
    }
}

static unsigned quarantined(struct world *w, const char *app)
{
    listed = (struct quarantined){0};
    size_t n = isola_host_each(world_host(w), isola_slice_str(app), SIZE_MAX, list, NULL);
    assert_true(n >= listed.n);
    return listed.n;
}

static void who_is_in_quarantine_does_not_start(void **state)
{
    (void)state;
    char last[100];
    struct world *w = world_new(2);
    release(w, "", "start note start", 0);
    world_release(w, "u", "1", "", "");
    isola_host_quarantine(world_host(w), isola_slice_str("t/T/a"), "it took the host along");
    isola_host_quarantine(world_host(w), isola_slice_str("t/T/a"), "it did so again");
    isola_host_quarantine(world_host(w), isola_slice_str("t/T/b"), "it took the host along");
    isola_host_quarantine(world_host(w), isola_slice_str("no address"), "whatever");

    struct outcome o = world_await(w, world_ask(w, "t/T/a", "add 1"));
    assert_int_equal(o.code, ISOLA_EFAILED);
    assert_string_equal(o.text, "t/T/a is in quarantine (`ctl restart` lifts it): it did so again");
    world_emit(w, "t/T/a", "add 1");
    world_await_logged(w, "\"run\" was dropped: t/T/a is in quarantine", 1);
    must_reply(w, world_stop(w, "t/T/a"), false);
    must_reply(w, world_ask(w, "t/T/c", "add 1"), 1);
    must_reply(w, world_ask(w, "u/T/a", "add 1"), 1);
    assert_int_equal(fake_count_note("t/T/a start"), 0);
    assert_int_equal(quarantined(w, ""), 2);
    assert_int_equal(quarantined(w, "u"), 0);

    must_reply(w, world_start(w, "t/T/a"), true);
    assert_int_equal(world_lifted(w, last), 1);
    assert_string_equal(last, "t/T/a");
    assert_int_equal(fake_count_note("t/T/a start"), 1);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    must_reply(w, world_start(w, "t/T/a"), true);
    assert_int_equal(world_lifted(w, last), 1); /* once */
    assert_int_equal(quarantined(w, "t"), 1);
    assert_string_equal(listed.of,
                        "t/T/b: is in quarantine (`ctl restart` lifts it): it took the host along");
    must_fail(w, world_ask(w, "t/T/b", "get"), ISOLA_EFAILED);
    world_end(w);
}

/* Only a person lifts it: a parent would start it, and take the host along, over and over. */
static void a_parent_does_not_lift_it(void **state)
{
    (void)state;
    char last[100];
    static const char *const modes[] = {"transient", "permanent", "temporary"};
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(2);
        struct isola_host_type types[] = {world_type("T", "", ""), world_type("P", "", "")};
        types[1].life = (struct isola_host_life){.restarts = 0, .within_ms = 60000};
        world_release_types(w, "t", "1", 2, types);
        isola_host_quarantine(world_host(w), isola_slice_str("t/T/a"), "it took the host along");
        must_reply(w, world_ask(w, "t/T/m", "monitor t/T/a; echo 0"), 0);
        fake_await_note("t/T/m down t/T/a failed", 1);
        char program[100];
        snprintf(program, sizeof(program), "spawn t/T/b; spawn t/T/a %s; add 1", modes[i]);
        must_reply(w, world_ask(w, "t/P/p", program), 1);
        if (i < 2) {
            world_await_logged(w, "t/P/p: crashed: its child t/T/a failed: t/T/a is in quarantine",
                               1);
            must_fail(w, world_ask(w, "t/P/p", "get"), ISOLA_EFAILED);
        } else {
            must_reply(w, world_ask(w, "t/P/p", "get"), 1);
        }
        assert_int_equal(world_lifted(w, last), 0);
        must_fail(w, world_ask(w, "t/T/a", "get"), ISOLA_EFAILED);
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_thread_is_watched_for_itself),
        cmocka_unit_test(what_is_left_in_time_is_not_stopped),
        cmocka_unit_test(an_entry_wakes_it),
        cmocka_unit_test(who_cannot_be_stopped_is_named),
        cmocka_unit_test(a_module_that_cannot_be_stopped_is_its_apps),
        cmocka_unit_test(it_has_seconds_to_end),
        cmocka_unit_test(who_is_in_quarantine_does_not_start),
        cmocka_unit_test(a_parent_does_not_lift_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
