/* SPDX-License-Identifier: Apache-2.0
 *
 * The inspector of a service's process, on demand (`ctl inspect`).
 *
 * Happy path: a client, or another agent for one of its own, asks for it (the method `debug`); the
 * process gets SIGUSR1, which Node.js takes on a thread of its own, also while the program is in a
 * loop, and opens the inspector on a free port of 127.0.0.1; it prints where, and who has asked is
 * told. When the client's connection ends, here or there, the process is told on its channel to
 * close it again, which it does when it comes round. What another node's debugger says comes
 * through debug_tunnel.h.
 *
 * Failure modes: one that does not catch SIGUSR1 (yet) would be ended by it, and is not sent it;
 * one whose program has taken that signal for itself does not answer, and the client hears so, as
 * of one that is held up: when it opens the inspector after all, it is told to close it.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_DEBUG_H
#define ISOLA_NODE_AGENT_SERVICE_DEBUG_H

#include "node-agent/conn.h"

struct isola__client;
struct isola__program;
struct isola__tunnels;

/* How long a process may take to open it. */
#define ISOLA_DEBUG_OPEN_MS 5000

/* Of a process. */
struct isola__debug {
    struct isola__ask limit; /* first: by when it has to be open */
    struct isola__program *program;
    struct isola__client *client; /* who has it open, or has asked for it: a client of this node */
    struct isola__tunnels *tunnels; /* or one of another; both NULL: nobody */
    struct isola__conn *asker;      /* whom to answer what was asked, counted; NULL: it is */
    uint64_t id;
    bool late; /* nobody has waited for it so long: when it opens, it is to be closed again */
};

/* The method `debug`, of a client that names no other node. */
LOOP_THREAD void isola__debug_here(struct isola__conn *from, const struct isola_msg *m,
                                   struct isola_slice params);
/* The same of another agent, and its EMIT `debug_leave`. */
LOOP_THREAD void isola__debug_peer(struct isola__conn *from, const struct isola_msg *m,
                                   struct isola_slice params);
LOOP_THREAD void isola__debug_leave(struct isola__conn *from, const struct isola_msg *m,
                                    struct isola_slice params);
/* The process has printed this of its inspector. */
LOOP_THREAD void isola__debug_said(struct isola__debug *d, const char *line);
/* The client is gone, or the node of the one that had it. */
LOOP_THREAD void isola__debug_left(struct isola__debug *d);
/* The process has ended. */
LOOP_THREAD void isola__debug_ended(struct isola__debug *d, const char *why);

#endif
