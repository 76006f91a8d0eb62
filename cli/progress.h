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

struct isola__progress {
    bool on;
    size_t shown; /* columns of the line that is there */
};

LOOP_THREAD void isola__progress_begin(struct isola__progress *p, const struct isola__cli *cli);
/* In place of what is there; cut to the terminal's width. */
LOOP_THREAD void isola__progress_say(struct isola__progress *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Before anything else is written. */
LOOP_THREAD void isola__progress_clear(struct isola__progress *p);

#endif
