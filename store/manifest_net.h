/* SPDX-License-Identifier: Apache-2.0
 *
 * permissions.net of a manifest. Internal to store/.
 */
#ifndef ISOLA_STORE_MANIFEST_NET_H
#define ISOLA_STORE_MANIFEST_NET_H

#include "store/manifest_value.h"

/* The patterns in `v` (NULL: there are none), in lower case, one a line. `out` is the caller's, and
 * stays as it is when the list is empty. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_net(struct isola__manifest_reader *r, const json_t *v,
                                                  char **out);

#endif
