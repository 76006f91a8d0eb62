/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames on a byte stream: cutting what arrives into frames, and joining what is sent into few
 * writes. Both backends of link.h use it; it knows no socket.
 *
 * A frame is its length (4 bytes, big-endian) and its bytes. A frame of length 0 is the goodbye:
 * its sender sends nothing after it.
 */
#ifndef ISOLA_TRANSPORT_FRAMES_H
#define ISOLA_TRANSPORT_FRAMES_H

#include "base/buf.h"
#include "base/error.h"

#define ISOLA__FRAME_HEADER 4

/* --- arriving --- */

/* Zero is empty. Bytes are read straight to where frames are handed out from. Memory follows what
 * has arrived: at most twice that and a constant, whatever a header claims; at rest at most
 * ISOLA__FRAMES_REST. */
struct isola__frames_in {
    uint8_t *data; /* [start, len) has arrived and is not handed out yet */
    size_t start, len, cap;
    bool filled; /* the last read took all the room it had */
};
#define ISOLA__FRAMES_REST (64u << 10)

/* Room to read into, never of size 0; what `next` returned is gone. ISOLA_ENOMEM. */
ANY_THREAD ISOLA_MUST_USE int isola__frames_room(struct isola__frames_in *in, uint8_t **to,
                                                 size_t *room);
/* `n` bytes were written to the room. */
ANY_THREAD void isola__frames_arrived(struct isola__frames_in *in, size_t n);
/* 1: one frame, borrowed until the next call of `room`; 0: none whole; ISOLA_EPROTO: over
 * ISOLA_FRAME_MAX. */
ANY_THREAD ISOLA_MUST_USE int isola__frames_next(struct isola__frames_in *in,
                                                 struct isola_slice *frame);
/* The bytes of an unfinished frame that have arrived, header included. */
static inline size_t isola__frames_partial(const struct isola__frames_in *in)
{
    return in->len - in->start;
}
ANY_THREAD void isola__frames_in_free(struct isola__frames_in *in);

/* --- leaving --- */

/* Small frames are copied behind one another, large ones are taken as they are. Bytes that were
 * handed to a write stay where they are until they are marked as written. */
struct isola__chunk {
    struct isola__chunk *next;
    struct isola_buf bytes;
    size_t written;
    bool sealed; /* a write may be looking at it */
};
struct isola__frames_out {
    struct isola__chunk *head, *tail;
    size_t bytes;                  /* not written yet */
    struct isola__chunk *building; /* between begin and end: `tail`, or one not linked yet */
    size_t begun;                  /* where in it the frame begins */
};
/* Same layout for libuv and nng to copy from. */
struct isola__span {
    uint8_t *data;
    size_t len;
};

/* Takes `frame` on success and empties it. ISOLA_ENOMEM, ISOLA_ETOOBIG: nothing changed. */
ANY_THREAD ISOLA_MUST_USE int isola__frames_push(struct isola__frames_out *out,
                                                 struct isola_buf *frame);
/* In place of push: append one frame to what begin returns, then end. `estimate` is at least its
 * size. NULL when there is no memory. end: ISOLA_ENOMEM, ISOLA_ETOOBIG: nothing changed. Nothing
 * else may happen to `out` between the two. */
ANY_THREAD struct isola_buf *isola__frames_begin(struct isola__frames_out *out, size_t estimate);
ANY_THREAD ISOLA_MUST_USE int isola__frames_end(struct isola__frames_out *out);
/* Up to `max` spans of what is to be written first; returns how many. */
ANY_THREAD size_t isola__frames_gather(struct isola__frames_out *out, struct isola__span *spans,
                                       size_t max);
/* The first `n` bytes are written; their memory is freed. */
ANY_THREAD void isola__frames_written(struct isola__frames_out *out, size_t n);
ANY_THREAD void isola__frames_out_free(struct isola__frames_out *out);

#endif
