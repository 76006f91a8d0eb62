/* SPDX-License-Identifier: Apache-2.0
 *
 * What actors may use, and what becomes of those that use more (docs/limits.md).
 *
 * The isolate reports each entry into scripts: it is put under the watchdog's eyes, in the name of
 * the actor and, where that is known, against the CPU time its turn has left. When an entry was
 * ended, whatever ended it, that actor crashes with a sentence that names the limit.
 *
 * An isolate of one actor is then discarded. One that many share goes on after a limit of CPU time,
 * without the actors whose turns may have been cut off as well: V8 drops the promise continuations
 * that were still to run, and a turn that waits for nothing the host knows of waits for one of
 * those. With its heap exhausted it is discarded too, and all its actors start again from disk.
 */
#include "actors/limits.h"

#include <stdarg.h>
#include <stdio.h>

#include "actors/check.h"
#include "actors/host_own.h"
#include "actors/inspect.h"
#include "actors/storage.h"
#include "actors/turn.h"
#include "actors/watchdog.h"
#include "base/clock.h"

#define MS UINT64_C(1000000) /* ns */
/* A longer line counts as several. */
#define LOG_LINE 4096

/* New objects of many actors: most are dead after a turn, and the more room they have the more of
 * them are, when they are looked through. */
#define SHARED_YOUNG (24u << 20)

/* Messages an isolate is handed at once. */
#define BATCH_SHARED 256
#define BATCH_OWN    16

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

struct isola_v8_limits isola__limits_of(const struct isola_type *type)
{
    struct isola_v8_limits l = {.heap = type->def.limits.heap,
                                .external = type->def.limits.external,
                                .batch = type->def.shared ? BATCH_SHARED : BATCH_OWN,
                                .shared = type->def.shared};
    const struct isola_release_rt *release = type->release;
    for (size_t i = 0; type->def.shared && i < release->ntypes; i++) {
        const struct isola_host_type *other = &release->types[i].def;
        if (other->shared) {
            l.heap = larger(l.heap, other->limits.heap);
            l.external = larger(l.external, other->limits.external);
        }
    }
    if (type->def.shared && l.heap > 4 * (uint64_t)SHARED_YOUNG)
        l.young = SHARED_YOUNG;
    return l;
}

/* The CPU limit of what runs in nobody's name: the largest of the app's. */
static uint64_t cpu_of_all(const struct isola_realm *r)
{
    uint64_t ms = 0;
    for (size_t i = 0; i < r->release->ntypes; i++)
        ms = larger(ms, r->release->types[i].def.limits.cpu_ms);
    return ms;
}

/* --- entries --- */

/* The turn an entry belongs to: the one it is for, or else the only one there is. */
static struct isola_turn *turn_of(struct isola_actor *a, uint32_t turn)
{
    if (turn != 0)
        return isola__turn_find(a, turn);
    return a->nrunning == 1 ? a->running : NULL;
}

static struct isola_actor *only_one(const struct isola_realm *r)
{
    struct isola_actor *a = NULL;
    ISOLA_IDMAP_EACH(&r->actors, e)
    {
        a = e;
    }
    return a;
}

void isola__limits_enter(void *arg, uint32_t actor, uint32_t turn)
{
    struct isola_realm *r = arg;
    struct isola_actor *a = isola__realm_actor(r, actor);
    if (a == NULL && !r->shared) /* in the name of whoever it is for */
        a = only_one(r);
    struct isola_turn *t = a != NULL ? turn_of(a, turn) : NULL;
    r->entered = (struct isola_entered){.actor = a != NULL ? a->serial : actor,
                                        .turn = t != NULL ? t->id : 0};
    if (a != NULL)
        isola__watch_enter(r, a->address, a->type->def.limits.cpu_ms * MS,
                           t != NULL ? t->cpu_ns : 0);
    else
        isola__watch_enter(r, isola_slice_str(r->release->app), cpu_of_all(r) * MS, 0);
}

void isola__limits_run(void *arg)
{
    struct isola_realm *r = arg;
    r->entered = (struct isola_entered){.batch = true};
    isola__watch_run(r, cpu_of_all(r) * MS);
}

