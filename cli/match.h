/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns of paths as `.gitignore` and "workspaces" of package.json have them.
 */
#ifndef ISOLA_CLI_MATCH_H
#define ISOLA_CLI_MATCH_H

#include <stdbool.h>

#include "base/annotate.h"

/* Does `path` match? Both are names between slashes; of the pattern's, `**` is any number of names,
 * none too, and others have `*`, `?` and `[…]` within a name. */
ANY_THREAD bool isola__path_matches(const char *pattern, const char *path);

#endif
