/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/host.h"

#include <stdio.h>

#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/pace.h"
#include "actors/permit.h"
#include "actors/prepared.h"
#include "actors/quarantine.h"
#include "actors/subs.h"
#include "actors/watchdog.h"

int isola_host_start(const struct isola_host_ops *ops, void *arg, unsigned threads,
                     struct isola_host **out, struct isola_err *err)
{
    struct isola_host *h = isola_zalloc(sizeof(*h));
    h->ops = ops;
    h->arg = arg;
    h->nworkers = threads > 0 ? threads : 1;
    h->graces = isola__graces();
    pthread_rwlock_init(&h->apps_lock, NULL);
    pthread_rwlock_init(&h->subs_lock, NULL);
    pthread_mutex_init(&h->shared_lock, NULL);
    pthread_mutex_init(&h->pace.lock, NULL);
    pthread_mutex_init(&h->quarantine_lock, NULL);
    pthread_mutex_init(&h->letters.lock, NULL);
    pthread_mutex_init(&h->orphans, NULL);
    pthread_mutex_init(&h->durables.lock, NULL);
    pthread_mutex_init(&h->spares.lock, NULL);
    for (int i = 0; i < ISOLA_DIRECTORY_SHARDS; i++)
        pthread_mutex_init(&h->directory[i].lock, NULL);
    int watched = isola__watchdog_start(h, h->nworkers, err);
    if (watched == 0)
        watched = isola__outbox_open(h, err);
    if (watched == 0)
        watched = isola__alarm_open(h, err);
    if (watched != 0)
        return watched;
    h->workers = isola_zalloc(h->nworkers * sizeof(*h->workers));
    for (unsigned i = 0; i < h->nworkers; i++) {
        int r = isola__worker_start(&h->workers[i], h, i, err);
        if (r != 0)
            return r; /* the process ends with it */
    }
    *out = h;
    return 0;
}

void isola__host_busy(struct isola_host *h)
{
    atomic_fetch_add(&h->busy, 1);
}

static void drained_if_quiet(struct isola_host *h)
{
    if (atomic_load(&h->draining) && atomic_load(&h->busy) == 0 &&
        !atomic_exchange(&h->drained, true))
        h->ops->drained(h->arg);
}

void isola__host_unbusy(struct isola_host *h)
{
    if (atomic_fetch_sub(&h->busy, 1) == 1)
        drained_if_quiet(h);
}

void isola__host_logf(struct isola_host *h, enum isola_log_level level, struct isola_slice address,
                      const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n >= 0)
        h->ops->log(h->arg, level, address, isola_slice(text, (size_t)n));
    free(text);
}

struct whom {
    const char *app; /* NULL: of any */
    const struct isola_app
        *has;                   /* of which only those that are to be of another release; or NULL */
    bool moved;                 /* only those that live elsewhere now */
    struct isola_origin answer; /* link not 0: who hears that it has ended */
    uint64_t link; /* not 0: only those that have work, which may be for this connection */
};

/* Is it of the release that it is to be of? */
static bool stays(const struct isola_actor *a, const struct isola_app *app)
{
    const struct isola_type *type = isola__app_type(app, &a->at);
    return type != NULL && type->release == a->type->release;
}

static bool meant(struct isola_host *h, const struct isola_actor *a, const struct whom *whom)
{
    return (whom->app == NULL || isola_slice_is(a->at.app, whom->app)) &&
           (whom->has == NULL || !stays(a, whom->has)) &&
           (whom->link == 0 || atomic_load(&a->mailbox) > 0 ||
            atomic_load(&a->state) == ISOLA_ACTOR_RUNNING) &&
           (!whom->moved || h->ops->locate(h->arg, a->address) != 0);
}

void isola_host_set_memory(struct isola_host *h, uint64_t bytes)
{
    atomic_store(&h->memory.budget, bytes);
}

/* How many there were. */
static size_t tell(struct isola_host *h, int kind, struct whom whom)
{
    struct isola_slice none = {0};
    size_t n = 0;
    for (int i = 0; i < ISOLA_DIRECTORY_SHARDS; i++) {
        struct isola_directory_shard *shard = &h->directory[i];
        struct isola_mailq out = {0};
        pthread_mutex_lock(&shard->lock);
        ISOLA_SHARD_EACH(shard, a)
        {
            if (meant(h, a, &whom)) {
                struct isola_mail *m = isola_mail_new(kind, none, a->address, none, none, none);
                if (m != NULL) {
                    if (whom.answer.link != 0)
                        m->origin = whom.answer;
                    else
                        m->origin.link = whom.link;
                    n++;
                    isola_mailq_push(&out, m);
                    if (kind == ISOLA_MAIL_DRAIN)
                        isola__host_busy(h); /* until it has been seen */
                }
            }
        }
        pthread_mutex_unlock(&shard->lock);
        struct isola_mail *m;
        while ((m = isola_mailq_pop(&out)) != NULL)
            isola__directory_post(h, m);
    }
    return n;
}

