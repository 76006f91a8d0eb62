/* SPDX-License-Identifier: Apache-2.0
 *
 * When an actor has changed, and what it had (store/history.h), for who asks.
 *
 * An actor that has moved has been on one node at a time: what its notes were then says whether it
 * was here (notes.h). Each node knows of the time when it was there.
 */
#include "node-agent/actor-host/past.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/notes.h"

#define POINTS_MAX     10000u
#define POINTS_DEFAULT 1000u

/* --- where it was --- */

static const struct note_stay *stay_at(const struct note_stays *all, int64_t time)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->stay[i].from <= time && time < all->stay[i].until)
            return &all->stay[i];
    return NULL;
}

/* What came here is whole when it is noted as being here: its point is then. 0: it was not here. */
static int64_t time_here(const struct note_stays *all, int64_t time)
{
    const struct note_stay *stay = stay_at(all, time);
    if (stay == NULL || stay->note.kind == NOTE_MINE)
        return time;
    while (stay != NULL && stay->note.kind == NOTE_TAKING)
        stay = stay_at(all, stay->until);
    return stay != NULL && stay->note.kind == NOTE_MINE ? stay->from : 0;
}

static void add_count(struct isola_history_count *to, struct isola_history_count c)
{
    to->put += c.put;
    to->gone += c.gone;
}

/* What came here in pieces, and was written at several points, is of one. */
static void join_points(struct isola_history *h, const struct note_stays *stays)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        struct isola_history_point p = h->points[i];
        struct isola_history_changes *what = n > 0 ? &h->points[n - 1].what : NULL;
        p.time = time_here(stays, p.time);
        if (n == 0 || p.time == 0 || p.time != h->points[n - 1].time) {
            h->points[n++] = p;
            continue;
        }
        what->state |= p.what.state;
        what->bytes += p.what.bytes;
        add_count(&what->timers, p.what.timers);
        add_count(&what->items, p.what.items);
        add_count(&what->pages, p.what.pages);
        h->total--;
    }
    h->n = n;
}

int past_check_stay(struct app *app, struct isola_slice address, int64_t time, bool there,
                    struct isola_err *err)
{
    struct note_stays stays;
    int code = note_stays(app, address, &stays, err);
    const struct note_stay *stay = code == 0 ? stay_at(&stays, time) : NULL;
    if (stay != NULL && stay->note.kind == NOTE_GIVEN)
        code = isola_fail(err, ISOLA_EUNREACHABLE,
                          "at that time it lived on node %.*s, not on %s: that part of its history "
                          "is there",
                          ISOLA_FMT(isola_buf_slice(&stay->note.taker)), app->options.node);
    else if ((stay != NULL && stay->note.kind == NOTE_TAKING) ||
             (code == 0 && stay == NULL && stays.n > 0 && !there))
        code = isola_fail(err, ISOLA_EUNREACHABLE,
                          "at that time it did not live on node %s: that part of its history is "
                          "not here",
                          app->options.node);
    note_stays_free(&stays);
    return code;
}

/* --- when it has changed --- */

struct history_job {
    struct store_job base; /* first */
    struct isola_buf address;
    size_t most;
};

static void write_count(struct isola_buf *out, const char *name, struct isola_history_count c)
{
    isola_mp_cstr(out, name);
    isola_mp_map(out, 2);
    isola_mp_kuint(out, "put", c.put);
    isola_mp_kuint(out, "gone", c.gone);
}

void past_write_changes(struct isola_buf *out, const struct isola_history_changes *what)
{
    isola_mp_kbool(out, "state", what->state);
    write_count(out, "storage", what->items);
    write_count(out, "sql", what->pages);
    write_count(out, "timers", what->timers);
    isola_mp_kuint(out, "bytes", what->bytes);
}

static void write_points(struct isola_buf *out, const struct isola_history *h)
{
    struct isola_buf points = {0};
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        const struct isola_history_point *p = &h->points[i];
        if (p->time == 0)
            continue;
        isola_mp_map(&points, PAST_CHANGES + 2);
        isola_mp_kuint(&points, "time", (uint64_t)p->time);
        isola_mp_kbool(&points, "oldest", p->oldest);
        past_write_changes(&points, &p->what);
        n++;
    }
    isola_mp_cstr(out, "points");
    isola_mp_array(out, n);
    isola_buf_append(out, points.data, points.len);
    isola_buf_free(&points);
}

