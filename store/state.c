/* SPDX-License-Identifier: Apache-2.0
 *
 * The store of states: which group a request is for, and what the groups share.
 *
 * `state.db` says how many groups there are, and keeps other processes out; group n is `state-n.db`
 * beside it, with a thread that writes it (group.c). An address belongs to the group of its shard.
 * Requests of all addresses go to each group, and their answers become one.
 *
 * A thread for all groups does reads that must not be waited for, and, when it has none, looks
 * through what was there before (presence.h).
 *
 * While the disk is slow, who could read by itself leaves that to the thread: who waits for a disk
 * is not to hold up others.
 *
 * Failure modes: those of groups.
 */
#include "store/state.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/shard.h"
#include "base/thread.h"
#include "store/presence.h"
#include "store/state_own.h"

#define FOLD_BYTES    (16u << 20)
#define HISTORY_BYTES (UINT64_C(1) << 30)
/* Addresses looked at in one go, between requests; in files of so many bytes, all together: of more
 * it is not known without reading whether an address has a state. */
#define SCAN_ROWS      500
#define SCAN_BYTES_MAX (UINT64_C(256) << 20)
/* When two of a few reads have taken so long, ns, others are left to the thread for a while, ns;
 * one may only have been interrupted. */
#define SLOW_NS   1000000u
#define SLOW_EACH 16 /* fast reads make up for a slow one */
#define AVOID_NS  200000000u

/* The first three are those of a time when this was the only file. */
static const char *const migrations[ISOLA__STATE_SCHEMA] = {
    "CREATE TABLE state (address TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE kept (address TEXT NOT NULL, part INTEGER NOT NULL, peer TEXT NOT NULL,"
    " seq INTEGER NOT NULL, value BLOB NOT NULL, written INTEGER NOT NULL,"
    " PRIMARY KEY (address, part, peer, seq)) WITHOUT ROWID;"
    "CREATE INDEX outboxes ON kept (address) WHERE part = 2;"
    "CREATE INDEX forgettable ON kept (written) WHERE part = 4 OR (part = 3 AND peer >= '~')",
    "CREATE INDEX timers ON kept (seq, address, peer) WHERE part = 5",
    "CREATE TABLE groups (number INTEGER NOT NULL)",
};
static const struct isola__schema schema = {ISOLA__STATE_SCHEMA, migrations, .exclusive = true};

/* A thread, and what it is woken for. */
struct helper {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool closing; /* under the lock */
    bool runs;
    pthread_t thread;
};

struct isola_state {
    struct isola__db root;
    pthread_mutex_t root_lock; /* once it is open */
    pthread_mutex_t hold_lock; /* one hold at a time */
    unsigned ngroups;
    struct isola__group *group[ISOLA__GROUPS_MAX];
    struct isola__presence presence;
    struct isola__group_ops ops;

    struct helper reader;
    struct isola__queue reads;       /* under reader.lock */
    atomic_uint lane[ISOLA__PLACES]; /* of the requests there, until they have ended or gone on; */
    atomic_uint lane_all;            /* of those of all addresses */
    bool scanning;                   /* the reader's own */

    pthread_mutex_t slow_lock;
    atomic_uint slow;    /* changed under slow_lock */
    uint64_t slow_until; /* under slow_lock: reads are for the thread alone, ns of isola_clock_ns */
};

static struct isola__group *group_of(struct isola_state *s, struct isola_slice address)
{
    return s->group[s->ngroups == 1 ? 0 : isola_shard(address) % s->ngroups];
}

/* --- helpers --- */

static void helper_init(struct helper *h)
{
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->wake, NULL);
}

static int helper_start(struct helper *h, const char *name, void *(*run)(void *), void *arg,
                        struct isola_err *err)
{
    int rc = isola_thread_start(&h->thread, name, run, arg);
    if (rc != 0)
        return isola_fail(err, ISOLA_ENOMEM, "cannot start a thread of the store: %s",
                          strerror(rc));
    h->runs = true;
    return 0;
}

static void helper_end(struct helper *h)
{
    pthread_mutex_lock(&h->lock);
    h->closing = true;
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->wake);
    if (h->runs)
        pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->wake);
    pthread_mutex_destroy(&h->lock);
}

