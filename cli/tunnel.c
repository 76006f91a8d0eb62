/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tunnel.h"

#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "cli/client.h"

#define WAIT_MS 40000u /* longer than the other node takes to say that there is nothing yet */
#define BACKLOG 16

/* A debugger's connection. */
struct conn {
    struct conn *next, **at;
    struct isola__tunnel *tunnel; /* NULL: it is being closed */
    uv_tcp_t tcp;
    uv_write_t write;
    uint64_t number;                       /* as the other node calls it; 0: not yet */
    uint64_t connecting, reading, writing; /* what was asked, by their ids; 0: nothing is */
    struct isola_msg *coming;              /* what is being written to the debugger */
    uint8_t *going;                        /* what is being read of it */
};

struct isola__tunnel {
    struct isola__client *client;
    uv_tcp_t listener;
    unsigned port;
    struct conn *first;
};

static void on_conn_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    free(c->coming);
    free(c->going);
    free(c);
}

/* Asks something of the connection; `*id` is 0 when that cannot be asked any more: the client's
 * connection has ended, which whoever waits for its messages hears. */
static void post(struct conn *c, const char *method, struct isola_slice bytes, uint64_t *id)
{
    struct isola_buf params = {0};
    struct isola_err err;
    isola_mp_map(&params, 2);
    isola_mp_kuint(&params, "connection", c->number);
    isola_mp_cstr(&params, "bytes");
    isola_mp_bin(&params, bytes);
    if (isola__client_post(c->tunnel->client, method, isola_buf_slice(&params), WAIT_MS, id,
                           &err) != 0)
        *id = 0;
    isola_buf_free(&params);
}

static void conn_end(struct conn *c)
{
    uint64_t nobody;
    if (c->tunnel == NULL)
        return;
    if (c->number != 0)
        post(c, "debug_close", (struct isola_slice){0}, &nobody);
    *c->at = c->next;
    if (c->next != NULL)
        c->next->at = c->at;
    c->tunnel = NULL;
    uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

/* --- from the debugger to the process --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *c = handle->data;
    (void)suggested;
    if (c->going == NULL)
        c->going = isola_alloc(ISOLA__TUNNEL_BYTES);
    *buf = uv_buf_init((char *)c->going, ISOLA__TUNNEL_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = stream->data;
    if (n == 0)
        return;
    if (n < 0) {
        conn_end(c);
        return;
    }
    uv_read_stop(stream); /* until it has been taken */
    post(c, "debug_write", isola_slice(buf->base, (size_t)n), &c->writing);
}

/* --- from the process to the debugger --- */

static void read_more(struct conn *c)
{
    post(c, "debug_read", (struct isola_slice){0}, &c->reading);
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *c = write->data;
    free(c->coming);
    c->coming = NULL;
    if (c->tunnel != NULL && status == 0)
        read_more(c);
    else
        conn_end(c);
}

static void came(struct conn *c, const struct isola_msg *m)
{
    struct isola_slice value;
    struct isola_mp_item item;
    c->coming = isola_msg_copy(m);
    if (c->coming == NULL || !isola_mp_at(c->coming->args, 0, &value)) {
        conn_end(c);
        return;
    }
    struct isola_mp_reader r = isola_mp_reader(value);
    int rc = isola_mp_next(&r, &item);
    if (rc == 0 && item.type == ISOLA_MP_NIL) {
        free(c->coming);
        c->coming = NULL;
        read_more(c); /* nothing has come for a while */
        return;
    }
    if (rc != 0 || item.type != ISOLA_MP_BIN || item.bytes.len == 0) {
        conn_end(c);
        return;
    }
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)item.bytes.data, (unsigned)item.bytes.len);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        conn_end(c);
}

/* --- the whole --- */

static void connected(struct conn *c, const struct isola_msg *m)
{
    struct isola_slice value;
    if (!isola_mp_at(m->args, 0, &value) || !isola_mp_find_uint(value, "connection", &c->number) ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0) {
        conn_end(c);
        return;
    }
    read_more(c);
}

void isola__tunnel_message(struct isola__tunnel *t, const struct isola_msg *m)
{
    struct conn *c = t->first;
    if ((m->kind != ISOLA_MSG_REPLY && m->kind != ISOLA_MSG_FAIL) || m->id == 0)
        return;
    while (c != NULL && c->connecting != m->id && c->reading != m->id && c->writing != m->id)
        c = c->next;
    if (c == NULL)
        return;
    uint64_t id = m->id;
    bool connecting = c->connecting == id, reading = c->reading == id;
    *(connecting ? &c->connecting : reading ? &c->reading : &c->writing) = 0;
    if (m->kind == ISOLA_MSG_FAIL)
        conn_end(c);
    else if (connecting)
        connected(c, m);
    else if (reading)
        came(c, m);
    else
        (void)uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct isola__tunnel *t = listener->data;
    struct conn *c = status == 0 ? isola_zalloc(sizeof(*c)) : NULL;
    if (c == NULL)
        return;
    c->tcp.data = c->write.data = c;
    if (uv_tcp_init(listener->loop, &c->tcp) != 0) {
        free(c);
        return;
    }
    c->tunnel = t;
    c->at = &t->first;
    c->next = t->first;
    if (c->next != NULL)
        c->next->at = &c->next;
    t->first = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0) {
        conn_end(c);
        return;
    }
    (void)uv_tcp_nodelay(&c->tcp, 1);
    post(c, "debug_connect", (struct isola_slice){0}, &c->connecting);
}

int isola__tunnel_open(struct isola__client *client, struct isola__tunnel **out,
                       struct isola_err *err)
{
    uv_loop_t *loop = isola__client_loop(client);
    struct isola__tunnel *t = isola_zalloc(sizeof(*t));
    struct sockaddr_in at;
    int len = sizeof(at);
    t->client = client;
    t->listener.data = t;
    int rc = uv_tcp_init(loop, &t->listener);
    if (rc != 0) {
        free(t);
        return isola_fail(err, ISOLA_EIO, "cannot make a socket: %s", uv_strerror(rc));
    }
    (void)uv_ip4_addr("127.0.0.1", 0, &at);
    rc = uv_tcp_bind(&t->listener, (const struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&t->listener, BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&t->listener, (struct sockaddr *)&at, &len);
    if (rc != 0) {
        isola__tunnel_close(t);
        return isola_fail(err, ISOLA_EIO, "cannot listen on 127.0.0.1: %s", uv_strerror(rc));
    }
    t->port = ntohs(at.sin_port);
    *out = t;
    return 0;
}

unsigned isola__tunnel_port(const struct isola__tunnel *t)
{
    return t->port;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void isola__tunnel_close(struct isola__tunnel *t)
{
    if (t == NULL)
        return;
    while (t->first != NULL)
        conn_end(t->first);
    uv_close((uv_handle_t *)&t->listener, on_closed);
}
