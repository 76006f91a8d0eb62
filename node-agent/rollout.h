/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a release that has become current: it is watched for a while, and when it fails
 * the release before is current again, on all nodes.
 *
 * One node watches: the agent that was asked to deploy it; when that one is gone, the first by name
 * of those that are live. It asks all live nodes again and again how far they are: whether the
 * services of the release are ready and stay so, and how many turns of its actors fail, of how many
 * (`rollout` in docs/protocol.md). So it needs no memory but that of the nodes, and whoever goes on
 * knows as much.
 *
 * Happy path: all services are ready on all nodes that have the release, the window of its manifest
 * ("rollout") passes, and it has proven itself; all nodes are told. It has failed when a service of
 * it does not begin or crashes, when services are not ready within the deadline, or when too many
 * turns fail, unless the release before did no better. Then the last one that has proven itself, or
 * that was current before anything was watched, is deployed as `ctl rollback` does, if the manifest
 * does not forbid it and there is one.
 *
 * A canary (canary.h) is watched in the same way, for what its actors and its instances of services
 * do worse than those of the current release in the same time. When it fails it is dropped, and the
 * current release stays, whose own watch, if the canary had cut it short, begins anew.
 *
 * Invariants: a release is only gone back from while it is current at the revision that was
 * watched, so never twice; a roll-back is not gone back from, nor is a link (`ctl deploy --link`):
 * of these it is only seen whether their services begin.
 *
 * Failure modes: nodes that do not answer, or do not have the release, are not waited for. A
 * roll-back that is refused (an actor-host restarts) is tried again, as long as the release is
 * current, for a minute. An agent that was restarted goes on when it is alone and the window is not
 * over; else another node does.
 */
#ifndef ISOLA_NODE_AGENT_ROLLOUT_H
#define ISOLA_NODE_AGENT_ROLLOUT_H

#include <uv.h>

#include "base/map.h"
#include "node-agent/conn.h"
#include "store/catalog.h"

struct isola__current;

struct isola__rollouts {
    struct isola__agent *agent;
    struct isola_map trials; /* by app: struct isola__trial */
    uv_timer_t tick;
    bool ticking;
    bool open; /* `tick` is a handle of the loop */
};

LOOP_THREAD void isola__rollouts_init(struct isola__rollouts *rollouts, struct isola__agent *agent);
LOOP_THREAD void isola__rollouts_close(struct isola__rollouts *rollouts);
LOOP_THREAD void isola__rollouts_free(struct isola__rollouts *rollouts);

/* `r` becomes current, or has another canary. `before`: what was so until now, or NULL: nothing
 * was. */
LOOP_THREAD void isola__rollout_put(struct isola__rollouts *rollouts, const struct isola_release *r,
                                    const struct isola__current *before);
/* `r` is current as the agent starts. */
LOOP_THREAD void isola__rollout_found(struct isola__rollouts *rollouts,
                                      const struct isola_release *r);
/* The app is deleted. */
LOOP_THREAD void isola__rollout_gone(struct isola__rollouts *rollouts, const char *app);
/* The app's current release was committed by this agent: it watches. */
LOOP_THREAD void isola__rollout_watch(struct isola__rollouts *rollouts, const char *app);
/* Was the release before the app's current one still watched when it was replaced? */
LOOP_THREAD bool isola__rollout_unproven(struct isola__rollouts *rollouts, const char *app);

/* Is the app's current release watched, so that it may be gone back from? Not while it has a
 * canary.
 */
LOOP_THREAD bool isola__rollout_in_window(struct isola__rollouts *rollouts, const char *app);
/* Does this node watch the app's current release; has that proven itself, as far as is known here?
 */
LOOP_THREAD bool isola__rollout_watches(struct isola__rollouts *rollouts, const char *app);
LOOP_THREAD bool isola__rollout_is_proven(struct isola__rollouts *rollouts, const char *app);

/* The method `rollout`, of a client. */
LOOP_THREAD void isola__rollout(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
/* The same of another agent, and `proven`. */
LOOP_THREAD void isola__rollout_peer(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);
LOOP_THREAD void isola__rollout_proven(struct isola__conn *from, const struct isola_msg *m,
                                       struct isola_slice params);

#endif
