/* SPDX-License-Identifier: Apache-2.0
 *
 * The packages from npm that an app needs.
 */
#ifndef ISOLA_CLI_NPM_H
#define ISOLA_CLI_NPM_H

#include <stdbool.h>

#include "base/error.h"

struct isola__npm {
    char
        *modules; /* the directory whose `node_modules` are the app's; NULL: the app's own. Owned */
    bool fetched; /* npm was run for it now */
    bool locked;  /* its package-lock.json was honoured */
    unsigned long long ms;
};

/* Finds them. When nothing is installed in `dir`, and its package.json has dependencies, npm
 * fetches what is needed at run time into a directory of ctl's own, which is used again for as long
 * as package.json and package-lock.json are the same: as its lock file says if there is one, its
 * contents checked by npm against that. Of the packages' install scripts those are run that
 * "allowScripts" of package.json names, as npm has it; others are named on stderr. Nothing is
 * written in `dir`. ISOLA_EMODULE: npm refuses, or a script fails, with its words; ISOLA_EMANIFEST:
 * that is not what "allowScripts" can be; ISOLA_ENOENT: there is no npm; ISOLA_ETIMEDOUT,
 * ISOLA_ECLOSED: interrupted. What takes long is told on stderr before it begins, with --json too.
 */
LOOP_THREAD ISOLA_MUST_USE int isola__npm(const char *dir, struct isola__npm *out,
                                          struct isola_err *err);
/* For what no bundler looks through: ISOLA_EMODULE when packages are installed in `dir`, and one
 * that its package.json depends on is not. */
LOOP_THREAD ISOLA_MUST_USE int isola__npm_check(const char *dir, struct isola_err *err);
/* For services that run in `dir` itself: when nothing is installed there, and its package.json has
 * dependencies, npm installs them there, those for development too, and runs install scripts as
 * above; of a workspace (places.h) those of its project are to be there. Fails as isola__npm;
 * nothing is installed then. */
LOOP_THREAD ISOLA_MUST_USE int isola__npm_install(const char *dir, struct isola_err *err);
ANY_THREAD void isola__npm_free(struct isola__npm *n);

#endif
