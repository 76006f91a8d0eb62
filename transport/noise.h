/* SPDX-License-Identifier: Apache-2.0
 *
 * The Noise Protocol Framework, revision 34 (https://noiseprotocol.org/noise.html): the patterns XX
 * and IK with 25519, ChaChaPoly and BLAKE2b, on the primitives of libsodium. Bytes in, bytes out:
 * no socket, no loop, no clock, nothing allocated; the structs are the caller's memory. What Isola
 * says with it is in secure.h.
 *
 * Happy path: init at both ends, then write and read in turns until `turn` is
 * ISOLA__NOISE_COMPLETE, then split into a CipherState for each direction.
 *
 *     XX: -> e                     IK: <- s (known before)
 *         <- e, ee, s, es              ...
 *         -> s, se                     -> e, es, s, ss
 *                                      <- e, ee, se
 *
 * Failure modes: a message that is too short or does not open, or a key of the peer's whose secret
 * with ours is all zeros (a point of small order): ISOLA_EPROTO, and the handshake is
 * ISOLA__NOISE_FAILED for good, its secrets wiped.
 *
 * Invariants: a secret is wiped when the last that needs it has used it. A nonce is used once: the
 * 2^64th message of a key is refused. Nothing that did not open is given to the caller.
 */
#ifndef ISOLA_TRANSPORT_NOISE_H
#define ISOLA_TRANSPORT_NOISE_H

#include "base/buf.h"
#include "base/error.h"
#include "transport/identity.h" /* struct isola_static_keys */

#define ISOLA__NOISE_KEY         32
#define ISOLA__NOISE_TAG         16
#define ISOLA__NOISE_HASH        64
#define ISOLA__NOISE_MESSAGE_MAX 65535

/* --- CipherState --- */

struct isola__noise_cipher {
    uint8_t k[ISOLA__NOISE_KEY];
    uint64_t n;
    bool has_key;
};
/* InitializeKey; wipe with sodium_memzero or isola__noise_cipher_wipe. */
ANY_THREAD void isola__noise_cipher_init(struct isola__noise_cipher *c,
                                         const uint8_t key[ISOLA__NOISE_KEY]);
ANY_THREAD void isola__noise_cipher_wipe(struct isola__noise_cipher *c);
/* EncryptWithAd: writes n + ISOLA__NOISE_TAG bytes (n without a key). `out` is `plain` itself or
 * apart from it. ISOLA_ECLOSED: the key has no nonce left; nothing is written. */
ANY_THREAD ISOLA_MUST_USE int isola__noise_encrypt(struct isola__noise_cipher *c,
                                                   struct isola_slice ad, const uint8_t *plain,
                                                   size_t n, uint8_t *out);
/* DecryptWithAd: writes n - ISOLA__NOISE_TAG bytes (n without a key). `out` is `sealed` itself or
 * apart from it. ISOLA_EPROTO: it does not open; the nonce is not used up. ISOLA_ECLOSED: as
 * above. */
ANY_THREAD ISOLA_MUST_USE int isola__noise_decrypt(struct isola__noise_cipher *c,
                                                   struct isola_slice ad, const uint8_t *sealed,
                                                   size_t n, uint8_t *out);
/* The first `n` bytes (64 at the most) of what the next call of decrypt would write, if `sealed`
 * opens, which is not known: for guesses whose failing does no harm. False: there is no key. */
ANY_THREAD bool isola__noise_peek(const struct isola__noise_cipher *c, const uint8_t *sealed,
                                  uint8_t *out, size_t n);
/* Rekey: the key becomes REKEY(k), the nonce goes on. */
ANY_THREAD void isola__noise_rekey(struct isola__noise_cipher *c);

/* --- SymmetricState, HandshakeState --- */

enum isola__noise_pattern { ISOLA__NOISE_XX, ISOLA__NOISE_IK };

enum isola__noise_turn {
    ISOLA__NOISE_WRITE,    /* isola__noise_write is next */
    ISOLA__NOISE_READ,     /* isola__noise_read is next */
    ISOLA__NOISE_COMPLETE, /* isola__noise_split is next */
    ISOLA__NOISE_SPLIT,    /* of the secrets, nothing is left here */
    ISOLA__NOISE_FAILED,   /* nothing more can be done with it */
};

struct isola__noise_symmetric {
    struct isola__noise_cipher cipher;
    uint8_t ck[ISOLA__NOISE_HASH];
    uint8_t h[ISOLA__NOISE_HASH];
};

struct isola__noise_handshake {
    struct isola__noise_symmetric symmetric;
    struct isola_static_keys s, e;
    uint8_t rs[ISOLA__NOISE_KEY], re[ISOLA__NOISE_KEY];
    enum isola__noise_pattern pattern;
    enum isola__noise_turn turn;
    int message; /* how many were written and read */
    bool initiator;
    bool has_rs;  /* rs is the peer's static key: known before, or read */
    bool fixed_e; /* e was given, not to be drawn */
};

/* "Noise_XX_25519_ChaChaPoly_BLAKE2b". Static storage. */
ANY_THREAD const char *isola__noise_name(enum isola__noise_pattern pattern);
/* Initialize. Copies all. `rs`, the static key of the responder, is for the initiator of IK only,
 * else NULL. `prologue` is what both must have the same of; it may be empty. */
ANY_THREAD void isola__noise_init(struct isola__noise_handshake *hs,
                                  enum isola__noise_pattern pattern, bool initiator,
                                  struct isola_slice prologue, const struct isola_static_keys *s,
                                  const uint8_t *rs);
/* How many bytes the next message takes beside its payload. */
ANY_THREAD size_t isola__noise_overhead(const struct isola__noise_handshake *hs);
/* WriteMessage: writes payload.len + isola__noise_overhead() bytes to `out`, which is apart from
 * the payload. ISOLA_ETOOBIG: more than ISOLA__NOISE_MESSAGE_MAX; ISOLA_EINVAL: it is not our turn:
 * nothing changed. ISOLA_EPROTO: the key known of the peer is no good, or it has failed before. */
ANY_THREAD ISOLA_MUST_USE int isola__noise_write(struct isola__noise_handshake *hs,
                                                 struct isola_slice payload, uint8_t *out,
                                                 struct isola_err *err);
/* ReadMessage, in place: `payload` becomes a slice of `message`, whose bytes are not what they were
 * any more. ISOLA_EPROTO: refused for good; ISOLA_EINVAL: it is not the peer's turn; nothing
 * changed. */
ANY_THREAD ISOLA_MUST_USE int isola__noise_read(struct isola__noise_handshake *hs, uint8_t *message,
                                                size_t n, struct isola_slice *payload,
                                                struct isola_err *err);
/* Split, by role: `send` is what this side encrypts with. Wipes all secrets of the handshake; what
 * stays are the handshake hash (symmetric.h, GetHandshakeHash) and the peer's static key. Only when
 * COMPLETE. */
ANY_THREAD void isola__noise_split(struct isola__noise_handshake *hs,
                                   struct isola__noise_cipher *send,
                                   struct isola__noise_cipher *receive);
ANY_THREAD void isola__noise_wipe(struct isola__noise_handshake *hs);

/* FOR TESTS ONLY: the ephemeral key, which must else be drawn anew for every handshake. Whoever
 * uses one twice gives away what was said. Before the first message. */
ANY_THREAD void isola__noise_fix_ephemeral(struct isola__noise_handshake *hs,
                                           const uint8_t secret[ISOLA__NOISE_KEY]);

#endif
