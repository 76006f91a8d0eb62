/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of an actor: activation, its mailbox, failure, and the end of an activation.
 *
 *   starting → idle ⇄ running → gone            the ordinary life; gone when an activation ends and
 * nothing waits starting → failed → starting                its module or its start failed; tried
 * again with the next message, after a pause running  → starting                         it
 * crashed, or a newer release is there, and messages wait
 *
 * An activation starts from what is on disk. A crash drops what the turns that ran have changed and
 * caused.
 */
#include "actors/actor.h"

#include <stdio.h>
#include <string.h>

#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/io.h"
#include "actors/limits.h"
#include "actors/pace.h"
#include "actors/pending.h"
#include "actors/sql.h"
#include "actors/stack.h"
#include "actors/storage.h"
#include "actors/turn.h"
#include "actors/upgrade.h"
#include "base/clock.h"
#include "base/msgpack.h"

/* Pause after a start that failed, at the least, ms: to find out, an isolate must be made. */
#define RETRY_LEAST 100

static void set_state(struct isola_actor *a, enum isola_actor_state s)
{
    atomic_store(&a->state, (int)s);
}

static bool chain_has(struct isola_slice chain, struct isola_slice address)
{
    struct isola_slice item;
    for (size_t i = 0; isola_mp_at(chain, i, &item); i++) {
        struct isola_mp_reader r = isola_mp_reader(item);
        struct isola_mp_item s;
        if (isola_mp_next(&r, &s) == 0 && s.type == ISOLA_MP_STR &&
            isola_slice_eq(s.bytes, address))
            return true;
    }
    return false;
}

/* "a → b → a", for a person. */
static void chain_text(struct isola_slice chain, struct isola_slice last, struct isola_buf *out)
{
    struct isola_slice item;
    for (size_t i = 0; isola_mp_at(chain, i, &item); i++) {
        struct isola_mp_reader r = isola_mp_reader(item);
        struct isola_mp_item s;
        if (isola_mp_next(&r, &s) == 0 && s.type == ISOLA_MP_STR)
            isola_buf_printf(out, "%.*s → ", ISOLA_FMT(s.bytes));
    }
    isola_buf_printf(out, "%.*s", ISOLA_FMT(last));
}

static void answer_failure(struct isola_host *h, struct isola_mail *mail, int code, const char *why)
{
    if (isola_msg_is_ask(mail->kind))
        isola__gate_fail(h, mail, code, why);
    isola_mail_free(mail);
}

static void drop(struct isola_actor *a, struct isola_mail *mail, int code, const char *why)
{
    isola__mailbox_sub(a, 1);
    if (mail->kind == ISOLA_MAIL_FIRE) {
        isola__alarm_refused(a->host, mail, code);
        return;
    }
    if (mail->durable) {
        isola__durable_refuse(a->host, mail, code, why);
        return;
    }
    if (mail->kind == ISOLA_MSG_EMIT)
        isola__directory_dropped(a->host, a->address, mail->event, why);
    if (mail->kind == ISOLA_MAIL_DRAIN)
        isola__host_unbusy(a->host);
    isola_host_dead_letter(a->host, mail, code, isola_slice_str(why));
    answer_failure(a->host, mail, code, why);
}

void isola__stop_answer(struct isola_host *h, struct isola_mail *stop, bool was_there)
{
    static const uint8_t words[2][2] = {{0x91, 0xc2}, {0x91, 0xc3}}; /* [false], [true] */
    isola__gate_release(
        h, isola_mail_answer(isola_mail_take_origin(stop), true, isola_slice(words[was_there], 2)));
    isola_mail_free(stop);
}

void isola__upgraded(struct isola_host *h, struct isola_mail *upgrade)
{
    while (upgrade != NULL) {
        struct isola_mail *next = upgrade->next;
        if (upgrade->origin.link != 0)
            isola__stop_answer(h, upgrade, true);
        else
            isola_mail_free(upgrade);
        upgrade = next;
    }
}

