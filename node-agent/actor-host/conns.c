/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections, the agent's and those with peers: messages that come on them as mails for actors,
 * and mails as messages that go on them.
 */
#include <string.h>

#include "actors/arrivals.h"
#include "base/check.h"
#include "base/clock.h"
#include "node-agent/actor-host/app.h"
#include "node-agent/actor-host/pieces.h"

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

/* --- answers to what peers and the agent have asked --- */

struct answer_parcel {
    struct parcel parcel;
    struct isola_mail *mail;
};

static void answer_on(struct app *app, struct isola_mail *mail)
{
    struct isola_mail *f = NULL;
    pthread_mutex_lock(&app->conns_lock);
    struct conn *c = isola_map_get(&app->conns, number_key(&mail->origin.link));
    struct isola_link *link = c != NULL ? c->link : NULL;
    bool peers = c != NULL && c->peer != NULL;
    int r = link == NULL ? ISOLA_ECLOSED
            : peers      ? send_answer(link, mail, mail->origin.id)
                         : send_mail(link, mail, mail->origin.id);
    bool answers = !mail->durable && mail->kind != ISOLA_MSG_EVENT && mail->kind != ISOLA_MSG_PACE;
    if (r < 0 && r != ISOLA_ECLOSED && answers) {
        /* too big, or too much waits: who asked is told */
        f = isola_mail_failure(mail->origin, r, "the answer cannot be sent: %s",
                               r == ISOLA_EOVERLOAD ? "too much waits on the way to who asked"
                                                    : isola_error_text(r));
        if (f != NULL)
            r = send_mail(link, f, mail->origin.id);
    }
    if (link != NULL && peers)
        visits_sent(link);
    pthread_mutex_unlock(&app->conns_lock);
    visits_sent_all();
    isola_mail_free(f);
    isola_mail_free(mail);
}

static void run_answer(struct app *app, struct parcel *parcel)
{
    struct answer_parcel *a = (struct answer_parcel *)parcel;
    if (a->mail->origin.link >= GIVE_LINK)
        claims_answered(app, a->mail);
    else
        answer_on(app, a->mail);
    free(a);
}

void conn_answer(struct app *app, struct isola_mail *mail)
{
    if (mail->origin.link < GIVE_LINK && mail->origin.link != app->agent_conn.number) {
        answer_on(app, mail);
        return;
    }
    struct answer_parcel *a = isola_zalloc(sizeof(*a)); /* the agent's link is the loop's */
    a->parcel.run = run_answer;
    a->mail = mail;
    outbox_put(app, &a->parcel);
}
