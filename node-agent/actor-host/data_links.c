/* SPDX-License-Identifier: Apache-2.0
 *
 * The links to other actor-hosts: one for each pair, dialled when first needed, which carries the
 * messages of both.
 *
 * Happy path. The loop makes links and sees them end. What is sent on them leaves by itself
 * (sending.c). What arrives is handed to the runtime, or to who has asked, by the thread on which
 * it arrives.
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
#include "node-agent/actor-host/data_links.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/pieces.h"
#include "transport/identity.h"

#define REDIAL_FIRST 20 /* ms, doubled with each failure, and more or less of it by chance */
#define REDIAL_MAX   1000
#define TICK_MS      1000

static void answer_all(struct app *app, struct isola_mailq *answers)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(answers)) != NULL)
        isola_host_answer(app->host, m);
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
        peer_begin(p, &unsent);
    } else {
        pthread_mutex_unlock(&app->subs.lock);
    }
    pthread_mutex_unlock(&p->lock);
    visits_sent_all();
    answer_all(app, &failed);
    peer_unsent(p, &unsent);
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

void data_links_up(struct conn *c)
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
    data_links_up(c);
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

const struct isola_link_ops data_links_ops = {.up = data_up,
                                              .frame = data_frame,
                                              .heard = data_heard,
                                              .down = data_down,
                                              .drained = data_drained};

void data_links_dial(struct peer *p)
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
    if (isola_link_dial(app->loop, p->url, &app->security, p->key, &data_links_ops, c, &link,
                        &err) != 0) {
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
            data_links_dial(app->peers[i]);
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
        peer_begin(p, &unsent);
    else
        pthread_mutex_unlock(&app->subs.lock);
    pthread_mutex_unlock(&p->lock);
    visits_sent_all();
    peer_unsent(p, &unsent);
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
        peer_fail(p->app, m, ISOLA_EUNREACHABLE, "its node has left the cluster");
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
