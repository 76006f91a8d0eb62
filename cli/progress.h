/* SPDX-License-Identifier: Apache-2.0
 *
 * How far something is, for who waits at a terminal: one line on stderr that is written over and
 * over, and gone at the end. Nothing when stderr is no terminal, or with --json.
 */
#ifndef ISOLA_CLI_PROGRESS_H
#define ISOLA_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"
#include "cli/client.h"

struct isola__progress {
    bool on;
    size_t shown; /* columns of the line that is there */
};

LOOP_THREAD void isola__progress_begin(struct isola__progress *p, const struct isola__cli *cli);
/* In place of what is there; cut to the terminal's width. */
LOOP_THREAD void isola__progress_say(struct isola__progress *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The answer to what `client` has begun (isola__client_answer). Meanwhile the same agent is asked
 * `method` by a connection of its own, and `show` called with each result. */
LOOP_THREAD ISOLA_MUST_USE int
isola__progress_wait(struct isola__progress *p, const struct isola__cli *cli,
                     struct isola__client *client, uint32_t wait_ms, const char *method,
                     struct isola_slice params,
                     void (*show)(struct isola__progress *p, struct isola_slice value),
                     struct isola_msg **answer, struct isola_err *err);
/* Before anything else is written. */
LOOP_THREAD void isola__progress_clear(struct isola__progress *p);

#endif
