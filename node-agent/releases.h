/* SPDX-License-Identifier: Apache-2.0
 *
 * The releases of this node: which is current for each app, and those that other nodes have newer.
 *
 * The catalog on disk is the truth; beside it an index in memory of what is current. A release
 * becomes current by a deploy (deploy.h) or by being fetched from a node that has a newer revision:
 * one fetch at a time, and when the node it was asked of fails, the next node that offers it is
 * asked. The actor-host is told of each current release, and of all when it starts.
 */
#ifndef ISOLA_NODE_AGENT_RELEASES_H
#define ISOLA_NODE_AGENT_RELEASES_H

#include "base/map.h"
#include "base/nearest.h"
#include "node-agent/asks.h"
#include "node-agent/conn.h"
#include "node-agent/packages.h"
#include "store/catalog.h"
#include "store/deploys.h"
#include "store/manifest.h"

struct isola__member;

struct isola__current {
    char id[ISOLA_RELEASE_ID_SIZE];
    uint64_t revision;
    struct isola_manifest *manifest; /* NULL: this version cannot read it */
    /* What is tried beside it, a canary. */
    uint32_t share; /* of a million; 0: there is none */
    char candidate[ISOLA_RELEASE_ID_SIZE];
    struct isola_manifest *candidate_manifest;
    struct isola_roster roster; /* whose services may have it */
};

struct isola__releases {
    struct isola__agent *agent;
    struct isola_map current; /* by app: struct isola__current */
    unsigned untold;          /* releases the actor-host has not said it has taken */
    bool fetching;
    uint64_t again_ms; /* when the first of those that could not be had is tried again; 0: none */
    struct isola__ask fetch;
    struct isola__member *fetch_from;
    char *fetch_app;
    struct isola__pull pull;          /* of the files of what was fetched, */
    struct isola_release *pulled;     /* this, or of its canary: */
    unsigned pulls;                   /* so many have begun, or were not needed */
    struct isola_deploys deploys;     /* that came with what is fetched */
    struct isola__awaiting *awaiting; /* who is answered when nothing is under way */
};

/* What a node said it has. */
struct isola__offer {
    char *app;
    uint64_t revision;
    uint64_t again_ms; /* it could not be had, and is tried again then (isola_clock_ms) */
    unsigned failures;
};
struct isola__offers {
    struct isola__offer *list;
    size_t count;
};
LOOP_THREAD void isola__offers_read(struct isola__offers *offers, struct isola_slice releases);
LOOP_THREAD void isola__offers_add(struct isola__offers *offers, struct isola_slice app,
                                   uint64_t revision);
LOOP_THREAD void isola__offers_clear(struct isola__offers *offers);

/* Reads the index from the catalog. */
LOOP_THREAD ISOLA_MUST_USE int isola__releases_open(struct isola__releases *releases,
                                                    struct isola__agent *agent,
                                                    struct isola_err *err);
LOOP_THREAD void isola__releases_free(struct isola__releases *releases);
/* NULL when the app is not known. */
LOOP_THREAD const struct isola__current *isola__releases_current(struct isola__releases *releases,
                                                                 const char *app);
/* "; did you mean "APP"?" of those there are, or nothing. */
LOOP_THREAD const char *isola__releases_hint(struct isola__releases *releases,
                                             struct isola_slice app, char out[ISOLA_NEAREST_HINT]);
/* Is there such an app, and such a type of it (NULL data: whichever)? ISOLA_ENOACTOR with a
 * sentence for who asked. */
LOOP_THREAD ISOLA_MUST_USE int isola__releases_find(struct isola__releases *releases,
                                                    struct isola_slice app, struct isola_slice type,
                                                    struct isola_err *err);
/* Whether each port that a service of this manifest asks for is free of other apps', whose requests
 * it would get a part of: ISOLA_EEXIST with a sentence. */
LOOP_THREAD ISOLA_MUST_USE int isola__releases_check_ports(struct isola__releases *releases,
                                                           const struct isola_manifest *m,
                                                           struct isola_err *err);
/* A revision above all that are known here, and unlike one that another node may choose at the same
 * time. */
LOOP_THREAD uint64_t isola__releases_next_revision(struct isola__releases *releases);
/* Was it made on the node of that name? Also true, rarely, when it was not. */
LOOP_THREAD bool isola__releases_made_by(uint64_t revision, const char *node);
/* Stores `r` as current at r->revision. ISOLA_EEXIST: a newer one is there; ISOLA_EPERM: nobody who
 * may deploy it has signed it. Does not tell the actor-host. */
LOOP_THREAD ISOLA_MUST_USE int isola__releases_put(struct isola__releases *releases,
                                                   const struct isola_release *r,
                                                   struct isola_err *err);
/* The app is deleted, in the catalog already. */
LOOP_THREAD void isola__releases_forget(struct isola__releases *releases, const char *app);
/* Tells the actor-host of one; `ask` (NULL: failures only go to the log) fails at once when there
 * is no host. */
LOOP_THREAD void isola__releases_tell(struct isola__releases *releases,
                                      const struct isola_release *r, struct isola__ask *ask);
/* These secrets of the app have other values: the actor-host is told the releases of it anew whose
 * actors use one. */
LOOP_THREAD void isola__releases_secrets(struct isola__releases *releases, struct isola_slice app,
                                         const struct isola_slice *names, size_t n);
/* Our actor-host has prepared a type's module: `params` as in docs/protocol.md. It is kept for the
 * actor-hosts after it. */
LOOP_THREAD void isola__releases_prepared(struct isola__releases *releases,
                                          struct isola_slice params);
/* A new actor-host: tells it of all. */
LOOP_THREAD void isola__releases_to_host(struct isola__releases *releases);
/* Answers the ask `id` of `from` when the app is there at that revision or a later one and the
 * actor-host has it; with ISOLA_ENOENT when nothing is being fetched any more and it is not. */
LOOP_THREAD void isola__releases_await(struct isola__releases *releases, struct isola__conn *from,
                                       uint64_t id, struct isola_slice app, uint64_t revision);
/* Appends [{app, release, revision}…]. */
LOOP_THREAD void isola__releases_list(struct isola__releases *releases, struct isola_buf *out);
/* Have we an app that these do not have, or a later revision? */
LOOP_THREAD bool isola__releases_lacks(struct isola__releases *releases,
                                       const struct isola__offers *offers);
/* Fetches what live members have newer, until nothing is left. */
LOOP_THREAD void isola__releases_sync(struct isola__releases *releases);
/* The same again, if one that could not be had is due; to be called now and then. */
LOOP_THREAD void isola__releases_retry(struct isola__releases *releases);

/* The parameters of `prepare` and the like: the release with its id, all of it. */
ANY_THREAD void isola__release_params(const struct isola_release *r, struct isola_buf *out);
/* Those of `release` and `check`: the same with what is its actors' on this node, secrets among it
 * (wipe it). */
LOOP_THREAD void isola__releases_host_params(struct isola__releases *releases,
                                             const struct isola_release *r, struct isola_buf *out);

/* The method `find`, of a client. */
LOOP_THREAD void isola__find(struct isola__conn *from, const struct isola_msg *m,
                             struct isola_slice params);
/* The method `fetch`, of another agent. */
LOOP_THREAD void isola__fetch(struct isola__conn *from, const struct isola_msg *m,
                              struct isola_slice params);

#endif
