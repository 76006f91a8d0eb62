/* SPDX-License-Identifier: Apache-2.0
 *
 * What a project's build is to have made before its program can run, as frameworks document it.
 * Internal to store/.
 */
#ifndef ISOLA_STORE_MANIFEST_BUILT_H
#define ISOLA_STORE_MANIFEST_BUILT_H

#include "store/manifest_parse.h"

struct isola__built {
    const char *config; /* the framework's configuration, without .js, .mjs or .ts */
    const char *file;   /* the program that is built, relative to the project */
    const char *by;     /* what makes it */
};

/* The framework of the project in `dir`, by its configuration, if it is one whose projects have no
 * "start" and are run by a file they build: Nuxt, Astro, SvelteKit. Else NULL. Static. */
POOL_THREAD const struct isola__built *isola__manifest_built(const char *dir);

/* What the command `program` with `args`, an array of strings, is to find built in `dir`, and does
 * not: a file, static; `next start` without `next build`. NULL: nothing that is known. */
POOL_THREAD const char *isola__manifest_unbuilt(const char *dir, const char *program,
                                                const json_t *args);

#endif
