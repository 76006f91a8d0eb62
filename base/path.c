/* SPDX-License-Identifier: Apache-2.0 */
#include "base/path.h"

#include <errno.h>
#include <limits.h>
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

#define FILES "/lib/isola"

char *isola_path_installed(const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return NULL;
    self[n] = '\0';
    char *end = strrchr(self, '/'); /* the path is absolute */
    *end = '\0';
    size_t len = (size_t)(end - self), files = strlen(FILES);
    if (len >= files && strcmp(end - files, FILES) == 0)
        return isola_format("%s/%s", self, name);
    end = strrchr(self, '/');
    if (end == NULL) {
        errno = ENOENT;
        return NULL;
    }
    *end = '\0';
    return isola_format("%s" FILES "/%s", self, name);
}
