/* SPDX-License-Identifier: Apache-2.0
 *
 * The beginning of a link over TCP: who are its ends? (secure.h, docs/security.md)
 *
 * Happy path: connected, the handshake, `admit` says who the peer is, `up` or `accepted`; from
 * there on all bytes are records. What a listener has accepted is nobody's link until the peer has
 * proven that it is there now: by its last message of the handshake, or, where that may be a
 * recorded one (IK), by its first record, which is why who has dialled sends a ping at once.
 *
 * Failure modes: a peer that says nothing, or too little, for ISOLA__LINK_SHAKE_MS, as far as we
 * can tell, who may have stood still ourselves (silence.h); too many such at once; one that is not
 * let in. Each ends that connection alone, with a line in the log and a count.
 */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "transport/envelope.h"
#include "transport/link_impl.h"
#include "transport/secure.h"

#define LOOK_MS 250
/* Connections to a listener whose peer is not known yet. */
#define STRANGERS_MAX 256
/* Lines of log a second about those that were turned away. */
#define TOLD_MAX 10

/* --- strangers --- */

static void forget_stranger(struct isola_link *link)
{
    struct isola_listener *l = link->listener;
    if (l == NULL)
        return;
    *link->stranger_at = link->next_stranger;
    if (link->next_stranger != NULL)
        link->next_stranger->stranger_at = link->stranger_at;
    link->listener = NULL;
    l->stats.strangers--;
}

/* One that has `ended` so, in the log: where lines about connections have a bound a second. */
static void count_refused(struct isola_listener *l, const char *peer, const char *ended,
                          const char *why)
{
    uint64_t now = isola_clock_ms();
    l->stats.refused++;
    if (why == NULL)
        return;
    if (now - l->told_ms >= 1000) {
        if (l->untold > 0)
            isola_log(ISOLA_LOG_WARN, "%s: %u more connections were refused", l->url, l->untold);
        l->told_ms = now;
        l->told = l->untold = 0;
    }
    if (l->told++ < TOLD_MAX)
        isola_log(ISOLA_LOG_WARN, "%s: the connection from %s %s: %s", l->url, peer, ended, why);
    else
        l->untold++;
}

void isola__listener_turned_away(struct isola_listener *l, const char *peer, const char *why)
{
    count_refused(l, peer, "is refused", why);
}

void isola_listener_refused(struct isola_listener *listener, const struct isola_link *link,
                            const char *why)
{
    isola__listener_turned_away(listener, link->peer, why);
}

void isola__link_left(struct isola_link *link)
{
    if (link->listener == NULL)
        return;
    if (!link->listener->closing)
        count_refused(link->listener, link->peer,
                      link->code == ISOLA_ECLOSED ? "came to nothing" : "is refused", link->why);
    forget_stranger(link);
}

void isola__listener_leave(struct isola_listener *listener)
{
    while (listener->strangers != NULL) {
        struct isola_link *link = listener->strangers;
        forget_stranger(link);
        isola__link_ended(link, ISOLA_ECLOSED, "this end does not listen any more");
    }
}

void isola__listener_offer(struct isola_listener *listener, struct isola_link *link)
{
    if (listener->security == NULL) {
        isola__link_established(link, listener);
        return;
    }
    if (listener->stats.strangers >= STRANGERS_MAX) {
        isola__listener_turned_away(listener, link->peer,
                                    "too many others have not said yet who they are");
        isola__link_ended(link, ISOLA_EOVERLOAD, "too many strangers");
        return;
    }
    link->security = listener->security;
    link->listener = listener;
    link->next_stranger = listener->strangers;
    link->stranger_at = &listener->strangers;
    if (link->next_stranger != NULL)
        link->next_stranger->stranger_at = &link->next_stranger;
    listener->strangers = link;
    listener->stats.strangers++;
    isola__link_shake(link);
}

/* --- the handshake --- */

/* However late it is: what has come meanwhile is read before the next look. */
static void on_look(uv_timer_t *timer)
{
    struct isola_link *link = timer->data;
    link->shake_ms -= LOOK_MS;
    if (link->shake_ms <= 0)
        isola__link_ended(link, ISOLA_EUNREACHABLE,
                          "the peer has not said who it is within %d ms, after %llu bytes",
                          ISOLA__LINK_SHAKE_MS, (unsigned long long)atomic_load(&link->bytes_in));
}

static int verify(void *arg, const uint8_t peer[ISOLA_KEY_SIZE], struct isola_slice payload,
                  struct isola_err *err)
{
    struct isola_link *link = arg;
    return link->security->admit(link->security->arg, link, peer, payload, &link->who, err);
}

