/* SPDX-License-Identifier: Apache-2.0
 *
 * Storage: what is put is on disk before anyone hears of it, what is read has all changes before,
 * a transaction is there as a whole or not at all, and what a crash takes back was never there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host.h"
#include "actors/items.h"
#include "fake_world.h"

#define ITEM ISOLA_KEPT_ITEM

static void must_say(struct world *w, const char *address, const char *program, const char *text)
{
    struct outcome o = world_await(w, world_ask(w, address, program));
    if (o.kind != ISOLA_MSG_REPLY || strcmp(o.text, text) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", program, o.text, text);
}

static struct world *begin(const char *options, const char *code)
{
    struct world *w = world_new(2);
    world_release(w, "t", "1", options, code);
    return w;
}

/* --- saving --- */

static void an_answer_waits_for_what_was_put(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", "echo 1; get"), 0);
    world_hold_store(w, true);
    uint64_t id = world_ask(w, "t/T/a", "put x 7; put y 8; put x 9; look x");
    world_await_held(w, 1);
    assert_int_equal(world_outcome(w, id).kind, 0);
    world_hold_store(w, false);
    must_reply(w, id, 9);
    world_await_kept(w, "t/T/a", ITEM, 2);
    (void)world_await(w, world_stop(w, "t/T/a"));
    must_reply(w, world_ask(w, "t/T/a", "fetch x"), 9);
    must_reply(w, world_ask(w, "t/T/a", "drop x; fetch x"), -1);
    world_await_kept(w, "t/T/a", ITEM, 1);
    must_reply(w, world_ask(w, "t/T/a", "fetch x"), -1);
    world_end(w);
}

/* What is put in a start, or outside of turns, is saved without a message. */
static void what_is_put_outside_of_turns_is_saved(void **state)
{
    (void)state;
    struct world *w = begin("", "start put born 1");
    must_reply(w, world_ask(w, "t/T/a", "later 5 {put late 2}; echo 1; get"), 0);
    world_await_kept(w, "t/T/a", ITEM, 2);
    must_say(w, "t/T/a", "keys", "born=1 late=2 ");
    world_end(w);
}

static void a_start_may_wait_for_what_it_has_put(void **state)
{
    (void)state;
    struct world *w =
        begin("", "start put a 1; note up; timer 30; sync; note saved; fetch b; put b 2");
    uint64_t id = world_ask(w, "t/T/a", "keys");
    fake_await_note("t/T/a up", 1);
    world_hold_store(w, true);
    world_await_held(w, 1);
    assert_int_equal(fake_count_note("t/T/a saved"), 0);
    world_hold_store(w, false);
    assert_string_equal(world_await(w, id).text, "a=1 b=2 ");
    world_end(w);
}

static void a_crash_takes_back_what_was_not_saved(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", "put x 1; look x"), 1);
    must_fail(w, world_ask(w, "t/T/a", "put x 2; put y 2; crash oh"), ISOLA_EFAILED);
    must_say(w, "t/T/a", "keys", "x=1 ");
    world_fail_writes(w, 1);
    must_fail(w, world_ask(w, "t/T/a", "drop x; put y 2; look y"), ISOLA_EIO);
    must_say(w, "t/T/a", "keys", "x=1 ");
    /* What was waited for is saved whatever follows. */
    must_fail(w, world_ask(w, "t/T/a", "put z 3; sync; put x 4; crash oh"), ISOLA_EFAILED);
    must_say(w, "t/T/a", "keys", "x=1 z=3 ");
    world_end(w);
}

static void sync_waits_for_the_disk(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", "sync; add 1"), 1); /* nothing has changed */
    world_hold_store(w, true);
    uint64_t id = world_ask(w, "t/T/a", "put x 1; sync; note synced; look x");
    world_await_held(w, 1);
    assert_int_equal(fake_count_note("t/T/a synced"), 0);
    world_hold_store(w, false);
    must_reply(w, id, 1);
    assert_int_equal(fake_count_note("t/T/a synced"), 1);
    world_end(w);
}

/* --- reading --- */

static void changes_lie_over_what_is_read(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", "put b 1; put d 1; put f 1; put h 1; add 0"), 0);
    must_say(w, "t/T/a", "keys", "b=1 d=1 f=1 h=1 ");
    must_say(w, "t/T/a", "keys d h", "d=1 f=1 ");
    must_say(w, "t/T/a", "put a 2; drop d; put f 2; put i 2; keys", "a=2 b=1 f=2 h=1 i=2 ");
    must_say(w, "t/T/a", "keys", "a=2 b=1 f=2 h=1 i=2 ");
    must_say(w, "t/T/a", "put c 3; drop f; down", "i=2 h=1 c=3 b=1 a=2 ");
    must_say(w, "t/T/a", "keys - - 2", "a=2 b=1 +b");
    must_say(w, "t/T/a", "drop a; drop b; drop c; keys - - 2", "h=1 i=2 +i");
    must_say(w, "t/T/a", "drop i; put j 1; put k 1; down - - 2", "k=1 j=1 +j");
    must_say(w, "t/T/a", "put aa 1; down b - 9", "k=1 j=1 h=1 ");
    /* A page of the store's ends before changes that come later. */
    must_say(w, "t/T/a", "put z 1; put y 1; keys - - 3", "aa=1 h=1 j=1 +j");
    world_end(w);
}

