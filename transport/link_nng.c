/* SPDX-License-Identifier: Apache-2.0
 *
 * Links over TCP, on nng's byte streams: with nng_socket.c the only file that sees nng.
 *
 * Threads. nng calls back on threads of its own. Those callbacks set a bit and wake the loop, but
 * for two: the end of a write goes on with the next one, and what arrives on a direct link that is
 * up is delivered right there, which saves a switch between threads for each message. One read and
 * one write at a time are with nng; while they are, it owns the room they were given.
 *
 * The socket. nng connects, listens, and waits; what can be done at once is done by us, on the
 * socket below its stream (nng_socket.c), never while nng has an operation of that direction: a
 * stream of nng's has nothing between itself and the socket. An operation of nng's that is tried
 * and taken back costs more than the write, and leaves its poller waiting for the socket: it woke
 * for each frame that we had read.
 *
 * Polling. Between nng and us a message that has come passes three threads, each of which must be
 * woken: nng's poller, one of its tasks, a worker of ours. A worker that would sleep reads by
 * itself instead (isola_link_poll), and waits for the socket in its own loop. For that the read
 * that is under way with nng has to be cancelled, once: from then on nobody reads but who polls
 * (`reader`), until somebody says that nobody does any more (isola_link_rest).
 *
 * The end. nng_stream_close makes what is under way fail; when the last callback has been seen by
 * the loop, aios and stream are freed (nng_aio_free waits for a callback that is just returning)
 * and only then is the async handle closed: no callback can wake a closed handle. What is given to
 * a stream that is closed already is never finished (nng 1.5): so `gate` lies around giving, and a
 * closed one is given nothing.
 *
 * Connecting. nng 1.5 gives out streams whose connection is still being made (nng_socket.c): the
 * loop waits for the end of that, so it has its time, and its failure the sentence it has else.
 *
 * What nng 1.5 lacks: half-closing a stream, so the goodbye is an item. A read without room would
 * look like the peer's end; isola__inflow_room never gives none.
 */
#include <errno.h>
#include <inttypes.h>
#include <nng/nng.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "transport/envelope.h"
#include "transport/link_impl.h"
#include "transport/nng_socket.h"
#include "transport/tcp.h"

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

#define DIAL_TIMEOUT_MS 10000
#define ACCEPT_RETRY_MS 100
/* Reads in one poll that fill all their room. */
#define POLL_READS 8

/* What nng has done, in `done`; and what is with it, in `busy`: DIALLED and READ, and with the
 * loop, CONNECT. */
enum { DIALLED = 1, RECEIVED = 2, READ = 4, ATTEND = 8, CONNECT = 16 };

/* Who reads from a stream, and sees to what it has read. */
enum reader {
    BY_NNG,    /* a read is under way, or its callback runs */
    BY_NOBODY, /* free for who polls */
    BY_POLLER, /* a thread is at it */
    NO_MORE,
};

