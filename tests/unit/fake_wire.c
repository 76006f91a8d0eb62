/* SPDX-License-Identifier: Apache-2.0
 *
 * Where actors live in a world, and the way to those of other nodes.
 */
#include "base/check.h"
#include "fake_world_parts.h"

int world__locate(void *arg, struct isola_slice address)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    int node = (int)(intptr_t)isola_map_get(&w->places, address);
    pthread_mutex_unlock(&w->lock);
    return node;
}

/* As it comes out of a link. */
static void arrive(struct world *to, const struct isola_mail *m)
{
    struct isola_mail *copy = isola_mail_new_in(isola_mail_trace(m), m->kind, m->src,
                                                isola_mail_dst(m), m->event, m->chain, m->args);
    copy->durable = m->durable;
    copy->passed_on = true;
    if (m->durable) {
        copy->seq = m->seq;
        copy->before = m->before;
    }
    isola_host_post(to->host, copy);
}

/* To the other node, if it is durable, by a bad way. */
static void pass(struct world *w, struct isola_mail *m)
{
    pthread_mutex_lock(&w->lock);
    struct world *to = w->other;
    struct isola_mail *late = w->late;
    w->late = NULL;
    unsigned fate = m->durable ? world__random(&w->store_seed, 1000) : 1000;
    unsigned mess = w->mess;
    bool later = fate >= 2 * mess && fate < 3 * mess;
    if (later)
        w->late = m;
    pthread_mutex_unlock(&w->lock);
    if (fate >= mess && !later)
        arrive(to, m);
    if (fate >= mess && fate < 2 * mess)
        arrive(to, m);
    if (!later)
        isola_mail_free(m);
    if (late != NULL) {
        arrive(to, late);
        isola_mail_free(late);
    }
}

void world__forward(void *arg, int node, struct isola_mail *mail)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    bool cut = w->cut, passes = w->other != NULL && mail->kind != ISOLA_MSG_UNSUB;
    pthread_mutex_unlock(&w->lock);
    if (cut && mail->durable) {
        isola_mail_free(mail);
        return;
    }
    if (!cut && passes) {
        pass(w, mail);
        return;
    }
    if (node == 0) { /* nothing comes back from others here */
        ISOLA_CHECK(mail->kind == ISOLA_MSG_UNSUB && !mail->passed_on);
        isola_mail_free(mail);
        return;
    }
    ISOLA_CHECK(node > 0);
    pthread_mutex_lock(&w->lock);
    bool refuse = w->others_refuse;
    if (!refuse)
        isola_mailq_push(&w->forwarded, mail);
    world__changed(w);
    if (!refuse)
        return;
    if (mail->kind == ISOLA_MSG_ASK || mail->kind == ISOLA_MSG_STOP) {
        struct isola_origin origin = mail->origin;
        mail->origin.realm = NULL;
        isola_host_answer(w->host, isola_mail_failure(origin, ISOLA_EUNREACHABLE, "gone"));
    }
    isola_mail_free(mail);
}

void world_place(struct world *w, const char *address, int node)
{
    pthread_mutex_lock(&w->lock);
    if (node == 0)
        (void)isola_map_del(&w->places, isola_slice_str(address));
    else
        (void)isola_map_set(&w->places, isola_slice_str(address), (void *)(intptr_t)node);
    pthread_mutex_unlock(&w->lock);
}

unsigned world_forwards(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = (unsigned)w->forwarded.count;
    pthread_mutex_unlock(&w->lock);
    return n;
}

struct isola_mail *world_take_forwarded(struct world *w)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->forwarded.head == NULL)
        world__wait_for(w, deadline, "a forwarded mail");
    struct isola_mail *m = isola_mailq_pop(&w->forwarded);
    if (w->forwarded.head == NULL)
        w->forwarded.tail = NULL;
    pthread_mutex_unlock(&w->lock);
    return m;
}

static void connect_to(struct world *w, struct world *to, unsigned mess)
{
    pthread_mutex_lock(&w->lock);
    w->other = to;
    w->mess = mess;
    pthread_mutex_unlock(&w->lock);
}

void world_connect(struct world *a, struct world *b, unsigned mess)
{
    connect_to(a, b, mess);
    connect_to(b, a, mess);
}

void world_mend(struct world *a, struct world *b)
{
    world_connect(a, b, 0);
}

void world_await_forwarded(struct world *w, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->forwarded.count < n)
        world__wait_for(w, deadline, "a forwarded mail");
    pthread_mutex_unlock(&w->lock);
}

const struct isola_mail *world_forwarded(struct world *w, unsigned nth)
{
    pthread_mutex_lock(&w->lock);
    const struct isola_mail *m = w->forwarded.head;
    while (m != NULL && nth-- > 0)
        m = m->next;
    pthread_mutex_unlock(&w->lock);
    return m;
}

void world_others_refuse(struct world *w)
{
    struct isola_mailq q;
    pthread_mutex_lock(&w->lock);
    w->others_refuse = true;
    q = w->forwarded;
    w->forwarded = (struct isola_mailq){0};
    pthread_mutex_unlock(&w->lock);
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&q)) != NULL)
        world__forward(w, 1, m);
}