/* What is put after a read was asked for is not in it. */
static void a_read_is_as_of_when_it_was_asked_for(void **state)
{
    (void)state;
    struct world *w = begin("reentrant", "reentrant");
    must_reply(w, world_ask(w, "t/T/a", "put x 1; add 0"), 0);
    (void)world_await(w, world_stop(w, "t/T/a"));
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    world_hold_store(w, true);
    uint64_t one = world_ask(w, "t/T/a", "fetch x");
    uint64_t all = world_ask(w, "t/T/a", "keys");
    world_await_held(w, 2);
    uint64_t put = world_ask(w, "t/T/a", "put x 2; put y 2; add 0");
    world_await_held(w, 3);
    world_hold_store(w, false);
    must_reply(w, one, 1);
    must_reply(w, put, 0);
    assert_string_equal(world_await(w, all).text, "x=1 ");
    must_reply(w, world_ask(w, "t/T/a", "fetch x"), 2);
    /* Nor when it changes what was laid over the read. */
    world_hold_store(w, true);
    all = world_ask(w, "t/T/a", "put z 3; keys");
    world_await_held(w, 1);
    put = world_ask(w, "t/T/a", "put z 4; add 0");
    world_await_held(w, 2);
    world_hold_store(w, false);
    assert_string_equal(world_await(w, all).text, "x=2 y=2 z=3 ");
    must_reply(w, put, 0);
    must_say(w, "t/T/a", "keys", "x=2 y=2 z=4 ");
    world_end(w);
}

static void what_cannot_be_read_is_told(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", "put x 1; add 0"), 0);
    (void)world_await(w, world_stop(w, "t/T/a"));
    must_reply(w, world_ask(w, "t/T/a", "get"), 0);
    world_fail_reads(w, 1, ISOLA_EIO);
    must_fail(w, world_ask(w, "t/T/a", "fetch x"), ISOLA_EIO);
    must_reply(w, world_ask(w, "t/T/a", "fetch x"), 1);
    (void)world_await(w, world_stop(w, "t/T/a"));
    static const char *const ops[] = {"put x 1", "drop x", "look x", "fetch x",
                                      "keys",    "begin",  "wipe",   "sync"};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        world_fail_reads(w, 1, ISOLA_EUNREACHABLE);
        must_fail(w, world_ask(w, "t/T/a", ops[i]), ISOLA_EUNREACHABLE);
        (void)world_await(w, world_stop(w, "t/T/a"));
    }
    must_say(w, "t/T/a", "keys", "x=1 ");
    world_end(w);
}

static void answers_to_an_activation_that_has_ended_are_dropped(void **state)
{
    (void)state;
    static const char *const options[] = {"reentrant", "reentrant shared"};
    for (int k = 0; k < 2; k++) {
        struct world *w = begin(options[k], "reentrant");
        must_reply(w, world_ask(w, "t/T/a", "put x 1; put y 2; add 0"), 0);
        (void)world_await(w, world_stop(w, "t/T/a"));
        must_reply(w, world_ask(w, "t/T/a", "get"), 0);
        world_hold_store(w, true);
        uint64_t one = world_ask(w, "t/T/a", "fetch x"),
                 all = world_ask(w, "t/T/a", "put z 1; keys");
        world_await_held(w, 2);
        must_fail(w, world_ask(w, "t/T/a", "crash oh"), ISOLA_EFAILED);
        must_fail(w, one, ISOLA_EFAILED);
        must_fail(w, all, ISOLA_EFAILED);
        world_hold_store(w, false);
        must_say(w, "t/T/a", "keys", "x=1 y=2 ");
        world_end(w);
    }
}

/* An actor that reads does not hibernate. */
static void a_read_keeps_an_actor_awake(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct isola_host_type type = world_type("T", "", "");
    type.life.hibernate_after_ms = 5;
    world_release_types(w, "t", "1", 1, &type);
    must_reply(w, world_ask(w, "t/T/a", "put x 1; add 0"), 0);
    fake_await_isolates(0);
    uint64_t passes = world_ask(w, "t/T/b", "note up; timer 400; trace");
    fake_await_note("t/T/b up", 1);
    must_reply(w, world_ask(w, "t/T/a", "later 10 {fetch x; note read}; trace"), 0);
    world_hold_store(w, true);
    world_await_held(w, 1);
    must_reply(w, passes, 0);
    assert_int_equal(fake_count_note("t/T/a read"), 0);
    world_hold_store(w, false);
    fake_await_note("t/T/a read", 1);
    world_end(w);
}