struct nng_link {
    struct isola_link link; /* first: freed through it */
    uv_async_t wake;
    uv_poll_t connect; /* CONNECT */
    atomic_uint done;  /* which aios have finished: set by nng's threads, taken by the loop */
    unsigned busy;     /* which aios are with nng; the loop's */
    bool stopped;
    nng_stream_dialer *dialer;
    nng_stream *stream;
    nng_aio *dial, *recv, *send;
    pthread_mutex_t gate; /* of `closed`; of giving what has to be finished by the stream, and of
                             cancelling that */
    atomic_bool closed;
    _Atomic(enum reader) reader;
    atomic_bool wanted; /* somebody would poll: nng is not to read on */
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

static void receive(struct nng_link *l);

/* Where there is room for what comes, and how much; 0: there is no memory, and the link ends. */
static size_t find_room(struct nng_link *l, uint8_t **to)
{
    struct isola_link *link = &l->link;
    size_t room;
    if (isola__inflow_room(&link->in, to, &room) == 0)
        return room;
    isola__link_ended(link, ISOLA_ENOMEM, "no memory for what %s sends", link->peer);
    return 0;
}

/* Nothing more can be read; `why` NULL: the peer has closed it. False. */
static bool failed(struct isola_link *link, const char *why)
{
    if (why == NULL)
        isola__link_ended(link, ISOLA_ECLOSED, "closed by the peer");
    else
        isola__link_ended(link, ISOLA_EIO, "reading from %s failed: %s", link->peer, why);
    return false;
}

/* True: more is to be read. */
static bool received(struct nng_link *l)
{
    int rv = nng_aio_result(l->recv);
    if (rv == NNG_ECANCELED) /* for somebody who polls */
        return true;
    if (rv == 0)
        return isola__link_arrived(&l->link, nng_aio_count(l->recv));
    bool closed = rv == NNG_ECONNSHUT || rv == NNG_ECONNRESET || rv == NNG_ECLOSED;
    return failed(&l->link, closed ? NULL : nng_strerror(rv));
}

static bool pass(struct nng_link *l, enum reader from, enum reader to)
{
    return atomic_compare_exchange_strong(&l->reader, &from, to);
}

/* The reader has come to an end of it. */
static void read_no_more(struct nng_link *l)
{
    atomic_store(&l->reader, NO_MORE);
    finished(l, READ);
}

/* To be read by nng, unless somebody else is the reader, who sees that when it leaves. */
static void back_to_nng(struct nng_link *l)
{
    atomic_store(&l->wanted, false);
    if (pass(l, BY_NOBODY, BY_NNG))
        receive(l);
}

/* The reader leaves it to who polls; or to nng, if those who did have said so meanwhile. */
static void leave(struct nng_link *l)
{
    atomic_store(&l->reader, BY_NOBODY);
    if (atomic_load(&l->closed) && pass(l, BY_NOBODY, NO_MORE)) /* or `stop` has seen it */
        finished(l, READ);
    else if (!atomic_load(&l->wanted))
        back_to_nng(l);
}

static void on_received(void *arg)
{
    struct nng_link *l = arg;
    enum isola__link_state state = isola__link_state(&l->link);
    if (l->link.direct && (state == ISOLA__LINK_UP || state == ISOLA__LINK_CLOSING)) {
        if (!received(l)) {
            read_no_more(l);
        } else if (!atomic_load(&l->wanted)) {
            receive(l); /* from here on another thread may be in this function */
        } else {
            leave(l);
        }
        return;
    }
    finished(l, RECEIVED);
}

static void on_sent(void *arg)
{
    struct nng_link *l = arg;
    int rv = nng_aio_result(l->send);
    isola__link_written(&l->link, rv == 0 ? nng_aio_count(l->send) : 0,
                        rv == 0 ? NULL : nng_strerror(rv));
}

static void wake(struct isola_link *link)
{
    finished(of(link), ATTEND);
}

/* --- on threads that poll --- */

/* What a reader has to do while there is something to be read. 1, 0, or the end of it: -1. */
static int read_some(struct nng_link *l)
{
    struct isola_link *link = &l->link;
    int came = 0;
    for (int i = 0; i < POLL_READS; i++) {
        uint8_t *to;
        size_t room = find_room(l, &to);
        if (room == 0)
            return -1;
        ssize_t n = recv(l->link.socket, to, room, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0)
            (void)failed(link, n == 0 || errno == ECONNRESET ? NULL : strerror(errno));
        if (n <= 0 || !isola__link_arrived(link, (size_t)n))
            return -1;
        came = 1;
        if ((size_t)n < room)
            break;
    }
    return came;
}

static int poll_link(struct isola_link *link, bool take)
{
    struct nng_link *l = of(link);
    enum isola__link_state state = isola__link_state(link);
    if (state != ISOLA__LINK_UP && state != ISOLA__LINK_CLOSING)
        return ISOLA_ECLOSED;
    if (!pass(l, BY_NOBODY, BY_POLLER)) {
        if (atomic_load(&l->reader) == NO_MORE)
            return ISOLA_ECLOSED;
        if (take && atomic_load(&l->reader) == BY_NNG) {
            pthread_mutex_lock(&l->gate);
            atomic_store(&l->wanted, true);
            if (!atomic_load(&l->closed))
                nng_aio_cancel(l->recv);
            pthread_mutex_unlock(&l->gate);
        }
        return 0;
    }
    int came = read_some(l);
    if (came < 0) {
        read_no_more(l);
        return ISOLA_ECLOSED;
    }
    leave(l);
    return came;
}

static void rest(struct isola_link *link)
{
    back_to_nng(of(link));
}

/* --- on the loop's thread --- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct nng_link *l = handle->data;
    isola__link_stopped(&l->link);
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

/* Who polls may hold the gate until then. */
static void release(struct isola_link *link)
{
    pthread_mutex_destroy(&of(link)->gate);
}

static void stop_when_idle(struct nng_link *l)
{
    if (l->busy != 0 || l->stopped || isola__link_writing(&l->link))
        return;
    l->stopped = true;
    free_nng(l);
    uv_close((uv_handle_t *)&l->wake, on_handle_closed);
}

static void on_connect_closed(uv_handle_t *handle)
{
    struct nng_link *l = handle->data;
    l->busy &= ~CONNECT;
    if (isola__link_state(&l->link) == ISOLA__LINK_ENDING)
        stop_when_idle(l);
}

static void wait_no_more(struct nng_link *l)
{
    if (l->busy & CONNECT && !uv_is_closing((uv_handle_t *)&l->connect))
        uv_close((uv_handle_t *)&l->connect, on_connect_closed);
}

static void stop(struct isola_link *link)
{
    struct nng_link *l = of(link);
    pthread_mutex_lock(&l->gate);
    atomic_store(&l->closed, true);
    pthread_mutex_unlock(&l->gate);
    if (l->dialer != NULL)
        nng_stream_dialer_close(l->dialer);
    if (l->stream != NULL)
        nng_stream_close(l->stream);
    wait_no_more(l);
    if (pass(l, BY_NOBODY, NO_MORE))
        l->busy &= ~READ;
    stop_when_idle(l);
}

static void receive(struct nng_link *l)
{
    uint8_t *to;
    size_t room = find_room(l, &to);
    if (room == 0) {
        finished(l, READ);
        return;
    }
    nng_iov iov = {to, room};
    ISOLA_CHECK(nng_aio_set_iov(l->recv, 1, &iov) == 0);
    pthread_mutex_lock(&l->gate);
    bool closed = atomic_load(&l->closed);
    if (!closed)
        nng_stream_recv(l->stream, l->recv); /* on_received follows, perhaps before this returns */
    pthread_mutex_unlock(&l->gate);
    if (closed)
        finished(l, READ);
}

static void start_reading(struct isola_link *link)
{
    of(link)->busy |= READ;
    receive(of(link));
}

static ssize_t write_some(struct isola_link *link, const uint8_t *data, size_t n, const char **why)
{
    struct nng_link *l = of(link);
    ssize_t sent = send(l->link.socket, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0)
        return sent;
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        *why = strerror(errno);
        return -1;
    }
    nng_iov iov = {(void *)(uintptr_t)data, n};
    ISOLA_CHECK(nng_aio_set_iov(l->send, 1, &iov) == 0);
    pthread_mutex_lock(&l->gate);
    bool closed = atomic_load(&l->closed);
    if (!closed)
        nng_stream_send(l->stream, l->send); /* on_sent follows, perhaps before this returns */
    pthread_mutex_unlock(&l->gate);
    *why = "closed here";
    return closed ? -1 : 0;
}

