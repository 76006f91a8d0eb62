/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/admin.h"
#include "node-agent/agent.h"
#include "node-agent/debug_far.h"
#include "node-agent/earlier.h"
#include "node-agent/inspect.h"
#include "node-agent/letters.h"
#include "node-agent/links.h"
#include "node-agent/service_debug.h"
#include "node-agent/status.h"
#include "node-agent/stores.h"
#include "node-agent/trust.h"
#include "transport/envelope.h"

#define CLIENT_ASKS_MAX  100000 /* an ask costs some 200 bytes here */
#define CLIENT_SUBS_MAX  100000
#define CLIENT_BYTES_MAX ((size_t)1 << 30)
#define GRACE_MS         1000 /* the actor-host says ETIMEDOUT itself, with more to tell */

/* An ask or stop of a client's on its way through the actor-host. */
struct isola__forward {
    struct isola__ask ask; /* first */
    struct isola__client *client;
    uint64_t client_id;
    size_t bytes;
    struct isola__forward *prev, *next;
    size_t ndst;
    char dst[]; /* whom it asks */
};

struct isola__sub {
    struct isola__ask ask; /* first; stays */
    struct isola__client *client;
    uint64_t client_id;
    bool answered; /* a repeated SUB is not answered again */
    char *dst, *event;
    size_t ndst, nevent;
};

/* --- asks --- */

static void forward_free(struct isola__forward *f)
{
    struct isola__client *c = f->client;
    if (f->prev != NULL)
        f->prev->next = f->next;
    else
        c->forwards = f->next;
    if (f->next != NULL)
        f->next->prev = f->prev;
    c->nforwards--;
    c->forward_bytes -= f->bytes;
    free(f);
}

static void forward_answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__forward *f = (struct isola__forward *)ask;
    isola__pass_answer(&f->client->conn, f->client_id, answer);
    forward_free(f);
}

static void fail_send(struct isola__client *c, uint64_t id, int rc)
{
    const char *name = c->conn.agent->opt.name;
    if (rc == ISOLA_EOVERLOAD)
        isola__fail(&c->conn, id, rc, "too many messages wait for the actor-host of node %s", name);
    else if (rc == ISOLA_ECLOSED)
        isola__fail(&c->conn, id, ISOLA_EUNREACHABLE, "the actor-host of node %s is going down",
                    name);
    else
        isola__fail(&c->conn, id, rc, "the actor-host of node %s cannot be given this: %s", name,
                    isola_error_text(rc));
}

static void forward(struct isola__client *c, const struct isola_msg *m, size_t bytes)
{
    struct isola__agent *agent = c->conn.agent;
    if (c->nforwards >= CLIENT_ASKS_MAX || bytes > CLIENT_BYTES_MAX - c->forward_bytes) {
        isola__fail(&c->conn, m->id, ISOLA_EOVERLOAD,
                    "this client has %zu requests of %zu bytes under way; wait for their answers",
                    c->nforwards, c->forward_bytes);
        return;
    }
    struct isola__forward *f = calloc(1, sizeof(*f) + m->dst.len);
    if (f == NULL || !isola__asks_add(&agent->asks, &f->ask, m->timeout_ms, GRACE_MS)) {
        free(f);
        isola__fail(&c->conn, m->id, ISOLA_EOVERLOAD, "node %s has too many requests under way",
                    agent->opt.name);
        return;
    }
    f->ask.cb = forward_answered;
    f->client = c;
    f->client_id = m->id;
    f->bytes = bytes;
    f->ndst = m->dst.len;
    memcpy(f->dst, m->dst.data, m->dst.len);
    f->next = c->forwards;
    if (f->next != NULL)
        f->next->prev = f;
    c->forwards = f;
    c->nforwards++;
    c->forward_bytes += bytes;

    struct isola_msg out = *m;
    out.id = f->ask.id;
    int rc = isola__host_send(&agent->host, &out, &f->ask);
    if (rc != 0) {
        fail_send(c, m->id, rc);
        isola__asks_drop(&agent->asks, &f->ask);
        forward_free(f);
    }
}

