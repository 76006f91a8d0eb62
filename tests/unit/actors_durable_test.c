/* SPDX-License-Identifier: Apache-2.0
 *
 * Durable messages: each is in its receiver's state once, in order, whatever is lost, doubled or
 * held up on the way, and whoever dies; and nothing is said before it is on disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host.h"
#include "base/msgpack.h"
#include "fake_world.h"

/* --- messages made by hand, as from another node --- */

static void receive(struct world *w, int kind, const char *src, const char *dst, uint64_t seq,
                    uint64_t before, const char *program)
{
    struct isola_buf args = {0};
    struct isola_slice none = {0};
    isola_mp_array(&args, 1);
    isola_mp_cstr(&args, program);
    struct isola_mail *m = isola_mail_new(kind, isola_slice_str(src), isola_slice_str(dst),
                                          isola_slice_str("run"), none, isola_buf_slice(&args));
    isola_buf_free(&args);
    m->durable = true;
    m->passed_on = true;
    m->seq = seq;
    m->before = before;
    isola_host_post(world_host(w), m);
}

static void say(struct world *w, int kind, const char *src, const char *dst, uint64_t seq)
{
    struct isola_slice none = {0};
    static const uint8_t answer[] = {0x91, 7};
    struct isola_mail *m =
        isola_mail_new(kind, isola_slice_str(src), isola_slice_str(dst), none, none,
                       kind == ISOLA_MSG_ACK ? none : isola_slice(answer, sizeof(answer)));
    m->durable = true;
    m->passed_on = true;
    m->seq = seq;
    isola_host_post(world_host(w), m);
}

/* The next mail to another node is this. */
static void expect(struct world *w, int kind, const char *src, const char *dst, uint64_t seq)
{
    struct isola_mail *m = world_take_forwarded(w);
    assert_int_equal(m->kind, kind);
    assert_true(m->durable);
    assert_true(isola_slice_is(m->src, src));
    assert_true(isola_slice_is(m->dst, dst));
    assert_int_equal(m->seq, seq);
    isola_mail_free(m);
}

#define EMIT ISOLA_MSG_EMIT
#define ASK  ISOLA_MSG_ASK
#define ACK  ISOLA_MSG_ACK

/* --- sending --- */

static void a_message_is_stored_then_sent_until_it_is_acknowledged(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    must_reply(w, world_ask(w, "t/T/a", "add 1"), 1);
    world_hold_store(w, true);
    uint64_t id = world_ask(w, "t/T/a", "add 1; demit t/T/far {add 1}; demit t/T/far {add 2}; get");
    world_await_held(w, 1);
    assert_int_equal(world_forwards(w), 0);
    world_hold_store(w, false);
    must_reply(w, id, 2);
    expect(w, EMIT, "t/T/a", "t/T/far", 1);
    expect(w, EMIT, "t/T/a", "t/T/far", 2);
    expect(w, EMIT, "t/T/a", "t/T/far", 1); /* again, as nobody answers */
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 2);
    say(w, ACK, "t/T/far", "t/T/a", 1);
    struct isola_mail *m = world_take_forwarded(w); /* what has nothing before it any more */
    assert_int_equal(m->seq, 2);
    assert_int_equal(m->before, 0);
    isola_mail_free(m);
    say(w, ACK, "t/T/far", "t/T/a", 2);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 0);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_SENT, 1);
    struct isola_host_durables d;
    isola_host_durables(world_host(w), &d);
    assert_int_equal(d.waiting, 0);
    assert_int_equal(d.acknowledged, 2);
    assert_true(d.resent >= 2);
    world_end(w);
}

/* It is written although the state is as it was, and goes on counting after hibernation. */
static void an_unchanged_state_is_no_reason_not_to_write(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    must_reply(w, world_ask(w, "t/T/a", "demit t/T/far {x}"), 1);
    assert_int_equal(world_stored(w, "t/T/a"), 0); /* no state, but something is kept */
    expect(w, EMIT, "t/T/a", "t/T/far", 1);
    (void)world_await(w, world_stop(w, "t/T/a"));
    say(w, ACK, "t/T/far", "t/T/a", 1);
    must_reply(w, world_ask(w, "t/T/a", "demit t/T/far {x}"), 1);
    struct isola_mail *m;
    while ((m = world_take_forwarded(w))->seq == 1)
        isola_mail_free(m);
    assert_int_equal(m->seq, 2);
    isola_mail_free(m);
    say(w, ACK, "t/T/far", "t/T/a", 2);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 0);
    world_end(w);
}

