/* SPDX-License-Identifier: Apache-2.0
 *
 * What was: past.c for put_back.c. POOL_THREAD where it says so, else the loop's.
 */
#ifndef ISOLA_ACTOR_HOST_PAST_H
#define ISOLA_ACTOR_HOST_PAST_H

#include "node-agent/actor-host/app.h"
#include "store/history.h"

/* The address in `params`. False: there is none, which the agent has been told. */
bool past_take_address(struct app *app, uint64_t asked, struct isola_slice params,
                       const char *method, struct isola_buf *out);
/* 0: the actor lived here at that time, or there was none; else a code and a sentence. `there`: the
 * store had something of it then. */
POOL_THREAD ISOLA_MUST_USE int past_check_stay(struct app *app, struct isola_slice address,
                                               int64_t time, bool there, struct isola_err *err);
/* Appends so many pairs of a map. */
#define PAST_CHANGES 5
ANY_THREAD void past_write_changes(struct isola_buf *out, const struct isola_history_changes *what);

#endif
