/* SPDX-License-Identifier: Apache-2.0
 *
 * Durable timers (self.schedule), as their actor has them: all of them in memory while it is
 * active, each a row (TIMER) beside its state.
 *
 * The happy path. A script sets one; when its turn is settled that is a row of the transaction that
 * saves what the turn has changed, and the alarm clock (alarm.c) is told when the first of the
 * actor's is due. Then it sends the actor a FIRE, whether it is active or not: for each timer that
 * is due a turn of its own begins, one after the other. What becomes of the timer with it (it goes,
 * or is due again later) is in the transaction that saves what the handler has changed: so a crash
 * leaves neither or both, and it comes again.
 *
 * The next time of an interval is a multiple of it after its start, of a cron expression what the
 * isolate says; in any case the first one that is not over when the timer fires, so what has been
 * missed comes once.
 *
 * Failure modes. A timer whose turn crashes its actor comes again after a pause, and is given up
 * after CRASHES in a row: a dead letter; an interval goes on with its next time. One that no
 * handler takes is removed. Of a turn that is given up, or a write that fails, nobody knows what is
 * on disk: the alarm clock has the actor started again, and that reads it.
 *
 * Invariants: a timer in `due` is on disk as it is, or is being written so; of each id there is one
 * row at the most; while the turn of a timer runs, nothing of it is written.
 */
#include "actors/schedule.h"

#include <inttypes.h>
#include <sys/random.h>

#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/pace.h"
#include "base/clock.h"
#include "base/msgpack.h"

#define CRASHES 3

struct isola_timer {
    struct isola_heap_node due;
    struct isola_timer *next_dirty;
    uint64_t next;          /* when it is due, ms since 1970 */
    uint64_t stored;        /* the number of its row; 0: it has none */
    struct isola_buf value; /* of its row */
    struct isola_buf fired; /* `running`, and the value is another now: what it was */
    bool dirty, running;
    bool gone; /* it is no more, but its row is, or its turn runs */
    size_t id_len;
    char id[];
};

struct isola_schedule {
    struct isola_map timers; /* id → struct isola_timer */
    struct isola_heap due;
    struct isola_timer *dirty;
    size_t count, bytes; /* of those that are not gone */
    unsigned running;
    bool more; /* a FIRE waits in the mailbox for the next ones */
    /* As of the last settle, for other threads: how many there are, when the first is due. */
    atomic_size_t told;
    atomic_ullong told_due;
};

/* Others look at it under the lock of the directory's shard. */
static void publish(struct isola_actor *a, struct isola_schedule *s)
{
    struct isola_directory_shard *shard = isola__directory_shard(a->host, a->hash);
    pthread_mutex_lock(&shard->lock);
    a->schedule = s;
    pthread_mutex_unlock(&shard->lock);
}

static struct isola_schedule *of(struct isola_actor *a)
{
    if (a->schedule == NULL)
        publish(a, isola_zalloc(sizeof(*a->schedule)));
    return a->schedule;
}

static struct isola_slice id_of(const struct isola_timer *t)
{
    return isola_slice(t->id, t->id_len);
}

static struct isola_timer *find(const struct isola_actor *a, struct isola_slice id)
{
    return a->schedule != NULL ? isola_map_get(&a->schedule->timers, id) : NULL;
}

static struct isola_timer *add(struct isola_schedule *s, struct isola_slice id)
{
    struct isola_timer *t = isola_zalloc(sizeof(*t) + id.len);
    memcpy(t->id, id.data, id.len);
    t->id_len = id.len;
    isola_map_set(&s->timers, id, t);
    return t;
}

static void drop(struct isola_schedule *s, struct isola_timer *t)
{
    isola_map_del(&s->timers, id_of(t));
    isola_heap_remove(&s->due, &t->due);
    isola_buf_free(&t->value);
    isola_buf_free(&t->fired);
    free(t);
}

static void account(struct isola_schedule *s, const struct isola_timer *t, bool in)
{
    size_t bytes = t->id_len + t->value.len;
    s->count += in ? 1 : (size_t)-1;
    s->bytes += in ? bytes : (size_t)0 - bytes;
}

