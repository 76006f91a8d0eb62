/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_calls.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/service_log.h"

#define CALLS_MAX         10000
#define CALL_BYTES_MAX    ((size_t)64 << 20) /* but for one that is alone */
#define WAITING_MAX       1000
#define WAITING_BYTES_MAX ((size_t)16 << 20)
#define QUEUED_MAX        ((size_t)32 << 20) /* bytes that a taker, or the actor-host, has not read */
#define SUBS_MAX          100000
#define GRACE_MS          1000 /* the asker says ETIMEDOUT itself */
#define DROPS_SAID        20   /* a second */

/* An ask, or an emit that waits. */
struct isola__call {
    struct isola__ask ask;          /* first; an emit's is not registered */
    struct isola__call *next, **at; /* in one of the lists of its line */
    struct isola__line *line;       /* NULL: it has ended, and a taker has this */
    struct isola__agent *agent;
    uint64_t id; /* as the actor-host calls it; 0: an emit */
    size_t bytes;
    struct isola_msg *msg; /* while it waits */
};

struct sub {
    struct sub *next, **at;
    struct list *list;
    uint64_t id;
    struct isola_slice address, key; /* owned; within address */
};
struct list {
    struct sub *first, **last; /* last: where the next one goes */
    char *name;                /* its key in `heard` */
    size_t len;
};

/* --- the actor-host --- */

/* A full queue is the trouble of who waits for this, and no reason to give up the actor-host. */
static int to_host(struct isola__agent *agent, const struct isola_msg *m)
{
    struct isola__conn *conn = isola__host_conn(&agent->host);
    return conn != NULL && conn->link != NULL ? isola_link_send_msg(conn->link, m) : ISOLA_ECLOSED;
}

static void fail_to_host(struct isola__agent *agent, uint64_t id, int code, const char *why)
{
    struct isola_msg *f = id != 0 ? isola_msg_fail(id, code, "%s", why) : NULL;
    if (f != NULL)
        (void)!to_host(agent, f);
    free(f);
}

static void answer_to_host(struct isola__agent *agent, uint64_t id, const struct isola_msg *answer)
{
    struct isola_msg m = *answer;
    m.id = id;
    m.src = m.dst = (struct isola_slice){0};
    int rc = to_host(agent, &m);
    if (rc < 0 && rc != ISOLA_ECLOSED)
        fail_to_host(agent, id, rc, isola_error_text(rc));
}

static bool reads(const struct isola__conn *conn)
{
    struct isola_link_stats stats = {0};
    if (conn == NULL || conn->link == NULL)
        return false;
    isola_link_stats(conn->link, &stats);
    return stats.queued_bytes <= QUEUED_MAX;
}

/* --- calls --- */

static void put_in(struct isola__call *c, struct isola__call **at)
{
    c->at = at;
    c->next = *at;
    if (c->next != NULL)
        c->next->at = &c->next;
    *at = c;
}

/* Out of the list it is in. */
static void take_out(struct isola__call *c)
{
    struct isola__line *l = c->line;
    if (l != NULL && c->msg != NULL) {
        if (l->last == &c->next)
            l->last = c->at;
        l->nwaiting--;
        l->waiting_bytes -= c->bytes;
    } else if (l != NULL) {
        l->nunder--;
        l->under_bytes -= c->bytes;
    }
    if (l != NULL) {
        *c->at = c->next;
        if (c->next != NULL)
            c->next->at = c->at;
    }
    c->line = NULL;
}

static void call_free(struct isola__call *c)
{
    take_out(c);
    if (c->id != 0)
        isola_idmap_del(&c->agent->services.calls.by_id, c->id);
    free(c->msg);
    free(c);
}

static void answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__call *c = (struct isola__call *)ask;
    answer_to_host(c->agent, c->id, answer);
    call_free(c);
}

/* Says that a message is lost, and answers an ask with why. */
static void refuse(struct isola__line *l, const struct isola_msg *m, int code, const char *why)
{
    if (m->kind == ISOLA_MSG_ASK) {
        fail_to_host(l->agent, m->id, code, why);
        return;
    }
    uint64_t second = isola_clock_ms() / 1000;
    if (l->second != second)
        l->drops = 0;
    l->second = second;
    if (++l->drops > DROPS_SAID)
        return;
    struct isola__service_log log = {
        .logs = &l->agent->logs, .node = l->agent->opt.name, .address = l->address};
    isola__service_log_say(&log, "warn", "\"%.*s\" was dropped: %s", ISOLA_FMT(m->event), why);
}

