/* SPDX-License-Identifier: Apache-2.0
 *
 * Subscriptions of actors and connections here to actors on other nodes.
 *
 * They are kept, sent to where the actor lives, and sent again whenever the link is made anew or
 * the actor moves. A subscription goes on the same way as the messages of its subscriber, at once,
 * so that what these cause is heard.
 *
 * The lock is held while a subscription is sent, and never while the actor runtime is called: that
 * calls here with locks of its own.
 */
#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"

/* Who subscribed, and what it calls the subscription. */
struct origin_key {
    uint64_t link, id;
};

static struct origin_key key_of(const struct isola_mail *m)
{
    return (struct origin_key){m->origin.link, m->origin.id};
}

static struct sub_out *find(struct subs_out *subs, const struct isola_mail *m)
{
    struct origin_key key = key_of(m);
    return isola_map_get(&subs->by_origin, isola_slice(&key, sizeof(key)));
}

static void put_in(struct sub_out *s, int list, struct sub_out **first)
{
    s->in[list].next = *first;
    s->in[list].at = first;
    if (*first != NULL)
        (*first)->in[list].at = &s->in[list].next;
    *first = s;
}

static void take_from(struct sub_out *s, int list)
{
    struct sub_out *next = s->in[list].next;
    if (s->in[list].at == NULL)
        return;
    *s->in[list].at = next;
    if (next != NULL)
        next->in[list].at = s->in[list].at;
    s->in[list].at = NULL;
}

static void link_in(struct subs_out *subs, struct sub_out *s)
{
    struct origin_key key = key_of(s->mail);
    s->same = isola_map_set(&subs->by_origin, isola_slice(&key, sizeof(key)), s);
    put_in(s, SUBS_OF_SHARD, &subs->of_shard[isola_shard(s->mail->dst)]);
    isola_map_set(&subs->by_id, number_key(&s->id), s);
    if (key.link == 0)
        return;
    struct sub_out **of_conn = isola_idmap_get(&subs->by_conn, key.link);
    if (of_conn == NULL) {
        of_conn = isola_zalloc(sizeof(struct sub_out *));
        isola_idmap_add(&subs->by_conn, key.link, of_conn);
    }
    put_in(s, SUBS_OF_CONN, of_conn);
}

