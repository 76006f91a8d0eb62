/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests of a group of shards, and its commits.
 *
 * The happy path of a write: it is linked into a list under a mutex. The thread takes the whole
 * list, writes all changes in it as one commit of the journal (journal.h), and answers them when
 * that is on disk; what arrived meanwhile is the next list. So a commit costs much the same for one
 * change and for a hundred, wherever in the tables they belong, and a lone write does not wait for
 * company. Then the changes are in `fresh`, in memory, where reads find them; fold.c brings what
 * they come to into the tables later.
 *
 * Failure modes: when a commit fails its writes are tried one by one, so that a
 * value too big for the disk fails alone; after FAILURES_MAX in a row the rest of them fail with
 * the same reason. Later requests start afresh: the store recovers when the disk does. What is in
 * the journal and not in the tables is read again when the file is opened.
 *
 * Invariants: callbacks of one address fire in the order of its requests; a write's callback with
 * code 0 fires after its commit is synced; nobody reads what a commit might take back: whose
 * address is counted in `flying` reads on the thread, after the commit.
 */
#include "store/group_own.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/cpus.h"
#include "base/thread.h"

/* A commit is written early at this many bytes, which bounds the memory it takes and the wait of
 * those in it. */
#define GROUP_BYTES_MAX (32u << 20)
#define FAILURES_MAX    8
#define COMMIT_KEPT     (1u << 20) /* bytes of memory for commits that stay */
/* What is in memory goes into the tables when it is so old, ms, and nothing else is to be done. */
#define FRESH_MS  1000
#define FRESH_MAX 4 /* times as much as is folded: then commits wait */

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

void isola__group_failed(struct isola__group *g, const char *why)
{
    pthread_mutex_lock(&g->failure_lock);
    isola_fail(&g->failure, ISOLA_EIO, "%s", why);
    g->failed_at = isola_clock_wall_ms();
    pthread_mutex_unlock(&g->failure_lock);
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

/* The last commit, of so many bytes, is part of `fresh`; with the lock. */
static void joined(struct isola__group *g, size_t bytes, int64_t now)
{
    g->fresh.number = isola__journal_number(g->journal);
    g->fresh.written = now;
    g->fresh.logged += bytes;
}

/* They are on disk: where reads find them. */
static void remember(struct isola__group *g, struct isola_state_req *req, size_t n, size_t bytes,
                     int64_t now)
{
    count(&g->commits, 1);
    count(&g->writes, n);
    pthread_mutex_lock(&g->overlay_lock);
    joined(g, bytes, now);
    for (; n > 0; n--, req = req->next) {
        struct isola__change c = change_of(req);
        isola__overlay_add(&g->fresh, &c, now);
        if (c.nrows > 0)
            atomic_store_explicit(&g->any_rows, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&g->overlay_lock);
}

/* The time of the next commit: never before the last one, nor at a point that the tables have
 * (history.c). */
static int64_t time_of_commit(struct isola__group *g)
{
    int64_t now = g->ops.history.clock();
    g->next_written = now > g->next_written ? now : g->next_written;
    return g->next_written;
}

static int commit(struct isola__group *g, struct isola_buf *changes, int64_t now)
{
    int code = changes->failed
                   ? isola_fail(&g->err, ISOLA_ENOMEM, "no memory for what is to be written")
                   : isola__journal_append(g->journal, changes, now, &g->err);
    if (code != 0) {
        count(&g->failed_commits, 1);
        isola__group_failed(g, g->err.text);
    }
    return code;
}

static int commit_one(struct isola__group *g, struct isola_state_req *req)
{
    struct isola_buf changes = {0};
    struct isola__change c = change_of(req);
    int64_t now = time_of_commit(g);
    isola__journal_begin(&changes);
    isola__change_write(&changes, &c);
    int code = commit(g, &changes, now);
    if (code == 0)
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
            done = commit_one(g, req) == 0;
            failures = done ? 0 : failures + 1;
        }
        if (done)
            end(g, req, 0, NULL);
        else
            end(g, req, ISOLA_EIO, g->err.text);
        req = next;
    }
}

/* --- what is to go into the tables --- */

/* Memory is taken in blocks, so that counts only when it is much. */
static size_t size_of(const struct isola__overlay *p)
{
    return p->bytes / 2 > p->logged ? p->bytes / 2 : p->logged;
}

