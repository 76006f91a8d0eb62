/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of ctl: what is taken, in which order, and each way to get it wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/text.h"

#define MAX_ARGS 32

/* Splits `line` at blanks; the words live in `words`. */
static int parse(const char *line, struct isola__options *o, struct isola_err *err)
{
    static char words[1024];
    char *argv[MAX_ARGS] = {0};
    int argc = 0;
    *err = (struct isola_err){0};
    strncpy(words, line, sizeof(words) - 1);
    for (char *w = strtok(words, " "); w != NULL && argc < MAX_ARGS - 1; w = strtok(NULL, " "))
        argv[argc++] = w;
    return isola__options_parse(argc, argv, o, err);
}

static void refuses(const char *line, const char *sentence)
{
    struct isola__options o;
    struct isola_err err;
    assert_int_equal(parse(line, &o, &err), ISOLA_EINVAL);
    assert_string_equal(err.text, sentence);
    isola__options_free(&o);
}

static void options_anywhere(void **state)
{
    static const char *const lines[] = {
        "ctl --json --node /s ask a/B/c add 5 --timeout 100",
        "ctl ask --json a/B/c --node=/s add --timeout=100 5",
        "ctl ask a/B/c add 5 --timeout 100 --node /s --json",
        "ctl --timeout 100 --node /s --json -- ask a/B/c add 5",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct isola__options o;
        struct isola_err err;
        assert_int_equal(parse(lines[i], &o, &err), 0);
        assert_string_equal(o.command->name, "ask");
        assert_true(o.json);
        assert_string_equal(o.node, "/s");
        assert_int_equal(o.timeout_ms, 100);
        assert_int_equal(o.noperands, 3);
        assert_string_equal(o.operands[0], "a/B/c");
        assert_string_equal(o.operands[2], "5");
        isola__options_free(&o);
    }
}

static void numbers_are_no_options(void **state)
{
    struct isola__options o;
    struct isola_err err;
    (void)state;
    assert_int_equal(parse("ctl ask a/B/c add -5 --json -0.5 -- --x -n", &o, &err), 0);
    assert_int_equal(o.noperands, 6);
    assert_string_equal(o.operands[2], "-5");
    assert_string_equal(o.operands[3], "-0.5");
    assert_string_equal(o.operands[4], "--x");
    assert_string_equal(o.operands[5], "-n");
    assert_true(o.json);
    isola__options_free(&o);
}

static void timeouts(void **state)
{
    static const struct {
        const char *line;
        uint32_t ms;
    } cases[] = {{"ctl ask a/B/c x --timeout 5000", 5000},
                 {"ctl ask a/B/c x --timeout 5s", 5000},
                 {"ctl ask a/B/c x --timeout=10m", 600000},
                 {"ctl ask a/B/c x --timeout 1d", 86400000}};
    struct isola__options o;
    struct isola_err err;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(parse(cases[i].line, &o, &err), 0);
        assert_int_equal(o.timeout_ms, cases[i].ms);
        isola__options_free(&o);
    }
}

static void short_options(void **state)
{
    struct isola__options o;
    struct isola_err err;
    (void)state;
    assert_int_equal(parse("ctl logs -fn 7 shop", &o, &err), 0);
    assert_true(o.follow);
    assert_int_equal(o.lines, 7);
    assert_int_equal(o.noperands, 1);
    isola__options_free(&o);
    assert_int_equal(parse("ctl logs", &o, &err), 0);
    assert_int_equal(o.lines, 200);
    isola__options_free(&o);
}

static void help(void **state)
{
    static const char *const lines[] = {"ctl help ask", "ctl ask --help", "ctl -h ask",
                                        "ctl ask a --help"};
    struct isola__options o;
    struct isola_err err;
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_int_equal(parse(lines[i], &o, &err), 0);
        assert_true(o.help);
        assert_string_equal(o.command->name, "ask");
        isola__options_free(&o);
    }
    assert_int_equal(parse("ctl help", &o, &err), 0);
    assert_true(o.help);
    assert_null(o.command);
    isola__options_free(&o);
    assert_int_equal(parse("ctl --version", &o, &err), 0);
    assert_true(o.version);
    isola__options_free(&o);
}

