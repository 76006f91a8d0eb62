/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts the actor-host together: options, state, isolates, workers, peers, agent; and the
 * connections' side of messages.
 */
#include "node-agent/actor-host/host_main.h"

#include <signal.h>

#include "actors/arrivals.h"
#include "actors/v8/realm.h"
#include "base/check.h"
#include "base/clock.h"
#include "node-agent/actor-host/app.h"

/* Isolates ready for actors that are yet to begin (actors/spare.c). */
#define SPARES 2

extern const uint8_t isola_runtime_source[], isola_runtime_source_end[];

/* --- state --- */

_Static_assert(sizeof(struct isola_state_req) <= sizeof(((struct isola_state_io *)0)->adapter),
               "a request of the store fits into the io it serves");

static void state_done(struct isola_state_req *req, int code, struct isola_slice value,
                       const char *why)
{
    struct isola_state_io *io = req->arg;
    io->rows = req->rows;
    io->nrows = req->nrows;
    io->done(io, code, value, why);
}

static struct isola_state_req *request(struct isola_state_io *io)
{
    struct isola_state_req *req = (struct isola_state_req *)(void *)io->adapter;
    *req = (struct isola_state_req){.cb = state_done, .arg = io, .address = io->address};
    return req;
}

static void state_write(void *arg, struct isola_state_io *io)
{
    isola_state_write(
        ((struct app *)arg)->state, request(io),
        &(struct isola_state_change){
            .has_value = io->has_value, .value = io->value, .rows = io->rows, .nrows = io->nrows});
}

/* So few are read in the time that waking the store's thread takes. */
#define ROWS_HERE 4

static void state_rows(void *arg, struct isola_state_io *io)
{
    struct isola_state *state = ((struct app *)arg)->state;
    if (io->nrows <= ROWS_HERE)
        isola_state_rows_here(state, request(io), io->rows, io->nrows);
    else
        isola_state_rows(state, request(io), io->rows, io->nrows);
}

static void state_range(void *arg, struct isola_state_io *io)
{
    isola_state_range(((struct app *)arg)->state, request(io), io->range);
}

static void state_due(void *arg, struct isola_state_io *io)
{
    isola_state_due(((struct app *)arg)->state, request(io), io->due);
}

static int state_row(void *arg, struct isola_slice address, const struct isola_kept *wanted,
                     struct isola_buf *out, struct isola_err *err)
{
    return isola_state_row_wait(((struct app *)arg)->state, address, wanted, out, err);
}

/* --- connections --- */

void conn_add(struct app *app, struct conn *c, struct isola_link *link)
{
    c->app = app;
    c->link = link;
    c->number = ++app->next_conn;
    pthread_mutex_lock(&app->conns_lock);
    isola_map_set(&app->conns, number_key(&c->number), c);
    pthread_mutex_unlock(&app->conns_lock);
}

void conn_close(struct conn *c)
{
    pthread_mutex_lock(&c->app->conns_lock);
    isola_map_del(&c->app->conns, number_key(&c->number));
    pthread_mutex_unlock(&c->app->conns_lock);
    isola_host_drop_link(c->app->host, c->number);
    subs_out_drop_conn(c->app, c->number);
    isola_arrivals_free(c->arrivals);
    free(c);
}

/* Does it go the short way (actors/arrivals.h)? */
static bool is_plain(const struct isola_msg *m)
{
    return (m->kind == ISOLA_MSG_ASK || m->kind == ISOLA_MSG_EMIT) && m->seq == 0 &&
           (m->event.len == 0 || m->event.data[0] > 1); /* not of the runtime's own */
}

/* A message to `dst` as a mail, which lies in `memory` that is to be the mail's, or is copied; NULL
 * when there is no memory. */
static struct isola_mail *mail_of(const struct isola_msg *m, struct isola_slice dst, void *memory)
{
    struct isola_mail *mail =
        memory != NULL
            ? isola_mail_around(memory, m->trace, (int)m->kind, m->src, dst, m->event, m->chain,
                                m->args)
            : isola_mail_new_in(m->trace, (int)m->kind, m->src, dst, m->event, m->chain, m->args);
    if (mail == NULL) {
        isola_log(ISOLA_LOG_ERROR, "no memory for a message of %zu bytes", m->args.len);
        return NULL;
    }
    mail->durable = m->seq != 0;
    if (mail->durable) {
        mail->seq = m->seq;
        mail->before = m->id;
    }
    return mail;
}

