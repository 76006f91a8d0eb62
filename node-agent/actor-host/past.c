/* SPDX-License-Identifier: Apache-2.0
 *
 * When an actor has changed, and putting it back to what it had then (store/history.h).
 *
 * The happy path of putting back: reads of the address wait from now on; its activation ends after
 * the turn it is in, as for a newer release, so that what waits for the actor is for its next
 * activation; its state is brought here, if it is not yet (claims.c); then a thread looks at what
 * it had then, and writes what differs as one commit. Then reads go on, and whoever starts finds
 * what it had then. Timers that are due by now fire.
 *
 * An actor that has moved has been on one node at a time: what its notes were then says
 * whether it was here (notes.h). What another node had it cannot be put back to from here.
 *
 * Failure modes: whatever fails, nothing is written and reads go on. A process that dies has
 * written all of it or nothing.
 */
#include <semaphore.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/notes.h"
#include "store/history.h"

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
    const struct note_stay *next =
        stay->note.kind == NOTE_TAKING ? stay_at(all, stay->until) : NULL;
    return next != NULL && next->note.kind == NOTE_MINE ? next->from : 0;
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

#define CHANGES 5
static void write_changes(struct isola_buf *out, const struct isola_history_changes *what)
{
    isola_mp_kbool(out, "state", what->state);
    write_count(out, "storage", what->items);
    write_count(out, "sql", what->pages);
    write_count(out, "timers", what->timers);
    isola_mp_kuint(out, "bytes", what->bytes);
}

static void write_points(struct isola_buf *out, const struct isola_history *h,
                         const struct note_stays *stays)
{
    struct isola_buf points = {0};
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        const struct isola_history_point *p = &h->points[i];
        int64_t time = time_here(stays, p->time);
        if (time == 0)
            continue;
        isola_mp_map(&points, CHANGES + 2);
        isola_mp_kuint(&points, "time", (uint64_t)time);
        isola_mp_kbool(&points, "oldest", p->oldest);
        write_changes(&points, &p->what);
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
        write_points(&base->out, &h, &stays);
    }
    note_stays_free(&stays);
    isola_history_free(&h);
}

static void looked_back(struct store_job *base)
{
    isola_buf_free(&((struct history_job *)base)->address);
    free(base);
}

static bool take_address(struct app *app, uint64_t asked, struct isola_slice params,
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
    if (!take_address(app, asked, params, "history", &address))
        return;
    (void)isola_mp_find_uint(params, "limit", &most);
    struct history_job *j = isola_zalloc(sizeof(*j));
    *j = (struct history_job){
        .base = {.app = app, .asked = asked, .work = look_back, .ended = looked_back},
        .address = address,
        .most = most < POINTS_MAX ? (size_t)most : POINTS_MAX};
    (void)store_job(&j->base);
}

/* --- putting back --- */

struct put_back {
    struct store_job job; /* first */
    struct put_back *next;
    uint64_t id;
    struct isola_buf address;
    int64_t time;
    bool dry;                     /* it is only said what it would change */
    struct isola_state_io *waits; /* reads, by their adapter[0]; with past_lock */
    uint64_t due;                 /* of the first timer that came back, ms since 1970; 0: none */
    /* bringing its state here: */
    struct parcel parcel;
    struct isola_state_io io;
    /* writing: */
    struct isola_state_req req;
    sem_t written;
};

static struct put_back *held(struct app *app, struct isola_slice address)
{
    struct put_back *b = app->put_backs;
    while (b != NULL && !isola_slice_eq(isola_buf_slice(&b->address), address))
        b = b->next;
    return b;
}

bool past_holds(struct app *app, struct isola_slice address)
{
    if (atomic_load(&app->nput_backs) == 0)
        return false;
    pthread_mutex_lock(&app->past_lock);
    bool is = held(app, address) != NULL;
    pthread_mutex_unlock(&app->past_lock);
    return is;
}

