/* SPDX-License-Identifier: Apache-2.0
 *
 * A walk over JSON text without building anything. It does not recurse, and stays within the text
 * even if that is not the valid JSON it should be.
 */
#include "store/json_text.h"

#include <jansson.h>

struct cursor {
    struct isola_slice text;
    size_t at;
};

static int peek(const struct cursor *c)
{
    return c->at < c->text.len ? c->text.data[c->at] : -1;
}

static void skip_space(struct cursor *c)
{
    int ch;
    while ((ch = peek(c)) == ' ' || ch == '\t' || ch == '\n' || ch == '\r')
        c->at++;
}

/* From an opening quote to behind the closing one. */
static void skip_string(struct cursor *c)
{
    int ch;
    c->at++;
    while ((ch = peek(c)) != -1 && ch != '"')
        c->at += ch == '\\' && c->at + 1 < c->text.len ? 2 : 1;
    if (ch == '"')
        c->at++;
}

static void skip_value(struct cursor *c)
{
    size_t open = 0;
    for (int ch; (ch = peek(c)) != -1;) {
        if (ch == '"') {
            skip_string(c);
            continue;
        }
        if (ch == '{' || ch == '[') {
            open++;
        } else if (ch == '}' || ch == ']') {
            if (open == 0)
                return; /* of the object around the value */
            open--;
        } else if (ch == ',' && open == 0) {
            return;
        }
        c->at++;
    }
}

/* Whether `token`, quotes included, is the key `key`; escapes are rare, jansson resolves them. */
static bool is_key(struct isola_slice token, const char *key)
{
    if (memchr(token.data, '\\', token.len) == NULL)
        return token.len >= 2 && isola_slice_is(isola_slice(token.data + 1, token.len - 2), key);
    json_t *s = json_loadb((const char *)token.data, token.len, JSON_DECODE_ANY, NULL);
    bool same = json_is_string(s) && strcmp(json_string_value(s), key) == 0;
    json_decref(s);
    return same;
}

/* From the start of an object to the member `key`: the cursor then stands at its value, `key_at` at
 * its key. */
static bool enter(struct cursor *c, const char *key, size_t *key_at)
{
    if (peek(c) != '{')
        return false;
    c->at++;
    for (;;) {
        skip_space(c);
        if (peek(c) != '"')
            return false;
        *key_at = c->at;
        skip_string(c);
        struct isola_slice token = isola_slice(c->text.data + *key_at, c->at - *key_at);
        skip_space(c);
        if (peek(c) != ':')
            return false;
        c->at++;
        skip_space(c);
        if (is_key(token, key))
            return true;
        skip_value(c);
        if (peek(c) != ',')
            return false;
        c->at++;
    }
}

size_t isola__json_locate(struct isola_slice text, const char *const *path, size_t depth, bool key)
{
    struct cursor c = {text, 0};
    skip_space(&c);
    size_t found = c.at;
    for (size_t i = 0; i < depth; i++) {
        size_t key_at;
        if (!enter(&c, path[i], &key_at))
            return found;
        found = key && i + 1 == depth ? key_at : c.at;
    }
    return found;
}

size_t isola__json_too_deep(struct isola_slice text, unsigned limit)
{
    struct cursor c = {text, 0};
    unsigned open = 0;
    for (int ch; (ch = peek(&c)) != -1;) {
        if (ch == '"') {
            skip_string(&c);
            continue;
        }
        if ((ch == '{' || ch == '[') && ++open > limit)
            return c.at;
        if ((ch == '}' || ch == ']') && open > 0)
            open--;
        c.at++;
    }
    return text.len;
}

struct isola__json_at isola__json_position(struct isola_slice text, size_t offset)
{
    struct isola__json_at at = {1, 1};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.data[i] == '\n') {
            at.line++;
            at.column = 1;
        } else if ((text.data[i] & 0xc0) != 0x80) { /* not within a character */
            at.column++;
        }
    }
    return at;
}
