/* SPDX-License-Identifier: Apache-2.0
 *
 * Signed things are all made alike: an array of a body and a signature over a prefix and that body.
 * The prefix says what the body is, so a signature for one kind of thing is none for another. What
 * is signed are the bytes as they travel: nothing is encoded anew to be checked.
 */
#include "transport/identity.h"

#include <sodium.h>
#include <stdio.h>
#include <time.h>

#include "base/check.h"
#include "base/msgpack.h"

#define FORMAT    1
#define ID_BYTES  ((ISOLA_CLUSTER_ID - 1) / 2)
#define SIGNATURE crypto_sign_BYTES

static const char of_node[] = "isola node certificate 1";
static const char of_host[] = "isola host certificate 1";
static const char of_removal[] = "isola node removal 1";
static const char of_request[] = "isola certificate request 1";

/* --- keys --- */

void *isola_secret_try(size_t size)
{
    ISOLA_CHECK(sodium_init() >= 0);
    void *p = sodium_malloc(size);
    if (p != NULL)
        sodium_memzero(p, size);
    return p;
}

void *isola_secret_alloc(size_t size)
{
    void *p = isola_secret_try(size);
    ISOLA_CHECK(p != NULL);
    return p;
}

void isola_secret_free(void *secret)
{
    sodium_free(secret); /* wipes */
}

void isola_sign_keys_new(struct isola_sign_keys *out)
{
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_sign_keypair(out->public_key, out->secret_key);
}

void isola_static_keys_new(struct isola_static_keys *out)
{
    ISOLA_CHECK(sodium_init() >= 0);
    randombytes_buf(out->secret_key, sizeof(out->secret_key));
    ISOLA_CHECK(crypto_scalarmult_base(out->public_key, out->secret_key) == 0);
}

void isola_sign_keys_from(const uint8_t seed[ISOLA_KEY_SIZE], struct isola_sign_keys *out)
{
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_sign_seed_keypair(out->public_key, out->secret_key, seed);
}

void isola_static_keys_from(const uint8_t secret[ISOLA_KEY_SIZE], struct isola_static_keys *out)
{
    ISOLA_CHECK(sodium_init() >= 0);
    memmove(out->secret_key, secret, ISOLA_KEY_SIZE);
    ISOLA_CHECK(crypto_scalarmult_base(out->public_key, out->secret_key) == 0);
}

static void hash(const void *data, size_t len, uint8_t out[32])
{
    crypto_generichash(out, 32, data, len, NULL, 0);
}

void isola_cluster_id(const uint8_t cluster_key[ISOLA_KEY_SIZE], char out[ISOLA_CLUSTER_ID])
{
    uint8_t digest[32];
    hash(cluster_key, ISOLA_KEY_SIZE, digest);
    sodium_bin2hex(out, ISOLA_CLUSTER_ID, digest, ID_BYTES);
}

static bool alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool isola_node_name_ok(const char *name, size_t len)
{
    if (len == 0 || len > ISOLA_NODE_NAME_MAX || !alnum(name[0]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!alnum(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
            return false;
    }
    return true;
}

/* --- signing --- */

/* Prefix and body in one piece, as crypto_sign takes them; what peers send is checked without
 * asking for memory. */
struct to_sign {
    uint8_t bytes[sizeof(of_request) + ISOLA_CHAIN_MAX];
    size_t len;
};

_Static_assert(sizeof(of_request) >= sizeof(of_node) && sizeof(of_request) >= sizeof(of_host) &&
                   sizeof(of_request) >= sizeof(of_removal),
               "there is room for each prefix");

static bool to_sign(const char *prefix, struct isola_slice body, struct to_sign *out)
{
    size_t n = strlen(prefix) + 1;
    if (body.len > ISOLA_CHAIN_MAX)
        return false;
    memcpy(out->bytes, prefix, n);
    memcpy(out->bytes + n, body.data, body.len);
    out->len = n + body.len;
    return true;
}

static void sign(const struct isola_sign_keys *keys, const char *prefix, struct isola_slice body,
                 uint8_t out[SIGNATURE])
{
    struct to_sign whole;
    ISOLA_CHECK(to_sign(prefix, body, &whole));
    crypto_sign_detached(out, NULL, whole.bytes, whole.len, keys->secret_key);
}

static bool signature_ok(const uint8_t key[ISOLA_KEY_SIZE], const char *prefix,
                         struct isola_slice body, struct isola_slice signature)
{
    struct to_sign whole;
    if (signature.len != SIGNATURE || !to_sign(prefix, body, &whole))
        return false;
    ISOLA_CHECK(sodium_init() >= 0);
    return crypto_sign_verify_detached(signature.data, whole.bytes, whole.len, key) == 0;
}

/* Appends [body, signature]; frees `body`. */
static void write_signed(const struct isola_sign_keys *keys, const char *prefix,
                         struct isola_buf *body, struct isola_buf *out)
{
    uint8_t signature[SIGNATURE];
    ISOLA_CHECK(!body->failed);
    sign(keys, prefix, isola_buf_slice(body), signature);
    isola_mp_array(out, 2);
    isola_mp_bin(out, isola_buf_slice(body));
    isola_mp_bin(out, isola_slice(signature, sizeof(signature)));
    isola_buf_free(body);
}

/* --- reading: strictly --- */

static bool read_array(struct isola_mp_reader *r, uint32_t n)
{
    struct isola_mp_item item;
    return isola_mp_take(r, ISOLA_MP_ARRAY, &item) && item.n == n;
}

static bool read_bin(struct isola_mp_reader *r, struct isola_slice *out)
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_BIN, &item))
        return false;
    *out = item.bytes;
    return true;
}

