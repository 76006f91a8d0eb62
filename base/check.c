/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void isola_check_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "isola: internal error: %s:%d: %s does not hold\n", file, line, cond);
    abort();
}

static void *need(void *p)
{
    if (p == NULL) {
        fputs("isola: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *isola_alloc(size_t size)
{
    return need(malloc(size ? size : 1));
}

void *isola_zalloc(size_t size)
{
    return need(calloc(1, size ? size : 1));
}

void *isola_realloc(void *p, size_t size)
{
    return need(realloc(p, size ? size : 1));
}

char *isola_strndup(const char *s, size_t n)
{
    char *copy = isola_alloc(n + 1);
    if (n > 0)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *isola_strdup(const char *s)
{
    return isola_strndup(s, strlen(s));
}

char *isola_format(const char *fmt, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    return need(n < 0 ? NULL : out);
}
