/* SPDX-License-Identifier: Apache-2.0
 *
 * Trees of files: the same files give the same bytes, and nothing that leads out of an app is
 * taken.
 */
#include "store/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/msgpack.h"

static const struct isola_hash some = {{1, 2, 3}};

static void add(struct isola_tree *t, const char *path, uint64_t size)
{
    struct isola_hash pieces[4] = {some, some, some, some};
    isola_tree_add(
        t, &(struct isola_tree_entry){.path = (char *)path, .size = size, .pieces = pieces});
}

static void link_to(struct isola_tree *t, const char *path, const char *target)
{
    isola_tree_add(t, &(struct isola_tree_entry){
                          .path = (char *)path, .kind = ISOLA_TREE_LINK, .target = (char *)target});
}

/* What encode and decode say of a tree; both are to say the same. Frees it. */
static int judge(struct isola_tree *t, struct isola_err *err)
{
    struct isola_buf bytes = {0};
    struct isola_tree again;
    int code = isola_tree_encode(t, &bytes, err);
    if (code == 0) {
        assert_int_equal(isola_tree_decode(isola_buf_slice(&bytes), &again, err), 0);
        assert_int_equal(again.n, t->n);
        assert_true(again.bytes == t->bytes);
        isola_tree_free(&again);
    }
    isola_buf_free(&bytes);
    isola_tree_free(t);
    return code;
}

static void is_the_same_in_any_order(void **state)
{
    (void)state;
    struct isola_tree a = {0}, b = {0}, c;
    struct isola_buf x = {0}, y = {0};
    struct isola_err err;
    add(&a, "b/x.js", 10);
    add(&a, "a.js", 0);
    add(&a, "b-c", 2 * (uint64_t)ISOLA_PIECE_MAX + 1);
    link_to(&a, "b/.bin/x", "../x.js");
    link_to(&b, "b/.bin/x", "../x.js");
    add(&b, "b-c", 2 * (uint64_t)ISOLA_PIECE_MAX + 1);
    add(&b, "a.js", 0);
    add(&b, "b/x.js", 10);
    assert_int_equal(isola_tree_encode(&a, &x, &err), 0);
    assert_int_equal(isola_tree_encode(&b, &y, &err), 0);
    assert_true(isola_slice_eq(isola_buf_slice(&x), isola_buf_slice(&y)));
    assert_int_equal(isola_tree_decode(isola_buf_slice(&x), &c, &err), 0);
    const struct isola_tree_entry *e = isola_tree_find(&c, isola_slice_str("b-c"));
    assert_non_null(e);
    assert_true(e->size == 2 * (uint64_t)ISOLA_PIECE_MAX + 1);
    assert_memory_equal(&e->pieces[2], &some, sizeof(some));
    assert_string_equal(isola_tree_find(&c, isola_slice_str("b/.bin/x"))->target, "../x.js");
    assert_null(isola_tree_find(&c, isola_slice_str("b")));
    isola_tree_free(&a);
    isola_tree_free(&b);
    isola_tree_free(&c);
    isola_buf_free(&x);
    isola_buf_free(&y);
}

static void takes_no_path_that_leads_out(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "/etc/passwd", "..",  "../x",  "a/../../x", "a/..",
                                      "a//b", "a/",          "./a", "a/./b", "a\nb",      "."};
    static const char *const good[] = {"a", "a/b", "...", "..a", "a b", "\xc3\xa4.js", "a..b/c"};
    struct isola_err err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct isola_tree t = {0};
        add(&t, bad[i], 1);
        assert_int_equal(judge(&t, &err), ISOLA_EINVAL);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct isola_tree t = {0};
        add(&t, good[i], 1);
        assert_int_equal(judge(&t, &err), 0);
    }
    struct isola_tree deep = {0};
    char path[2 * 80 + 1];
    for (int i = 0; i < 80; i++)
        memcpy(path + 2 * (size_t)i, i < 79 ? "d/" : "f", i < 79 ? 2 : 2);
    add(&deep, path, 1);
    assert_int_equal(judge(&deep, &err), ISOLA_EINVAL);
}

