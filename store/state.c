/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of actors: a queue, a thread, a file.
 *
 * Callers link their requests into a list under a mutex. The thread takes the whole list, executes
 * the writes in one transaction and answers them when its commit is on disk; what arrived meanwhile
 * is the next list. A lone write does not wait for company, and nothing is allocated or copied per
 * request.
 *
 * A read is answered at once, unless its address may have an uncommitted write: then that is
 * committed first, so that nobody ever sees what a failed commit takes back. The addresses of the
 * open transaction are kept in a Bloom filter. Another one has all the addresses there are
 * (presence.h); the thread fills it when it has nothing else to do.
 *
 * A lone read need not wait for the thread to wake, which takes longer than it: who asks with
 * isola_state_get_here while the thread sleeps takes its place, and leaves what comes meanwhile to
 * it. While the disk is slow the thread does all of it, as who waits for it is not to hold up
 * others.
 *
 * Failure modes: a commit that fails is rolled back and its writes are tried one by one, so that a
 * value too big for the disk fails alone; after FAILURES_MAX in a row the rest of them fail with
 * the same reason. Later requests start afresh: the store recovers when the disk does.
 *
 * Invariants: callbacks of one address fire in the order of its requests; a write's callback with
 * code 0 fires after its commit is synced; a transaction is open only while `group.count` > 0.
 */
#include "store/state.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "store/presence.h"
#include "store/sqlite.h"

/* A transaction is committed early at this many bytes, which bounds the write-ahead log and the
 * wait of those in it. */
#define GROUP_BYTES_MAX (32u << 20)
#define FAILURES_MAX    8
#define FILTER_BITS     4096u
/* Addresses looked at in one go, between requests. */
#define SCAN_ROWS 500
/* When two of a few reads have taken so long, ns, others are left to the thread for a while, ns;
 * one may only have been interrupted. */
#define SLOW_NS   1000000u
#define SLOW_EACH 16 /* fast reads make up for a slow one */
#define AVOID_NS  200000000u

/* An address with rows in `kept` has one in `state`, whose value may be empty: so that who looks
 * for an address looks into one table. `written` is ms since 1970. */
static const char *const migrations[ISOLA__STATE_SCHEMA] = {
    "CREATE TABLE state (address TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE kept (address TEXT NOT NULL, part INTEGER NOT NULL, peer TEXT NOT NULL,"
    " seq INTEGER NOT NULL, value BLOB NOT NULL, written INTEGER NOT NULL,"
    " PRIMARY KEY (address, part, peer, seq)) WITHOUT ROWID;"
    "CREATE INDEX outboxes ON kept (address) WHERE part = 2;"
    "CREATE INDEX forgettable ON kept (written) WHERE part = 4 OR (part = 3 AND peer >= '~')",
    "CREATE INDEX timers ON kept (seq, address, peer) WHERE part = 5",
};
static const struct isola__schema schema = {ISOLA__STATE_SCHEMA, migrations, .exclusive = true};