/* --- one request for all groups --- */

/* One request, as each group has it, until all have answered. */
struct fan {
    struct isola_state_req *req;
    pthread_mutex_t lock;
    unsigned left;
    int code;
    char why[1000];
    struct isola_kept_rows rows;
    struct isola_state_req part[ISOLA__GROUPS_MAX];
};

/* Timers by due, address and id; of outboxes only the peer is there. */
static int by_order(const void *a, const void *b)
{
    const struct isola_kept *x = a, *y = b;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    int order = isola_slice_order(x->value, y->value);
    return order != 0 ? order : isola_slice_order(x->peer, y->peer);
}

static void fan_end(struct fan *f)
{
    struct isola_state_req *req = f->req;
    size_t most = req->op == ISOLA__OP_DUE ? req->due->rows : SIZE_MAX;
    if (f->rows.n > 0)
        qsort(f->rows.row, f->rows.n, sizeof(f->rows.row[0]), by_order);
    req->rows = f->rows.row;
    req->nrows = f->rows.n < most ? f->rows.n : most;
    req->cb(req, f->code, isola_slice(NULL, 0), f->code != 0 ? f->why : NULL);
    isola_kept_free(&f->rows);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void fan_answered(struct isola_state_req *part, int code, struct isola_slice value,
                         const char *why)
{
    struct fan *f = part->arg;
    (void)value;
    pthread_mutex_lock(&f->lock);
    if (code == 0) {
        isola_kept_copy(&f->rows, part->rows, part->nrows);
    } else {
        f->code = code;
        snprintf(f->why, sizeof(f->why), "%s", why != NULL ? why : "");
    }
    bool last = --f->left == 0;
    pthread_mutex_unlock(&f->lock);
    if (last)
        fan_end(f);
}

static void request_all(struct isola_state *s, struct isola_state_req *req)
{
    if (s->ngroups == 1) {
        isola__group_request(s->group[0], req);
        return;
    }
    struct fan *f = isola_zalloc(sizeof(*f));
    f->req = req;
    f->left = s->ngroups;
    pthread_mutex_init(&f->lock, NULL);
    for (unsigned i = 0, n = s->ngroups; i < n; i++) {
        f->part[i] = *req;
        f->part[i].cb = fan_answered;
        f->part[i].arg = f;
    }
    for (unsigned i = 0, n = s->ngroups; i < n; i++) /* with the last one it may be gone */
        isola__group_request(s->group[i], &f->part[i]);
}

/* --- reads that are not waited for, and what is there already --- */

static void on_found(void *arg, struct isola_slice address)
{
    struct isola_state *s = arg;
    isola__presence_add(&s->presence, address);
}

struct scan {
    unsigned group;
    struct isola_buf from; /* the last address that was looked at */
};

/* Some more of the addresses in the files go into the filter. What is written meanwhile is in it.
 */
static void scan_some(struct isola_state *s, struct scan *at)
{
    struct isola_buf last = {0};
    bool end = false;
    int code = isola__group_scan(s->group[at->group], isola_buf_slice(&at->from), SCAN_ROWS,
                                 on_found, s, &last, &end);
    isola_buf_free(&at->from);
    at->from = last;
    if (code != 0) {
        s->scanning = false; /* nothing is known then without reading */
    } else if (end) {
        isola_buf_free(&at->from);
        s->scanning = ++at->group < s->ngroups;
        if (!s->scanning)
            isola__presence_complete(&s->presence);
    }
}

static bool is_read(const struct isola_state_req *req)
{
    return req->op <= ISOLA__OP_EXTENT;
}

static atomic_uint *lane_of(struct isola_state *s, const struct isola_state_req *req)
{
    return req->op >= ISOLA__OP_DUE ? &s->lane_all : &s->lane[isola__place(req->address)];
}

static void go_on(struct isola_state *s, struct isola_state_req *req)
{
    if (req->op >= ISOLA__OP_DUE)
        request_all(s, req);
    else if (is_read(req))
        isola__group_read(group_of(s, req->address), req);
    else
        isola__group_request(group_of(s, req->address), req);
}

static void *read_on(void *arg)
{
    struct isola_state *s = arg;
    struct scan at = {0};
    pthread_mutex_lock(&s->reader.lock);
    for (;;) {
        struct isola_state_req *req = s->reads.head;
        s->reads.head = NULL;
        if (req == NULL && s->reader.closing)
            break;
        if (req == NULL && !s->scanning) {
            pthread_cond_wait(&s->reader.wake, &s->reader.lock);
            continue;
        }
        pthread_mutex_unlock(&s->reader.lock);
        if (req == NULL)
            scan_some(s, &at);
        while (req != NULL) {
            struct isola_state_req *next = req->next;
            atomic_uint *lane = lane_of(s, req);
            go_on(s, req);
            atomic_fetch_sub_explicit(lane, 1, memory_order_release);
            req = next;
        }
        pthread_mutex_lock(&s->reader.lock);
    }
    pthread_mutex_unlock(&s->reader.lock);
    isola_buf_free(&at.from);
    return NULL;
}

/* Requests of an address, and those of all, are done in their order: what comes while the reader
 * has some goes there too, and on from there. */
static void request(struct isola_state *s, struct isola_state_req *req, enum isola__op op,
                    bool here)
{
    ISOLA_CHECK(req->cb != NULL);
    req->op = (uint8_t)op;
    if (here && op < ISOLA__OP_DUE &&
        atomic_load_explicit(&s->lane[isola__place(req->address)], memory_order_acquire) == 0 &&
        atomic_load_explicit(&s->lane_all, memory_order_acquire) == 0) {
        go_on(s, req);
        return;
    }
    atomic_fetch_add_explicit(lane_of(s, req), 1, memory_order_relaxed);
    pthread_mutex_lock(&s->reader.lock);
    isola__queue_push(&s->reads, req);
    pthread_mutex_unlock(&s->reader.lock);
    pthread_cond_signal(&s->reader.wake);
}

/* By the caller, unless the disk is slow. */
static void read_here(struct isola_state *s, struct isola_state_req *req, enum isola__op op)
{
    uint64_t began = isola_clock_ns();
    pthread_mutex_lock(&s->slow_lock);
    bool slow = began < s->slow_until;
    pthread_mutex_unlock(&s->slow_lock);
    request(s, req, op, !slow);
    if (slow)
        return;
    uint64_t now = isola_clock_ns();
    if (now - began <= SLOW_NS &&
        atomic_load_explicit(&s->slow, memory_order_relaxed) == 0) /* the usual */
        return;
    pthread_mutex_lock(&s->slow_lock);
    if (now - began <= SLOW_NS)
        s->slow -= s->slow > 0;
    else if (s->slow == 0)
        s->slow = SLOW_EACH;
    else
        s->slow_until = now + AVOID_NS;
    pthread_mutex_unlock(&s->slow_lock);
}

/* --- requests of one address --- */

bool isola_state_absent(struct isola_state *s, struct isola_slice address)
{
    return isola__presence_absent(&s->presence, address);
}

void isola_state_write(struct isola_state *s, struct isola_state_req *req,
                       const struct isola_state_change *change)
{
    req->has_value = change->has_value;
    req->clear = change->clear;
    req->value = change->value;
    req->rows = change->rows;
    req->nrows = change->nrows;
    isola__presence_add(&s->presence, req->address);
    request(s, req, ISOLA__OP_WRITE, true);
}

void isola_state_put(struct isola_state *s, struct isola_state_req *req, struct isola_slice value)
{
    isola_state_write(s, req, &(struct isola_state_change){.has_value = true, .value = value});
}

/* Nothing is written with it. */
static void bare(struct isola_state_req *req)
{
    req->has_value = req->clear = req->all = false;
    req->value = isola_slice(NULL, 0);
    req->rows = NULL;
    req->nrows = 0;
}

void isola_state_del(struct isola_state *s, struct isola_state_req *req)
{
    bare(req);
    request(s, req, ISOLA__OP_DEL, true);
}

void isola_state_get(struct isola_state *s, struct isola_state_req *req)
{
    bare(req);
    request(s, req, ISOLA__OP_GET, false);
}

void isola_state_get_here(struct isola_state *s, struct isola_state_req *req)
{
    bare(req);
    read_here(s, req, ISOLA__OP_GET);
}

void isola_state_get_all(struct isola_state *s, struct isola_state_req *req)
{
    bare(req);
    req->all = true;
    request(s, req, ISOLA__OP_GET, false);
}

void isola_state_rows(struct isola_state *s, struct isola_state_req *req,
                      const struct isola_kept *wanted, size_t n)
{
    bare(req);
    req->rows = wanted;
    req->nrows = n;
    request(s, req, ISOLA__OP_ROWS, false);
}

void isola_state_rows_here(struct isola_state *s, struct isola_state_req *req,
                           const struct isola_kept *wanted, size_t n)
{
    bare(req);
    req->rows = wanted;
    req->nrows = n;
    read_here(s, req, ISOLA__OP_ROWS);
}

void isola_state_range(struct isola_state *s, struct isola_state_req *req,
                       const struct isola_kept_range *range)
{
    bare(req);
    req->range = range;
    request(s, req, ISOLA__OP_RANGE, false);
}

void isola_state_piece(struct isola_state *s, struct isola_state_req *req,
                       const struct isola_kept_after *after)
{
    bare(req);
    req->after = after;
    req->more = false;
    request(s, req, ISOLA__OP_PIECE, false);
}

void isola_state_extent(struct isola_state *s, struct isola_state_req *req)
{
    bare(req);
    request(s, req, ISOLA__OP_EXTENT, false);
}

/* Who waits. */
struct waiter {
    struct isola_state_req req;
    struct isola_buf *out;
    struct isola_err *err;
    int code;
    sem_t done;
};

static void await(struct waiter *w)
{
    while (sem_wait(&w->done) != 0) /* EINTR */
        continue;
}

static void row_read(struct isola_state_req *req, int code, struct isola_slice value,
                     const char *why)
{
    struct waiter *w = req->arg;
    (void)value;
    if (code != 0)
        code = isola_fail(w->err, code, "%s", why);
    else if (req->nrows == 0)
        code = isola_fail(w->err, ISOLA_ENOENT, "no such row is stored");
    else
        isola_buf_append(w->out, req->rows[0].value.data, req->rows[0].value.len);
    w->code = code;
    sem_post(&w->done);
}

int isola_state_row_wait(struct isola_state *s, struct isola_slice address,
                         const struct isola_kept *wanted, struct isola_buf *out,
                         struct isola_err *err)
{
    struct waiter w = {.req = {.cb = row_read, .address = address}, .out = out, .err = err};
    w.req.arg = &w;
    w.req.rows = wanted;
    w.req.nrows = 1;
    sem_init(&w.done, 0, 0);
    read_here(s, &w.req, ISOLA__OP_ROWS);
    await(&w);
    sem_destroy(&w.done);
    return w.code;
}

/* --- requests of all addresses --- */

void isola_state_due(struct isola_state *s, struct isola_state_req *req,
                     const struct isola_kept_due *due)
{
    bare(req);
    req->due = due;
    request(s, req, ISOLA__OP_DUE, false);
}

void isola_state_outboxes(struct isola_state *s, struct isola_state_req *req)
{
    bare(req);
    request(s, req, ISOLA__OP_OUTBOXES, false);
}

void isola_state_forget(struct isola_state *s, struct isola_state_req *req, uint64_t ms)
{
    bare(req);
    req->forget_ms = ms;
    request(s, req, ISOLA__OP_FORGET, false);
}

void isola_state_stats(struct isola_state *s, struct isola_state_stats *out)
{
    *out = (struct isola_state_stats){0};
    for (unsigned i = 0; i < s->ngroups; i++)
        isola__group_stats(s->group[i], out);
    for (unsigned i = 0; i < s->ngroups && !out->stuck; i++)
        out->stuck = isola__group_stuck(s->group[i]);
    uint64_t commits;
    isola__state_waiting(s, &commits, &out->waiting);
}

bool isola_state_failure(struct isola_state *s, struct isola_err *err, int64_t *at)
{
    *err = (struct isola_err){0};
    *at = 0;
    for (unsigned i = 0; i < s->ngroups; i++) {
        struct isola_err each;
        int64_t then;
        if (isola__group_failure(s->group[i], &each, &then) && then >= *at) {
            *err = each;
            *at = then;
        }
    }
    return err->code != 0;
}

/* --- all of it --- */

unsigned isola__state_groups(const struct isola_state *s)
{
    return s->ngroups;
}

const char *isola__state_path(const struct isola_state *s, unsigned group)
{
    return isola__group_path(s->group[group]);
}

struct isola__db *isola__state_root(struct isola_state *s, pthread_mutex_t **lock)
{
    *lock = &s->root_lock;
    return &s->root;
}

static void settled(struct isola_state_req *req, int code, struct isola_slice value,
                    const char *why)
{
    struct waiter *w = req->arg;
    (void)value;
    w->code = code != 0 ? isola_fail(w->err, code, "%s", why) : 0;
    sem_post(&w->done);
}

const struct isola__history_limits *isola__state_history_limits(const struct isola_state *s)
{
    return &s->ops.history;
}

/* A read of the address comes after all that was requested of it before, wherever that waits. */
int isola__state_settle(struct isola_state *s, struct isola_slice address, const char **path,
                        struct isola_err *err)
{
    struct waiter w = {.req = {.cb = settled, .address = address}, .err = err};
    struct isola__group *g = group_of(s, address);
    w.req.arg = &w;
    *path = isola__group_path(g);
    sem_init(&w.done, 0, 0);
    isola_state_rows(s, &w.req, NULL, 0);
    await(&w);
    if (w.code == 0) {
        w.req.op = ISOLA__OP_HOLD;
        isola__group_request(g, &w.req);
        await(&w);
    }
    sem_destroy(&w.done);
    return w.code;
}

int isola__state_settle_group(struct isola_state *s, unsigned group, const char **path,
                              struct isola_err *err)
{
    struct waiter w = {.req = {.cb = settled, .op = ISOLA__OP_HOLD}, .err = err};
    w.req.arg = &w;
    *path = isola__group_path(s->group[group]);
    sem_init(&w.done, 0, 0);
    isola__group_request(s->group[group], &w.req);
    await(&w);
    sem_destroy(&w.done);
    return w.code;
}

struct hold {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned held, released;
    bool over;
    struct isola_err err; /* of a group that could not be held */
    struct isola_state_req req[ISOLA__GROUPS_MAX];
};

static void held(struct isola_state_req *req, int code, struct isola_slice value, const char *why)
{
    struct hold *h = req->arg;
    (void)value;
    pthread_mutex_lock(&h->lock);
    if (code != 0)
        isola_fail(&h->err, code, "%s", why);
    h->held++;
    pthread_cond_broadcast(&h->changed);
    while (!h->over)
        pthread_cond_wait(&h->changed, &h->lock);
    h->released++;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

int isola__state_hold(struct isola_state *s, void (*fn)(void *arg), void *arg,
                      struct isola_err *err)
{
    struct hold *h = isola_zalloc(sizeof(*h));
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    pthread_mutex_lock(&s->hold_lock); /* two would wait for each other */
    for (unsigned i = 0; i < s->ngroups; i++) {
        h->req[i] = (struct isola_state_req){.cb = held, .arg = h, .op = ISOLA__OP_HOLD};
        isola__group_request(s->group[i], &h->req[i]);
    }
    pthread_mutex_lock(&h->lock);
    while (h->held < s->ngroups)
        pthread_cond_wait(&h->changed, &h->lock);
    int code = h->err.code;
    if (code == 0)
        fn(arg);
    else
        *err = h->err;
    h->over = true;
    pthread_cond_broadcast(&h->changed);
    while (h->released < s->ngroups)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
    pthread_mutex_unlock(&s->hold_lock);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return code;
}

void isola__state_waiting(struct isola_state *s, uint64_t *commits, uint64_t *bytes)
{
    *commits = *bytes = 0;
    for (unsigned i = 0; i < s->ngroups; i++)
        isola__group_waiting(s->group[i], commits, bytes);
}

/* --- open and close --- */

/* DIR/state.db: DIR/state-3.db */
static char *group_path(const char *path, unsigned number)
{
    size_t n = strlen(path);
    if (n > 3 && strcmp(path + n - 3, ".db") == 0)
        n -= 3;
    return isola_format("%.*s-%u.db", (int)n, path, number);
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

/* As many as there are already; else a writer for each two processors, as the rest of the work
 * wants some too. */
static int count_groups(struct isola_state *s, unsigned wanted, struct isola_err *err)
{
    int n = 0;
    int code = isola__db_int(&s->root, "SELECT total(number) FROM groups", &n, err);
    if (code != 0)
        return code;
    if (n == 0) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        n = wanted > 0 ? (int)wanted : cpus >= 4 ? (int)(cpus / 2) : 1;
        n = n > ISOLA__GROUPS_MAX ? ISOLA__GROUPS_MAX : n;
        char text[64];
        snprintf(text, sizeof(text), "INSERT INTO groups VALUES (%d)", n);
        code = isola__db_exec(&s->root, text, "set up", err);
    }
    if (code == 0 && (n < 1 || n > ISOLA__GROUPS_MAX))
        code = isola_fail(err, ISOLA_EIO, "cannot open %s: it claims %d groups; restore a backup",
                          s->root.path, n);
    s->ngroups = code == 0 ? (unsigned)n : 0;
    return code;
}

static int open_groups(struct isola_state *s, const char *path, struct isola_err *err)
{
    uint64_t bytes = 0;
    char *name[ISOLA__GROUPS_MAX];
    for (unsigned i = 0; i < s->ngroups; i++) {
        name[i] = group_path(path, i);
        bytes += file_bytes(name[i]);
    }
    s->scanning = bytes <= SCAN_BYTES_MAX;
    if (s->scanning)
        isola__presence_init(&s->presence, bytes);
    int code = 0;
    for (unsigned i = 0; i < s->ngroups; i++) {
        if (code == 0)
            code = isola__group_open(name[i], &s->ops, &s->group[i], err);
        free(name[i]);
    }
    return code;
}

static void close_all(struct isola_state *s)
{
    helper_end(&s->reader); /* it hands to groups */
    for (unsigned i = 0; i < s->ngroups && s->group[i] != NULL; i++)
        isola__group_stop(s->group[i]);
    for (unsigned i = 0; i < s->ngroups && s->group[i] != NULL; i++)
        isola__group_close(s->group[i]);
    isola__db_close(&s->root); /* last: now another process may have it all */
    isola__presence_free(&s->presence);
    pthread_mutex_destroy(&s->slow_lock);
    pthread_mutex_destroy(&s->root_lock);
    pthread_mutex_destroy(&s->hold_lock);
    free(s);
}

/* In equal shares, as addresses are. */
static struct isola__history_limits history_limits(const struct isola_state *s,
                                                   const struct isola_state_options *options)
{
    uint64_t bytes = options->history_bytes > 0 ? options->history_bytes : HISTORY_BYTES;
    return (struct isola__history_limits){.ms = options->history_ms,
                                          .bytes = bytes / s->ngroups,
                                          .clock = options->clock != NULL ? options->clock
                                                                          : isola_clock_wall_ms};
}

int isola_state_open_with(const char *path, const struct isola_state_options *options,
                          struct isola_state **out, struct isola_err *err)
{
    struct isola_state *s = isola_zalloc(sizeof(*s));
    helper_init(&s->reader);
    pthread_mutex_init(&s->slow_lock, NULL);
    pthread_mutex_init(&s->root_lock, NULL);
    pthread_mutex_init(&s->hold_lock, NULL);
    s->ops = (struct isola__group_ops){.arg = s,
                                       .found = on_found,
                                       .fold_bytes = options->fold_bytes > 0 ? options->fold_bytes
                                                                             : FOLD_BYTES};
    int code = isola__db_open(&s->root, path, &schema, err);
    if (code == 0)
        code = count_groups(s, options->groups, err);
    if (code == 0)
        s->ops.history = history_limits(s, options);
    if (code == 0)
        code = open_groups(s, path, err);
    if (code == 0)
        code = isola__state_leave_one_file(s, &s->root, err);
    if (code == 0)
        code = helper_start(&s->reader, "isola-read", read_on, s, err);
    if (code != 0) {
        close_all(s);
        return code;
    }
    *out = s;
    return 0;
}

int isola_state_open(const char *path, struct isola_state **out, struct isola_err *err)
{
    return isola_state_open_with(path, &(struct isola_state_options){0}, out, err);
}

void isola_state_close(struct isola_state *s)
{
    close_all(s);
}
