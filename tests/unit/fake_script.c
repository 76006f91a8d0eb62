/* SPDX-License-Identifier: Apache-2.0
 *
 * The operations of fake_v8.h's programs.
 */
#include "fake_script.h"

#include <stdio.h>

#include "actors/life.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"

#define WORDS       5
#define ASK_TIMEOUT 15000 /* ms, of asks that do not say */

struct isola_slice fake__line(const char *code, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = code; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        if (len >= n && memcmp(at, word, n) == 0)
            return isola_slice(at + n, len - n);
        at += len + (at[len] == '\n');
    }
    return (struct isola_slice){0};
}

/* The next operation's words, each a slice of the program; 0 at the end. A word in braces loses the
 * outer ones. */
static int next_op(struct fake_task *t, struct isola_slice words[WORDS])
{
    const char *p = t->program;
    size_t i = t->at;
    int n = 0;
    memset(words, 0, WORDS * sizeof(*words));
    while (p[i] == ' ' || p[i] == ';')
        i++;
    while (p[i] != '\0' && p[i] != ';') {
        size_t from = i;
        int depth = 0;
        for (; p[i] != '\0' && (depth > 0 || (p[i] != ' ' && p[i] != ';')); i++)
            depth += p[i] == '{' ? 1 : p[i] == '}' ? -1 : 0;
        ISOLA_CHECK(depth == 0 && n < WORDS);
        bool braced = p[from] == '{';
        words[n++] = isola_slice(p + from + braced, i - from - 2 * (size_t)braced);
        while (p[i] == ' ')
            i++;
    }
    t->at = i;
    return n;
}

static int64_t number(struct isola_slice word)
{
    char text[24];
    snprintf(text, sizeof(text), "%.*s", ISOLA_FMT(word));
    return strtoll(text, NULL, 10);
}

static void fail(struct fake_task *t, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void fail(struct fake_task *t, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->text, sizeof(t->text), fmt, ap);
    va_end(ap);
    t->code = code;
}

static void set_value(struct fake_task *t, int64_t n)
{
    t->value = n;
    t->is_text = false;
}

/* Nothing in the rest of a program can end the actor. */
static bool is_harmless(const char *rest)
{
    static const char *const ops[] = {"crash", "throw", "loop", "spin", "grow", "bad", "block"};
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (strstr(rest, ops[i]) != NULL)
            return false;
    return true;
}

static int send_out(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t,
                    struct isola_v8_send *s, struct isola_slice program, uint64_t *id)
{
    struct isola_buf args = {0};
    struct isola_err err;
    isola_mp_array(&args, 1);
    isola_mp_str(&args, program);
    uint32_t epoch = 0;
    s->actor = a->serial;
    s->turn = t->turn;
    s->args = isola_buf_slice(&args);
    v->in_op = true;
    bool by_number = (s->kind == ISOLA_MSG_ASK || s->kind == ISOLA_MSG_EMIT) && !s->durable;
    if (by_number)
        s->to = v->ops->refer(v->arg, s->dst, &epoch, &err);
    v->ops->drains(v->arg, is_harmless(t->program + t->at));
    int r = by_number && s->to == 0 ? err.code : v->ops->send(v->arg, s, id, &err);
    v->ops->drained(v->arg);
    v->in_op = false;
    isola_buf_free(&args);
    if (r != 0)
        fail(t, r, "%s", err.text);
    return r;
}

static void ask(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t,
                const struct isola_slice words[WORDS])
{
    struct isola_v8_send s = {
        .kind = ISOLA_MSG_ASK, .dst = words[1], .event = isola_slice_str("run")};
    s.durable = isola_slice_is(words[0], "dask");
    s.timeout_ms = words[3].len > 0 ? (uint32_t)number(words[3]) : ASK_TIMEOUT;
    uint64_t ignored;
    v->asks = (v->asks + 1) & 0x1fffffff;
    s.id = (uint64_t)v->asks << ISOLA_ASK_SLOT_BITS | v->asks % FAKE_SLOTS;
    t->try = isola_slice_is(words[0], "tryask");
    snprintf(t->asked, sizeof(t->asked), "%.*s", ISOLA_FMT(words[1]));
    if (send_out(v, a, t, &s, words[2], &ignored) == 0) {
        t->wait = FAKE_ASK;
        t->id = s.id;
    } else if (t->try) {
        set_value(t, t->code);
        t->code = 0;
    }
}

