/* SPDX-License-Identifier: Apache-2.0
 *
 * The store of a world: its thread ends reads and writes in order, after short random delays.
 */
#include "base/clock.h"
#include "fake_world_parts.h"

struct world_job {
    struct world_job *next;
    struct isola_state_io *io;
    enum { READ, WRITE, ROWS, RANGE, DUE } what;
};

static bool is_meant(const struct isola_kept *row, const struct isola_kept *by)
{
    return row->part == by->part &&
           (by->whole || (isola_slice_eq(row->peer, by->peer) &&
                          (by->gone ? row->seq <= by->seq : row->seq == by->seq)));
}

/* Where a row of that key is, or of those a removal is for; n when there is none. */
static size_t row_of(const struct isola_kept_rows *rows, const struct isola_kept *row)
{
    size_t i = 0;
    while (i < rows->n && !is_meant(&rows->row[i], row))
        i++;
    return i;
}

/* What a write has beside the state. The lock is held. */
static void keep(struct world *w, const struct isola_state_io *io)
{
    struct isola_kept_rows *kept = isola_map_get(&w->kept, io->address);
    if (kept == NULL && io->nrows > 0) {
        kept = isola_zalloc(sizeof(*kept));
        isola_map_set(&w->kept, io->address, kept);
    }
    for (size_t i = 0; i < io->nrows; i++) {
        bool fresh = io->rows[i].part == ISOLA_KEPT_OUTBOX && !io->rows[i].gone;
        size_t at; /* a number is given out once */
        while (!fresh && (at = row_of(kept, &io->rows[i])) < kept->n) {
            free((void *)(uintptr_t)kept->row[at].peer.data);
            memmove(&kept->row[at], &kept->row[at + 1],
                    (--kept->n - at) * sizeof(struct isola_kept));
        }
        if (!io->rows[i].gone)
            isola_kept_add(kept, &io->rows[i]);
    }
}

static int compare_due(const void *a, const void *b)
{
    const struct isola_kept *x = a, *y = b;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    size_t n = x->value.len < y->value.len ? x->value.len : y->value.len;
    int c = memcmp(x->value.data, y->value.data, n);
    if (c == 0)
        c = (x->value.len > n) - (y->value.len > n);
    n = x->peer.len < y->peer.len ? x->peer.len : y->peer.len;
    if (c == 0)
        c = memcmp(x->peer.data, y->peer.data, n);
    return c != 0 ? c : (x->peer.len > n) - (y->peer.len > n);
}

/* Timers, as isola_state_due gives them. The lock is held. */
static void read_due(struct world *w, const struct isola_kept_due *due, struct isola_kept_rows *out)
{
    struct isola_kept last = {.seq = due->due, .value = due->address, .peer = due->id};
    struct isola_kept_rows all = {0};
    ISOLA_MAP_EACH(&w->kept, e)
    {
        const struct isola_kept_rows *kept = e->value;
        for (size_t i = 0; i < kept->n; i++) {
            struct isola_kept row = kept->row[i];
            row.value = isola_slice(e->key, e->len);
            if (row.part == ISOLA_KEPT_TIMER && row.seq <= due->until &&
                compare_due(&row, &last) > 0)
                isola_kept_add(&all, &row);
        }
    }
    if (all.n > 1)
        qsort(all.row, all.n, sizeof(*all.row), compare_due);
    isola_kept_copy(out, all.row, all.n < due->rows ? all.n : due->rows);
    isola_kept_free(&all);
}

static int by_peer(const void *a, const void *b)
{
    struct isola_slice x = ((const struct isola_kept *)a)->peer,
                       y = ((const struct isola_kept *)b)->peer;
    size_t n = x.len < y.len ? x.len : y.len;
    int c = n > 0 ? memcmp(x.data, y.data, n) : 0;
    return c != 0 ? c : (x.len > y.len) - (x.len < y.len);
}

static bool is_before(struct isola_slice a, struct isola_slice b)
{
    return by_peer(&(struct isola_kept){.peer = a}, &(struct isola_kept){.peer = b}) < 0;
}

static void read_named(const struct isola_kept_rows *kept, const struct isola_state_io *io,
                       struct isola_kept_rows *out)
{
    for (size_t i = 0; i < io->nrows; i++) {
        size_t at = row_of(kept, &io->rows[i]);
        if (at < kept->n)
            isola_kept_add(out, &kept->row[at]);
    }
}

