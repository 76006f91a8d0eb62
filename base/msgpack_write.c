/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing msgpack: the exact size of an item is reserved once, then filled. What is made is the
 * shortest form. A length msgpack cannot express, and no memory, leave the buffer `failed`.
 */
#include "base/msgpack.h"

#include <endian.h>

/* The bytes of the largest header: type byte, 32-bit length, and the type of an extension. */
#define EXT_ROOM 6
#define STR_ROOM 5

static inline void put16(uint8_t *p, uint16_t v)
{
    v = htobe16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void put64(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
}

static inline void write0(struct isola_buf *b, uint8_t tag)
{
    uint8_t *p = isola_buf_extend(b, 1);
    if (p != NULL)
        *p = tag;
}

static inline void write8(struct isola_buf *b, uint8_t tag, uint8_t v)
{
    uint8_t *p = isola_buf_extend(b, 2);
    if (p != NULL) {
        p[0] = tag;
        p[1] = v;
    }
}

static inline void write16(struct isola_buf *b, uint8_t tag, uint16_t v)
{
    uint8_t *p = isola_buf_extend(b, 3);
    if (p != NULL) {
        p[0] = tag;
        put16(p + 1, v);
    }
}

static inline void write32(struct isola_buf *b, uint8_t tag, uint32_t v)
{
    uint8_t *p = isola_buf_extend(b, 5);
    if (p != NULL) {
        p[0] = tag;
        put32(p + 1, v);
    }
}

static inline void write64(struct isola_buf *b, uint8_t tag, uint64_t v)
{
    uint8_t *p = isola_buf_extend(b, 9);
    if (p != NULL) {
        p[0] = tag;
        put64(p + 1, v);
    }
}

/* A length that msgpack cannot express: the buffer is not to be used. */
static inline bool fits32(struct isola_buf *b, size_t n)
{
    if (__builtin_expect(n > UINT32_MAX, 0)) {
        b->failed = true;
        return false;
    }
    return true;
}

void isola_mp_nil(struct isola_buf *b)
{
    write0(b, 0xc0);
}

void isola_mp_bool(struct isola_buf *b, bool v)
{
    write0(b, v ? 0xc3 : 0xc2);
}

void isola_mp_uint(struct isola_buf *b, uint64_t v)
{
    if (v < 0x80)
        write0(b, (uint8_t)v);
    else if (v <= UINT8_MAX)
        write8(b, 0xcc, (uint8_t)v);
    else if (v <= UINT16_MAX)
        write16(b, 0xcd, (uint16_t)v);
    else if (v <= UINT32_MAX)
        write32(b, 0xce, (uint32_t)v);
    else
        write64(b, 0xcf, v);
}

void isola_mp_int(struct isola_buf *b, int64_t v)
{
    if (v >= 0)
        isola_mp_uint(b, (uint64_t)v);
    else if (v >= -32)
        write0(b, (uint8_t)v);
    else if (v >= INT8_MIN)
        write8(b, 0xd0, (uint8_t)v);
    else if (v >= INT16_MIN)
        write16(b, 0xd1, (uint16_t)v);
    else if (v >= INT32_MIN)
        write32(b, 0xd2, (uint32_t)v);
    else
        write64(b, 0xd3, (uint64_t)v);
}

void isola_mp_double(struct isola_buf *b, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    write64(b, 0xcb, bits);
}

void isola_mp_str_header(struct isola_buf *b, size_t n)
{
    if (n < 32)
        write0(b, (uint8_t)(0xa0 | n));
    else if (n <= UINT8_MAX)
        write8(b, 0xd9, (uint8_t)n);
    else if (n <= UINT16_MAX)
        write16(b, 0xda, (uint16_t)n);
    else if (fits32(b, n))
        write32(b, 0xdb, (uint32_t)n);
}

void isola_mp_bin_header(struct isola_buf *b, size_t n)
{
    if (n <= UINT8_MAX)
        write8(b, 0xc4, (uint8_t)n);
    else if (n <= UINT16_MAX)
        write16(b, 0xc5, (uint16_t)n);
    else if (fits32(b, n))
        write32(b, 0xc6, (uint32_t)n);
}

void isola_mp_array(struct isola_buf *b, size_t n)
{
    if (n < 16)
        write0(b, (uint8_t)(0x90 | n));
    else if (n <= UINT16_MAX)
        write16(b, 0xdc, (uint16_t)n);
    else if (fits32(b, n))
        write32(b, 0xdd, (uint32_t)n);
}

void isola_mp_map(struct isola_buf *b, size_t n)
{
    if (n < 16)
        write0(b, (uint8_t)(0x80 | n));
    else if (n <= UINT16_MAX)
        write16(b, 0xde, (uint16_t)n);
    else if (fits32(b, n))
        write32(b, 0xdf, (uint32_t)n);
}

void isola_mp_str(struct isola_buf *b, struct isola_slice s)
{
    isola_mp_str_header(b, s.len);
    isola_buf_append(b, s.data, s.len);
}

void isola_mp_cstr(struct isola_buf *b, const char *s)
{
    if (s == NULL)
        isola_mp_nil(b);
    else
        isola_mp_str(b, isola_slice_str(s));
}

void isola_mp_bin(struct isola_buf *b, struct isola_slice s)
{
    isola_mp_bin_header(b, s.len);
    isola_buf_append(b, s.data, s.len);
}

/* Writes the shortest header of an extension of `n` bytes to `p` (EXT_ROOM bytes) and returns its
 * size. */
static size_t ext_header(uint8_t *p, int8_t type, uint32_t n)
{
    switch (n) {
    case 1:
        p[0] = 0xd4;
        break;
    case 2:
        p[0] = 0xd5;
        break;
    case 4:
        p[0] = 0xd6;
        break;
    case 8:
        p[0] = 0xd7;
        break;
    case 16:
        p[0] = 0xd8;
        break;
    default:
        if (n <= UINT8_MAX) {
            p[0] = 0xc7;
            p[1] = (uint8_t)n;
            p[2] = (uint8_t)type;
            return 3;
        }
        if (n <= UINT16_MAX) {
            p[0] = 0xc8;
            put16(p + 1, (uint16_t)n);
            p[3] = (uint8_t)type;
            return 4;
        }
        p[0] = 0xc9;
        put32(p + 1, n);
        p[5] = (uint8_t)type;
        return EXT_ROOM;
    }
    p[1] = (uint8_t)type;
    return 2;
}

void isola_mp_ext(struct isola_buf *b, enum isola_ext type, struct isola_slice payload)
{
    uint8_t header[EXT_ROOM];
    if (!fits32(b, payload.len))
        return;
    isola_buf_append(b, header, ext_header(header, (int8_t)type, (uint32_t)payload.len));
    isola_buf_append(b, payload.data, payload.len);
}

/* Room for the largest header, so that only short payloads have to be moved when the length is
 * known. */
size_t isola_mp_ext_begin(struct isola_buf *b, enum isola_ext type)
{
    size_t begun = b->len;
    uint8_t *p = isola_buf_extend(b, EXT_ROOM);
    if (p != NULL)
        p[EXT_ROOM - 1] = (uint8_t)type;
    return begun;
}

void isola_mp_ext_end(struct isola_buf *b, size_t begun)
{
    if (b->failed || !fits32(b, b->len - begun - EXT_ROOM))
        return;
    uint8_t *p = b->data + begun;
    size_t n = b->len - begun - EXT_ROOM;
    size_t size = ext_header(p, (int8_t)p[EXT_ROOM - 1], (uint32_t)n);
    if (size != EXT_ROOM && n != 0)
        memmove(p + size, p + EXT_ROOM, n);
    b->len = begun + size + n;
}

size_t isola_mp_str_begin(struct isola_buf *b)
{
    size_t begun = b->len;
    (void)isola_buf_extend(b, STR_ROOM);
    return begun;
}

void isola_mp_str_end(struct isola_buf *b, size_t begun)
{
    if (b->failed || !fits32(b, b->len - begun - STR_ROOM))
        return;
    uint8_t *p = b->data + begun;
    size_t n = b->len - begun - STR_ROOM;
    b->len = begun;
    isola_mp_str_header(b, n); /* there is room */
    memmove(b->data + b->len, p + STR_ROOM, n);
    b->len += n;
}

void isola_mp_kstr(struct isola_buf *b, const char *key, const char *value)
{
    isola_mp_cstr(b, key);
    isola_mp_cstr(b, value);
}

void isola_mp_kuint(struct isola_buf *b, const char *key, uint64_t value)
{
    isola_mp_cstr(b, key);
    isola_mp_uint(b, value);
}

void isola_mp_kbool(struct isola_buf *b, const char *key, bool value)
{
    isola_mp_cstr(b, key);
    isola_mp_bool(b, value);
}

void isola_mp_error(struct isola_buf *b, int code, const char *message, const char *stack)
{
    size_t begun = isola_mp_ext_begin(b, ISOLA_EXT_ERROR);
    isola_mp_map(b, stack != NULL ? 4 : 3);
    isola_mp_kstr(b, "name", "Error");
    isola_mp_kstr(b, "message", message != NULL ? message : isola_error_text(code));
    if (stack != NULL)
        isola_mp_kstr(b, "stack", stack);
    isola_mp_kstr(b, "code", isola_error_name(code));
    isola_mp_ext_end(b, begun);
}
