/* SPDX-License-Identifier: Apache-2.0
 *
 * A deploy: a release becomes the current one of its app on every live node, or on none.
 *
 * Checked here (form, manifest, its files unpacked, then by our actor-host, which loads every
 * module), prepared by every live peer, which unpacks its files too and keeps it without using it;
 * the commit in our own catalog is the point of no return; then every live peer commits, one that
 * has come since after it has fetched the release. A peer that is lost on the way does not hold it
 * up: it fetches the release when it comes back. Any refusal before the commit leaves all as it
 * was. A roll-back is a deploy of a release that the cluster has: the peers are asked first whether
 * they have it too, and sent it only when they have not. Deploys through one agent go one after
 * another. What has become current is watched by the agent that was asked (rollout.h).
 */
#ifndef ISOLA_NODE_AGENT_DEPLOY_H
#define ISOLA_NODE_AGENT_DEPLOY_H

#include "node-agent/conn.h"
#include "store/catalog.h"

struct isola__deploy;

struct isola__deploys {
    struct isola__deploy *first; /* under way, or waits for the agent to be ready */
    size_t count;                /* with those that wait */
};

/* The release a node has asked us to keep; the last one only, and not for ever. */
struct isola__prepared {
    struct isola__agent *agent;
    struct isola_release *release; /* its files, if it has some, are unpacked and held */
    uint64_t at_ms;
};
LOOP_THREAD void isola__prepared_clear(struct isola__prepared *prepared);
LOOP_THREAD void isola__prepared_expire(struct isola__prepared *prepared, uint64_t now);

/* Is one of this app under way, or waiting for its turn? */
LOOP_THREAD bool isola__deploy_under_way(const struct isola__deploys *deploys, const char *app);
/* The agent is ready: what has waited for that begins. Or it is stopping: that is refused. */
LOOP_THREAD void isola__deploys_begin(struct isola__deploys *deploys);
/* The method `deploy`, of a client. */
LOOP_THREAD void isola__deploy(struct isola__conn *from, const struct isola_msg *m,
                               struct isola_slice params);
/* The method `rollback`, of a client. */
LOOP_THREAD void isola__rollback(struct isola__conn *from, const struct isola_msg *m,
                                 struct isola_slice params);
/* A roll-back that nobody has asked for: of `app`, to the release `wanted` (an id; "": what was
 * current before), if it is at `revision` still when its turn comes. Copies. `done` once, perhaps
 * at once: 0, ISOLA_ECANCELED (another release is current), ISOLA_ENOENT (there is nothing to go
 * back to), or as `rollback` is refused. */
LOOP_THREAD void isola__deploy_back(struct isola__agent *agent, const char *app, const char *wanted,
                                    uint64_t revision, const char *by, const char *message,
                                    void (*done)(void *arg, int code, const char *why), void *arg);
/* The method `deploying`, of a client: how far the deploy of an app is. */
LOOP_THREAD void isola__deploying(struct isola__conn *from, const struct isola_msg *m,
                                  struct isola_slice params);
/* The method `promote`, of a client: the canary becomes current. */
LOOP_THREAD void isola__promote(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
/* Methods of other agents; `canary` is a commit too. */
LOOP_THREAD void isola__prepare(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
LOOP_THREAD void isola__abandon(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
LOOP_THREAD void isola__commit(struct isola__conn *from, const struct isola_msg *m,
                               struct isola_slice params);

#endif
