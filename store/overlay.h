/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes that are on disk in the journal and not in the tables yet: of each address what they come
 * to. A generation of them grows, is closed, is written into the tables and freed as a whole.
 * Internal to store/. Not thread-safe: group.c has a lock.
 */
#ifndef ISOLA_STORE_OVERLAY_H
#define ISOLA_STORE_OVERLAY_H

#include "base/kept.h"
#include "base/map.h"
#include "store/history_own.h"
#include "store/tables.h"

/* A change of rows, in the order they came. */
struct isola__overlay_row {
    struct isola__overlay_row *next;
    struct isola_kept row;
    int64_t written;
};

/* Of one address. What is in the tables of it counts where this says nothing. */
struct isola__entry {
    struct isola__entry *next; /* in the order of their first change */
    struct isola_slice address;
    bool has_value; /* `value` is its state, */
    bool deleted;   /* or it had none, */
    bool touched;   /* and has at least an empty one since */
    bool cleared;   /* its rows in the tables are gone, but for those here */
    bool failed;    /* it could not be written into the tables, */
    bool carried;   /* and is in the next generation */
    uint16_t parts; /* bits: rows of these have changed */
    struct isola_slice value;
    size_t room; /* bytes there are for the value */
    int64_t written;
    struct isola__overlay_row *rows, **rows_tail;
    struct isola_map *named; /* puts by part, peer and number, once there are many; or NULL */
    unsigned nrows;
    bool gone; /* there are removals among the rows */
};

/* Zero is an empty one. */
struct isola__overlay {
    struct isola_map entries;
    struct isola__entry *first, **last;
    struct isola__block *blocks; /* memory */
    size_t bytes;                /* of it */
    size_t logged;               /* bytes of these changes in the journal */
    int64_t number, written;     /* the last commit that is here, and when that was */
    uint64_t since;              /* when the first came, ms of isola_clock_ms */
};

/* A change as it is in a commit. */
struct isola__change {
    struct isola_slice address;
    bool has_value, clear, deleted;
    bool touched; /* it has a state, if an empty one, though this has no row of it */
    struct isola_slice value;
    const struct isola_kept *rows;
    size_t nrows;
};

/* Copies. */
void isola__overlay_add(struct isola__overlay *p, const struct isola__change *c, int64_t written);
/* NULL: nothing of it. */
const struct isola__entry *isola__overlay_entry(const struct isola__overlay *p,
                                                struct isola_slice address);
/* Does it say, by what it has of rows or their removal, anything of these parts (bits)? */
static inline bool isola__entry_has_parts(const struct isola__entry *e, unsigned parts)
{
    return (e->parts & parts) != 0;
}
/* The row of this name: 1 it is here (*out), 0 nothing is known, -1 it is not there, -2 not to be
 * said without writing it all into the tables. */
int isola__entry_row(const struct isola__entry *e, const struct isola_kept *wanted,
                     struct isola_slice *out);
/* Writes it into the tables, in a transaction; with images of what it replaces, and as of the point
 * of `h`. 0 or a code (t->err). */
POOL_THREAD int isola__entry_fold(const struct isola__entry *e, struct isola__tables *t,
                                  struct isola__history *h);
/* Writes of it what reads of these parts (bits), or of the state, want, in a transaction that is to
 * be taken back. */
POOL_THREAD int isola__entry_peek(const struct isola__entry *e, struct isola__tables *t,
                                  unsigned parts);
/* Adds what is in `e` to a change, for another generation; *rows gets the memory of its rows. */
void isola__entry_change(const struct isola__entry *e, struct isola__change *out,
                         struct isola_kept **rows);
/* What `e`, of an older generation, has comes to this one, beneath what is there of its address. */
void isola__overlay_beneath(struct isola__overlay *p, const struct isola__entry *e);
void isola__overlay_free(struct isola__overlay *p);

/* --- changes as bytes, for the journal: msgpack --- */

void isola__change_write(struct isola_buf *out, const struct isola__change *c);
/* Each of a commit. False: it is damaged, from some point on. Slices are of `changes`. */
ISOLA_MUST_USE bool isola__changes_read(struct isola_slice changes,
                                        void (*fn)(void *arg, const struct isola__change *c),
                                        void *arg);

#endif
