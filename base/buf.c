/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

bool isola_buf_grow(struct isola_buf *b, size_t n)
{
    if (b->failed)
        return false;
    size_t cap = b->cap ? b->cap : 64;
    while (cap - b->len < n) {
        if (cap > SIZE_MAX / 2) {
            b->failed = true;
            return false;
        }
        cap *= 2;
    }
    uint8_t *data = realloc(b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void isola_buf_printf(struct isola_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n > 0 && (b->cap - b->len > (size_t)n || isola_buf_grow(b, (size_t)n + 1))) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

char *isola_buf_cstr(struct isola_buf *b)
{
    if (b->failed || (b->cap == b->len && !isola_buf_grow(b, 1)))
        return NULL;
    b->data[b->len] = '\0';
    return (char *)b->data;
}
