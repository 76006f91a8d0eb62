/* SPDX-License-Identifier: Apache-2.0
 *
 * The wire's values to JSON.
 *
 * One pass over the bytes builds jansson's tree. A table remembers every numbered object; a back
 * reference to a finished one shares its tree (no copy), one to an object still being built is a
 * cycle and becomes "[Circular]".
 *
 * Failure modes: sharing makes small input stand for exponential output, so each tree carries its
 * height and its weight with all sharing written out, and both are checked wherever a tree is put
 * into another. The recursion is bounded by ISOLA_VALUE_DEPTH, memory by the weight of everything
 * made.
 *
 * Invariant: the table owns a reference of its own to each finished object, because a repeated key
 * may drop the tree that was first put there.
 */
#include "cli/value.h"

#include <endian.h>
#include <math.h>

#include "base/msgpack.h"
#include "cli/scalar.h"
#include "cli/text.h"

struct tree {
    json_t *json; /* owned */
    uint64_t weight;
    uint32_t height;
    bool is_str; /* came as msgpack str: may be a key */
};

struct decoder {
    struct tree *objects; /* json NULL while it is being built */
    size_t n, cap;
    uint64_t made; /* the weight of all trees made, sharing not written out */
    struct isola_err *err;
};

/* What a node costs as JSON and in memory, besides its text. */
#define NODE_WEIGHT 32

static int read_value(struct decoder *d, struct isola_mp_reader *r, unsigned depth,
                      struct tree *out);

static int malformed(struct decoder *d, const char *what)
{
    return isola_fail(d->err, ISOLA_EPROTO, "the agent sent a malformed value: %s", what);
}

static int too_big(struct decoder *d)
{
    return isola_fail(d->err, ISOLA_ETOOBIG,
                      "the value is too big to be shown as JSON (over %u MiB)",
                      ISOLA__VALUE_WEIGHT >> 20);
}

static int no_memory(struct decoder *d)
{
    return isola_fail(d->err, ISOLA_ENOMEM, "out of memory while reading a value");
}

/* Takes `json` (NULL: no memory). */
static int leaf(struct decoder *d, json_t *json, size_t bytes, struct tree *out)
{
    *out = (struct tree){0};
    if (json == NULL)
        return no_memory(d);
    *out = (struct tree){.json = json, .weight = NODE_WEIGHT + bytes};
    d->made += out->weight;
    if (d->made > ISOLA__VALUE_WEIGHT) {
        json_decref(json);
        out->json = NULL;
        return too_big(d);
    }
    return 0;
}

static int text(struct decoder *d, struct isola_slice s, struct tree *out)
{
    if (s.len > ISOLA__VALUE_WEIGHT)
        return too_big(d);
    json_t *json = json_stringn(s.len > 0 ? (const char *)s.data : "", s.len);
    if (json == NULL) { /* not UTF-8, or no memory */
        struct isola_buf clean = {0};
        isola__text_utf8(&clean, s);
        if (!clean.failed)
            json = json_stringn((const char *)clean.data, clean.len);
        isola_buf_free(&clean);
    }
    return leaf(d, json, s.len, out);
}

/* Adds what `child` weighs to `parent`, the tree it is about to be put into. */
static int account(struct decoder *d, struct tree *parent, const struct tree *child)
{
    parent->weight += child->weight;
    if (child->height + 1 > parent->height)
        parent->height = child->height + 1;
    if (parent->weight > ISOLA__VALUE_WEIGHT)
        return too_big(d);
    if (parent->height > ISOLA__VALUE_HEIGHT)
        return isola_fail(d->err, ISOLA_ETOOBIG,
                          "the value nests too deep to be shown as JSON (over %d)",
                          ISOLA__VALUE_HEIGHT);
    return 0;
}

static int append(struct decoder *d, struct tree *array, struct tree *item)
{
    int rc = account(d, array, item);
    if (rc != 0) {
        json_decref(item->json);
        return rc;
    }
    return json_array_append_new(array->json, item->json) == 0 ? 0 : no_memory(d);
}

/* Takes the value's json; `key` is a JSON string. The last of equal keys wins. */
static int set_key(struct decoder *d, struct tree *object, const json_t *key, struct tree *value)
{
    object->weight += json_string_length(key);
    int rc = account(d, object, value);
    if (rc != 0) {
        json_decref(value->json);
        return rc;
    }
    rc = json_object_setn_new(object->json, json_string_value(key), json_string_length(key),
                              value->json);
    return rc == 0 ? 0 : no_memory(d);
}

