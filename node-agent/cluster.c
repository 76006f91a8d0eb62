/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/cluster.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "transport/keyfile.h"

#define FORMAT   1
#define FILE_MAX ((size_t)4 << 20)
#define KEY_MAX  256

static const char key_kind[] = "isola node key";

/* --- reading and writing --- */

static char *file(const struct isola__cluster *c, const char *name)
{
    return isola_format("%s/%s", c->dir, name);
}

/* A missing file is no failure: *data is NULL then. */
static int read_file(const struct isola__cluster *c, const char *name, uint8_t **data, size_t *len,
                     struct isola_err *err)
{
    char *path = file(c, name);
    *data = NULL;
    *len = 0;
    int rc = isola_secret_read(path, FILE_MAX, data, len, err);
    free(path);
    return rc == ISOLA_ENOENT ? 0 : rc;
}

static int write_file(const struct isola__cluster *c, const char *name, struct isola_slice content,
                      struct isola_err *err)
{
    char *path = file(c, name);
    int rc = isola_secret_write(path, content, err);
    free(path);
    return rc;
}

static int damaged(const struct isola__cluster *c, const char *name, struct isola_err *err)
{
    return isola_fail(err, ISOLA_EIO, "%s/%s is damaged; put back a copy that is whole", c->dir,
                      name);
}

static bool next_format(struct isola_mp_reader *r, uint32_t fields)
{
    struct isola_mp_item item;
    return isola_mp_take(r, ISOLA_MP_ARRAY, &item) && item.n == fields &&
           isola_mp_take(r, ISOLA_MP_UINT, &item) && item.u == FORMAT;
}

/* --- the node's keys --- */

static int read_keys(struct isola__cluster *c, struct isola_err *err)
{
    uint8_t *data, seed[ISOLA_KEY_SIZE], secret[ISOLA_KEY_SIZE];
    size_t len;
    struct isola_mp_item item;
    int rc = read_file(c, "node.key", &data, &len, err);
    if (rc != 0 || data == NULL)
        return rc;
    struct isola_mp_reader r = isola_mp_reader(isola_slice(data, len));
    if (next_format(&r, 4) && isola_mp_take(&r, ISOLA_MP_STR, &item) &&
        isola_slice_is(item.bytes, key_kind) && isola_mp_take_bytes(&r, seed, sizeof(seed)) &&
        isola_mp_take_bytes(&r, secret, sizeof(secret)) && r.p == r.end) {
        c->keys = isola_secret_alloc(sizeof(*c->keys));
        isola_sign_keys_from(seed, &c->keys->sign);
        isola_static_keys_from(secret, &c->keys->fixed);
    } else {
        rc = damaged(c, "node.key", err);
    }
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(secret, sizeof(secret));
    isola_secret_free(data);
    return rc;
}

static int write_keys(const struct isola__cluster *c, const struct isola_node_keys *keys,
                      struct isola_err *err)
{
    struct isola_buf b = {0};
    uint8_t seed[ISOLA_KEY_SIZE];
    ISOLA_CHECK(isola_buf_grow(&b, KEY_MAX)); /* once: no copies left behind */
    crypto_sign_ed25519_sk_to_seed(seed, keys->sign.secret_key);
    isola_mp_array(&b, 4);
    isola_mp_uint(&b, FORMAT);
    isola_mp_cstr(&b, key_kind);
    isola_mp_bin(&b, isola_slice(seed, sizeof(seed)));
    isola_mp_bin(&b, isola_slice(keys->fixed.secret_key, ISOLA_KEY_SIZE));
    int rc = write_file(c, "node.key", isola_buf_slice(&b), err);
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(b.data, b.cap);
    isola_buf_free(&b);
    return rc;
}

int isola__cluster_make_keys(struct isola__cluster *c, struct isola_err *err)
{
    if (c->keys != NULL)
        return 0;
    int rc = isola_secret_dir(c->dir, err);
    if (rc != 0)
        return rc;
    struct isola_node_keys *keys = isola_secret_alloc(sizeof(*keys));
    isola_sign_keys_new(&keys->sign);
    isola_static_keys_new(&keys->fixed);
    rc = write_keys(c, keys, err);
    if (rc == 0)
        c->keys = keys;
    else
        isola_secret_free(keys);
    return rc;
}

