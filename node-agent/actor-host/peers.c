/* SPDX-License-Identifier: Apache-2.0
 *
 * The other actor-hosts: where an actor lives, the links to them, and what is under way on each.
 *
 * Happy path: a mail for another node is put into the outbox, sent over the link to that peer
 * (dialled when first needed) under an id of its own; the answer with that id goes back to who
 * asked. Failure: when a link breaks, or the peer leaves the view, its asks fail with EUNREACHABLE
 * at once, since they may or may not have been carried out; what was not sent yet waits for the
 * next link. While a peer's actor-host restarts (it is in the view without a url) mails wait for
 * it, a bounded number of them. Subscriptions are kept and repeated whenever the link is made anew,
 * or their actor moves to another node.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"
#include "transport/envelope.h"

#define WAITING_MAX  10000
#define REDIAL_FIRST 20 /* ms, doubled with each failure */
#define REDIAL_MAX   1000

static void dial(struct peer *p);

/* --- places --- */

int peers_locate(void *arg, struct isola_slice address)
{
    struct app *app = arg;
    if (atomic_load_explicit(&app->alone, memory_order_acquire))
        return 0;
    return atomic_load_explicit(&app->places[isola_place_shard(address)], memory_order_acquire);
}

/* --- sending --- */

static void arm(struct app *app);

static void fail_mail(struct app *app, struct isola_mail *m, int code, const char *why)
{
    isola_host_dead_letter(app->host, m, code, isola_slice_str(why));
    if (isola_msg_is_ask(m->kind)) {
        struct isola_mail *f = isola_mail_failure(isola_mail_take_origin(m), code, "%s", why);
        if (f != NULL)
            isola_host_answer(app->host, f);
    }
    isola_mail_free(m);
}

/* Sends a mail to a peer whose link is there; the mail is used up. */
static void send_to(struct peer *p, struct isola_mail *m)
{
    struct app *app = p->app;
    uint64_t id = 0;
    if (isola_msg_is_ask(m->kind)) {
        id = asks_out_add(app, &p->asks, isola_mail_take_origin(m), m->timeout_ms);
        arm(app);
    }
    int r = send_mail(p->link, m, id);
    struct isola_origin origin;
    if (r != 0 && id != 0 && asks_out_take(&p->asks, id, &origin)) {
        struct isola_mail *f = isola_mail_failure(origin, r, "cannot send to node %s: %s", p->name,
                                                  isola_error_text(r));
        if (f != NULL)
            isola_host_answer(app->host, f);
    }
    isola_mail_free(m);
}

/* Nobody waits for an ask of ours any more: it is forgotten here, and there, or not sent at all. */
static void cancel(struct peer *p, struct isola_mail *m)
{
    struct isola_mailq left = {0};
    struct isola_mail *w;
    uint64_t id = asks_out_cancel(&p->asks, m->origin);
    if (id != 0 && p->up)
        (void)!send_mail(p->link, m, id);
    while (id == 0 && (w = isola_mailq_pop(&p->waiting)) != NULL) {
        bool same = w->kind == ISOLA_MSG_ASK && w->origin.realm == m->origin.realm &&
                    w->origin.link == m->origin.link && w->origin.id == m->origin.id;
        if (same)
            isola_mail_free(w);
        else
            isola_mailq_push(&left, w);
    }
    isola_mailq_join(&left, &p->waiting);
    p->waiting = left;
    isola_mail_free(m);
}

void peer_send(struct peer *p, struct isola_mail *m)
{
    if (m->kind == ISOLA_MSG_CANCEL) {
        cancel(p, m);
        return;
    }
    if (!p->live) {
        fail_mail(p->app, m, ISOLA_EUNREACHABLE, "its node has left the cluster");
        return;
    }
    if (p->link == NULL && p->url != NULL && p->dial_at <= isola_clock_ms())
        dial(p);
    if (p->up) {
        send_to(p, m);
    } else if (p->waiting.count >= WAITING_MAX) {
        fail_mail(p->app, m, ISOLA_EOVERLOAD, "too much waits for its node already");
    } else {
        isola_mailq_push(&p->waiting, m);
        if (p->link == NULL)
            arm(p->app);
    }
}

static struct peer *peer_of(struct app *app, struct isola_slice address)
{
    int node = peers_locate(app, address);
    return node > 0 ? app->peers[node - 1] : NULL;
}

