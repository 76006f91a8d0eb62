/* SPDX-License-Identifier: Apache-2.0
 *
 * Client programs on this host: ctl, the client library. They connect to the unix socket and are
 * trusted as its owner is.
 *
 * What they send to actors goes to the actor-host under an id of the agent's; answers find their
 * way back by it, those of durable messages by the name that the client has given itself. A client
 * that leaves takes its asks and subscriptions with it. Bounds for each: CLIENT_ASKS_MAX and
 * CLIENT_BYTES_MAX outstanding.
 */
#ifndef ISOLA_NODE_AGENT_CLIENTS_H
#define ISOLA_NODE_AGENT_CLIENTS_H

#include "base/map.h"
#include "base/msg.h"
#include "node-agent/conn.h"
#include "node-agent/logs.h"
#include "transport/link.h"

struct isola__agent;

#define ISOLA_CLIENTS_MAX 4096

struct isola__debug;
struct isola__debug_far;
struct isola__forward;
struct isola__program;
struct isola__sub;

struct isola__client {
    struct isola__conn conn; /* first */
    struct isola__client *prev, *next;
    struct isola__forward *forwards; /* asks under way */
    size_t nforwards, forward_bytes;
    struct isola_map subs;          /* by the client's id (8 bytes) */
    unsigned nprograms;             /* names it has */
    uint64_t dropped;               /* emits that found the actor-host congested */
    struct isola__debug *debugs;    /* whose inspector it has open; or NULL */
    struct isola__debug_far *far;   /* likewise, at another node */
    struct isola__program *program; /* of a service, whose messages it takes; or NULL */
    struct isola__follow follow;
};

struct isola__clients {
    struct isola__agent *agent;
    struct isola__client *first;
    size_t count;
    uint64_t numbers;          /* for labels */
    struct isola_map programs; /* "~…", who sends durable messages → struct isola__client */
};

extern const struct isola_listener_ops isola__clients_listener_ops; /* arg: the agent */

/* An EVENT came from the actor-host. */
LOOP_THREAD void isola__clients_event(struct isola__clients *clients, const struct isola_msg *m);
/* An ACK, or a REPLY or FAIL to a durable message, came from the actor-host. */
LOOP_THREAD void isola__clients_durable(struct isola__clients *clients, const struct isola_msg *m);
/* A new actor-host is there: repeats every subscription. */
LOOP_THREAD void isola__clients_resubscribe(struct isola__clients *clients);
LOOP_THREAD void isola__clients_close(struct isola__clients *clients);

#endif
