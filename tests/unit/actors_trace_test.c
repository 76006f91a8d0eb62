/* SPDX-License-Identifier: Apache-2.0
 *
 * Trace contexts: what comes with one passes it on with all that its turn sends, and nothing else
 * does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host_own.h"
#include "base/msgpack.h"
#include "fake_world.h"

static const char *const options[] = {"", "shared"};

/* One whose trace id ends in `n`. */
static struct isola_slice context(unsigned n)
{
    static uint8_t bytes[256][ISOLA_TRACE_SIZE];
    bytes[n][0] = 0x4b;
    bytes[n][15] = (uint8_t)n;
    bytes[n][16] = 0x0a;
    bytes[n][24] = 1;
    return isola_slice(bytes[n], ISOLA_TRACE_SIZE);
}

/* A message with such a context; 0: without. */
static uint64_t ask_in(struct world *w, unsigned n, const char *address, const char *program)
{
    struct isola_buf args = {0};
    struct isola_slice none = {0};
    isola_mp_array(&args, 1);
    isola_mp_cstr(&args, program);
    struct isola_mail *m =
        isola_mail_new_in(n != 0 ? context(n) : none, ISOLA_MSG_ASK, none, isola_slice_str(address),
                          isola_slice_str("run"), none, isola_buf_slice(&args));
    isola_buf_free(&args);
    uint64_t id = world_number(w);
    m->origin.link = 1;
    m->origin.id = id;
    isola_host_post(world_host(w), m);
    return id;
}

/* The next mail to another node is of this kind and has that context. */
static void expect(struct world *w, int kind, unsigned n)
{
    struct isola_mail *m = world_take_forwarded(w);
    struct isola_slice none = {0};
    assert_int_equal(m->kind, kind);
    assert_true(isola_slice_eq(isola_mail_trace(m), n != 0 ? context(n) : none));
    isola_mail_free(m);
}

/* In isolates of their own, and in shared ones. */
static void in_each(void (*test)(struct world *w))
{
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(2);
        world_release(w, "t", "1", options[i], "");
        world_place(w, "t/T/far", 1);
        test(w);
        world_end(w);
    }
}

static void all_that_a_turn_sends_has_it_in(struct world *w)
{
    /* here: at once, and behind the output gate */
    must_reply(w, ask_in(w, 7, "t/T/a", "trace"), 7);
    must_reply(w, ask_in(w, 7, "t/T/a", "ask t/T/b {ask t/T/c {trace}}"), 7);
    must_reply(w, ask_in(w, 7, "t/T/a", "add 1; ask t/T/b {add 1; ask t/T/c {trace}}"), 7);
    must_reply(w, ask_in(w, 7, "t/T/a", "dask t/T/b {trace}"), 7);
    /* elsewhere */
    must_reply(w, ask_in(w, 8, "t/T/a", "emit t/T/far {x}; trace"), 8);
    expect(w, ISOLA_MSG_EMIT, 8);
    must_reply(w, ask_in(w, 8, "t/T/a", "add 1; emit t/T/far {x}; trace"), 8);
    expect(w, ISOLA_MSG_EMIT, 8);
    must_reply(w, ask_in(w, 8, "t/T/a", "spawn t/T/far; trace"), 8);
    expect(w, ISOLA_MSG_SUB, 0);
    expect(w, ISOLA_MSG_START, 8);
}

static void all_that_a_turn_sends_has_it(void **state)
{
    (void)state;
    in_each(all_that_a_turn_sends_has_it_in);
}

static void nothing_else_has_it_in(struct world *w)
{
    must_reply(w, ask_in(w, 7, "t/T/a", "trace"), 7);
    must_reply(w, ask_in(w, 0, "t/T/a", "trace"), 0);
    must_reply(w, ask_in(w, 0, "t/T/a", "ask t/T/b {trace}"), 0);
    /* what goes on after its turn */
    must_reply(w, ask_in(w, 7, "t/T/a", "later 1 {emit t/T/far {x}}; echo 0"), 0);
    expect(w, ISOLA_MSG_EMIT, 0);
    /* what is sent to whom it had asked, once it has answered */
    must_reply(w, ask_in(w, 7, "t/T/a", "ask t/T/b {trace}"), 7);
    must_reply(w, ask_in(w, 0, "t/T/b", "trace"), 0);
}

static void nothing_else_has_it(void **state)
{
    (void)state;
    in_each(nothing_else_has_it_in);
}

