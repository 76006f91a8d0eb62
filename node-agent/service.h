/* SPDX-License-Identifier: Apache-2.0
 *
 * One process of a service (docs/services.md): from its start to its end.
 *
 * It runs as a group of processes of its own, with pipes for what it prints and a channel of
 * Node.js (process.send) over which it says that it listens. It is ready when it listens on its
 * port, has sent "ready", or, without a port, has lived for a second. Whoever started it hears once
 * that it is ready, if it becomes so, and once that it has ended, after which it is gone.
 *
 * Its end: SIGTERM to the process, after its time SIGKILL to the whole group; what is left of the
 * group when the process has ended is killed too. When the agent dies the system kills it.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_H
#define ISOLA_NODE_AGENT_SERVICE_H

#include <uv.h>

#include "base/error.h"
#include "store/catalog.h"
#include "store/manifest.h"

struct isola__agent;
struct isola__client;
struct isola__debug;
struct isola__program;

/* A type of a release that is a service, as its processes see it. Counted. */
struct isola__service_def {
    unsigned refs;
    struct isola_manifest *manifest;     /* owned */
    const struct isola_actor_type *type; /* in it */
    char release[ISOLA_RELEASE_ID_SIZE];
    char *dir; /* where the release's files are on this node */
    bool link; /* and may have changed, though the release is the same */
};
LOOP_THREAD struct isola__service_def *isola__service_def_ref(struct isola__service_def *def);
LOOP_THREAD void isola__service_def_unref(struct isola__service_def *def);

struct isola__program_ops {
    void (*ready)(struct isola__program *p);
    /* `why` is for people. `p` is freed when this returns. */
    void (*ended)(struct isola__program *p, const char *why);
};

enum isola__program_state { ISOLA_PROGRAM_STARTING, ISOLA_PROGRAM_READY, ISOLA_PROGRAM_STOPPING };

/* What there is to see of it. */
struct isola__program_use {
    uint64_t memory; /* bytes that are resident, or, of one that is bounded, that count for its
                        bound, of its children too; 0: not known */
    uint64_t cpu_ms; /* CPU time it has had, all threads together */
};

/* Starts one, as number `number` of `of` of its service on this node, to take the place of `before`
 * if that is not NULL: it is given the socket that listens there, so that nothing is lost that
 * waits in its queue. NULL: it could not be started, and `err` says why. */
LOOP_THREAD struct isola__program *
isola__program_start(struct isola__agent *agent, struct isola__service_def *def, unsigned number,
                     unsigned of, const struct isola__program *before,
                     const struct isola__program_ops *ops, void *arg, struct isola_err *err);
/* Who takes its messages (service_calls.h); NULL: nobody, as when it is to end. */
LOOP_THREAD struct isola__client *isola__program_taker(const struct isola__program *p);
/* This one does, or (NULL) nobody any more. One without a port is ready with that. */
LOOP_THREAD void isola__program_take(struct isola__program *p, struct isola__client *taker);
/* Has it said that somebody will? */
LOOP_THREAD bool isola__program_serves(const struct isola__program *p);
/* Its inspector. */
LOOP_THREAD struct isola__debug *isola__program_debug(struct isola__program *p);
/* Writes a line to its channel, if there is room; `line` ends with one. */
LOOP_THREAD void isola__program_tell(struct isola__program *p, const char *line);
/* The same of one whose port others have as well: it takes no new connection any more, and is asked
 * when it has taken those that wait. A client that begins one meanwhile tries again, as TCP does
 * after a second, and comes to the others. */
LOOP_THREAD void isola__program_leave(struct isola__program *p);
/* Asks it to end, as often as one likes. */
LOOP_THREAD void isola__program_stop(struct isola__program *p);
/* Has it been, and not for what it does? */
LOOP_THREAD bool isola__program_asked(const struct isola__program *p);
LOOP_THREAD void *isola__program_arg(const struct isola__program *p);
LOOP_THREAD struct isola__service_def *isola__program_def(const struct isola__program *p);
LOOP_THREAD enum isola__program_state isola__program_state(const struct isola__program *p);
LOOP_THREAD int isola__program_pid(const struct isola__program *p);
/* What is amiss with one that lives, for people, to follow its address: it is not well, or is ended
 * for that; "": nothing. */
LOOP_THREAD void isola__program_trouble(const struct isola__program *p, char *out, size_t size);
/* The port that one which begins listens on in place of its own; 0: none is known. */
LOOP_THREAD unsigned isola__program_elsewhere(const struct isola__program *p);
LOOP_THREAD struct isola__program_use isola__program_use(const struct isola__program *p);

#endif
