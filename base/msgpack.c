/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading msgpack: look at one byte, make sure once that all the item needs is there, and only then
 * move on.
 *
 * Invariants: a reader that returned an error has not moved; nothing recurses; nothing allocates;
 * no byte past `end` is looked at, whatever lengths and counts the input claims.
 */
#include "base/msgpack.h"

#include <endian.h>

#include "base/check.h"

static inline uint16_t get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return be16toh(v);
}

static inline uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return be32toh(v);
}

static inline uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

static inline int take_uint(struct isola_mp_item *out, uint64_t u)
{
    out->type = ISOLA_MP_UINT;
    out->u = u;
    return 0;
}

static inline int take_int(struct isola_mp_item *out, int64_t i)
{
    if (i >= 0)
        return take_uint(out, (uint64_t)i);
    out->type = ISOLA_MP_INT;
    out->i = i;
    return 0;
}

/* `size` header bytes are there; `n` bytes of payload must follow. */
static inline int take_bytes(struct isola_mp_reader *r, size_t size, enum isola_mp_type type,
                             size_t n, struct isola_mp_item *out)
{
    if ((size_t)(r->end - r->p) - size < n)
        return ISOLA_EPROTO;
    out->type = type;
    out->bytes = isola_slice(r->p + size, n);
    r->p += size + n;
    return 0;
}

/* As above, for the extension whose type byte is the last of the header. */
static inline int take_ext(struct isola_mp_reader *r, size_t size, size_t n,
                           struct isola_mp_item *out)
{
    out->ext = (int8_t)r->p[size - 1];
    return take_bytes(r, size, ISOLA_MP_EXT, n, out);
}

/* An item is one byte at least, so a count over the bytes left is a lie. */
static inline int take_count(struct isola_mp_reader *r, size_t size, enum isola_mp_type type,
                             uint32_t n, struct isola_mp_item *out)
{
    size_t left = (size_t)(r->end - r->p) - size;
    if ((type == ISOLA_MP_MAP ? left / 2 : left) < n)
        return ISOLA_EPROTO;
    out->type = type;
    out->n = n;
    r->p += size;
    return 0;
}

/* The size of what comes before the payload or the items, by first byte 0xc0 … 0xdf; 0: not
 * msgpack. */
static const uint8_t header_size[32] = {
    1, 0, 1, 1,    /* nil, never used, false, true */
    2, 3, 5,       /* bin 8, 16, 32 */
    3, 4, 6,       /* ext 8, 16, 32 */
    5, 9,          /* float 32, 64 */
    2, 3, 5, 9,    /* uint 8 … 64 */
    2, 3, 5, 9,    /* int 8 … 64 */
    2, 2, 2, 2, 2, /* fixext 1 … 16 */
    2, 3, 5,       /* str 8, 16, 32 */
    3, 5,          /* array 16, 32 */
    3, 5,          /* map 16, 32 */
};

/* First bytes 0xc0 … 0xdf. */
static int next_long(struct isola_mp_reader *r, struct isola_mp_item *out)
{
    const uint8_t *p = r->p;
    size_t size = header_size[*p - 0xc0];
    if (size == 0 || (size_t)(r->end - p) < size)
        return ISOLA_EPROTO;
    switch (*p) {
    case 0xc4:
        return take_bytes(r, size, ISOLA_MP_BIN, p[1], out);
    case 0xc5:
        return take_bytes(r, size, ISOLA_MP_BIN, get16(p + 1), out);
    case 0xc6:
        return take_bytes(r, size, ISOLA_MP_BIN, get32(p + 1), out);
    case 0xc7:
        return take_ext(r, size, p[1], out);
    case 0xc8:
        return take_ext(r, size, get16(p + 1), out);
    case 0xc9:
        return take_ext(r, size, get32(p + 1), out);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_ext(r, size, (size_t)1 << (*p - 0xd4), out);
    case 0xd9:
        return take_bytes(r, size, ISOLA_MP_STR, p[1], out);
    case 0xda:
        return take_bytes(r, size, ISOLA_MP_STR, get16(p + 1), out);
    case 0xdb:
        return take_bytes(r, size, ISOLA_MP_STR, get32(p + 1), out);
    case 0xdc:
        return take_count(r, size, ISOLA_MP_ARRAY, get16(p + 1), out);
    case 0xdd:
        return take_count(r, size, ISOLA_MP_ARRAY, get32(p + 1), out);
    case 0xde:
        return take_count(r, size, ISOLA_MP_MAP, get16(p + 1), out);
    case 0xdf:
        return take_count(r, size, ISOLA_MP_MAP, get32(p + 1), out);
    default:
        break;
    }

    r->p += size;
    switch (*p) {
    case 0xc0:
        out->type = ISOLA_MP_NIL;
        return 0;
    case 0xc2:
    case 0xc3:
        out->type = ISOLA_MP_BOOL;
        out->b = *p == 0xc3;
        return 0;
    case 0xca: {
        uint32_t bits = get32(p + 1);
        float f;
        memcpy(&f, &bits, sizeof(f));
        out->type = ISOLA_MP_DOUBLE;
        out->d = (double)f;
        return 0;
    }
    case 0xcb: {
        uint64_t bits = get64(p + 1);
        out->type = ISOLA_MP_DOUBLE;
        memcpy(&out->d, &bits, sizeof(out->d));
        return 0;
    }
    case 0xcc:
        return take_uint(out, p[1]);
    case 0xcd:
        return take_uint(out, get16(p + 1));
    case 0xce:
        return take_uint(out, get32(p + 1));
    case 0xcf:
        return take_uint(out, get64(p + 1));
    case 0xd0:
        return take_int(out, (int8_t)p[1]);
    case 0xd1:
        return take_int(out, (int16_t)get16(p + 1));
    case 0xd2:
        return take_int(out, (int32_t)get32(p + 1));
    default: /* 0xd3 */
        return take_int(out, (int64_t)get64(p + 1));
    }
}

