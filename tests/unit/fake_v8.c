/* SPDX-License-Identifier: Apache-2.0
 *
 * The isolates of fake_v8.h: the contract's checks, and when programs are begun, resumed and ended.
 * What the operations do is in fake_script.c.
 */
#include "fake_v8.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "fake_script.h"

/* --- enter and leave --- */

static struct fake_actor *find(struct isola_v8 *v, uint32_t serial)
{
    for (struct fake_actor *a = v->actors; a != NULL; a = a->next)
        if (a->serial == serial)
            return a;
    return NULL;
}

static struct isola_v8 *checked(struct isola_js *js)
{
    ISOLA_CHECK(js->magic == FAKE_MAGIC && js->v->magic == FAKE_MAGIC);
    ISOLA_CHECK(js->v->visiting && pthread_equal(js->v->visitor, pthread_self()));
    ISOLA_CHECK(!js->v->in_op && !atomic_load(&js->v->entered));
    return js->v;
}

/* NULL: nothing runs in it any more. */
static struct isola_v8 *enter(struct isola_js *js, uint32_t actor, uint32_t turn)
{
    struct isola_v8 *v = checked(js);
    if (v->dead)
        return NULL;
    atomic_store(&v->entered, true);
    v->current = NULL;
    if (v->ops->enter != NULL)
        v->ops->enter(v->arg, actor, turn);
    return v;
}

/* What was to go on in this entry never does, as V8 drops the promise continuations that were still
 * to run. */
static void cut_off(struct isola_v8 *v)
{
    for (struct fake_actor *a = v->actors; a != NULL; a = a->next)
        for (struct fake_task *t = a->tasks; t != NULL; t = t->next)
            if (t->opened) {
                t->opened = false;
                t->wait = FAKE_CUT_OFF;
            }
}

static void leave(struct isola_v8 *v, uint32_t actor)
{
    if (v->ops->leave != NULL)
        v->ops->leave(v->arg);
    atomic_store(&v->entered, false);
    int why = fake__ending(v);
    if (why == 0) {
        fake__left(v, true);
        return;
    }
    cut_off(v);
    v->in_op = true;
    bool lives = v->ops->ended != NULL &&
                 v->ops->ended(v->arg, v->current != NULL ? v->current->serial : actor,
                               (enum isola_v8_end)why);
    v->in_op = false;
    v->dead = !lives || why != ISOLA_V8_TERMINATED;
    for (struct fake_actor *a = v->actors; v->dead && a != NULL; a = a->next) {
        fake__alive(a->address, false);
        a->ended = true;
    }
    v->where[0] = '\0';
    fake__left(v, !v->dead);
}

int isola_v8_open(const struct isola_v8_ops *ops, void *arg, struct isola_v8_limits limits,
                  const struct isola_v8_image *image, struct isola_v8 **out, struct isola_err *err)
{
    (void)limits;
    (void)image;
    if (!fake__opened())
        return isola_fail(err, ISOLA_ENOMEM, "no room for an isolate");
    struct isola_v8 *v = isola_zalloc(sizeof(*v));
    v->magic = FAKE_MAGIC;
    v->ops = ops;
    v->arg = arg;
    v->poster = fake__poster_new(v);
    *out = v;
    return 0;
}

void isola_v8_adopt(struct isola_v8 *v, void *arg)
{
    ISOLA_CHECK(v->magic == FAKE_MAGIC && v->arg == NULL && !v->visiting && v->actors == NULL);
    v->arg = arg;
}

static void free_task(struct fake_task *t)
{
    free(t->program);
    free(t);
}

static void drop_actor(struct isola_v8 *v, struct fake_actor *a)
{
    struct fake_actor **at = &v->actors;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    while (a->tasks != NULL) {
        struct fake_task *t = a->tasks;
        a->tasks = t->next;
        free_task(t);
    }
    while (a->subs != NULL) {
        struct fake_sub *s = a->subs;
        a->subs = s->next;
        free(s->address);
        free(s->event);
        free(s);
    }
    if (!a->ended)
        fake__alive(a->address, false);
    if (v->current == a)
        v->current = NULL;
    free(a->address);
    free(a);
}

