/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/stack.h"

#include <stdio.h>

#include "actors/host_own.h"
#include "base/msgpack.h"

#define SCHEME "isola:"
/* Of an Error for a person: how much of each text, how many causes. */
#define TEXT_MAX   (16u << 10)
#define CAUSES_MAX 8

/* The map of a module, decoded now if nobody has asked before; NULL: there is none. */
static const struct isola_sourcemap *map_of(struct isola_host *h, struct isola_release_rt *r,
                                            struct isola_type *type)
{
    const struct isola_sourcemap *map = atomic_load(&type->map);
    if (map != NULL || atomic_load(&type->map_is_bad))
        return map;
    struct isola_sourcemap *fresh = NULL, *none = NULL;
    struct isola_err err;
    int rc = isola_sourcemap_parse(type->def.map, &fresh, &err);
    if (rc != 0) {
        if (!atomic_exchange(&type->map_is_bad, true) && type->def.map.len > 0)
            isola__host_logf(h, ISOLA_LOG_WARN, isola_slice_str(r->app),
                             "stacks show places in the bundle of %s, not in its sources: %s",
                             type->def.module, err.text);
        return NULL;
    }
    if (!atomic_compare_exchange_strong(&type->map, &none, fresh)) { /* another thread was first */
        isola_sourcemap_free(fresh);
        return none;
    }
    return fresh;
}

/* The type whose bundle is called `path` behind "isola:APP/"; types of one module share it. */
static struct isola_type *type_of(struct isola_release_rt *r, struct isola_slice path)
{
    for (size_t i = 0; i < r->ntypes; i++)
        if (isola_slice_is(path, r->types[i].def.module))
            return &r->types[i];
    return NULL;
}

/* Digits at `p`; how many, 0 when it is no number of ours. */
static size_t read_number(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
    uint64_t v = 0;
    size_t n = 0;
    while (p + n < end && n < 10 && p[n] >= '0' && p[n] <= '9')
        v = v * 10 + (uint64_t)(p[n++] - '0');
    *out = v <= UINT32_MAX ? (uint32_t)v : 0;
    return n;
}

/* "APP/MODULE:LINE:COLUMN" at `p`: its length, and what it says; 0 when it is something else. */
static size_t read_place(struct isola_release_rt *r, const uint8_t *p, const uint8_t *end,
                         struct isola_type **type, uint32_t *line, uint32_t *column)
{
    size_t app = strlen(r->app);
    if ((size_t)(end - p) <= app || memcmp(p, r->app, app) != 0 || p[app] != '/')
        return 0;
    const uint8_t *path = p + app + 1;
    for (size_t i = 0; i < r->ntypes; i++) {
        const char *module = r->types[i].def.module;
        size_t n = strlen(module);
        if ((size_t)(end - path) <= n || memcmp(path, module, n) != 0 || path[n] != ':')
            continue;
        const uint8_t *at = path + n + 1;
        size_t digits = read_number(at, end, line);
        at += digits;
        if (digits == 0 || at == end || *at != ':')
            continue;
        digits = read_number(++at, end, column);
        if (digits == 0)
            continue;
        *type = &r->types[i];
        return (size_t)(at + digits - p);
    }
    return 0;
}

static bool find(struct isola_host *h, struct isola_release_rt *r, struct isola_type *type,
                 uint32_t line, uint32_t column, struct isola_source_place *out)
{
    const struct isola_sourcemap *map = map_of(h, r, type);
    return map != NULL && isola_sourcemap_find(map, line, column, out);
}

void isola__stack_map(struct isola_host *h, struct isola_release_rt *r, struct isola_slice text,
                      struct isola_buf *out)
{
    const uint8_t *p = text.data, *end = text.data + text.len;
    while (p < end) {
        const uint8_t *at = memmem(p, (size_t)(end - p), SCHEME, strlen(SCHEME));
        if (at == NULL)
            break;
        const uint8_t *place = at + strlen(SCHEME);
        struct isola_type *type;
        struct isola_source_place source;
        uint32_t line, column;
        size_t n = read_place(r, place, end, &type, &line, &column);
        if (n > 0 && find(h, r, type, line, column, &source)) {
            isola_buf_append(out, p, (size_t)(at - p));
            isola_buf_printf(out, "%s/%.*s:%u:%u", r->app, ISOLA_FMT(source.source), source.line,
                             source.column);
        } else {
            isola_buf_append(out, p, (size_t)(place - p) + n);
        }
        p = place + n;
    }
    isola_buf_append(out, p, (size_t)(end - p));
}

bool isola__stack_place(struct isola_host *h, struct isola_release_rt *r, struct isola_slice script,
                        uint32_t *line, uint32_t *column, struct isola_buf *file)
{
    size_t head = strlen(SCHEME) + strlen(r->app) + 1;
    struct isola_source_place source;
    if (script.len <= head || memcmp(script.data, SCHEME, strlen(SCHEME)) != 0 ||
        memcmp(script.data + strlen(SCHEME), r->app, strlen(r->app)) != 0 ||
        script.data[head - 1] != '/')
        return false;
    struct isola_type *type = type_of(r, isola_slice(script.data + head, script.len - head));
    if (type == NULL || !find(h, r, type, *line, *column, &source))
        return false;
    isola_buf_printf(file, "%s/%.*s", r->app, ISOLA_FMT(source.source));
    *line = source.line;
    *column = source.column;
    return true;
}

/* --- errors for people --- */

struct isola_slice isola__first_line(struct isola_slice text)
{
    const uint8_t *end = text.len > 0 ? memchr(text.data, '\n', text.len) : NULL;
    return isola_slice(text.data, end != NULL ? (size_t)(end - text.data) : text.len);
}

static void put(struct isola_buf *out, struct isola_slice text)
{
    struct isola_slice said = isola_slice_cut(text, TEXT_MAX);
    isola_buf_append(out, said.data, said.len);
    if (said.len < text.len)
        isola_buf_puts(out, " …");
}

static void one_error(const struct isola_mp_error *e, struct isola_buf *out)
{
    if (e->stack.len > 0) {
        put(out, e->stack);
        return;
    }
    if (e->name.len > 0 && !isola_slice_is(e->name, "Error")) {
        put(out, e->name);
        isola_buf_puts(out, ": ");
    }
    put(out, e->message);
}

void isola__error_text(struct isola_slice value, struct isola_buf *out)
{
    struct isola_mp_error e;
    if (!isola_mp_read_error(value, &e))
        return;
    one_error(&e, out);
    for (int i = 0; i < CAUSES_MAX && e.cause.len > 0; i++) {
        struct isola_mp_reader r = isola_mp_reader(e.cause);
        struct isola_mp_item item;
        if (isola_mp_read_error(e.cause, &e)) {
            isola_buf_puts(out, "\ncaused by: ");
            one_error(&e, out);
            continue;
        }
        struct isola_buf text = {0};
        if (isola_mp_next(&r, &item) == 0 && isola_mp_utf8(&item, &text)) {
            isola_buf_puts(out, "\ncaused by: ");
            put(out, isola_buf_slice(&text));
        }
        isola_buf_free(&text);
        return;
    }
}