/* NULL: there is no room. */
static struct isola__call *call_new(struct isola__line *l, const struct isola_msg *m)
{
    struct isola__call *c = isola_zalloc(sizeof(*c));
    c->agent = l->agent;
    c->bytes = m->args.len;
    c->ask.cb = answered;
    if (m->kind != ISOLA_MSG_ASK)
        return c;
    if (m->id == 0 || isola_idmap_get(&l->agent->services.calls.by_id, m->id) != NULL ||
        !isola__asks_add(&l->agent->asks, &c->ask, m->timeout_ms, GRACE_MS)) {
        free(c);
        return NULL;
    }
    c->id = m->id;
    isola_idmap_add(&l->agent->services.calls.by_id, c->id, c);
    return c;
}

/* To the taker. */
static void pass(struct isola__line *l, const struct isola_msg *m, uint64_t id)
{
    struct isola_msg out = *m;
    out.id = id;
    out.chain = (struct isola_slice){0};
    out.flags = 0;
    (void)isola__conn_send(&l->taker->conn, &out);
}

/* Why not: empty, if there is nothing to say against it. */
static bool may_send(const struct isola__line *l, const struct isola_msg *m, char why[700])
{
    why[0] = '\0';
    if (m->kind == ISOLA_MSG_ASK &&
        (l->nunder >= CALLS_MAX ||
         (l->nunder > 0 && l->under_bytes + m->args.len > CALL_BYTES_MAX)))
        snprintf(why, 700, "%s has %zu asks of %zu bytes under way already", l->address, l->nunder,
                 l->under_bytes);
    else if (!reads(&l->taker->conn))
        snprintf(why, 700, "%s does not read what it is sent: %zu MB wait for it", l->address,
                 QUEUED_MAX >> 20);
    return why[0] == '\0';
}

static void give(struct isola__line *l, const struct isola_msg *m)
{
    char why[700];
    if (!may_send(l, m, why)) {
        refuse(l, m, ISOLA_EOVERLOAD, why);
        return;
    }
    if (m->kind == ISOLA_MSG_EMIT) {
        pass(l, m, 0);
        return;
    }
    struct isola__call *c = call_new(l, m);
    if (c == NULL) {
        refuse(l, m, ISOLA_EOVERLOAD, "the node has too many requests under way");
        return;
    }
    c->line = l;
    put_in(c, &l->under);
    l->nunder++;
    l->under_bytes += c->bytes;
    isola__asks_sent(&c->ask, &l->taker->conn);
    pass(l, m, c->ask.id);
}

static void let_wait(struct isola__line *l, const struct isola_msg *m)
{
    char why[700];
    if (l->nwaiting >= WAITING_MAX ||
        (l->nwaiting > 0 && l->waiting_bytes + m->args.len > WAITING_BYTES_MAX)) {
        snprintf(why, sizeof(why), "%zu messages of %zu bytes wait for %s to begin already",
                 l->nwaiting, l->waiting_bytes, l->address);
        refuse(l, m, ISOLA_EOVERLOAD, why);
        return;
    }
    struct isola__call *c = call_new(l, m);
    struct isola_msg *copy = c != NULL ? isola_msg_copy(m) : NULL;
    if (copy == NULL) {
        refuse(l, m, ISOLA_EOVERLOAD, "the node has too many requests under way");
        if (c != NULL && c->id != 0)
            isola__asks_drop(&l->agent->asks, &c->ask);
        if (c != NULL)
            call_free(c);
        return;
    }
    c->msg = copy;
    c->line = l;
    put_in(c, l->last);
    l->last = &c->next;
    l->nwaiting++;
    l->waiting_bytes += c->bytes;
}

/* --- lines --- */

void isola__line_init(struct isola__line *l, struct isola__agent *agent, const char *address)
{
    l->agent = agent;
    l->last = &l->waiting;
    snprintf(l->address, sizeof(l->address), "%s", address);
}

/* The first that waits is nobody's any more: its message, the caller's. */
static struct isola_msg *take_first(struct isola__line *l)
{
    struct isola__call *c = l->waiting;
    take_out(c);
    struct isola_msg *m = c->msg;
    c->msg = NULL;
    if (c->id != 0)
        isola__asks_drop(&l->agent->asks, &c->ask);
    call_free(c);
    return m;
}

void isola__line_set(struct isola__line *l, struct isola__client *taker)
{
    l->taker = taker;
    while (l->taker != NULL && l->waiting != NULL) {
        struct isola_msg *m = take_first(l);
        give(l, m);
        free(m);
    }
}

