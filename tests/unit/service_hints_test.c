/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said to help against failures of Node.js programs, by the line of their error.
 */
#include "node-agent/service_hints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *hint(const char *said)
{
    static char out[ISOLA_HINT_SIZE];
    isola__service_hint(said, out);
    assert_true(strlen(out) < sizeof(out) - 1); /* whole */
    return out;
}

static void of_packages(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"Error: Cannot find module 'dotenv'", "is dotenv among"},
        {"Error: Cannot find module 'dotenv/config' (src/s.js:1)", "is dotenv among"},
        {"Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'hono' imported from /a/b.js",
         "is hono "},
        {"Error [ERR_MODULE_NOT_FOUND]: Cannot find package '@hono/node-server' imported from /a",
         "is @hono/node-server among"},
        {"Error: Cannot find module '@a/b/c.js'", "is @a/b among"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_non_null(strstr(hint(cases[i][0]), cases[i][1]));
}

static void of_files_and_others_none(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "Error: Cannot find module './x.js'",
        "Error: Cannot find module '/srv/x.js'",
        "Error: Cannot find module 'file:///srv/x.js'",
        "Error: Cannot find package '#inner' imported from /a",
        "Error: Cannot find module '",
        "Error: Cannot find module ''",
        "Error: Cannot find module 'cut sho",
        "TypeError: x is not a function (s.js:3)",
        "Error: The module 'x'",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(hint(cases[i]), "");
}

static void of_long_names_their_beginning(void **state)
{
    (void)state;
    char said[200], name[151];
    memset(name, 'x', 150);
    name[150] = '\0';
    snprintf(said, sizeof(said), "Error: Cannot find module '%s'", name);
    assert_non_null(strstr(hint(said), "xxx among"));
}

static void of_what_node_does_not_do(void **state)
{
    (void)state;
    assert_non_null(
        strstr(hint("SyntaxError [ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX]: TypeScript enum is "
                    "not supported in strip-only mode (s.ts:2)"),
               "--import=tsx"));
    static const char *const unbuilt[] = {
        "Error: Could not locate the bindings file. Tried: (node_modules/bindings/bindings.js:135)",
        "Error: No native build was found for platform=linux arch=x64",
        "Error: Cannot find module '../build/Release/sharp-linux-x64.node'",
    };
    for (size_t i = 0; i < sizeof(unbuilt) / sizeof(unbuilt[0]); i++)
        assert_non_null(strstr(hint(unbuilt[i]), "allowScripts"));
    assert_non_null(strstr(hint("Error: listen EADDRINUSE: address already in use :::80"), "ss "));
    assert_non_null(strstr(hint("Error: The module '/a/build/Release/b.node' (s.js:1)"),
                           " was compiled for another version"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_packages),
        cmocka_unit_test(of_files_and_others_none),
        cmocka_unit_test(of_long_names_their_beginning),
        cmocka_unit_test(of_what_node_does_not_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