static int begin_object(struct decoder *d, size_t *index)
{
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 64;
        struct tree *objects = realloc(d->objects, cap * sizeof(*objects));
        if (objects == NULL)
            return no_memory(d);
        d->objects = objects;
        d->cap = cap;
    }
    *index = d->n++;
    d->objects[*index] = (struct tree){0};
    return 0;
}

static void end_object(struct decoder *d, size_t index, const struct tree *t)
{
    d->objects[index] = *t;
    json_incref(t->json);
}

static int read_array(struct decoder *d, struct isola_mp_reader *r, uint32_t n, unsigned depth,
                      struct tree *out)
{
    int rc = leaf(d, json_array(), 0, out);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        struct tree item;
        rc = read_value(d, r, depth + 1, &item);
        if (rc == 0)
            rc = append(d, out, &item);
    }
    return rc;
}

static int read_map(struct decoder *d, struct isola_mp_reader *r, uint32_t n, unsigned depth,
                    struct tree *out)
{
    int rc = leaf(d, json_object(), 0, out);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        struct tree key, value;
        struct isola_mp_item item;
        rc = isola_mp_next(r, &item);
        if (rc != 0 || item.type != ISOLA_MP_STR)
            return malformed(d, "a key that is no string");
        rc = text(d, item.bytes, &key);
        if (rc != 0)
            return rc;
        rc = read_value(d, r, depth + 1, &value);
        if (rc == 0)
            rc = set_key(d, out, key.json, &value);
        json_decref(key.json);
    }
    return rc;
}

/* Map with nothing but strings as keys: an object; else an array of pairs. */
static int read_js_map(struct decoder *d, struct isola_slice payload, unsigned depth,
                       struct tree *out)
{
    struct isola_mp_reader r = isola_mp_reader(payload);
    bool all_str = true;
    int rc = leaf(d, json_array(), 0, out);
    while (rc == 0 && r.p < r.end) {
        struct tree pair, key, value;
        rc = leaf(d, json_array(), 0, &pair);
        if (rc != 0)
            break;
        rc = read_value(d, &r, depth + 1, &key);
        if (rc == 0) {
            all_str = all_str && key.is_str;
            rc = append(d, &pair, &key);
        }
        if (rc == 0)
            rc = read_value(d, &r, depth + 1, &value);
        if (rc == 0)
            rc = append(d, &pair, &value);
        if (rc == 0)
            rc = append(d, out, &pair);
        else
            json_decref(pair.json);
    }
    if (rc != 0 || !all_str)
        return rc;

    json_t *object = json_object(), *pair;
    size_t i;
    json_array_foreach(out->json, i, pair)
    {
        const json_t *key = json_array_get(pair, 0);
        if (json_object_setn(object, json_string_value(key), json_string_length(key),
                             json_array_get(pair, 1)) != 0) {
            json_decref(object);
            return no_memory(d);
        }
    }
    json_decref(out->json);
    out->json = object;
    return object != NULL ? 0 : no_memory(d);
}

static int read_set(struct decoder *d, struct isola_slice payload, unsigned depth, struct tree *out)
{
    struct isola_mp_reader r = isola_mp_reader(payload);
    int rc = leaf(d, json_array(), 0, out);
    while (rc == 0 && r.p < r.end) {
        struct tree item;
        rc = read_value(d, &r, depth + 1, &item);
        if (rc == 0)
            rc = append(d, out, &item);
    }
    return rc;
}

static int read_regexp(struct decoder *d, struct isola_slice payload, struct tree *out)
{
    struct isola_mp_reader r = isola_mp_reader(payload);
    struct isola_mp_item source, flags;
    if (isola_mp_next(&r, &source) != 0 || source.type != ISOLA_MP_STR ||
        isola_mp_next(&r, &flags) != 0 || flags.type != ISOLA_MP_STR || r.p != r.end)
        return malformed(d, "a RegExp that is not two strings");
    struct isola_buf b = {0};
    isola_buf_puts(&b, "/");
    isola_buf_append(&b, source.bytes.data, source.bytes.len);
    isola_buf_puts(&b, "/");
    isola_buf_append(&b, flags.bytes.data, flags.bytes.len);
    int rc = b.failed ? no_memory(d) : text(d, isola_buf_slice(&b), out);
    isola_buf_free(&b);
    return rc;
}