/* Sends a subscription to where its actor lives now: a peer, or, when it has come here, this host.
 */
static void settle_sub(struct app *app, struct sub_out **at)
{
    struct sub_out *s = *at;
    int node = peers_locate(app, s->mail->dst);
    if (node <= 0) {
        *at = s->next;
        isola_host_post(app->host, s->mail);
        free(s);
        return;
    }
    struct peer *p = app->peers[node - 1];
    if (s->node != node && p->up)
        (void)!send_mail(p->link, s->mail, s->id);
    s->node = p->up ? node : 0;
    if (p->link == NULL && p->url != NULL)
        dial(p); /* a fresh link repeats all subscriptions */
}

/* Subscriptions of connections and actors here to actors elsewhere. */
static void subscribe(struct app *app, struct isola_mail *m)
{
    struct sub_out *s = isola_zalloc(sizeof(*s));
    s->id = ++app->next_wire_id;
    s->mail = m;
    s->next = app->subs;
    app->subs = s;
    settle_sub(app, &app->subs);
}

static void settle_subs(struct app *app)
{
    for (struct sub_out **at = &app->subs; *at != NULL;) {
        struct sub_out *s = *at;
        settle_sub(app, at);
        if (*at == s)
            at = &s->next;
    }
}

/* `node` 0: its actor has come here, and the subscription perhaps as well. */
static void unsubscribe(struct app *app, int node, struct isola_mail *m)
{
    for (struct sub_out **at = &app->subs; *at != NULL; at = &(*at)->next) {
        struct sub_out *s = *at;
        if (s->mail->origin.link == m->origin.link && s->mail->origin.id == m->origin.id) {
            struct peer *p = peer_of(app, m->dst);
            if (p != NULL && p->up)
                (void)!send_mail(p->link, m, s->id);
            *at = s->next;
            isola_mail_free(s->mail);
            free(s);
            isola_mail_free(m);
            return;
        }
    }
    m->passed_on = true;
    if (node == 0)
        isola_host_post(app->host, m);
    else
        isola_mail_free(m);
}

void peers_drop_conn(struct app *app, uint64_t conn)
{
    for (struct sub_out **at = &app->subs; *at != NULL;) {
        struct sub_out *s = *at;
        if (s->mail->origin.link != conn) {
            at = &s->next;
            continue;
        }
        struct peer *p = peer_of(app, s->mail->dst);
        s->mail->kind = ISOLA_MSG_UNSUB;
        if (p != NULL && p->up)
            (void)!send_mail(p->link, s->mail, s->id);
        *at = s->next;
        isola_mail_free(s->mail);
        free(s);
    }
}

/* Tells the monitors of actors at this peer that they may be gone. */
static void monitors_lost(struct peer *p, const char *why)
{
    struct app *app = p->app;
    for (struct sub_out *s = app->subs; s != NULL; s = s->next) {
        if (s->node != p->number || !isola_is_monitor(s->mail))
            continue;
        s->node = 0; /* until it is sent anew */
        isola_host_down(app->host, s->mail, "lost", isola_slice_str(why));
    }
}

struct forward_parcel {
    struct parcel parcel;
    int node;
    struct isola_mail *mail;
};

static void run_forward(struct app *app, struct parcel *parcel)
{
    struct forward_parcel *f = (struct forward_parcel *)parcel;
    if (f->mail->kind == ISOLA_MSG_SUB)
        subscribe(app, f->mail);
    else if (f->mail->kind == ISOLA_MSG_UNSUB)
        unsubscribe(app, f->node, f->mail);
    else if (f->mail->origin.link == GIVE_LINK)
        claims_answered(app, f->mail); /* a STOP that waited while the activation ended by itself:
                                          it must not go after the actor */
    else
        peer_send(app->peers[f->node - 1], f->mail);
    free(f);
}

void peers_forward(void *arg, int node, struct isola_mail *mail)
{
    struct forward_parcel *f = isola_zalloc(sizeof(*f));
    f->parcel.run = run_forward;
    f->node = node;
    f->mail = mail;
    outbox_put(arg, &f->parcel);
}

/* --- our links to peers --- */

