/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/secure.h"

#include <sodium.h>
#include <stdio.h>

#include "base/check.h"

/* Noise' prologue: this, and the preamble. */
#define PROLOGUE "Isola channel 1"

/* Not a text of any protocol, not a length below 2 GiB, and not a length of a message of the
 * handshake. */
static const uint8_t magic[6] = {0x89, 'I', 's', 'o', 'l', 'a'};

/* Where in a preamble or a refusal. */
enum { KIND = 6, WHAT = 7, LEAST = 8, GREATEST = 10, RESERVED = 12 };
enum { OPENS_XX = 1, OPENS_IK = 2, REFUSES = 3 };
enum reason { VERSION = 1, PURPOSE = 2, HANDSHAKE = 3, IDENTITY = 4 };

_Static_assert(ISOLA__SECURE_MESSAGE_MAX < 0x8900, "a refusal is not taken for a length");
_Static_assert(ISOLA__SECURE_MESSAGE_MAX <= ISOLA__NOISE_MESSAGE_MAX, "Noise has the last word");

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put_preamble(uint8_t p[ISOLA__SECURE_PREAMBLE], const struct isola__secure *s, int kind,
                         int what)
{
    memset(p, 0, ISOLA__SECURE_PREAMBLE);
    memcpy(p, magic, sizeof(magic));
    p[KIND] = (uint8_t)kind;
    p[WHAT] = (uint8_t)what;
    put16(p + LEAST, s->config.least);
    put16(p + GREATEST, s->config.greatest);
}

static bool is_reserved_zero(const uint8_t *p)
{
    return p[RESERVED] == 0 && p[RESERVED + 1] == 0 && p[RESERVED + 2] == 0 && p[RESERVED + 3] == 0;
}

int isola__secure_init(struct isola__secure *s, const struct isola__secure_config *config,
                       bool initiator, struct isola_err *err)
{
    ISOLA_CHECK(config->keys != NULL && config->verify != NULL);
    *s = (struct isola__secure){
        .initiator = initiator, .pattern = config->pattern, .config = *config};
    if (config->payload.len > ISOLA__SECURE_PAYLOAD_MAX)
        return isola_fail(err, ISOLA_EINVAL,
                          "this node shows %zu bytes of itself when a connection begins, which is "
                          "more than %d",
                          config->payload.len, ISOLA__SECURE_PAYLOAD_MAX);
    if (config->least > config->greatest)
        return isola_fail(err, ISOLA_EINVAL, "there are no wire versions from %u to %u",
                          config->least, config->greatest);
    return 0;
}

void isola__secure_wipe(struct isola__secure *s)
{
    sodium_memzero(s, sizeof(*s));
}

/* --- the handshake --- */

/* What was borrowed is the owner's again. */
static void forget(struct isola__secure *s)
{
    s->config.keys = NULL;
    s->config.peer = NULL;
    s->config.payload = (struct isola_slice){0};
}

/* It is over. What the peer may know of why goes to `out`; there may be no memory for it. */
static void give_up(struct isola__secure *s, struct isola_buf *out, enum reason reason)
{
    isola__noise_wipe(&s->noise);
    forget(s);
    s->state = ISOLA__SECURE_FAILED;
    uint8_t *p = reason != 0 ? isola_buf_extend(out, ISOLA__SECURE_PREAMBLE) : NULL;
    if (p != NULL)
        put_preamble(p, s, REFUSES, (int)reason);
}

static int no_common_version(const struct isola__secure *s, unsigned least, unsigned greatest,
                             struct isola_err *err)
{
    return isola_fail(err, ISOLA_EPROTO,
                      "the peer speaks wire versions %u to %u, this node %u to %u: run releases "
                      "that are at most one apart",
                      least, greatest, s->config.least, s->config.greatest);
}

static int no_common_purpose(const struct isola__secure *s, unsigned theirs, struct isola_err *err)
{
    return isola_fail(err, ISOLA_EPROTO,
                      "the peer wants a connection for purpose %u at an address for purpose %u: "
                      "one of the two has been told a wrong address, or something between them "
                      "changes where connections go",
                      theirs, s->config.purpose);
}