static inline int next(struct isola_mp_reader *r, struct isola_mp_item *out)
{
    if (r->p == r->end)
        return ISOLA_EPROTO;
    uint8_t first = *r->p;
    if (first < 0x80) {
        r->p++;
        return take_uint(out, first);
    }
    if (first >= 0xe0) {
        r->p++;
        return take_int(out, (int8_t)first);
    }
    if (first >= 0xc0)
        return next_long(r, out);
    if (first >= 0xa0)
        return take_bytes(r, 1, ISOLA_MP_STR, first & 0x1f, out);
    return take_count(r, 1, first >= 0x90 ? ISOLA_MP_ARRAY : ISOLA_MP_MAP, first & 0x0f, out);
}

int isola_mp_next(struct isola_mp_reader *r, struct isola_mp_item *out)
{
    return next(r, out);
}

bool isola_mp_take(struct isola_mp_reader *r, enum isola_mp_type type, struct isola_mp_item *out)
{
    return next(r, out) == 0 && out->type == type;
}

bool isola_mp_take_bytes(struct isola_mp_reader *r, void *to, size_t n)
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_BIN, &item) || item.bytes.len != n)
        return false;
    memcpy(to, item.bytes.data, n);
    return true;
}

/* Counts the items still owed instead of recursing. Each is a byte at least, so owing more than is
 * left ends it early, which also bounds the sum of nested counts. */
static inline int skip(struct isola_mp_reader *r, struct isola_slice *whole)
{
    struct isola_mp_reader at = *r;
    struct isola_mp_item item;
    uint64_t owed = 1;
    do {
        if (next(&at, &item) != 0)
            return ISOLA_EPROTO;
        owed--;
        if (item.type == ISOLA_MP_ARRAY)
            owed += item.n;
        else if (item.type == ISOLA_MP_MAP)
            owed += 2 * (uint64_t)item.n;
        if (owed > (uint64_t)(at.end - at.p))
            return ISOLA_EPROTO;
    } while (owed > 0);
    if (whole != NULL)
        *whole = isola_slice(r->p, (size_t)(at.p - r->p));
    *r = at;
    return 0;
}

int isola_mp_skip(struct isola_mp_reader *r, struct isola_slice *whole)
{
    return skip(r, whole);
}

