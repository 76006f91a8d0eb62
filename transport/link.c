/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a link, whatever moves its bytes; and what arrives on it.
 *
 * Happy path: dial, `up`, frames both ways, close: the queue is flushed, the peer gets our goodbye
 * and ends its side, `down`. Frames of one turn of the loop leave together because the first one
 * wakes the loop once more, and the write happens then: after all that the turn still does, before
 * the loop waits again.
 *
 * Failure modes: the peer ends or breaks the stream (down ISOLA_ECLOSED), sends what is not to be
 * sent (ISOLA_EPROTO), or is not heard of any more (ISOLA_EUNREACHABLE); a write fails (what the
 * peer sent before is still read, then down); a peer that does not take our bytes (the queue fills,
 * send refuses; a close gives up after a second).
 *
 * Why a goodbye: closing a socket that has unread bytes resets the connection, and a reset destroys
 * what the peer has not read yet. So a close first says that nothing follows and then waits,
 * reading, for the peer to end the stream.
 *
 * Is the peer there? Each end of a stream sends a ping when it has heard nothing for a beat, and
 * gives up when it has heard nothing for some: so a link of which only one direction works is
 * noticed at both ends. Time in which our own loop stood still counts little (silence.h).
 */
#include "transport/link.h"

#include <stdio.h>

#include <sys/socket.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "transport/envelope.h"
#include "transport/link_impl.h"
#include "transport/secure.h"

#define BEAT_MS  250
#define LEAST_NS 200000000ull

/* --- the end --- */

void isola__link_set_state(struct isola_link *link, enum isola__link_state state)
{
    pthread_mutex_lock(&link->lock);
    atomic_store_explicit(&link->state, state, memory_order_release);
    pthread_mutex_unlock(&link->lock);
}

void isola_link_ref(struct isola_link *link)
{
    atomic_fetch_add_explicit(&link->refs, 1, memory_order_relaxed);
}

void isola_link_unref(struct isola_link *link)
{
    if (atomic_fetch_sub_explicit(&link->refs, 1, memory_order_acq_rel) > 1)
        return;
    isola__inflow_free(&link->in);
    isola__heads_in_free(&link->heads_in);
    isola__outflow_free(&link->out);
    isola__heads_out_free(&link->heads_out);
    isola__fill_free(&link->fill);
    isola_buf_free(&link->said);
    isola_secret_free(link->secure);
    pthread_mutex_destroy(&link->lock);
    if (link->socket >= 0)
        close(link->socket);
    if (link->backend->release != NULL)
        link->backend->release(link);
    free(link);
}

static void closed(struct isola_link *link)
{
    if (--link->handles > 0)
        return;
    if (link->ops.down != NULL)
        link->ops.down(link, link->code, link->why, link->arg);
    isola_link_unref(link);
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
    if (isola__link_state(link) == ISOLA__LINK_ENDING)
        return;
    link->code = link->close_asked ? 0 : code;
    if (why != link->why)
        snprintf(link->why, sizeof(link->why), "%s", why);
    isola__link_set_state(link, ISOLA__LINK_ENDING);
    isola__link_left(link);
    link->handles = 4;
    uv_close((uv_handle_t *)&link->flush, on_closed);
    uv_close((uv_handle_t *)&link->linger, on_closed);
    uv_close((uv_handle_t *)&link->beat, on_closed);
    link->backend->stop(link);
}

static void on_linger(uv_timer_t *timer)
{
    struct isola_link *link = timer->data;
    char why[sizeof(link->ended_why)];
    pthread_mutex_lock(&link->lock);
    bool broken = link->broken;
    size_t left = link->out.bytes + (link->fill.bytes.len - link->written);
    snprintf(why, sizeof(why), "%s", link->ended_why);
    pthread_mutex_unlock(&link->lock);
    if (!broken && left > 0)
        snprintf(why, sizeof(why), "closed; %zu bytes could not be written in time", left);
    else if (!broken)
        snprintf(why, sizeof(why), "closed; the peer did not answer the goodbye");
    end(link, broken ? ISOLA_ECLOSED : 0, why);
}

