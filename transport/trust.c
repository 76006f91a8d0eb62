/* SPDX-License-Identifier: Apache-2.0
 *
 * What is signed is a hash, of a prefix that says what it is, a zero byte, and the thing itself: a
 * list may be longer than what certificates are signed in.
 */
#include "transport/trust.h"

#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"

#define FORMAT    1
#define SIGNATURE 64u
#define CHECK     4u

static const char of_list[] = "isola deployers 1";
static const char of_release[] = "isola release 1";
static const char of_key[] = "isola_key_";

void isola_trust_free(struct isola_trust *trust)
{
    free(trust->list);
    *trust = (struct isola_trust){0};
}

void isola_trust_add(struct isola_trust *trust, const struct isola_trusted *who)
{
    trust->list = isola_realloc(trust->list, (trust->n + 1) * sizeof(*trust->list));
    trust->list[trust->n++] = *who;
}

bool isola_trust_has(const struct isola_trust *trust, const struct isola_trusted *who)
{
    for (size_t i = 0; i < trust->n; i++) {
        const struct isola_trusted *t = &trust->list[i];
        if (strcmp(t->name, who->name) == 0 && strcmp(t->app, who->app) == 0 &&
            memcmp(t->key, who->key, ISOLA_KEY_SIZE) == 0)
            return true;
    }
    return false;
}

bool isola_trust_allows(const struct isola_trust *trust, const uint8_t key[ISOLA_KEY_SIZE],
                        const char *app)
{
    for (size_t i = 0; i < trust->n; i++) {
        const struct isola_trusted *t = &trust->list[i];
        if (memcmp(t->key, key, ISOLA_KEY_SIZE) == 0 &&
            (t->app[0] == '\0' || strcmp(t->app, app) == 0))
            return true;
    }
    return false;
}

static void hash_list(struct isola_slice body, uint8_t out[ISOLA_RELEASE_HASH])
{
    crypto_generichash_state h;
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_generichash_init(&h, NULL, 0, ISOLA_RELEASE_HASH);
    crypto_generichash_update(&h, (const uint8_t *)of_list, sizeof(of_list));
    crypto_generichash_update(&h, body.data, body.len);
    crypto_generichash_final(&h, out, ISOLA_RELEASE_HASH);
}

/* --- the document: [body (bin), signature (bin 64, or empty)] --- */

void isola_trust_write(const struct isola_trust *trust, const struct isola_sign_keys *cluster,
                       struct isola_buf *out)
{
    struct isola_buf body = {0};
    uint8_t hash[ISOLA_RELEASE_HASH], signature[SIGNATURE];
    isola_mp_array(&body, 3);
    isola_mp_uint(&body, FORMAT);
    isola_mp_uint(&body, trust->revision);
    isola_mp_array(&body, trust->n);
    for (size_t i = 0; i < trust->n; i++) {
        isola_mp_array(&body, 3);
        isola_mp_cstr(&body, trust->list[i].name);
        isola_mp_bin(&body, isola_slice(trust->list[i].key, ISOLA_KEY_SIZE));
        isola_mp_cstr(&body, trust->list[i].app);
    }
    ISOLA_CHECK(!body.failed);
    hash_list(isola_buf_slice(&body), hash);
    if (cluster != NULL)
        crypto_sign_ed25519_detached(signature, NULL, hash, sizeof(hash), cluster->secret_key);
    isola_mp_array(out, 2);
    isola_mp_bin(out, isola_buf_slice(&body));
    isola_mp_bin(out, isola_slice(signature, cluster != NULL ? SIGNATURE : 0));
    isola_buf_free(&body);
}

static bool read_text(struct isola_mp_reader *r, char *out, size_t max)
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_STR, &item) || item.bytes.len > max ||
        (item.bytes.len > 0 && memchr(item.bytes.data, 0, item.bytes.len) != NULL))
        return false;
    memcpy(out, item.bytes.data, item.bytes.len);
    out[item.bytes.len] = '\0';
    return true;
}

static bool read_body(struct isola_slice body, struct isola_trust *out)
{
    struct isola_mp_reader r = isola_mp_reader(body);
    struct isola_mp_item item;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item) || item.n != 3 ||
        !isola_mp_take(&r, ISOLA_MP_UINT, &item) || item.u != FORMAT ||
        !isola_mp_take(&r, ISOLA_MP_UINT, &item) || item.u > INT64_MAX)
        return false;
    out->revision = item.u;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item) || item.n > ISOLA_TRUSTED_MAX)
        return false;
    for (uint32_t i = 0, n = item.n; i < n; i++) {
        struct isola_trusted who = {0};
        if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item) || item.n != 3 ||
            !read_text(&r, who.name, ISOLA_NODE_NAME_MAX) ||
            !isola_node_name_ok(who.name, strlen(who.name)) ||
            !isola_mp_take_bytes(&r, who.key, sizeof(who.key)) ||
            !read_text(&r, who.app, ISOLA_TRUST_APP_MAX))
            return false;
        isola_trust_add(out, &who);
    }
    return r.p == r.end;
}