/* One map, which has a number of its own like any other. */
static int read_error(struct decoder *d, struct isola_slice payload, unsigned depth,
                      struct tree *out)
{
    struct isola_mp_reader r = isola_mp_reader(payload);
    if (payload.len == 0 || !((*r.p & 0xf0) == 0x80 || *r.p == 0xde || *r.p == 0xdf))
        return malformed(d, "an Error that is no map");
    int rc = read_value(d, &r, depth + 1, out);
    if (rc == 0 && r.p != r.end) {
        json_decref(out->json);
        out->json = NULL;
        rc = malformed(d, "bytes after an Error");
    }
    return rc;
}

static int read_typed_array(struct decoder *d, struct isola_slice payload, struct tree *out)
{
    if (payload.len == 0)
        return malformed(d, "a typed array without its kind");
    uint8_t kind = payload.data[0];
    struct isola_slice bytes = isola_slice(payload.data + 1, payload.len - 1);
    if (kind == ISOLA_TA_DATA_VIEW)
        return leaf(d, isola__scalar_base64(bytes), bytes.len / 3 * 4, out);
    size_t size = isola__scalar_element_size(kind);
    if (size == 0 || bytes.len % size != 0)
        return malformed(d, "a typed array of an unknown kind or half an element");
    int rc = leaf(d, json_array(), 0, out);
    for (size_t i = 0; rc == 0 && i < bytes.len; i += size) {
        struct tree item;
        rc = leaf(d, isola__scalar_element(kind, bytes.data + i), 0, &item);
        if (rc == 0)
            rc = append(d, out, &item);
    }
    return rc;
}

static int read_back_reference(struct decoder *d, struct isola_slice payload, struct tree *out)
{
    uint32_t number = 0;
    if (payload.len != 1 && payload.len != 2 && payload.len != 4)
        return malformed(d, "a back reference of an impossible length");
    for (size_t i = 0; i < payload.len; i++)
        number = number << 8 | payload.data[i];
    if (number >= d->n)
        return malformed(d, "a back reference to nothing");
    const struct tree *seen = &d->objects[number];
    if (seen->json == NULL)
        return leaf(d, json_string("[Circular]"), 10, out);
    *out = *seen;
    json_incref(out->json);
    return 0;
}

static int read_date(struct decoder *d, struct isola_slice payload, struct tree *out)
{
    uint64_t bits;
    double ms;
    char stamp[ISOLA__DATE_SIZE];
    if (payload.len != sizeof(bits))
        return malformed(d, "a Date that is not 8 bytes");
    memcpy(&bits, payload.data, sizeof(bits));
    bits = be64toh(bits);
    memcpy(&ms, &bits, sizeof(ms));
    if (!isola__scalar_date(ms, stamp))
        return leaf(d, json_null(), 0, out);
    return leaf(d, json_string(stamp), sizeof(stamp), out);
}

static int read_ref(struct decoder *d, struct isola_slice payload, struct tree *out)
{
    int rc = leaf(d, json_object(), 8, out);
    if (rc != 0)
        return rc;
    struct tree address = {0};
    rc = text(d, payload, &address);
    if (rc == 0)
        rc = account(d, out, &address);
    if (rc == 0)
        rc = json_object_set(out->json, "$actor", address.json) == 0 ? 0 : no_memory(d);
    if (address.json != NULL)
        json_decref(address.json);
    return rc;
}

static int read_numbered_ext(struct decoder *d, const struct isola_mp_item *item, unsigned depth,
                             struct tree *out)
{
    switch (item->ext) {
    case ISOLA_EXT_DATE:
        return read_date(d, item->bytes, out);
    case ISOLA_EXT_MAP:
        return read_js_map(d, item->bytes, depth, out);
    case ISOLA_EXT_SET:
        return read_set(d, item->bytes, depth, out);
    case ISOLA_EXT_REGEXP:
        return read_regexp(d, item->bytes, out);
    case ISOLA_EXT_ERROR:
        return read_error(d, item->bytes, depth, out);
    case ISOLA_EXT_TYPED_ARRAY:
        return read_typed_array(d, item->bytes, out);
    case ISOLA_EXT_REF:
        return read_ref(d, item->bytes, out);
    case ISOLA_EXT_ARRAY_BUFFER:
        return leaf(d, isola__scalar_base64(item->bytes), item->bytes.len / 3 * 4, out);
    case ISOLA_EXT_STREAM:
        return isola_fail(d->err, ISOLA_ECLONE,
                          "a stream cannot be shown: streams go between actors alone");
    default:
        return malformed(d, "an extension of an unknown type");
    }
}

