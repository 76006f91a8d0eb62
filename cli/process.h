/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that a command runs to its end, with what it says on stderr, up to a bound.
 */
#ifndef ISOLA_CLI_PROCESS_H
#define ISOLA_CLI_PROCESS_H

#include <stdbool.h>

#include "base/buf.h"

/* What came of it. */
struct isola__process {
    struct isola_buf said;       /* on stderr; the caller frees */
    bool timed_out, interrupted; /* and killed therefore */
    int64_t status;              /* it exited with, */
    int signal;                  /* or was ended by; 0: it exited */
};

/* Runs argv[0], which is looked for in $PATH when it has no slash, in `cwd`, without stdin and
 * stdout; `env` is its environment, NULL: ctl's own. 0: it ran, and has ended; else a code of
 * libuv's. It is killed after `deadline_ms`, and when ctl is to end (SIGINT, SIGTERM, SIGHUP),
 * signals that are to be held before, and are after.
 */
LOOP_THREAD ISOLA_MUST_USE int isola__process_run(char **argv, char **env, const char *cwd,
                                                  uint64_t deadline_ms, struct isola__process *out);
/* The signals that would end ctl are held back, while there is something to clean up, but for the
 * time of such a run; or not any more. */
LOOP_THREAD void isola__process_hold(bool hold);

#endif
