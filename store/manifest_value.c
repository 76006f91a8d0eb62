/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of a manifest and what is said about wrong ones.
 */
#include "store/manifest_value.h"

#include <stdio.h>

#include "base/check.h"
#include "base/nearest.h"
#include "store/json_text.h"

#define QUOTE_MAX  60
#define MODULE_MAX 1024

/* --- sentences --- */

static bool plain_word(const char *s)
{
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$-");
    return n > 0 && n <= 64 && s[n] == '\0';
}

/* The sentence may go to a terminal: no control characters, C1 ones (two bytes in UTF-8) included.
 */
static void defuse(char *s)
{
    for (unsigned char *p = (unsigned char *)s; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            *p = '?';
        } else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) {
            *p++ = '?';
            *p = '?';
        }
    }
}

static int __attribute__((format(printf, 3, 0)))
vfail(struct isola__manifest_reader *r, bool key, const char *fmt, va_list ap)
{
    struct isola__json_at at =
        isola__json_position(r->text, isola__json_locate(r->text, r->path, r->depth, key));
    char text[sizeof(r->err->text)];
    vsnprintf(text, sizeof(text), fmt, ap);
    char path[400] = "";
    size_t used = 0;
    for (size_t i = 0; i < r->depth && used < sizeof(path); i++) {
        char *quoted = NULL;
        if (!plain_word(r->path[i])) {
            json_t *s = json_string(r->path[i]);
            quoted = isola__manifest_quote_name(s);
            json_decref(s);
        }
        int n = snprintf(path + used, sizeof(path) - used, "%s%s", i == 0 ? "" : ".",
                         quoted != NULL ? quoted : r->path[i]);
        used += (size_t)n;
        free(quoted);
    }
    int code = isola_fail(r->err, ISOLA_EMANIFEST, "%s:%u:%u: %s%s%s", r->file, at.line, at.column,
                          path, r->depth > 0 ? ": " : "", text);
    if (r->err != NULL)
        defuse(r->err->text);
    return code;
}

int isola__manifest_fail(struct isola__manifest_reader *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int code = vfail(r, false, fmt, ap);
    va_end(ap);
    return code;
}

int isola__manifest_fail_key(struct isola__manifest_reader *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int code = vfail(r, true, fmt, ap);
    va_end(ap);
    return code;
}

int isola__manifest_fail_text(struct isola__manifest_reader *r, unsigned line, unsigned column,
                              const char *prefix, const char *text)
{
    int code =
        isola_fail(r->err, ISOLA_EMANIFEST, "%s:%u:%u: %s%s", r->file, line, column, prefix, text);
    if (r->err != NULL)
        defuse(r->err->text);
    return code;
}

static char *quote(const json_t *value, size_t flags)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | flags);
    if (text == NULL)
        return isola_strdup("that");
    struct isola_slice said = isola_slice_cut(isola_slice_str(text), QUOTE_MAX);
    char *quote = isola_format("%.*s%s", ISOLA_FMT(said), text[said.len] != '\0' ? "…" : "");
    free(text);
    return quote;
}

char *isola__manifest_quote(const json_t *value)
{
    return quote(value, 0);
}

char *isola__manifest_quote_name(const json_t *value)
{
    return quote(value, JSON_ENSURE_ASCII);
}

/* "must be WHAT, not VALUE" */
static int fail_type(struct isola__manifest_reader *r, const json_t *v, const char *what)
{
    char *quoted = isola__manifest_quote(v);
    int code = isola__manifest_fail(r, "must be %s, not %s", what, quoted);
    free(quoted);
    return code;
}

int isola__manifest_fail_words(struct isola__manifest_reader *r, bool key, const char *what,
                               const char *const *words, const char *word)
{
    char list[600] = "";
    size_t used = 0;
    struct isola_nearest near = isola_nearest_begin(isola_slice_str(word));
    for (size_t i = 0; words[i] != NULL; i++) {
        isola_nearest_try(&near, isola_slice_str(words[i]));
        int n =
            snprintf(list + used, sizeof(list) - used, "%s\"%s\"", i == 0 ? "" : ", ", words[i]);
        used += (size_t)n;
        ISOLA_CHECK(used < sizeof(list));
    }
    char hint[ISOLA_NEAREST_HINT];
    isola_nearest_hint(&near, hint);
    return key ? isola__manifest_fail_key(r, "%s %s%s", what, list, hint)
               : isola__manifest_fail(r, "%s %s%s", what, list, hint);
}

/* --- values --- */

int isola__manifest_bool(struct isola__manifest_reader *r, const json_t *v, bool *out)
{
    if (v == NULL)
        return 0;
    if (!json_is_boolean(v))
        return fail_type(r, v, "true or false");
    *out = json_is_true(v);
    return 0;
}

