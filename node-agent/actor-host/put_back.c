/* SPDX-License-Identifier: Apache-2.0
 *
 * Putting an actor back to what it had before (store/history.h).
 *
 * The happy path: reads of the address wait from now on; its activation ends after the turn it is
 * in, as for a newer release, so that what waits for the actor is for its next activation; its
 * state is brought here, if it is not yet (claims.c); another node is asked what it had, if it
 * lived there then (ASK `past`); then a thread looks at what it had then, and writes what differs
 * as one commit. Then reads go on, and whoever starts finds what it had then. Timers that are due
 * by now fire.
 *
 * Failure modes: whatever fails, nothing is written and reads go on. A process that dies has
 * written all of it or nothing.
 */
#include <semaphore.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/past.h"

/* For what another node has: as long as moving an actor may take there. */
#define FAR_MS 60000u

struct put_back {
    struct store_job job; /* first */
    struct put_back *next;
    uint64_t id;
    struct isola_buf address;
    int64_t time;
    bool dry;                     /* it is only said what it would change */
    bool holds;                   /* reads wait */
    bool asks;                    /* the node that has that part of its history, */
    char *from;                   /* which is this one; NULL: here. Owned */
    struct isola_past then;       /* what that says */
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
    while (b != NULL && !(b->holds && isola_slice_eq(isola_buf_slice(&b->address), address)))
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

/* From now on it is found; unless it is dry, reads wait. */
static void hold(struct put_back *b)
{
    struct app *app = b->job.app;
    pthread_mutex_lock(&app->past_lock);
    b->holds = !b->dry;
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
    let_go(b);
    if (b->due != 0)
        isola_host_timer(base->app->host, isola_buf_slice(&b->address), b->due);
    isola_buf_free(&b->address);
    isola_past_free(&b->then);
    free(b->from);
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

static int find_past(struct put_back *b, struct isola_past *past)
{
    struct app *app = b->job.app;
    struct isola_slice address = isola_buf_slice(&b->address);
    struct isola_err *err = &b->job.err;
    if (b->from != NULL)
        return isola_state_past_from(app->state, address, &b->then, past, err);
    int code = isola_state_past(app->state, address, b->time, past, err);
    if (code == 0 && (code = past_check_stay(app, address, b->time, past->there, err)) != 0)
        isola_past_free(past);
    return code;
}

static void put_back(struct store_job *base)
{
    struct put_back *b = (struct put_back *)base;
    struct isola_past past;
    int code = find_past(b, &past);
    if (code != 0)
        return;
    if (!b->dry)
        code = write_past(b, &past);
    if (code == 0) {
        isola_mp_map(&base->out, PAST_CHANGES + 4);
        isola_mp_kstr(&base->out, "node", base->app->options.node);
        isola_mp_kuint(&base->out, "time", (uint64_t)b->time);
        isola_mp_kbool(&base->out, "there", past.there);
        isola_mp_kbool(&base->out, "dry", b->dry);
        past_write_changes(&base->out, &past.what);
    }
    if (code == 0 && !b->dry)
        isola_log(ISOLA_LOG_INFO, "%.*s was put back to what it had before",
                  ISOLA_FMT(isola_buf_slice(&b->address)));
    isola_past_free(&past);
}

/* --- what another node has --- */

static struct peer *live_peer(struct app *app, const char *name)
{
    for (size_t i = 0; i < app->npeers; i++)
        if (app->peers[i]->live && strcmp(app->peers[i]->name, name) == 0)
            return app->peers[i];
    return NULL;
}

static void ask_far(struct put_back *b)
{
    struct isola_slice none = {0};
    struct isola_buf args = {0};
    struct peer *p = live_peer(b->job.app, b->from);
    struct isola_mail *m = NULL;
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 2);
    isola_mp_cstr(&args, "address");
    isola_mp_str(&args, isola_buf_slice(&b->address));
    isola_mp_kuint(&args, "time", (uint64_t)b->time);
    if (p != NULL)
        m = isola_mail_new(ISOLA_MSG_ASK, none, none, isola_slice_str("past"), none,
                           isola_buf_slice(&args));
    isola_buf_free(&args);
    if (m == NULL) {
        refuse(b, ISOLA_EUNREACHABLE,
               "the node that has that part of its history is not there now");
        return;
    }
    m->timeout_ms = FAR_MS;
    m->origin.link = GIVE_LINK;
    m->origin.id = b->id;
    b->asks = true;
    peer_send(p, m);
}

/* {there, state, kept} */
static bool take_past(struct isola_slice value, struct isola_past *out)
{
    struct isola_slice state, kept;
    if (!isola_mp_find_bool(value, "there", &out->there) ||
        !isola_mp_find_bin(value, "state", &state) || !isola_mp_find(value, "kept", &kept) ||
        !isola_kept_read(kept, &out->rows))
        return false;
    isola_buf_append(&out->state, state.data, state.len);
    return !out->state.failed;
}

static void far_answered(struct put_back *b, const struct isola_mail *mail)
{
    struct isola_slice value = {0};
    struct isola_mp_error e = {0};
    struct isola_err err;
    bool found = isola_mp_at(mail->args, 0, &value);
    if (mail->kind != ISOLA_MSG_FAIL && found && take_past(value, &b->then)) {
        (void)store_job(&b->job);
        return;
    }
    if (mail->kind != ISOLA_MSG_FAIL || !found || !isola_mp_read_error(value, &e))
        e.message = isola_slice_str("its answer is not what it should be");
    isola_fail(&err, ISOLA_EUNREACHABLE, "node %s, where it lived then: %.*s", b->from,
               ISOLA_FMT(e.message));
    refuse(b, err.code, err.text);
}

/* --- on the loop --- */

static void run_here(struct app *app, struct parcel *parcel)
{
    struct put_back *b =
        (struct put_back *)(void *)((char *)parcel - offsetof(struct put_back, parcel));
    (void)app;
    if (b->job.err.code != 0)
        refuse(b, b->job.err.code, b->job.err.text);
    else if (b->from != NULL)
        ask_far(b);
    else
        (void)store_job(&b->job);
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

void past_answered(struct app *app, const struct isola_mail *mail)
{
    pthread_mutex_lock(&app->past_lock);
    struct put_back *b = app->put_backs;
    while (b != NULL && b->id != mail->origin.id)
        b = b->next;
    pthread_mutex_unlock(&app->past_lock);
    if (b == NULL)
        return;
    if (b->asks) {
        far_answered(b, mail);
        return;
    }
    b->io = (struct isola_state_io){.done = state_is_here, .address = isola_buf_slice(&b->address)};
    claims_read_now(app, &b->io);
}

static void end_activation(struct put_back *b)
{
    struct app *app = b->job.app;
    struct isola_slice none = {0};
    struct isola_mail *end =
        isola_mail_new(ISOLA_MAIL_UPGRADE, none, isola_buf_slice(&b->address), none, none, none);
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
    struct isola_slice from = {0};
    uint64_t time = 0;
    bool dry = false;
    if (!past_take_address(app, asked, params, "restore", &address))
        return;
    (void)isola_mp_find_bool(params, "dry", &dry);
    (void)isola_mp_find_str(params, "from", &from);
    const char *why = NULL;
    int code = ISOLA_EBUSY;
    struct isola_slice at = isola_buf_slice(&address);
    if (!isola_mp_find_uint(params, "time", &time) || time == 0 || time >= ISOLA_PAST_NOW) {
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
    if (from.len > 0 && !isola_slice_is(from, app->options.node))
        b->from = isola_strndup((const char *)from.data, from.len);
    hold(b);
    if (!dry)
        end_activation(b);
    else if (b->from != NULL)
        ask_far(b);
    else
        (void)store_job(&b->job);
}
