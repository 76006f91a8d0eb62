/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking into the isolates of live actors.
 */
#ifndef ISOLA_ACTORS_INSPECT_H
#define ISOLA_ACTORS_INSPECT_H

#include "actors/v8/realm.h"

struct isola_realm;

ANY_THREAD bool isola__inspect_waits(struct isola_realm *r);
/* Worker, with the isolate (or NULL): does what waits to be done in it. */
void isola__inspect_run(struct isola_realm *r, struct isola_js *js);
/* Worker: the isolate ends after this. */
void isola__inspect_close(struct isola_realm *r);

#endif
