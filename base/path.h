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

/* Where `name`, which comes with this program, lies: in lib/isola beside the folder the program is
 * in, or beside the program when that is in lib/isola itself; so in build/ as after an installation
 * below any prefix. To be freed; whether it is there is not looked at. NULL, with errno: the
 * program's own path cannot be had. Of programs of ours only: in the actor-host's Node.js it is
 * Node.js' place that is found. */
ANY_THREAD char *isola_path_installed(const char *name);

#endif
