/* SPDX-License-Identifier: Apache-2.0
 *
 * Which instances of a service run a canary (docs/releases.md, *Canaries*): a rule over the nodes
 * that were there when it was deployed, which are noted with it. So every node comes to the same
 * answer by itself, at any time, whoever is away.
 *
 * Of `n` instances in all, as many run the canary as the share says, rounded, at least one and
 * fewer than all; of one in all, one beside it. Each node has the last ones of its own. Which nodes
 * have how many: instance j of the n of a node, counted from the last, is at (j + u) / n, with a
 * `u` from 0 to 1 that is a hash of the node's name and the service's; the first ones in this order
 * are chosen. So they spread over the nodes by how many each has, a larger share has all of a
 * smaller and some more, and different services choose different nodes.
 */
#ifndef ISOLA_BASE_ROSTER_H
#define ISOLA_BASE_ROSTER_H

#include <stdbool.h>

#include "base/annotate.h"
#include "base/buf.h"
#include "base/error.h"

#define ISOLA_ROSTER_MAX   10000 /* nodes */
#define ISOLA_ROSTER_NAME  64    /* bytes of a node's name, at the most */
#define ISOLA_ROSTER_TIMES 65536 /* processors of one, at the most */

struct isola_roster_node {
    char name[ISOLA_ROSTER_NAME + 1];
    uint32_t processors; /* how many instances "cpus" is there */
};
/* Zero is empty: none was noted. */
struct isola_roster {
    struct isola_roster_node *nodes; /* owned; by name */
    size_t n;
};

ANY_THREAD void isola_roster_free(struct isola_roster *r);
/* Copies. Whoever is in it already has the number anew. ISOLA_EINVAL: no name, or too long a one;
 * no number of processors; too many nodes. */
ANY_THREAD ISOLA_MUST_USE int isola_roster_add(struct isola_roster *r, struct isola_slice name,
                                               uint64_t processors, struct isola_err *err);
/* Into `to`, which is freed before. */
ANY_THREAD void isola_roster_copy(struct isola_roster *to, const struct isola_roster *from);
ANY_THREAD bool isola_roster_has(const struct isola_roster *r, const char *name);

/* [{node, processors}…], both ways; read fills an empty one. ISOLA_EINVAL. */
ANY_THREAD void isola_roster_write(const struct isola_roster *r, struct isola_buf *out);
ANY_THREAD ISOLA_MUST_USE int isola_roster_read(struct isola_slice list, struct isola_roster *r,
                                                struct isola_err *err);

/* What one node has of a service while there is a canary. */
struct isola_roster_part {
    unsigned instances; /* all of them */
    unsigned canaries;  /* the last ones, which run it */
};
/* Those of all nodes, in the order of the roster, into `parts`, r->n of them; `service` is
 * app/Type, `instances` those of each node or 0: one for each processor, `share` of a million. */
ANY_THREAD void isola_roster_parts(const struct isola_roster *r, const char *service,
                                   uint32_t instances, uint32_t share,
                                   struct isola_roster_part *parts);
/* The place of a node in it; `n` of the roster: it is not there. */
ANY_THREAD size_t isola_roster_find(const struct isola_roster *r, const char *name);

#endif
