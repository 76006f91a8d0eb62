/* SPDX-License-Identifier: Apache-2.0
 *
 * A realm, from its making to its end, and what comes to it. A realm is idle, ready (in a worker's
 * queue), running (being visited: visit.c) or closed; it is in a queue at most once, and never
 * visited by two workers.
 *
 * The inbox is a stack that is pushed to without a lock and taken as a whole (Treiber). Whoever
 * pushes makes an idle realm ready; the visitor, having made it idle, looks once more: one of the
 * two sees the other.
 */
#include "actors/realm.h"

#include "actors/host_own.h"
#include "actors/prepared.h"
#include "actors/turn.h"
#include "base/fetch.h"

/* Visits before it is noted what they need: the first message to an actor is not the one to learn
 * from. */
#define LINES_FIRST 4

struct isola_realm *isola__realm_new(struct isola_host *h, struct isola_worker *w,
                                     struct isola_release_rt *release, bool shared,
                                     struct isola_v8_limits limits)
{
    struct isola_realm *r = isola_zalloc(sizeof(*r));
    atomic_init(&r->refs, 1);
    atomic_init(&r->state, ISOLA_REALM_IDLE);
    atomic_init(&r->worker, w);
    r->host = h;
    r->owner = w;
    r->release = isola__release_ref(release);
    r->shared = shared;
    r->limits = limits;
    r->lines_age = LINES_FIRST;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

struct isola_realm *isola__realm_ref(struct isola_realm *r)
{
    atomic_fetch_add(&r->refs, 1);
    return r;
}

void isola__realm_unref(struct isola_realm *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    ISOLA_CHECK(r->v8 == NULL && r->actors.count == 0 && atomic_load(&r->inbox) == NULL &&
                r->held.count == 0 && r->direct.count == 0);
    isola__release_unref(r->release);
    isola_heap_free(&r->due);
    for (uint32_t i = 0; i < r->npending; i++)
        free(r->pending[i]);
    free(r->pending);
    isola_map_free(&r->ios);
    free(r->batch.items);
    isola__refs_free(&r->refs_of);
    free(r->asks);
    for (struct isola_turn *next, *t = r->free_turns; t != NULL; t = next) {
        next = t->next;
        free(t);
    }
    isola_buf_free(&r->scratch);
    isola_idmap_free(&r->actors);
    isola_map_free(&r->modules);
    isola__idle_free(r);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void isola__realm_inbox(struct isola_realm *r, struct isola_mailq *to)
{
    struct isola_mail *m = atomic_exchange(&r->inbox, NULL);
    if (m == NULL)
        return;
    struct isola_mailq q = {.tail = &m->next};
    struct isola_mail *first = NULL;
    while (m != NULL) { /* what has been written by other threads is fetched meanwhile */
        struct isola_mail *before = m->next;
        isola_fetch(m, sizeof(*m));
        if (m->actor != NULL)
            isola__actor_fetch(m->actor, true);
        m->next = first;
        first = m;
        m = before;
        q.count++;
    }
    q.head = first;
    isola_mailq_join(to, &q);
}

/* What has come to a realm that is closed: answers to activations that have ended, and the ends of
 * writes of actors that are gone. */
static void drop_orphans(struct isola_realm *r, struct isola_mailq *q)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(q)) != NULL) {
        if (m->actor == NULL) {
            isola_mail_free(m);
            continue;
        }
        ISOLA_CHECK(m->kind == ISOLA_MAIL_READ || m->kind == ISOLA_MAIL_COMMITTED);
        struct isola_host *h = r->host;
        pthread_mutex_lock(&h->orphans);
        isola__actor_take(m->actor, m);
        pthread_mutex_unlock(&h->orphans);
    }
}

void isola__realm_drop(struct isola_realm *r)
{
    struct isola_mailq q = {0};
    isola__realm_inbox(r, &q);
    drop_orphans(r, &r->direct);
    drop_orphans(r, &r->held);
    drop_orphans(r, &q);
}

static void put(struct isola_realm *r, struct isola_mail *mail)
{
    struct isola_mail *first = atomic_load(&r->inbox);
    do
        mail->next = first;
    while (!atomic_compare_exchange_weak(&r->inbox, &first, mail));
}

bool isola__realm_leave(struct isola_realm *r, struct isola_mail *mail)
{
    put(r, mail);
    return atomic_load(&r->state) != ISOLA_REALM_CLOSED;
}

bool isola__realm_push(struct isola_realm *r, struct isola_mail *mail)
{
    if (mail != NULL) {
        put(r, mail);
    } else {
        atomic_store(&r->nudged, true);
    }
    int idle = ISOLA_REALM_IDLE;
    if (atomic_compare_exchange_strong(&r->state, &idle, ISOLA_REALM_READY))
        isola__worker_ready(r);
    return idle != ISOLA_REALM_CLOSED;
}

void isola__realm_post(struct isola_realm *r, struct isola_mail *mail)
{
    if (!isola__realm_push(r, mail))
        isola__realm_drop(r);
}

void isola__realm_take(struct isola_realm *r, struct isola_actor *a, struct isola_mailq *to)
{
    struct isola_mailq all = r->direct;
    struct isola_mail *m;
    r->direct = (struct isola_mailq){0};
    while ((m = isola_mailq_pop(&all)) != NULL)
        isola_mailq_push(m->actor == a ? to : &r->direct, m);
    a->ndirect = 0;
    isola_mailq_join(&all, &r->held);
    isola__realm_inbox(r, &all);
    while ((m = isola_mailq_pop(&all)) != NULL)
        isola_mailq_push(m->actor == a ? to : &r->held, m);
}

void isola__realm_touch(struct isola_realm *r, struct isola_actor *a)
{
    if (a->is_touched)
        return;
    a->is_touched = true;
    isola__actor_ref(a);
    a->next_touched = NULL;
    if (r->touched == NULL)
        r->touched = a;
    else
        *r->touched_tail = a;
    r->touched_tail = &a->next_touched;
}

void isola__realm_untouch(struct isola_realm *r, struct isola_actor *a)
{
    if (!a->is_touched)
        return;
    struct isola_actor **at = &r->touched;
    while (*at != a)
        at = &(*at)->next_touched;
    *at = a->next_touched;
    if (*at == NULL)
        r->touched_tail = at;
    a->is_touched = false;
    isola__actor_unref(a);
}

struct isola_module *isola__realm_module(struct isola_realm *r, const struct isola_type *type)
{
    struct isola_slice name = isola_slice_str(type->def.name);
    struct isola_module *m = isola_map_get(&r->modules, name);
    if (m == NULL) {
        m = isola_zalloc(sizeof(*m));
        isola_map_set(&r->modules, name, m);
        isola__prepared_load(r, type);
    }
    return m;
}

void isola__realm_close(struct isola_realm *r)
{
    isola__host_busy(r->host); /* until it is closed: a drain waits for that */
    if (!atomic_exchange(&r->closing, true))
        isola__realm_post(r, NULL); /* in case it is not being visited */
    else
        isola__host_unbusy(r->host);
}
