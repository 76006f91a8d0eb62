/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/actor-host/waiting.h"

#include "base/check.h"

struct waiter {
    struct waiter *next, **at;
    struct isola_mail *mail;
};

/* An origin as bytes, without what lies between its fields. */
struct origin_key {
    uint64_t realm, link, id;
};

static struct origin_key key_of(struct isola_origin o)
{
    return (struct origin_key){(uint64_t)(uintptr_t)o.realm, o.link, o.id};
}

static bool can_be_cancelled(const struct isola_mail *m)
{
    return m->kind == ISOLA_MSG_ASK && !m->durable;
}

void waiting_put(struct waiting *w, struct isola_mail *mail)
{
    struct waiter *e = isola_alloc(sizeof(*e));
    if (w->end == NULL)
        w->end = &w->first;
    *e = (struct waiter){.at = w->end, .mail = mail};
    *w->end = e;
    w->end = &e->next;
    w->count++;
    w->bytes += mail->args.len;
    if (can_be_cancelled(mail)) {
        struct origin_key key = key_of(mail->origin);
        isola_map_set(&w->asks, isola_slice(&key, sizeof(key)), e);
    }
}

static struct isola_mail *take_out(struct waiting *w, struct waiter *e)
{
    struct isola_mail *mail = e->mail;
    *e->at = e->next;
    if (e->next != NULL)
        e->next->at = e->at;
    else
        w->end = e->at;
    w->count--;
    w->bytes -= mail->args.len;
    struct origin_key key = key_of(mail->origin);
    struct isola_slice of = isola_slice(&key, sizeof(key));
    if (can_be_cancelled(mail) && isola_map_get(&w->asks, of) == e)
        isola_map_del(&w->asks, of);
    if (w->count == 0)
        isola_map_free(&w->asks);
    free(e);
    return mail;
}

struct isola_mail *waiting_take(struct waiting *w)
{
    return w->first != NULL ? take_out(w, w->first) : NULL;
}

struct isola_mail *waiting_cancel(struct waiting *w, struct isola_origin origin)
{
    struct origin_key key = key_of(origin);
    struct waiter *e = isola_map_get(&w->asks, isola_slice(&key, sizeof(key)));
    return e != NULL ? take_out(w, e) : NULL;
}
