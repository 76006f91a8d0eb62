/* SPDX-License-Identifier: Apache-2.0
 *
 * What leaves a link: frames are put into lanes under the lock, by any thread where the link is
 * direct; one thread at a time fills a write from them, encrypts it and hands it to the backend.
 *
 * Happy path: a lone frame is written by the thread that put it. While one thread writes, what
 * others put waits, and goes with the next write of the one that writes: so frames are joined just
 * when there are many. A write that the socket does not take at once is under way; its end goes on.
 *
 * Failure modes: writing fails for good: what waits is dropped, and what the peer sent before is
 * still read. There is no memory for what is to be written: the link ends. The queue is full: the
 * sender is told, and `drained` follows.
 */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "transport/envelope.h"
#include "transport/link_impl.h"
#include "transport/older.h"

/* Queued this much, write at once. */
#define FLUSH_EARLY (128u << 10)
/* More than the fixed part of an envelope. */
#define ENVELOPE_ROOM 96
/* Answers to pings that wait. A peer that asks on and on and reads nothing gets no more. */
#define PONGS_MAX 256
/* What an idle link keeps to write from. */
#define FILL_REST (4u << 10)

static bool can_write(const struct isola_link *link)
{
    enum isola__link_state state = isola__link_state(link);
    return (state == ISOLA__LINK_UP || state == ISOLA__LINK_CLOSING) && !link->broken;
}

/* What has been begun is written also while the handshake lasts. */
static bool goes_on(const struct isola_link *link)
{
    enum isola__link_state state = isola__link_state(link);
    if (link->written == link->fill.bytes.len && link->said.len == 0)
        return can_write(link);
    return state > ISOLA__LINK_CONNECTING && state < ISOLA__LINK_ENDING && !link->broken;
}

bool isola__link_writing(struct isola_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool writing = link->writing;
    pthread_mutex_unlock(&link->lock);
    return writing;
}

/* With the lock. */
static void broke(struct isola_link *link, const char *why)
{
    if (link->broken || isola__link_state(link) == ISOLA__LINK_ENDING)
        return;
    link->broken = true;
    snprintf(link->ended_why, sizeof(link->ended_why), "writing to %s failed: %s", link->peer, why);
    if (!link->writing) /* else who writes may have parts of it in hand, and does this */
        isola__outflow_free(&link->out);
    link->backend->wake(link);
}

/* The peer, which knows nothing of it, would go on: so the link ends now. */
static void no_memory(struct isola_link *link)
{
    broke(link, "out of memory");
    if (!link->over) {
        link->over = true;
        link->ended_code = ISOLA_ENOMEM;
    }
}

/* Is there something that only the loop can do? */
static bool wants_loop(const struct isola_link *link)
{
    return isola__link_state(link) >= ISOLA__LINK_CLOSING || link->broken ||
           isola__link_has_room(link);
}

/* What the handshake says goes before everything else, as it is. True: that is the fill now. */
static bool take_said(struct isola_link *link)
{
    if (link->said.len == 0)
        return false;
    isola_buf_free(&link->fill.bytes);
    link->fill.bytes = link->said;
    link->fill.nrecords = 0;
    link->written = 0;
    link->said = (struct isola_buf){0};
    return true;
}

void isola__link_run(struct isola_link *link)
{
    while (goes_on(link)) {
        bool fresh = link->written == link->fill.bytes.len && !take_said(link);
        if (fresh) {
            if (isola__outflow_fill(&link->out, link->in.secure != NULL, &link->fill) != 0) {
                no_memory(link);
                break;
            }
            link->written = 0;
            if (link->out.head[ISOLA__LANE_CONTROL] == NULL)
                link->pongs = 0;
            if (link->fill.nrecords == 0)
                break;
            if (!link->attend &&
                isola__link_has_room(link)) { /* those who wait for it do not wait for all */
                link->attend = true;
                link->backend->wake(link);
            }
        }
        pthread_mutex_unlock(&link->lock);
        const char *why = "";
        ssize_t n = fresh && link->in.secure != NULL ? isola__link_seal(link, &why) : 0;
        if (n == 0) {
            n = link->backend->write(link, link->fill.bytes.data + link->written,
                                     link->fill.bytes.len - link->written, &why);
            if (n == 0)
                return; /* under way: the end of it owns `writing` now */
        }
        pthread_mutex_lock(&link->lock);
        if (n < 0) {
            broke(link, why);
        } else {
            link->written += (size_t)n;
            link->bytes_out += (size_t)n;
        }
    }
    if (link->fill.bytes.cap > FILL_REST) {
        isola__fill_free(&link->fill);
        link->written = 0;
    }
    link->writing = false;
    if (link->broken)
        isola__outflow_free(&link->out);
    if (wants_loop(link))
        link->backend->wake(link);
    pthread_mutex_unlock(&link->lock);
}

