/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles and heap snapshots: asked of all nodes at once, since only the one the actor lives on
 * has an answer, and then fetched from there piece by piece.
 */
#ifndef ISOLA_NODE_AGENT_INSPECT_H
#define ISOLA_NODE_AGENT_INSPECT_H

#include "node-agent/conn.h"

/* Methods of clients. */
LOOP_THREAD void isola__inspect(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
LOOP_THREAD void isola__inspect_read(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);
/* Methods of other agents: this node's actors only. */
LOOP_THREAD void isola__inspect_local(struct isola__conn *from, const struct isola_msg *m,
                                      struct isola_slice params);
LOOP_THREAD void isola__inspect_read_local(struct isola__conn *from, const struct isola_msg *m,
                                           struct isola_slice params);

#endif
