/* SPDX-License-Identifier: Apache-2.0
 *
 * Databases of actors: what a turn has changed in its own is written with it, before anyone hears
 * of the turn; what a crash or a failed write takes back was never there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "fake_world.h"

#define CREATE "sql {CREATE TABLE t (a)}"
#define COUNT  "sql {SELECT count(*) FROM t}"

static struct world *begin(const char *options, const char *code)
{
    struct world *w = world_new(2);
    world_release(w, "t", "1", options, code);
    return w;
}

static void an_answer_waits_for_what_was_changed(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", "echo 1; get"), 0);
    world_hold_store(w, true);
    uint64_t id = world_ask(w, "t/T/a", "emit t/T/b {note heard}; echo 7; add 0");
    must_reply(w, id, 0); /* nothing has changed yet */
    world_hold_store(w, false);
    must_reply(w, world_ask(w, "t/T/a", CREATE "; get"), 0);
    world_hold_store(w, true);
    id = world_ask(w, "t/T/a", "sql {INSERT INTO t VALUES (1)}; emit t/T/b {note late}; " COUNT);
    world_await_held(w, 1);
    assert_int_equal(world_outcome(w, id).kind, 0);
    assert_int_equal(fake_count_note("t/T/b late"), 0);
    world_hold_store(w, false);
    must_reply(w, id, 1);
    fake_await_note("t/T/b late", 1);
    (void)world_await(w, world_stop(w, "t/T/a"));
    must_reply(w, world_ask(w, "t/T/a", COUNT), 1);
    world_hold_store(w, true);
    must_reply(w, world_ask(w, "t/T/a", COUNT), 1); /* who only reads waits for nothing */
    world_hold_store(w, false);
    world_end(w);
}

static void state_and_rows_are_one_write(void **state)
{
    (void)state;
    struct world *w = begin("", "start sql {CREATE TABLE IF NOT EXISTS t (a)}");
    must_reply(w, world_ask(w, "t/T/a", "add 1; sql {INSERT INTO t VALUES (1)}; get"), 1);
    world_fail_writes(w, 1);
    must_fail(w, world_ask(w, "t/T/a", "add 1; sql {INSERT INTO t VALUES (2)}; get"), ISOLA_EIO);
    must_reply(w, world_ask(w, "t/T/a", "sql {SELECT max(a) FROM t}"), 1);
    must_reply(w, world_ask(w, "t/T/a", "get"), 1);
    world_end(w);
}

static void a_crash_takes_changes_back(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", CREATE "; sql {INSERT INTO t VALUES (1)}; " COUNT), 1);
    must_fail(w, world_ask(w, "t/T/a", "sql {INSERT INTO t VALUES (2)}; crash oh; hold never"),
              ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", COUNT), 1);
    world_end(w);
}

/* What a long turn has changed is on disk when it sends, and not before. */
static void a_long_turn_is_written_as_it_sends(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", CREATE "; echo 1; get"), 0);
    must_reply(w, world_ask(w, "t/T/b", "echo 1; get"), 0);
    must_fail(w,
              world_ask(w, "t/T/a",
                        "sql {INSERT INTO t VALUES (1)}; ask t/T/b get; sql {INSERT INTO t VALUES "
                        "(2)}; timer 1; crash oh; hold never"),
              ISOLA_EFAILED);
    must_reply(w, world_ask(w, "t/T/a", COUNT), 1);
    world_end(w);
}

/* Cursors and transactions end when the code gives way. */
static void what_is_left_open_ends(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", CREATE "; sql {INSERT INTO t VALUES (1), (2)}; " COUNT), 2);
    must_reply(w, world_ask(w, "t/T/a", "sqlopen {SELECT a FROM t}"), 1);
    must_reply(w, world_ask(w, "t/T/a", "sqlbegin; sql {DELETE FROM t}; " COUNT), 0);
    must_reply(w, world_ask(w, "t/T/a", COUNT), 2);
    must_reply(w, world_ask(w, "t/T/a", "sqlbegin; sql {DELETE FROM t}; timer 1; " COUNT), 2);
    must_reply(
        w, world_ask(w, "t/T/a", "sqlopen {SELECT a FROM t}; timer 1; sql {DROP TABLE t}; get"), 0);
    must_fail(w, world_ask(w, "t/T/a", COUNT), ISOLA_ESQL);
    world_end(w);
}

static void a_state_that_cannot_be_had(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    world_fail_reads(w, 1, ISOLA_EUNREACHABLE);
    must_fail(w, world_ask(w, "t/T/a", CREATE), ISOLA_EUNREACHABLE);
    world_fail_reads(w, 0, 0);
    world_end(w);
}

static void actors_of_one_isolate_have_their_own(void **state)
{
    (void)state;
    struct world *w = begin("shared", "");
    must_reply(w, world_ask(w, "t/T/a", CREATE "; " COUNT), 0);
    must_fail(w, world_ask(w, "t/T/b", COUNT), ISOLA_ESQL);
    must_reply(w, world_ask(w, "t/T/b", CREATE "; sql {INSERT INTO t VALUES (1)}; " COUNT), 1);
    must_reply(w, world_ask(w, "t/T/a", COUNT), 0);
    world_end(w);
}

/* Many turns at once, with writes that fail: what was answered is there. */
static void what_was_answered_is_there(void **state)
{
    (void)state;
    struct world *w = begin("", "start sql {CREATE TABLE IF NOT EXISTS t (a)}");
    uint64_t id[200];
    int64_t most = 0;
    must_reply(w, world_ask(w, "t/T/a", COUNT), 0);
    world_fail_writes_of(w, 30);
    for (size_t i = 0; i < 200; i++)
        id[i] = world_ask(w, "t/T/a", "sql {INSERT INTO t VALUES (1)}; " COUNT);
    for (size_t i = 0; i < 200; i++) {
        struct outcome o = world_await(w, id[i]);
        if (o.kind == ISOLA_MSG_REPLY && o.value > most)
            most = o.value;
    }
    world_fail_writes_of(w, 0);
    (void)world_await(w, world_stop(w, "t/T/a"));
    struct outcome o = world_await(w, world_ask(w, "t/T/a", COUNT));
    assert_int_equal(o.kind, ISOLA_MSG_REPLY);
    assert_int_equal(o.value, most);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_waits_for_what_was_changed),
        cmocka_unit_test(state_and_rows_are_one_write),
        cmocka_unit_test(a_crash_takes_changes_back),
        cmocka_unit_test(a_long_turn_is_written_as_it_sends),
        cmocka_unit_test(what_is_left_open_ends),
        cmocka_unit_test(a_state_that_cannot_be_had),
        cmocka_unit_test(actors_of_one_isolate_have_their_own),
        cmocka_unit_test(what_was_answered_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
