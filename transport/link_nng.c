/* SPDX-License-Identifier: Apache-2.0
 *
 * Links over TCP, on nng's byte streams: the only file that sees nng.
 *
 * Threads. nng calls back on threads of its own; those callbacks set a bit and wake the loop,
 * nothing else. Everything else happens on the loop's thread. One read and one write at a time are
 * with nng; while they are, it owns the room they were given, and the loop does not touch it.
 *
 * The end. nng_stream_close makes what is under way fail; when the last callback has been seen by
 * the loop, aios and stream are freed (nng_aio_free waits for a callback that is just returning)
 * and only then is the async handle closed: no callback can wake a closed handle.
 *
 * What nng 1.5 lacks: half-closing a stream, so the goodbye is a frame of length 0. A read without
 * room would look like the peer's end; isola__frames_room never gives none.
 */
#include <inttypes.h>
#include <nng/nng.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include "base/check.h"
#include "base/log.h"
#include "transport/link_impl.h"

#ifdef __SANITIZE_THREAD__
/* nng counts references with atomics that the sanitizer does not see, because Debian's nng is not
 * built with it: the last owner's destroying of a dialer's mutex looks unordered after another's
 * use of it. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:pthread_mutex_destroy\n";
}
#endif

#define SPANS           8 /* an nng_aio takes no more */
#define DIAL_TIMEOUT_MS 10000
#define ACCEPT_RETRY_MS 100

enum { DIALLED = 1, RECEIVED = 2, SENT = 4 };

struct nng_link {
    struct isola_link link; /* first: freed through it */
    uv_async_t wake;
    atomic_uint done; /* which aios have finished: set by nng's threads, taken by the loop */
    unsigned busy;    /* which aios are with nng; the loop's */
    bool stopped;
    nng_stream_dialer *dialer;
    nng_stream *stream;
    nng_aio *dial, *recv, *send;
};

static struct nng_link *of(struct isola_link *link)
{
    return (struct nng_link *)link;
}

/* --- on nng's threads --- */

static void finished(struct nng_link *l, unsigned which)
{
    atomic_fetch_or(&l->done, which);
    uv_async_send(&l->wake);
}

static void on_dialled(void *arg)
{
    finished(arg, DIALLED);
}

static void on_received(void *arg)
{
    finished(arg, RECEIVED);
}

static void on_sent(void *arg)
{
    finished(arg, SENT);
}

/* --- on the loop's thread --- */

static void on_wake_closed(uv_handle_t *handle)
{
    isola__link_stopped(handle->data);
}

static void free_nng(struct nng_link *l)
{
    nng_aio_free(l->dial);
    nng_aio_free(l->recv);
    nng_aio_free(l->send);
    if (l->dialer != NULL)
        nng_stream_dialer_free(l->dialer);
    if (l->stream != NULL)
        nng_stream_free(l->stream);
}

static void stop_when_idle(struct nng_link *l)
{
    if (l->busy != 0 || l->stopped)
        return;
    l->stopped = true;
    free_nng(l);
    uv_close((uv_handle_t *)&l->wake, on_wake_closed);
}

static void stop(struct isola_link *link)
{
    struct nng_link *l = of(link);
    if (l->dialer != NULL)
        nng_stream_dialer_close(l->dialer);
    if (l->stream != NULL)
        nng_stream_close(l->stream);
    stop_when_idle(l);
}

static void receive(struct isola_link *link)
{
    struct nng_link *l = of(link);
    uint8_t *to;
    size_t room;
    if (isola__frames_room(&link->in, &to, &room) != 0) {
        isola__link_ended(link, ISOLA_ENOMEM, "no memory for what %s sends", link->peer);
        return;
    }
    nng_iov iov = {to, room};
    ISOLA_CHECK(nng_aio_set_iov(l->recv, 1, &iov) == 0);
    l->busy |= RECEIVED;
    nng_stream_recv(l->stream, l->recv);
}

static void write_queue(struct isola_link *link)
{
    struct nng_link *l = of(link);
    struct isola__span spans[SPANS];
    nng_iov iov[SPANS];
    size_t n = isola__frames_gather(&link->out, spans, SPANS);
    for (size_t i = 0; i < n; i++)
        iov[i] = (nng_iov){spans[i].data, spans[i].len};
    ISOLA_CHECK(nng_aio_set_iov(l->send, (unsigned)n, iov) == 0);
    link->writing = true;
    l->busy |= SENT;
    nng_stream_send(l->stream, l->send);
}

static void goodbye(struct isola_link *link)
{
    struct isola_buf empty = {0};
    if (isola__frames_push(&link->out, &empty) != 0)
        isola__link_broke(link, "out of memory");
    else
        write_queue(link);
}

