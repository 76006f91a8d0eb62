/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages, their queue, and addresses.
 */
#include "base/msg.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/msgpack.h"

static void test_copy(void **state)
{
    char src[] = "a/A/1", dst[] = "b/B/2", event[] = "go", chain[] = "\x91\xa1x",
         args[] = "\x91\x07";
    struct isola_msg from = {.next = (struct isola_msg *)8,
                             .context = src,
                             .kind = ISOLA_MSG_ASK,
                             .timeout_ms = 5,
                             .id = 9,
                             .src = isola_slice_str(src),
                             .dst = isola_slice_str(dst),
                             .event = isola_slice_str(event),
                             .chain = isola_slice_str(chain),
                             .args = isola_slice_str(args)};
    (void)state;
    struct isola_msg *m = isola_msg_copy(&from);
    assert_non_null(m);
    memset(src, 0, sizeof(src));
    memset(dst, 0, sizeof(dst));
    memset(event, 0, sizeof(event));
    memset(chain, 0, sizeof(chain));
    memset(args, 0, sizeof(args));
    assert_null(m->next);
    assert_null(m->context);
    assert_int_equal(m->kind, ISOLA_MSG_ASK);
    assert_int_equal(m->timeout_ms, 5);
    assert_int_equal(m->id, 9);
    assert_true(isola_slice_is(m->src, "a/A/1"));
    assert_true(isola_slice_is(m->dst, "b/B/2"));
    assert_true(isola_slice_is(m->event, "go"));
    assert_true(isola_slice_is(m->chain, "\x91\xa1x"));
    assert_true(isola_slice_is(m->args, "\x91\x07"));
    free(m);

    struct isola_msg nothing = {.kind = ISOLA_MSG_EMIT};
    m = isola_msg_copy(&nothing);
    assert_non_null(m);
    assert_int_equal(m->src.len + m->dst.len + m->event.len + m->chain.len + m->args.len, 0);
    free(m);
}

static void test_answers(void **state)
{
    struct isola_slice value;
    struct isola_mp_error e;
    (void)state;
    struct isola_msg *m = isola_msg_reply(77, isola_slice_str("\xa2ok"));
    assert_int_equal(m->kind, ISOLA_MSG_REPLY);
    assert_int_equal(m->id, 77);
    assert_true(isola_slice_is(m->args, "\x91\xa2ok"));
    free(m);
    m = isola_msg_reply(1, isola_slice(NULL, 0));
    assert_true(isola_slice_is(m->args, "\x91\xc0"));
    free(m);

    m = isola_msg_fail(78, ISOLA_EPERM, "not %s, %d", "you", 5);
    assert_int_equal(m->kind, ISOLA_MSG_FAIL);
    assert_int_equal(m->id, 78);
    assert_int_equal(isola_mp_count(m->args), 1);
    assert_true(isola_mp_at(m->args, 0, &value));
    assert_true(isola_mp_read_error(value, &e));
    assert_int_equal(e.code, ISOLA_EPERM);
    assert_true(isola_slice_is(e.message, "not you, 5"));
    free(m);
}

static void test_queue(void **state)
{
    struct isola_msgq q = {0};
    (void)state;
    assert_null(isola_msgq_pop(&q));
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 3; i++)
            isola_msgq_push(&q, isola_msg_reply(i, isola_slice(NULL, 0)));
        assert_int_equal(q.count, 3);
        for (uint64_t i = 0; i < 3; i++) {
            struct isola_msg *m = isola_msgq_pop(&q);
            assert_int_equal(m->id, i);
            free(m);
        }
        assert_null(isola_msgq_pop(&q));
        assert_int_equal(q.count, 0);
    }
    isola_msgq_push(&q, isola_msg_reply(1, isola_slice(NULL, 0)));
    isola_msgq_clear(&q);
    assert_int_equal(q.count, 0);
    assert_null(isola_msgq_pop(&q));
}

static void good(const char *text, const char *app, const char *type, const char *key)
{
    struct isola_address a;
    struct isola_err err = {0};
    if (isola_address_parse(isola_slice_str(text), &a, &err) != 0)
        fail_msg("%s", err.text);
    assert_true(isola_slice_is(a.app, app));
    assert_true(isola_slice_is(a.type, type));
    assert_true(isola_slice_is(a.key, key));
}

static void bad(const void *text, size_t len, const char *why)
{
    struct isola_address a = {0};
    struct isola_err err = {0};
    assert_int_equal(isola_address_parse(isola_slice(text, len), &a, &err), ISOLA_EINVAL);
    assert_null(a.app.data);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    for (const char *p = err.text; *p != '\0'; p++)
        assert_true((unsigned char)*p >= 0x20); /* no control character reaches a terminal */
    assert_int_equal(isola_address_parse(isola_slice(text, len), &a, NULL), ISOLA_EINVAL);
}

static void test_addresses(void **state)
{
    static const char *const shapes[] = {"", "a", "a/B", "a/B/", "/B/c", "a//c", "//", "///"};
    static const char *const names[] = {"a b/B/c", "a.b/B/c", "a/B\"/c", "\xc3\xa4/B/c",
                                        "a/\xc3\xa4/c"};
    static const char *const bytes[] = {"a/B/c\n",
                                        "a/B/\x1b[31m",
                                        "a/B/\x7f",
                                        "a/B/\xc2\x85",
                                        "a/B/\xff",
                                        "a/B/\xc3",
                                        "a/B/\xc0\xaf",
                                        "a/B/\xed\xa0\x80",
                                        "a/B/\xf4\x90\x80\x80",
                                        "a/B/\xe0\x80\x80",
                                        "a/B/\xf0\x80\x80\x80",
                                        "a/B/\xe2\x82"};
    (void)state;
    good("shop/Counter/user-42", "shop", "Counter", "user-42");
    good("a/B/c", "a", "B", "c");
    good("a-1/B_2/x/y//z", "a-1", "B_2", "x/y//z");
    good("a/B//", "a", "B", "/");
    good("a/B/\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "a", "B",
         "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        bad(shapes[i], strlen(shapes[i]), "it has the form app/Type/key");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        bad(names[i], strlen(names[i]), "letters, digits");
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
        bad(bytes[i], strlen(bytes[i]), "control character or is not UTF-8");
    bad("a/B/c\0d", 7, "at byte 5");
    bad(NULL, 0, "app/Type/key");

    char longest[ISOLA_ADDRESS_MAX + 2];
    memset(longest, 'k', sizeof(longest));
    memcpy(longest, "a/B/", 4);
    longest[ISOLA_ADDRESS_MAX] = '\0';
    good(longest, "a", "B", longest + 4);
    bad(longest, ISOLA_ADDRESS_MAX + 1, "too long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
