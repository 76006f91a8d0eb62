/* SPDX-License-Identifier: Apache-2.0
 *
 * The packages of an app that do not lie as npm lays them below one directory: of a workspace,
 * whose packages are installed at the root of its project or are its siblings; those that pnpm has
 * installed, which are links; and those that `npm link` and `file:` lead to.
 *
 * They are found as Node.js finds them, from package.json to package.json, without what is needed
 * for development alone; and each gets a place below the app's `node_modules`, such that whoever
 * asks for one from its place finds the same: at the top if that is free, else in who asks for it.
 */
#ifndef ISOLA_CLI_PLACES_H
#define ISOLA_CLI_PLACES_H

#include <stdbool.h>

#include "base/error.h"
#include "base/map.h"

struct isola__place {
    char *at; /* below the app: "node_modules/NAME", …; "" of the app itself, always the first */
    char *from;  /* the package's directory, absolute and without links */
    bool source; /* it is somebody's sources, and not of a registry */
};

struct isola__places {
    struct isola__place **list;
    size_t n, room;
    struct isola_map by_at;
};

/* Fills `out`, for isola__places_free; n = 0: all of `dir` lies in it as npm has it.
 * ISOLA_EMODULE: a package that the app, or a source, depends on is not installed, with where to
 * install it; ISOLA_ETOOBIG: there are too many. */
ANY_THREAD ISOLA_MUST_USE int isola__places_find(const char *dir, struct isola__places *out,
                                                 struct isola_err *err);
ANY_THREAD void isola__places_free(struct isola__places *p);
/* Where the file at `path` of the app lies, absolute; the caller frees. */
ANY_THREAD char *isola__places_file(const struct isola__places *p, const char *path);

#endif
