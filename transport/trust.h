/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may deploy: a list of names and Ed25519 keys, and the signatures of releases by those keys
 * (docs/security.md has the bytes).
 *
 * The list is one document with a revision. In a cluster it is signed by the cluster's key, so it
 * may come from anyone, and the higher revision is the one that holds; a node in no cluster has one
 * of its own, which is not signed. While it is empty anyone may deploy who reaches an agent.
 *
 * A signature is over the name of the app and the whole hash of the release's content. It says that
 * its signer may have this deployed, not when, or that it was deployed before or after another.
 */
#ifndef ISOLA_TRANSPORT_TRUST_H
#define ISOLA_TRANSPORT_TRUST_H

#include "transport/identity.h"

#define ISOLA_TRUSTED_MAX    200
#define ISOLA_TRUST_APP_MAX  64
#define ISOLA_DEPLOYER_TEXT  64 /* a deployer's key as people pass it on, with its NUL */
#define ISOLA_RELEASE_HASH   32
#define ISOLA_RELEASE_SIGNED 96 /* a release's signature: the key, and what it has signed */

struct isola_trusted {
    char name[ISOLA_NODE_NAME_MAX + 1]; /* of the same form as a node's */
    uint8_t key[ISOLA_KEY_SIZE];
    char app[ISOLA_TRUST_APP_MAX + 1]; /* which it may deploy; "": all */
};

struct isola_trust { /* zero is a valid empty list */
    uint64_t revision;
    struct isola_trusted *list;
    size_t n;
};

ANY_THREAD void isola_trust_free(struct isola_trust *trust);
/* Adds one behind the others (copies), at the same revision. */
ANY_THREAD void isola_trust_add(struct isola_trust *trust, const struct isola_trusted *who);
/* Has it this one, as it is? */
ANY_THREAD bool isola_trust_has(const struct isola_trust *trust, const struct isola_trusted *who);
/* May this key deploy `app`? An empty list lets nobody. */
ANY_THREAD bool isola_trust_allows(const struct isola_trust *trust,
                                   const uint8_t key[ISOLA_KEY_SIZE], const char *app);

/* The document, signed by `cluster` (NULL: not), both ways. read takes only what is signed by
 * `cluster_key` (NULL: not signed). ISOLA_EPROTO malformed, ISOLA_EPERM not signed by it. */
ANY_THREAD void isola_trust_write(const struct isola_trust *trust,
                                  const struct isola_sign_keys *cluster, struct isola_buf *out);
ANY_THREAD ISOLA_MUST_USE int isola_trust_read(struct isola_slice bytes, const uint8_t *cluster_key,
                                               struct isola_trust *out, struct isola_err *err);

/* A deployer's public key as text: `isola_key_` and 48 characters, 4 bytes of checksum among what
 * they say. ISOLA_EINVAL: it is none, or mistyped. */
ANY_THREAD void isola_deployer_write(const uint8_t key[ISOLA_KEY_SIZE],
                                     char out[ISOLA_DEPLOYER_TEXT]);
ANY_THREAD ISOLA_MUST_USE int
isola_deployer_read(struct isola_slice text, uint8_t key[ISOLA_KEY_SIZE], struct isola_err *err);

ANY_THREAD void isola_deployer_sign(const struct isola_sign_keys *keys, const char *app,
                                    const uint8_t hash[ISOLA_RELEASE_HASH],
                                    uint8_t out[ISOLA_RELEASE_SIGNED]);
/* Is it a signature of this, by the key it names? */
ANY_THREAD ISOLA_MUST_USE bool isola_deployer_signed(const uint8_t signature[ISOLA_RELEASE_SIGNED],
                                                     const char *app,
                                                     const uint8_t hash[ISOLA_RELEASE_HASH]);

#endif