/* Nobody waits for it any more: forgets it, and tells the actor-host. */
static void forward_cancel(struct isola__forward *f)
{
    struct isola__agent *agent = f->client->conn.agent;
    struct isola_msg m = {
        .kind = ISOLA_MSG_CANCEL, .id = f->ask.id, .dst = isola_slice(f->dst, f->ndst)};
    if (agent->host.state == ISOLA_HOST_READY)
        (void)!isola__host_send(&agent->host, &m, NULL);
    isola__asks_drop(&agent->asks, &f->ask);
    forward_free(f);
}

static void cancel(struct isola__client *c, const struct isola_msg *m)
{
    struct isola__forward *f = c->forwards;
    while (f != NULL && f->client_id != m->id)
        f = f->next;
    if (f != NULL)
        forward_cancel(f);
}

static void forward_emit(struct isola__client *c, const struct isola_msg *m)
{
    struct isola_msg out = *m;
    out.id = 0;
    int rc = isola__host_send(&c->conn.agent->host, &out, NULL);
    if (rc == 0)
        return;
    if (c->dropped++ == 0)
        isola_log(ISOLA_LOG_WARN, "%s: its emits are dropped, the first to %.*s: %s", c->conn.label,
                  ISOLA_FMT(m->dst), isola_error_text(rc));
    fail_send(c, m->id, rc);
}

/* --- durable messages: not answered here, as the client sends them until they are --- */

#define CLIENT_PROGRAMS_MAX 1000

/* A name belongs to who has used it last: a client that has come back may do so before its old
 * connection has ended. */
static bool name_client(struct isola__client *c, struct isola_slice name)
{
    struct isola_map *programs = &c->conn.agent->clients.programs;
    struct isola__client *before = isola_map_get(programs, name);
    if (before == c)
        return true;
    if (c->nprograms >= CLIENT_PROGRAMS_MAX)
        return false;
    if (before != NULL)
        before->nprograms--;
    isola_map_set(programs, name, c);
    c->nprograms++;
    return true;
}

static void forget_names(struct isola__client *c)
{
    struct isola_map *programs = &c->conn.agent->clients.programs;
    while (c->nprograms > 0) {
        ISOLA_MAP_EACH(programs, e)
        {
            if (e->value != c)
                continue;
            (void)isola_map_del(programs, isola_slice(e->key, e->len));
            c->nprograms--;
            break;
        }
    }
}

static void fail_durable(struct isola__client *c, const struct isola_msg *m, int code,
                         const char *why)
{
    struct isola_msg *f = isola_msg_fail(0, code, "%s", why);
    if (f != NULL) {
        f->flags = ISOLA_MSG_DURABLE;
        f->seq = m->seq;
        f->src = m->dst;
        f->dst = m->src;
        (void)isola__conn_send(&c->conn, f);
    }
    free(f);
}

static void forward_durable(struct isola__client *c, const struct isola_msg *m)
{
    struct isola_address address;
    struct isola_err err;
    if (!isola_is_program(m->src) || (m->kind != ISOLA_MSG_ASK && m->kind != ISOLA_MSG_EMIT))
        isola__conn_refuse(&c->conn, "a durable message of a program has a `src` of `~` and 22 "
                                     "characters of base64url");
    else if (isola_address_parse(m->dst, &address, &err) != 0)
        fail_durable(c, m, ISOLA_EINVAL, err.text);
    else if (!name_client(c, m->src))
        isola__conn_refuse(&c->conn, "it has more than %d names", CLIENT_PROGRAMS_MAX);
    else
        (void)!isola__host_send(&c->conn.agent->host, m, NULL); /* else it comes again */
}

void isola__clients_durable(struct isola__clients *clients, const struct isola_msg *m)
{
    struct isola__client *c = isola_map_get(&clients->programs, m->dst);
    if (c != NULL)
        (void)isola__conn_send(&c->conn, m);
}

/* --- subscriptions --- */

static struct isola_slice sub_key(const uint64_t *id)
{
    return isola_slice(id, sizeof(*id));
}

static int sub_send(struct isola__sub *s, enum isola_msg_kind kind)
{
    struct isola__host *host = &s->client->conn.agent->host;
    struct isola_msg m = {.kind = kind,
                          .id = s->ask.id,
                          .dst = isola_slice(s->dst, s->ndst),
                          .event = isola_slice(s->event, s->nevent)};
    if (host->state != ISOLA_HOST_READY)
        return 0; /* it hears of all subscriptions when it comes */
    return isola__host_send(host, &m, kind == ISOLA_MSG_SUB ? &s->ask : NULL);
}

