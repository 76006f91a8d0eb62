/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as tests write them down. For programs of cmocka, which include its headers before.
 */
#ifndef ISOLA_TESTS_BYTES_H
#define ISOLA_TESTS_BYTES_H

#include <stdlib.h>

#include "base/buf.h"
#include "base/msgpack.h"

/* "93 01 a161" as bytes, which the caller frees; what is no hex fails the test. */
static inline struct isola_buf unhex(const char *hex)
{
    struct isola_buf b = {0};
    for (; *hex != '\0'; hex += *hex == ' ' ? 1 : 2) {
        char digits[] = {hex[0], hex[1], '\0'}, *end;
        if (*hex == ' ')
            continue;
        uint8_t byte = (uint8_t)strtoul(digits, &end, 16);
        assert_ptr_equal(end, digits + 2);
        isola_buf_append(&b, &byte, 1);
    }
    return b;
}

/* An args array with a value in `depth` arrays, or Sets; the caller frees it. */
static inline struct isola_buf nested_args(struct isola_slice value, size_t depth, bool sets)
{
    struct isola_buf args = {0}, inner = {0};
    isola_buf_append(&inner, value.data, value.len);
    for (size_t i = 0; sets && i < depth; i++) {
        struct isola_buf outer = {0};
        isola_mp_ext(&outer, ISOLA_EXT_SET, isola_buf_slice(&inner));
        isola_buf_free(&inner);
        inner = outer;
    }
    for (size_t i = 0; i < (sets ? 1 : depth + 1); i++)
        isola_mp_array(&args, 1);
    isola_buf_append(&args, inner.data, inner.len);
    isola_buf_free(&inner);
    return args;
}

#endif
