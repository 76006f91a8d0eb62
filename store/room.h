/* SPDX-License-Identifier: Apache-2.0
 *
 * Room on the disk that is left for what actors keep. A release may be had again; state that cannot
 * be written ends its actor. So files of releases are refused before the disk is full: a twentieth
 * of it, but no more than 256 MB, is not theirs.
 */
#ifndef ISOLA_STORE_ROOM_H
#define ISOLA_STORE_ROOM_H

#include <stdint.h>

#include "base/annotate.h"
#include "base/error.h"

/* May `bytes` be written to the file `path`, on the disk where `at`, which is there, lies?
 * ISOLA_EIO: no, and the sentence names `path`. What the system says nothing of may be. */
POOL_THREAD ISOLA_MUST_USE int isola__room_for(const char *at, const char *path, uint64_t bytes,
                                               struct isola_err *err);

#endif
