/* SPDX-License-Identifier: Apache-2.0
 *
 * The actor-host's composition root: the actor runtime (actors/) with its state (store/), its agent
 * and its peers (transport/).
 */
#ifndef ISOLA_ACTOR_HOST_MAIN_H
#define ISOLA_ACTOR_HOST_MAIN_H

#include <uv.h>

#include "base/buf.h"
#include "base/error.h"

ISOLA_BEGIN_C

struct app;

/* The JavaScript of the main thread that does for scripts what isolates cannot (outside/index.cjs).
 * LOOP_THREAD, outside of any JavaScript. Slices are borrowed for the call. */
struct isola_outside {
    void (*start)(void *arg, uint64_t job, struct isola_slice what, struct isola_slice who,
                  struct isola_slice net, struct isola_slice head, struct isola_slice body);
    void (*more)(void *arg, uint64_t job);
    void (*cancel)(void *arg, uint64_t job);
    void *arg;
};
/* It answers (copies). Of a job that has ended: nothing happens. */
LOOP_THREAD void isola_actor_host_answer(struct app *app, uint64_t job, bool last,
                                         struct isola_slice head, struct isola_slice body);

/* Starts everything on `loop` (the main loop of the pinned Node.js; `platform` is its
 * node::MultiIsolatePlatform *) and returns; the program then lives in the loop until its agent
 * goes or asks it to end. */
LOOP_THREAD ISOLA_MUST_USE int isola_actor_host_start(int argc, char **argv, uv_loop_t *loop,
                                                      void *platform,
                                                      const struct isola_outside *outside,
                                                      struct app **out, struct isola_err *err);

/* A process of its own that prepares a module (prepare.h), on the main thread of the pinned
 * Node.js. Does not return. */
LOOP_THREAD void isola_actor_host_prepare(void *platform);

ISOLA_END_C

#endif