void isola__host_cancel_link(struct isola_host *h, uint64_t link)
{
    (void)tell(h, ISOLA_MSG_CANCEL, (struct whom){.link = link});
}

void isola_host_drain(struct isola_host *h)
{
    isola__host_busy(h);
    atomic_store(&h->draining, true);
    isola_host_set_spares(h, 0);
    (void)tell(h, ISOLA_MAIL_DRAIN, (struct whom){0});
    isola__host_unbusy(h);
}

static bool is_same(const struct isola_release_rt *r, const struct isola_host_release *def)
{
    return r != NULL && strcmp(r->id, def->id) == 0 && isola_slice_eq(r->secrets, def->secrets);
}

/* That of this id with these secrets, which the app has already, or a new one; with a reference. */
static struct isola_release_rt *same_or_new(const struct isola_app *app,
                                            const struct isola_host_release *def)
{
    struct isola_release_rt *has[] = {app->current, app->candidate};
    if (def == NULL)
        return NULL;
    for (size_t i = 0; i < 2; i++)
        if (is_same(has[i], def))
            return isola__release_ref(has[i]);
    return isola__release_new(def);
}

void isola_host_set_releases(struct isola_host *h, const struct isola_host_release *def,
                             const struct isola_host_release *candidate, uint32_t share)
{
    struct isola_slice name = isola_slice_str(def->app);
    pthread_rwlock_wrlock(&h->apps_lock);
    struct isola_app *app = isola_map_get(&h->apps, name), now = {.share = share}, old = {0};
    if (app == NULL) {
        app = isola_zalloc(sizeof(*app));
        isola_map_set(&h->apps, name, app);
    }
    old = *app;
    now.current = same_or_new(&old, def);
    now.candidate = same_or_new(&old, candidate);
    bool same = now.current == old.current && now.candidate == old.candidate && share == old.share;
    *app = now;
    if (same) {
        app->since = old.since;
        app->beside = old.beside;
        app->before = old.before;
    } else { /* that it has other secrets now makes it no other release */
        bool renewed = old.current != NULL && strcmp(old.current->id, def->id) == 0;
        isola__tally_begin(app, &old, def->unproven || renewed);
    }
    pthread_rwlock_unlock(&h->apps_lock);
    struct isola_release_rt *had[] = {old.current, old.candidate};
    if (!same)
        isola__alarm_changed(h);
    for (size_t i = 0; i < 2; i++)
        if (had[i] != NULL && had[i] != now.current && had[i] != now.candidate)
            isola__spare_drop(h, had[i]);
    if (!same && old.current != NULL) /* of `now` none goes: releases are set one after the other */
        (void)tell(h, ISOLA_MAIL_UPGRADE, (struct whom){.app = def->app, .has = &now});
    for (size_t i = 0; i < 2; i++) {
        if (had[i] == NULL)
            continue;
        if (had[i] != now.current && had[i] != now.candidate)
            for (unsigned k = 0; k < h->nworkers; k++)
                isola__worker_sweep_shared(&h->workers[k], had[i]);
        isola__release_unref(had[i]);
    }
}

void isola_host_set_release(struct isola_host *h, const struct isola_host_release *def)
{
    isola_host_set_releases(h, def, NULL, 0);
}

size_t isola_host_remove_app(struct isola_host *h, struct isola_slice app,
                             struct isola_origin origin)
{
    pthread_rwlock_wrlock(&h->apps_lock);
    struct isola_app *old = isola_map_del(&h->apps, app);
    pthread_rwlock_unlock(&h->apps_lock);
    struct isola_release_rt *had[] = {old != NULL ? old->current : NULL,
                                      old != NULL ? old->candidate : NULL};
    char *name = isola_strndup((const char *)app.data, app.len);
    for (size_t i = 0; i < 2; i++)
        if (had[i] != NULL)
            isola__spare_drop(h, had[i]);
    size_t n = tell(h, ISOLA_MAIL_UPGRADE, (struct whom){.app = name, .answer = origin});
    free(name);
    for (size_t i = 0; i < 2; i++) {
        for (unsigned k = 0; had[i] != NULL && k < h->nworkers; k++)
            isola__worker_sweep_shared(&h->workers[k], had[i]);
        if (had[i] != NULL)
            isola__release_unref(had[i]);
    }
    free(old);
    return n;
}

void isola_host_moved(struct isola_host *h)
{
    atomic_fetch_add(&h->moves, 1);
    (void)tell(h, ISOLA_MAIL_UPGRADE, (struct whom){.moved = true});
    isola__subs_moved(h);
    isola__outbox_moved(h);
    isola__alarm_changed(h);
}

void isola_host_stop(struct isola_host *h, struct isola_mail *mail)
{
    isola__directory_post(h, mail);
}