bool past_hold(struct app *app, struct isola_state_io *io)
{
    if (atomic_load(&app->nput_backs) == 0)
        return false;
    pthread_mutex_lock(&app->past_lock);
    struct put_back *b = held(app, io->address);
    if (b != NULL) {
        io->adapter[0] = b->waits;
        b->waits = io;
    }
    pthread_mutex_unlock(&app->past_lock);
    return b != NULL;
}

static void hold(struct put_back *b)
{
    struct app *app = b->job.app;
    pthread_mutex_lock(&app->past_lock);
    b->next = app->put_backs;
    app->put_backs = b;
    atomic_fetch_add(&app->nput_backs, 1);
    pthread_mutex_unlock(&app->past_lock);
}

/* Reads go on. */
static void let_go(struct put_back *b)
{
    struct app *app = b->job.app;
    pthread_mutex_lock(&app->past_lock);
    struct put_back **at = &app->put_backs;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    atomic_fetch_sub(&app->nput_backs, 1);
    struct isola_state_io *waits = b->waits;
    pthread_mutex_unlock(&app->past_lock);
    while (waits != NULL) {
        struct isola_state_io *next = waits->adapter[0];
        claims_read_now(app, waits);
        waits = next;
    }
}

static void put_back_ended(struct store_job *base)
{
    struct put_back *b = (struct put_back *)base;
    if (!b->dry)
        let_go(b);
    if (b->due != 0)
        isola_host_timer(base->app->host, isola_buf_slice(&b->address), b->due);
    isola_buf_free(&b->address);
    free(b);
}

static void refuse(struct put_back *b, int code, const char *why)
{
    agent_link_fail(b->job.app, b->job.asked, code, why);
    put_back_ended(&b->job);
}

/* --- in the thread --- */

static void written(struct isola_state_req *req, int code, struct isola_slice value,
                    const char *why)
{
    struct put_back *b = req->arg;
    (void)value;
    if (code != 0)
        isola_fail(&b->job.err, code, "%s", why);
    sem_post(&b->written);
}

static int write_past(struct put_back *b, const struct isola_past *past)
{
    if (!past->change.has_value && past->change.nrows == 0)
        return 0;
    sem_init(&b->written, 0, 0);
    b->req =
        (struct isola_state_req){.cb = written, .arg = b, .address = isola_buf_slice(&b->address)};
    isola_state_write(b->job.app->state, &b->req, &past->change);
    while (sem_wait(&b->written) != 0) /* EINTR */
        continue;
    sem_destroy(&b->written);
    b->due = past->due;
    return b->job.err.code;
}

/* It lived here then. */
static int check_stay(struct put_back *b, const struct isola_past *past)
{
    struct note_stays stays;
    struct isola_err *err = &b->job.err;
    int code = note_stays(b->job.app, isola_buf_slice(&b->address), &stays, err);
    const struct note_stay *stay = code == 0 ? stay_at(&stays, b->time) : NULL;
    if (stay != NULL && stay->note.kind == NOTE_GIVEN)
        code = isola_fail(err, ISOLA_EUNREACHABLE,
                          "at that time it lived on node %.*s, not on %s: it can be put back to "
                          "what it had on the node where it lives",
                          ISOLA_FMT(isola_buf_slice(&stay->note.taker)), b->job.app->options.node);
    else if ((stay != NULL && stay->note.kind == NOTE_TAKING) ||
             (code == 0 && stay == NULL && stays.n > 0 && !past->there))
        code = isola_fail(err, ISOLA_EUNREACHABLE,
                          "at that time it did not live on node %s yet: it can be put back to what "
                          "it had on the node where it lives",
                          b->job.app->options.node);
    note_stays_free(&stays);
    return code;
}

