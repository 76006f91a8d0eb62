/* SPDX-License-Identifier: Apache-2.0
 *
 * The output gate: nothing an actor causes is seen by anyone before the state it was caused in is
 * on disk.
 *
 * Whatever a script sends (replies, emits, events, asks, subscriptions) is an effect in its actor's
 * list. When the script has returned, and there are effects or a turn has ended, the state is
 * encoded and compared with the last one. If it has changed, or there is something to be kept
 * beside it (durable.c, storage.c, sql.c), it is written, and the effects wait for that write; if
 * not, but a write is under way, they wait for that one; else they leave. So effects leave in the
 * order they were caused: answers to others of this host on the store's thread, if nothing else
 * comes before them, and the rest in a visit, with which a write ends if there is any. A write that
 * fails turns the answers that wait into errors, drops the rest, and takes the actor back to what
 * is on disk.
 */
#include "actors/gate.h"

#include <stdio.h>

#include "actors/host_own.h"
#include "actors/io.h"
#include "actors/pace.h"
#include "actors/sql.h"
#include "actors/stack.h"
#include "actors/storage.h"
#include "actors/subs.h"
#include "actors/turn.h"
#include "actors/upgrade.h"

enum { SPARE_STATE = 1024 }; /* bytes of memory for a state that are kept for the next one */

void isola__gate_release(struct isola_host *h, struct isola_mail *mail)
{
    if (mail == NULL)
        return;
    if (mail->durable) {
        if (mail->kind == ISOLA_MSG_ASK || mail->kind == ISOLA_MSG_EMIT)
            isola__outbox_add(h, mail);
        else
            isola_host_post(h, mail);
        return;
    }
    switch (mail->kind) {
    case ISOLA_MSG_REPLY:
    case ISOLA_MSG_FAIL:
    case ISOLA_MAIL_IO_EVENT:
    case ISOLA_MAIL_IO_END:
        if (mail->origin.realm != NULL) {
            struct isola_realm *r = mail->origin.realm;
            mail->origin.realm = NULL;
            isola__realm_post(r, mail);
            isola__realm_unref(r);
        } else if (mail->origin.link == ISOLA_HOST_LINK) {
            if ((mail->origin.id & ISOLA_ALARM_ID) != 0)
                isola__alarm_started(h, mail);
            else
                isola__outbox_started(h, mail);
        } else if (mail->origin.link != 0) {
            h->ops->answer(h->arg, mail);
        } else {
            isola_mail_free(mail);
        }
        break;
    case ISOLA_MAIL_STORED: {
        struct isola_realm *r = mail->origin.realm;
        mail->origin.realm = NULL;
        isola__realm_post(r, mail);
        isola__realm_unref(r);
        break;
    }
    case ISOLA_MAIL_PUBLISH:
        isola__subs_publish(h, mail);
        break;
    case ISOLA_MAIL_PACE:
        if (mail->dst.len > 0)
            isola__pace_wait(h, mail->dst, isola_mail_take_origin(mail));
        else
            isola__outbox_wait(h, mail->src, isola_mail_take_origin(mail));
        isola_mail_free(mail);
        break;
    case ISOLA_MAIL_IO_START:
    case ISOLA_MAIL_IO_CANCEL:
        isola__io_release(h, mail);
        break;
    default:
        isola_host_post(h, mail);
    }
}

void isola__gate_fail(struct isola_host *h, struct isola_mail *m, int code, const char *why)
{
    isola__gate_release(h, isola_mail_failure(isola_mail_take_origin(m), code, "%s", why));
}

void isola__gate_reply(struct isola_realm *r, struct isola_mail *answer)
{
    if (answer->origin.realm != r || atomic_load(&r->state) != ISOLA_REALM_RUNNING) {
        isola__gate_release(r->host, answer);
        return;
    }
    answer->origin.realm = NULL;
    isola__realm_unref(r); /* the visit has another */
    isola_mailq_push(&r->direct, answer);
}

void isola__gate_put(struct isola_realm *r, struct isola_actor *a, struct isola_mail *m)
{
    if (a == NULL) {
        isola__gate_release(r->host, m);
        return;
    }
    isola_mailq_push(&a->effects, m);
    isola__realm_touch(r, a);
}

