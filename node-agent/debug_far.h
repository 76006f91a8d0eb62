/* SPDX-License-Identifier: Apache-2.0
 *
 * `ctl inspect` of an instance at another node: the end where the client is. The other node opens
 * the inspector (service_debug.h), and what a debugger at the client's says goes there and back
 * piece by piece, as the client asks for it (debug_tunnel.h): nothing is kept here but which node
 * it is. It ends with the client, which the other node is told, with the process, and with the link
 * between the two nodes, which the client is.
 */
#ifndef ISOLA_NODE_AGENT_DEBUG_FAR_H
#define ISOLA_NODE_AGENT_DEBUG_FAR_H

#include "node-agent/conn.h"

struct isola__client;
struct isola__debug_far;

/* The methods `debug`, `debug_connect`, `debug_read`, `debug_write` and `debug_close`, of a client.
 */
LOOP_THREAD void isola__debug(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
LOOP_THREAD void isola__debug_pass(struct isola__conn *from, const struct isola_msg *m,
                                   struct isola_slice params);
/* The client, which has one open or has asked for it, is gone. */
LOOP_THREAD void isola__debug_far_left(struct isola__client *c);
/* A node is lost: so are the inspectors there. */
LOOP_THREAD void isola__debug_far_lost(struct isola__agent *agent, const char *node,
                                       const char *why);
/* The EMIT `debug_ended`, of another agent. */
LOOP_THREAD void isola__debug_far_ended(struct isola__conn *from, const struct isola_msg *m,
                                        struct isola_slice params);

#endif