void isola_v8_close(struct isola_v8 *v)
{
    ISOLA_CHECK(v->magic == FAKE_MAGIC && !v->visiting);
    v->magic = 0;
    fake__poster_close(v->poster);
    while (v->actors != NULL)
        drop_actor(v, v->actors);
    while (v->modules != NULL) {
        struct fake_module *m = v->modules;
        v->modules = m->next;
        free(m->type);
        free(m->code);
        free(m);
    }
    isola_map_free(&v->serials);
    free(v->records);
    free(v);
    fake__closed();
}

void isola_v8_visit(struct isola_v8 *v, void (*fn)(struct isola_js *js, void *arg), void *arg)
{
    ISOLA_CHECK(v->magic == FAKE_MAGIC && !v->visiting);
    v->visiting = true;
    v->visitor = pthread_self();
    struct isola_js js = {FAKE_MAGIC, v};
    fn(&js, arg);
    js.magic = 0;
    ISOLA_CHECK(v->magic == FAKE_MAGIC && !v->in_op);
    v->visiting = false;
}

void isola_v8_terminate(struct isola_v8 *v)
{
    ISOLA_CHECK(v->magic == FAKE_MAGIC);
    fake__end(v, ISOLA_V8_TERMINATED);
}

void isola_v8_halt(struct isola_v8 *v)
{
    ISOLA_CHECK(v->magic == FAKE_MAGIC);
    if (atomic_load(&v->entered))
        fake__halt(v);
}

void isola_v8_where(struct isola_v8 *v, struct isola_buf *out)
{
    ISOLA_CHECK(v->magic == FAKE_MAGIC && v->in_op);
    isola_buf_puts(out, v->where);
}

void isola_v8_interrupt(struct isola_v8 *v)
{
    ISOLA_CHECK(v->magic == FAKE_MAGIC); /* and what waits is done in the next visit */
}

/* --- programs --- */

static void take_task(struct fake_actor *a, const struct fake_task *t)
{
    struct fake_task **at = &a->tasks;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
}

static void end_task(struct isola_v8 *v, struct fake_actor *a, struct fake_task *t)
{
    struct isola_buf args = {0};
    bool ok = t->code == 0;
    isola_mp_array(&args, 1);
    if (!ok)
        isola_mp_error(&args, t->code, t->text, NULL);
    else if (t->is_text)
        isola_mp_cstr(&args, t->text);
    else
        isola_mp_int(&args, t->value);
    take_task(a, t);
    v->in_op = true;
    if (t->kind == FAKE_TURN) {
        v->ops->drains(v->arg, true);
        const struct fake_record *r = v->runs ? &v->records[v->at] : NULL;
        if (ok && r != NULL && r->is_turn && r->actor == a->serial && r->turn == t->turn)
            v->ops->finished(v->arg, (uint32_t)v->at, isola_buf_slice(&args), NULL);
        else
            v->ops->done(v->arg, a->serial, t->turn, ok, isola_buf_slice(&args), NULL);
        v->ops->drained(v->arg);
    } else if (t->kind == FAKE_START) {
        a->active = ok;
        v->ops->activated(v->arg, a->serial, ok ? (struct isola_slice){0} : isola_buf_slice(&args));
    } else if (!ok) {
        v->ops->crash(v->arg, a->serial, isola_slice_str(t->text));
    }
    v->in_op = false;
    isola_buf_free(&args);
    free_task(t);
}

