/* SPDX-License-Identifier: Apache-2.0
 *
 * The single values of docs/wire.md as JSON: numbers, BigInts, dates, bytes. Each function returns
 * a fresh JSON value the caller owns, or NULL when there is no memory.
 */
#ifndef ISOLA_CLI_SCALAR_H
#define ISOLA_CLI_SCALAR_H

#include <jansson.h>

#include "base/buf.h"

/* null for NaN and the infinities, which JSON has not. */
ANY_THREAD json_t *isola__scalar_double(double d);
/* A number when a double holds it exactly (up to 2^53), else a string of digits. */
ANY_THREAD json_t *isola__scalar_integer(uint64_t magnitude, bool negative);
/* The payload of ISOLA_EXT_BIGINT, at least its sign. As above; over 8 KiB the string is
 * hexadecimal. */
ANY_THREAD json_t *isola__scalar_bigint(struct isola_slice payload);

/* Bytes of an element of a typed array; 0 for an unknown kind, and for DataView. */
ANY_THREAD size_t isola__scalar_element_size(uint8_t kind);
ANY_THREAD json_t *isola__scalar_element(uint8_t kind, const uint8_t *p);

#define ISOLA__DATE_SIZE 32
/* "2031-01-02T03:04:05.678Z", as Date.prototype.toISOString; false for what is no date. */
ANY_THREAD bool isola__scalar_date(double ms, char out[ISOLA__DATE_SIZE]);

/* {"$base64": "…"} */
ANY_THREAD json_t *isola__scalar_base64(struct isola_slice bytes);
/* Appends the bytes that `text` stands for: the standard alphabet, padding may be left out. False
 * when it is no base64. */
ANY_THREAD bool isola__scalar_unbase64(struct isola_slice text, struct isola_buf *out);

#endif
