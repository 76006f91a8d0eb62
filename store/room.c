/* SPDX-License-Identifier: Apache-2.0 */
#include "store/room.h"

#include <inttypes.h>
#include <sys/statvfs.h>

#define KEPT_PART 20u /* one part in so many */
#define KEPT_MAX  ((uint64_t)256 << 20)
#define KB        ((uint64_t)1024)

int isola__room_for(const char *at, const char *path, uint64_t bytes, struct isola_err *err)
{
    struct statvfs v;
    if (statvfs(at, &v) != 0 || v.f_blocks == 0)
        return 0;
    uint64_t left = (uint64_t)v.f_bavail * v.f_frsize;
    uint64_t kept = (uint64_t)v.f_blocks * v.f_frsize / KEPT_PART;
    kept = kept < KEPT_MAX ? kept : KEPT_MAX;
    if (left >= kept && left - kept >= bytes)
        return 0;
    return isola_fail(
        err, ISOLA_EIO,
        "cannot write %.400s: the disk has %" PRIu64 " KB left, of which %" PRIu64
        " KB are for what actors keep; make room on it ('ctl cache --prune' drops files "
        "that no release has)",
        path, left / KB, kept / KB);
}
