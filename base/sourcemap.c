/* SPDX-License-Identifier: Apache-2.0
 *
 * Mappings are groups of base64 VLQ numbers, each relative to the one before: `;` ends a line of
 * the bundle, `,` a segment. A cursor walks over them; cursors are kept at intervals, and a look-up
 * walks on from the last one that stands before what it looks for.
 */
#include "base/sourcemap.h"

#include <stdlib.h>

/* Bytes of mappings between two cursors that are kept. */
#define INTERVAL    256
#define SOURCES_MAX 100000u
#define NAME_MAX    4096u
#define NAMES_MAX   (64u << 20)
#define NUMBER_MAX  INT32_MAX

/* Where a walk is, and the last segment it has read. */
struct cursor {
    uint32_t at; /* what comes next */
    uint32_t line, column;
    uint32_t source, source_line, source_column;
    bool any;    /* a segment on this line was read */
    bool mapped; /* and it has a source */
};

struct isola_sourcemap {
    uint8_t *mappings;
    size_t len;
    struct cursor *cursors; /* the first one at the beginning */
    size_t ncursors;
    struct isola_buf names;   /* of the sources, one after the other */
    struct isola_buf offsets; /* uint32_t each: where each source's name ends */
    size_t nsources;
};

/* --- JSON, as much as a source map needs --- */

struct json {
    const uint8_t *p, *end;
};

static void skip_space(struct json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
        j->p++;
}

static bool next_is(struct json *j, char c)
{
    skip_space(j);
    if (j->p == j->end || *j->p != (uint8_t)c)
        return false;
    j->p++;
    return true;
}

