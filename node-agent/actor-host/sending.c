/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes to a peer: on its link, or, while there is none, into what waits for one, a bounded
 * number of mails. A mail is sent by the thread that has it, under an id of its own; it leaves when
 * the visit of that thread ends. What cannot be sent fails at once.
 */
#include "node-agent/actor-host/data_links.h"

#include <stdio.h>

#include "base/check.h"

#define WAITING_MAX       10000
#define WAITING_BYTES_MAX (64u << 20) /* but for one that waits alone */
/* Of them, when what is durable comes: it comes again once there is a link, and is only to have one
 * wanted meanwhile. */
#define DURABLE_MAX 64

void peer_fail(struct app *app, struct isola_mail *m, int code, const char *why)
{
    if (m->durable) { /* it comes again */
        isola_mail_free(m);
        return;
    }
    if (isola_host_stream_refused(app->host, m, code, why)) {
        isola_mail_free(m);
        return;
    }
    isola_host_dead_letter(app->host, m, code, isola_slice_str(why));
    if (m->kind == ISOLA_MSG_EMIT && m->timeout_ms != 0) /* nobody will tell of it */
        isola_host_paced(app->host, 0, m->dst, ISOLA_PACE_ROOM | ISOLA_PACE_ASKED);
    if (isola_msg_is_ask(m->kind)) {
        struct isola_mail *f = isola_mail_failure(isola_mail_take_origin(m), code, "%s", why);
        if (f != NULL)
            isola_host_answer(app->host, f);
    }
    isola_mail_free(m);
}

struct want_parcel {
    struct parcel parcel;
    struct peer *peer;
};

static void run_want(struct app *app, struct parcel *parcel)
{
    struct want_parcel *w = (struct want_parcel *)parcel;
    struct peer *p = w->peer;
    (void)app;
    free(w);
    pthread_mutex_lock(&p->lock);
    p->wanted = false;
    bool missing = p->conn == NULL && p->live;
    pthread_mutex_unlock(&p->lock);
    if (missing)
        data_links_dial(p);
}

/* With the peer's lock. */
static void want(struct peer *p)
{
    if (p->wanted || p->conn != NULL)
        return;
    p->wanted = true;
    struct want_parcel *w = isola_zalloc(sizeof(*w));
    w->parcel.run = run_want;
    w->peer = p;
    outbox_put(p->app, &w->parcel);
}

/* With the peer's lock: what is for it goes on the link it has. */
static bool sends(const struct peer *p)
{
    return p->conn != NULL && !p->behind;
}

bool peer_want(struct peer *p)
{
    if (p->number == ISOLA_SERVICES)
        return true;
    pthread_mutex_lock(&p->lock);
    want(p);
    bool linked = sends(p);
    pthread_mutex_unlock(&p->lock);
    return linked;
}

bool peer_linked(struct peer *p)
{
    pthread_mutex_lock(&p->lock);
    bool linked = sends(p);
    pthread_mutex_unlock(&p->lock);
    return linked;
}

static bool too_much_waits(const struct peer *p, const struct isola_mail *m)
{
    return p->waiting.count >= (m->durable ? DURABLE_MAX : WAITING_MAX) ||
           (p->waiting.count > 0 && p->waiting.bytes + m->args.len > WAITING_BYTES_MAX);
}

/* Sends a mail on a link of a peer's, to leave with what else this thread sends. Borrows it, but
 * for the memory of its args. */
static int send_on(struct isola_link *link, struct isola_mail *m, uint64_t id)
{
    int r = send_last(link, m, id);
    if (r >= 0)
        visits_sent(link);
    return r;
}

/* With the peer's lock and a link. 1: senders should wait. When it can be sent the origin of an ask
 * is taken, and nothing else of it; when not, the error is returned. */
static int send_linked(struct peer *p, struct isola_mail *m)
{
    uint64_t id = 0;
    struct isola_origin origin = {0};
    bool ask = isola_msg_is_ask(m->kind) && !m->durable;
    if (ask) {
        id = atomic_fetch_add(&p->app->next_wire_id, 1) + 1;
        asks_out_add(&p->asks, id, isola_mail_take_origin(m), m->timeout_ms);
    }
    int r = send_on(p->conn->link, m, id);
    if (r < 0 && ask && asks_out_take(&p->asks, id, &origin))
        m->origin = origin;
    return r;
}

