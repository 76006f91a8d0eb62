/* SPDX-License-Identifier: Apache-2.0
 *
 * What a word that is not known was probably meant to be: the one name that is nearest by edits
 * (a letter more, less or another, or two neighbours in each other's place), capitals counting as
 * small ones. One edit for every three letters of the word; more make another word.
 */
#ifndef ISOLA_BASE_NEAREST_H
#define ISOLA_BASE_NEAREST_H

#include <stdbool.h>

#include "base/buf.h"

ISOLA_BEGIN_C

#define ISOLA_NEAREST_MAX 64u /* bytes; longer words and names are never near */

/* To go through names one by one, wherever they are. */
struct isola_nearest {
    struct isola_slice word; /* borrowed */
    struct isola_slice best; /* borrowed; `data` NULL: none was near */
    size_t edits;            /* of the best, or how many may be */
};
ANY_THREAD struct isola_nearest isola_nearest_begin(struct isola_slice word);
ANY_THREAD void isola_nearest_try(struct isola_nearest *n, struct isola_slice name);

/* "; did you mean "NAME"?", or nothing. */
#define ISOLA_NEAREST_HINT (ISOLA_NEAREST_MAX + 24u)
ANY_THREAD const char *isola_nearest_hint(const struct isola_nearest *n,
                                          char out[ISOLA_NEAREST_HINT]);

/* The nearest of `n` names, or NULL. */
ANY_THREAD const char *isola_nearest_of(const char *word, const char *const *names, size_t n);

ISOLA_END_C

#endif