/* Goes on with one program that was waiting for what has been opened. */
static bool resume_one(struct isola_v8 *v)
{
    for (struct fake_actor *a = v->actors; a != NULL; a = a->next)
        for (struct fake_task *t = a->tasks; t != NULL; t = t->next)
            if (t->opened) {
                t->opened = false;
                t->wait = FAKE_NOTHING;
                if (fake__run(v, a, t))
                    end_task(v, a, t);
                return true;
            }
    return false;
}

static void resume_opened(struct isola_v8 *v)
{
    while (fake__ending(v) == 0 && resume_one(v))
        ;
}

static void run(struct isola_v8 *v, struct fake_actor *a, struct fake_task *t)
{
    if (fake__run(v, a, t))
        end_task(v, a, t);
    resume_opened(v);
}

static struct fake_task *begin(struct fake_actor *a, enum fake_task_kind kind, uint32_t turn,
                               struct isola_slice program)
{
    struct fake_task *t = isola_zalloc(sizeof(*t));
    t->kind = kind;
    t->turn = turn;
    t->program = isola_strndup(program.len > 0 ? (const char *)program.data : "", program.len);
    struct fake_task **end = &a->tasks;
    while (*end != NULL)
        end = &(*end)->next;
    *end = t;
    return t;
}

static struct fake_actor *ready(struct isola_v8 *v, uint32_t serial, uint32_t turn)
{
    struct fake_actor *a = find(v, serial);
    ISOLA_CHECK(a != NULL && a->active && turn != 0);
    for (struct fake_task *t = a->tasks; t != NULL; t = t->next)
        ISOLA_CHECK(t->kind != FAKE_TURN || (t->turn != turn && a->module->reentrant));
    return a;
}

/* NULL: nothing runs in the isolate any more. */
static struct fake_actor *turn_of(struct isola_js *js, uint32_t serial, uint32_t turn)
{
    struct isola_v8 *v = enter(js, serial, turn);
    return v != NULL ? ready(v, serial, turn) : NULL;
}

static struct isola_slice first_text(struct isola_slice args)
{
    struct isola_slice value;
    struct isola_mp_item item = {0};
    if (!isola_mp_at(args, 0, &value))
        return (struct isola_slice){0};
    struct isola_mp_reader r = isola_mp_reader(value);
    return isola_mp_next(&r, &item) == 0 && item.type == ISOLA_MP_STR ? item.bytes
                                                                      : (struct isola_slice){0};
}

static void add(struct isola_js *js, struct fake_record record)
{
    struct isola_v8 *v = js->v;
    if (v->records == NULL)
        v->records = isola_zalloc(FAKE_BATCH * sizeof(*v->records));
    ISOLA_CHECK(v->nrecords < FAKE_BATCH);
    v->records[v->nrecords++] = record;
}

void isola_js_deliver(struct isola_js *js, uint32_t actor, uint32_t turn, bool is_ask,
                      struct isola_slice event, struct isola_slice args, struct isola_block *block)
{
    struct isola_v8 *v = checked(js);
    (void)is_ask, (void)block;
    (void)event;
    if (!v->dead)
        (void)ready(v, actor, turn);
    add(js, (struct fake_record){.is_turn = true, .actor = actor, .turn = turn, .args = args});
}

void isola_js_hibernate(struct isola_js *js, uint32_t actor, uint32_t turn)
{
    struct fake_actor *a = turn_of(js, actor, turn);
    if (a == NULL)
        return;
    run(js->v, a, begin(a, FAKE_TURN, turn, fake__line(a->module->code, "stop ")));
    leave(js->v, actor);
}

static void note_down(const struct fake_actor *a, const struct fake_sub *s, struct isola_slice args)
{
    struct isola_slice info, address, reason, message;
    ISOLA_CHECK(isola_mp_at(args, 0, &info) && isola_mp_find_str(info, "address", &address) &&
                isola_mp_find_str(info, "reason", &reason) &&
                isola_mp_find_str(info, "message", &message));
    ISOLA_CHECK(isola_slice_is(address, s->address));
    char *note = isola_format("down %s %.*s", s->address, ISOLA_FMT(reason));
    fake__note(a->address, note);
    free(note);
}

