/* SPDX-License-Identifier: Apache-2.0
 *
 * The services of this node: for each type that is a program, so many places, each with a process
 * (service.h) that is started, watched, started again, replaced and stopped.
 *
 * A place is app/Type/N. When its process ends by itself it is started again, as an actor is after
 * a crash (`restart` in the manifest): at once the first time, then after growing pauses, and after
 * too many crashes it has failed, until a restart or a release. Another release, or a restart,
 * replaces one place after the other: the new process starts beside the old one, which is stopped
 * when the new one is ready. When a new release does not become ready, its places go back to the
 * one before.
 *
 * While the app has a canary, the last places of a service run that (base/roster.h says how many),
 * or one more does beside the only one. They come and go as places with another release do.
 *
 * Invariant: of a service at the most one place is being replaced at a time.
 */
#ifndef ISOLA_NODE_AGENT_SERVICES_H
#define ISOLA_NODE_AGENT_SERVICES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "node-agent/cgroup.h"
#include "node-agent/conn.h"
#include "node-agent/service_calls.h"
#include "node-agent/service_memory.h"

struct isola_release;
struct isola__program;
struct isola__current;
struct isola__service;

struct isola__services {
    struct isola__agent *agent;
    struct isola__service *first;
    unsigned places;                  /* that are not freed */
    struct isola__cgroups cgroups;    /* what holds their memory and CPU time, */
    struct isola__memory_watch watch; /* or looks at the former */
    struct isola__calls calls;
    struct isola__tunnels *tunnels;     /* of inspectors, to other nodes */
    struct isola__unpacking *unpacking; /* releases whose files are being written */
    bool begun;                         /* the node is ready */
    bool stopping;
};

/* Before the agent has children: takes its control group, if it may. */
LOOP_THREAD void isola__services_init(struct isola__services *services, struct isola__agent *agent);
/* Nothing of them is left. */
LOOP_THREAD void isola__services_close(struct isola__services *services);

/* The node is ready: starts what its current releases have. */
LOOP_THREAD void isola__services_begin(struct isola__services *services);
/* This release is its app's current one: its services run, in the directory that it is a link to,
 * or in one into which its files are unpacked first. Of what has the same content nothing changes,
 * unless it is a link: what is there may be other than it was. */
LOOP_THREAD void isola__services_release(struct isola__services *services,
                                         const struct isola_release *r);
/* These secrets of the app have other values: the places that use one are replaced one by one, as
 * by a restart, and what failed without begins again. */
LOOP_THREAD void isola__services_secrets(struct isola__services *services, struct isola_slice app,
                                         const struct isola_slice *names, size_t n);
/* Removes what was unpacked of an app but for its current release, those that run, and those that
 * are held (packages.h). */
LOOP_THREAD void isola__services_sweep(struct isola__services *services, const char *app);
/* The app is deleted: its services end, and their files go when they have. */
LOOP_THREAD void isola__services_delete(struct isola__services *services, const char *app);
/* Ends all, for good; isola__agent_services_stopped is called when none is left. */
LOOP_THREAD void isola__services_stop(struct isola__services *services);

/* Appends, as strings, the addresses of the app's instances on this node that do not run, and do
 * not begin by themselves: stopped, or failed; a hundred at the most. Returns how many those are.
 */
LOOP_THREAD size_t isola__services_resting(const struct isola__services *services, const char *app,
                                           struct isola_buf *out);

/* The line of the instance that is meant, as it is now. When nobody takes its messages, and nobody
 * will, `err` says why; it has the code 0 else. NULL: there is no such instance, and `err` says so.
 */
LOOP_THREAD struct isola__line *isola__services_line(struct isola__services *services,
                                                     const struct isola_address *at,
                                                     struct isola_err *err);
/* The method `serve`, of a client: it is this process, and takes its instance's messages. */
LOOP_THREAD void isola__serve(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
/* The taker of `p` is gone, or has emitted an event. */
LOOP_THREAD void isola__services_left(struct isola__program *p);
LOOP_THREAD void isola__services_event(struct isola__program *p, const struct isola_msg *m);

/* Is that type of that app a service here? */
LOOP_THREAD bool isola__services_has(const struct isola__services *services, struct isola_slice app,
                                     struct isola_slice type);
/* Appends {actors: [row…], total}, as `ps` has them, of `app` (NULL data: all), `limit` rows at the
 * most. */
LOOP_THREAD void isola__services_ps(const struct isola__services *services, struct isola_slice app,
                                    uint64_t limit, struct isola_buf *out);
/* Appends key "services": how far those of the app's current release, or of its canary, are on this
 * node (docs/protocol.md, `rollout`). */
LOOP_THREAD void isola__services_report(const struct isola__services *services, const char *app,
                                        const struct isola__current *current,
                                        struct isola_buf *out);
/* The method `service`, of a client and of another agent. */
LOOP_THREAD void isola__service_method(struct isola__conn *from, const struct isola_msg *m,
                                       struct isola_slice params);
LOOP_THREAD void isola__service_peer(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);

#endif
