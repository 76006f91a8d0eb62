/* SPDX-License-Identifier: Apache-2.0
 *
 * What esbuild says in our words, and source maps that do not tell where they were made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/bundle.h"

static void expect(const char *words, const char *sentence)
{
    struct isola_err err;
    assert_int_equal(isola__bundle_explain(isola_slice_str(words), "/nowhere/app", &err),
                     ISOLA_EMODULE);
    assert_string_equal(err.text, sentence);
}

static void one_error(void **state)
{
    (void)state;
    expect(
        "✘ [ERROR] Expected \")\" but found \"x\"\n\n    lib/counter.js:3:13:\n      3 │ f(x x\n  "
        "      ╵     ^\n\n1 error\n",
        "cannot bundle lib/counter.js:3:14: Expected \")\" but found \"x\"\n      3 │ f(x x\n  "
        "      ╵     ^");
}

static void imports(void **state)
{
    (void)state;
    expect("✘ [ERROR] Could not resolve \"fs\"\n\n    a.js:1:15:\n      1 │ import\n        ╵ "
           "~~~~\n\n  The package \"fs\" wasn't found on the file system but is built into node. "
           "More.\n\n",
           "cannot bundle a.js:1:16: \"fs\" is built into Node.js, and actors do not have Node.js' "
           "own modules\n      1 │ import\n        ╵ ~~~~");
    expect("✘ [ERROR] Could not resolve \"@a/b/c\"\n\n    a.js:2:0:\n      2 │ x\n",
           "cannot bundle a.js:2:1: the package \"@a/b\" is not installed; run `npm install @a/b` "
           "in /nowhere/app\n      2 │ x");
    expect("✘ [ERROR] Could not resolve \"./x.js\"\n\n    a.js:2:0:\n      2 │ x\n",
           "cannot bundle a.js:2:1: Could not resolve \"./x.js\"\n      2 │ x");
    expect("✘ [ERROR] Could not resolve \"unfinished\n",
           "cannot bundle Could not resolve \"unfinished");
    expect("✘ [ERROR] Could not resolve \"\"\n", "cannot bundle Could not resolve \"\"");
}

static void other_words(void **state)
{
    (void)state;
    expect("", "cannot bundle the app: esbuild failed without a word");
    expect("  \n", "cannot bundle the app: esbuild failed without a word");
    expect("error: \x1b[31mboom\n", "cannot bundle the app: error: boom");
}

static void many_errors(void **state)
{
    struct isola_buf words = {0};
    struct isola_err err;
    (void)state;
    for (int i = 1; i <= 40; i++)
        isola_buf_printf(&words, "✘ [ERROR] No\n\n    a.js:%d:0:\n      %d │ xxxxxxxxxx\n\n", i, i);
    assert_int_equal(isola__bundle_explain(isola_buf_slice(&words), "/", &err), ISOLA_EMODULE);
    assert_non_null(strstr(err.text, "cannot bundle a.js:1:1: No\n"));
    assert_non_null(strstr(err.text, "\n  also a.js:2:1: No\n"));
    assert_non_null(strstr(err.text, " more errors"));
    isola_buf_free(&words);

    /* one that alone is more than there is room for is cut, not left out */
    isola_buf_puts(&words, "✘ [ERROR] ");
    for (int i = 0; i < 3000; i++)
        isola_buf_puts(&words, "x");
    assert_int_equal(isola__bundle_explain(isola_buf_slice(&words), "/", &err), ISOLA_EMODULE);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    isola_buf_free(&words);
}

static void expect_sources(const char *from, const char *dir, const char *before, const char *after)
{
    struct isola_buf map = {0};
    struct isola_err err;
    isola_buf_puts(&map, before);
    assert_int_equal(isola__source_map_rebase(&map, from, dir, &err), 0);
    assert_string_equal(isola_buf_cstr(&map), after);
    isola_buf_free(&map);
}

static void source_maps(void **state)
{
    (void)state;
    expect_sources(
        "/tmp/x", "/work/app",
        "{\"version\":3,\"sources\":[\"../../work/app/a.js\",\"../../work/app/./lib/../b.js\","
        "\"../../work/node_modules/p/i.js\",\"../../work/app2/c.js\"],\"mappings\":\"A\"}",
        "{\"version\":3,\"sources\":[\"a.js\",\"b.js\",\"../node_modules/p/i.js\","
        "\"../app2/c.js\"],\"mappings\":\"A\"}");
    expect_sources("/tmp/x", "/", "{\"sources\":[\"../../a.js\",\"../../../../../b.js\"]}",
                   "{\"sources\":[\"a.js\",\"b.js\"]}");
    expect_sources("/tmp/x", "/a", "{\"sources\":[\"data:text/x\",null,\"../../a/b\"]}",
                   "{\"sources\":[\"data:text/x\",null,\"b\"]}");

    static const char *const bad[] = {"", "[]", "{", "{\"sources\":1}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct isola_buf map = {0};
        struct isola_err err;
        isola_buf_puts(&map, bad[i]);
        assert_int_equal(isola__source_map_rebase(&map, "/a", "/b", &err), ISOLA_EPROTO);
        isola_buf_free(&map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_error),   cmocka_unit_test(imports),     cmocka_unit_test(other_words),
        cmocka_unit_test(many_errors), cmocka_unit_test(source_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
