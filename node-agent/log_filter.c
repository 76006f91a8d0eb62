/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/log_filter.h"

#include "base/check.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "transport/identity.h"

static const char *const levels[] = {"debug", "info", "warn", "error"};
#define NLEVELS (sizeof(levels) / sizeof(levels[0]))

bool isola__log_level(struct isola_slice name, unsigned *out)
{
    for (*out = 0; *out < NLEVELS; ++*out)
        if (isola_slice_is(name, levels[*out]))
            return true;
    return false;
}

bool isola__log_fields_read(struct isola_slice line, struct isola__log_fields *f)
{
    uint64_t time_ms;
    unsigned level;
    if (!isola_mp_find_uint(line, "time", &time_ms) || time_ms > (uint64_t)1 << 53 ||
        !isola_mp_find_str(line, "level", &f->level) || !isola__log_level(f->level, &level) ||
        !isola_mp_find_str(line, "node", &f->node) || f->node.len > ISOLA_NODE_NAME_MAX ||
        !isola_mp_find_str(line, "address", &f->address) || f->address.len > ISOLA_ADDRESS_MAX ||
        !isola_mp_find_str(line, "text", &f->text))
        return false;
    f->time_ms = (int64_t)time_ms;
    return true;
}

/* --- reading and writing --- */

/* What there is may be nil, or empty, which is nothing. */
static bool take_text(struct isola_slice params, const char *key, char **out)
{
    struct isola_slice s, any;
    if (isola_mp_find_str(params, key, &s)) {
        if (s.len > ISOLA_ADDRESS_MAX || memchr(s.data, 0, s.len) != NULL)
            return false;
        if (s.len > 0)
            *out = isola_strndup((const char *)s.data, s.len);
        return true;
    }
    return !isola_mp_find(params, key, &any) || (any.len == 1 && any.data[0] == 0xc0); /* nil */
}

const char *isola__log_filter_read(struct isola_slice params, struct isola__log_filter *f)
{
    const char *wrong = NULL;
    struct isola_slice any;
    char *level = NULL;
    uint64_t since = 0;
    *f = (struct isola__log_filter){0};
    if (!take_text(params, "app", &f->app) || !take_text(params, "type", &f->type) ||
        !take_text(params, "address", &f->address) || !take_text(params, "node", &f->node) ||
        !take_text(params, "text", &f->text) || !take_text(params, "level", &level))
        wrong = "\"app\", \"type\", \"address\", \"node\", \"text\" and \"level\" must be strings "
                "of at most 512 bytes";
    else if (level != NULL && !isola__log_level(isola_slice_str(level), &f->level))
        wrong = "\"level\" must be \"debug\", \"info\", \"warn\" or \"error\"";
    else if (isola_mp_find(params, "since", &any) &&
             (!isola_mp_find_uint(params, "since", &since) || since > (uint64_t)1 << 53))
        wrong = "\"since\" must be a time in ms since 1970";
    f->since_ms = (int64_t)since;
    free(level);
    if (wrong != NULL)
        isola__log_filter_free(f);
    return wrong;
}

uint32_t isola__log_filter_keys(const struct isola__log_filter *f)
{
    return (uint32_t)(f->app != NULL) + (f->type != NULL) + (f->address != NULL) +
           (f->node != NULL) + (f->text != NULL) + (f->level > 0) + (f->since_ms > 0);
}

void isola__log_filter_write(const struct isola__log_filter *f, struct isola_buf *out)
{
    if (f->app != NULL)
        isola_mp_kstr(out, "app", f->app);
    if (f->type != NULL)
        isola_mp_kstr(out, "type", f->type);
    if (f->address != NULL)
        isola_mp_kstr(out, "address", f->address);
    if (f->node != NULL)
        isola_mp_kstr(out, "node", f->node);
    if (f->text != NULL)
        isola_mp_kstr(out, "text", f->text);
    if (f->level > 0)
        isola_mp_kstr(out, "level", levels[f->level]);
    if (f->since_ms > 0)
        isola_mp_kuint(out, "since", (uint64_t)f->since_ms);
}

void isola__log_filter_free(struct isola__log_filter *f)
{
    free(f->app);
    free(f->type);
    free(f->address);
    free(f->node);
    free(f->text);
    *f = (struct isola__log_filter){0};
}

/* --- comparing --- */

/* `with` itself, or what stands below it. */
static bool below(struct isola_slice address, const char *with)
{
    size_t n = strlen(with);
    return address.len >= n && memcmp(address.data, with, n) == 0 &&
           (address.len == n || address.data[n] == '/');
}

static uint8_t small(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool contains(struct isola_slice text, const char *word)
{
    size_t n = strlen(word);
    for (size_t at = 0; at + n <= text.len; at++) {
        size_t i = 0;
        while (i < n && small(text.data[at + i]) == small((uint8_t)word[i]))
            i++;
        if (i == n)
            return true;
    }
    return false;
}

bool isola__log_filter_takes(const struct isola__log_filter *f,
                             const struct isola__log_fields *line)
{
    unsigned level;
    return line->time_ms >= f->since_ms &&
           (f->level == 0 || (isola__log_level(line->level, &level) && level >= f->level)) &&
           (f->app == NULL || below(line->address, f->app)) &&
           (f->type == NULL || below(line->address, f->type)) &&
           (f->address == NULL || isola_slice_is(line->address, f->address)) &&
           (f->node == NULL || isola_slice_is(line->node, f->node)) &&
           (f->text == NULL || contains(line->text, f->text));
}
