/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/issuer.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "base/nearest.h"
#include "transport/keyfile.h"

#define FORMAT   1
#define FILE_MAX ((size_t)4 << 20)

static const char key_kind[] = "isola cluster key";

struct issued {
    char name[ISOLA_NODE_NAME_MAX + 1];
    uint8_t node_key[ISOLA_KEY_SIZE];
    uint64_t serial;
    bool removed;
    struct isola_buf bytes; /* its certificate; once removed, the signed entry of that */
};

struct kept_token {
    uint8_t id[ISOLA_TOKEN_ID];
    uint8_t hash[32];
    int64_t expires_ms;
    bool used;
    uint8_t used_by[ISOLA_KEY_SIZE];
};

struct isola__issuer {
    struct isola_sign_keys *keys;
    char *path;
    uint64_t serial; /* the last one given out */
    size_t nissued, ntokens;
    struct issued *issued;
    struct kept_token *tokens;
};

/* --- the files --- */

static int save(const struct isola__issuer *is, struct isola_err *err)
{
    struct isola_buf b = {0};
    isola_mp_array(&b, 4);
    isola_mp_uint(&b, FORMAT);
    isola_mp_uint(&b, is->serial);
    isola_mp_array(&b, is->nissued);
    for (size_t i = 0; i < is->nissued; i++) {
        const struct issued *n = &is->issued[i];
        isola_mp_array(&b, 5);
        isola_mp_cstr(&b, n->name);
        isola_mp_bin(&b, isola_slice(n->node_key, ISOLA_KEY_SIZE));
        isola_mp_uint(&b, n->serial);
        isola_mp_bool(&b, n->removed);
        isola_mp_bin(&b, isola_buf_slice(&n->bytes));
    }
    isola_mp_array(&b, is->ntokens);
    for (size_t i = 0; i < is->ntokens; i++) {
        const struct kept_token *t = &is->tokens[i];
        isola_mp_array(&b, 4);
        isola_mp_bin(&b, isola_slice(t->id, sizeof(t->id)));
        isola_mp_bin(&b, isola_slice(t->hash, sizeof(t->hash)));
        isola_mp_uint(&b, (uint64_t)t->expires_ms);
        isola_mp_bin(&b, isola_slice(t->used_by, t->used ? sizeof(t->used_by) : 0));
    }
    ISOLA_CHECK(!b.failed);
    int rc = isola_secret_write(is->path, isola_buf_slice(&b), err);
    isola_buf_free(&b);
    return rc;
}

static bool read_issued(struct isola_mp_reader *r, struct issued *n)
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_ARRAY, &item) || item.n != 5 ||
        !isola_mp_take(r, ISOLA_MP_STR, &item) ||
        !isola_node_name_ok((const char *)item.bytes.data, item.bytes.len))
        return false;
    memcpy(n->name, item.bytes.data, item.bytes.len);
    if (!isola_mp_take_bytes(r, n->node_key, ISOLA_KEY_SIZE) ||
        !isola_mp_take(r, ISOLA_MP_UINT, &item))
        return false;
    n->serial = item.u;
    if (!isola_mp_take(r, ISOLA_MP_BOOL, &item))
        return false;
    n->removed = item.b;
    if (!isola_mp_take(r, ISOLA_MP_BIN, &item))
        return false;
    isola_buf_append(&n->bytes, item.bytes.data, item.bytes.len);
    return true;
}

static bool read_token(struct isola_mp_reader *r, struct kept_token *t)
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_ARRAY, &item) || item.n != 4 ||
        !isola_mp_take_bytes(r, t->id, sizeof(t->id)) ||
        !isola_mp_take_bytes(r, t->hash, sizeof(t->hash)) ||
        !isola_mp_take(r, ISOLA_MP_UINT, &item))
        return false;
    t->expires_ms = (int64_t)item.u;
    if (!isola_mp_take(r, ISOLA_MP_BIN, &item) ||
        (item.bytes.len != 0 && item.bytes.len != sizeof(t->used_by)))
        return false;
    t->used = item.bytes.len > 0;
    if (t->used)
        memcpy(t->used_by, item.bytes.data, sizeof(t->used_by));
    return true;
}