static void what_a_crash_takes_back_is_not_sent(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    must_fail(w, world_ask(w, "t/T/a", "add 1; demit t/T/far {x}; crash oh; get"), ISOLA_EFAILED);
    world_fail_writes(w, 1);
    must_fail(w, world_ask(w, "t/T/a", "add 1; demit t/T/far {y}; get"), ISOLA_EIO);
    must_reply(w, world_ask(w, "t/T/a", "demit t/T/far {z}"), 1);
    expect(w, EMIT, "t/T/a", "t/T/far", 1);
    say(w, ACK, "t/T/far", "t/T/a", 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 0);
    world_end(w);
}

static void an_ask_is_answered_whoever_carries_the_answer(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    uint64_t id = world_ask(w, "t/T/a", "dask t/T/far {get}");
    expect(w, ASK, "t/T/a", "t/T/far", 1);
    say(w, ACK, "t/T/far", "t/T/a", 1); /* that it is done is not what is waited for */
    expect(w, ASK, "t/T/a", "t/T/far", 1);
    say(w, ISOLA_MSG_REPLY, "t/T/far", "t/T/a", 1);
    must_reply(w, id, 7);
    /* Whose time is over is carried out all the same. */
    must_fail(w, world_ask(w, "t/T/a", "dask t/T/far {get} 1"), ISOLA_ETIMEDOUT);
    expect(w, ASK, "t/T/a", "t/T/far", 2);
    expect(w, ASK, "t/T/a", "t/T/far", 2);
    say(w, ACK, "t/T/far", "t/T/a", 2);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 0);
    world_end(w);
}

static void an_outbox_has_a_bound(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    static char program[200 * 16 + 1];
    for (int i = 0; i < 200; i++)
        memcpy(program + i * 16, "demit t/T/far x;", 16);
    uint64_t last = 0;
    for (int i = 0; i < 50; i++) /* the value: is there room for more? */
        must_reply(w, last = world_ask(w, "t/T/a", program), i < 5 ? (i < 4) : 0);
    must_fail(w, world_ask(w, "t/T/a", "demit t/T/far x"), ISOLA_EOVERLOAD);
    must_reply(w, world_ask(w, "t/T/b", "demit t/T/far x; droom; echo yes; get"), 0);
    /* that is each one's own, and who has room waits for none */
    uint64_t waits = world_ask(w, "t/T/a", "droom; add 7");
    say(w, ACK, "t/T/far", "t/T/a", 9499);
    must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    assert_int_equal(world_outcome(w, waits).kind, 0);
    say(w, ACK, "t/T/far", "t/T/a", 9500);
    must_reply(w, waits, 7);
    say(w, ACK, "t/T/far", "t/T/a", 10000);
    say(w, ACK, "t/T/far", "t/T/b", 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 0);
    must_reply(w, world_ask(w, "t/T/a", "demit t/T/far x"), 1);
    say(w, ACK, "t/T/far", "t/T/a", 10001);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 0);
    world_end(w);
}

/* --- receiving --- */

static void each_is_handled_once_and_in_order(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    receive(w, EMIT, "t/T/far", "t/T/b", 5, 3, "add 100; note early"); /* 3 is missing */
    receive(w, EMIT, "t/T/far", "t/T/b", 3, 0, "add 1");
    expect(w, ACK, "t/T/b", "t/T/far", 3);
    receive(w, EMIT, "t/T/far", "t/T/b", 5, 3, "add 10");
    expect(w, ACK, "t/T/b", "t/T/far", 5);
    receive(w, EMIT, "t/T/far", "t/T/b", 3, 0, "add 1000"); /* again */
    expect(w, ACK, "t/T/b", "t/T/far", 5);
    must_reply(w, world_ask(w, "t/T/b", "get"), 11);
    (void)world_await(w, world_stop(w, "t/T/b"));
    receive(w, EMIT, "t/T/far", "t/T/b", 5, 3, "add 1000"); /* known to the next activation too */
    expect(w, ACK, "t/T/b", "t/T/far", 5);
    must_reply(w, world_ask(w, "t/T/b", "get"), 11);
    struct isola_host_durables d;
    isola_host_durables(world_host(w), &d);
    assert_int_equal(d.gaps, 1);
    assert_int_equal(d.duplicates, 2);
    world_end(w);
}

