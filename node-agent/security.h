/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom the agent talks to on control links: agents of its cluster, and those that want to join it.
 *
 * Who is dialled shows a certificate of the cluster. Who dials does too, or, where the cluster's
 * key is, shows none and may then ask for one and nothing else (peers.c). A removed node passes
 * here, to be told that it was removed before its link is closed; it gets nothing else.
 */
#ifndef ISOLA_NODE_AGENT_SECURITY_H
#define ISOLA_NODE_AGENT_SECURITY_H

#include "transport/link.h"

struct isola__agent;

struct isola__security {
    struct isola_link_security dialling, listening; /* as a member */
    struct isola_link_security entering;            /* with a token, to become one */
};

/* The node's keys are there. Again when it has become a member. */
LOOP_THREAD void isola__security_set(struct isola__agent *agent);

#endif