void isola__link_pump(struct isola_link *link)
{
    pthread_mutex_lock(&link->lock);
    if (link->writing || !can_write(link) || link->out.count == 0) {
        pthread_mutex_unlock(&link->lock);
        return;
    }
    link->writing = true;
    atomic_store_explicit(&link->much, false, memory_order_relaxed); /* who writes sees to it */
    isola__link_run(link);
}

void isola__link_written(struct isola_link *link, size_t n, const char *why)
{
    pthread_mutex_lock(&link->lock);
    link->written += n;
    link->bytes_out += n;
    if (why != NULL)
        broke(link, why);
    isola__link_run(link);
}

/* `answer`: it may use the reserve. */
static int may_send(struct isola_link *link, size_t size, bool answer)
{
    enum isola__link_state state = isola__link_state(link);
    if (state > ISOLA__LINK_UP || link->broken || link->over)
        return ISOLA_ECLOSED;
    /* A message that is larger than the bound may be the one that waits. */
    size_t bytes = ISOLA_LINK_QUEUE_MAX + (answer ? ISOLA_LINK_RESERVE_BYTES : 0);
    size_t frames = ISOLA_LINK_QUEUE_FRAMES + (answer ? ISOLA_LINK_RESERVE_FRAMES : 0);
    bool full = link->out.bytes > 0 && link->out.bytes + size > bytes;
    if (full || link->out.count >= frames) {
        link->overloaded = true;
        link->refused++;
        return ISOLA_EOVERLOAD;
    }
    return 0;
}

static bool cuts(const struct isola_link *link)
{
    return atomic_load_explicit(&link->cuts, memory_order_relaxed);
}

/* Has been put, or not. */
static int put(struct isola_link *link, int rc)
{
    bool early = link->out.bytes >= FLUSH_EARLY, wait = false;
    if (rc == 0) {
        link->frames_out++;
        wait = link->direct && link->out.bytes > ISOLA_LINK_CROWDED;
        link->overloaded |= wait;
    }
    if (early)
        atomic_store_explicit(&link->much, true, memory_order_relaxed);
    pthread_mutex_unlock(&link->lock);
    if (rc != 0)
        return rc;
    if (!link->direct && isola__link_state(link) == ISOLA__LINK_UP) {
        isola__link_soon(link);
        if (early)
            isola__link_pump(link);
    }
    return wait;
}

int isola_link_send(struct isola_link *link, struct isola_buf *frame)
{
    if (frame->failed)
        return ISOLA_ENOMEM;
    if (frame->len == 0)
        return ISOLA_EINVAL; /* it would be a goodbye */
    if (frame->len > (cuts(link) ? ISOLA_MESSAGE_MAX : ISOLA_FRAME_MAX))
        return ISOLA_ETOOBIG;
    pthread_mutex_lock(&link->lock);
    int rc = may_send(link, frame->len, false);
    if (rc == 0) {
        struct isola_buf *b =
            isola__outflow_begin(&link->out, ISOLA__LANE_EMIT, 1, cuts(link), frame->len);
        if (b == NULL)
            rc = ISOLA_ENOMEM;
        else
            isola_buf_append(b, frame->data, frame->len);
    }
    if (rc == 0)
        rc = isola__outflow_end(&link->out);
    rc = put(link, rc);
    if (rc >= 0)
        isola_buf_free(frame);
    return rc;
}

/* The head of the envelope of what can be sent from where its args lie, in `memory`. */
static bool stays(const struct isola_link *link, const struct isola_msg *m, const void *memory,
                  struct isola_buf *head)
{
    if (memory == NULL || m->args.len <= ISOLA__SMALL_MAX)
        return false;
    isola_envelope_encode_head(m, atomic_load_explicit(&link->wire, memory_order_relaxed), head);
    size_t room = (size_t)(m->args.data - (const uint8_t *)memory);
    return !head->failed && room >= head->len + ISOLA__FRAME_BEFORE;
}

/* With the lock. */
static int take(struct isola_link *link, const struct isola_msg *m, uint32_t key, void **memory,
                struct isola_slice head)
{
    uint8_t *begin = *memory;
    uint8_t *frame = begin + (m->args.data - begin) - head.len;
    int rc = isola__outflow_take(&link->out, key, begin, frame, head.len + m->args.len);
    if (rc != 0)
        return rc;
    memcpy(frame, head.data, head.len);
    *memory = NULL;
    return 0;
}

int isola_link_send_msg(struct isola_link *link, const struct isola_msg *m)
{
    void *none = NULL;
    return isola_link_send_own(link, m, &none);
}