/* Each subscription, which may be taken out in the turn that is its own. */
#define EACH_IN(list, first, s)                                                                    \
    for (struct sub_out *s = (first), *s##_next; s != NULL && (s##_next = s->in[list].next, true); \
         s = s##_next)
#define EACH(subs, s)                                                                              \
    for (size_t s##_in = 0; s##_in < ISOLA_SHARDS; s##_in++)                                       \
    EACH_IN(SUBS_OF_SHARD, (subs)->of_shard[s##_in], s)

/* `p`: it is there now; NULL: nowhere, until it is sent anew. */
static void set_peer(struct sub_out *s, struct peer *p)
{
    int node = p != NULL ? p->number : 0;
    if (s->node == node)
        return;
    take_from(s, SUBS_OF_PEER);
    s->node = node;
    if (p != NULL)
        put_in(s, SUBS_OF_PEER, &p->subs);
}

/* Its mail is the caller's. */
static struct isola_mail *take_out(struct subs_out *subs, struct sub_out *s)
{
    struct isola_mail *mail = s->mail;
    struct origin_key key = key_of(mail);
    struct sub_out *first = find(subs, mail), *of = first;
    if (first != s) {
        while (of->same != s)
            of = of->same;
        of->same = s->same;
    } else if (s->same != NULL) {
        isola_map_set(&subs->by_origin, isola_slice(&key, sizeof(key)), s->same);
    } else {
        isola_map_del(&subs->by_origin, isola_slice(&key, sizeof(key)));
    }
    for (int list = 0; list < SUBS_LISTS; list++)
        take_from(s, list);
    struct sub_out **of_conn = isola_idmap_get(&subs->by_conn, key.link);
    if (of_conn != NULL && *of_conn == NULL) {
        isola_idmap_del(&subs->by_conn, key.link);
        free(of_conn);
    }
    isola_map_del(&subs->by_id, number_key(&s->id));
    free(s);
    return mail;
}

/* To where its actor lives; false: that is here. */
static bool send_to_actor(struct app *app, struct sub_out *s)
{
    struct peer *p = peers_of(app, s->mail->dst);
    if (p == NULL)
        return false;
    if (s->node != p->number)
        set_peer(s, peer_tell(p, s->mail, s->id) ? p : NULL);
    if (s->node == 0 && peer_want(p)) /* a fresh link repeats all subscriptions */
        app->subs.again = true;
    return true;
}

static void subscribe(struct app *app, struct isola_mail *m)
{
    struct subs_out *subs = &app->subs;
    struct sub_out *s = isola_zalloc(sizeof(*s));
    s->id = atomic_fetch_add(&app->next_wire_id, 1) + 1;
    s->mail = m;
    pthread_mutex_lock(&subs->lock);
    link_in(subs, s);
    (void)send_to_actor(app, s); /* one whose actor has come here is settled with the next view */
    pthread_mutex_unlock(&subs->lock);
}

struct host_parcel {
    struct parcel parcel;
    struct isola_mail *mail;
};

static void run_post(struct app *app, struct parcel *parcel)
{
    struct host_parcel *h = (struct host_parcel *)parcel;
    isola_host_post(app->host, h->mail);
    free(h);
}

static void unsubscribe(struct app *app, int node, struct isola_mail *m)
{
    struct subs_out *subs = &app->subs;
    struct isola_mail *gone = NULL;
    pthread_mutex_lock(&subs->lock);
    struct sub_out *s = find(subs, m);
    if (s != NULL) {
        struct peer *p = peers_of(app, m->dst);
        if (p != NULL)
            (void)peer_tell(p, m, s->id);
        gone = take_out(subs, s);
    }
    pthread_mutex_unlock(&subs->lock);
    if (gone != NULL || node != 0) {
        isola_mail_free(gone);
        isola_mail_free(m);
        return;
    }
    struct host_parcel *h = isola_zalloc(sizeof(*h)); /* the runtime may hold a lock of its own */
    h->parcel.run = run_post;
    h->mail = m;
    m->passed_on = true;
    outbox_put(app, &h->parcel);
}

void subs_out_mail(struct app *app, int node, struct isola_mail *mail)
{
    if (mail->kind == ISOLA_MSG_SUB)
        subscribe(app, mail);
    else
        unsubscribe(app, node, mail);
}

void subs_out_event(struct peer *p, const struct isola_msg *m)
{
    struct app *app = p->app;
    struct isola_slice none = {0};
    struct isola_mail *e = NULL;
    pthread_mutex_lock(&app->subs.lock);
    const struct sub_out *s = isola_map_get(&app->subs.by_id, number_key(&m->id));
    /* One that has moved is heard from where it lives now: from here too would be twice. */
    if (s != NULL && s->node == p->number) {
        e = isola_mail_new_in(m->trace, ISOLA_MSG_EVENT, m->src, s->mail->src, m->event, none,
                              m->args);
        if (e != NULL) {
            e->origin.link = s->mail->origin.link;
            e->origin.id = s->mail->origin.id;
        }
    }
    pthread_mutex_unlock(&app->subs.lock);
    if (e != NULL && e->origin.link != 0)
        conn_answer(app, e);
    else if (e != NULL)
        isola_host_answer(app->host, e);
}

void subs_out_refused(struct peer *p, const struct isola_msg *m)
{
    struct subs_out *subs = &p->app->subs;
    struct isola_slice value;
    struct isola_mp_error e = {0};
    pthread_mutex_lock(&subs->lock);
    struct sub_out *s = isola_map_get(&subs->by_id, number_key(&m->id));
    if (s != NULL && s->node == p->number) {
        /* A peer that has no such app, yet: it is repeated with the next view or link. */
        set_peer(s, NULL);
        if (isola_mp_at(m->args, 0, &value))
            (void)isola_mp_read_error(value, &e);
        isola_log(ISOLA_LOG_WARN, "node %s refused the subscription to \"%.*s\" of %.*s: %.*s",
                  p->name, ISOLA_FMT(s->mail->event), ISOLA_FMT(s->mail->dst),
                  ISOLA_FMT(e.message));
    }
    pthread_mutex_unlock(&subs->lock);
}

static bool lives_at(struct app *app, size_t shard, const struct peer *p)
{
    return atomic_load_explicit(&app->places[shard], memory_order_acquire) == p->number;
}

void subs_out_repeat(struct peer *p, struct isola_link *link)
{
    struct app *app = p->app;
    for (size_t i = 0; i < ISOLA_SHARDS; i++) {
        if (!lives_at(app, i, p))
            continue;
        EACH_IN(SUBS_OF_SHARD, app->subs.of_shard[i], s)
        {
            set_peer(s, send_mail(link, s->mail, s->id) >= 0 ? p : NULL);
            app->subs.again |= s->node == 0;
        }
    }
}

void subs_out_lost(struct peer *p, const char *why)
{
    struct app *app = p->app;
    struct isola_mailq monitors = {0};
    struct isola_mail *m;
    struct isola_slice none = {0};
    pthread_mutex_lock(&app->subs.lock);
    /* The next link may have been found meanwhile, and all been sent on it. */
    bool linked = peer_linked(p);
    EACH_IN(SUBS_OF_PEER, p->subs, s)
    {
        if (!linked)
            set_peer(s, NULL);
        if (!isola_is_monitor(s->mail))
            continue;
        m = isola_mail_new(ISOLA_MSG_SUB, s->mail->src, s->mail->dst, s->mail->event, none, none);
        if (m != NULL) {
            m->origin.link = s->mail->origin.link;
            m->origin.id = s->mail->origin.id;
            isola_mailq_push(&monitors, m);
        }
    }
    pthread_mutex_unlock(&app->subs.lock);
    while ((m = isola_mailq_pop(&monitors)) != NULL) {
        isola_host_down(app->host, m, "lost", isola_slice_str(why));
        isola_mail_free(m);
    }
}

void subs_out_settle(struct app *app)
{
    struct isola_mailq here = {0};
    struct isola_mail *m;
    pthread_mutex_lock(&app->subs.lock);
    EACH(&app->subs, s)
    {
        if (s->mail->passed_on && peers_of(app, s->mail->dst) != &app->services)
            isola_mail_free(take_out(&app->subs, s)); /* who said it says it there now */
        else if (!send_to_actor(app, s))
            isola_mailq_push(&here, take_out(&app->subs, s));
    }
    pthread_mutex_unlock(&app->subs.lock);
    while ((m = isola_mailq_pop(&here)) != NULL)
        isola_host_post(app->host, m);
}

void subs_out_tick(struct app *app)
{
    pthread_mutex_lock(&app->subs.lock);
    bool again = app->subs.again;
    app->subs.again = false;
    pthread_mutex_unlock(&app->subs.lock);
    if (again)
        subs_out_settle(app);
}

bool subs_out_any(struct peer *p)
{
    struct app *app = p->app;
    bool any = false;
    pthread_mutex_lock(&app->subs.lock);
    for (size_t i = 0; i < ISOLA_SHARDS && !any; i++)
        any = app->subs.of_shard[i] != NULL && lives_at(app, i, p);
    pthread_mutex_unlock(&app->subs.lock);
    return any;
}

void subs_out_drop_conn(struct app *app, uint64_t conn)
{
    struct subs_out *subs = &app->subs;
    pthread_mutex_lock(&subs->lock);
    struct sub_out **of_conn = isola_idmap_get(&subs->by_conn, conn);
    EACH_IN(SUBS_OF_CONN, of_conn != NULL ? *of_conn : NULL, s)
    {
        struct peer *p = peers_of(app, s->mail->dst);
        s->mail->kind = ISOLA_MSG_UNSUB;
        if (p != NULL)
            (void)peer_tell(p, s->mail, s->id);
        isola_mail_free(take_out(subs, s));
    }
    pthread_mutex_unlock(&subs->lock);
}
