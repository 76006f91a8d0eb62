/* SPDX-License-Identifier: Apache-2.0
 *
 * How many isolates the kernel has room for.
 */
#ifndef ISOLA_ACTORS_MAPPINGS_H
#define ISOLA_ACTORS_MAPPINGS_H

#include <stdbool.h>

#include "base/error.h"

struct isola_host;

/* An isolate is about to be made. ISOLA_EOVERLOAD: the kernel has no room for it. */
ANY_THREAD ISOLA_MUST_USE int isola__mappings_take(struct isola_host *h, struct isola_err *err);
/* Takes them for one more if there is no want of them. */
ANY_THREAD bool isola__mappings_plenty(void);

#endif