/* With the lock. What it has in common with others before it is not said again. */
static int put_message(struct isola_link *link, const struct isola_msg *m, bool cut, size_t size)
{
    enum isola__lane lane = isola__lane_of(m);
    enum isola__item item = ISOLA__ITEM_FRAME;
    unsigned number = 0;
    uint32_t key = 0;
    if (cut && link->stream && size <= ISOLA__SMALL_MAX)
        item = isola__heads_find(&link->heads_out, m, &number, &key);
    if (item != ISOLA__ITEM_AGAIN)
        key = isola__key_of(m);
    struct isola_buf *b = isola__outflow_begin(&link->out, lane, key, cut, size);
    if (b == NULL)
        return ISOLA_ENOMEM;
    if (link->out.lane != lane) /* it would not come after what has given the number */
        item = ISOLA__ITEM_FRAME;
    if (item != ISOLA__ITEM_FRAME)
        isola_buf_append(b, (const uint8_t[]){(uint8_t)(number >> 8), (uint8_t)number},
                         ISOLA__HEAD_NUMBER);
    if (item == ISOLA__ITEM_AGAIN)
        isola_envelope_encode_args(m, b);
    else
        isola_envelope_encode(m, atomic_load_explicit(&link->wire, memory_order_relaxed), b);
    int rc = isola__outflow_end_as(&link->out, item);
    if (rc == 0 && item == ISOLA__ITEM_HEAD)
        isola__heads_given(&link->heads_out, m, number, key);
    return rc;
}

/* As isola_link_send_own, with values that the peer understands. */
static int send_own(struct isola_link *link, const struct isola_msg *m, void **memory)
{
    size_t size = ENVELOPE_ROOM + m->src.len + m->dst.len + m->event.len + m->trace.len +
                  m->chain.len + m->args.len;
    bool cut = cuts(link);
    if (size > (cut ? ISOLA_MESSAGE_MAX : ISOLA_FRAME_MAX) + (size_t)ENVELOPE_ROOM)
        return ISOLA_ETOOBIG;
    bool answer =
        (m->kind == ISOLA_MSG_REPLY || m->kind == ISOLA_MSG_FAIL) && size <= ISOLA_LINK_ANSWER_MAX;
    struct isola_buf head = {0};
    bool own = cut && stays(link, m, *memory, &head);
    pthread_mutex_lock(&link->lock);
    int rc = may_send(link, size, answer);
    if (rc == 0 && own) {
        rc = take(link, m, isola__key_of(m), memory, isola_buf_slice(&head));
    } else if (rc == 0) {
        rc = put_message(link, m, cut, size);
    }
    rc = put(link, rc);
    isola_buf_free(&head);
    return rc;
}

int isola_link_send_own(struct isola_link *link, const struct isola_msg *m, void **memory)
{
    if (atomic_load_explicit(&link->wire, memory_order_relaxed) > 1 || m->args.len == 0)
        return send_own(link, m, memory);
    if (m->args.len / 2 > (cuts(link) ? ISOLA_MESSAGE_MAX : ISOLA_FRAME_MAX))
        return ISOLA_ETOOBIG; /* UTF-16 that is ASCII gets that much shorter, nothing more */
    struct isola_buf args = {0};
    struct isola_msg older = *m;
    void *none = NULL;
    int rc = isola__older_args(m->args, &args);
    if (rc == 1) {
        older.args = isola_buf_slice(&args);
        rc = args.failed ? ISOLA_ENOMEM : send_own(link, &older, &none);
    } else if (rc == 0) {
        rc = send_own(link, m, memory);
    }
    isola_buf_free(&args);
    return rc;
}

/* With the lock. */
static void put_item(struct isola_link *link, int kind, const void *data, size_t len)
{
    bool silent = link->said_goodbye && kind != ISOLA__ITEM_GOODBYE;
    if (!silent && can_write(link) && isola__outflow_item(&link->out, kind, data, len) != 0)
        no_memory(link);
}

void isola__link_item(struct isola_link *link, int kind, const void *data, size_t len)
{
    pthread_mutex_lock(&link->lock);
    put_item(link, kind, data, len);
    pthread_mutex_unlock(&link->lock);
    isola__link_pump(link);
}

void isola__link_pong(struct isola_link *link, struct isola_slice stamp)
{
    pthread_mutex_lock(&link->lock);
    if (link->pongs < PONGS_MAX) {
        link->pongs++;
        put_item(link, ISOLA__ITEM_PONG, stamp.data, stamp.len);
    }
    pthread_mutex_unlock(&link->lock);
    isola__link_pump(link);
}

void isola_link_flush(struct isola_link *link)
{
    isola__link_pump(link);
}

void isola_link_flush_much(struct isola_link *link)
{
    if (atomic_load_explicit(&link->much, memory_order_relaxed))
        isola__link_pump(link);
}

int isola_link_poll(struct isola_link *link, bool take)
{
    return link->backend->poll != NULL && link->direct ? link->backend->poll(link, take)
                                                       : ISOLA_ECLOSED;
}

void isola_link_rest(struct isola_link *link)
{
    if (link->backend->rest != NULL)
        link->backend->rest(link);
}

int isola_link_socket(const struct isola_link *link)
{
    return link->socket;
}