/* All but its entry in the client's table. */
static void sub_release(struct isola__sub *s)
{
    isola__asks_drop(&s->client->conn.agent->asks, &s->ask);
    free(s->dst);
    free(s->event);
    free(s);
}

static void sub_free(struct isola__sub *s)
{
    isola_map_del(&s->client->subs, sub_key(&s->client_id));
    sub_release(s);
}

static void sub_answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__sub *s = (struct isola__sub *)ask;
    if (answer->kind == ISOLA_MSG_FAIL || !s->answered)
        isola__pass_answer(&s->client->conn, s->client_id, answer);
    s->answered = true;
    if (answer->kind == ISOLA_MSG_FAIL)
        sub_free(s);
}

static void subscribe(struct isola__client *c, const struct isola_msg *m)
{
    struct isola__agent *agent = c->conn.agent;
    if (m->id == 0 || isola_map_get(&c->subs, sub_key(&m->id)) != NULL) {
        isola__fail(&c->conn, m->id, ISOLA_EINVAL,
                    "a subscription needs an id that no other has on its connection");
        return;
    }
    struct isola__sub *s = calloc(1, sizeof(*s));
    if (s == NULL || c->subs.count >= CLIENT_SUBS_MAX ||
        !isola__asks_add(&agent->asks, &s->ask, 0, 0)) {
        free(s);
        isola__fail(&c->conn, m->id, ISOLA_EOVERLOAD, "this client has %zu subscriptions already",
                    c->subs.count);
        return;
    }
    s->ask.cb = sub_answered;
    s->ask.stays = true;
    s->client = c;
    s->client_id = m->id;
    s->dst = isola_strndup((const char *)m->dst.data, m->dst.len);
    s->ndst = m->dst.len;
    s->event = isola_strndup((const char *)m->event.data, m->event.len);
    s->nevent = m->event.len;
    isola_map_set(&c->subs, sub_key(&s->client_id), s);
    int rc = sub_send(s, ISOLA_MSG_SUB);
    if (rc != 0) {
        fail_send(c, m->id, rc);
        sub_free(s);
    }
}

static void unsubscribe(struct isola__client *c, const struct isola_msg *m)
{
    struct isola__sub *s = isola_map_get(&c->subs, sub_key(&m->id));
    if (s == NULL)
        return;
    (void)sub_send(s, ISOLA_MSG_UNSUB);
    sub_free(s);
}

void isola__clients_event(struct isola__clients *clients, const struct isola_msg *m)
{
    struct isola__ask *ask = isola__asks_find(&clients->agent->asks, m->id);
    if (ask == NULL || ask->cb != sub_answered)
        return;
    struct isola__sub *s = (struct isola__sub *)ask;
    struct isola_msg out = *m;
    out.id = s->client_id;
    (void)isola__conn_send(&s->client->conn, &out);
}

void isola__clients_resubscribe(struct isola__clients *clients)
{
    for (struct isola__client *c = clients->first; c != NULL; c = c->next) {
        ISOLA_MAP_EACH(&c->subs, e)
        {
            struct isola__sub *s = e->value;
            int rc = s->ask.conn == NULL ? sub_send(s, ISOLA_MSG_SUB) : 0;
            if (rc != 0) /* it will be told again when the next host comes */
                isola_log(ISOLA_LOG_WARN, "%s: its subscription to %s could not be repeated: %s",
                          c->conn.label, s->dst, isola_error_text(rc));
        }
    }
}

/* --- the agent itself --- */