void fake__answered(struct fake_task *t, bool ok, struct isola_slice args)
{
    struct isola_slice value;
    struct isola_mp_error e;
    struct isola_mp_item item;
    t->wait = FAKE_NOTHING;
    ISOLA_CHECK(isola_mp_at(args, 0, &value));
    if (!ok) {
        ISOLA_CHECK(isola_mp_read_error(value, &e));
        if (t->try)
            set_value(t, e.code);
        else
            fail(t, e.code, "%.*s", ISOLA_FMT(e.message));
        return;
    }
    struct isola_mp_reader r = isola_mp_reader(value);
    ISOLA_CHECK(isola_mp_next(&r, &item) == 0);
    t->is_text = item.type == ISOLA_MP_STR;
    if (t->is_text)
        snprintf(t->text, sizeof(t->text), "%.*s", ISOLA_FMT(item.bytes));
    else
        t->value = item.type == ISOLA_MP_UINT ? (int64_t)item.u : item.i;
}

static void subscribe(struct isola_v8 *v, struct fake_actor *a, struct fake_task *t,
                      const struct isola_slice words[WORDS])
{
    struct isola_slice event =
        isola_slice_is(words[0], "monitor") ? isola_slice_str(FAKE_DOWN) : words[2];
    struct isola_v8_send s = {.kind = ISOLA_MSG_SUB, .dst = words[1], .event = event};
    struct fake_sub *sub = isola_zalloc(sizeof(*sub));
    if (send_out(v, a, t, &s, (struct isola_slice){0}, &sub->id) != 0) {
        free(sub);
        return;
    }
    sub->address = isola_strndup((const char *)words[1].data, words[1].len);
    sub->event = isola_strndup((const char *)event.data, event.len);
    sub->next = a->subs;
    a->subs = sub;
}

static void unsubscribe(struct isola_v8 *v, struct fake_actor *a, struct fake_task *t)
{
    struct fake_sub *sub = a->subs;
    uint64_t id;
    if (sub == NULL)
        return;
    a->subs = sub->next;
    struct isola_v8_send s = {.kind = ISOLA_MSG_UNSUB,
                              .dst = isola_slice_str(sub->address),
                              .event = isola_slice_str(sub->event),
                              .id = sub->id};
    (void)send_out(v, a, t, &s, (struct isola_slice){0}, &id);
    free(sub->address);
    free(sub->event);
    free(sub);
}

static uint64_t set_timer(struct isola_v8 *v, const struct fake_actor *a, int64_t ms)
{
    v->in_op = true;
    uint64_t id = v->ops->timer_set(v->arg, a->serial, (uint64_t)ms, false);
    v->in_op = false;
    return id;
}

/* A program outside of any turn, after a while. */
static void later(struct isola_v8 *v, struct fake_actor *a, const struct isola_slice words[WORDS])
{
    struct fake_task *t = isola_zalloc(sizeof(*t));
    t->kind = FAKE_BACKGROUND;
    t->program = isola_strndup((const char *)words[2].data, words[2].len);
    t->wait = FAKE_TIMER;
    t->id = set_timer(v, a, number(words[1]));
    t->next = a->tasks;
    a->tasks = t;
}

static void publish(struct isola_v8 *v, const struct fake_actor *a, const struct fake_task *t,
                    const struct isola_slice words[WORDS])
{
    struct isola_buf args = {0};
    v->in_op = true;
    if (v->ops->heard(v->arg, a->serial, words[1])) {
        isola_mp_array(&args, 1);
        isola_mp_str(&args, words[2]);
        v->ops->publish(v->arg, a->serial, t->turn, words[1], isola_buf_slice(&args));
        isola_buf_free(&args);
    }
    v->in_op = false;
}

