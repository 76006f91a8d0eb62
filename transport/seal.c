/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/seal.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "transport/identity.h"
#include "transport/keyfile.h"

#define FORMAT   1
#define FILE_MAX 256
#define NONCE    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG      crypto_aead_xchacha20poly1305_ietf_ABYTES

static const char kind[] = "isola secrets key";

struct isola_sealer {
    uint8_t key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
};

static int read_key(const char *path, struct isola_sealer *s, struct isola_err *err)
{
    uint8_t *data = NULL;
    size_t len = 0;
    struct isola_mp_item item;
    int rc = isola_secret_read(path, FILE_MAX, &data, &len, err);
    if (rc != 0)
        return rc;
    struct isola_mp_reader r = isola_mp_reader(isola_slice(data, len));
    if (!(isola_mp_take(&r, ISOLA_MP_ARRAY, &item) && item.n == 3 &&
          isola_mp_take(&r, ISOLA_MP_UINT, &item) && item.u == FORMAT &&
          isola_mp_take(&r, ISOLA_MP_STR, &item) && isola_slice_is(item.bytes, kind) &&
          isola_mp_take_bytes(&r, s->key, sizeof(s->key)) && r.p == r.end))
        rc = isola_fail(err, ISOLA_EIO, "%s is damaged; put back a copy that is whole", path);
    isola_secret_free(data);
    return rc;
}

static int make_dir(const char *path, struct isola_err *err)
{
    const char *end = strrchr(path, '/');
    char *dir = isola_strndup(path, end != NULL ? (size_t)(end - path) : 0);
    int rc = isola_secret_dir(dir, err);
    free(dir);
    return rc;
}

static int write_key(const char *path, const struct isola_sealer *s, struct isola_err *err)
{
    struct isola_buf b = {0};
    int rc = make_dir(path, err);
    if (rc != 0)
        return rc;
    ISOLA_CHECK(isola_buf_grow(&b, FILE_MAX)); /* once: no copies left behind */
    isola_mp_array(&b, 3);
    isola_mp_uint(&b, FORMAT);
    isola_mp_cstr(&b, kind);
    isola_mp_bin(&b, isola_slice(s->key, sizeof(s->key)));
    rc = isola_secret_write(path, isola_buf_slice(&b), err);
    isola_wipe(&b);
    return rc;
}

int isola_sealer_open(const char *path, struct isola_sealer **out, struct isola_err *err)
{
    ISOLA_CHECK(sodium_init() >= 0);
    struct isola_sealer *s = isola_secret_alloc(sizeof(*s));
    struct isola_err why = {0};
    int rc = read_key(path, s, &why);
    if (rc != 0 && rc != ISOLA_ENOENT)
        *err = why;
    if (rc == ISOLA_ENOENT) {
        crypto_aead_xchacha20poly1305_ietf_keygen(s->key);
        rc = write_key(path, s, err);
    }
    if (rc == 0)
        *out = s;
    else
        isola_secret_free(s);
    return rc;
}

void isola_sealer_free(struct isola_sealer *sealer)
{
    isola_secret_free(sealer);
}

/* A byte that says how, the nonce, what it is encrypted to. */
void isola_seal(const struct isola_sealer *sealer, struct isola_slice about,
                struct isola_slice value, struct isola_buf *out)
{
    uint8_t *to = isola_buf_extend(out, 1 + NONCE + value.len + TAG);
    ISOLA_CHECK(to != NULL);
    to[0] = FORMAT;
    randombytes_buf(to + 1, NONCE);
    int rc = crypto_aead_xchacha20poly1305_ietf_encrypt(to + 1 + NONCE, NULL, value.data, value.len,
                                                        about.data, about.len, NULL, to + 1,
                                                        sealer->key);
    ISOLA_CHECK(rc == 0);
}

bool isola_unseal(const struct isola_sealer *sealer, struct isola_slice about,
                  struct isola_slice sealed, struct isola_buf *out)
{
    if (sealed.len < 1 + NONCE + TAG || sealed.data[0] != FORMAT)
        return false;
    size_t n = sealed.len - 1 - NONCE - TAG;
    ISOLA_CHECK(isola_buf_grow(out, n + 1));
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            out->data + out->len, NULL, NULL, sealed.data + 1 + NONCE, sealed.len - 1 - NONCE,
            about.data, about.len, sealed.data + 1, sealer->key) != 0)
        return false;
    out->len += n;
    return true;
}

void isola_wipe(struct isola_buf *b)
{
    if (b->data != NULL)
        sodium_memzero(b->data, b->cap);
    isola_buf_free(b);
}
