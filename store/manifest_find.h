/* SPDX-License-Identifier: Apache-2.0
 *
 * What an app has that its manifest does not say: its actors, by the names of their files, and its
 * own name. Internal to store/.
 */
#ifndef ISOLA_STORE_MANIFEST_FIND_H
#define ISOLA_STORE_MANIFEST_FIND_H

#include "store/manifest_parse.h"

#define ISOLA__FIND_DEPTH   16     /* directories below the app's that are looked into */
#define ISOLA__FIND_ENTRIES 200000 /* files and directories that are looked at */

/* Adds to `actors`, an object of a manifest, each file below `dir` whose name ends with .actor.js,
 * .mjs, .cjs, .ts or .mts, in the order of their paths: shopping-cart.actor.ts is the type
 * ShoppingCart. Not looked into: node_modules, what begins with a dot, symbolic links to
 * directories, and directories nobody may read or that lie deeper than ISOLA__FIND_DEPTH. What
 * `actors` has already, as a module or as a name, it keeps.
 * ISOLA_EMANIFEST: two files of one name, or one of which no type's name can be made.
 * ISOLA_ETOOBIG: over ISOLA__FIND_ENTRIES. `dir` is a real path. */
POOL_THREAD ISOLA_MUST_USE int isola__manifest_find(const char *dir, json_t *actors,
                                                    struct isola_err *err);

/* The manifest of an app that has none: `text` gets it in the form of isola.json. `package`: its
 * package.json, as JSON and as `r`, or NULL when there is none. The app's name is that of the
 * package, else that of the directory.
 * ISOLA_ENOENT: there is nothing to run, with what to do; ISOLA_EMANIFEST as above, or no name of
 * an app can be made. */
POOL_THREAD ISOLA_MUST_USE int isola__manifest_default(const char *dir,
                                                       struct isola__manifest_reader *r,
                                                       const json_t *package,
                                                       struct isola_buf *text);

/* Adds to `actors` the program of an ordinary Node.js project, the service Server: "start" of the
 * package's "scripts" (or "start:prod") when that is `node FILE` or a program of a package that is
 * installed, else "main", when that file is there, else server.js or index.js, when there is
 * neither and `actors` is empty, or what the framework builds (store/manifest_built.h); with port
 * 3000 unless "start" says another. `package` may be NULL.
 * ISOLA_ENOENT: a file is not there that "start" names, or that is to be built before. */
POOL_THREAD ISOLA_MUST_USE int isola__manifest_program(const char *dir, const json_t *package,
                                                       json_t *actors, struct isola_err *err);
/* ISOLA_ENOENT, with what to do about a "start" of which no service can be made. */
POOL_THREAD ISOLA_MUST_USE int isola__manifest_program_fail(const char *dir, const json_t *package,
                                                            struct isola_err *err);

/* The name of an app by that of its package; the reader stands at the package. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_package_name(struct isola__manifest_reader *r,
                                                           const json_t *name, char **out);

#endif