void isola_js_event(struct isola_js *js, uint32_t actor, uint32_t turn, uint64_t sub,
                    struct isola_slice args)
{
    struct fake_actor *a = turn_of(js, actor, turn);
    struct isola_slice program = {0}; /* not this activation's subscription: nobody hears it */
    if (a == NULL)
        return;
    for (struct fake_sub *s = a->subs; s != NULL; s = s->next)
        if (s->id == sub && strcmp(s->event, FAKE_DOWN) == 0)
            note_down(a, s, args);
        else if (s->id == sub)
            program = first_text(args);
    run(js->v, a, begin(a, FAKE_TURN, turn, program));
    leave(js->v, actor);
}

/* --- modules and activations --- */

static void module_loaded(struct isola_v8 *v, struct fake_module *m, const char *error)
{
    struct isola_buf args = {0};
    if (error != NULL) {
        isola_mp_array(&args, 1);
        isola_mp_error(&args, ISOLA_EMODULE, error, NULL);
    }
    m->state = error == NULL ? FAKE_READY : FAKE_FAILED;
    v->in_op = true;
    v->ops->loaded(v->arg, isola_slice_str(m->type), isola_buf_slice(&args));
    v->in_op = false;
    isola_buf_free(&args);
}

static struct fake_module *module_of(struct isola_v8 *v, struct isola_slice type)
{
    for (struct fake_module *m = v->modules; m != NULL; m = m->next)
        if (isola_slice_is(type, m->type))
            return m;
    return NULL;
}

static void load_deaf(struct isola_slice until)
{
    char *name = isola_strndup((const char *)until.data, until.len);
    fake__deaf(name);
    free(name);
}

static void load(struct isola_v8 *v, struct isola_slice type, struct isola_slice code)
{
    struct fake_module *m = module_of(v, type);
    ISOLA_CHECK(m == NULL || m->state == FAKE_FAILED); /* one that failed may be tried again */
    if (m == NULL) {
        m = isola_zalloc(sizeof(*m));
        m->type = isola_strndup((const char *)type.data, type.len);
        m->code = isola_strndup((const char *)code.data, code.len);
        m->reentrant = strstr(m->code, "reentrant") != NULL;
        m->next = v->modules;
        v->modules = m;
    }
    m->state = FAKE_LOADING;
    struct isola_slice how = fake__line(m->code, "load ");
    char flag[64] = "";
    if (how.len > 7 && memcmp(how.data, "failif ", 7) == 0)
        snprintf(flag, sizeof(flag), "%.*s", (int)how.len - 7, (const char *)how.data + 7);
    if (isola_slice_is(how, "never"))
        return;
    if (isola_slice_is(how, "later"))
        fake__post(v->poster, 0, false);
    else if (how.len > 5 && memcmp(how.data, "deaf ", 5) == 0)
        load_deaf(isola_slice(how.data + 5, how.len - 5));
    else if (isola_slice_is(how, "loop"))
        ISOLA_CHECK(fake__loop(v, true)); /* and is loading for ever */
    else
        module_loaded(
            v, m, isola_slice_is(how, "fail") || fake__flagged(flag) ? "it does not parse" : NULL);
}

bool isola_js_load(struct isola_js *js, struct isola_slice type, struct isola_slice code,
                   struct isola_slice name, struct isola_slice cache)
{
    struct isola_v8 *v = enter(js, 0, 0);
    (void)name;
    if (v == NULL)
        return false;
    load(v, type, code);
    leave(v, 0);
    return cache.len > 0;
}

int isola_v8_image_new(struct isola_slice bytes, struct isola_slice code,
                       struct isola_v8_image **out, struct isola_err *err)
{
    (void)bytes;
    (void)code;
    (void)out;
    return isola_fail(err, ISOLA_EINVAL, "fake isolates start from no images");
}

