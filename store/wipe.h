/* SPDX-License-Identifier: Apache-2.0
 *
 * Removing what all actors of an app keep.
 */
#ifndef ISOLA_STORE_WIPE_H
#define ISOLA_STORE_WIPE_H

#include <stdatomic.h>

#include "store/state.h"

/* Removes states and rows of all addresses that begin with `prefix` ("shop/"), while the store is
 * used; nobody writes any of these meanwhile. What was there before stays in the history
 * (history.h) as long as that has it. One thing is kept: the number of the last durable message an
 * actor has sent, as receivers take no message twice, and an actor of that address may send again.
 * Calls `each` before an address goes. *n: how many did. `stop` (or NULL) ends it between two:
 * ISOLA_ECANCELED. What fails leaves the rest; done again it goes on. */
POOL_THREAD ISOLA_MUST_USE int isola_state_wipe(struct isola_state *s, struct isola_slice prefix,
                                                const atomic_bool *stop,
                                                void (*each)(void *arg, struct isola_slice address),
                                                void *arg, uint64_t *n, struct isola_err *err);

#endif