enum op { OP_GET, OP_ROWS, OP_RANGE, OP_PUT, OP_DEL, OP_DUE, OP_OUTBOXES, OP_FORGET };

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    GET,
    PUT,
    TOUCH,
    DEL,
    SCAN,
    ANY_ROWS,
    GET_ROWS,
    GET_ROW,
    GET_UP,
    GET_DOWN,
    GET_DUE,
    PUT_ROW,
    DEL_ROWS,
    DEL_PART,
    CLEAR_ROWS,
    OUTBOXES,
    FORGET,
    STATEMENTS
};
static const char *const sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [GET] = "SELECT value FROM state WHERE address = ?1",
    [PUT] = ("INSERT INTO state (address, value) VALUES (?1, ?2)"
             " ON CONFLICT (address) DO UPDATE SET value = excluded.value"),
    [TOUCH] = "INSERT INTO state (address, value) VALUES (?1, x'') ON CONFLICT DO NOTHING",
    [DEL] = "DELETE FROM state WHERE address = ?1",
    [SCAN] = "SELECT address FROM state WHERE address > ?1 ORDER BY address LIMIT ?2",
    [ANY_ROWS] = "SELECT EXISTS (SELECT 1 FROM kept)",
    [GET_ROWS] = ("SELECT part, peer, seq, value FROM kept WHERE address = ?1 AND part <= ?2"
                  " ORDER BY part, peer, seq"),
    [GET_ROW] = ("SELECT part, peer, seq, value FROM kept"
                 " WHERE address = ?1 AND part = ?2 AND peer = ?3 AND seq = ?4"),
    [GET_UP] = ("SELECT part, peer, seq, value FROM kept WHERE address = ?1 AND part = ?2"
                " AND peer >= ?3 AND peer < ?4 ORDER BY peer, seq"),
    [GET_DOWN] = ("SELECT part, peer, seq, value FROM kept WHERE address = ?1 AND part = ?2"
                  " AND peer >= ?3 AND peer < ?4 ORDER BY peer DESC, seq DESC"),
    [GET_DUE] = ("SELECT part, peer, seq, address FROM kept WHERE part = 5 AND seq <= ?1"
                 " AND (seq, address, peer) > (?2, ?3, ?4) ORDER BY seq, address, peer LIMIT ?5"),
    [PUT_ROW] = ("INSERT INTO kept (address, part, peer, seq, value, written)"
                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (address, part, peer, seq)"
                 " DO UPDATE SET value = excluded.value, written = excluded.written"),
    [DEL_ROWS] = "DELETE FROM kept WHERE address = ?1 AND part = ?2 AND peer = ?3 AND seq <= ?4",
    [DEL_PART] = "DELETE FROM kept WHERE address = ?1 AND part = ?2",
    [CLEAR_ROWS] = "DELETE FROM kept WHERE address = ?1",
    [OUTBOXES] = "SELECT DISTINCT address FROM kept WHERE part = 2 ORDER BY address",
    [FORGET] = ("DELETE FROM kept WHERE (part = 4 OR (part = 3 AND peer >= '~'))"
                " AND written <= ?1"),
};

struct queue {
    struct isola_state_req *head;
    struct isola_state_req **tail; /* valid while head is not NULL */
};

struct isola_state {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue queue;  /* under the lock */
    bool closing;        /* under the lock */
    bool asleep;         /* under the lock: the thread waits, and `lent` may become true */
    bool lent;           /* under the lock: who asked does its work, and has all that is its own */
    unsigned slow;       /* under the lock */
    uint64_t slow_until; /* under the lock: reads are for the thread alone, ns of isola_clock_ns */
    pthread_t thread;
    _Atomic uint64_t reads, writes, commits, failed_commits;
    struct isola__presence presence;

    /* --- the thread's own --- */
    struct isola__db db;
    sqlite3_stmt *stmt[STATEMENTS];
    struct {
        struct queue queue; /* the writes of the open transaction */
        size_t count, bytes;
        int code; /* why it cannot be committed, or 0 */
        uint64_t filter[FILTER_BITS / 64];
    } group;
    bool any_rows;              /* there may be rows in `kept` */
    bool scanned;               /* the whole file has been looked through, or cannot be */
    struct isola_buf scan_from; /* the last address that was looked at */
    struct isola_err err;       /* of the last failure */
};