static void read_range(const struct isola_kept_rows *kept, const struct isola_kept_range *range,
                       struct isola_kept_rows *out)
{
    struct isola_kept_rows all = {0};
    isola_kept_copy(&all, kept->row, kept->n);
    if (all.n > 0)
        qsort(all.row, all.n, sizeof(*all.row), by_peer);
    for (size_t k = 0; k < all.n; k++) {
        const struct isola_kept *row = &all.row[range->reverse ? all.n - 1 - k : k];
        if (row->part != range->part || is_before(row->peer, range->from) ||
            (range->to.len > 0 && !is_before(row->peer, range->to)))
            continue;
        if ((range->rows > 0 && out->n == range->rows) ||
            (range->bytes > 0 && out->n > 0 &&
             out->bytes + row->peer.len + row->value.len > range->bytes))
            break;
        isola_kept_add(out, row);
    }
    isola_kept_free(&all);
}

static void do_job(struct world *w, struct world_job *job)
{
    struct isola_state_io *io = job->io;
    struct isola_buf copy = {0};
    struct isola_kept_rows rows = {0};
    int code = 0;
    pthread_mutex_lock(&w->lock);
    struct isola_buf *value = job->what != DUE ? isola_map_get(&w->stored, io->address) : NULL;
    struct isola_kept_rows *kept = job->what != DUE ? isola_map_get(&w->kept, io->address) : NULL;
    struct isola_kept_rows nothing = {0};
    if (job->what == DUE) {
        read_due(w, io->due, &rows);
    } else if (job->what == WRITE) {
        bool unlucky =
            w->fail_per_mille > 0 && world__random(&w->store_seed, 1000) < w->fail_per_mille;
        if (w->fail_writes > 0 || unlucky) {
            w->fail_writes -= w->fail_writes > 0;
            code = ISOLA_EIO;
        } else {
            if (value == NULL) {
                value = isola_zalloc(sizeof(*value));
                isola_map_set(&w->stored, io->address, value);
            }
            if (io->has_value) {
                value->len = 0;
                isola_buf_append(value, io->value.data, io->value.len);
            }
            keep(w, io);
        }
        w->writes++;
    } else if (w->fail_reads > 0) {
        w->fail_reads--;
        code = w->fail_reads_code;
    } else if (job->what == ROWS) {
        read_named(kept != NULL ? kept : &nothing, io, &rows);
    } else if (job->what == RANGE) {
        read_range(kept != NULL ? kept : &nothing, io->range, &rows);
    } else if (value == NULL) {
        code = ISOLA_ENOENT;
    } else {
        isola_buf_append(&copy, value->data, value->len);
        for (size_t i = 0; kept != NULL && i < kept->n; i++)
            if (kept->row[i].part <= ISOLA_KEPT_READ)
                isola_kept_add(&rows, &kept->row[i]);
    }
    if (job->what != WRITE) {
        io->rows = rows.row;
        io->nrows = rows.n;
    }
    w->undone--;
    world__changed(w);
    /* A read that fails says nothing: whoever reports it must have words of their own. */
    io->done(io, code, isola_buf_slice(&copy), code == ISOLA_EIO ? "the disk is full" : NULL);
    isola_buf_free(&copy);
    isola_kept_free(&rows);
    free(job);
}

void *world__store_thread(void *arg)
{
    struct world *w = arg;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (w->jobs == NULL || w->held)
            pthread_cond_wait(&w->changed, &w->lock);
        if (world__random(&w->store_seed, 8) == 0) { /* lets more come in the meantime */
            uint64_t until = isola_clock_ms() + 1;
            while (fake_cond_wait(&w->changed, &w->lock, until))
                ;
        }
        struct world_job *job = w->held ? NULL : w->jobs;
        if (job != NULL) {
            w->jobs = job->next;
            w->waiting--;
        }
        if (w->jobs == NULL)
            w->jobs_tail = &w->jobs;
        pthread_mutex_unlock(&w->lock);
        if (job != NULL)
            do_job(w, job);
    }
    return NULL;
}

static void add_job(struct world *w, struct isola_state_io *io, int what)
{
    struct world_job *job = isola_zalloc(sizeof(*job));
    job->io = io;
    job->what = what;
    pthread_mutex_lock(&w->lock);
    *w->jobs_tail = job;
    w->jobs_tail = &job->next;
    w->waiting++;
    w->undone++;
    world__changed(w);
}