static void fail_waiting(struct isola_actor *a, int code, const char *why)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&a->waiting)) != NULL)
        drop(a, m, code, why);
}

void isola__actor_take(struct isola_actor *a, struct isola_mail *mail)
{
    if (mail->kind == ISOLA_MSG_EVENT && a->family != NULL && isola__family_event(a, mail)) {
        isola__mailbox_sub(a, 1);
        return;
    }
    if (mail->kind == ISOLA_MAIL_READ) {
        isola__actor_read(
            (struct isola_read *)(void *)((char *)mail - offsetof(struct isola_read, note)));
        return;
    }
    if (mail->kind == ISOLA_MAIL_COMMITTED) {
        isola__gate_committed(
            (struct isola_commit *)(void *)((char *)mail - offsetof(struct isola_commit, note)));
        return;
    }
    if (mail->kind == ISOLA_MAIL_NUDGE) {
        isola__mailbox_sub(a, 1);
        isola_mail_free(mail);
        a->behind = false;
        isola__restart_arm(a, a->realm);
        if (isola__actor_has_work(a))
            isola__realm_touch(a->realm, a);
        return;
    }
    if (mail->kind == ISOLA_MAIL_MONITORED) {
        if (atomic_load(&a->state) == ISOLA_ACTOR_FAILED)
            isola_host_down(a->host, mail, "failed", isola_buf_slice(&a->failure));
        isola__mailbox_sub(a, 1);
        isola_mail_free(mail);
        return;
    }
    if (mail->kind == ISOLA_MAIL_DRAIN) {
        isola__grace_arm(a, mail->kind);
        fail_waiting(a, ISOLA_EUNREACHABLE, "the node is shutting down");
        drop(a, mail, 0, ""); /* last: what waited has been told when a drain ends */
        return;
    }
    if (mail->kind == ISOLA_MSG_CANCEL) {
        isola__cancel_take(a, mail);
        isola__mailbox_sub(a, 1);
        isola_mail_free(mail);
        return;
    }
    if (mail->kind == ISOLA_MAIL_HIBERNATE) {
        /* Behind what has come before it; an activation that is not idle forgets it. */
        isola__mailbox_sub(a, 1);
        bool idle = a->waiting.count == 0 && isola__idle_is(a);
        isola__mailbox_add(a);
        if (!idle) {
            drop(a, mail, 0, "");
            return;
        }
    }
    if (atomic_load(&a->state) == ISOLA_ACTOR_FAILED) {
        bool message = mail->kind != ISOLA_MSG_STOP && mail->kind != ISOLA_MAIL_UPGRADE;
        if (message && isola_clock_ms() < a->retry_at) {
            char why[600];
            snprintf(why, sizeof(why), "%.*s %.*s", ISOLA_FMT(a->address),
                     ISOLA_FMT(isola_buf_slice(&a->failure)));
            drop(a, mail, a->failure_code, why);
            return;
        }
        set_state(a, ISOLA_ACTOR_STARTING);
    }
    if (mail->kind == ISOLA_MAIL_UPGRADE) { /* not behind what waits: that is for the next
                                               activation, wherever it is */
        isola__mailbox_sub(a, 1);
        isola__grace_arm(a, mail->kind);
        mail->next = a->upgrade;
        a->upgrade = mail;
        isola__realm_touch(a->realm, a);
        return;
    }
    bool waited_for = a->activating || (a->nrunning > 0 && !a->type->def.reentrant);
    if (mail->kind == ISOLA_MSG_ASK && waited_for && chain_has(mail->chain, a->address)) {
        struct isola_buf chain = {0};
        chain_text(mail->chain, a->address, &chain);
        char why[600];
        snprintf(why, sizeof(why), "the ask would wait for itself: %.*s",
                 ISOLA_FMT(isola_buf_slice(&chain)));
        isola_buf_free(&chain);
        drop(a, mail, ISOLA_EDEADLOCK, why);
        return;
    }
    if (mail->kind == ISOLA_MSG_STOP)
        isola__grace_arm(a, mail->kind);
    isola_mailq_push(&a->waiting, mail);
    isola__realm_touch(a->realm, a);
}

