/* SPDX-License-Identifier: Apache-2.0
 *
 * Apps that are deleted (store/gone.h): on every live node at once, and on those that are away when
 * they are back.
 *
 * The happy path: who asks is told what the app is and at which revision it would be deleted, and
 * asks again with that revision, signed if only some may deploy. The commit in our own catalog is
 * the point of no return; then every live node is told, and does the same. Two nodes that meet
 * exchange what was deleted before their releases, and what is news to one it tells on.
 *
 * Failure modes: an app that was deployed anew meanwhile stays, as its revision is higher. A node
 * that dies in the middle has the entry or not: with it, it removes what is left when its
 * actor-host has started.
 */
#ifndef ISOLA_NODE_AGENT_DELETE_H
#define ISOLA_NODE_AGENT_DELETE_H

#include "base/map.h"
#include "node-agent/conn.h"

/* Apps that were ever deleted. */
struct isola__gone_apps {
    struct isola__agent *agent;
    struct isola_map all; /* app → struct isola__gone */
};

LOOP_THREAD ISOLA_MUST_USE int isola__gone_open(struct isola__gone_apps *gone,
                                                struct isola__agent *agent, struct isola_err *err);
LOOP_THREAD void isola__gone_free(struct isola__gone_apps *gone);
/* The revision at which it was deleted last; 0: it never was. */
LOOP_THREAD uint64_t isola__gone_at(const struct isola__gone_apps *gone, struct isola_slice app);
/* Says in `err` that there is no such app, and when it was deleted if it was: ISOLA_ENOENT. */
LOOP_THREAD int isola__gone_fail(struct isola__gone_apps *gone, const char *app,
                                 struct isola_err *err);
/* The actor-host has started: it removes what it had not removed before. */
LOOP_THREAD void isola__gone_to_host(struct isola__gone_apps *gone);
/* The node is ready: what was unpacked for services of such apps goes. */
LOOP_THREAD void isola__gone_sweep(struct isola__gone_apps *gone);
/* Appends the list of them, as `join` has it; and takes in another node's. */
LOOP_THREAD void isola__gone_write(const struct isola__gone_apps *gone, struct isola_buf *out);
LOOP_THREAD void isola__gone_learn(struct isola__agent *agent, struct isola_slice list);

/* The method `delete`, of a client; `deleted`, of another agent. */
LOOP_THREAD void isola__delete(struct isola__conn *from, const struct isola_msg *m,
                               struct isola_slice params);
LOOP_THREAD void isola__deleted(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);

#endif