/* It writes as soon as something goes, and that is all there is to it: an answer must not wait for
 * the peer's acknowledgement of what went before, which comes 40 ms late (nng 1.5 leaves Nagle's
 * algorithm on in streams). */
static bool take_stream(struct nng_link *l, nng_stream *stream)
{
    l->stream = stream;
    (void)nng_stream_set_bool(stream, NNG_OPT_TCP_NODELAY, true); /* fails when it is reset */
    l->link.socket = isola__nng_socket(stream);
    return l->link.socket >= 0;
}

static void no_socket(struct isola_link *link)
{
    isola_log(
        ISOLA_LOG_WARN,
        "the connection with %s has ended at once, or there is no file descriptor left for it",
        link->peer);
    isola__link_ended(link, ISOLA_EIO, "it has ended at once, or there is no file descriptor left");
}

/* `why` NULL: it is connected. */
static void connected(struct isola_link *link, bool refused, const char *why)
{
    if (why == NULL)
        isola__link_up(link);
    else if (refused)
        isola__link_ended(link, ISOLA_EUNREACHABLE, "cannot connect to %s: nothing listens there",
                          link->peer);
    else
        isola__link_ended(link, ISOLA_EUNREACHABLE, "cannot connect to %s: %s", link->peer, why);
}

static void on_connected(uv_poll_t *poll, int status, int events)
{
    struct nng_link *l = poll->data;
    int error = 0;
    socklen_t len = sizeof(error);
    (void)status, (void)events; /* the socket knows better */
    wait_no_more(l);
    (void)getsockopt(l->link.socket, SOL_SOCKET, SO_ERROR, &error, &len);
    connected(&l->link, error == ECONNREFUSED, error == 0 ? NULL : strerror(error));
}

