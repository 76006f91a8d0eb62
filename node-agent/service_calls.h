/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages to services: what the actor-host has for an instance, and the way of the answers back.
 *
 * A program that takes messages says so on its channel ("serves"), connects to the agent's socket,
 * and says which process it is (the method `serve`). From then on it is the taker of its instance's
 * line: asks and emits go to it in the order in which they came, under ids of the agent's, and it
 * answers asks, and emits events, on that connection. While there is no taker they wait: the
 * instance begins, is being replaced, or starts again after a crash. What one that ends had been
 * given and has not answered fails.
 *
 * Bounds: of a line CALLS_MAX asks and CALL_BYTES_MAX under way, WAITING_MAX messages and
 * WAITING_BYTES_MAX that wait; SUBS_MAX subscriptions in all.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_CALLS_H
#define ISOLA_NODE_AGENT_SERVICE_CALLS_H

#include "base/idmap.h"
#include "base/map.h"
#include "base/msg.h"

struct isola__agent;
struct isola__client;
struct isola__call;

/* Of an instance. */
struct isola__line {
    struct isola__agent *agent;
    char address[ISOLA_ADDRESS_MAX + 1];
    struct isola__client *taker;         /* NULL: there is none now */
    struct isola__call *waiting, **last; /* in the order in which they came */
    size_t nwaiting, waiting_bytes;
    struct isola__call *under; /* asks that takers have */
    size_t nunder, under_bytes;
    uint64_t second; /* in which so many of its messages were dropped */
    unsigned drops;
};

/* Of the agent. Zero is none. */
struct isola__calls {
    struct isola_idmap by_id; /* asks, by what the actor-host calls them */
    struct isola_idmap subs;  /* likewise */
    struct isola_map heard;   /* "app/Type\0event" → list of subscriptions */
};

LOOP_THREAD void isola__line_init(struct isola__line *l, struct isola__agent *agent,
                                  const char *address);
/* Its instance is no more: what waits fails with this; what a taker has is answered by that one, or
 * fails with its connection. */
LOOP_THREAD void isola__line_end(struct isola__line *l, const char *why);
/* This one takes what waits, and what comes; NULL: nobody does now. */
LOOP_THREAD void isola__line_set(struct isola__line *l, struct isola__client *taker);
/* What waits is looked at anew: other lines may have it now. */
LOOP_THREAD void isola__line_again(struct isola__line *l);
/* Nobody will: what waits fails. */
LOOP_THREAD void isola__line_fail(struct isola__line *l, int code, const char *why);

/* A message with a `dst` came from the actor-host: ASK, EMIT, SUB, UNSUB or CANCEL. */
LOOP_THREAD void isola__calls_message(struct isola__agent *agent, const struct isola_msg *m);
/* The instance of this number, of so many of its service, has emitted an event. */
LOOP_THREAD void isola__calls_event(struct isola__agent *agent, const char *type, unsigned number,
                                    unsigned instances, const struct isola_msg *m);
/* Whoever monitors that instance hears that it is down, and why: as of actors (docs/actors.md), for
 * one of "crashed", "failed", "stopped". */
LOOP_THREAD void isola__calls_down(struct isola__agent *agent, const char *type, unsigned number,
                                   unsigned instances, const char *reason, const char *message);
/* The actor-host is gone: nobody waits any more. */
LOOP_THREAD void isola__calls_host_down(struct isola__agent *agent);

/* Which of so many instances the key of an address names: a number below that is itself, any other
 * key one that is always the same. */
ANY_THREAD unsigned isola__calls_instance(struct isola_slice key, unsigned instances);

#endif
