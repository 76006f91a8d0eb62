/* SPDX-License-Identifier: Apache-2.0
 *
 * The links to other actor-hosts: one for each pair, dialled when first needed, which carries the
 * messages of both.
 *
 * Happy path. A mail for another node is sent by the thread that has it: a worker in the visit in
 * which it was caused, under an id of its own; it leaves when the visit ends. What arrives is
 * handed to the runtime, or to who has asked, by the thread on which it arrives. The loop makes
 * links and sees them end.
 *
 * Which link. Both ends may dial. The node whose name sorts first decides: it says `hello` on the
 * link that is to be used, and nobody sends anything on another. If it has one it closes those that
 * are dialled later; the other end takes the one that it hears hello on.
 *
 * Failure modes. When the link breaks, or the peer leaves the view, asks fail with EUNREACHABLE at
 * once, since they may or may not have been carried out; what was not sent yet waits for the next
 * link, a bounded number of mails. While a peer's actor-host restarts (it is in the view without a
 * url), or lacks releases that are here, mails wait for it.
 *
 * Locks: that of a peer is taken after those of subscriptions and of connections; a link's own
 * comes last. None is held while the actor runtime is called, nor while a link writes, which takes
 * its time where much waits.
 */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/pieces.h"
#include "transport/identity.h"
#include "transport/tcp.h"

#define WAITING_MAX       10000
#define WAITING_BYTES_MAX (64u << 20) /* but for one that waits alone */
/* Of them, when what is durable comes: it comes again once there is a link, and is only to have one
 * wanted meanwhile. */
#define DURABLE_MAX  64
#define REDIAL_FIRST 20 /* ms, doubled with each failure, and more or less of it by chance */
#define REDIAL_MAX   1000
#define TICK_MS      1000
/* Links of one peer that it has dialled: one is used, others may not know yet that they are not. */
#define LINKS_MAX 16

static void answer_all(struct app *app, struct isola_mailq *answers)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(answers)) != NULL)
        isola_host_answer(app->host, m);
}

/* --- sending --- */

static void fail_mail(struct app *app, struct isola_mail *m, int code, const char *why)
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

static void dial(struct peer *p);

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
        dial(p);
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
        fail_mail(app, m, r, why);
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

/* --- what peers send --- */

/* `memory`, unless NULL, is what it lies in, and is taken. */
static void on_answer(struct peer *p, const struct isola_msg *m, void *memory)
{
    struct isola_origin origin;
    pthread_mutex_lock(&p->lock);
    bool ours = asks_out_take(&p->asks, m->id, &origin);
    pthread_mutex_unlock(&p->lock);
    if (ours) {
        struct isola_mail *a =
            isola_mail_answer_in(&memory, origin, m->kind == ISOLA_MSG_REPLY, m->args);
        if (a != NULL)
            isola_host_answer(p->app->host, a);
    } else if (m->kind == ISOLA_MSG_FAIL) {
        subs_out_refused(p, m);
    }
    free(memory);
}

/* What is the loop's to answer. */
struct claim_parcel {
    struct parcel parcel;
    uint64_t number; /* of the connection, which may end meanwhile */
    void (*asked)(struct conn *c, const struct isola_msg *m);
    struct isola_msg *msg;
};

static void run_claim(struct app *app, struct parcel *parcel)
{
    struct claim_parcel *q = (struct claim_parcel *)parcel;
    pthread_mutex_lock(&app->conns_lock);
    struct conn *c = isola_map_get(&app->conns, number_key(&q->number));
    pthread_mutex_unlock(&app->conns_lock);
    if (c != NULL)
        q->asked(c, q->msg);
    free(q->msg);
    free(q);
}

static void hand_to_loop(struct conn *c, const struct isola_msg *m,
                         void (*asked)(struct conn *c, const struct isola_msg *m))
{
    struct claim_parcel *q = isola_zalloc(sizeof(*q));
    q->parcel.run = run_claim;
    q->number = c->number;
    q->asked = asked;
    q->msg = isola_msg_copy(m);
    if (q->msg == NULL)
        free(q);
    else
        outbox_put(c->app, &q->parcel);
}

