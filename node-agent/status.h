/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to the whole mesh: ask every node, wait for all answers but no longer than GATHER_MS,
 * put them together.
 */
#ifndef ISOLA_NODE_AGENT_STATUS_H
#define ISOLA_NODE_AGENT_STATUS_H

#include "node-agent/conn.h"

#define ISOLA_GATHER_MS 2000
/* What is asked of this node's own actor-host for another agent: before that one loses its
 * patience, so that it learns that there is no more. */
#define ISOLA_GATHER_LOCAL_MS (ISOLA_GATHER_MS / 2)

struct isola__gather;

struct isola__part {
    struct isola__ask ask; /* first */
    struct isola__gather *gather;
    char *node;             /* owned */
    bool answered;          /* false: no answer, or a FAIL */
    struct isola_buf value; /* the answer's value */
};

struct isola__gather {
    struct isola__conn *from; /* who wants to know; counted */
    uint64_t id;
    void (*done)(struct isola__gather *g); /* all have answered or will not; freed after it */
    void *arg;
    uint64_t limit;       /* the asker's own: how many lines */
    uint64_t patience_ms; /* ISOLA_GATHER_MS unless changed before the first is asked */
    size_t outstanding;
    size_t nparts;
    struct isola__part parts[];
};

/* For up to `max` parts. End it with isola__gather_start once all parts are there. */
LOOP_THREAD struct isola__gather *isola__gather_new(struct isola__conn *from, uint64_t id,
                                                    size_t max,
                                                    void (*done)(struct isola__gather *g));
/* Asks `conn` (NULL: nobody there, counts as unanswered). */
LOOP_THREAD void isola__gather_ask(struct isola__gather *g, struct isola__conn *conn,
                                   const char *node, const char *method, struct isola_slice params);
/* An answer that is here already; takes `value`. */
LOOP_THREAD void isola__gather_have(struct isola__gather *g, const char *node,
                                    struct isola_buf *value);
/* Ours, which is on its way: end it with its ask's callback, a REPLY or a FAIL. */
LOOP_THREAD struct isola__part *isola__gather_wait(struct isola__gather *g, const char *node);
/* Asks every other node the mesh knows. */
LOOP_THREAD void isola__gather_members(struct isola__gather *g, const char *method,
                                       struct isola_slice params);
LOOP_THREAD void isola__gather_start(struct isola__gather *g);
/* That node's part, or NULL. */
LOOP_THREAD struct isola__part *isola__gather_part(struct isola__gather *g, const char *node);
/* Appends key "unreachable" and the names of those who did not answer, or whose answer says that
 * their actor-host did not. */
LOOP_THREAD void isola__gather_unreachable(struct isola__gather *g, struct isola_buf *out);
/* Appends "nodes" and the names of those who answered, "later" and those of the others: two pairs.
 */
LOOP_THREAD void isola__gather_done(const struct isola__gather *g, struct isola_buf *out);

/* Appends `key` and the elements of the arrays of that name in all answers. */
LOOP_THREAD void isola__gather_lists(const struct isola__gather *g, const char *key,
                                     struct isola_buf *out);

/* Methods of clients. */
LOOP_THREAD void isola__ps(struct isola__conn *from, const struct isola_msg *m,
                           struct isola_slice params);
LOOP_THREAD void isola__nodes(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
/* Method of other agents: this node's actors only. */
LOOP_THREAD void isola__ps_local(struct isola__conn *from, const struct isola_msg *m,
                                 struct isola_slice params);

#endif
