/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of files below a directory, as they are saved. Left out are node_modules, directories and
 * files that begin with a dot (but .env and what begins so), and what editors leave beside a file.
 */
#ifndef ISOLA_CLI_WATCH_H
#define ISOLA_CLI_WATCH_H

#include <uv.h>

#include "base/error.h"

struct isola__watch;

/* Once for each burst of changes, when it is over, and only when a file is another than before:
 * `err` is NULL then. Else nothing is watched any more, and `err` says why. On the loop. */
typedef void (*isola__watch_cb)(void *arg, const struct isola_err *err);

/* Watches `dir`, which is absolute, on `loop`. ISOLA_EIO and ISOLA_ETOOBIG with a sentence: that
 * cannot be. Success obliges to isola__watch_close. */
LOOP_THREAD ISOLA_MUST_USE int isola__watch_open(uv_loop_t *loop, const char *dir,
                                                 isola__watch_cb cb, void *arg,
                                                 struct isola__watch **out, struct isola_err *err);
/* `w` is gone when the loop has run. */
LOOP_THREAD void isola__watch_close(struct isola__watch *w);

#endif
