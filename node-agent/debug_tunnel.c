/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/debug_tunnel.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/service_debug.h"

#define CONNECTIONS_MAX 16

/* Who is to be answered, when something has happened. */
struct asked {
    struct isola__conn *conn; /* counted; NULL: nobody */
    uint64_t id;
};

struct tunnel {
    struct tunnel *next, **at;
    struct isola__tunnels *set; /* NULL: it is being closed */
    uint64_t number;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct isola_buf in, out; /* what has come and is not read; what is being written */
    bool connected, over;     /* over: nothing more comes */
    struct isola__ask wait;   /* while a read waits */
    struct asked connecting, reading, writing;
};

struct isola__tunnels {
    struct isola__tunnels *next, **at; /* in `tunnels` of the services */
    struct isola__agent *agent;
    struct isola__debug *debug;
    char node[ISOLA_NODE_NAME_MAX + 1];
    uint64_t id;
    unsigned port; /* 0: it is not open yet */
    uint64_t numbers;
    struct tunnel *first;
    size_t n;
};

static void ask(struct asked *a, struct isola__conn *conn, uint64_t id)
{
    isola__conn_ref(conn);
    *a = (struct asked){.conn = conn, .id = id};
}

/* Answers, if anybody waits: a REPLY with `value`, which it frees. */
static void reply(struct asked *a, struct isola_buf *value)
{
    struct asked was = *a;
    *a = (struct asked){0};
    if (was.conn != NULL) {
        isola__reply_buf(was.conn, was.id, value);
        isola__conn_unref(was.conn);
    }
    isola_buf_free(value);
}

static void fail(struct asked *a, int code, const char *why)
{
    struct asked was = *a;
    *a = (struct asked){0};
    if (was.conn != NULL) {
        isola__fail(was.conn, was.id, code, "%s", why);
        isola__conn_unref(was.conn);
    }
}

/* --- a connection --- */

static void on_closed(uv_handle_t *handle)
{
    struct tunnel *t = handle->data;
    isola_buf_free(&t->in);
    isola_buf_free(&t->out);
    free(t);
}

static void tunnel_end(struct tunnel *t)
{
    static const char ended[] = "the connection to the inspector has ended";
    if (t->reading.conn != NULL)
        isola__asks_drop(&t->set->agent->asks, &t->wait);
    *t->at = t->next;
    if (t->next != NULL)
        t->next->at = t->at;
    t->set->n--;
    t->set = NULL;
    fail(&t->connecting, ISOLA_ECLOSED, ended);
    fail(&t->reading, ISOLA_ECLOSED, ended);
    fail(&t->writing, ISOLA_ECLOSED, ended);
    uv_close((uv_handle_t *)&t->tcp, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char chunk[65536]; /* of one loop, which reads one connection at a time */
    (void)handle, (void)suggested;
    *buf = uv_buf_init(chunk, sizeof(chunk));
}

/* Gives a read that waits what has come: bytes, or, at the end, none. */
static void deliver(struct tunnel *t)
{
    if (t->reading.conn == NULL || (t->in.len == 0 && !t->over))
        return;
    struct isola_buf out = {0};
    isola__asks_drop(&t->set->agent->asks, &t->wait);
    isola_mp_bin(&out, isola_buf_slice(&t->in));
    isola_buf_free(&t->in);
    reply(&t->reading, &out);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct tunnel *t = stream->data;
    if (n == 0)
        return;
    if (n < 0)
        t->over = true;
    else
        isola_buf_append(&t->in, buf->base, (size_t)n);
    if (t->in.failed) {
        tunnel_end(t);
        return;
    }
    if (t->over || t->in.len >= ISOLA_TUNNEL_BYTES)
        uv_read_stop(stream);
    deliver(t);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct tunnel *t = connect->data;
    struct isola_buf out = {0};
    if (t->set == NULL)
        return; /* closed meanwhile */
    if (status == 0)
        status = uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_read);
    if (status != 0) {
        fail(&t->connecting, ISOLA_EUNREACHABLE, "the inspector takes no connections any more");
        tunnel_end(t);
        return;
    }
    t->connected = true;
    isola_mp_map(&out, 1);
    isola_mp_kuint(&out, "connection", t->number);
    reply(&t->connecting, &out);
}

