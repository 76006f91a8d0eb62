/* SPDX-License-Identifier: Apache-2.0
 *
 * A program's own log: with time and level in each line, and without where systemd's journal takes
 * it, which knows both.
 */
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2], before = -1; /* what stderr is during a test, and what it was */

static int start(void **state)
{
    (void)state;
    if (pipe(ends) != 0)
        return -1;
    before = dup(2);
    return before >= 0 && dup2(ends[1], 2) == 2 ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    if (dup2(before, 2) != 2)
        return -1;
    close(before);
    close(ends[0]);
    close(ends[1]);
    return unsetenv("JOURNAL_STREAM");
}

static void journal_is(ino_t more)
{
    struct stat st;
    char text[64];
    assert_int_equal(fstat(2, &st), 0);
    snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)(st.st_ino + more));
    assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
}

/* What was logged. */
static const char *said(void)
{
    static char text[4096];
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    return text;
}

static void a_line_has_time_level_and_program(void **state)
{
    (void)state;
    isola_log_setup("node-agent", ISOLA_LOG_INFO);
    isola_log(ISOLA_LOG_DEBUG, "not this");
    isola_log(ISOLA_LOG_WARN, "%d left", 3);
    const char *line = said();
    assert_string_equal(line + strlen("2031-01-02T03:04:05.678Z"), " warn  node-agent: 3 left\n");
}

static void the_journal_gets_priorities(void **state)
{
    (void)state;
    journal_is(0);
    isola_log_setup("actor-host", ISOLA_LOG_DEBUG);
    isola_log(ISOLA_LOG_DEBUG, "a");
    assert_string_equal(said(), "<7>actor-host: a\n");
    isola_log(ISOLA_LOG_INFO, "b");
    assert_string_equal(said(), "<6>actor-host: b\n");
    isola_log(ISOLA_LOG_WARN, "c");
    assert_string_equal(said(), "<4>actor-host: c\n");
    isola_log(ISOLA_LOG_ERROR, "d");
    assert_string_equal(said(), "<3>actor-host: d\n");
}

static void the_journal_knows_the_program_of_the_unit(void **state)
{
    (void)state;
    journal_is(0);
    isola_log_setup(program_invocation_short_name, ISOLA_LOG_INFO);
    isola_log(ISOLA_LOG_INFO, "ready");
    assert_string_equal(said(), "<6>ready\n");
}

static void another_stderr_is_not_the_journal(void **state)
{
    (void)state;
    journal_is(1);
    isola_log_setup("node-agent", ISOLA_LOG_INFO);
    isola_log(ISOLA_LOG_INFO, "ready");
    assert_non_null(strstr(said(), "Z info  node-agent: ready\n"));
    assert_int_equal(setenv("JOURNAL_STREAM", "nonsense", 1), 0);
    isola_log_setup("node-agent", ISOLA_LOG_INFO);
    isola_log(ISOLA_LOG_INFO, "ready");
    assert_non_null(strstr(said(), "Z info  node-agent: ready\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_and_program, start, end),
        cmocka_unit_test_setup_teardown(the_journal_gets_priorities, start, end),
        cmocka_unit_test_setup_teardown(the_journal_knows_the_program_of_the_unit, start, end),
        cmocka_unit_test_setup_teardown(another_stderr_is_not_the_journal, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
