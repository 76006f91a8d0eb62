/* SPDX-License-Identifier: Apache-2.0
 *
 * base/msgpack: what is skipped as a whole can be read item by item, is written again as the same
 * items, and is msgpack to msgpack-c too.
 */
#include "base/msgpack.h"

#include <msgpack.h>

#include "tests/fuzz/fuzz.h"

static void write_item(struct isola_buf *b, const struct isola_mp_item *item)
{
    switch (item->type) {
    case ISOLA_MP_NIL:
        isola_mp_nil(b);
        break;
    case ISOLA_MP_BOOL:
        isola_mp_bool(b, item->b);
        break;
    case ISOLA_MP_UINT:
        isola_mp_uint(b, item->u);
        break;
    case ISOLA_MP_INT:
        isola_mp_int(b, item->i);
        break;
    case ISOLA_MP_DOUBLE:
        isola_mp_double(b, item->d);
        break;
    case ISOLA_MP_STR:
        isola_mp_str(b, item->bytes);
        break;
    case ISOLA_MP_BIN:
        isola_mp_bin(b, item->bytes);
        break;
    case ISOLA_MP_EXT:
        isola_mp_ext(b, (enum isola_ext)item->ext, item->bytes);
        break;
    case ISOLA_MP_ARRAY:
        isola_mp_array(b, item->n);
        break;
    case ISOLA_MP_MAP:
        isola_mp_map(b, item->n);
        break;
    }
}

static bool has_bytes(const struct isola_mp_item *item)
{
    return item->type == ISOLA_MP_STR || item->type == ISOLA_MP_BIN || item->type == ISOLA_MP_EXT;
}

static void same(const struct isola_mp_item *a, const struct isola_mp_item *b)
{
    ISOLA_CHECK(a->type == b->type);
    if (has_bytes(a))
        ISOLA_CHECK(isola_slice_eq(a->bytes, b->bytes));
    if (a->type == ISOLA_MP_EXT)
        ISOLA_CHECK(a->ext == b->ext);
    else if (a->type == ISOLA_MP_BOOL)
        ISOLA_CHECK(a->b == b->b);
    else if (a->type == ISOLA_MP_ARRAY || a->type == ISOLA_MP_MAP)
        ISOLA_CHECK(a->n == b->n);
    else if (a->type == ISOLA_MP_UINT || a->type == ISOLA_MP_INT)
        ISOLA_CHECK(a->u == b->u);
    else if (a->type == ISOLA_MP_DOUBLE)
        ISOLA_CHECK(a->d == b->d || (a->d != a->d && b->d != b->d));
}

/* One whole value. */
static void walk(struct isola_slice value)
{
    struct isola_mp_reader r = isola_mp_reader(value);
    struct isola_mp_item item;
    struct isola_buf again = {0};
    for (uint64_t left = 1; left > 0; left--) {
        ISOLA_CHECK(isola_mp_next(&r, &item) == 0);
        ISOLA_CHECK(!has_bytes(&item) || fuzz_within(item.bytes, value));
        if (item.type == ISOLA_MP_ARRAY)
            left += item.n;
        else if (item.type == ISOLA_MP_MAP)
            left += 2 * (uint64_t)item.n;
        write_item(&again, &item);
    }
    ISOLA_CHECK(r.p == r.end);
    ISOLA_CHECK(!again.failed && again.len <= value.len + value.len); /* floats become doubles */

    struct isola_mp_reader first = isola_mp_reader(value);
    struct isola_mp_reader second = isola_mp_reader(isola_buf_slice(&again));
    while (first.p != first.end) {
        struct isola_mp_item copy;
        ISOLA_CHECK(isola_mp_next(&first, &item) == 0 && isola_mp_next(&second, &copy) == 0);
        same(&item, &copy);
    }
    ISOLA_CHECK(second.p == second.end);
    isola_buf_free(&again);
}

/* Nests it so deep that msgpack-c gives up, then its opinion does not count. */
static void ask_another(struct isola_slice value)
{
    msgpack_unpacked theirs;
    size_t at = 0;
    msgpack_unpacked_init(&theirs);
    msgpack_unpack_return rc =
        msgpack_unpack_next(&theirs, (const char *)value.data, value.len, &at);
    ISOLA_CHECK(rc == MSGPACK_UNPACK_NOMEM_ERROR ||
                (rc == MSGPACK_UNPACK_SUCCESS && at == value.len));
    msgpack_unpacked_destroy(&theirs);
}

static void look_up(struct isola_slice value, bool whole)
{
    struct isola_slice found;
    struct isola_mp_error e;
    uint64_t u;
    bool b;
    if (isola_mp_find(value, "code", &found))
        ISOLA_CHECK(fuzz_within(found, value) && found.len > 0);
    if (isola_mp_find_str(value, "name", &found))
        ISOLA_CHECK(fuzz_within(found, value));
    if (isola_mp_find_bin(value, "data", &found))
        ISOLA_CHECK(fuzz_within(found, value));
    (void)isola_mp_find_uint(value, "id", &u);
    (void)isola_mp_find_bool(value, "ok", &b);
    size_t n = isola_mp_count(value);
    ISOLA_CHECK(n <= value.len);
    for (size_t i = 0; i < n && i < 20; i++) {
        bool there = isola_mp_at(value, i, &found);
        ISOLA_CHECK(there ? fuzz_within(found, value) : !whole);
    }
    ISOLA_CHECK(!isola_mp_at(value, n, &found));
    if (isola_mp_read_error(value, &e))
        ISOLA_CHECK(fuzz_within(e.name, value) && fuzz_within(e.code_name, value) &&
                    fuzz_within(e.message, value) && fuzz_within(e.stack, value) &&
                    fuzz_within(e.cause, value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct isola_mp_reader r = isola_mp_reader(isola_slice(data, size));
    struct isola_slice value;
    look_up(isola_slice(data, size), false);
    while (r.p != r.end) {
        const uint8_t *start = r.p;
        if (isola_mp_skip(&r, &value) != 0)
            break;
        ISOLA_CHECK(r.p > start && r.p <= r.end);
        ISOLA_CHECK(value.data == start && value.data + value.len == r.p);
        walk(value);
        ask_another(value);
        look_up(value, true);
    }
    return 0;
}