void isola_v8_image_free(struct isola_v8_image *image)
{
    ISOLA_CHECK(image == NULL);
}

void isola_js_activate(struct isola_js *js, uint32_t actor, struct isola_slice app,
                       struct isola_slice type, struct isola_slice key, struct isola_slice state,
                       struct isola_slice no_state, struct isola_slice from)
{
    struct isola_v8 *v = enter(js, actor, 0);
    if (v == NULL)
        return;
    ISOLA_CHECK(actor != 0);
    ISOLA_CHECK(isola_map_set(&v->serials, isola_slice(&actor, sizeof(actor)), v) ==
                NULL); /* never twice */
    struct fake_actor *a = isola_zalloc(sizeof(*a));
    a->serial = actor;
    a->module = module_of(v, type);
    ISOLA_CHECK(a->module != NULL && a->module->state == FAKE_READY);
    a->address = isola_format("%.*s/%.*s/%.*s", ISOLA_FMT(app), ISOLA_FMT(type), ISOLA_FMT(key));
    snprintf(a->no_state, sizeof(a->no_state), "%.*s", ISOLA_FMT(no_state));
    snprintf(a->from, sizeof(a->from), "%.*s", ISOLA_FMT(from));
    fake__alive(a->address, true);
    if (state.len > 0) {
        struct isola_mp_reader r = isola_mp_reader(state);
        struct isola_mp_item item;
        ISOLA_CHECK(isola_mp_next(&r, &item) == 0 && item.type <= ISOLA_MP_INT);
        a->n = item.type == ISOLA_MP_UINT ? (int64_t)item.u : item.i;
    }
    a->next = v->actors;
    v->actors = a;
    struct isola_slice hook = fake__line(a->module->code, "upgrade ");
    struct isola_slice start = fake__line(a->module->code, "start ");
    if (hook.data != NULL) {
        v->in_op = true;
        v->ops->upgrades(v->arg, actor);
        v->in_op = false;
    }
    struct isola_buf program = {0}; /* both, one after the other */
    if (hook.data != NULL && from.data != NULL)
        isola_buf_printf(&program, "%.*s; ", ISOLA_FMT(hook));
    isola_buf_printf(&program, "%.*s", ISOLA_FMT(start));
    run(v, a, begin(a, FAKE_START, 0, isola_buf_slice(&program)));
    isola_buf_free(&program);
    leave(v, actor);
}

void isola_js_deactivate(struct isola_js *js, uint32_t actor)
{
    struct isola_v8 *v = enter(js, actor, 0);
    if (v == NULL)
        return;
    struct fake_actor *a = find(v, actor);
    if (a != NULL) /* else it had not come as far as its activation */
        drop_actor(v, a);
    leave(v, actor);
}

/* --- what programs wait for --- */

static struct fake_task *waiting(struct isola_v8 *v, enum fake_wait wait, uint64_t id,
                                 struct fake_actor **whose)
{
    for (*whose = v->actors; *whose != NULL; *whose = (*whose)->next)
        for (struct fake_task *t = (*whose)->tasks; t != NULL; t = t->next)
            if (t->wait == wait && t->id == id)
                return t;
    ISOLA_CHECK(!"what nobody waits for has come, or was cancelled");
    return NULL;
}

static void settle(struct isola_v8 *v, uint32_t actor, uint64_t id, bool ok,
                   struct isola_slice args)
{
    struct fake_actor *a;
    struct fake_task *t = waiting(v, FAKE_ASK, id, &a);
    ISOLA_CHECK(a->serial == actor);
    fake__answered(t, ok, args);
    run(v, a, t);
}

bool isola_js_settle(struct isola_js *js, uint32_t actor, uint64_t id, bool ok,
                     struct isola_slice args, struct isola_block *block)
{
    (void)block;
    add(js, (struct fake_record){.actor = actor, .id = id, .ok = ok, .args = args});
    return true;
}