/* What an actor that lives in `r` has caused. */
static void release_all(struct isola_realm *r, struct isola_mailq *q)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(q)) != NULL) {
        if (m->durable)
            isola__gate_release(r->host, m);
        else if (m->ref != 0 && m->ref_table == r->refs_of.id &&
                 atomic_load(&r->state) == ISOLA_REALM_RUNNING)
            isola__ref_send(r, m->ref, m);
        else if (m->kind == ISOLA_MSG_REPLY || m->kind == ISOLA_MSG_FAIL)
            isola__gate_reply(r, m);
        else
            isola__gate_release(r->host, m);
    }
}

/* What the host sends of itself, whatever has become of the script: what has been forgotten by the
 * actor already, word of its end, and what becomes of its children and of itself then. */
static bool leaves_anyway(const struct isola_mail *m)
{
    switch (m->kind) {
    case ISOLA_MSG_UNSUB:
    case ISOLA_MSG_CANCEL:
    case ISOLA_MAIL_IO_CANCEL:
    case ISOLA_MSG_STOP:
        return true;
    case ISOLA_MSG_START: /* a spawn is the script's */
        return m->origin.realm != NULL || isola_slice_eq(m->src, m->dst);
    case ISOLA_MAIL_PUBLISH:
        return m->hidden;
    default:
        return false;
    }
}

static void refuse(struct isola_host *h, struct isola_mail *m, int code, const char *why)
{
    if (m->durable && (m->kind == ISOLA_MSG_ASK || m->kind == ISOLA_MSG_EMIT))
        isola__outbox_unreserve(h, m);
    else if (!m->durable && (m->kind == ISOLA_MSG_REPLY || m->kind == ISOLA_MSG_FAIL))
        isola__gate_fail(h, m, code, why);
    isola_mail_free(m);
}

void isola__gate_refuse(struct isola_actor *a, int code, const char *why)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&a->effects)) != NULL) {
        if (leaves_anyway(m))
            isola__gate_follow(a, m); /* the SUB of an UNSUB may wait for a write still */
        else
            refuse(a->host, m, code, why);
    }
}

/* Those of a write that has failed. */
static void refuse_all(struct isola_host *h, struct isola_mailq *q, int code, const char *why)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(q)) != NULL) {
        if (leaves_anyway(m))
            isola__gate_release(h, m);
        else
            refuse(h, m, code, why);
    }
}

/* Can it leave from any thread, and without going around what is waited for? */
static bool is_answer(const struct isola_mail *m)
{
    return !m->durable && (m->kind == ISOLA_MSG_REPLY || m->kind == ISOLA_MSG_FAIL) &&
           m->origin.realm != NULL;
}

/* On the store's thread, which lets answers out itself: a visit of the actor for their sake would
 * cost as much as its turn. Of a write that nothing more waits for it hears with what comes next.
 */
static void written(struct isola_state_io *io, int code, struct isola_slice value, const char *why)
{
    struct isola_commit *c =
        (struct isola_commit *)(void *)((char *)io - offsetof(struct isola_commit, io));
    struct isola_host *h = c->actor->host;
    struct isola_mail *m;
    (void)value;
    c->code = code;
    if (code != 0 && why != NULL)
        c->why = isola_strdup(why);
    while (code == 0 && c->direct && (m = isola_mailq_pop(&c->effects)) != NULL)
        isola__gate_release(h, m);
    if (isola__directory_notify(c->actor, &c->note, code == 0 ? &c->quiet : NULL))
        isola__host_unbusy(h); /* `c` may be gone */
}

/* --- memory: a visit that hears of one commit makes the next one --- */

static struct isola_commit *new_commit(void)
{
    struct isola_worker *w = isola__worker_here();
    if (w == NULL || w->spare_commit == NULL)
        return isola_zalloc(sizeof(struct isola_commit));
    struct isola_commit *c = w->spare_commit;
    w->spare_commit = NULL;
    *c = (struct isola_commit){0};
    return c;
}

static void free_commit(struct isola_commit *c)
{
    struct isola_worker *w = isola__worker_here();
    isola_kept_free(&c->rows);
    isola__items_unref(c->items);
    free(c->all);
    free(c->why);
    if (w != NULL && w->spare_commit == NULL)
        w->spare_commit = c;
    else
        free(c);
}

