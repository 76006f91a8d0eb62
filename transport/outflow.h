/* SPDX-License-Identifier: Apache-2.0
 *
 * What is to leave on a stream: lanes of frames by priority, from which writes are filled. It knows
 * no socket, and no lock: its user has one.
 *
 * Priority. Control goes before replies, those before asks, those before all else, and what is
 * large is cut into parts that give way to whatever has come meanwhile. But what one sender has
 * sent keeps its order: a frame does not go into a lane before that in which an earlier one of its
 * sender waits. Senders are told apart by a key (a hash of their address): two that share one keep
 * their order among one another too, which costs them priority and nothing else.
 *
 * What is large is not copied here: a part is encrypted from where its frame lies into the write.
 * The items' header goes in front of it, over the end of the part before, which has left by then.
 *
 * Invariants: frames of one key leave in the order they were put. A turn of a sender is one part of
 * a large frame at the most, and not more than ISOLA__SENDERS_MAX large frames are under way at
 * once.
 */
#ifndef ISOLA_TRANSPORT_OUTFLOW_H
#define ISOLA_TRANSPORT_OUTFLOW_H

#include "base/buf.h"
#include "base/error.h"
#include "base/msg.h"
#include "transport/inflow.h"

enum isola__lane {
    ISOLA__LANE_CONTROL,
    ISOLA__LANE_REPLY,
    ISOLA__LANE_ASK,
    ISOLA__LANE_EMIT,
    ISOLA__LANE_LARGE, /* also what waits behind a large frame of its sender */
    ISOLA__LANES,
};

/* Frames over this are cut into parts, where the peer takes parts. */
#define ISOLA__SMALL_MAX (16u << 10)
/* Plaintext of a record: of a part a whole one. */
#define ISOLA__RECORD_MAX (60u << 10)
/* Large frames under way at once. */
#define ISOLA__SENDERS_MAX 16
/* Around the items of a record, where they are encrypted. */
#define ISOLA__RECORD_BEFORE 2
#define ISOLA__RECORD_AFTER  16
/* Records of a write. */
#define ISOLA__RECORDS 2
/* Before the first byte of a large frame: room for the header of its first part. */
#define ISOLA__FRAME_BEFORE 16

#define ISOLA__KEYS 256

struct isola__chunk;
struct isola__transfer;
struct isola__sender;

struct isola__outflow {
    struct isola__chunk *head[ISOLA__LANE_LARGE], *tail[ISOLA__LANE_LARGE];
    struct isola__chunk *spare;           /* one, for the next frame */
    struct isola__sender *first, *last;   /* of large frames; `first` is next to have a part sent */
    struct isola__sender *waiting, *more; /* those beyond ISOLA__SENDERS_MAX */
    unsigned senders;
    uint32_t next_number;
    size_t bytes, count;             /* what waits: items with their headers, and how many */
    uint32_t (*behind)[ISOLA__KEYS]; /* frames that wait, by lane and key; NULL: none ever did */
    struct isola_buf *building;      /* between begin and end */
    struct isola__chunk *chunk;
    struct isola_buf large;
    size_t begun;
    enum isola__lane lane;
    uint8_t key;
};

/* What of it fits into one write. Records lie in the write's bytes as they will leave: with
 * ISOLA__RECORD_BEFORE bytes of room before each and ISOLA__RECORD_AFTER after it, or with neither.
 */
struct isola__span {
    size_t at, len; /* the items */
    uint8_t *part;  /* NULL: they are there. Else its one item is `head`, then the bytes here */
    uint8_t nhead, head[ISOLA__FRAME_BEFORE];
};
struct isola__fill {
    struct isola_buf bytes;
    size_t nrecords;
    struct isola__span records[ISOLA__RECORDS];
    size_t nspent;
    void *spent[ISOLA__RECORDS]; /* frames that end with this write, and whose parts lie in them */
};

/* Appends a frame: what is written to the buffer between begin and end. `estimate` is at least its
 * size. `lane` as it would like to be; `key` says whose it is, 0 that it has no order with others.
 * `cut`: the peer takes parts; who once does always does. NULL when there is no memory. end:
 * ISOLA_ENOMEM, ISOLA_ETOOBIG (over ISOLA_MESSAGE_MAX, or ISOLA_FRAME_MAX where it is not cut):
 * nothing changed. */
struct isola_buf *isola__outflow_begin(struct isola__outflow *out, enum isola__lane lane,
                                       uint32_t key, bool cut, size_t estimate);
ISOLA_MUST_USE int isola__outflow_end(struct isola__outflow *out);
/* The same for an item of another kind: of at most ISOLA__SMALL_MAX bytes, when `lane` is still the
 * one that was asked for. */
ISOLA_MUST_USE int isola__outflow_end_as(struct isola__outflow *out, enum isola__item kind);
/* Appends a frame of more than ISOLA__SMALL_MAX bytes, to a peer that takes parts, where it is: in
 * `memory`, with ISOLA__FRAME_BEFORE bytes before it that are nobody's. Takes `memory` on success.
 * ISOLA_ENOMEM, ISOLA_ETOOBIG. */
ISOLA_MUST_USE int isola__outflow_take(struct isola__outflow *out, uint32_t key, void *memory,
                                       uint8_t *frame, size_t len);
/* An item of another kind, of at most ISOLA__SMALL_MAX bytes, as control. ISOLA_ENOMEM. */
ISOLA_MUST_USE int isola__outflow_item(struct isola__outflow *out, int kind, const void *data,
                                       size_t len);
/* The lane and key of a message. */
enum isola__lane isola__lane_of(const struct isola_msg *m);
uint32_t isola__key_of(const struct isola_msg *m);
/* Takes what leaves next into `fill` (emptied first), in as many records as there is need for.
 * `gaps`: with room for what encryption adds, and parts may stay where they are: then the bytes of
 * their records are not set. 0 records: nothing waits. ISOLA_ENOMEM: nothing was taken. */
ISOLA_MUST_USE int isola__outflow_fill(struct isola__outflow *out, bool gaps,
                                       struct isola__fill *fill);
/* The items of a record in one piece, of each record once, in their order: it writes over the end
 * of what it returned before. */
uint8_t *isola__fill_plain(struct isola__fill *fill, size_t record);
/* All parts were taken from where they lie. */
void isola__fill_spent(struct isola__fill *fill);
void isola__fill_free(struct isola__fill *fill);
void isola__outflow_free(struct isola__outflow *out);

#endif
