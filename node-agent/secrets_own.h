/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets as their own files see them: secrets.c (what is here), secrets_share.c (methods, and what
 * goes between nodes).
 */
#ifndef ISOLA_NODE_AGENT_SECRETS_OWN_H
#define ISOLA_NODE_AGENT_SECRETS_OWN_H

#include "node-agent/secrets.h"
#include "store/secrets.h"

/* One that is known here. */
struct isola__secret {
    char *app, *name, *by;
    uint64_t revision;
    int64_t set_ms;
    bool gone;   /* removed */
    bool sealed; /* with another key than this node has now */
};

/* One that is to be taken; borrowed. */
struct isola__secret_given {
    struct isola_slice app, name, by;
    uint64_t revision;
    int64_t set_ms;
    bool gone;
    struct isola_slice value; /* in the clear */
};

/* NULL: none was ever set. */
LOOP_THREAD struct isola__secret *isola__secret_find(const struct isola__secrets *secrets,
                                                     struct isola_slice app,
                                                     struct isola_slice name);
/* Is that revision newer than what is here, or what is here of no use? */
LOOP_THREAD bool isola__secret_wanted(const struct isola__secrets *secrets, struct isola_slice app,
                                      struct isola_slice name, uint64_t revision);
/* Keeps all of them, or none, and has services that use them replaced. What they are was checked.
 */
LOOP_THREAD ISOLA_MUST_USE int isola__secrets_put(struct isola__secrets *secrets,
                                                  const struct isola__secret_given *list, size_t n,
                                                  struct isola_err *err);
/* Appends the types of the app's current release that name it, as an array; how many. */
LOOP_THREAD size_t isola__secret_users(const struct isola__secrets *secrets, const char *app,
                                       const char *name, struct isola_buf *out);

#endif