static void begin_noise(struct isola__secure *s, const uint8_t preamble[ISOLA__SECURE_PREAMBLE])
{
    uint8_t prologue[sizeof(PROLOGUE) - 1 + ISOLA__SECURE_PREAMBLE];
    memcpy(prologue, PROLOGUE, sizeof(PROLOGUE) - 1);
    memcpy(prologue + sizeof(PROLOGUE) - 1, preamble, ISOLA__SECURE_PREAMBLE);
    const struct isola__noise_handshake before = s->noise;
    isola__noise_init(&s->noise, s->pattern, s->initiator, isola_slice(prologue, sizeof(prologue)),
                      s->config.keys,
                      s->initiator && s->pattern == ISOLA__NOISE_IK ? s->config.peer : NULL);
    if (before.fixed_e)
        isola__noise_fix_ephemeral(&s->noise, before.e.secret_key);
}

void isola__secure_fix_ephemeral(struct isola__secure *s, const uint8_t secret[ISOLA__NOISE_KEY])
{
    isola__noise_fix_ephemeral(&s->noise, secret);
}

/* Whether message `m` (from 0, of both ends) shows who its sender is; the others have no payload of
 * the user's. */
static bool shows(const struct isola__secure *s, int m)
{
    return s->pattern == ISOLA__NOISE_IK || m > 0;
}

/* Appends this end's next message to `out`. */
static int say(struct isola__secure *s, struct isola_buf *out, struct isola_err *err)
{
    uint8_t payload[2 + ISOLA__SECURE_PAYLOAD_MAX];
    size_t n = 0;
    int m = s->noise.message;
    if (!s->initiator) {
        put16(payload, s->version);
        n = 2;
    }
    if (shows(s, m) && s->config.payload.len > 0) {
        memcpy(payload + n, s->config.payload.data, s->config.payload.len);
        n += s->config.payload.len;
    }
    size_t size = n + isola__noise_overhead(&s->noise);
    uint8_t *p = isola_buf_extend(out, 2 + size);
    if (p == NULL) {
        give_up(s, out, 0);
        return isola_fail(err, ISOLA_ENOMEM, "no memory to begin a connection with");
    }
    put16(p, size);
    int rc = isola__noise_write(&s->noise, isola_slice(payload, n), p + 2, err);
    if (rc != 0) {
        out->len -= 2 + size;
        give_up(s, out, HANDSHAKE);
    }
    return rc;
}

int isola__secure_start(struct isola__secure *s, struct isola_buf *out, struct isola_err *err)
{
    ISOLA_CHECK(s->initiator && s->state == ISOLA__SECURE_BEGIN);
    size_t before = out->len;
    uint8_t preamble[ISOLA__SECURE_PREAMBLE];
    put_preamble(preamble, s, s->pattern == ISOLA__NOISE_IK ? OPENS_IK : OPENS_XX,
                 s->config.purpose);
    isola_buf_append(out, preamble, sizeof(preamble));
    begin_noise(s, preamble);
    s->state = ISOLA__SECURE_SHAKE;
    int rc = say(s, out, err);
    if (rc != 0)
        out->len = before; /* nothing to refuse: nobody has heard of us */
    return rc;
}

/* The responder's first: 1 with the preamble read, 0 when it is not whole. */
static int read_preamble(struct isola__secure *s, const uint8_t *p, size_t n, struct isola_buf *out,
                         struct isola_err *err)
{
    if (memcmp(p, magic, n < sizeof(magic) ? n : sizeof(magic)) != 0) {
        char hex[2 * sizeof(magic) + 1];
        sodium_bin2hex(hex, sizeof(hex), p, n < sizeof(magic) ? n : sizeof(magic));
        give_up(s, out, 0); /* whoever it is, it would not understand */
        return isola_fail(err, ISOLA_EPROTO,
                          "the peer does not begin as a node of Isola does (but with the bytes "
                          "%s): it is something else, or of a release that cannot encrypt yet",
                          hex);
    }
    if (n < ISOLA__SECURE_PREAMBLE)
        return 0;
    unsigned least = get16(p + LEAST), greatest = get16(p + GREATEST);
    /* First of all, so that it can be said to those who differ in the rest as well. */
    if (least <= greatest && (least > s->config.greatest || greatest < s->config.least)) {
        give_up(s, out, VERSION);
        return no_common_version(s, least, greatest, err);
    }
    if (least > greatest || (p[KIND] != OPENS_XX && p[KIND] != OPENS_IK) || !is_reserved_zero(p)) {
        give_up(s, out, HANDSHAKE);
        return isola_fail(err, ISOLA_EPROTO,
                          "the peer begins in a way that this node does not know (kind %u, wire "
                          "versions %u to %u)",
                          p[KIND], least, greatest);
    }
    if (p[WHAT] != s->config.purpose) {
        give_up(s, out, PURPOSE);
        return no_common_purpose(s, p[WHAT], err);
    }
    s->version = (uint16_t)(greatest < s->config.greatest ? greatest : s->config.greatest);
    s->pattern = p[KIND] == OPENS_IK ? ISOLA__NOISE_IK : ISOLA__NOISE_XX;
    begin_noise(s, p);
    s->state = ISOLA__SECURE_SHAKE;
    return 1;
}

