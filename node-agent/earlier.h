/* SPDX-License-Identifier: Apache-2.0
 *
 * Earlier releases of an app: listed, looked into, and found again for a roll-back.
 *
 * Every node knows the deploys (store/deploys.h), but one that was away may lack a release in
 * between: then it takes it from the first live node that has it, one after the other.
 */
#ifndef ISOLA_NODE_AGENT_EARLIER_H
#define ISOLA_NODE_AGENT_EARLIER_H

#include "node-agent/conn.h"
#include "store/catalog.h"

struct isola__earlier;
/* Once, `r` the caller's to free; or NULL and why. */
typedef void (*isola__earlier_cb)(struct isola__earlier *earlier, struct isola_release *r,
                                  const struct isola_err *err);

/* A release that is being found. Embed it. */
struct isola__earlier {
    struct isola__ask ask; /* first */
    struct isola__agent *agent;
    isola__earlier_cb cb;
    const char *app; /* borrowed until cb */
    char id[ISOLA_RELEASE_ID_SIZE];
    size_t asked;             /* members, so far */
    struct isola__conn *from; /* in cb: who it came from; NULL: it was here */
};

/* What a roll-back of `app` goes to: the release whose id begins with `wanted`, or, when that is
 * empty, what was current before what is. Sets its id and the deploy that it restores.
 * ISOLA_ENOENT, ISOLA_EINVAL, with what there is. */
LOOP_THREAD ISOLA_MUST_USE int isola__earlier_target(struct isola__agent *agent, const char *app,
                                                     struct isola_slice wanted,
                                                     char id[ISOLA_RELEASE_ID_SIZE],
                                                     uint64_t *restores, struct isola_err *err);
/* Finds earlier->app's release earlier->id, here or at a live node; cb perhaps at once. */
LOOP_THREAD void isola__earlier_get(struct isola__earlier *earlier);

/* The methods `releases` and `release`, of a client. */
LOOP_THREAD void isola__releases_method(struct isola__conn *from, const struct isola_msg *m,
                                        struct isola_slice params);
LOOP_THREAD void isola__release_method(struct isola__conn *from, const struct isola_msg *m,
                                       struct isola_slice params);

#endif