static void nothing_is_acknowledged_before_it_is_stored(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    world_hold_store(w, true);
    receive(w, EMIT, "t/T/far", "t/T/b", 1, 0, "add 1; note run");
    world_await_held(w, 1);
    receive(w, EMIT, "t/T/far", "t/T/b", 1, 0, "add 1; note run"); /* while it is being written */
    assert_int_equal(world_forwards(w), 0);
    world_hold_store(w, false);
    expect(w, ACK, "t/T/b", "t/T/far", 1);
    expect(w, ACK, "t/T/b", "t/T/far", 1);
    assert_int_equal(fake_count_note("t/T/b run"), 1);
    /* A write that fails is none: it comes again. */
    world_fail_writes(w, 1);
    receive(w, EMIT, "t/T/far", "t/T/b", 2, 1, "add 1; note two");
    world_await_logged(w, "could not be saved", 1);
    receive(w, EMIT, "t/T/far", "t/T/b", 2, 1, "add 1; note two");
    expect(w, ACK, "t/T/b", "t/T/far", 2);
    must_reply(w, world_ask(w, "t/T/b", "get"), 2);
    world_end(w);
}

static void an_answer_that_was_lost_is_given_again(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    for (int i = 0; i < 3; i++) {
        receive(w, ASK, "t/T/far", "t/T/b", 1, 0, "add 5; get");
        struct isola_mail *m = world_take_forwarded(w);
        assert_int_equal(m->kind, ISOLA_MSG_REPLY);
        assert_int_equal(m->seq, 1);
        assert_int_equal(m->args.data[1], 5);
        isola_mail_free(m);
        if (i == 1)
            (void)world_await(w, world_stop(w, "t/T/b"));
    }
    receive(w, ASK, "t/T/far", "t/T/b", 2, 0, "add 1; throw oh"); /* an error is an answer too */
    expect(w, ISOLA_MSG_FAIL, "t/T/b", "t/T/far", 2);
    world_await_kept(w, "t/T/b", ISOLA_KEPT_ANSWER, 1); /* that of 1 has arrived */
    receive(w, ASK, "t/T/far", "t/T/b", 2, 0, "add 1; throw oh");
    expect(w, ISOLA_MSG_FAIL, "t/T/b", "t/T/far", 2);
    must_reply(w, world_ask(w, "t/T/b", "get"), 6);
    receive(w, ASK, "t/T/far", "t/T/b", 1, 0, "add 5; get"); /* long after it was answered */
    expect(w, ISOLA_MSG_FAIL, "t/T/b", "t/T/far", 1);
    must_reply(w, world_ask(w, "t/T/b", "get"), 6);
    world_end(w);
}

