/* SPDX-License-Identifier: Apache-2.0
 *
 * Who lets nodes in and puts them out: there is one where the cluster's key is.
 *
 * It gives out tokens and keeps the hashes of their secrets until they have expired; for a token it
 * certifies one node, once; it signs the removal of nodes. All it knows is in one file, written
 * whole and synced before anything it has decided is told: a token that has let a node in is used
 * up whatever happens afterwards. A node that asks again with the same token and the same key gets
 * the same certificate, so that an answer lost on the way costs nothing.
 *
 * Happy path: token, certify. Failure modes: the file cannot be written (nothing has changed, the
 * asker is told), it is damaged (the agent does not start; nothing is guessed).
 *
 * Invariants: a name belongs to one key at a time; a key to one name; a removed key gets no
 * certificate again; serial numbers are never used twice.
 */
#ifndef ISOLA_NODE_AGENT_ISSUER_H
#define ISOLA_NODE_AGENT_ISSUER_H

#include "transport/identity.h"
#include "transport/token.h"
#include "transport/trust.h"

#define ISOLA_TOKENS_MAX    1000
#define ISOLA_ISSUED_MAX    1000 /* nodes at a time */
#define ISOLA_TOKEN_LIFE_MS (60 * 60 * 1000LL)
#define ISOLA_TOKEN_MIN_MS  1000LL
#define ISOLA_TOKEN_MAX_MS  (7 * 24 * 60 * 60 * 1000LL)

struct isola__issuer;

/* What a node that wants to be certified sends. Borrowed. */
struct isola__request {
    struct isola_slice token_id, secret, name, node_key, static_key, signature;
};

/* A new cluster in `dir`: its key, and the first node's certificate, of `name` and `keys`, into
 * `cert`. Replaces what an earlier attempt that came to nothing has left. */
POOL_THREAD ISOLA_MUST_USE int isola__issuer_new(const char *dir, const char *name,
                                                 const struct isola_node_keys *keys, int64_t now_ms,
                                                 struct isola__issuer **out, struct isola_buf *cert,
                                                 struct isola_err *err);
/* That of `dir`. ISOLA_ENOENT: the cluster's key is not here. */
POOL_THREAD ISOLA_MUST_USE int isola__issuer_open(const char *dir, struct isola__issuer **out,
                                                  struct isola_err *err);
ANY_THREAD void isola__issuer_free(struct isola__issuer *issuer);
ANY_THREAD const uint8_t *isola__issuer_cluster_key(const struct isola__issuer *issuer);

/* Makes a token that is good for `life_ms`; fills all of `out` but its addresses. ISOLA_EINVAL (how
 * long), ISOLA_EOVERLOAD (too many), ISOLA_EIO. */
POOL_THREAD ISOLA_MUST_USE int isola__issuer_token(struct isola__issuer *issuer, int64_t life_ms,
                                                   int64_t now_ms, struct isola_token *out,
                                                   struct isola_err *err);
/* Appends the certificate. ISOLA_EINVAL malformed; ISOLA_EPERM the token or the key is no good;
 * ISOLA_EEXIST the name or the key is taken; ISOLA_EOVERLOAD, ISOLA_EIO. */
POOL_THREAD ISOLA_MUST_USE int isola__issuer_certify(struct isola__issuer *issuer,
                                                     const struct isola__request *request,
                                                     int64_t now_ms, struct isola_buf *cert,
                                                     struct isola_err *err);
/* Appends the signed entry of the removal of the node of that name; the same one again when it was
 * removed before and no other has the name. ISOLA_ENOENT: no node has or had it. */
POOL_THREAD ISOLA_MUST_USE int isola__issuer_remove(struct isola__issuer *issuer, const char *name,
                                                    int64_t now_ms, struct isola_buf *entry,
                                                    struct isola_err *err);
/* Appends the list of who may deploy, signed. */
ANY_THREAD void isola__issuer_trust(const struct isola__issuer *issuer,
                                    const struct isola_trust *trust, struct isola_buf *out);
/* Takes every removal it has signed into `list`. */
ANY_THREAD ISOLA_MUST_USE int isola__issuer_removals(const struct isola__issuer *issuer,
                                                     struct isola_removals *list,
                                                     struct isola_err *err);

#endif
