/* SPDX-License-Identifier: Apache-2.0
 *
 * What an actor had before: when it has changed, and what is to be written so that it has again
 * what it had then. Its state, its storage, its database and its timers; not its messages: what was
 * sent stays sent, and what was handled stays handled.
 *
 * It is known at points, which are a second apart, or more when much is written: whatever changed
 * between two is of the later one. How long, isola_state_options say.
 */
#ifndef ISOLA_STORE_HISTORY_H
#define ISOLA_STORE_HISTORY_H

#include "store/state.h"

struct isola_history_count {
    uint64_t put, gone;
};

/* What has changed. */
struct isola_history_changes {
    bool state;
    struct isola_history_count timers, items, pages;
    uint64_t bytes; /* of values that were put */
};

struct isola_history_point {
    int64_t time; /* ms since 1970: it was so then, and until the next one */
    bool oldest;  /* so it was when the history begins; `what` is empty */
    struct isola_history_changes what;
};

struct isola_history {
    bool on;       /* it is kept */
    int64_t since; /* from when on it is there, ms since 1970; 0: there is none yet */
    struct isola_history_point *points; /* the newest first */
    size_t n, total;                    /* those that are here, and all */
};

/* When `address` has changed; `most` points at the most. Fills `out`, for isola_history_free.
 * Blocks. ISOLA_EIO, ISOLA_ENOMEM. */
POOL_THREAD ISOLA_MUST_USE int isola_state_history(struct isola_state *s,
                                                   struct isola_slice address, size_t most,
                                                   struct isola_history *out,
                                                   struct isola_err *err);
ANY_THREAD void isola_history_free(struct isola_history *h);

/* What is to be written, with `change`, so that an actor has what it had then. */
struct isola_past {
    bool there; /* it had anything then, if an empty state */
    struct isola_state_change change;
    struct isola_history_changes what;
    uint64_t due;                /* of the first timer in it, ms since 1970; 0: there is none */
    struct isola_buf state;      /* memory of the change */
    struct isola_kept_rows rows; /* likewise */
};

/* As of `time`, ms since 1970. Fills `out`, for isola_past_free. Nobody is to change the address
 * until it is written. Blocks. ISOLA_EINVAL: the time is not over; ISOLA_ENOENT: the history does
 * not reach so far, or there is none; ISOLA_EIO, ISOLA_ENOMEM. */
POOL_THREAD ISOLA_MUST_USE int isola_state_past(struct isola_state *s, struct isola_slice address,
                                                int64_t time, struct isola_past *out,
                                                struct isola_err *err);
/* All that it had then: its state, and rows in the order of part, peer and number; `what` counts
 * them. Likewise otherwise. ISOLA_PAST_NOW: what it has. */
#define ISOLA_PAST_NOW INT64_MAX
POOL_THREAD ISOLA_MUST_USE int isola_state_then(struct isola_state *s, struct isola_slice address,
                                                int64_t time, struct isola_past *out,
                                                struct isola_err *err);
/* As isola_state_past, to what another store says that it had then. ISOLA_EINVAL: that is not as
 * isola_state_then gives it. */
POOL_THREAD ISOLA_MUST_USE int isola_state_past_from(struct isola_state *s,
                                                     struct isola_slice address,
                                                     const struct isola_past *then,
                                                     struct isola_past *out, struct isola_err *err);
ANY_THREAD void isola_past_free(struct isola_past *p);

/* All that the state of `address` has been since the history began, in order, to what it is: each
 * is given to `fn` with the times from when and until when (INT64_MAX: still) it was so. Blocks. */
POOL_THREAD ISOLA_MUST_USE int isola_state_values(struct isola_state *s, struct isola_slice address,
                                                  void (*fn)(void *arg, int64_t from, int64_t until,
                                                             struct isola_slice value),
                                                  void *arg, struct isola_err *err);

#endif
