/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of Node.js' JavaScript library that isolates use, as taken out of the pinned Node.js at
 * build time (actors/lib/runtime/node/builtins.mjs).
 */
#ifndef ISOLA_ACTORS_V8_BUILTINS_H
#define ISOLA_ACTORS_V8_BUILTINS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct isola_builtin {
    const char *id;   /* "internal/util/inspect" */
    const char *text; /* Latin-1, of static life */
    size_t len;
};

/* Sorted by id. */
extern const struct isola_builtin isola_builtins[];
extern const size_t isola_builtins_count;

#ifdef __cplusplus
}
#endif

#endif
