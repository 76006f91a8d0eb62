/* SPDX-License-Identifier: Apache-2.0 */
#include "store/manifest_built.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/files.h"

#define CONFIG_MAX (1u << 20) /* bytes of a configuration that are looked at */

static const char *const endings[] = {".js", ".mjs", ".ts"};
#define NENDINGS (sizeof(endings) / sizeof(endings[0]))

static bool is_directory(const char *dir, const char *name)
{
    struct stat st;
    char *path = isola_format("%s/%s", dir, name);
    bool is = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    free(path);
    return is;
}

const struct isola__built *isola__manifest_built(const char *dir)
{
    static const struct isola__built all[] = {
        {"nuxt.config", ".output/server/index.mjs", "Nuxt"},
        {"astro.config", "dist/server/entry.mjs", "Astro with @astrojs/node"},
        {"svelte.config", "build/index.js", "SvelteKit with @sveltejs/adapter-node"}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        for (size_t k = 0; k < NENDINGS; k++) {
            char name[64];
            snprintf(name, sizeof(name), "%s%s", all[i].config, endings[k]);
            if (isola_dir_has(dir, name))
                return &all[i];
        }
    }
    return NULL;
}

/* Does the configuration of Next.js in `dir` say that it builds elsewhere? */
static bool builds_elsewhere(const char *dir)
{
    bool says = false;
    for (size_t i = 0; i < NENDINGS && !says; i++) {
        struct isola_buf text = {0};
        char *path = isola_format("%s/next.config%s", dir, endings[i]);
        if (isola_file_read(path, CONFIG_MAX, &text) == 0)
            says = memmem(text.data, text.len, "distDir", 7) != NULL;
        isola_buf_free(&text);
        free(path);
    }
    return says;
}

const char *isola__manifest_unbuilt(const char *dir, const char *program, const json_t *args)
{
    static const char id[] = ".next/BUILD_ID";
    const char *verb = json_string_value(json_array_get(args, 0));
    if (strcmp(program, "next") != 0 || verb == NULL || strcmp(verb, "start") != 0)
        return NULL;
    for (size_t i = 1; i < json_array_size(args); i++)
        if (is_directory(dir, json_string_value(json_array_get(args, i))))
            return NULL; /* of a project that lies there */
    return isola_dir_has(dir, id) || builds_elsewhere(dir) ? NULL : id;
}
