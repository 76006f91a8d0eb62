/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection to an agent that looks synchronous: each call runs the loop until its answer is
 * there or its time is up.
 *
 * Messages that answer no call (EVENTs, EMITs) wait in order for isola__client_next. They are read
 * only while a call runs the loop, so the socket holds back what is not asked for.
 */
#ifndef ISOLA_CLI_CLIENT_H
#define ISOLA_CLI_CLIENT_H

#include <uv.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/msg.h"

struct isola__client;

/* Connects to the unix socket at `path` and greets the agent. Errors with sentences:
 * ISOLA_EUNREACHABLE (nobody there), ISOLA_ETIMEDOUT, ISOLA_EPROTO (something else listens there,
 * or another wire version). */
LOOP_THREAD ISOLA_MUST_USE int isola__client_open(const char *path, struct isola__client **out,
                                                  struct isola_err *err);
LOOP_THREAD void isola__client_close(struct isola__client *c);

/* Sends `m` with a fresh id (written to it) and waits for the REPLY or FAIL, at most `wait_ms`. The
 * caller frees `*answer`. Fails only when there is no answer: ISOLA_ETIMEDOUT, ISOLA_ECLOSED,
 * ISOLA_EPROTO, ISOLA_ETOOBIG. */
LOOP_THREAD ISOLA_MUST_USE int isola__client_request(struct isola__client *c, struct isola_msg *m,
                                                     uint32_t wait_ms, struct isola_msg **answer,
                                                     struct isola_err *err);
/* Calls a method of the agent itself; `params` is a msgpack map, or empty. As above. */
LOOP_THREAD ISOLA_MUST_USE int isola__client_call(struct isola__client *c, const char *method,
                                                  struct isola_slice params, uint32_t wait_ms,
                                                  struct isola_msg **answer, struct isola_err *err);
/* The two halves of a call: sends it (the agent is told that it is waited for `wait_ms`), waits for
 * its answer until `wait_ms` after it was sent. The second may be called again after
 * ISOLA_ETIMEDOUT. */
LOOP_THREAD ISOLA_MUST_USE int isola__client_begin(struct isola__client *c, const char *method,
                                                   struct isola_slice params, uint32_t wait_ms,
                                                   struct isola_err *err);
LOOP_THREAD ISOLA_MUST_USE int isola__client_answer(struct isola__client *c, uint32_t wait_ms,
                                                    struct isola_msg **answer,
                                                    struct isola_err *err);
/* Calls a method and does not wait: its answer, which has the id that is written to `*id`, is among
 * the kept messages (isola__client_listen). */
LOOP_THREAD ISOLA_MUST_USE int isola__client_post(struct isola__client *c, const char *method,
                                                  struct isola_slice params, uint32_t wait_ms,
                                                  uint64_t *id, struct isola_err *err);
/* What runs while a call waits: for handles that are closed before the connection is. */
LOOP_THREAD uv_loop_t *isola__client_loop(struct isola__client *c);
/* Lets so much time pass; the connection is kept. Ends early, and fails as a call does, with the
 * connection. */
LOOP_THREAD ISOLA_MUST_USE int isola__client_pause(struct isola__client *c, uint32_t ms,
                                                   struct isola_err *err);
/* Sends `m` (a fresh id is written to it unless its kind is EMIT) and waits until the agent has
 * read it. */
LOOP_THREAD ISOLA_MUST_USE int isola__client_send(struct isola__client *c, struct isola_msg *m,
                                                  struct isola_err *err);

/* Sends `m`, an EMIT, as a durable message of a program of its own, again and again until it is
 * acknowledged or refused: then *answer is an ACK or a FAIL, for the caller to free.
 * ISOLA_ETIMEDOUT after `wait_ms`, and as above; ISOLA_EPROTO also when the agent's release knows
 * no such messages. */
LOOP_THREAD ISOLA_MUST_USE int isola__client_deliver(struct isola__client *c, struct isola_msg *m,
                                                     uint32_t wait_ms, struct isola_msg **answer,
                                                     struct isola_err *err);

/* From now on messages that answer no call are kept, and SIGINT or a reader of stdout that goes
 * away ends the waiting. */
LOOP_THREAD void isola__client_listen(struct isola__client *c);
/* Has SIGINT, or the reader of stdout, ended the waiting? */
ANY_THREAD bool isola__client_interrupted(const struct isola__client *c);
/* The next kept message, waited for without limit; the caller frees. Zero with `*out` NULL:
 * interrupted. */
LOOP_THREAD ISOLA_MUST_USE int isola__client_next(struct isola__client *c, struct isola_msg **out,
                                                  struct isola_err *err);

#endif
