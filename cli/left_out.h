/* SPDX-License-Identifier: Apache-2.0
 *
 * What lies in an app's directory and is no part of its releases.
 *
 * Never: `.git`, `.hg`, `.svn`, `.isola`, `node_modules/.cache`, `.next/cache`; what tells package
 * managers how to get at packages, and with which passwords (`.npmrc`, `.yarnrc`, `.yarnrc.yml`);
 * files of variables (`.env`, `.env.NAME`, but for examples), unless the manifest names them. And
 * what `.isolaignore` in the app's directory says, in the form of `.gitignore`, but for packages.
 */
#ifndef ISOLA_CLI_LEFT_OUT_H
#define ISOLA_CLI_LEFT_OUT_H

#include <jansson.h>

#include "store/manifest.h"

#define ISOLA__IGNORE_FILE ".isolaignore"

struct isola__left_out;

/* `m`: what it names is not left out; NULL: nothing is named. Borrows it. NULL: .isolaignore cannot
 * be read, with `err` set. */
ANY_THREAD struct isola__left_out *
isola__left_out_open(const char *dir, const struct isola_manifest *m, struct isola_err *err);
/* Is what lies at `path` left out? `path` is relative to the app's directory, `name` its last name;
 * of a directory that is, nothing in it is asked for. */
ANY_THREAD bool isola__left_out(struct isola__left_out *l, const char *path, const char *name,
                                bool directory);
/* Closes it. The files of variables that were left out, in no order: an array of strings, the
 * caller's. */
ANY_THREAD json_t *isola__left_out_close(struct isola__left_out *l);

#endif
