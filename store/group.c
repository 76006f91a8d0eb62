/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests of a group of shards, and its commits.
 *
 * The happy path of a write: it is linked into a list under a mutex. The thread takes the whole
 * list, writes all changes in it as one row of the journal, and answers them when that commit is on
 * disk; what arrived meanwhile is the next list. So a commit costs much the same for one change and
 * for a hundred, wherever in the tables they belong, and a lone write does not wait for company.
 * Then the changes are in `fresh`, in memory, where reads find them; fold.c brings what they come
 * to into the tables later, which for an actor that changed a thousand times is one row.
 *
 * Failure modes: a commit that fails is rolled back and its writes are tried one by one, so that a
 * value too big for the disk fails alone; after FAILURES_MAX in a row the rest of them fail with
 * the same reason. Later requests start afresh: the store recovers when the disk does. What is in
 * the journal and not in the tables is read again when the file is opened.
 *
 * Invariants: callbacks of one address fire in the order of its requests; a write's callback with
 * code 0 fires after its commit is synced; nobody reads what a commit might take back: whose
 * address is counted in `flying` reads on the thread, after the commit.
 */
#include "store/group_own.h"

#include <signal.h>

#include "base/check.h"
#include "base/clock.h"

/* A transaction is committed early at this many bytes, which bounds the write-ahead log and the
 * wait of those in it. */
#define GROUP_BYTES_MAX (32u << 20)
#define FAILURES_MAX    8
/* Pages of 4 KB in the write-ahead log from which on they are put into the file. */
#define LOG_PAGES 2000

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static struct isola__change change_of(const struct isola_state_req *req)
{
    return (struct isola__change){.address = req->address,
                                  .has_value = req->has_value,
                                  .clear = req->clear,
                                  .deleted = req->op == ISOLA__OP_DEL,
                                  .value = req->value,
                                  .rows = req->rows,
                                  .nrows = req->nrows};
}

/* --- transactions --- */

void isola__group_failed(struct isola__group *g, const char *why)
{
    pthread_mutex_lock(&g->failure_lock);
    isola_fail(&g->failure, ISOLA_EIO, "%s", why);
    g->failed_at = isola_clock_wall_ms();
    pthread_mutex_unlock(&g->failure_lock);
}

int isola__group_begin(struct isola__group *g)
{
    if (g->in_tx)
        return 0;
    int code = isola__tables_run(&g->tables, ISOLA__BEGIN);
    g->in_tx = code == 0;
    if (code != 0) {
        isola__group_failed(g, g->tables.err.text);
        isola__tables_roll_back(&g->tables);
    }
    return code;
}

void isola__group_abort(struct isola__group *g)
{
    count(&g->failed_commits, 1);
    isola__group_failed(g, g->tables.err.text);
    isola__tables_roll_back(&g->tables);
    g->in_tx = false;
    isola__fold_aborted(g);
}

