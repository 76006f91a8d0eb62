/* SPDX-License-Identifier: Apache-2.0
 *
 * Times as people write them, and as they read them.
 */
#ifndef ISOLA_CLI_WHEN_H
#define ISOLA_CLI_WHEN_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"

struct isola__when {
    int64_t ms;      /* since 1970 */
    unsigned number; /* of a point instead; 0: it is a time */
};

/* "2031-01-02T03:04:05.678Z" (or +01:00; without either it is local; seconds and the time of day
 * may be left out, a space may stand for the T), "14:32" or "14:32:05" (local, the last time it was
 * that), "10m ago", "-1h30m" (s, m, h, d), "yesterday 14:32"; or a number such as 3, at most six
 * digits. ISOLA_EINVAL: it is none of that. */
ANY_THREAD ISOLA_MUST_USE int isola__when_parse(const char *text, int64_t now_ms,
                                                struct isola__when *out, struct isola_err *err);
/* "2031-01-02 03:04:05.678", local, or with `utc` "2031-01-02T03:04:05.678Z": isola__when_parse
 * takes both. */
ANY_THREAD void isola__when_write(struct isola_buf *out, int64_t ms, bool utc);
/* What an agent says of a time, in ms since 1970: "2031-01-02T03:04:05.678Z", or "-" when that is
 * none. */
ANY_THREAD void isola__when_stamp(double ms, char out[ISOLA_STAMP_SIZE]);

#endif
