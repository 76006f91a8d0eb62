/* SPDX-License-Identifier: Apache-2.0
 *
 * The outbox: durable messages of the actors that live here, from when they are on disk until their
 * receivers have acknowledged them, whether or not who sent them is active.
 *
 * The happy path: a message whose row has been written (durable.c) is put behind those of its pair
 * of sender and receiver, and sent; an ACK takes it out, and its row goes with the next clean-up of
 * the pair's rows. At the start of the process what the store has is put in first.
 *
 * A pair has at most `window` messages on the way. When none has been acknowledged for a while
 * (ISOLA__PAUSE_FIRST, twice as long each time, up to ISOLA__PAUSE_MAX), or the way to the
 * receiver's node has come back, it goes back to the first and sends again, a few at first and more
 * with each ACK. The receiver drops what it has had, and what does not follow what it has had.
 *
 * Every message is sent with the number of the one before it that is not acknowledged yet (0: there
 * is none): so the receiver knows whether it misses one, without numbers that are without gaps, and
 * also when it has forgotten what came before.
 *
 * A sender that lives elsewhere now, though its state is still here, is woken there: its rows go
 * with its state (isola_host_outbox_drop), and are sent from there.
 *
 * Threads. One lock guards it all. Sending happens without it, by one thread for each pair at a
 * time, so that messages of a pair stay in order. A thread of the outbox's own sees to the times.
 *
 * Invariants: a message leaves the outbox only when it is acknowledged, or with its sender; a row
 * goes only after that; of each pair all rows up to a number go together, so that what is left is
 * what is not acknowledged.
 */
#include "actors/outbox.h"

#include "actors/gate.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "base/thread.h"

#define WINDOW_MAX 1024

#define SENDER_MAX   10000 /* messages of one actor */
#define SENDER_BYTES ((size_t)64 << 20)
#define HOST_BYTES   ((size_t)1 << 30)
#define CONGESTED    1000 /* messages of an actor from which it should wait */

static void go_back(struct isola__pair *p)
{
    p->next = p->queue.head;
    p->flying = 0;
}

/* Does who sent it wait for the answer still? */
static bool is_awaited(const struct isola_mail *m, uint64_t now)
{
    return m->kind == ISOLA_MSG_ASK && m->origin.realm != NULL && m->deadline > now;
}

/* Takes a message out of the queue; `at` points to it. */
static struct isola_mail *unlink_at(struct isola__pair *p, struct isola_mail **at)
{
    struct isola_mail *m = *at;
    *at = m->next;
    if (m->next == NULL)
        p->queue.tail = at;
    else
        m->next->before = m->before;
    p->queue.count--;
    if (p->queue.count == 0)
        p->queue.tail = NULL;
    if (p->next == m)
        p->next = m->next;
    else if (p->flying > 0 && (p->next == NULL || m->seq < p->next->seq))
        p->flying--;
    m->next = NULL;
    isola__outbox_account(&p->host->outbox, p->sender, false, isola__outbox_cost(m));
    return m;
}

/* --- sending --- */

/* A message on its way: the outbox keeps its own. */
static struct isola_mail *copy_of(const struct isola__pair *p, const struct isola_mail *m)
{
    struct isola_slice none = {0};
    struct isola_mail *copy = isola_mail_new_in(
        isola_mail_trace(m), m->kind, isola__sender_text(p->sender), isola__pair_text(p), m->event,
        is_awaited(m, isola_clock_ms()) ? m->chain : none, m->args);
    if (copy != NULL) {
        copy->durable = true;
        copy->seq = m->seq;
        copy->before = m->before;
    }
    return copy;
}

static void collect(struct isola__pair *p, struct isola_mailq *out)
{
    struct isola_host *h = p->host;
    while (p->next != NULL && p->flying < p->window) {
        struct isola_mail *m = p->next, *copy = copy_of(p, m);
        if (copy == NULL)
            break; /* it goes with the next time */
        isola_mailq_push(out, copy);
        if (m->seq <= p->ever)
            atomic_fetch_add_explicit(&h->durables.resent, 1, memory_order_relaxed);
        else
            p->ever = m->seq;
        atomic_fetch_add_explicit(&h->durables.sent, 1, memory_order_relaxed);
        p->flying++;
        p->next = m->next;
    }
    if (p->again_at == 0 && p->queue.count > 0) {
        p->again_at = isola_clock_ms() + isola__outbox_jittered(&h->outbox, p->pause);
        isola__pair_arm(p);
    }
}

/* Sends what may be sent. The lock is held, but not all the time; the pair may be gone afterwards.
 */
