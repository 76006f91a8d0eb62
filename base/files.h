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
/* Reads until it has `max` bytes or there are no more: how many they are, or -1 with errno. */
POOL_THREAD ISOLA_MUST_USE ssize_t isola_read_all(int fd, void *to, size_t max);
/* Appends what the file has, `max` bytes of it at the most. Of what is no regular file nothing is
 * read, so no FIFO or device holds it up. 0, or -1 with errno: EINVAL when it is no regular file,
 * ENOMEM. */
POOL_THREAD ISOLA_MUST_USE int isola_file_read(const char *path, size_t max, struct isola_buf *out);
/* Makes the directories above the last name of `path` that are missing. 0, or -1 with errno. */
POOL_THREAD int isola_dir_make_above(const char *path, mode_t mode);
/* Is there something of this name in `dir`? A link that leads nowhere is not. */
POOL_THREAD bool isola_dir_has(const char *dir, const char *name);
/* Removes a directory with all that is in it, through no link. 0, also when there is none, or -1
 * with errno. */
POOL_THREAD int isola_dir_remove(const char *dir);

#endif
