/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets of apps, as the catalog keeps them: sealed by whoever puts them there
 * (transport/seal.h), so that what is in the file, and in a backup of it, says only which there
 * are.
 *
 * One that was removed stays as a row that says so, with the revision at which it was: a node that
 * was away learns it from that. When an app is deleted (gone.h) all of its secrets go that have a
 * lower revision.
 */
#ifndef ISOLA_STORE_SECRETS_H
#define ISOLA_STORE_SECRETS_H

#include "store/catalog.h"

#define ISOLA_SECRET_MAX      (64u << 10) /* bytes of a value */
#define ISOLA_SECRET_NAME_MAX 256         /* bytes, without its NUL */
#define ISOLA_SECRETS_OF_APP  1000u
#define ISOLA_SECRETS_MAX     100000u /* of all apps, those that were removed among them */

struct isola_secret {
    const char *app, *name;
    uint64_t revision;         /* 1 … 2^63 - 1; the higher one holds */
    int64_t set_ms;            /* since 1970 */
    const char *by;            /* who says to have set it, "user@host"; may be "" */
    struct isola_slice sealed; /* empty: removed */
};

/* Is it the name of an app: a lower-case letter, then such letters, digits and "-"? */
ANY_THREAD bool isola_secret_app_ok(struct isola_slice app);
/* Is it the name of a variable of the environment: letters, digits and "_", the first no digit? */
ANY_THREAD bool isola_secret_name_ok(struct isola_slice name);

/* Stores all of them, or none, each in place of what was there under its name. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_put_secrets(struct isola_catalog *c,
                                                         const struct isola_secret *list, size_t n,
                                                         struct isola_err *err);
/* Appends what is sealed under that name, and says at which revision; ISOLA_ENOENT: none, or it was
 * removed. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_secret(struct isola_catalog *c, const char *app,
                                                    const char *name, struct isola_buf *sealed,
                                                    uint64_t *revision, struct isola_err *err);
/* Calls `each` (borrowed for the call; it must not use the catalog) for all, by app and name. */
POOL_THREAD ISOLA_MUST_USE int isola_catalog_secrets(struct isola_catalog *c,
                                                     void (*each)(const struct isola_secret *secret,
                                                                  void *arg),
                                                     void *arg, struct isola_err *err);

#endif