static void push(struct queue *q, struct isola_state_req *req)
{
    req->next = NULL;
    if (q->head == NULL)
        q->head = req;
    else
        *q->tail = req;
    q->tail = &req->next;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void bind_text(sqlite3_stmt *stmt, int at, struct isola_slice text)
{
    /* Borrowed bytes are bound without a copy; NULL would bind SQL's NULL. */
    const char *p = text.len != 0 ? (const char *)text.data : "";
    ISOLA_CHECK(sqlite3_bind_text64(stmt, at, p, text.len, SQLITE_STATIC, SQLITE_UTF8) ==
                SQLITE_OK);
}

static void bind_address(sqlite3_stmt *stmt, struct isola_slice address)
{
    bind_text(stmt, 1, address);
}

static void bind_int(sqlite3_stmt *stmt, int at, int64_t n)
{
    ISOLA_CHECK(sqlite3_bind_int64(stmt, at, n) == SQLITE_OK);
}

/* --- writes --- */

static int run(struct isola_state *s, enum statement which)
{
    return isola__db_run(&s->db, s->stmt[which], "write", &s->err);
}

static int run_bound(struct isola_state *s, enum statement which)
{
    int code = run(s, which);
    sqlite3_clear_bindings(s->stmt[which]);
    return code;
}

static int run_at(struct isola_state *s, enum statement which, struct isola_slice address)
{
    bind_address(s->stmt[which], address);
    return run_bound(s, which);
}

static int bind_value(struct isola_state *s, enum statement which, int at, struct isola_slice value)
{
    const void *p = value.len != 0 ? (const void *)value.data : "";
    int rc = sqlite3_bind_blob64(s->stmt[which], at, p, value.len, SQLITE_STATIC);
    /* over SQLite's limit of 1,000,000,000 bytes */
    return rc != SQLITE_OK ? isola__db_fail(&s->db, rc, "write", &s->err) : 0;
}

static int write_row(struct isola_state *s, struct isola_slice address,
                     const struct isola_kept *row)
{
    enum statement which = !row->gone ? PUT_ROW : row->whole ? DEL_PART : DEL_ROWS;
    sqlite3_stmt *stmt = s->stmt[which];
    ISOLA_CHECK(row->seq <= INT64_MAX);
    bind_address(stmt, address);
    bind_int(stmt, 2, row->part);
    if (which == DEL_PART)
        return run_bound(s, which);
    bind_text(stmt, 3, row->peer);
    bind_int(stmt, 4, (int64_t)row->seq);
    if (!row->gone) {
        int code = bind_value(s, which, 5, row->value);
        if (code != 0)
            return code;
        bind_int(stmt, 6, isola_clock_wall_ms());
        s->any_rows = true;
    }
    return run_bound(s, which);
}

/* Rows that stay have their address in the table of states. */
static int write_rows(struct isola_state *s, const struct isola_state_req *req)
{
    bool stays = false;
    int code = 0;
    for (size_t i = 0; i < req->nrows && code == 0; i++) {
        stays |= !req->rows[i].gone;
        code = write_row(s, req->address, &req->rows[i]);
    }
    if (code == 0 && stays && !req->has_value)
        code = run_at(s, TOUCH, req->address);
    return code;
}

static int write_one(struct isola_state *s, const struct isola_state_req *req)
{
    int code = 0;
    if (req->op == OP_FORGET) {
        bind_int(s->stmt[FORGET], 1, isola_clock_wall_ms() - (int64_t)req->forget_ms);
        return run_bound(s, FORGET);
    }
    if ((req->clear || req->op == OP_DEL) && s->any_rows)
        code = run_at(s, CLEAR_ROWS, req->address);
    if (code == 0 && req->op == OP_DEL)
        return run_at(s, DEL, req->address);
    if (code == 0 && req->has_value) {
        code = bind_value(s, PUT, 2, req->value);
        if (code == 0)
            code = run_at(s, PUT, req->address);
    }
    if (code == 0 && req->nrows > 0)
        code = write_rows(s, req);
    return code;
}

static int commit(struct isola_state *s, uint64_t writes)
{
    int code = run(s, COMMIT);
    if (code == 0) {
        count(&s->commits, 1);
        count(&s->writes, writes);
    }
    return code;
}

/* Some errors end the transaction by themselves, others leave that to us. Should even this fail,
 * the next BEGIN fails with a reason and comes back here. s->err keeps why the commit failed. */
static void roll_back(struct isola_state *s)
{
    count(&s->failed_commits, 1);
    if (!sqlite3_get_autocommit(s->db.handle)) {
        sqlite3_step(s->stmt[ROLLBACK]);
        sqlite3_reset(s->stmt[ROLLBACK]);
    }
}

static int transact_one(struct isola_state *s, const struct isola_state_req *req)
{
    int code = run(s, BEGIN);
    if (code == 0)
        code = write_one(s, req);
    if (code == 0)
        code = commit(s, 1);
    if (code != 0)
        roll_back(s);
    return code;
}

/* The group could not be committed as one. */
static void redo_one_by_one(struct isola_state *s, struct isola_state_req *req)
{
    unsigned failures = 0;
    while (req != NULL) {
        struct isola_state_req *next = req->next; /* the callback may free or reuse req */
        bool done = false;
        if (failures < FAILURES_MAX) {
            done = transact_one(s, req) == 0;
            failures = done ? 0 : failures + 1;
        }
        if (done)
            req->cb(req, 0, isola_slice(NULL, 0), NULL);
        else
            req->cb(req, ISOLA_EIO, isola_slice(NULL, 0), s->err.text);
        req = next;
    }
}

static void finish_group(struct isola_state *s)
{
    struct isola_state_req *req = s->group.queue.head;
    size_t n = s->group.count;
    int code = s->group.code;
    if (n == 0)
        return;
    memset(&s->group, 0, sizeof(s->group));
    if (code == 0)
        code = commit(s, n);
    if (code != 0) {
        roll_back(s);
        if (n == 1)
            req->cb(req, ISOLA_EIO, isola_slice(NULL, 0), s->err.text);
        else
            redo_one_by_one(s, req);
        return;
    }
    while (req != NULL) {
        struct isola_state_req *next = req->next;
        req->cb(req, 0, isola_slice(NULL, 0), NULL);
        req = next;
    }
}

static void add_to_group(struct isola_state *s, struct isola_state_req *req, uint64_t hash)
{
    if (s->group.count == 0)
        s->group.code = run(s, BEGIN);
    if (s->group.code == 0)
        s->group.code = write_one(s, req);
    push(&s->group.queue, req);
    s->group.filter[hash % FILTER_BITS / 64] |= UINT64_C(1) << hash % 64;
    s->group.count++;
    s->group.bytes += req->value.len;
    for (size_t i = 0; i < req->nrows; i++)
        s->group.bytes += req->rows[i].peer.len + req->rows[i].value.len;
    if (s->group.bytes >= GROUP_BYTES_MAX)
        finish_group(s);
}

static bool maybe_in_group(const struct isola_state *s, uint64_t hash)
{
    return (s->group.filter[hash % FILTER_BITS / 64] >> hash % 64 & 1) != 0;
}

/* --- reads --- */

static struct isola_slice column(sqlite3_stmt *stmt, int at)
{
    const void *p = sqlite3_column_blob(stmt, at);
    return isola_slice(p, (size_t)sqlite3_column_bytes(stmt, at));
}

/* Copies, as each step of SQLite's takes the last row back. As many rows as there are, or are
 * wanted. */
static int read_rows(struct isola_state *s, enum statement which, size_t rows, size_t bytes,
                     struct isola_kept_rows *out)
{
    sqlite3_stmt *stmt = s->stmt[which];
    int rc = SQLITE_DONE;
    while (out->n < rows && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_kept row = {.part = (uint8_t)sqlite3_column_int(stmt, 0),
                                 .peer = column(stmt, 1),
                                 .seq = (uint64_t)sqlite3_column_int64(stmt, 2),
                                 .value = column(stmt, 3)};
        if (out->n > 0 && out->bytes + row.peer.len + row.value.len > bytes)
            break;
        isola_kept_add(out, &row);
    }
    int code =
        rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : isola__db_fail(&s->db, rc, "read", &s->err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return code;
}

/* What is read with the state at the address, or all rows there are. */
static int read_kept(struct isola_state *s, struct isola_slice address, bool all,
                     struct isola_kept_rows *out)
{
    bind_address(s->stmt[GET_ROWS], address);
    bind_int(s->stmt[GET_ROWS], 2, all ? ISOLA_KEPT_LAST : ISOLA_KEPT_READ);
    return read_rows(s, GET_ROWS, SIZE_MAX, SIZE_MAX, out);
}

static int read_named(struct isola_state *s, const struct isola_state_req *req,
                      struct isola_kept_rows *out)
{
    int code = 0;
    for (size_t i = 0; i < req->nrows && code == 0; i++) {
        const struct isola_kept *row = &req->rows[i];
        sqlite3_stmt *stmt = s->stmt[GET_ROW];
        bind_address(stmt, req->address);
        bind_int(stmt, 2, row->part);
        bind_text(stmt, 3, row->peer);
        bind_int(stmt, 4, (int64_t)row->seq);
        code = read_rows(s, GET_ROW, SIZE_MAX, SIZE_MAX, out);
    }
    return code;
}

static int read_range(struct isola_state *s, const struct isola_state_req *req,
                      struct isola_kept_rows *out)
{
    const struct isola_kept_range *range = req->range;
    enum statement which = range->reverse ? GET_DOWN : GET_UP;
    sqlite3_stmt *stmt = s->stmt[which];
    bind_address(stmt, req->address);
    bind_int(stmt, 2, range->part);
    bind_text(stmt, 3, range->from);
    if (range->to.len > 0)
        bind_text(stmt, 4, range->to);
    else /* a blob is beyond all texts */
        ISOLA_CHECK(sqlite3_bind_zeroblob(stmt, 4, 0) == SQLITE_OK);
    return read_rows(s, which, range->rows > 0 ? range->rows : SIZE_MAX,
                     range->bytes > 0 ? range->bytes : SIZE_MAX, out);
}

static int read_due(struct isola_state *s, const struct isola_state_req *req,
                    struct isola_kept_rows *out)
{
    const struct isola_kept_due *due = req->due;
    sqlite3_stmt *stmt = s->stmt[GET_DUE];
    ISOLA_CHECK(due->until <= INT64_MAX && due->due <= INT64_MAX && due->rows <= INT64_MAX);
    bind_int(stmt, 1, (int64_t)due->until);
    bind_int(stmt, 2, (int64_t)due->due);
    bind_text(stmt, 3, due->address);
    bind_text(stmt, 4, due->id);
    bind_int(stmt, 5, (int64_t)due->rows);
    return read_rows(s, GET_DUE, SIZE_MAX, SIZE_MAX, out);
}

static void answer_get(struct isola_state *s, struct isola_state_req *req)
{
    sqlite3_stmt *stmt = s->stmt[GET];
    struct isola_kept_rows rows = {0};
    count(&s->reads, 1);
    bind_address(stmt, req->address);
    int rc = sqlite3_step(stmt);
    int bad = rc == SQLITE_ROW && s->any_rows ? read_kept(s, req->address, req->all, &rows) : 0;
    req->rows = rows.row;
    req->nrows = rows.n;
    if (bad != 0) {
        req->cb(req, ISOLA_EIO, isola_slice(NULL, 0), s->err.text);
    } else if (rc == SQLITE_ROW) {
        struct isola_slice value = column(stmt, 0);
        if (value.data == NULL && sqlite3_errcode(s->db.handle) == SQLITE_NOMEM)
            req->cb(req, ISOLA_EIO, isola_slice(NULL, 0), "out of memory");
        else
            req->cb(req, 0, value, NULL);
    } else if (rc == SQLITE_DONE) {
        req->cb(req, ISOLA_ENOENT, isola_slice(NULL, 0), "no state is stored");
    } else {
        isola__db_fail(&s->db, rc, "read", &s->err);
        req->cb(req, ISOLA_EIO, isola_slice(NULL, 0), s->err.text);
    }
    isola_kept_free(&rows);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

static int read_outboxes(struct isola_state *s, struct isola_kept_rows *out)
{
    sqlite3_stmt *stmt = s->stmt[OUTBOXES];
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_kept row = {.part = ISOLA_KEPT_OUTBOX, .peer = column(stmt, 0)};
        isola_kept_add(out, &row);
    }
    int code = rc == SQLITE_DONE ? 0 : isola__db_fail(&s->db, rc, "read", &s->err);
    sqlite3_reset(stmt);
    return code;
}

/* Rows alone. */
static void answer_rows(struct isola_state *s, struct isola_state_req *req)
{
    struct isola_kept_rows rows = {0};
    int code;
    count(&s->reads, 1);
    switch (req->op) {
    case OP_ROWS:
        code = read_named(s, req, &rows);
        break;
    case OP_RANGE:
        code = read_range(s, req, &rows);
        break;
    case OP_DUE:
        code = read_due(s, req, &rows);
        break;
    default:
        code = read_outboxes(s, &rows);
    }
    req->rows = rows.row;
    req->nrows = rows.n;
    req->cb(req, code == 0 ? 0 : ISOLA_EIO, isola_slice(NULL, 0), code == 0 ? NULL : s->err.text);
    isola_kept_free(&rows);
}

/* --- what is there already --- */

/* Some more of the addresses in the file go into the filter. What is written meanwhile is in it. */
static void scan(struct isola_state *s)
{
    sqlite3_stmt *stmt = s->stmt[SCAN];
    int rows = 0, rc;
    bind_address(stmt, isola_buf_slice(&s->scan_from));
    ISOLA_CHECK(sqlite3_bind_int(stmt, 2, SCAN_ROWS) == SQLITE_OK);
    struct isola_slice last = {0};
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        last = isola_slice(sqlite3_column_text(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0));
        isola__presence_add(&s->presence, last);
        if (++rows == SCAN_ROWS)
            break; /* `last` is SQLite's, until the next step */
    }
    struct isola_buf from = {0};
    isola_buf_append(&from, last.data, rows == SCAN_ROWS ? last.len : 0);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    isola_buf_free(&s->scan_from);
    s->scan_from = from;
    if (rc == SQLITE_ROW && !from.failed)
        return;
    s->scanned = true;
    if (rc == SQLITE_DONE)
        isola__presence_complete(&s->presence);
}

/* --- the thread --- */

/* Takes all that waits; NULL when the store is closing and nothing is left. */
static struct isola_state_req *take_all(struct isola_state *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->lent || (s->queue.head == NULL && !s->closing)) {
        if (s->scanned || s->lent) {
            s->asleep = true;
            pthread_cond_wait(&s->wake, &s->lock);
            s->asleep = false;
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        scan(s);
        pthread_mutex_lock(&s->lock);
    }
    struct isola_state_req *all = s->queue.head;
    s->queue.head = NULL;
    pthread_mutex_unlock(&s->lock);
    return all;
}

static void handle(struct isola_state *s, struct isola_state_req *req)
{
    uint64_t hash = isola_hash(req->address.data, req->address.len, 0);
    switch ((enum op)req->op) {
    case OP_GET:
    case OP_ROWS:
    case OP_RANGE:
        if (maybe_in_group(s, hash))
            finish_group(s);
        if (req->op == OP_GET)
            answer_get(s, req);
        else
            answer_rows(s, req);
        break;
    case OP_PUT:
    case OP_DEL:
        add_to_group(s, req, hash);
        break;
    case OP_DUE: /* of addresses the filter does not know */
    case OP_OUTBOXES:
        finish_group(s);
        answer_rows(s, req);
        break;
    case OP_FORGET:
        finish_group(s);
        add_to_group(s, req, hash);
        finish_group(s);
        break;
    }
}

static void *work(void *arg)
{
    struct isola_state *s = arg;
    for (struct isola_state_req *req; (req = take_all(s)) != NULL;) {
        while (req != NULL) {
            struct isola_state_req *next = req->next;
            handle(s, req);
            req = next;
        }
        finish_group(s);
    }
    return NULL;
}

static void request(struct isola_state *s, struct isola_state_req *req, enum op op)
{
    ISOLA_CHECK(req->cb != NULL);
    req->op = (uint8_t)op;
    pthread_mutex_lock(&s->lock);
    bool was_empty = s->queue.head == NULL;
    push(&s->queue, req);
    pthread_mutex_unlock(&s->lock);
    if (was_empty)
        pthread_cond_signal(&s->wake);
}

/* A read: by the caller if the thread sleeps and has nothing to do. */
static void request_here(struct isola_state *s, struct isola_state_req *req, enum op op)
{
    uint64_t began = isola_clock_ns();
    pthread_mutex_lock(&s->lock);
    bool rests =
        s->asleep && !s->lent && s->queue.head == NULL && !s->closing && began >= s->slow_until;
    s->lent |= rests;
    pthread_mutex_unlock(&s->lock);
    if (!rests) {
        request(s, req, op);
        return;
    }
    req->op = (uint8_t)op;
    handle(s, req);
    uint64_t now = isola_clock_ns();
    pthread_mutex_lock(&s->lock);
    if (now - began <= SLOW_NS)
        s->slow -= s->slow > 0;
    else if (s->slow == 0)
        s->slow = SLOW_EACH;
    else
        s->slow_until = now + AVOID_NS;
    s->lent = false;
    bool more = s->queue.head != NULL || s->closing;
    pthread_mutex_unlock(&s->lock);
    if (more)
        pthread_cond_signal(&s->wake);
}

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
    request(s, req, OP_PUT);
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

static void request_bare(struct isola_state *s, struct isola_state_req *req, enum op op)
{
    bare(req);
    request(s, req, op);
}

void isola_state_get_here(struct isola_state *s, struct isola_state_req *req)
{
    bare(req);
    request_here(s, req, OP_GET);
}

void isola_state_get_all(struct isola_state *s, struct isola_state_req *req)
{
    bare(req);
    req->all = true;
    request(s, req, OP_GET);
}

void isola_state_rows(struct isola_state *s, struct isola_state_req *req,
                      const struct isola_kept *wanted, size_t n)
{
    bare(req);
    req->rows = wanted;
    req->nrows = n;
    request(s, req, OP_ROWS);
}

/* Who waits for a row. */
struct waiter {
    struct isola_state_req req;
    struct isola_buf *out;
    struct isola_err *err;
    int code;
    sem_t done;
};

static void waited_for(struct isola_state_req *req, int code, struct isola_slice value,
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
    struct waiter w = {.req = {.cb = waited_for, .address = address}, .out = out, .err = err};
    w.req.arg = &w;
    w.req.rows = wanted;
    w.req.nrows = 1;
    sem_init(&w.done, 0, 0);
    request_here(s, &w.req, OP_ROWS);
    while (sem_wait(&w.done) != 0) /* EINTR */
        continue;
    sem_destroy(&w.done);
    return w.code;
}

void isola_state_range(struct isola_state *s, struct isola_state_req *req,
                       const struct isola_kept_range *range)
{
    bare(req);
    req->range = range;
    request(s, req, OP_RANGE);
}

void isola_state_due(struct isola_state *s, struct isola_state_req *req,
                     const struct isola_kept_due *due)
{
    bare(req);
    req->due = due;
    request(s, req, OP_DUE);
}

void isola_state_get(struct isola_state *s, struct isola_state_req *req)
{
    request_bare(s, req, OP_GET);
}

void isola_state_del(struct isola_state *s, struct isola_state_req *req)
{
    request_bare(s, req, OP_DEL);
}

void isola_state_outboxes(struct isola_state *s, struct isola_state_req *req)
{
    request_bare(s, req, OP_OUTBOXES);
}

void isola_state_forget(struct isola_state *s, struct isola_state_req *req, uint64_t ms)
{
    req->forget_ms = ms;
    request_bare(s, req, OP_FORGET);
}

void isola_state_stats(struct isola_state *s, struct isola_state_stats *out)
{
    out->reads = atomic_load_explicit(&s->reads, memory_order_relaxed);
    out->writes = atomic_load_explicit(&s->writes, memory_order_relaxed);
    out->commits = atomic_load_explicit(&s->commits, memory_order_relaxed);
    out->failed_commits = atomic_load_explicit(&s->failed_commits, memory_order_relaxed);
}

/* --- open and close --- */

static void close_db(struct isola_state *s)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(s->stmt[i]);
    isola__db_close(&s->db);
    isola__presence_free(&s->presence);
    isola_buf_free(&s->scan_from);
    free(s);
}

