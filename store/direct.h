/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes that go to the disk without a copy in the kernel's memory, and are there when they return
 * (O_DIRECT, O_DSYNC): half the processor's time of a write and an fdatasync, which wait for the
 * disk twice. Internal to store/. One thread at a time.
 */
#ifndef ISOLA_STORE_DIRECT_H
#define ISOLA_STORE_DIRECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct isola__direct;

/* Multiples of this are written, at multiples of it: no sector is written twice, so what a disk
 * makes of one when its power goes is of the last write alone. */
#define ISOLA__DIRECT_UNIT 512u
/* As much is written at once, bytes. */
#define ISOLA__DIRECT_MOST (128u << 10)

/* Of a file that is there. NULL when its file system or its disk has no such writes. */
POOL_THREAD struct isola__direct *isola__direct_open(const char *path);
/* NULL is fine. */
POOL_THREAD void isola__direct_close(struct isola__direct *d);
/* Writes `n` bytes from `at` on, both of whole units, ISOLA__DIRECT_MOST at the most. 0, or errno:
 * EINVAL when the disk has none such after all. */
POOL_THREAD ISOLA_MUST_USE int isola__direct_write(struct isola__direct *d, const void *p, size_t n,
                                                   int64_t at);

#endif