static void put_back(struct store_job *base)
{
    struct put_back *b = (struct put_back *)base;
    struct isola_past past;
    struct isola_slice address = isola_buf_slice(&b->address);
    if (isola_state_past(base->app->state, address, b->time, &past, &base->err) != 0)
        return;
    int code = check_stay(b, &past);
    if (code == 0 && !b->dry)
        code = write_past(b, &past);
    if (code == 0) {
        isola_mp_map(&base->out, CHANGES + 4);
        isola_mp_kstr(&base->out, "node", base->app->options.node);
        isola_mp_kuint(&base->out, "time", (uint64_t)b->time);
        isola_mp_kbool(&base->out, "there", past.there);
        isola_mp_kbool(&base->out, "dry", b->dry);
        write_changes(&base->out, &past.what);
    }
    if (code == 0 && !b->dry)
        isola_log(ISOLA_LOG_INFO, "%.*s was put back to what it had before", ISOLA_FMT(address));
    isola_past_free(&past);
}

/* --- on the loop --- */

static void run_here(struct app *app, struct parcel *parcel)
{
    struct put_back *b =
        (struct put_back *)(void *)((char *)parcel - offsetof(struct put_back, parcel));
    (void)app;
    if (b->job.err.code == 0)
        (void)store_job(&b->job);
    else
        refuse(b, b->job.err.code, b->job.err.text);
}

/* Its state is here, or there is none. */
static void state_is_here(struct isola_state_io *io, int code, struct isola_slice value,
                          const char *why)
{
    struct put_back *b = (struct put_back *)(void *)((char *)io - offsetof(struct put_back, io));
    (void)value;
    if (code != 0 && code != ISOLA_ENOENT)
        isola_fail(&b->job.err, code, "%s", why != NULL ? why : "its state cannot be had now");
    b->parcel.run = run_here;
    outbox_put(b->job.app, &b->parcel);
}

void past_ended(struct app *app, uint64_t id)
{
    pthread_mutex_lock(&app->past_lock);
    struct put_back *b = app->put_backs;
    while (b != NULL && b->id != id)
        b = b->next;
    pthread_mutex_unlock(&app->past_lock);
    if (b == NULL)
        return;
    b->io = (struct isola_state_io){.done = state_is_here, .address = isola_buf_slice(&b->address)};
    claims_read_now(app, &b->io);
}

static void end_activation(struct put_back *b)
{
    struct app *app = b->job.app;
    struct isola_slice none = {0};
    struct isola_mail *end =
        isola_mail_new(ISOLA_MAIL_UPGRADE, none, isola_buf_slice(&b->address), none, none, none);
    hold(b);
    if (end == NULL) {
        refuse(b, ISOLA_ENOMEM, "no memory to end its activation");
        return;
    }
    end->origin.link = GIVE_LINK;
    end->origin.id = b->id;
    isola_host_stop(app->host, end);
}

void restore_asked(struct app *app, uint64_t asked, struct isola_slice params)
{
    struct isola_buf address = {0};
    uint64_t time = 0;
    bool dry = false;
    if (!take_address(app, asked, params, "restore", &address))
        return;
    (void)isola_mp_find_bool(params, "dry", &dry);
    const char *why = NULL;
    int code = ISOLA_EBUSY;
    struct isola_slice at = isola_buf_slice(&address);
    if (!isola_mp_find_uint(params, "time", &time) || time == 0 || time > INT64_MAX) {
        code = ISOLA_EINVAL;
        why = "restore: \"time\" is to be in ms since 1970";
    } else if (peers_locate(app, at) != 0) {
        code = ISOLA_EUNREACHABLE;
        why = "it does not live on this node";
    } else if (past_holds(app, at)) {
        why = "it is being put back already";
    } else if (app->shutdown_id != 0 || claims_moving(app, at)) {
        why = "its state is on its way between two nodes: try again";
    }
    if (why != NULL) {
        agent_link_fail(app, asked, code, why);
        isola_buf_free(&address);
        return;
    }
    struct put_back *b = isola_zalloc(sizeof(*b));
    *b = (struct put_back){
        .job = {.app = app, .asked = asked, .work = put_back, .ended = put_back_ended},
        .id = ++app->next_claim,
        .address = address,
        .time = (int64_t)time,
        .dry = dry};
    if (dry)
        (void)store_job(&b->job);
    else
        end_activation(b);
}