static void say_hello(struct conn *c)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 1);
    isola_mp_kstr(&args, "node", c->app->options.node);
    struct isola_msg hello = {
        .kind = ISOLA_MSG_EMIT, .event = isola_slice_str("hello"), .args = isola_buf_slice(&args)};
    (void)!isola_link_send_msg(c->link, &hello);
    isola_buf_free(&args);
}

static bool decides(const struct conn *c)
{
    return strcmp(c->app->options.node, c->peer->name) < 0;
}

/* What was on a link that is not used any more, as `why` says to its asks, `lost` to people. With
 * the peer's lock. */
static void lose(struct peer *p, const char *why, const char *lost, struct isola_mailq *failed)
{
    struct isola_link_stats stats;
    isola_link_stats(p->conn->link, &stats);
    p->past.refused += stats.refused;
    isola_link_past_note(&p->past, true, lost);
    p->conn = NULL;
    asks_out_fail_all(&p->asks, ISOLA_EUNREACHABLE, why, failed);
}

/* With the locks of subscriptions, which it gives back, and of the peer: on its link go the
 * subscriptions first, then what has waited; then everybody's, unless it is behind. */
static void begin_sending(struct peer *p, struct isola_mailq *unsent)
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

static void fail_unsent(struct app *app, struct isola_mailq *unsent)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(unsent)) != NULL)
        fail_mail(app, m, ISOLA_EUNREACHABLE, "it could not be sent to its node");
}

/* The link to be used. */
static void adopt(struct conn *c)
{
    struct peer *p = c->peer;
    struct app *app = c->app;
    struct isola_mailq failed = {0}, unsent = {0};
    pthread_mutex_lock(&app->subs.lock);
    pthread_mutex_lock(&p->lock);
    c->ready = true;
    bool mine = p->live && p->conn != c && !(decides(c) && p->conn != NULL);
    if (mine && p->conn != NULL)
        lose(p, "the link was made anew: the request may or may not have been carried out",
             "made anew by the peer", &failed);
    if (mine) {
        p->conn = c;
        if (decides(c))
            say_hello(c);
        begin_sending(p, &unsent);
    } else {
        pthread_mutex_unlock(&app->subs.lock);
    }
    pthread_mutex_unlock(&p->lock);
    visits_sent_all();
    answer_all(app, &failed);
    fail_unsent(app, &unsent);
    if (mine)
        isola_host_reachable(app->host, p->number);
}

/* A peer says hello on the link it has chosen. */
static void on_hello(struct conn *c)
{
    if (!decides(c))
        adopt(c);
}

static void data_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct conn *c = arg;
    struct isola_msg m;
    struct isola_err err;
    visits_hold(true); /* until data_heard */
    visits_heard(&c->app->visits, link);
    if (isola_link_decode(link, frame, &m, &err) != 0) {
        isola_link_refuse(link, "node %s sent what is no message: %s", c->peer->name, err.text);
        return;
    }
    if (m.seq != 0 && m.kind != ISOLA_MSG_ASK && m.kind != ISOLA_MSG_EMIT)
        durable_deliver(c->app, &m);
    else if (m.kind == ISOLA_MSG_REPLY || m.kind == ISOLA_MSG_FAIL)
        on_answer(c->peer, &m, isola_link_take(link, frame));
    else if (m.kind == ISOLA_MSG_EVENT)
        subs_out_event(c->peer, &m);
    else if (m.kind == ISOLA_MSG_PACE)
        isola_host_paced(c->app->host, c->peer->number, m.src, (unsigned)m.id);
    else if (m.dst.len > 0)
        conn_deliver(c, &m, true, isola_link_take(link, frame));
    else if (m.kind == ISOLA_MSG_ASK && isola_slice_is(m.event, "claim"))
        hand_to_loop(c, &m, claims_asked);
    else if (m.kind == ISOLA_MSG_ASK && isola_slice_is(m.event, "piece"))
        hand_to_loop(c, &m, piece_asked);
    else if (m.kind == ISOLA_MSG_ASK && isola_slice_is(m.event, "past"))
        hand_to_loop(c, &m, past_asked);
    else if (m.kind == ISOLA_MSG_EMIT && isola_slice_is(m.event, "hello"))
        on_hello(c);
    else if (m.kind == ISOLA_MSG_ASK) {
        struct isola_mail *f =
            isola_mail_failure((struct isola_origin){.link = c->number, .id = m.id}, ISOLA_EINVAL,
                               "the actor-host knows no such method");
        if (f != NULL)
            conn_answer(c->app, f);
    }
}

