/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster's own affairs: made, entered, left. `init`, `token` and `remove` of people, `certify`
 * of nodes that have a token, and the news of who was removed.
 *
 * A removal is signed where the cluster's key is and told to every member at once, and by each on
 * to the others when it was news to it; whoever was away hears of it with the first `join`. The
 * node concerned is told as well, before its links are closed.
 */
#ifndef ISOLA_NODE_AGENT_ADMIN_H
#define ISOLA_NODE_AGENT_ADMIN_H

#include "node-agent/conn.h"
#include "transport/identity.h"

/* Methods of clients. */
LOOP_THREAD void isola__init(struct isola__conn *from, const struct isola_msg *m,
                             struct isola_slice params);
LOOP_THREAD void isola__token(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
LOOP_THREAD void isola__remove(struct isola__conn *from, const struct isola_msg *m,
                               struct isola_slice params);
/* Methods of other agents; the first also of those that are no members. */
LOOP_THREAD void isola__certify(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
LOOP_THREAD void isola__remove_peer(struct isola__conn *from, const struct isola_msg *m,
                                    struct isola_slice params);
LOOP_THREAD void isola__removed(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);

/* Tells a removed node that it was, if it was. */
LOOP_THREAD void isola__removed_tell(struct isola__conn *conn,
                                     const uint8_t node_key[ISOLA_KEY_SIZE]);
/* Entries of removed nodes, from whomever: what is news is kept, acted upon, and told on. */
LOOP_THREAD void isola__removed_learn(struct isola__agent *agent, struct isola_slice entries);

#endif
