/* SPDX-License-Identifier: Apache-2.0
 *
 * Joining a cluster with a token: before anything else of the agent is begun.
 *
 * Each address in the token is dialled in turn, whoever answers must be of the cluster the token
 * names, and is then asked to `certify` this node. What comes back is kept on disk, and the agent
 * goes on as the member it is from then on. A refusal, or nobody who answers, ends the start.
 */
#ifndef ISOLA_NODE_AGENT_ENTER_H
#define ISOLA_NODE_AGENT_ENTER_H

#include "base/error.h"
#include "node-agent/asks.h"

struct isola__agent;
struct isola__conn;

struct isola__enter {
    struct isola__agent *agent;
    struct isola__conn *conn; /* NULL: nobody is being asked */
    size_t next;              /* the address after this one */
    bool done;
    struct isola__ask ask;
    struct isola_err last; /* why the one before did not do */
};

/* Ends in isola__agent_entered or isola__agent_start_failed. */
LOOP_THREAD void isola__enter(struct isola__agent *agent);
/* The agent stops. */
LOOP_THREAD void isola__enter_close(struct isola__enter *enter);

#endif