static bool read_uint(struct isola_mp_reader *r, uint64_t *out)
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_UINT, &item))
        return false;
    *out = item.u;
    return true;
}

static bool read_time(struct isola_mp_reader *r, int64_t *out)
{
    uint64_t u;
    if (!read_uint(r, &u) || u > INT64_MAX)
        return false;
    *out = (int64_t)u;
    return true;
}

static bool read_format(struct isola_mp_reader *r)
{
    uint64_t format;
    return read_uint(r, &format) && format == FORMAT;
}

static bool read_name(struct isola_mp_reader *r, char out[ISOLA_NODE_NAME_MAX + 1])
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_STR, &item) ||
        !isola_node_name_ok((const char *)item.bytes.data, item.bytes.len))
        return false;
    memcpy(out, item.bytes.data, item.bytes.len);
    out[item.bytes.len] = '\0';
    return true;
}

static bool read_signed(struct isola_slice bytes, struct isola_slice *body,
                        struct isola_slice *signature)
{
    struct isola_mp_reader r = isola_mp_reader(bytes);
    return read_array(&r, 2) && read_bin(&r, body) && read_bin(&r, signature) && r.p == r.end;
}

/* --- certificates --- */

void isola_node_certify(const struct isola_sign_keys *cluster, const struct isola_identity *node,
                        struct isola_buf *out)
{
    uint8_t id[32];
    struct isola_buf body = {0};
    ISOLA_CHECK(isola_node_name_ok(node->name, strlen(node->name)));
    hash(cluster->public_key, ISOLA_KEY_SIZE, id);
    isola_mp_array(&body, 7);
    isola_mp_uint(&body, FORMAT);
    isola_mp_bin(&body, isola_slice(id, sizeof(id)));
    isola_mp_cstr(&body, node->name);
    isola_mp_bin(&body, isola_slice(node->node_key, ISOLA_KEY_SIZE));
    isola_mp_bin(&body, isola_slice(node->node_static, ISOLA_KEY_SIZE));
    isola_mp_uint(&body, node->serial);
    isola_mp_uint(&body, (uint64_t)node->issued_ms);
    write_signed(cluster, of_node, &body, out);
}

void isola_host_certify(const struct isola_sign_keys *node,
                        const uint8_t host_static[ISOLA_KEY_SIZE], int64_t started_ms,
                        struct isola_buf *out)
{
    uint8_t of[32];
    struct isola_buf body = {0};
    hash(node->public_key, ISOLA_KEY_SIZE, of);
    isola_mp_array(&body, 4);
    isola_mp_uint(&body, FORMAT);
    isola_mp_bin(&body, isola_slice(of, sizeof(of)));
    isola_mp_bin(&body, isola_slice(host_static, ISOLA_KEY_SIZE));
    isola_mp_uint(&body, (uint64_t)started_ms);
    write_signed(node, of_host, &body, out);
}

