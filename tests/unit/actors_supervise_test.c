/* SPDX-License-Identifier: Apache-2.0
 *
 * Parents and children: what each strategy does when a child ends, what becomes of children when
 * their parent does, and how failures go up the tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host.h"
#include "base/clock.h"
#include "fake_world.h"

static const char *const options[] = {"", "shared"};

#define CHILD "start note start\nstop note stop"

/* P, a parent with this strategy; G, one for parents; C, a child; F, one that may not crash. */
static struct world *family(const char *how, enum isola_strategy strategy)
{
    struct world *w = world_new(2);
    struct isola_host_type types[] = {world_type("P", how, "start note start"),
                                      world_type("G", how, "start note start"),
                                      world_type("C", how, CHILD), world_type("F", how, CHILD)};
    struct isola_host_life often = {.restarts = 100, .within_ms = 60000};
    for (int i = 0; i < 4; i++)
        types[i].life = often;
    types[0].life.strategy = strategy;
    types[3].life.restarts = 0;
    world_release_types(w, "t", "1", 4, types);
    return w;
}

static void crash(struct world *w, const char *address)
{
    must_fail(w, world_ask(w, address, "crash oh"), ISOLA_EFAILED);
}

/* The parent has three children, which have started. */
static void spawn_again(struct world *w, unsigned times)
{
    must_reply(w, world_ask(w, "t/P/p", "spawn t/C/a; spawn t/C/b; spawn t/C/c; echo 0"), 0);
    fake_await_note("t/C/a start", times);
    fake_await_note("t/C/b start", times);
    fake_await_note("t/C/c start", times);
}

static void spawn_three(struct world *w)
{
    spawn_again(w, 1);
}

/* What the children have noted since `*at`, as "a start, b stop, …", when `n` notes of them are
 * there. */
static const char *noted(unsigned *at, unsigned n)
{
    static char text[300];
    const char *note;
    uint64_t deadline = fake_deadline();
    unsigned from = *at;
    for (unsigned have = 0; have < n;) {
        text[0] = '\0';
        have = 0;
        *at = from;
        while (have < n && (note = fake_note_from("t/C/", at)) != NULL) {
            if (have++ > 0)
                strcat(text, ", ");
            strcat(text, note + 4);
        }
        assert_true(isola_clock_ms() < deadline);
    }
    return text;
}

/* For what may end side by side. `text` is a list of entries of one length. */
static const char *sorted(const char *text)
{
    static char out[300];
    const size_t step = strlen("a stop, ");
    size_t n = (strlen(text) + 2) / step;
    snprintf(out, sizeof(out), "%s, ", text);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            if (memcmp(out + j * step, out + i * step, step) < 0) {
                char swap[16];
                memcpy(swap, out + i * step, step);
                memcpy(out + i * step, out + j * step, step);
                memcpy(out + j * step, swap, step);
            }
    out[n * step - 2] = '\0';
    return out;
}

static void nothing_more(struct world *w, unsigned at)
{
    must_reply(w, world_ask(w, "t/P/p", "echo 0"), 0); /* it has seen what it was told */
    must_reply(w, world_ask(w, "t/C/a", "echo 0"), 0);
    const char *note = fake_note_from("t/C/", &at);
    if (note != NULL)
        fail_msg("and then: %s", note);
}

static unsigned notes(void)
{
    unsigned at = 0;
    while (fake_note_from("t/C/", &at) != NULL)
        continue;
    return at;
}

/* Who crashes, and what its siblings note of it, in so many steps. */
struct crash {
    const char *whom;
    unsigned steps;
    const char *then;
};

/* One after the other, in families of isolates of their own and in a shared one. */
static void after_each(enum isola_strategy strategy, size_t n, const struct crash *crashes)
{
    for (int i = 0; i < 2; i++) {
        struct world *w = family(options[i], strategy);
        spawn_three(w);
        for (size_t k = 0; k < n; k++) {
            unsigned at = notes();
            crash(w, crashes[k].whom); /* what starts again does so by itself: nobody asks it */
            assert_string_equal(noted(&at, crashes[k].steps), crashes[k].then);
            nothing_more(w, at);
        }
        world_end(w);
    }
}

static void one_for_one(void **state)
{
    (void)state;
    static const struct crash crashes[] = {{"t/C/b", 1, "b start"}};
    after_each(ISOLA_ONE_FOR_ONE, 1, crashes);
}

