/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of ctl, and how it tells what came of it.
 *
 * What goes to stdout is the result; with --json it is exactly one JSON document (or one a line,
 * for streams), also when the command fails. Without --json failures are told on stderr.
 */
#ifndef ISOLA_CLI_CLI_H
#define ISOLA_CLI_CLI_H

#include <jansson.h>

#include "base/buf.h"
#include "base/error.h"
#include "cli/options.h"

enum isola__status { ISOLA__DONE = 0, ISOLA__FAILED = 1, ISOLA__USAGE = 2 };

struct isola__cli {
    struct isola__options options;
    char *socket; /* path of the agent's socket; owned */
    bool colour;  /* on stdout */
    size_t width; /* of the terminal that stdout is, in columns; 0: it is none, or not known */
    int status;   /* what the process will exit with: enum isola__status */
};

/* Writes `b` to stdout, at once. False when nothing more can be written: status is set, the command
 * should end. A reader that went away (| head) is no failure. Frees what `b` holds. */
LOOP_THREAD bool isola__out(struct isola__cli *cli, struct isola_buf *b);
/* `v` as one line of JSON, or over several when `pretty`; as above. Borrows `v`. */
LOOP_THREAD bool isola__out_json(struct isola__cli *cli, const json_t *v, bool pretty);

/* A failure of our own, with its sentence: "ctl: TEXT". */
LOOP_THREAD void isola__fail(struct isola__cli *cli, const struct isola_err *err);
/* Wrong usage: as above, status ISOLA__USAGE. */
LOOP_THREAD void isola__fail_usage(struct isola__cli *cli, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The args of a FAIL: "ctl: CODE: message", and the stack below it. */
LOOP_THREAD void isola__fail_remote(struct isola__cli *cli, struct isola_slice args);
/* What a run of ctl with --json has told of its failure (the object "error"), as it tells people.
 */
LOOP_THREAD void isola__fail_document(const json_t *error);

#endif