/* --- transactions --- */

static void a_transaction_is_there_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_say(w, "t/T/a", "put a 1; begin; put a 2; put b 2; keys", "a=2 b=2 ");
    must_say(w, "t/T/a", "undo; keys", "a=1 ");
    must_say(w, "t/T/a", "begin; put c 3; drop a; commit; keys", "c=3 ");
    must_say(w, "t/T/a", "put d 4; begin; put d 5; drop c; fetch d; commit; keys", "d=5 ");
    must_reply(w, world_ask(w, "t/T/a", "begin; put d 6; undo; fetch d"), 5);
    must_fail(w, world_ask(w, "t/T/a", "begin; begin"), ISOLA_EINVAL);
    must_fail(w, world_ask(w, "t/T/a", "wipe"), ISOLA_EINVAL);
    must_say(w, "t/T/a", "undo; undo; commit; keys", "d=5 ");
    must_fail(w, world_ask(w, "t/T/a", "begin; put e 1; crash oh"), ISOLA_EFAILED);
    must_say(w, "t/T/a", "keys", "d=5 ");
    world_end(w);
}

/* What leaves in between waits for what was changed before it began, and takes nothing of it along.
 */
static void a_settle_in_a_transaction_writes_what_is_below_it(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    world_place(w, "t/T/far", 1);
    uint64_t id = world_ask(w, "t/T/a", "put a 1; begin; put b 2; ask t/T/far {x}; commit; add 0");
    struct isola_mail *ask = world_take_forwarded(w);
    world_await_kept(w, "t/T/a", ITEM, 1);
    assert_int_equal(world_outcome(w, id).kind, 0);
    static const uint8_t args[] = {0x91, 1};
    isola_host_answer(world_host(w), isola_mail_answer(isola_mail_take_origin(ask), true,
                                                       isola_slice(args, sizeof(args))));
    isola_mail_free(ask);
    must_reply(w, id, 0);
    must_say(w, "t/T/a", "keys", "a=1 b=2 ");
    world_end(w);
}

/* --- all of it --- */

static void wiping_leaves_what_is_put_after_it(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    must_reply(w, world_ask(w, "t/T/a", "put a 1; put b 1; add 0"), 0);
    must_say(w, "t/T/a", "put c 1; wipe; put b 2; keys", "b=2 ");
    must_say(w, "t/T/a", "keys", "b=2 ");
    world_await_kept(w, "t/T/a", ITEM, 1);
    must_fail(w, world_ask(w, "t/T/a", "wipe; crash oh"), ISOLA_EFAILED);
    must_say(w, "t/T/a", "begin; put d 1; commit; wipe; begin; put e 1; commit; keys", "e=1 ");
    must_reply(w, world_ask(w, "t/T/a", "wipe; fetch e"), -1);
    world_await_kept(w, "t/T/a", ITEM, 0);
    world_end(w);
}

static void changes_have_a_bound(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct isola_host_type type = world_type("T", "", "");
    type.limits.output = 1000;
    world_release_types(w, "t", "1", 1, &type);
    struct isola_buf many = {0};
    for (int i = 0; i < 30; i++)
        isola_buf_printf(&many, "put k%d 1; ", i);
    must_fail(w, world_ask(w, "t/T/a", isola_buf_cstr(&many)), ISOLA_EOVERLOAD);
    isola_buf_puts(&many, "add 0");
    isola_buf_free(&many);
    must_reply(w, world_ask(w, "t/T/a", "put k1 2; sync; put k2 2; sync; put k3 3; fetch k2"), 2);
    world_end(w);
}

/* --- against a model --- */

#define KEYS 10

struct model {
    int value[KEYS]; /* 0: none */
};

static void model_keys(const struct model *m, char out[300])
{
    size_t len = 0;
    out[0] = '\0';
    for (int k = 0; k < KEYS; k++)
        if (m->value[k] != 0)
            len += (size_t)snprintf(out + len, 300 - len, "k%d=%d ", k, m->value[k]);
}

