/* SPDX-License-Identifier: Apache-2.0
 *
 * Releases whose actors may be alive, their types, and which of them an app has.
 */
#ifndef ISOLA_ACTORS_RELEASE_H
#define ISOLA_ACTORS_RELEASE_H

#include <stdatomic.h>

#include "actors/host.h"
#include "actors/tally.h"

struct isola_prepared;
struct isola_sourcemap;

struct isola_type {
    struct isola_host_type def; /* strings and code owned by the release */
    struct isola_release_rt *release;
    struct isola_prepared *prepared;       /* what isolates begin with (prepared.c) */
    _Atomic(struct isola_sourcemap *) map; /* decoded when a stack first asks for it */
    atomic_bool map_is_bad;
};

/* A release some of whose actors may be alive. Immutable but for its count and its tally. */
struct isola_release_rt {
    atomic_uint refs;
    char *app, *id;
    char *version; /* NULL: none */
    char *net;     /* "" when it may connect to nothing */
    char *apps;    /* "" when it may send to no other app */
    size_t app_len;
    struct isola_slice env, secrets;
    size_t ntypes;
    struct isola_type *types;
    struct isola_tally tally;
};

/* What an app has: in the host's map, under its apps_lock. */
struct isola_app {
    struct isola_release_rt *current;   /* counted */
    struct isola_release_rt *candidate; /* counted: a canary; or NULL */
    uint32_t share;                     /* of that (base/canary.h) */
    /* What the candidate, or the current one when there is none, had done when the two became what
     * they are; what the current one had, while there is a candidate; and what is the measure of
     * the current one: what the release before it did. */
    struct isola_tally_sum since, beside, before;
};
/* The type that an actor of this app is of: the candidate's when it is in its share, or no other
 * has it. NULL: there is none. */
const struct isola_type *isola__app_type(const struct isola_app *app,
                                         const struct isola_address *at);
/* Is this one of its app's? With apps_lock. */
bool isola__release_is_live(struct isola_host *h, const struct isola_release_rt *r);

struct isola_release_rt *isola__release_new(const struct isola_host_release *def);
struct isola_release_rt *isola__release_ref(struct isola_release_rt *r);
void isola__release_unref(struct isola_release_rt *r);
/* The current type of an address, with a reference to its release; NULL and an error sentence when
 * there is none: one that names the app which was probably meant, when that may be `told`. */
const struct isola_type *isola__type_find(struct isola_host *h, const struct isola_address *at,
                                          bool told, struct isola_err *err);

#endif