/* A peer that has no such app, yet: the subscription is repeated with the next view or link. */
static void refused(struct peer *p, const struct isola_msg *m)
{
    for (struct sub_out *s = p->app->subs; s != NULL; s = s->next) {
        struct isola_slice value;
        struct isola_mp_error e = {0};
        if (s->id != m->id || s->node != p->number)
            continue;
        s->node = 0;
        if (isola_mp_at(m->args, 0, &value))
            (void)isola_mp_read_error(value, &e);
        isola_log(ISOLA_LOG_WARN, "node %s refused the subscription to \"%.*s\" of %.*s: %.*s",
                  p->name, ISOLA_FMT(s->mail->event), ISOLA_FMT(s->mail->dst),
                  ISOLA_FMT(e.message));
        return;
    }
}

static void on_answer(struct peer *p, const struct isola_msg *m)
{
    struct app *app = p->app;
    struct isola_slice none = {0};
    if (m->kind == ISOLA_MSG_EVENT) {
        for (struct sub_out *s = app->subs; s != NULL; s = s->next) {
            if (s->id != m->id)
                continue;
            if (s->node != p->number)
                return; /* it has moved, and is heard from where it lives now: from here too would
                           be twice */
            struct isola_mail *e =
                isola_mail_new(ISOLA_MSG_EVENT, m->src, s->mail->src, m->event, none, m->args);
            if (e == NULL)
                return;
            e->origin.link = s->mail->origin.link;
            e->origin.id = s->mail->origin.id;
            if (e->origin.link != 0)
                conn_answer(app, e);
            else
                isola_host_answer(app->host, e);
            return;
        }
        return;
    }
    struct isola_origin origin;
    if (asks_out_take(&p->asks, m->id, &origin)) {
        struct isola_mail *a = isola_mail_answer(origin, m->kind == ISOLA_MSG_REPLY, m->args);
        if (a != NULL)
            isola_host_answer(app->host, a);
    } else if (m->kind == ISOLA_MSG_FAIL) {
        refused(p, m);
    }
}

static void peer_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct peer *p = arg;
    struct isola_msg m;
    struct isola_err err;
    if (isola_envelope_decode(frame, &m, &err) != 0) {
        isola_log(ISOLA_LOG_WARN, "node %s sent a malformed frame: %s", p->name, err.text);
        isola_link_close(link);
        return;
    }
    if (m.kind == ISOLA_MSG_REPLY || m.kind == ISOLA_MSG_FAIL || m.kind == ISOLA_MSG_EVENT)
        on_answer(p, &m);
}

/* All that waited for the link: first who we are, then subscriptions, then mail. */
static void peer_up(struct isola_link *link, void *arg)
{
    struct peer *p = arg;
    struct app *app = p->app;
    if (p->link != link)
        return;
    p->up = true;
    p->failures = 0;
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 2);
    isola_mp_kstr(&args, "node", app->options.node);
    isola_mp_kuint(&args, "wire", ISOLA_WIRE_VERSION);
    struct isola_msg hello = {
        .kind = ISOLA_MSG_EMIT, .event = isola_slice_str("hello"), .args = isola_buf_slice(&args)};
    (void)!isola_link_send_msg(p->link, &hello);
    isola_buf_free(&args);
    for (struct sub_out *s = app->subs; s != NULL; s = s->next) {
        if (peer_of(app, s->mail->dst) == p) {
            s->node = p->number;
            (void)!send_mail(p->link, s->mail, s->id);
        }
    }
    struct isola_mailq waiting = p->waiting;
    p->waiting = (struct isola_mailq){0};
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&waiting)) != NULL)
        send_to(p, m);
}

static void peer_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct peer *p = arg;
    (void)code;
    if (p->link != link)
        return;
    p->link = NULL;
    p->up = false;
    uint64_t pause = (uint64_t)REDIAL_FIRST << (p->failures < 6 ? p->failures : 6);
    p->dial_at = isola_clock_ms() + (pause < REDIAL_MAX ? pause : REDIAL_MAX);
    p->failures++;
    char text[300];
    snprintf(text, sizeof(text),
             "the link to node %s was lost (%s): the request may or may not have been carried out",
             p->name, why);
    asks_out_fail_all(p->app, &p->asks, ISOLA_EUNREACHABLE, text);
    snprintf(text, sizeof(text), "the link to node %s was lost (%s)", p->name, why);
    monitors_lost(p, text);
    arm(p->app);
}

static const struct isola_link_ops peer_ops = {
    .up = peer_up, .frame = peer_frame, .down = peer_down};