/* --- links: on the loop --- */

static void redial_later(struct peer *p)
{
    uint64_t pause = (uint64_t)REDIAL_FIRST << (p->failures < 6 ? p->failures : 6);
    pause = pause < REDIAL_MAX ? pause : REDIAL_MAX;
    p->dial_at = isola_clock_ms() + pause / 2 + arc4random_uniform((uint32_t)pause);
    p->failures++;
}

static void arm(struct app *app);
static void dial_wanted(struct app *app);

/* Ours has been shaken, or theirs has been accepted. One whose node is not in the view yet waits
 * for that; where the other end decides, its hello is waited for. */
static void established(struct conn *c)
{
    if (!decides(c))
        return;
    if (peer_linked(c->peer))
        isola_link_close(c->link);
    else
        adopt(c);
}

/* Links that were chosen and not used: for want of a view, or as another was in use. `only` one
 * peer's, or all. */
static void adopt_ready(struct app *app, const struct peer *only)
{
    struct conn *ready[64];
    size_t n = 0;
    pthread_mutex_lock(&app->conns_lock);
    ISOLA_MAP_EACH(&app->conns, e)
    {
        struct conn *c = e->value;
        if (c->peer == NULL || (only != NULL && c->peer != only))
            continue;
        pthread_mutex_lock(&c->peer->lock);
        bool use = c->ready && c->peer->live && c->peer->conn == NULL;
        pthread_mutex_unlock(&c->peer->lock);
        if (use && n < sizeof(ready) / sizeof(ready[0]))
            ready[n++] = c;
    }
    pthread_mutex_unlock(&app->conns_lock);
    for (size_t i = 0; i < n; i++)
        adopt(ready[i]);
}

void data_links_settle(struct app *app)
{
    adopt_ready(app, NULL);
    dial_wanted(app);
    arm(app);
}

static void data_up(struct isola_link *link, void *arg)
{
    struct conn *c = arg;
    memcpy(c->node_key, isola_link_identity(link)->node_key, sizeof(c->node_key));
    c->peer->failures = 0;
    established(c);
}

static void data_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct conn *c = arg;
    struct peer *p = c->peer;
    struct app *app = c->app;
    struct isola_mailq failed = {0};
    char text[500];
    snprintf(text, sizeof(text),
             "the link to node %s was lost (%s): the request may or may not have been carried out",
             p->name, why);
    pthread_mutex_lock(&p->lock);
    bool lost = p->conn == c;
    if (lost)
        lose(p, text, why, &failed);
    else if (c->dialled && code != 0 && p->conn == NULL)
        isola_link_past_note(&p->past, false, why);
    pthread_mutex_unlock(&p->lock);
    if (p->dialling == c)
        p->dialling = NULL;
    if (lost || c->dialled)
        redial_later(p);
    bool bad = code == ISOLA_EPROTO;
    if (bad && !c->dialled)
        isola_listener_refused(app->listener, link, NULL);
    if (bad || (code != 0 && (lost || code != ISOLA_ECLOSED) && p->live))
        isola_log(ISOLA_LOG_WARN, "the link to the actor-host of node %s: %s", p->name, why);
    conn_close(c);
    answer_all(app, &failed);
    snprintf(text, sizeof(text), "the link to node %s was lost (%s)", p->name, why);
    if (lost) {
        subs_out_lost(p, text);
        isola_host_pace_lost(app->host, p->number);
        adopt_ready(app, p);
    }
    arm(app);
}