static void start_linger(struct isola_link *link)
{
    if (uv_is_active((uv_handle_t *)&link->linger))
        return;
    uv_update_time(link->loop); /* the turn may have been a long one */
    uv_timer_start(&link->linger, on_linger, link->linger_ms, 0);
}

/* What follows from having written, or from what another thread has seen. */
void isola__link_attend(struct isola_link *link)
{
    enum isola__link_state state = isola__link_state(link);
    char why[sizeof(link->ended_why)];
    if (state == ISOLA__LINK_ENDING)
        return;
    pthread_mutex_lock(&link->lock);
    bool broken = link->broken, over = link->over;
    bool idle = link->out.count == 0 && !link->writing;
    bool room = !broken && isola__link_has_room(link);
    int code = link->ended_code;
    snprintf(why, sizeof(why), "%s", link->ended_why);
    bool bye = state == ISOLA__LINK_CLOSING && idle && !broken && !link->said_goodbye;
    link->said_goodbye |= bye;
    link->attend = false;
    if (state == ISOLA__LINK_UP && room)
        link->overloaded = false;
    pthread_mutex_unlock(&link->lock);
    if (over) {
        end(link, code, why);
    } else if (broken && state == ISOLA__LINK_CLOSING) {
        end(link, 0, why);
    } else if (broken) {
        start_linger(link);
    } else if (bye && link->backend->goodbye != NULL) {
        link->backend->goodbye(link);
    } else if (bye) {
        isola__link_item(link, ISOLA__ITEM_GOODBYE, NULL, 0);
    } else if (state == ISOLA__LINK_UP && room && link->ops.drained != NULL) {
        link->ops.drained(link, link->arg);
    }
}

static void on_flush(uv_idle_t *idle)
{
    struct isola_link *link = idle->data;
    uv_idle_stop(idle);
    isola__link_pump(link);
    isola__link_attend(link);
}

void isola__link_soon(struct isola_link *link)
{
    if (isola__link_state(link) != ISOLA__LINK_ENDING)
        uv_idle_start(&link->flush, on_flush);
}

/* --- reading --- */

int isola_link_decode(struct isola_link *link, struct isola_slice frame, struct isola_msg *out,
                      struct isola_err *err)
{
    unsigned version;
    if (link->head != NULL) {
        *out = *link->head;
        return isola_envelope_decode_args(frame, &out->args, err);
    }
    int rc = isola_envelope_decode(frame, out, &version, err);
    if (rc != 0)
        return rc;
    if (link->secure == NULL)
        isola__link_speaks(link, version);
    else if (version != link->secure->version)
        return isola_fail(err, ISOLA_EPROTO,
                          "a message of wire version %u came on a connection for which both ends "
                          "have agreed on version %u",
                          version, (unsigned)link->secure->version);
    return 0;
}

void *isola_link_take(struct isola_link *link, struct isola_slice frame)
{
    return isola__inflow_take(&link->in, frame);
}

void isola__link_speaks(struct isola_link *link, unsigned version)
{
    atomic_store_explicit(&link->wire, version, memory_order_relaxed);
    if (version > 1)
        atomic_store_explicit(&link->cuts, true, memory_order_relaxed);
}

static void pong(struct isola_link *link, struct isola_slice stamp)
{
    uint64_t sent, now = isola_clock_ns();
    memcpy(&sent, stamp.data, sizeof(sent));
    if (sent <= now)
        atomic_store_explicit(&link->rtt_ns, now - sent, memory_order_relaxed);
}

/* An item that has to do with heads, as the frame it stands for. */
static int with_head(struct isola_link *link, enum isola__item kind, struct isola_slice *bytes,
                     struct isola_err *err)
{
    if (link->secure == NULL)
        return isola_fail(err, ISOLA_EPROTO,
                          "an item of kind %d, which is for encrypted links alone", (int)kind);
    if (kind == ISOLA__ITEM_HEAD)
        return isola__heads_learn(&link->heads_in, bytes, err);
    link->head = isola__heads_recall(&link->heads_in, bytes, err);
    return link->head != NULL ? 0 : err->code;
}