/* Some operations of one turn. */
static void operate(struct world *w, struct model *m, struct isola_buf *program)
{
    struct model before = *m;
    bool open = false;
    unsigned n = 1 + world_random(w, 12);
    for (unsigned i = 0; i < n; i++) {
        int k = (int)world_random(w, KEYS), v = 1 + (int)world_random(w, 99);
        switch (world_random(w, 10)) {
        case 0:
            if (!open)
                before = *m;
            isola_buf_puts(program, open ? "commit; " : "begin; ");
            open = !open;
            break;
        case 1:
            if (open) {
                isola_buf_puts(program, "undo; ");
                *m = before;
                open = false;
            }
            break;
        case 2:
            isola_buf_puts(program, world_random(w, 2) ? "sync; " : "ask t/T/other {get}; ");
            break;
        case 3:
            if (!open && world_random(w, 5) == 0) {
                isola_buf_puts(program, "wipe; ");
                *m = (struct model){0};
            }
            break;
        case 4:
        case 5:
            isola_buf_printf(program, "drop k%d; ", k);
            m->value[k] = 0;
            break;
        default:
            isola_buf_printf(program, "put k%d %d; ", k, v);
            m->value[k] = v;
        }
    }
    if (open)
        isola_buf_puts(program, "commit; ");
}

static void it_is_as_a_map_would_be(void **state)
{
    (void)state;
    struct world *w = begin("", "");
    struct model m = {0};
    for (int round = 0; round < 400; round++) {
        struct isola_buf program = {0};
        char all[300];
        operate(w, &m, &program);
        model_keys(&m, all);
        isola_buf_puts(&program, "keys");
        must_say(w, "t/T/a", isola_buf_cstr(&program), all);
        isola_buf_free(&program);
        int k = (int)world_random(w, KEYS);
        char fetch[40];
        snprintf(fetch, sizeof(fetch), "fetch k%d", k);
        must_reply(w, world_ask(w, "t/T/a", fetch), m.value[k] != 0 ? m.value[k] : -1);
        if (world_random(w, 4) == 0)
            (void)world_await(w, world_stop(w, "t/T/a"));
        if (world_random(w, 8) == 0)
            must_fail(w, world_ask(w, "t/T/a", "wipe; put k0 5; crash oh"), ISOLA_EFAILED);
    }
    world_end(w);
}

/* Many keys in one turn, in no order: found, listed and saved. */
static void a_turn_may_put_many(void **state)
{
    (void)state;
    struct isola_items *items = isola__items_new();
    char text[24];
    const unsigned n = 20000;
    for (unsigned i = 0; i < 2 * n; i++) {
        int len = snprintf(text, sizeof(text), "key%u", i * 7919 % n);
        isola__items_put(items, isola_slice(text, (size_t)len),
                         isola_slice(text, (size_t)len - (i >= n)), i % 3 == 2);
    }
    assert_int_equal(items->n, n);
    for (unsigned i = n; i < 2 * n; i++) {
        int len = snprintf(text, sizeof(text), "key%u", i * 7919 % n);
        const struct isola_kept *row = isola__items_find(items, isola_slice(text, (size_t)len));
        assert_non_null(row);
        assert_int_equal(row->gone, i % 3 == 2);
        if (!row->gone)
            assert_true(isola_slice_eq(row->value, isola_slice(text, (size_t)len - 1)));
    }
    assert_null(isola__items_find(items, isola_slice_str("key")));
    struct isola_slice none = {0};
    size_t found;
    struct isola_kept *all = isola__items_range(items, NULL, none, none, true, &found);
    assert_int_equal(found, n);
    for (size_t i = 1; i < found; i++)
        assert_true(isola_slice_order(all[i - 1].peer, all[i].peer) > 0);
    free(all);
    isola__items_sort(items);
    for (size_t i = 1; i < items->n; i++)
        assert_true(isola_slice_order(items->row[i - 1].peer, items->row[i].peer) < 0);
    isola__items_unref(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_waits_for_what_was_put),
        cmocka_unit_test(what_is_put_outside_of_turns_is_saved),
        cmocka_unit_test(a_start_may_wait_for_what_it_has_put),
        cmocka_unit_test(a_crash_takes_back_what_was_not_saved),
        cmocka_unit_test(sync_waits_for_the_disk),
        cmocka_unit_test(changes_lie_over_what_is_read),
        cmocka_unit_test(a_read_is_as_of_when_it_was_asked_for),
        cmocka_unit_test(what_cannot_be_read_is_told),
        cmocka_unit_test(answers_to_an_activation_that_has_ended_are_dropped),
        cmocka_unit_test(a_read_keeps_an_actor_awake),
        cmocka_unit_test(a_transaction_is_there_as_a_whole_or_not_at_all),
        cmocka_unit_test(a_settle_in_a_transaction_writes_what_is_below_it),
        cmocka_unit_test(wiping_leaves_what_is_put_after_it),
        cmocka_unit_test(changes_have_a_bound),
        cmocka_unit_test(it_is_as_a_map_would_be),
        cmocka_unit_test(a_turn_may_put_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