/* --- activation --- */

static void read_done(struct isola_state_io *io, int code, struct isola_slice value,
                      const char *why)
{
    struct isola_read *read =
        (struct isola_read *)(void *)((char *)io - offsetof(struct isola_read, io));
    read->code = code;
    if (code == 0) {
        isola_buf_append(&read->value, value.data, value.len);
        isola_kept_copy(&read->rows, io->rows, io->nrows);
    } else {
        snprintf(read->why, sizeof(read->why), "%s", why != NULL ? why : "");
    }
    (void)isola__directory_notify(read->actor, &read->note, NULL);
}

static void read_state(struct isola_actor *a)
{
    struct isola_host *h = a->host;
    if (h->ops->state_absent != NULL && h->ops->state_absent(h->arg, a->address)) {
        a->have_state = true;
        return;
    }
    struct isola_read *read = isola_zalloc(sizeof(*read));
    read->actor = isola__actor_ref(a);
    read->activation = a->activation;
    read->note.kind = ISOLA_MAIL_READ;
    read->io.done = read_done;
    read->io.address = a->address;
    a->reading = true;
    isola__host_busy(h);
    h->ops->state_read(h->arg, &read->io);
}

void isola__actor_read(struct isola_read *read)
{
    struct isola_actor *a = read->actor;
    struct isola_host *h = a->host;
    if (read->activation == a->activation && atomic_load(&a->state) == ISOLA_ACTOR_STARTING) {
        a->reading = false;
        if (read->code != 0 && read->code != ISOLA_ENOENT && read->code != ISOLA_EUNREACHABLE) {
            struct isola_mail *why = isola_mail_failure((struct isola_origin){0}, ISOLA_EIO,
                                                        "its state cannot be read: %s", read->why);
            isola__actor_fail(a, why != NULL ? why->args : (struct isola_slice){0});
            isola_mail_free(why);
        } else {
            isola_buf_free(&a->saved);
            isola_buf_free(&a->no_state);
            if (read->code == ISOLA_EUNREACHABLE)
                isola_buf_puts(&a->no_state,
                               read->why[0] != '\0' ? read->why : "its state cannot be had now");
            a->saved = read->value;
            read->value = (struct isola_buf){0};
            isola__durable_load(a, &read->rows);
            isola__schedule_load(a, &read->rows);
            a->was_kept = read->code == 0;
            a->have_state = true;
            isola__realm_touch(a->realm, a);
        }
    }
    isola_buf_free(&read->value);
    isola_kept_free(&read->rows);
    free(read);
    isola__actor_unref(a);
    isola__host_unbusy(h);
}

/* In a realm that others share, a module that failed is loaded anew for a new activation. */
static void retry_module(struct isola_realm *r, const struct isola_type *type)
{
    struct isola_slice name = isola_slice_str(type->def.name);
    struct isola_module *m = isola_map_get(&r->modules, name);
    if (m == NULL || m->state != ISOLA_MODULE_FAILED)
        return;
    isola_map_del(&r->modules, name);
    isola_buf_free(&m->error);
    free(m);
}

/* In a realm that lives for long they begin anew, and some who came early may still be there. */
static uint32_t new_serial(struct isola_realm *r)
{
    do
        r->next_serial++;
    while (r->next_serial == 0 || isola__realm_actor(r, r->next_serial) != NULL);
    return r->next_serial;
}

/* One step of an activation: as far as it goes without waiting. False: it has failed, and the actor
 * is not to be touched again. */
