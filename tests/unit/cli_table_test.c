/* SPDX-License-Identifier: Apache-2.0
 *
 * Text for people: widths, what must not reach a terminal, alignment, human figures, near misses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/table.h"
#include "cli/text.h"

static void widths(void **state)
{
    (void)state;
    assert_int_equal(isola__text_width(isola_slice_str("")), 0);
    assert_int_equal(isola__text_width(isola_slice_str("abc")), 3);
    assert_int_equal(isola__text_width(isola_slice_str("Zürich")), 6);
    assert_int_equal(isola__text_width(isola_slice_str("u\xcc\x88")), 1); /* combining */
    assert_int_equal(isola__text_width(isola_slice_str("東京")), 4);
    assert_int_equal(isola__text_width(isola_slice_str("\xff\xfe")), 2); /* not UTF-8 */
}

static void expect_clean(const char *text, size_t len, const char *wanted)
{
    struct isola_buf out = {0};
    isola__text_clean(&out, isola_slice(text, len));
    assert_int_equal(out.len, strlen(wanted));
    assert_memory_equal(isola_buf_cstr(&out), wanted, out.len);
    isola_buf_free(&out);
}

#define BAD "\xef\xbf\xbd"

static void what_drives_a_terminal(void **state)
{
    (void)state;
    expect_clean("plain\ttext\n", 11, "plain\ttext\n");
    expect_clean("\x1b[1;31mred\x1b[m", 13, "red"); /* colours are left out */
    expect_clean("\x1b[31", 4, BAD "[31");
    expect_clean("\x1b[2Jgone", 8, BAD "[2Jgone");
    expect_clean("a\rb\0c\x7f", 6, "a" BAD "b" BAD "c" BAD);
    expect_clean("\xc2\x9b"
                 "2J",
                 4, BAD "2J"); /* C1 CSI */
    expect_clean("\xe2\x80\xae"
                 "abc",
                 6, BAD "abc");                   /* right-to-left override */
    expect_clean("\xc3", 1, BAD);                 /* cut off */
    expect_clean("\xed\xa0\x80", 3, BAD BAD BAD); /* a surrogate */
    expect_clean("\xc0\xaf", 2, BAD BAD);         /* overlong */
    expect_clean("\xf4\x90\x80\x80", 4, BAD BAD BAD BAD);
    expect_clean("\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80");
}

static void columns(void **state)
{
    static const struct isola__column titles[] = {
        {"NAME", ISOLA__WORD}, {"N", ISOLA__NUMBER}, {"NOTE", ISOLA__WORD}};
    struct isola__table t;
    struct isola_buf out = {0};
    (void)state;
    isola__table_init(&t, titles, 3);
    isola__table_add(&t, isola_slice_str("Zürich"), ISOLA__PLAIN);
    isola__table_add(&t, isola_slice_str("7"), ISOLA__PLAIN);
    isola__table_add(&t, isola_slice_str(""), ISOLA__PLAIN);
    isola__table_add(&t, isola_slice_str("東京"), ISOLA__PLAIN);
    isola__table_add(&t, isola_slice_str("1234"), ISOLA__PLAIN);
    isola__table_add(&t, isola_slice_str("two\nlines"), ISOLA__BAD);
    isola__table_print(&t, 0, false, &out);
    assert_string_equal(isola_buf_cstr(&out), "NAME       N  NOTE\n"
                                              "Zürich     7\n"
                                              "東京    1234  two lines\n");
    out.len = 0;
    isola__table_print(&t, 0, true, &out);
    assert_non_null(strstr(isola_buf_cstr(&out), "\x1b[31mtwo lines\x1b[0m\n"));
    isola_buf_free(&out);
    isola__table_free(&t);
}

static void expect_short(const char *text, size_t columns, const char *wanted)
{
    struct isola_buf out = {0};
    isola__text_shorten(&out, isola_slice_str(text), columns);
    assert_string_equal(isola_buf_cstr(&out), wanted);
    isola_buf_free(&out);
}

