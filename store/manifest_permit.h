/* SPDX-License-Identifier: Apache-2.0
 *
 * permissions.env and permissions.apps of a manifest. Internal to store/.
 */
#ifndef ISOLA_STORE_MANIFEST_PERMIT_H
#define ISOLA_STORE_MANIFEST_PERMIT_H

#include "store/manifest_value.h"

/* The names in `v` (NULL: there are none), one a line. `out` is the caller's, and stays as it is
 * when the list is empty. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_env(struct isola__manifest_reader *r, const json_t *v,
                                                  char **out);
ANY_THREAD ISOLA_MUST_USE int isola__manifest_apps(struct isola__manifest_reader *r,
                                                   const json_t *v, char **out);

#endif
