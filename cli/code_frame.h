/* SPDX-License-Identifier: Apache-2.0
 *
 * The code around the place where something was thrown, as far as it is in the app's directory.
 */
#ifndef ISOLA_CLI_CODE_FRAME_H
#define ISOLA_CLI_CODE_FRAME_H

#include "base/buf.h"

/* `text`: an error with its stack, as an actor-host tells it ("at shop/counter.js:3:21"). Appends
 * the lines around the first place in it that is a file of `dir`, the app's, but none of a package,
 * with a mark below the column; nothing when there is none. */
POOL_THREAD void isola__code_frame(const char *dir, const char *app, struct isola_slice text,
                                   struct isola_buf *out);

#endif
