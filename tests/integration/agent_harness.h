/* SPDX-License-Identifier: Apache-2.0
 *
 * Real agents and clients of them for integration tests. Everything waits for an event with a
 * deadline; nothing sleeps.
 */
#ifndef ISOLA_TESTS_AGENT_HARNESS_H
#define ISOLA_TESTS_AGENT_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uv.h>

#include "base/msg.h"
#include "tests/tempdir.h"
#include "tests/watch.h"
#include "transport/link.h"

#define DEADLINE_MS 20000

struct agent;

struct world {
    uv_loop_t loop;
    struct watch waited;
    struct agent *agents;   /* not yet ended */
    char dir[TEMPDIR_SIZE]; /* temporary, removed with all in it */
};
extern struct world world;

int world_open(void **state);
int world_close(void **state);

/* Runs the loop until `cond` holds; the test fails when it does not within the deadline. */
#define WAIT_FOR(cond)                                                                             \
    do {                                                                                           \
        watch_reset(&world.waited);                                                                \
        while (!(cond) && !watch_over(&world.waited, DEADLINE_MS))                                 \
            uv_run(&world.loop, UV_RUN_ONCE);                                                      \
        if (!(cond))                                                                               \
            fail_msg("%s:%d: waited too long for: %s", __FILE__, __LINE__, #cond);                 \
    } while (0)

struct agent {
    struct agent *next;
    uv_process_t process;
    uv_pipe_t out_pipe, err_pipe;
    unsigned open; /* handles */
    bool exited;
    int64_t status;
    int signal;
    char out[4096], err[65536]; /* what it has printed so far */
    size_t nout, nerr;
    char socket[160], mesh[64]; /* from the ready line; mesh is "" in no cluster */
};

/* Starts build/bin/node-agent --name NAME --data DIR/NAME with more arguments up to NULL. */
void agent_start(struct agent *a, const char *name, ...);
void agent_wait_ready(struct agent *a);
void agent_wait_exit(struct agent *a);
/* SIGTERM, and it must exit 0. */
void agent_stop(struct agent *a);

struct client {
    struct isola_link *link;
    struct isola_link_security security;
    bool up, down;
    int code;
    uint64_t last_id;
    uint64_t watch;        /* subscription to the view */
    struct isola_msgq got; /* not yet looked at */
};

void client_open(struct client *c, const char *url);
/* As another agent: with these keys, showing that chain, to whoever answers. It may be refused. */
void client_dial(struct client *c, const char *url, const struct isola_node_keys *keys,
                 struct isola_slice chain);
void client_close(struct client *c);

/* Makes a cluster of a ready agent; its `mesh` is known from then on. */
void agent_init(struct agent *a);
/* A fresh token to join the cluster that was made there. Static storage. */
const char *agent_token(struct agent *a);
/* Sends; args NULL: []. Returns the id. */
uint64_t client_send(struct client *c, enum isola_msg_kind kind, const char *dst, const char *event,
                     const struct isola_buf *args, uint32_t timeout_ms);
/* The answer to `id`; free it. */
struct isola_msg *client_answer(struct client *c, uint64_t id);
/* The next message of that kind; free it. */
struct isola_msg *client_next(struct client *c, enum isola_msg_kind kind);
bool client_has(struct client *c, enum isola_msg_kind kind);
/* An ask and its answer. `params` NULL: {}; freed. */
struct isola_msg *client_call(struct client *c, const char *method, struct isola_buf *params);
struct isola_msg *client_ask(struct client *c, const char *dst, const char *event);
/* An actor logs a line. */
void client_say(struct client *c, const char *dst, const char *text);

/* The value of a REPLY; fails on anything else. */
struct isola_slice value_of(const struct isola_msg *m);
uint64_t uint_of(const struct isola_msg *m);
/* The answer must be a FAIL of that code whose message contains `text`; frees it. */
void assert_fail(struct isola_msg *m, int code, const char *text);
/* The value as text for substring checks: what is not printable is '.'. Static storage. */
const char *printable(struct isola_slice s);
/* The state of `node` as `nodes` says it, or "". Static storage. */
const char *node_state(struct client *c, const char *node);
/* Waits until it says `state`; looks whenever the view of the agent's actor-host changes. */
void wait_node_state(struct client *c, const char *node, const char *state);
uint64_t node_field(struct client *c, const char *node, const char *key);
/* SIGKILL for the node's actor-host; the pid it had. */
uint64_t host_kill(struct client *c, const char *node);
/* Params of a deploy of app `app` with one type Counter whose code is `code`. */
struct isola_buf deploy_params(const char *app, const char *code);

#endif