static void dialled(struct nng_link *l)
{
    struct isola_link *link = &l->link;
    int rv = nng_aio_result(l->dial);
    if (rv == 0)
        l->stream = nng_aio_get_output(l->dial, 0);
    if (link->state == ISOLA__LINK_ENDING) /* the stream is freed with the rest */
        return;
    if (rv == 0)
        isola__link_up(link);
    else if (rv == NNG_ECONNREFUSED)
        isola__link_ended(link, ISOLA_EUNREACHABLE, "cannot connect to %s: nothing listens there",
                          link->peer);
    else
        isola__link_ended(link, ISOLA_EUNREACHABLE, "cannot connect to %s: %s", link->peer,
                          nng_strerror(rv));
}

static void received(struct nng_link *l)
{
    struct isola_link *link = &l->link;
    int rv = nng_aio_result(l->recv);
    if (rv == 0) {
        isola__link_arrived(link, nng_aio_count(l->recv));
        if (link->state != ISOLA__LINK_ENDING)
            receive(link);
    } else if (rv == NNG_ECONNSHUT || rv == NNG_ECONNRESET || rv == NNG_ECLOSED) {
        isola__link_ended(link, ISOLA_ECLOSED, "closed by the peer");
    } else {
        isola__link_ended(link, ISOLA_EIO, "reading from %s failed: %s", link->peer,
                          nng_strerror(rv));
    }
}

static void written(struct nng_link *l)
{
    int rv = nng_aio_result(l->send);
    if (rv == 0)
        isola__link_written(&l->link, nng_aio_count(l->send), NULL);
    else
        isola__link_written(&l->link, 0, nng_strerror(rv));
}

static void on_wake(uv_async_t *wake)
{
    struct nng_link *l = wake->data;
    unsigned done = atomic_exchange(&l->done, 0);
    l->busy &= ~done;
    if (done & DIALLED)
        dialled(l);
    if (done & SENT)
        written(l);
    if ((done & RECEIVED) && l->link.state != ISOLA__LINK_ENDING)
        received(l);
    if (l->link.state == ISOLA__LINK_ENDING)
        stop_when_idle(l);
}

static const struct isola__backend backend = {
    .read = receive, .write = write_queue, .goodbye = goodbye, .stop = stop};

/* A link without dialer and stream, or NULL. */
static struct nng_link *new_link(uv_loop_t *loop)
{
    struct nng_link *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    if (nng_aio_alloc(&l->dial, on_dialled, l) != 0 ||
        nng_aio_alloc(&l->recv, on_received, l) != 0 || nng_aio_alloc(&l->send, on_sent, l) != 0 ||
        uv_async_init(loop, &l->wake, on_wake) != 0) {
        free_nng(l);
        free(l);
        return NULL;
    }
    l->wake.data = l;
    isola__link_init(&l->link, loop, &backend);
    return l;
}

int isola__nng_dial(uv_loop_t *loop, const struct isola__url *url, struct isola_link **out,
                    struct isola_err *err)
{
    char text[ISOLA__URL_SIZE];
    nng_stream_dialer *dialer;
    isola__url_format(url, text);
    int rv = nng_stream_dialer_alloc(&dialer, text);
    if (rv != 0)
        return isola_fail(err, rv == NNG_ENOMEM ? ISOLA_ENOMEM : ISOLA_EIO, "cannot dial %s: %s",
                          text, nng_strerror(rv));
    struct nng_link *l = new_link(loop);
    if (l == NULL) {
        nng_stream_dialer_free(dialer);
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a link to %s", text);
    }
    l->dialer = dialer;
    l->busy |= DIALLED;
    nng_aio_set_timeout(l->dial, DIAL_TIMEOUT_MS);
    nng_stream_dialer_dial(dialer, l->dial);
    *out = &l->link;
    return 0;
}

/* --- listening --- */

struct nng_listener {
    struct isola_listener listener; /* first */
    uv_async_t wake;
    uv_timer_t retry; /* after an accept that failed for want of descriptors or memory */
    int handles;
    atomic_uint done;
    bool busy;
    bool stopped;
    nng_stream_listener *socket;
    nng_aio *accept;
};

static void on_accepted(void *arg) /* on nng's thread */
{
    struct nng_listener *l = arg;
    atomic_store(&l->done, 1);
    uv_async_send(&l->wake);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct nng_listener *l = handle->data;
    if (--l->handles == 0)
        free(l);
}

static void stop_listener_when_idle(struct nng_listener *l)
{
    if (l->busy || l->stopped)
        return;
    l->stopped = true;
    nng_aio_free(l->accept);
    nng_stream_listener_free(l->socket);
    l->handles = 2;
    uv_close((uv_handle_t *)&l->wake, on_listener_closed);
    uv_close((uv_handle_t *)&l->retry, on_listener_closed);
}