static void read_trace(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t)
{
    struct isola_buf bytes = {0};
    v->in_op = true;
    bool is = v->ops->trace(v->arg, a->serial, t->turn, &bytes);
    v->in_op = false;
    ISOLA_CHECK(bytes.len == (is ? ISOLA_TRACE_SIZE : 0));
    set_value(t, is ? bytes.data[15] : 0);
    isola_buf_free(&bytes);
}

static void spawn(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t,
                  const struct isola_slice words[WORDS])
{
    struct isola_err err;
    int mode = isola_slice_is(words[2], "permanent")   ? ISOLA_CHILD_PERMANENT
               : isola_slice_is(words[2], "temporary") ? ISOLA_CHILD_TEMPORARY
                                                       : ISOLA_CHILD_TRANSIENT;
    v->in_op = true;
    int r = v->ops->spawn(v->arg, a->serial, t->turn, words[1], mode, &err);
    v->in_op = false;
    if (r != 0)
        fail(t, r, "%s", err.text);
}

static void schedule(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t,
                     const struct isola_slice words[WORDS])
{
    struct isola_buf args = {0}, id = {0};
    struct isola_err err;
    int64_t now = isola_clock_wall_ms();
    struct isola_v8_timer timer = {
        .id = words[1], .event = isola_slice_str("run"), .due = (uint64_t)(now + number(words[3]))};
    if (words[4].len > 0 && words[4].data[0] == 'c') {
        timer.cron = isola_slice(words[4].data + 1, words[4].len - 1);
        timer.zone = isola_slice_str("UTC");
    } else if (words[4].len > 0) {
        bool starts = words[4].data[0] != '=';
        timer.every =
            (uint64_t)number(isola_slice(words[4].data + !starts, words[4].len - !starts));
        timer.start = starts ? timer.due : 0;
    }
    isola_mp_array(&args, 1);
    isola_mp_str(&args, words[2]);
    timer.args = isola_buf_slice(&args);
    v->in_op = true;
    int r = v->ops->schedule(v->arg, a->serial, &timer, &id, &err);
    v->in_op = false;
    ISOLA_CHECK(r != 0 || isola_slice_eq(isola_buf_slice(&id), words[1]));
    isola_buf_free(&args);
    isola_buf_free(&id);
    if (r != 0)
        fail(t, r, "%s", err.text);
}

static void cancel_timer(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t,
                         struct isola_slice id)
{
    struct isola_err err;
    bool was = false;
    v->in_op = true;
    int r = v->ops->unschedule(v->arg, a->serial, id, &was, &err);
    v->in_op = false;
    if (r != 0)
        fail(t, r, "%s", err.text);
    set_value(t, was);
}

static void count_timer(void *ctx, const struct isola_v8_timer *timer)
{
    (void)timer;
    ++*(int64_t *)ctx;
}

static void count_timers(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t)
{
    struct isola_err err;
    int64_t n = 0;
    v->in_op = true;
    int r = v->ops->schedules(v->arg, a->serial, count_timer, &n, &err);
    v->in_op = false;
    if (r != 0)
        fail(t, r, "%s", err.text);
    set_value(t, n);
}

static void use_up(struct isola_v8 *v, const struct isola_slice words[WORDS], const char *word)
{
    if (isola_slice_is(words[0], "spin"))
        fake__spin(v, (uint64_t)number(words[1]), words[2].len > 0);
    else if (isola_slice_is(words[0], "grow"))
        fake__end(v, isola_slice_is(words[1], "heap") ? ISOLA_V8_HEAP : ISOLA_V8_EXTERNAL);
    else if (isola_slice_is(words[1], "deaf")) {
        snprintf(v->where, sizeof(v->where), "%.*s", ISOLA_FMT(words[2]));
        fake__deaf(v->where);
        v->where[0] = '\0';
    } else {
        ISOLA_CHECK(fake__loop(v, strcmp(word, "hard") == 0));
    }
}

