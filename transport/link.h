/* SPDX-License-Identifier: Apache-2.0
 *
 * A link carries frames both ways between two processes, in order, over a byte stream: a unix
 * socket (libuv) within a host, TCP through nng's streams between agents and between actor-hosts.
 * One interface, one contract suite for both.
 *
 * Frames have any length up to ISOLA_MESSAGE_MAX on TCP, where large ones are cut so that they hold
 * nobody up, and between ends of wire version 2; up to ISOLA_FRAME_MAX otherwise. docs/wire.md has
 * the bytes. Users' frames are never empty.
 *
 * Life of a link. It begins by isola_link_dial or by a listener's `accepted`, or on an inherited
 * descriptor. `up` fires once when a dialled link is connected (accepted ones are up when handed
 * over). `down` fires exactly once, whatever happened, always from the loop and never from within a
 * call of the user's; after it returns the link is gone, but for who holds a reference. close()
 * only asks for it. A dial that fails gives `down` without `up`. A TCP link whose peer is not heard
 * of for 2.5 s goes down.
 *
 * Direct links. All of this is the loop's, unless isola_link_direct is called: then frames are
 * delivered on the thread they arrive on, one at a time, and any thread may send; what it has sent
 * leaves when it calls isola_link_flush. `up`, `down` and `drained` stay the loop's.
 *
 * Every TCP link is encrypted, and each of its ends has shown who it is before `up` or `accepted`
 * (link_secure.c, docs/security.md). A unix socket is guarded by its file's permissions.
 */
#ifndef ISOLA_TRANSPORT_LINK_H
#define ISOLA_TRANSPORT_LINK_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/msg.h"
#include "transport/identity.h"

#define ISOLA_FRAME_MAX   (64u << 20)
#define ISOLA_MESSAGE_MAX (1u << 30)
/* Bytes and frames that may wait to be written on one link. Past it, send refuses with
 * ISOLA_EOVERLOAD; only a frame that finds nothing waiting may be larger. */
#define ISOLA_LINK_QUEUE_MAX    (128u << 20)
#define ISOLA_LINK_QUEUE_FRAMES (1u << 20)
/* Room behind these for answers of at most ISOLA_LINK_ANSWER_MAX bytes, envelope included: so who
 * has asked can be told at once that what it asked for finds no room. */
#define ISOLA_LINK_RESERVE_BYTES  (32u << 20)
#define ISOLA_LINK_RESERVE_FRAMES (1u << 18)
#define ISOLA_LINK_ANSWER_MAX     2048
/* Bytes from which senders should wait for `drained`, which fires when half of it or less waits,
 * after a refusal, or after a direct link has said so. */
#define ISOLA_LINK_CROWDED (1u << 20)

struct isola_link;
struct isola_listener;

struct isola_link_ops {
    void (*up)(struct isola_link *link, void *arg); /* may be NULL */
    /* One frame; borrowed for the call. May send and may close. */
    void (*frame)(struct isola_link *link, struct isola_slice frame, void *arg);
    /* code: 0 closed here, ISOLA_ECLOSED closed by the peer, else why; `why` is a sentence. */
    void (*down)(struct isola_link *link, int code, const char *why, void *arg);
    void (*drained)(struct isola_link *link, void *arg); /* may be NULL */
    /* After `frame`, when nothing more of what has arrived is whole. May be NULL. */
    void (*heard)(struct isola_link *link, void *arg);
};

struct isola_listener_ops {
    /* A peer connected: set ops and arg with isola_link_accept before returning, or close it. */
    void (*accepted)(struct isola_listener *listener, struct isola_link *link, void *arg);
};

/* Who an end of TCP links is, and whom it lets in. Borrowed, with all it points to, as long as a
 * listener has it or a link of it is not up. */
