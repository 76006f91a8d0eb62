/* SPDX-License-Identifier: Apache-2.0
 *
 * What helps against failures of Node.js programs that many have at first, by what they print.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_HINTS_H
#define ISOLA_NODE_AGENT_SERVICE_HINTS_H

#include <stddef.h>

#include "base/annotate.h"

#define ISOLA_HINT_SIZE 240

/* `said` is the line of the error that nobody caught. Writes what to do, to be put behind it, with
 * what divides the two; "": nothing is known. */
ANY_THREAD void isola__service_hint(const char *said, char out[ISOLA_HINT_SIZE]);

#endif
