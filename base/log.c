/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"

static const char *program = "isola";
static enum isola_log_level least = ISOLA_LOG_INFO;
static bool journal; /* stderr is systemd's journal */

/* JOURNAL_STREAM is "device:inode" of what systemd has connected to it (systemd.exec(5)); a program
 * that is started with another stderr inherits the variable all the same. */
static bool is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    uint64_t device, inode;
    struct stat st;
    return text != NULL && sscanf(text, "%" SCNu64 ":%" SCNu64, &device, &inode) == 2 &&
           fstat(2, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void isola_log_setup(const char *name, enum isola_log_level level)
{
    program = name;
    least = level;
    journal = is_journal();
}

const char *isola_log_level_name(enum isola_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return (unsigned)level < 4 ? names[level] : "unknown";
}

/* What stands before the text of each line. The journal has the time itself, and the name of the
 * program that the unit starts; it takes priorities from each line (sd-daemon(3)). */
static int put_head(char *line, size_t size, enum isola_log_level level)
{
    static const int priorities[] = {7, 6, 4, 3};
    char stamp[ISOLA_STAMP_SIZE];
    if (journal) {
        bool known = strcmp(program, program_invocation_short_name) == 0;
        return snprintf(line, size, "<%d>%s%s", (unsigned)level < 4 ? priorities[level] : 6,
                        known ? "" : program, known ? "" : ": ");
    }
    isola_clock_stamp(isola_clock_wall_ms(), stamp);
    return snprintf(line, size, "%s %-5s %s: ", stamp, isola_log_level_name(level), program);
}

void isola_log(enum isola_log_level level, const char *fmt, ...)
{
    if (level < least)
        return;
    char line[2048];
    int used = put_head(line, sizeof(line), level);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + used, sizeof(line) - (size_t)used, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s\n", line); /* one call, so that lines of several threads do not mix */
}
