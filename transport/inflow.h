/* SPDX-License-Identifier: Apache-2.0
 *
 * What arrives on a stream, cut into items. It knows no socket.
 *
 * An item is a header (4 bytes, big-endian) and its bytes. With the topmost bit of the header clear
 * the item is a frame, and the header its length; length 0 is the goodbye, after which its sender
 * sends nothing. With it set, bits 24 to 30 are the kind of item and the rest its length
 * (docs/wire.md). On an encrypted link items lie in records, each wholly in one.
 */
#ifndef ISOLA_TRANSPORT_INFLOW_H
#define ISOLA_TRANSPORT_INFLOW_H

#include "base/buf.h"
#include "base/error.h"

struct isola__secure;

#define ISOLA__ITEM_HEADER 4

/* The numbers are the wire format. */
enum isola__item {
    ISOLA__ITEM_FRAME = -1, /* a whole frame; never empty */
    ISOLA__ITEM_GOODBYE = 0,
    ISOLA__ITEM_PART = 1, /* number (4 bytes), then the next bytes of that frame */
    ISOLA__ITEM_OPEN =
        2, /* number (4 bytes), length of the whole frame (8 bytes), its first bytes */
    ISOLA__ITEM_PING = 3, /* 8 bytes, to be sent back */
    ISOLA__ITEM_PONG = 4,
    ISOLA__ITEM_HEAD = 5,  /* number (2 bytes), then a whole frame: heads.h */
    ISOLA__ITEM_AGAIN = 6, /* number (2 bytes), then the args of another message with that head */
};
/* Frames that arrive in parts at the same time, and the bytes of all of them. */
#define ISOLA__PARTS_MAX       64
#define ISOLA__PARTS_BYTES_MAX ((size_t)3 << 29)

/* A frame that arrives in parts. */
struct isola__partial {
    struct isola__partial *next;
    uint32_t number;
    size_t total;
    struct isola_buf bytes;
};

/* Zero is empty. Bytes are read straight to where items are handed out from. Memory follows what
 * has arrived: at most twice that and a constant, whatever a header claims; at rest at most
 * ISOLA__INFLOW_REST. One thread at a time. */
struct isola__inflow {
    uint8_t *data; /* [start, len) has arrived and is not handed out yet */
    size_t start, len, cap;
    size_t record_end;            /* of the opened record items are taken from; 0: none is open */
    size_t tail;                  /* what of it is not plaintext */
    unsigned filled;              /* reads in a row that took all the room they had */
    struct isola__secure *secure; /* NULL: items come as they are */
    size_t partials, partial_bytes;
    struct isola__partial *partial;
    struct isola_buf whole; /* the last frame that came in parts, while it is lent */
};
#define ISOLA__INFLOW_REST (64u << 10)

/* The memory of `frame`, which `next` has returned last, if it came in parts: the caller's to free.
 * Else NULL. */
ANY_THREAD ISOLA_MUST_USE void *isola__inflow_take(struct isola__inflow *in,
                                                   struct isola_slice frame);
/* Room to read into, never of size 0; what `next` returned is gone. ISOLA_ENOMEM. */
ANY_THREAD ISOLA_MUST_USE int isola__inflow_room(struct isola__inflow *in, uint8_t **to,
                                                 size_t *room);
/* `n` bytes were written to the room. */
ANY_THREAD void isola__inflow_arrived(struct isola__inflow *in, size_t n);
/* 1: one item, its bytes borrowed until the next call of `next` or `room`; PART and OPEN are seen
 * to here, and come as a FRAME when it is whole. 0: none whole; ISOLA_EPROTO, with a sentence: what
 * arrived is not as it should be; ISOLA_ENOMEM. */
ANY_THREAD ISOLA_MUST_USE int isola__inflow_next(struct isola__inflow *in, enum isola__item *kind,
                                                 struct isola_slice *bytes, struct isola_err *err);
/* Encrypted: opens the first record, as next would. 1: it is open; 0: it is not whole; negative as
 * above. */
ANY_THREAD ISOLA_MUST_USE int isola__inflow_prove(struct isola__inflow *in, struct isola_err *err);
/* The bytes of what is unfinished that have arrived. */
ANY_THREAD size_t isola__inflow_partial(const struct isola__inflow *in);
ANY_THREAD void isola__inflow_free(struct isola__inflow *in);

#endif
