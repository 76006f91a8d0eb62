/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte streams between actors: the part of them that is not JavaScript (lib/runtime/streams.js has
 * what they say to each other).
 *
 * What two ends say are EMITs with an event of a name of its own. They are no turns: whoever reads
 * a stream does so in the middle of one, so they are handed to the isolate as soon as its realm is
 * visited, as the answers to asks are. They are for one activation: no actor is made for them, and
 * one that has no such stream (any more) answers with a RESET, which is how the other end finds
 * out. So is what cannot be delivered.
 *
 * Each end subscribes to the end of the other's activation, whatever it ends for (ISOLA_ENDED), and
 * hears of a lost node or link by the same way as monitors do. These events are no turns either.
 *
 * Whom an end was given to may use it, whatever its app may send to otherwise: both ends look at
 * who has sent what they get, and at an id nobody else knows.
 */
#include "actors/gate.h"
#include "actors/life.h"
#include "actors/limits.h"
#include "actors/pace.h"
#include "base/msgpack.h"

/* One of the kinds of lib/runtime/streams.js: `[name, RESET, code, why]`. */
#define RESET 7

bool isola__stream_is(const struct isola_mail *m)
{
    if (!m->hidden || m->durable)
        return false;
    return (m->kind == ISOLA_MSG_EMIT && isola_slice_is(m->event, ISOLA_STREAM)) ||
           (m->kind == ISOLA_MSG_EVENT && isola_slice_is(m->event, ISOLA_ENDED));
}

bool isola__stream_permits(const struct isola_mail *m)
{
    return m->hidden && !m->durable &&
           ((m->kind == ISOLA_MSG_EMIT && isola_slice_is(m->event, ISOLA_STREAM)) ||
            (m->kind == ISOLA_MSG_SUB && isola_slice_is(m->event, ISOLA_ENDED)));
}

static bool next(struct isola_mp_reader *r, int type, struct isola_mp_item *item)
{
    return isola_mp_next(r, item) == 0 && (int)item->type == type;
}

bool isola_host_stream_refused(struct isola_host *h, const struct isola_mail *m, int code,
                               const char *why)
{
    struct isola_mp_reader r = isola_mp_reader(m->args);
    struct isola_mp_item item, id, kind;
    struct isola_slice none = {0}, from = isola_mail_dst(m);
    struct isola_address at;
    if (!isola__stream_is(m))
        return false;
    /* Of what says that something has ended nothing more is said, nor to whom is no actor. */
    if (m->kind != ISOLA_MSG_EMIT || !next(&r, ISOLA_MP_ARRAY, &item) || item.n < 2 ||
        !next(&r, ISOLA_MP_STR, &id) || !next(&r, ISOLA_MP_UINT, &kind) || kind.u >= RESET ||
        isola_address_parse(m->src, &at, NULL) != 0)
        return true;
    struct isola_buf args = {0};
    isola_mp_array(&args, 4);
    isola_mp_str(&args, id.bytes);
    isola_mp_uint(&args, RESET);
    isola_mp_cstr(&args, isola_error_name(code));
    isola_mp_cstr(&args, why);
    struct isola_mail *reset = isola_mail_new(
        ISOLA_MSG_EMIT, from, m->src, isola_slice_str(ISOLA_STREAM), none, isola_buf_slice(&args));
    isola_buf_free(&args);
    if (reset != NULL)
        isola_host_post(h, reset);
    return true;
}

/* Nobody here knows the stream. Takes it. */
static void unknown(struct isola_host *h, struct isola_mail *m)
{
    (void)isola_host_stream_refused(h, m, ISOLA_ECANCELED,
                                    "the other end of the stream is not there any more");
    isola_mail_free(m);
}

uint32_t isola__stream_take(struct isola_realm *r, struct isola_mail *m)
{
    struct isola_actor *a = m->actor;
    uint32_t serial = a->serial;
    bool taken =
        serial != 0 && isola_js_stream(r->js, serial, m->src, m->kind == ISOLA_MSG_EVENT, m->args);
    if (!taken)
        unknown(r->host, m);
    else
        isola_mail_free(m);
    isola__mailbox_sub(a, 1);
    return serial;
}

void isola__stream_drop(struct isola_mail *m)
{
    struct isola_actor *a = m->actor;
    unknown(a->host, m);
    isola__mailbox_sub(a, 1);
}

int isola__stream_send(struct isola_realm *r, uint32_t actor, struct isola_slice dst,
                       struct isola_slice args, struct isola_err *err)
{
    struct isola_actor *a = isola__realm_actor(r, actor);
    struct isola_address to;
    struct isola_slice none = {0}, event = isola_slice_str(ISOLA_STREAM);
    if (a == NULL)
        return isola_fail(err, ISOLA_ECLOSED, "this activation of the actor has ended");
    int e = isola_address_parse(dst, &to, err);
    if (e == 0)
        e = isola__limits_send(a, ISOLA_MSG_EMIT, event.len + args.len, err);
    if (e != 0)
        return e;
    struct isola_mail *m = isola_mail_new(ISOLA_MSG_EMIT, a->address, dst, event, none, args);
    if (m == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a message of %zu bytes", args.len);
    isola__gate_put(r, a, m);
    return 0;
}