/* What the frames that came together were answered with at once leaves together. */
static void data_heard(struct isola_link *link, void *arg)
{
    (void)link, (void)arg;
    visits_hold(false);
}

static void data_drained(struct isola_link *link, void *arg)
{
    struct conn *c = arg;
    (void)link;
    isola_host_pace_node(c->app->host, c->peer->number, false);
}

static const struct isola_link_ops data_ops = {.up = data_up,
                                               .frame = data_frame,
                                               .heard = data_heard,
                                               .down = data_down,
                                               .drained = data_drained};

/* Starts a link, unless there is one or it is too early; what is to be sent waits for it. */
static void dial(struct peer *p)
{
    struct app *app = p->app;
    struct isola_err err;
    struct isola_link *link;
    if (p->url == NULL || p->dialling != NULL || app->keys == NULL)
        return;
    if (p->dial_at > isola_clock_ms()) {
        arm(app);
        return;
    }
    struct conn *c = isola_zalloc(sizeof(*c));
    c->peer = p;
    c->dialled = true;
    if (isola_link_dial(app->loop, p->url, &app->security, p->key, &data_ops, c, &link, &err) !=
        0) {
        isola_log(ISOLA_LOG_WARN, "cannot reach node %s at %s: %s", p->name, p->url, err.text);
        free(c);
        redial_later(p);
        arm(app);
        return;
    }
    isola_link_direct(link);
    conn_add(app, c, link);
    p->dialling = c;
}

static bool wants_link(struct peer *p)
{
    pthread_mutex_lock(&p->lock);
    bool linked = p->conn != NULL || !p->live, waits = p->waiting.count > 0;
    pthread_mutex_unlock(&p->lock);
    return !linked && p->url != NULL && p->dialling == NULL && (waits || subs_out_any(p));
}

static void dial_wanted(struct app *app)
{
    for (size_t i = 0; i < app->npeers; i++)
        if (wants_link(app->peers[i]))
            dial(app->peers[i]);
}

static void on_tick(uv_timer_t *timer)
{
    struct app *app = timer->data;
    uint64_t now = isola_clock_ms();
    struct isola_mailq failed = {0};
    for (size_t i = 0; i < app->npeers; i++) {
        struct peer *p = app->peers[i];
        pthread_mutex_lock(&p->lock);
        asks_out_expire(&p->asks, now, &failed);
        pthread_mutex_unlock(&p->lock);
    }
    answer_all(app, &failed);
    subs_out_tick(app);
    dial_wanted(app);
    arm(app);
}

/* The next attempt to dial; asks that are forgotten have no hurry. */
static void arm(struct app *app)
{
    uint64_t now = isola_clock_ms(), in = TICK_MS;
    for (size_t i = 0; i < app->npeers; i++) {
        struct peer *p = app->peers[i];
        if (p->dial_at > now && p->dial_at - now < in && wants_link(p))
            in = p->dial_at - now;
    }
    if (app->npeers > 0)
        uv_timer_start(&app->tick, on_tick, in, 0);
}

/* --- the view: on the loop --- */

void peer_set_live(struct peer *p, bool behind)
{
    struct app *app = p->app;
    struct isola_mailq unsent = {0};
    pthread_mutex_lock(&app->subs.lock);
    pthread_mutex_lock(&p->lock);
    bool begins = p->conn != NULL && p->behind && !behind;
    p->live = true;
    p->behind = behind;
    if (begins)
        begin_sending(p, &unsent);
    else
        pthread_mutex_unlock(&app->subs.lock);
    pthread_mutex_unlock(&p->lock);
    visits_sent_all();
    fail_unsent(app, &unsent);
    if (begins)
        isola_host_reachable(app->host, p->number);
}

/* What was with the peer's actor-host, which is not there any more. One that has been let in since,
 * and that the view was late to tell of (`but_newer`), stays. */
