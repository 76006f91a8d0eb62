/* SPDX-License-Identifier: Apache-2.0
 *
 * Places are given in the order in which packages are met, breadth first: all that one asks for are
 * given before any of them is asked. So what is laid into a package, because the place at the top
 * is another's, is there before anybody below it looks up.
 */
#include "cli/places.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/files.h"
#include "base/utf8.h"
#include "cli/match.h"

#define FILE_MAX   (16u << 20)
#define PLACES_MAX 100000u
#define DEPTH_MAX  24 /* of packages that lie in each other */

struct search {
    struct isola__places *out;
    char *root; /* of the project that the app is a workspace of; NULL: it is of none */
    struct isola_err *err;
};

void isola__places_free(struct isola__places *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->list[i]->at);
        free(p->list[i]->from);
        free(p->list[i]);
    }
    free(p->list);
    isola_map_free(&p->by_at);
    *p = (struct isola__places){0};
}

char *isola__places_file(const struct isola__places *p, const char *path)
{
    for (size_t n = strlen(path); n > 0; n--) {
        if (path[n] != '/')
            continue;
        const struct isola__place *place = isola_map_get(&p->by_at, isola_slice(path, n));
        if (place != NULL)
            return isola_format("%s%s", place->from, path + n);
    }
    return isola_format("%s/%s", p->list[0]->from, path);
}

/* NULL: there is none, or it is no object. */
static json_t *read_package(const char *dir)
{
    struct isola_buf text = {0};
    char *path = isola_format("%s/package.json", dir);
    json_t *package = NULL;
    if (isola_file_read(path, FILE_MAX, &text) == 0) {
        struct isola_slice json = isola_utf8_unmark(isola_buf_slice(&text));
        package = json_loadb((const char *)json.data, json.len, 0, NULL);
    }
    if (!json_is_object(package)) {
        json_decref(package);
        package = NULL;
    }
    free(path);
    isola_buf_free(&text);
    return package;
}

/* --- is there anything to place? --- */

/* Is `path`, relative to the root, one of the workspaces that its package.json names? */
static bool is_workspace(const json_t *package, const char *path)
{
    const json_t *list = json_object_get(package, "workspaces"), *pattern;
    size_t i;
    bool is = false;
    if (json_is_object(list))
        list = json_object_get(list, "packages");
    json_array_foreach(list, i, pattern)
    {
        const char *text = json_string_value(pattern);
        if (text == NULL)
            continue;
        bool not = text[0] == '!';
        text += not ;
        text += strncmp(text, "./", 2) == 0 ? 2 : 0;
        char *bare = isola_strdup(text);
        size_t n = strlen(bare);
        if (n > 0 && bare[n - 1] == '/')
            bare[n - 1] = '\0';
        if (isola__path_matches(bare, path))
            is = !not ;
        free(bare);
    }
    return is;
}

/* The root of the project that `dir` is a workspace of; NULL: it is of none. */
static char *find_root(const char *dir)
{
    char *root = isola_strdup(dir), *slash;
    while ((slash = strrchr(root, '/')) != NULL && slash != root) {
        *slash = '\0';
        json_t *package = read_package(root);
        bool is = is_workspace(package, dir + strlen(root) + 1) ||
                  isola_dir_has(root, "pnpm-workspace.yaml");
        json_decref(package);
        if (is)
            return root;
    }
    free(root);
    return NULL;
}

/* Does what is installed in `dir` for `package` lead out of it? */
static bool leads_out(const char *dir, const json_t *package)
{
    const char *name;
    json_t *version;
    size_t n = strlen(dir);
    bool out = false;
    json_object_foreach(json_object_get(package, "dependencies"), name, version)
    {
        char *path = isola_format("%s/node_modules/%s", dir, name);
        char *real = realpath(path, NULL);
        out = out || (real != NULL && (strncmp(real, dir, n) != 0 || real[n] != '/'));
        free(real);
        free(path);
    }
    return out;
}

/* --- finding packages --- */

/* The directory of the package `name`, as whoever lies in `from` finds it; NULL: nowhere. */
static char *find_package(const char *from, const char *name)
{
    char *dir = isola_strdup(from), *real = NULL, *slash;
    do {
        size_t n = strlen(dir);
        if (n < 13 || strcmp(dir + n - 13, "/node_modules") != 0) {
            char *path = isola_format("%s/node_modules/%s", dir, name);
            struct stat st;
            real = realpath(path, NULL);
            if (real != NULL && (stat(real, &st) != 0 || !S_ISDIR(st.st_mode))) {
                free(real);
                real = NULL;
            }
            free(path);
        }
        slash = strrchr(dir, '/');
        if (slash != NULL)
            *slash = '\0';
    } while (real == NULL && slash != NULL);
    free(dir);
    return real;
}