static void hello(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice program;
    if (isola_mp_find_str(params, "program", &program) && program.len > 0 && program.len <= 32) {
        /* Only for the log, so nothing but plain characters. */
        char clean[33] = {0};
        for (size_t i = 0; i < program.len; i++)
            clean[i] = program.data[i] > ' ' && program.data[i] < 127 ? (char)program.data[i] : '?';
        struct isola__clients *clients = &from->agent->clients;
        snprintf(from->label, sizeof(from->label), "client %" PRIu64 " (%s)", ++clients->numbers,
                 clean);
    }
    struct isola_buf out = {0};
    isola_mp_map(&out, 5);
    isola_mp_kstr(&out, "node", from->agent->opt.name);
    isola_mp_kstr(&out, "version", ISOLA_VERSION);
    isola_mp_kuint(&out, "wire", ISOLA_WIRE_VERSION);
    isola_mp_kuint(&out, "wire_oldest", ISOLA_WIRE_OLDEST);
    isola_mp_kuint(&out, "pid", (uint64_t)getpid());
    isola__reply_buf(from, m->id, &out);
}

static const struct isola__method methods[] = {
    {"hello", hello},
    {"deploy", isola__deploy},
    {"canary", isola__deploy},
    {"cache", isola__cache},
    {"missing", isola__missing},
    {"pieces", isola__pieces},
    {"deploying", isola__deploying},
    {"rollback", isola__rollback},
    {"rollout", isola__rollout},
    {"promote", isola__promote},
    {"releases", isola__releases_method},
    {"release", isola__release_method},
    {"delete", isola__delete},
    {"trust", isola__trust},
    {"secrets", isola__secrets_list},
    {"secret_set", isola__secret_set},
    {"secret_remove", isola__secret_remove},
    {"init", isola__init},
    {"token", isola__token},
    {"remove", isola__remove},
    {"ps", isola__ps},
    {"service", isola__service_method},
    {"serve", isola__serve},
    {"debug", isola__debug},
    {"debug_connect", isola__debug_pass},
    {"debug_read", isola__debug_pass},
    {"debug_write", isola__debug_pass},
    {"debug_close", isola__debug_pass},
    {"nodes", isola__nodes},
    {"links", isola__links},
    {"store", isola__store},
    {"backup", isola__backup},
    {"backup_progress", isola__backup},
    {"timers", isola__timers},
    {"history", isola__history},
    {"restore", isola__restore},
    {"find", isola__find},
    {"logs", isola__logs_method},
    {"dead-letters", isola__letters},
    {"inspect", isola__inspect},
    {"inspect_read", isola__inspect_read},
    {NULL, NULL},
};

static void to_actor(struct isola__client *c, const struct isola_msg *m, size_t bytes)
{
    struct isola_address address;
    struct isola_err err;
    if (isola_address_parse(m->dst, &address, &err) != 0) {
        isola__fail(&c->conn, m->id, ISOLA_EINVAL, "%s", err.text);
        return;
    }
    if (c->conn.agent->host.retired) {
        isola__fail(&c->conn, m->id, ISOLA_EPERM,
                    "node %s was removed from its cluster and has no actors any more; ask another",
                    c->conn.agent->opt.name);
        return;
    }
    switch (m->kind) {
    case ISOLA_MSG_ASK:
    case ISOLA_MSG_STOP:
    case ISOLA_MSG_START:
        if (m->id == 0)
            isola__conn_refuse(&c->conn, "an ask needs an id");
        else
            forward(c, m, bytes);
        break;
    case ISOLA_MSG_EMIT:
        forward_emit(c, m);
        break;
    case ISOLA_MSG_SUB:
        subscribe(c, m);
        break;
    case ISOLA_MSG_UNSUB:
        unsubscribe(c, m);
        break;
    case ISOLA_MSG_CANCEL:
        cancel(c, m);
        break;
    default:
        break; /* answers were refused before */
    }
}

