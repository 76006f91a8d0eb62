/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalog's file, for those that keep tables of their own in it. Internal to store/.
 */
#ifndef ISOLA_STORE_CATALOG_OWN_H
#define ISOLA_STORE_CATALOG_OWN_H

#include "store/catalog.h"
#include "store/sqlite.h"

POOL_THREAD struct isola__db *isola__catalog_db(struct isola_catalog *c);
/* A transaction: its beginning; and its end, in which `code` has come up: 0 commits. */
POOL_THREAD ISOLA_MUST_USE int isola__catalog_begin(struct isola_catalog *c, struct isola_err *err);
POOL_THREAD ISOLA_MUST_USE int isola__catalog_end(struct isola_catalog *c, int code,
                                                  struct isola_err *err);

#endif
