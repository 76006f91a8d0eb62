/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of actors that use more than they may, on a CPU clock of the test's own: each
 * crashes with a sentence that names the limit, and its neighbours go on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_world.h"

#define CPU 20 /* ms */

static const char *const options[] = {"", "shared"};

static struct isola_host_type limited(const char *name, const char *how, const char *code,
                                      struct isola_host_limits limits)
{
    struct isola_host_type type = world_type(name, how, code);
    if (limits.mailbox == 0)
        limits.mailbox = 1000;
    if (limits.heap == 0)
        limits.heap = 1 << 20;
    type.limits = limits;
    return type;
}

static struct world *world_with(const char *how, const char *code, struct isola_host_limits limits)
{
    struct world *w = world_new(1);
    struct isola_host_type type = limited("T", how, code, limits);
    world_release_types(w, "t", "1", 1, &type);
    return w;
}

/* Asks, and the actor crashes of it. */
static void dies(struct world *w, const char *address, const char *program, const char *of)
{
    char line[300];
    snprintf(line, sizeof(line), "%s: crashed: %s", address, of);
    unsigned before = world_logged(w, line);
    must_fail(w, world_ask(w, address, program), ISOLA_EFAILED);
    assert_int_equal(world_logged(w, line), before + 1);
}

/* --- CPU time --- */

static const char cpu_text[] = "it used more than 20 ms of CPU in one turn (limit \"cpu\")";

static void a_loop_is_ended_with_where_it_was(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_with(options[i], "", (struct isola_host_limits){.cpu_ms = CPU});
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        uint64_t beside = world_ask(w, "t/T/b", "add 1; timer 1; add 1");
        dies(w, "t/T/a", "add 1; loop",
             "it used more than 20 ms of CPU in one turn (limit \"cpu\")\n    at loop");
        must_reply(w, beside, 2); /* its neighbour notices nothing */
        must_reply(w, world_ask(w, "t/T/b", "get"), 2);
        must_reply(w, world_ask(w, "t/T/a", "get"), 1); /* and it starts again from disk */
        assert_int_equal(world_logged(w, "crashed"), 1);
        world_end(w);
    }
}

static void what_does_not_notice_a_halt_is_ended_too(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_with(options[i], "", (struct isola_host_limits){.cpu_ms = CPU});
        dies(w, "t/T/a", "loop hard", cpu_text);
        assert_int_equal(world_logged(w, "at loop"), 0); /* nobody knows where it was */
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        world_end(w);
    }
}

/* The limit is for a turn: for all the entries it takes, and for nothing else. */
static void entries_of_a_turn_are_added_up(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_with(options[i], "", (struct isola_host_limits){.cpu_ms = CPU});
        for (int n = 0; n < 3; n++)
            must_reply(w, world_ask(w, "t/T/a", "spin 15; add 1"), n + 1);
        must_reply(w, world_ask(w, "t/T/a", "spin 8; timer 1; spin 8; add 1"), 4);
        dies(w, "t/T/a", "spin 15; timer 1; spin 15", cpu_text);
        dies(w, "t/T/a", "spin 9; ask t/T/b {echo 1}; spin 9; timer 1; spin 9", cpu_text);
        if (i == 0) /* whose tasks V8's are is known where there is only one */
            dies(w, "t/T/a", "spin 9; task; spin 9; task; spin 9", cpu_text);
        must_reply(w, world_ask(w, "t/T/b", "echo 1"),
                   0); /* the time of its asker is not its own */
        /* Outside of turns each entry is for itself. */
        must_reply(
            w, world_ask(w, "t/T/a", "later 1 {spin 15; note one}; later 1 {spin 15; note two}"),
            0);
        fake_await_note("t/T/a one", 1);
        fake_await_note("t/T/a two", 1);
        must_reply(w, world_ask(w, "t/T/a", "later 1 {spin 25}"), 0);
        world_await_logged(w, "t/T/a: crashed", i == 0 ? 4 : 3);
        world_end(w);
    }
}

/* Two turns at once: time that is in the name of neither is charged to neither. */
static void turns_that_overlap_have_their_own_time(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        char how[32];
        snprintf(how, sizeof(how), "%s reentrant", options[i]);
        struct world *w = world_with(how, "reentrant", (struct isola_host_limits){.cpu_ms = CPU});
        uint64_t one = world_ask(w, "t/T/a", "spin 15; note in; hold x; add 1");
        fake_await_note("t/T/a in", 1);
        must_reply(w, world_ask(w, "t/T/a", "timer 1; spin 9; timer 1; spin 9; timer 1; spin 9"),
                   0);
        must_reply(w, world_ask(w, "t/T/a", "spin 15; open x; echo 7"), 0);
        must_reply(w, one, 1);
        assert_int_equal(world_logged(w, "crashed"), 0);
        world_end(w);
    }
}