bool isola__link_arrived(struct isola_link *link, size_t n)
{
    struct isola_slice bytes;
    enum isola__item kind;
    struct isola_err err;
    int rc = 0;
    bool any = false, bye = false;
    atomic_fetch_add_explicit(&link->bytes_in, n, memory_order_relaxed);
    if (link->stream)
        atomic_store_explicit(&link->heard_ns, isola_clock_ns(), memory_order_relaxed);
    isola__inflow_arrived(&link->in, n);
    if (isola__link_state(link) == ISOLA__LINK_SHAKING && !isola__link_shaken(link))
        return isola__link_state(link) != ISOLA__LINK_ENDING;
    while (isola__link_state(link) != ISOLA__LINK_ENDING && !link->deaf &&
           (rc = isola__inflow_next(&link->in, &kind, &bytes, &err)) == 1) {
        if (kind == ISOLA__ITEM_GOODBYE) {
            link->in.len = link->in.start; /* nothing follows */
            isola__link_ended(link, ISOLA_ECLOSED, "closed by the peer");
            bye = true;
            break;
        }
        if ((kind == ISOLA__ITEM_HEAD || kind == ISOLA__ITEM_AGAIN) &&
            (rc = with_head(link, kind, &bytes, &err)) < 0)
            break;
        if (kind == ISOLA__ITEM_PING) {
            isola__link_pong(link, bytes);
        } else if (kind == ISOLA__ITEM_PONG) {
            pong(link, bytes);
        } else if (isola__link_state(link) == ISOLA__LINK_UP) { /* not after a close */
            atomic_fetch_add_explicit(&link->frames_in, 1, memory_order_relaxed);
            link->ops.frame(link, bytes, link->arg);
            any = true;
        }
        link->head = NULL;
    }
    if (any && link->ops.heard != NULL)
        link->ops.heard(link, link->arg);
    if (rc < 0)
        isola__link_ended(link, rc, "%s", err.text);
    return rc >= 0 && !bye && !link->deaf && isola__link_state(link) != ISOLA__LINK_ENDING;
}

void isola__link_ended(struct isola_link *link, int code, const char *fmt, ...)
{
    if (isola__link_state(link) == ISOLA__LINK_ENDING)
        return;
    char why[sizeof(link->why)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    /* Said by who reads, so nobody else looks at what has arrived. */
    size_t partial = code == ISOLA_ECLOSED ? isola__inflow_partial(&link->in) : 0;
    if (partial > 0 && n > 0 && (size_t)n < sizeof(why))
        snprintf(why + n, sizeof(why) - (size_t)n,
                 " in the middle of a frame, after %zu bytes of it", partial);
    if (isola__link_on_loop(link)) {
        end(link, code, why);
        return;
    }
    link->deaf = true; /* not all that has arrived was looked at, and nothing of it is */
    pthread_mutex_lock(&link->lock);
    if (!link->over) {
        link->over = true;
        link->ended_code = code;
        snprintf(link->ended_why, sizeof(link->ended_why), "%s", why);
    }
    pthread_mutex_unlock(&link->lock);
    link->backend->wake(link);
}

/* --- is the peer there? --- */

/* Tells a peer that cannot be heard, but may hear, that the link is over. The end of a stream waits
 * in the kernel behind what the peer has not acknowledged, until that is sent again, which is up to
 * seconds away; a reset does not. */
static void reset(const struct isola_link *link)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (link->socket >= 0)
        (void)connect(link->socket, &nobody, sizeof(nobody));
}

static void on_beat(uv_timer_t *timer)
{
    struct isola_link *link = timer->data;
    uint64_t now = isola_clock_ns();
    uint64_t heard = atomic_load_explicit(&link->heard_ns, memory_order_relaxed);
    if (isola__silence_look(&link->silence, now, heard)) {
        isola__link_ended(link, ISOLA_EUNREACHABLE, "not heard of for %llu ms",
                          (unsigned long long)((now - heard) / 1000000));
        reset(link);
        return;
    }
    uint64_t silent = link->silence.ns, left = (ISOLA__SILENT_NS - silent) / 1000000 + 1;
    uv_timer_start(timer, on_beat, left < BEAT_MS ? left : BEAT_MS, 0);
    if (silent > 0 && silent < LEAST_NS && link->pinged_ns + 8 * LEAST_NS > now)
        return;
    link->pinged_ns = now;
    isola__link_item(link, ISOLA__ITEM_PING, &now, sizeof(now));
}