static void one_for_all(void **state)
{
    (void)state;
    static const struct crash crashes[] = {
        {"t/C/b", 5, "c stop, a stop, a start, b start, c start"},
        {"t/C/a", 5, "c stop, b stop, a start, b start, c start"},
        {"t/C/c", 5, "b stop, a stop, a start, b start, c start"}};
    after_each(ISOLA_ONE_FOR_ALL, 3, crashes);
}

static void rest_for_one(void **state)
{
    (void)state;
    static const struct crash crashes[] = {
        {"t/C/b", 3, "c stop, b start, c start"},
        {"t/C/a", 5, "c stop, b stop, a start, b start, c start"},
        {"t/C/c", 1, "c start"}};
    after_each(ISOLA_REST_FOR_ONE, 3, crashes);
}

static void escalate(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = family(options[i], ISOLA_ESCALATE);
        spawn_three(w);
        unsigned at = notes();
        crash(w, "t/C/b");
        fake_await_note("t/P/p start", 2); /* and starts again by itself */
        assert_int_equal(world_logged(w, "t/P/p: crashed: its child t/C/b crashed: oh"), 1);
        assert_string_equal(sorted(noted(&at, 2)), "a stop, c stop");
        must_reply(w, world_ask(w, "t/P/p", "echo 0"), 0);
        uint64_t deadline = fake_deadline();
        while (strcmp(world_state(w, "t/C/b"), "none") != 0)
            assert_true(isola_clock_ms() < deadline);
        world_end(w);
    }
}

/* With several that crash at once, each step waits for the one before, and all are there at the
 * end. */
static void crashes_at_once(void **state)
{
    (void)state;
    static const enum isola_strategy strategies[] = {ISOLA_ONE_FOR_ONE, ISOLA_ONE_FOR_ALL,
                                                     ISOLA_REST_FOR_ONE};
    for (int i = 0; i < 6; i++) {
        struct world *w = family(options[i % 2], strategies[i / 2]);
        spawn_three(w);
        for (int n = 0; n < 10; n++) {
            uint64_t ids[] = {world_ask(w, "t/C/a", "crash oh"), world_ask(w, "t/C/b", "crash oh"),
                              world_ask(w, "t/C/c", "crash oh")};
            for (int k = 0; k < 3; k++)
                must_fail(w, ids[k], ISOLA_EFAILED);
        }
        static const char *const all[] = {"t/C/a", "t/C/b", "t/C/c"};
        uint64_t deadline = fake_deadline();
        for (int k = 0; k < 3; k++)
            while (strcmp(world_state(w, all[k]), "idle") != 0) /* nobody asks them anything */
                assert_true(isola_clock_ms() < deadline);
        assert_int_equal(world_logged(w, "t/P/p: crashed"), 0);
        world_end(w);
    }
}

static void how_it_was_spawned_says_what_follows(void **state)
{
    (void)state;
    static const enum isola_strategy strategies[] = {ISOLA_ONE_FOR_ONE, ISOLA_ONE_FOR_ALL};
    for (int i = 0; i < 2; i++) {
        struct world *w = family(options[i], ISOLA_ONE_FOR_ONE);
        must_reply(w,
                   world_ask(w, "t/P/p",
                             "spawn t/C/a permanent; spawn t/C/b temporary; spawn t/C/c; echo 0"),
                   0);
        unsigned at = 0;
        (void)noted(&at, 3);
        must_reply(w, world_stop(w, "t/C/c"), true); /* one that is transient stays away */
        assert_string_equal(noted(&at, 1), "c stop");
        crash(w, "t/C/b"); /* and so does one that is temporary */
        must_reply(w, world_stop(w, "t/C/a"), true);
        assert_string_equal(noted(&at, 2), "a stop, a start");
        nothing_more(w, at);
        assert_string_equal(world_state(w, "t/C/c"), "none");
        must_reply(w, world_ask(w, "t/P/p", "spawn t/C/b permanent; echo 0"), 0); /* as of now */
        assert_string_equal(noted(&at, 1), "b start");
        must_reply(w, world_stop(w, "t/C/b"), true);
        assert_string_equal(noted(&at, 2), "b stop, b start");
        world_end(w);
    }
    for (int i = 0; i < 4; i++) {
        /* Stopped by the strategy, a permanent one starts once; a temporary one does not. */
        struct world *w = family(options[i % 2], ISOLA_ONE_FOR_ALL);
        (void)strategies;
        must_reply(w,
                   world_ask(w, "t/P/p",
                             "spawn t/C/a permanent; spawn t/C/b temporary; spawn t/C/c; echo 0"),
                   0);
        unsigned at = 0;
        (void)noted(&at, 3);
        crash(w, "t/C/c");
        assert_string_equal(noted(&at, 4), "b stop, a stop, a start, c start");
        nothing_more(w, at);
        world_end(w);
    }
}

