/* SPDX-License-Identifier: Apache-2.0
 *
 * The secure channel: one end of one connection between two nodes, as bytes in and bytes out. It
 * knows no socket, no loop and no clock, and allocates nothing (but for the room in an isola_buf
 * that the few messages of a handshake take). docs/security.md has every byte.
 *
 * Happy path. The initiator's `start` gives a preamble, which says in the clear what it speaks, and
 * the first message of Noise (noise.h); both ends then feed what arrives to `shake` and send what
 * it appends, until it says that this end is done. Each end has then verified the other's static
 * key and payload, and both have the same wire version. From there on `seal` makes records of what
 * is to be sent, `open` takes them apart.
 *
 * Failure modes. Whatever is not exactly what the other end said ends the connection, with a
 * sentence in `err`. A refusal that its reason may be told of in the clear is appended to `out`:
 * send it, then close. The end of the stream is nothing that is seen here: a link that says no
 * goodbye inside of the channel has been cut off.
 *
 * Invariants
 *  - Both ends done means: the same preamble, the same version, the same keys, each verified.
 *  - A refusal, which anybody on the way can make up, ends a connection and does nothing else.
 *  - A record that opens is the next that the peer has sealed. The first that does not is the last
 *    that is looked at.
 *  - When an end is done, the static and ephemeral secrets are not in here any more. After 2^16
 *    records of a direction its key is replaced, and the old one is gone.
 *
 * Threads. One at a time until done; then one at a time for `seal`, and one at a time for `open`:
 * these two may run at once.
 */
#ifndef ISOLA_TRANSPORT_SECURE_H
#define ISOLA_TRANSPORT_SECURE_H

#include <stdatomic.h>

#include "transport/noise.h"

#define ISOLA__SECURE_PREAMBLE    16   /* bytes of the preamble, and of a refusal */
#define ISOLA__SECURE_MESSAGE_MAX 8192 /* of a message of the handshake, without its length */
/* Bytes that `shake` may have to see at once. */
#define ISOLA__SECURE_SHAKE_MAX (2 + ISOLA__SECURE_MESSAGE_MAX)
/* Bytes of what an end shows: what keys and tags leave of a message, and the chosen version. */
#define ISOLA__SECURE_PAYLOAD_MAX (ISOLA__SECURE_MESSAGE_MAX - 98)

#define ISOLA__SECURE_HEADER      2
#define ISOLA__SECURE_OVERHEAD    (ISOLA__SECURE_HEADER + ISOLA__NOISE_TAG) /* of a record */
#define ISOLA__SECURE_PLAIN_MAX   (65535 - ISOLA__NOISE_TAG)                /* in a record */
#define ISOLA__SECURE_REKEY_EVERY (1u << 16)                                /* records */

/* Called once, when the peer is proven to hold the secret of `peer` and has shown `payload`, which
 * is borrowed for the call. Non-zero refuses, and `err` should say why. */
typedef int (*isola__secure_verify)(void *arg, const uint8_t peer[ISOLA__NOISE_KEY],
                                    struct isola_slice payload, struct isola_err *err);

struct isola__secure_config {
    const struct isola_static_keys *keys; /* static; borrowed until done */
    enum isola__noise_pattern pattern;    /* the initiator's choice */
    const uint8_t *peer;        /* IK, initiator: the static key the peer must hold; else NULL */
    uint16_t least, greatest;   /* wire versions */
    uint8_t purpose;            /* what the connection is for; the ends must have the same */
    struct isola_slice payload; /* what this end shows; borrowed until done */
    isola__secure_verify verify;
    void *arg;
};

enum isola__secure_state {
    ISOLA__SECURE_BEGIN, /* initiator: `start` is next; responder: the preamble */
    ISOLA__SECURE_SHAKE, /* messages of the handshake */
    ISOLA__SECURE_DONE,  /* records */
    ISOLA__SECURE_FAILED,
};

/* One direction. */
struct isola__secure_half {
    struct isola__noise_cipher cipher;
    uint64_t records, bytes; /* as on the wire, headers and tags included */
    atomic_ullong rekeys;    /* others may look at it */
    bool broken;
};

struct isola__secure {
    enum isola__secure_state state;
    bool initiator;
    enum isola__noise_pattern pattern; /* the responder's is known once the preamble is read */
    uint16_t version;                  /* when done: the greatest that both speak */
    uint8_t peer[ISOLA__NOISE_KEY];    /* when verified */
    uint8_t hash[ISOLA__NOISE_HASH]; /* when done: the same at both ends, of this handshake only */
    struct isola__secure_config config;
    struct isola__noise_handshake noise;
    struct isola__secure_half tx;
    uint8_t apart[64]; /* two threads, two cache lines */
    struct isola__secure_half rx;
};

