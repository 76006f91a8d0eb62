/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters: what becomes one, what is kept of it, and how many are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/letters.h"
#include "fake_world.h"

struct seen {
    unsigned n;
    char last[600];
    uint64_t seq;
    size_t args;
};

static void see(const struct isola_host_letter *l, void *arg)
{
    struct seen *s = arg;
    s->n++;
    s->seq = l->seq;
    s->args = l->args.len;
    snprintf(s->last, sizeof(s->last), "%d %s %.*s>%.*s: %.*s", l->kind, isola_error_name(l->code),
             ISOLA_FMT(l->from), ISOLA_FMT(l->to), ISOLA_FMT(l->reason));
}

static struct seen letters(struct world *w, const char *of)
{
    struct seen s = {0};
    (void)isola_host_letters(world_host(w), isola_slice_str(of), 0, see, &s);
    return s;
}

static void what_reaches_no_handler_is_kept(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "small", "start throwif broken");
    must_fail(w, world_ask(w, "t/None/a", "get"), ISOLA_ENOACTOR);
    struct seen s = letters(w, "");
    assert_int_equal(s.n, 1);
    assert_string_equal(s.last, "1 ENOACTOR >t/None/a: app \"t\" has no actor type \"None\"");
    must_fail(w, world_ask(w, "u/T/a", "get"), ISOLA_ENOACTOR);
    assert_int_equal(letters(w, "u").n, 1);
    assert_int_equal(letters(w, "t").n, 1);

    fake_flag("broken", true);
    must_fail(w, world_ask(w, "t/T/b", "get"), ISOLA_EFAILED);
    must_fail(w, world_ask(w, "t/T/b", "get"), ISOLA_EFAILED);
    s = letters(w, "t/T/b");
    assert_int_equal(s.n, 2);
    assert_string_equal(s.last, "1 EFAILED >t/T/b: t/T/b could not start: broken is set");
    assert_int_equal(letters(w, "t/T").n, 0); /* neither an app nor an address */
    fake_flag("broken", false);

    uint64_t held = world_ask(w, "t/T/c", "note in; block go; get");
    fake_await_note("t/T/c in", 1);
    for (int i = 0; i < 5; i++)
        world_emit(w, "t/T/c", "get");
    s = letters(w, "t/T/c");
    assert_int_equal(s.n, 1);
    assert_string_equal(s.last,
                        "2 EOVERLOAD >t/T/c: the mailbox of t/T/c is full (limit \"mailbox\")");
    fake_open("go");
    must_reply(w, held, 0);

    world_emit(w, "t/T/d", "throw oh");
    world_await_logged(w, "crashed: oh", 1);
    s = letters(w, "t/T/d");
    assert_int_equal(s.n, 1);
    assert_string_equal(s.last, "2 ESCRIPT >t/T/d: oh");
    must_fail(w, world_ask(w, "t/T/d", "ask t/None/x {get}"), ISOLA_ENOACTOR);
    assert_string_equal(letters(w, "t/None/x").last,
                        "1 ENOACTOR t/T/d>t/None/x: app \"t\" has no actor type \"None\"");
    must_fail(w, world_ask(w, "t/T/e", "crash oh; hold x"), ISOLA_EFAILED);
    assert_int_equal(letters(w, "t/T/e").n, 1);
    world_end(w);
}

static void an_answer_of_an_error_is_none(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    must_fail(w, world_ask(w, "t/T/a", "throw oh"), ISOLA_ESCRIPT);
    (void)world_await(w, world_stop(w, "t/None/a"));
    assert_int_equal(letters(w, "").n, 0);
    world_end(w);
}

static void only_the_last_are_kept_and_all_are_counted(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct isola_slice none = {0};
    char big[5000] = {0};
    struct isola_mail *m =
        isola_mail_new(ISOLA_MSG_EMIT, isola_slice_str("t/T/from"), isola_slice_str("t/T/to"),
                       isola_slice_str("x"), none, isola_slice(big, 10));
    for (int i = 0; i < ISOLA_LETTERS + 10; i++)
        isola_host_dead_letter(world_host(w), m, ISOLA_ENOACTOR, isola_slice_str("why"));
    struct seen s = letters(w, "t");
    assert_int_equal(s.n, ISOLA_LETTERS);
    assert_int_equal(s.seq, ISOLA_LETTERS + 10);
    assert_int_equal(s.args, 10);
    isola_mail_free(m);
    m = isola_mail_new(ISOLA_MSG_EMIT, none, isola_slice_str("t/T/to"), isola_slice_str("x"), none,
                       isola_slice(big, sizeof(big)));
    isola_host_dead_letter(world_host(w), m, ISOLA_ENOACTOR, isola_slice_str("why"));
    isola_mail_free(m);
    s = (struct seen){0};
    assert_int_equal(isola_host_letters(world_host(w), none, ISOLA_LETTERS + 10, see, &s),
                     ISOLA_LETTERS + 11);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.args, 0); /* too long to be kept */
    world_end(w);
}

/* Whoever is flooded does not fill the log: others' lines are in it too. */
static void many_that_are_dropped_say_so_a_few_times(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct isola_host_type type = world_type("T", "small", "");
    world_release_types(w, "t", "1", 1, &type);
    uint64_t held = world_ask(w, "t/T/a", "note in; block go; get");
    fake_await_note("t/T/a in", 1);
    for (int i = 0; i < 10000; i++)
        world_emit(w, "t/T/a", "get");
    assert_true(letters(w, "t/T/a").seq >= 9990);
    unsigned said = world_logged(w, " was dropped: the mailbox of t/T/a is full");
    assert_in_range(said, 20, 200); /* it may take some seconds */
    assert_in_range(world_logged(w, "more is dropped in this second than is said here"), 1, 10);
    fake_open("go");
    must_reply(w, held, 0);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_reaches_no_handler_is_kept),
        cmocka_unit_test(an_answer_of_an_error_is_none),
        cmocka_unit_test(many_that_are_dropped_say_so_a_few_times),
        cmocka_unit_test(only_the_last_are_kept_and_all_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
