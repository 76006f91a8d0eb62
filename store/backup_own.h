/* SPDX-License-Identifier: Apache-2.0
 *
 * What backup.c and restore.c share. Internal to store/.
 */
#ifndef ISOLA_STORE_BACKUP_OWN_H
#define ISOLA_STORE_BACKUP_OWN_H

#include "base/buf.h"
#include "base/error.h"

#define ISOLA__BACKUP_FILE   "backup.json"
#define ISOLA__BACKUP_FORMAT 1
#define ISOLA__BACKUP_DIGEST 65 /* BLAKE2b of 32 bytes, as hexadecimal digits */

/* Reads a file to its end: its bytes, their BLAKE2b, and (`to` at least 0) a copy. */
POOL_THREAD ISOLA_MUST_USE int isola__backup_digest(const char *path, int to, uint64_t *bytes,
                                                    char digest[ISOLA__BACKUP_DIGEST],
                                                    struct isola_err *err);
/* "cannot DOING PATH: why" from errno. */
ANY_THREAD int isola__backup_errno(struct isola_err *err, const char *doing, const char *path);
/* Has it, a file or a directory, on disk. */
POOL_THREAD ISOLA_MUST_USE int isola__backup_sync(const char *path, struct isola_err *err);
/* Removes a directory and the files in it; what is not there is fine. */
POOL_THREAD void isola__backup_remove(const char *dir);

#endif
