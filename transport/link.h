/* SPDX-License-Identifier: Apache-2.0
 *
 * A link carries frames both ways between two processes, in order, over a byte stream: a unix
 * socket (libuv) within a host, TCP through nng's streams between agents and between actor-hosts.
 * One interface, one contract suite for both.
 *
 * A frame on the wire is its length (4 bytes, big-endian, ISOLA_FRAME_MAX at the most) and its
 * bytes. A frame of length 0 is a goodbye, which ends a TCP link; a unix socket is half-closed
 * instead. Users' frames are never empty.
 *
 * Life of a link. It begins by isola_link_dial or by a listener's `accepted`, or on an inherited
 * descriptor. `up` fires once when a dialled link is connected (accepted ones are up when handed
 * over). `down` fires exactly once, whatever happened, always from the loop and never from within a
 * call of the user's; after it returns the link is gone. close() only asks for it. A dial that
 * fails gives `down` without `up`.
 *
 * Not encrypted yet: tcp:// is refused for anything but loopback addresses.
 */
#ifndef ISOLA_TRANSPORT_LINK_H
#define ISOLA_TRANSPORT_LINK_H

#include <uv.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/msg.h"

#define ISOLA_FRAME_MAX (64u << 20)
/* Bytes that may wait to be written on one link. Past it, send refuses with ISOLA_EOVERLOAD;
 * `drained` fires when it has fallen below half again. */
#define ISOLA_LINK_QUEUE_MAX (128u << 20)

struct isola_link;
struct isola_listener;

struct isola_link_ops {
    void (*up)(struct isola_link *link, void *arg); /* may be NULL */
    /* One frame; borrowed for the call. May send and may close. */
    void (*frame)(struct isola_link *link, struct isola_slice frame, void *arg);
    /* code: 0 closed here, ISOLA_ECLOSED closed by the peer, else why; `why` is a sentence. */
    void (*down)(struct isola_link *link, int code, const char *why, void *arg);
    void (*drained)(struct isola_link *link, void *arg); /* may be NULL */
};

struct isola_listener_ops {
    /* A peer connected: set ops and arg with isola_link_accept before returning, or close it. */
    void (*accepted)(struct isola_listener *listener, struct isola_link *link, void *arg);
};

/* url: "unix:/path" or "tcp://127.0.0.1:port" (IPv6 in brackets). Copies. Errors at once:
 * ISOLA_EINVAL (url), ISOLA_EPERM (not loopback); all else comes by `down`. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_dial(uv_loop_t *loop, const char *url,
                                               const struct isola_link_ops *ops, void *arg,
                                               struct isola_link **out, struct isola_err *err);
/* Takes on success a connected stream socket `fd`. The link is up. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_open_fd(uv_loop_t *loop, int fd,
                                                  const struct isola_link_ops *ops, void *arg,
                                                  struct isola_link **out, struct isola_err *err);
LOOP_THREAD void isola_link_accept(struct isola_link *link, const struct isola_link_ops *ops,
                                   void *arg);

/* Sends one frame. Takes `frame` on success and empties it (the caller keeps it on failure). Frames
 * sent in one turn of the loop leave together. ISOLA_EOVERLOAD: the queue is full; ISOLA_ECLOSED:
 * closed, or not connected yet and closed since; ISOLA_ETOOBIG; ISOLA_ENOMEM; ISOLA_EINVAL: an
 * empty frame. Frames sent before a dialled link is up wait for it. */
LOOP_THREAD ISOLA_MUST_USE int isola_link_send(struct isola_link *link, struct isola_buf *frame);
/* Encodes and sends `m` (borrowed). */
LOOP_THREAD ISOLA_MUST_USE int isola_link_send_msg(struct isola_link *link,
                                                   const struct isola_msg *m);
/* Asks for the end: what was sent is still written (for at most a second), then `down` with code 0.
 * Idempotent. */
LOOP_THREAD void isola_link_close(struct isola_link *link);

struct isola_link_stats {
    uint64_t frames_in, frames_out, bytes_in, bytes_out;
    size_t queued_bytes;
};
LOOP_THREAD void isola_link_stats(const struct isola_link *link, struct isola_link_stats *out);
/* "unix:/path" or "tcp://127.0.0.1:4711": the address dialled, or the peer's. Valid as long as the
 * link. */
LOOP_THREAD const char *isola_link_peer(const struct isola_link *link);

/* url as above; port 0 takes a free one. A unix socket is created with mode 0600; a stale one
 * (nobody answers) is replaced, a living one is ISOLA_EBUSY. Errors with sentences: ISOLA_EBUSY
 * (taken), ISOLA_EPERM (not loopback, or no right to the directory), ISOLA_EINVAL (url, or a path
 * too long for a unix socket), ISOLA_EIO. */
LOOP_THREAD ISOLA_MUST_USE int isola_listener_open(uv_loop_t *loop, const char *url,
                                                   const struct isola_listener_ops *ops, void *arg,
                                                   struct isola_listener **out,
                                                   struct isola_err *err);
/* The url with the real port. Valid as long as the listener. */
LOOP_THREAD const char *isola_listener_url(const struct isola_listener *listener);
/* Stops listening and removes a unix socket's file. Links accepted before live on. The memory is
 * freed later, from the loop. */
LOOP_THREAD void isola_listener_close(struct isola_listener *listener);

#endif