int isola_trust_read(struct isola_slice bytes, const uint8_t *cluster_key, struct isola_trust *out,
                     struct isola_err *err)
{
    struct isola_mp_reader r = isola_mp_reader(bytes);
    struct isola_mp_item item, body, signature;
    uint8_t hash[ISOLA_RELEASE_HASH];
    *out = (struct isola_trust){0};
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item) || item.n != 2 ||
        !isola_mp_take(&r, ISOLA_MP_BIN, &body) || !isola_mp_take(&r, ISOLA_MP_BIN, &signature) ||
        r.p != r.end)
        return isola_fail(err, ISOLA_EPROTO, "the list of who may deploy is malformed");
    if (cluster_key != NULL) {
        hash_list(body.bytes, hash);
        if (signature.bytes.len != SIGNATURE ||
            crypto_sign_ed25519_verify_detached(signature.bytes.data, hash, sizeof(hash),
                                                cluster_key) != 0)
            return isola_fail(err, ISOLA_EPERM,
                              "the list of who may deploy is not signed by the cluster");
    } else if (signature.bytes.len != 0) {
        return isola_fail(err, ISOLA_EPERM,
                          "the list of who may deploy is of a cluster that this node is not in");
    }
    if (read_body(body.bytes, out))
        return 0;
    isola_trust_free(out);
    return isola_fail(err, ISOLA_EPROTO, "the list of who may deploy is malformed");
}

/* --- keys as text --- */

static void checksum(const uint8_t key[ISOLA_KEY_SIZE], uint8_t out[CHECK])
{
    uint8_t hash[16];
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_generichash(hash, sizeof(hash), key, ISOLA_KEY_SIZE, NULL, 0);
    memcpy(out, hash, CHECK);
}

void isola_deployer_write(const uint8_t key[ISOLA_KEY_SIZE], char out[ISOLA_DEPLOYER_TEXT])
{
    uint8_t whole[ISOLA_KEY_SIZE + CHECK];
    size_t n = sizeof(of_key) - 1;
    memcpy(whole, key, ISOLA_KEY_SIZE);
    checksum(key, whole + ISOLA_KEY_SIZE);
    memcpy(out, of_key, n);
    sodium_bin2base64(out + n, ISOLA_DEPLOYER_TEXT - n, whole, sizeof(whole),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int isola_deployer_read(struct isola_slice text, uint8_t key[ISOLA_KEY_SIZE], struct isola_err *err)
{
    uint8_t whole[ISOLA_KEY_SIZE + CHECK], check[CHECK];
    size_t n = sizeof(of_key) - 1, len = 0;
    const char *end = NULL;
    while (text.len > 0 && strchr(" \r\n\t", text.data[text.len - 1]) != NULL)
        text.len--;
    if (text.len < n || memcmp(text.data, of_key, n) != 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "\"%.*s\" is not the key of a deployer, which begins with %s; `ctl trust "
                          "init` prints one's own",
                          ISOLA_FMT(isola_slice_cut(text, 60)), of_key);
    const char *coded = (const char *)text.data + n;
    if (sodium_base642bin(whole, sizeof(whole), coded, text.len - n, NULL, &len, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        end != (const char *)text.data + text.len || len != sizeof(whole))
        return isola_fail(err, ISOLA_EINVAL, "the key is not whole: it has %s and 48 characters",
                          of_key);
    checksum(whole, check);
    if (memcmp(check, whole + ISOLA_KEY_SIZE, CHECK) != 0)
        return isola_fail(err, ISOLA_EINVAL, "the key is mistyped: its checksum is wrong");
    memcpy(key, whole, ISOLA_KEY_SIZE);
    return 0;
}

/* --- releases --- */

static void hash_release(const char *app, const uint8_t hash[ISOLA_RELEASE_HASH],
                         uint8_t out[ISOLA_RELEASE_HASH])
{
    crypto_generichash_state h;
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_generichash_init(&h, NULL, 0, ISOLA_RELEASE_HASH);
    crypto_generichash_update(&h, (const uint8_t *)of_release, sizeof(of_release));
    crypto_generichash_update(&h, (const uint8_t *)app, strlen(app) + 1);
    crypto_generichash_update(&h, hash, ISOLA_RELEASE_HASH);
    crypto_generichash_final(&h, out, ISOLA_RELEASE_HASH);
}

void isola_deployer_sign(const struct isola_sign_keys *keys, const char *app,
                         const uint8_t hash[ISOLA_RELEASE_HASH], uint8_t out[ISOLA_RELEASE_SIGNED])
{
    uint8_t whole[ISOLA_RELEASE_HASH];
    hash_release(app, hash, whole);
    memcpy(out, keys->public_key, ISOLA_KEY_SIZE);
    crypto_sign_ed25519_detached(out + ISOLA_KEY_SIZE, NULL, whole, sizeof(whole),
                                 keys->secret_key);
}

bool isola_deployer_signed(const uint8_t signature[ISOLA_RELEASE_SIGNED], const char *app,
                           const uint8_t hash[ISOLA_RELEASE_HASH])
{
    uint8_t whole[ISOLA_RELEASE_HASH];
    hash_release(app, hash, whole);
    return crypto_sign_ed25519_verify_detached(signature + ISOLA_KEY_SIZE, whole, sizeof(whole),
                                               signature) == 0;
}