static int read_numbered(struct decoder *d, struct isola_mp_reader *r,
                         const struct isola_mp_item *item, unsigned depth, struct tree *out)
{
    size_t index = 0;
    int rc = begin_object(d, &index);
    if (rc != 0)
        return rc;
    if (item->type == ISOLA_MP_ARRAY)
        rc = read_array(d, r, item->n, depth, out);
    else if (item->type == ISOLA_MP_MAP)
        rc = read_map(d, r, item->n, depth, out);
    else if (item->type == ISOLA_MP_BIN)
        rc = leaf(d, isola__scalar_base64(item->bytes), item->bytes.len / 3 * 4, out);
    else
        rc = read_numbered_ext(d, item, depth, out);
    if (rc == 0)
        end_object(d, index, out);
    return rc;
}

/* A string that did not come as UTF-8. */
static int read_text(struct decoder *d, const struct isola_mp_item *item, struct tree *out)
{
    struct isola_buf utf8 = {0};
    if (item->bytes.len > ISOLA__VALUE_WEIGHT)
        return too_big(d);
    if (!isola_mp_utf8(item, &utf8))
        return malformed(d, "a string that ends within a character");
    int rc = utf8.failed ? no_memory(d) : text(d, isola_buf_slice(&utf8), out);
    isola_buf_free(&utf8);
    if (rc == 0)
        out->is_str = true;
    return rc;
}

static int read_item(struct decoder *d, struct isola_mp_reader *r, const struct isola_mp_item *item,
                     unsigned depth, struct tree *out)
{
    switch (item->type) {
    case ISOLA_MP_NIL:
        return leaf(d, json_null(), 0, out);
    case ISOLA_MP_BOOL:
        return leaf(d, json_boolean(item->b), 0, out);
    case ISOLA_MP_UINT:
        return leaf(d, isola__scalar_integer(item->u, false), 0, out);
    case ISOLA_MP_INT:
        return leaf(d, json_integer(item->i), 0, out);
    case ISOLA_MP_DOUBLE:
        return leaf(d, isola__scalar_double(item->d), 0, out);
    case ISOLA_MP_STR: {
        int rc = text(d, item->bytes, out);
        if (rc == 0)
            out->is_str = true;
        return rc;
    }
    case ISOLA_MP_EXT:
        if (item->ext == ISOLA_EXT_UNDEFINED)
            return leaf(d, json_null(), 0, out);
        if (item->ext == ISOLA_EXT_LATIN1 || item->ext == ISOLA_EXT_UTF16)
            return read_text(d, item, out);
        if (item->ext == ISOLA_EXT_BIGINT) {
            if (item->bytes.len == 0 || item->bytes.data[0] > 1)
                return malformed(d, "a BigInt without its sign");
            return leaf(d, isola__scalar_bigint(item->bytes), item->bytes.len * 3, out);
        }
        if (item->ext == ISOLA_EXT_BACKREF)
            return read_back_reference(d, item->bytes, out);
        return read_numbered(d, r, item, depth, out);
    default:
        return read_numbered(d, r, item, depth, out);
    }
}

/* On failure `out` holds nothing. */
static int read_value(struct decoder *d, struct isola_mp_reader *r, unsigned depth,
                      struct tree *out)
{
    struct isola_mp_item item;
    *out = (struct tree){0};
    if (depth > ISOLA_VALUE_DEPTH + 2) /* args is 1, a leaf one more than its container */
        return malformed(d, "it nests too deep");
    if (isola_mp_next(r, &item) != 0)
        return malformed(d, "it is cut off or not msgpack");
    int rc = read_item(d, r, &item, depth, out);
    if (rc != 0 && out->json != NULL) {
        json_decref(out->json);
        out->json = NULL;
    }
    return rc;
}

int isola__value_to_json(struct isola_slice args, json_t **out, struct isola_err *err)
{
    struct decoder d = {.err = err};
    struct isola_mp_reader r = isola_mp_reader(args);
    struct tree whole;
    int rc = read_value(&d, &r, 1, &whole);
    if (rc == 0 && (r.p != r.end || !json_is_array(whole.json)))
        rc = malformed(&d, "the arguments are not one array");
    for (size_t i = 0; i < d.n; i++)
        json_decref(d.objects[i].json);
    free(d.objects);
    if (rc == 0)
        *out = whole.json;
    else
        json_decref(whole.json);
    return rc;
}