bool isola__group_turn_over(struct isola__group *g)
{
    pthread_mutex_lock(&g->overlay_lock);
    bool is_free = g->folding.first == NULL;
    int64_t folded = g->number;
    if (is_free) {
        if (g->fresh.first != NULL && g->next_written <= g->fresh.written)
            g->next_written = g->fresh.written + 1;
        g->folding = g->fresh;
        g->fresh = (struct isola__overlay){0};
        pthread_cond_broadcast(&g->folded);
    }
    pthread_mutex_unlock(&g->overlay_lock);
    if (is_free)
        isola__journal_turn(g->journal, folded);
    return is_free;
}

/* What the tables have not taken of `folding`, and what has come to these addresses since: in that
 * order, as it is read again. */
static void write_failed(struct isola__group *g, struct isola_buf *out)
{
    for (const struct isola__entry *e = g->folding.first; e != NULL; e = e->next) {
        bool goes = e->failed && !e->carried;
        const struct isola__entry *each[] = {e, goes ? isola__overlay_entry(&g->fresh, e->address)
                                                     : NULL};
        for (size_t i = 0; i < 2 && goes && each[i] != NULL; i++) {
            struct isola__change c;
            struct isola_kept *rows;
            isola__entry_change(each[i], &c, &rows);
            isola__change_write(out, &c);
            free(rows);
        }
    }
}

/* The folder waits for this, so `folding` stays. */
static int carry_over(struct isola__group *g)
{
    struct isola_buf changes = {0};
    isola__journal_begin(&changes);
    write_failed(g, &changes);
    int64_t now = time_of_commit(g);
    int code = commit(g, &changes, now);
    if (code == 0) {
        pthread_mutex_lock(&g->overlay_lock);
        joined(g, changes.len, now);
        for (struct isola__entry *e = g->folding.first; e != NULL; e = e->next)
            if (e->failed && !e->carried) {
                isola__overlay_beneath(&g->fresh, e);
                e->carried = true;
            }
        pthread_mutex_unlock(&g->overlay_lock);
    }
    isola_buf_free(&changes);
    return code;
}

/* Does that if the folder waits for it. */
static void serve_folder(struct isola__group *g)
{
    pthread_mutex_lock(&g->overlay_lock);
    struct isola__carry *c = g->carry;
    pthread_mutex_unlock(&g->overlay_lock);
    if (c == NULL)
        return;
    int code = carry_over(g);
    pthread_mutex_lock(&g->overlay_lock);
    c->code = code;
    c->done = true;
    g->carry = NULL;
    pthread_cond_broadcast(&g->folded);
    pthread_mutex_unlock(&g->overlay_lock);
}

int isola__group_carry(struct isola__group *g)
{
    struct isola__carry c = {.code = ISOLA_ECLOSED};
    pthread_mutex_lock(&g->overlay_lock);
    g->carry = &c;
    pthread_cond_broadcast(&g->folded); /* it may be waiting for us */
    pthread_mutex_unlock(&g->overlay_lock);
    pthread_mutex_lock(&g->lock);
    g->poked = true;
    pthread_mutex_unlock(&g->lock);
    pthread_cond_signal(&g->wake);
    pthread_mutex_lock(&g->overlay_lock);
    while (!c.done && !g->ending)
        pthread_cond_wait(&g->folded, &g->overlay_lock);
    g->carry = NULL;
    pthread_mutex_unlock(&g->overlay_lock);
    return c.code;
}

/* Until nothing is on its way, or nothing goes: tried twice, as the first may have begun when
 * something was still amiss. False: that. */
static bool wait_folded(struct isola__group *g)
{
    unsigned tries = 0;
    pthread_mutex_lock(&g->overlay_lock);
    while (g->folding.first != NULL) {
        if (g->carry != NULL) {
            pthread_mutex_unlock(&g->overlay_lock);
            serve_folder(g);
            pthread_mutex_lock(&g->overlay_lock);
        } else if (!g->stuck) {
            pthread_cond_wait(&g->folded, &g->overlay_lock);
        } else if (++tries <= 2) {
            g->stuck = false;
            pthread_cond_broadcast(&g->folded);
        } else {
            break;
        }
    }
    bool done = g->folding.first == NULL;
    pthread_mutex_unlock(&g->overlay_lock);
    return done;
}

