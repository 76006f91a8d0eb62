/* SPDX-License-Identifier: Apache-2.0
 *
 * The outbox' messages by who sent them and for whom: queues, counts, times; and the rows of those
 * that are acknowledged, which go together, up to a number.
 */
#include "actors/outbox.h"

#include "base/clock.h"

#define CLEAN_MS   1000 /* rows of acknowledged messages stay for so long, */
#define CLEAN_EACH 256  /* or until there are so many */

struct isola__sender *isola__sender_find(struct isola_outbox *o, struct isola_slice address)
{
    return isola_map_get(&o->senders, address);
}

struct isola__sender *isola__sender_get(struct isola_outbox *o, struct isola_slice address)
{
    struct isola__sender *s = isola__sender_find(o, address);
    if (s == NULL) {
        s = isola_zalloc(sizeof(*s));
        s->text = isola_strndup((const char *)address.data, address.len);
        s->len = address.len;
        isola_map_set(&o->senders, address, s);
    }
    return s;
}

void isola__sender_leave(struct isola_outbox *o, struct isola__sender *s)
{
    if (s->pairs.count > 0 || s->count > 0)
        return;
    isola_map_del(&o->senders, isola__sender_text(s));
    isola_map_free(&s->pairs);
    free(s->text);
    free(s);
}

struct isola__pair *isola__pair_get(struct isola_host *h, struct isola__sender *s,
                                    struct isola_slice receiver)
{
    struct isola__pair *p = isola_map_get(&s->pairs, receiver);
    if (p == NULL) {
        p = isola_zalloc(sizeof(*p));
        p->host = h;
        p->sender = s;
        p->text = isola_strndup((const char *)receiver.data, receiver.len);
        p->len = receiver.len;
        p->window = ISOLA__WINDOW_FIRST;
        p->pause = ISOLA__PAUSE_FIRST;
        isola_map_set(&s->pairs, receiver, p);
    }
    return p;
}

void isola__outbox_leave(struct isola_host *h)
{
    struct isola_mailq woken = h->outbox.woken;
    struct isola_mail *m;
    h->outbox.woken = (struct isola_mailq){0};
    pthread_mutex_unlock(&h->outbox.lock);
    while ((m = isola_mailq_pop(&woken)) != NULL)
        isola_host_answer(h, m);
}

void isola__outbox_account(struct isola_outbox *o, struct isola__sender *s, bool in, size_t bytes)
{
    if (in) {
        s->count++;
        s->bytes += bytes;
        o->bytes += bytes;
    } else {
        s->count--;
        s->bytes -= bytes;
        o->bytes -= bytes;
        if (s->count <= ISOLA__OUTBOX_ROOM)
            isola_mailq_join(&o->woken, &s->waiters);
    }
}

void isola__pair_arm(struct isola__pair *p)
{
    struct isola_outbox *o = &p->host->outbox;
    uint64_t at = p->again_at;
    if (p->clean_at != 0 && (at == 0 || p->clean_at < at))
        at = p->clean_at;
    isola_heap_remove(&o->due, &p->due);
    if (at == 0 || p->sender == NULL)
        return;
    isola_heap_insert(&o->due, &p->due, at);
    if (isola_heap_min(&o->due) == &p->due)
        pthread_cond_signal(&o->wake);
}

uint64_t isola__outbox_jittered(struct isola_outbox *o, uint64_t ms)
{
    o->seed ^= o->seed << 13;
    o->seed ^= o->seed >> 7;
    o->seed ^= o->seed << 17;
    return ms - ms / 4 + o->seed % (ms / 2 + 1);
}

void isola__pair_free(struct isola__pair *p)
{
    free(p->text);
    free(p);
}

void isola__pair_leave(struct isola__pair *p)
{
    struct isola_outbox *o = &p->host->outbox;
    struct isola__sender *s = p->sender;
    if (p->busy || p->cleaning)
        return;
    if (s != NULL && (p->queue.count > 0 || p->acked > p->cleaned || p->len == 0))
        return;
    isola_heap_remove(&o->due, &p->due);
    if (s != NULL) {
        isola_map_del(&s->pairs, isola__pair_text(p));
        isola__sender_leave(o, s);
    }
    isola__pair_free(p);
}

void isola__pair_put(struct isola__pair *p, struct isola_mail *m)
{
    m->before = p->queue.count > 0 ? p->last : 0;
    p->last = m->seq;
    isola_mailq_push(&p->queue, m);
    if (p->next == NULL)
        p->next = m;
}

/* --- cleaning up --- */

struct clean {
    struct isola_state_io io;
    struct isola_kept row;
    struct isola__pair *pair;
    uint64_t before;
    char *address;
};

static void cleaned(struct isola_state_io *io, int code, struct isola_slice value, const char *why)
{
    struct clean *c = (struct clean *)(void *)((char *)io - offsetof(struct clean, io));
    struct isola__pair *p = c->pair;
    struct isola_host *h = p->host;
    (void)value, (void)why;
    pthread_mutex_lock(&h->outbox.lock);
    p->cleaning = false;
    if (code != 0 && p->sender != NULL) { /* the disk is full, say: it is tried again */
        p->cleaned = c->before;
        p->clean_at = isola_clock_ms() + ISOLA__PAUSE_MAX;
        isola__pair_arm(p);
    }
    isola__pair_leave(p);
    isola__outbox_leave(h);
    free(c->address);
    free(c);
    isola__host_unbusy(h);
}

void isola__pair_clean(struct isola__pair *p)
{
    struct isola_host *h = p->host;
    p->clean_at = 0;
    if (p->cleaning || p->acked == p->cleaned || p->sender == NULL)
        return;
    isola__host_busy(h); /* before it is looked whether there is a store still */
    if (atomic_load(&h->draining)) {
        isola__host_unbusy(h);
        return;
    }
    struct clean *c = isola_zalloc(sizeof(*c));
    c->pair = p;
    c->before = p->cleaned;
    c->address = isola_strndup(p->sender->text, p->sender->len);
    c->row = (struct isola_kept){
        .part = ISOLA_KEPT_OUTBOX, .gone = true, .peer = isola__pair_text(p), .seq = p->acked};
    c->io.done = cleaned;
    c->io.address = isola_slice(c->address, p->sender->len);
    c->io.rows = &c->row;
    c->io.nrows = 1;
    p->cleaned = p->acked;
    p->uncleaned = 0;
    p->cleaning = true;
    h->ops->state_write(h->arg, &c->io);
}

void isola__pair_acked(struct isola__pair *p, unsigned n)
{
    uint64_t all = p->queue.head != NULL ? p->queue.head->seq - 1 : p->last;
    p->uncleaned += n;
    if (all <= p->acked)
        return;
    p->acked = all;
    if (p->uncleaned >= CLEAN_EACH)
        isola__pair_clean(p);
    if (p->acked > p->cleaned && p->clean_at == 0)
        p->clean_at = isola_clock_ms() + CLEAN_MS;
}
