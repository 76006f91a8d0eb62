/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks of this host that a peer has: id on the wire → who waits. Each ends exactly once: answered,
 * failed with the link, or forgotten some time after its asker has timed out by itself.
 */
#include "base/check.h"
#include "base/clock.h"
#include "node-agent/actor-host/app.h"

/* Askers keep their own time; this only bounds what is remembered for them. */
#define GRACE_MS      5000
#define NO_TIMEOUT_MS (24u * 3600 * 1000)

/* An origin as bytes, without what lies between its fields. */
struct origin_key {
    uint64_t realm, link, id;
};

static struct origin_key key_of(struct isola_origin o)
{
    return (struct origin_key){(uint64_t)(uintptr_t)o.realm, o.link, o.id};
}

void asks_out_add(struct asks_out *asks, uint64_t id, struct isola_origin origin,
                  uint32_t timeout_ms)
{
    struct ask_out *a = isola_zalloc(sizeof(*a));
    a->id = id;
    a->origin = origin;
    isola_map_set(&asks->by_id, isola_slice(&a->id, sizeof(a->id)), a);
    struct origin_key key = key_of(origin);
    isola_map_set(&asks->by_origin, isola_slice(&key, sizeof(key)), a);
    uint64_t wait = timeout_ms != 0 ? (uint64_t)timeout_ms + GRACE_MS : NO_TIMEOUT_MS;
    isola_heap_insert(&asks->due, &a->due, isola_clock_ms() + wait);
}

bool asks_out_take(struct asks_out *asks, uint64_t id, struct isola_origin *out)
{
    struct ask_out *a = isola_map_del(&asks->by_id, isola_slice(&id, sizeof(id)));
    if (a == NULL)
        return false;
    struct origin_key key = key_of(a->origin);
    if (isola_map_get(&asks->by_origin, isola_slice(&key, sizeof(key))) == a)
        isola_map_del(&asks->by_origin, isola_slice(&key, sizeof(key)));
    isola_heap_remove(&asks->due, &a->due);
    *out = a->origin;
    free(a);
    return true;
}

uint64_t asks_out_cancel(struct asks_out *asks, struct isola_origin origin)
{
    struct origin_key key = key_of(origin);
    const struct ask_out *a = isola_map_get(&asks->by_origin, isola_slice(&key, sizeof(key)));
    uint64_t id = a != NULL ? a->id : 0;
    struct isola_origin whose;
    if (id != 0 && asks_out_take(asks, id, &whose) && whose.realm != NULL)
        isola_origin_drop(whose);
    return id;
}

static void fail_first(struct asks_out *asks, int code, const char *why, struct isola_mailq *out)
{
    struct ask_out *a = (struct ask_out *)(void *)isola_heap_min(&asks->due);
    struct isola_origin origin;
    if (asks_out_take(asks, a->id, &origin)) {
        struct isola_mail *m = isola_mail_failure(origin, code, "%s", why);
        if (m != NULL)
            isola_mailq_push(out, m);
    }
}

void asks_out_fail_all(struct asks_out *asks, int code, const char *why, struct isola_mailq *out)
{
    while (isola_heap_min(&asks->due) != NULL)
        fail_first(asks, code, why, out);
}

void asks_out_expire(struct asks_out *asks, uint64_t now, struct isola_mailq *out)
{
    struct isola_heap_node *node;
    while ((node = isola_heap_min(&asks->due)) != NULL && node->key <= now)
        fail_first(asks, ISOLA_ETIMEDOUT, "timed out", out);
}
