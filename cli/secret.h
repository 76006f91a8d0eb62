/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of variables, as `ctl secret import` reads them: what Node.js' --env-file takes.
 */
#ifndef ISOLA_CLI_SECRET_H
#define ISOLA_CLI_SECRET_H

#include "base/buf.h"
#include "base/error.h"

/* Appends {name, value (bin)} for each variable in `text`, which is that of `file`: NAME=VALUE,
 * perhaps behind `export`, the value as it is up to a # or between ', " or `, then also over
 * several lines; lines that are empty or begin with # are none. *n: how many. ISOLA_EINVAL, with
 * the line. */
ANY_THREAD ISOLA_MUST_USE int isola__secret_read_env(struct isola_slice text, const char *file,
                                                     struct isola_buf *out, size_t *n,
                                                     struct isola_err *err);

#endif
