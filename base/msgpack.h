/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and writing msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), item by
 * item.
 *
 * The writer appends to an isola_buf and always takes the shortest form. The reader is a cursor
 * over borrowed bytes: it never allocates, never reads past the end, and gives strings and payloads
 * as slices of the input. What the extension types mean is said in docs/wire.md.
 */
#ifndef ISOLA_BASE_MSGPACK_H
#define ISOLA_BASE_MSGPACK_H

#include "base/buf.h"
#include "base/error.h"

ISOLA_BEGIN_C

/* Extension types of values (docs/wire.md). The numbers are the wire format. */
enum isola_ext {
    ISOLA_EXT_UNDEFINED = 1,
    ISOLA_EXT_BIGINT = 2,
    ISOLA_EXT_DATE = 3,
    ISOLA_EXT_MAP = 4,
    ISOLA_EXT_SET = 5,
    ISOLA_EXT_REGEXP = 6,
    ISOLA_EXT_ERROR = 7,
    ISOLA_EXT_TYPED_ARRAY = 8,
    ISOLA_EXT_BACKREF = 9,
    ISOLA_EXT_REF = 10,
    ISOLA_EXT_ARRAY_BUFFER = 11,
    ISOLA_EXT_LATIN1 = 12, /* strings as V8 has them: a byte for each unit, */
    ISOLA_EXT_UTF16 = 13,  /* two, little-endian; isola_mp_units */
    ISOLA_EXT_STREAM = 14,
    ISOLA_EXT_MARK = 15, /* no value: in front of a state, who has written it */
};
/* From so many units on a string that is not ASCII is sent as one of these, and as UTF-16 only when
 * so many of its first ones do not take less as UTF-8. */
#define ISOLA_TEXT_LONG  64
#define ISOLA_TEXT_TRIED 128
/* From so many on, one with all units below U+0100 is sent as ISOLA_EXT_LATIN1 without a look at
 * whether it is ASCII. No address is as long. */
#define ISOLA_TEXT_UNREAD 1024

/* From so many bytes of args on they are put where a receiver may leave them (docs/wire.md). */
#define ISOLA_VALUES_LARGE (32u << 10)

/* Element kinds of ISOLA_EXT_TYPED_ARRAY. Uint8Array itself travels as msgpack bin. */
enum isola_typed_array {
    ISOLA_TA_INT8 = 1,
    ISOLA_TA_UINT8_CLAMPED = 2,
    ISOLA_TA_INT16 = 3,
    ISOLA_TA_UINT16 = 4,
    ISOLA_TA_INT32 = 5,
    ISOLA_TA_UINT32 = 6,
    ISOLA_TA_FLOAT32 = 7,
    ISOLA_TA_FLOAT64 = 8,
    ISOLA_TA_BIGINT64 = 9,
    ISOLA_TA_BIGUINT64 = 10,
    ISOLA_TA_DATA_VIEW = 11,
    ISOLA_TA_FLOAT16 = 12,
};

/* How deep values may nest; deeper ones are refused by writer and reader alike. */
#define ISOLA_VALUE_DEPTH 200

/* --- writing --- */

ANY_THREAD void isola_mp_nil(struct isola_buf *b);
ANY_THREAD void isola_mp_bool(struct isola_buf *b, bool v);
ANY_THREAD void isola_mp_uint(struct isola_buf *b, uint64_t v);
ANY_THREAD void isola_mp_int(struct isola_buf *b, int64_t v);
ANY_THREAD void isola_mp_double(struct isola_buf *b, double v);
/* Headers: the caller appends `n` bytes, `n` items, or 2 * `n` items after it. */
ANY_THREAD void isola_mp_str_header(struct isola_buf *b, size_t n);
ANY_THREAD void isola_mp_bin_header(struct isola_buf *b, size_t n);
ANY_THREAD void isola_mp_array(struct isola_buf *b, size_t n);
ANY_THREAD void isola_mp_map(struct isola_buf *b, size_t n);
ANY_THREAD void isola_mp_str(struct isola_buf *b, struct isola_slice s);
ANY_THREAD void isola_mp_cstr(struct isola_buf *b, const char *s); /* NULL writes nil */
ANY_THREAD void isola_mp_bin(struct isola_buf *b, struct isola_slice s);
ANY_THREAD void isola_mp_ext(struct isola_buf *b, enum isola_ext type, struct isola_slice payload);
/* An extension whose length is not known yet: begin, append the payload, end with what begin
 * returned. */
ANY_THREAD size_t isola_mp_ext_begin(struct isola_buf *b, enum isola_ext type);
ANY_THREAD void isola_mp_ext_end(struct isola_buf *b, size_t begun);
/* The same for a str. */
ANY_THREAD size_t isola_mp_str_begin(struct isola_buf *b);
ANY_THREAD void isola_mp_str_end(struct isola_buf *b, size_t begun);
/* key and value of a map entry */
ANY_THREAD void isola_mp_kstr(struct isola_buf *b, const char *key, const char *value);
ANY_THREAD void isola_mp_kuint(struct isola_buf *b, const char *key, uint64_t value);
ANY_THREAD void isola_mp_kbool(struct isola_buf *b, const char *key, bool value);