static void without_a_limit_there_is_none(void **state)
{
    (void)state;
    struct world *w = world_with("", "", (struct isola_host_limits){0});
    must_reply(w, world_ask(w, "t/T/a", "spin 100000; add 1"), 1);
    world_end(w);
}

static void encoding_the_state_is_limited_as_well(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_with(options[i], "", (struct isola_host_limits){.cpu_ms = CPU});
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        dies(w, "t/T/a", "bad endless", cpu_text);
        must_reply(w, world_ask(w, "t/T/a", "get"), 1);
        world_end(w);
    }
}

static void starts_have_limits(void **state)
{
    (void)state;
    static const char *const codes[] = {"start loop", "load loop"};
    for (int i = 0; i < 4; i++) {
        struct world *w = world_new(1);
        struct isola_host_type types[] = {
            limited("T", options[i % 2], codes[i / 2], (struct isola_host_limits){.cpu_ms = CPU}),
            limited("U", options[i % 2], "", (struct isola_host_limits){.cpu_ms = CPU}),
        };
        world_release_types(w, "t", "1", 2, types);
        must_reply(w, world_ask(w, "t/U/b", "add 1"), 1);
        struct outcome o = world_await(w, world_ask(w, "t/T/a", "add 1"));
        assert_int_equal(o.code, ISOLA_EFAILED);
        assert_non_null(strstr(o.text, "could not start: it used more than 20 ms of CPU while it "
                                       "started (limit \"cpu\")"));
        assert_string_equal(world_state(w, "t/T/a"), "failed");
        assert_int_equal(world_logged(w, "t/T/a: could not start: it used"), 1);
        must_reply(w, world_ask(w, "t/U/b", "add 1"), 2);
        world_end(w);
    }
}

/* --- the isolate's memory --- */

static void used_up_memory_ends_the_isolate(void **state)
{
    (void)state;
    static const struct {
        const char *program, *text;
    } of[] = {
        {"add 1; grow heap", "it used more than 1 MB of heap (limit \"heap\")"},
        {"add 1; grow external", "it used more than 2.5 MB of array buffers (limit \"external\")"},
    };
    for (int i = 0; i < 4; i++) {
        struct world *w =
            world_with(options[i % 2], "", (struct isola_host_limits){.external = 5 << 19});
        bool shared = i % 2;
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        must_reply(w, world_ask(w, "t/T/b", "add 1"), 1);
        uint64_t beside = world_ask(w, "t/T/b", "add 1; note in; timer 300; add 1");
        uint64_t waits = world_ask(w, "t/T/b", "add 1");
        fake_await_note("t/T/b in", 1);
        dies(w, "t/T/a", of[i / 2].program, of[i / 2].text);
        must_reply(w, world_ask(w, "t/T/a", "get"), 1);
        if (shared) {
            char said[300];
            snprintf(said, sizeof(said),
                     "t/T/b: crashed: the isolate it shares was stopped, since t/T/a crashed: %s",
                     of[i / 2].text);
            must_fail(w, beside, ISOLA_EFAILED);
            must_reply(w, waits, 2);
            assert_int_equal(world_logged(w, said), 1);
        }
        fake_await_isolates(shared ? 1 : 2); /* the old one is closed */
        if (!shared) {
            must_reply(w, beside, 3);
            must_reply(w, waits, 4);
        }
        world_end(w);
    }
}

static void of_those_that_share_an_isolate_the_largest_limit_counts(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct isola_host_type types[] = {
        limited("T", "shared", "",
                (struct isola_host_limits){.heap = 1 << 20, .external = 3 << 20}),
        limited("U", "shared", "",
                (struct isola_host_limits){.heap = 2 << 20, .external = 1 << 20}),
        limited("V", "", "", (struct isola_host_limits){.heap = 9 << 20, .external = 9 << 20}),
    };
    world_release_types(w, "t", "1", 3, types);
    dies(w, "t/T/a", "grow heap", "it used more than 2 MB of heap");
    dies(w, "t/U/a", "grow external", "it used more than 3 MB of array buffers");
    dies(w, "t/V/a", "grow heap", "it used more than 9 MB of heap");
    world_end(w);
}

/* --- bystanders --- */