/* --- up the tree --- */

static void a_child_that_has_failed_crashes_its_parent(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct world *w = family(options[i % 2], (enum isola_strategy)(i / 2));
        must_reply(w, world_ask(w, "t/P/p", "spawn t/C/a; spawn t/F/x; echo 0"), 0);
        fake_await_note("t/F/x start", 1);
        fake_await_note("t/C/a start", 1);
        crash(w, "t/F/x");
        fake_await_note("t/P/p start", 2);
        assert_int_equal(world_logged(w, "t/P/p: crashed: its child t/F/x "), 1);
        if (i / 2 != ISOLA_ESCALATE) {
            assert_int_equal(world_logged(w, "its child t/F/x failed: it crashed 1 times"), 1);
        }
        fake_await_note("t/C/a stop", 1);
        world_end(w);
    }
}

static void one_that_cannot_start_crashes_its_parent(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct isola_host_type types[] = {world_type("P", "", "start note start"),
                                      world_type("C", "", "start throwif broken")};
    types[0].life = (struct isola_host_life){.restarts = 5, .within_ms = 60000};
    world_release_types(w, "t", "1", 2, types);
    fake_flag("broken", true);
    must_reply(w, world_ask(w, "t/P/p", "spawn t/C/a; echo 0"), 0);
    fake_await_note("t/P/p start", 2);
    assert_int_equal(
        world_logged(w, "t/P/p: crashed: its child t/C/a failed: could not start: broken is set"),
        1);
    must_reply(w, world_ask(w, "t/P/p", "spawn t/None/a; echo 0"), 0);
    fake_await_note("t/P/p start", 3);
    assert_int_equal(world_logged(w, "its child t/None/a failed: app \"t\" has no actor type"), 1);
    /* One that is temporary is its own affair. */
    must_reply(w, world_ask(w, "t/P/p", "spawn t/None/a temporary; spawn t/C/b temporary; echo 0"),
               0);
    must_reply(w, world_ask(w, "t/P/p", "echo 0"), 0);
    assert_int_equal(fake_count_note("t/P/p start"), 3);
    world_end(w);
}

/* Crashes of a child count within its window: after that they go up, and so on to the top. */
static void failures_go_up_to_the_top(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        struct isola_host_type types[] = {
            world_type("G", options[i], "start note start; spawn t/P/p"),
            world_type("P", options[i], "start note start; spawn t/C/c"),
            world_type("C", options[i], CHILD)};
        for (int k = 0; k < 3; k++)
            types[k].life = (struct isola_host_life){.restarts = 2, .within_ms = 60000};
        world_release_types(w, "t", "1", 3, types);
        must_reply(w, world_ask(w, "t/G/g", "echo 0"), 0);
        for (unsigned n = 1; n <= 27; n++) { /* 3 of C's are one of P's, 3 of P's one of G's */
            fake_await_note("t/C/c start", n);
            assert_int_equal(world_logged(w, "t/G/g: failed"), 0);
            crash(w, "t/C/c");
        }
        world_await_logged(w, "t/G/g: failed", 1);
        must_fail(w, world_ask(w, "t/G/g", "echo 0"), ISOLA_EFAILED);
        assert_int_equal(world_logged(w, "t/C/c: crashed"), 27);
        assert_int_equal(world_logged(w, "t/C/c: failed"), 9);
        assert_int_equal(world_logged(w, "t/P/p: crashed"), 9);
        assert_int_equal(world_logged(w, "t/P/p: failed"), 3);
        assert_int_equal(world_logged(w, "t/G/g: crashed"), 3);
        assert_int_equal(fake_count_note("t/G/g start"), 3);
        world_end(w);
    }
}

/* --- the parent --- */

static void children_end_with_their_parent(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = family(options[i], ISOLA_ONE_FOR_ONE);
        spawn_three(w);
        unsigned at = notes();
        must_reply(w, world_stop(w, "t/P/p"), true);
        assert_string_equal(sorted(noted(&at, 3)), "a stop, b stop, c stop");
        assert_string_equal(world_state(w, "t/P/p"), "none"); /* and it does not come back */
        assert_int_equal(fake_count_note("t/P/p start"), 1);
        spawn_again(w, 2);
        at = notes();
        crash(w, "t/P/p");
        assert_string_equal(sorted(noted(&at, 3)), "a stop, b stop, c stop");
        fake_await_note("t/P/p start", 3); /* by itself */
        world_end(w);
    }
}

