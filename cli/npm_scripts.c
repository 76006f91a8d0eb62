/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/npm_scripts.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/path.h"

extern char **environ;

/* The program of that name, as a shell finds it; NULL: there is none. */
static char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    while (path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");
        char *file = isola_format("%.*s/%s", (int)len, path, name);
        struct stat st;
        if (len > 0 && stat(file, &st) == 0 && S_ISREG(st.st_mode) && access(file, X_OK) == 0)
            return file;
        free(file);
        path += len + (path[len] == ':');
    }
    return NULL;
}

/* Does its first line ask for whichever Node.js is first in $PATH? */
static bool asks_for_node(const char *program)
{
    static const char wanted[] = "#!/usr/bin/env node";
    char line[sizeof(wanted)] = "";
    int fd = open(program, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, line, sizeof(line) - 1) : -1;
    if (fd >= 0)
        close(fd);
    return n == (ssize_t)sizeof(line) - 1 && strcmp(line, wanted) == 0;
}

/* The environment with `path` before what PATH is, and `headers` where node-gyp looks; each may be
 * NULL. */
static char **make_env(const char *path, const char *headers)
{
    static const char nodedir[] = "npm_config_nodedir=";
    size_t n = 0, at = 0;
    while (environ[n] != NULL)
        n++;
    char **env = isola_zalloc((n + 3) * sizeof(*env));
    const char *rest = getenv("PATH");
    for (size_t i = 0; i < n; i++)
        if ((path == NULL || strncmp(environ[i], "PATH=", 5) != 0) &&
            (headers == NULL || strncmp(environ[i], nodedir, sizeof(nodedir) - 1) != 0))
            env[at++] = isola_strdup(environ[i]);
    if (path != NULL)
        env[at++] =
            isola_format("PATH=%s%s%s", path, rest != NULL ? ":" : "", rest != NULL ? rest : "");
    if (headers != NULL)
        env[at++] = isola_format("%s%s", nodedir, headers);
    return env;
}

void isola__npm_scripts_find(struct isola__npm_scripts *out)
{
    char *node = isola_path_installed("node");
    char *headers = isola_path_installed("include/node/node.h");
    char *dir = isola_path_installed("");
    bool there = node != NULL && access(node, X_OK) == 0;
    bool has_headers = there && headers != NULL && access(headers, R_OK) == 0;
    *out = (struct isola__npm_scripts){0};
    if (dir != NULL)
        dir[strlen(dir) - 1] = '\0'; /* its slash */
    out->env = make_env(there ? dir : NULL, has_headers ? dir : NULL);
    char *npm = find_program("npm");
    char *own = npm != NULL && asks_for_node(npm) ? find_program("node") : NULL;
    if (own != NULL)
        out->words[out->nwords++] = own;
    if (npm != NULL)
        out->words[out->nwords++] = npm;
    free(dir);
    free(headers);
    free(node);
}

void isola__npm_scripts_free(struct isola__npm_scripts *s)
{
    for (size_t i = 0; s->env != NULL && s->env[i] != NULL; i++)
        free(s->env[i]);
    free(s->env);
    for (int i = 0; i < s->nwords; i++)
        free(s->words[i]);
    *s = (struct isola__npm_scripts){0};
}

unsigned long long isola__npm_scripts_node(void)
{
    struct stat st;
    char *node = isola_path_installed("node");
    bool there = node != NULL && stat(node, &st) == 0;
    free(node);
    return there ? (unsigned long long)st.st_size : 0;
}
