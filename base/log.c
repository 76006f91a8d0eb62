/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

static const char *program = "isola";
static enum isola_log_level least = ISOLA_LOG_INFO;

void isola_log_setup(const char *name, enum isola_log_level level)
{
    program = name;
    least = level;
}

const char *isola_log_level_name(enum isola_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return (unsigned)level < 4 ? names[level] : "unknown";
}

void isola_log(enum isola_log_level level, const char *fmt, ...)
{
    if (level < least)
        return;
    char stamp[ISOLA_STAMP_SIZE];
    isola_clock_stamp(isola_clock_wall_ms(), stamp);
    char line[2048];
    int used =
        snprintf(line, sizeof(line), "%s %-5s %s: ", stamp, isola_log_level_name(level), program);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + used, sizeof(line) - (size_t)used, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s\n", line); /* one call, so that lines of several threads do not mix */
}