/* --- who may deploy --- */

/* Takes what both hold. */
static void adopt_trust(struct isola__cluster *c, struct isola_trust *trust, struct isola_buf *list)
{
    isola_trust_free(&c->trust);
    isola_buf_free(&c->trust_list);
    c->trust = *trust;
    c->trust_list = *list;
    *trust = (struct isola_trust){0};
    *list = (struct isola_buf){0};
}

int isola__cluster_trust(struct isola__cluster *c, const struct isola_trust *trust,
                         struct isola_err *err)
{
    struct isola_trust copy = {.revision = trust->revision};
    struct isola_buf list = {0};
    int rc = isola_secret_dir(c->dir, err);
    if (rc != 0)
        return rc;
    if (c->issuer != NULL)
        isola__issuer_trust(c->issuer, trust, &list);
    else
        isola_trust_write(trust, NULL, &list);
    rc = write_file(c, "trust", isola_buf_slice(&list), err);
    for (size_t i = 0; rc == 0 && i < trust->n; i++)
        isola_trust_add(&copy, &trust->list[i]);
    if (rc == 0)
        adopt_trust(c, &copy, &list);
    isola_buf_free(&list);
    return rc;
}

int isola__cluster_take_trust(struct isola__cluster *c, struct isola_slice list,
                              struct isola_err *err)
{
    struct isola_trust trust;
    struct isola_buf copy = {0};
    int rc = isola_trust_read(list, c->key, &trust, err);
    if (rc != 0)
        return rc;
    if (trust.revision <= c->trust.revision) {
        isola_trust_free(&trust);
        return 0;
    }
    /* It holds whether it can be kept or not. */
    if (write_file(c, "trust", list, err) != 0)
        isola_log(ISOLA_LOG_ERROR, "who may deploy could not be kept: %s", err->text);
    isola_buf_append(&copy, list.data, list.len);
    ISOLA_CHECK(!copy.failed);
    adopt_trust(c, &trust, &copy);
    return 1;
}

/* In a cluster, one that is not signed is from the time before: where the cluster's key is, it goes
 * on and is signed; elsewhere that of the cluster holds. */
static int join_trust(struct isola__cluster *c, struct isola_err *err)
{
    if (c->issuer != NULL && c->trust.n > 0) {
        c->trust.revision++;
        return isola__cluster_trust(c, &c->trust, err);
    }
    isola_trust_free(&c->trust);
    isola_buf_free(&c->trust_list);
    return 0;
}

static int read_trust(struct isola__cluster *c, struct isola_err *err)
{
    uint8_t *data;
    size_t len;
    int rc = read_file(c, "trust", &data, &len, err);
    if (rc != 0 || data == NULL)
        return rc;
    struct isola_slice list = isola_slice(data, len);
    struct isola_err why;
    if (isola_trust_read(list, c->member ? c->key : NULL, &c->trust, &why) == 0)
        isola_buf_append(&c->trust_list, data, len);
    else if (c->member && isola_trust_read(list, NULL, &c->trust, &why) == 0)
        rc = join_trust(c, err);
    else
        rc = damaged(c, "trust", err);
    isola_secret_free(data);
    return rc;
}

/* --- membership --- */

/* Believes that this node is a member by this certificate. */
static int adopt(struct isola__cluster *c, const uint8_t key[ISOLA_KEY_SIZE],
                 struct isola_slice name, struct isola_slice cert, struct isola_err *err)
{
    struct isola_identity own;
    if (!isola_node_name_ok((const char *)name.data, name.len))
        return isola_fail(err, ISOLA_EPROTO, "the cluster's name is none");
    int rc = isola_node_certificate_read(key, cert, &own, err);
    if (rc != 0)
        return rc;
    if (memcmp(own.node_key, c->keys->sign.public_key, ISOLA_KEY_SIZE) != 0 ||
        memcmp(own.node_static, c->keys->fixed.public_key, ISOLA_KEY_SIZE) != 0)
        return isola_fail(err, ISOLA_EPROTO,
                          "the certificate of node %s is for other keys than "
                          "this node has",
                          own.name);
    c->own = own;
    memcpy(c->key, key, ISOLA_KEY_SIZE);
    isola_cluster_id(key, c->id);
    memcpy(c->name, name.data, name.len);
    c->name[name.len] = '\0';
    isola_buf_append(&c->cert, cert.data, cert.len);
    isola_chain_write(isola_buf_slice(&c->cert), isola_slice(NULL, 0), &c->chain);
    ISOLA_CHECK(!c->cert.failed && !c->chain.failed);
    c->member = true;
    return 0;
}