static void every_command_has_help_with_examples(void **state)
{
    const char *names[64];
    size_t n = isola__command_names(names, 64);
    (void)state;
    assert_true(n > 8);
    for (size_t i = 0; i < n; i++) {
        const struct isola__command *command = isola__command_find(names[i]);
        struct isola_buf out = {0};
        isola__command_help(command, &out);
        const char *examples = strstr(isola_buf_cstr(&out), "Examples:\n  ");
        assert_non_null(examples);
        assert_non_null(strstr(examples, "ctl "));
        for (char *line = strtok((char *)out.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
            if (isola__text_width(isola_slice_str(line)) > 80)
                fail_msg("wider than a terminal: %s", line);
        isola_buf_free(&out);
    }
}

static void wrong_usage(void **state)
{
    (void)state;
    refuses("ctl", "no command; 'ctl --help' lists them");
    refuses("ctl delpoy x", "unknown command 'delpoy'; did you mean 'deploy'?");
    refuses("ctl status", "unknown command 'status'; did you mean 'ps'?");
    refuses("ctl help start",
            "unknown command 'start'; did you mean 'deploy', or 'restart' for what was stopped?");
    refuses("ctl hepl", "unknown command 'hepl'; did you mean 'help'?");
    refuses("ctl help delpoy", "unknown command 'delpoy'; did you mean 'deploy'?");
    refuses("ctl frobnicate", "unknown command 'frobnicate'; see 'ctl --help'");
    refuses("ctl ps --jsno", "unknown option '--jsno'; did you mean '--json'?");
    refuses("ctl ps --nodde=/x", "unknown option '--nodde=/x'; did you mean '--node'?");
    refuses("ctl ps -x", "unknown option '-x'; see 'ctl --help' (put '--' before arguments that "
                         "begin with '-')");
    refuses("ctl ps --json=1", "option '--json' takes no value");
    refuses("ctl ps --node", "option '--node' needs a value; see 'ctl --help'");
    refuses("ctl logs -n", "option '-n' needs a value; see 'ctl --help'");
    refuses("ctl logs -n -5", "option '--lines' needs a whole number from 0 to 10000, not '-5'");
    refuses("ctl logs -n 10001",
            "option '--lines' needs a whole number from 0 to 10000, not '10001'");
    refuses("ctl ask a/B/c x --timeout 0",
            "option '--timeout' needs milliseconds from 1 to 86400000, or a time such as 30s or "
            "10m, up to 1d, not '0'");
    refuses("ctl ask a/B/c x --timeout 1x",
            "option '--timeout' needs milliseconds from 1 to 86400000, or a time such as 30s or "
            "10m, up to 1d, not '1x'");
    refuses("ctl ask a/B/c x --timeout 0s",
            "option '--timeout' needs milliseconds from 1 to 86400000, or a time such as 30s or "
            "10m, up to 1d, not '0s'");
    refuses("ctl ask a/B/c x --timeout 2d",
            "option '--timeout' needs milliseconds from 1 to 86400000, or a time such as 30s or "
            "10m, up to 1d, not '2d'");
    refuses("ctl ask a/B/c x --timeout 99999999999999999999999",
            "option '--timeout' needs milliseconds from 1 to 86400000, or a time such as 30s or "
            "10m, up to 1d, not '99999999999999999999999'");
    refuses("ctl ask a/B/c x --count 3",
            "option '--count' does not belong to 'ask'; see 'ctl ask --help'");
    refuses("ctl ps -f", "option '--follow' does not belong to 'ps'; see 'ctl ps --help'");
    refuses("ctl emit a/B/c", "'emit' needs more arguments: ctl emit ADDRESS EVENT [JSON…]");
    refuses("ctl stop a/B/c d", "unexpected argument 'd': ctl stop ADDRESS");
}

static void of_clusters(void **state)
{
    struct isola__options o;
    struct isola_err err;
    (void)state;
    assert_int_equal(parse("ctl token --expires 10m", &o, &err), 0);
    assert_int_equal(o.expires_ms, 600000);
    isola__options_free(&o);
    assert_int_equal(parse("ctl token --expires=7d", &o, &err), 0);
    assert_int_equal(o.expires_ms, 7 * 86400000);
    isola__options_free(&o);
    assert_int_equal(parse("ctl remove west --force", &o, &err), 0);
    assert_true(o.force);
    assert_string_equal(o.operands[0], "west");
    isola__options_free(&o);
    assert_int_equal(parse("ctl init --name prod", &o, &err), 0);
    assert_string_equal(o.name, "prod");
    isola__options_free(&o);
    static const char *const bad[] = {"10",   "m",    "0m",  "1y",
                                      "1.5h", "10mm", "-1h", "999999999999d"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[60], says[120];
        snprintf(line, sizeof(line), "ctl token --expires %s", bad[i]);
        snprintf(says, sizeof(says),
                 "option '--expires' needs a time such as 10m, 1h or 7d, not '%s'", bad[i]);
        refuses(line, says);
    }
    refuses("ctl init --force",
            "option '--force' does not belong to 'init'; see 'ctl init --help'");
    refuses("ctl remove", "'remove' needs more arguments: ctl remove NODE");
}

static void json_is_seen_before_what_is_wrong(void **state)
{
    struct isola__options o;
    struct isola_err err;
    (void)state;
    assert_int_equal(parse("ctl ps --bogus --json", &o, &err), ISOLA_EINVAL);
    assert_true(o.json);
    isola__options_free(&o);
    assert_int_equal(parse("ctl ask --bogus -- --json", &o, &err), ISOLA_EINVAL);
    assert_false(o.json);
    isola__options_free(&o);
}

static void expect_socket(const char *node, const char *path)
{
    char *socket = NULL;
    struct isola_err err;
    assert_int_equal(isola__options_socket(node, &socket, &err), 0);
    assert_string_equal(socket, path);
    free(socket);
}

static void the_socket(void **state)
{
    char *socket = NULL;
    struct isola_err err;
    (void)state;
    assert_int_equal(chdir("/"), 0);
    setenv("HOME", "/home/ada", 1);
    unsetenv("ISOLA_NODE");
    unsetenv("ISOLA_DATA");
    expect_socket(NULL, "/home/ada/.isola/agent.sock");
    setenv("ISOLA_DATA", "/data", 1);
    expect_socket(NULL, "/data/agent.sock");
    setenv("ISOLA_NODE", "unix:/run/a.sock", 1);
    expect_socket(NULL, "/run/a.sock");
    expect_socket("/other", "/other");
    expect_socket("here.sock", "//here.sock");
    expect_socket("./here.sock", "//here.sock");
    expect_socket(".//./a/./here.sock", "//a/./here.sock");
    setenv("ISOLA_NODE", "", 1);
    expect_socket(NULL, "/data/agent.sock");

    assert_int_equal(isola__options_socket("tcp://127.0.0.1:1", &socket, &err), ISOLA_EINVAL);
    assert_non_null(strstr(err.text, "tcp://127.0.0.1:1"));
    assert_non_null(strstr(err.text, "unix sockets only"));
    assert_int_equal(isola__options_socket("", &socket, &err), ISOLA_EINVAL);
    assert_int_equal(isola__options_socket("unix:", &socket, &err), ISOLA_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_anywhere),
        cmocka_unit_test(numbers_are_no_options),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(short_options),
        cmocka_unit_test(help),
        cmocka_unit_test(every_command_has_help_with_examples),
        cmocka_unit_test(wrong_usage),
        cmocka_unit_test(of_clusters),
        cmocka_unit_test(json_is_seen_before_what_is_wrong),
        cmocka_unit_test(the_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
