/* SPDX-License-Identifier: Apache-2.0
 *
 * The releases a node knows (`DIR/catalog.db`): each immutable, named by the hash of its content;
 * one of each app current.
 */
#ifndef ISOLA_STORE_CATALOG_H
#define ISOLA_STORE_CATALOG_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/roster.h"

struct isola_catalog;
struct isola_deploys;

#define ISOLA_RELEASE_ID_SIZE     17 /* 16 hex digits and NUL */
#define ISOLA_RELEASE_SIGNATURE   96
#define ISOLA_RELEASE_HASH_SIZE   32
#define ISOLA_RELEASE_BY_MAX      200  /* bytes, of who deployed */
#define ISOLA_RELEASE_MESSAGE_MAX 1000 /* bytes, of what they say of it */

/* A release: the manifest, for each actor type a bundle (ES module) and its source map (may be
 * empty), and what files it has. */
struct isola_bundle {
    char *type;
    struct isola_slice code;
    struct isola_slice map;
};
struct isola_release {
    char id[ISOLA_RELEASE_ID_SIZE]; /* the first 64 bits of BLAKE2b-256 over manifest, types, code,
                                       maps, and files if there are any */
    char *app;
    uint64_t revision; /* which deploy made it current: the higher one wins when nodes meet; 0 while
                          not current */
    int64_t deployed_ms;
    /* Of the deploy that made it current, no part of the release itself (deploys.h). */
    char *by, *message; /* NULL: not known */
    uint64_t restores;
    /* Of a current one: what is tried beside it, a canary, or NULL; and its share of a million
     * (base/canary.h). Then the note is of the deploy of that. */
    struct isola_release *candidate;
    uint32_t share; /* without a candidate: what it asks for itself, as it is sent to be deployed */
    struct isola_roster roster; /* with one: the nodes that have taken it, for its services */
    bool is_signed;
    uint8_t signature[ISOLA_RELEASE_SIGNATURE]; /* by who deploys it (transport/trust.h) */
    struct isola_slice manifest;
    size_t nbundles;
    struct isola_bundle *bundles; /* of the types that are actors */
    struct isola_slice files;     /* of its services: a tree (tree.h), or empty */
    char *link;   /* NULL, or the directory in which its services run instead, on the machine of the
                     node that was asked */
    void *memory; /* what the slices point into; freed with the release */
};

/* A catalog is used by one thread at a time. Errors with sentences: ISOLA_ESCHEMA, ISOLA_EBUSY,
 * ISOLA_EPERM, ISOLA_EIO. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_open(const char *path, struct isola_catalog **out,
                                                  struct isola_err *err);
POOL_THREAD void isola_catalog_close(struct isola_catalog *c);

/* The wire form of a release (docs/protocol.md: a map of app, manifest, bundles, and optionally
 * files, link, release (id), revision, deployed_ms, by, message, restores, signature, share,
 * canary and nodes), both ways; encode leaves out the last three.
 * decode copies, checks everything (manifest parsed, a bundle for each type of actors and no other,
 * the tree decoded, the id recomputed) and returns a fresh release, its bundles in the manifest's
 * order. ISOLA_EINVAL names the key that is missing or wrong; ISOLA_EMANIFEST. */
ANY_THREAD ISOLA_MUST_USE int
isola_release_decode(struct isola_slice map, struct isola_release **out, struct isola_err *err);
ANY_THREAD void isola_release_encode(const struct isola_release *r, struct isola_buf *out);
/* Two pairs of that map: the manifest and the bundles; and the third, if there are files. */
ANY_THREAD void isola_release_put_content(const struct isola_release *r, struct isola_buf *out);
ANY_THREAD void isola_release_put_files(const struct isola_release *r, struct isola_buf *out);
/* Three pairs of it: by, message, restores; and those of a map, into `r`: ISOLA_EINVAL. */
#define ISOLA_RELEASE_NOTE_PAIRS 3u
ANY_THREAD void isola_release_put_note(const struct isola_release *r, struct isola_buf *out);
ANY_THREAD ISOLA_MUST_USE int
isola_release_read_note(struct isola_slice map, struct isola_release *r, struct isola_err *err);
/* Is it text that a note may have: UTF-8 of no more than `max` bytes, without NUL? */
ANY_THREAD bool isola_release_text_ok(struct isola_slice s, size_t max);
ANY_THREAD void isola_release_free(struct isola_release *r);
/* Computes r->id from its content. */
ANY_THREAD void isola_release_identify(struct isola_release *r);
/* The whole hash of its content, of which its id is the beginning. */
ANY_THREAD void isola_release_hash(const struct isola_release *r,
                                   uint8_t hash[ISOLA_RELEASE_HASH_SIZE]);
