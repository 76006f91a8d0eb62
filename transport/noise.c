/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and numbers of sections are those of the specification.
 */
#include "transport/noise.h"

#include <sodium.h>

#include "base/check.h"

#define BLOCK 128 /* BLOCKLEN of BLAKE2b: libsodium has no HMAC of it */

_Static_assert(ISOLA__NOISE_KEY == crypto_scalarmult_curve25519_BYTES, "DHLEN");
_Static_assert(ISOLA__NOISE_KEY == ISOLA_KEY_SIZE, "DHLEN");
_Static_assert(ISOLA__NOISE_KEY == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "cipher keys");
_Static_assert(ISOLA__NOISE_TAG == crypto_aead_chacha20poly1305_ietf_ABYTES, "tags");
_Static_assert(ISOLA__NOISE_HASH == crypto_generichash_blake2b_BYTES_MAX, "HASHLEN");

/* The fastest implementations are chosen, and random numbers come, once libsodium is initialized:
 * any number of times, by any thread. */
static void need_sodium(void)
{
    ISOLA_CHECK(sodium_init() >= 0);
}

/* --- hashing: sections 4.3, 5.1 --- */

static void hash2(uint8_t out[ISOLA__NOISE_HASH], struct isola_slice a, struct isola_slice b)
{
    crypto_generichash_blake2b_state st;
    ISOLA_CHECK(crypto_generichash_blake2b_init(&st, NULL, 0, ISOLA__NOISE_HASH) == 0);
    (void)crypto_generichash_blake2b_update(&st, a.data, a.len);
    (void)crypto_generichash_blake2b_update(&st, b.data, b.len);
    (void)crypto_generichash_blake2b_final(&st, out, ISOLA__NOISE_HASH);
    sodium_memzero(&st, sizeof(st));
}

/* RFC 2104 over `data` and then `last`. */
static void hmac(uint8_t out[ISOLA__NOISE_HASH], const uint8_t key[ISOLA__NOISE_HASH],
                 struct isola_slice data, struct isola_slice last)
{
    uint8_t pad[BLOCK], inner[ISOLA__NOISE_HASH];
    crypto_generichash_blake2b_state st;
    memset(pad, 0x36, sizeof(pad));
    for (size_t i = 0; i < ISOLA__NOISE_HASH; i++)
        pad[i] ^= key[i];
    ISOLA_CHECK(crypto_generichash_blake2b_init(&st, NULL, 0, ISOLA__NOISE_HASH) == 0);
    (void)crypto_generichash_blake2b_update(&st, pad, sizeof(pad));
    (void)crypto_generichash_blake2b_update(&st, data.data, data.len);
    (void)crypto_generichash_blake2b_update(&st, last.data, last.len);
    (void)crypto_generichash_blake2b_final(&st, inner, sizeof(inner));
    for (size_t i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    hash2(out, isola_slice(pad, sizeof(pad)), isola_slice(inner, sizeof(inner)));
    sodium_memzero(pad, sizeof(pad));
    sodium_memzero(inner, sizeof(inner));
    sodium_memzero(&st, sizeof(st));
}

/* HKDF with two outputs. */
static void hkdf(const uint8_t ck[ISOLA__NOISE_HASH], struct isola_slice input,
                 uint8_t out1[ISOLA__NOISE_HASH], uint8_t out2[ISOLA__NOISE_HASH])
{
    static const uint8_t one = 1, two = 2;
    const struct isola_slice none = {0};
    uint8_t temp[ISOLA__NOISE_HASH];
    hmac(temp, ck, input, none);
    hmac(out1, temp, none, isola_slice(&one, 1));
    hmac(out2, temp, isola_slice(out1, ISOLA__NOISE_HASH), isola_slice(&two, 1));
    sodium_memzero(temp, sizeof(temp));
}

/* --- CipherState: sections 5.1, 12.3 --- */

void isola__noise_cipher_init(struct isola__noise_cipher *c, const uint8_t key[ISOLA__NOISE_KEY])
{
    memcpy(c->k, key, sizeof(c->k));
    c->n = 0;
    c->has_key = true;
}

void isola__noise_cipher_wipe(struct isola__noise_cipher *c)
{
    sodium_memzero(c, sizeof(*c));
}

/* 32 bits of zeros, then the nonce, little-endian. */
static inline void nonce_bytes(uint8_t out[crypto_aead_chacha20poly1305_ietf_NPUBBYTES], uint64_t n)
{
    memset(out, 0, 4);
    for (int i = 0; i < 8; i++)
        out[4 + i] = (uint8_t)(n >> (8 * i));
}

int isola__noise_encrypt(struct isola__noise_cipher *c, struct isola_slice ad, const uint8_t *plain,
                         size_t n, uint8_t *out)
{
    if (!c->has_key) {
        if (n > 0)
            memmove(out, plain, n);
        return 0;
    }
    if (c->n == UINT64_MAX) /* kept for Rekey */
        return ISOLA_ECLOSED;
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    nonce_bytes(nonce, c->n);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, n, ad.data, ad.len, NULL,
                                                    nonce, c->k);
    c->n++;
    return 0;
}

