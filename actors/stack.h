/* SPDX-License-Identifier: Apache-2.0
 *
 * What V8 says of a place in a bundle, said of the file its author wrote.
 *
 * V8 knows a bundle as `isola:APP/MODULE`; a stack, a message or a profile speaks of places in it
 * as `isola:shop/counter.ts:512:9`. With the source map of the release that becomes
 * `shop/src/cart.ts:12:7`. A place the map knows nothing of stays as it is.
 *
 * Maps stay undecoded with the release until the first place is asked for. One that is malformed is
 * as good as none: the log says so once.
 */
#ifndef ISOLA_ACTORS_STACK_H
#define ISOLA_ACTORS_STACK_H

#include "base/sourcemap.h"

struct isola_release_rt;
struct isola_host;

/* Appends `text` with the places in it replaced. */
ANY_THREAD void isola__stack_map(struct isola_host *h, struct isola_release_rt *release,
                                 struct isola_slice text, struct isola_buf *out);
/* One place: `script` is what V8 calls the bundle. Appends the name of the author's file to `file`,
 * changes line and column. False: nothing known, nothing changed. */
ANY_THREAD bool isola__stack_place(struct isola_host *h, struct isola_release_rt *release,
                                   struct isola_slice script, uint32_t *line, uint32_t *column,
                                   struct isola_buf *file);

ANY_THREAD struct isola_slice isola__first_line(struct isola_slice text);
/* An Error value for a person: its stack, else its name and message, and the same of what caused
 * it. Nothing when `value` is no Error. */
ANY_THREAD void isola__error_text(struct isola_slice value, struct isola_buf *out);

#endif
