/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/conn.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "transport/envelope.h"

void isola__conn_init(struct isola__conn *conn, struct isola__agent *agent,
                      void (*free_conn)(struct isola__conn *conn))
{
    conn->agent = agent;
    conn->link = NULL;
    conn->refs = 1;
    conn->asks = NULL;
    conn->free = free_conn;
}

void isola__conn_unref(struct isola__conn *conn)
{
    ISOLA_CHECK(conn->refs > 0);
    if (--conn->refs == 0)
        conn->free(conn);
}

void isola__conn_down(struct isola__conn *conn, int code, const char *text)
{
    conn->link = NULL;
    isola__asks_fail_conn(&conn->agent->asks, conn, code, text);
    isola__conn_unref(conn);
}

void isola__conn_close(struct isola__conn *conn)
{
    if (conn->link != NULL)
        isola_link_close(conn->link);
}

int isola__conn_send(struct isola__conn *conn, const struct isola_msg *m)
{
    if (conn->link == NULL)
        return ISOLA_ECLOSED;
    int rc = isola_link_send_msg(conn->link, m);
    if (rc == ISOLA_EOVERLOAD || rc == ISOLA_ENOMEM) {
        isola_log(ISOLA_LOG_WARN, "%s does not read what is sent to it; its connection is closed",
                  conn->label);
        isola_link_close(conn->link);
    }
    return rc;
}

void isola__conn_refuse(struct isola__conn *conn, const char *fmt, ...)
{
    struct isola_err err;
    va_list ap;
    va_start(ap, fmt);
    isola_vfail(&err, ISOLA_EPROTO, fmt, ap);
    va_end(ap);
    isola_log(ISOLA_LOG_WARN, "%s: %s; its connection is closed", conn->label, err.text);
    struct isola_msg *m = isola_msg_fail(0, ISOLA_EPROTO, "%s", err.text);
    if (m != NULL)
        (void)isola__conn_send(conn, m);
    free(m);
    isola__conn_close(conn);
}

/* An answer that cannot be sent is an error, and the connection stays: whoever asks for much at
 * once may read slowly. Only who has no room even for that error is given up. */
static void send_answer(struct isola__conn *conn, const struct isola_msg *m)
{
    if (conn->link == NULL)
        return;
    if (m->kind == ISOLA_MSG_FAIL) {
        (void)isola__conn_send(conn, m);
        return;
    }
    switch (isola_link_send_msg(conn->link, m)) {
    case ISOLA_ETOOBIG:
        isola__fail(conn, m->id, ISOLA_ETOOBIG, "the answer is over %u MB; ask for less",
                    ISOLA_FRAME_MAX >> 20);
        break;
    case ISOLA_EOVERLOAD:
        isola__fail(conn, m->id, ISOLA_EOVERLOAD,
                    "the answer does not fit behind those that wait to be read, %u MB at the most",
                    (ISOLA_LINK_QUEUE_MAX + ISOLA_LINK_RESERVE_BYTES) >> 20);
        break;
    case ISOLA_ENOMEM:
        isola__fail(conn, m->id, ISOLA_ENOMEM, "node %s has no memory for the answer",
                    conn->agent->opt.name);
        break;
    case ISOLA_EPROTO:
        isola__fail(conn, m->id, ISOLA_EPROTO, "the answer is malformed");
        break;
    default:
        break;
    }
}

static void send_and_free(struct isola__conn *conn, struct isola_msg *m)
{
    if (m == NULL) {
        isola_log(ISOLA_LOG_ERROR, "out of memory for an answer to %s", conn->label);
        isola__conn_close(conn);
        return;
    }
    send_answer(conn, m);
    free(m);
}

void isola__reply(struct isola__conn *conn, uint64_t id, struct isola_slice value)
{
    if (id != 0 && conn->link != NULL)
        send_and_free(conn, isola_msg_reply(id, value));
}

void isola__reply_buf(struct isola__conn *conn, uint64_t id, struct isola_buf *value)
{
    if (value->failed)
        isola__fail(conn, id, ISOLA_ENOMEM, "node %s has no memory for the answer",
                    conn->agent->opt.name);
    else
        isola__reply(conn, id, isola_buf_slice(value));
    isola_buf_free(value);
}

void isola__fail(struct isola__conn *conn, uint64_t id, int code, const char *fmt, ...)
{
    if (id == 0 || conn->link == NULL)
        return;
    struct isola_err err;
    va_list ap;
    va_start(ap, fmt);
    isola_vfail(&err, code, fmt, ap);
    va_end(ap);
    send_and_free(conn, isola_msg_fail(id, code, "%s", err.text));
}

void isola__pass_answer(struct isola__conn *conn, uint64_t id, const struct isola_msg *answer)
{
    if (id == 0 || conn->link == NULL)
        return;
    struct isola_msg m = *answer;
    m.id = id;
    send_answer(conn, &m);
}

/* args: [params] */
static void wrap(struct isola_buf *args, struct isola_slice params)
{
    isola_mp_array(args, 1);
    if (params.len == 0)
        isola_mp_nil(args);
    else
        isola_buf_append(args, params.data, params.len);
}

