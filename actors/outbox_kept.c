/* SPDX-License-Identifier: Apache-2.0
 *
 * Durable messages in the store: as rows; what was sent by those before us; and what goes with the
 * state of its sender.
 */
#include "actors/outbox.h"

#include "base/clock.h"
#include "base/msgpack.h"

static void drop_all(struct isola_mailq *q)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(q)) != NULL)
        isola_mail_free(m);
}

struct isola_slice isola__outbox_value(struct isola_buf *out, const struct isola_mail *m)
{
    out->len = 0;
    isola_mp_array(out, m->traced ? 4 : 3);
    isola_mp_uint(out, m->kind);
    isola_mp_str(out, m->event);
    isola_buf_append(out, m->args.data, m->args.len);
    if (m->traced)
        isola_mp_bin(out, isola_mail_trace(m));
    return isola_buf_slice(out);
}

/* The trace context in a row, or empty. */
static struct isola_slice trace_in(struct isola_slice value)
{
    struct isola_slice field;
    struct isola_mp_item item = {0};
    if (!isola_mp_at(value, 3, &field))
        return (struct isola_slice){0};
    struct isola_mp_reader r = isola_mp_reader(field);
    bool is = isola_mp_next(&r, &item) == 0 && item.type == ISOLA_MP_BIN;
    return is && isola_is_trace(item.bytes) ? item.bytes : (struct isola_slice){0};
}

/* NULL: it is none. */
static struct isola_mail *from_row(struct isola_slice sender, const struct isola_kept *row)
{
    struct isola_mp_reader r = isola_mp_reader(row->value);
    struct isola_mp_item kind, event;
    struct isola_slice args, none = {0};
    if (!isola_mp_at(row->value, 2, &args) || isola_mp_next(&r, &kind) != 0 ||
        isola_mp_next(&r, &kind) != 0 || kind.type != ISOLA_MP_UINT ||
        (kind.u != ISOLA_MSG_ASK && kind.u != ISOLA_MSG_EMIT) || isola_mp_next(&r, &event) != 0 ||
        event.type != ISOLA_MP_STR)
        return NULL;
    struct isola_mail *m = isola_mail_new_in(trace_in(row->value), (int)kind.u, sender, row->peer,
                                             event.bytes, none, args);
    if (m != NULL) {
        m->durable = true;
        m->seq = row->seq;
    }
    return m;
}

static void load_row(struct isola_host *h, struct isola_slice sender, const struct isola_kept *row)
{
    struct isola_outbox *o = &h->outbox;
    struct isola_mail *m = from_row(sender, row);
    if (m == NULL) {
        isola__host_logf(h, ISOLA_LOG_ERROR, sender,
                         "its durable message %llu to %.*s cannot be read, and is left out",
                         (unsigned long long)row->seq, ISOLA_FMT(row->peer));
        return;
    }
    struct isola__sender *s = isola__sender_get(o, sender);
    isola__outbox_account(o, s, true, isola__outbox_cost(m));
    struct isola__pair *p = isola__pair_get(h, s, row->peer);
    if (p->queue.count == 0)
        p->acked = p->cleaned = row->seq - 1; /* those before have no rows */
    isola__pair_put(p, m);
    p->again_at = isola_clock_ms(); /* by the outbox' thread */
    p->fresh = true;
    isola__pair_arm(p);
}

/* Are its messages in the outbox? */
static bool is_known(const struct isola__sender *s)
{
    return s != NULL && (s->count > 0 ||
                         s->pairs.count > (isola_map_get(&s->pairs, isola_slice("", 0)) != NULL));
}

void isola__outbox_wake(struct isola_host *h, struct isola_slice address)
{
    struct isola__sender *s = isola__sender_get(&h->outbox, address);
    struct isola__pair *p = isola__pair_get(h, s, isola_slice("", 0));
    if (p->again_at != 0)
        return;
    p->again_at = isola_clock_ms();
    isola__pair_arm(p);
}

void isola_host_outbox_wake(struct isola_host *h, struct isola_slice address)
{
    pthread_mutex_lock(&h->outbox.lock);
    isola__outbox_wake(h, address);
    isola__outbox_leave(h);
}

void isola_host_outbox_load(struct isola_host *h, struct isola_slice address,
                            const struct isola_kept *rows, size_t n)
{
    struct isola_outbox *o = &h->outbox;
    pthread_mutex_lock(&o->lock);
    if (!is_known(isola__sender_find(o, address)))
        for (size_t i = 0; i < n; i++)
            if (rows[i].part == ISOLA_KEPT_OUTBOX && rows[i].seq > 0)
                load_row(h, address, &rows[i]);
    isola__outbox_leave(h);
}

void isola_host_outbox_drop(struct isola_host *h, struct isola_slice address)
{
    struct isola_outbox *o = &h->outbox;
    struct isola_mailq all = {0};
    pthread_mutex_lock(&o->lock);
    struct isola__sender *s = isola_map_del(&o->senders, address);
    bool more = s != NULL && s->count > 0;
    if (s != NULL) {
        ISOLA_MAP_EACH(&s->pairs, e)
        {
            struct isola__pair *p = e->value;
            isola_mailq_join(&all, &p->queue);
            p->next = NULL;
            p->flying = 0;
            isola_heap_remove(&o->due, &p->due);
            p->sender = NULL;
            isola__pair_leave(p);
        }
        o->bytes -= s->bytes;
        isola_mailq_join(&o->woken, &s->waiters);
        isola_map_free(&s->pairs);
        free(s->text);
        free(s);
    }
    if (more) /* should who takes it die, nobody else would think of its messages */
        isola__outbox_wake(h, address);
    isola__outbox_leave(h);
    drop_all(&all);
}
