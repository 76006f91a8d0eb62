/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/when.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define SECOND_MS INT64_C(1000)
#define DAY_MS    INT64_C(86400000)

static int bad(const char *text, struct isola_err *err)
{
    return isola_fail(err, ISOLA_EINVAL,
                      "'%.60s' is no time: write \"2031-01-02 14:32\" or 14:32 (local), "
                      "2031-01-02T14:32:05Z, \"10m ago\", or the number of a point that 'ctl "
                      "history' shows",
                      text);
}

/* `n` digits at the most, and how many there were. */
static int digits(const char **p, int n, int *out)
{
    int got = 0;
    *out = 0;
    while (got < n && **p >= '0' && **p <= '9') {
        *out = *out * 10 + (*(*p)++ - '0');
        got++;
    }
    return got;
}

static bool take(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* HH:MM[:SS[.mmm]] */
static bool clock_time(const char **p, struct tm *tm, int *ms)
{
    int n, value;
    *ms = 0;
    if (digits(p, 2, &tm->tm_hour) == 0 || !take(p, ':') || digits(p, 2, &tm->tm_min) != 2)
        return false;
    if (take(p, ':') && digits(p, 2, &tm->tm_sec) != 2)
        return false;
    if (take(p, '.')) {
        n = digits(p, 3, &value);
        if (n == 0)
            return false;
        *ms = n == 1 ? value * 100 : n == 2 ? value * 10 : value;
    }
    return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec < 60;
}

/* Z, +HH:MM, -HHMM: *minutes east. False: there is none. */
static bool zone(const char **p, int *minutes)
{
    const char *at = *p;
    int hours, more;
    char sign = *at;
    *minutes = 0;
    if (take(p, 'Z'))
        return true;
    if (!take(&at, '+') && !take(&at, '-'))
        return false;
    if (digits(&at, 2, &hours) != 2)
        return false;
    (void)take(&at, ':');
    if (digits(&at, 2, &more) != 2)
        return false;
    *p = at;
    *minutes = (hours * 60 + more) * (sign == '-' ? -1 : 1);
    return true;
}

/* Local; false: there is no such time. */
static bool local_ms(struct tm tm, int64_t *out)
{
    tm.tm_isdst = -1;
    time_t t = mktime(&tm);
    *out = (int64_t)t * SECOND_MS;
    return t != (time_t)-1;
}

static bool date_time(const char *p, int64_t *out)
{
    struct tm tm = {0};
    int ms = 0, minutes;
    if (digits(&p, 4, &tm.tm_year) != 4 || !take(&p, '-') || digits(&p, 2, &tm.tm_mon) != 2 ||
        !take(&p, '-') || digits(&p, 2, &tm.tm_mday) != 2)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm day = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday};
    if (timegm(&day) == (time_t)-1 || day.tm_mday != tm.tm_mday || day.tm_mon != tm.tm_mon)
        return false; /* February 30 */
    if ((take(&p, 'T') || take(&p, ' ')) && !clock_time(&p, &tm, &ms))
        return false;
    if (zone(&p, &minutes))
        *out = ((int64_t)timegm(&tm) - (int64_t)minutes * 60) * SECOND_MS;
    else if (!local_ms(tm, out))
        return false;
    *out += ms;
    return *p == '\0';
}

/* Of today, or of yesterday when that is yet to come, or it says so. */
static bool time_of_day(const char *p, int64_t now, int64_t *out)
{
    static const char word[] = "yesterday ";
    bool yesterday = strncmp(p, word, sizeof(word) - 1) == 0;
    time_t t = (time_t)(now / SECOND_MS);
    struct tm tm;
    int ms;
    if (yesterday)
        p += sizeof(word) - 1;
    if (localtime_r(&t, &tm) == NULL)
        return false;
    tm.tm_sec = 0;
    if (!clock_time(&p, &tm, &ms) || *p != '\0' || !local_ms(tm, out))
        return false;
    if (yesterday || *out + ms > now) {
        tm.tm_mday--;
        if (!local_ms(tm, out))
            return false;
    }
    *out += ms;
    return true;
}

/* "-1h30m", "10m ago" */
static bool ago(const char *p, int64_t now, int64_t *out)
{
    static const struct {
        char letter;
        int64_t ms;
    } units[] = {{'d', DAY_MS}, {'h', 3600 * SECOND_MS}, {'m', 60 * SECOND_MS}, {'s', SECOND_MS}};
    bool minus = take(&p, '-');
    int64_t sum = 0;
    size_t next = 0, parts = 0;
    for (int n; digits(&p, 7, &n) > 0; parts++) {
        (void)take(&p, ' ');
        while (next < 4 && units[next].letter != *p)
            next++;
        if (next == 4)
            return false;
        sum += n * units[next++].ms;
        p++;
        if (*p == ' ' && p[1] >= '0' && p[1] <= '9')
            p++;
    }
    *out = now - sum;
    return parts > 0 && (minus ? *p == '\0' : strcmp(p, " ago") == 0 || strcmp(p, "ago") == 0);
}

int isola__when_parse(const char *text, int64_t now_ms, struct isola__when *out,
                      struct isola_err *err)
{
    const char *p = text;
    int number;
    *out = (struct isola__when){0};
    if (digits(&p, 6, &number) > 0 && *p == '\0' && number > 0)
        out->number = (unsigned)number;
    else if (!date_time(text, &out->ms) && !time_of_day(text, now_ms, &out->ms) &&
             !ago(text, now_ms, &out->ms))
        return bad(text, err);
    return out->number == 0 && out->ms <= 0 ? bad(text, err) : 0;
}

void isola__when_write(struct isola_buf *out, int64_t ms, bool utc)
{
    time_t t = (time_t)(ms / SECOND_MS);
    struct tm tm;
    char day[40] = "";
    if ((utc ? gmtime_r(&t, &tm) : localtime_r(&t, &tm)) != NULL)
        (void)strftime(day, sizeof(day), utc ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
    isola_buf_printf(out, "%s.%03d%s", day, (int)(ms % SECOND_MS), utc ? "Z" : "");
}

void isola__when_stamp(double ms, char out[ISOLA_STAMP_SIZE])
{
    if (ms > 0 && ms < 253402300800000.0) /* the year 10000 */
        isola_clock_stamp((int64_t)ms, out);
    else
        snprintf(out, ISOLA_STAMP_SIZE, "-");
}
