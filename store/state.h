/* SPDX-License-Identifier: Apache-2.0
 *
 * What actors keep. At an address there is a value, its state, and rows beside it (base/kept.h),
 * which are written in the same commit and read together with it. `DIR/state.db` says how many
 * groups addresses belong to; each group has files and threads of its own (group.h).
 *
 * Requests for an address are taken in order. All writes that wait when its group's writer comes
 * back from a commit go into the next one, and their callbacks fire only after that is on disk:
 * this is what the output gate waits for. A read sees every write requested before it. Callbacks
 * of one address fire in the order of its requests; between addresses a read may overtake writes.
 *
 * One process at a time has the store: an open waits a while for another to let go, so that an
 * actor-host that is still ending cannot write behind its successor's back.
 *
 * Callbacks fire on threads of the store's, or that of isola_state_get_here and
 * isola_state_rows_here: they must enqueue and wake, not work.
 */
#ifndef ISOLA_STORE_STATE_H
#define ISOLA_STORE_STATE_H

#include "base/error.h"
#include "base/kept.h"

struct isola_state;

struct isola_state_options {
    unsigned groups;     /* files, each with a thread that writes it, when there is none yet; 0: as
                            suits the machine */
    size_t fold_bytes;   /* so much in the journal, and in memory, is brought into the tables while
                            commits go on; 0: 16 MB */
    uint64_t history_ms; /* so long it is kept what rows were before they were changed
                            (history.h); 0: not at all */
    uint64_t history_bytes; /* and no more of it, about; the oldest goes first. 0: 1 GB */
    int64_t (*clock)(void); /* ms since 1970; NULL: isola_clock_wall_ms */
};
/* Starts its threads. Errors with sentences: ISOLA_ESCHEMA (newer schema), ISOLA_EBUSY (another
 * process has it), ISOLA_EIO, ISOLA_EPERM. May wait for some seconds. */
POOL_THREAD ISOLA_MUST_USE int isola_state_open(const char *path, struct isola_state **out,
                                                struct isola_err *err);
POOL_THREAD ISOLA_MUST_USE int isola_state_open_with(const char *path,
                                                     const struct isola_state_options *options,
                                                     struct isola_state **out,
                                                     struct isola_err *err);
/* Finishes everything requested before, then stops the threads. */
POOL_THREAD void isola_state_close(struct isola_state *s);

struct isola_state_req;
/* code 0, ISOLA_ENOENT (a get of what is not there) or ISOLA_EIO (`why` is a sentence). `value` is
 * borrowed for the call and only for gets, as are req->rows. The req is the caller's again before
 * the callback is entered. */
typedef void (*isola_state_cb)(struct isola_state_req *req, int code, struct isola_slice value,
                               const char *why);

/* Embed it; it must stay valid until the callback. Fields below the line are the store's. */
struct isola_state_req {
    isola_state_cb cb;
    void *arg;
    struct isola_slice address;    /* borrowed until cb */
    const struct isola_kept *rows; /* in the cb of a get: what is read with the state (parts up
                                      to ISOLA_KEPT_READ), in the order of part, peer and number; of
                                      a list: see there */
    size_t nrows;
    bool more; /* in the cb of a piece: there are rows beyond these */
    /* --- */
    uint8_t op;
    bool has_value, clear, all;
    union {
        uint64_t forget_ms;
        const struct isola_kept_range *range;
        const struct isola_kept_due *due;
        const struct isola_kept_after *after;
    };
    struct isola_slice value;
    struct isola_state_req *next;
};

/* All in one transaction. */
struct isola_state_change {
    bool has_value; /* `value` replaces the state; else that stays as it is, and is empty where
                       there is none */
    bool clear;     /* all rows there are go first */
    struct isola_slice value;
    const struct isola_kept *rows; /* put or, when `gone`, removed, in their order */
    size_t nrows;
};

/* True when nothing is stored at `address` for certain, and no write was requested: a get would
 * give ISOLA_ENOENT. False: perhaps; always so while the store is still looking through a file that
 * was there before, and after a del. */
