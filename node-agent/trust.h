/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may deploy (transport/trust.h), as this node knows it, and what it takes by that.
 *
 * Every node checks for itself what is to become current on it, from whomever it comes. The list is
 * changed where the cluster's key is; from there every member is told, and two nodes that meet
 * exchange theirs before they exchange releases. A node in no cluster changes its own.
 */
#ifndef ISOLA_NODE_AGENT_TRUST_H
#define ISOLA_NODE_AGENT_TRUST_H

#include "node-agent/conn.h"
#include "store/catalog.h"

/* May `r` become current here? ISOLA_EPERM: it is not signed, or by none who may deploy the app. */
LOOP_THREAD ISOLA_MUST_USE int isola__trust_check(struct isola__agent *agent,
                                                  const struct isola_release *r,
                                                  struct isola_err *err);
/* Takes in the list that a member has told, if it is newer, and tells it on. */
LOOP_THREAD void isola__trust_learn(struct isola__agent *agent, struct isola_slice list);

/* The method `trust`, of a client and of another agent; and `trusted`, of another agent. */
LOOP_THREAD void isola__trust(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
LOOP_THREAD void isola__trust_peer(struct isola__conn *from, const struct isola_msg *m,
                                   struct isola_slice params);
LOOP_THREAD void isola__trusted(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);

#endif