static void transmit(struct isola__pair *p)
{
    struct isola_host *h = p->host;
    struct isola_outbox *o = &h->outbox;
    if (p->busy)
        return; /* that thread looks again */
    p->busy = true;
    while (o->open && p->sender != NULL && !atomic_load(&h->draining)) {
        struct isola_mailq out = {0};
        struct isola_mail *m;
        collect(p, &out);
        if (out.count == 0)
            break;
        isola__outbox_leave(h);
        while ((m = isola_mailq_pop(&out)) != NULL)
            isola_host_post(h, m);
        pthread_mutex_lock(&o->lock);
    }
    p->busy = false;
    isola__pair_leave(p);
}

/* --- from actors --- */

int isola__outbox_reserve(struct isola_host *h, struct isola_slice sender,
                          const struct isola_mail *m, bool *congested, struct isola_err *err)
{
    struct isola_outbox *o = &h->outbox;
    int e = 0;
    pthread_mutex_lock(&o->lock);
    struct isola__sender *s = isola__sender_get(o, sender);
    if (s->count >= SENDER_MAX || s->bytes + isola__outbox_cost(m) > SENDER_BYTES)
        e = isola_fail(err, ISOLA_EOVERLOAD,
                       "%zu durable messages (%zu bytes) of this actor are not acknowledged yet; "
                       "%d, or %zu bytes, are the most",
                       s->count, s->bytes, SENDER_MAX, SENDER_BYTES);
    else if (o->bytes + isola__outbox_cost(m) > HOST_BYTES)
        e = isola_fail(err, ISOLA_EOVERLOAD,
                       "durable messages of %zu bytes are not acknowledged yet on this node; %zu "
                       "are the most",
                       o->bytes, HOST_BYTES);
    else
        isola__outbox_account(o, s, true, isola__outbox_cost(m));
    *congested = s->count >= CONGESTED;
    isola__sender_leave(o, s);
    isola__outbox_leave(h);
    return e;
}

void isola__outbox_unreserve(struct isola_host *h, const struct isola_mail *m)
{
    struct isola_outbox *o = &h->outbox;
    pthread_mutex_lock(&o->lock);
    struct isola__sender *s = isola__sender_find(o, m->src);
    if (s != NULL) {
        isola__outbox_account(o, s, false, isola__outbox_cost(m));
        isola__sender_leave(o, s);
    }
    isola__outbox_leave(h);
}

void isola__outbox_wait(struct isola_host *h, struct isola_slice sender, struct isola_origin origin)
{
    struct isola_mail *m = isola_mail_answer(origin, true, isola_slice("\x91\xc0", 2));
    if (m == NULL)
        return;
    pthread_mutex_lock(&h->outbox.lock);
    struct isola__sender *s = isola__sender_find(&h->outbox, sender);
    isola_mailq_push(s != NULL && s->count > ISOLA__OUTBOX_ROOM ? &s->waiters : &h->outbox.woken,
                     m);
    isola__outbox_leave(h);
}

void isola__outbox_add(struct isola_host *h, struct isola_mail *m)
{
    struct isola_outbox *o = &h->outbox;
    pthread_mutex_lock(&o->lock);
    struct isola__sender *s = isola__sender_find(o, m->src);
    if (s == NULL) {
        s = isola__sender_get(o, m->src);
        isola__outbox_account(o, s, true, isola__outbox_cost(m));
    }
    struct isola__pair *p = isola__pair_get(h, s, m->dst);
    if (m->seq <= p->last) { /* it was read from the store meanwhile, and is here already */
        isola__outbox_account(o, s, false, isola__outbox_cost(m));
        struct isola_mail *same = p->queue.head;
        while (same != NULL && same->seq != m->seq)
            same = same->next;
        if (same != NULL && same->origin.realm == NULL) {
            same->deadline = m->deadline;
            same->origin = isola_mail_take_origin(m);
        }
        isola_mail_free(m);
    } else {
        isola__pair_put(p, m);
    }
    transmit(p);
    isola__outbox_leave(h);
}

/* --- acknowledgements --- */

/* Takes out what an ACK stands for: all up to a number, but for asks whose answer is awaited. */
static unsigned take_acked(struct isola__pair *p, uint64_t seq, struct isola_mailq *out)
{
    uint64_t now = isola_clock_ms();
    unsigned n = 0;
    for (struct isola_mail **at = &p->queue.head; *at != NULL && (*at)->seq <= seq;) {
        if (is_awaited(*at, now)) {
            at = &(*at)->next;
            continue;
        }
        isola_mailq_push(out, unlink_at(p, at));
        n++;
    }
    return n;
}