static void on_written(uv_write_t *write, int status)
{
    struct tunnel *t = write->data;
    struct isola_buf nil = {0};
    isola_buf_free(&t->out);
    if (t->set == NULL)
        return;
    isola_mp_nil(&nil);
    if (status == 0)
        reply(&t->writing, &nil);
    else
        fail(&t->writing, ISOLA_ECLOSED, "the inspector has closed the connection");
    isola_buf_free(&nil);
}

/* Nothing has come for a while: it may be asked again. */
static void nothing(struct isola__ask *wait, const struct isola_msg *answer)
{
    struct tunnel *t = (struct tunnel *)(void *)((char *)wait - offsetof(struct tunnel, wait));
    struct isola_buf nil = {0};
    (void)answer;
    isola_mp_nil(&nil);
    reply(&t->reading, &nil);
}

/* --- sets --- */

struct isola__tunnels *isola__tunnels_new(struct isola__agent *agent, const char *node, uint64_t id,
                                          struct isola__debug *d)
{
    struct isola__tunnels *set = isola_zalloc(sizeof(*set));
    set->agent = agent;
    set->debug = d;
    set->id = id;
    snprintf(set->node, sizeof(set->node), "%s", node);
    set->at = &agent->services.tunnels;
    set->next = *set->at;
    if (set->next != NULL)
        set->next->at = &set->next;
    *set->at = set;
    return set;
}

struct isola__tunnels *isola__tunnels_find(const struct isola__agent *agent, const char *node,
                                           uint64_t id)
{
    struct isola__tunnels *set = agent->services.tunnels;
    while (set != NULL && (set->id != id || strcmp(set->node, node) != 0))
        set = set->next;
    return set;
}

size_t isola__tunnels_count(const struct isola__agent *agent)
{
    size_t n = 0;
    for (const struct isola__tunnels *set = agent->services.tunnels; set != NULL; set = set->next)
        n++;
    return n;
}

struct isola__debug *isola__tunnels_of(const struct isola__tunnels *set)
{
    return set->debug;
}

void isola__tunnels_open(struct isola__tunnels *set, const char *url)
{
    const char *port = strstr(url, "127.0.0.1:");
    unsigned n;
    if (port != NULL && sscanf(port, "127.0.0.1:%5u", &n) == 1 && n <= UINT16_MAX)
        set->port = n;
}

void isola__tunnels_tell(const struct isola__tunnels *set, const char *why)
{
    const struct isola__member *member = isola__member_find(&set->agent->members, set->node);
    struct isola__conn *conn = member != NULL ? isola__member_conn(member) : NULL;
    struct isola_buf params = {0};
    if (conn == NULL)
        return;
    isola_mp_map(&params, 2);
    isola_mp_kuint(&params, "id", set->id);
    isola_mp_kstr(&params, "why", why);
    (void)isola__emit(conn, "debug_ended", isola_buf_slice(&params));
    isola_buf_free(&params);
}

void isola__tunnels_end(struct isola__tunnels *set)
{
    while (set->first != NULL)
        tunnel_end(set->first);
    *set->at = set->next;
    if (set->next != NULL)
        set->next->at = set->at;
    free(set);
}

void isola__tunnels_lost(struct isola__agent *agent, const char *node)
{
    struct isola__tunnels *set = agent->services.tunnels, *next;
    for (; set != NULL; set = next) {
        next = set->next;
        if (strcmp(set->node, node) == 0)
            isola__debug_left(set->debug);
    }
}

/* --- methods --- */

static struct isola__tunnels *set_of(struct isola__conn *from, struct isola_slice params)
{
    const struct isola__peer *peer = (const struct isola__peer *)from;
    uint64_t id;
    if (!isola_mp_find_uint(params, "id", &id))
        return NULL;
    return isola__tunnels_find(from->agent, peer->member->record.name, id);
}