/* In an isolate that lives on, those go with the guilty one whose turns may have been cut off: that
 * wait for nothing the host knows of. */
static void what_was_cut_off_with_it_starts_again(void **state)
{
    (void)state;
    struct world *w = world_with("shared", "", (struct isola_host_limits){.cpu_ms = CPU});
    unsigned before = fake_activations();
    uint64_t opened = world_ask(w, "t/T/b", "add 1; note in; hold x; add 1");
    uint64_t holds = world_ask(w, "t/T/c", "add 1; note in; hold y; add 1");
    uint64_t timer = world_ask(w, "t/T/d", "add 1; note in; timer 50; add 1");
    uint64_t asks = world_ask(w, "t/T/e", "add 1; note in; ask t/T/f {timer 50; get}; add 1");
    static const char *const in[] = {"t/T/b in", "t/T/c in", "t/T/d in", "t/T/e in"};
    for (int i = 0; i < 4; i++)
        fake_await_note(in[i], 1);
    must_reply(w, world_ask(w, "t/T/g", "add 1"), 1);
    dies(w, "t/T/a", "open x; loop", cpu_text);
    must_fail(w, opened, ISOLA_EFAILED);
    must_fail(w, holds, ISOLA_EFAILED);
    must_reply(w, timer, 2);
    must_reply(w, asks, 2);
    assert_int_equal(world_logged(w, "the isolate it shares was stopped, since t/T/a crashed: it "
                                     "used more than 20 ms of CPU"),
                     2);
    must_reply(w, world_ask(w, "t/T/b", "add 1"), 1);
    must_reply(w, world_ask(w, "t/T/g", "add 1"), 2);
    assert_int_equal(world_logged(w, "crashed"), 3);
    assert_int_equal(fake_activations() - before, 8); /* b again; nobody else has been asked */
    world_end(w);
}

/* Whose program goes on in the entry of another is to blame for what it does. */
static void the_one_whose_code_it_was_is_to_blame(void **state)
{
    (void)state;
    struct world *w = world_with("shared", "", (struct isola_host_limits){.cpu_ms = CPU});
    uint64_t loops = world_ask(w, "t/T/b", "note in; hold x; loop");
    fake_await_note("t/T/b in", 1);
    must_reply(w, world_ask(w, "t/T/a", "add 1; open x"), 1);
    must_fail(w, loops, ISOLA_EFAILED);
    assert_int_equal(world_logged(w, "t/T/b: crashed: it used more than 20 ms"), 1);
    must_reply(w, world_ask(w, "t/T/a", "get"), 1);
    assert_int_equal(world_logged(w, "crashed"), 1);
    world_end(w);
}

/* Crashes of others do not count towards its own. */
static void bystanders_do_not_fail(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct isola_host_type types[] = {
        limited("T", "shared", "", (struct isola_host_limits){0}),
        limited("U", "shared", "", (struct isola_host_limits){0}),
    };
    types[1].life = (struct isola_host_life){.restarts = 0, .within_ms = 60000};
    world_release_types(w, "t", "1", 2, types);
    for (int i = 0; i < 5; i++) {
        must_reply(w, world_ask(w, "t/U/b", "add 1"), i + 1);
        must_fail(w, world_ask(w, "t/T/a", "grow heap"), ISOLA_EFAILED);
    }
    must_reply(w, world_ask(w, "t/U/b", "add 1"), 6);
    must_fail(w, world_ask(w, "t/U/b", "grow heap"), ISOLA_EFAILED);
    assert_int_equal(world_await(w, world_ask(w, "t/U/b", "get")).code, ISOLA_EFAILED);
    assert_string_equal(world_state(w, "t/U/b"), "failed");
    world_end(w);
}

/* --- what C counts --- */

