/* SPDX-License-Identifier: Apache-2.0
 *
 * onUpgrade: called when another release has written what is kept, once, and what it changes is
 * there as a whole or not at all. Who has no such hook pays nothing for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host.h"
#include "base/msgpack.h"
#include "fake_world.h"

/* What is stored, as text: "mark RELEASE, N" or "N"; N is "nil" when there is no state. */
static void must_have(struct world *w, const char *address, const char *text)
{
    char got[100] = "";
    struct isola_buf value = world_stored_bytes(w, address);
    struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&value));
    struct isola_mp_item item;
    assert_int_equal(isola_mp_next(&r, &item), 0);
    if (item.type == ISOLA_MP_EXT) {
        struct isola_mp_reader in = isola_mp_reader(item.bytes);
        struct isola_mp_item list, id;
        assert_int_equal(item.ext, ISOLA_EXT_MARK);
        assert_true(isola_mp_take(&in, ISOLA_MP_ARRAY, &list) &&
                    isola_mp_take(&in, ISOLA_MP_STR, &id));
        snprintf(got, sizeof(got), "mark %.*s, ", ISOLA_FMT(id.bytes));
        assert_int_equal(isola_mp_next(&r, &item), 0);
    }
    size_t n = strlen(got);
    if (item.type == ISOLA_MP_NIL)
        snprintf(got + n, sizeof(got) - n, "nil");
    else
        snprintf(got + n, sizeof(got) - n, "%d", (int)item.u);
    assert_string_equal(got, text);
    isola_buf_free(&value);
}

static struct world *begin(const char *options, const char *code)
{
    struct world *w = world_new(2);
    world_release(w, "t", "1", options, code);
    return w;
}

static void stop(struct world *w, const char *address)
{
    (void)world_await(w, world_stop(w, address));
}

static void it_is_called_once_with_what_there_was(void **state)
{
    (void)state;
    static const char *const options[] = {"", "shared"};
    for (size_t i = 0; i < 2; i++) {
        struct world *w = begin(options[i], "upgrade from");
        must_reply(w, world_ask(w, "t/T/a", "add 5"), 5);
        must_have(w, "t/T/a", "mark 1, 5");
        world_release(w, "t", "2", options[i], "upgrade from; add 10\nstart add 100");
        must_reply(w, world_ask(w, "t/T/a", "get"), 115);
        assert_int_equal(fake_count_note("t/T/a from 1"), 1);
        must_have(w, "t/T/a", "mark 2, 115"); /* though its first turn has changed nothing */
        stop(w, "t/T/a");
        must_reply(w, world_ask(w, "t/T/a", "get"), 215);
        assert_int_equal(fake_count_note("t/T/a from 2"), 0);
        world_release(w, "t", "1", options[i], "upgrade from"); /* back */
        must_reply(w, world_ask(w, "t/T/a", "get"), 215);
        assert_int_equal(fake_count_note("t/T/a from 2"), 1);
        world_end(w);
    }
}

static void what_has_kept_nothing_is_not_upgraded(void **state)
{
    (void)state;
    struct world *w = begin("", "upgrade note never");
    must_reply(w, world_ask(w, "t/T/n", "echo 1; add 0"), 0);
    stop(w, "t/T/n");
    assert_int_equal(world_stored_bytes(w, "t/T/x").len, 0);
    world_release(w, "t", "2", "", "upgrade note never");
    must_reply(w, world_ask(w, "t/T/x", "echo 1; add 1"), 1);
    assert_int_equal(fake_count_note("t/T/x never"), 0);
    world_end(w);
}

static void without_the_hook_there_is_no_mark(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/b", "add 5"), 5);
    must_have(w, "t/T/b", "5");
    world_release(w, "t", "2", "", "upgrade from");
    must_reply(w, world_ask(w, "t/T/b", "get"), 5);
    assert_int_equal(fake_count_note("t/T/b from "), 1); /* it is not known by whom */
    must_have(w, "t/T/b", "mark 2, 5");
    world_release(w, "t", "3", "", "");
    must_reply(w, world_ask(w, "t/T/b", "get"), 5);
    must_have(w, "t/T/b", "mark 2, 5"); /* as long as nothing changes */
    must_reply(w, world_ask(w, "t/T/b", "add 1"), 6);
    must_have(w, "t/T/b", "6");
    world_end(w);
}

static void items_alone_are_marked_too(void **state)
{
    (void)state;
    struct world *w = begin("", "upgrade from");
    must_reply(w, world_ask(w, "t/T/c", "put x 1; look x"), 1);
    must_have(w, "t/T/c", "mark 1, nil");
    must_reply(w, world_ask(w, "t/T/c", "put x 2; look x"), 2);
    stop(w, "t/T/c");
    must_reply(w, world_ask(w, "t/T/c", "fetch x"), 2);
    assert_int_equal(fake_count_note("t/T/c from 1"), 0);
    world_end(w);
}

static void nothing_of_it_is_written_before_its_end(void **state)
{
    (void)state;
    struct world *w = begin("", "upgrade from");
    must_reply(w, world_ask(w, "t/T/d", "add 1; put x 1; look x"), 1);
    world_release(w, "t", "2", "",
                  "upgrade from; add 1; put x 2; sync; ask t/T/e {echo 1}; hold open");
    (void)world_ask(w, "t/T/d", "get");
    fake_await_note("t/T/d from 1", 1);
    must_reply(w, world_ask(w, "t/T/e", "echo 1; add 0"), 0);
    w = world_crash(w);
    world_release(w, "t", "3", "", "upgrade from; add 10; fetch x; put y 3");
    isola_host_outbox_begin(world_host(w));
    must_reply(w, world_ask(w, "t/T/d", "get"), 11);
    assert_int_equal(fake_count_note("t/T/d from 1"), 2);
    must_reply(w, world_ask(w, "t/T/d", "fetch x"), 1);
    must_reply(w, world_ask(w, "t/T/d", "fetch y"), 3);
    must_have(w, "t/T/d", "mark 3, 11");
    world_end(w);
}

static void a_failure_changes_nothing(void **state)
{
    (void)state;
    struct world *w = begin("", "upgrade from");
    must_reply(w, world_ask(w, "t/T/f", "add 1; put x 1; look x"), 1);
    world_release(w, "t", "2", "", "upgrade add 1; put x 2; sync; timer 1; throw no");
    must_fail(w, world_ask(w, "t/T/f", "get"), ISOLA_EFAILED);
    must_have(w, "t/T/f", "mark 1, 1");
    world_release(w, "t", "3", "", "upgrade from");
    must_reply(w, world_ask(w, "t/T/f", "fetch x"), 1);
    assert_int_equal(fake_count_note("t/T/f from 1"), 1);
    /* Nor does one of the disk. */
    world_release(w, "t", "4", "", "upgrade from; add 1");
    world_fail_writes(w, 1);
    assert_int_equal(world_await(w, world_ask(w, "t/T/f", "get")).kind, ISOLA_MSG_FAIL);
    must_reply(w, world_ask(w, "t/T/f", "get"), 2);
    assert_int_equal(fake_count_note("t/T/f from 3"), 2);
    must_have(w, "t/T/f", "mark 4, 2");
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_called_once_with_what_there_was),
        cmocka_unit_test(what_has_kept_nothing_is_not_upgraded),
        cmocka_unit_test(without_the_hook_there_is_no_mark),
        cmocka_unit_test(items_alone_are_marked_too),
        cmocka_unit_test(nothing_of_it_is_written_before_its_end),
        cmocka_unit_test(a_failure_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
