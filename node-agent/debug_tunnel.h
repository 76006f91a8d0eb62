/* SPDX-License-Identifier: Apache-2.0
 *
 * What debuggers at another node say to the inspector of a process of this one, and what it says to
 * them: the end where the process is. The other end is `ctl` (cli/tunnel.c), by way of its own
 * agent (debug_far.h).
 *
 * A set of tunnels belongs to one open inspector and to one node, and has a number of that node's.
 * Each tunnel is a connection to the inspector's port on 127.0.0.1. The other end asks for what has
 * come (`debug_read`, which waits for something), and hands over what is to go (`debug_write`,
 * answered when the inspector has it): nothing is sent that nobody has asked for, so a slow end
 * holds back the other. The set ends with its inspector, when its node says so, or is lost.
 *
 * Bounds: ISOLA_TUNNELS_MAX sets, of CONNECTIONS_MAX connections each, of ISOLA_TUNNEL_BYTES each
 * way.
 */
#ifndef ISOLA_NODE_AGENT_DEBUG_TUNNEL_H
#define ISOLA_NODE_AGENT_DEBUG_TUNNEL_H

#include "node-agent/conn.h"

struct isola__debug;
struct isola__tunnels;

#define ISOLA_TUNNELS_MAX  32
#define ISOLA_TUNNEL_BYTES (256u << 10)
/* How long a `debug_read` waits for something to come. */
#define ISOLA_TUNNEL_READ_MS 20000

/* A set without connections, for the inspector that `d` is about to open; copies `node`. */
LOOP_THREAD struct isola__tunnels *isola__tunnels_new(struct isola__agent *agent, const char *node,
                                                      uint64_t id, struct isola__debug *d);
/* That of this node and number, or NULL. */
LOOP_THREAD struct isola__tunnels *isola__tunnels_find(const struct isola__agent *agent,
                                                       const char *node, uint64_t id);
LOOP_THREAD size_t isola__tunnels_count(const struct isola__agent *agent);
LOOP_THREAD struct isola__debug *isola__tunnels_of(const struct isola__tunnels *t);
/* The inspector is open, at this URL: from now on it can be connected to. */
LOOP_THREAD void isola__tunnels_open(struct isola__tunnels *t, const char *url);
/* Tells its node that the process has ended (EMIT `debug_ended`). */
LOOP_THREAD void isola__tunnels_tell(const struct isola__tunnels *t, const char *why);
/* Closes all connections, and frees it. */
LOOP_THREAD void isola__tunnels_end(struct isola__tunnels *t);
/* The node is lost: its inspectors are closed. */
LOOP_THREAD void isola__tunnels_lost(struct isola__agent *agent, const char *node);

/* Methods of other agents. */
LOOP_THREAD void isola__tunnel_connect(struct isola__conn *from, const struct isola_msg *m,
                                       struct isola_slice params);
LOOP_THREAD void isola__tunnel_read(struct isola__conn *from, const struct isola_msg *m,
                                    struct isola_slice params);
LOOP_THREAD void isola__tunnel_write(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);
LOOP_THREAD void isola__tunnel_close(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);

#endif
