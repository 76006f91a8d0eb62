/* SPDX-License-Identifier: Apache-2.0
 *
 * What a service prints becomes lines of the log (logs.h), under its address.
 *
 * A line of stdout is `info`, one of stderr `warn`; a line that is a JSON object with a `level` (or
 * `severity`), as pino, winston and bunyan write them, has that one. Lines are cut at LINE_MAX
 * bytes, and of more than `logRate` in a second the rest is dropped and counted.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_LOG_H
#define ISOLA_NODE_AGENT_SERVICE_LOG_H

#include "base/buf.h"

struct isola__logs;

/* Of one process. */
struct isola__service_log {
    struct isola__logs *logs;
    const char *node, *address; /* borrowed */
    uint32_t rate;              /* lines a second */
    uint64_t since_ms;          /* the second that is being counted */
    uint32_t lines, dropped;
    char last[200];  /* what it said of its failure: its last line that looks like one, and where */
    const char *dir; /* borrowed; where its program is */
    char place[120]; /* "src/server.js:12", of a line that was only that; "": none lately */
    unsigned since;  /* lines since then */
    char inspector[200]; /* what it has said last of its inspector, until somebody takes it */
};
/* One of its streams. */
struct isola__service_stream {
    struct isola__service_log *log;
    bool errors; /* stderr */
    bool skip;   /* the rest of a line that was cut */
    struct isola_buf line;
};

/* Takes in what was read from the stream (copies). */
LOOP_THREAD void isola__service_log_read(struct isola__service_stream *s, struct isola_slice bytes);
/* The stream has ended: what is there is its last line. */
LOOP_THREAD void isola__service_log_end(struct isola__service_stream *s);
/* A line of the agent's own about it; not counted. */
LOOP_THREAD void isola__service_log_say(struct isola__service_log *log, const char *level,
                                        const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Says how many lines were dropped, if any were and that has not been said. */
LOOP_THREAD void isola__service_log_flush(struct isola__service_log *log);

#endif