static void too_much_of_it_is_a_crash_and_nothing_leaves(void **state)
{
    (void)state;
    static const struct {
        const char *program, *text;
        struct isola_host_limits limits;
    } of[] = {
        {"emit t/T/b {note out}; sub t/T/b x; sub t/T/b y; sub t/T/b z; note more",
         "it made more than 2 subscriptions (limit \"subscriptions\")",
         {.subscriptions = 2}},
        {"emit t/T/b {note out}; later 60000 {get}; later 60000 {get}; later 60000 {get}; note "
         "more",
         "it set more than 2 timers (limit \"timers\")",
         {.timers = 2}},
        {"emit t/T/b {note out}; emit t/T/b {note out}; emit t/T/b {note out}; emit t/T/b {note "
         "out}; note more",
         "it sent more than 0.000572205 MB in one go (limit \"output\")",
         {.output = 600}},
    };
    for (int i = 0; i < 6; i++) {
        struct world *w = world_with(options[i % 2], "", of[i / 2].limits);
        must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
        dies(w, "t/T/a", of[i / 2].program, of[i / 2].text);
        must_reply(w, world_ask(w, "t/T/a", "get"), 1);
        must_reply(w, world_ask(w, "t/T/b", "get"), 0);
        assert_int_equal(fake_count_note("t/T/b out"), 0);
        assert_int_equal(fake_count_note("t/T/a more"), 0);
        /* What has ended does not count any more. */
        must_reply(
            w, world_ask(w, "t/T/a", "sub t/T/b x; later 1 {note done}; emit t/T/b {get}; get"), 1);
        fake_await_note("t/T/a done", 1);
        if (i < 2)
            must_reply(w, world_ask(w, "t/T/a", "unsub; sub t/T/b x; sub t/T/b y; unsub; get"), 1);
        assert_int_equal(world_logged(w, "crashed"), 1);
        world_end(w);
    }
}

static void more_asks_than_it_may_have_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        char how[32];
        snprintf(how, sizeof(how), "%s reentrant", options[i]);
        struct world *w = world_with(how, "reentrant", (struct isola_host_limits){.asks = 2});
        uint64_t ask[2];
        for (int n = 0; n < 2; n++)
            ask[n] = world_ask(w, "t/T/a", "note in; ask t/T/b {hold x; add 1}");
        fake_await_note("t/T/a in", 2);
        struct outcome o = world_await(w, world_ask(w, "t/T/a", "ask t/T/b {get}"));
        assert_int_equal(o.code, ISOLA_EOVERLOAD);
        assert_string_equal(o.text, "2 asks of this actor are under way (limit \"asks\")");
        must_reply(w, world_ask(w, "t/T/b", "open x; get"), 0);
        for (int n = 0; n < 2; n++)
            assert_int_equal(world_await(w, ask[n]).kind, ISOLA_MSG_REPLY);
        must_reply(w, world_ask(w, "t/T/a", "ask t/T/b {get}"), 2);
        assert_int_equal(world_logged(w, "crashed"), 0);
        world_end(w);
    }
}

static void lines_beyond_the_rate_are_dropped_and_counted(void **state)
{
    (void)state;
    struct world *w = world_with("", "", (struct isola_host_limits){.log_rate = 5});
    char lines[256] = "";
    for (int i = 0; i < 20; i++)
        strcat(lines, "log line; ");
    must_reply(w, world_ask(w, "t/T/a", lines), 0);
    unsigned through = world_logged(w, "t/T/a: line");
    assert_in_range(through, 5, 10); /* a second may have begun meanwhile */
    assert_in_range(world_logged(w, "it logs more than 5 lines a second: the rest is dropped"), 1,
                    2);
    must_reply(w, world_ask(w, "t/T/a", "timer 1001; log line"), 0);
    assert_int_equal(world_logged(w, "t/T/a: line"), through + 1);
    char dropped[64];
    snprintf(dropped, sizeof(dropped), "%u lines were dropped (limit \"logRate\")", 20 - through);
    if (through == 5) /* else they are told of in two parts */
        assert_int_equal(world_logged(w, dropped), 1);
    must_reply(w, world_ask(w, "t/T/b", "log line"), 0); /* its neighbour has a rate of its own */
    assert_int_equal(world_logged(w, "t/T/b: line"), 1);
    world_end(w);
}

static void mailboxes_and_messages_have_bounds(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = world_with(
            options[i], "",
            (struct isola_host_limits){.mailbox = 3, .mailbox_bytes = 20000, .message = 15000});
        char program[16000], large[12000];
        memset(program, ' ', sizeof(program) - 1);
        program[sizeof(program) - 1] = '\0';
        memset(large, ' ', sizeof(large) - 1);
        large[sizeof(large) - 1] = '\0';
        memcpy(large, "add 1", 5);
        struct outcome o = world_await(w, world_ask(w, "t/T/a", program));
        assert_int_equal(o.code, ISOLA_ETOOBIG);
        assert_non_null(
            strstr(o.text, "a message to t/T/a has at most 15000 bytes, this one has "));
        assert_string_equal(world_state(w, "t/T/a"), "none"); /* nobody is made to refuse it */
        uint64_t busy = world_ask(w, "t/T/a", "note in; block go");
        fake_await_note("t/T/a in", 1);
        uint64_t one = world_ask(w, "t/T/a", large);
        o = world_await(w, world_ask(w, "t/T/a", large));
        assert_int_equal(o.code, ISOLA_EOVERLOAD);
        assert_string_equal(o.text, "the mailbox of t/T/a is full (limit \"mailboxBytes\")");
        uint64_t two = world_ask(w, "t/T/a", "add 1"), three = world_ask(w, "t/T/a", "add 1");
        must_fail(w, world_ask(w, "t/T/a", "add 1"), ISOLA_EOVERLOAD);
        fake_open("go");
        must_reply(w, busy, 0);
        must_reply(w, one, 1);
        must_reply(w, two, 2);
        must_reply(w, three, 3);
        must_reply(w, world_ask(w, "t/T/a", large), 4); /* and there is room again */
        world_end(w);
    }
}

