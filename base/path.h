/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths of files.
 */
#ifndef ISOLA_BASE_PATH_H
#define ISOLA_BASE_PATH_H

#include "base/annotate.h"

/* `path` as seen from the root, without `./` before it; to be freed. NULL, with errno: the current
 * directory cannot be had. */
ANY_THREAD char *isola_path_absolute(const char *path);

#endif
