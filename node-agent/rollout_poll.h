/* SPDX-License-Identifier: Apache-2.0
 *
 * How far a release is: on this node, and on all that are live (docs/protocol.md, `rollout`).
 */
#ifndef ISOLA_NODE_AGENT_ROLLOUT_POLL_H
#define ISOLA_NODE_AGENT_ROLLOUT_POLL_H

#include "base/buf.h"
#include "node-agent/conn.h"

/* What one node says; borrowed for the callback. */
struct isola__rollout_report {
    const char *node;
    struct isola_slice value; /* a map; empty: it has not answered in time, or knows no rollouts */
};
/* Once, perhaps at once: `n` reports, the first of them this node's. */
typedef void (*isola__rollout_poll_cb)(struct isola__agent *agent, const char *app,
                                       uint64_t revision,
                                       const struct isola__rollout_report *reports, size_t n);

/* Asks all live nodes how far the app's release of this revision is. */
LOOP_THREAD void isola__rollout_poll(struct isola__agent *agent, const char *app, uint64_t revision,
                                     isola__rollout_poll_cb cb);
/* Answers another agent for this node. */
LOOP_THREAD void isola__rollout_answer(struct isola__conn *from, uint64_t id, const char *app);

#endif