/* Whose mailbox is full is told to senders, whatever has become of what was in other full ones. */
static void a_full_mailbox_is_told_of(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct world *w = world_new(3);
        unsigned full = 3 + (unsigned)i / 2;
        struct isola_host_type types[] = {
            limited("T", "", "", (struct isola_host_limits){.mailbox = full}),
            world_type("R", "reentrant", "reentrant")};
        world_release_types(w, "t", "1", 2, types);
        uint64_t busy = world_ask(w, "t/T/a", "note in; block a");
        fake_await_note("t/T/a in", 1);
        for (unsigned n = 0; n < full && i % 2 == 0; n++) /* what has timed out */
            must_reply(w, world_ask(w, "t/R/r", "tryask t/T/a {note never} 5"), ISOLA_ETIMEDOUT);
        for (unsigned n = 0; n < full && i % 2 == 1;
             n++) /* what is cancelled, as its asker crashes */
            (void)world_ask(w, "t/R/r", "ask t/T/a {note never}");
        must_reply(w, world_ask(w, "t/R/r", "tryask t/T/a {get}"), ISOLA_EOVERLOAD);
        if (i % 2 == 1) {
            must_fail(w, world_ask(w, "t/R/r", "crash oh"), ISOLA_EFAILED);
            must_reply(w, world_ask(w, "t/R/r", "get"), 0);
        }
        fake_open("a");
        must_reply(w, busy, 0);
        uint64_t deadline = fake_deadline();
        while (world_await(w, world_ask(w, "t/T/a", "get")).code == ISOLA_EOVERLOAD)
            assert_true(isola_clock_ms() < deadline); /* until what was in it has been seen to */
        assert_int_equal(fake_count_note("t/T/a never"), 0);

        busy = world_ask(w, "t/T/c", "note in; block c");
        fake_await_note("t/T/c in", 1);
        for (unsigned n = 0; n < full; n++) /* half of it may be filled without a word */
            must_reply(w, world_ask(w, "t/R/r", "emit t/T/c {note one}"), n <= full / 2);
        must_reply(w, world_ask(w, "t/R/r", "emit t/T/c {note last}"), false);
        must_reply(w, world_ask(w, "t/R/r", "emit t/T/a {get}"), true);
        fake_open("c");
        must_reply(w, busy, 0);
        fake_await_note("t/T/c one", full);
        must_reply(w, world_ask(w, "t/R/r", "ask t/T/c {get}; emit t/T/c {get}"), true);
        assert_int_equal(fake_count_note("t/T/c last"), 0);
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_is_ended_with_where_it_was),
        cmocka_unit_test(what_does_not_notice_a_halt_is_ended_too),
        cmocka_unit_test(entries_of_a_turn_are_added_up),
        cmocka_unit_test(turns_that_overlap_have_their_own_time),
        cmocka_unit_test(without_a_limit_there_is_none),
        cmocka_unit_test(encoding_the_state_is_limited_as_well),
        cmocka_unit_test(starts_have_limits),
        cmocka_unit_test(used_up_memory_ends_the_isolate),
        cmocka_unit_test(of_those_that_share_an_isolate_the_largest_limit_counts),
        cmocka_unit_test(what_was_cut_off_with_it_starts_again),
        cmocka_unit_test(the_one_whose_code_it_was_is_to_blame),
        cmocka_unit_test(bystanders_do_not_fail),
        cmocka_unit_test(too_much_of_it_is_a_crash_and_nothing_leaves),
        cmocka_unit_test(more_asks_than_it_may_have_are_refused),
        cmocka_unit_test(lines_beyond_the_rate_are_dropped_and_counted),
        cmocka_unit_test(mailboxes_and_messages_have_bounds),
        cmocka_unit_test(a_full_mailbox_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
