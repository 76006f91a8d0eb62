/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

char *isola_path_absolute(const char *path)
{
    if (path[0] == '/')
        return isola_strdup(path);
    char *cwd = getcwd(NULL, 0);
    if (cwd == NULL)
        return NULL;
    while (strncmp(path, "./", 2) == 0)
        path += 2 + strspn(path + 2, "/");
    char *out = isola_format("%s/%s", cwd, path);
    free(cwd);
    return out;
}
