/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_health.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct isola__health {
    isola__health_cb cb; /* NULL: it has fired, or is not to */
    void *arg;
    uint64_t timeout_ms;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connect;
    uv_write_t write;
    unsigned handles;
    char *request;
    char answer[64]; /* its beginning */
    size_t len;
};

static void on_closed(uv_handle_t *handle)
{
    struct isola__health *h = handle->data;
    if (--h->handles > 0)
        return;
    free(h->request);
    free(h);
}

static void finish(struct isola__health *h, const char *why)
{
    isola__health_cb cb = h->cb;
    if (uv_is_closing((uv_handle_t *)&h->tcp))
        return;
    h->cb = NULL;
    uv_close((uv_handle_t *)&h->tcp, on_closed);
    uv_close((uv_handle_t *)&h->timer, on_closed);
    if (cb != NULL)
        cb(h->arg, why);
}

void isola__health_cancel(struct isola__health *h)
{
    h->cb = NULL;
    finish(h, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    struct isola__health *h = timer->data;
    char why[64];
    snprintf(why, sizeof(why), "no answer within %" PRIu64 " ms", h->timeout_ms);
    finish(h, why);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct isola__health *h = handle->data;
    (void)suggested;
    *buf = uv_buf_init(h->answer + h->len, (unsigned)(sizeof(h->answer) - 1 - h->len));
}

/* "HTTP/1.1 200 OK": enough is there, or never will be. */
static void judge(struct isola__health *h)
{
    char why[64];
    int status = 0;
    if (sscanf(h->answer, "HTTP/1.%*1d %3d", &status) != 1)
        finish(h, "an answer that is not HTTP");
    else if (status >= 200 && status < 400)
        finish(h, NULL);
    else {
        snprintf(why, sizeof(why), "status %d", status);
        finish(h, why);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct isola__health *h = stream->data;
    (void)buf;
    if (n > 0)
        h->len += (size_t)n;
    h->answer[h->len] = '\0';
    if (h->len >= 13)
        judge(h);
    else if (n < 0)
        finish(h, n == UV_EOF ? "closed without an answer" : uv_strerror((int)n));
}

static void on_written(uv_write_t *write, int status)
{
    struct isola__health *h = write->data;
    if (status != 0 && status != UV_ECANCELED)
        finish(h, uv_strerror(status));
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct isola__health *h = connect->data;
    if (status == UV_ECANCELED)
        return;
    uv_stream_t *stream = (uv_stream_t *)&h->tcp;
    uv_buf_t buf = uv_buf_init(h->request, (unsigned)strlen(h->request));
    int rc = status;
    rc = rc ? rc : uv_read_start(stream, on_alloc, on_read);
    rc = rc ? rc : uv_write(&h->write, stream, &buf, 1, on_written);
    if (rc != 0)
        finish(h, uv_strerror(rc));
}

struct isola__health *isola__health_look(uv_loop_t *loop, unsigned port, const char *path,
                                         uint64_t timeout_ms, isola__health_cb cb, void *arg)
{
    struct isola__health *h = isola_zalloc(sizeof(*h));
    struct sockaddr_in at;
    h->cb = cb;
    h->arg = arg;
    h->timeout_ms = timeout_ms;
    h->request =
        isola_format("GET %s HTTP/1.1\r\nHost: localhost:%u\r\nUser-Agent: isola-health\r\n"
                     "Accept: */*\r\nConnection: close\r\n\r\n",
                     path, port);
    h->tcp.data = h->timer.data = h->connect.data = h->write.data = h;
    h->handles = 2;
    int rc = uv_ip4_addr("127.0.0.1", (int)port, &at);
    rc = rc ? rc : uv_tcp_init(loop, &h->tcp);
    rc = rc ? rc : uv_timer_init(loop, &h->timer);
    ISOLA_CHECK(rc == 0);
    uv_update_time(loop);
    rc = uv_tcp_connect(&h->connect, &h->tcp, (const struct sockaddr *)&at, on_connected);
    /* What fails at once is told in a moment: not from within this call. */
    rc = uv_timer_start(&h->timer, on_timer, rc == 0 ? timeout_ms : 0, 0);
    ISOLA_CHECK(rc == 0);
    return h;
}
