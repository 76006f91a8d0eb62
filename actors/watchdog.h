/* SPDX-License-Identifier: Apache-2.0
 *
 * The watchdog: a thread that sees to it that no script holds a worker for longer than its limit of
 * CPU time allows.
 *
 * Whoever enters JavaScript says so in its thread's slot. Every few milliseconds, as long as anyone
 * does, the watchdog looks at the slots and charges the CPU time the threads have used to the
 * entries it finds; it takes no part in entries that are shorter than that. An entry whose turn has
 * used up its limit is terminated. If that does not take within a second of CPU time, the process
 * cannot be saved: ops->stuck is told who is to blame, and ends it. When nothing has been entered
 * for a while the watchdog sleeps until something is.
 */
#ifndef ISOLA_ACTORS_WATCHDOG_H
#define ISOLA_ACTORS_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/annotate.h"
#include "base/buf.h"
#include "base/error.h"

struct isola_host;
struct isola_realm;

/* Starts the thread, with a slot for each of `threads`. Lives as long as the process. */
int isola__watchdog_start(struct isola_host *h, unsigned threads, struct isola_err *err);
/* Gives the calling thread the slot `number`. A thread without one is not watched. */
void isola__watchdog_join(struct isola_host *h, unsigned number);

/* The calling thread enters a script of `r`, whose isolate is locked, in the name of `address`
 * (borrowed until left; may be empty). `limit_ns` 0: none. `used_ns`: what the turn has used
 * before. */
void isola__watch_enter(struct isola_realm *r, struct isola_slice address, uint64_t limit_ns,
                        uint64_t used_ns);

/* Likewise a run of the realm's batch: each record runs in the name of its actor, against what its
 * turn has used; without an actor, `limit_ns` counts. */
void isola__watch_run(struct isola_realm *r, uint64_t limit_ns);

struct isola_watched {
    uint64_t cpu_ns; /* what it was charged, at least; 0 for what was too short to be seen; of a
                        run: the records have it (isola_batch_item) */
    bool stopped;    /* isola_v8_terminate has been called; it is not from now on */
};
struct isola_watched isola__watch_leave(void);

/* In whose name the calling thread runs a script: for whoever is called when the process dies of
 * it. Empty: in nobody's. Safe in a signal handler. */
struct isola_slice isola__watch_whose(void);

#endif
