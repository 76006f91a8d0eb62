/* SPDX-License-Identifier: Apache-2.0
 *
 * Heads of messages by number: what has one, who gets a place, that both ends mean the same, and
 * what a peer may not say.
 */
#include "transport/heads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "transport/envelope.h"

struct ends {
    struct isola__heads_out out;
    struct isola__heads_in in;
    unsigned count[ISOLA__ITEM_AGAIN + 2]; /* of items that went, by kind + 1 */
    uint32_t head;                         /* of the last that came */
};

static struct isola_msg emit(const char *src, const char *dst, const char *event)
{
    return (struct isola_msg){.kind = ISOLA_MSG_EMIT,
                              .src = isola_slice_str(src),
                              .dst = isola_slice_str(dst),
                              .event = isola_slice_str(event),
                              .args = isola_slice("\x91\x01", 2)};
}

static void same(struct isola_slice a, struct isola_slice b)
{
    assert_true(isola_slice_eq(a, b));
}

/* Sends `m` from the one end to the other, as a link does: what it went as. */
static enum isola__item pass(struct ends *e, const struct isola_msg *m)
{
    unsigned number = 0, version;
    uint32_t key = 0;
    struct isola_buf b = {0};
    struct isola_msg got = {0};
    struct isola_err err = {0};
    enum isola__item kind = isola__heads_find(&e->out, m, &number, &key);
    if (kind != ISOLA__ITEM_FRAME)
        isola_buf_append(&b, (uint8_t[]){(uint8_t)(number >> 8), (uint8_t)number}, 2);
    if (kind == ISOLA__ITEM_AGAIN) {
        assert_int_equal(key, 77);
        isola_envelope_encode_args(m, &b);
    } else {
        isola_envelope_encode(m, ISOLA_WIRE_VERSION, &b);
    }
    if (kind == ISOLA__ITEM_HEAD)
        isola__heads_given(&e->out, m, number, 77);
    e->count[kind + 1]++;

    struct isola_slice item = isola_buf_slice(&b);
    e->head = 0;
    if (kind == ISOLA__ITEM_AGAIN) {
        const struct isola_msg *head = isola__heads_recall(&e->in, &item, &err);
        assert_non_null(head);
        got = *head;
        e->head = head->head;
        assert_int_not_equal(e->head, 0);
        assert_int_equal(isola_envelope_decode_args(item, &got.args, &err), 0);
    } else {
        if (kind == ISOLA__ITEM_HEAD)
            assert_int_equal(isola__heads_learn(&e->in, &item, &err), 0);
        assert_int_equal(isola_envelope_decode(item, &got, &version, &err), 0);
    }
    assert_int_equal(got.kind, m->kind);
    assert_int_equal(got.id, m->id);
    assert_int_equal(got.seq, m->seq);
    assert_int_equal(got.flags, m->flags);
    assert_int_equal(got.timeout_ms, m->timeout_ms);
    same(got.src, m->src);
    same(got.dst, m->dst);
    same(got.event, m->event);
    same(got.trace, m->trace);
    same(got.args, m->args);
    isola_buf_free(&b);
    return kind;
}

static void end(struct ends *e)
{
    isola__heads_out_free(&e->out);
    isola__heads_in_free(&e->in);
}

static void a_head_is_given_the_second_time(void **state)
{
    (void)state;
    struct ends e = {0};
    struct isola_msg m = emit("a/A/1", "b/B/2", "go");
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_FRAME);
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_HEAD);
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_AGAIN);
    m.args = isola_slice("\x93\x01\xa2hi\xc0", 6); /* others */
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_AGAIN);
    uint32_t head = e.head;
    m = emit("a/A/1", "b/B/2", "gone");
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_FRAME);
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_HEAD);
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_AGAIN);
    assert_int_not_equal(e.head, head);
    m = (struct isola_msg){.kind = ISOLA_MSG_EVENT, .id = 9, .src = isola_slice_str("a/A/1")};
    m.args = isola_slice("\x90", 1);
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_FRAME);
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_HEAD);
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_AGAIN);
    m.id = 10; /* another subscription */
    assert_int_equal(pass(&e, &m), ISOLA__ITEM_FRAME);
    end(&e);
}

/* What differs in more than its args, or would cost too much to keep. */
static void others_have_none(void **state)
{
    (void)state;
    struct ends e = {0};
    static char text[ISOLA__HEAD_MAX];
    static const uint8_t trace[ISOLA_TRACE_SIZE] = {[0] = 1, [20] = 1};
    memset(text, 'x', sizeof(text) - 1);
    struct isola_msg all[12];
    for (size_t i = 0; i < 12; i++)
        all[i] = emit("a/A/1", "b/B/2", "go");
    all[0].kind = ISOLA_MSG_ASK;
    all[1].flags = ISOLA_MSG_TELL;
    all[2].flags = ISOLA_MSG_PASSED_ON;
    all[3].flags = ISOLA_MSG_DURABLE;
    all[3].seq = 3;
    all[4].id = 4;
    all[5].timeout_ms = 5;
    all[6].trace = isola_slice(trace, sizeof(trace));
    all[7].src.len = 0;
    all[8].dst.len = 0;
    all[9].event = isola_slice_str(text);
    all[10].kind = ISOLA_MSG_EVENT; /* of no subscription */
    all[11].kind = ISOLA_MSG_REPLY;
    for (size_t i = 0; i < 12; i++)
        for (int times = 0; times < 3; times++)
            assert_int_equal(pass(&e, &all[i]), ISOLA__ITEM_FRAME);
    struct isola_msg chained = emit("a/A/1", "b/B/2", "go");
    chained.chain = isola_slice("\x91\xa5"
                                "c/C/3",
                                7);
    for (int times = 0; times < 3; times++)
        assert_int_equal(pass(&e, &chained), ISOLA__ITEM_FRAME);
    assert_int_equal(e.in.given, 0);
    end(&e);
}