void isola__line_fail(struct isola__line *l, int code, const char *why)
{
    while (l->waiting != NULL) {
        struct isola_msg *m = take_first(l);
        refuse(l, m, code, why);
        free(m);
    }
}

void isola__line_again(struct isola__line *l)
{
    for (size_t n = l->nwaiting; n > 0; n--) {
        struct isola_msg *m = take_first(l);
        isola__calls_message(l->agent, m);
        free(m);
    }
}

void isola__line_end(struct isola__line *l, const char *why)
{
    l->taker = NULL;
    isola__line_fail(l, ISOLA_EUNREACHABLE, why);
    while (l->under != NULL)
        take_out(l->under);
}

/* --- subscriptions --- */

static void name_of(const struct isola_address *at, struct isola_slice event, struct isola_buf *out)
{
    isola_buf_printf(out, "%.*s/%.*s", ISOLA_FMT(at->app), ISOLA_FMT(at->type));
    isola_buf_append(out, "", 1);
    isola_buf_append(out, event.data, event.len);
}

static void sub_free(struct isola__calls *calls, struct sub *s)
{
    struct list *list = s->list;
    *s->at = s->next;
    if (s->next != NULL)
        s->next->at = s->at;
    else
        list->last = s->at;
    isola_idmap_del(&calls->subs, s->id);
    free((void *)(uintptr_t)s->address.data);
    free(s);
    if (list->first != NULL)
        return;
    isola_map_del(&calls->heard, isola_slice(list->name, list->len));
    free(list->name);
    free(list);
}

static void say_down(struct isola__agent *agent, const struct sub *s, const char *reason,
                     const char *message)
{
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 3);
    isola_mp_cstr(&args, "address");
    isola_mp_str(&args, s->address);
    isola_mp_kstr(&args, "reason", reason);
    isola_mp_kstr(&args, "message", message);
    struct isola_msg out = {.kind = ISOLA_MSG_EVENT,
                            .id = s->id,
                            .src = s->address,
                            .event = isola_slice_str(ISOLA_DOWN),
                            .args = isola_buf_slice(&args)};
    (void)!to_host(agent, &out);
    isola_buf_free(&args);
}

/* One that is down for good already is so for who begins to monitor it. */
static void say_if_down(struct isola__agent *agent, const struct isola_address *at,
                        const struct sub *s)
{
    struct isola_err err;
    if (isola__services_line(&agent->services, at, &err) == NULL)
        return; /* it has not begun here */
    if (err.code == ISOLA_EFAILED)
        say_down(agent, s, "failed", err.text);
    else if (err.code == ISOLA_EUNREACHABLE)
        say_down(agent, s, "stopped", err.text);
}

static void subscribe(struct isola__agent *agent, const struct isola_address *at,
                      const struct isola_msg *m)
{
    struct isola__calls *calls = &agent->services.calls;
    if (m->id == 0 || isola_idmap_get(&calls->subs, m->id) != NULL)
        return;
    if (calls->subs.count >= SUBS_MAX) {
        fail_to_host(agent, m->id, ISOLA_EOVERLOAD, "its node has too many subscriptions already");
        return;
    }
    struct isola_buf name = {0};
    name_of(at, m->event, &name);
    struct list *list = isola_map_get(&calls->heard, isola_buf_slice(&name));
    if (list == NULL) {
        list = isola_zalloc(sizeof(*list));
        list->last = &list->first;
        list->len = name.len;
        list->name = isola_alloc(name.len);
        memcpy(list->name, name.data, name.len);
        isola_map_set(&calls->heard, isola_buf_slice(&name), list);
    }
    isola_buf_free(&name);
    struct sub *s = isola_zalloc(sizeof(*s));
    s->list = list;
    s->id = m->id;
    s->address = isola_slice(isola_strndup((const char *)m->dst.data, m->dst.len), m->dst.len);
    s->key = isola_slice(s->address.data + (at->key.data - m->dst.data), at->key.len);
    s->at = list->last;
    *s->at = s;
    list->last = &s->next;
    isola_idmap_add(&calls->subs, s->id, s);
    if (isola_slice_is(m->event, ISOLA_DOWN))
        say_if_down(agent, at, s);
}