static void start_beating(struct isola_link *link)
{
    uint64_t now = isola_clock_ns();
    atomic_store_explicit(&link->heard_ns, now, memory_order_relaxed);
    isola__silence_start(&link->silence, now);
    link->pinged_ns = now;
    /* At once, too: it tells whom we have dialled that we are there now. */
    isola__link_item(link, ISOLA__ITEM_PING, &now, sizeof(now));
    uv_update_time(link->loop);
    uv_timer_start(&link->beat, on_beat, BEAT_MS, 0);
}

/* --- beginning --- */

static void came_up(struct isola_link *link, enum isola__link_state state)
{
    pthread_mutex_lock(&link->lock);
    link->up_ms = isola_clock_ms();
    atomic_store_explicit(&link->state, state, memory_order_release);
    pthread_mutex_unlock(&link->lock);
}

/* Frames may come and go. */
static void go(struct isola_link *link)
{
    if (link->stream)
        start_beating(link);
    if (isola__link_state(link) != ISOLA__LINK_ENDING && link->secure == NULL)
        link->backend->read(link);
    if (isola__link_state(link) != ISOLA__LINK_ENDING)
        on_flush(&link->flush);
}

void isola__link_up(struct isola_link *link)
{
    if (isola__link_state(link) != ISOLA__LINK_CONNECTING)
        return;
    if (link->security != NULL)
        isola__link_shake(link);
    else
        isola__link_established(link, NULL);
}

void isola__link_established(struct isola_link *link, struct isola_listener *listener)
{
    link->security = NULL;
    came_up(link, link->close_asked ? ISOLA__LINK_CLOSING : ISOLA__LINK_UP);
    if (listener != NULL) {
        listener->stats.accepted++;
        listener->ops.accepted(listener, link, listener->arg);
        if (!link->accepted)
            isola_link_close(link);
    } else if (!link->close_asked && link->ops.up != NULL) {
        link->ops.up(link, link->arg);
    }
    if (isola__link_state(link) != ISOLA__LINK_ENDING)
        go(link);
}

/* --- the user's calls --- */

void isola__link_init(struct isola_link *link, uv_loop_t *loop,
                      const struct isola__backend *backend)
{
    link->loop = loop;
    link->owner = pthread_self();
    link->backend = backend;
    link->socket = -1;
    link->linger_ms = ISOLA__LINK_LINGER_MS;
    atomic_store(&link->refs, 1);
    atomic_store(&link->state, ISOLA__LINK_CONNECTING);
    atomic_store(&link->wire, ISOLA_WIRE_OLDEST); /* which everyone understands */
    ISOLA_CHECK(pthread_mutex_init(&link->lock, NULL) == 0);
    uv_idle_init(loop, &link->flush);
    uv_timer_init(loop, &link->linger);
    uv_timer_init(loop, &link->beat);
    link->flush.data = link;
    link->linger.data = link;
    link->beat.data = link;
}

int isola_link_dial(uv_loop_t *loop, const char *url, const struct isola_link_security *security,
                    const uint8_t *peer_key, const struct isola_link_ops *ops, void *arg,
                    struct isola_link **out, struct isola_err *err)
{
    struct isola__url parsed;
    struct isola_link *link;
    int rc = isola__url_parse(url, &parsed, err);
    if (rc != 0)
        return rc;
    bool tcp = parsed.kind == ISOLA__URL_TCP;
    if (tcp && parsed.port == 0)
        return isola_fail(err, ISOLA_EINVAL, "%s has no port to connect to", url);
    if (tcp && security == NULL)
        return isola_fail(err, ISOLA_EPERM, "%s cannot be dialled without an identity", url);
    rc = tcp ? isola__nng_dial(loop, &parsed, &link, err)
             : isola__uv_dial(loop, &parsed, &link, err);
    if (rc != 0)
        return rc;
    isola__url_format(&parsed, link->peer);
    link->security = tcp ? security : NULL;
    link->knows_peer = tcp && peer_key != NULL;
    if (link->knows_peer)
        memcpy(link->peer_key, peer_key, sizeof(link->peer_key));
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
    came_up(link, ISOLA__LINK_UP);
    isola__link_speaks(link, ISOLA_WIRE_VERSION); /* the same release has made both ends */
    go(link);
    *out = link;
    return 0;
}

