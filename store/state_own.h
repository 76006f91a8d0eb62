/* SPDX-License-Identifier: Apache-2.0
 *
 * A store of states as who looks at all of it sees it: survey.c, backup.c, one_file.c. Internal to
 * store/.
 */
#ifndef ISOLA_STORE_STATE_OWN_H
#define ISOLA_STORE_STATE_OWN_H

#include <pthread.h>

#include "store/group.h"
#include "store/sqlite.h"

ANY_THREAD unsigned isola__state_groups(const struct isola_state *s);
/* The file of a group; borrowed. */
ANY_THREAD const char *isola__state_path(const struct isola_state *s, unsigned group);

/* The file that says how many groups there are: only this connection reads it, under *lock. */
ANY_THREAD struct isola__db *isola__state_root(struct isola_state *s, pthread_mutex_t **lock);

/* Calls `fn` while no group commits anything, and nothing in them is half done: what is on disk of
 * all of them is of one moment then. Whoever writes waits meanwhile. */
POOL_THREAD ISOLA_MUST_USE int isola__state_hold(struct isola_state *s, void (*fn)(void *arg),
                                                 void *arg, struct isola_err *err);
/* Commits that are not in the tables yet, and their bytes. */
ANY_THREAD void isola__state_waiting(struct isola_state *s, uint64_t *commits, uint64_t *bytes);

ANY_THREAD const struct isola__history_limits *
isola__state_history_limits(const struct isola_state *s);
/* All that was requested of an address before is in the tables, of the file *path (borrowed), on
 * disk; blocks. */
POOL_THREAD ISOLA_MUST_USE int isola__state_settle(struct isola_state *s,
                                                   struct isola_slice address, const char **path,
                                                   struct isola_err *err);

/* The same of a whole group: all that was requested of it before and has reached it. */
POOL_THREAD ISOLA_MUST_USE int isola__state_settle_group(struct isola_state *s, unsigned group,
                                                         const char **path, struct isola_err *err);

/* one_file.c: what `root` has from the time of one file, if anything, goes to the groups. */
POOL_THREAD ISOLA_MUST_USE int
isola__state_leave_one_file(struct isola_state *s, struct isola__db *root, struct isola_err *err);

#endif
