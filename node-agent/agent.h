/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent as a whole: what its parts share, its start and its stop.
 *
 * Everything runs on one loop. Start: control listener, data directory, catalog, log, client
 * socket, actor-host, join; ready when the actor-host is up, every node named by the join has
 * answered or not, and newer releases are here. Stop: no more connections, the actor-host ends its
 * turns, then the links close and the loop runs dry.
 */
#ifndef ISOLA_NODE_AGENT_AGENT_H
#define ISOLA_NODE_AGENT_AGENT_H

#include <uv.h>

#include "node-agent/asks.h"
#include "node-agent/clients.h"
#include "node-agent/deploy.h"
#include "node-agent/host.h"
#include "node-agent/logs.h"
#include "node-agent/members.h"
#include "node-agent/options.h"
#include "node-agent/releases.h"
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
    struct isola_listener *control;
    struct isola_listener *socket;
    uv_signal_t sigterm, sigint;
    struct isola__asks asks;
    struct isola__clients clients;
    struct isola__host host;
    struct isola__members members;
    struct isola__releases releases;
    struct isola__deploys deploys;
    struct isola__logs logs;
};

/* Runs an agent to its end. Takes `opt` (frees it). Returns the exit status. */
int isola__agent_run(struct isola__options *opt);

/* A start-up that cannot go on: one line on stderr, then a stop with exit status 1. */
LOOP_THREAD void isola__agent_start_failed(struct isola__agent *agent, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Something that readiness waits for has happened: prints the ready line when nothing is left. */
LOOP_THREAD void isola__agent_check_ready(struct isola__agent *agent);
/* The actor-host has ended while the agent stops. */
LOOP_THREAD void isola__agent_host_stopped(struct isola__agent *agent);

#endif
