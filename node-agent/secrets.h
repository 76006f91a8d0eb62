/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets of apps: set by people, known to every node, given to services and actors that name them
 * (docs/services.md, docs/security.md).
 *
 * A node keeps their values sealed under a key of its own, in the catalog; between nodes they
 * travel inside of the encrypted channel, and what another node has sealed nobody else can open.
 * Each has a revision, of the same count as releases: the higher one holds, and one that was
 * removed says so with its own. Who sets some tells every node that is up; two nodes that meet say
 * which they have, and what is news to a node it says on; who lacks some asks for them, some at a
 * time.
 *
 * Failure modes: without its key a node cannot open what it has sealed: it says so, and takes them
 * anew from others. A service that lacks one does not start, and does when it comes; actors begin
 * without it, and anew when it comes.
 */
#ifndef ISOLA_NODE_AGENT_SECRETS_H
#define ISOLA_NODE_AGENT_SECRETS_H

#include "base/map.h"
#include "node-agent/conn.h"
#include "store/manifest.h"

struct isola_release;
struct isola_sealer;

struct isola__secrets {
    struct isola__agent *agent;
    struct isola_sealer *sealer; /* NULL: there was none to be sealed yet */
    struct isola_map index;      /* app/name → struct isola__secret */
};

/* Reads which there are. */
LOOP_THREAD ISOLA_MUST_USE int isola__secrets_open(struct isola__secrets *secrets,
                                                   struct isola__agent *agent,
                                                   struct isola_err *err);
LOOP_THREAD void isola__secrets_free(struct isola__secrets *secrets);

/* Has all that this manifest names been set? ISOLA_EINVAL, with what to do: no ISOLA_ENOENT,
 * which has ctl send files. */
LOOP_THREAD ISOLA_MUST_USE int isola__secrets_check(const struct isola__secrets *secrets,
                                                    const struct isola_manifest *m,
                                                    struct isola_err *err);
/* Appends the value (wipe it); ISOLA_ENOENT: it is not set; ISOLA_EIO: it cannot be opened. */
LOOP_THREAD ISOLA_MUST_USE int isola__secrets_get(const struct isola__secrets *secrets,
                                                  const char *app, const char *name,
                                                  struct isola_buf *out, struct isola_err *err);
/* Appends what its actors get: NAME=VALUE, each ended by a NUL (wipe it). One that is not here, as
 * when this node has just come, is left out. */
LOOP_THREAD void isola__secrets_write(const struct isola__secrets *secrets,
                                      const struct isola_release *r, struct isola_buf *out);
/* The app was deleted at that revision: those of it that are older are gone, in the catalog
 * already. */
LOOP_THREAD void isola__secrets_forget(struct isola__secrets *secrets, const char *app,
                                       uint64_t revision);

/* The peer has joined: it is told which there are. */
LOOP_THREAD void isola__secrets_tell(const struct isola__secrets *secrets,
                                     struct isola__conn *peer);

/* Methods of a client: `secrets`, `secret_set`, `secret_remove`. */
LOOP_THREAD void isola__secrets_list(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);
LOOP_THREAD void isola__secret_set(struct isola__conn *from, const struct isola_msg *m,
                                   struct isola_slice params);
LOOP_THREAD void isola__secret_remove(struct isola__conn *from, const struct isola_msg *m,
                                      struct isola_slice params);
/* Methods of another agent: `secrets_have`, which it has; `secrets_take`, here they are;
 * `secrets_give`, those it asks for. */
LOOP_THREAD void isola__secrets_have(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);
LOOP_THREAD void isola__secrets_take(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);
LOOP_THREAD void isola__secrets_give(struct isola__conn *from, const struct isola_msg *m,
                                     struct isola_slice params);

/* Is any of `used` (to a NULL; or NULL: none) one of these? */
ANY_THREAD bool isola__secrets_among(char *const *used, const struct isola_slice *names, size_t n);

#endif