static void mark(struct isola_schedule *s, struct isola_timer *t)
{
    isola_heap_remove(&s->due, &t->due); /* not before it is written */
    if (t->dirty)
        return;
    t->dirty = true;
    t->next_dirty = s->dirty;
    s->dirty = t;
}

/* --- values of rows: [event, args], [event, args, every, start], [event, args, cron, zone] --- */

static void write_value(struct isola_buf *out, const struct isola_v8_timer *t)
{
    bool repeats = t->every > 0 || t->cron.len > 0;
    isola_mp_array(out, repeats ? 4 : 2);
    isola_mp_str(out, t->event);
    isola_buf_append(out, t->args.data, t->args.len);
    if (t->every > 0) {
        isola_mp_uint(out, t->every);
        isola_mp_uint(out, t->start != 0 ? t->start : t->due);
    } else if (repeats) {
        isola_mp_str(out, t->cron);
        isola_mp_str(out, t->zone);
    }
}

static bool item_at(struct isola_slice value, size_t i, struct isola_mp_item *out)
{
    struct isola_slice field;
    if (!isola_mp_at(value, i, &field))
        return false;
    struct isola_mp_reader r = isola_mp_reader(field);
    return isola_mp_next(&r, out) == 0;
}

bool isola_host_timer_read(struct isola_slice value, struct isola_v8_timer *out)
{
    struct isola_mp_item event, rule, more;
    *out = (struct isola_v8_timer){0};
    if (!item_at(value, 0, &event) || event.type != ISOLA_MP_STR ||
        !isola_mp_at(value, 1, &out->args))
        return false;
    out->event = event.bytes;
    if (!item_at(value, 2, &rule))
        return true;
    if (!item_at(value, 3, &more) || rule.type != more.type)
        return false;
    if (rule.type == ISOLA_MP_UINT && rule.u > 0) {
        out->every = rule.u;
        out->start = more.u;
    } else if (rule.type == ISOLA_MP_STR) {
        out->cron = rule.bytes;
        out->zone = more.bytes;
    } else {
        return false;
    }
    return true;
}

/* --- what scripts do --- */

static int refuse(const struct isola_actor *a, struct isola_err *err)
{
    return a->no_state.len > 0 ? isola_fail(err, ISOLA_EUNREACHABLE, "%.*s",
                                            ISOLA_FMT(isola_buf_slice(&a->no_state)))
                               : 0;
}

static int fits(const struct isola_actor *a, const struct isola_timer *old,
                const struct isola_v8_timer *timer, size_t bytes, struct isola_err *err)
{
    const struct isola_schedule *s = a->schedule;
    bool fresh = old == NULL || old->gone;
    if (timer->id.len > ISOLA_TIMER_ID_MAX)
        return isola_fail(err, ISOLA_EINVAL, "the id of a timer has at most %d bytes",
                          ISOLA_TIMER_ID_MAX);
    if (timer->args.len > ISOLA_TIMER_ARGS_MAX)
        return isola_fail(err, ISOLA_ETOOBIG, "the values of a timer have at most %zu KB",
                          ISOLA_TIMER_ARGS_MAX >> 10);
    if (fresh && s != NULL && s->count >= ISOLA_TIMERS_MAX)
        return isola_fail(err, ISOLA_EOVERLOAD, "an actor has at most %d timers of self.schedule",
                          ISOLA_TIMERS_MAX);
    size_t others = (s != NULL ? s->bytes : 0) - (fresh ? 0 : old->id_len + old->value.len);
    if (others + bytes > ISOLA_TIMERS_BYTES)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "the timers of an actor, with their values, have at most %zu MB",
                          ISOLA_TIMERS_BYTES >> 20);
    return 0;
}

/* Does it repeat, and is as it was? When it comes is not looked at, and when it began only if that
 * is said. */
static bool is_same(const struct isola_timer *old, const struct isola_v8_timer *timer)
{
    struct isola_v8_timer was;
    bool repeats = timer->every > 0 || timer->cron.len > 0;
    return repeats && !old->gone && isola_host_timer_read(isola_buf_slice(&old->value), &was) &&
           was.every == timer->every && (timer->start == 0 || was.start == timer->start) &&
           isola_slice_eq(was.cron, timer->cron) && isola_slice_eq(was.zone, timer->zone) &&
           isola_slice_eq(was.event, timer->event) && isola_slice_eq(was.args, timer->args);
}