/* A thousand pairs in any order: whatever goes, the same comes; and who sends much has a head. */
static void both_ends_mean_the_same(void **state)
{
    (void)state;
    struct ends e = {0};
    uint64_t seed = 7;
    for (int i = 0; i < 200000; i++) {
        char src[24], dst[24], event[12];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned n = (unsigned)(seed >> 40);
        unsigned pair = i % 2 == 0 ? n % 1000 : n % 50;
        snprintf(src, sizeof(src), "a/A/%u", pair % 37);
        snprintf(dst, sizeof(dst), "a/B/number-%u", pair);
        snprintf(event, sizeof(event), "e%u", pair % 3);
        struct isola_msg m = emit(src, dst, event);
        uint8_t args[] = {0x92, (uint8_t)(n & 0x7f), (uint8_t)(pair & 0x7f)};
        m.args = isola_slice(args, sizeof(args));
        (void)pass(&e, &m);
    }
    assert_true(e.count[ISOLA__ITEM_AGAIN + 1] > 60000);
    assert_true(e.count[ISOLA__ITEM_HEAD + 1] < 20000);
    end(&e);
}

/* What passes once drives nobody out, whatever comes between. */
static void who_has_a_place_keeps_it(void **state)
{
    (void)state;
    struct ends e = {0};
    struct isola_msg m = emit("a/A/1", "b/B/2", "go");
    for (int i = 0; i < 2; i++)
        (void)pass(&e, &m);
    for (int i = 0; i < 20 * ISOLA__HEADS; i++) {
        char dst[24];
        snprintf(dst, sizeof(dst), "b/B/once-%d", i);
        struct isola_msg once = emit("a/A/1", dst, "go");
        assert_int_equal(pass(&e, &once), ISOLA__ITEM_FRAME);
        assert_int_equal(pass(&e, &m), ISOLA__ITEM_AGAIN);
    }
    end(&e);
}

static void bad(struct isola__heads_in *in, enum isola__item kind, const char *bytes, size_t len,
                const char *why)
{
    struct isola_slice item = isola_slice(bytes, len);
    struct isola_err err = {0};
    if (kind == ISOLA__ITEM_HEAD)
        assert_int_equal(isola__heads_learn(in, &item, &err), ISOLA_EPROTO);
    else
        assert_null(isola__heads_recall(in, &item, &err));
    assert_int_equal(err.code, ISOLA_EPROTO);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}
#define BAD(kind, bytes, why) bad(&e.in, ISOLA__ITEM_##kind, bytes, sizeof(bytes) - 1, why)

static void what_a_peer_may_not_say(void **state)
{
    (void)state;
    struct ends e = {0};
    BAD(AGAIN, "", "cut off");
    BAD(AGAIN, "\0\7", "cut off");
    BAD(AGAIN, "\0\7\x90", "head 7, which was never given");
    BAD(AGAIN, "\2\0\x90", "head 512; they are numbered up to 511");
    BAD(HEAD, "\0", "cut off");
    BAD(HEAD, "\xff\xff\x9c", "head 65535");
    BAD(HEAD, "\0\7\x9c", "malformed envelope");
    BAD(HEAD, "\0\7\x9c\2\1\0\0\0\xa1x\xa1y\xa0\0\xc4\0\x90\x90", "head 7 is of what has none");
    BAD(HEAD, "\0\7\x9c\2\2\4\0\0\xa1x\xa1y\xa0\0\xc4\0\x90\x90", "head 7 is of what has none");
    BAD(HEAD, "\0\7\x9c\2\2\0\0\0\xa0\xa1y\xa0\0\xc4\0\x90\x90", "head 7 is of what has none");
    BAD(HEAD, "\0\7\x9c\2\2\0\0\0\xa1x\xa1y\xa0\0\xc4\0\x90\x90\x90", "1 bytes after its end");
    BAD(AGAIN, "\0\7\x90", "head 7, which was never given");

    struct isola_slice item =
        isola_slice_str("--\x9c\2\2---\xa1x\xa1y\xa0-\xc4-\x90\x90"); /* `-` is 0 */
    uint8_t good[32];
    for (size_t i = 0; i < item.len; i++)
        good[i] = item.data[i] == '-' ? 0 : item.data[i];
    struct isola_slice head = isola_slice(good, item.len), args = {0}, out;
    struct isola_err err = {0};
    assert_int_equal(isola__heads_learn(&e.in, &head, &err), 0);
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {{"\xc0", 1}, {"\x91", 1}, {"\x90\x90", 2}, {"\x91\xc1", 2}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        args = isola_slice(wrong[i].bytes, wrong[i].len);
        assert_int_equal(isola_envelope_decode_args(args, &out, &err), ISOLA_EPROTO);
    }
    end(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_given_the_second_time),
        cmocka_unit_test(others_have_none),
        cmocka_unit_test(both_ends_mean_the_same),
        cmocka_unit_test(who_has_a_place_keeps_it),
        cmocka_unit_test(what_a_peer_may_not_say),
    };
    return cmocka_run_group_tests_name("heads", tests, NULL, NULL);
}
