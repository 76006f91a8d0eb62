/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as on the wire (docs/wire.md) to JSON and back. docs/cli.md has the table of what becomes
 * what.
 *
 * What comes in is hostile: nesting, back references that multiply, and lengths are bounded, and
 * the JSON made is never deeper than ISOLA__VALUE_HEIGHT nor, written out, much larger than
 * ISOLA__VALUE_WEIGHT.
 */
#ifndef ISOLA_CLI_VALUE_H
#define ISOLA_CLI_VALUE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/error.h"

/* How deep JSON from the wire may nest, shared objects counted wherever they appear. */
#define ISOLA__VALUE_HEIGHT 400
/* About how many bytes it may have, counted in the same way. */
#define ISOLA__VALUE_WEIGHT (256u << 20)
/* A whole args array to a JSON array (the numbers of objects count from its start). The caller owns
 * `*out`. ISOLA_EPROTO: malformed. ISOLA_ETOOBIG: over the bounds above. ISOLA_ECLONE: a stream is
 * in it, which cannot be shown. ISOLA_ENOMEM. */
ANY_THREAD ISOLA_MUST_USE int isola__value_to_json(struct isola_slice args, json_t **out,
                                                   struct isola_err *err);

/* Appends `v` as a value. Numbers are doubles, as in JavaScript; {"$base64": "…"} becomes a
 * Uint8Array and
 * {"$actor": "app/Type/key"} a ref. ISOLA_EINVAL with a sentence; what was appended is then to be
 * thrown away. */
ANY_THREAD ISOLA_MUST_USE int isola__value_from_json(const json_t *v, struct isola_buf *out,
                                                     struct isola_err *err);

/* Parses one command-line argument: any JSON value, not only objects and arrays. ISOLA_EINVAL with
 * jansson's reason. */
ANY_THREAD ISOLA_MUST_USE int isola__value_parse(const char *text, json_t **out,
                                                 struct isola_err *err);

#endif