void isola_js_forget(struct isola_js *js, uint32_t record)
{
    ISOLA_CHECK(record < js->v->nrecords);
    js->v->records[record].forgotten = true;
}

const int32_t *isola_js_at(struct isola_js *js)
{
    return &js->v->at;
}

static void run_record(struct isola_v8 *v, const struct fake_record *r)
{
    if (r->is_turn) {
        struct fake_actor *a = ready(v, r->actor, r->turn);
        run(v, a, begin(a, FAKE_TURN, r->turn, first_text(r->args)));
    } else if (find(v, r->actor) != NULL) { /* else its activation has ended meanwhile */
        settle(v, r->actor, r->id, r->ok, r->args);
    }
}

bool isola_js_run(struct isola_js *js)
{
    struct isola_v8 *v = checked(js);
    bool any = v->nrecords > 0, entered = false;
    for (uint32_t i = 0; i < v->nrecords && !v->dead; i++) {
        const struct fake_record *r = &v->records[i];
        __atomic_store_n(&v->at, (int32_t)i, __ATOMIC_RELAXED);
        if (r->forgotten)
            continue;
        if (!entered) {
            atomic_store(&v->entered, true);
            if (v->ops->run != NULL)
                v->ops->run(v->arg);
            entered = true;
        }
        v->current = NULL;
        v->runs = true;
        run_record(v, r);
        v->runs = false;
        if (fake__ending(v) != 0) {
            leave(v, r->actor);
            entered = false;
        }
    }
    if (entered)
        leave(v, 0);
    v->nrecords = 0;
    return any;
}

void isola_js_expire(struct isola_js *js, uint32_t actor, uint64_t id)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_error(&args, ISOLA_ETIMEDOUT, "the ask timed out", NULL);
    struct isola_v8 *v = enter(js, actor, 0);
    if (v != NULL) {
        settle(v, actor, id, false, isola_buf_slice(&args));
        leave(v, actor);
    }
    isola_buf_free(&args);
}

static void cancel(struct isola_v8 *v, const struct fake_task *t)
{
    v->in_op = true;
    v->ops->cancel(v->arg, t->id, isola_slice_str(t->asked));
    v->in_op = false;
}

void isola_js_cancelled(struct isola_js *js, uint32_t actor, uint64_t id)
{
    struct isola_v8 *v = enter(js, actor, 0);
    struct fake_actor *a;
    if (v == NULL)
        return;
    struct fake_task *t = waiting(v, FAKE_ASK, id, &a);
    ISOLA_CHECK(a->serial == actor);
    struct isola_buf args = {0};
    cancel(v, t);
    isola_mp_array(&args, 1);
    isola_mp_error(&args, ISOLA_ECANCELED, "cancelled", NULL);
    fake__answered(t, false, isola_buf_slice(&args));
    isola_buf_free(&args);
    run(v, a, t);
    leave(v, actor);
}

void isola_js_drop_ask(struct isola_js *js, uint32_t actor, uint64_t id)
{
    struct isola_v8 *v = enter(js, actor, 0);
    struct fake_actor *a;
    if (v == NULL)
        return;
    cancel(v, waiting(v, FAKE_ASK, id, &a));
    ISOLA_CHECK(a->serial == actor);
    leave(v, actor);
}

void isola_js_abort(struct isola_js *js, uint32_t actor, uint32_t turn, int code)
{
    struct isola_v8 *v = enter(js, actor, turn);
    if (v == NULL)
        return;
    const struct fake_actor *a = find(v, actor);
    ISOLA_CHECK(a != NULL && turn != 0);
    fake__note(a->address, isola_error_name(code));
    leave(v, actor);
}

