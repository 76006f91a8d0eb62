/* SPDX-License-Identifier: Apache-2.0
 *
 * Time: a monotonic clock for intervals, a wall clock for people.
 */
#ifndef ISOLA_BASE_CLOCK_H
#define ISOLA_BASE_CLOCK_H

#include <stdint.h>

#include "base/annotate.h"

ISOLA_BEGIN_C

/* Nanoseconds and milliseconds since an arbitrary start; never go back. */
ANY_THREAD uint64_t isola_clock_ns(void);
static inline uint64_t isola_clock_ms(void)
{
    return isola_clock_ns() / 1000000u;
}
/* Milliseconds since 1970 UTC; may jump. */
ANY_THREAD int64_t isola_clock_wall_ms(void);

#define ISOLA_STAMP_SIZE 40
/* "2031-01-02T03:04:05.678Z" */
ANY_THREAD void isola_clock_stamp(int64_t wall_ms, char out[ISOLA_STAMP_SIZE]);

ISOLA_END_C

#endif