static bool start(struct isola_actor *a)
{
    struct isola_realm *r = a->realm;
    if (a->serial == 0) {
        a->serial = new_serial(r);
        a->activation++;
        isola_idmap_add(&r->actors, a->serial, a);
        a->have_state = false;
        isola__grace_starts(a);
        read_state(a);
        retry_module(r, a->type);
    }
    if (a->activating)
        return true;
    struct isola_module *m = isola__realm_module(r, a->type);
    if (m->state == ISOLA_MODULE_FAILED) {
        isola__actor_fail(a, isola_buf_slice(&m->error));
        return false;
    }
    if (m->state != ISOLA_MODULE_READY || !a->have_state)
        return true;
    a->activating = true;
    struct isola_slice from, state = isola__upgrade_from(a, &from);
    isola_js_activate(r->js, a->serial, a->at.app, a->at.type, a->at.key, state,
                      isola_buf_slice(&a->no_state), from);
    return true;
}

void isola__actor_activated(struct isola_actor *a, struct isola_slice error)
{
    a->activating = false;
    isola__realm_touch(a->realm, a);
    if (error.len > 0) {
        isola_buf_append(&a->start_error, error.data, error.len);
        a->hurt = true;
        return;
    }
    isola__upgrade_ended(a);
    a->failures = 0;
    set_state(a, ISOLA_ACTOR_IDLE);
    isola__idle_add(a);
    a->turn_ended = true; /* what it did while starting is saved and let out */
}

/* --- the mailbox --- */

bool isola__actor_has_work(const struct isola_actor *a)
{
    return a->waiting.count > 0 || a->upgrade != NULL;
}

bool isola__actor_pump(struct isola_actor *a)
{
    if (!isola__actor_has_work(a) || atomic_load(&a->host->draining))
        return true;
    if (atomic_load(&a->state) == ISOLA_ACTOR_STARTING) {
        struct isola_mail *first = a->waiting.head;
        if (first == NULL || a->stopping != NULL /* for what is being written still */ ||
            a->upgrade != NULL /* the start is given up as soon as it is settled */)
            return true;
        if (a->serial == 0 && first->kind == ISOLA_MAIL_HIBERNATE) { /* it crashed before */
            drop(a, isola_mailq_pop(&a->waiting), 0, "");
            isola__realm_touch(a->realm, a);
            return true;
        }
        if (a->serial == 0 && first->kind == ISOLA_MSG_STOP) {
            a->stopping = isola_mailq_pop(&a->waiting); /* not worth starting for */
            isola__mailbox_sub(a, 1);
            isola__realm_touch(a->realm, a);
            return true;
        }
        return isola__restart_pauses(a) || start(a);
    }
    struct isola_realm *r = a->realm;
    while (isola__actor_has_work(a) && r->budget > 0 && isola__actor_may_begin(a)) {
        bool ends = a->upgrade != NULL || a->waiting.head->kind == ISOLA_MSG_STOP ||
                    a->waiting.head->kind == ISOLA_MAIL_HIBERNATE;
        if (ends && a->nrunning > 0)
            return true;
        r->budget--;
        struct isola_mail *m = a->upgrade;
        a->upgrade = NULL;
        if (m == NULL) {
            isola__mailbox_sub(a, 1);
            m = isola_mailq_pop(&a->waiting);
        }
        if (m->durable && !isola__durable_begin(a, m))
            continue;
        if (m->kind == ISOLA_MAIL_FIRE && (m = isola__schedule_fire(a, m)) == NULL) {
            if (a->hurt)
                break;
            continue;
        }
        if (m->deadline != 0 && m->deadline <= r->now) { /* its asker has been told already */
            isola__mailbox_add(a);                       /* drop takes it off again */
            drop(a, m, ISOLA_ETIMEDOUT, "its time was over before its turn came");
            continue;
        }
        isola__turn_begin(a, m);
        if (r->budget % 8 == 0 && isola_clock_ns() > r->until)
            r->budget = 0;
    }
    if (isola__actor_has_work(a) && a->nrunning == 0 && a->stopping == NULL)
        isola__realm_touch(r, a);
    return true;
}

/* --- failure and the end --- */

