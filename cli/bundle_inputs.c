/* SPDX-License-Identifier: Apache-2.0
 *
 * What a bundle is made of, by esbuild's own account of it (--metafile): for who has one that is
 * too large.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/check.h"
#include "cli/bundle.h"
#include "cli/table.h"

#define NAMED 3

struct part {
    char *name; /* a file, or the directory of a package, whose files count as one */
    uint64_t bytes;
};

/* Of node_modules/@scope/package/lib/file.js the part up to the package. */
static char *name_of(const char *path)
{
    const char *last = NULL;
    for (const char *at = path; (at = strstr(at, "node_modules/")) != NULL; at++)
        last = at + strlen("node_modules/");
    if (last == NULL)
        return isola_strdup(path);
    size_t len = strcspn(last, "/");
    if (last[0] == '@' && last[len] == '/')
        len += 1 + strcspn(last + len + 1, "/");
    return isola_strndup(path, (size_t)(last - path) + len);
}

static int by_bytes(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : strcmp(x->name, y->name);
}

/* The inputs of the output that is called `name`, whose path's beginning nobody knows. */
static const json_t *inputs_of(const json_t *meta, const char *name)
{
    const char *path;
    json_t *output;
    size_t len = strlen(name);
    json_object_foreach(json_object_get(meta, "outputs"), path, output)
    {
        size_t n = strlen(path);
        if (n > len && path[n - len - 1] == '/' && strcmp(path + n - len, name) == 0)
            return json_object_get(output, "inputs");
    }
    return NULL;
}

void isola__bundle_largest(const char *meta, const char *output, struct isola_buf *out)
{
    json_t *root = json_load_file(meta, 0, NULL);
    const json_t *inputs = inputs_of(root, output);
    struct part *parts = isola_zalloc((json_object_size(inputs) + 1) * sizeof(*parts));
    size_t n = 0;
    const char *path;
    json_t *input;
    json_object_foreach((json_t *)(uintptr_t)inputs, path, input)
    {
        json_int_t bytes = json_integer_value(json_object_get(input, "bytesInOutput"));
        char *name = name_of(path);
        size_t i = 0;
        while (i < n && strcmp(parts[i].name, name) != 0)
            i++;
        if (i == n)
            parts[n++].name = name;
        else
            free(name);
        parts[i].bytes += bytes > 0 ? (uint64_t)bytes : 0;
    }
    if (n > 0)
        qsort(parts, n, sizeof(*parts), by_bytes);
    for (size_t i = 0; i < n && i < NAMED; i++) {
        char size[ISOLA__HUMAN_SIZE];
        isola__human_bytes(parts[i].bytes, size);
        isola_buf_printf(out, "%s%.150s (%s)", i == 0 ? "" : ", ", parts[i].name, size);
    }
    for (size_t i = 0; i < n; i++)
        free(parts[i].name);
    free(parts);
    json_decref(root);
}
