/* SPDX-License-Identifier: Apache-2.0
 *
 * One look at whether a service is well: GET of a path over HTTP/1.1 on a port of this machine.
 *
 * Well is an answer with a status from 200 to 399 in time. What is read is bounded: no more than
 * the line with the status is looked at.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_HEALTH_H
#define ISOLA_NODE_AGENT_SERVICE_HEALTH_H

#include <uv.h>

#include "base/annotate.h"

struct isola__health;

/* `why` NULL: it is well; else a sentence's end for people. */
typedef void (*isola__health_cb)(void *arg, const char *why);

/* Begins; `cb` fires once, later, unless it is cancelled. Copies `path`. */
LOOP_THREAD struct isola__health *isola__health_look(uv_loop_t *loop, unsigned port,
                                                     const char *path, uint64_t timeout_ms,
                                                     isola__health_cb cb, void *arg);
/* Before `cb` has fired. */
LOOP_THREAD void isola__health_cancel(struct isola__health *h);

#endif
