/* SPDX-License-Identifier: Apache-2.0
 *
 * Which cluster this node is in, and as whom: its identity, on disk and in memory.
 *
 * A node begins alone: it listens to nobody on the network. `ctl init` makes a cluster of it, a
 * join token takes it into one; from then on its data directory says so, and it needs neither
 * again. All of it is in the folder `cluster` of the data directory (docs/security.md lists the
 * files), as whole files that are replaced, not in the catalog: who may look at a database is
 * coarser than who may look at a key, and to leave a cluster is to remove one folder. The file
 * `member` is written last when a node becomes one, so a crash before it leaves a node alone that
 * may try again.
 *
 * A node that has been removed from its cluster is told so by any member, or by its own list when
 * it starts; it then does nothing any more but say so.
 *
 * Failure modes: a file that is damaged, or that others have rights to: the agent does not start,
 * with a sentence that names it. A list that cannot be written: a line in the log, memory goes on,
 * and it is written with the next change.
 */
#ifndef ISOLA_NODE_AGENT_CLUSTER_H
#define ISOLA_NODE_AGENT_CLUSTER_H

#include "node-agent/issuer.h"
#include "transport/identity.h"
#include "transport/trust.h"

struct isola__cluster {
    char *dir;
    struct isola_node_keys *keys;       /* NULL: none made yet */
    struct isola__issuer *issuer;       /* NULL: the cluster's key is not here */
    bool member;                        /* if so the following is set */
    uint8_t key[ISOLA_KEY_SIZE];        /* the cluster's */
    char id[ISOLA_CLUSTER_ID];          /* of the cluster */
    char name[ISOLA_NODE_NAME_MAX + 1]; /* the cluster's, for people */
    struct isola_identity own;
    struct isola_buf cert, chain; /* this node's */
    struct isola_removals removals;
    struct isola_buf peers;      /* the file `peers` as it is */
    struct isola_trust trust;    /* who may deploy, also in no cluster */
    struct isola_buf trust_list; /* as it is told; empty: never set */
};

/* Reads what there is below the data directory. `*cluster` is to be freed whatever it returns. */
POOL_THREAD ISOLA_MUST_USE int isola__cluster_open(struct isola__cluster *cluster, const char *data,
                                                   struct isola_err *err);
ANY_THREAD void isola__cluster_free(struct isola__cluster *cluster);

/* The node's keys, made when there are none yet. */
POOL_THREAD ISOLA_MUST_USE int isola__cluster_make_keys(struct isola__cluster *cluster,
                                                        struct isola_err *err);
/* Makes a new cluster, of which this node is the first. ISOLA_EEXIST: it is in one. */
POOL_THREAD ISOLA_MUST_USE int isola__cluster_found(struct isola__cluster *cluster,
                                                    const char *name, const char *node,
                                                    struct isola_err *err);
/* The node has been certified: checks the certificate and keeps it. */
POOL_THREAD ISOLA_MUST_USE int isola__cluster_enter(struct isola__cluster *cluster,
                                                    const uint8_t key[ISOLA_KEY_SIZE],
                                                    struct isola_slice name,
                                                    struct isola_slice cert, struct isola_err *err);
/* Takes entries of removed nodes (a msgpack array of bin), keeps them; how many were new, or an
 * error. */
POOL_THREAD ISOLA_MUST_USE int isola__cluster_learn(struct isola__cluster *cluster,
                                                    struct isola_slice entries,
                                                    struct isola_err *err);
/* Sets who may deploy: in no cluster, or where the cluster's key is. */
POOL_THREAD ISOLA_MUST_USE int isola__cluster_trust(struct isola__cluster *cluster,
                                                    const struct isola_trust *trust,
                                                    struct isola_err *err);
/* Takes the list over that another member has, and keeps it: 1, or 0 when it is no newer, or an
 * error. */
POOL_THREAD ISOLA_MUST_USE int isola__cluster_take_trust(struct isola__cluster *cluster,
                                                         struct isola_slice list,
                                                         struct isola_err *err);
/* This node itself, if it has been removed, else NULL. */
ANY_THREAD const struct isola_removal *isola__cluster_removed(const struct isola__cluster *cluster);
/* The other members as they were kept: one msgpack value, empty when there is none. Read once, when
 * the agent starts; kept anew whenever `peers` differs from what was kept last. */
POOL_THREAD void isola__cluster_keep_peers(struct isola__cluster *cluster, struct isola_buf *peers);

#endif