static int read_member(struct isola__cluster *c, struct isola_err *err)
{
    uint8_t *data, key[ISOLA_KEY_SIZE];
    size_t len;
    struct isola_mp_item name, cert;
    int rc = read_file(c, "member", &data, &len, err);
    if (rc != 0 || data == NULL)
        return rc;
    struct isola_mp_reader r = isola_mp_reader(isola_slice(data, len));
    if (!next_format(&r, 4) || !isola_mp_take_bytes(&r, key, sizeof(key)) ||
        !isola_mp_take(&r, ISOLA_MP_STR, &name) || !isola_mp_take(&r, ISOLA_MP_BIN, &cert) ||
        r.p != r.end)
        rc = damaged(c, "member", err);
    else if (c->keys == NULL)
        rc = isola_fail(err, ISOLA_EIO,
                        "%s/node.key is missing beside the file member; put it back", c->dir);
    else if (adopt(c, key, name.bytes, cert.bytes, err) != 0)
        rc = damaged(c, "member", err);
    isola_secret_free(data);
    return rc;
}

static int write_member(const struct isola__cluster *c, const uint8_t key[ISOLA_KEY_SIZE],
                        struct isola_slice name, struct isola_slice cert, struct isola_err *err)
{
    struct isola_buf b = {0};
    isola_mp_array(&b, 4);
    isola_mp_uint(&b, FORMAT);
    isola_mp_bin(&b, isola_slice(key, ISOLA_KEY_SIZE));
    isola_mp_str(&b, name);
    isola_mp_bin(&b, cert);
    ISOLA_CHECK(!b.failed);
    int rc = write_file(c, "member", isola_buf_slice(&b), err);
    isola_buf_free(&b);
    return rc;
}

int isola__cluster_enter(struct isola__cluster *c, const uint8_t key[ISOLA_KEY_SIZE],
                         struct isola_slice name, struct isola_slice cert, struct isola_err *err)
{
    ISOLA_CHECK(!c->member && c->keys != NULL);
    int rc = adopt(c, key, name, cert, err);
    if (rc == 0 && (rc = write_member(c, key, name, cert, err)) != 0) {
        c->member = false;
        isola_buf_free(&c->cert);
        isola_buf_free(&c->chain);
    }
    struct isola_err why;
    if (rc == 0 && join_trust(c, &why) != 0) /* again at the next start */
        isola_log(ISOLA_LOG_ERROR, "who may deploy could not be signed: %s", why.text);
    return rc;
}

int isola__cluster_found(struct isola__cluster *c, const char *name, const char *node,
                         struct isola_err *err)
{
    struct isola_buf cert = {0};
    if (c->member)
        return isola_fail(err, ISOLA_EEXIST, "this node is in a cluster already: %s (%s), as %s",
                          c->name, c->id, c->own.name);
    int rc = isola__cluster_make_keys(c, err);
    if (rc == 0)
        rc =
            isola__issuer_new(c->dir, node, c->keys, isola_clock_wall_ms(), &c->issuer, &cert, err);
    if (rc == 0)
        rc = isola__cluster_enter(c, isola__issuer_cluster_key(c->issuer), isola_slice_str(name),
                                  isola_buf_slice(&cert), err);
    if (rc != 0) {
        isola__issuer_free(c->issuer);
        c->issuer = NULL;
    }
    isola_buf_free(&cert);
    return rc;
}

/* --- removed nodes --- */

