/* SPDX-License-Identifier: Apache-2.0
 *
 * The actor-host's composition root: the actor runtime (actors/) with its state (store/), its agent
 * and its peers (transport/).
 */
#ifndef ISOLA_ACTOR_HOST_MAIN_H
#define ISOLA_ACTOR_HOST_MAIN_H

#include <uv.h>

#include "base/error.h"

ISOLA_BEGIN_C

/* Starts everything on `loop` (the main loop of the pinned Node.js; `platform` is its
 * node::MultiIsolatePlatform *) and returns; the program then lives in the loop until its agent
 * goes or asks it to end. */
LOOP_THREAD ISOLA_MUST_USE int isola_actor_host_start(int argc, char **argv, uv_loop_t *loop,
                                                      void *platform, struct isola_err *err);

ISOLA_END_C

#endif
