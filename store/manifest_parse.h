/* SPDX-License-Identifier: Apache-2.0
 *
 * What manifest.c and manifest_load.c share. Internal to store/.
 */
#ifndef ISOLA_STORE_MANIFEST_PARSE_H
#define ISOLA_STORE_MANIFEST_PARSE_H

#include "store/manifest.h"
#include "store/manifest_value.h"

/* In a function that reads `object` with `r`: has `call` read the member `key`, which it sees as
 * `v`, and returns what it fails with. */
#define FIELD(call, key)                                                                           \
    do {                                                                                           \
        const json_t *v = json_object_get(object, key);                                            \
        isola__manifest_enter(r, key);                                                             \
        int failed = call;                                                                         \
        isola__manifest_leave(r);                                                                  \
        if (failed != 0)                                                                           \
            return failed;                                                                         \
    } while (0)

/* The text as JSON: bounded in size and depth, no duplicate keys. The caller decrefs. NULL: r->err
 * has the sentence, and *code ISOLA_EMANIFEST or ISOLA_ENOMEM. */
ANY_THREAD json_t *isola__manifest_json(struct isola__manifest_reader *r, int *code);
/* The manifest in `root`, at which the reader stands. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_read(struct isola__manifest_reader *r,
                                                   const json_t *root, struct isola_manifest **out);
/* The keys of a type that say how its actors live; the reader stands at the type. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_life(struct isola__manifest_reader *r,
                                                   const json_t *object,
                                                   struct isola_manifest_life *out);
/* How the app's releases are watched; the reader stands at the key. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_rollout(struct isola__manifest_reader *r,
                                                      const json_t *object,
                                                      struct isola_manifest_rollout *out);
/* The keys of a type that is a program, and no others; the reader stands at the type. The caller
 * frees `out`, also after a failure. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_service(struct isola__manifest_reader *r,
                                                      const json_t *object,
                                                      struct isola_manifest_service **out);
/* Names of secrets; `env` (names, one a line, or NULL) has none of them. The caller frees `out`
 * with isola__manifest_list_free, also after a failure. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_secrets(struct isola__manifest_reader *r,
                                                      const json_t *v, const char *env,
                                                      char ***out);
ANY_THREAD void isola__manifest_list_free(char **list);
ANY_THREAD bool isola__manifest_is_service_key(const char *key);
ANY_THREAD void isola__manifest_service_free(struct isola_manifest_service *s);
/* Refuses keys of `object` that are not `known`; those in `later` (may be NULL) as not supported
 * yet. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_keys(struct isola__manifest_reader *r,
                                                   const json_t *object, const char *const *known,
                                                   const char *const *later);
/* An app's name; the reader stands at its key. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_name(struct isola__manifest_reader *r,
                                                   const json_t *v);
/* May it be the app's version? NULL: no. */
ANY_THREAD bool isola__manifest_is_version(const json_t *v);

#endif