int isola__noise_decrypt(struct isola__noise_cipher *c, struct isola_slice ad,
                         const uint8_t *sealed, size_t n, uint8_t *out)
{
    if (!c->has_key) {
        if (n > 0)
            memmove(out, sealed, n);
        return 0;
    }
    if (c->n == UINT64_MAX)
        return ISOLA_ECLOSED;
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    nonce_bytes(nonce, c->n);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, n, ad.data, ad.len,
                                                  nonce, c->k) != 0)
        return ISOLA_EPROTO;
    c->n++;
    return 0;
}

bool isola__noise_peek(const struct isola__noise_cipher *c, const uint8_t *sealed, uint8_t *out,
                       size_t n)
{
    if (!c->has_key || c->n == UINT64_MAX)
        return false;
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    nonce_bytes(nonce, c->n);
    /* The first block is the key of the tag (RFC 8439, 2.8). */
    return crypto_stream_chacha20_ietf_xor_ic(out, sealed, n, nonce, 1, c->k) == 0;
}

void isola__noise_rekey(struct isola__noise_cipher *c)
{
    static const uint8_t zeros[ISOLA__NOISE_KEY];
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    uint8_t out[ISOLA__NOISE_KEY + ISOLA__NOISE_TAG];
    ISOLA_CHECK(c->has_key);
    nonce_bytes(nonce, UINT64_MAX);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, zeros, sizeof(zeros), NULL, 0, NULL,
                                                    nonce, c->k);
    memcpy(c->k, out, sizeof(c->k));
    sodium_memzero(out, sizeof(out));
}

/* --- SymmetricState: section 5.2 --- */

static void mix_hash(struct isola__noise_symmetric *ss, struct isola_slice data)
{
    hash2(ss->h, isola_slice(ss->h, sizeof(ss->h)), data);
}

static void mix_key(struct isola__noise_symmetric *ss, const uint8_t secret[ISOLA__NOISE_KEY])
{
    uint8_t ck[ISOLA__NOISE_HASH], k[ISOLA__NOISE_HASH];
    hkdf(ss->ck, isola_slice(secret, ISOLA__NOISE_KEY), ck, k);
    memcpy(ss->ck, ck, sizeof(ck));
    isola__noise_cipher_init(&ss->cipher, k);
    sodium_memzero(ck, sizeof(ck));
    sodium_memzero(k, sizeof(k));
}

static int encrypt_and_hash(struct isola__noise_symmetric *ss, struct isola_slice plain,
                            uint8_t *out)
{
    int rc = isola__noise_encrypt(&ss->cipher, isola_slice(ss->h, sizeof(ss->h)), plain.data,
                                  plain.len, out);
    if (rc == 0)
        mix_hash(ss, isola_slice(out, plain.len + (ss->cipher.has_key ? ISOLA__NOISE_TAG : 0)));
    return rc;
}

/* `out` may be `sealed`: so it is hashed first, though by the specification that comes after. */
static int decrypt_and_hash(struct isola__noise_symmetric *ss, struct isola_slice sealed,
                            uint8_t *out)
{
    uint8_t h[ISOLA__NOISE_HASH];
    hash2(h, isola_slice(ss->h, sizeof(ss->h)), sealed);
    int rc = isola__noise_decrypt(&ss->cipher, isola_slice(ss->h, sizeof(ss->h)), sealed.data,
                                  sealed.len, out);
    if (rc == 0)
        memcpy(ss->h, h, sizeof(h));
    return rc;
}

/* --- HandshakeState: sections 5.3, 7 --- */

enum token { END, E, S, EE, ES, SE, SS };

static const struct {
    const char *name;
    bool responder_known; /* the pre-message <- s */
    int messages;
    uint8_t tokens[3][5];
} patterns[] = {
    [ISOLA__NOISE_XX] = {"Noise_XX_25519_ChaChaPoly_BLAKE2b",
                         false,
                         3,
                         {{E, END}, {E, EE, S, ES, END}, {S, SE, END}}},
    [ISOLA__NOISE_IK] = {"Noise_IK_25519_ChaChaPoly_BLAKE2b",
                         true,
                         2,
                         {{E, ES, S, SS, END}, {E, EE, SE, END}}},
};

const char *isola__noise_name(enum isola__noise_pattern pattern)
{
    return patterns[pattern].name;
}

