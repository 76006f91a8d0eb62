/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading one value of a manifest: its type, its range, and the sentence when it is wrong. Internal
 * to store/.
 *
 * A reader knows the text and the path of the key it stands at, so that each sentence begins
 * "isola.json:4:17: actors.Counter.isolation: ".
 */
#ifndef ISOLA_STORE_MANIFEST_VALUE_H
#define ISOLA_STORE_MANIFEST_VALUE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/error.h"

#define ISOLA__MANIFEST_DEPTH 8 /* steps of a reader's path */

struct isola__manifest_reader {
    struct isola_slice text;
    const char *file;
    struct isola_err *err;
    const char *path[ISOLA__MANIFEST_DEPTH];
    size_t depth;
};

static inline void isola__manifest_enter(struct isola__manifest_reader *r, const char *key)
{
    r->path[r->depth++] = key;
}
static inline void isola__manifest_leave(struct isola__manifest_reader *r)
{
    r->depth--;
}

/* ISOLA_EMANIFEST with position, path and sentence; the position is that of the value, or of its
 * key. Control characters of the input do not get into the sentence. */
ANY_THREAD int isola__manifest_fail(struct isola__manifest_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
ANY_THREAD int isola__manifest_fail_key(struct isola__manifest_reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* "FILE:LINE:COLUMN: PREFIX TEXT", likewise without control characters. */
ANY_THREAD int isola__manifest_fail_text(struct isola__manifest_reader *r, unsigned line,
                                         unsigned column, const char *prefix, const char *text);

/* The value as JSON, cut at some 60 bytes. The caller frees. */
ANY_THREAD char *isola__manifest_quote(const json_t *value);
/* Of a name, which has to be ASCII: a letter that only looks as one is seen to be another. */
ANY_THREAD char *isola__manifest_quote_name(const json_t *value);

/* `word` is not in the NULL-terminated `words`: a sentence with all of them and the nearest, about
 * the key or the value. */
ANY_THREAD int isola__manifest_fail_words(struct isola__manifest_reader *r, bool key,
                                          const char *what, const char *const *words,
                                          const char *word);

/* The value `v` of the key the reader stands at. `v` NULL: the key is missing, and `out` stays as
 * it is. ISOLA_EMANIFEST when it has another type or is out of range. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_bool(struct isola__manifest_reader *r,
                                                   const json_t *v, bool *out);
ANY_THREAD ISOLA_MUST_USE int isola__manifest_count(struct isola__manifest_reader *r,
                                                    const json_t *v, uint32_t least, uint32_t most,
                                                    uint32_t *out);
/* "64MB"; B, KB, MB, GB in steps of 1,024. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_size(struct isola__manifest_reader *r,
                                                   const json_t *v, const char *least,
                                                   const char *most, uint64_t *out);
/* "500ms"; ms, s, m, h, d. In milliseconds. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_duration(struct isola__manifest_reader *r,
                                                       const json_t *v, const char *least,
                                                       const char *most, uint64_t *out);
/* An index into `words`; one of `later` is refused as not supported yet. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_choice(struct isola__manifest_reader *r,
                                                     const json_t *v, const char *const *words,
                                                     const char *const *later, int *out);
/* Resolves "." and ".." of a path by the text alone: "./a/../b.js" gives "b.js". `out` has room for
 * all of `in`. False when it leads out. */
ANY_THREAD bool isola__manifest_normalize(const char *in, char *out);
/* A path of a file within the app, made normal. `out` is the caller's. */
ANY_THREAD ISOLA_MUST_USE int isola__manifest_module(struct isola__manifest_reader *r,
                                                     const json_t *v, char **out);

#endif
