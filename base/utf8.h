/* SPDX-License-Identifier: Apache-2.0
 *
 * Text of others: is it UTF-8?
 */
#ifndef ISOLA_BASE_UTF8_H
#define ISOLA_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"

/* The length of the well-formed UTF-8 sequence at `p` (`left` bytes are there, one at the least)
 * and its code point; 0 when there is none (Unicode 15, table 3-7). */
static inline size_t isola_utf8_next(const uint8_t *p, size_t left, uint32_t *code)
{
    uint8_t c = p[0];
    if (c < 0x80) {
        *code = c;
        return 1;
    }
    size_t n = c >= 0xc2 && c <= 0xdf   ? 2
               : c >= 0xe0 && c <= 0xef ? 3
               : c >= 0xf0 && c <= 0xf4 ? 4
                                        : 0;
    if (n == 0 || n > left)
        return 0;
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high)
        return 0;
    uint32_t u = c & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        u = (u << 6) | (p[i] & 0x3f);
    }
    *code = u;
    return n;
}

/* The text behind the mark that some editors begin a file of UTF-8 with. */
static inline struct isola_slice isola_utf8_unmark(struct isola_slice text)
{
    bool marked = text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0;
    return marked ? isola_slice(text.data + 3, text.len - 3) : text;
}

#endif