void isola_link_direct(struct isola_link *link)
{
    ISOLA_CHECK(link->stream);
    link->direct = true;
}

void isola_link_accept(struct isola_link *link, const struct isola_link_ops *ops, void *arg)
{
    link->ops = *ops;
    link->arg = arg;
    link->accepted = true;
}

void isola_link_close(struct isola_link *link)
{
    enum isola__link_state state = isola__link_state(link);
    if (link->close_asked || state == ISOLA__LINK_ENDING)
        return;
    link->close_asked = true;
    snprintf(link->why, sizeof(link->why), "closed");
    pthread_mutex_lock(&link->lock);
    bool broken = link->broken, empty = link->out.count == 0;
    pthread_mutex_unlock(&link->lock);
    if (broken || (state < ISOLA__LINK_UP && empty)) {
        end(link, 0, link->why);
        return;
    }
    if (state < ISOLA__LINK_UP)
        uv_timer_stop(&link->linger); /* it was to bound the beginning */
    start_linger(link);
    if (state == ISOLA__LINK_UP) {
        isola__link_set_state(link, ISOLA__LINK_CLOSING);
        link->backend->wake(link); /* flushes, then says goodbye */
    }
}

void isola_link_refuse(struct isola_link *link, const char *fmt, ...)
{
    char why[sizeof(link->why)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    isola__link_ended(link, ISOLA_EPROTO, "%s", why);
}

void isola_link_stats(struct isola_link *link, struct isola_link_stats *out)
{
    pthread_mutex_lock(&link->lock);
    *out = (struct isola_link_stats){
        .frames_in = atomic_load_explicit(&link->frames_in, memory_order_relaxed),
        .bytes_in = atomic_load_explicit(&link->bytes_in, memory_order_relaxed),
        .frames_out = link->frames_out,
        .bytes_out = link->bytes_out,
        .refused = link->refused,
        .queued_bytes = link->out.bytes + (link->fill.bytes.len - link->written),
        .queued_frames = link->out.count,
        .rtt_ns = atomic_load_explicit(&link->rtt_ns, memory_order_relaxed),
        .up_ms = link->up_ms,
        .wire = atomic_load_explicit(&link->wire, memory_order_relaxed),
    };
    pthread_mutex_unlock(&link->lock);
}

const char *isola_link_peer(const struct isola_link *link)
{
    return link->peer;
}

/* --- listening --- */

int isola_listener_open(uv_loop_t *loop, const char *url,
                        const struct isola_link_security *security,
                        const struct isola_listener_ops *ops, void *arg,
                        struct isola_listener **out, struct isola_err *err)
{
    struct isola__url parsed;
    struct isola_listener *listener;
    int rc = isola__url_parse(url, &parsed, err);
    if (rc != 0)
        return rc;
    bool tcp = parsed.kind == ISOLA__URL_TCP;
    if (tcp && security == NULL)
        return isola_fail(err, ISOLA_EPERM, "%s cannot be listened on without an identity", url);
    rc = tcp ? isola__nng_listen(loop, &parsed, &listener, err)
             : isola__uv_listen(loop, &parsed, &listener, err);
    if (rc != 0)
        return rc;
    isola__url_format(&parsed, listener->url);
    listener->security = tcp ? security : NULL;
    listener->shake_ms = ISOLA__LINK_SHAKE_MS;
    listener->ops = *ops;
    listener->arg = arg;
    *out = listener;
    return 0;
}

void isola_listener_stats(const struct isola_listener *listener, struct isola_listener_stats *out)
{
    *out = listener->stats;
}

const struct isola_identity *isola_link_identity(const struct isola_link *link)
{
    return link->secure != NULL ? &link->who : NULL;
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
    isola__listener_leave(listener);
    listener->close(listener);
}
