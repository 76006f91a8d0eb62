/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept of an actor beside its state, and in the same transactions: rows by part, peer and
 * number. actors/durable.c says what they mean; the store only keeps them.
 */
#ifndef ISOLA_BASE_KEPT_H
#define ISOLA_BASE_KEPT_H

#include <stdbool.h>

#include "base/annotate.h"
#include "base/buf.h"

/* The numbers are those of the store and of docs/protocol.md. */
enum isola_kept_part {
    ISOLA_KEPT_SENT = 1,   /* the number of its last durable message */
    ISOLA_KEPT_OUTBOX = 2, /* a durable message that is not acknowledged: peer is its receiver */
    ISOLA_KEPT_DONE = 3,   /* the last message of `peer` that it has handled */
    ISOLA_KEPT_ANSWER = 4, /* what it has answered to one of `peer` */
    ISOLA_KEPT_TIMER = 5,  /* of self.schedule: peer is its id, the number when it is due, ms since
                              1970 */
    /* The rest is not read with the state. */
    ISOLA_KEPT_ITEM = 6, /* of self.storage: peer is its key */
    ISOLA_KEPT_PAGE = 7, /* of the file of self.sql: the number is the page's; to put one that has
                            no bytes is to remove that one */
};
#define ISOLA_KEPT_READ ISOLA_KEPT_TIMER /* parts up to here are read with the state */
#define ISOLA_KEPT_LAST ISOLA_KEPT_PAGE

struct isola_kept {
    uint8_t part; /* enum isola_kept_part */
    bool gone;    /* a change: all of this part and peer with a number up to `seq` are removed, */
    bool whole;   /* or all of this part there were before: the first of its changes */
    struct isola_slice peer;
    uint64_t seq; /* at most INT64_MAX */
    struct isola_slice value;
};

/* Some of the rows of a part at an address, in the order of peers (bytes, as memcmp has them). */
struct isola_kept_range {
    uint8_t part;
    bool reverse;
    struct isola_slice from; /* the least peer */
    struct isola_slice to;   /* the least that is beyond; empty: none is */
    size_t rows, bytes; /* as many at the most, of peers and values; one row in any case if there is
                           any. 0: no limit */
};
/* Timers (ISOLA_KEPT_TIMER) of all addresses, in the order of `due`, address, id. */
struct isola_kept_due {
    uint64_t until; /* due then, or before */
    /* Those beyond this one; zero: from the first. */
    uint64_t due;
    struct isola_slice address, id;
    size_t rows; /* as many at the most */
};

/* A page that is removed. */
static inline bool isola_kept_is_none(const struct isola_kept *row)
{
    return row->part == ISOLA_KEPT_PAGE && row->value.len == 0;
}

/* Rows of all parts at an address, in the order of part, peer and number: those beyond this one;
 * zero: from the first. */
struct isola_kept_after {
    uint8_t part;
    struct isola_slice peer;
    uint64_t seq;
    size_t bytes; /* as many at the most, of peers and values; one row in any case if there is any.
                     0: no limit */
};

/* Rows in memory of their own. Zero is none. */
struct isola_kept_rows {
    struct isola_kept *row;
    size_t n, cap;
    size_t bytes; /* of peers and values */
};
/* Is that row beyond this one, in the order of part, peer and number? */
bool isola_kept_beyond(const struct isola_kept_after *after, const struct isola_kept *row);

/* Copies. */
void isola_kept_add(struct isola_kept_rows *rows, const struct isola_kept *row);
void isola_kept_copy(struct isola_kept_rows *to, const struct isola_kept *rows, size_t n);
void isola_kept_free(struct isola_kept_rows *rows);

/* As a msgpack array of [part, peer, seq, value (bin)], and back; `gone` ones are left out. False:
 * it is none. Slices of `from`. */
void isola_kept_write(struct isola_buf *out, const struct isola_kept *rows, size_t n);
ISOLA_MUST_USE bool isola_kept_read(struct isola_slice from, struct isola_kept_rows *out);

/* A number as a row's value, 8 bytes; 0 when `value` is none. */
static inline struct isola_slice isola_kept_number(uint8_t out[8], uint64_t n)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(n >> (56 - 8 * i));
    return isola_slice(out, 8);
}
static inline uint64_t isola_kept_to_number(struct isola_slice value)
{
    uint64_t n = 0;
    for (size_t i = 0; value.len == 8 && i < 8; i++)
        n = n << 8 | value.data[i];
    return n;
}

#endif