static struct isola_buf new_state(void)
{
    struct isola_worker *w = isola__worker_here();
    struct isola_buf state = {0};
    if (w != NULL) {
        state = w->spare_state;
        w->spare_state = (struct isola_buf){0};
    }
    return state;
}

/* What is large is not kept: a state stays in what it was written into. */
static void free_state(struct isola_buf *state)
{
    struct isola_worker *w = isola__worker_here();
    if (w != NULL && w->spare_state.data == NULL && !state->failed && state->cap <= SPARE_STATE) {
        w->spare_state = *state;
        w->spare_state.len = 0;
        *state = (struct isola_buf){0};
    } else {
        isola_buf_free(state);
    }
}

/* The newest state this activation has sent to disk. */
static struct isola_slice newest(const struct isola_actor *a)
{
    return isola_buf_slice(a->newest != NULL ? &a->newest->value : &a->saved);
}

static struct isola_commit *last_commit(const struct isola_actor *a)
{
    return a->commits != NULL ? (struct isola_commit *)(void *)((char *)a->commits_tail -
                                                                offsetof(struct isola_commit, next))
                              : NULL;
}

/* Something waits for the last of its writes: it is to be told when that has ended. */
static void await(struct isola_actor *a, struct isola_commit *last)
{
    if (last->quiet)
        isola__directory_await(a, &last->note, &last->quiet);
}

void isola__gate_follow(struct isola_actor *a, struct isola_mail *mail)
{
    struct isola_commit *last = last_commit(a);
    if (last != NULL) {
        isola_mailq_push(&last->later, mail);
        await(a, last);
    } else {
        isola__gate_release(a->host, mail);
    }
}

/* Its rows are `rows` and `items`. */
static void add_items(struct isola_commit *c)
{
    size_t n = c->rows.n;
    c->io.nrows = n + c->items->n;
    c->io.rows = c->items->row;
    if (n == 0)
        return;
    c->all = isola_alloc(c->io.nrows * sizeof(*c->all));
    memcpy(c->all, c->rows.row, n * sizeof(*c->all));
    memcpy(c->all + n, c->items->row, c->items->n * sizeof(*c->all));
    c->io.rows = c->all;
}

static bool leave_directly(const struct isola_mailq *effects)
{
    for (const struct isola_mail *m = effects->head; m != NULL; m = m->next)
        if (!is_answer(m))
            return false;
    return true;
}

/* Does nothing of what was caused before wait for a visit? */
static bool nothing_before(const struct isola_commit *last)
{
    return last == NULL || (last->direct && last->later.count == 0);
}

/* Writes a commit that has its value, rows and effects. Takes it. */
static void write_commit(struct isola_actor *a, struct isola_commit *c)
{
    struct isola_host *h = a->host;
    c->actor = isola__actor_ref(a);
    c->activation = a->activation;
    c->note.kind = ISOLA_MAIL_COMMITTED;
    c->io.done = written;
    c->io.address = a->address;
    c->io.value = isola_buf_slice(&c->value);
    c->io.rows = c->rows.row;
    c->io.nrows = c->rows.n;
    if (c->items != NULL)
        add_items(c);
    c->direct = leave_directly(&c->effects) && nothing_before(last_commit(a));
    c->quiet = c->direct && c->io.nrows == 0;
    *a->commits_tail = c;
    a->commits_tail = &c->next;
    if (c->io.has_value) {
        a->newest = c;
        atomic_store_explicit(&a->realm->saved, c->value.data, memory_order_relaxed);
    }
    isola__host_busy(h);
    h->ops->state_write(h->arg, &c->io);
}

/* Is there anything beside its state to be written? What a start has set waits for its end. */
static bool is_dirty(const struct isola_actor *a)
{
    return isola__durable_dirty(a) || (isola__schedule_dirty(a) && !a->activating);
}

static void take_rows(struct isola_actor *a, struct isola_commit *c)
{
    if (isola__durable_dirty(a))
        isola__durable_rows(a, &c->rows);
    if (isola__schedule_dirty(a) && !a->activating) {
        isola__schedule_rows(a, &c->rows);
        c->timers = true;
    }
    if (a->upgrading) /* half of it is not to be seen */
        return;
    c->items = isola__storage_take(a);
    if (isola__sql_dirty(a))
        c->sql_taken = isola__sql_rows(a, &c->rows);
    a->looked &= (uint8_t)~ISOLA_LOOKED_KEPT;
}

