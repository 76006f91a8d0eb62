/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of releases: taken from who deploys, from other nodes and for them, and written where
 * services run.
 *
 * All work on the package cache (store/cache.h) is done in libuv's pool; answers come on the loop.
 * A release with files is taken, by a deploy or from another node, only when all pieces of its
 * files are here: whoever prepares or fetches one pulls what it lacks first, from the node that it
 * has the release from. What has come stays when the rest does not: the next attempt goes on behind
 * it.
 */
#ifndef ISOLA_NODE_AGENT_PACKAGES_H
#define ISOLA_NODE_AGENT_PACKAGES_H

#include <uv.h>

#include "node-agent/asks.h"
#include "node-agent/conn.h"
#include "store/cache.h"
#include "store/catalog.h"

struct isola__packages {
    struct isola__agent *agent;
    struct isola_cache *cache;
    unsigned jobs;                 /* of clients, under way */
    bool collecting;               /* what no release has is being dropped */
    struct isola__held *held;      /* directories that are to stay (unpack.c) */
    struct isola__unpack *unpacks; /* under way */
};

/* Opens the cache. */
LOOP_THREAD ISOLA_MUST_USE int
isola__packages_open(struct isola__packages *p, struct isola__agent *agent, struct isola_err *err);
/* When the loop has ended. */
LOOP_THREAD void isola__packages_close(struct isola__packages *p);

/* Something done in the pool, and its end on the loop. Embed it; zero it. */
struct isola__package_job {
    uv_work_t work;
    struct isola__packages *packages;
    void (*run)(struct isola__package_job *job);  /* POOL_THREAD; on failure fills err */
    void (*done)(struct isola__package_job *job); /* LOOP_THREAD; may free it */
    struct isola_err err;                         /* code 0: it went well */
};

/* Runs it. */
LOOP_THREAD void isola__packages_run(struct isola__packages *p, struct isola__package_job *job);

/* All pieces of a release's files are to be here. Embed it; zero it. */
struct isola__pull {
    void (*cb)(struct isola__pull *pull); /* once, not from within isola__packages_pull */
    struct isola_err err;                 /* code 0: they are here */
    size_t pulled;                        /* pieces that have come */
    /* --- */
    struct isola__package_job job;
    struct isola__ask ask;
    struct isola__conn *from; /* counted, or NULL */
    struct isola_tree tree;
    struct isola_hash *hashes; /* that were not here */
    size_t n, at;
    struct isola_buf answer; /* pieces that have come and are not kept yet */
};
/* Pulls what is not here of `files` (of a release that was decoded; copied) from an agent; NULL:
 * from nobody, and what is not here is ISOLA_ENOENT. Else ISOLA_EUNREACHABLE, ISOLA_EPROTO,
 * ISOLA_EIO. */
LOOP_THREAD void isola__packages_pull(struct isola__packages *p, struct isola__pull *pull,
                                      struct isola_slice files, struct isola__conn *from);

/* The files of a release in a directory of this node, for its services. Embed it; zero it. */
struct isola__unpack {
    void (*cb)(struct isola__unpack *unpack); /* once, not from within isola__packages_unpack */
    struct isola_err err;                     /* code 0: they are in `dir` */
    char *dir;                                /* owned; freed after the callback */
    /* --- */
    struct isola__package_job job;
    struct isola_buf files;
    char *app;
    char id[ISOLA_RELEASE_ID_SIZE];
    struct isola__unpack *next, *also; /* also: others that want the same */
};
/* The directory of this release stays, whether it is there already or not, until it has been let go
 * of as often. */
LOOP_THREAD void isola__packages_hold(struct isola__packages *p, const char *app, const char *id);
LOOP_THREAD void isola__packages_let_go(struct isola__packages *p, const char *app, const char *id);
/* Writes them into DATA/apps/APP/ID, unless they are there. ISOLA_ENOENT: a piece is missing;
 * ISOLA_EIO, ISOLA_EPERM. */
LOOP_THREAD void isola__packages_unpack(struct isola__packages *p, struct isola__unpack *unpack,
                                        const struct isola_release *r);
/* Removes the directories of an app's releases but those of these ids (`n` of them), those that are
 * held, and, unless `n` is 0, one that is spare. Says nothing. */
LOOP_THREAD void isola__packages_sweep(struct isola__packages *p, const char *app,
                                       const char (*keep)[ISOLA_RELEASE_ID_SIZE], size_t n);

/* Drops what none of the releases of this node has, but for what has come lately: it may be of a
 * deploy that is under way. Says nothing. */
LOOP_THREAD void isola__packages_collect(struct isola__packages *p);

/* Methods of a client: what is in the cache, and with `prune` dropping what nobody has, however new
 * it is: a deploy that is under way may have to be repeated. */
LOOP_THREAD void isola__cache(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);
/* Which of these pieces are not here; here they are. */
LOOP_THREAD void isola__missing(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params);
LOOP_THREAD void isola__pieces(struct isola__conn *from, const struct isola_msg *m,
                               struct isola_slice params);
/* The method `piece`, of another agent: some of those it asks for. */
LOOP_THREAD void isola__piece(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);

#endif
