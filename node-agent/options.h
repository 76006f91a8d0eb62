/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of node-agent.
 */
#ifndef ISOLA_NODE_AGENT_OPTIONS_H
#define ISOLA_NODE_AGENT_OPTIONS_H

#include <stdbool.h>

#include "base/annotate.h"
#include "transport/tcp.h"
#include "transport/token.h"

/* All owned. */
struct isola__options {
    char *name;
    bool named; /* --name was given */
    char *data;
    char *socket;                 /* path */
    char *socket_group;           /* whose members may use it too; NULL: nobody else */
    unsigned socket_gid;          /* that group's number */
    struct isola_tcp listen;      /* of the agent, once the node is in a cluster */
    struct isola_tcp data_listen; /* of its actor-host */
    struct isola_tcp advertise;   /* what others dial instead; no host: what is listened on */
    struct isola_token *token;    /* to join with; NULL: none. Of isola_secret_alloc */
    unsigned threads;
    unsigned host_timeout; /* s in which the actor-host has to answer; 0: it may take for ever */
    unsigned long long memory;     /* bytes the actor-host should not have more of; 0: no bound */
    unsigned long long history_ms; /* how long it is kept what actors had before; 0: not at all */
    unsigned long long history_bytes; /* and how much of it */
};

/* 0: go on. 1: --help or --version was printed, exit with 0. 2: wrong usage, said on stderr. */
ISOLA_MUST_USE int isola__options_parse(int argc, char **argv, struct isola__options *out);
void isola__options_free(struct isola__options *opt);

#endif
