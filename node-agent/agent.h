/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent as a whole: what its parts share, its start and its stop.
 *
 * Everything runs on one loop. Start: data directory, identity, client socket, catalog, log; with a
 * token, the cluster is joined first; then, in a cluster, the control listener; the actor-host, the
 * other members. Ready when the actor-host is up, every member that was known has answered or not,
 * and newer releases are here; then its services start. Stop: no more connections, the services
 * end, the actor-host ends its turns, then the links close and the loop runs dry.
 *
 * In no cluster, nothing listens to the network, neither here nor in the actor-host.
 */
#ifndef ISOLA_NODE_AGENT_AGENT_H
#define ISOLA_NODE_AGENT_AGENT_H

#include <uv.h>

#include "node-agent/asks.h"
#include "node-agent/clients.h"
#include "node-agent/cluster.h"
#include "node-agent/delete.h"
#include "node-agent/deploy.h"
#include "node-agent/enter.h"
#include "node-agent/host.h"
#include "node-agent/logs.h"
#include "node-agent/members.h"
#include "node-agent/notify.h"
#include "node-agent/options.h"
#include "node-agent/packages.h"
#include "node-agent/releases.h"
#include "node-agent/rollout.h"
#include "node-agent/secrets.h"
#include "node-agent/security.h"
#include "node-agent/services.h"
#include "store/catalog.h"
#include "store/db.h"
#include "transport/link.h"

enum isola__agent_state { ISOLA_AGENT_STARTING, ISOLA_AGENT_READY, ISOLA_AGENT_STOPPING };

struct isola__agent {
    struct isola__options opt;
    uv_loop_t loop;
    enum isola__agent_state state;
    int status; /* what the process exits with */
    int64_t started_ms;
    struct isola_datadir *datadir;
    struct isola_catalog *catalog;
    struct isola__packages packages;
    struct isola_listener *control; /* NULL: in no cluster, or not yet */
    char *url;                      /* what others dial; NULL as above */
    struct isola_listener *socket;
    uv_signal_t sigterm, sigint;
    struct isola__cluster cluster;
    struct isola__security security; /* once the node has keys */
    struct isola__enter enter;
    struct isola__asks asks;
    struct isola__clients clients;
    struct isola__host host;
    struct isola__members members;
    struct isola__releases releases;
    struct isola__gone_apps gone;
    struct isola__secrets secrets;
    struct isola__deploys deploys;
    struct isola__rollouts rollouts;
    struct isola__logs logs;
    struct isola__notify notify;
    struct isola__services services;
};

/* Runs an agent to its end. Takes `opt` (frees it). Returns the exit status. */
int isola__agent_run(struct isola__options *opt);

/* A start-up that cannot go on: one line on stderr, then a stop with exit status 1. */
LOOP_THREAD void isola__agent_start_failed(struct isola__agent *agent, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Something that readiness waits for has happened: prints the ready line when nothing is left. */
LOOP_THREAD void isola__agent_check_ready(struct isola__agent *agent);
/* The node has been let into its cluster: goes on with the start. */
LOOP_THREAD void isola__agent_entered(struct isola__agent *agent);
/* Makes a cluster of this node alone, and listens for others. */
LOOP_THREAD ISOLA_MUST_USE int isola__agent_found(struct isola__agent *agent, const char *name,
                                                  struct isola_err *err);
/* This node was removed from its cluster: it ends its links and its actors, and says so. */
LOOP_THREAD void isola__agent_removed(struct isola__agent *agent);
/* What others dial to reach what listens on `url` here. */
LOOP_THREAD void isola__agent_advertised(const struct isola__agent *agent, const char *url,
                                         bool control, char out[ISOLA_TCP_URL]);
/* No service is left while the agent stops. */
LOOP_THREAD void isola__agent_services_stopped(struct isola__agent *agent);
/* The actor-host has ended while the agent stops. */
LOOP_THREAD void isola__agent_host_stopped(struct isola__agent *agent);

#endif
