/* SPDX-License-Identifier: Apache-2.0
 *
 * What this node's actors log: the last lines in memory, all of them in DATA/logs/actors.jsonl, and
 * those who follow.
 *
 * A line is a map of time, level, node, address, text (docs/protocol.md), kept as checked msgpack.
 * The file is rotated at LOG_FILE_MAX, one old file is kept; at start the last lines are read back.
 * A file that cannot be written costs a warning and nothing else: memory and followers go on.
 */
#ifndef ISOLA_NODE_AGENT_LOGS_H
#define ISOLA_NODE_AGENT_LOGS_H

#include <stdio.h>
#include <uv.h>

#include "base/msg.h"
#include "node-agent/log_filter.h"

#define ISOLA_LOG_LINES_MAX 10000
#define ISOLA_LOG_BYTES_MAX ((size_t)64 << 20)

struct isola__agent;
struct isola__conn;
struct isola__gather;

struct isola__log_line {
    int64_t time_ms;
    struct isola_slice address; /* of whole */
    struct isola_slice whole;   /* msgpack */
};

struct isola__logs {
    struct isola__agent *agent;
    struct isola__log_line *ring[ISOLA_LOG_LINES_MAX];
    size_t first, count, bytes;
    char *path;
    char *old_path;
    FILE *file; /* NULL: it cannot be written */
    size_t file_bytes;
    bool dirty;
    bool complained;
    uv_prepare_t flush; /* what was logged in one turn of the loop is written at its end */
};

LOOP_THREAD ISOLA_MUST_USE int isola__logs_open(struct isola__logs *logs,
                                                struct isola__agent *agent, struct isola_err *err);
LOOP_THREAD void isola__logs_close(struct isola__logs *logs);
LOOP_THREAD void isola__logs_free(struct isola__logs *logs);
/* Takes in a line from the actor-host (copies); what is no line is dropped. */
LOOP_THREAD void isola__logs_add(struct isola__logs *logs, struct isola_slice line);
/* Line `i` of logs->count, oldest first. */
static inline const struct isola__log_line *isola__logs_at(const struct isola__logs *logs, size_t i)
{
    return logs->ring[(logs->first + i) % ISOLA_LOG_LINES_MAX];
}

/* A client that follows. While the lines of the past are gathered, what comes after each node's
 * answer waits. */
struct isola__follow {
    bool on;
    struct isola__conn *conn;
    struct isola__log_filter filter;
    struct isola__gather *gather; /* NULL: the past has been sent */
    struct isola_msgq waiting;
};
LOOP_THREAD void isola__follow_end(struct isola__follow *follow);

/* A line of this node (`node` NULL) or of another, to those who follow here. */
LOOP_THREAD void isola__follow_line(struct isola__agent *agent, const char *node,
                                    struct isola_slice line);
/* A node has joined: if anyone follows here, its lines are wanted. */
LOOP_THREAD void isola__follow_member(struct isola__agent *agent, struct isola__conn *peer);

/* The method `logs`, of a client and of another agent. */
LOOP_THREAD void isola__logs_method(struct isola__conn *from, const struct isola_msg *m,
                                    struct isola_slice params);
LOOP_THREAD void isola__logs_peer(struct isola__conn *from, const struct isola_msg *m,
                                  struct isola_slice params);

#endif