/* Takes all trace of the activation out of its realm. */
static void leave_realm(struct isola_actor *a)
{
    struct isola_realm *r = a->realm;
    isola__restart_disarm(a);
    isola__grace_disarm(a);
    isola__family_end(a);
    if (a->serial != 0)
        isola__ended(a);
    while (a->subs != NULL) {
        struct isola_sub_of *sub = a->subs;
        struct isola_slice none = {0};
        struct isola_mail *m =
            isola_mail_new(ISOLA_MSG_UNSUB, a->address, isola_buf_slice(&sub->dst),
                           isola_buf_slice(&sub->event), none, none);
        if (m != NULL) {
            m->origin.id = sub->id;
            isola__gate_follow(a, m); /* its SUB may be waiting for a write still */
        }
        a->subs = sub->next;
        a->nsubs = 0;
        isola_buf_free(&sub->dst);
        isola_buf_free(&sub->event);
        free(sub);
    }
    isola__io_forget(r, a);
    isola__batch_leaves(a);
    isola__durable_end(a);
    isola__schedule_end(a);
    isola__storage_end(a);
    isola__sql_end(a);
    if (a->serial != 0) {
        isola__cancel_asks(a);
        while (a->pending != NULL)
            isola__pending_free(r, a->pending);
        isola_idmap_del(&r->actors, a->serial);
        if (r->js != NULL)
            isola_js_deactivate(r->js, a->serial);
        a->serial = 0;
        a->activation++;
    }
    a->newest = NULL;
    isola_buf_free(&a->saved);
    isola_buf_free(&a->no_state);
    isola_buf_free(&a->crash);
    isola_buf_free(&a->start_error);
    a->have_state = a->activating = a->turn_ended = a->begun = a->reading = a->hurt = false;
    a->was_kept = a->hooked = a->upgrading = false;
    a->looked = 0;
}

/* The realm an actor has left. */
static void abandon_realm(struct isola_realm *r)
{
    if (r->shared)
        isola__worker_leave_shared(r);
    else
        isola__realm_close(r);
}

/* A realm for the next activation, under the type that is current now. The old isolate goes, unless
 * others live in it. From the moment the actor has another realm, that one's visits own it. */
static void renew(struct isola_actor *a, const struct isola_type *type)
{
    struct isola_host *h = a->host;
    struct isola_realm *old = a->realm, *fresh = old;
    struct isola_release_rt *old_release = a->type->release;
    struct isola_worker *w = atomic_load(&old->worker);
    if (!type->def.shared)
        fresh = isola__realm_new(h, w, type->release, false, isola__limits_of(type));
    else if (type->release != old_release || old->dead)
        fresh = isola__worker_shared_realm(old->shared ? old->owner : w, type);
    if (type->release != old_release)
        isola__restart_forget(a);
    if (fresh == old) {
        isola__restart_arm(a, fresh); /* else when the nudge is seen */
        ISOLA_CHECK(type == a->type);
        isola__release_unref(old_release);
        if (isola__actor_has_work(a))
            isola__realm_touch(old, a);
        return;
    }
    struct isola_slice none = {0};
    struct isola_mail *nudge = NULL;
    if (isola__actor_has_work(a) || a->crashes != NULL) {
        nudge = isola_mail_new(ISOLA_MAIL_NUDGE, none, none, none, none, none);
        ISOLA_CHECK(nudge != NULL);
        nudge->actor = a;
        isola__mailbox_add(a);
    }
    isola__realm_untouch(old, a);
    struct isola_directory_shard *shard = isola__directory_shard(h, a->hash);
    struct isola_mailq moved = {0};
    struct isola_mail *m;
    pthread_mutex_lock(&shard->lock);
    isola_lock_take(&a->lock);
    isola__realm_take(old, a, &moved);
    /* Until the nudge has been seen, mail goes through the inbox, behind what is moved. */
    a->behind = nudge != NULL || moved.count > 0;
    if (a->behind && nudge == NULL) {
        nudge = isola_mail_new(ISOLA_MAIL_NUDGE, none, none, none, none, none);
        ISOLA_CHECK(nudge != NULL);
        nudge->actor = a;
        isola__mailbox_add(a);
    }
    a->realm = fresh;
    a->type = type;
    while ((m = isola_mailq_pop(&moved)) != NULL)
        isola__realm_post(fresh, m);
    if (nudge != NULL)
        isola__realm_post(fresh, nudge);
    isola_lock_drop(&a->lock);
    pthread_mutex_unlock(&shard->lock);
    abandon_realm(old);
    isola__realm_unref(old);
    isola__release_unref(old_release);
}