/* That one alone. */
static unsigned take_answered(struct isola__pair *p, uint64_t seq, struct isola_mailq *out)
{
    struct isola_mail **at = &p->queue.head;
    while (*at != NULL && (*at)->seq < seq)
        at = &(*at)->next;
    if (*at == NULL || (*at)->seq != seq)
        return 0;
    isola_mailq_push(out, unlink_at(p, at));
    return 1;
}

static void progressed(struct isola__pair *p, unsigned n)
{
    p->window = p->window + n < WINDOW_MAX ? p->window + n : WINDOW_MAX;
    p->pause = ISOLA__PAUSE_FIRST;
    p->again_at = p->queue.count > 0
                      ? isola_clock_ms() + isola__outbox_jittered(&p->host->outbox, p->pause)
                      : 0;
}

/* The answer to a message goes to who waits for it; one that was refused is told of. */
static void answered(struct isola_host *h, struct isola_mail *m, struct isola_mail *answer)
{
    struct isola_slice value = {0};
    struct isola_mp_error e = {0};
    if (m->kind == ISOLA_MSG_ASK && m->origin.realm != NULL) {
        struct isola_mail *a = isola_mail_answer(isola_mail_take_origin(m),
                                                 answer->kind == ISOLA_MSG_REPLY, answer->args);
        isola__gate_release(h, a);
    } else if (answer->kind == ISOLA_MSG_FAIL && m->kind == ISOLA_MSG_EMIT) {
        if (isola_mp_at(answer->args, 0, &value))
            (void)isola_mp_read_error(value, &e);
        isola__host_logf(h, ISOLA_LOG_WARN, m->src,
                         "its durable message \"%.*s\" to %.*s was given up: %.*s",
                         ISOLA_FMT(m->event), ISOLA_FMT(answer->src), ISOLA_FMT(e.message));
    }
}

void isola__outbox_answered(struct isola_host *h, struct isola_mail *answer)
{
    struct isola_outbox *o = &h->outbox;
    struct isola_mailq out = {0};
    pthread_mutex_lock(&o->lock);
    struct isola__sender *s = isola__sender_find(o, answer->dst);
    struct isola__pair *p = s != NULL ? isola_map_get(&s->pairs, answer->src) : NULL;
    if (p != NULL) {
        unsigned n = answer->kind == ISOLA_MSG_ACK ? take_acked(p, answer->seq, &out)
                                                   : take_answered(p, answer->seq, &out);
        if (n > 0) {
            atomic_fetch_add_explicit(&h->durables.acknowledged, n, memory_order_relaxed);
            progressed(p, n);
            isola__pair_acked(p, n);
            isola__pair_arm(p);
            transmit(p);
        }
    }
    isola__outbox_leave(h);
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&out)) != NULL) {
        if (answer->kind != ISOLA_MSG_ACK)
            answered(h, m, answer);
        isola_mail_free(m);
    }
    isola_mail_free(answer);
}

/* --- time --- */

/* Starts a sender where it lives: what is kept of it goes there, and is sent. The lock is held, but
 * not all the time. */
static void start(struct isola_host *h, struct isola__sender *s)
{
    struct isola_slice none = {0};
    struct isola_mail *m =
        isola_mail_new(ISOLA_MSG_START, none, isola__sender_text(s), none, none, none);
    if (m == NULL)
        return;
    m->origin.link = ISOLA_HOST_LINK;
    m->origin.id = s->wake = ++h->outbox.wakes;
    m->timeout_ms = ISOLA__PAUSE_MAX;
    isola__outbox_leave(h);
    isola_host_post(h, m);
    pthread_mutex_lock(&h->outbox.lock);
}

void isola__outbox_started(struct isola_host *h, struct isola_mail *answer)
{
    struct isola_outbox *o = &h->outbox;
    struct isola__sender *found = NULL;
    pthread_mutex_lock(&o->lock);
    ISOLA_MAP_EACH(&o->senders, e)
    {
        struct isola__sender *s = e->value;
        if (s->wake == answer->origin.id)
            found = s;
    }
    struct isola__pair *p = found != NULL ? isola_map_del(&found->pairs, isola_slice("", 0)) : NULL;
    if (p != NULL && answer->kind == ISOLA_MSG_REPLY) {
        isola_heap_remove(&o->due, &p->due);
        isola__pair_free(p);
        found->wake = 0;
        isola__sender_leave(o, found);
    } else if (p != NULL) {
        isola_map_set(&found->pairs, isola_slice("", 0), p);
    }
    isola__outbox_leave(h);
    isola_mail_free(answer);
}