/* {histories: [of this node]} */
static void look_back(struct store_job *base)
{
    struct history_job *j = (struct history_job *)base;
    struct app *app = base->app;
    struct isola_slice address = isola_buf_slice(&j->address);
    struct isola_history h = {0};
    struct note_stays stays = {0};
    int code = isola_state_history(app->state, address, j->most, &h, &base->err);
    if (code == 0)
        code = note_stays(app, address, &stays, &base->err);
    if (code == 0) {
        join_points(&h, &stays);
        isola_mp_map(&base->out, 1);
        isola_mp_cstr(&base->out, "histories");
        isola_mp_array(&base->out, 1);
        isola_mp_map(&base->out, 7);
        isola_mp_kstr(&base->out, "node", app->options.node);
        isola_mp_kbool(&base->out, "on", h.on);
        isola_mp_kbool(&base->out, "here", peers_locate(app, address) == 0);
        isola_mp_kuint(&base->out, "since", (uint64_t)h.since);
        isola_mp_kuint(&base->out, "now", (uint64_t)isola_clock_wall_ms());
        isola_mp_kuint(&base->out, "total", h.total);
        write_points(&base->out, &h);
    }
    note_stays_free(&stays);
    isola_history_free(&h);
}

static void looked_back(struct store_job *base)
{
    isola_buf_free(&((struct history_job *)base)->address);
    free(base);
}

bool past_take_address(struct app *app, uint64_t asked, struct isola_slice params,
                       const char *method, struct isola_buf *out)
{
    struct isola_slice address;
    struct isola_address parts;
    struct isola_err err;
    if (!isola_mp_find_str(params, "address", &address))
        isola_fail(&err, ISOLA_EINVAL, "%s: \"address\" is missing", method);
    else if (isola_address_parse(address, &parts, &err) == 0)
        isola_buf_append(out, address.data, address.len);
    if (out->len == 0)
        agent_link_fail(app, asked, ISOLA_EINVAL, err.text);
    return out->len > 0;
}

void history_asked(struct app *app, uint64_t asked, struct isola_slice params)
{
    struct isola_buf address = {0};
    uint64_t most = POINTS_DEFAULT;
    if (!past_take_address(app, asked, params, "history", &address))
        return;
    (void)isola_mp_find_uint(params, "limit", &most);
    struct history_job *j = isola_zalloc(sizeof(*j));
    *j = (struct history_job){
        .base = {.app = app, .asked = asked, .work = look_back, .ended = looked_back},
        .address = address,
        .most = most < POINTS_MAX ? (size_t)most : POINTS_MAX};
    (void)store_job(&j->base);
}

/* --- what another node wants to know --- */

struct peer_job {
    struct store_job base; /* first */
    struct isola_buf address;
    int64_t time;
    struct isola_origin to;
};

static void look_for_peer(struct store_job *base)
{
    struct peer_job *j = (struct peer_job *)base;
    struct isola_slice address = isola_buf_slice(&j->address);
    struct isola_past then;
    if (isola_state_then(base->app->state, address, j->time, &then, &base->err) != 0)
        return;
    if (past_check_stay(base->app, address, j->time, then.there, &base->err) == 0) {
        isola_mp_array(&base->out, 1);
        isola_mp_map(&base->out, 3);
        isola_mp_kbool(&base->out, "there", then.there);
        isola_mp_cstr(&base->out, "state");
        isola_mp_bin(&base->out, isola_buf_slice(&then.state));
        isola_mp_cstr(&base->out, "kept");
        isola_kept_write(&base->out, then.rows.row, then.rows.n);
    }
    isola_past_free(&then);
}

static void looked_for_peer(struct store_job *base)
{
    struct peer_job *j = (struct peer_job *)base;
    struct isola_mail *m = base->err.code == 0
                               ? isola_mail_answer(j->to, true, isola_buf_slice(&base->out))
                               : isola_mail_failure(j->to, base->err.code, "%s", base->err.text);
    if (m != NULL)
        conn_answer(base->app, m);
    isola_buf_free(&j->address);
    free(j);
}

void past_asked(struct conn *conn, const struct isola_msg *m)
{
    struct isola_slice params = {0}, address = {0};
    struct isola_origin to = {.link = conn->number, .id = m->id};
    struct isola_address parts;
    struct isola_err err;
    uint64_t time = 0;
    isola_mp_at(m->args, 0, &params);
    if (!isola_mp_find_str(params, "address", &address) ||
        isola_address_parse(address, &parts, &err) != 0 ||
        !isola_mp_find_uint(params, "time", &time) || time == 0 || time >= ISOLA_PAST_NOW) {
        struct isola_mail *f =
            isola_mail_failure(to, ISOLA_EINVAL, "past has an address and a time");
        if (f != NULL)
            conn_answer(conn->app, f);
        return;
    }
    struct peer_job *j = isola_zalloc(sizeof(*j));
    *j = (struct peer_job){
        .base = {.app = conn->app, .work = look_for_peer, .ended = looked_for_peer},
        .time = (int64_t)time,
        .to = to};
    isola_buf_append(&j->address, address.data, address.len);
    (void)store_job(&j->base);
}