/* An id that none of the actor's timers has. */
static void make_id(const struct isola_actor *a, struct isola_buf *out)
{
    uint64_t n;
    do {
        ISOLA_CHECK(getrandom(&n, sizeof(n), 0) == sizeof(n));
        out->len = 0;
        isola_buf_printf(out, "%016" PRIx64, n);
    } while (find(a, isola_buf_slice(out)) != NULL);
}

int isola__schedule_set(struct isola_actor *a, const struct isola_v8_timer *timer,
                        struct isola_buf *id, struct isola_err *err)
{
    struct isola_buf value = {0};
    int e = refuse(a, err);
    if (e != 0)
        return e;
    if (timer->id.len > 0)
        isola_buf_append(id, timer->id.data, timer->id.len);
    else
        make_id(a, id);
    struct isola_timer *t = find(a, isola_buf_slice(id));
    if (t != NULL && is_same(t, timer))
        return 0;
    write_value(&value, timer);
    e = value.failed ? isola_fail(err, ISOLA_ENOMEM, "no memory for a timer")
                     : fits(a, t, timer, id->len + value.len, err);
    if (e != 0) {
        isola_buf_free(&value);
        return e;
    }
    struct isola_schedule *s = of(a);
    if (t == NULL)
        t = add(s, isola_buf_slice(id));
    else if (!t->gone)
        account(s, t, false);
    if (t->running && t->fired.len == 0)
        t->fired = t->value;
    else
        isola_buf_free(&t->value);
    t->value = value;
    t->next = timer->due;
    t->gone = false;
    account(s, t, true);
    if (!t->running)
        mark(s, t);
    a->looked |= ISOLA_LOOKED_KEPT;
    return 0;
}

int isola__schedule_cancel(struct isola_actor *a, struct isola_slice id, bool *was,
                           struct isola_err *err)
{
    struct isola_timer *t = find(a, id);
    int e = refuse(a, err);
    if (e != 0)
        return e;
    *was = t != NULL && !t->gone;
    if (!*was)
        return 0;
    t->gone = true;
    account(a->schedule, t, false);
    if (!t->running)
        mark(a->schedule, t);
    a->looked |= ISOLA_LOOKED_KEPT;
    return 0;
}

int isola__schedule_each(struct isola_actor *a,
                         void (*each)(void *ctx, const struct isola_v8_timer *timer), void *ctx,
                         struct isola_err *err)
{
    struct isola_v8_timer timer;
    int e = refuse(a, err);
    if (e != 0 || a->schedule == NULL)
        return e;
    ISOLA_MAP_EACH(&a->schedule->timers, entry)
    {
        const struct isola_timer *t = entry->value;
        if (t->gone || !isola_host_timer_read(isola_buf_slice(&t->value), &timer))
            continue;
        timer.id = id_of(t);
        timer.due = t->next;
        each(ctx, &timer);
    }
    return 0;
}

/* --- rows --- */

bool isola__schedule_dirty(const struct isola_actor *a)
{
    return a->schedule != NULL && a->schedule->dirty != NULL;
}

static void rows_of(struct isola_schedule *s, struct isola_timer *t, struct isola_kept_rows *out)
{
    struct isola_kept row = {.part = ISOLA_KEPT_TIMER, .peer = id_of(t)};
    if (t->stored != 0 && (t->gone || t->stored != t->next)) {
        row.gone = true;
        row.seq = t->stored;
        isola_kept_add(out, &row);
    }
    if (t->gone) {
        drop(s, t);
        return;
    }
    row.gone = false;
    row.seq = t->stored = t->next;
    row.value = isola_buf_slice(&t->value);
    isola_kept_add(out, &row);
    isola_heap_insert(&s->due, &t->due, t->next);
}

/* The first of those that are on disk, or will be with a write under way; 0: there is none. */
static uint64_t first_due(const struct isola_schedule *s)
{
    const struct isola_heap_node *first = s != NULL ? isola_heap_min(&s->due) : NULL;
    return first != NULL ? first->key : 0;
}

static void tell(struct isola_schedule *s)
{
    atomic_store_explicit(&s->told, s->count, memory_order_relaxed);
    atomic_store_explicit(&s->told_due, first_due(s), memory_order_relaxed);
}