static size_t put_utf8(uint8_t *p, uint32_t c)
{
    if (c < 0x80) {
        p[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        p[0] = (uint8_t)(0xc0 | c >> 6);
        p[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xe0 | c >> 12);
        p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        p[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    p[0] = (uint8_t)(0xf0 | c >> 18);
    p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    p[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

bool isola_mp_units(struct isola_slice payload, struct isola_slice *units)
{
    bool padded = payload.len % 2 != 0;
    if (padded && payload.data[0] != 0)
        return false;
    *units = isola_slice(payload.data + padded, payload.len - padded);
    return true;
}

bool isola_mp_utf8(const struct isola_mp_item *item, struct isola_buf *out)
{
    struct isola_slice text = item->bytes;
    if (item->type == ISOLA_MP_STR) {
        isola_buf_append(out, text.data, text.len);
        return true;
    }
    if (item->type != ISOLA_MP_EXT ||
        (item->ext != ISOLA_EXT_LATIN1 &&
         (item->ext != ISOLA_EXT_UTF16 || !isola_mp_units(item->bytes, &text))))
        return false;
    const uint8_t *p = text.data;
    size_t n = text.len;
    size_t begun = out->len;
    size_t most = item->ext == ISOLA_EXT_LATIN1 ? 2 * n : n / 2 * 3;
    uint8_t *to = isola_buf_extend(out, most);
    if (to == NULL)
        return true;
    if (item->ext == ISOLA_EXT_LATIN1) {
        for (size_t i = 0; i < n; i++)
            to += put_utf8(to, p[i]);
    } else {
        for (size_t i = 0; i < n; i += 2) {
            uint32_t c = (uint32_t)(p[i] | p[i + 1] << 8);
            if ((c & 0xf800) == 0xd800) {
                uint32_t low = c < 0xdc00 && i + 3 < n ? (uint32_t)(p[i + 2] | p[i + 3] << 8) : 0;
                bool pair = (low & 0xfc00) == 0xdc00;
                c = pair ? 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff) : 0xfffd;
                i += pair ? 2 : 0;
            }
            to += put_utf8(to, c);
        }
    }
    out->len = (size_t)(to - out->data);
    ISOLA_CHECK(out->len <= begun + most);
    return true;
}

bool isola_mp_find(struct isola_slice map, const char *key, struct isola_slice *value)
{
    struct isola_mp_reader r = isola_mp_reader(map);
    struct isola_mp_item item;
    struct isola_slice wanted = isola_slice_str(key);
    if (next(&r, &item) != 0 || item.type != ISOLA_MP_MAP)
        return false;
    for (uint32_t n = item.n; n > 0; n--) {
        struct isola_mp_reader at_key = r;
        if (skip(&r, NULL) != 0)
            return false;
        bool found = next(&at_key, &item) == 0 && item.type == ISOLA_MP_STR &&
                     isola_slice_eq(item.bytes, wanted);
        if (skip(&r, found ? value : NULL) != 0)
            return false;
        if (found)
            return true;
    }
    return false;
}

static bool find_item(struct isola_slice map, const char *key, enum isola_mp_type type,
                      struct isola_mp_item *item)
{
    struct isola_slice value;
    if (!isola_mp_find(map, key, &value))
        return false;
    struct isola_mp_reader r = isola_mp_reader(value);
    return next(&r, item) == 0 && item->type == type;
}

bool isola_mp_find_str(struct isola_slice map, const char *key, struct isola_slice *out)
{
    struct isola_mp_item item;
    if (!find_item(map, key, ISOLA_MP_STR, &item))
        return false;
    *out = item.bytes;
    return true;
}

bool isola_mp_find_bin(struct isola_slice map, const char *key, struct isola_slice *out)
{
    struct isola_mp_item item;
    if (!find_item(map, key, ISOLA_MP_BIN, &item))
        return false;
    *out = item.bytes;
    return true;
}

bool isola_mp_find_uint(struct isola_slice map, const char *key, uint64_t *out)
{
    struct isola_mp_item item;
    if (!find_item(map, key, ISOLA_MP_UINT, &item))
        return false;
    *out = item.u;
    return true;
}

bool isola_mp_find_bool(struct isola_slice map, const char *key, bool *out)
{
    struct isola_mp_item item;
    if (!find_item(map, key, ISOLA_MP_BOOL, &item))
        return false;
    *out = item.b;
    return true;
}

bool isola_mp_at(struct isola_slice array, size_t i, struct isola_slice *value)
{
    struct isola_mp_reader r = isola_mp_reader(array);
    struct isola_mp_item item;
    if (next(&r, &item) != 0 || item.type != ISOLA_MP_ARRAY || i >= item.n)
        return false;
    while (i-- > 0)
        if (skip(&r, NULL) != 0)
            return false;
    return skip(&r, value) == 0;
}

size_t isola_mp_count(struct isola_slice array)
{
    struct isola_mp_reader r = isola_mp_reader(array);
    struct isola_mp_item item;
    return next(&r, &item) == 0 && item.type == ISOLA_MP_ARRAY ? item.n : 0;
}

bool isola_mp_read_error(struct isola_slice value, struct isola_mp_error *out)
{
    struct isola_mp_reader r = isola_mp_reader(value);
    struct isola_mp_item item;
    if (next(&r, &item) != 0 || item.type != ISOLA_MP_EXT || item.ext != ISOLA_EXT_ERROR ||
        r.p != r.end)
        return false;

    r = isola_mp_reader(item.bytes);
    if (next(&r, &item) != 0 || item.type != ISOLA_MP_MAP)
        return false;
    struct isola_mp_error e = {.code = ISOLA_ESCRIPT};
    for (uint32_t n = item.n; n > 0; n--) {
        struct isola_slice key, whole;
        if (next(&r, &item) != 0 || item.type != ISOLA_MP_STR)
            return false;
        key = item.bytes;
        if (skip(&r, &whole) != 0)
            return false;
        if (isola_slice_is(key, "cause"))
            e.cause = whole;
        struct isola_mp_reader at_value = isola_mp_reader(whole);
        if (next(&at_value, &item) != 0 || item.type != ISOLA_MP_STR)
            continue; /* a numeric code */
        if (isola_slice_is(key, "name"))
            e.name = item.bytes;
        else if (isola_slice_is(key, "message"))
            e.message = item.bytes;
        else if (isola_slice_is(key, "stack"))
            e.stack = item.bytes;
        else if (isola_slice_is(key, "code"))
            e.code_name = item.bytes;
    }
    if (r.p != r.end)
        return false;
    int code = isola_error_code((const char *)e.code_name.data, e.code_name.len);
    if (code != 0)
        e.code = code;
    *out = e;
    return true;
}