void world__state_read(void *arg, struct isola_state_io *io)
{
    add_job(arg, io, READ);
}

void world__state_write(void *arg, struct isola_state_io *io)
{
    add_job(arg, io, WRITE);
}

void world__state_due(void *arg, struct isola_state_io *io)
{
    add_job(arg, io, DUE);
}

void world__state_rows(void *arg, struct isola_state_io *io)
{
    add_job(arg, io, ROWS);
}

void world__state_range(void *arg, struct isola_state_io *io)
{
    add_job(arg, io, RANGE);
}

/* It sees every write before. */
int world__state_row(void *arg, struct isola_slice address, const struct isola_kept *wanted,
                     struct isola_buf *out, struct isola_err *err)
{
    struct world *w = arg;
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->undone > 0)
        world__wait_for(w, deadline, "the writes before a read");
    int code = 0;
    if (w->fail_reads > 0) {
        w->fail_reads--;
        code = isola_fail(err, w->fail_reads_code, "the disk is on fire");
    } else {
        const struct isola_kept_rows *kept = isola_map_get(&w->kept, address);
        size_t at = kept != NULL ? row_of(kept, wanted) : 0;
        if (kept == NULL || at == kept->n)
            code = ISOLA_ENOENT;
        else
            isola_buf_append(out, kept->row[at].value.data, kept->row[at].value.len);
    }
    pthread_mutex_unlock(&w->lock);
    return code;
}

void world_hold_store(struct world *w, bool hold)
{
    pthread_mutex_lock(&w->lock);
    w->held = hold;
    world__changed(w);
}

void world_await_held(struct world *w, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->waiting < n)
        world__wait_for(w, deadline, "a read or write");
    pthread_mutex_unlock(&w->lock);
}

void world_fail_writes(struct world *w, unsigned n)
{
    pthread_mutex_lock(&w->lock);
    w->fail_writes = n;
    world__changed(w);
}

void world_fail_writes_of(struct world *w, unsigned per_mille)
{
    pthread_mutex_lock(&w->lock);
    w->fail_per_mille = per_mille;
    world__changed(w);
}

void world_fail_reads(struct world *w, unsigned n, int code)
{
    pthread_mutex_lock(&w->lock);
    w->fail_reads = n;
    w->fail_reads_code = code;
    world__changed(w);
}

int64_t world_stored(struct world *w, const char *address)
{
    pthread_mutex_lock(&w->lock);
    struct isola_buf *value = isola_map_get(&w->stored, isola_slice_str(address));
    int64_t n = value != NULL ? world__int(isola_buf_slice(value)) : -1;
    pthread_mutex_unlock(&w->lock);
    return n;
}

struct isola_buf world_stored_bytes(struct world *w, const char *address)
{
    struct isola_buf out = {0};
    pthread_mutex_lock(&w->lock);
    struct isola_buf *value = isola_map_get(&w->stored, isola_slice_str(address));
    if (value != NULL)
        isola_buf_append(&out, value->data, value->len);
    pthread_mutex_unlock(&w->lock);
    return out;
}

static unsigned count_kept(struct world *w, const char *address, int part)
{
    const struct isola_kept_rows *kept = isola_map_get(&w->kept, isola_slice_str(address));
    unsigned n = 0;
    for (size_t i = 0; kept != NULL && i < kept->n; i++)
        n += kept->row[i].part == part;
    return n;
}

void world_await_kept(struct world *w, const char *address, int part, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (count_kept(w, address, part) != n)
        world__wait_for(w, deadline, "the end of what is kept");
    pthread_mutex_unlock(&w->lock);
}

void world__copy_store(struct world *w, struct isola_map *stored, struct isola_map *kept)
{
    ISOLA_MAP_EACH(&w->stored, e)
    {
        const struct isola_buf *value = e->value;
        struct isola_buf *copy = isola_zalloc(sizeof(*copy));
        isola_buf_append(copy, value->data, value->len);
        isola_map_set(stored, isola_slice(e->key, e->len), copy);
    }
    ISOLA_MAP_EACH(&w->kept, k)
    {
        const struct isola_kept_rows *rows = k->value;
        struct isola_kept_rows *copy = isola_zalloc(sizeof(*copy));
        isola_kept_copy(copy, rows->row, rows->n);
        isola_map_set(kept, isola_slice(k->key, k->len), copy);
    }
}
