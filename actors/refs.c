/* SPDX-License-Identifier: Apache-2.0
 *
 * What a realm's scripts send to, by numbers: so that an address is looked at once, and not with
 * each message. When there are too many all numbers are given out anew.
 */
#include "actors/refs.h"

#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/pace.h"
#include "base/hash.h"

#define MAX_SHARED 65536
#define MAX_OWN    4096
/* Looked at in one sweep. */
#define SWEEP 256

static atomic_ullong last_id;

static void grow(struct isola_refs *t)
{
    uint32_t size = t->size == 0 ? 4 : t->size * 2;
    t->all = isola_realloc(t->all, size * sizeof(*t->all));
    t->receivers = isola_realloc(t->receivers, size * sizeof(*t->receivers));
    t->heads = isola_realloc(t->heads, size * sizeof(*t->heads));
    t->size = size;
    memset(t->heads, 0, size * sizeof(*t->heads));
    for (uint32_t n = 1; n <= t->count; n++) {
        struct isola_ref *ref = &t->all[n - 1];
        ref->next = t->heads[ref->hash & (size - 1)];
        t->heads[ref->hash & (size - 1)] = n;
    }
}

void isola__refs_free(struct isola_refs *t)
{
    for (uint32_t n = 0; n < t->count; n++) {
        free(t->all[n].text);
        if (t->receivers[n].actor != NULL)
            isola__actor_unref(t->receivers[n].actor);
    }
    free(t->all);
    free(t->receivers);
    free(t->heads);
    t->all = NULL;
    t->receivers = NULL;
    t->heads = NULL;
    t->count = t->size = t->swept = 0;
    t->id = 0;
}

void isola__refs_sweep(struct isola_refs *t)
{
    for (uint32_t n = 0; n < SWEEP && n < t->count; n++) {
        struct isola_actor **at = &t->receivers[t->swept++ % t->count].actor;
        if (*at != NULL && atomic_load(&(*at)->state) == ISOLA_ACTOR_GONE) {
            isola__actor_unref(*at);
            *at = NULL;
        }
    }
}

uint32_t isola__refs_number(struct isola_realm *r, struct isola_slice address)
{
    struct isola_refs *t = &r->refs_of;
    uint64_t hash = isola_hash_table(address.data, address.len);
    uint32_t n = t->size == 0 ? 0 : t->heads[hash & (t->size - 1)];
    while (n != 0 && !(t->all[n - 1].hash == hash &&
                       isola_slice_eq(isola__ref_address(&t->all[n - 1]), address)))
        n = t->all[n - 1].next;
    if (n != 0)
        return n;
    if (t->count >= (r->shared ? MAX_SHARED : MAX_OWN)) {
        isola__refs_free(t);
        t->epoch++;
    }
    if (t->id == 0)
        t->id = atomic_fetch_add(&last_id, 1) + 1;
    if (t->count == t->size)
        grow(t);
    struct isola_ref *ref = &t->all[t->count++];
    ref->hash = hash;
    t->receivers[t->count - 1] = (struct isola_receiver){0};
    ref->text = isola_strndup((const char *)address.data, address.len);
    ref->len = (uint32_t)address.len;
    ref->next = t->heads[hash & (t->size - 1)];
    t->heads[hash & (t->size - 1)] = t->count;
    return t->count;
}

/* An emit goes to another node: each so-manieth tells when it has come. */
static void count_away(struct isola_receiver *to, struct isola_mail *mail)
{
    if (mail->kind != ISOLA_MSG_EMIT)
        return;
    to->away += 1 + (uint32_t)(mail->args.len >> ISOLA_PACE_BYTES);
    mail->timeout_ms = to->away >= ISOLA_PACE_EACH;
    if (mail->timeout_ms != 0)
        to->away = 0;
}

int isola__ref_node(struct isola_realm *r, uint32_t number)
{
    const struct isola_host *h = r->host;
    struct isola_receiver *to = &r->refs_of.receivers[number - 1];
    if (to->actor != NULL)
        return 0;
    unsigned moves = atomic_load_explicit(&h->moves, memory_order_acquire);
    if (to->node <= 0 || to->seen != moves) {
        to->node = h->ops->locate(h->arg, isola__ref_address(&r->refs_of.all[number - 1]));
        to->seen = moves;
    }
    return to->node;
}

void isola__ref_send_away(struct isola_realm *r, uint32_t number, int node, struct isola_mail *mail)
{
    struct isola_host *h = r->host;
    count_away(&r->refs_of.receivers[number - 1], mail);
    if (mail->kind == ISOLA_MSG_EMIT && mail->timeout_ms != 0)
        isola__pace_ask(h, mail->dst);
    if (h->ops->send != NULL && h->ops->send(h->arg, node, mail))
        return;
    struct isola_mail *m = isola_mail_copy(mail, mail->dst);
    if (m == NULL) {
        if (mail->kind == ISOLA_MSG_ASK)
            isola__gate_fail(h, mail, ISOLA_ENOMEM, "no memory for a message");
        return;
    }
    h->ops->forward(h->arg, node, m);
}

void isola__ref_send(struct isola_realm *r, uint32_t number, struct isola_mail *mail)
{
    struct isola_host *h = r->host;
    const struct isola_ref *ref = &r->refs_of.all[number - 1];
    struct isola_receiver *to = &r->refs_of.receivers[number - 1];
    if (to->actor == NULL)
        to->actor = isola__directory_actor(h, isola__ref_address(ref), ref->hash);
    int e = ISOLA_ECLOSED;
    if (to->actor != NULL) {
        to->realm = atomic_load_explicit(&to->actor->realm, memory_order_relaxed);
        e = isola__directory_hand(to->actor, mail, r);
    }
    if (e == 0)
        return;
    if (e == ISOLA_ECLOSED && to->actor != NULL) {
        isola__actor_unref(to->actor);
        to->actor = NULL;
    }
    mail = isola_mail_readdress(mail, isola__ref_address(ref));
    if (mail == NULL)
        return;
    if (to->actor == NULL && h->ops->locate(h->arg, mail->dst) > 0)
        count_away(to, mail);
    isola_host_post(h, mail);
}