static void drop_link(struct peer *p, bool but_newer, const char *why, const char *lost)
{
    struct isola_mailq failed = {0};
    pthread_mutex_lock(&p->lock);
    struct conn *c = p->conn;
    if (c != NULL && but_newer && c->started > p->started)
        c = NULL;
    if (c != NULL) {
        c->ready = false;
        lose(p, why, lost, &failed);
    }
    pthread_mutex_unlock(&p->lock);
    if (c != NULL)
        isola_link_close(c->link);
    if (p->dialling != NULL)
        isola_link_close(p->dialling->link);
    p->dialling = NULL;
    p->dial_at = 0;
    p->failures = 0;
    answer_all(p->app, &failed);
    if (c != NULL) {
        subs_out_lost(p, lost);
        isola_host_pace_lost(p->app->host, p->number);
    }
}

void peer_set_url(struct peer *p, struct isola_slice url, const uint8_t *key)
{
    if (p->url != NULL && isola_slice_is(url, p->url) && key != NULL &&
        memcmp(p->key, key, sizeof(p->key)) == 0)
        return;
    bool had = p->url != NULL;
    if (key != NULL)
        memcpy(p->key, key, sizeof(p->key));
    free(p->url);
    p->url = url.len > 0 ? isola_strndup((const char *)url.data, url.len) : NULL;
    if (had)
        drop_link(p, true,
                  "its actor-host has restarted: the request may or may not have been carried out",
                  url.len > 0 ? "its actor-host has restarted"
                              : "its node or its actor-host is gone");
}

void peer_leave(struct peer *p)
{
    struct isola_mailq waiting = {0};
    struct isola_mail *m;
    pthread_mutex_lock(&p->lock);
    p->live = false;
    pthread_mutex_unlock(&p->lock);
    peer_set_url(p, (struct isola_slice){0}, NULL);
    drop_link(p, false,
              "its node has left the cluster: the request may or may not have been carried out",
              "its node has left the cluster");
    pthread_mutex_lock(&p->lock);
    while ((m = waiting_take(&p->waiting)) != NULL)
        isola_mailq_push(&waiting, m);
    pthread_mutex_unlock(&p->lock);
    while ((m = isola_mailq_pop(&waiting)) != NULL)
        fail_mail(p->app, m, ISOLA_EUNREACHABLE, "its node has left the cluster");
}

/* --- links peers have dialled to us --- */

static bool has_many(struct app *app, const struct peer *p)
{
    size_t n = 0;
    pthread_mutex_lock(&app->conns_lock);
    ISOLA_MAP_EACH(&app->conns, e)
    {
        const struct conn *c = e->value;
        n += c->peer == p && !c->dialled;
    }
    pthread_mutex_unlock(&app->conns_lock);
    return n >= LINKS_MAX;
}

static void accepted(struct isola_listener *listener, struct isola_link *link, void *arg)
{
    struct app *app = arg;
    const struct isola_identity *who = isola_link_identity(link);
    struct peer *p = peers_named(app, isola_slice_str(who->name));
    char why[200] = "";
    if (p == NULL)
        snprintf(why, sizeof(why), "node %s is one too many: %d are remembered", who->name,
                 ISOLA_PEERS_MAX);
    else if (has_many(app, p))
        snprintf(why, sizeof(why), "node %s has %d links with this one already", who->name,
                 LINKS_MAX);
    if (why[0] != '\0') {
        isola_listener_refused(listener, link, why);
        return;
    }
    struct conn *c = isola_zalloc(sizeof(*c));
    c->peer = p;
    c->started = (uint64_t)who->started_ms;
    memcpy(c->node_key, who->node_key, sizeof(c->node_key));
    isola_link_direct(link);
    isola_link_accept(link, &data_ops, c);
    conn_add(app, c, link);
    established(c);
}

static const struct isola_listener_ops listener_ops = {.accepted = accepted};

/* An actor-host whose node has another by now: what a script had of its secrets is worth nothing
 * any more. One that the view does not know of yet is newer. */
