/* SPDX-License-Identifier: Apache-2.0
 *
 * One group of shards: a file, and the thread that writes it. Internal to store/; state.h has what
 * holds of requests.
 */
#ifndef ISOLA_STORE_GROUP_H
#define ISOLA_STORE_GROUP_H

#include "base/hash.h"
#include "store/overlay.h"
#include "store/state.h"

enum isola__op {
    ISOLA__OP_GET,
    ISOLA__OP_ROWS,
    ISOLA__OP_RANGE,
    ISOLA__OP_PIECE,
    ISOLA__OP_EXTENT,
    ISOLA__OP_WRITE,
    ISOLA__OP_DEL,
    ISOLA__OP_DUE,
    ISOLA__OP_OUTBOXES,
    ISOLA__OP_FORGET,
    ISOLA__OP_HOLD,
};

/* A list of requests, in their order. Zero is an empty one. */
struct isola__queue {
    struct isola_state_req *head;
    struct isola_state_req **tail; /* valid while head is not NULL */
};
static inline void isola__queue_push(struct isola__queue *q, struct isola_state_req *req)
{
    req->next = NULL;
    if (q->head == NULL)
        q->head = req;
    else
        *q->tail = req;
    q->tail = &req->next;
}

/* Requests under way are counted in so many places, by their address. */
#define ISOLA__PLACES 4096u
static inline unsigned isola__place(struct isola_slice address)
{
    return (unsigned)(isola_hash_table(address.data, address.len) % ISOLA__PLACES);
}

struct isola__group;
/* What groups tell whoever has them. Of each of their threads, which must not wait. */
struct isola__group_ops {
    void *arg;
    /* An address that is in the file's journal. */
    void (*found)(void *arg, struct isola_slice address);
    size_t fold_bytes; /* as of isola_state_options, not 0 */
    struct isola__history_limits history;
};

/* Errors as isola_state_open. */
POOL_THREAD ISOLA_MUST_USE int isola__group_open(const char *path,
                                                 const struct isola__group_ops *ops,
                                                 struct isola__group **out, struct isola_err *err);
/* Ends what is requested, puts into the tables what is in the journal, and its thread. */
POOL_THREAD void isola__group_stop(struct isola__group *g);
/* When nobody uses it any more. */
POOL_THREAD void isola__group_close(struct isola__group *g);

/* Hands a request to the group's thread. ISOLA__OP_HOLD: in its callback, which may
 * wait, all is in the tables and nobody changes them. */
ANY_THREAD void isola__group_request(struct isola__group *g, struct isola_state_req *req);
/* GET to EXTENT: done by the caller if what it asks for can be known without the group's
 * thread, else handed to it. */
POOL_THREAD void isola__group_read(struct isola__group *g, struct isola_state_req *req);

/* Another thread, one at a time: as isola__tables_scan. */
POOL_THREAD int isola__group_scan(struct isola__group *g, struct isola_slice from, unsigned n,
                                  void (*fn)(void *arg, struct isola_slice address), void *arg,
                                  struct isola_buf *last, bool *end);
/* Adds commits that are not in the tables yet, and their bytes. */
ANY_THREAD void isola__group_waiting(struct isola__group *g, uint64_t *commits, uint64_t *bytes);
/* Its tables have taken nothing when that was tried last. */
ANY_THREAD bool isola__group_stuck(struct isola__group *g);
/* Its file; borrowed. */
ANY_THREAD const char *isola__group_path(const struct isola__group *g);
/* Why a read or a commit has failed last, and when, ms since 1970. False: none has. */
ANY_THREAD bool isola__group_failure(struct isola__group *g, struct isola_err *err, int64_t *at);
ANY_THREAD void isola__group_stats(struct isola__group *g, struct isola_state_stats *add_to);

#endif