static bool is_refusal(const uint8_t p[ISOLA__SECURE_PREAMBLE])
{
    return memcmp(p, magic, sizeof(magic)) == 0 && p[KIND] == REFUSES && is_reserved_zero(p);
}

/* What a refusal says: numbers only, whoever wrote it. */
static int refused(const struct isola__secure *s, const uint8_t p[ISOLA__SECURE_PREAMBLE],
                   struct isola_err *err)
{
    unsigned least = get16(p + LEAST), greatest = get16(p + GREATEST);
    bool overlap = least <= s->config.greatest && greatest >= s->config.least;
    switch (p[WHAT]) {
    case VERSION:
        if (!overlap)
            return no_common_version(s, least, greatest, err);
        return isola_fail(err, ISOLA_EPROTO,
                          "the peer refused this node's wire versions %u to %u, though it says "
                          "that it speaks %u to %u: something between them may change the traffic",
                          s->config.least, s->config.greatest, least, greatest);
    case PURPOSE:
        return isola_fail(err, ISOLA_EPROTO,
                          "the peer refused a connection for purpose %u at that address: it may "
                          "belong to another program by now, or was never right",
                          s->config.purpose);
    case HANDSHAKE:
        return isola_fail(err, ISOLA_EPROTO,
                          "the peer could not read this node's handshake: it holds another key "
                          "than this node expects of it, or something between them changes the "
                          "traffic");
    case IDENTITY:
        return isola_fail(err, ISOLA_EPERM,
                          "the peer refused this node's identity: it may belong to another "
                          "cluster, or was removed from this one; the peer's log says more");
    default:
        return isola_fail(err, ISOLA_EPROTO, "the peer refused the connection, for reason %u",
                          p[WHAT]);
    }
}

static int verify(struct isola__secure *s, struct isola_slice payload, struct isola_err *err)
{
    struct isola_err why = {0};
    (void)isola_fail(&why, ISOLA_EPERM, "the peer's identity is not one that this node accepts");
    int rc = s->config.verify(s->config.arg, s->noise.rs, payload, &why);
    if (rc == 0)
        return 0;
    return isola_fail(err, rc < 0 ? rc : ISOLA_EPERM, "%s", why.text);
}

/* The peer's next message, whole. */
static int hear(struct isola__secure *s, uint8_t *bytes, size_t n, struct isola_buf *out,
                struct isola_err *err)
{
    struct isola_slice payload;
    int m = s->noise.message;
    int rc = isola__noise_read(&s->noise, bytes, n, &payload, err);
    if (rc != 0) {
        give_up(s, out, HANDSHAKE);
        return rc;
    }
    if (s->initiator) { /* at the only message of the responder's */
        if (payload.len < 2) {
            give_up(s, out, HANDSHAKE);
            return isola_fail(err, ISOLA_EPROTO,
                              "the peer did not say which wire version it chose");
        }
        unsigned version = get16(payload.data);
        payload = isola_slice(payload.data + 2, payload.len - 2);
        if (version < s->config.least || version > s->config.greatest) {
            give_up(s, out, VERSION);
            return isola_fail(err, ISOLA_EPROTO,
                              "the peer chose wire version %u, this node speaks %u to %u", version,
                              s->config.least, s->config.greatest);
        }
        s->version = (uint16_t)version;
    }
    if (!shows(s, m)) {
        if (payload.len == 0)
            return 0;
        give_up(s, out, HANDSHAKE);
        return isola_fail(err, ISOLA_EPROTO,
                          "the peer said something before it was known who it is");
    }
    rc = verify(s, payload, err);
    if (rc != 0)
        give_up(s, out, IDENTITY);
    else
        memcpy(s->peer, s->noise.rs, sizeof(s->peer));
    return rc;
}

