/* SPDX-License-Identifier: Apache-2.0
 *
 * What nodes tell each other about themselves (docs/protocol.md, `record`). Hostile until read.
 */
#ifndef ISOLA_NODE_AGENT_RECORD_H
#define ISOLA_NODE_AGENT_RECORD_H

#include "base/buf.h"
#include "base/error.h"
#include "transport/identity.h"

struct isola__agent;
struct isola__cluster;

struct isola__record {
    char *name;
    char *url;      /* control */
    char *host_url; /* data; NULL while its actor-host restarts */
    char *version;
    uint64_t pid, host_pid, threads, started_ms;
    uint64_t
        changes; /* so many times has it changed since the process began; 0: that is not known */
    struct isola_buf cert;            /* its certificate, which was checked */
    struct isola_identity id;         /* what that says */
    bool keeper;                      /* the cluster's key is there */
    uint8_t host_key[ISOLA_KEY_SIZE]; /* of its actor-host's channels; with host_url */
    uint64_t host_started;            /* as that one's certificate says; with host_url */
};

/* Checks and copies; ISOLA_EINVAL names what is wrong, ISOLA_EPERM: it has no certificate of this
 * cluster for that name. */
ANY_THREAD ISOLA_MUST_USE int isola__record_read(const struct isola__cluster *cluster,
                                                 struct isola_slice map, struct isola__record *out,
                                                 struct isola_err *err);
ANY_THREAD void isola__record_write(const struct isola__record *r, struct isola_buf *out);
ANY_THREAD void isola__record_free(struct isola__record *r);
/* The same process of the same node. */
ANY_THREAD bool isola__record_same(const struct isola__record *a, const struct isola__record *b);
/* Was `b` so later than `a`, in the same process? Of two links the slower one may bring what is
 * older last. */
ANY_THREAD bool isola__record_older(const struct isola__record *a, const struct isola__record *b);
/* That of this node, now. */
LOOP_THREAD void isola__record_own(struct isola__agent *agent, struct isola__record *out);

#endif