/* `value`: the state, or NULL when that has not changed. */
static void write_state(struct isola_actor *a, struct isola_buf *value)
{
    struct isola_commit *c = new_commit();
    c->io.has_value = value != NULL;
    if (value != NULL) {
        c->value = *value;
        *value = (struct isola_buf){0};
        a->mark = ISOLA_MARK_GOOD;
    }
    take_rows(a, c);
    isola_mailq_join(&c->effects, &a->effects);
    write_commit(a, c);
}

void isola__gate_keep(struct isola_actor *a, struct isola_kept_rows *rows,
                      struct isola_mailq *effects)
{
    struct isola_commit *c = new_commit();
    c->rows = *rows;
    c->timers = rows->n > 0 && rows->row[0].part == ISOLA_KEPT_TIMER;
    c->effects = *effects;
    *rows = (struct isola_kept_rows){0};
    *effects = (struct isola_mailq){0};
    write_commit(a, c);
}

static void crash(struct isola_actor *a)
{
    struct isola_host *h = a->host;
    isola__restart_explain(a, isola_buf_slice(&a->crash));
    struct isola_slice what = isola__first_line(isola_buf_slice(&a->crash));
    char why[1200]; /* an address, and enough of the reason */
    snprintf(why, sizeof(why), "%.*s crashed: %.*s; its state is as it was last saved",
             ISOLA_FMT(a->address), ISOLA_FMT(isola_slice_cut(what, 600)));
    int code = isola__failure_code(a, isola_buf_slice(&a->crash));
    isola__gate_refuse(a, code, why);
    isola__turns_abandon(a, code, why);
    if (a->stopping != NULL && a->stopping->kind == ISOLA_MAIL_UPGRADE) {
        isola__upgraded(h, a->stopping);
    } else if (a->stopping != NULL) {
        isola__gate_fail(h, a->stopping, code, why);
        isola_mail_free(a->stopping);
    }
    a->stopping = NULL;
    isola__down(a, "crashed", isola__first_line(isola_buf_slice(&a->crash)));
    isola__family_stops(a);
    isola__family_respawns(a);
    bool own = !a->bystander; /* those of others do not count */
    if (own && code != ISOLA_EUNREACHABLE)
        isola__tally_error(a, isola_buf_slice(&a->crash));
    a->bystander = false;
    if (own)
        isola__restart(a, isola_buf_slice(&a->crash));
    else
        isola__actor_end(a);
}

/* A crash before the first turn: it would come again with every restart, so there is to be a pause
 * between them. */
static void crash_at_start(struct isola_actor *a)
{
    struct isola_mail *why = isola_mail_failure((struct isola_origin){0}, ISOLA_EFAILED, "%.*s",
                                                ISOLA_FMT(isola_buf_slice(&a->crash)));
    isola__actor_fail(a, why != NULL ? why->args : (struct isola_slice){0});
    isola_mail_free(why);
}

static void stop(struct isola_actor *a)
{
    struct isola_mail *m = a->stopping;
    struct isola_host *h = a->host;
    a->stopping = NULL;
    if (m->kind == ISOLA_MSG_STOP) {
        isola__down(a, "stopped", (struct isola_slice){0});
        isola__family_stops(a);
    } else {
        isola__family_respawns(a);
    }
    isola__restart_forget(a);
    isola__actor_end(a);
    if (m->kind == ISOLA_MSG_STOP)
        isola__stop_answer(h, m, true);
    else if (m->kind == ISOLA_MAIL_UPGRADE)
        isola__upgraded(h, m);
    else
        isola_mail_free(m);
}