static const struct list *heard(struct isola__agent *agent, const char *type,
                                struct isola_slice event)
{
    struct isola_buf name = {0};
    isola_buf_append(&name, type, strlen(type) + 1);
    isola_buf_append(&name, event.data, event.len);
    const struct list *list = isola_map_get(&agent->services.calls.heard, isola_buf_slice(&name));
    isola_buf_free(&name);
    return list;
}

void isola__calls_down(struct isola__agent *agent, const char *type, unsigned number,
                       unsigned instances, const char *reason, const char *message)
{
    const struct list *list = heard(agent, type, isola_slice_str(ISOLA_DOWN));
    for (const struct sub *s = list != NULL ? list->first : NULL; s != NULL; s = s->next)
        if (isola__calls_instance(s->key, instances) == number)
            say_down(agent, s, reason, message);
}

void isola__calls_event(struct isola__agent *agent, const char *type, unsigned number,
                        unsigned instances, const struct isola_msg *m)
{
    const struct list *list = heard(agent, type, m->event);
    for (const struct sub *s = list != NULL ? list->first : NULL; s != NULL; s = s->next) {
        if (isola__calls_instance(s->key, instances) != number ||
            !reads(isola__host_conn(&agent->host)))
            continue;
        struct isola_msg out = {.kind = ISOLA_MSG_EVENT,
                                .id = s->id,
                                .src = s->address,
                                .event = m->event,
                                .trace = m->trace,
                                .args = m->args};
        (void)!to_host(agent, &out);
    }
}

unsigned isola__calls_instance(struct isola_slice key, unsigned instances)
{
    unsigned n = 0;
    bool number = key.len > 0 && key.len < 6 && (key.data[0] != '0' || key.len == 1);
    for (size_t i = 0; i < key.len && number; i++) {
        number = key.data[i] >= '0' && key.data[i] <= '9';
        n = 10 * n + key.data[i] - '0';
    }
    if (number && n < instances)
        return n;
    return instances > 0 ? (unsigned)(isola_hash(key.data, key.len, 0) % instances) : 0;
}

/* --- what comes --- */

static void cancel(struct isola__agent *agent, const struct isola_msg *m)
{
    struct isola__call *c = isola_idmap_get(&agent->services.calls.by_id, m->id);
    if (c == NULL)
        return;
    if (c->ask.conn != NULL) {
        struct isola_msg out = {.kind = ISOLA_MSG_CANCEL, .id = c->ask.id, .dst = m->dst};
        (void)isola__conn_send(c->ask.conn, &out);
    }
    isola__asks_drop(&agent->asks, &c->ask);
    call_free(c);
}

void isola__calls_message(struct isola__agent *agent, const struct isola_msg *m)
{
    struct isola__calls *calls = &agent->services.calls;
    struct isola_address at;
    struct isola_err err = {0};
    struct isola__line *l;
    struct sub *s;
    if (isola_address_parse(m->dst, &at, &err) != 0) {
        fail_to_host(agent, m->id, ISOLA_EINVAL, err.text);
        return;
    }
    switch (m->kind) {
    case ISOLA_MSG_ASK:
    case ISOLA_MSG_EMIT:
        l = isola__services_line(&agent->services, &at, &err);
        if (l == NULL)
            fail_to_host(agent, m->kind == ISOLA_MSG_ASK ? m->id : 0, err.code, err.text);
        else if (l->taker != NULL)
            give(l, m);
        else if (err.code != 0)
            refuse(l, m, err.code, err.text);
        else
            let_wait(l, m);
        break;
    case ISOLA_MSG_SUB:
        subscribe(agent, &at, m);
        break;
    case ISOLA_MSG_UNSUB:
        s = isola_idmap_get(&calls->subs, m->id);
        if (s != NULL)
            sub_free(calls, s);
        break;
    case ISOLA_MSG_CANCEL:
        cancel(agent, m);
        break;
    default:
        fail_to_host(agent, m->id, ISOLA_EINVAL, "a service takes no messages of that kind");
    }
}

void isola__calls_host_down(struct isola__agent *agent)
{
    struct isola__calls *calls = &agent->services.calls;
    struct isola_idmap old = calls->by_id, subs = calls->subs;
    calls->by_id = calls->subs = (struct isola_idmap){0};
    ISOLA_IDMAP_EACH(&old, c)
    {
        isola__asks_drop(&agent->asks, &((struct isola__call *)c)->ask);
        call_free(c);
    }
    ISOLA_IDMAP_EACH(&subs, s)
    sub_free(calls, s);
    isola_idmap_free(&old);
    isola_idmap_free(&subs);
    isola_map_free(&calls->heard);
}