static void on_connect_late(uv_timer_t *timer)
{
    connected(timer->data, false, nng_strerror(NNG_ETIMEDOUT));
}

/* For the end of connecting, which nng has taken for over. */
static void wait_for_connection(struct nng_link *l)
{
    struct isola_link *link = &l->link;
    if (uv_poll_init(link->loop, &l->connect, link->socket) != 0) {
        no_socket(link);
        return;
    }
    l->connect.data = l;
    l->busy |= CONNECT;
    ISOLA_CHECK(uv_poll_start(&l->connect, UV_WRITABLE, on_connected) == 0);
    if (!link->close_asked) /* else the end is set already */
        uv_timer_start(&link->linger, on_connect_late, DIAL_TIMEOUT_MS, 0);
}

static void dialled(struct nng_link *l)
{
    struct isola_link *link = &l->link;
    int rv = nng_aio_result(l->dial);
    bool taken = rv == 0 && take_stream(l, nng_aio_get_output(l->dial, 0));
    if (isola__link_state(link) == ISOLA__LINK_ENDING) /* the stream is freed with the rest */
        return;
    if (rv != 0)
        connected(link, rv == NNG_ECONNREFUSED, nng_strerror(rv));
    else if (!taken)
        no_socket(link);
    else if (isola__socket_connecting(link->socket))
        wait_for_connection(l);
    else
        connected(link, false, NULL);
}

static void on_wake(uv_async_t *async)
{
    struct nng_link *l = async->data;
    struct isola_link *link = &l->link;
    unsigned done = atomic_exchange(&l->done, 0);
    if (done & DIALLED) {
        l->busy &= ~DIALLED;
        dialled(l);
    }
    if (done & RECEIVED) {
        if (isola__link_state(link) != ISOLA__LINK_ENDING && received(l))
            receive(l);
        else
            l->busy &= ~READ;
    }
    if (done & READ)
        l->busy &= ~READ;
    isola__link_pump(link);
    isola__link_attend(link);
    if (isola__link_state(link) == ISOLA__LINK_ENDING)
        stop_when_idle(l);
}

static const struct isola__backend backend = {.read = start_reading,
                                              .write = write_some,
                                              .wake = wake,
                                              .poll = poll_link,
                                              .rest = rest,
                                              .release = release,
                                              .stop = stop};

/* A link without dialer and stream, or NULL. */
static struct nng_link *new_link(uv_loop_t *loop)
{
    struct nng_link *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    ISOLA_CHECK(pthread_mutex_init(&l->gate, NULL) == 0);
    if (nng_aio_alloc(&l->dial, on_dialled, l) != 0 ||
        nng_aio_alloc(&l->recv, on_received, l) != 0 || nng_aio_alloc(&l->send, on_sent, l) != 0 ||
        uv_async_init(loop, &l->wake, on_wake) != 0) {
        free_nng(l);
        release(&l->link);
        free(l);
        return NULL;
    }
    l->wake.data = l;
    isola__link_init(&l->link, loop, &backend);
    l->link.stream = true;
    isola__link_speaks(&l->link, ISOLA_WIRE_VERSION);
    atomic_store(&l->link.cuts, true);
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
    char peer[ISOLA__URL_SIZE];
    struct nng_link *link = new_link(l->listener.loop);
    format_peer(stream, peer);
    if (link == NULL) {
        nng_stream_free(stream);
        isola__listener_turned_away(&l->listener, peer, "no memory for another link");
        return;
    }
    memcpy(link->link.peer, peer, sizeof(peer));
    if (take_stream(link, stream))
        isola__listener_offer(&l->listener, &link->link);
    else
        no_socket(&link->link);
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
        return isola_tcp_fail_listen(url, EADDRINUSE, err);
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