bool isola__gate_settle(struct isola_actor *a)
{
    a->effect_bytes = 0;
    isola__sql_rest(a);
    if (a->upgrade == NULL && a->stopping == NULL && !a->hurt && !a->turn_ended &&
        a->effects.count == 0)
        return true;
    isola__idle_used(a);
    if (a->upgrade != NULL && a->stopping != NULL && a->serial == 0) {
        isola__upgraded(a->host, a->upgrade); /* nothing has been started that it would end */
        a->upgrade = NULL;
    }
    if (a->upgrade != NULL && atomic_load(&a->state) == ISOLA_ACTOR_STARTING) {
        /* Its start need not end, and may never. */
        isola__gate_refuse(a, ISOLA_EUPGRADE, "the release is being replaced");
        isola__actor_end(a);
        return false;
    }
    if (a->hurt && a->start_error.len > 0) {
        struct isola_buf error = a->start_error;
        a->start_error = (struct isola_buf){0};
        isola__actor_fail(a, isola_buf_slice(&error));
        isola_buf_free(&error);
        return false;
    }
    if (a->hurt) {
        if (a->begun || a->bystander)
            crash(a);
        else
            crash_at_start(a);
        return false;
    }
    bool due = a->serial != 0 && !a->activating && (a->effects.count > 0 || a->turn_ended);
    if (due)
        a->turn_ended = false;
    /* Of a start, too, when something is to leave. */
    bool leaves = a->serial != 0 && (due || a->effects.count > 0);
    bool kept = a->serial != 0 &&
                (is_dirty(a) ||
                 (leaves && !a->upgrading && (isola__storage_dirty(a) || isola__sql_dirty(a))));
    if (due && (a->looked & ISOLA_LOOKED_STATE) != 0) {
        struct isola_buf value = new_state();
        struct isola_err err;
        bool touched = false;
        isola__upgrade_mark(a, &value);
        if (isola_js_state(a->realm->js, a->serial, &value, &touched, &err) != 0) {
            isola_buf_free(&value);
            isola__realm_untouch(a->realm, a); /* it is settled here and now */
            if (a->crash.len == 0)
                isola_buf_printf(&a->crash, "its state cannot be saved: %s", err.text);
            crash(a);
            return false;
        }
        if (touched && !isola_slice_eq(isola_buf_slice(&value), newest(a))) {
            write_state(a, &value);
            kept = false;
        }
        free_state(&value);
    }
    if (due && isola__upgrade_due(a, kept)) {
        struct isola_buf value = new_state();
        isola__upgrade_remark(a, newest(a), &value);
        write_state(a, &value);
        kept = false;
    }
    if (kept)
        write_state(a, NULL);
    else if (leaves && !a->activating)
        a->looked &= (uint8_t)~ISOLA_LOOKED_KEPT; /* a database that was read alone */
    struct isola_commit *last = last_commit(a);
    if (last != NULL)
        isola_mailq_join(&last->later, &a->effects);
    else
        release_all(a->realm, &a->effects);
    if (last != NULL && (last->later.count > 0 || a->stopping != NULL))
        await(a, last);
    if (a->stopping != NULL && a->nrunning == 0 && last == NULL && !a->activating &&
        !a->turn_ended) {
        stop(a);
        return false;
    }
    return true;
}

void isola__gate_committed(struct isola_commit *c)
{
    struct isola_actor *a = c->actor;
    struct isola_host *h = a->host;
    ISOLA_CHECK(a->commits == c); /* writes end in the order they began */
    a->commits = c->next;
    if (a->commits == NULL)
        a->commits_tail = &a->commits;
    if (a->newest == c)
        a->newest = NULL;
    bool current = c->activation == a->activation && a->serial != 0;
    bool counted = c->code != 0 || !c->quiet;
    isola_mailq_join(&c->effects, &c->later);
    if (c->code == 0) {
        release_all(a->realm, &c->effects);
        if (current && c->io.has_value) {
            free_state(&a->saved);
            a->saved = c->value;
            c->value = (struct isola_buf){0};
        }
        if (current)
            isola__sql_kept(a, c->sql_taken);
    } else {
        char why[300];
        snprintf(why, sizeof(why), "its state could not be saved: %.200s",
                 c->why != NULL ? c->why : "");
        refuse_all(h, &c->effects, ISOLA_EIO, why);
        if (current && a->crash.len == 0) {
            isola_buf_puts(&a->crash, why);
            a->hurt = true;
        }
    }
    if ((current && a->crash.len > 0) || a->stopping != NULL) {
        isola__realm_touch(a->realm, a);
    }
    if (c->timers)
        isola__schedule_written(a, current, c->code);
    free_state(&c->value);
    free_commit(c);
    isola__actor_unref(a);
    if (counted)
        isola__host_unbusy(h);
}
