/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a link, whatever moves its bytes.
 *
 * Happy path: dial, `up`, frames both ways, close: the queue is flushed, the peer gets our goodbye
 * and ends its side, `down`. Frames of one turn leave together because the first one starts an idle
 * handle and the write happens in its callback: after all that the turn still does, before the loop
 * waits again.
 *
 * Failure modes: the peer ends or breaks the stream (down ISOLA_ECLOSED), announces a frame over
 * the limit (ISOLA_EPROTO); a write fails (what the peer sent before is still read, then down); a
 * peer that does not take our bytes (the queue fills, send refuses; a close gives up after a
 * second).
 *
 * Why a goodbye: closing a socket that has unread bytes resets the connection, and a reset destroys
 * what the peer has not read yet. So a close first says that nothing follows and then waits,
 * reading, for the peer to end the stream.
 */
#include "transport/link.h"

#include <endian.h>
#include <stdio.h>

#include "base/check.h"
#include "transport/envelope.h"
#include "transport/link_impl.h"

/* Queued this much within one turn, write at once rather than at the turn's end. */
#define FLUSH_EARLY (256u << 10)
/* More than the fixed part of an envelope. */
#define ENVELOPE_ROOM 64

/* --- the end --- */

static void closed(struct isola_link *link)
{
    if (--link->handles > 0)
        return;
    if (link->ops.down != NULL)
        link->ops.down(link, link->code, link->why, link->arg);
    isola__frames_in_free(&link->in);
    isola__frames_out_free(&link->out);
    free(link);
}

static void on_closed(uv_handle_t *handle)
{
    closed(handle->data);
}

void isola__link_stopped(struct isola_link *link)
{
    closed(link);
}

/* `why` may be link->why itself. */
static void end(struct isola_link *link, int code, const char *why)
{
    if (link->state == ISOLA__LINK_ENDING)
        return;
    link->code = link->close_asked ? 0 : code;
    if (why != link->why)
        snprintf(link->why, sizeof(link->why), "%s", why);
    link->state = ISOLA__LINK_ENDING;
    link->handles = 3;
    uv_close((uv_handle_t *)&link->flush, on_closed);
    uv_close((uv_handle_t *)&link->linger, on_closed);
    link->backend->stop(link);
}

static void on_linger(uv_timer_t *timer)
{
    struct isola_link *link = timer->data;
    if (link->broken) {
        end(link, ISOLA_ECLOSED, link->why);
    } else if (link->out.bytes > 0) {
        char why[100];
        snprintf(why, sizeof(why), "closed; %zu bytes could not be written in time",
                 link->out.bytes);
        end(link, 0, why);
    } else {
        end(link, 0, "closed; the peer did not answer the goodbye");
    }
}

static void start_linger(struct isola_link *link)
{
    if (uv_is_active((uv_handle_t *)&link->linger))
        return;
    uv_update_time(link->loop); /* the turn may have been a long one */
    uv_timer_start(&link->linger, on_linger, ISOLA__LINK_LINGER_MS, 0);
}

/* --- writing --- */

static bool can_write(const struct isola_link *link)
{
    return (link->state == ISOLA__LINK_UP || link->state == ISOLA__LINK_CLOSING) &&
           !link->writing && !link->broken;
}

/* What follows from having written; only from the loop, because it calls the user. */
static void after_write(struct isola_link *link)
{
    if (link->state == ISOLA__LINK_CLOSING) {
        if (link->broken) {
            end(link, 0, link->why);
        } else if (link->out.bytes == 0 && !link->writing && !link->said_goodbye) {
            link->said_goodbye = true;
            link->backend->goodbye(link);
        }
    } else if (link->state == ISOLA__LINK_UP && link->overloaded && !link->broken &&
               link->out.bytes < ISOLA_LINK_QUEUE_MAX / 2) {
        link->overloaded = false;
        if (link->ops.drained != NULL)
            link->ops.drained(link, link->arg);
    }
}

static void flush(struct isola_link *link)
{
    if (link->out.bytes > 0 && can_write(link))
        link->backend->write(link);
    after_write(link);
}

static void on_flush(uv_idle_t *idle)
{
    uv_idle_stop(idle);
    flush(idle->data);
}

void isola__link_wrote(struct isola_link *link, size_t n)
{
    link->stats.bytes_out += n;
    isola__frames_written(&link->out, n);
}