/* Copies `config`, borrows what it points to. ISOLA_EINVAL: the payload is too long, or no versions
 * are given. Nothing needs to be cleaned up but by wipe. */
ANY_THREAD ISOLA_MUST_USE int isola__secure_init(struct isola__secure *s,
                                                 const struct isola__secure_config *config,
                                                 bool initiator, struct isola_err *err);
/* The initiator's first bytes, appended to `out`. Once. ISOLA_EPROTO: the key given for the peer is
 * no good; ISOLA_ENOMEM. */
ANY_THREAD ISOLA_MUST_USE int isola__secure_start(struct isola__secure *s, struct isola_buf *out,
                                                  struct isola_err *err);
/* Takes what has arrived, of which `*used` bytes are done with (always set); they are overwritten.
 * What is to be sent is appended to `out`, also when it fails. 1: this end is done, and what
 * follows are records; 0: more must arrive; negative: over. ISOLA_EPROTO: not what the protocol
 * says, no common version, another purpose, other keys, or changed on its way, here or by a
 * refusal of the peer's; ISOLA_EPERM: the peer has refused this end's identity; ISOLA_ENOMEM; else
 * what `verify` said. */
ANY_THREAD ISOLA_MUST_USE int isola__secure_shake(struct isola__secure *s, uint8_t *bytes, size_t n,
                                                  size_t *used, struct isola_buf *out,
                                                  struct isola_err *err);
/* Whether the peer is known to be there now. The responder of IK is done before it is: its
 * initiator's message may be one recorded earlier, so until a first record has opened, nothing may
 * be done for it that costs anybody else (such as closing an older link of the same peer). To be
 * asked where `open` is called. */
static inline bool isola__secure_confirmed(const struct isola__secure *s)
{
    return s->state == ISOLA__SECURE_DONE &&
           (s->initiator || s->pattern == ISOLA__NOISE_XX || s->rx.records > 0);
}

/* Makes a record of `n` bytes: n + ISOLA__SECURE_OVERHEAD bytes to `out`. `plain` is apart from
 * these, or is out + ISOLA__SECURE_HEADER. ISOLA_ETOOBIG: n is over ISOLA__SECURE_PLAIN_MAX;
 * ISOLA_ECLOSED: not done, or the last nonce is used. */
ANY_THREAD ISOLA_MUST_USE int isola__secure_seal(struct isola__secure *s, const uint8_t *plain,
                                                 size_t n, uint8_t *out, struct isola_err *err);
/* Opens the record at the beginning of `bytes`, in place. 1: `plain` is a slice of `bytes`, and the
 * record took `*size`; 0: it is not whole before `*size` bytes, or more, are there. ISOLA_EPROTO:
 * it does not open, or the peer has refused this end after all: nothing more will; ISOLA_ECLOSED:
 * not done. */
ANY_THREAD ISOLA_MUST_USE int isola__secure_open(struct isola__secure *s, uint8_t *bytes, size_t n,
                                                 struct isola_slice *plain, size_t *size,
                                                 struct isola_err *err);
/* FOR TESTS ONLY: isola__noise_fix_ephemeral, of this end; before anything was said. */
ANY_THREAD void isola__secure_fix_ephemeral(struct isola__secure *s,
                                            const uint8_t secret[ISOLA__NOISE_KEY]);
/* As open, but the plaintext, of `*size` - ISOLA__SECURE_OVERHEAD bytes, is written to `to`, which
 * is apart from `bytes`. When it does not open what is there is lost. */
ANY_THREAD ISOLA_MUST_USE int isola__secure_open_to(struct isola__secure *s, uint8_t *bytes,
                                                    size_t n, uint8_t *to, size_t *size,
                                                    struct isola_err *err);
/* Has a record arrived whole, of `*plain` bytes, `least` or more, if it opens? Then `head` gets the
 * first `nhead` (64 at the most) of them, which anybody may have made up: only to guess by. */
ANY_THREAD bool isola__secure_peek(const struct isola__secure *s, const uint8_t *bytes, size_t n,
                                   size_t least, size_t *plain, uint8_t *head, size_t nhead);
/* Zeroes all of it. */
ANY_THREAD void isola__secure_wipe(struct isola__secure *s);

#endif