/* What is found as `name` from the place `at`; NULL: nothing yet. */
static const struct isola__place *visible(const struct isola__places *p, const char *at,
                                          const char *name)
{
    char *dir = isola_strdup(at);
    const struct isola__place *found = NULL;
    for (;;) {
        size_t n = strlen(dir);
        if (n < 12 || strcmp(dir + n - 12, "node_modules") != 0) {
            char *path = isola_format("%s%snode_modules/%s", dir, n > 0 ? "/" : "", name);
            found = isola_map_get(&p->by_at, isola_slice_str(path));
            free(path);
        }
        if (found != NULL || n == 0)
            break;
        char *slash = strrchr(dir, '/');
        *(slash != NULL ? slash : dir) = '\0';
    }
    free(dir);
    return found;
}

static void add(struct isola__places *p, char *at, char *from)
{
    struct isola__place *place = isola_alloc(sizeof(*place));
    *place = (struct isola__place){
        .at = at, .from = from, .source = strstr(from, "/node_modules/") == NULL};
    if (p->n == p->room) {
        p->room = p->room > 0 ? 2 * p->room : 64;
        p->list = isola_realloc(p->list, p->room * sizeof(struct isola__place *));
    }
    p->list[p->n++] = place;
    isola_map_set(&p->by_at, isola_slice_str(at), place);
}

static size_t depth(const char *at)
{
    size_t n = 0;
    for (; (at = strstr(at, "node_modules/")) != NULL; at++)
        n++;
    return n;
}

/* A name of a package, and no path to elsewhere. */
static bool is_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return name[0] != '\0' && name[0] != '.' && name[0] != '/' && strlen(name) <= 255 &&
           (slash == NULL || (name[0] == '@' && strchr(slash + 1, '/') == NULL && slash[1] != '.' &&
                              slash[1] != '\0'));
}

static int place(struct search *s, const struct isola__place *who, const char *name, bool needed)
{
    char *from = is_name(name) ? find_package(who->from, name) : NULL;
    if (from == NULL && (!needed || !who->source))
        return 0; /* who asks for it copes with that, or has it in itself */
    if (from == NULL)
        return isola_fail(
            s->err, ISOLA_EMODULE,
            "the package \"%.200s\" is not installed, which %s/package.json depends "
            "on; run `%s install` in %s",
            name, who->from,
            isola_dir_has(s->root != NULL ? s->root : who->from, "pnpm-lock.yaml") ? "pnpm"
            : isola_dir_has(s->root != NULL ? s->root : who->from, "yarn.lock")    ? "yarn"
                                                                                : "npm",
            s->root != NULL ? s->root : who->from);
    const struct isola__place *there = visible(s->out, who->at, name);
    char *at = there == NULL                    ? isola_format("node_modules/%s", name)
               : strcmp(there->from, from) != 0 ? isola_format("%s%snode_modules/%s", who->at,
                                                               who->at[0] != '\0' ? "/" : "", name)
                                                : NULL;
    if (at == NULL) {
        free(from);
        return 0;
    }
    if (depth(at) > DEPTH_MAX || s->out->n >= PLACES_MAX) {
        int code = isola_fail(s->err, ISOLA_ETOOBIG,
                              "the packages of %s are too many, or lie too deep in each other: "
                              "%zu, and one at %.200s",
                              s->out->list[0]->from, s->out->n, at);
        free(at);
        free(from);
        return code;
    }
    add(s->out, at, from);
    return 0;
}

/* All that `who` asks for. */
static int place_all(struct search *s, const struct isola__place *who)
{
    static const char *const kinds[] = {"dependencies", "optionalDependencies", "peerDependencies"};
    json_t *package = read_package(who->from), *version;
    const json_t *optional = json_object_get(package, "optionalDependencies");
    const char *name;
    int code = 0;
    for (int i = 0; i < 3; i++)
        json_object_foreach(json_object_get(package, kinds[i]), name, version)
        {
            if (code == 0)
                code = place(s, who, name, i == 0 && json_object_get(optional, name) == NULL);
        }
    json_decref(package);
    return code;
}

/* `dir` is a real path. */
static int find(const char *dir, struct isola__places *out, struct isola_err *err)
{
    json_t *package = read_package(dir);
    if (package == NULL)
        return 0;
    struct search s = {.out = out, .root = find_root(dir), .err = err};
    int code = 0;
    if (s.root != NULL || isola_dir_has(dir, "node_modules/.pnpm") || leads_out(dir, package)) {
        add(out, isola_strdup(""), isola_strdup(dir));
        for (size_t i = 0; code == 0 && i < out->n; i++)
            code = place_all(&s, out->list[i]);
    }
    if (code != 0)
        isola__places_free(out);
    free(s.root);
    json_decref(package);
    return code;
}

int isola__places_find(const char *dir, struct isola__places *out, struct isola_err *err)
{
    char *real = realpath(dir, NULL);
    *out = (struct isola__places){0};
    int code = real != NULL ? find(real, out, err) : 0; /* who reads it says that it is not there */
    free(real);
    return code;
}