void isola__link_broke(struct isola_link *link, const char *why)
{
    if (link->broken || link->state == ISOLA__LINK_ENDING)
        return;
    link->broken = true;
    snprintf(link->why, sizeof(link->why), "writing to %s failed: %s", link->peer, why);
    isola__frames_out_free(&link->out);
    start_linger(link);
}

void isola__link_written(struct isola_link *link, size_t n, const char *why)
{
    link->writing = false;
    if (link->state == ISOLA__LINK_ENDING)
        return;
    isola__link_wrote(link, n);
    if (why != NULL)
        isola__link_broke(link, why);
    flush(link);
}

static int may_send(struct isola_link *link, size_t size)
{
    if (link->state > ISOLA__LINK_UP || link->close_asked || link->broken)
        return ISOLA_ECLOSED;
    if (link->out.bytes + size + ISOLA__FRAME_HEADER > ISOLA_LINK_QUEUE_MAX) {
        link->overloaded = true;
        return ISOLA_EOVERLOAD;
    }
    return 0;
}

static int sent(struct isola_link *link, int rc)
{
    if (rc != 0)
        return rc;
    link->stats.frames_out++;
    if (link->state == ISOLA__LINK_UP && !link->writing) {
        uv_idle_start(&link->flush, on_flush);
        if (link->out.bytes >= FLUSH_EARLY)
            link->backend->write(link);
    }
    return 0;
}

int isola_link_send(struct isola_link *link, struct isola_buf *frame)
{
    if (frame->failed)
        return ISOLA_ENOMEM;
    if (frame->len == 0)
        return ISOLA_EINVAL; /* it would be a goodbye */
    if (frame->len > ISOLA_FRAME_MAX)
        return ISOLA_ETOOBIG;
    int rc = may_send(link, frame->len);
    return rc != 0 ? rc : sent(link, isola__frames_push(&link->out, frame));
}

int isola_link_send_msg(struct isola_link *link, const struct isola_msg *m)
{
    size_t size =
        ENVELOPE_ROOM + m->src.len + m->dst.len + m->event.len + m->chain.len + m->args.len;
    if (size > ISOLA_FRAME_MAX + ENVELOPE_ROOM)
        return ISOLA_ETOOBIG;
    int rc = may_send(link, size);
    if (rc != 0)
        return rc;
    struct isola_buf *b = isola__frames_begin(&link->out, size);
    if (b == NULL)
        return ISOLA_ENOMEM;
    isola_envelope_encode(m, b);
    return sent(link, isola__frames_end(&link->out));
}

/* --- reading --- */

void isola__link_up(struct isola_link *link)
{
    if (link->state != ISOLA__LINK_CONNECTING)
        return;
    link->state = link->close_asked ? ISOLA__LINK_CLOSING : ISOLA__LINK_UP;
    if (!link->close_asked && link->ops.up != NULL)
        link->ops.up(link, link->arg);
    if (link->state != ISOLA__LINK_ENDING)
        link->backend->read(link);
    if (link->state != ISOLA__LINK_ENDING)
        flush(link);
}

void isola__link_arrived(struct isola_link *link, size_t n)
{
    struct isola_slice frame;
    int rc = 0;
    link->stats.bytes_in += n;
    isola__frames_arrived(&link->in, n);
    while (link->state != ISOLA__LINK_ENDING && (rc = isola__frames_next(&link->in, &frame)) == 1) {
        if (frame.len == 0) {
            end(link, ISOLA_ECLOSED, "closed by the peer");
        } else if (link->state == ISOLA__LINK_UP) { /* not after a close */
            link->stats.frames_in++;
            link->ops.frame(link, frame, link->arg);
        }
    }
    if (rc < 0) {
        uint32_t length;
        memcpy(&length, link->in.data + link->in.start, sizeof(length));
        isola__link_ended(link, rc, "the peer announced a frame of %u bytes; %u are allowed",
                          be32toh(length), ISOLA_FRAME_MAX);
    }
}

