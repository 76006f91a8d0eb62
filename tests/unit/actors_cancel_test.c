/* SPDX-License-Identifier: Apache-2.0
 *
 * Cancellation: what nobody waits for any more is not begun, is told so when it runs, and cancels
 * what it has asked of others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fake_world.h"

static void cancel(struct world *w, const char *address, uint64_t id)
{
    struct isola_slice none = {0};
    struct isola_mail *m =
        isola_mail_new(ISOLA_MSG_CANCEL, none, isola_slice_str(address), none, none, none);
    m->origin.link = 1;
    m->origin.id = id;
    isola_host_post(world_host(w), m);
}

static void what_waits_is_not_begun(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    uint64_t held = world_ask(w, "t/T/a", "note in; block go; get");
    fake_await_note("t/T/a in", 1);
    uint64_t one = world_ask(w, "t/T/a", "note begun; add 1");
    uint64_t two = world_ask(w, "t/T/a", "add 10");
    cancel(w, "t/T/a", one);
    cancel(w, "t/T/none", one); /* nobody there: nobody is made for it */
    fake_open("go");
    must_reply(w, held, 0);
    must_reply(w, two, 10);
    assert_int_equal(fake_count_note("t/T/a begun"), 0);
    assert_int_equal(world_outcome(w, one).kind, 0);
    assert_int_equal(world_live(w), 1);
    world_end(w);
}

static void what_runs_is_told_and_cancels_what_it_has_asked(void **state)
{
    (void)state;
    static const char *const options[] = {"reentrant", "reentrant shared"};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(1);
        world_release(w, "t", "1", options[i], "reentrant");
        uint64_t one = world_ask(
            w, "t/T/a", "watch; ask t/T/b {watch; tryask t/T/c {watch; note in; hold x; get}}");
        uint64_t other = world_ask(w, "t/T/a", "watch; hold y; get");
        fake_await_note("t/T/c in", 1);
        cancel(w, "t/T/a", one);
        fake_await_note("t/T/a ECANCELED", 1);
        fake_await_note("t/T/b ECANCELED", 1);
        fake_await_note("t/T/c ECANCELED", 1);
        must_fail(w, one, ISOLA_ECANCELED); /* its script has let the failure of its ask out */
        assert_int_equal(world_outcome(w, other).kind, 0);
        must_reply(w, world_ask(w, "t/T/a", "open y; get"), 0);
        must_reply(w, other, 0);
        must_reply(w, world_ask(w, "t/T/c", "open x; get"), 0);
        assert_int_equal(fake_count_note("t/T/a ECANCELED"), 1);
        world_end(w);
    }
}

static void a_connection_that_ends_cancels_what_it_has_asked(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "reentrant");
    struct isola_host_type type = world_type("T", "reentrant", "reentrant");
    world_release_types(w, "t", "2", 1, &type);
    uint64_t one = world_ask(w, "t/T/a", "watch; note in; hold x; get");
    fake_await_note("t/T/a in", 1);
    isola_host_drop_link(world_host(w), 2);
    isola_host_drop_link(world_host(w), 1);
    fake_await_note("t/T/a ECANCELED", 1);
    must_reply(w, world_ask(w, "t/T/a", "open x; get"), 0);
    must_reply(w, one, 0);
    world_end(w);
}

static void the_end_of_its_time_is_told(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "reentrant", "reentrant");
    must_reply(w, world_ask(w, "t/T/a", "tryask t/T/b {watch; hold x; get} 40"), ISOLA_ETIMEDOUT);
    fake_await_note("t/T/b ETIMEDOUT", 1);
    must_reply(w, world_ask(w, "t/T/b", "open x; get"), 0);
    /* A turn that ends in time hears nothing. */
    must_reply(w, world_ask(w, "t/T/a", "ask t/T/c {watch; get} 40"), 0);
    must_reply(w, world_ask(w, "t/T/a", "timer 80; get"), 0);
    assert_int_equal(fake_count_note("t/T/c ETIMEDOUT"), 0);
    world_end(w);
}

static void the_end_of_the_asker_is_told(void **state)
{
    (void)state;
    static const char *const options[] = {"reentrant", "reentrant shared"};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        world_release(w, "t", "1", options[i], "reentrant");
        uint64_t one = world_ask(w, "t/T/a", "ask t/T/b {watch; note in; hold x; get}");
        fake_await_note("t/T/b in", 1);
        must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
        must_fail(w, one, ISOLA_EFAILED);
        fake_await_note("t/T/b ECANCELED", 1);
        must_reply(w, world_ask(w, "t/T/b", "open x; get"), 0);
        world_end(w);
    }
}

static void a_cancel_goes_to_other_nodes(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    uint64_t one = world_ask(w, "t/T/a", "ask t/T/far {get}");
    world_await_forwarded(w, 1);
    cancel(w, "t/T/a", one);
    world_await_forwarded(w, 2);
    const struct isola_mail *ask = world_forwarded(w, 0), *m = world_forwarded(w, 1);
    assert_int_equal(m->kind, ISOLA_MSG_CANCEL);
    assert_ptr_equal(m->origin.realm, ask->origin.realm);
    assert_int_equal(m->origin.id, ask->origin.id);
    must_fail(w, one, ISOLA_ECANCELED);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_is_not_begun),
        cmocka_unit_test(what_runs_is_told_and_cancels_what_it_has_asked),
        cmocka_unit_test(a_connection_that_ends_cancels_what_it_has_asked),
        cmocka_unit_test(the_end_of_its_time_is_told),
        cmocka_unit_test(the_end_of_the_asker_is_told),
        cmocka_unit_test(a_cancel_goes_to_other_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