/* An Error value (docs/wire.md) with name "Error", the code's name, `message` and, unless NULL,
 * `stack`. */
ANY_THREAD void isola_mp_error(struct isola_buf *b, int code, const char *message,
                               const char *stack);

/* --- reading --- */

enum isola_mp_type {
    ISOLA_MP_NIL,
    ISOLA_MP_BOOL,
    ISOLA_MP_UINT, /* `u`; every integer >= 0 */
    ISOLA_MP_INT,  /* `i`; every integer < 0 */
    ISOLA_MP_DOUBLE,
    ISOLA_MP_STR,   /* `bytes` */
    ISOLA_MP_BIN,   /* `bytes` */
    ISOLA_MP_EXT,   /* `bytes`, `ext` */
    ISOLA_MP_ARRAY, /* `n` items follow */
    ISOLA_MP_MAP,   /* 2 * `n` items follow */
};

struct isola_mp_item {
    enum isola_mp_type type;
    int8_t ext;
    union {
        bool b;
        uint64_t u;
        int64_t i;
        double d;
        uint32_t n;
    };
    struct isola_slice bytes;
};

struct isola_mp_reader {
    const uint8_t *p;
    const uint8_t *end;
};

static inline struct isola_mp_reader isola_mp_reader(struct isola_slice s)
{
    return (struct isola_mp_reader){s.data, s.data + s.len};
}
/* The next item (for arrays and maps the header alone). ISOLA_EPROTO: malformed or cut off; an
 * array or map that claims more items than bytes are left is refused here, so counts may be trusted
 * for allocation. */
ANY_THREAD ISOLA_MUST_USE int isola_mp_next(struct isola_mp_reader *r, struct isola_mp_item *out);
/* Is its payload values, one after the other (Map, Set, Error)? */
static inline bool isola_mp_holds_values(const struct isola_mp_item *item)
{
    return item->type == ISOLA_MP_EXT &&
           (item->ext == ISOLA_EXT_MAP || item->ext == ISOLA_EXT_SET ||
            item->ext == ISOLA_EXT_ERROR);
}
/* For what is read strictly: the next item, if it is of this type; a bin of just `n` bytes, copied
 * to `to`. False: it is not, or malformed. */
ANY_THREAD bool isola_mp_take(struct isola_mp_reader *r, enum isola_mp_type type,
                              struct isola_mp_item *out);
ANY_THREAD bool isola_mp_take_bytes(struct isola_mp_reader *r, void *to, size_t n);
/* Skips one whole value; `whole`, unless NULL, gets its bytes. Does not recurse. */
ANY_THREAD ISOLA_MUST_USE int isola_mp_skip(struct isola_mp_reader *r, struct isola_slice *whole);

/* The units of an ISOLA_EXT_UTF16: a byte before them, 0, may have brought them to an even place.
 * False: it is malformed. */
ANY_THREAD bool isola_mp_units(struct isola_slice payload, struct isola_slice *units);
/* Appends a string, whichever of its forms it came in, as UTF-8, half a surrogate pair as U+FFFD.
 * False: it is no string, nothing was appended. */
ANY_THREAD bool isola_mp_utf8(const struct isola_mp_item *item, struct isola_buf *out);

/* Looks up a string key in a value that should be a map: true when found, with the value's whole
 * bytes. False also when `map` is no map or malformed. */
ANY_THREAD bool isola_mp_find(struct isola_slice map, const char *key, struct isola_slice *value);
/* As above, decoded; false when missing or of another type. Strings are slices of the input. */
ANY_THREAD bool isola_mp_find_str(struct isola_slice map, const char *key, struct isola_slice *out);
ANY_THREAD bool isola_mp_find_bin(struct isola_slice map, const char *key, struct isola_slice *out);
ANY_THREAD bool isola_mp_find_uint(struct isola_slice map, const char *key, uint64_t *out);
ANY_THREAD bool isola_mp_find_bool(struct isola_slice map, const char *key, bool *out);
/* Element `i` of a value that should be an array, whole. */
ANY_THREAD bool isola_mp_at(struct isola_slice array, size_t i, struct isola_slice *value);
/* The number of elements of a value that should be an array; 0 when it is none. */
ANY_THREAD size_t isola_mp_count(struct isola_slice array);
/* Reads an Error value: code (ISOLA_ESCRIPT when its name is not ours), message, stack and the
 * code's own name. Slices of the input, empty when missing. False when `value` is no Error. */
struct isola_mp_error {
    int code;
    struct isola_slice name, code_name, message, stack;
    struct isola_slice cause; /* a whole value, of any kind */
};
ANY_THREAD bool isola_mp_read_error(struct isola_slice value, struct isola_mp_error *out);

ISOLA_END_C

#endif