/* One more pair of the wire form, if it is signed: signature. */
ANY_THREAD void isola_release_put_signature(const struct isola_release *r, struct isola_buf *out);
/* So many more, if it has a candidate: share, canary, which is the wire form of that, and nodes. */
#define ISOLA_RELEASE_CANARY_PAIRS 3u
ANY_THREAD void isola_release_put_canary(const struct isola_release *r, struct isola_buf *out);
/* The same for one bundle: its code and its map. */
ANY_THREAD void isola_bundle_hash(const struct isola_bundle *b, char hash[ISOLA_RELEASE_ID_SIZE]);

/* Stores `r` and its candidate, if it has one, makes it its app's current one at `r->revision` (1 …
 * 2^63 - 1), notes the deploy and drops releases that are not to be kept any more (deploys.h), in
 * one transaction. Refused with ISOLA_EEXIST when the app's current revision is higher already, or
 * the same with an id that sorts behind r->id (so that nodes that deployed at once agree): then it
 * is stored and noted all the same; with ISOLA_ECANCELED when the app was deleted (gone.h) at this
 * revision or a higher one; ISOLA_EINVAL when r->id is not that of its content. */
POOL_THREAD ISOLA_MUST_USE int
isola_catalog_put(struct isola_catalog *c, const struct isola_release *r, struct isola_err *err);
/* The current release of `app`; ISOLA_ENOENT. The caller frees. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_current(struct isola_catalog *c, const char *app,
                                                     struct isola_release **out,
                                                     struct isola_err *err);
/* That of this id, whether it is current or not, without revision and note; ISOLA_ENOENT. The
 * caller frees. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_release(struct isola_catalog *c, const char *app,
                                                     const char *id, struct isola_release **out,
                                                     struct isola_err *err);
/* The deploys of `app` that are known, the newest first; none when there is no such app. The caller
 * frees. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_deploys(struct isola_catalog *c, const char *app,
                                                     struct isola_deploys *out,
                                                     struct isola_err *err);
/* Notes those of them that were not known. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_learn(struct isola_catalog *c, const char *app,
                                                   const struct isola_deploys *deploys,
                                                   struct isola_err *err);
/* Calls `each` for the current release of every app (whole, borrowed for the call), by name. One
 * that is damaged is left out and the rest are still called; the result is then the first failure.
 * `each` must not use the catalog, but for isola_catalog_prepared and isola_catalog_secret. */
POOL_THREAD ISOLA_MUST_USE int
isola_catalog_each(struct isola_catalog *c, void (*each)(const struct isola_release *r, void *arg),
                   void *arg, struct isola_err *err);
/* Calls `each` for the files (a tree's bytes, borrowed for the call) of every release there is,
 * current or not, that has some. `each` must not use the catalog. */
POOL_THREAD ISOLA_MUST_USE int
isola_catalog_files(struct isola_catalog *c, void (*each)(struct isola_slice files, void *arg),
                    void *arg, struct isola_err *err);
/* Keeps what was prepared of a type's module in its release, good for whoever has the same `key`,
 * in place of what was kept of it before; it goes when another release of the app becomes current.
 * ISOLA_ENOENT when the release is not current. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_prepare(struct isola_catalog *c, const char *release,
                                                     const char *type, const char *key,
                                                     struct isola_slice code,
                                                     struct isola_err *err);
/* Calls `each` (borrowed for the call) for all that is kept of a release. What is damaged is left
 * out, and the result says so: ISOLA_EIO. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_prepared(
    struct isola_catalog *c, const char *release,
    void (*each)(const char *type, const char *key, struct isola_slice code, void *arg), void *arg,
    struct isola_err *err);
/* The highest revision of anything here, secrets (secrets.h) and deletions (gone.h) among it; 0
 * when there is none. */
POOL_THREAD uint64_t isola_catalog_revision(struct isola_catalog *c);

#endif
