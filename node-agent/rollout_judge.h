/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reports of the nodes say of a release: whether it has failed, has proven itself, or is
 * to be watched on. No clock, no I/O.
 */
#ifndef ISOLA_NODE_AGENT_ROLLOUT_JUDGE_H
#define ISOLA_NODE_AGENT_ROLLOUT_JUDGE_H

#include "node-agent/rollout_poll.h"
#include "store/manifest.h"

/* Turns, and how many of them failed. */
struct isola__measure {
    uint64_t turns, errors;
};

/* Why it has failed. */
struct isola__verdict {
    char why[1200]; /* one line, for people; "": it has not */
    char *error_of; /* the actor whose error was the first, and its text with the stack; or NULL */
    char *error;
};
ANY_THREAD void isola__verdict_free(struct isola__verdict *v);
/* Appends to `why`. */
ANY_THREAD void isola__verdict_add(struct isola__verdict *v, const char *what, const char *more);

/* How far it is. */
struct isola__standing {
    uint64_t instances, ready; /* of services, on the nodes that have the release */
    uint64_t turns, errors;
    struct isola__measure before; /* of what they are compared with */
    bool all_ready;
    uint64_t left_ms; /* of the window, when all are ready */
    bool proven;      /* a node knows that it has proven itself */
    char *watcher;    /* the other node that watches it, the first by name; or NULL */
    size_t n;         /* rows in `nodes`: {node, has bool (this revision), instances, ready} */
    struct isola_buf nodes; /* without the head of the array */
};
ANY_THREAD void isola__standing_free(struct isola__standing *s);

struct isola__judged {
    const char *app;
    uint64_t revision;
    const struct isola_manifest_rollout *settings;
    bool errors_count;             /* those of actors */
    bool canary;                   /* it is compared with what is current meanwhile */
    uint64_t age_ms;               /* since it became current, or a canary */
    struct isola__measure *before; /* of the release before on this node (of a canary: of the
                                      current one), the most that was seen: an actor-host that is
                                      restarted forgets it */
};

enum isola__judgement { ISOLA__ROLLOUT_OPEN, ISOLA__ROLLOUT_PROVEN, ISOLA__ROLLOUT_FAILED };

/* Fills `standing` and, when it has failed, `verdict`, both empty before; the first report is this
 * node's. What nodes send is not trusted to be well formed. */
ANY_THREAD enum isola__judgement isola__rollout_judge(struct isola__judged *j,
                                                      const struct isola__rollout_report *reports,
                                                      size_t n, struct isola__standing *standing,
                                                      struct isola__verdict *verdict);

#endif
