/* SPDX-License-Identifier: Apache-2.0
 *
 * How much memory this machine, or the cgroup we are in, lets us have.
 */
#ifndef ISOLA_NODE_AGENT_BUDGET_H
#define ISOLA_NODE_AGENT_BUDGET_H

#include <stdint.h>

#include "base/annotate.h"

/* Bytes: the least of the machine's memory and the limits of our cgroup and of those around it. 0:
 * unknown. */
ANY_THREAD uint64_t isola__memory_available(void);
/* "512MB", "2GB"; 0 when it is no size, or less than 64 MB. */
ANY_THREAD uint64_t isola__memory_parse(const char *text);

#endif