void isola__link_ended(struct isola_link *link, int code, const char *fmt, ...)
{
    if (link->state == ISOLA__LINK_ENDING)
        return;
    char why[sizeof(link->why)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    size_t partial = isola__frames_partial(&link->in);
    if (code == ISOLA_ECLOSED && partial > 0 && n > 0 && (size_t)n < sizeof(why))
        snprintf(why + n, sizeof(why) - (size_t)n,
                 " in the middle of a frame, after %zu bytes of it", partial);
    end(link, code, why);
}

/* --- the user's calls --- */

void isola__link_init(struct isola_link *link, uv_loop_t *loop,
                      const struct isola__backend *backend)
{
    link->loop = loop;
    link->backend = backend;
    link->state = ISOLA__LINK_CONNECTING;
    uv_idle_init(loop, &link->flush);
    uv_timer_init(loop, &link->linger);
    link->flush.data = link;
    link->linger.data = link;
}

int isola_link_dial(uv_loop_t *loop, const char *url, const struct isola_link_ops *ops, void *arg,
                    struct isola_link **out, struct isola_err *err)
{
    struct isola__url parsed;
    struct isola_link *link;
    int rc = isola__url_parse(url, &parsed, err);
    if (rc != 0)
        return rc;
    if (parsed.kind == ISOLA__URL_TCP && parsed.port == 0)
        return isola_fail(err, ISOLA_EINVAL, "%s has no port to connect to", url);
    rc = parsed.kind == ISOLA__URL_UNIX ? isola__uv_dial(loop, &parsed, &link, err)
                                        : isola__nng_dial(loop, &parsed, &link, err);
    if (rc != 0)
        return rc;
    isola__url_format(&parsed, link->peer);
    isola_link_accept(link, ops, arg);
    *out = link;
    return 0;
}

int isola_link_open_fd(uv_loop_t *loop, int fd, const struct isola_link_ops *ops, void *arg,
                       struct isola_link **out, struct isola_err *err)
{
    struct isola_link *link;
    int rc = isola__uv_open_fd(loop, fd, &link, err);
    if (rc != 0)
        return rc;
    snprintf(link->peer, sizeof(link->peer), "fd:%d", fd);
    isola_link_accept(link, ops, arg);
    link->state = ISOLA__LINK_UP;
    link->backend->read(link);
    *out = link;
    return 0;
}

void isola_link_accept(struct isola_link *link, const struct isola_link_ops *ops, void *arg)
{
    link->ops = *ops;
    link->arg = arg;
    link->accepted = true;
}

void isola_link_close(struct isola_link *link)
{
    if (link->close_asked || link->state == ISOLA__LINK_ENDING)
        return;
    link->close_asked = true;
    snprintf(link->why, sizeof(link->why), "closed");
    if (link->broken || (link->state == ISOLA__LINK_CONNECTING && link->out.bytes == 0)) {
        end(link, 0, link->why);
        return;
    }
    start_linger(link);
    if (link->state == ISOLA__LINK_UP) {
        link->state = ISOLA__LINK_CLOSING;
        uv_idle_start(&link->flush, on_flush); /* flushes, then says goodbye */
    }
}

void isola_link_stats(const struct isola_link *link, struct isola_link_stats *out)
{
    *out = link->stats;
    out->queued_bytes = link->out.bytes;
}

const char *isola_link_peer(const struct isola_link *link)
{
    return link->peer;
}

/* --- listening --- */

int isola_listener_open(uv_loop_t *loop, const char *url, const struct isola_listener_ops *ops,
                        void *arg, struct isola_listener **out, struct isola_err *err)
{
    struct isola__url parsed;
    struct isola_listener *listener;
    int rc = isola__url_parse(url, &parsed, err);
    if (rc != 0)
        return rc;
    rc = parsed.kind == ISOLA__URL_UNIX ? isola__uv_listen(loop, &parsed, &listener, err)
                                        : isola__nng_listen(loop, &parsed, &listener, err);
    if (rc != 0)
        return rc;
    isola__url_format(&parsed, listener->url);
    listener->ops = *ops;
    listener->arg = arg;
    *out = listener;
    return 0;
}

const char *isola_listener_url(const struct isola_listener *listener)
{
    return listener->url;
}

void isola_listener_close(struct isola_listener *listener)
{
    if (listener->closing)
        return;
    listener->closing = true;
    listener->close(listener);
}

void isola__listener_offer(struct isola_listener *listener, struct isola_link *link)
{
    link->state = ISOLA__LINK_UP;
    listener->ops.accepted(listener, link, listener->arg);
    if (!link->accepted)
        isola_link_close(link);
    if (link->state != ISOLA__LINK_ENDING)
        link->backend->read(link);
}