static void shortened(void **state)
{
    (void)state;
    expect_short("shop/Counter/user-42", 9, "shop…r-42");
    expect_short("shop/Counter/user-42", 10, "shop/…r-42");
    expect_short("abcd", 3, "a…d");
    expect_short("東京東京東京", 6, "東…京");         /* a wide character is left out whole */
    expect_short("abcde\xcc\x88", 4, "ab…e\xcc\x88"); /* as is a combined one */
    expect_short("a\xcc\x88"
                 "bcde",
                 3, "a\xcc\x88…e");
}

static void expect_table(const struct isola__table *t, size_t width, const char *wanted)
{
    struct isola_buf out = {0};
    isola__table_print(t, width, false, &out);
    assert_string_equal(isola_buf_cstr(&out), wanted);
    isola_buf_free(&out);
}

static void narrow_terminals(void **state)
{
    static const struct isola__column titles[] = {
        {"ADDRESS", ISOLA__LONG}, {"STATE", ISOLA__WORD}, {"TURNS", ISOLA__NUMBER}};
    static const char *const cells[] = {"shop/Counter/user-42", "idle", "4",
                                        "shop/Cart/7",          "",     "12345"};
    struct isola__table t;
    (void)state;
    isola__table_init(&t, titles, 3);
    for (size_t i = 0; i < 6; i++)
        isola__table_add(&t, isola_slice_str(cells[i]), ISOLA__PLAIN);
    static const char whole[] = "ADDRESS               STATE  TURNS\n"
                                "shop/Counter/user-42  idle       4\n"
                                "shop/Cart/7                  12345\n";
    expect_table(&t, 0, whole);
    expect_table(&t, 34, whole);
    expect_table(&t, 33,
                 "ADDRESS              STATE  TURNS\n"
                 "shop/Coun…r/user-42  idle       4\n"
                 "shop/Cart/7                 12345\n");
    expect_table(&t, 30,
                 "ADDRESS           STATE  TURNS\n"
                 "shop/Cou…user-42  idle       4\n"
                 "shop/Cart/7              12345\n");
    /* what it would take is too much: blocks, nothing left out */
    expect_table(&t, 29,
                 "ADDRESS shop/Counter/user-42\n"
                 "  STATE idle  TURNS 4\n"
                 "ADDRESS shop/Cart/7\n"
                 "  STATE       TURNS 12345\n");
    expect_table(&t, 41, whole);
    expect_table(&t, 1,
                 "ADDRESS shop/Counter/user-42\n"
                 "  STATE idle\n"
                 "  TURNS 4\n"
                 "ADDRESS shop/Cart/7\n"
                 "  STATE\n"
                 "  TURNS 12345\n");
    isola__table_free(&t);
}

static void figures(void **state)
{
    static const struct {
        uint64_t n;
        const char *text;
    } sizes[] = {{0, "0 B"},          {1023, "1023 B"},    {1024, "1.0 KB"},
                 {1536, "1.5 KB"},    {10189, "10 KB"},    {(1 << 20) - 1, "1.0 MB"},
                 {1 << 20, "1.0 MB"}, {67108864, "64 MB"}, {UINT64_MAX, "16 EB"}},
      times[] = {{0, "0 ms"},           {999, "999 ms"},         {1000, "1 s"},
                 {185000, "3 min 5 s"}, {7800000, "2 h 10 min"}, {349200000, "4 d 1 h"}};
    char text[ISOLA__HUMAN_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        isola__human_bytes(sizes[i].n, text);
        assert_string_equal(text, sizes[i].text);
    }
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        isola__human_time(times[i].n, text);
        assert_string_equal(text, times[i].text);
    }
    isola__human_time(UINT64_MAX, text); /* fits */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widths),           cmocka_unit_test(what_drives_a_terminal),
        cmocka_unit_test(columns),          cmocka_unit_test(shortened),
        cmocka_unit_test(narrow_terminals), cmocka_unit_test(figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
