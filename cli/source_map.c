/* SPDX-License-Identifier: Apache-2.0
 *
 * esbuild names the sources of a map relative to where the map was written, a temporary directory
 * that is another one each time. Named relative to the app they say what a reader of a stack wants
 * to know, and the same app is the same release.
 */
#include <jansson.h>

#include "base/check.h"
#include "cli/bundle.h"
#include "cli/json.h"

/* Takes out "." and ".." and doubled slashes of an absolute path, in place. */
static void normalize(char *path)
{
    char *to = path;
    for (char *at = path; *at != '\0';) {
        while (*at == '/')
            at++;
        size_t n = strcspn(at, "/");
        if (n == 2 && at[0] == '.' && at[1] == '.') {
            while (to > path && *--to != '/')
                ;
        } else if (n > 0 && !(n == 1 && at[0] == '.')) {
            *to++ = '/';
            memmove(to, at, n);
            to += n;
        }
        at += n;
    }
    *to = '\0';
}

/* `path` as seen from `dir`, both absolute and normalized. */
static char *relative(const char *path, const char *dir)
{
    size_t common = 0; /* up to where whole names are equal */
    for (size_t i = 0;; i++) {
        bool path_ends = path[i] == '/' || path[i] == '\0';
        bool dir_ends = dir[i] == '/' || dir[i] == '\0';
        if (path_ends && dir_ends)
            common = i;
        if (path[i] != dir[i] || path[i] == '\0')
            break;
    }
    struct isola_buf out = {0};
    for (const char *p = dir + common; *p != '\0'; p++)
        if (*p == '/' && p[1] != '\0')
            isola_buf_puts(&out, "../");
    const char *rest = path + common;
    isola_buf_puts(&out, *rest == '/' ? rest + 1 : rest);
    char *text = isola_strdup(isola_buf_cstr(&out));
    isola_buf_free(&out);
    return text;
}

int isola__source_map_rebase(struct isola_buf *map, const char *from, const char *dir,
                             struct isola_err *err)
{
    json_error_t why;
    json_t *json = json_loadb((const char *)map->data, map->len, JSON_ALLOW_NUL, &why);
    json_t *sources = json_object_get(json, "sources"), *source;
    size_t i;
    if (!json_is_array(sources)) {
        json_decref(json);
        return isola_fail(err, ISOLA_EPROTO, "esbuild wrote a source map that is none");
    }
    json_array_foreach(sources, i, source)
    {
        const char *name = json_string_value(source);
        /* "data:…" and the like stay as they are */
        if (name == NULL || strchr(name, ':') != NULL)
            continue;
        char *path = name[0] == '/' ? isola_strdup(name) : isola_format("%s/%s", from, name);
        normalize(path);
        char *seen = relative(path, dir);
        json_array_set_new(sources, i, json_string(seen));
        free(seen);
        free(path);
    }
    map->len = 0;
    isola__json_print(json, false, map);
    json_decref(json);
    return map->failed ? isola_fail(err, ISOLA_ENOMEM, "out of memory for a source map") : 0;
}
