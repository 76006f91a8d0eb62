/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes: a borrowed slice, and an owned buffer that grows at its end.
 *
 * A buffer that could not grow stays `failed`: later appends do nothing, and whoever finishes it
 * checks once.
 */
#ifndef ISOLA_BASE_BUF_H
#define ISOLA_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/annotate.h"

ISOLA_BEGIN_C

/* Borrowed bytes; `data` may be NULL only when `len` is 0. Not NUL-terminated. */
struct isola_slice {
    const uint8_t *data;
    size_t len;
};

static inline struct isola_slice isola_slice(const void *data, size_t len)
{
    return (struct isola_slice){(const uint8_t *)data, len};
}
static inline struct isola_slice isola_slice_str(const char *s)
{
    return isola_slice(s, s ? strlen(s) : 0);
}
/* At most `max` bytes of a text in UTF-8, whole characters. */
static inline struct isola_slice isola_slice_cut(struct isola_slice text, size_t max)
{
    if (text.len > max)
        for (text.len = max; text.len > 0 && (text.data[text.len] & 0xc0) == 0x80;)
            text.len--;
    return text;
}
static inline bool isola_slice_eq(struct isola_slice a, struct isola_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
/* < 0, 0, > 0: as bytes, and a beginning before what it begins. */
static inline int isola_slice_order(struct isola_slice a, struct isola_slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n > 0 ? memcmp(a.data, b.data, n) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}
static inline bool isola_slice_is(struct isola_slice a, const char *s)
{
    return isola_slice_eq(a, isola_slice_str(s));
}
/* For printf: "%.*s", ISOLA_FMT(slice). */
#define ISOLA_FMT(s) (int)(s).len, (const char *)(s).data

struct isola_buf {
    uint8_t *data; /* owned; NULL while nothing was written */
    size_t len;
    size_t cap;
    bool failed; /* an append found no memory: the content is not to be used */
};

/* Zero is a valid empty buffer: `struct isola_buf b = {0};` */
static inline void isola_buf_free(struct isola_buf *b)
{
    free(b->data);
    *b = (struct isola_buf){0};
}
/* Makes room for `n` more bytes; false when there is no memory (`failed` is set). */
ANY_THREAD bool isola_buf_grow(struct isola_buf *b, size_t n);

/* Room for `n` bytes at the end, counted as written; NULL when there is no memory. */
static inline uint8_t *isola_buf_extend(struct isola_buf *b, size_t n)
{
    if (b->cap - b->len < n && !isola_buf_grow(b, n))
        return NULL;
    uint8_t *p = b->data + b->len;
    b->len += n;
    return p;
}
static inline void isola_buf_append(struct isola_buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    uint8_t *to = isola_buf_extend(b, n);
    if (to != NULL)
        memcpy(to, p, n);
}
static inline void isola_buf_puts(struct isola_buf *b, const char *s)
{
    isola_buf_append(b, s, strlen(s));
}
ANY_THREAD void isola_buf_printf(struct isola_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends a NUL that is not counted in `len`, and returns the text; NULL when the buffer failed. */
ANY_THREAD char *isola_buf_cstr(struct isola_buf *b);
static inline struct isola_slice isola_buf_slice(const struct isola_buf *b)
{
    return isola_slice(b->data, b->len);
}

ISOLA_END_C

#endif