struct isola_link_security {
    const struct isola_static_keys *keys;
    struct isola_slice chain; /* shown to peers: ISOLA_CHAIN_MAX bytes at the most */
    uint8_t purpose;          /* what its links are for: both ends must have the same */
    /* Loop. `peer` is proven to hold the key; `chain` is what it shows. 0, with `who` filled, or a
     * refusal with a sentence, which the peer is told the kind of, and the log the rest. */
    int (*admit)(void *arg, struct isola_link *link, const uint8_t peer[ISOLA_KEY_SIZE],
                 struct isola_slice chain, struct isola_identity *who, struct isola_err *err);
    void *arg;
};
enum isola_link_purpose { ISOLA_LINK_CONTROL = 1, ISOLA_LINK_DATA = 2 };

/* url: "unix:/path" or "tcp://HOST:PORT", HOST an address (IPv6 in brackets) or localhost. Copies.
 * `security` is for tcp, NULL for unix. `peer_key`: the static key that must answer (Noise IK);
 * NULL: any that `admit` lets in (XX). Errors at once: ISOLA_EINVAL (url), ISOLA_EPERM (no
 * security); all else comes by `down`. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_dial(uv_loop_t *loop, const char *url,
                                               const struct isola_link_security *security,
                                               const uint8_t *peer_key,
                                               const struct isola_link_ops *ops, void *arg,
                                               struct isola_link **out, struct isola_err *err);
/* Takes on success a connected stream socket `fd`. The link is up. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_open_fd(uv_loop_t *loop, int fd,
                                                  const struct isola_link_ops *ops, void *arg,
                                                  struct isola_link **out, struct isola_err *err);
LOOP_THREAD void isola_link_accept(struct isola_link *link, const struct isola_link_ops *ops,
                                   void *arg);

/* Before the link is up, or from within `accepted`: see above. Not for unix sockets. */
LOOP_THREAD void isola_link_direct(struct isola_link *link);
/* For who may outlive the link: keeps the memory, no more. Sending on a link that is down does
 * nothing. */
ANY_THREAD void isola_link_ref(struct isola_link *link);
ANY_THREAD void isola_link_unref(struct isola_link *link);

/* Sends one frame. Takes `frame` on success and empties it (the caller keeps it on failure). Frames
 * of one turn of the loop leave together. ISOLA_EOVERLOAD: the queue is full; ISOLA_ECLOSED:
 * closed, or not connected yet and closed since; ISOLA_ETOOBIG; ISOLA_ENOMEM; ISOLA_EINVAL: an
 * empty frame. Frames sent before a dialled link is up wait for it. Direct links: any thread. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_send(struct isola_link *link, struct isola_buf *frame);
/* Encodes and sends `m` (borrowed). Control goes before replies, those before asks, those before
 * the rest; messages of one `src` keep their order (transport/outflow.h). Who speaks version 1 gets
 * values as that has them (older.h); ISOLA_EPROTO: they are malformed. Direct links: 1 when it is
 * sent, and its senders should wait for `drained`. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_send_msg(struct isola_link *link,
                                                   const struct isola_msg *m);
/* As isola_link_send_msg, where args lie in `*memory`, from malloc(), and the bytes before them are
 * of use to nobody but `m`. What is large is sent from there and not copied, if there is room for
 * the rest of its envelope before it (ISOLA_MSG_BEFORE is enough, as a rule): then the memory is
 * taken, and `*memory` NULL. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_send_own(struct isola_link *link,
                                                   const struct isola_msg *m, void **memory);
/* Direct links: what was sent leaves now, or with the write that is under way. */
ANY_THREAD void isola_link_flush(struct isola_link *link);
/* The same if much waits, for who will flush but does not know when. Writing takes its time: not to
 * be called with a lock. */
ANY_THREAD void isola_link_flush_much(struct isola_link *link);
/* Direct links: reads what has come and delivers it, on this thread, which is one that would sleep
 * else, holds no lock and polls again soon, or has somebody rest. So it spares the wakes of three
 * threads by which it is delivered otherwise. `take`: the link may be made ready for it first, by
 * which nothing is gained unless many polls follow. 1: something was delivered; 0: nothing, now;
 * ISOLA_ECLOSED: this link cannot be polled, or not any more. */
ANY_THREAD ISOLA_MUST_USE int isola_link_poll(struct isola_link *link, bool take);
/* After polls: from now on what comes is delivered as on links that are not polled. */
ANY_THREAD void isola_link_rest(struct isola_link *link);
/* Of a link that is up: a descriptor that can be waited for, which is readable when a poll that
 * takes would find something, or soon would; the link's, and good until the last reference is given
 * back. -1: it cannot be polled. */
