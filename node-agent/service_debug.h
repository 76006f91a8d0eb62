/* SPDX-License-Identifier: Apache-2.0
 *
 * The inspector of a service's process, on demand (`ctl inspect`).
 *
 * Happy path: a client asks for it (the method `debug`); the process gets SIGUSR1, which Node.js
 * takes on a thread of its own, also while the program is in a loop, and opens the inspector on a
 * free port of 127.0.0.1; it prints where, and the client is told. When that client's connection
 * ends the process is told on its channel to close it again, which it does when it comes round.
 *
 * Failure modes: one that does not catch SIGUSR1 (yet) would be ended by it, and is not sent it;
 * one whose program has taken that signal for itself does not answer, and the client hears so.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_DEBUG_H
#define ISOLA_NODE_AGENT_SERVICE_DEBUG_H

#include "node-agent/conn.h"

struct isola__client;
struct isola__program;

/* Of a process. */
struct isola__debug {
    struct isola__ask limit; /* first: by when it has to be open */
    struct isola__program *program;
    struct isola__client *client; /* who has it open, or has asked for it; NULL: nobody */
    uint64_t id;                  /* what was asked and is not answered; 0: it is */
};

/* The method `debug`, of a client. */
LOOP_THREAD void isola__debug(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
/* The process has printed this of its inspector. */
LOOP_THREAD void isola__debug_said(struct isola__debug *d, const char *line);
/* The client is gone. */
LOOP_THREAD void isola__debug_left(struct isola__debug *d);
/* The process has ended. */
LOOP_THREAD void isola__debug_ended(struct isola__debug *d, const char *why);

#endif