/* Moves what reads and writes have ended with out of a queue. */
static void take_notes(struct isola_mailq *from, struct isola_mailq *notes)
{
    struct isola_mailq all = *from;
    struct isola_mail *m;
    *from = (struct isola_mailq){0};
    while ((m = isola_mailq_pop(&all)) != NULL)
        isola_mailq_push(
            m->kind == ISOLA_MAIL_READ || m->kind == ISOLA_MAIL_COMMITTED ? notes : from, m);
}

void isola__actor_end(struct isola_actor *a)
{
    struct isola_host *h = a->host;
    struct isola_realm *r = a->realm;
    if (a->upgrade != NULL)
        isola__restart_forget(a);
    leave_realm(a);
    isola__upgraded(h, a->upgrade); /* what it asks for is done here */
    a->upgrade = NULL;
    if (a->crashes == NULL && isola__directory_leave(a)) {
        abandon_realm(r);
        return;
    }
    set_state(a, ISOLA_ACTOR_STARTING);
    bool here = h->ops->locate(h->arg, a->address) == 0;
    const struct isola_type *type = here ? isola__type_find(h, &a->at, false, NULL) : NULL;
    if (type == NULL) {
        /* It lives elsewhere now: what waits goes after it. Or its type is gone: what waits is told
         * so. */
        struct isola_mailq moved = {0};
        struct isola_directory_shard *shard = isola__directory_shard(h, a->hash);
        if (here)
            isola__down(a, "stopped", isola_slice_str("its app or type is not there any more"));
        isola__actor_ref(a); /* mails may have no address but its own */
        do {
            struct isola_mailq notes = {0};
            pthread_mutex_lock(&shard->lock);
            isola__realm_take(r, a, &a->waiting);
            pthread_mutex_unlock(&shard->lock);
            take_notes(&a->waiting, &notes);
            isola__mailbox_sub(a, (unsigned)a->waiting.count);
            isola_mailq_join(&moved, &a->waiting);
            while (notes.count > 0)
                isola__actor_take(a, isola_mailq_pop(&notes));
        } while (!isola__directory_leave(a));
        abandon_realm(r);
        struct isola_mail *m;
        while ((m = isola_mailq_pop(&moved)) != NULL) {
            m->actor = NULL;
            isola__mail_uncount(m);
            if (m->dst.len == 0 && (m = isola_mail_readdress(m, a->address)) == NULL)
                continue;
            if (m->kind == ISOLA_MAIL_FIRE) {
                isola__alarm_refused(h, m, ISOLA_EUNREACHABLE);
            } else if (m->kind == ISOLA_MAIL_UPGRADE) {
                isola__upgraded(h, m);
            } else if (m->kind == ISOLA_MSG_STOP) {
                /* Meant for the activation that has ended. Sent on, it would wait for a start at
                 * the new place, which may be waiting for this very answer. */
                isola__stop_answer(h, m, true);
            } else if (m->kind == ISOLA_MAIL_DRAIN) {
                isola_mail_free(m);
                isola__host_unbusy(h);
            } else if (isola_host_stream_refused(h, m, ISOLA_ECANCELED,
                                                 "the actor lives on another node now")) {
                isola_mail_free(m);
            } else if (m->kind >= ISOLA_MAIL_PUBLISH || m->kind == ISOLA_MSG_EVENT) {
                isola_host_dead_letter(h, m, ISOLA_ENOACTOR,
                                       isola_slice_str("its subscriber is gone"));
                isola_mail_free(m);
            } else {
                isola_host_post(h, m); /* to where it lives now; or refused, as its type is gone */
            }
        }
        isola__actor_unref(a);
        return;
    }
    renew(a, type);
}

