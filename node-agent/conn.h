/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection of the agent, to a client, its actor-host or another agent: replies, asks and the
 * checks they share.
 *
 * Counted, because an answer that takes a while may outlive the one who asked: sending on a
 * connection that is down does nothing. Whoever does not read what it asked for is disconnected
 * when its link's queue is full.
 */
#ifndef ISOLA_NODE_AGENT_CONN_H
#define ISOLA_NODE_AGENT_CONN_H

#include "base/msg.h"
#include "node-agent/asks.h"
#include "transport/link.h"

struct isola__agent;

struct isola__conn {
    struct isola__agent *agent;
    struct isola_link *link; /* NULL once down */
    unsigned refs;
    struct isola__ask *asks; /* sent on it and not answered */
    char label[96];          /* for the log: "client 7", "node west" */
    void (*free)(struct isola__conn *conn);
};

/* Starts with one reference, that of the link; isola__conn_down gives it back. */
LOOP_THREAD void isola__conn_init(struct isola__conn *conn, struct isola__agent *agent,
                                  void (*free_conn)(struct isola__conn *conn));
static inline void isola__conn_ref(struct isola__conn *conn)
{
    conn->refs++;
}
LOOP_THREAD void isola__conn_unref(struct isola__conn *conn);
/* The link has ended: fails what was asked on it, gives back its reference. */
LOOP_THREAD void isola__conn_down(struct isola__conn *conn, int code, const char *text);
LOOP_THREAD void isola__conn_close(struct isola__conn *conn);
/* Says why in the log and to the peer (FAIL EPROTO, id 0), and closes. */
LOOP_THREAD void isola__conn_refuse(struct isola__conn *conn, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Sends; borrows. ISOLA_ECLOSED when it is down; on ISOLA_EOVERLOAD it was closed. */
LOOP_THREAD int isola__conn_send(struct isola__conn *conn, const struct isola_msg *m);
/* Answers `id`; nothing for id 0, which asks for no answer. `value` is one msgpack value, empty:
 * nil. */
LOOP_THREAD void isola__reply(struct isola__conn *conn, uint64_t id, struct isola_slice value);
/* As above; frees `value`, and fails with ENOMEM when it could not be built. */
LOOP_THREAD void isola__reply_buf(struct isola__conn *conn, uint64_t id, struct isola_buf *value);
LOOP_THREAD void isola__fail(struct isola__conn *conn, uint64_t id, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Passes an answer on under another id. */
LOOP_THREAD void isola__pass_answer(struct isola__conn *conn, uint64_t id,
                                    const struct isola_msg *answer);

/* Tells the peer itself: EMIT `event` with args [params]. `params` is one msgpack value. */
LOOP_THREAD int isola__emit(struct isola__conn *conn, const char *event, struct isola_slice params);
/* Asks the peer itself; `ask->cb` gets the answer, at once when it cannot be sent. */
LOOP_THREAD void isola__ask(struct isola__conn *conn, struct isola__ask *ask, const char *method,
                            struct isola_slice params, uint32_t timeout_ms);
/* The same without a timeout, when there is room for it: else an error, and nothing has changed. */
LOOP_THREAD ISOLA_MUST_USE int isola__ask_if_room(struct isola__conn *conn, struct isola__ask *ask,
                                                  const char *method);

/* Asks `to` (NULL: nobody is there) what `from` has asked, with these parameters, and passes its
 * answer on. `node`: for the sentence when it cannot be asked. */
LOOP_THREAD void isola__pass_on(struct isola__conn *from, const struct isola_msg *m,
                                struct isola__conn *to, const char *node, struct isola_slice params,
                                uint32_t ms);

/* The one map of parameters of a call to the agent; empty when there is none. */
ANY_THREAD struct isola_slice isola__params(const struct isola_msg *m);
/* The value of a REPLY; empty when there is none. */
ANY_THREAD struct isola_slice isola__value(const struct isola_msg *answer);
/* The error of a FAIL, copied into `err`; returns its code. */
ANY_THREAD int isola__answer_error(const struct isola_msg *answer, struct isola_err *err);

/* Methods of the agent, by name. */
struct isola__method {
    const char *name;
    void (*call)(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params);
};
/* Calls the method named by m->event, or fails. `methods` ends with a NULL name. */
LOOP_THREAD void isola__call(const struct isola__method *methods, struct isola__conn *from,
                             const struct isola_msg *m);

#endif