/* What the watchdog has charged the turns of a run. */
static void charge_batch(struct isola_batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        struct isola_batch_item *item = &b->items[i];
        struct isola_turn *t = item->turn;
        if (item->charged > 0 && !item->message && item->actor != NULL &&
            item->actor->nrunning == 1)
            t = item->actor->running;
        if (t != NULL)
            t->cpu_ns += item->charged;
        if (item->charged > 0 && item->actor != NULL)
            atomic_fetch_add_explicit(&item->actor->cpu_ns, item->charged, memory_order_relaxed);
        item->charged = 0;
    }
}

void isola__limits_leave(void *arg)
{
    struct isola_realm *r = arg;
    struct isola_watched w = isola__watch_leave();
    if (r->entered.batch && w.cpu_ns != 0)
        charge_batch(&r->batch);
    if (w.cpu_ns == 0 || r->entered.batch)
        return;
    struct isola_actor *a = isola__realm_actor(r, r->entered.actor);
    if (a != NULL)
        atomic_fetch_add_explicit(&a->cpu_ns, w.cpu_ns, memory_order_relaxed);
    if (r->entered.turn == 0)
        return;
    struct isola_turn *t = a != NULL ? isola__turn_find(a, r->entered.turn) : NULL;
    if (t != NULL)
        t->cpu_ns += w.cpu_ns;
}

/* --- what was ended --- */

static void note(struct isola_actor *a, const char *text)
{
    isola_buf_free(&a->crash);
    isola_buf_puts(&a->crash, text);
    a->hurt = true;
    isola__realm_touch(a->realm, a);
}

/* What it did, for a person: "it used more than 500 ms of CPU in one turn (limit "cpu")". */
static void describe(const struct isola_realm *r, const struct isola_actor *a,
                     enum isola_v8_end why, char *out, size_t size)
{
    switch (why) {
    case ISOLA_V8_HEAP:
        snprintf(out, size, "it used more than %.6g MB of heap (limit \"heap\")",
                 (double)r->limits.heap / (1 << 20));
        break;
    case ISOLA_V8_EXTERNAL:
        snprintf(out, size, "it used more than %.6g MB of array buffers (limit \"external\")",
                 (double)r->limits.external / (1 << 20));
        break;
    case ISOLA_V8_TERMINATED:
        snprintf(out, size, "it used more than %llu ms of CPU %s (limit \"cpu\")",
                 (unsigned long long)(a != NULL ? a->type->def.limits.cpu_ms : cpu_of_all(r)),
                 a == NULL || !a->begun ? "while it started" : "in one turn");
        break;
    }
}

/* Is it in the middle of something, without waiting for anything the host knows of? */
static bool cut_off(const struct isola_actor *a)
{
    const struct isola_turn *t = a->running;
    while (t != NULL && t->queued != 0) /* it has not begun */
        t = t->next;
    return (t != NULL || a->activating) && !a->turn_ended && a->nios == 0 && a->nasks == 0 &&
           a->ntimers == 0 && !isola__storage_waits(a);
}

/* The records that have run are not queued any more. */
static void begun(struct isola_realm *r)
{
    uint32_t ran = isola__batch_ran(&r->batch);
    for (uint32_t i = 0; r->entered.batch && i < ran && i < r->batch.count; i++)
        if (r->batch.items[i].turn != NULL)
            r->batch.items[i].turn->queued = 0;
}

