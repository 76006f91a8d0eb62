/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is who: keys, certificates, and the list of removed nodes (docs/security.md has the bytes).
 *
 * A cluster is an Ed25519 key. It certifies nodes: a name, an Ed25519 key to sign with, an X25519
 * key to hold channels with. A node certifies each of its actor-hosts for as long as that process
 * lives. Whoever opens a connection shows a chain: the node's certificate, and for an actor-host
 * the host's behind it. isola_identity_check believes it when every signature holds, the key at its
 * end is the one the channel has proven, and the node has not been removed.
 *
 * Nothing here keeps time, opens files or allocates more than its output. Secrets live in memory of
 * isola_secret_alloc.
 *
 * Hostile input: chains, certificates and removals come from peers. They are read strictly (no
 * other types, nothing behind, nothing missing), before a signature is looked at at most
 * ISOLA_CHAIN_MAX bytes.
 */
#ifndef ISOLA_TRANSPORT_IDENTITY_H
#define ISOLA_TRANSPORT_IDENTITY_H

#include "base/buf.h"
#include "base/error.h"
#include "base/map.h"

#define ISOLA_KEY_SIZE      32 /* public keys of both kinds, X25519 secret keys */
#define ISOLA_NODE_NAME_MAX 64
#define ISOLA_CLUSTER_ID    17 /* 16 hexadecimal digits and a NUL */
#define ISOLA_CHAIN_MAX     1024
#define ISOLA_REMOVALS_MAX  10000
#define ISOLA_DATE_SIZE     40

/* --- keys --- */

struct isola_sign_keys { /* Ed25519 */
    uint8_t public_key[ISOLA_KEY_SIZE];
    uint8_t secret_key[64];
};
struct isola_static_keys { /* X25519 */
    uint8_t public_key[ISOLA_KEY_SIZE];
    uint8_t secret_key[ISOLA_KEY_SIZE];
};
struct isola_node_keys {
    struct isola_sign_keys sign;
    struct isola_static_keys fixed;
};

/* Memory for secrets: kept out of swap and core dumps where the system lets us, between guard
 * pages, zeroed. Never NULL. */
ANY_THREAD void *isola_secret_alloc(size_t size);
/* The same for what a peer may have us take, often: NULL when there is none. */
ANY_THREAD ISOLA_MUST_USE void *isola_secret_try(size_t size);
/* Wipes and frees; NULL is allowed. */
ANY_THREAD void isola_secret_free(void *secret);

ANY_THREAD void isola_sign_keys_new(struct isola_sign_keys *out);
ANY_THREAD void isola_static_keys_new(struct isola_static_keys *out);
/* The same keys from what is kept in files: a seed, a secret key. */
ANY_THREAD void isola_sign_keys_from(const uint8_t seed[ISOLA_KEY_SIZE],
                                     struct isola_sign_keys *out);
ANY_THREAD void isola_static_keys_from(const uint8_t secret[ISOLA_KEY_SIZE],
                                       struct isola_static_keys *out);

/* What people see of a cluster: the first digits of the hash of its key. */
ANY_THREAD void isola_cluster_id(const uint8_t cluster_key[ISOLA_KEY_SIZE],
                                 char out[ISOLA_CLUSTER_ID]);
/* True when `name` can be a node's name: 1 to 64 of letters, digits, '.', '_' and '-', a letter or
 * digit first. */
ANY_THREAD bool isola_node_name_ok(const char *name, size_t len);

/* --- certificates --- */

enum isola_role { ISOLA_ROLE_NODE, ISOLA_ROLE_HOST };

struct isola_identity {
    char name[ISOLA_NODE_NAME_MAX + 1]; /* of the node */
    enum isola_role role;
    uint8_t node_key[ISOLA_KEY_SIZE];    /* the node's Ed25519 key: what it is, whatever its name */
    uint8_t node_static[ISOLA_KEY_SIZE]; /* the agent's X25519 key */
    uint64_t serial;                     /* of the node's certificate */
    int64_t issued_ms;                   /* of the node's certificate */
    int64_t started_ms;                  /* of the host's; 0 for a node */
};

/* Appends the certificate of a node: name, node_key, node_static, serial, issued_ms of `node`. */
ANY_THREAD void isola_node_certify(const struct isola_sign_keys *cluster,
                                   const struct isola_identity *node, struct isola_buf *out);