static void for_a_newer_release_children_live_on(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        struct isola_host_type parent =
            world_type("P", options[i], "start note start; spawn t/C/a; spawn t/C/b");
        struct isola_host_type child = world_type("C", options[i], CHILD);
        world_release_types(w, "t", "1", 1, &parent);
        world_release_types(w, "u", "1", 1, &child);
        parent.code = isola_slice_str("start note start; spawn u/C/a; spawn u/C/b");
        world_release_types(w, "t", "2", 1, &parent);
        must_reply(w, world_ask(w, "t/P/p", "echo 0"), 0);
        fake_await_note("u/C/a start", 1);
        fake_await_note("u/C/b start", 1);
        world_release_types(w, "t", "3", 1, &parent);
        fake_await_note("t/P/p start", 2); /* by itself */
        must_fail(w, world_ask(w, "u/C/a", "crash oh"), ISOLA_EFAILED);
        fake_await_note("u/C/a start", 2); /* who is its parent still */
        assert_int_equal(fake_count_note("u/C/a stop") + fake_count_note("u/C/b stop"), 0);
        assert_int_equal(fake_count_note("u/C/b start"), 1);
        must_reply(w, world_stop(w, "t/P/p"), true);
        fake_await_note("u/C/a stop", 1);
        fake_await_note("u/C/b stop", 1);
        world_end(w);
    }
}

/* --- elsewhere --- */

static const struct isola_mail *forwarded(struct world *w, unsigned nth, int kind, const char *dst)
{
    world_await_forwarded(w, nth + 1);
    const struct isola_mail *m = world_forwarded(w, nth);
    assert_int_equal(m->kind, kind);
    assert_true(isola_slice_is(m->dst, dst));
    return m;
}

static struct isola_origin origin_of(const struct isola_mail *step)
{
    struct isola_origin origin = step->origin;
    ((struct isola_mail *)(uintptr_t)step)->origin.realm = NULL; /* it goes with the answer */
    return origin;
}

static void answer(struct world *w, const struct isola_mail *step, bool was)
{
    static const uint8_t words[2][2] = {{0x91, 0xc2}, {0x91, 0xc3}};
    isola_host_answer(world_host(w),
                      isola_mail_answer(origin_of(step), true, isola_slice(words[was], 2)));
}

static void unreachable(struct world *w, const struct isola_mail *step)
{
    isola_host_answer(world_host(w),
                      isola_mail_failure(origin_of(step), ISOLA_EUNREACHABLE, "its node is gone"));
}

/* A child on another node: it is started there, and started again when it is lost. */
static void children_live_on_other_nodes(void **state)
{
    (void)state;
    struct world *w = family("", ISOLA_ONE_FOR_ALL);
    world_place(w, "t/C/b", 2);
    must_reply(w, world_ask(w, "t/P/p", "spawn t/C/a; spawn t/C/b; echo 0"), 0);
    const struct isola_mail *sub = forwarded(w, 0, ISOLA_MSG_SUB, "t/C/b");
    (void)forwarded(w, 1, ISOLA_MSG_START, "t/C/b");
    fake_await_note("t/C/a start", 1);
    isola_host_down(world_host(w), sub, "lost", isola_slice_str("its node is gone"));
    fake_await_note("t/C/a stop", 1);
    fake_await_note("t/C/a start", 2);
    answer(w, forwarded(w, 2, ISOLA_MSG_START, "t/C/b"), true);
    /* Now the one here: the other is told to stop, and nothing starts before it has answered. */
    crash(w, "t/C/a");
    const struct isola_mail *stop = forwarded(w, 3, ISOLA_MSG_STOP, "t/C/b");
    must_reply(w, world_ask(w, "t/P/p", "echo 0"), 0);
    assert_int_equal(fake_count_note("t/C/a start"), 2);
    isola_host_down(world_host(w), sub, "stopped", (struct isola_slice){0}); /* as we wanted */
    answer(w, stop, true);
    fake_await_note("t/C/a start", 3);
    answer(w, forwarded(w, 4, ISOLA_MSG_START, "t/C/b"), true);
    must_reply(w, world_ask(w, "t/P/p", "echo 0"), 0);
    assert_int_equal(world_forwards(w), 5);
    world_end(w);
}