bool isola__limits_ended(void *arg, uint32_t actor, enum isola_v8_end why)
{
    struct isola_realm *r = arg;
    struct isola_actor *guilty = isola__realm_actor(r, actor);
    if (actor == 0 && !r->shared && (guilty = only_one(r)) != NULL)
        actor = guilty->serial;
    char text[200], beside[800];
    begun(r);
    bool told = r->entered.over && guilty != NULL && guilty->crash.len > 0;
    if (told)
        snprintf(text, sizeof(text), "%.*s", ISOLA_FMT(isola_buf_slice(&guilty->crash)));
    else
        describe(r, guilty, why, text, sizeof(text));
    /* Whose activation has ended has nothing more to lose, and nobody else is to blame. */
    bool over = guilty == NULL && actor != 0;
    bool lives = r->shared && why == ISOLA_V8_TERMINATED && (guilty != NULL || over);
    snprintf(beside, sizeof(beside), "the isolate it shares was stopped, since %.*s crashed: %s",
             ISOLA_FMT(guilty != NULL ? guilty->address : isola_slice_str(r->release->app)), text);
    if (r->check != NULL)
        isola__check_ended(r, text);
    struct isola_buf said = {0};
    isola_buf_puts(&said, text);
    if (!told)
        isola_v8_where(r->v8, &said);
    if (guilty != NULL)
        note(guilty, isola_buf_cstr(&said));
    isola_buf_free(&said);
    ISOLA_IDMAP_EACH(&r->actors, e)
    {
        struct isola_actor *a = e;
        if (a == guilty)
            continue;
        /* The code of nobody: of the module they wait for. */
        bool starts = actor == 0 && atomic_load(&a->state) == ISOLA_ACTOR_STARTING;
        if (starts) {
            note(a, text);
        } else if (a->crash.len == 0 && (!lives || cut_off(a))) {
            a->bystander = true;
            note(a, beside);
        }
    }
    if (!lives)
        isola__worker_drop_shared(r); /* sets r->dead */
    return lives;
}

void isola__limits_exceeded(struct isola_actor *a, const char *fmt, ...)
{
    struct isola_realm *r = a->realm;
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (r->entered.over)
        return;
    r->entered.over = true;
    note(a, text);
    isola_v8_terminate(r->v8);
}

int isola__limits_send(struct isola_actor *a, int kind, size_t bytes, struct isola_err *err)
{
    const struct isola_host_limits *l = &a->type->def.limits;
    if (kind == ISOLA_MSG_ASK && l->asks > 0 && a->nasks >= l->asks)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "%u asks of this actor are under way (limit \"asks\")", l->asks);
    if (bytes > 0) /* else it does not wait here */
        a->effect_bytes += sizeof(struct isola_mail) + bytes;
    if (kind == ISOLA_MSG_SUB && l->subscriptions > 0 && a->nsubs >= l->subscriptions)
        isola__limits_exceeded(a, "it made more than %u subscriptions (limit \"subscriptions\")",
                               l->subscriptions);
    else if (l->output > 0 && a->effect_bytes > l->output)
        isola__limits_exceeded(a, "it sent more than %.6g MB in one go (limit \"output\")",
                               (double)l->output / (1 << 20));
    else
        return 0;
    return isola_fail(err, ISOLA_EOVERLOAD, "the actor has used more than it may");
}

bool isola__limits_log(struct isola_actor *a, size_t bytes)
{
    uint32_t rate = a->type->def.limits.log_rate;
    uint64_t second = isola_clock_ms() / 1000;
    uint32_t lines = 1 + (uint32_t)(bytes / LOG_LINE);
    if (rate == 0)
        return true;
    if (second != a->log_second) {
        uint32_t dropped = a->log_dropped;
        a->log_second = second;
        a->log_count = a->log_dropped = 0;
        if (dropped > 0)
            isola__host_logf(a->host, ISOLA_LOG_WARN, a->address,
                             "%u lines were dropped (limit \"logRate\")", dropped);
    }
    /* The first line of a second is let through, however long. */
    if (a->log_count > 0 && a->log_count + lines > rate) {
        if (a->log_dropped++ == 0)
            isola__host_logf(a->host, ISOLA_LOG_WARN, a->address,
                             "it logs more than %u lines a second: the rest is dropped (limit "
                             "\"logRate\")",
                             rate);
        return false;
    }
    a->log_count += lines;
    return true;
}

void isola__limits_bury(struct isola_realm *r)
{
    struct isola_v8 *v8 = r->v8;
    if (!r->dead || v8 == NULL)
        return;
    isola__inspect_close(r);
    isola__refs_free(&r->refs_of);
    pthread_mutex_lock(&r->lock);
    r->v8 = NULL;
    pthread_mutex_unlock(&r->lock);
    isola_v8_close(v8);
    atomic_store(&r->heap_used, 0);
}
