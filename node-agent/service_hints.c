/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_hints.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* "Cannot find module 'express'", "Cannot find package 'express' imported from …": of a package,
 * not of a file. */
static size_t missing_package(const char *said, const char **name)
{
    static const char *const begins[] = {"Cannot find module '", "Cannot find package '"};
    for (size_t i = 0; i < 2; i++) {
        const char *at = strstr(said, begins[i]);
        if (at == NULL)
            continue;
        *name = at + strlen(begins[i]);
        size_t n = strcspn(*name, "'");
        bool file = **name == '.' || **name == '/' || **name == '#' || memchr(*name, ':', n);
        if ((*name)[n] == '\'' && n > 0 && !file) {
            size_t first = strcspn(*name, "/'"); /* express/lib/x is of express, @a/b/c of @a/b */
            return **name == '@' && first < n ? first + 1 + strcspn(*name + first + 1, "/'")
                                              : first;
        }
    }
    return 0;
}

/* "Cannot find module '../build/Release/x.node'": of a package that builds it. */
static bool lacks_addon(const char *said)
{
    const char *at = strstr(said, "Cannot find module '.");
    at = at != NULL ? strstr(at, ".node'") : NULL;
    return at != NULL;
}

void isola__service_hint(const char *said, char out[ISOLA_HINT_SIZE])
{
    const char *name = NULL;
    size_t n = missing_package(said, &name);
    out[0] = '\0';
    if (n > 0)
        snprintf(out, ISOLA_HINT_SIZE,
                 "; is %.*s among \"dependencies\" in package.json? What is in \"devDependencies\" "
                 "alone is not deployed",
                 n < 100 ? (int)n : 100, name);
    else if (strstr(said, "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") != NULL)
        snprintf(out, ISOLA_HINT_SIZE,
                 "; compile it before, or have tsx in \"dependencies\" and \"nodeArgs\": "
                 "[\"--import=tsx\"] in the manifest");
    else if (strstr(said, "Could not locate the bindings file") != NULL ||
             strstr(said, "No native build was found") != NULL || lacks_addon(said))
        snprintf(out, ISOLA_HINT_SIZE,
                 "; its install script has not been run: say \"allowScripts\": {\"NAME\": true} in "
                 "package.json, or PATH=PREFIX/lib/isola:$PATH npm rebuild NAME");
    else if (strstr(said, "listen EADDRINUSE") != NULL)
        snprintf(out, ISOLA_HINT_SIZE, "; `ss -ltnp` shows who has it");
    else if (strncmp(said, "Error: The module '", 19) == 0 && strstr(said, ".node'") != NULL)
        snprintf(out, ISOLA_HINT_SIZE,
                 " was compiled for another version of Node.js: PATH=PREFIX/lib/isola:$PATH npm "
                 "rebuild, or deploy without node_modules, which has npm fetch them");
}
