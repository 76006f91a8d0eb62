/* SPDX-License-Identifier: Apache-2.0
 *
 * What is handed to an isolate together: the messages of a visit, each to another actor or to a
 * reentrant one, and answers. One call of JavaScript runs them all, in their order; the microtasks
 * run after each that may have left some. How many they are at the most follows from how long the
 * last ones took, so that a visit ends in time.
 */
#include "actors/batch.h"

#include "actors/actor.h"
#include "actors/turn.h"
#include "actors/watchdog.h"
#include "actors/worker.h"
#include "base/clock.h"
#include "base/msgpack.h"

/* What a run is to take at most, and one record is thought to take at first, ns. */
#define RUN_NS   1000000
#define FIRST_NS 20000

static struct isola_batch_item *add(struct isola_realm *r, struct isola_actor *a)
{
    struct isola_batch *b = &r->batch;
    if (b->items == NULL) {
        b->pace = FIRST_NS;
        b->items = isola_zalloc(r->limits.batch * sizeof(*b->items));
    }
    uint64_t most = RUN_NS / b->pace;
    if (b->count == r->limits.batch || (b->count > 0 && b->count >= most))
        (void)isola__batch_run(r);
    struct isola_batch_item *item = &b->items[b->count++];
    item->actor = a;
    item->turn = NULL;
    item->message = false;
    item->charged = 0;
    item->used = a != NULL && a->nrunning == 1 ? a->running->cpu_ns : 0;
    return item;
}

static struct isola_block *block_of(struct isola_mail *m)
{
    return m->args.len >= ISOLA_VALUES_LARGE ? isola_mail_share(m) : NULL;
}

void isola__batch_turn(struct isola_actor *a, struct isola_turn *t)
{
    struct isola_realm *r = a->realm;
    struct isola_mail *m = t->mail;
    struct isola_batch_item *item = add(r, a);
    item->turn = t;
    item->message = true;
    item->used = t->cpu_ns;
    t->queued = r->batch.count;
    isola_js_deliver(r->js, a->serial, t->id, m->kind == ISOLA_MSG_ASK, m->event, m->args,
                     block_of(m));
}

struct isola_actor *isola__batch_actor(struct isola_realm *r, uint32_t serial)
{
    struct isola_batch *b = &r->batch;
    for (uint32_t i = b->near; i < b->count && i < b->near + 2; i++) {
        struct isola_actor *a = b->items[i].actor;
        if (a != NULL && a->serial == serial) {
            b->near = i;
            return a;
        }
    }
    return isola__realm_actor(r, serial);
}

void isola__batch_answer(struct isola_realm *r, struct isola_actor *a, uint32_t serial,
                         struct isola_mail *m)
{
    add(r, a);
    if (isola_js_settle(r->js, serial, m->origin.id, m->kind == ISOLA_MSG_REPLY, m->args,
                        block_of(m)))
        isola_mailq_push(&r->batch.lent, m);
    else
        isola_mail_free(m);
}

void isola__batch_forget(struct isola_realm *r, struct isola_turn *t)
{
    r->batch.items[t->queued - 1].turn = NULL;
    if (!r->batch.runs && r->js != NULL) /* else it has begun */
        isola_js_forget(r->js, t->queued - 1);
    t->queued = 0;
}

void isola__batch_finished(struct isola_realm *r, uint32_t record, struct isola_slice args,
                           void **memory)
{
    struct isola_batch_item *item = &r->batch.items[record];
    if (item->turn != NULL && item->actor != NULL)
        isola__turn_finished(item->actor, item->turn, true, args, memory);
}

void isola__batch_leaves(struct isola_actor *a)
{
    struct isola_batch *b = &a->realm->batch;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->items[i].actor == a)
            b->items[i].actor = NULL;
}

uint32_t isola__batch_ran(const struct isola_batch *b)
{
    return b->at == NULL ? 0 : (uint32_t)atomic_load_explicit(b->at, memory_order_relaxed) + 1;
}

bool isola__batch_run(struct isola_realm *r)
{
    struct isola_batch *b = &r->batch;
    struct isola_mail *m;
    if (b->count == 0) /* asks that could not be sent, perhaps */
        return isola_js_run(r->js);
    uint64_t began = isola_clock_ns();
    b->runs = true;
    (void)isola_js_run(r->js);
    b->runs = false;
    uint64_t now = isola_clock_ns(), pace = (now - began) / b->count + 1;
    if (now > r->until) /* there has been enough in this visit */
        r->budget = 0;
    b->pace = pace > b->pace ? pace : (7 * b->pace + pace) / 8;
    for (uint32_t i = 0; i < b->count; i++) {
        struct isola_batch_item *item = &b->items[i];
        if (item->turn != NULL)
            item->turn->queued = 0;
        else if (item->actor != NULL && !item->message)
            isola__realm_ran(r, item->actor);
    }
    isola__worker_between(b->count);
    b->count = b->near = 0;
    while ((m = isola_mailq_pop(&b->lent)) != NULL)
        isola_mail_free(m);
    return true;
}
