/* SPDX-License-Identifier: Apache-2.0
 *
 * The actor-host of this node: started, watched, started again, and stopped.
 *
 * It is the executable `actor-host` beside our own ($ISOLA_ACTOR_HOST names another), with a
 * socketpair as descriptor 3. A host is gone when both its process has ended and its link is down;
 * whichever comes first gives the other a second. Then it is started again, at once the first time,
 * later with a growing delay that ten healthy seconds reset. Messages to actors wait while there is
 * no host. What a dead host had been asked fails: it may or may not have been done.
 *
 * One that lives is asked every few seconds whether it answers (pulse.h). When it has not for ten
 * seconds, the log says so, and asks that are not to wait for it (isola__ask: hasty) fail. When it
 * is stuck for --host-timeout it is ended: by SIGABRT, so that there is a core dump where the
 * system makes them, and by SIGKILL if that does not. One that is stopped is left alone.
 */
#ifndef ISOLA_NODE_AGENT_HOST_H
#define ISOLA_NODE_AGENT_HOST_H

#include <uv.h>

#include "base/msg.h"
#include "node-agent/asks.h"
#include "node-agent/pulse.h"
#include "transport/identity.h"

struct isola__agent;

enum isola__host_state {
    ISOLA_HOST_NONE,     /* not started, or waiting to be started again */
    ISOLA_HOST_STARTING, /* spawned, has not said it is ready */
    ISOLA_HOST_READY,
    ISOLA_HOST_DYING,   /* process or link has ended or is being ended, not yet both */
    ISOLA_HOST_STOPPED, /* for good */
};

struct isola__host {
    struct isola__agent *agent;
    enum isola__host_state state;
    struct isola__conn *conn; /* NULL: the link is down */
    bool running;             /* the process, or at least its handle, is there */
    bool alive;               /* the process has not ended: its pid is its own */
    bool was_ready;           /* once since the agent started */
    bool stopping;
    bool retired; /* the node was removed from its cluster: none is started any more */
    bool open;    /* it has its releases: other nodes may know where it is */
    uv_process_t process;
    uv_timer_t timer; /* start again, give up waiting, or look whether it answers: by state */
    unsigned failures;
    uint64_t ready_at;
    struct isola__ask shutdown, credentials, ping;
    bool pinged; /* `ping` is with it */
    struct isola__pulse pulse;
    bool told_silent;            /* the log says that it does not answer */
    uint64_t pid, threads;       /* what it said when it became ready */
    char *url;                   /* what others dial; NULL: it does not listen, or not yet */
    uint8_t key[ISOLA_KEY_SIZE]; /* of its channels, with url */
    int64_t certified_ms;        /* as its certificate says */
    size_t removals_told;        /* of the cluster's list of removed nodes, so many */
    /* Messages that wait for it. */
    struct isola_msgq waiting;
    size_t waiting_bytes;
};

LOOP_THREAD void isola__host_init(struct isola__host *host, struct isola__agent *agent);
/* Spawns it. */
LOOP_THREAD void isola__host_start(struct isola__host *host);
/* Lets other nodes know where it is if it has all its releases now: a message that came sooner
 * would find no app, and a subscription be refused for good. */
LOOP_THREAD void isola__host_check_open(struct isola__host *host);
/* Gives it a key of its own, certified, and has it listen; in a cluster. */
LOOP_THREAD void isola__host_credentials(struct isola__host *host);
/* Ends it as below, and the agent goes on without. */
LOOP_THREAD void isola__host_retire(struct isola__host *host);
/* Asks it to end, kills it when it takes over five seconds; then calls isola__agent_host_stopped.
 */
LOOP_THREAD void isola__host_stop(struct isola__host *host);
LOOP_THREAD void isola__host_free(struct isola__host *host);

/* The path of the program, which also starts services; the caller frees. NULL, with errno: it
 * cannot be told where it is. */
ANY_THREAD char *isola__host_executable(void);

/* For a question to it: NULL when it is not there, or is to be no more. */
LOOP_THREAD struct isola__conn *isola__host_conn(const struct isola__host *host);
/* Whether it is known not to answer; if so, a sentence that names node and pid and says why, as far
 * as that can be seen, and what to do. */
LOOP_THREAD bool isola__host_silent(const struct isola__host *host, struct isola_err *err);
/* Fails the asks it has that are hasty, if it is silent. After each that is sent to it. */
LOOP_THREAD void isola__host_hasten(struct isola__host *host);

/* Sends a message for an actor, or lets it wait; borrows. `ask` (may be NULL) is a registered ask
 * of id m->id, whose fate is tied to the host's when it goes out. ISOLA_EOVERLOAD: too much waits
 * already. */
LOOP_THREAD ISOLA_MUST_USE int isola__host_send(struct isola__host *host, const struct isola_msg *m,
                                                struct isola__ask *ask);

#endif
