/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of node-agent.
 */
#ifndef ISOLA_NODE_AGENT_OPTIONS_H
#define ISOLA_NODE_AGENT_OPTIONS_H

#include "base/annotate.h"

#define ISOLA_NODE_NAME_MAX 64

/* All owned. */
struct isola__options {
    char *name;
    char *data;
    char *socket; /* path */
    char *listen; /* url */
    char *join;   /* url, or NULL */
    unsigned threads;
    unsigned long long memory; /* bytes the actor-host should not have more of; 0: no bound */
};

/* 0: go on. 1: --help or --version was printed, exit with 0. 2: wrong usage, said on stderr. */
ISOLA_MUST_USE int isola__options_parse(int argc, char **argv, struct isola__options *out);
void isola__options_free(struct isola__options *opt);
/* True when `name` can be a node's name: 1 to 64 of letters, digits, '.', '_' and '-', a letter or
 * digit first. */
int isola__node_name_ok(const char *name, unsigned long len);

#endif
