/* SPDX-License-Identifier: Apache-2.0 */
#include "base/kept.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"

bool isola_kept_beyond(const struct isola_kept_after *after, const struct isola_kept *row)
{
    if (row->part != after->part)
        return row->part > after->part;
    int is = isola_slice_order(row->peer, after->peer);
    return is != 0 ? is > 0 : row->seq > after->seq;
}

void isola_kept_add(struct isola_kept_rows *rows, const struct isola_kept *row)
{
    if (rows->n == rows->cap) {
        rows->cap = rows->cap > 0 ? rows->cap * 2 : 4;
        rows->row = isola_realloc(rows->row, rows->cap * sizeof(*rows->row));
    }
    struct isola_kept *r = &rows->row[rows->n++];
    uint8_t *bytes = isola_alloc(row->peer.len + row->value.len + 1);
    if (row->peer.len > 0)
        memcpy(bytes, row->peer.data, row->peer.len);
    if (row->value.len > 0)
        memcpy(bytes + row->peer.len, row->value.data, row->value.len);
    *r = *row;
    r->peer = isola_slice(bytes, row->peer.len);
    r->value = isola_slice(bytes + row->peer.len, row->value.len);
    rows->bytes += row->peer.len + row->value.len;
}

void isola_kept_copy(struct isola_kept_rows *to, const struct isola_kept *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        isola_kept_add(to, &rows[i]);
}

void isola_kept_free(struct isola_kept_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        free((void *)(uintptr_t)rows->row[i].peer.data); /* both slices are in one */
    free(rows->row);
    *rows = (struct isola_kept_rows){0};
}

void isola_kept_write(struct isola_buf *out, const struct isola_kept *rows, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += !rows[i].gone;
    isola_mp_array(out, count);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].gone)
            continue;
        isola_mp_array(out, 4);
        isola_mp_uint(out, rows[i].part);
        isola_mp_str(out, rows[i].peer);
        isola_mp_uint(out, rows[i].seq);
        isola_mp_bin(out, rows[i].value);
    }
}

static bool read_row(struct isola_mp_reader *r, struct isola_kept *row)
{
    struct isola_mp_item item;
    if (isola_mp_next(r, &item) != 0 || item.type != ISOLA_MP_ARRAY || item.n != 4 ||
        isola_mp_next(r, &item) != 0 || item.type != ISOLA_MP_UINT || item.u < ISOLA_KEPT_SENT ||
        item.u > ISOLA_KEPT_LAST)
        return false;
    *row = (struct isola_kept){.part = (uint8_t)item.u};
    if (isola_mp_next(r, &item) != 0 || item.type != ISOLA_MP_STR)
        return false;
    row->peer = item.bytes;
    if (isola_mp_next(r, &item) != 0 || item.type != ISOLA_MP_UINT || item.u > INT64_MAX)
        return false;
    row->seq = item.u;
    if (isola_mp_next(r, &item) != 0 || item.type != ISOLA_MP_BIN)
        return false;
    row->value = item.bytes;
    return true;
}

bool isola_kept_read(struct isola_slice from, struct isola_kept_rows *out)
{
    struct isola_mp_reader r = isola_mp_reader(from);
    struct isola_mp_item item;
    bool ok = isola_mp_next(&r, &item) == 0 && item.type == ISOLA_MP_ARRAY;
    for (uint32_t n = ok ? item.n : 0; ok && n > 0; n--) {
        struct isola_kept row;
        ok = read_row(&r, &row);
        if (ok)
            isola_kept_add(out, &row);
    }
    ok = ok && r.p == r.end;
    if (!ok)
        isola_kept_free(out);
    return ok;
}
