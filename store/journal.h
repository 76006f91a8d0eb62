/* SPDX-License-Identifier: Apache-2.0
 *
 * Commits on disk before they are in the tables: two files that are written in turns, from the
 * beginning, so that a commit is one write where there was something before, and one sync of it.
 * Internal to store/. One thread at a time.
 *
 * They are opened by SQLite's own VFS, so all that holds of its files holds of them: what errors
 * mean, who may read them, that a new file's directory is synced; and that tests can stand in for
 * the disk.
 *
 * A commit has a number, one more than the last. A file begins with a header, which names the
 * number of its first commit and a key; a commit has its number, the time, and a SipHash of itself
 * under that key. So what is left of an older use of the file, or was only half written, is not
 * taken for a commit, whatever values it contains. Each begins at a sector of its own, so that no
 * write touches what is on disk, and goes there without the kernel's memory (store/direct.h) where
 * the files are on SQLite's own VFS and their system can do that.
 */
#ifndef ISOLA_STORE_JOURNAL_H
#define ISOLA_STORE_JOURNAL_H

#include "base/buf.h"
#include "base/error.h"

struct isola__journal;

/* A commit that is there. False: no more of them. */
typedef bool (*isola__journal_fn)(void *arg, int64_t number, int64_t written,
                                  struct isola_slice changes);

/* Opens or makes the files beside the database `path`, and gives out what is in them after commit
 * `after`, in order. ISOLA_EIO also when something between is missing. On failure nothing is left
 * open. */
POOL_THREAD ISOLA_MUST_USE int isola__journal_open(const char *path, int64_t after,
                                                   isola__journal_fn fn, void *arg,
                                                   struct isola__journal **out,
                                                   struct isola_err *err);
/* `folded`: as of isola__journal_turn. When nothing is after that, the files are left empty.
 * NULL is fine. */
POOL_THREAD void isola__journal_close(struct isola__journal *j, int64_t folded);

/* `commit` begins with so much room, which is the journal's. */
#define ISOLA__JOURNAL_ROOM 32u
void isola__journal_begin(struct isola_buf *commit);
/* Writes and syncs it as the next commit. On failure it has no number, and is not found again
 * unless the power goes before the disk can be written. `written`: ms since 1970. Changes the
 * buffer. */
POOL_THREAD ISOLA_MUST_USE int isola__journal_append(struct isola__journal *j,
                                                     struct isola_buf *commit, int64_t written,
                                                     struct isola_err *err);
/* The number of the last commit. */
int64_t isola__journal_number(const struct isola__journal *j);
/* The next commit goes to the other file, if nothing in it is after commit `folded`. That may be
 * called with any number of commits that are in the tables, and on disk there. */
void isola__journal_turn(struct isola__journal *j, int64_t folded);

#endif
