/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static void print_string(const char *s, size_t len, struct isola_buf *out)
{
    isola_buf_puts(out, "\"");
    size_t kept = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)s[i];
        /* U+0080 … U+009F are c2 80 … c2 9f */
        bool c1 = c == 0xc2 && i + 1 < len && (uint8_t)s[i + 1] < 0xa0;
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && !c1)
            continue;
        isola_buf_append(out, s + kept, i - kept);
        static const char shorts[] = "b\bf\fn\nr\rt\t\"\"\\\\";
        const char *named = NULL;
        for (const char *p = shorts; *p != '\0' && named == NULL; p += 2)
            if ((uint8_t)p[1] == c)
                named = p;
        if (named != NULL)
            isola_buf_printf(out, "\\%c", *named);
        else
            isola_buf_printf(out, "\\u%04x", c1 ? (uint8_t)s[++i] : c);
        kept = i + 1;
    }
    isola_buf_append(out, s + kept, len - kept);
    isola_buf_puts(out, "\"");
}

static void print_real(double d, struct isola_buf *out)
{
    if (d == trunc(d) && fabs(d) < 1e21) {
        isola_buf_printf(out, "%.0f", d);
        return;
    }
    char digits[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, d);
        if (strtod(digits, NULL) == d)
            break;
    }
    isola_buf_puts(out, digits);
}

static void newline(bool pretty, unsigned depth, struct isola_buf *out)
{
    if (!pretty)
        return;
    isola_buf_puts(out, "\n");
    for (unsigned i = 0; i < depth; i++)
        isola_buf_puts(out, "  ");
}

static void print(const json_t *v, bool pretty, unsigned depth, struct isola_buf *out)
{
    size_t i = 0;
    switch (json_typeof(v)) {
    case JSON_OBJECT: {
        const char *key;
        size_t len;
        json_t *item;
        isola_buf_puts(out, "{");
        json_object_keylen_foreach((json_t *)(uintptr_t)v, key, len, item)
        {
            isola_buf_puts(out, i++ > 0 ? "," : "");
            newline(pretty, depth + 1, out);
            print_string(key, len, out);
            isola_buf_puts(out, pretty ? ": " : ":");
            print(item, pretty, depth + 1, out);
        }
        newline(pretty && i > 0, depth, out);
        isola_buf_puts(out, "}");
        return;
    }
    case JSON_ARRAY: {
        const json_t *item;
        isola_buf_puts(out, "[");
        json_array_foreach(v, i, item)
        {
            isola_buf_puts(out, i > 0 ? "," : "");
            newline(pretty, depth + 1, out);
            print(item, pretty, depth + 1, out);
        }
        newline(pretty && i > 0, depth, out);
        isola_buf_puts(out, "]");
        return;
    }
    case JSON_STRING:
        print_string(json_string_value(v), json_string_length(v), out);
        return;
    case JSON_INTEGER:
        isola_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return;
    case JSON_REAL:
        print_real(json_real_value(v), out);
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        isola_buf_puts(out, json_is_true(v) ? "true" : "false");
        return;
    case JSON_NULL:
        break;
    }
    isola_buf_puts(out, "null");
}

void isola__json_print(const json_t *v, bool pretty, struct isola_buf *out)
{
    print(v, pretty, 0, out);
}
