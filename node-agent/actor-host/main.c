/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts the actor-host together: options, state, isolates, workers, peers, agent; and the
 * connections' side of messages.
 */
#include "node-agent/actor-host/host_main.h"

#include <signal.h>

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
    isola_state_put(((struct app *)arg)->state, request(io), io->value);
}

/* --- connections --- */

static struct isola_slice number_key(const uint64_t *number)
{
    return isola_slice(number, sizeof(*number));
}

static void conn_add(struct app *app, struct conn *c, struct isola_link *link)
{
    c->app = app;
    c->link = link;
    c->number = ++app->next_conn;
    isola_map_set(&app->conns, number_key(&c->number), c);
}

struct conn *conn_open(struct app *app, struct isola_link *link)
{
    struct conn *c = isola_zalloc(sizeof(*c));
    conn_add(app, c, link);
    return c;
}

void conn_close(struct conn *c)
{
    isola_map_del(&c->app->conns, number_key(&c->number));
    isola_host_drop_link(c->app->host, c->number);
    peers_drop_conn(c->app, c->number);
    free(c);
}

void conn_deliver(struct conn *c, const struct isola_msg *m, bool passed_on)
{
    switch (m->kind) {
    case ISOLA_MSG_ASK:
    case ISOLA_MSG_EMIT:
    case ISOLA_MSG_SUB:
    case ISOLA_MSG_UNSUB:
    case ISOLA_MSG_STOP:
    case ISOLA_MSG_START:
    case ISOLA_MSG_CANCEL:
        break;
    default:
        return;
    }
    struct isola_mail *mail =
        isola_mail_new((int)m->kind, m->src, m->dst, m->event, m->chain, m->args);
    if (mail == NULL) {
        isola_log(ISOLA_LOG_ERROR, "no memory for a message of %zu bytes", m->args.len);
        return;
    }
    mail->timeout_ms = m->timeout_ms;
    if (m->kind == ISOLA_MSG_ASK && m->timeout_ms != 0)
        mail->deadline = isola_clock_ms() + m->timeout_ms;
    mail->passed_on = passed_on;
    mail->origin.link = c->number;
    mail->origin.id = m->id;
    isola_host_post(c->app->host, mail);
}

void conn_answer(struct app *app, struct isola_mail *mail)
{
    if (mail->origin.link >= GIVE_LINK) {
        claims_answered(app, mail);
        return;
    }
    struct conn *c = isola_map_get(&app->conns, number_key(&mail->origin.link));
    int r = c != NULL && c->link != NULL ? send_mail(c->link, mail, mail->origin.id) : 0;
    if (r != 0 && r != ISOLA_ECLOSED &&
        mail->kind != ISOLA_MSG_EVENT) { /* too big, or too much waits: who asked is told */
        struct isola_mail *f = isola_mail_failure(mail->origin, r, "the answer cannot be sent: %s",
                                                  isola_error_text(r));
        if (f != NULL)
            r = send_mail(c->link, f, mail->origin.id);
        isola_mail_free(f);
        if (r != 0 && c != &app->agent_conn) /* not even that: the end of the link tells the peer */
            isola_link_close(c->link);
    }
    isola_mail_free(mail);
}

int send_mail(struct isola_link *link, const struct isola_mail *mail, uint64_t id)
{
    uint64_t now = mail->deadline != 0 ? isola_clock_ms() : 0;
    uint32_t left = mail->deadline > now ? (uint32_t)(mail->deadline - now) : 1;
    struct isola_msg m = {.kind = (enum isola_msg_kind)mail->kind,
                          .id = id,
                          .timeout_ms = mail->deadline != 0 ? left : mail->timeout_ms,
                          .src = mail->src,
                          .dst = mail->dst,
                          .event = mail->event,
                          .chain = mail->chain,
                          .args = mail->args};
    return isola_link_send_msg(link, &m);
}

/* --- start --- */

static const struct isola_host_ops host_ops = {
    .locate = peers_locate,
    .forward = peers_forward,
    .answer = agent_link_answer,
    .state_read = claims_read,
    .state_absent = claims_absent,
    .state_write = state_write,
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
    r = isola_state_open(path, &app->state, err);
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
        r = claims_open(app, err);
    if (r == 0)
        r = letters_open(app, err);
    if (r == 0)
        r = peers_listen(app, err);
    if (r == 0)
        r = isola_host_start(&host_ops, app, app->options.threads, &app->host, err);
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