/* Sends what the handshake says next, and empties `out`. The peer may have answered what was said
 * before ahead of the word that it is written. */
static void say(struct isola_link *link, struct isola_buf *out)
{
    pthread_mutex_lock(&link->lock);
    isola_buf_append(&link->said, out->data, out->len);
    bool failed = out->failed || link->said.failed;
    bool idle = !link->writing; /* else who writes goes on with it */
    if (idle) {
        link->writing = true;
        isola__link_run(link);
    } else {
        pthread_mutex_unlock(&link->lock);
    }
    isola_buf_free(out);
    if (failed)
        isola__link_ended(link, ISOLA_ENOMEM, "no memory for a handshake");
}

void isola__link_shake(struct isola_link *link)
{
    const struct isola_link_security *s = link->security;
    struct isola__secure_config config = {
        .keys = s->keys,
        .pattern = link->knows_peer ? ISOLA__NOISE_IK : ISOLA__NOISE_XX,
        .peer = link->knows_peer ? link->peer_key : NULL,
        .least = ISOLA_WIRE_CHANNEL,
        .greatest = ISOLA_WIRE_VERSION,
        .purpose = s->purpose,
        .payload = s->chain,
        .verify = verify,
        .arg = link,
    };
    struct isola_buf out = {0};
    struct isola_err err;
    bool dialled = link->listener == NULL;
    isola__link_set_state(link, ISOLA__LINK_SHAKING);
    link->secure = isola_secret_try(sizeof(*link->secure));
    if (link->secure == NULL) {
        isola__link_ended(link, ISOLA_ENOMEM, "no memory for a handshake");
        return;
    }
    if (!link->close_asked) { /* else the end is set already */
        link->shake_ms = dialled ? ISOLA__LINK_SHAKE_MS : link->listener->shake_ms;
        uv_update_time(link->loop);
        uv_timer_start(&link->linger, on_look, LOOK_MS, LOOK_MS);
    }
    int rc = isola__secure_init(link->secure, &config, dialled, &err);
    if (rc == 0 && dialled)
        rc = isola__secure_start(link->secure, &out, &err);
    if (rc != 0) {
        isola_buf_free(&out);
        isola__link_ended(link, rc, "%s", err.text);
        return;
    }
    say(link, &out);
    if (isola__link_state(link) != ISOLA__LINK_ENDING)
        link->backend->read(link);
}

/* The peer is known, and there. */
static void done(struct isola_link *link)
{
    struct isola_listener *l = link->listener;
    if (!link->close_asked)
        uv_timer_stop(&link->linger);
    isola__link_speaks(link, link->secure->version);
    forget_stranger(link);
    isola__link_established(link, l);
}

bool isola__link_shaken(struct isola_link *link)
{
    struct isola__inflow *in = &link->in;
    struct isola_buf out = {0};
    struct isola_err err;
    size_t used = 0;
    if (in->secure == NULL) {
        int rc = isola__secure_shake(link->secure, in->data + in->start, in->len - in->start, &used,
                                     &out, &err);
        in->start += used;
        say(link, &out);
        if (rc < 0)
            isola__link_ended(link, rc, "%s", err.text);
        if (rc != 1 || isola__link_state(link) == ISOLA__LINK_ENDING)
            return false;
        in->secure = link->secure;
    }
    if (!isola__secure_confirmed(link->secure)) {
        int rc = isola__inflow_prove(in, &err);
        if (rc < 0)
            isola__link_ended(link, rc, "%s", err.text);
        if (rc != 1)
            return false;
    }
    done(link);
    return isola__link_state(link) != ISOLA__LINK_ENDING;
}

/* --- records --- */

ssize_t isola__link_seal(struct isola_link *link, const char **why)
{
    struct isola__fill *fill = &link->fill;
    struct isola_err err;
    for (size_t i = 0; i < fill->nrecords; i++) {
        uint8_t *to = fill->bytes.data + fill->records[i].at;
        if (isola__secure_seal(link->secure, isola__fill_plain(fill, i), fill->records[i].len,
                               to - ISOLA__RECORD_BEFORE, &err) != 0) {
            *why = "the channel is used up";
            return -1;
        }
    }
    isola__fill_spent(fill);
    return 0;
}

_Static_assert(ISOLA__RECORD_BEFORE == ISOLA__SECURE_HEADER &&
                   ISOLA__RECORD_BEFORE + ISOLA__RECORD_AFTER == ISOLA__SECURE_OVERHEAD &&
                   ISOLA__RECORD_MAX <= ISOLA__SECURE_PLAIN_MAX,
               "the gaps are for what a record adds");
