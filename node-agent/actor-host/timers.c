/* SPDX-License-Identifier: Apache-2.0
 *
 * Timers of actors (self.schedule) as they are on disk, the next one first: so those of actors that
 * are not active too. Of all actors, an app's, or one's.
 */
#include <uv.h>

#include "actors/v8/realm.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"

#define TIMERS_DEFAULT 50
#define TIMERS_MAX     1000
#define PAGE_ROWS      1000
/* Of an app with few among millions not all may be found: who asks does not wait for ever. */
#define LOOK_MS 3000

struct timers_job {
    struct store_job base; /* first */
    struct isola_buf of;   /* an app or an address; empty: all */
    bool one;              /* `of` is an address */
    size_t most;
    struct isola_buf list;
    size_t n;
    bool more; /* than are in the list */
};

/* A read of the store, waited for. */
struct wait {
    struct isola_state_req req; /* first */
    uv_sem_t done;
    int code;
    struct isola_kept_rows rows; /* owned */
    struct isola_err *err;
};

static void read_done(struct isola_state_req *req, int code, struct isola_slice value,
                      const char *why)
{
    struct wait *w = (struct wait *)req;
    (void)value;
    w->code = code == ISOLA_ENOENT ? 0 : code;
    if (code == 0)
        isola_kept_copy(&w->rows, req->rows, req->nrows);
    else if (w->code != 0)
        isola_fail(w->err, code, "%s", why != NULL ? why : isola_error_text(code));
    uv_sem_post(&w->done);
}

static void wait_for(struct wait *w)
{
    uv_sem_wait(&w->done);
    uv_sem_destroy(&w->done);
}

static void begin(struct wait *w, struct isola_err *err)
{
    *w = (struct wait){.req = {.cb = read_done}, .err = err};
    ISOLA_CHECK(uv_sem_init(&w->done, 0) == 0);
}

static void add(struct timers_job *j, struct isola_slice address, const struct isola_kept *row)
{
    struct isola_v8_timer t;
    struct isola_buf *out = &j->list;
    if (!isola_host_timer_read(row->value, &t))
        return;
    if (j->n >= j->most) {
        j->more = true;
        return;
    }
    j->n++;
    isola_mp_map(out, 4u + (t.every > 0) + (t.cron.len > 0 ? 2 : 0));
    isola_mp_cstr(out, "address");
    isola_mp_str(out, address);
    isola_mp_cstr(out, "id");
    isola_mp_str(out, row->peer);
    isola_mp_cstr(out, "event");
    isola_mp_str(out, t.event);
    isola_mp_kuint(out, "next", row->seq);
    if (t.every > 0)
        isola_mp_kuint(out, "every", t.every);
    if (t.cron.len > 0) {
        isola_mp_cstr(out, "cron");
        isola_mp_str(out, t.cron);
        isola_mp_cstr(out, "time_zone");
        isola_mp_str(out, t.zone);
    }
}

static int by_due(const void *x, const void *y)
{
    const struct isola_kept *a = x, *b = y;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

/* An actor has few enough to read them all. */
static int look_at_one(struct timers_job *j)
{
    struct wait w;
    begin(&w, &j->base.err);
    w.req.address = isola_buf_slice(&j->of);
    isola_state_get(j->base.app->state, &w.req);
    wait_for(&w);
    if (w.rows.n > 0)
        qsort(w.rows.row, w.rows.n, sizeof(*w.rows.row), by_due);
    for (size_t i = 0; i < w.rows.n; i++)
        if (w.rows.row[i].part == ISOLA_KEPT_TIMER)
            add(j, w.req.address, &w.rows.row[i]);
    isola_kept_free(&w.rows);
    return w.code;
}

static bool wanted(const struct timers_job *j, struct isola_slice address)
{
    struct isola_address parts;
    return j->of.len == 0 || (isola_address_parse(address, &parts, NULL) == 0 &&
                              isola_slice_eq(parts.app, isola_buf_slice(&j->of)));
}

/* Reads what the timer is. One that has fired since is not there any more. */
static int add_due(struct timers_job *j, const struct isola_kept *due)
{
    struct isola_buf value = {0};
    struct isola_kept row = {.part = ISOLA_KEPT_TIMER, .peer = due->peer, .seq = due->seq};
    int code = isola_state_row_wait(j->base.app->state, due->value, &row, &value, &j->base.err);
    row.value = isola_buf_slice(&value);
    if (code == 0)
        add(j, due->value, &row);
    isola_buf_free(&value);
    return code == ISOLA_ENOENT ? 0 : code;
}

static int read_page(struct timers_job *j, const struct isola_kept_due *want,
                     struct isola_kept_rows *page)
{
    struct wait w;
    begin(&w, &j->base.err);
    isola_state_due(j->base.app->state, &w.req, want);
    wait_for(&w);
    isola_kept_free(page); /* `want` was of it */
    *page = w.rows;
    return w.code;
}

static int look_at_all(struct timers_job *j)
{
    uint64_t until = isola_clock_ms() + LOOK_MS;
    struct isola_kept_due want = {.until = INT64_MAX, .rows = PAGE_ROWS};
    struct isola_kept_rows page = {0};
    int code = read_page(j, &want, &page);
    while (code == 0) {
        for (size_t i = 0; i < page.n && code == 0 && !j->more; i++)
            if (wanted(j, page.row[i].value))
                code = add_due(j, &page.row[i]);
        if (code != 0 || j->more || page.n < PAGE_ROWS)
            break;
        const struct isola_kept *last = &page.row[page.n - 1];
        want.due = last->seq;
        want.address = last->value;
        want.id = last->peer;
        j->more = store_stops() || isola_clock_ms() >= until;
        if (!j->more)
            code = read_page(j, &want, &page);
    }
    isola_kept_free(&page);
    return code;
}

/* {schedules: [of this node]} */
static void look(struct store_job *base)
{
    struct timers_job *j = (struct timers_job *)base;
    struct isola_buf *out = &base->out;
    if ((j->one ? look_at_one(j) : look_at_all(j)) != 0)
        return;
    isola_mp_map(out, 1);
    isola_mp_cstr(out, "schedules");
    isola_mp_array(out, 1);
    isola_mp_map(out, 3);
    isola_mp_kstr(out, "node", base->app->options.node);
    isola_mp_kbool(out, "more", j->more);
    isola_mp_cstr(out, "timers");
    isola_mp_array(out, j->n);
    isola_buf_append(out, j->list.data, j->list.len);
    out->failed = out->failed || j->list.failed;
}

static void ended(struct store_job *base)
{
    struct timers_job *j = (struct timers_job *)base;
    isola_buf_free(&j->of);
    isola_buf_free(&j->list);
    free(j);
}

void timers_asked(struct app *app, uint64_t asked, struct isola_slice params)
{
    struct isola_slice of = {0};
    struct isola_address parts;
    uint64_t most = TIMERS_DEFAULT;
    (void)isola_mp_find_str(params, "of", &of);
    (void)isola_mp_find_uint(params, "limit", &most);
    struct timers_job *j = isola_zalloc(sizeof(*j));
    *j = (struct timers_job){.base = {.app = app, .asked = asked, .work = look, .ended = ended},
                             .one = isola_address_parse(of, &parts, NULL) == 0,
                             .most = most < TIMERS_MAX ? (size_t)most : TIMERS_MAX};
    isola_buf_append(&j->of, of.data, of.len);
    (void)store_job(&j->base);
}
