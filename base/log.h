/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's own log: one line per call on stderr, "2031-01-02T03:04:05.678Z level program:
 * text"; "<6>text" where that is systemd's journal, which has the rest itself. What actors log
 * travels to the agent instead (docs/protocol.md).
 */
#ifndef ISOLA_BASE_LOG_H
#define ISOLA_BASE_LOG_H

#include "base/annotate.h"

ISOLA_BEGIN_C

enum isola_log_level { ISOLA_LOG_DEBUG, ISOLA_LOG_INFO, ISOLA_LOG_WARN, ISOLA_LOG_ERROR };

/* `program` (static storage) is printed in each line. Lines below `least` are dropped; INFO until
 * this is called. Looks where stderr leads. */
ANY_THREAD void isola_log_setup(const char *program, enum isola_log_level least);
ANY_THREAD void isola_log(enum isola_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* "debug", "info", "warn", "error". */
ANY_THREAD const char *isola_log_level_name(enum isola_log_level level);

ISOLA_END_C

#endif