uint64_t isola_js_next(struct isola_js *js, uint32_t actor, struct isola_slice cron,
                       struct isola_slice zone, uint64_t after)
{
    char text[24];
    ISOLA_CHECK(js->magic == FAKE_MAGIC && !js->v->in_op && isola_slice_is(zone, "UTC"));
    (void)actor;
    snprintf(text, sizeof(text), "%.*s", ISOLA_FMT(cron));
    uint64_t ms = strtoull(text, NULL, 10);
    return ms > 0 ? after + ms : 0;
}

void isola_js_timer(struct isola_js *js, uint32_t actor, uint64_t id)
{
    struct isola_v8 *v = enter(js, actor, 0);
    struct fake_actor *a;
    if (v == NULL)
        return;
    struct fake_task *t = waiting(v, FAKE_TIMER, id, &a);
    ISOLA_CHECK(a->serial == actor);
    t->wait = FAKE_NOTHING;
    run(v, a, t);
    leave(v, actor);
}

void isola_js_io(struct isola_js *js, uint32_t actor, uint64_t id, bool last,
                 struct isola_slice head, struct isola_slice body)
{
    (void)actor;
    (void)checked(js);
    (void)id;
    (void)last;
    (void)head;
    (void)body;
    ISOLA_CHECK(!"nothing was asked of the outside");
}

void isola_js_stored(struct isola_js *js, uint32_t actor, uint64_t id, int code, const char *why,
                     const struct isola_kept *items, size_t n, struct isola_slice beyond)
{
    struct isola_v8 *v = enter(js, actor, 0);
    struct fake_actor *a;
    if (v == NULL)
        return;
    struct fake_task *t = waiting(v, FAKE_STORED, id, &a);
    ISOLA_CHECK(a->serial == actor);
    fake__stored(t, code, why, items, n, beyond);
    run(v, a, t);
    leave(v, actor);
}

bool isola_js_stream(struct isola_js *js, uint32_t actor, struct isola_slice src, bool ended,
                     struct isola_slice args)
{
    (void)actor;
    (void)checked(js);
    (void)src;
    (void)ended;
    (void)args;
    return false; /* its scripts have no streams */
}

void isola_js_tasks(struct isola_js *js)
{
    struct isola_v8 *v = enter(js, 0, 0);
    if (v == NULL)
        return;
    bool late = false, tasks = fake__due(v->poster, &late);
    for (struct fake_module *m = v->modules; tasks && m != NULL; m = m->next)
        if (m->state == FAKE_LOADING && isola_slice_is(fake__line(m->code, "load "), "later"))
            module_loaded(v, m, NULL);
    for (struct fake_actor *a = v->actors; a != NULL; a = a->next)
        for (struct fake_task *t = a->tasks; t != NULL; t = t->next)
            if ((tasks && t->wait == FAKE_TASK) || (late && t->wait == FAKE_LATE_TASK))
                t->opened = true;
    resume_opened(v);
    leave(v, 0);
}

int isola_js_state(struct isola_js *js, uint32_t actor, struct isola_buf *out, bool *touched,
                   struct isola_err *err)
{
    struct isola_v8 *v = enter(js, actor, 0);
    int r = 0;
    if (v == NULL)
        return isola_fail(err, ISOLA_ECLOSED, "its isolate has ended");
    struct fake_actor *a = find(v, actor);
    ISOLA_CHECK(a != NULL && a->active);
    *touched = a->touched;
    if (a->endless) {
        v->current = a;
        ISOLA_CHECK(fake__loop(v, false));
        r = isola_fail(err, ISOLA_ECLONE, "its script was ended");
    } else if (a->bad) {
        r = isola_fail(err, ISOLA_ECLONE, "state.f is a function");
    } else if (a->touched) {
        isola_mp_int(out, a->n);
    }
    leave(v, actor);
    return r;
}

unsigned isola_js_footprint(struct isola_js *js, const void **lines, unsigned max)
{
    (void)js;
    (void)lines;
    (void)max;
    return 0;
}

size_t isola_js_heap(struct isola_js *js)
{
    (void)checked(js);
    return 4096;
}
