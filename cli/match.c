/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/match.h"

#include <fnmatch.h>
#include <string.h>

#define NAME_SIZE 256 /* of a name between slashes, with its end */

/* Does the first name of `pattern` match that of `path`, each so long? */
static bool name_matches(const char *pattern, size_t plen, const char *path, size_t len)
{
    char wanted[NAME_SIZE], name[NAME_SIZE];
    if (plen >= sizeof(wanted) || len >= sizeof(name))
        return false;
    memcpy(wanted, pattern, plen);
    memcpy(name, path, len);
    wanted[plen] = name[len] = '\0';
    return fnmatch(wanted, name, 0) == 0;
}

bool isola__path_matches(const char *pattern, const char *path)
{
    size_t plen = strcspn(pattern, "/"), len = strcspn(path, "/");
    if (plen == 2 && strncmp(pattern, "**", 2) == 0) {
        if (pattern[plen] == '\0')
            return true;
        for (;; path += len + 1) {
            if (isola__path_matches(pattern + plen + 1, path))
                return true;
            len = strcspn(path, "/");
            if (path[len] == '\0')
                return false;
        }
    }
    if (!name_matches(pattern, plen, path, len))
        return false;
    if (pattern[plen] == '\0' || path[len] == '\0')
        return pattern[plen] == path[len];
    return isola__path_matches(pattern + plen + 1, path + len + 1);
}