void isola__noise_init(struct isola__noise_handshake *hs, enum isola__noise_pattern pattern,
                       bool initiator, struct isola_slice prologue,
                       const struct isola_static_keys *s, const uint8_t *rs)
{
    need_sodium();
    const char *name = patterns[pattern].name;
    size_t len = strlen(name);
    *hs = (struct isola__noise_handshake){.pattern = pattern, .initiator = initiator, .s = *s};
    hs->turn = initiator ? ISOLA__NOISE_WRITE : ISOLA__NOISE_READ;
    _Static_assert(sizeof("Noise_XX_25519_ChaChaPoly_BLAKE2b") - 1 <= ISOLA__NOISE_HASH,
                   "the name is not longer than a hash, so it is padded with zeros");
    memcpy(hs->symmetric.h, name, len);
    memcpy(hs->symmetric.ck, hs->symmetric.h, sizeof(hs->symmetric.ck));
    mix_hash(&hs->symmetric, prologue);
    bool known = patterns[pattern].responder_known;
    ISOLA_CHECK((rs != NULL) == (known && initiator));
    if (rs != NULL) {
        memcpy(hs->rs, rs, sizeof(hs->rs));
        hs->has_rs = true;
    }
    if (known)
        mix_hash(&hs->symmetric,
                 isola_slice(initiator ? hs->rs : hs->s.public_key, ISOLA__NOISE_KEY));
}

void isola__noise_fix_ephemeral(struct isola__noise_handshake *hs,
                                const uint8_t secret[ISOLA__NOISE_KEY])
{
    isola_static_keys_from(secret, &hs->e);
    hs->fixed_e = true;
}

size_t isola__noise_overhead(const struct isola__noise_handshake *hs)
{
    if (hs->turn != ISOLA__NOISE_WRITE && hs->turn != ISOLA__NOISE_READ)
        return 0;
    bool keyed = hs->symmetric.cipher.has_key;
    size_t n = 0;
    for (const uint8_t *t = patterns[hs->pattern].tokens[hs->message]; *t != END; t++) {
        if (*t == E)
            n += ISOLA__NOISE_KEY;
        else if (*t == S)
            n += ISOLA__NOISE_KEY + (keyed ? ISOLA__NOISE_TAG : 0);
        else
            keyed = true;
    }
    return n + (keyed ? ISOLA__NOISE_TAG : 0);
}

void isola__noise_wipe(struct isola__noise_handshake *hs)
{
    sodium_memzero(hs, sizeof(*hs));
}

/* All but what may be known: the hash, the peer's static key, where it stands. */
static void wipe_secrets(struct isola__noise_handshake *hs)
{
    isola__noise_cipher_wipe(&hs->symmetric.cipher);
    sodium_memzero(hs->symmetric.ck, sizeof(hs->symmetric.ck));
    sodium_memzero(&hs->s, sizeof(hs->s));
    sodium_memzero(&hs->e, sizeof(hs->e));
}

static int fail(struct isola__noise_handshake *hs, struct isola_err *err, const char *why)
{
    wipe_secrets(hs);
    hs->turn = ISOLA__NOISE_FAILED;
    return isola_fail(err, ISOLA_EPROTO, "%s", why);
}

static int check_turn(const struct isola__noise_handshake *hs, enum isola__noise_turn turn,
                      struct isola_err *err)
{
    if (hs->turn == turn)
        return 0;
    if (hs->turn == ISOLA__NOISE_FAILED)
        return isola_fail(err, ISOLA_EPROTO, "the handshake has failed before");
    return isola_fail(err, ISOLA_EINVAL,
                      turn == ISOLA__NOISE_WRITE ? "it is not this side's turn in the handshake"
                                                 : "it is not the peer's turn in the handshake");
}

static void next(struct isola__noise_handshake *hs)
{
    hs->message++;
    if (hs->message == patterns[hs->pattern].messages)
        hs->turn = ISOLA__NOISE_COMPLETE;
    else
        hs->turn = hs->turn == ISOLA__NOISE_WRITE ? ISOLA__NOISE_READ : ISOLA__NOISE_WRITE;
}

/* A token of two keys; of ours the first letter's if we are the initiator, else the second's. */
static bool mix_dh(struct isola__noise_handshake *hs, enum token token)
{
    bool first_e = token == EE || token == ES, second_e = token == EE || token == SE;
    bool ours_e = hs->initiator ? first_e : second_e, theirs_e = hs->initiator ? second_e : first_e;
    uint8_t secret[ISOLA__NOISE_KEY];
    bool ok = crypto_scalarmult_curve25519(secret, ours_e ? hs->e.secret_key : hs->s.secret_key,
                                           theirs_e ? hs->re : hs->rs) == 0 &&
              !sodium_is_zero(secret, sizeof(secret));
    if (ok)
        mix_key(&hs->symmetric, secret);
    sodium_memzero(secret, sizeof(secret));
    return ok;
}