static void done(struct isola__secure *s)
{
    isola__noise_split(&s->noise, &s->tx.cipher, &s->rx.cipher);
    memcpy(s->hash, s->noise.symmetric.h, sizeof(s->hash));
    isola__noise_wipe(&s->noise);
    forget(s);
    s->state = ISOLA__SECURE_DONE;
}

/* The peer's next message and what this end says to it: 1 when that was one, 0 when it is not whole
 * yet. */
static int turn(struct isola__secure *s, uint8_t *bytes, size_t n, size_t *used,
                struct isola_buf *out, struct isola_err *err)
{
    if (n < 2)
        return 0;
    size_t size = get16(bytes), least = isola__noise_overhead(&s->noise);
    if (size > ISOLA__SECURE_MESSAGE_MAX || size < least) {
        bool maybe = memcmp(bytes, magic, n < sizeof(magic) ? n : sizeof(magic)) == 0;
        if (maybe && n < ISOLA__SECURE_PREAMBLE)
            return 0;
        if (maybe && is_refusal(bytes)) {
            *used = ISOLA__SECURE_PREAMBLE;
            give_up(s, out, 0);
            return refused(s, bytes, err);
        }
        give_up(s, out, HANDSHAKE);
        return isola_fail(err, ISOLA_EPROTO,
                          "the peer's message of the handshake would have %zu bytes: not a length "
                          "from %zu to %d",
                          size, least, ISOLA__SECURE_MESSAGE_MAX);
    }
    if (n < 2 + size)
        return 0;
    *used = 2 + size;
    int rc = hear(s, bytes + 2, size, out, err);
    if (rc == 0 && s->noise.turn == ISOLA__NOISE_WRITE)
        rc = say(s, out, err);
    if (rc != 0)
        return rc;
    if (s->noise.turn == ISOLA__NOISE_COMPLETE)
        done(s);
    return 1;
}

int isola__secure_shake(struct isola__secure *s, uint8_t *bytes, size_t n, size_t *used,
                        struct isola_buf *out, struct isola_err *err)
{
    *used = 0;
    ISOLA_CHECK(!s->initiator || s->state != ISOLA__SECURE_BEGIN);
    while (s->state != ISOLA__SECURE_DONE) {
        size_t took = 0;
        int rc;
        if (s->state == ISOLA__SECURE_FAILED)
            return isola_fail(err, ISOLA_EPROTO, "the connection has failed before");
        if (s->state == ISOLA__SECURE_BEGIN) {
            if (n == *used)
                return 0;
            rc = read_preamble(s, bytes + *used, n - *used, out, err);
            took = ISOLA__SECURE_PREAMBLE;
        } else {
            rc = turn(s, bytes + *used, n - *used, &took, out, err);
        }
        if (rc <= 0)
            return rc;
        *used += took;
    }
    return 1;
}

/* --- records --- */

/* After a record: the next key, when it is time. By the nonce, which counts what was sealed with
 * all keys of a direction, so the ends agree. */
static inline void count(struct isola__secure_half *half, size_t bytes)
{
    half->records++;
    half->bytes += bytes;
    if (__builtin_expect(half->cipher.n % ISOLA__SECURE_REKEY_EVERY == 0, 0)) {
        isola__noise_rekey(&half->cipher);
        half->rekeys++;
    }
}