int isola__emit(struct isola__conn *conn, const char *event, struct isola_slice params)
{
    struct isola_buf args = {0};
    wrap(&args, params);
    struct isola_msg m = {
        .kind = ISOLA_MSG_EMIT, .event = isola_slice_str(event), .args = isola_buf_slice(&args)};
    int rc = args.failed ? ISOLA_ENOMEM : isola__conn_send(conn, &m);
    isola_buf_free(&args);
    return rc;
}

/* An ask that is registered. */
static int send_ask(struct isola__conn *conn, struct isola__ask *ask, const char *method,
                    struct isola_slice params,
                    int (*send)(struct isola__conn *conn, const struct isola_msg *m))
{
    struct isola_buf args = {0};
    wrap(&args, params);
    struct isola_msg m = {.kind = ISOLA_MSG_ASK,
                          .id = ask->id,
                          .timeout_ms = ask->timeout_ms,
                          .event = isola_slice_str(method),
                          .args = isola_buf_slice(&args)};
    int rc = args.failed ? ISOLA_ENOMEM : send(conn, &m);
    isola_buf_free(&args);
    if (rc == 0)
        isola__asks_sent(ask, conn);
    return rc;
}

void isola__ask(struct isola__conn *conn, struct isola__ask *ask, const char *method,
                struct isola_slice params, uint32_t timeout_ms)
{
    struct isola__asks *asks = &conn->agent->asks;
    if (!isola__asks_add(asks, ask, timeout_ms, 0)) {
        struct isola_msg *none =
            isola_msg_fail(0, ISOLA_EOVERLOAD, "too many requests are under way");
        ISOLA_CHECK(none != NULL);
        ask->cb(ask, none);
        free(none);
        return;
    }
    int rc = send_ask(conn, ask, method, params, isola__conn_send);
    if (rc == 0)
        return;
    struct isola_err err;
    isola_fail(&err, rc, "%s cannot be asked to %s: %s", conn->label, method, isola_error_text(rc));
    isola__asks_fail(asks, ask, rc == ISOLA_ECLOSED ? ISOLA_EUNREACHABLE : rc, err.text);
}

static int send_if_room(struct isola__conn *conn, const struct isola_msg *m)
{
    return conn->link != NULL ? isola_link_send_msg(conn->link, m) : ISOLA_ECLOSED;
}

int isola__ask_if_room(struct isola__conn *conn, struct isola__ask *ask, const char *method)
{
    struct isola__asks *asks = &conn->agent->asks;
    if (!isola__asks_add(asks, ask, 0, 0))
        return ISOLA_EOVERLOAD;
    int rc = send_ask(conn, ask, method, (struct isola_slice){0}, send_if_room);
    if (rc != 0)
        isola__asks_drop(asks, ask);
    return rc;
}

struct isola_slice isola__params(const struct isola_msg *m)
{
    struct isola_slice params = {0};
    (void)isola_mp_at(m->args, 0, &params);
    return params;
}

struct isola_slice isola__value(const struct isola_msg *answer)
{
    return isola__params(answer);
}

int isola__answer_error(const struct isola_msg *answer, struct isola_err *err)
{
    struct isola_slice value = isola__params(answer);
    struct isola_mp_error e;
    if (answer->kind != ISOLA_MSG_FAIL || !isola_mp_read_error(value, &e))
        return isola_fail(err, ISOLA_EPROTO, "it answered with something that is no error");
    return isola_fail(err, e.code, "%.*s", ISOLA_FMT(e.message));
}

void isola__call(const struct isola__method *methods, struct isola__conn *from,
                 const struct isola_msg *m)
{
    for (; methods->name != NULL; methods++) {
        if (isola_slice_is(m->event, methods->name)) {
            methods->call(from, m, isola__params(m));
            return;
        }
    }
    isola__fail(from, m->id, ISOLA_EINVAL, "node %s knows no method \"%.*s\"",
                from->agent->opt.name, (int)(m->event.len < 64 ? m->event.len : 64),
                (const char *)m->event.data);
}

/* --- a question passed on --- */

struct passing {
    struct isola__ask ask; /* first */
    struct isola__conn *from;
    uint64_t id;
};

static void passed(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct passing *p = (struct passing *)ask;
    isola__pass_answer(p->from, p->id, answer);
    isola__conn_unref(p->from);
    free(p);
}

void isola__pass_on(struct isola__conn *from, const struct isola_msg *m, struct isola__conn *to,
                    const char *node, struct isola_slice params, uint32_t ms)
{
    if (to == NULL) {
        isola__fail(from, m->id, ISOLA_EUNREACHABLE, "node %s cannot be reached now", node);
        return;
    }
    struct passing *p = isola_zalloc(sizeof(*p));
    p->ask.cb = passed;
    p->from = from;
    isola__conn_ref(from);
    p->id = m->id;
    char *method = isola_strndup((const char *)m->event.data, m->event.len);
    isola__ask(to, &p->ask, method, params, ms);
    free(method);
}