void isola_chain_write(struct isola_slice node_cert, struct isola_slice host_cert,
                       struct isola_buf *out)
{
    isola_mp_array(out, host_cert.len > 0 ? 2 : 1);
    isola_mp_bin(out, node_cert);
    if (host_cert.len > 0)
        isola_mp_bin(out, host_cert);
}

int isola_node_certificate_read(const uint8_t cluster_key[ISOLA_KEY_SIZE], struct isola_slice cert,
                                struct isola_identity *out, struct isola_err *err)
{
    struct isola_slice body, signature;
    uint8_t id[32], ours[32];
    struct isola_identity node = {0};
    *out = node;
    if (cert.len > ISOLA_CHAIN_MAX || !read_signed(cert, &body, &signature))
        return isola_fail(err, ISOLA_EPROTO, "the certificate it shows is malformed");
    struct isola_mp_reader r = isola_mp_reader(body);
    if (!read_array(&r, 7) || !read_format(&r) || !isola_mp_take_bytes(&r, id, sizeof(id)) ||
        !read_name(&r, node.name) || !isola_mp_take_bytes(&r, node.node_key, ISOLA_KEY_SIZE) ||
        !isola_mp_take_bytes(&r, node.node_static, ISOLA_KEY_SIZE) ||
        !read_uint(&r, &node.serial) || !read_time(&r, &node.issued_ms) || r.p != r.end)
        return isola_fail(err, ISOLA_EPROTO,
                          "the certificate it shows is malformed, or of another format than %d",
                          FORMAT);
    hash(cluster_key, ISOLA_KEY_SIZE, ours);
    if (sodium_memcmp(id, ours, sizeof(id)) != 0) {
        char theirs[ISOLA_CLUSTER_ID], mine[ISOLA_CLUSTER_ID];
        sodium_bin2hex(theirs, sizeof(theirs), id, ID_BYTES);
        sodium_bin2hex(mine, sizeof(mine), ours, ID_BYTES);
        return isola_fail(err, ISOLA_EPERM,
                          "it shows a certificate of node %s in cluster %s, this is cluster %s",
                          node.name, theirs, mine);
    }
    if (!signature_ok(cluster_key, of_node, body, signature))
        return isola_fail(err, ISOLA_EPERM,
                          "it shows a certificate of node %s that this cluster has not signed",
                          node.name);
    *out = node;
    return 0;
}

static int read_host(struct isola_slice cert, struct isola_identity *node,
                     uint8_t host_static[ISOLA_KEY_SIZE], struct isola_err *err)
{
    struct isola_slice body, signature;
    uint8_t of[32], expected[32];
    if (!read_signed(cert, &body, &signature))
        return isola_fail(err, ISOLA_EPROTO,
                          "the actor-host's certificate that it shows for node %s is malformed",
                          node->name);
    struct isola_mp_reader r = isola_mp_reader(body);
    if (!read_array(&r, 4) || !read_format(&r) || !isola_mp_take_bytes(&r, of, sizeof(of)) ||
        !isola_mp_take_bytes(&r, host_static, ISOLA_KEY_SIZE) ||
        !read_time(&r, &node->started_ms) || r.p != r.end)
        return isola_fail(err, ISOLA_EPROTO,
                          "the actor-host's certificate that it shows for node %s is malformed, or "
                          "of another format than %d",
                          node->name, FORMAT);
    hash(node->node_key, ISOLA_KEY_SIZE, expected);
    if (sodium_memcmp(of, expected, sizeof(of)) != 0 ||
        !signature_ok(node->node_key, of_host, body, signature))
        return isola_fail(err, ISOLA_EPERM,
                          "it claims to be an actor-host of node %s, which has not signed that",
                          node->name);
    node->role = ISOLA_ROLE_HOST;
    return 0;
}

const char *isola_identity_date(int64_t ms, char out[ISOLA_DATE_SIZE])
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL || strftime(out, ISOLA_DATE_SIZE, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        snprintf(out, ISOLA_DATE_SIZE, "%lld ms after 1970", (long long)ms);
    return out;
}