static const char small_order[] =
    "the peer's key is a point of small order: no secret comes of it, so somebody made it up";

int isola__noise_write(struct isola__noise_handshake *hs, struct isola_slice payload, uint8_t *out,
                       struct isola_err *err)
{
    int rc = check_turn(hs, ISOLA__NOISE_WRITE, err);
    if (rc != 0)
        return rc;
    size_t overhead = isola__noise_overhead(hs);
    if (payload.len > ISOLA__NOISE_MESSAGE_MAX - overhead)
        return isola_fail(err, ISOLA_ETOOBIG,
                          "a payload of %zu bytes is too much for a message of the handshake: "
                          "%zu at the most",
                          payload.len, ISOLA__NOISE_MESSAGE_MAX - overhead);
    for (const uint8_t *t = patterns[hs->pattern].tokens[hs->message]; *t != END; t++) {
        switch ((enum token) * t) {
        case E:
            if (!hs->fixed_e)
                isola_static_keys_new(&hs->e);
            memcpy(out, hs->e.public_key, ISOLA__NOISE_KEY);
            mix_hash(&hs->symmetric, isola_slice(out, ISOLA__NOISE_KEY));
            out += ISOLA__NOISE_KEY;
            break;
        case S:
            ISOLA_CHECK(encrypt_and_hash(&hs->symmetric,
                                         isola_slice(hs->s.public_key, ISOLA__NOISE_KEY),
                                         out) == 0);
            out += ISOLA__NOISE_KEY + ISOLA__NOISE_TAG; /* keyed, in both patterns */
            break;
        default:
            if (!mix_dh(hs, (enum token) * t))
                return fail(hs, err, small_order);
        }
    }
    ISOLA_CHECK(encrypt_and_hash(&hs->symmetric, payload, out) == 0);
    next(hs);
    return 0;
}

int isola__noise_read(struct isola__noise_handshake *hs, uint8_t *message, size_t n,
                      struct isola_slice *payload, struct isola_err *err)
{
    int rc = check_turn(hs, ISOLA__NOISE_READ, err);
    if (rc != 0)
        return rc;
    if (n < isola__noise_overhead(hs))
        return fail(hs, err, "the peer's message of the handshake is cut off");
    if (n > ISOLA__NOISE_MESSAGE_MAX)
        return fail(hs, err, "the peer's message of the handshake is too long");
    uint8_t *p = message;
    for (const uint8_t *t = patterns[hs->pattern].tokens[hs->message]; *t != END; t++) {
        switch ((enum token) * t) {
        case E:
            memcpy(hs->re, p, ISOLA__NOISE_KEY);
            mix_hash(&hs->symmetric, isola_slice(p, ISOLA__NOISE_KEY));
            p += ISOLA__NOISE_KEY;
            break;
        case S:
            if (decrypt_and_hash(&hs->symmetric,
                                 isola_slice(p, ISOLA__NOISE_KEY + ISOLA__NOISE_TAG), hs->rs) != 0)
                return fail(hs, err,
                            "the peer's static key does not open: the peer holds other keys than "
                            "were expected, or the handshake was changed on its way");
            hs->has_rs = true;
            p += ISOLA__NOISE_KEY + ISOLA__NOISE_TAG;
            break;
        default:
            if (!mix_dh(hs, (enum token) * t))
                return fail(hs, err, small_order);
        }
    }
    size_t left = n - (size_t)(p - message);
    bool keyed = hs->symmetric.cipher.has_key;
    if (decrypt_and_hash(&hs->symmetric, isola_slice(p, left), p) != 0)
        return fail(hs, err,
                    "the peer's message of the handshake does not open: the peer holds other keys "
                    "than were expected, or the handshake was changed on its way");
    *payload = isola_slice(p, left - (keyed ? ISOLA__NOISE_TAG : 0));
    next(hs);
    return 0;
}

void isola__noise_split(struct isola__noise_handshake *hs, struct isola__noise_cipher *send,
                        struct isola__noise_cipher *receive)
{
    ISOLA_CHECK(hs->turn == ISOLA__NOISE_COMPLETE);
    uint8_t k1[ISOLA__NOISE_HASH], k2[ISOLA__NOISE_HASH];
    hkdf(hs->symmetric.ck, (struct isola_slice){0}, k1, k2);
    isola__noise_cipher_init(hs->initiator ? send : receive, k1);
    isola__noise_cipher_init(hs->initiator ? receive : send, k2);
    sodium_memzero(k1, sizeof(k1));
    sodium_memzero(k2, sizeof(k2));
    wipe_secrets(hs);
    hs->turn = ISOLA__NOISE_SPLIT;
}