/* Likewise, and what was sent is used up. */
static int send_now(struct peer *p, struct isola_mail *m)
{
    int r = send_linked(p, m);
    if (r >= 0)
        isola_mail_free(m);
    return r;
}

/* Nobody waits for an ask of ours any more: it is forgotten here, and there, or not sent at all.
 * With the peer's lock. */
static void cancel(struct peer *p, struct isola_mail *m, struct isola_mailq *dropped)
{
    uint64_t id = asks_out_cancel(&p->asks, m->origin);
    if (id != 0 && p->conn != NULL)
        (void)send_on(p->conn->link, m, id);
    struct isola_mail *w = id == 0 ? waiting_cancel(&p->waiting, m->origin) : NULL;
    if (w != NULL)
        isola_mailq_push(dropped, w);
    isola_mailq_push(dropped, m);
}

/* Much waits for the link; unless what was to tell that this is over has come before. */
static void crowded(struct peer *p)
{
    struct isola_link_stats stats = {0};
    isola_host_pace_node(p->app->host, p->number, true);
    pthread_mutex_lock(&p->lock);
    if (p->conn != NULL)
        isola_link_stats(p->conn->link, &stats);
    pthread_mutex_unlock(&p->lock);
    if (stats.queued_bytes < ISOLA_LINK_CROWDED / 2)
        isola_host_pace_node(p->app->host, p->number, false);
}

void peer_send(struct peer *p, struct isola_mail *m)
{
    struct app *app = p->app;
    struct isola_mailq dropped = {0};
    char why[200];
    int r = 0;
    pthread_mutex_lock(&p->lock);
    if (m->kind == ISOLA_MSG_CANCEL) {
        cancel(p, m, &dropped);
    } else if (!p->live) {
        r = ISOLA_EUNREACHABLE;
        snprintf(why, sizeof(why), "its node has left the cluster");
    } else if (sends(p)) {
        r = send_now(p, m);
        if (r < 0)
            snprintf(why, sizeof(why), "cannot send to node %s: %s", p->name, isola_error_text(r));
        if (r == ISOLA_ECLOSED) { /* its end is about to be seen */
            r = ISOLA_EUNREACHABLE;
            snprintf(why, sizeof(why), "the link to node %s is lost", p->name);
        }
    } else if (too_much_waits(p, m)) {
        r = ISOLA_EOVERLOAD;
        p->past.refused += !m->durable; /* that comes again */
        snprintf(why, sizeof(why), "too much waits for node %s already", p->name);
    } else {
        waiting_put(&p->waiting, m);
        want(p);
    }
    pthread_mutex_unlock(&p->lock);
    visits_sent_all();
    for (struct isola_mail *d; (d = isola_mailq_pop(&dropped)) != NULL;)
        isola_mail_free(d);
    if (r < 0)
        peer_fail(app, m, r, why);
    else if (r == 1)
        crowded(p);
}

bool peer_send_now(struct peer *p, struct isola_mail *m)
{
    int r = ISOLA_ECLOSED;
    pthread_mutex_lock(&p->lock);
    if (p->live && sends(p))
        r = send_linked(p, m);
    pthread_mutex_unlock(&p->lock);
    visits_sent_all();
    if (r == 1)
        crowded(p);
    return r >= 0;
}

bool peer_tell(struct peer *p, const struct isola_mail *mail, uint64_t id)
{
    if (p->number == ISOLA_SERVICES)
        return services_tell(p->app, mail, id);
    pthread_mutex_lock(&p->lock);
    bool told = sends(p) && send_mail(p->conn->link, mail, id) >= 0;
    if (told)
        visits_sent(p->conn->link);
    pthread_mutex_unlock(&p->lock);
    visits_sent_all();
    return told;
}

void peer_begin(struct peer *p, struct isola_mailq *unsent)
{
    struct isola_mail *m;
    if (!p->behind)
        subs_out_repeat(p, p->conn->link);
    pthread_mutex_unlock(&p->app->subs.lock);
    while (!p->behind && (m = waiting_take(&p->waiting)) != NULL)
        if (send_now(p, m) < 0)
            isola_mailq_push(unsent, m);
    visits_sent(p->conn->link);
}

void peer_unsent(struct peer *p, struct isola_mailq *unsent)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(unsent)) != NULL)
        peer_fail(p->app, m, ISOLA_EUNREACHABLE, "it could not be sent to its node");
}
