/* SPDX-License-Identifier: Apache-2.0
 *
 * Backups of a node's store: a directory with copies of its files, all of one moment, and
 * `backup.json`, which says what they are; made while the store is used, restored while it is not.
 */
#ifndef ISOLA_STORE_BACKUP_H
#define ISOLA_STORE_BACKUP_H

#include <stdatomic.h>

#include "store/state.h"

struct isola_backup {
    char *node;     /* whose it is; owned */
    int64_t time;   /* of what moment, ms since 1970 */
    unsigned files; /* without backup.json */
    uint64_t bytes; /* of them */
    char *aside;    /* of a restore: the directory in which the files before are; owned, or NULL */
};
ANY_THREAD void isola_backup_free(struct isola_backup *b); /* a zero one is fine */

/* How far a backup has come: bytes that are copied, of how many; 0 until that is known. */
struct isola_backup_progress {
    atomic_ullong bytes, of;
};

/* Writes a backup of the open store, and of the catalog beside it, into the new directory `to`
 * (mode 0700), which is there only when all of it is on disk. Everything is in it that was answered
 * before the call. Commits wait for some milliseconds, once. `node`: its name, of letters, digits,
 * '.', '_' and '-'. `stop` (or NULL) ends it when true, `progress` (or NULL) is kept up to date.
 * Errors with sentences: ISOLA_EINVAL (`to` is no absolute path), ISOLA_EEXIST, ISOLA_EPERM,
 * ISOLA_EIO, ISOLA_ECANCELED. */
POOL_THREAD ISOLA_MUST_USE int isola_state_backup(struct isola_state *s, const char *node,
                                                  const char *to, const atomic_bool *stop,
                                                  struct isola_backup_progress *progress,
                                                  struct isola_backup *out, struct isola_err *err);

/* Brings the data directory `data` (created if need be) to what the backup in `from` has of it,
 * when all of that is sound. With `force` also when there are such files already: those are moved
 * to a directory of their own in `data`. A restore that was interrupted once it had begun to change
 * anything is to be run again: until then nothing opens `data`. Errors with sentences: ISOLA_EBUSY
 * (an agent has `data`), ISOLA_EEXIST (no `force`), ISOLA_ENOENT (no backup), ISOLA_ESCHEMA,
 * ISOLA_EPERM, ISOLA_EIO. */
POOL_THREAD ISOLA_MUST_USE int isola_backup_restore(const char *from, const char *data, bool force,
                                                    struct isola_backup *out,
                                                    struct isola_err *err);

#endif