/* A count is at most as high as there are bytes: isola_mp_next has seen to it. */
static bool read_all(struct isola__issuer *is, struct isola_slice bytes)
{
    struct isola_mp_reader r = isola_mp_reader(bytes);
    struct isola_mp_item item;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item) || item.n != 4 ||
        !isola_mp_take(&r, ISOLA_MP_UINT, &item) || item.u != FORMAT ||
        !isola_mp_take(&r, ISOLA_MP_UINT, &item))
        return false;
    is->serial = item.u;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item))
        return false;
    uint32_t n = item.n;
    is->issued = isola_zalloc((n + 1) * sizeof(*is->issued));
    while (is->nissued < n)
        if (!read_issued(&r, &is->issued[is->nissued++]))
            return false;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item))
        return false;
    n = item.n;
    is->tokens = isola_zalloc((n + 1) * sizeof(*is->tokens));
    while (is->ntokens < n)
        if (!read_token(&r, &is->tokens[is->ntokens++]))
            return false;
    return r.p == r.end;
}

static struct isola__issuer *issuer_new(const char *dir)
{
    struct isola__issuer *is = isola_zalloc(sizeof(*is));
    is->keys = isola_secret_alloc(sizeof(*is->keys));
    is->path = isola_format("%s/issuer", dir);
    return is;
}

int isola__issuer_open(const char *dir, struct isola__issuer **out, struct isola_err *err)
{
    struct isola__issuer *is = issuer_new(dir);
    char *path = isola_format("%s/cluster.key", dir);
    uint8_t *data = NULL;
    size_t len = 0;
    int rc = isola_sign_keys_read(
        path, key_kind, "is damaged, or not a cluster's key; put back a copy that is whole",
        is->keys, err);
    free(path);
    if (rc == 0) {
        rc = isola_secret_read(is->path, FILE_MAX, &data, &len, err);
        if (rc == ISOLA_ENOENT)
            rc = isola_fail(err, ISOLA_EIO,
                            "%s is missing beside cluster.key: it says which nodes were let in; "
                            "put it back",
                            is->path);
    }
    if (rc == 0 && !read_all(is, isola_slice(data, len)))
        rc = isola_fail(err, ISOLA_EIO, "%s is damaged; put back a copy that is whole", is->path);
    isola_secret_free(data);
    if (rc != 0) {
        isola__issuer_free(is);
        return rc;
    }
    *out = is;
    return 0;
}

void isola__issuer_free(struct isola__issuer *is)
{
    if (is == NULL)
        return;
    for (size_t i = 0; i < is->nissued; i++)
        isola_buf_free(&is->issued[i].bytes);
    free(is->issued);
    free(is->tokens);
    free(is->path);
    isola_secret_free(is->keys);
    free(is);
}

const uint8_t *isola__issuer_cluster_key(const struct isola__issuer *is)
{
    return is->keys->public_key;
}

/* --- tokens --- */

/* Those that have expired are nobody's any more. */
static void drop_expired(struct isola__issuer *is, int64_t now_ms)
{
    size_t n = 0;
    for (size_t i = 0; i < is->ntokens; i++) {
        if (is->tokens[i].expires_ms > now_ms)
            is->tokens[n++] = is->tokens[i];
    }
    is->ntokens = n;
}

int isola__issuer_token(struct isola__issuer *is, int64_t life_ms, int64_t now_ms,
                        struct isola_token *out, struct isola_err *err)
{
    if (life_ms < ISOLA_TOKEN_MIN_MS || life_ms > ISOLA_TOKEN_MAX_MS)
        return isola_fail(err, ISOLA_EINVAL,
                          "a token is good for a second at the least and for 7 days at the most");
    drop_expired(is, now_ms);
    if (is->ntokens >= ISOLA_TOKENS_MAX)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "there are %d tokens that have not expired; wait until some have",
                          ISOLA_TOKENS_MAX);
    isola_token_fill(out);
    memcpy(out->cluster_key, is->keys->public_key, ISOLA_KEY_SIZE);
    out->expires_ms = now_ms + life_ms;
    is->tokens = isola_realloc(is->tokens, (is->ntokens + 1) * sizeof(*is->tokens));
    struct kept_token *t = &is->tokens[is->ntokens];
    *t = (struct kept_token){.expires_ms = out->expires_ms};
    memcpy(t->id, out->id, sizeof(t->id));
    isola_token_hash(out->secret, t->hash);
    is->ntokens++;
    int rc = save(is, err);
    if (rc != 0) {
        is->ntokens--;
        sodium_memzero(out, sizeof(*out));
    }
    return rc;
}

/* --- letting in --- */

static struct issued *issued_by_key(const struct isola__issuer *is, const uint8_t *key)
{
    for (size_t i = 0; i < is->nissued; i++) {
        if (memcmp(is->issued[i].node_key, key, ISOLA_KEY_SIZE) == 0)
            return &is->issued[i];
    }
    return NULL;
}