int isola_identity_check(const uint8_t cluster_key[ISOLA_KEY_SIZE], struct isola_slice chain,
                         const uint8_t static_key[ISOLA_KEY_SIZE],
                         const struct isola_removals *removals, struct isola_identity *out,
                         struct isola_err *err)
{
    struct isola_slice node_cert = {0}, host_cert = {0};
    struct isola_identity peer = {0};
    struct isola_mp_item head;
    uint8_t host_static[ISOLA_KEY_SIZE];
    struct isola_mp_reader r = isola_mp_reader(chain);
    *out = peer;
    if (chain.len == 0)
        return isola_fail(err, ISOLA_EPERM, "it shows no certificate: it is no node of a cluster");
    if (chain.len > ISOLA_CHAIN_MAX || isola_mp_next(&r, &head) != 0 ||
        head.type != ISOLA_MP_ARRAY || head.n < 1 || head.n > 2 || !read_bin(&r, &node_cert) ||
        (head.n == 2 && !read_bin(&r, &host_cert)) || r.p != r.end)
        return isola_fail(err, ISOLA_EPROTO, "the certificates it shows are malformed");
    int rc = isola_node_certificate_read(cluster_key, node_cert, &peer, err);
    if (rc == 0 && head.n == 2)
        rc = read_host(host_cert, &peer, host_static, err);
    if (rc != 0)
        return rc;
    const char *what = head.n == 2 ? "an actor-host of node" : "node";
    if (sodium_memcmp(head.n == 2 ? host_static : peer.node_static, static_key, ISOLA_KEY_SIZE) !=
        0)
        return isola_fail(
            err, ISOLA_EPERM,
            "it shows the certificate of %s %s, but the key of the channel is another's", what,
            peer.name);
    const struct isola_removal *gone =
        removals != NULL ? isola_removals_find(removals, peer.node_key) : NULL;
    if (gone != NULL) {
        char when[ISOLA_DATE_SIZE];
        return isola_fail(err, ISOLA_EPERM, "it is %s %s, which was removed from the cluster (%s)",
                          what, peer.name, isola_identity_date(gone->removed_ms, when));
    }
    *out = peer;
    return 0;
}

/* --- asking for a certificate --- */

/* Into `room`. An empty slice: a name or an id like these is too long for it. */
static struct isola_slice request(struct isola_slice name, const uint8_t node_key[ISOLA_KEY_SIZE],
                                  const uint8_t static_key[ISOLA_KEY_SIZE],
                                  struct isola_slice token_id, uint8_t room[ISOLA_CHAIN_MAX])
{
    struct isola_buf out = {.data = room, .cap = ISOLA_CHAIN_MAX}; /* it has no need to grow: */
    if (name.len > ISOLA_CHAIN_MAX / 4 || token_id.len > ISOLA_CHAIN_MAX / 4)
        return isola_slice(NULL, 0);
    isola_mp_array(&out, 4);
    isola_mp_bin(&out, token_id);
    isola_mp_str(&out, name);
    isola_mp_bin(&out, isola_slice(node_key, ISOLA_KEY_SIZE));
    isola_mp_bin(&out, isola_slice(static_key, ISOLA_KEY_SIZE));
    return isola_buf_slice(&out);
}

void isola_request_sign(const struct isola_node_keys *keys, const char *name,
                        struct isola_slice token_id, uint8_t out[64])
{
    uint8_t room[ISOLA_CHAIN_MAX];
    struct isola_slice body = request(isola_slice_str(name), keys->sign.public_key,
                                      keys->fixed.public_key, token_id, room);
    ISOLA_CHECK(body.len > 0);
    sign(&keys->sign, of_request, body, out);
}

bool isola_request_ok(const uint8_t node_key[ISOLA_KEY_SIZE],
                      const uint8_t static_key[ISOLA_KEY_SIZE], struct isola_slice name,
                      struct isola_slice token_id, struct isola_slice signature)
{
    uint8_t room[ISOLA_CHAIN_MAX];
    struct isola_slice body = request(name, node_key, static_key, token_id, room);
    return body.len > 0 && signature_ok(node_key, of_request, body, signature);
}

/* --- removed nodes --- */

