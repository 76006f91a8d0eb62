/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of an app that has services, as they go into its release: all that lies in its
 * directory, and the packages it needs when it runs.
 *
 * Left out: what left_out.h says, packages that npm has noted as needed for development alone with
 * the commands in `.bin` that lead to them, and what is neither file nor directory nor link. A link
 * that leads out of the app is an error, and so is a program of the manifest that is left out.
 *
 * The hashes are remembered (file_index.h), so a deploy reads what has changed since the last one.
 */
#ifndef ISOLA_CLI_FILES_H
#define ISOLA_CLI_FILES_H

#include <jansson.h>

#include "cli/client.h"
#include "cli/places.h"
#include "store/manifest.h"
#include "store/tree.h"

struct isola__files {
    char *dir;                   /* the app's, absolute and without links */
    char *modules;               /* NULL, or the directory whose `node_modules` are the app's */
    struct isola__places places; /* of packages; none: they lie as npm has it */
    struct isola_tree tree;
    struct isola_buf bytes; /* of the tree */
    size_t read;            /* files that were read, for their hashes were not known */
    json_t *variables;      /* names of files of variables that were left out, or NULL */
};

/* Fills `out`, for isola__files_free, with what is in `dir`, and in `modules`/node_modules if that
 * is not NULL. `m`, or NULL, is what is to run, `places`, or NULL, where packages are that are not
 * below: it takes them. ISOLA_EINVAL, ISOLA_ETOOBIG: of the tree;
 * ISOLA_EMANIFEST: the file of a program is left out; ISOLA_EIO: a file cannot be read. */
LOOP_THREAD ISOLA_MUST_USE int
isola__files_collect(const char *dir, const char *modules, const struct isola_manifest *m,
                     struct isola__places *places, struct isola__files *out, struct isola_err *err);
ANY_THREAD void isola__files_free(struct isola__files *f);

/* What was sent. */
struct isola__files_sent {
    size_t files, pieces;
    uint64_t bytes;
    size_t of_files; /* so much there is to send */
    uint64_t of_bytes;
};
/* Sends the agent the pieces it lacks; `told` is called now and then meanwhile. ISOLA_EIO: a file
 * has changed meanwhile, or cannot be read.
 */
LOOP_THREAD ISOLA_MUST_USE int
isola__files_send(const struct isola__files *f, struct isola__client *client,
                  struct isola__files_sent *sent,
                  void (*told)(void *arg, const struct isola__files_sent *sent), void *arg,
                  struct isola_err *err);

#endif