/* A start that reaches no node is tried again, and does not keep others from theirs. */
static void a_lost_child_starts_where_there_is_a_node(void **state)
{
    (void)state;
    struct world *w = family("", ISOLA_ONE_FOR_ONE);
    world_place(w, "t/C/b", 2);
    must_reply(w, world_ask(w, "t/P/p", "spawn t/C/a; spawn t/C/b; echo 0"), 0);
    const struct isola_mail *sub = forwarded(w, 0, ISOLA_MSG_SUB, "t/C/b");
    (void)forwarded(w, 1, ISOLA_MSG_START, "t/C/b");
    fake_await_note("t/C/a start", 1);
    isola_host_down(world_host(w), sub, "lost", isola_slice_str("its node is gone"));
    unreachable(w, forwarded(w, 2, ISOLA_MSG_START, "t/C/b"));
    crash(w, "t/C/a");
    fake_await_note("t/C/a start", 2);
    unreachable(w, forwarded(w, 3, ISOLA_MSG_START, "t/C/b"));
    const struct isola_mail *third = forwarded(w, 4, ISOLA_MSG_START, "t/C/b");
    world_place(w, "t/C/b", 0); /* it lives here now */
    isola_host_moved(world_host(w));
    struct isola_slice none = {0};
    struct isola_mail *again =
        isola_mail_new(ISOLA_MSG_SUB, sub->src, sub->dst, sub->event, none, none);
    again->origin.id = sub->origin.id;
    isola_host_post(world_host(w), again); /* as who forwards does */
    unreachable(w, third);
    fake_await_note("t/C/b start", 1);
    crash(w, "t/C/b");
    fake_await_note("t/C/b start", 2);
    assert_int_equal(world_forwards(w), 5);
    world_end(w);
}

/* A stop that finds nobody, or reaches nobody, is not followed by word of it: the next one is
 * somebody else's. */
static void a_stop_of_nobody_is_no_excuse(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = family("", ISOLA_ONE_FOR_ALL);
        world_place(w, "t/C/b", 2);
        must_reply(w, world_ask(w, "t/P/p", "spawn t/C/a; spawn t/C/b permanent; echo 0"), 0);
        const struct isola_mail *sub = forwarded(w, 0, ISOLA_MSG_SUB, "t/C/b");
        (void)forwarded(w, 1, ISOLA_MSG_START, "t/C/b");
        fake_await_note("t/C/a start", 1);
        crash(w, "t/C/a");
        const struct isola_mail *stop = forwarded(w, 2, ISOLA_MSG_STOP, "t/C/b");
        if (i == 0)
            answer(w, stop, false);
        else
            unreachable(w, stop);
        fake_await_note("t/C/a start", 2);
        answer(w, forwarded(w, 3, ISOLA_MSG_START, "t/C/b"), true);
        must_reply(w, world_ask(w, "t/P/p", "echo 0"), 0);
        isola_host_down(world_host(w), sub, "stopped", (struct isola_slice){0}); /* by a person */
        fake_await_note("t/C/a stop", 1);
        answer(w, forwarded(w, 4, ISOLA_MSG_START, "t/C/b"), true);
        world_end(w);
    }
}

static void what_cannot_be_spawned_is_an_error(void **state)
{
    (void)state;
    struct world *w = family("", ISOLA_ONE_FOR_ONE);
    must_fail(w, world_ask(w, "t/P/p", "spawn t/P/p"), ISOLA_EINVAL);
    must_fail(w, world_ask(w, "t/P/p", "spawn nowhere"), ISOLA_EINVAL);
    must_reply(w, world_ask(w, "t/P/p", "spawn t/C/a; spawn t/C/a; echo 0"), 0);
    fake_await_note("t/C/a start", 1);
    crash(w, "t/C/a");
    fake_await_note("t/C/a start", 2);
    must_reply(w, world_ask(w, "t/P/p", "echo 0"), 0);
    assert_int_equal(fake_count_note("t/C/a start"), 2); /* it is one child */
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_for_one),
        cmocka_unit_test(one_for_all),
        cmocka_unit_test(rest_for_one),
        cmocka_unit_test(escalate),
        cmocka_unit_test(crashes_at_once),
        cmocka_unit_test(how_it_was_spawned_says_what_follows),
        cmocka_unit_test(a_child_that_has_failed_crashes_its_parent),
        cmocka_unit_test(one_that_cannot_start_crashes_its_parent),
        cmocka_unit_test(failures_go_up_to_the_top),
        cmocka_unit_test(children_end_with_their_parent),
        cmocka_unit_test(for_a_newer_release_children_live_on),
        cmocka_unit_test(children_live_on_other_nodes),
        cmocka_unit_test(a_lost_child_starts_where_there_is_a_node),
        cmocka_unit_test(a_stop_of_nobody_is_no_excuse),
        cmocka_unit_test(what_cannot_be_spawned_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
