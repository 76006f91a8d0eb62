/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int code;
    const char *name;
    const char *text;
} table[] = {
#define ISOLA_ERROR_ROW(name, value, text) {value, #name, text},
    ISOLA_ERRORS(ISOLA_ERROR_ROW)
#undef ISOLA_ERROR_ROW
};

#define TABLE_SIZE (sizeof(table) / sizeof(table[0]))

const char *isola_error_name(int code)
{
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (table[i].code == code)
            return table[i].name;
    return "EUNKNOWN";
}

const char *isola_error_text(int code)
{
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (table[i].code == code)
            return table[i].text;
    return "unknown error";
}

int isola_error_code(const char *name, unsigned long len)
{
    for (size_t i = 0; i < TABLE_SIZE; i++)
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return table[i].code;
    return 0;
}

int isola_vfail(struct isola_err *err, int code, const char *fmt, va_list ap)
{
    if (err != NULL) {
        err->code = code;
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
    }
    return code;
}

int isola_fail(struct isola_err *err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    isola_vfail(err, code, fmt, ap);
    va_end(ap);
    return code;
}