int isola__group_fold_all(struct isola__group *g)
{
    bool done = wait_folded(g);
    if (done && g->fresh.first != NULL)
        done = isola__group_turn_over(g) && wait_folded(g);
    if (done && g->fresh.first == NULL) /* else the tables do not take it, and it has come back */
        return 0;
    return isola_fail(&g->err, ISOLA_EIO, "cannot write %s: it takes nothing at present", g->path);
}

/* `fresh` is not to become too large, however fast it grows. */
static void keep_small(struct isola__group *g)
{
    size_t size = size_of(&g->fresh);
    if (size < g->ops.fold_bytes || isola__group_turn_over(g))
        return;
    if (size >= FRESH_MAX * g->ops.fold_bytes && wait_folded(g))
        (void)isola__group_turn_over(g);
}

/* --- groups of writes --- */

void isola__group_finish(struct isola__group *g)
{
    struct isola_state_req *req = g->group.queue.head;
    size_t n = g->group.count;
    if (n == 0)
        return;
    struct isola_buf changes = g->group.commit;
    int64_t now = time_of_commit(g);
    g->group.queue.head = NULL;
    g->group.count = 0;
    g->group.commit = (struct isola_buf){0};
    memset(g->group.filter, 0, sizeof(g->group.filter));
    if (commit(g, &changes, now) != 0) {
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
    if (changes.cap <= COMMIT_KEPT)
        g->group.commit = changes; /* its memory is for the next */
    else
        isola_buf_free(&changes);
    keep_small(g);
}

static void add_to_group(struct isola__group *g, struct isola_state_req *req)
{
    struct isola__change c = change_of(req);
    unsigned at = isola__place(req->address);
    if (g->group.count == 0)
        isola__journal_begin(&g->group.commit);
    isola__change_write(&g->group.commit, &c);
    isola__queue_push(&g->group.queue, req);
    g->group.filter[at / 64] |= UINT64_C(1) << at % 64;
    g->group.count++;
    if (g->group.commit.len >= GROUP_BYTES_MAX || g->group.commit.failed)
        isola__group_finish(g);
}

/* --- the thread --- */

static void answer_all(struct isola__group *g, struct isola_state_req *req, int code,
                       const struct isola_kept_rows *rows)
{
    req->rows = rows->row;
    req->nrows = rows->n;
    req->cb(req, code == 0 ? 0 : ISOLA_EIO, isola_slice(NULL, 0), code == 0 ? NULL : g->err.text);
}

/* Of all addresses. */
static void list(struct isola__group *g, struct isola_state_req *req)
{
    bool due = req->op == ISOLA__OP_DUE;
    struct isola_kept_rows rows = {0};
    isola__group_finish(g);
    count(&g->reads, 1);
    isola__fold_take_tables(g);
    int code = isola__fold_peek_parts(g, 1u << (due ? ISOLA_KEPT_TIMER : ISOLA_KEPT_OUTBOX));
    if (code == 0)
        code = due ? isola__tables_due(&g->tables, req->due, &rows)
                   : isola__tables_outboxes(&g->tables, &rows);
    g->err = g->tables.err;
    isola__fold_leave_tables(g);
    answer_all(g, req, code, &rows);
    isola_kept_free(&rows);
}

/* What is forgotten is to be in the tables: else it would come again with what is not there yet. */
static void forget(struct isola__group *g, struct isola_state_req *req)
{
    isola__group_finish(g);
    int code = isola__group_fold_all(g);
    if (code == 0) {
        isola__fold_take_tables(g);
        code = isola__tables_forget(&g->tables, time_of_commit(g) - (int64_t)req->forget_ms);
        g->err = g->tables.err;
        isola__fold_leave_tables(g);
    }
    answer_all(g, req, code, &(struct isola_kept_rows){0});
}

/* All is in the tables, and nobody changes them: whoever copies the files has everything. */
static void hold(struct isola__group *g, struct isola_state_req *req)
{
    isola__group_finish(g);
    int code = isola__group_fold_all(g);
    answer_all(g, req, code, &(struct isola_kept_rows){0});
}

static void handle(struct isola__group *g, struct isola_state_req *req)
{
    unsigned at = isola__place(req->address);
    bool of_all = req->op >= ISOLA__OP_DUE; /* the request is not ours after its callback */
    switch ((enum isola__op)req->op) {
    case ISOLA__OP_GET:
    case ISOLA__OP_ROWS:
    case ISOLA__OP_RANGE:
    case ISOLA__OP_PIECE:
    case ISOLA__OP_EXTENT:
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
        break;
    case ISOLA__OP_FORGET:
        forget(g, req);
        break;
    case ISOLA__OP_HOLD:
        hold(g, req);
        break;
    }
    if (of_all)
        atomic_fetch_sub_explicit(&g->flying_all, 1, memory_order_release);
}

/* There is nothing else to do: what is old is to go into the tables. When that is, ms of
 * isola_clock_ms, or 0. */
static uint64_t look_after(struct isola__group *g)
{
    serve_folder(g);
    if (g->fresh.first == NULL)
        return 0;
    uint64_t now = isola_clock_ms(), at = g->fresh.since + FRESH_MS;
    if (now < at)
        return at;
    return isola__group_turn_over(g) ? 0 : now + FRESH_MS;
}

/* Takes all that waits; NULL when the group is closing and nothing is left. */
static struct isola_state_req *take_all(struct isola__group *g)
{
    pthread_mutex_lock(&g->lock);
    while (g->queue.head == NULL && !g->closing) {
        g->poked = false;
        pthread_mutex_unlock(&g->lock);
        uint64_t at = look_after(g);
        pthread_mutex_lock(&g->lock);
        if (g->queue.head != NULL || g->closing || g->poked)
            continue;
        if (at == 0)
            pthread_cond_wait(&g->wake, &g->lock);
        else
            isola_cond_wait_until(&g->wake, &g->lock, at);
    }
    struct isola_state_req *all = g->queue.head;
    g->queue.head = NULL;
    pthread_mutex_unlock(&g->lock);
    return all;
}

/* When so many are in one commit, many ask; and so long the next one then waits for more of them,
 * where processors are short: it takes the time of some ten turns, however few are in it, ns. What
 * is waited for is the time itself, as PostgreSQL's commit_delay does: a request that comes ends it
 * not, and costs nothing to wake anybody. */
#define COMPANY    4
#define COMPANY_NS 60000

static void await_company(size_t written)
{
    const struct timespec t = {.tv_nsec = COMPANY_NS};
    if (written >= COMPANY && isola_cpus_used() >= ISOLA_CPUS_SHORT)
        (void)nanosleep(&t, NULL);
}

static void *work(void *arg)
{
    struct isola__group *g = arg;
    isola_thread_goes_first();
    for (struct isola_state_req *req; (req = take_all(g)) != NULL;) {
        while (req != NULL) {
            struct isola_state_req *next = req->next;
            handle(g, req);
            req = next;
        }
        size_t written = g->group.count;
        isola__group_finish(g);
        serve_folder(g);
        await_company(written);
    }
    pthread_mutex_lock(&g->overlay_lock);
    g->ending = true;
    pthread_cond_broadcast(&g->folded);
    pthread_mutex_unlock(&g->overlay_lock);
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

int isola__group_scan(struct isola__group *g, struct isola_slice from, unsigned n,
                      void (*fn)(void *arg, struct isola_slice address), void *arg,
                      struct isola_buf *last, bool *at_end)
{
    pthread_mutex_lock(&g->reader_lock);
    int code = isola__tables_scan(&g->reader, from, n, fn, arg, last, at_end);
    pthread_mutex_unlock(&g->reader_lock);
    return code;
}

void isola__group_waiting(struct isola__group *g, uint64_t *commits, uint64_t *bytes)
{
    pthread_mutex_lock(&g->overlay_lock);
    const struct isola__overlay *last = g->fresh.first != NULL ? &g->fresh : &g->folding;
    if (last->first != NULL)
        *commits += (uint64_t)(last->number - g->number);
    *bytes += g->fresh.logged + g->folding.logged;
    pthread_mutex_unlock(&g->overlay_lock);
}

bool isola__group_stuck(struct isola__group *g)
{
    pthread_mutex_lock(&g->overlay_lock);
    bool stuck = g->stuck;
    pthread_mutex_unlock(&g->overlay_lock);
    return stuck;
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

void isola__group_close(struct isola__group *g)
{
    isola__journal_close(g->journal, g->number);
    isola__tables_close(&g->reader);
    isola__db_close(&g->copier);
    isola__history_close(&g->history);
    isola__tables_close(&g->tables); /* last: it puts SQLite's log into the file */
    isola__overlay_free(&g->fresh);
    isola__overlay_free(&g->folding);
    isola_buf_free(&g->group.commit);
    pthread_cond_destroy(&g->wake);
    pthread_cond_destroy(&g->folded);
    pthread_mutex_destroy(&g->lock);
    pthread_mutex_destroy(&g->overlay_lock);
    pthread_mutex_destroy(&g->tables_lock);
    pthread_mutex_destroy(&g->reader_lock);
    pthread_mutex_destroy(&g->failure_lock);
    free(g->path);
    free(g);
}

static int start_thread(struct isola__group *g, pthread_t *thread, const char *name,
                        void *(*run)(void *), struct isola_err *err)
{
    int rc = isola_thread_start(thread, name, run, g);
    if (rc != 0)
        return isola_fail(err, ISOLA_ENOMEM, "cannot start a thread of %s: %s", g->path,
                          strerror(rc));
    return 0;
}

/* --- what is in the journal and not in the tables --- */

struct restore {
    struct isola__group *g;
    int64_t written;
    bool bad;
};

static void restore_change(void *arg, const struct isola__change *c)
{
    struct restore *r = arg;
    isola__overlay_add(&r->g->fresh, c, r->written);
    r->g->ops.found(r->g->ops.arg, c->address);
}

static bool restore_commit(void *arg, int64_t number, int64_t written, struct isola_slice changes)
{
    struct restore *r = arg;
    r->written = written;
    r->bad = !isola__changes_read(changes, restore_change, r);
    r->g->fresh.number = number;
    if (written > r->g->fresh.written)
        r->g->fresh.written = written;
    r->g->fresh.logged += changes.len;
    return !r->bad;
}

static int restore(struct isola__group *g, struct isola_err *err)
{
    struct restore r = {.g = g};
    int64_t point = 0;
    int code = isola__tables_folded(&g->tables, &g->number);
    if (code == 0)
        code = isola__history_point(&g->history, &point);
    if (code != 0) {
        *err = g->tables.err;
        return code;
    }
    code = isola__journal_open(g->path, g->number, restore_commit, &r, &g->journal, err);
    if (code == 0 && r.bad)
        code = isola_fail(err, ISOLA_EIO,
                          "cannot open %s: its journal is damaged; restore a backup", g->path);
    if (g->fresh.written <= point)
        g->fresh.written = point + 1;
    g->next_written = g->fresh.written;
    return code;
}

void isola__group_stop(struct isola__group *g)
{
    pthread_mutex_lock(&g->lock);
    g->closing = true;
    pthread_mutex_unlock(&g->lock);
    pthread_cond_signal(&g->wake);
    if (g->runs)
        pthread_join(g->thread, NULL);
    if (g->folds)
        pthread_join(g->folder, NULL);
}

static int open_all(struct isola__group *g, struct isola_err *err)
{
    int code = isola__tables_open(&g->tables, g->path, err);
    if (code == 0)
        code = isola__history_open(&g->history, &g->tables, &g->ops.history, err);
    if (code == 0)
        code = isola__tables_join(&g->reader, g->path, err);
    if (code == 0)
        code = isola__db_join(&g->copier, g->path, err);
    return code == 0 ? restore(g, err) : code;
}

int isola__group_open(const char *path, const struct isola__group_ops *ops,
                      struct isola__group **out, struct isola_err *err)
{
    struct isola__group *g = isola_zalloc(sizeof(*g));
    g->ops = *ops;
    g->path = isola_strdup(path);
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->overlay_lock, NULL);
    pthread_mutex_init(&g->tables_lock, NULL);
    pthread_mutex_init(&g->reader_lock, NULL);
    pthread_mutex_init(&g->failure_lock, NULL);
    isola_cond_init(&g->wake);
    isola_cond_init(&g->folded);
    int code = open_all(g, err);
    if (code != 0) {
        isola__group_close(g);
        return code;
    }
    atomic_store(&g->any_rows, g->fresh.first != NULL || isola__tables_any_rows(&g->tables));
    g->runs = (code = start_thread(g, &g->thread, "isola-state", work, err)) == 0;
    if (code == 0)
        g->folds = (code = start_thread(g, &g->folder, "isola-fold", isola__fold_run, err)) == 0;
    if (code != 0) {
        isola__group_stop(g);
        isola__group_close(g);
        return code;
    }
    *out = g;
    return 0;
}