static void takes_no_link_that_leads_out(void **state)
{
    (void)state;
    static const struct {
        const char *path, *target;
        bool good;
    } cases[] = {
        {"l", "a", true},          {"l", "./a", true},         {"l", "a/b", true},
        {"d/l", "../a", true},     {"d/l", "..", true},        {"d/e/l", "../../a", true},
        {"l", "/etc", false},      {"l", "..", false},         {"l", "../a", false},
        {"d/l", "../../a", false}, {"d/l", "a/../b", false},   {"d/l", "x/../../../a", false},
        {"d/l", "", false},        {"d/l", ".", false},        {"d/l", "../", true},
        {"d/l", "..//x", false},   {"d/l", ".././../x", false}};
    struct isola_err err;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct isola_tree t = {0};
        link_to(&t, cases[i].path, cases[i].target);
        int code = judge(&t, &err);
        if ((code == 0) != cases[i].good)
            fail_msg("%s -> %s: %d", cases[i].path, cases[i].target, code);
    }
}

static void has_nothing_below_a_file_or_a_link(void **state)
{
    (void)state;
    struct isola_tree file = {0}, link = {0}, twice = {0};
    struct isola_err err;
    add(&file, "a", 1);
    add(&file, "a-b", 1);
    add(&file, "a/c/d", 1);
    assert_int_equal(judge(&file, &err), ISOLA_EINVAL);
    assert_string_equal(err.text, "a/c/d lies in a, which is no directory");
    link_to(&link, "a/l", "..");
    add(&link, "a/l/x", 1);
    assert_int_equal(judge(&link, &err), ISOLA_EINVAL);
    add(&twice, "a", 1);
    add(&twice, "a", 1);
    assert_int_equal(judge(&twice, &err), ISOLA_EINVAL);
}

static void refuses_what_is_no_tree(void **state)
{
    (void)state;
    struct isola_err err;
    struct isola_tree good = {0}, t;
    struct isola_buf whole = {0};
    add(&good, "a", 5);
    add(&good, "b/c", 2 * (uint64_t)ISOLA_PIECE_MAX);
    link_to(&good, "d", "a");
    assert_int_equal(isola_tree_encode(&good, &whole, &err), 0);
    for (size_t n = 0; n < whole.len; n++)
        assert_int_equal(isola_tree_decode(isola_slice(whole.data, n), &t, &err), ISOLA_EINVAL);
    isola_mp_nil(&whole);
    assert_int_equal(isola_tree_decode(isola_buf_slice(&whole), &t, &err), ISOLA_EINVAL);
    isola_tree_free(&good);
    isola_buf_free(&whole);

    struct isola_buf b = {0}; /* not in order, and a file that has too few pieces */
    isola_mp_array(&b, 2);
    for (int i = 0; i < 2; i++) {
        isola_mp_array(&b, 3);
        isola_mp_cstr(&b, i == 0 ? "z" : "a");
        isola_mp_uint(&b, ISOLA_TREE_LINK);
        isola_mp_cstr(&b, "x");
    }
    assert_int_equal(isola_tree_decode(isola_buf_slice(&b), &t, &err), ISOLA_EINVAL);
    b.len = 0;
    isola_mp_array(&b, 1);
    isola_mp_array(&b, 4);
    isola_mp_cstr(&b, "a");
    isola_mp_uint(&b, ISOLA_TREE_FILE);
    isola_mp_uint(&b, ISOLA_PIECE_MAX + 1);
    isola_mp_bin(&b, isola_slice(&some, sizeof(some)));
    assert_int_equal(isola_tree_decode(isola_buf_slice(&b), &t, &err), ISOLA_EINVAL);
    isola_buf_free(&b);
}

static void has_bounds(void **state)
{
    (void)state;
    struct isola_err err;
    struct isola_tree t = {0};
    struct isola_hash *pieces = isola_zalloc(isola_tree_pieces(ISOLA_TREE_BYTES) * sizeof(*pieces));
    isola_tree_add(&t, &(struct isola_tree_entry){
                           .path = (char *)"large", .size = ISOLA_TREE_BYTES, .pieces = pieces});
    add(&t, "one more", 1);
    assert_int_equal(judge(&t, &err), ISOLA_ETOOBIG);
    free(pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_same_in_any_order),
        cmocka_unit_test(takes_no_path_that_leads_out),
        cmocka_unit_test(takes_no_link_that_leads_out),
        cmocka_unit_test(has_nothing_below_a_file_or_a_link),
        cmocka_unit_test(refuses_what_is_no_tree),
        cmocka_unit_test(has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
