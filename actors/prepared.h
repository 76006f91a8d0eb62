/* SPDX-License-Identifier: Apache-2.0
 *
 * What isolates begin with: the code of a module, or an image of it loaded (docs/start.md).
 */
#ifndef ISOLA_ACTORS_PREPARED_H
#define ISOLA_ACTORS_PREPARED_H

#include "actors/v8/realm.h"

struct isola_actor;
struct isola_host;
struct isola_prepared;
struct isola_realm;
struct isola_type;

enum isola_start { ISOLA_START_NONE, ISOLA_START_SOURCE, ISOLA_START_CACHE, ISOLA_START_IMAGE };

/* `cache`: V8's code for the module, as kept by an earlier process, or empty; copies. */
struct isola_prepared *isola__prepared_new(struct isola_slice cache);
void isola__prepared_free(struct isola_prepared *p);
/* Worker: opens the isolate of a realm, for actors of `type` (NULL: of any), whose module is loaded
 * already when it begins from an image. */
ISOLA_MUST_USE int isola__prepared_open(struct isola_realm *r, const struct isola_type *type,
                                        struct isola_v8 **out, struct isola_err *err);
/* Worker, in a visit: loads the module. */
void isola__prepared_load(struct isola_realm *r, const struct isola_type *type);
/* The image of the type, or NULL; has what there is not made. It lives as long as the release. */
ANY_THREAD const struct isola_v8_image *isola__prepared_image(struct isola_host *h,
                                                              const struct isola_type *type);
/* How it began, for `ps`, or NULL when it has not; `why` not from a snapshot, or "". Under the
 * lock of its directory shard. */
#define ISOLA_WHY_SIZE 200
ANY_THREAD const char *isola__prepared_start(const struct isola_actor *a, char why[ISOLA_WHY_SIZE]);
/* What stacks call the type's module. The caller frees. */
char *isola__module_file(const struct isola_type *type);

#endif