static void open_holds(struct isola_v8 *v, struct isola_slice name)
{
    for (struct fake_actor *a = v->actors; a != NULL; a = a->next)
        for (struct fake_task *t = a->tasks; t != NULL; t = t->next)
            if (t->wait == FAKE_HOLD && isola_slice_is(name, t->hold))
                t->opened = true;
}

static void state_op(struct isola_v8 *v, struct fake_actor *a, struct fake_task *t,
                     const struct isola_slice words[WORDS])
{
    if (a->no_state[0] != '\0') {
        fail(t, ISOLA_EUNREACHABLE, "%s", a->no_state);
        return;
    }
    if (!a->touched)
        v->ops->looked(v->arg, a->serial);
    a->touched = true;
    if (isola_slice_is(words[0], "bad"))
        *(words[1].len > 0 ? &a->endless : &a->bad) = true;
    else if (isola_slice_is(words[0], "add"))
        a->n += number(words[1]);
    set_value(t, a->n);
}

/* --- storage --- */

static int64_t number_in(struct isola_slice value)
{
    struct isola_mp_reader r = isola_mp_reader(value);
    struct isola_mp_item item;
    ISOLA_CHECK(isola_mp_next(&r, &item) == 0 && item.type <= ISOLA_MP_INT);
    return item.type == ISOLA_MP_UINT ? (int64_t)item.u : item.i;
}

void fake__stored(struct fake_task *t, int code, const char *why, const struct isola_kept *items,
                  size_t n, struct isola_slice beyond)
{
    t->wait = FAKE_NOTHING;
    if (code != 0) {
        fail(t, code, "%s", why);
    } else if (!t->lists) {
        ISOLA_CHECK(n <= 1 && beyond.len == 0);
        set_value(t, n == 1 ? number_in(items[0].value) : -1);
    } else {
        size_t len = 0;
        t->text[0] = '\0';
        for (size_t i = 0; i < n && len < sizeof(t->text); i++)
            len += (size_t)snprintf(t->text + len, sizeof(t->text) - len, "%.*s=%lld ",
                                    ISOLA_FMT(items[i].peer), (long long)number_in(items[i].value));
        if (beyond.len > 0 && len < sizeof(t->text))
            snprintf(t->text + len, sizeof(t->text) - len, "+%.*s", ISOLA_FMT(beyond));
        t->is_text = true;
    }
}

static struct isola_slice bound(struct isola_slice word)
{
    return isola_slice_is(word, "-") ? (struct isola_slice){0} : word;
}

/* False: it is none of storage's. */
static bool storage_op(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t,
                       const struct isola_slice words[WORDS])
{
    static const char *const steps[] = {"begin", "commit", "undo", "wipe", "sync"};
    struct isola_slice op = words[0];
    struct isola_err err;
    const struct isola_kept *item = NULL;
    int r = 0;
    bool waits = false, down = isola_slice_is(op, "down");
    int step = 0;
    while (step < 5 && !isola_slice_is(op, steps[step]))
        step++;
    v->in_op = true;
    uint64_t id = ++v->asks;
    t->lists = down || isola_slice_is(op, "keys");
    if (step < 5) {
        r = v->ops->storage_step(v->arg, a->serial, (enum isola_v8_step)step, id, &err);
        waits = step == ISOLA_V8_SYNC;
    } else if (isola_slice_is(op, "put")) {
        struct isola_buf b = {0};
        isola_mp_int(&b, number(words[2]));
        struct isola_slice value = isola_buf_slice(&b);
        r = v->ops->storage_put(v->arg, a->serial, words[1], &value, &err);
        isola_buf_free(&b);
    } else if (isola_slice_is(op, "drop")) {
        r = v->ops->storage_put(v->arg, a->serial, words[1], NULL, &err);
    } else if (isola_slice_is(op, "fetch") || isola_slice_is(op, "look")) {
        r = v->ops->storage_peek(v->arg, a->serial, words[1], &item, &err);
        if (r == 0 && item != NULL)
            set_value(t, item->gone ? -1 : number_in(item->value));
        else if (r == 0 && isola_slice_is(op, "look"))
            set_value(t, -2);
        else if (r == 0)
            r = v->ops->storage_get(v->arg, a->serial, id, &words[1], 1, &err);
        waits = item == NULL && isola_slice_is(op, "fetch");
    } else if (t->lists) {
        struct isola_v8_range range = {.from = bound(words[1]),
                                       .to = bound(words[2]),
                                       .rows = (size_t)number(words[3]),
                                       .reverse = down};
        r = v->ops->storage_list(v->arg, a->serial, id, &range, &err);
        waits = true;
    } else {
        v->in_op = false;
        return false;
    }
    v->in_op = false;
    if (r != 0) {
        fail(t, r, "%s", err.text);
    } else if (waits) {
        t->wait = FAKE_STORED;
        t->id = id;
    }
    return true;
}