/* Wherever the actor lives: the subscription may be on its way, see subs.c. */
static void unsubscribe(struct isola_host *h, int node, struct isola_mail *mail)
{
    if (!isola__subs_remove(h, mail) && !mail->passed_on && node >= 0)
        h->ops->forward(h->arg, node, mail);
    else
        isola_mail_free(mail);
}

/* May it go to a third node? Who sent it saw its receiver here, we see it there: nodes learn at
 * different times who has come and gone. Once, as it could go in circles. */
static bool pass_on(struct isola_mail *mail)
{
    bool may = !mail->final && !isola__stream_is(mail) &&
               (mail->kind == ISOLA_MSG_ASK || mail->kind == ISOLA_MSG_EMIT ||
                mail->kind == ISOLA_MSG_CANCEL);
    mail->final = true;
    return may;
}

void isola_host_post(struct isola_host *h, struct isola_mail *mail)
{
    struct isola_err err;
    if (mail->durable) {
        isola__durable_post(h, mail);
        return;
    }
    int node = mail->kind == ISOLA_MSG_EVENT ? 0 : h->ops->locate(h->arg, mail->dst);
    if (node > 0 && mail->passed_on)
        node = pass_on(mail) ? node : ISOLA_EUNREACHABLE;
    if (mail->kind == ISOLA_MSG_UNSUB) {
        unsubscribe(h, node, mail);
    } else if (node <= 0 && mail->passed_on && isola__permit_from(h, mail, &err) != 0) {
        isola__directory_refuse(h, mail, err.code, err.text);
    } else if (node > 0) {
        if (mail->kind == ISOLA_MSG_EMIT && mail->timeout_ms != 0)
            isola__pace_ask(h, mail->dst);
        h->ops->forward(h->arg, node, mail);
    } else if (node < 0 &&
               isola_host_stream_refused(h, mail, node, "no node can be reached for it")) {
        isola_mail_free(mail);
    } else if (node < 0) {
        isola_host_dead_letter(h, mail, node, isola_slice_str("no node can be reached for it"));
        if (isola_msg_is_ask(mail->kind))
            isola__gate_release(h, isola_mail_failure(isola_mail_take_origin(mail), node,
                                                      "no node can be reached for %.*s",
                                                      ISOLA_FMT(mail->dst)));
        isola_mail_free(mail);
    } else if (mail->kind == ISOLA_MSG_SUB) {
        isola__subs_add(h, mail);
    } else {
        isola__directory_post(h, mail);
    }
}

void isola_host_refuse(struct isola_host *h, struct isola_mail *mail, int code, const char *why)
{
    isola__directory_refuse(h, mail, code, why);
}

int isola_host_permits(struct isola_host *h, const struct isola_mail *mail, struct isola_err *err)
{
    return isola__permit_from(h, mail, err);
}

void isola_host_answer(struct isola_host *h, struct isola_mail *mail)
{
    if (mail->kind == ISOLA_MSG_EVENT)
        isola__directory_post(h, mail);
    else
        isola__gate_release(h, mail);
}

static const char *state_of(const struct isola_actor *a)
{
    static const char *const states[] = {"starting", "idle", "running", "failed", "gone"};
    int state = atomic_load(&a->state);
    if (state == ISOLA_ACTOR_STARTING && atomic_load(&a->mailbox) == 0 &&
        atomic_load(&a->turns) > 0)
        return "crashed"; /* there because its crashes count: no message starts it */
    return states[state];
}

size_t isola_host_each(struct isola_host *h, struct isola_slice app, size_t limit,
                       void (*each)(const struct isola_host_info *info, void *arg), void *arg)
{
    size_t n = 0;
    for (int i = 0; i < ISOLA_DIRECTORY_SHARDS; i++) {
        struct isola_directory_shard *shard = &h->directory[i];
        pthread_mutex_lock(&shard->lock);
        if (app.len == 0 && n >= limit) {
            n += shard->count;
            pthread_mutex_unlock(&shard->lock);
            continue;
        }
        ISOLA_SHARD_EACH(shard, a)
        {
            if ((app.len > 0 && !isola_slice_eq(app, a->at.app)) || n++ >= limit)
                continue;
            char why[ISOLA_WHY_SIZE];
            struct isola_host_info info = {
                .address = a->address,
                .isolation = a->type->def.shared ? "shared" : "isolate",
                .state = state_of(a),
                .release = a->type->release->id,
                .start = isola__prepared_start(a, why),
                .why = why,
                .thread = atomic_load(&a->realm->worker)->number,
                .mailbox = atomic_load(&a->mailbox),
                .turns = atomic_load(&a->turns),
                .heap = atomic_load(&a->realm->heap_used),
                .cpu_ns = atomic_load(&a->cpu_ns),
            };
            info.timers = isola__schedule_told(a, &info.next_timer);
            if (atomic_load(&a->state) == ISOLA_ACTOR_FAILED)
                info.failure = isola_buf_slice(&a->failure);
            each(&info, arg);
        }
        pthread_mutex_unlock(&shard->lock);
    }
    n += isola__quarantine_each(h, app, each, arg);
    return n;
}