/* Appends the certificate of an actor-host of the node that has `node`'s keys. */
ANY_THREAD void isola_host_certify(const struct isola_sign_keys *node,
                                   const uint8_t host_static[ISOLA_KEY_SIZE], int64_t started_ms,
                                   struct isola_buf *out);
/* Appends the chain that a channel shows; `host_cert` is empty for an agent. */
ANY_THREAD void isola_chain_write(struct isola_slice node_cert, struct isola_slice host_cert,
                                  struct isola_buf *out);

struct isola_removals;

/* Believes a node's certificate, or says why not: ISOLA_EPROTO malformed, ISOLA_EPERM another
 * cluster's, or not signed by it. */
ANY_THREAD ISOLA_MUST_USE int isola_node_certificate_read(const uint8_t cluster_key[ISOLA_KEY_SIZE],
                                                          struct isola_slice cert,
                                                          struct isola_identity *out,
                                                          struct isola_err *err);
/* Believes a chain shown on a channel that has proven `static_key`, or says why not: codes as
 * above, and ISOLA_EPERM for a node in `removals` (may be NULL). On failure `out` is all zero. */
ANY_THREAD ISOLA_MUST_USE int isola_identity_check(const uint8_t cluster_key[ISOLA_KEY_SIZE],
                                                   struct isola_slice chain,
                                                   const uint8_t static_key[ISOLA_KEY_SIZE],
                                                   const struct isola_removals *removals,
                                                   struct isola_identity *out,
                                                   struct isola_err *err);

/* "2026-11-21 18:49 UTC", for sentences. */
ANY_THREAD const char *isola_identity_date(int64_t ms, char out[ISOLA_DATE_SIZE]);

/* --- asking for a certificate --- */

/* Appends the signature by which a node that asks for a certificate shows that it has the key it
 * names; over the token, the name and both keys. */
ANY_THREAD void isola_request_sign(const struct isola_node_keys *keys, const char *name,
                                   struct isola_slice token_id, uint8_t out[64]);
ANY_THREAD bool isola_request_ok(const uint8_t node_key[ISOLA_KEY_SIZE],
                                 const uint8_t static_key[ISOLA_KEY_SIZE], struct isola_slice name,
                                 struct isola_slice token_id, struct isola_slice signature);

/* --- removed nodes --- */

/* Who is not a member any more, for good. A list only grows; each entry is signed by the cluster,
 * so it may come from anyone. */
struct isola_removal {
    uint8_t node_key[ISOLA_KEY_SIZE];
    char name[ISOLA_NODE_NAME_MAX + 1];
    uint64_t serial;
    int64_t removed_ms;
};

/* Appends the signed entry. */
ANY_THREAD void isola_removal_sign(const struct isola_sign_keys *cluster,
                                   const struct isola_removal *removal, struct isola_buf *out);

struct isola_removals { /* zero is a valid empty list */
    size_t n;
    struct isola_removal_entry **entries; /* in the order they came */
    struct isola_map by_key;
};
struct isola_removal_entry {
    struct isola_removal removal;
    struct isola_buf bytes; /* as it was signed */
};

ANY_THREAD void isola_removals_free(struct isola_removals *list);
/* Takes a signed entry in. 1: it is new, 0: known already; ISOLA_EPROTO malformed, ISOLA_EPERM not
 * signed by the cluster, ISOLA_EOVERLOAD there are too many. */
ANY_THREAD ISOLA_MUST_USE int isola_removals_add(struct isola_removals *list,
                                                 const uint8_t cluster_key[ISOLA_KEY_SIZE],
                                                 struct isola_slice entry, struct isola_err *err);
/* The entry of that node, or NULL. */
ANY_THREAD const struct isola_removal *isola_removals_find(const struct isola_removals *list,
                                                           const uint8_t node_key[ISOLA_KEY_SIZE]);
/* Appends the list as one msgpack array of bin. */
ANY_THREAD void isola_removals_write(const struct isola_removals *list, struct isola_buf *out);
/* Takes in all of such an array; the number of new ones, or an error, which leaves in what came
 * before it. */
ANY_THREAD ISOLA_MUST_USE int isola_removals_read(struct isola_removals *list,
                                                  const uint8_t cluster_key[ISOLA_KEY_SIZE],
                                                  struct isola_slice array, struct isola_err *err);

#endif