static bool outdated(const struct app *app, const struct isola_identity *who,
                     const uint8_t key[ISOLA_KEY_SIZE])
{
    for (size_t i = 0; i < app->npeers; i++) {
        const struct peer *p = app->peers[i];
        if (p->url != NULL && strcmp(p->name, who->name) == 0)
            return (uint64_t)who->started_ms < p->started &&
                   memcmp(key, p->key, ISOLA_KEY_SIZE) != 0;
    }
    return false;
}

static int admit(void *arg, struct isola_link *link, const uint8_t peer[ISOLA_KEY_SIZE],
                 struct isola_slice chain, struct isola_identity *who, struct isola_err *err)
{
    const struct app *app = arg;
    (void)link;
    int r = isola_identity_check(app->cluster_key, chain, peer, &app->removals, who, err);
    if (r == 0 && who->role != ISOLA_ROLE_HOST)
        r = isola_fail(err, ISOLA_EPERM,
                       "it is the agent of node %s; actor-hosts talk to actor-hosts here",
                       who->name);
    if (r == 0 && outdated(app, who, peer))
        r = isola_fail(err, ISOLA_EPERM,
                       "it is an actor-host that node %s had before the one it has now", who->name);
    return r;
}

int data_links_listen(struct app *app, struct isola_slice credentials, struct isola_err *err)
{
    struct isola_slice key, secret, chain, listen;
    char url[ISOLA_TCP_URL] = "";
    if (app->keys != NULL)
        return isola_fail(err, ISOLA_EEXIST, "it has credentials already");
    if (!isola_mp_find_bin(credentials, "cluster", &key) || key.len != ISOLA_KEY_SIZE ||
        !isola_mp_find_bin(credentials, "secret", &secret) || secret.len != ISOLA_KEY_SIZE ||
        !isola_mp_find_bin(credentials, "chain", &chain) ||
        !isola_mp_find_str(credentials, "listen", &listen) || listen.len >= sizeof(url))
        return isola_fail(err, ISOLA_EINVAL,
                          "credentials are cluster, secret, chain and listen; one is missing");
    memcpy(url, listen.data, listen.len);
    memcpy(app->cluster_key, key.data, ISOLA_KEY_SIZE);
    app->keys = isola_secret_alloc(sizeof(*app->keys));
    isola_static_keys_from(secret.data, app->keys);
    isola_buf_append(&app->chain, chain.data, chain.len);
    app->security = (struct isola_link_security){.keys = app->keys,
                                                 .chain = isola_buf_slice(&app->chain),
                                                 .purpose = ISOLA_LINK_DATA,
                                                 .admit = admit,
                                                 .arg = app};
    return isola_listener_open(app->loop, url, &app->security, &listener_ops, app, &app->listener,
                               err);
}

/* Nodes that were removed: their links end now, and they are not let in again. */
void data_links_removed(struct app *app, struct isola_slice params)
{
    struct isola_slice removed;
    struct isola_err err;
    size_t before = app->removals.n;
    if (app->keys == NULL || !isola_mp_find(params, "removed", &removed))
        return;
    if (isola_removals_read(&app->removals, app->cluster_key, removed, &err) < 0)
        isola_log(ISOLA_LOG_ERROR, "%s", err.text);
    if (app->removals.n == before)
        return;
    pthread_mutex_lock(&app->conns_lock);
    ISOLA_MAP_EACH(&app->conns, e)
    {
        struct conn *c = e->value;
        if (c->peer != NULL && c->link != NULL &&
            isola_removals_find(&app->removals, c->node_key) != NULL)
            isola_link_close(c->link);
    }
    pthread_mutex_unlock(&app->conns_lock);
}

int data_links_open(struct app *app, struct isola_err *err)
{
    int r = uv_timer_init(app->loop, &app->tick);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot make a timer: %s", uv_strerror(r));
    app->tick.data = app;
    pthread_mutex_init(&app->conns_lock, NULL);
    pthread_mutex_init(&app->subs.lock, NULL);
    return 0;
}
