/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and directories: what the C library leaves half done. Failures are told by errno; who calls
 * knows what to say.
 */
#ifndef ISOLA_BASE_FILES_H
#define ISOLA_BASE_FILES_H

#include <sys/types.h>

#include "base/buf.h"

/* Writes all of it, however often the kernel takes a part. 0, or -1 with errno. */
POOL_THREAD ISOLA_MUST_USE int isola_write_all(int fd, struct isola_slice bytes);
/* Makes the directories above the last name of `path` that are missing. 0, or -1 with errno. */
POOL_THREAD int isola_dir_make_above(const char *path, mode_t mode);
/* Removes a directory with all that is in it, through no link. 0, also when there is none, or -1
 * with errno. */
POOL_THREAD int isola_dir_remove(const char *dir);

#endif