static struct issued *issued_by_name(const struct isola__issuer *is, struct isola_slice name)
{
    for (size_t i = 0; i < is->nissued; i++) {
        if (!is->issued[i].removed && isola_slice_is(name, is->issued[i].name))
            return &is->issued[i];
    }
    return NULL;
}

static size_t members(const struct isola__issuer *is)
{
    size_t n = 0;
    for (size_t i = 0; i < is->nissued; i++)
        n += !is->issued[i].removed;
    return n;
}

/* Signs, and notes it; not saved yet. */
static struct issued *issue(struct isola__issuer *is, struct isola_slice name,
                            const uint8_t *node_key, const uint8_t *static_key, int64_t now_ms)
{
    struct isola_identity id = {.serial = ++is->serial, .issued_ms = now_ms};
    memcpy(id.name, name.data, name.len);
    memcpy(id.node_key, node_key, ISOLA_KEY_SIZE);
    memcpy(id.node_static, static_key, ISOLA_KEY_SIZE);
    is->issued = isola_realloc(is->issued, (is->nissued + 1) * sizeof(*is->issued));
    struct issued *n = &is->issued[is->nissued++];
    *n = (struct issued){.serial = id.serial};
    memcpy(n->name, id.name, sizeof(n->name));
    memcpy(n->node_key, node_key, ISOLA_KEY_SIZE);
    isola_node_certify(is->keys, &id, &n->bytes);
    return n;
}

static int find_token(struct isola__issuer *is, const struct isola__request *q, int64_t now_ms,
                      struct kept_token **out, struct isola_err *err)
{
    uint8_t hash[32];
    struct kept_token *t = NULL;
    for (size_t i = 0; i < is->ntokens && t == NULL; i++) {
        if (memcmp(is->tokens[i].id, q->token_id.data, ISOLA_TOKEN_ID) == 0)
            t = &is->tokens[i];
    }
    isola_token_hash(q->secret.data, hash);
    if (t == NULL || sodium_memcmp(hash, t->hash, sizeof(hash)) != 0)
        return isola_fail(err, ISOLA_EPERM,
                          "the token is not known here, or has expired long ago; `ctl token` "
                          "makes another");
    if (t->expires_ms <= now_ms)
        return isola_fail(err, ISOLA_EPERM, "the token has expired; `ctl token` makes another");
    if (t->used && memcmp(t->used_by, q->node_key.data, ISOLA_KEY_SIZE) != 0) {
        const struct issued *by = issued_by_key(is, t->used_by);
        return isola_fail(err, ISOLA_EPERM,
                          "the token is used up: node %s joined with it; `ctl token` makes another",
                          by != NULL ? by->name : "?");
    }
    *out = t;
    return 0;
}

static int check_request(const struct isola__request *q, struct isola_err *err)
{
    if (q->token_id.len != ISOLA_TOKEN_ID || q->secret.len != ISOLA_TOKEN_SECRET ||
        q->node_key.len != ISOLA_KEY_SIZE || q->static_key.len != ISOLA_KEY_SIZE ||
        !isola_node_name_ok((const char *)q->name.data, q->name.len))
        return isola_fail(err, ISOLA_EINVAL, "the request for a certificate is malformed");
    if (!isola_request_ok(q->node_key.data, q->static_key.data, q->name, q->token_id, q->signature))
        return isola_fail(err, ISOLA_EPERM,
                          "the request for a certificate is not signed by the key it names");
    return 0;
}

static int check_taken(const struct isola__issuer *is, const struct isola__request *q,
                       struct issued **known, struct isola_err *err)
{
    struct issued *by_key = issued_by_key(is, q->node_key.data);
    const struct issued *by_name = issued_by_name(is, q->name);
    if (by_key != NULL && by_key->removed)
        return isola_fail(err, ISOLA_EPERM,
                          "this node was a member, named %s, and was removed; to join again it "
                          "needs a data directory of its own anew (--data), or its old one without "
                          "the folder cluster",
                          by_key->name);
    if (by_key != NULL && !isola_slice_is(q->name, by_key->name))
        return isola_fail(err, ISOLA_EEXIST,
                          "this node is a member already, named %s; start it with --name %s",
                          by_key->name, by_key->name);
    if (by_key == NULL && by_name != NULL)
        return isola_fail(err, ISOLA_EEXIST,
                          "a node named %s is in this cluster already; choose another with --name, "
                          "or, if that one is gone for good, `ctl remove %s` first",
                          by_name->name, by_name->name);
    if (by_key == NULL && members(is) >= ISOLA_ISSUED_MAX)
        return isola_fail(err, ISOLA_EOVERLOAD, "this cluster has %d nodes already",
                          ISOLA_ISSUED_MAX);
    *known = by_key;
    return 0;
}

