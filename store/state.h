/* SPDX-License-Identifier: Apache-2.0
 *
 * What actors keep: one SQLite file (`DIR/state.db`, WAL, synchronous=FULL), one thread of its own
 * that reads and writes it.
 *
 * Requests are taken in order. All writes that wait when the thread comes back from a commit go
 * into the next transaction, and their callbacks fire only after that commit is on disk: this is
 * what the output gate waits for. A read sees every write requested before it. Callbacks of one
 * address fire in the order of its requests; between addresses a read may overtake writes.
 *
 * One process at a time has the file: an open waits a while for another to let go, so that an
 * actor-host that is still ending cannot write behind its successor's back.
 *
 * Callbacks fire on the store's thread, or that of isola_state_get_here: they must enqueue and
 * wake, not work.
 */
#ifndef ISOLA_STORE_STATE_H
#define ISOLA_STORE_STATE_H

#include "base/buf.h"
#include "base/error.h"

struct isola_state;

/* Starts the thread. Errors with sentences: ISOLA_ESCHEMA (newer schema), ISOLA_EBUSY (another
 * process has it), ISOLA_EIO, ISOLA_EPERM. May wait for some seconds. */
POOL_THREAD ISOLA_MUST_USE int isola_state_open(const char *path, struct isola_state **out,
                                                struct isola_err *err);
/* Finishes everything requested before, then stops the thread. */
POOL_THREAD void isola_state_close(struct isola_state *s);

struct isola_state_req;
/* code 0, ISOLA_ENOENT (a get of what is not there) or ISOLA_EIO (`why` is a sentence). `value` is
 * borrowed for the call and only for gets. The req is the caller's again before the callback is
 * entered. */
typedef void (*isola_state_cb)(struct isola_state_req *req, int code, struct isola_slice value,
                               const char *why);

/* Embed it; it must stay valid until the callback. Fields below the line are the store's. */
struct isola_state_req {
    isola_state_cb cb;
    void *arg;
    struct isola_slice address; /* borrowed until cb */
    /* --- */
    int op;
    struct isola_slice value;
    struct isola_state_req *next;
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
/* Replaces the whole state of `req->address`. Borrows `value` until cb. */
ANY_THREAD void isola_state_put(struct isola_state *s, struct isola_state_req *req,
                                struct isola_slice value);
ANY_THREAD void isola_state_del(struct isola_state *s, struct isola_state_req *req);

struct isola_state_stats {
    uint64_t reads, writes, commits, failed_commits;
};
ANY_THREAD void isola_state_stats(struct isola_state *s, struct isola_state_stats *out);

#endif