int isola__group_end(struct isola__group *g)
{
    int code = isola__tables_run(&g->tables, ISOLA__COMMIT);
    if (code != 0) {
        isola__group_abort(g);
        return code;
    }
    g->in_tx = false;
    isola__fold_committed(g);
    if (atomic_exchange(&g->ckpt_tail, false))
        sqlite3_wal_checkpoint_v2(g->tables.db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return 0;
}

/* --- commits --- */

static void landed(struct isola__group *g, unsigned place)
{
    atomic_fetch_sub_explicit(&g->flying[place], 1, memory_order_release);
}

/* Its write is on disk, or has failed. */
static void end(struct isola__group *g, struct isola_state_req *req, int code, const char *why)
{
    unsigned place = isola__place(req->address); /* the request is not ours in its callback */
    req->cb(req, code, isola_slice(NULL, 0), why);
    landed(g, place);
}

static int log_changes(struct isola__group *g, struct isola_slice changes, int64_t now)
{
    return isola__tables_log(&g->tables, g->number + 1, now, changes);
}

/* They are on disk: where reads find them. */
static void remember(struct isola__group *g, struct isola_state_req *req, size_t n, size_t bytes,
                     int64_t now)
{
    g->number++;
    count(&g->commits, 1);
    count(&g->writes, n);
    pthread_mutex_lock(&g->pending_lock);
    g->fresh.number = g->number;
    g->fresh.logged += bytes;
    for (; n > 0; n--, req = req->next) {
        struct isola__change c = change_of(req);
        isola__overlay_add(&g->fresh, &c, now);
        if (c.nrows > 0)
            atomic_store_explicit(&g->any_rows, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&g->pending_lock);
}

static int transact_one(struct isola__group *g, struct isola_state_req *req)
{
    struct isola_buf changes = {0};
    struct isola__change c = change_of(req);
    int64_t now = isola_clock_wall_ms();
    isola__change_write(&changes, &c);
    int code = changes.failed
                   ? isola_fail(&g->tables.err, ISOLA_ENOMEM, "no memory for what is to be written")
                   : isola__group_begin(g);
    if (code == 0 && (code = log_changes(g, isola_buf_slice(&changes), now)) != 0)
        isola__group_abort(g);
    if (code == 0 && (code = isola__group_end(g)) == 0)
        remember(g, req, 1, changes.len, now);
    isola_buf_free(&changes);
    return code;
}

/* The group could not be committed as one. */
static void redo_one_by_one(struct isola__group *g, struct isola_state_req *req)
{
    unsigned failures = 0;
    while (req != NULL) {
        struct isola_state_req *next = req->next; /* the callback may free or reuse req */
        bool done = false;
        if (failures < FAILURES_MAX) {
            done = transact_one(g, req) == 0;
            failures = done ? 0 : failures + 1;
        }
        if (done)
            end(g, req, 0, NULL);
        else
            end(g, req, ISOLA_EIO, g->tables.err.text);
        req = next;
    }
}

static int commit(struct isola__group *g, struct isola_slice changes, int64_t now)
{
    int code = isola__group_begin(g);
    if (code != 0)
        return code;
    code = log_changes(g, changes, now);
    if (code == 0)
        code = isola__fold_along(g, changes.len);
    if (code == 0)
        return isola__group_end(g);
    isola__group_abort(g);
    return code;
}

void isola__group_finish(struct isola__group *g)
{
    struct isola_state_req *req = g->group.queue.head;
    size_t n = g->group.count;
    if (n == 0) {
        if (g->in_tx)
            (void)isola__group_end(g); /* of what can be done again */
        return;
    }
    struct isola_buf changes = g->group.changes;
    int64_t now = isola_clock_wall_ms();
    g->group.queue.head = NULL;
    g->group.count = 0;
    g->group.changes = (struct isola_buf){0};
    memset(g->group.filter, 0, sizeof(g->group.filter));
    if (changes.failed || commit(g, isola_buf_slice(&changes), now) != 0) {
        isola_buf_free(&changes);
        redo_one_by_one(g, req);
        return;
    }
    remember(g, req, n, changes.len, now);
    while (req != NULL) {
        struct isola_state_req *next = req->next;
        end(g, req, 0, NULL);
        req = next;
    }
    if (changes.cap <= 1u << 20) { /* its memory is for the next */
        changes.len = 0;
        g->group.changes = changes;
    } else {
        isola_buf_free(&changes);
    }
}

static void add_to_group(struct isola__group *g, struct isola_state_req *req)
{
    struct isola__change c = change_of(req);
    unsigned at = isola__place(req->address);
    isola__change_write(&g->group.changes, &c);
    isola__queue_push(&g->group.queue, req);
    g->group.filter[at / 64] |= UINT64_C(1) << at % 64;
    g->group.count++;
    if (g->group.changes.len >= GROUP_BYTES_MAX || g->group.changes.failed)
        isola__group_finish(g);
}

/* --- the thread --- */

static void answer_all(struct isola__group *g, struct isola_state_req *req, int code,
                       const struct isola_kept_rows *rows)
{
    req->rows = rows->row;
    req->nrows = rows->n;
    req->cb(req, code == 0 ? 0 : ISOLA_EIO, isola_slice(NULL, 0),
            code == 0 ? NULL : g->tables.err.text);
}

/* Of all addresses. */
static void list(struct isola__group *g, struct isola_state_req *req)
{
    bool due = req->op == ISOLA__OP_DUE;
    struct isola_kept_rows rows = {0};
    isola__group_finish(g);
    count(&g->reads, 1);
    int code = isola__fold_parts(g, 1u << (due ? ISOLA_KEPT_TIMER : ISOLA_KEPT_OUTBOX));
    if (code == 0)
        code = due ? isola__tables_due(&g->tables, req->due, &rows)
                   : isola__tables_outboxes(&g->tables, &rows);
    answer_all(g, req, code, &rows);
    isola_kept_free(&rows);
}

static void forget(struct isola__group *g, struct isola_state_req *req)
{
    isola__group_finish(g);
    int code = isola__fold_now(g); /* else they would come again */
    if (code == 0)
        code = isola__group_begin(g);
    if (code == 0) {
        code = isola__tables_forget(&g->tables, isola_clock_wall_ms() - (int64_t)req->forget_ms);
        if (code != 0)
            isola__group_abort(g);
        else
            code = isola__group_end(g);
    }
    answer_all(g, req, code, &(struct isola_kept_rows){0});
}

static void hold(struct isola__group *g, struct isola_state_req *req)
{
    isola__group_finish(g);
    req->cb(req, 0, isola_slice(NULL, 0), NULL);
}

static void handle(struct isola__group *g, struct isola_state_req *req)
{
    unsigned at = isola__place(req->address);
    switch ((enum isola__op)req->op) {
    case ISOLA__OP_GET:
    case ISOLA__OP_ROWS:
    case ISOLA__OP_RANGE:
        if ((g->group.filter[at / 64] >> at % 64 & 1) != 0)
            isola__group_finish(g);
        isola__group_answer(g, req);
        landed(g, at);
        break;
    case ISOLA__OP_WRITE:
    case ISOLA__OP_DEL:
        add_to_group(g, req);
        break;
    case ISOLA__OP_DUE:
    case ISOLA__OP_OUTBOXES:
        list(g, req);
        atomic_fetch_sub_explicit(&g->flying_all, 1, memory_order_release);
        break;
    case ISOLA__OP_FORGET:
        forget(g, req);
        atomic_fetch_sub_explicit(&g->flying_all, 1, memory_order_release);
        break;
    case ISOLA__OP_HOLD:
        hold(g, req);
        atomic_fetch_sub_explicit(&g->flying_all, 1, memory_order_release);
        break;
    }
}

/* Until there is a request, the group closes, or that time has come (0: never). */
static void wait_for_work(struct isola__group *g, uint64_t at)
{
    if (at == 0) {
        pthread_cond_wait(&g->wake, &g->lock);
        return;
    }
    struct timespec until = {.tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000};
    pthread_cond_timedwait(&g->wake, &g->lock, &until);
}

/* Takes all that waits; NULL when the group is closing and nothing is left. */
static struct isola_state_req *take_all(struct isola__group *g)
{
    pthread_mutex_lock(&g->lock);
    while (g->queue.head == NULL && !g->closing) {
        uint64_t at = 0;
        pthread_mutex_unlock(&g->lock);
        bool more = isola__fold_step(g, &at);
        pthread_mutex_lock(&g->lock);
        if (!more && g->queue.head == NULL && !g->closing)
            wait_for_work(g, at);
    }
    struct isola_state_req *all = g->queue.head;
    g->queue.head = NULL;
    pthread_mutex_unlock(&g->lock);
    return all;
}

static void *work(void *arg)
{
    struct isola__group *g = arg;
    for (struct isola_state_req *req; (req = take_all(g)) != NULL;) {
        while (req != NULL) {
            struct isola_state_req *next = req->next;
            handle(g, req);
            req = next;
        }
        isola__group_finish(g);
        isola__fold_pressed(g);
    }
    isola__fold_all(g);
    return NULL;
}

void isola__group_request(struct isola__group *g, struct isola_state_req *req)
{
    ISOLA_CHECK(req->cb != NULL);
    atomic_fetch_add_explicit(req->op < ISOLA__OP_DUE ? &g->flying[isola__place(req->address)]
                                                      : &g->flying_all,
                              1, memory_order_relaxed);
    pthread_mutex_lock(&g->lock);
    bool was_empty = g->queue.head == NULL;
    isola__queue_push(&g->queue, req);
    pthread_mutex_unlock(&g->lock);
    if (was_empty)
        pthread_cond_signal(&g->wake);
}

/* --- the write-ahead log --- */

static int on_log(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct isola__group *g = arg;
    (void)db, (void)name;
    if (pages >= LOG_PAGES && !atomic_exchange(&g->ckpt_wanted, true))
        g->ops.checkpoint(g->ops.arg, g);
    return SQLITE_OK;
}

/* While this copies, commits go on and add to the log, which can only begin anew when all of it is
 * copied: the little that is left is done between two commits. */
void isola__group_checkpoint(struct isola__group *g)
{
    pthread_mutex_lock(&g->ckpt_lock);
    int rc = sqlite3_wal_checkpoint_v2(g->ckpt.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    pthread_mutex_unlock(&g->ckpt_lock);
    if (rc == SQLITE_OK)
        atomic_store(&g->ckpt_tail, true);
    atomic_store(&g->ckpt_wanted, false);
}

int isola__group_scan(struct isola__group *g, struct isola_slice from, unsigned n,
                      void (*fn)(void *arg, struct isola_slice address), void *arg,
                      struct isola_buf *last, bool *at_end)
{
    pthread_mutex_lock(&g->reader_lock);
    int code = isola__tables_scan(&g->reader, from, n, fn, arg, last, at_end);
    pthread_mutex_unlock(&g->reader_lock);
    return code;
}

const char *isola__group_path(const struct isola__group *g)
{
    return g->path;
}

bool isola__group_failure(struct isola__group *g, struct isola_err *err, int64_t *at)
{
    pthread_mutex_lock(&g->failure_lock);
    *err = g->failure;
    *at = g->failed_at;
    pthread_mutex_unlock(&g->failure_lock);
    return err->code != 0;
}

void isola__group_stats(struct isola__group *g, struct isola_state_stats *add_to)
{
    add_to->reads += atomic_load_explicit(&g->reads, memory_order_relaxed);
    add_to->writes += atomic_load_explicit(&g->writes, memory_order_relaxed);
    add_to->commits += atomic_load_explicit(&g->commits, memory_order_relaxed);
    add_to->failed_commits += atomic_load_explicit(&g->failed_commits, memory_order_relaxed);
}

/* --- open and close --- */

static void free_group(struct isola__group *g)
{
    isola__tables_close(&g->reader);
    isola__db_close(&g->ckpt);
    isola__tables_close(&g->tables); /* last: it folds the log into the file */
    isola__overlay_free(&g->fresh);
    isola__overlay_free(&g->folding);
    isola_buf_free(&g->group.changes);
    pthread_cond_destroy(&g->wake);
    pthread_mutex_destroy(&g->lock);
    pthread_mutex_destroy(&g->pending_lock);
    pthread_mutex_destroy(&g->failure_lock);
    pthread_mutex_destroy(&g->reader_lock);
    pthread_mutex_destroy(&g->ckpt_lock);
    free(g->path);
    free(g);
}

/* Signals belong to the threads of the program, not to this one. */
static int start_thread(struct isola__group *g, struct isola_err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&g->thread, NULL, work, g);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return isola_fail(err, ISOLA_ENOMEM, "cannot start the thread of %s: %s", g->path,
                          strerror(rc));
    pthread_setname_np(g->thread, "isola-state");
    return 0;
}

int isola__group_open(const char *path, const struct isola__group_ops *ops,
                      struct isola__group **out, struct isola_err *err)
{
    struct isola__group *g = isola_zalloc(sizeof(*g));
    pthread_condattr_t attr;
    g->ops = *ops;
    g->path = isola_strdup(path);
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->pending_lock, NULL);
    pthread_mutex_init(&g->failure_lock, NULL);
    pthread_mutex_init(&g->reader_lock, NULL);
    pthread_mutex_init(&g->ckpt_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&g->wake, &attr);
    pthread_condattr_destroy(&attr);
    int code = isola__tables_open(&g->tables, path, err);
    if (code == 0)
        code = isola__tables_join(&g->reader, path, err);
    if (code == 0)
        code = isola__db_join(&g->ckpt, path, err);
    if (code == 0)
        code = isola__fold_restore(g, err);
    if (code == 0) {
        atomic_store(&g->any_rows, g->fresh.first != NULL || isola__tables_any_rows(&g->tables));
        sqlite3_wal_hook(g->tables.db.handle, on_log, g);
        code = start_thread(g, err);
    }
    if (code != 0) {
        free_group(g);
        return code;
    }
    *out = g;
    return 0;
}

void isola__group_stop(struct isola__group *g)
{
    pthread_mutex_lock(&g->lock);
    g->closing = true;
    pthread_mutex_unlock(&g->lock);
    pthread_cond_signal(&g->wake);
    pthread_join(g->thread, NULL);
}

void isola__group_close(struct isola__group *g)
{
    free_group(g);
}