size_t isola__schedule_told(const struct isola_actor *a, uint64_t *due)
{
    const struct isola_schedule *s = a->schedule;
    *due = s != NULL ? atomic_load_explicit(&s->told_due, memory_order_relaxed) : 0;
    return s != NULL ? atomic_load_explicit(&s->told, memory_order_relaxed) : 0;
}

void isola__schedule_rows(struct isola_actor *a, struct isola_kept_rows *out)
{
    struct isola_schedule *s = a->schedule;
    while (s->dirty != NULL) {
        struct isola_timer *t = s->dirty;
        s->dirty = t->next_dirty;
        t->dirty = false;
        rows_of(s, t, out);
    }
    tell(s);
}

void isola__schedule_written(struct isola_actor *a, bool current, int code)
{
    const struct isola_schedule *s = a->schedule;
    if (code != 0)
        isola__alarm_again(a->host, a->address);
    else if (current && s != NULL && !s->more && (s->running == 0 || a->type->def.reentrant))
        isola__alarm_set(a->host, a->address, first_due(s));
}

void isola__schedule_load(struct isola_actor *a, const struct isola_kept_rows *rows)
{
    struct isola_v8_timer timer;
    for (size_t i = 0; i < rows->n; i++) {
        const struct isola_kept *row = &rows->row[i];
        if (row->part != ISOLA_KEPT_TIMER)
            continue;
        if (row->seq == 0 || !isola_host_timer_read(row->value, &timer) ||
            find(a, row->peer) != NULL) {
            isola__host_logf(a->host, ISOLA_LOG_ERROR, a->address,
                             "its timer %.*s cannot be read, and is left out",
                             ISOLA_FMT(row->peer));
            continue;
        }
        struct isola_schedule *s = of(a);
        struct isola_timer *t = add(s, row->peer);
        t->next = t->stored = row->seq;
        isola_buf_append(&t->value, row->value.data, row->value.len);
        account(s, t, true);
        isola_heap_insert(&s->due, &t->due, t->next);
    }
    if (a->schedule == NULL)
        return;
    tell(a->schedule);
    isola__alarm_add(a->host, a->address, first_due(a->schedule));
}

void isola__schedule_end(struct isola_actor *a)
{
    struct isola_schedule *s = a->schedule;
    if (s == NULL)
        return;
    bool unsure = s->dirty != NULL || s->running > 0 || a->commits != NULL;
    publish(a, NULL);
    ISOLA_MAP_EACH(&s->timers, e)
    {
        struct isola_timer *t = e->value;
        isola_buf_free(&t->value);
        isola_buf_free(&t->fired);
        free(t);
    }
    isola_map_free(&s->timers);
    isola_heap_free(&s->due);
    free(s);
    if (unsure) /* what the alarm clock was told may not be what is on disk */
        isola__alarm_again(a->host, a->address);
}

/* --- firing --- */

/* The first time that is after `now`; 0: there is none. May run the isolate. */
static uint64_t next_of(struct isola_actor *a, const struct isola_v8_timer *timer, uint64_t now)
{
    if (timer->every > 0 && now < timer->start)
        return timer->start;
    if (timer->every > 0)
        return timer->start + ((now - timer->start) / timer->every + 1) * timer->every;
    if (timer->cron.len == 0)
        return 0;
    uint64_t next = isola_js_next(a->realm->js, a->serial, timer->cron, timer->zone, now);
    return next > now ? next : 0;
}

static struct isola_timer *take_due(struct isola_schedule *s, uint64_t now)
{
    struct isola_heap_node *first = s != NULL ? isola_heap_min(&s->due) : NULL;
    if (first == NULL || first->key > now)
        return NULL;
    isola_heap_remove(&s->due, first);
    return (struct isola_timer *)(void *)first;
}
_Static_assert(offsetof(struct isola_timer, due) == 0, "a node of the heap is a timer");

