/* SPDX-License-Identifier: Apache-2.0
 *
 * Times as people write them: each form, what is none, and the hours that a clock has twice or
 * leaves out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/when.h"

/* 2031-01-02T13:04:05.678Z, 14:04 in Vienna */
#define NOW INT64_C(1925125445678)

static void is_utc(const char *text, const char *expected)
{
    struct isola__when when;
    struct isola_err err;
    struct isola_buf out = {0};
    if (isola__when_parse(text, NOW, &when, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    assert_int_equal(when.number, 0);
    isola__when_write(&out, when.ms, true);
    assert_string_equal(isola_buf_cstr(&out), expected);
    isola_buf_free(&out);
}

static void is_none(const char *text)
{
    struct isola__when when;
    struct isola_err err = {0};
    if (isola__when_parse(text, NOW, &when, &err) != ISOLA_EINVAL)
        fail_msg("'%s' is taken for a time", text);
    assert_non_null(strstr(err.text, "is no time: write"));
}

static void takes_dates(void **state)
{
    (void)state;
    is_utc("2031-01-02T03:04:05.678Z", "2031-01-02T03:04:05.678Z");
    is_utc("2031-01-02T03:04:05.6Z", "2031-01-02T03:04:05.600Z");
    is_utc("2031-01-02T03:04Z", "2031-01-02T03:04:00.000Z");
    is_utc("2031-01-02 03:04:05+01:00", "2031-01-02T02:04:05.000Z");
    is_utc("2031-01-02T03:04:05-0130", "2031-01-02T04:34:05.000Z");
    is_utc("2031-01-02 03:04:05", "2031-01-02T02:04:05.000Z"); /* local */
    is_utc("2031-01-02", "2031-01-01T23:00:00.000Z");
    is_utc("2030-07-02 12:00", "2030-07-02T10:00:00.000Z");
    is_utc("2030-10-27 02:30+02:00", "2030-10-27T00:30:00.000Z"); /* it comes twice */
    is_utc("2030-10-27 02:30+01:00", "2030-10-27T01:30:00.000Z");
    is_utc("2028-02-29T00:00Z", "2028-02-29T00:00:00.000Z");
}

static void takes_times_of_day(void **state)
{
    (void)state;
    is_utc("14:04", "2031-01-02T13:04:00.000Z");
    is_utc("14:04:05.678", "2031-01-02T13:04:05.678Z");
    is_utc("14:04:05.679", "2031-01-01T13:04:05.679Z"); /* yet to come: yesterday's */
    is_utc("3:15", "2031-01-02T02:15:00.000Z");
    is_utc("23:50", "2031-01-01T22:50:00.000Z");
    is_utc("yesterday 3:15", "2031-01-01T02:15:00.000Z");
}

static void takes_ages(void **state)
{
    (void)state;
    is_utc("10m ago", "2031-01-02T12:54:05.678Z");
    is_utc("10 m ago", "2031-01-02T12:54:05.678Z");
    is_utc("-10m", "2031-01-02T12:54:05.678Z");
    is_utc("-1h30m", "2031-01-02T11:34:05.678Z");
    is_utc("1d 2h ago", "2031-01-01T11:04:05.678Z");
    is_utc("5s ago", "2031-01-02T13:04:00.678Z");
}

static void takes_numbers(void **state)
{
    (void)state;
    struct isola__when when;
    struct isola_err err;
    assert_int_equal(isola__when_parse("3", NOW, &when, &err), 0);
    assert_int_equal(when.number, 3);
    assert_int_equal(isola__when_parse("999999", NOW, &when, &err), 0);
    assert_int_equal(when.number, 999999);
}

static void takes_nothing_else(void **state)
{
    (void)state;
    static const char *const none[] = {"",
                                       " ",
                                       "0",
                                       "1234567",
                                       "-3",
                                       "noon",
                                       "2031-02-29",
                                       "2031-13-01",
                                       "2031-01-32",
                                       "31-01-02",
                                       "2031-01-02T",
                                       "2031-01-02T24:00",
                                       "2031-01-02T03:60",
                                       "2031-01-02T03:04:61Z",
                                       "2031-01-02T03:04:05.Z",
                                       "2031-01-02T03:04:05Zx",
                                       "2031-01-02T03:04+1",
                                       "14:4",
                                       "25:00",
                                       "14:04 ago",
                                       "10m",
                                       "10x ago",
                                       "m ago",
                                       "-m",
                                       "-10m ago",
                                       "30m1h ago",
                                       "1969-01-01T00:00Z",
                                       "9999999d ago"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        is_none(none[i]);
}

static void writes_local_times(void **state)
{
    (void)state;
    struct isola_buf out = {0};
    struct isola__when when;
    struct isola_err err;
    isola__when_write(&out, NOW, false);
    assert_string_equal(isola_buf_cstr(&out), "2031-01-02 14:04:05.678");
    assert_int_equal(isola__when_parse(isola_buf_cstr(&out), NOW, &when, &err), 0);
    assert_int_equal(when.ms, NOW);
    isola_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_dates),        cmocka_unit_test(takes_times_of_day),
        cmocka_unit_test(takes_ages),         cmocka_unit_test(takes_numbers),
        cmocka_unit_test(takes_nothing_else), cmocka_unit_test(writes_local_times),
    };
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