static void close_listener(struct isola_listener *listener)
{
    struct nng_listener *l = (struct nng_listener *)listener;
    nng_stream_listener_close(l->socket);
    stop_listener_when_idle(l);
}

static void accept_next(struct nng_listener *l)
{
    l->busy = true;
    nng_stream_listener_accept(l->socket, l->accept);
}

static void on_retry(uv_timer_t *timer)
{
    accept_next(timer->data);
}

static void format_peer(nng_stream *stream, char out[ISOLA__URL_SIZE])
{
    nng_sockaddr sa;
    char host[INET6_ADDRSTRLEN] = "";
    if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &sa) != 0)
        snprintf(out, ISOLA__URL_SIZE, "tcp://unknown");
    else if (sa.s_family == NNG_AF_INET6 &&
             inet_ntop(AF_INET6, sa.s_in6.sa_addr, host, sizeof(host)) != NULL)
        snprintf(out, ISOLA__URL_SIZE, "tcp://[%s]:%u", host, ntohs(sa.s_in6.sa_port));
    else if (sa.s_family == NNG_AF_INET &&
             inet_ntop(AF_INET, &sa.s_in.sa_addr, host, sizeof(host)) != NULL)
        snprintf(out, ISOLA__URL_SIZE, "tcp://%s:%u", host, ntohs(sa.s_in.sa_port));
    else
        snprintf(out, ISOLA__URL_SIZE, "tcp://unknown");
}

static void accepted(struct nng_listener *l, nng_stream *stream)
{
    struct nng_link *link = new_link(l->listener.loop);
    if (link == NULL) {
        nng_stream_free(stream);
        isola_log(ISOLA_LOG_WARN, "%s: a connection was lost: out of memory", l->listener.url);
        return;
    }
    link->stream = stream;
    format_peer(stream, link->link.peer);
    isola__listener_offer(&l->listener, &link->link);
}

static void on_listener_wake(uv_async_t *wake)
{
    struct nng_listener *l = wake->data;
    if (atomic_exchange(&l->done, 0) == 0)
        return;
    l->busy = false;
    int rv = nng_aio_result(l->accept);
    if (rv == 0) {
        nng_stream *stream = nng_aio_get_output(l->accept, 0);
        if (l->listener.closing)
            nng_stream_free(stream);
        else
            accepted(l, stream);
    }
    if (l->listener.closing) {
        stop_listener_when_idle(l);
    } else if (rv == 0) {
        accept_next(l);
    } else {
        isola_log(ISOLA_LOG_WARN, "%s: cannot accept a connection: %s", l->listener.url,
                  nng_strerror(rv));
        uv_timer_start(&l->retry, on_retry, ACCEPT_RETRY_MS, 0);
    }
}

static int fail_listen(const char *url, int rv, struct isola_err *err)
{
    if (rv == NNG_EADDRINUSE)
        return isola_fail(err, ISOLA_EBUSY,
                          "%s is in use by another process; stop that one or choose another port",
                          url);
    return isola_fail(err,
                      rv == NNG_EPERM    ? ISOLA_EPERM
                      : rv == NNG_ENOMEM ? ISOLA_ENOMEM
                                         : ISOLA_EIO,
                      "cannot listen on %s: %s", url, nng_strerror(rv));
}

int isola__nng_listen(uv_loop_t *loop, struct isola__url *url, struct isola_listener **out,
                      struct isola_err *err)
{
    char text[ISOLA__URL_SIZE];
    int port = 0;
    isola__url_format(url, text);
    struct nng_listener *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory to listen on %s", text);
    int rv = nng_stream_listener_alloc(&l->socket, text);
    if (rv != 0)
        goto free_l;
    rv = nng_stream_listener_listen(l->socket);
    if (rv == 0)
        rv = nng_stream_listener_get_int(l->socket, NNG_OPT_TCP_BOUND_PORT, &port);
    if (rv == 0)
        rv = nng_aio_alloc(&l->accept, on_accepted, l);
    if (rv != 0)
        goto free_socket;
    if (uv_async_init(loop, &l->wake, on_listener_wake) != 0) {
        rv = NNG_ENOMEM;
        goto free_aio;
    }
    ISOLA_CHECK(uv_timer_init(loop, &l->retry) == 0);
    l->wake.data = l;
    l->retry.data = l;
    l->listener.loop = loop;
    l->listener.close = close_listener;
    url->port = (uint16_t)port;
    accept_next(l);
    *out = &l->listener;
    return 0;

free_aio:
    nng_aio_free(l->accept);
free_socket:
    nng_stream_listener_free(l->socket);
free_l:
    free(l);
    return fail_listen(text, rv, err);
}