void durable_deliver(struct app *app, const struct isola_msg *m)
{
    struct isola_mail *mail = m->dst.len > 0 ? mail_of(m, m->dst, NULL) : NULL;
    if (mail == NULL)
        return;
    mail->passed_on = true;
    isola_host_post(app->host, mail);
}

static bool is_for_actors(const struct isola_msg *m)
{
    switch (m->kind) {
    case ISOLA_MSG_ASK:
    case ISOLA_MSG_EMIT:
    case ISOLA_MSG_SUB:
    case ISOLA_MSG_UNSUB:
    case ISOLA_MSG_STOP:
    case ISOLA_MSG_START:
    case ISOLA_MSG_CANCEL:
    case ISOLA_MSG_ACK:
        return true;
    case ISOLA_MSG_REPLY:
    case ISOLA_MSG_FAIL: /* of a durable ask: to where that lives now, not to who asked here */
        return m->seq != 0;
    default:
        return false;
    }
}

void conn_deliver(struct conn *c, const struct isola_msg *m, bool passed_on, void *memory)
{
    if (!is_for_actors(m)) {
        free(memory);
        return;
    }
    bool plain = is_plain(m) && passed_on && memory == NULL;
    struct isola_actor *to =
        plain ? isola_arrivals_find(c->app->host, c->arrivals, m->head, m->src, m->dst) : NULL;
    bool asked = m->kind == ISOLA_MSG_EMIT && (m->flags & ISOLA_MSG_TELL) != 0;
    char address[ISOLA_ADDRESS_MAX];
    struct isola_slice dst = m->dst; /* which goes with the mail */
    if (asked && memory != NULL && dst.len <= sizeof(address))
        dst = isola_slice(memcpy(address, dst.data, dst.len), dst.len);
    struct isola_mail *mail = mail_of(m, to != NULL ? (struct isola_slice){0} : m->dst, memory);
    if (mail == NULL)
        return;
    if (!mail->durable) {
        mail->timeout_ms = m->kind != ISOLA_MSG_EMIT ? m->timeout_ms : 0;
        mail->origin.id = m->id;
    }
    if (m->kind == ISOLA_MSG_ASK && m->timeout_ms != 0 && !mail->durable)
        mail->deadline = isola_clock_ms() + m->timeout_ms;
    mail->passed_on = passed_on;
    mail->final = (m->flags & ISOLA_MSG_PASSED_ON) != 0;
    mail->origin.link = c->number;
    if (to == NULL || !isola_host_hand(to, mail)) {
        if (to != NULL)
            mail = isola_mail_readdress(mail, m->dst);
        if (mail != NULL && !(passed_on && services_take(c->app, mail)))
            isola_host_post(c->app->host, mail);
        if (plain && to == NULL)
            isola_arrivals_note(c->app->host, &c->arrivals, m->src, m->dst);
    }
    if (asked && (memory == NULL || dst.data == (uint8_t *)address))
        isola_host_pace_answer(c->app->host, dst, c->number);
}

struct isola_msg msg_of(const struct isola_mail *mail, uint64_t id)
{
    uint64_t now = mail->deadline != 0 ? isola_clock_ms() : 0;
    uint32_t left = mail->deadline > now ? (uint32_t)(mail->deadline - now) : 1;
    return (struct isola_msg){.kind = (enum isola_msg_kind)mail->kind,
                              .id = id,
                              .timeout_ms = mail->deadline != 0            ? left
                                            : mail->kind != ISOLA_MSG_EMIT ? mail->timeout_ms
                                                                           : 0,
                              .src = mail->src,
                              .dst = mail->dst,
                              .event = mail->event,
                              .trace = isola_mail_trace(mail),
                              .chain = mail->chain,
                              .args = mail->args};
}

static int send_as(struct isola_link *link, const struct isola_mail *mail, uint64_t id,
                   uint32_t order, void **memory)
{
    struct isola_msg m = msg_of(mail, id);
    m.order = order;
    m.flags = (mail->kind == ISOLA_MSG_EMIT && mail->timeout_ms != 0 ? ISOLA_MSG_TELL : 0) |
              (mail->final ? ISOLA_MSG_PASSED_ON : 0);
    if (mail->durable) { /* `id` has no other use there (docs/wire.md) */
        struct isola_link_stats stats;
        isola_link_stats(link, &stats);
        if (stats.wire < 2) /* it would be taken for a message like others: it waits for a newer
                               release there */
            return ISOLA_EPROTO;
        m.id = mail->before;
        m.seq = mail->seq;
        m.flags = mail->kind == ISOLA_MSG_ACK ? 0 : ISOLA_MSG_DURABLE;
    }
    return isola_link_send_own(link, &m, memory);
}

