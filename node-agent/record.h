/* SPDX-License-Identifier: Apache-2.0
 *
 * What nodes tell each other about themselves (docs/protocol.md, `record`). Hostile until read.
 */
#ifndef ISOLA_NODE_AGENT_RECORD_H
#define ISOLA_NODE_AGENT_RECORD_H

#include "base/buf.h"
#include "base/error.h"

struct isola__agent;

struct isola__record {
    char *name;
    char *url;      /* control */
    char *host_url; /* data; NULL while its actor-host restarts */
    char *version;
    uint64_t pid, host_pid, threads, started_ms;
};

/* Checks and copies; ISOLA_EINVAL names what is wrong. */
ANY_THREAD ISOLA_MUST_USE int isola__record_read(struct isola_slice map, struct isola__record *out,
                                                 struct isola_err *err);
ANY_THREAD void isola__record_write(const struct isola__record *r, struct isola_buf *out);
ANY_THREAD void isola__record_free(struct isola__record *r);
/* The same process of the same node. */
ANY_THREAD bool isola__record_same(const struct isola__record *a, const struct isola__record *b);
/* That of this node, now. */
LOOP_THREAD void isola__record_own(struct isola__agent *agent, struct isola__record *out);

#endif