int isola__secure_seal(struct isola__secure *s, const uint8_t *plain, size_t n, uint8_t *out,
                       struct isola_err *err)
{
    if (s->state != ISOLA__SECURE_DONE)
        return isola_fail(err, ISOLA_ECLOSED, "the connection is not encrypted (yet)");
    if (n > ISOLA__SECURE_PLAIN_MAX)
        return isola_fail(err, ISOLA_ETOOBIG, "%zu bytes are too much for a record: %d at the most",
                          n, ISOLA__SECURE_PLAIN_MAX);
    ISOLA_CHECK(n == 0 || plain == out + ISOLA__SECURE_HEADER || plain + n <= out ||
                out + n + ISOLA__SECURE_OVERHEAD <= plain);
    put16(out, n + ISOLA__NOISE_TAG);
    if (isola__noise_encrypt(&s->tx.cipher, isola_slice(out, ISOLA__SECURE_HEADER), plain, n,
                             out + ISOLA__SECURE_HEADER) != 0)
        return isola_fail(err, ISOLA_ECLOSED,
                          "this connection has sent all the records that it may: connect anew");
    count(&s->tx, n + ISOLA__SECURE_OVERHEAD);
    return 0;
}

static int break_off(struct isola__secure *s, struct isola_err *err, const char *why)
{
    s->rx.broken = true;
    isola__noise_cipher_wipe(&s->rx.cipher);
    return isola_fail(err, ISOLA_EPROTO, "%s", why);
}

static inline int open_record(struct isola__secure *s, uint8_t *bytes, size_t n, uint8_t *to,
                              size_t *size, struct isola_err *err)
{
    *size = ISOLA__SECURE_HEADER;
    if (s->state != ISOLA__SECURE_DONE)
        return isola_fail(err, ISOLA_ECLOSED, "the connection is not encrypted (yet)");
    if (s->rx.broken)
        return isola_fail(err, ISOLA_EPROTO, "the connection has failed before");
    if (n < ISOLA__SECURE_HEADER)
        return 0;
    size_t sealed = get16(bytes);
    *size = ISOLA__SECURE_HEADER + sealed;
    /* Who has said the last word of the handshake is done before the peer has seen it: in place of
     * a first record, a refusal can still come. (A record that looks like one is one in 2^72 of
     * those that have that length.) */
    if (__builtin_expect(s->rx.records == 0, 0) && n >= ISOLA__SECURE_PREAMBLE &&
        s->initiator == (s->pattern == ISOLA__NOISE_XX) && is_refusal(bytes)) {
        (void)break_off(s, NULL, "");
        return refused(s, bytes, err);
    }
    if (sealed < ISOLA__NOISE_TAG)
        return break_off(s, err,
                         "the peer sent a record too short to hold anything: the traffic was "
                         "changed on its way, or the peer is not what it was");
    if (n < *size)
        return 0;
    int rc = isola__noise_decrypt(&s->rx.cipher, isola_slice(bytes, ISOLA__SECURE_HEADER),
                                  bytes + ISOLA__SECURE_HEADER, sealed, to);
    if (rc == ISOLA_ECLOSED)
        return break_off(s, err,
                         "this connection has received all the records that it may: connect anew");
    if (rc != 0)
        return break_off(s, err,
                         "a record of the peer's does not open: it was changed, repeated, lost or "
                         "put in another order on its way");
    count(&s->rx, *size);
    return 1;
}

int isola__secure_open(struct isola__secure *s, uint8_t *bytes, size_t n, struct isola_slice *plain,
                       size_t *size, struct isola_err *err)
{
    int rc = open_record(s, bytes, n, bytes + ISOLA__SECURE_HEADER, size, err);
    if (rc == 1)
        *plain = isola_slice(bytes + ISOLA__SECURE_HEADER, *size - ISOLA__SECURE_OVERHEAD);
    return rc;
}

int isola__secure_open_to(struct isola__secure *s, uint8_t *bytes, size_t n, uint8_t *to,
                          size_t *size, struct isola_err *err)
{
    return open_record(s, bytes, n, to, size, err);
}

bool isola__secure_peek(const struct isola__secure *s, const uint8_t *bytes, size_t n, size_t least,
                        size_t *plain, uint8_t *head, size_t nhead)
{
    if (s->state != ISOLA__SECURE_DONE || s->rx.broken || n < ISOLA__SECURE_HEADER)
        return false;
    size_t size = ISOLA__SECURE_HEADER + get16(bytes);
    if (n < size || size < ISOLA__SECURE_OVERHEAD + least || least < nhead)
        return false;
    *plain = size - ISOLA__SECURE_OVERHEAD;
    return isola__noise_peek(&s->rx.cipher, bytes + ISOLA__SECURE_HEADER, head, nhead);
}