/* Signals belong to the threads of the program, not to this one. */
static int start_thread(struct isola_state *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&s->thread, NULL, work, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_setname_np(s->thread, "isola-state");
    return rc;
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

int isola_state_open(const char *path, struct isola_state **out, struct isola_err *err)
{
    struct isola_state *s = isola_zalloc(sizeof(*s));
    int code = isola__db_open(&s->db, path, &schema, err);
    for (int i = 0; code == 0 && i < STATEMENTS; i++)
        code = isola__db_prepare(&s->db, sql[i], &s->stmt[i], err);
    /* Where that cannot be read, reads will say so. */
    s->any_rows = code == 0 && (sqlite3_step(s->stmt[ANY_ROWS]) != SQLITE_ROW ||
                                sqlite3_column_int(s->stmt[ANY_ROWS], 0) != 0);
    if (code == 0)
        sqlite3_reset(s->stmt[ANY_ROWS]);
    if (code != 0) {
        close_db(s);
        return code;
    }
    isola__presence_init(&s->presence, file_bytes(path));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    int rc = start_thread(s);
    if (rc != 0) {
        code =
            isola_fail(err, ISOLA_ENOMEM, "cannot start the thread of %s: %s", path, strerror(rc));
        pthread_cond_destroy(&s->wake);
        pthread_mutex_destroy(&s->lock);
        close_db(s);
        return code;
    }
    *out = s;
    return 0;
}

void isola_state_close(struct isola_state *s)
{
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_mutex_unlock(&s->lock);
    pthread_cond_signal(&s->wake);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    close_db(s);
}