/* --- databases --- */

static bool sql_op(struct isola_v8 *v, const struct fake_actor *a, struct fake_task *t,
                   const struct isola_slice words[WORDS])
{
    const struct isola_sql_ops *ops = NULL;
    struct isola_sql_fault fault = {0};
    struct isola_sql_run run = {.text = words[1], .max_rows = 1, .max_bytes = 1000};
    struct isola_mp_item first;
    bool begin = isola_slice_is(words[0], "sqlbegin"), open = isola_slice_is(words[0], "sqlopen");
    if (!begin && !open && !isola_slice_is(words[0], "sql"))
        return false;
    v->in_op = true;
    struct isola_sql *db = v->ops->sql(v->arg, a->serial, &ops, &fault);
    int r = db == NULL ? fault.err.code
            : begin    ? ops->begin(db, &fault)
                       : ops->exec(db, &run, &fault);
    if (r == 0 && run.cursor != 0 && !open)
        ops->end(db, run.cursor);
    v->in_op = false;
    struct isola_mp_reader reader = isola_mp_reader(isola_buf_slice(&run.rows));
    if (r != 0)
        fail(t, r, "%s", fault.err.text);
    else if (run.nrows > 0 && isola_mp_take(&reader, ISOLA_MP_UINT, &first))
        set_value(t, (int64_t)first.u);
    isola_buf_free(&run.rows);
    isola_buf_free(&run.columns);
    return true;
}