/* The turn of a timer is to begin: its message, or NULL. */
static struct isola_mail *begin(struct isola_actor *a, struct isola_timer *t, uint64_t now)
{
    struct isola_schedule *s = a->schedule;
    struct isola_v8_timer timer;
    struct isola_slice none = {0};
    ISOLA_CHECK(
        isola_host_timer_read(isola_buf_slice(&t->value), &timer)); /* or it would not be there */
    struct isola_mail *m =
        isola_mail_new(ISOLA_MSG_EMIT, a->address, none, timer.event, none, timer.args);
    if (m == NULL) { /* no memory: it comes again */
        isola_heap_insert(&s->due, &t->due, t->next);
        isola__alarm_again(a->host, a->address);
        return NULL;
    }
    t->running = true;
    s->running++;
    m->actor = a;
    m->durable = m->fired = true;
    m->timer = t;
    m->again = next_of(a, &timer, now > t->next ? now : t->next);
    if (a->hurt) { /* it has crashed of that, and all this goes */
        isola_mail_free(m);
        return NULL;
    }
    if (t->gone || t->fired.len > 0)
        return m; /* what runs in the isolate has changed it */
    t->gone = m->again == 0;
    if (t->gone)
        account(s, t, false);
    else
        t->next = m->again;
    return m;
}

struct isola_mail *isola__schedule_fire(struct isola_actor *a, struct isola_mail *fire)
{
    struct isola_schedule *s = a->schedule;
    uint64_t now = (uint64_t)isola_clock_wall_ms();
    if (a->no_state.len > 0) {
        isola__alarm_again(a->host, a->address);
        isola_mail_free(fire);
        return NULL;
    }
    struct isola_timer *t = take_due(s, now);
    bool more = t != NULL && first_due(s) != 0 && first_due(s) <= now;
    if (s != NULL)
        s->more = more;
    if (more) { /* behind what waits already */
        isola__mailbox_add(a);
        isola_mailq_push(&a->waiting, fire);
    } else {
        isola_mail_free(fire);
    }
    if (t == NULL || (!more && a->type->def.reentrant))
        isola__alarm_set(a->host, a->address, first_due(s));
    return t != NULL ? begin(a, t, now) : NULL;
}

void isola__schedule_done(struct isola_actor *a, const struct isola_mail *m, bool heard)
{
    struct isola_schedule *s = a->schedule;
    struct isola_timer *t = m->timer;
    bool replaced = t->fired.len > 0;
    t->running = false;
    s->running--;
    isola_buf_free(&t->fired);
    isola__alarm_forgive(a->host, a->address, id_of(t));
    if (!heard && !replaced && !t->gone) {
        t->gone = true;
        account(s, t, false);
    }
    mark(s, t);
}

static void give_up(struct isola_actor *a, const struct isola_mail *m, const struct isola_timer *t,
                    struct isola_slice why)
{
    struct isola_kept_rows rows = {0};
    struct isola_mailq none = {0};
    char text[600];
    snprintf(text, sizeof(text),
             "the timer %.*s was given up: it crashed %.*s %d times in a row, the last time of: "
             "%.*s",
             ISOLA_FMT(isola_slice_cut(id_of(t), 100)), ISOLA_FMT(a->address), CRASHES,
             ISOLA_FMT(isola_slice_cut(why, 300)));
    struct isola_kept row = {
        .part = ISOLA_KEPT_TIMER, .gone = true, .peer = id_of(t), .seq = t->stored};
    isola_kept_add(&rows, &row);
    if (m->again != 0) {
        row.gone = false;
        row.seq = m->again;
        row.value = isola_buf_slice(t->fired.len > 0 ? &t->fired : &t->value);
        isola_kept_add(&rows, &row);
    }
    isola_host_dead_letter(a->host, m, ISOLA_EFAILED, isola_slice_str(text));
    isola__host_logf(a->host, ISOLA_LOG_WARN, a->address, "%s", text);
    isola__gate_keep(a, &rows, &none);
}

void isola__schedule_crashed(struct isola_actor *a, const struct isola_mail *m,
                             struct isola_slice why)
{
    const struct isola_timer *t = m->timer;
    unsigned times = isola__alarm_crashed(a->host, a->address, id_of(t), t->stored);
    /* While a write is under way that may fail, what it stands for is not known to be done. */
    if (times < CRASHES || a->commits != NULL)
        return;
    isola__alarm_forgive(a->host, a->address, id_of(t));
    give_up(a, m, t, why);
}
