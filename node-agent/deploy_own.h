/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of a deploy share, on the node that was asked: deploy.c has the queue and the
 * answers, deploy_check.c what is looked at here first, deploy_nodes.c the other nodes: prepare and
 * commit. Their side of it is deploy_peer.c.
 */
#ifndef ISOLA_NODE_AGENT_DEPLOY_OWN_H
#define ISOLA_NODE_AGENT_DEPLOY_OWN_H

#include "node-agent/deploy.h"
#include "node-agent/earlier.h"
#include "node-agent/packages.h"

/* Who takes part. */
struct isola__part {
    struct isola__ask ask; /* first */
    struct isola__deploy *deploy;
    struct isola__member *member; /* NULL: our own actor-host */
    bool taken;
};

struct isola__deploy {
    struct isola__deploy *next;
    struct isola__agent *agent;
    struct isola__conn *from; /* counted; NULL: the agent itself wants it, and `done` is called */
    uint64_t id;
    void (*done)(void *arg, int code, const char *why);
    void *arg;
    struct isola_release *release; /* NULL: of a roll-back, not found yet */
    struct isola__pull files;
    struct isola__unpack unpack;
    bool held; /* the directory of its files */
    struct isola__ask check;
    uint32_t share;                        /* not 0: it is to be a canary, */
    struct isola_roster roster;            /* of the nodes that have prepared it */
    char unwatched[ISOLA_RELEASE_ID_SIZE]; /* the current release, whose watch a canary ends; or ""
                                            */
    /* Of a roll-back. */
    struct isola_release *note; /* its app, by and message; NULL: it is a deploy */
    char *wanted;               /* the beginning of an id, or "" */
    uint64_t expected;          /* not 0: the revision that is to be current */
    bool promotes;              /* it goes to the canary */
    char before[ISOLA_RELEASE_ID_SIZE];
    struct isola__earlier earlier;
    struct isola__part *parts;
    size_t nparts, outstanding;
    bool begun;        /* it is the first, and the agent was ready */
    const char *stage; /* "files", "check", "prepare", "commit"; NULL: it waits */
    struct isola_err refused;
    struct isola_buf dropped; /* names of the types before, when none of them is in it */
    size_t ndropped;
};

/* It ends, with an answer: the last call for `d`. */
LOOP_THREAD void isola__deploy_refuse(struct isola__deploy *d, int code, const char *text);
/* As an answer of the actor-host says. */
LOOP_THREAD void isola__deploy_pass(struct isola__deploy *d, const struct isola_msg *answer);
LOOP_THREAD void isola__deploy_succeed(struct isola__deploy *d, bool unchanged);
/* Is something else current than what was to be gone back from? */
LOOP_THREAD bool isola__deploy_replaced(const struct isola__deploy *d);
/* Has this node taken the release? */
LOOP_THREAD bool isola__deploy_has_taken(const struct isola__deploy *d,
                                         const struct isola__member *member);

/* Begins: all that can be seen here, and then the other nodes. `from`: whom the files can be pulled
 * from; NULL: they are to be here. */
LOOP_THREAD void isola__deploy_check(struct isola__deploy *d, struct isola__conn *from);
/* It has been checked: all nodes prepare it, and when none refuses commit it. */
LOOP_THREAD void isola__deploy_prepare(struct isola__deploy *d);
/* It is current already, so nobody has to do anything. */
LOOP_THREAD void isola__deploy_unchanged(struct isola__deploy *d);

/* The release in `params`; answers the asker when there is none. */
LOOP_THREAD struct isola_release *
isola__deploy_read(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params);

#endif