void isola_removal_sign(const struct isola_sign_keys *cluster, const struct isola_removal *removal,
                        struct isola_buf *out)
{
    struct isola_buf body = {0};
    ISOLA_CHECK(isola_node_name_ok(removal->name, strlen(removal->name)));
    isola_mp_array(&body, 5);
    isola_mp_uint(&body, FORMAT);
    isola_mp_bin(&body, isola_slice(removal->node_key, ISOLA_KEY_SIZE));
    isola_mp_cstr(&body, removal->name);
    isola_mp_uint(&body, removal->serial);
    isola_mp_uint(&body, (uint64_t)removal->removed_ms);
    write_signed(cluster, of_removal, &body, out);
}

void isola_removals_free(struct isola_removals *list)
{
    for (size_t i = 0; i < list->n; i++) {
        isola_buf_free(&list->entries[i]->bytes);
        free(list->entries[i]);
    }
    free(list->entries);
    isola_map_free(&list->by_key);
    *list = (struct isola_removals){0};
}

const struct isola_removal *isola_removals_find(const struct isola_removals *list,
                                                const uint8_t node_key[ISOLA_KEY_SIZE])
{
    const struct isola_removal_entry *e =
        isola_map_get(&list->by_key, isola_slice(node_key, ISOLA_KEY_SIZE));
    return e != NULL ? &e->removal : NULL;
}

int isola_removals_add(struct isola_removals *list, const uint8_t cluster_key[ISOLA_KEY_SIZE],
                       struct isola_slice entry, struct isola_err *err)
{
    struct isola_slice body, signature;
    struct isola_removal e = {0};
    if (entry.len > ISOLA_CHAIN_MAX || !read_signed(entry, &body, &signature))
        return isola_fail(err, ISOLA_EPROTO, "the entry of a removed node is malformed");
    struct isola_mp_reader r = isola_mp_reader(body);
    if (!read_array(&r, 5) || !read_format(&r) ||
        !isola_mp_take_bytes(&r, e.node_key, ISOLA_KEY_SIZE) || !read_name(&r, e.name) ||
        !read_uint(&r, &e.serial) || !read_time(&r, &e.removed_ms) || r.p != r.end)
        return isola_fail(err, ISOLA_EPROTO,
                          "the entry of a removed node is malformed, or of another format than %d",
                          FORMAT);
    if (isola_removals_find(list, e.node_key) != NULL)
        return 0;
    if (!signature_ok(cluster_key, of_removal, body, signature))
        return isola_fail(err, ISOLA_EPERM,
                          "the entry that says node %s was removed is not signed by this cluster",
                          e.name);
    if (list->n >= ISOLA_REMOVALS_MAX)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "%d nodes were removed from this cluster already; more are not kept",
                          ISOLA_REMOVALS_MAX);
    struct isola_removal_entry *kept = isola_zalloc(sizeof(*kept));
    kept->removal = e;
    isola_buf_append(&kept->bytes, entry.data, entry.len);
    ISOLA_CHECK(!kept->bytes.failed);
    list->entries = isola_realloc(list->entries, (list->n + 1) * sizeof(struct isola_removal *));
    list->entries[list->n++] = kept;
    (void)isola_map_set(&list->by_key, isola_slice(e.node_key, ISOLA_KEY_SIZE), kept);
    return 1;
}

void isola_removals_write(const struct isola_removals *list, struct isola_buf *out)
{
    isola_mp_array(out, list->n);
    for (size_t i = 0; i < list->n; i++)
        isola_mp_bin(out, isola_buf_slice(&list->entries[i]->bytes));
}

int isola_removals_read(struct isola_removals *list, const uint8_t cluster_key[ISOLA_KEY_SIZE],
                        struct isola_slice array, struct isola_err *err)
{
    struct isola_mp_reader r = isola_mp_reader(array);
    struct isola_mp_item head;
    struct isola_slice entry;
    int news = 0;
    if (isola_mp_next(&r, &head) != 0 || head.type != ISOLA_MP_ARRAY)
        return isola_fail(err, ISOLA_EPROTO, "the list of removed nodes is malformed");
    for (uint32_t i = 0; i < head.n; i++) {
        if (!read_bin(&r, &entry))
            return isola_fail(err, ISOLA_EPROTO, "the list of removed nodes is malformed");
        int rc = isola_removals_add(list, cluster_key, entry, err);
        if (rc < 0)
            return rc;
        news += rc;
    }
    if (r.p != r.end)
        return isola_fail(err, ISOLA_EPROTO, "the list of removed nodes is malformed");
    return news;
}