ANY_THREAD bool isola_state_absent(struct isola_state *s, struct isola_slice address);
ANY_THREAD void isola_state_get(struct isola_state *s, struct isola_state_req *req);
/* The same; when nothing else is under way it is done by the caller, and the callback comes before
 * this returns. It blocks for what a read takes: some ten microseconds, or once in a while, when
 * the disk is slow, that. Not to be called with a lock held that the callback takes. */
POOL_THREAD void isola_state_get_here(struct isola_state *s, struct isola_state_req *req);
/* The same with all rows. */
ANY_THREAD void isola_state_get_all(struct isola_state *s, struct isola_state_req *req);
/* Named rows: in the cb those of `wanted` (part, peer, number) that are there, in that order.
 * Borrows `wanted` until cb. Never ISOLA_ENOENT. */
ANY_THREAD void isola_state_rows(struct isola_state *s, struct isola_state_req *req,
                                 const struct isola_kept *wanted, size_t n);
/* The same; done by the caller as isola_state_get_here does it. */
POOL_THREAD void isola_state_rows_here(struct isola_state *s, struct isola_state_req *req,
                                       const struct isola_kept *wanted, size_t n);
/* The same for one row, for who waits: blocks for what a read takes, and for the commit under way
 * when that has to do with the address. 0 (appends its value), ISOLA_ENOENT, ISOLA_EIO. */
POOL_THREAD ISOLA_MUST_USE int isola_state_row_wait(struct isola_state *s,
                                                    struct isola_slice address,
                                                    const struct isola_kept *wanted,
                                                    struct isola_buf *out, struct isola_err *err);
/* In the cb the rows of `range`, which is borrowed until then. Never ISOLA_ENOENT. */
ANY_THREAD void isola_state_range(struct isola_state *s, struct isola_state_req *req,
                                  const struct isola_kept_range *range);
/* In the cb rows `after`, which is borrowed until then, and req->more; when it begins with the
 * first the state as well (and perhaps ISOLA_ENOENT), which `bytes` do not count. */
ANY_THREAD void isola_state_piece(struct isola_state *s, struct isola_state_req *req,
                                  const struct isola_kept_after *after);
/* How much there is: in the cb the last row in the order of pieces, if any, whose value is the
 * bytes of all of them (isola_kept_number). Never ISOLA_ENOENT. Reads some of each row. */
ANY_THREAD void isola_state_extent(struct isola_state *s, struct isola_state_req *req);
/* In the cb rows of `due`, which is borrowed until then: `peer` is the timer's id, `value` its
 * address. req->address is not looked at. */
ANY_THREAD void isola_state_due(struct isola_state *s, struct isola_state_req *req,
                                const struct isola_kept_due *due);
/* Copies `change`, but borrows its value and rows until cb. */
ANY_THREAD void isola_state_write(struct isola_state *s, struct isola_state_req *req,
                                  const struct isola_state_change *change);
/* Replaces the whole state of `req->address`, and leaves the rows. Borrows `value` until cb. */
ANY_THREAD void isola_state_put(struct isola_state *s, struct isola_state_req *req,
                                struct isola_slice value);
/* The state and all rows. */
ANY_THREAD void isola_state_del(struct isola_state *s, struct isola_state_req *req);
/* Which addresses have rows of ISOLA_KEPT_OUTBOX: in the cb there is a row for each of them, with
 * the address as `peer`. req->address is not looked at. */
ANY_THREAD void isola_state_outboxes(struct isola_state *s, struct isola_state_req *req);
/* Forgets what programs (peers whose name begins with `~`) have sent and been answered, and all
 * answers, that was written last `ms` ago or longer. req->address is not looked at. When it fails
 * some may be forgotten. */
ANY_THREAD void isola_state_forget(struct isola_state *s, struct isola_state_req *req, uint64_t ms);

struct isola_state_stats {
    uint64_t reads, writes, commits, failed_commits;
    uint64_t waiting; /* bytes of commits that are not in the tables yet, in memory and in the
                         journal; when they are many, commits wait */
    bool stuck;       /* the tables of a file take nothing at present: of this disk, most likely */
};
ANY_THREAD void isola_state_stats(struct isola_state *s, struct isola_state_stats *out);
/* Why a read or a commit has failed last, and when, ms since 1970. False: none has since the store
 * was opened. */
ANY_THREAD bool isola_state_failure(struct isola_state *s, struct isola_err *err, int64_t *at);

#endif
