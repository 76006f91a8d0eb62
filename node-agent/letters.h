/* SPDX-License-Identifier: Apache-2.0
 *
 * The method `dead-letters`: what has not reached its actor, gathered from all actor-hosts.
 */
#ifndef ISOLA_NODE_AGENT_LETTERS_H
#define ISOLA_NODE_AGENT_LETTERS_H

#include "node-agent/conn.h"

/* Of clients, and of other agents: this node's actor-host only. */
LOOP_THREAD void isola__letters(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
LOOP_THREAD void isola__letters_local(struct isola__conn *from, const struct isola_msg *m,
                                      struct isola_slice params);

#endif