static void what_crashes_its_receiver_is_given_up_at_last(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "", "");
    world_place(w, "t/T/far", 1);
    receive(w, EMIT, "t/T/far", "t/T/b", 1, 0, "add 1");
    expect(w, ACK, "t/T/b", "t/T/far", 1);
    for (unsigned i = 1; i <= 3; i++) {
        receive(w, EMIT, "t/T/far", "t/T/b", 2, 0, "add 10; throw oh");
        receive(w, EMIT, "t/T/far", "t/T/b", 3, 2, "add 100"); /* not before it */
        world_await_logged(w, "crashed", i);
        must_reply(w, world_ask(w, "t/T/b", "get"), i < 3 ? 1 : 101);
    }
    expect(w, ISOLA_MSG_FAIL, "t/T/b", "t/T/far", 2);
    expect(w, ACK, "t/T/b", "t/T/far", 3);
    receive(w, EMIT, "t/T/far", "t/T/b", 2, 0, "add 10; throw oh");
    expect(w, ACK, "t/T/b", "t/T/far", 3);
    /* One that crashes it otherwise, and once only, is done in the end. */
    fake_flag("bad", true);
    receive(w, ASK, "t/T/far", "t/T/b", 4, 3, "throwif bad; add 1; get");
    expect(w, ISOLA_MSG_FAIL, "t/T/b", "t/T/far", 4); /* an ask may fail */
    receive(w, EMIT, "t/T/far", "t/T/b", 5, 4, "throwif bad; add 1");
    receive(w, EMIT, "t/T/far", "t/T/b", 5, 4, "throwif bad; add 1");
    world_await_logged(w, "bad is set", 2);
    fake_flag("bad", false);
    receive(w, EMIT, "t/T/far", "t/T/b", 5, 4, "throwif bad; add 1");
    expect(w, ACK, "t/T/b", "t/T/far", 5);
    must_reply(w, world_ask(w, "t/T/b", "get"), 102);
    world_end(w);
}

static void what_cannot_be_is_told(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_permit(w, "");
    world_release(w, "t", "1", "", "");
    world_release(w, "other", "1", "", "");
    world_place(w, "t/T/far", 1);
    world_place(w, "other/T/far", 1);
    receive(w, EMIT, "t/T/far", "t/None/b", 1, 0, "x");
    expect(w, ISOLA_MSG_FAIL, "t/None/b", "t/T/far", 1);
    receive(w, EMIT, "other/T/far", "t/T/b", 1, 0, "add 1");
    expect(w, ISOLA_MSG_FAIL, "t/T/b", "other/T/far", 1);
    /* From here as well: the sender's log says so. */
    must_reply(w, world_ask(w, "t/T/a", "demit t/None/b {x}"), 1);
    world_await_logged(w, "was given up", 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 0);
    world_end(w);
}

static void a_full_mailbox_takes_them_later(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "small", "");
    must_reply(w, world_ask(w, "t/T/b", "get"), 0);
    uint64_t held = world_ask(w, "t/T/b", "block gate; get");
    (void)world_ask(w, "t/T/a",
                    "demit t/T/b {add 1}; demit t/T/b {add 1}; demit t/T/b {add 1}; demit t/T/b "
                    "{add 1}; demit t/T/b {add 1}; demit t/T/b {add 1}; demit t/T/b {note all}");
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 7);
    assert_int_equal(fake_count_note("t/T/b all"), 0);
    fake_open("gate");
    must_reply(w, held, 0);
    fake_await_note("t/T/b all", 1);
    world_await_kept(w, "t/T/a", ISOLA_KEPT_OUTBOX, 0);
    must_reply(w, world_ask(w, "t/T/b", "get"), 6);
    world_end(w);
}

/* A reentrant actor runs several messages at a time, but not of one sender. */
static void of_one_sender_one_runs_at_a_time(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    world_release(w, "t", "1", "reentrant", "reentrant");
    world_place(w, "t/T/far", 1);
    world_place(w, "t/T/far2", 1);
    receive(w, EMIT, "t/T/far", "t/T/b", 1, 0, "note one; hold x; note done");
    receive(w, EMIT, "t/T/far", "t/T/b", 2, 1, "note two");
    receive(w, EMIT, "t/T/far", "t/T/b", 3, 2, "note three");
    receive(w, EMIT, "t/T/far", "t/T/b", 1, 0, "note one");
    receive(w, EMIT, "t/T/far2", "t/T/b", 1, 0, "note other; open x");
    expect(w, ACK, "t/T/b", "t/T/far2", 1);
    fake_await_note("t/T/b three", 1);
    assert_string_equal(fake_note_at("t/T/b ", 0), "t/T/b one");
    assert_string_equal(fake_note_at("t/T/b ", 1), "t/T/b other");
    assert_string_equal(fake_note_at("t/T/b ", 2), "t/T/b done");
    assert_string_equal(fake_note_at("t/T/b ", 3), "t/T/b two");
    world_end(w);
}

/* --- both, through everything --- */

#define SENDERS   3
#define RECEIVERS 2
#define EACH      40

