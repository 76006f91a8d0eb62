/* SPDX-License-Identifier: Apache-2.0
 *
 * The inspector of a process at another node, brought here: a port of 127.0.0.1 whose connections
 * go through the agent to that node, and there to the inspector (docs/protocol.md, `debug_read`).
 *
 * Of each connection one read and one write is under way, of ISOLA__TUNNEL_BYTES at the most: who
 * does not read holds back who writes.
 */
#ifndef ISOLA_CLI_TUNNEL_H
#define ISOLA_CLI_TUNNEL_H

#include "base/error.h"
#include "base/msg.h"

struct isola__client;
struct isola__tunnel;

#define ISOLA__TUNNEL_BYTES (256u << 10)

/* Listens, on a free port; borrows `client`, on which an inspector of another node is open and
 * messages are kept. ISOLA_EIO: there is no socket. */
LOOP_THREAD ISOLA_MUST_USE int
isola__tunnel_open(struct isola__client *client, struct isola__tunnel **out, struct isola_err *err);
ANY_THREAD unsigned isola__tunnel_port(const struct isola__tunnel *t);
/* A message that the client has kept; what is none of its answers is left alone. */
LOOP_THREAD void isola__tunnel_message(struct isola__tunnel *t, const struct isola_msg *m);
/* Closes all; it is freed when the client's loop has run to its end. NULL: nothing. */
LOOP_THREAD void isola__tunnel_close(struct isola__tunnel *t);

#endif
