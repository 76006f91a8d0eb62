/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/token.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"

#define FORMAT   1
#define CHECKSUM 4
#define BASE64   sodium_base64_VARIANT_URLSAFE_NO_PADDING

static const char prefix[] = "isola_";

static void checksum(struct isola_slice body, uint8_t out[CHECKSUM])
{
    uint8_t digest[crypto_generichash_BYTES_MIN];
    crypto_generichash(digest, sizeof(digest), body.data, body.len, NULL, 0);
    memcpy(out, digest, CHECKSUM);
}

void isola_token_fill(struct isola_token *out)
{
    ISOLA_CHECK(sodium_init() >= 0);
    randombytes_buf(out->id, sizeof(out->id));
    randombytes_buf(out->secret, sizeof(out->secret));
}

void isola_token_hash(const uint8_t secret[ISOLA_TOKEN_SECRET], uint8_t out[32])
{
    crypto_generichash(out, 32, secret, ISOLA_TOKEN_SECRET, NULL, 0);
}

static void wipe(struct isola_buf *b)
{
    if (b->data != NULL)
        sodium_memzero(b->data, b->cap);
    isola_buf_free(b);
}

void isola_token_write(const struct isola_token *token, struct isola_buf *out)
{
    struct isola_buf body = {0};
    uint8_t sum[CHECKSUM];
    ISOLA_CHECK(token->naddresses > 0 && token->naddresses <= ISOLA_TOKEN_ADDRESSES);
    (void)isola_buf_grow(&body, ISOLA_TOKEN_TEXT_MAX); /* once: no copies of the secret behind */
    isola_mp_array(&body, 6);
    isola_mp_uint(&body, FORMAT);
    isola_mp_bin(&body, isola_slice(token->cluster_key, ISOLA_KEY_SIZE));
    isola_mp_bin(&body, isola_slice(token->id, ISOLA_TOKEN_ID));
    isola_mp_bin(&body, isola_slice(token->secret, ISOLA_TOKEN_SECRET));
    isola_mp_uint(&body, (uint64_t)token->expires_ms);
    isola_mp_array(&body, token->naddresses);
    for (size_t i = 0; i < token->naddresses; i++)
        isola_mp_cstr(&body, token->addresses[i]);
    checksum(isola_buf_slice(&body), sum);
    isola_buf_append(&body, sum, CHECKSUM);
    ISOLA_CHECK(!body.failed);
    isola_buf_puts(out, prefix);
    size_t n = sodium_base64_encoded_len(body.len, BASE64); /* with the NUL it writes */
    uint8_t *to = isola_buf_extend(out, n);
    if (to != NULL) {
        sodium_bin2base64((char *)to, n, body.data, body.len, BASE64);
        out->len--;
    }
    wipe(&body);
}

/* A tcp:// url of printable characters; whether it can be dialled is seen when it is. */
static bool next_address(struct isola_mp_reader *r, char out[ISOLA_TOKEN_ADDRESS])
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_STR, &item) || item.bytes.len < 7 ||
        item.bytes.len >= ISOLA_TOKEN_ADDRESS || memcmp(item.bytes.data, "tcp://", 6) != 0)
        return false;
    for (size_t i = 0; i < item.bytes.len; i++) {
        if (item.bytes.data[i] <= ' ' || item.bytes.data[i] >= 127)
            return false;
    }
    memcpy(out, item.bytes.data, item.bytes.len);
    out[item.bytes.len] = '\0';
    return true;
}

static int read_body(struct isola_slice body, struct isola_token *t, struct isola_err *err)
{
    struct isola_mp_reader r = isola_mp_reader(body);
    struct isola_mp_item item;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item) || item.n == 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "this is a malformed token, though not a mistyped one");
    uint32_t fields = item.n;
    if (isola_mp_take(&r, ISOLA_MP_UINT, &item) && item.u != FORMAT)
        return isola_fail(err, ISOLA_EINVAL,
                          "this token is of format %llu, which this release does not know (it "
                          "knows %d); run the release of the node that made it",
                          (unsigned long long)item.u, FORMAT);
    bool ok = item.type == ISOLA_MP_UINT && fields == 6 &&
              isola_mp_take_bytes(&r, t->cluster_key, ISOLA_KEY_SIZE) &&
              isola_mp_take_bytes(&r, t->id, ISOLA_TOKEN_ID) &&
              isola_mp_take_bytes(&r, t->secret, ISOLA_TOKEN_SECRET) &&
              isola_mp_take(&r, ISOLA_MP_UINT, &item) && item.u <= INT64_MAX;
    if (ok)
        t->expires_ms = (int64_t)item.u;
    ok = ok && isola_mp_take(&r, ISOLA_MP_ARRAY, &item) && item.n >= 1 &&
         item.n <= ISOLA_TOKEN_ADDRESSES;
    for (uint32_t n = ok ? item.n : 0; ok && t->naddresses < n; t->naddresses += ok)
        ok = next_address(&r, t->addresses[t->naddresses]);
    if (!ok || r.p != r.end)
        return isola_fail(err, ISOLA_EINVAL,
                          "this is a malformed token, though not a mistyped one");
    return 0;
}

int isola_token_read(const char *text, struct isola_token *out, struct isola_err *err)
{
    static const char space[] = " \t\r\n";
    uint8_t bytes[ISOLA_TOKEN_TEXT_MAX], sum[CHECKSUM];
    const char *end;
    size_t len = 0;
    int rc = 0;
    ISOLA_CHECK(sodium_init() >= 0);
    memset(out, 0, sizeof(*out));
    text += strspn(text, space);
    if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "this is no token: one begins with \"%s\"; `ctl token` on a node of the "
                          "cluster prints one",
                          prefix);
    text += sizeof(prefix) - 1;
    size_t n = strcspn(text, space);
    if (text[n + strspn(text + n, space)] != '\0')
        return isola_fail(err, ISOLA_EINVAL,
                          "something follows the token; it is one word, without spaces in it");
    if (n > ISOLA_TOKEN_TEXT_MAX ||
        sodium_base642bin(bytes, sizeof(bytes), text, n, NULL, &len, &end, BASE64) != 0 ||
        end != text + n || len <= CHECKSUM)
        rc = isola_fail(err, ISOLA_EINVAL,
                        "this token is mistyped or cut off; paste it again, whole");
    if (rc == 0) {
        checksum(isola_slice(bytes, len - CHECKSUM), sum);
        if (memcmp(sum, bytes + len - CHECKSUM, CHECKSUM) != 0)
            rc = isola_fail(err, ISOLA_EINVAL,
                            "this token is mistyped or cut off; paste it again, whole");
    }
    if (rc == 0)
        rc = read_body(isola_slice(bytes, len - CHECKSUM), out, err);
    sodium_memzero(bytes, sizeof(bytes));
    if (rc != 0)
        sodium_memzero(out, sizeof(*out));
    return rc;
}
