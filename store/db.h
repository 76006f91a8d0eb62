/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directory of a node: its lock, and opening SQLite files in it with a checked schema
 * version.
 */
#ifndef ISOLA_STORE_DB_H
#define ISOLA_STORE_DB_H

#include "base/error.h"

struct isola_datadir;

/* Creates `path` (mode 0700, parents too) where missing, checks that it can be written, by this
 * user alone, and takes its lock (flock on `path`/lock, released by close or by the end of the
 * process). Errors with sentences: ISOLA_EBUSY (another agent has it; the sentence names its pid),
 * ISOLA_EPERM (not writable, another user's, or writable for others), ISOLA_EIO (also: a restore
 * was interrupted), ISOLA_ESCHEMA (`path` holds a file of a newer schema). */
POOL_THREAD ISOLA_MUST_USE int isola_datadir_open(const char *path, struct isola_datadir **out,
                                                  struct isola_err *err);
POOL_THREAD void isola_datadir_close(struct isola_datadir *dir);
POOL_THREAD const char *isola_datadir_path(const struct isola_datadir *dir);

#endif