ANY_THREAD int isola_link_socket(const struct isola_link *link);
/* Decodes a frame that `link` has given (isola_envelope_decode). On a unix socket its peer is
 * answered in the version of the envelope that it speaks from now on; on TCP another version than
 * both have agreed upon is ISOLA_EPROTO. Direct links: from within `frame`. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_decode(struct isola_link *link, struct isola_slice frame,
                                                 struct isola_msg *out, struct isola_err *err);
/* From within `frame`: the memory `frame` lies in, which is the caller's from now on, to be freed
 * with free(); NULL: it has none of its own (what came in parts has). */
ANY_THREAD ISOLA_MUST_USE void *isola_link_take(struct isola_link *link, struct isola_slice frame);
/* Ends a link whose peer has sent what it must not: `down` with ISOLA_EPROTO and this sentence.
 * Direct links: from within `frame`. */
LOOP_THREAD void isola_link_refuse(struct isola_link *link, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Asks for the end: what was sent is still written (for at most a second), then `down` with code 0.
 * Idempotent. */
LOOP_THREAD void isola_link_close(struct isola_link *link);

struct isola_link_stats {
    uint64_t frames_in, frames_out, bytes_in, bytes_out;
    uint64_t refused; /* frames, for want of room in the queue */
    size_t queued_bytes, queued_frames;
    uint64_t rtt_ns; /* of the last ping; 0: none yet */
    uint64_t up_ms;  /* isola_clock_ms when it came up */
    unsigned wire;   /* the version its peer is spoken to in */
};
ANY_THREAD void isola_link_stats(struct isola_link *link, struct isola_link_stats *out);
/* "unix:/path" or "tcp://127.0.0.1:4711": the address dialled, or the peer's. Valid as long as the
 * link. */
LOOP_THREAD const char *isola_link_peer(const struct isola_link *link);

/* Who the peer has proven to be; NULL on a unix socket. Valid as long as the link. */
LOOP_THREAD const struct isola_identity *isola_link_identity(const struct isola_link *link);

/* url as above; port 0 takes a free one. A unix socket is created with mode 0600; a stale one
 * (nobody answers) is replaced, a living one is ISOLA_EBUSY. Errors with sentences: ISOLA_EBUSY
 * (taken), ISOLA_EPERM (no security, or no right to the directory), ISOLA_EINVAL (url, or a path
 * too long for a unix socket), ISOLA_EIO. */
LOOP_THREAD ISOLA_MUST_USE int isola_listener_open(uv_loop_t *loop, const char *url,
                                                   const struct isola_link_security *security,
                                                   const struct isola_listener_ops *ops, void *arg,
                                                   struct isola_listener **out,
                                                   struct isola_err *err);
/* A unix socket's: members of the group `gid` may connect too. Errors with sentences: ISOLA_EPERM,
 * ISOLA_EIO. */
LOOP_THREAD ISOLA_MUST_USE int isola_listener_admit_group(struct isola_listener *listener,
                                                          unsigned gid, struct isola_err *err);
/* Counts one of the connections it has accepted as refused: its peer has said what it must not, or
 * is not wanted. `why` is for the log, where lines about connections have a bound a second; NULL:
 * the caller has said it. */
LOOP_THREAD void isola_listener_refused(struct isola_listener *listener,
                                        const struct isola_link *link, const char *why);
struct isola_listener_stats {
    uint64_t accepted, refused; /* connections; some were accepted first */
    unsigned strangers;         /* whose peer has not shown yet who it is */
};
LOOP_THREAD void isola_listener_stats(const struct isola_listener *listener,
                                      struct isola_listener_stats *out);
/* The url with the real port. Valid as long as the listener. */
LOOP_THREAD const char *isola_listener_url(const struct isola_listener *listener);
/* Stops listening and removes a unix socket's file. Links accepted before live on. The memory is
 * freed later, from the loop. */
LOOP_THREAD void isola_listener_close(struct isola_listener *listener);

#endif
