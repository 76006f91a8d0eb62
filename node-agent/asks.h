/* SPDX-License-Identifier: Apache-2.0
 *
 * What the agent has asked others and not heard back yet: correlation, deadlines, and the end of
 * the one asked.
 *
 * Each ask gets an id that is unique in the agent, so a late answer to an id used before finds
 * nobody. One timer over a heap serves all deadlines. An ask belongs to the connection it was sent
 * on: answers from elsewhere do not count, and when that connection ends all its asks fail. The
 * callback fires exactly once (drop: never), and the ask is unregistered before it is entered, so
 * it may free the memory the ask is embedded in.
 */
#ifndef ISOLA_NODE_AGENT_ASKS_H
#define ISOLA_NODE_AGENT_ASKS_H

#include <uv.h>

#include "base/msg.h"

struct isola__ask;
struct isola__conn;

/* `answer` is a REPLY or a FAIL, borrowed for the call; a FAIL of our own making when none came. */
typedef void (*isola__ask_cb)(struct isola__ask *ask, const struct isola_msg *answer);

/* Embed it; zero it. Fields below the line belong to asks.c. */
struct isola__ask {
    isola__ask_cb cb;
    bool stays; /* a subscription: answers and the end of the connection do not unregister it */
    bool hasty; /* fails with ISOLA_EUNREACHABLE when the actor-host is known not to answer (host.h)
                 */
    /* --- */
    uint64_t id;
    uint64_t deadline_ms; /* on isola_clock_ms; 0: none */
    uint32_t timeout_ms;
    size_t heap_at;
    struct isola__conn *conn; /* sent there; NULL: not sent yet */
    struct isola__ask *prev, *next;
};

struct isola__asks {
    struct isola__ask_slot *slots;
    size_t nslots;
    size_t free_slot; /* first of the free list, plus one; 0: none */
    struct isola__ask **heap;
    size_t nheap, cap_heap;
    uv_timer_t timer;
};

LOOP_THREAD void isola__asks_init(struct isola__asks *asks, uv_loop_t *loop);
/* No ask may be registered any more when the loop has ended. */
LOOP_THREAD void isola__asks_close(struct isola__asks *asks);
LOOP_THREAD void isola__asks_free(struct isola__asks *asks);

/* Registers; fails the ask with ETIMEDOUT after `timeout_ms` plus `grace_ms` (timeout 0: never).
 * False: no ids left. */
LOOP_THREAD ISOLA_MUST_USE bool isola__asks_add(struct isola__asks *asks, struct isola__ask *ask,
                                                uint32_t timeout_ms, uint32_t grace_ms);
/* It went out on `conn`: from now on it shares that connection's fate. */
LOOP_THREAD void isola__asks_sent(struct isola__ask *ask, struct isola__conn *conn);
/* Unregisters without a callback. */
LOOP_THREAD void isola__asks_drop(struct isola__asks *asks, struct isola__ask *ask);
/* The ask of that id, or NULL. */
LOOP_THREAD struct isola__ask *isola__asks_find(const struct isola__asks *asks, uint64_t id);
/* A REPLY or FAIL came on `conn`. Ignored unless an ask of that id was sent there. */
LOOP_THREAD void isola__asks_answer(struct isola__asks *asks, struct isola__conn *conn,
                                    const struct isola_msg *answer);
/* Ends one ask with a FAIL. */
LOOP_THREAD void isola__asks_fail(struct isola__asks *asks, struct isola__ask *ask, int code,
                                  const char *text);
/* Ends every ask sent on `conn` (those that stay are only marked as not sent). */
LOOP_THREAD void isola__asks_fail_conn(struct isola__asks *asks, struct isola__conn *conn, int code,
                                       const char *text);

#endif