/* Starts a link; what is to be sent waits until it is up. */
static void dial(struct peer *p)
{
    struct app *app = p->app;
    struct isola_err err;
    if (isola_link_dial(app->loop, p->url, &peer_ops, p, &p->link, &err) != 0) {
        isola_log(ISOLA_LOG_WARN, "cannot reach node %s at %s: %s", p->name, p->url, err.text);
        p->link = NULL;
        p->dial_at = isola_clock_ms() + REDIAL_MAX;
        return;
    }
}

static bool wants_link(struct app *app, const struct peer *p)
{
    if (p->waiting.count > 0)
        return true;
    for (struct sub_out *s = app->subs; s != NULL; s = s->next)
        if (peer_of(app, s->mail->dst) == p)
            return true;
    return false;
}

/* --- time --- */

static void on_tick(uv_timer_t *timer)
{
    struct app *app = timer->data;
    uint64_t now = isola_clock_ms();
    for (size_t i = 0; i < app->npeers; i++) {
        struct peer *p = app->peers[i];
        asks_out_expire(app, &p->asks, now);
        if (p->live && p->link == NULL && p->url != NULL && p->dial_at <= now && wants_link(app, p))
            dial(p);
    }
    arm(app);
}

/* One timer for the least of all deadlines. */
static void arm(struct app *app)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < app->npeers; i++) {
        struct peer *p = app->peers[i];
        struct isola_heap_node *node = isola_heap_min(&p->asks.due);
        if (node != NULL && node->key < least)
            least = node->key;
        if (p->live && p->link == NULL && p->url != NULL && p->dial_at < least &&
            wants_link(app, p))
            least = p->dial_at;
    }
    if (least == UINT64_MAX) {
        uv_timer_stop(&app->tick);
        return;
    }
    uint64_t now = isola_clock_ms();
    uv_timer_start(&app->tick, on_tick, least > now ? least - now : 0, 0);
}

/* --- the view --- */

static struct peer *peer_named(struct app *app, struct isola_slice name)
{
    for (size_t i = 0; i < app->npeers; i++)
        if (isola_slice_is(name, app->peers[i]->name))
            return app->peers[i];
    app->peers = isola_realloc(app->peers, (app->npeers + 1) * sizeof(struct peer *));
    struct peer *p = isola_zalloc(sizeof(*p));
    app->peers[app->npeers++] = p;
    p->app = app;
    p->number = (int)app->npeers;
    p->name = isola_strndup((const char *)name.data, name.len);
    return p;
}

static void set_url(struct peer *p, struct isola_slice url)
{
    if (p->url != NULL && isola_slice_is(url, p->url))
        return;
    free(p->url);
    p->url = url.len > 0 ? isola_strndup((const char *)url.data, url.len) : NULL;
    p->dial_at = 0;
    p->failures = 0;
    if (p->link != NULL) {
        struct isola_link *old = p->link;
        p->link = NULL;
        p->up = false;
        asks_out_fail_all(
            p->app, &p->asks, ISOLA_EUNREACHABLE,
            "its actor-host has restarted: the request may or may not have been carried out");
        monitors_lost(p, url.len > 0 ? "its actor-host has restarted"
                                     : "its node or its actor-host is gone");
        isola_link_close(old);
    }
}

static void leave(struct peer *p)
{
    set_url(p, (struct isola_slice){0});
    asks_out_fail_all(
        p->app, &p->asks, ISOLA_EUNREACHABLE,
        "its node has left the cluster: the request may or may not have been carried out");
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&p->waiting)) != NULL)
        fail_mail(p->app, m, ISOLA_EUNREACHABLE, "its node has left the cluster");
}

/* Which shards belong to nodes that are known and not there: their actors' state is out of reach.
 */
static void find_lost(struct app *app, const char *const *live, size_t nlive,
                      struct isola_slice params)
{
    struct isola_slice down = {0}, item;
    isola_mp_find(params, "down", &down);
    for (size_t i = 0; i < app->ndown; i++)
        free(app->down[i]);
    app->ndown = 0;
    size_t n = isola_mp_count(down);
    app->down = isola_realloc(app->down, n * sizeof(char *));
    const char **names = isola_zalloc((nlive + n) * sizeof(*names));
    memcpy(names, live, nlive * sizeof(*names));
    for (size_t i = 0; i < n; i++) {
        struct isola_mp_item name;
        if (!isola_mp_at(down, i, &item))
            continue;
        struct isola_mp_reader r = isola_mp_reader(item);
        if (isola_mp_next(&r, &name) != 0 || name.type != ISOLA_MP_STR)
            continue;
        app->down[app->ndown] = isola_strndup((const char *)name.bytes.data, name.bytes.len);
        names[nlive + app->ndown] = app->down[app->ndown];
        app->ndown++;
    }
    uint16_t map[ISOLA_SHARDS];
    isola_place_map(names, nlive + app->ndown, map);
    for (size_t i = 0; i < ISOLA_SHARDS; i++)
        app->lost[i] = map[i] >= nlive ? (uint16_t)(map[i] - nlive + 1) : 0;
    free(names);
}

