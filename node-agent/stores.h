/* SPDX-License-Identifier: Apache-2.0
 *
 * The stores of all nodes, or of one: what is in them, whether they are sound, timers of actors,
 * when an actor has changed; and putting an actor back. What is to be known of a store its
 * actor-host knows.
 */
#ifndef ISOLA_NODE_AGENT_STORES_H
#define ISOLA_NODE_AGENT_STORES_H

#include "node-agent/conn.h"

/* Methods of clients. */
LOOP_THREAD void isola__store(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
LOOP_THREAD void isola__backup(struct isola__conn *from, const struct isola_msg *m,
                               struct isola_slice params);
LOOP_THREAD void isola__timers(struct isola__conn *from, const struct isola_msg *m,
                               struct isola_slice params);
LOOP_THREAD void isola__history(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
LOOP_THREAD void isola__restore(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
/* Methods of other agents: this node's only. */
LOOP_THREAD void isola__timers_local(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);
LOOP_THREAD void isola__history_local(struct isola__conn *from, const struct isola_msg *m,
                                      struct isola_slice params);
LOOP_THREAD void isola__restore_local(struct isola__conn *from, const struct isola_msg *m,
                                      struct isola_slice params);
LOOP_THREAD void isola__store_local(struct isola__conn *from, const struct isola_msg *m,
                                    struct isola_slice params);

#endif
