/* SPDX-License-Identifier: Apache-2.0
 *
 * The data links of this actor-host, and its durable messages, for the agent that asks.
 */
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"

static size_t report_conns(struct app *app, struct isola_buf *rows)
{
    size_t n = 0;
    pthread_mutex_lock(&app->conns_lock);
    ISOLA_MAP_EACH(&app->conns, e)
    {
        struct conn *c = e->value;
        struct peer *p = c->peer;
        if (p == NULL || c->link == NULL)
            continue;
        pthread_mutex_lock(&p->lock);
        bool used = p->conn == c, first = used || p->dialling == c;
        struct isola_link_past past = p->past;
        struct isola_link_about about = {.node = app->options.node,
                                         .peer = p->name,
                                         .kind = "data",
                                         .dialled = c->dialled,
                                         .state = used         ? "up"
                                                  : c->dialled ? "dialling"
                                                               : "waiting",
                                         .version = p->version,
                                         .queued = first ? p->waiting.count : 0,
                                         .queued_bytes = first ? p->waiting.bytes : 0,
                                         .past = first ? &past : NULL};
        pthread_mutex_unlock(&p->lock);
        isola_link_report(&about, c->link, rows);
        n++;
    }
    pthread_mutex_unlock(&app->conns_lock);
    return n;
}

/* Peers that there is no link with, though there was one, or something waits for one. */
static size_t report_lost(struct app *app, struct isola_buf *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < app->npeers; i++) {
        struct peer *p = app->peers[i];
        pthread_mutex_lock(&p->lock);
        bool missed = p->live && p->conn == NULL && p->dialling == NULL;
        bool waits = p->waiting.count > 0 || p->dial_at > isola_clock_ms();
        struct isola_link_past past = p->past;
        struct isola_link_about about = {.node = app->options.node,
                                         .peer = p->name,
                                         .kind = "data",
                                         .dialled = true,
                                         .state = waits ? "waiting" : "idle",
                                         .url = p->url,
                                         .version = p->version,
                                         .queued = p->waiting.count,
                                         .queued_bytes = p->waiting.bytes,
                                         .past = &past};
        pthread_mutex_unlock(&p->lock);
        if (!missed || (past.lost == 0 && past.why[0] == '\0' && about.queued == 0))
            continue;
        isola_link_report(&about, NULL, rows);
        n++;
    }
    return n;
}

static void report_durables(struct app *app, struct isola_buf *out)
{
    struct isola_host_durables d;
    isola_host_durables(app->host, &d);
    isola_mp_map(out, 8);
    isola_mp_kstr(out, "node", app->options.node);
    isola_mp_kuint(out, "waiting", d.waiting);
    isola_mp_kuint(out, "sent", d.sent);
    isola_mp_kuint(out, "resent", d.resent);
    isola_mp_kuint(out, "acknowledged", d.acknowledged);
    isola_mp_kuint(out, "given_up", d.given_up);
    isola_mp_kuint(out, "duplicates", d.duplicates);
    isola_mp_kuint(out, "gaps", d.gaps);
}

void links_asked(struct app *app, const struct isola_msg *m)
{
    struct isola_buf rows = {0}, out = {0};
    size_t n = report_conns(app, &rows) + report_lost(app, &rows);
    isola_mp_map(&out, 3);
    isola_mp_cstr(&out, "listeners");
    isola_mp_array(&out, app->listener != NULL);
    if (app->listener != NULL)
        isola_listener_report(app->options.node, "data", app->listener, &out);
    isola_mp_cstr(&out, "durables");
    isola_mp_array(&out, 1);
    report_durables(app, &out);
    isola_mp_cstr(&out, "links");
    isola_mp_array(&out, n);
    isola_buf_append(&out, rows.data, rows.len);
    agent_link_reply(app, m->id, isola_buf_slice(&out));
    isola_buf_free(&rows);
    isola_buf_free(&out);
}