void peers_view(struct app *app, struct isola_slice params)
{
    struct isola_slice self = {0}, nodes = {0}, node;
    isola_mp_find_str(params, "self", &self);
    if (!isola_mp_find(params, "nodes", &nodes) || isola_mp_count(nodes) == 0)
        return;
    atomic_store(&app->alone, false); /* before anything starts by the new view */
    size_t n = isola_mp_count(nodes), count = 0;
    const char **names = isola_zalloc(n * sizeof(*names));
    uint16_t *numbers = isola_zalloc(n * sizeof(*numbers));
    for (size_t i = 0; i < app->npeers; i++)
        app->peers[i]->live = false;
    for (size_t i = 0; i < n; i++) {
        struct isola_slice name = {0}, url = {0};
        if (!isola_mp_at(nodes, i, &node) || !isola_mp_find_str(node, "name", &name))
            continue;
        isola_mp_find_str(node, "url", &url);
        if (isola_slice_eq(name, self)) {
            names[count] = app->options.node;
        } else {
            struct peer *p = peer_named(app, name);
            p->live = true;
            set_url(p, url);
            names[count] = p->name;
            numbers[count] = (uint16_t)p->number;
        }
        count++;
    }
    if (count > 0) {
        uint16_t map[ISOLA_SHARDS];
        isola_place_map(names, count, map);
        for (size_t i = 0; i < ISOLA_SHARDS; i++)
            atomic_store_explicit(&app->places[i], numbers[map[i]], memory_order_release);
        find_lost(app, names, count, params);
        atomic_store_explicit(&app->alone, count == 1 && app->ndown == 0, memory_order_release);
    }
    free(names);
    free(numbers);
    for (size_t i = 0; i < app->npeers; i++)
        if (!app->peers[i]->live)
            leave(app->peers[i]);
    isola_host_moved(app->host);
    settle_subs(app);
    claims_view(app);
    for (size_t i = 0; i < app->npeers; i++) {
        struct peer *p = app->peers[i];
        if (p->live && p->link == NULL && p->url != NULL && wants_link(app, p))
            dial(p);
    }
    arm(app);
}

/* --- links peers have dialled to us --- */

static void conn_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct conn *c = arg;
    struct isola_msg m;
    struct isola_err err;
    if (isola_envelope_decode(frame, &m, &err) != 0) {
        isola_log(ISOLA_LOG_WARN, "a peer sent a malformed frame: %s", err.text);
        isola_link_close(link);
        return;
    }
    if (m.dst.len > 0)
        conn_deliver(c, &m, true);
    else if (m.kind == ISOLA_MSG_ASK && isola_slice_is(m.event, "claim"))
        claims_asked(c, &m);
    else if (m.kind == ISOLA_MSG_ASK) {
        struct isola_mail *f =
            isola_mail_failure((struct isola_origin){.link = c->number, .id = m.id}, ISOLA_EINVAL,
                               "the actor-host knows no such method");
        if (f != NULL)
            conn_answer(c->app, f);
    }
}

static void conn_down(struct isola_link *link, int code, const char *why, void *arg)
{
    (void)link, (void)code, (void)why;
    conn_close(arg);
}

static const struct isola_link_ops conn_ops = {.frame = conn_frame, .down = conn_down};

static void accepted(struct isola_listener *listener, struct isola_link *link, void *arg)
{
    (void)listener;
    isola_link_accept(link, &conn_ops, conn_open(arg, link));
}

static const struct isola_listener_ops listener_ops = {.accepted = accepted};

int peers_listen(struct app *app, struct isola_err *err)
{
    int r = uv_timer_init(app->loop, &app->tick);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot make a timer: %s", uv_strerror(r));
    app->tick.data = app;
    return isola_listener_open(app->loop, "tcp://127.0.0.1:0", &listener_ops, app, &app->listener,
                               err);
}
