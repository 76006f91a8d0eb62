/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directory for who changes what is in it as a whole. Internal to store/.
 */
#ifndef ISOLA_STORE_DB_OWN_H
#define ISOLA_STORE_DB_OWN_H

#include "store/db.h"

/* While it is in a data directory a restore has begun there, and not ended. */
#define ISOLA__RESTORING "restoring"

/* As isola_datadir_open, but does not look at what is in it. */
POOL_THREAD ISOLA_MUST_USE int isola__datadir_lock(const char *path, struct isola_datadir **out,
                                                   struct isola_err *err);

#endif