/* With its memory, unless it is sent again some time. */
static int send_away(struct isola_link *link, struct isola_mail *mail, uint64_t id, uint32_t order)
{
    void *memory = mail->durable ? NULL : isola_mail_memory(mail);
    bool had = memory != NULL;
    int r = send_as(link, mail, id, order, &memory);
    if (had && memory == NULL)
        isola_mail_lost_memory(mail);
    return r;
}

int send_mail(struct isola_link *link, const struct isola_mail *mail, uint64_t id)
{
    void *none = NULL;
    return send_as(link, mail, id, 0, &none);
}

int send_last(struct isola_link *link, struct isola_mail *mail, uint64_t id)
{
    return send_away(link, mail, id, 0);
}

int send_answer(struct isola_link *link, struct isola_mail *mail, uint64_t id)
{
    bool own = mail->src.len == 0 && !mail->durable;
    return send_away(link, mail, id, own ? (uint32_t)id * 2654435761u | 1 : 0);
}

/* --- start --- */

static void answer(void *arg, struct isola_mail *mail)
{
    conn_answer(arg, mail);
}

static const struct isola_host_ops host_ops = {
    .locate = peers_locate,
    .forward = peers_forward,
    .send = peers_send,
    .answer = answer,
    .batch = visits_batch,
    .look = visits_look,
    .gate = visits_gate,
    .state_read = claims_read,
    .state_absent = claims_absent,
    .state_write = state_write,
    .state_rows = state_rows,
    .state_range = state_range,
    .state_due = state_due,
    .state_row = state_row,
    .sql = &isola_sql_ops,
    .log = agent_link_log,
    .io = outside_io,
    .prepare = prepare_wish,
    .dead_letter = letters_new,
    .stuck = blame_stuck,
    .lifted = blame_lifted,
    .drained = agent_link_drained,
};

int isola_actor_host_start(int argc, char **argv, uv_loop_t *loop, void *platform,
                           const struct isola_outside *outside, struct app **out,
                           struct isola_err *err)
{
    isola_log_setup("actor-host", ISOLA_LOG_INFO);
    /* A terminal's ^C goes to the whole group: the agent decides when this process ends. */
    signal(SIGINT, SIG_IGN);
    isola_sql_start();
    struct app *app = isola_zalloc(sizeof(*app)); /* lives as long as the process */
    app->loop = loop;
    app->outside = outside;
    *out = app;
    int r = options_parse(argc, argv, &app->options, err);
    if (r != 0)
        return r;
    app->options.node = isola_strdup(app->options.node);
    app->options.data = isola_strdup(app->options.data);
    blame_open(app);
    char *path = isola_format("%s/state.db", app->options.data);
    r = isola_state_open_with(
        path,
        &(struct isola_state_options){.history_ms = app->options.history_ms,
                                      .history_bytes = app->options.history_bytes},
        &app->state, err);
    free(path);
    if (r == 0)
        r = isola_v8_start(platform,
                           isola_slice(isola_runtime_source,
                                       (size_t)(isola_runtime_source_end - isola_runtime_source)),
                           err);
    prepare_open(app);
    if (r == 0)
        r = outbox_open(app, err);
    if (r == 0)
        r = visits_open(&app->visits, loop, err);
    if (r == 0)
        r = claims_open(app, err);
    if (r == 0)
        r = forget_open(app, err);
    if (r == 0)
        r = letters_open(app, err);
    services_open(app);
    if (r == 0)
        r = data_links_open(app, err);
    if (r == 0)
        r = isola_host_start(&host_ops, app, app->options.threads, &app->host, err);
    if (r == 0)
        claims_outboxes(app);
    if (r == 0)
        isola_host_set_memory(app->host, app->options.memory);
    if (r == 0)
        isola_host_set_spares(app->host, SPARES);
    if (r == 0)
        r = agent_link_open(app, err);
    if (r == 0) {
        conn_add(app, &app->agent_conn, app->agent);
        blame_read(app);
    }
    return r;
}