/* The connection that is meant; NULL: there is none (any more), which an ask is answered. */
static struct tunnel *tunnel_of(struct isola__conn *from, const struct isola_msg *m,
                                struct isola_slice params)
{
    const struct isola__tunnels *set = set_of(from, params);
    struct tunnel *t = set != NULL ? set->first : NULL;
    uint64_t number = 0;
    (void)isola_mp_find_uint(params, "connection", &number);
    while (t != NULL && (t->number != number || !t->connected))
        t = t->next;
    if (t == NULL)
        isola__fail(from, m->id, ISOLA_ECLOSED, "the inspector has no such connection (any more)");
    return t;
}

void isola__tunnel_connect(struct isola__conn *from, const struct isola_msg *m,
                           struct isola_slice params)
{
    struct isola__tunnels *set = set_of(from, params);
    struct sockaddr_in to;
    if (set == NULL || set->port == 0) {
        isola__fail(from, m->id, ISOLA_ECLOSED, "no inspector is open for node %s under that id",
                    ((const struct isola__peer *)from)->who.name);
        return;
    }
    if (set->n >= CONNECTIONS_MAX) {
        isola__fail(from, m->id, ISOLA_EOVERLOAD, "an inspector takes %d connections at a time",
                    CONNECTIONS_MAX);
        return;
    }
    struct tunnel *t = isola_zalloc(sizeof(*t));
    t->set = set;
    t->number = ++set->numbers;
    t->wait.cb = nothing;
    t->at = &set->first;
    t->next = set->first;
    if (t->next != NULL)
        t->next->at = &t->next;
    set->first = t;
    set->n++;
    t->tcp.data = t->connect.data = t->write.data = t;
    ask(&t->connecting, from, m->id);
    (void)uv_ip4_addr("127.0.0.1", (int)set->port, &to);
    if (uv_tcp_init(&set->agent->loop, &t->tcp) != 0) {
        fail(&t->connecting, ISOLA_EIO, "this node has no socket left");
        set->n--;
        *t->at = t->next;
        if (t->next != NULL)
            t->next->at = t->at;
        free(t);
        return;
    }
    if (uv_tcp_connect(&t->connect, &t->tcp, (const struct sockaddr *)&to, on_connected) != 0) {
        fail(&t->connecting, ISOLA_EIO, "this node has no socket left");
        tunnel_end(t);
    }
}

void isola__tunnel_read(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params)
{
    struct tunnel *t = tunnel_of(from, m, params);
    if (t == NULL)
        return;
    if (t->reading.conn != NULL ||
        !isola__asks_add(&from->agent->asks, &t->wait, ISOLA_TUNNEL_READ_MS, 0)) {
        isola__fail(from, m->id, ISOLA_EBUSY, "that connection is read by another request");
        return;
    }
    ask(&t->reading, from, m->id);
    deliver(t);
    if (!t->over)
        (void)uv_read_start((uv_stream_t *)&t->tcp, on_alloc, on_read); /* it may go on already */
}

void isola__tunnel_write(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    struct tunnel *t = tunnel_of(from, m, params);
    struct isola_slice bytes;
    if (t == NULL)
        return;
    if (!isola_mp_find_bin(params, "bytes", &bytes) || bytes.len > ISOLA_TUNNEL_BYTES) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "debug_write: it needs \"bytes\", %u of them at the most", ISOLA_TUNNEL_BYTES);
        return;
    }
    if (t->writing.conn != NULL || t->out.len > 0) {
        isola__fail(from, m->id, ISOLA_EBUSY, "that connection is written to by another request");
        return;
    }
    isola_buf_append(&t->out, bytes.data, bytes.len);
    ask(&t->writing, from, m->id);
    uv_buf_t buf = uv_buf_init((char *)t->out.data, (unsigned)t->out.len);
    if (t->out.failed || uv_write(&t->write, (uv_stream_t *)&t->tcp, &buf, 1, on_written) != 0)
        tunnel_end(t);
}

void isola__tunnel_close(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    struct tunnel *t = tunnel_of(from, m, params);
    if (t == NULL)
        return;
    tunnel_end(t);
    isola__reply(from, m->id, (struct isola_slice){0});
}
