/* SPDX-License-Identifier: Apache-2.0
 *
 * Where in a JSON text something stands. jansson gives positions for syntax errors only; this finds
 * those of keys and values again, by walking the text. Internal to store/.
 */
#ifndef ISOLA_STORE_JSON_TEXT_H
#define ISOLA_STORE_JSON_TEXT_H

#include "base/buf.h"

struct isola__json_at {
    unsigned line, column; /* from 1; columns count characters */
};

/* The position of byte `offset`. */
ANY_THREAD struct isola__json_at isola__json_position(struct isola_slice text, size_t offset);

/* The offset of the value (`key`: of the key of the last step) that `path`, `depth` object keys
 * from the outermost on, leads to. The text must be valid JSON. Where the path breaks off: the
 * offset of the innermost object found. */
ANY_THREAD size_t isola__json_locate(struct isola_slice text, const char *const *path, size_t depth,
                                     bool key);

/* The offset of the first bracket that opens a level below `limit`, or text.len. Any text. */
ANY_THREAD size_t isola__json_too_deep(struct isola_slice text, unsigned limit);

#endif
