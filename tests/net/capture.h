/* SPDX-License-Identifier: Apache-2.0
 *
 * A capture file, as libpcap has them (Ethernet, microseconds), of whole frames.
 */
#ifndef ISOLA_TESTS_NET_CAPTURE_H
#define ISOLA_TESTS_NET_CAPTURE_H

#include <stdint.h>
#include <stdio.h>

#include "base/annotate.h"
#include "base/error.h"

struct isola_capture {
    FILE *file; /* NULL: nothing is captured */
    char *path;
    uint64_t frames;
};

/* Makes the file `path` anew. `c` is zero. */
int isola_capture_start(struct isola_capture *c, const char *path, struct isola_err *err)
    __attribute__((warn_unused_result));
/* Does nothing while nothing is captured. What cannot be written is told of by the stop. */
void isola_capture_frame(struct isola_capture *c, const uint8_t *bytes, size_t n);
/* When it returns 0, all of it is in the file. `c` is zero again in any case. */
int isola_capture_stop(struct isola_capture *c, struct isola_err *err)
    __attribute__((warn_unused_result));

#endif