static void keep_removed(const struct isola__cluster *c)
{
    struct isola_buf b = {0};
    struct isola_err err;
    isola_removals_write(&c->removals, &b);
    if (b.failed || write_file(c, "removed", isola_buf_slice(&b), &err) != 0)
        isola_log(ISOLA_LOG_ERROR, "the list of removed nodes could not be kept: %s",
                  b.failed ? "out of memory" : err.text);
    isola_buf_free(&b);
}

int isola__cluster_learn(struct isola__cluster *c, struct isola_slice entries,
                         struct isola_err *err)
{
    size_t before = c->removals.n;
    int rc = isola_removals_read(&c->removals, c->key, entries, err);
    if (c->removals.n > before)
        keep_removed(c);
    return rc < 0 ? rc : (int)(c->removals.n - before);
}

static int read_removed(struct isola__cluster *c, struct isola_err *err)
{
    uint8_t *data;
    size_t len;
    int rc = read_file(c, "removed", &data, &len, err);
    if (rc == 0 && data != NULL &&
        isola_removals_read(&c->removals, c->key, isola_slice(data, len), err) < 0)
        rc = damaged(c, "removed", err);
    isola_secret_free(data);
    return rc;
}

const struct isola_removal *isola__cluster_removed(const struct isola__cluster *c)
{
    return c->member ? isola_removals_find(&c->removals, c->own.node_key) : NULL;
}

/* --- peers --- */

void isola__cluster_keep_peers(struct isola__cluster *c, struct isola_buf *peers)
{
    struct isola_err err;
    if (isola_slice_eq(isola_buf_slice(peers), isola_buf_slice(&c->peers))) {
        isola_buf_free(peers);
        return;
    }
    if (peers->failed || write_file(c, "peers", isola_buf_slice(peers), &err) != 0) {
        isola_log(ISOLA_LOG_ERROR, "which nodes there are could not be kept: %s",
                  peers->failed ? "out of memory" : err.text);
        isola_buf_free(peers);
        return;
    }
    isola_buf_free(&c->peers);
    c->peers = *peers;
    *peers = (struct isola_buf){0};
}

static int read_peers(struct isola__cluster *c, struct isola_err *err)
{
    uint8_t *data;
    size_t len;
    int rc = read_file(c, "peers", &data, &len, err);
    if (rc == 0 && data != NULL)
        isola_buf_append(&c->peers, data, len);
    isola_secret_free(data);
    return rc;
}

/* --- the whole --- */

static int read_issuer(struct isola__cluster *c, struct isola_err *err)
{
    int rc = isola__issuer_open(c->dir, &c->issuer, err);
    if (rc == ISOLA_ENOENT)
        return 0;
    if (rc == 0 && memcmp(isola__issuer_cluster_key(c->issuer), c->key, ISOLA_KEY_SIZE) != 0)
        rc = isola_fail(err, ISOLA_EPERM,
                        "%s/cluster.key is the key of another cluster than %s (%s), in which this "
                        "node is; take it away",
                        c->dir, c->name, c->id);
    return rc == 0 ? isola__issuer_removals(c->issuer, &c->removals, err) : rc;
}

int isola__cluster_open(struct isola__cluster *c, const char *data, struct isola_err *err)
{
    struct stat st;
    *c = (struct isola__cluster){.dir = isola_format("%s/cluster", data)};
    if (lstat(c->dir, &st) != 0 && errno == ENOENT)
        return 0; /* alone */
    int rc = isola_secret_dir(c->dir, err);
    if (rc == 0)
        rc = read_keys(c, err);
    if (rc == 0)
        rc = read_member(c, err);
    if (rc == 0 && !c->member)
        return read_trust(c, err);
    if (rc == 0)
        rc = read_removed(c, err);
    if (rc == 0)
        rc = read_issuer(c, err);
    if (rc == 0)
        rc = read_trust(c, err);
    return rc == 0 ? read_peers(c, err) : rc;
}

void isola__cluster_free(struct isola__cluster *c)
{
    isola_secret_free(c->keys);
    isola__issuer_free(c->issuer);
    isola_buf_free(&c->cert);
    isola_buf_free(&c->chain);
    isola_buf_free(&c->peers);
    isola_removals_free(&c->removals);
    isola_trust_free(&c->trust);
    isola_buf_free(&c->trust_list);
    free(c->dir);
    *c = (struct isola__cluster){0};
}
