/* SPDX-License-Identifier: Apache-2.0
 *
 * All links of the mesh, or of a node: control links from the agents, data links from their
 * actor-hosts, each as its own end sees it.
 */
#ifndef ISOLA_NODE_AGENT_LINKS_H
#define ISOLA_NODE_AGENT_LINKS_H

#include "node-agent/conn.h"

/* Method of clients. */
LOOP_THREAD void isola__links(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
/* Method of other agents: this node's only. */
LOOP_THREAD void isola__links_local(struct isola__conn *from, const struct isola_msg *m,
                                    struct isola_slice params);

#endif