static unsigned traced(struct world *w)
{
    unsigned n = 0;
    struct isola_host *h = world_host(w);
    for (size_t i = 0; i < ISOLA_DIRECTORY_SHARDS; i++) {
        pthread_mutex_lock(&h->directory[i].lock);
        ISOLA_SHARD_EACH(&h->directory[i], a)
        {
            n += atomic_load(&a->realm)->traced;
        }
        pthread_mutex_unlock(&h->directory[i].lock);
    }
    return n;
}

/* When they have ended nobody looks for any. */
static void turns_are_counted(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    world_release(w, "t", "1", "shared", "");
    must_reply(w, ask_in(w, 7, "t/T/a", "ask t/T/b {trace}"), 7);
    must_fail(w, ask_in(w, 7, "t/T/a", "throw oh"), ISOLA_ESCRIPT);
    must_fail(w, ask_in(w, 7, "t/T/a", "ask t/T/b {crash oh}"), ISOLA_EFAILED);
    must_reply(w, ask_in(w, 0, "t/T/a", "trace"), 0); /* what it sees was before */
    must_reply(w, ask_in(w, 0, "t/T/b", "trace"), 0);
    assert_int_equal(traced(w), 0);
    world_end(w);
}

/* Turns that overlap have each their own. */
static void turns_do_not_mix(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "reentrant", "reentrant");
    uint64_t one = ask_in(w, 1, "t/T/a", "note one; hold h; ask t/T/b {trace}");
    fake_await_note("t/T/a one", 1);
    uint64_t two = ask_in(w, 0, "t/T/a", "note two; hold h; ask t/T/b {trace}");
    fake_await_note("t/T/a two", 1);
    uint64_t three = ask_in(w, 3, "t/T/a", "note three; hold h; ask t/T/b {trace}");
    fake_await_note("t/T/a three", 1);
    must_reply(w, ask_in(w, 4, "t/T/a", "open h; trace"), 4);
    must_reply(w, one, 1);
    must_reply(w, two, 0);
    must_reply(w, three, 3);
    world_end(w);
}

static void a_start_has_that_of_what_it_starts_for(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "start emit t/T/far {x}");
    world_place(w, "t/T/far", 1);
    must_reply(w, ask_in(w, 9, "t/T/a", "echo 0"), 0);
    expect(w, ISOLA_MSG_EMIT, 9);
    must_reply(w, ask_in(w, 0, "t/T/b", "echo 0"), 0);
    expect(w, ISOLA_MSG_EMIT, 0);
    world_end(w);
}

static void events_have_it_in(struct world *w)
{
    must_reply(w, ask_in(w, 0, "t/T/b", "sub t/T/a news; echo 0"), 0);
    must_reply(w, ask_in(w, 5, "t/T/a", "pub news {emit t/T/far {x}}; echo 0"), 0);
    expect(w, ISOLA_MSG_EMIT, 5);
    must_reply(w, ask_in(w, 0, "t/T/a", "pub news {emit t/T/far {x}}; echo 0"), 0);
    expect(w, ISOLA_MSG_EMIT, 0);
}

static void events_have_it(void **state)
{
    (void)state;
    in_each(events_have_it_in);
}

/* However often it is sent, by whichever process. */
static void durable_messages_keep_it(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    must_reply(w, ask_in(w, 7, "t/T/a", "demit t/T/far {x}"), 1);
    expect(w, ISOLA_MSG_EMIT, 7);
    expect(w, ISOLA_MSG_EMIT, 7);
    must_reply(w, ask_in(w, 0, "t/T/b", "demit t/T/far {x}"), 1);
    world_await_kept(w, "t/T/b", ISOLA_KEPT_OUTBOX, 1);
    w = world_crash(w);
    world_place(w, "t/T/far", 1);
    world_release(w, "t", "1", "", "");
    isola_host_outbox_begin(world_host(w));
    bool seen[2] = {0};
    while (!seen[0] || !seen[1]) {
        struct isola_mail *m = world_take_forwarded(w);
        bool a = isola_slice_is(m->src, "t/T/a");
        assert_true(isola_slice_eq(isola_mail_trace(m), a ? context(7) : (struct isola_slice){0}));
        seen[a] = true;
        isola_mail_free(m);
    }
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_a_turn_sends_has_it),
        cmocka_unit_test(nothing_else_has_it),
        cmocka_unit_test(turns_are_counted),
        cmocka_unit_test(turns_do_not_mix),
        cmocka_unit_test(a_start_has_that_of_what_it_starts_for),
        cmocka_unit_test(events_have_it),
        cmocka_unit_test(durable_messages_keep_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