static const char *name(char type, int i)
{
    static char text[4][16];
    static unsigned at;
    char *t = text[at++ % 4];
    snprintf(t, sizeof(text[0]), "t/T/%c%d", type, i);
    return t;
}

static void settle(struct world *a, struct world *b)
{
    for (int r = 0; r < RECEIVERS; r++)
        world_place(a, name('r', r), 1);
    for (int s = 0; s < SENDERS; s++)
        world_place(b, name('s', s), 1);
}

static void is_there(struct world *a, struct world *b)
{
    for (int s = 0; s < SENDERS; s++)
        world_await_kept(a, name('s', s), ISOLA_KEPT_OUTBOX, 0);
    for (int r = 0; r < RECEIVERS; r++)
        must_reply(b, world_ask(b, name('r', r), "get"), SENDERS * EACH);
}

static void send_all(struct world *a)
{
    uint64_t last[SENDERS] = {0};
    for (int i = 0; i < EACH; i++)
        for (int s = 0; s < SENDERS; s++)
            last[s] = world_ask(a, name('s', s),
                                i % 4 == 0 ? "add 1; demit t/T/r0 {add 1}; demit t/T/r1 {add 1}"
                                           : "demit t/T/r0 {add 1}; demit t/T/r1 {add 1}");
    for (int s = 0; s < SENDERS; s++)
        must_reply(a, last[s], 1);
}

static void a_bad_way_loses_and_doubles_nothing(void **state)
{
    (void)state;
    struct world *a = world_new(2), *b = world_join(2);
    settle(a, b);
    world_release(a, "t", "1", "", "");
    world_release(b, "t", "1", "shared", "");
    world_connect(a, b, 150);
    send_all(a);
    is_there(a, b);
    world_end(a);
    world_end(b);
}

/* Both ends die again and again; what was asked for before the store had it is gone with its asker,
 * but of each number that the sender has given out there is one at the receiver. */
static void death_of_either_end_loses_and_doubles_nothing(void **state)
{
    (void)state;
    struct world *a = world_new(2), *b = world_join(2);
    settle(a, b);
    world_release(a, "t", "1", "", "");
    world_release(b, "t", "1", "", "");
    world_connect(a, b, 100);
    int64_t sent = 0;
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 10; i++) {
            uint64_t id = world_ask(a, "t/T/s0", "demit t/T/r0 {add 1}; add 1");
            if (world_random(a, 2) == 0)
                (void)world_await(a, id);
        }
        if (world_random(a, 2) == 0) {
            a = world_crash(a);
            world_release(a, "t", "1", "", "");
        } else {
            b = world_crash(b);
            world_release(b, "t", "1", "", "");
        }
        world_connect(a, b, 100);
        isola_host_outbox_begin(world_host(a));
        isola_host_outbox_begin(world_host(b));
    }
    struct outcome o = world_await(a, world_ask(a, "t/T/s0", "get"));
    sent = o.value;
    world_await_kept(a, "t/T/s0", ISOLA_KEPT_OUTBOX, 0);
    must_reply(b, world_ask(b, "t/T/r0", "get"), sent);
    world_end(a);
    world_end(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_stored_then_sent_until_it_is_acknowledged),
        cmocka_unit_test(an_unchanged_state_is_no_reason_not_to_write),
        cmocka_unit_test(what_a_crash_takes_back_is_not_sent),
        cmocka_unit_test(an_ask_is_answered_whoever_carries_the_answer),
        cmocka_unit_test(an_outbox_has_a_bound),
        cmocka_unit_test(each_is_handled_once_and_in_order),
        cmocka_unit_test(nothing_is_acknowledged_before_it_is_stored),
        cmocka_unit_test(an_answer_that_was_lost_is_given_again),
        cmocka_unit_test(what_crashes_its_receiver_is_given_up_at_last),
        cmocka_unit_test(what_cannot_be_is_told),
        cmocka_unit_test(a_full_mailbox_takes_them_later),
        cmocka_unit_test(of_one_sender_one_runs_at_a_time),
        cmocka_unit_test(a_bad_way_loses_and_doubles_nothing),
        cmocka_unit_test(death_of_either_end_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