static void operate(struct isola_v8 *v, struct fake_actor *a, struct fake_task *t,
                    const struct isola_slice words[WORDS])
{
    char word[64];
    snprintf(word, sizeof(word), "%.*s", ISOLA_FMT(words[1]));
    struct isola_slice op = words[0];
    uint64_t id = 0;
    if (storage_op(v, a, t, words) || sql_op(v, a, t, words))
        return;
    if (isola_slice_is(op, "add") || isola_slice_is(op, "get") || isola_slice_is(op, "bad")) {
        state_op(v, a, t, words);
    } else if (isola_slice_is(op, "echo")) {
        snprintf(t->text, sizeof(t->text), "%s", word);
        t->is_text = true;
    } else if (isola_slice_is(op, "throw")) {
        fail(t, ISOLA_ESCRIPT, "%s", word);
    } else if (isola_slice_is(op, "throwif")) {
        if (fake__flagged(word))
            fail(t, ISOLA_ESCRIPT, "%s is set", word);
    } else if (isola_slice_is(op, "crash")) {
        v->in_op = true;
        v->ops->crash(v->arg, a->serial, words[1]);
        v->in_op = false;
    } else if (isola_slice_is(op, "ask") || isola_slice_is(op, "tryask") ||
               isola_slice_is(op, "dask")) {
        ask(v, a, t, words);
    } else if (isola_slice_is(op, "emit")) {
        struct isola_v8_send s = {
            .kind = ISOLA_MSG_EMIT, .dst = words[1], .event = isola_slice_str("run")};
        uint32_t epoch;
        struct isola_err err;
        uint32_t to = v->ops->refer(v->arg, words[1], &epoch, &err);
        bool room = to == 0 || !v->ops->crowded(v->arg) || !v->ops->congested(v->arg, to);
        if (send_out(v, a, t, &s, words[2], &id) == 0)
            set_value(t, room);
    } else if (isola_slice_is(op, "demit")) {
        struct isola_v8_send s = {.kind = ISOLA_MSG_EMIT,
                                  .durable = true,
                                  .dst = words[1],
                                  .event = isola_slice_str("run")};
        if (send_out(v, a, t, &s, words[2], &id) == 0)
            set_value(t, id == 0);
    } else if (isola_slice_is(op, "droom")) {
        v->asks = (v->asks + 1) & 0x1fffffff;
        t->id = (uint64_t)v->asks << ISOLA_ASK_SLOT_BITS | v->asks % FAKE_SLOTS;
        t->wait = FAKE_ASK;
        t->try = false;
        v->in_op = true;
        v->ops->pace(v->arg, a->serial, t->id, (struct isola_slice){0});
        v->in_op = false;
    } else if (isola_slice_is(op, "sub") || isola_slice_is(op, "monitor")) {
        subscribe(v, a, t, words);
    } else if (isola_slice_is(op, "unsub")) {
        unsubscribe(v, a, t);
    } else if (isola_slice_is(op, "pub")) {
        publish(v, a, t, words);
    } else if (isola_slice_is(op, "hold")) {
        snprintf(t->hold, sizeof(t->hold), "%.*s", ISOLA_FMT(words[1]));
        t->opened = false;
        t->wait = FAKE_HOLD;
    } else if (isola_slice_is(op, "open")) {
        open_holds(v, words[1]);
    } else if (isola_slice_is(op, "timer")) {
        t->id = set_timer(v, a, number(words[1]));
        t->wait = FAKE_TIMER;
    } else if (isola_slice_is(op, "later")) {
        later(v, a, words);
    } else if (isola_slice_is(op, "task")) {
        t->wait = words[1].len > 0 ? FAKE_LATE_TASK : FAKE_TASK;
        fake__post(v->poster, (uint64_t)number(words[1]), words[1].len > 0);
    } else if (isola_slice_is(op, "block")) {
        fake__block(word);
    } else if (isola_slice_is(op, "watch")) {
        v->in_op = true;
        set_value(t, v->ops->watch(v->arg, a->serial, t->turn));
        v->in_op = false;
    } else if (isola_slice_is(op, "loop") || isola_slice_is(op, "spin") ||
               isola_slice_is(op, "grow")) {
        use_up(v, words, word);
    } else if (isola_slice_is(op, "spawn")) {
        spawn(v, a, t, words);
    } else if (isola_slice_is(op, "schedule")) {
        schedule(v, a, t, words);
    } else if (isola_slice_is(op, "cancel")) {
        cancel_timer(v, a, t, words[1]);
    } else if (isola_slice_is(op, "schedules")) {
        count_timers(v, a, t);
    } else if (isola_slice_is(op, "trace")) {
        read_trace(v, a, t);
    } else if (isola_slice_is(op, "log")) {
        v->in_op = true;
        v->ops->log(v->arg, a->serial, ISOLA_LOG_INFO, words[1]);
        v->in_op = false;
    } else if (isola_slice_is(op, "from")) {
        char said[60];
        snprintf(said, sizeof(said), "from %s", a->from);
        fake__note(a->address, said);
    } else if (isola_slice_is(op, "note")) {
        fake__note(a->address, word);
    } else {
        fprintf(stderr, "fake_v8: there is no operation \"%.*s\"\n", ISOLA_FMT(op));
        abort();
    }
}

bool fake__run(struct isola_v8 *v, struct fake_actor *a, struct fake_task *t)
{
    struct isola_slice words[WORDS];
    v->current = a;
    while (t->code == 0 && t->wait == FAKE_NOTHING && next_op(t, words) > 0) {
        bool deaf = isola_slice_is(words[2], "deaf") || isola_slice_is(words[1], "deaf");
        if (!deaf && fake__ending(v) != 0)
            break;
        operate(v, a, t, words);
    }
    if (t->wait == FAKE_NOTHING && fake__ending(v) != 0)
        t->wait = FAKE_CUT_OFF;
    return t->wait == FAKE_NOTHING;
}
