/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/left_out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "cli/match.h"

#define IGNORE_MAX (1u << 20) /* bytes of .isolaignore */

struct rule {
    char *pattern; /* "**" and names between slashes, from the app's directory on */
    bool negated, directories;
};

struct isola__left_out {
    const struct isola_manifest *manifest; /* or NULL */
    struct rule *rules;
    size_t nrules;
    json_t *variables; /* files of them that were left out */
};

/* --- .isolaignore --- */

/* A line of the file, which is changed. */
static void take_line(struct isola__left_out *l, char *line)
{
    size_t n = strlen(line);
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r'))
        line[--n] = '\0';
    struct rule rule = {.negated = line[0] == '!'};
    line += rule.negated;
    if (line[0] == '\0' || line[0] == '#')
        return;
    line += line[0] == '\\' && (line[1] == '#' || line[1] == '!');
    n = strlen(line);
    if (line[n - 1] == '/') {
        rule.directories = true;
        line[n - 1] = '\0';
    }
    bool rooted = strchr(line, '/') != NULL;
    line += line[0] == '/';
    if (line[0] == '\0')
        return;
    rule.pattern = isola_format("%s%s", rooted ? "" : "**/", line);
    l->rules = isola_realloc(l->rules, (l->nrules + 1) * sizeof(*l->rules));
    l->rules[l->nrules++] = rule;
}

static int read_rules(struct isola__left_out *l, const char *dir, struct isola_err *err)
{
    char *path = isola_format("%s/%s", dir, ISOLA__IGNORE_FILE);
    struct isola_buf text = {0};
    int code = 0;
    if (isola_file_read(path, IGNORE_MAX, &text) != 0) {
        if (errno != ENOENT)
            code = isola_fail(err, ISOLA_EIO, "cannot read %s: %s", path, strerror(errno));
    } else if (text.len == IGNORE_MAX) {
        code = isola_fail(err, ISOLA_ETOOBIG, "%s has more than %u KB", path, IGNORE_MAX >> 10);
    } else {
        char *all = isola_strndup((const char *)text.data, text.len), *rest = all, *line;
        while ((line = strsep(&rest, "\n")) != NULL)
            take_line(l, line);
        free(all);
    }
    isola_buf_free(&text);
    free(path);
    return code;
}

static bool is_ignored(const struct isola__left_out *l, const char *path, bool directory)
{
    for (size_t i = l->nrules; i > 0; i--) { /* the last one that matches holds */
        const struct rule *r = &l->rules[i - 1];
        if ((!r->directories || directory) && isola__path_matches(r->pattern, path))
            return !r->negated;
    }
    return false;
}

/* --- what is never part of a release --- */

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static bool ends_with(const char *path, const char *end)
{
    size_t len = strlen(path), n = strlen(end);
    return len >= n && strcmp(path + len - n, end) == 0 && (len == n || path[len - n - 1] == '/');
}

/* Does it lie in a package? */
static bool is_package(const char *path)
{
    static const char modules[] = "node_modules";
    const char *at = path;
    while ((at = strstr(at, modules)) != NULL) {
        bool begins = at == path || at[-1] == '/';
        at += sizeof(modules) - 1;
        if (begins && (*at == '/' || *at == '\0'))
            return true;
    }
    return false;
}

static bool is_of_variables(const char *name)
{
    static const char *const examples[] = {"example", "sample", "template", "defaults",
                                           "schema",  "dist",   NULL};
    if (strncmp(name, ".env", 4) != 0)
        return false;
    return name[4] == '\0' || (name[4] == '.' && !is_one_of(name + 5, examples));
}

/* Does the manifest say that its program reads it? */
static bool is_named(const struct isola__left_out *l, const char *path)
{
    for (size_t i = 0; l->manifest != NULL && i < l->manifest->ntypes; i++) {
        const struct isola_manifest_service *s = l->manifest->types[i].service;
        if (s == NULL)
            continue;
        if (s->env_file != NULL && strcmp(s->env_file, path) == 0)
            return true;
        for (char **o = s->node_args; o != NULL && *o != NULL; o++)
            if (strcmp(path, ".env") == 0 && strstr(*o, "=dotenv/config") != NULL)
                return true;
    }
    return false;
}

bool isola__left_out(struct isola__left_out *l, const char *path, const char *name, bool directory)
{
    static const char *const never[] = {".git", ".hg", ".svn", ".isola", NULL};
    static const char *const access[] = {".npmrc", ".yarnrc", ".yarnrc.yml", NULL};
    if (is_one_of(name, never) || is_one_of(name, access) ||
        ends_with(path, "node_modules/.cache") || ends_with(path, ".next/cache"))
        return true;
    if (is_package(path))
        return false;
    if (strcmp(path, ISOLA__IGNORE_FILE) == 0 || is_ignored(l, path, directory))
        return true;
    if (directory || !is_of_variables(name) || is_named(l, path))
        return false;
    json_array_append_new(l->variables, json_string(path));
    return true;
}

struct isola__left_out *isola__left_out_open(const char *dir, const struct isola_manifest *m,
                                             struct isola_err *err)
{
    struct isola__left_out *l = isola_zalloc(sizeof(*l));
    l->manifest = m;
    l->variables = json_array();
    if (read_rules(l, dir, err) == 0)
        return l;
    json_decref(isola__left_out_close(l));
    return NULL;
}

json_t *isola__left_out_close(struct isola__left_out *l)
{
    json_t *variables = l->variables;
    for (size_t i = 0; i < l->nrules; i++)
        free(l->rules[i].pattern);
    free(l->rules);
    free(l);
    return variables;
}