int isola__manifest_count(struct isola__manifest_reader *r, const json_t *v, uint32_t least,
                          uint32_t most, uint32_t *out)
{
    if (v == NULL)
        return 0;
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < least || n > most) {
        char what[80];
        snprintf(what, sizeof(what), "a whole number from %u to %u", least, most);
        return fail_type(r, v, what);
    }
    *out = (uint32_t)n;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit sizes[] = {
    {"B", 1}, {"KB", 1u << 10}, {"MB", 1u << 20}, {"GB", 1u << 30}, {NULL, 0}};
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};

/* Digits and a unit, nothing else. */
static bool parse_quantity(const char *s, const struct unit *units, uint64_t *out)
{
    uint64_t n = 0;
    const char *p = s;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (p - s >= 9) /* so that nothing overflows: 10^9 GB or days */
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    if (p == s)
        return false;
    for (const struct unit *u = units; u->name != NULL; u++) {
        if (strcmp(p, u->name) == 0) {
            *out = n * u->factor;
            return true;
        }
    }
    return false;
}

static int quantity(struct isola__manifest_reader *r, const json_t *v, const struct unit *units,
                    const char *what, const char *least, const char *most, uint64_t *out)
{
    uint64_t n, min = 0, max = 0;
    if (v == NULL)
        return 0;
    ISOLA_CHECK(parse_quantity(least, units, &min) && parse_quantity(most, units, &max));
    if (!json_is_string(v) || !parse_quantity(json_string_value(v), units, &n) || n < min ||
        n > max) {
        char text[160];
        snprintf(text, sizeof(text), "%s, from \"%s\" to \"%s\"", what, least, most);
        return fail_type(r, v, text);
    }
    *out = n;
    return 0;
}

int isola__manifest_size(struct isola__manifest_reader *r, const json_t *v, const char *least,
                         const char *most, uint64_t *out)
{
    return quantity(r, v, sizes, "a size such as \"64MB\" (B, KB, MB, GB)", least, most, out);
}

int isola__manifest_duration(struct isola__manifest_reader *r, const json_t *v, const char *least,
                             const char *most, uint64_t *out)
{
    return quantity(r, v, durations, "a duration such as \"30s\" (ms, s, m, h, d)", least, most,
                    out);
}

static int index_of(const char *const *words, const char *word)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

int isola__manifest_choice(struct isola__manifest_reader *r, const json_t *v,
                           const char *const *words, const char *const *later, int *out)
{
    if (v == NULL)
        return 0;
    const char *word = json_is_string(v) ? json_string_value(v) : "";
    int i = index_of(words, word);
    if (i >= 0) {
        *out = i;
        return 0;
    }
    if (index_of(later, word) >= 0)
        return isola__manifest_fail(r, "\"%s\" is not supported by this release", word);
    char *quoted = isola__manifest_quote(v);
    char *what = isola_format("%s is not one of", quoted);
    int code = isola__manifest_fail_words(r, false, what, words, word);
    free(what);
    free(quoted);
    return code;
}

bool isola__manifest_normalize(const char *in, char *out)
{
    size_t len = 0;
    for (const char *p = in; *p != '\0';) {
        size_t n = strcspn(p, "/");
        if (n == 2 && memcmp(p, "..", 2) == 0) {
            if (len == 0)
                return false;
            while (len > 0 && out[--len] != '/')
                continue;
        } else if (n > 1 || (n == 1 && *p != '.')) {
            if (len > 0)
                out[len++] = '/';
            memcpy(out + len, p, n);
            len += n;
        }
        p += n + (p[n] == '/');
    }
    out[len] = '\0';
    return true;
}

int isola__manifest_module(struct isola__manifest_reader *r, const json_t *v, char **out)
{
    if (!json_is_string(v) || json_string_length(v) > MODULE_MAX)
        return fail_type(r, v, "the path of a file such as \"./counter.js\"");
    const char *path = json_string_value(v);
    size_t len = strlen(path);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
            return fail_type(r, v, "a path without control characters");
    if (path[0] == '/')
        return fail_type(r, v, "a path relative to the app's directory, such as \"./counter.js\"");
    char *normal = isola_alloc(len + 1);
    int code = 0;
    if (!isola__manifest_normalize(path, normal))
        code = isola__manifest_fail(r, "\"%s\" leads out of the app's directory", path);
    else if (normal[0] == '\0' || path[len - 1] == '/')
        code = fail_type(r, v, "the path of a file such as \"./counter.js\"");
    if (code != 0)
        free(normal);
    else
        *out = normal;
    return code;
}
