/* SPDX-License-Identifier: Apache-2.0
 *
 * Programs that a command runs for itself: in a session of their own, so that Ctrl-C comes to the
 * command alone, and ended with it, however it ends.
 */
#ifndef ISOLA_CLI_CHILD_H
#define ISOLA_CLI_CHILD_H

#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "base/error.h"

struct isola__child {
    pid_t pid; /* 0: it does not run */
    void *arg;
    /* Its whole stdout is `said`; `status` as of waitpid. It may be started again from here. */
    void (*ended)(struct isola__child *child, int status, struct isola_slice said);
    /* What stdout has had so far, after each read; NULL: nobody wants to know. */
    void (*heard)(struct isola__child *child, struct isola_slice said);

    uv_pipe_t *out; /* NULL: stdout is ours */
    struct isola_buf said;
};

/* Starts `argv[0]`, which is looked for in $PATH when it has no slash. `listen`: its stdout is a
 * pipe and kept (the first ISOLA__CHILD_SAID bytes of it), else it is ours. `errors`: what stderr
 * is, a descriptor, which is borrowed. ISOLA_EIO with a sentence: there is no such process. Status
 * 127: there is no such program. */
#define ISOLA__CHILD_SAID (1u << 20)
LOOP_THREAD ISOLA_MUST_USE int isola__child_start(uv_loop_t *loop, struct isola__child *child,
                                                  char *const *argv, bool listen, int errors,
                                                  struct isola_err *err);
/* To be called at SIGCHLD: calls `ended` when it has. */
LOOP_THREAD void isola__child_look(struct isola__child *child);
/* No-op when it does not run. */
LOOP_THREAD void isola__child_kill(const struct isola__child *child, int signum);

#endif