static void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct isola__client *c = arg;
    struct isola__agent *agent = c->conn.agent;
    struct isola_msg m;
    struct isola_err err;
    if (isola_link_decode(link, frame, &m, &err) != 0) {
        isola__conn_refuse(&c->conn, "%s", err.text);
    } else if (m.seq != 0) {
        forward_durable(c, &m);
    } else if (c->program != NULL && (m.kind == ISOLA_MSG_REPLY || m.kind == ISOLA_MSG_FAIL)) {
        isola__asks_answer(&agent->asks, &c->conn, &m);
    } else if (c->program != NULL && m.kind == ISOLA_MSG_EVENT) {
        isola__services_event(c->program, &m);
    } else if (agent->state == ISOLA_AGENT_STOPPING) {
        isola__fail(&c->conn, m.id, ISOLA_EUNREACHABLE, "node %s is stopping", agent->opt.name);
    } else if (m.kind == ISOLA_MSG_REPLY || m.kind == ISOLA_MSG_FAIL || m.kind == ISOLA_MSG_EVENT) {
        isola__conn_refuse(&c->conn, "an answer (kind %d) to nothing that was asked", m.kind);
    } else if (m.dst.len > 0) {
        to_actor(c, &m, frame.len);
    } else if (m.kind == ISOLA_MSG_ASK || m.kind == ISOLA_MSG_EMIT) {
        isola__call(methods, &c->conn, &m);
    } else {
        isola__fail(&c->conn, m.id, ISOLA_EINVAL,
                    "this kind of message (%d) needs an actor's address", m.kind);
    }
}

static void free_client(struct isola__conn *conn)
{
    free(conn);
}

static void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct isola__client *c = arg;
    struct isola__clients *clients = &c->conn.agent->clients;
    (void)link;
    if (code != 0 && code != ISOLA_ECLOSED)
        isola_log(ISOLA_LOG_WARN, "%s: %s", c->conn.label, why);
    if (c->dropped > 0)
        isola_log(ISOLA_LOG_WARN, "%s: %" PRIu64 " emits were dropped", c->conn.label, c->dropped);
    c->conn.link = NULL;
    while (c->forwards != NULL)
        forward_cancel(c->forwards);
    ISOLA_MAP_EACH(&c->subs, e)
    {
        struct isola__sub *s = e->value;
        (void)sub_send(s, ISOLA_MSG_UNSUB);
        sub_release(s);
    }
    isola_map_free(&c->subs);
    forget_names(c);
    isola__follow_end(&c->follow);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        clients->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    clients->count--;
    if (c->program != NULL)
        isola__services_left(c->program);
    if (c->debugs != NULL)
        isola__debug_left(c->debugs);
    if (c->far != NULL)
        isola__debug_far_left(c);
    isola__asks_fail_conn(&c->conn.agent->asks, &c->conn, ISOLA_EUNREACHABLE,
                          "the service ended while it had this request; it may or may not have "
                          "been carried out");
    isola__conn_down(&c->conn, code, why);
}

static const struct isola_link_ops link_ops = {.frame = on_frame, .down = on_down};

static void refused_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    (void)link, (void)frame, (void)arg;
}
static void refused_down(struct isola_link *link, int code, const char *why, void *arg)
{
    (void)link, (void)code, (void)why, (void)arg;
}
static const struct isola_link_ops refused_ops = {.frame = refused_frame, .down = refused_down};

static void accepted(struct isola_listener *listener, struct isola_link *link, void *arg)
{
    struct isola__agent *agent = arg;
    struct isola__clients *clients = &agent->clients;
    (void)listener;
    if (clients->count >= ISOLA_CLIENTS_MAX) {
        isola_log(ISOLA_LOG_WARN, "a client is refused: %d are connected already",
                  ISOLA_CLIENTS_MAX);
        isola_link_accept(link, &refused_ops, NULL);
        struct isola_msg *m = isola_msg_fail(0, ISOLA_EOVERLOAD, "node %s has %d clients already",
                                             agent->opt.name, ISOLA_CLIENTS_MAX);
        if (m == NULL || isola_link_send_msg(link, m) != 0)
            isola_log(ISOLA_LOG_WARN, "it could not be told");
        free(m);
        isola_link_close(link);
        return;
    }
    struct isola__client *c = isola_zalloc(sizeof(*c));
    isola__conn_init(&c->conn, agent, free_client);
    c->conn.link = link;
    snprintf(c->conn.label, sizeof(c->conn.label), "client %" PRIu64, ++clients->numbers);
    c->next = clients->first;
    if (c->next != NULL)
        c->next->prev = c;
    clients->first = c;
    clients->count++;
    isola_link_accept(link, &link_ops, c);
}

const struct isola_listener_ops isola__clients_listener_ops = {.accepted = accepted};

void isola__clients_close(struct isola__clients *clients)
{
    for (struct isola__client *c = clients->first; c != NULL; c = c->next)
        isola__conn_close(&c->conn);
}
