/* SPDX-License-Identifier: Apache-2.0
 *
 * Source maps (ECMA-426, version 3): from a place in a bundle to the place in the file its author
 * wrote.
 *
 * A map is foreign bytes: all of it is checked when it is parsed, so that looking something up
 * cannot fail half way. The mappings stay as they are written; beside them is kept where decoding
 * may begin every few hundred bytes, so a parsed map takes little more memory than its text.
 */
#ifndef ISOLA_BASE_SOURCEMAP_H
#define ISOLA_BASE_SOURCEMAP_H

#include "base/buf.h"
#include "base/error.h"

ISOLA_BEGIN_C

struct isola_sourcemap;

/* Copies what it needs of `json`. ISOLA_EINVAL: no source map, or not one of this kind (index maps
 * with `sections` are not read), with a sentence; ISOLA_ENOMEM. */
ANY_THREAD ISOLA_MUST_USE int
isola_sourcemap_parse(struct isola_slice json, struct isola_sourcemap **out, struct isola_err *err);
/* NULL is allowed. */
ANY_THREAD void isola_sourcemap_free(struct isola_sourcemap *m);

/* Where something was written. Lines and columns (in UTF-16 units) count from 1. */
struct isola_source_place {
    struct isola_slice source; /* a file, into the map; without control characters */
    uint32_t line, column;
};

/* The place that line and column of the bundle came from. False: from none. */
ANY_THREAD bool isola_sourcemap_find(const struct isola_sourcemap *m, uint32_t line,
                                     uint32_t column, struct isola_source_place *out);

ISOLA_END_C

#endif
