/* SPDX-License-Identifier: Apache-2.0
 *
 * When an actor has changed, and what its state was.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/past_own.h"
#include "store/state_own.h"

/* A row as it was for a while. */
struct version {
    int part;
    struct isola_slice peer; /* owned */
    int64_t seq, written, until;
    uint64_t bytes;
};
struct versions {
    struct version *v;
    size_t n, cap;
};

static void add_version(void *arg, sqlite3_stmt *row)
{
    struct versions *all = arg;
    struct isola_slice peer = isola__column(row, 1);
    uint8_t *name = isola_alloc(peer.len + 1);
    if (peer.len > 0)
        memcpy(name, peer.data, peer.len);
    if (all->n == all->cap) {
        all->cap = all->cap > 0 ? all->cap * 2 : 64;
        all->v = isola_realloc(all->v, all->cap * sizeof(*all->v));
    }
    all->v[all->n++] = (struct version){.part = sqlite3_column_int(row, 0),
                                        .peer = isola_slice(name, peer.len),
                                        .seq = sqlite3_column_int64(row, 2),
                                        .written = sqlite3_column_int64(row, 3),
                                        .until = sqlite3_column_int64(row, 4),
                                        .bytes = (uint64_t)sqlite3_column_int64(row, 5)};
}

static int by_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int by_name(const struct version *a, const struct version *b)
{
    if (a->part != b->part)
        return a->part - b->part;
    int is = isola_slice_order(a->peer, b->peer);
    return is != 0 ? is : by_number(a->seq, b->seq);
}

static int by_name_and_time(const void *x, const void *y)
{
    const struct version *a = x, *b = y;
    int is = by_name(a, b);
    return is != 0 ? is : by_number(a->written, b->written);
}

struct event {
    int64_t time;
    int part;
    bool gone;
    uint64_t bytes;
};

static int newest_first(const void *x, const void *y)
{
    const struct event *a = x, *b = y;
    return by_number(b->time, a->time);
}

/* Of each version when it was put, and when it was removed, unless it was replaced. */
static size_t events_of(const struct versions *all, int64_t since, struct event *out, bool *then)
{
    size_t n = 0;
    *then = false;
    for (size_t i = 0; i < all->n; i++) {
        const struct version *v = &all->v[i];
        bool replaced =
            i + 1 < all->n && by_name(v, &all->v[i + 1]) == 0 && all->v[i + 1].written == v->until;
        if (v->written > since)
            out[n++] = (struct event){v->written, v->part, false, v->bytes};
        else if (v->part == ISOLA__PAST_STATE)
            *then = true;
        if (v->until != INT64_MAX && !replaced)
            out[n++] = (struct event){v->until, v->part, true, v->bytes};
    }
    return n;
}

static void points_of(const struct event *events, size_t n, size_t most, struct isola_history *h)
{
    const struct isola_history_point *last = NULL;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || events[i].time != events[i - 1].time) {
            last = NULL;
            h->total++;
            if (h->n < most) {
                h->points[h->n] = (struct isola_history_point){.time = events[i].time};
                last = &h->points[h->n++];
            }
        }
        if (last != NULL)
            isola__history_count(&h->points[h->n - 1].what, events[i].part, events[i].gone,
                                 events[i].bytes);
    }
}

static void collect(struct versions *all, int64_t since, size_t most, struct isola_history *h)
{
    bool then;
    if (all->n > 0)
        qsort(all->v, all->n, sizeof(*all->v), by_name_and_time);
    struct event *events = isola_zalloc((2 * all->n + 1) * sizeof(*events));
    size_t n = events_of(all, since, events, &then);
    if (n > 0)
        qsort(events, n, sizeof(*events), newest_first);
    h->points = isola_zalloc(((n < most ? n : most) + 1) * sizeof(*h->points));
    points_of(events, n, most, h);
    if (then) {
        h->total++;
        if (h->n < most)
            h->points[h->n++] = (struct isola_history_point){.time = since, .oldest = true};
    }
    free(events);
}

int isola_state_history(struct isola_state *s, struct isola_slice address, size_t most,
                        struct isola_history *out, struct isola_err *err)
{
    struct isola__look l;
    struct versions all = {0};
    *out = (struct isola_history){.on = isola__state_history_limits(s)->ms > 0};
    int code = isola__look_open(&l, s, address, err);
    if (code != 0)
        return code;
    out->since = l.since;
    if (l.since != 0)
        code = isola__look_each(&l, l.since, add_version, &all);
    isola__look_close(&l);
    if (code == 0)
        collect(&all, out->since, most, out);
    for (size_t i = 0; i < all.n; i++)
        free((void *)(uintptr_t)all.v[i].peer.data);
    free(all.v);
    return code;
}

void isola_history_free(struct isola_history *h)
{
    free(h->points);
    *h = (struct isola_history){0};
}

/* --- a state through time --- */

int isola_state_values(struct isola_state *s, struct isola_slice address,
                       void (*fn)(void *arg, int64_t from, int64_t until, struct isola_slice value),
                       void *arg, struct isola_err *err)
{
    struct isola__look l;
    int rc = SQLITE_DONE, code = isola__look_open(&l, s, address, err);
    if (code != 0)
        return code;
    sqlite3_stmt *stmt =
        isola__look_prepare(&l,
                            "SELECT written, until, value FROM past WHERE address = ?1 AND part = 0"
                            " UNION ALL SELECT written, 9223372036854775807, value FROM state"
                            " WHERE address = ?1 ORDER BY 1",
                            &code);
    if (code == 0) {
        isola__bind_text(stmt, 1, address);
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
            fn(arg, sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
               isola__column(stmt, 2));
    }
    isola__look_end(&l, stmt, rc, &code);
    isola__look_close(&l);
    return code;
}