static bool hex4(struct json *j, uint32_t *out)
{
    *out = 0;
    if (j->end - j->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *j->p++;
        uint32_t digit = c >= '0' && c <= '9'   ? c - '0' + 0u
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16;
        if (digit == 16)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

static void put_utf8(struct isola_buf *out, uint32_t u)
{
    uint8_t b[4];
    size_t n = 0;
    if (u < 0x80) {
        b[n++] = (uint8_t)u;
    } else if (u < 0x800) {
        b[n++] = (uint8_t)(0xc0 | u >> 6);
        b[n++] = (uint8_t)(0x80 | (u & 0x3f));
    } else if (u < 0x10000) {
        b[n++] = (uint8_t)(0xe0 | u >> 12);
        b[n++] = (uint8_t)(0x80 | (u >> 6 & 0x3f));
        b[n++] = (uint8_t)(0x80 | (u & 0x3f));
    } else {
        b[n++] = (uint8_t)(0xf0 | u >> 18);
        b[n++] = (uint8_t)(0x80 | (u >> 12 & 0x3f));
        b[n++] = (uint8_t)(0x80 | (u >> 6 & 0x3f));
        b[n++] = (uint8_t)(0x80 | (u & 0x3f));
    }
    isola_buf_append(out, b, n);
}

static bool read_escape(struct json *j, struct isola_buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (j->p == j->end)
        return false;
    uint8_t c = *j->p++;
    const char *simple = c != '\0' ? strchr(from, c) : NULL;
    if (simple != NULL) {
        isola_buf_append(out, &to[simple - from], 1);
        return true;
    }
    uint32_t u, low;
    if (c != 'u' || !hex4(j, &u))
        return false;
    if (u >= 0xd800 && u < 0xdc00 && j->end - j->p >= 6 && j->p[0] == '\\' && j->p[1] == 'u') {
        struct json after = {j->p + 2, j->end};
        if (hex4(&after, &low) && low >= 0xdc00 && low < 0xe000) {
            *j = after;
            u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    put_utf8(out, u >= 0xd800 && u < 0xe000 ? 0xfffd : u);
    return true;
}

/* A string; `out` may be NULL. */
static bool read_string(struct json *j, struct isola_buf *out)
{
    struct isola_buf ignored = {0};
    if (!next_is(j, '"'))
        return false;
    for (;;) {
        const uint8_t *from = j->p;
        while (j->p < j->end && *j->p != '"' && *j->p != '\\')
            j->p++;
        if (j->p == j->end)
            return false;
        if (out != NULL)
            isola_buf_append(out, from, (size_t)(j->p - from));
        if (*j->p++ == '"')
            return true;
        bool ok = read_escape(j, out != NULL ? out : &ignored);
        ignored.len = 0;
        if (!ok || out == NULL)
            isola_buf_free(&ignored);
        if (!ok)
            return false;
    }
}

/* A value that does not matter. What is between brackets is not looked at closely. */
static bool skip_value(struct json *j)
{
    size_t depth = 0;
    do {
        skip_space(j);
        if (j->p == j->end)
            return false;
        switch (*j->p) {
        case '"':
            if (!read_string(j, NULL))
                return false;
            break;
        case '{':
        case '[':
            depth++;
            j->p++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return false;
            depth--;
            j->p++;
            break;
        case ',':
        case ':':
            if (depth == 0)
                return false;
            j->p++;
            break;
        default: { /* a number or a word */
            const uint8_t *from = j->p;
            while (j->p<j->end && * j->p> ' ' && strchr("\"{}[],:", *j->p) == NULL)
                j->p++;
            if (j->p == from)
                return false;
        }
        }
    } while (depth > 0);
    return true;
}

static bool is_word(struct json *j, const char *word)
{
    size_t n = strlen(word);
    skip_space(j);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
        return false;
    j->p += n;
    return true;
}

/* --- the map's fields --- */

struct fields {
    bool version, sources, mappings;
    struct isola_buf root;
};

/* Control characters in a name would draw lines of a stack, or drive a terminal. */
static void clean(struct isola_buf *b, size_t from)
{
    for (size_t i = from; i < b->len; i++)
        if (b->data[i] < 0x20 || b->data[i] == 0x7f)
            b->data[i] = '?';
}

static int read_sources(struct isola_sourcemap *m, struct json *j, struct isola_err *err)
{
    static const char malformed[] = "source map: \"sources\" is no array of strings";
    if (!next_is(j, '['))
        return isola_fail(err, ISOLA_EINVAL, malformed);
    if (next_is(j, ']'))
        return 0;
    do {
        size_t from = m->names.len;
        if (!is_word(j, "null") && !read_string(j, &m->names))
            return isola_fail(err, ISOLA_EINVAL, malformed);
        if (m->names.len - from > NAME_MAX)
            return isola_fail(err, ISOLA_EINVAL,
                              "source map: the name of source %zu has %zu bytes; %u are allowed",
                              m->nsources, m->names.len - from, NAME_MAX);
        if (++m->nsources > SOURCES_MAX)
            return isola_fail(err, ISOLA_EINVAL, "source map: it has more than %u sources",
                              SOURCES_MAX);
        clean(&m->names, from);
        uint32_t end = (uint32_t)m->names.len;
        isola_buf_append(&m->offsets, &end, sizeof(end));
    } while (next_is(j, ','));
    return next_is(j, ']') ? 0 : isola_fail(err, ISOLA_EINVAL, malformed);
}

static int read_mappings(struct isola_sourcemap *m, struct json *j, struct isola_err *err)
{
    struct isola_buf b = {0};
    bool ok = read_string(j, &b);
    if (!ok || b.failed) {
        isola_buf_free(&b);
        return ok ? isola_fail(err, ISOLA_ENOMEM, "source map: out of memory")
                  : isola_fail(err, ISOLA_EINVAL, "source map: \"mappings\" is no string");
    }
    m->mappings = b.data; /* takes it */
    m->len = b.len;
    return 0;
}

static int read_field(struct isola_sourcemap *m, struct json *j, struct isola_slice key,
                      struct fields *f, struct isola_err *err)
{
    bool *once = isola_slice_is(key, "sources")    ? &f->sources
                 : isola_slice_is(key, "mappings") ? &f->mappings
                 : isola_slice_is(key, "version")  ? &f->version
                                                   : NULL;
    if (once != NULL && *once)
        return isola_fail(err, ISOLA_EINVAL, "source map: \"%.*s\" is there twice", ISOLA_FMT(key));
    if (once != NULL)
        *once = true;
    if (once == &f->sources)
        return read_sources(m, j, err);
    if (once == &f->mappings)
        return read_mappings(m, j, err);
    if (once == &f->version)
        return is_word(j, "3") ? 0 : isola_fail(err, ISOLA_EINVAL, "source map: not of version 3");
    if (isola_slice_is(key, "sections"))
        return isola_fail(err, ISOLA_EINVAL, "source map: maps with \"sections\" are not read");
    if (isola_slice_is(key, "sourceRoot") && !is_word(j, "null")) {
        f->root.len = 0;
        if (!read_string(j, &f->root) || f->root.len > NAME_MAX)
            return isola_fail(err, ISOLA_EINVAL, "source map: \"sourceRoot\" is no name");
        clean(&f->root, 0);
        return 0;
    }
    if (isola_slice_is(key, "sourceRoot"))
        return 0;
    return skip_value(j) ? 0
                         : isola_fail(err, ISOLA_EINVAL, "source map: it is no JSON after \"%.*s\"",
                                      (int)(key.len < 40 ? key.len : 40), (const char *)key.data);
}

static int read_object(struct isola_sourcemap *m, struct json *j, struct fields *f,
                       struct isola_err *err)
{
    struct isola_buf key = {0};
    int rc = 0;
    if (!next_is(j, '{'))
        return isola_fail(err, ISOLA_EINVAL, "source map: it is no JSON object");
    if (!next_is(j, '}')) {
        do {
            key.len = 0;
            if (!read_string(j, &key) || !next_is(j, ':'))
                rc = isola_fail(err, ISOLA_EINVAL, "source map: it is no JSON object");
            else
                rc = read_field(m, j, isola_buf_slice(&key), f, err);
        } while (rc == 0 && next_is(j, ','));
        if (rc == 0 && !next_is(j, '}'))
            rc = isola_fail(err, ISOLA_EINVAL, "source map: it is no JSON object, or cut off");
    }
    isola_buf_free(&key);
    skip_space(j);
    if (rc == 0 && j->p != j->end)
        rc = isola_fail(err, ISOLA_EINVAL, "source map: something follows the JSON object");
    if (rc == 0 && (!f->version || !f->sources || !f->mappings))
        rc = isola_fail(err, ISOLA_EINVAL, "source map: \"%s\" is missing",
                        !f->version   ? "version"
                        : !f->sources ? "sources"
                                      : "mappings");
    return rc;
}

/* Puts `sourceRoot` before the names. */
static int take_root(struct isola_sourcemap *m, const struct isola_buf *root, struct isola_err *err)
{
    if (root->len == 0)
        return 0;
    if (m->names.len + m->nsources * (root->len + 1) > NAMES_MAX)
        return isola_fail(err, ISOLA_EINVAL, "source map: the names of its sources are too long");
    struct isola_buf names = {0};
    uint32_t *ends = (uint32_t *)(void *)m->offsets.data;
    uint32_t from = 0;
    for (size_t i = 0; i < m->nsources; i++) {
        uint32_t end = ends[i];
        if (end > from) {
            isola_buf_append(&names, root->data, root->len);
            if (root->data[root->len - 1] != '/')
                isola_buf_puts(&names, "/");
            isola_buf_append(&names, m->names.data + from, end - from);
        }
        from = end;
        ends[i] = (uint32_t)names.len;
    }
    isola_buf_free(&m->names);
    m->names = names;
    return 0;
}

/* --- walking --- */

static int digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool read_number(const struct isola_sourcemap *m, struct cursor *c, int64_t *out)
{
    uint64_t v = 0;
    for (int shift = 0; shift <= 30; shift += 5) {
        int d = c->at < m->len ? digit(m->mappings[c->at]) : -1;
        if (d < 0)
            return false;
        c->at++;
        v |= (uint64_t)(d & 31) << shift;
        if ((d & 32) == 0) {
            *out = v & 1 ? -(int64_t)(v >> 1) : (int64_t)(v >> 1);
            return true;
        }
    }
    return false;
}

/* Adds the next number to `value`. */
static bool add_number(const struct isola_sourcemap *m, struct cursor *c, uint32_t *value)
{
    int64_t delta;
    if (!read_number(m, c, &delta))
        return false;
    int64_t sum = (int64_t)*value + delta;
    if (sum < 0 || sum > NUMBER_MAX)
        return false;
    *value = (uint32_t)sum;
    return true;
}

static bool at_end_of_segment(const struct isola_sourcemap *m, const struct cursor *c)
{
    return c->at == m->len || m->mappings[c->at] == ',' || m->mappings[c->at] == ';';
}

enum step { STEP_END, STEP_DONE, STEP_MALFORMED };

/* One segment, or the end of a line. */
static enum step step(const struct isola_sourcemap *m, struct cursor *c)
{
    if (c->at == m->len)
        return STEP_END;
    uint8_t first = m->mappings[c->at];
    if (first == ';') {
        if (c->line == NUMBER_MAX)
            return STEP_MALFORMED;
        c->at++;
        c->line++;
        c->column = 0;
        c->any = c->mapped = false;
        return STEP_DONE;
    }
    if (first == ',') {
        c->at++;
        return STEP_DONE;
    }
    uint32_t before = c->column;
    if (!add_number(m, c, &c->column) || c->column < before)
        return STEP_MALFORMED;
    c->any = true;
    c->mapped = !at_end_of_segment(m, c);
    if (!c->mapped)
        return STEP_DONE;
    if (!add_number(m, c, &c->source) || c->source >= m->nsources ||
        !add_number(m, c, &c->source_line) || !add_number(m, c, &c->source_column))
        return STEP_MALFORMED;
    int64_t name;
    if (!at_end_of_segment(m, c) && (!read_number(m, c, &name) || !at_end_of_segment(m, c)))
        return STEP_MALFORMED;
    return STEP_DONE;
}

static int walk_all(struct isola_sourcemap *m, struct isola_err *err)
{
    struct isola_buf kept = {0};
    struct cursor c = {0};
    enum step did = STEP_DONE;
    if (m->len > UINT32_MAX / 2)
        return isola_fail(err, ISOLA_EINVAL, "source map: it is too big");
    isola_buf_append(&kept, &c, sizeof(c));
    uint32_t last = 0;
    while (did == STEP_DONE && !kept.failed) {
        if (c.at - last >= INTERVAL) {
            isola_buf_append(&kept, &c, sizeof(c));
            last = c.at;
        }
        did = step(m, &c);
    }
    m->cursors = (struct cursor *)(void *)kept.data;
    m->ncursors = kept.len / sizeof(c);
    if (kept.failed)
        return isola_fail(err, ISOLA_ENOMEM, "source map: out of memory");
    if (did == STEP_MALFORMED)
        return isola_fail(
            err, ISOLA_EINVAL,
            "source map: the mappings are malformed at byte %u, line %u of the bundle", c.at,
            c.line + 1);
    return 0;
}

/* Does the cursor stand at or before the place? */
static bool reaches(const struct cursor *c, uint32_t line, uint32_t column)
{
    return c->line < line || (c->line == line && (!c->any || c->column <= column));
}

bool isola_sourcemap_find(const struct isola_sourcemap *m, uint32_t line, uint32_t column,
                          struct isola_source_place *out)
{
    if (line == 0 || column == 0)
        return false;
    line--;
    column--;
    size_t low = 0, high = m->ncursors; /* the one looked for is in [low, high) */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (reaches(&m->cursors[middle], line, column))
            low = middle;
        else
            high = middle;
    }
    struct cursor at = m->cursors[low], next = at;
    while (step(m, &next) == STEP_DONE && reaches(&next, line, column))
        at = next;
    if (at.line != line || !at.mapped)
        return false;
    const uint32_t *ends = (const uint32_t *)(const void *)m->offsets.data;
    uint32_t from = at.source > 0 ? ends[at.source - 1] : 0;
    *out = (struct isola_source_place){isola_slice(m->names.data + from, ends[at.source] - from),
                                       at.source_line + 1, at.source_column + 1};
    return out->source.len > 0;
}

/* --- life --- */

int isola_sourcemap_parse(struct isola_slice json, struct isola_sourcemap **out,
                          struct isola_err *err)
{
    struct isola_sourcemap *m = calloc(1, sizeof(*m));
    struct fields f = {0};
    struct json j = {json.data, json.data + json.len};
    if (m == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "source map: out of memory");
    int rc = json.len > UINT32_MAX / 2
                 ? isola_fail(err, ISOLA_EINVAL, "source map: it has %zu bytes", json.len)
                 : read_object(m, &j, &f, err);
    if (rc == 0)
        rc = take_root(m, &f.root, err);
    if (rc == 0 && (m->names.failed || m->offsets.failed || f.root.failed))
        rc = isola_fail(err, ISOLA_ENOMEM, "source map: out of memory");
    if (rc == 0)
        rc = walk_all(m, err);
    isola_buf_free(&f.root);
    if (rc != 0)
        isola_sourcemap_free(m);
    else
        *out = m;
    return rc;
}

void isola_sourcemap_free(struct isola_sourcemap *m)
{
    if (m == NULL)
        return;
    free(m->mappings);
    free(m->cursors);
    isola_buf_free(&m->names);
    isola_buf_free(&m->offsets);
    free(m);
}