int isola__failure_code(const struct isola_actor *a, struct isola_slice what)
{
    bool no_state = a->no_state.len > 0 &&
                    memmem(what.data, what.len, a->no_state.data, a->no_state.len) != NULL;
    return no_state ? ISOLA_EUNREACHABLE : ISOLA_EFAILED;
}

/* What follows `failure`. */
static void failed(struct isola_actor *a)
{
    isola__turns_abandon(a, a->failure_code, "it could not start");
    char why[600];
    snprintf(why, sizeof(why), "%.*s %.*s", ISOLA_FMT(a->address),
             ISOLA_FMT(isola_buf_slice(&a->failure)));
    isola__gate_refuse(a, a->failure_code, why);
    isola__down(a, "failed", isola_buf_slice(&a->failure));
    isola__family_stops(a);
    /* With an UPGRADE it has not failed for good: else it would keep to the old release, or to this
     * node. */
    set_state(a, a->upgrade != NULL ? ISOLA_ACTOR_STARTING
                                    : ISOLA_ACTOR_FAILED); /* before anyone is told */
    fail_waiting(a, a->failure_code, why);
    leave_realm(a);
    isola__release_ref(a->type->release); /* renew drops one */
    renew(a, a->type);
}

/* `ps` reads it under the same lock. */
static void set_failure(struct isola_actor *a, struct isola_buf failure)
{
    struct isola_directory_shard *shard = isola__directory_shard(a->host, a->hash);
    pthread_mutex_lock(&shard->lock);
    struct isola_buf old = a->failure;
    a->failure = failure;
    pthread_mutex_unlock(&shard->lock);
    isola_buf_free(&old);
}

void isola__actor_fail(struct isola_actor *a, struct isola_slice error)
{
    struct isola_host *h = a->host;
    struct isola_slice value = {0};
    struct isola_mp_error e = {0};
    if (!isola_mp_at(error, 0, &value) || !isola_mp_read_error(value, &e))
        e.message = isola_slice_str("unknown");
    struct isola_buf said = {0}, failure = {0};
    isola_buf_printf(&failure, "could not start: %.*s", ISOLA_FMT(e.message));
    bool same = a->failures++ > 0 &&
                isola_slice_eq(isola_buf_slice(&failure), isola_buf_slice(&a->failure));
    uint64_t pause = isola__restart_pause(a, a->failures - 1);
    pause = pause > RETRY_LEAST ? pause : RETRY_LEAST;
    a->retry_at = isola_clock_ms() + pause;
    isola__error_text(value, &said);
    if (said.len == 0)
        isola_buf_append(&said, e.message.data, e.message.len);
    if (same) /* its stack is in the log already */
        isola__host_logf(h, ISOLA_LOG_ERROR, a->address,
                         "could not start, %u times in a row now, not tried before %g s have "
                         "passed; as before: %.*s",
                         a->failures, (double)pause / 1000,
                         ISOLA_FMT(isola__first_line(isola_buf_slice(&said))));
    else
        isola__host_logf(h, ISOLA_LOG_ERROR, a->address, "could not start: %.*s",
                         ISOLA_FMT(isola_buf_slice(&said)));
    a->failure_code = isola__failure_code(a, isola_buf_slice(&said));
    if (a->failure_code != ISOLA_EUNREACHABLE)
        isola__tally_error(a, isola_buf_slice(&said));
    isola_buf_free(&said);
    set_failure(a, failure);
    failed(a);
}

void isola__actor_give_up(struct isola_actor *a, struct isola_slice why)
{
    a->retry_at = UINT64_MAX;
    struct isola_buf failure = {0};
    isola_buf_printf(&failure, "has failed: %.*s", ISOLA_FMT(why));
    a->failure_code = isola__failure_code(a, why);
    set_failure(a, failure);
    failed(a);
}