/* A pair's time has come. The lock is held, but not all the time. */
static void due(struct isola__pair *p, uint64_t now)
{
    struct isola_host *h = p->host;
    if (p->len == 0) {
        p->pause = p->pause * 2 < ISOLA__PAUSE_MAX ? p->pause * 2 : ISOLA__PAUSE_MAX;
        p->again_at = now + isola__outbox_jittered(&h->outbox, p->pause);
        isola__pair_arm(p);
        start(h, p->sender);
        return;
    }
    if (p->clean_at != 0 && p->clean_at <= now)
        isola__pair_clean(p);
    if (p->queue.count == 0 || p->again_at > now) {
        isola__pair_arm(p);
        isola__pair_leave(p);
        return;
    }
    p->again_at = 0;
    if (!p->fresh)
        p->pause = p->pause * 2 < ISOLA__PAUSE_MAX ? p->pause * 2 : ISOLA__PAUSE_MAX;
    else
        p->pause = ISOLA__PAUSE_FIRST;
    p->window = p->fresh ? ISOLA__WINDOW_FIRST : 1;
    p->fresh = false;
    go_back(p);
    if (h->ops->locate(h->arg, isola__sender_text(p->sender)) == 0) {
        transmit(p);
        return;
    }
    p->again_at = now + isola__outbox_jittered(&h->outbox, p->pause);
    p->next = NULL; /* nothing goes from here */
    isola__pair_arm(p);
    isola__outbox_wake(h, isola__sender_text(p->sender));
}

static void *run(void *arg)
{
    struct isola_host *h = arg;
    struct isola_outbox *o = &h->outbox;
    pthread_mutex_lock(&o->lock);
    for (;;) {
        struct isola_heap_node *node = isola_heap_min(&o->due);
        uint64_t now = isola_clock_ms();
        if (node == NULL || !o->open || atomic_load(&h->draining)) {
            pthread_cond_wait(&o->wake, &o->lock);
        } else if (node->key > now) {
            isola_cond_wait_until(&o->wake, &o->lock, node->key);
        } else {
            isola_heap_remove(&o->due, node);
            due((struct isola__pair *)(void *)node, now);
        }
    }
    return NULL;
}

/* Those whose receiver (or sender) is at a node, or all, go back to their first message, soon. */
static void hurry(struct isola_host *h, int node)
{
    struct isola_outbox *o = &h->outbox;
    pthread_mutex_lock(&o->lock);
    uint64_t now = isola_clock_ms();
    ISOLA_MAP_EACH(&o->senders, s)
    {
        struct isola__sender *sender = s->value;
        ISOLA_MAP_EACH(&sender->pairs, e)
        {
            struct isola__pair *p = e->value;
            bool wakes = p->len == 0;
            struct isola_slice whom = wakes ? isola__sender_text(sender) : isola__pair_text(p);
            if ((p->queue.count == 0 && !wakes) ||
                (node >= 0 && h->ops->locate(h->arg, whom) != node))
                continue;
            p->again_at = now;
            p->fresh = true;
            isola__pair_arm(p);
        }
    }
    pthread_cond_signal(&o->wake);
    isola__outbox_leave(h);
}

void isola_host_reachable(struct isola_host *h, int node)
{
    hurry(h, node);
}

void isola__outbox_moved(struct isola_host *h)
{
    hurry(h, -1);
}

void isola_host_outbox_begin(struct isola_host *h)
{
    struct isola_outbox *o = &h->outbox;
    pthread_mutex_lock(&o->lock);
    bool first = !o->open;
    o->open = true;
    isola__outbox_leave(h);
    if (first) {
        hurry(h, -1);
        isola__alarm_begin(h);
    }
}

size_t isola__outbox_waiting(struct isola_host *h)
{
    struct isola_outbox *o = &h->outbox;
    size_t n = 0;
    pthread_mutex_lock(&o->lock);
    ISOLA_MAP_EACH(&o->senders, s)
    {
        n += ((const struct isola__sender *)s->value)->count;
    }
    isola__outbox_leave(h);
    return n;
}

int isola__outbox_open(struct isola_host *h, struct isola_err *err)
{
    struct isola_outbox *o = &h->outbox;
    o->seed = isola_clock_ns() | 1;
    pthread_mutex_init(&o->lock, NULL);
    isola_cond_init(&o->wake);
    int rc = isola_thread_start(&o->thread, "isola-outbox", run, h);
    if (rc != 0)
        return isola_fail(err, ISOLA_EIO, "cannot start the thread of the outbox: %s",
                          strerror(rc));
    return 0;
}