int isola__issuer_certify(struct isola__issuer *is, const struct isola__request *q, int64_t now_ms,
                          struct isola_buf *cert, struct isola_err *err)
{
    struct kept_token *token = NULL;
    struct issued *n = NULL;
    int rc = check_request(q, err);
    if (rc == 0)
        rc = find_token(is, q, now_ms, &token, err);
    if (rc == 0)
        rc = check_taken(is, q, &n, err);
    if (rc != 0)
        return rc;
    bool was_used = token->used, is_new = n == NULL;
    uint64_t serial = is->serial;
    token->used = true;
    memcpy(token->used_by, q->node_key.data, ISOLA_KEY_SIZE);
    if (is_new)
        n = issue(is, q->name, q->node_key.data, q->static_key.data, now_ms);
    if ((is_new || !was_used) && (rc = save(is, err)) != 0) {
        token->used = was_used;
        if (is_new) {
            isola_buf_free(&n->bytes);
            is->nissued--;
            is->serial = serial;
        }
        return rc;
    }
    isola_buf_append(cert, n->bytes.data, n->bytes.len);
    return 0;
}

int isola__issuer_new(const char *dir, const char *name, const struct isola_node_keys *keys,
                      int64_t now_ms, struct isola__issuer **out, struct isola_buf *cert,
                      struct isola_err *err)
{
    struct isola__issuer *is = issuer_new(dir);
    isola_sign_keys_new(is->keys);
    char *path = isola_format("%s/cluster.key", dir);
    const struct issued *n =
        issue(is, isola_slice_str(name), keys->sign.public_key, keys->fixed.public_key, now_ms);
    int rc = save(is, err);
    if (rc == 0)
        rc = isola_sign_keys_write(path, key_kind, is->keys, err);
    free(path);
    if (rc != 0) {
        isola__issuer_free(is);
        return rc;
    }
    isola_buf_append(cert, n->bytes.data, n->bytes.len);
    *out = is;
    return 0;
}

/* --- putting out --- */

static int fail_unknown(const struct isola__issuer *is, const char *name, struct isola_err *err)
{
    char hint[ISOLA_NEAREST_HINT];
    struct isola_nearest near = isola_nearest_begin(isola_slice_str(name));
    for (size_t i = 0; i < is->nissued; i++)
        if (!is->issued[i].removed)
            isola_nearest_try(&near, isola_slice_str(is->issued[i].name));
    return isola_fail(err, ISOLA_ENOENT, "no node named %.64s is in this cluster%s", name,
                      isola_nearest_hint(&near, hint));
}

int isola__issuer_remove(struct isola__issuer *is, const char *name, int64_t now_ms,
                         struct isola_buf *entry, struct isola_err *err)
{
    struct issued *n = issued_by_name(is, isola_slice_str(name));
    struct isola_removal r = {.removed_ms = now_ms};
    for (size_t i = is->nissued; n == NULL && i > 0; i--) {
        if (strcmp(is->issued[i - 1].name, name) == 0)
            n = &is->issued[i - 1];
    }
    if (n == NULL)
        return fail_unknown(is, name, err);
    if (!n->removed) {
        struct isola_buf cert = n->bytes;
        memcpy(r.node_key, n->node_key, ISOLA_KEY_SIZE);
        memcpy(r.name, n->name, sizeof(r.name));
        r.serial = n->serial;
        n->bytes = (struct isola_buf){0};
        n->removed = true;
        isola_removal_sign(is->keys, &r, &n->bytes);
        int rc = save(is, err);
        if (rc != 0) {
            isola_buf_free(&n->bytes);
            n->bytes = cert;
            n->removed = false;
            return rc;
        }
        isola_buf_free(&cert);
    }
    isola_buf_append(entry, n->bytes.data, n->bytes.len);
    return 0;
}

int isola__issuer_removals(const struct isola__issuer *is, struct isola_removals *list,
                           struct isola_err *err)
{
    for (size_t i = 0; i < is->nissued; i++) {
        const struct issued *n = &is->issued[i];
        int rc = n->removed ? isola_removals_add(list, is->keys->public_key,
                                                 isola_buf_slice(&n->bytes), err)
                            : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

void isola__issuer_trust(const struct isola__issuer *is, const struct isola_trust *trust,
                         struct isola_buf *out)
{
    isola_trust_write(trust, is->keys, out);
}
