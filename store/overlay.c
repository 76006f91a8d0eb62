/* SPDX-License-Identifier: Apache-2.0 */
#include "store/overlay.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"

#define BLOCK_BYTES (256u << 10)
/* From so many rows on they are found by their names. */
#define NAMED_FROM 8

/* --- memory that is freed as a whole --- */

struct isola__block {
    struct isola__block *next;
    size_t used, cap;
    max_align_t bytes[];
};

static void *take(struct isola__overlay *p, size_t n)
{
    struct isola__block *b = p->blocks;
    n = (n + 7) & ~(size_t)7;
    if (b == NULL || b->cap - b->used < n) {
        size_t cap = n > BLOCK_BYTES / 4 ? n : BLOCK_BYTES;
        struct isola__block *fresh = isola_alloc(sizeof(*fresh) + cap);
        fresh->used = 0;
        fresh->cap = cap;
        if (b != NULL && cap == n) { /* one of its own: the present one goes on */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            p->blocks = fresh;
        }
        p->bytes += cap;
        b = fresh;
    }
    void *at = (uint8_t *)b->bytes + b->used;
    b->used += n;
    return at;
}

static struct isola_slice copy(struct isola__overlay *p, struct isola_slice s)
{
    if (s.len == 0)
        return isola_slice(NULL, 0);
    void *to = take(p, s.len);
    memcpy(to, s.data, s.len);
    return isola_slice(to, s.len);
}

void isola__overlay_free(struct isola__overlay *p)
{
    for (struct isola__entry *e = p->first; e != NULL; e = e->next)
        if (e->named != NULL) {
            isola_map_free(e->named);
            free(e->named);
        }
    isola_map_free(&p->entries);
    while (p->blocks != NULL) {
        struct isola__block *b = p->blocks;
        p->blocks = b->next;
        free(b);
    }
    *p = (struct isola__overlay){0};
}

/* --- rows --- */

#define NAME_MAX_BYTES 4200 /* a key, part and number; longer ones are never looked up by name */

static struct isola_slice name_of(const struct isola_kept *row, uint8_t out[NAME_MAX_BYTES])
{
    if (row->peer.len > NAME_MAX_BYTES - 9)
        return isola_slice(NULL, 0);
    out[0] = row->part;
    isola_kept_number(out + 1, row->seq);
    if (row->peer.len > 0)
        memcpy(out + 9, row->peer.data, row->peer.len);
    return isola_slice(out, 9 + row->peer.len);
}

static bool same_name(const struct isola_kept *a, const struct isola_kept *b)
{
    return a->part == b->part && a->seq == b->seq && isola_slice_eq(a->peer, b->peer);
}

/* The put of this name that nothing here has removed. */
static struct isola__overlay_row *find_put(const struct isola__entry *e,
                                           const struct isola_kept *wanted)
{
    uint8_t name[NAME_MAX_BYTES];
    if (e->named != NULL) {
        struct isola_slice key = name_of(wanted, name);
        return key.len > 0 ? isola_map_get(e->named, key) : NULL;
    }
    for (struct isola__overlay_row *r = e->rows; r != NULL; r = r->next)
        if (!r->row.gone && same_name(&r->row, wanted))
            return r;
    return NULL;
}

static void forget_names(struct isola__entry *e)
{
    if (e->named != NULL) {
        isola_map_free(e->named);
        free(e->named);
        e->named = NULL;
    }
}

static void name_all(struct isola__entry *e)
{
    uint8_t name[NAME_MAX_BYTES];
    e->named = isola_zalloc(sizeof(*e->named));
    for (struct isola__overlay_row *r = e->rows; r != NULL; r = r->next) {
        struct isola_slice key = name_of(&r->row, name);
        if (key.len > 0)
            isola_map_set(e->named, key, r);
    }
}

static void drop_rows(struct isola__entry *e)
{
    forget_names(e);
    e->rows = NULL;
    e->rows_tail = &e->rows;
    e->nrows = 0;
    e->gone = false;
    e->parts = 0;
}

/* While nothing was removed, a put takes the place of the one before of its name. After that all
 * are in their order. */
static void add_row(struct isola__overlay *p, struct isola__entry *e, const struct isola_kept *row,
                    int64_t written)
{
    struct isola__overlay_row *r = row->gone || e->gone ? NULL : find_put(e, row);
    e->parts |= (uint16_t)(1u << row->part);
    if (r != NULL) {
        if (row->value.len <= r->row.value.len) {
            uint8_t *to = (uint8_t *)(uintptr_t)r->row.value.data;
            if (row->value.len > 0)
                memcpy(to, row->value.data, row->value.len);
            r->row.value.len = row->value.len;
        } else {
            r->row.value = copy(p, row->value);
        }
        r->written = written;
        return;
    }
    r = take(p, sizeof(*r));
    *r = (struct isola__overlay_row){.row = *row, .written = written};
    r->row.peer = copy(p, row->peer);
    r->row.value = copy(p, row->value);
    *e->rows_tail = r;
    e->rows_tail = &r->next;
    e->nrows++;
    if (row->gone) {
        e->gone = true;
        forget_names(e);
    } else if (e->named != NULL) {
        uint8_t name[NAME_MAX_BYTES];
        struct isola_slice key = name_of(row, name);
        if (key.len > 0)
            isola_map_set(e->named, key, r);
    } else if (!e->gone && e->nrows == NAMED_FROM) {
        name_all(e);
    }
}

int isola__entry_row(const struct isola__entry *e, const struct isola_kept *wanted,
                     struct isola_slice *out)
{
    if (isola__entry_has_parts(e, 1u << wanted->part)) {
        if (e->gone || wanted->peer.len > NAME_MAX_BYTES - 9)
            return -2;
        struct isola__overlay_row *r = find_put(e, wanted);
        if (r != NULL) {
            *out = r->row.value;
            return 1;
        }
    }
    return e->cleared ? -1 : 0;
}

/* --- entries --- */

const struct isola__entry *isola__overlay_entry(const struct isola__overlay *p,
                                                struct isola_slice address)
{
    return p->entries.count > 0 ? isola_map_get(&p->entries, address) : NULL;
}

static struct isola__entry *entry_of(struct isola__overlay *p, struct isola_slice address)
{
    struct isola__entry *e = isola_map_get(&p->entries, address);
    if (e != NULL)
        return e;
    if (p->first == NULL) {
        p->last = &p->first;
        p->since = isola_clock_ms();
    }
    e = take(p, sizeof(*e));
    *e = (struct isola__entry){.address = copy(p, address)};
    e->rows_tail = &e->rows;
    *p->last = e;
    p->last = &e->next;
    isola_map_set(&p->entries, address, e);
    return e;
}

void isola__overlay_add(struct isola__overlay *p, const struct isola__change *c, int64_t written)
{
    struct isola__entry *e = entry_of(p, c->address);
    if (c->clear || c->deleted) {
        drop_rows(e);
        e->cleared = true;
    }
    if (c->deleted) {
        e->deleted = true;
        e->has_value = e->touched = false;
    }
    e->touched |= c->touched;
    if (c->has_value) {
        if (c->value.len > e->room) {
            e->room = c->value.len + c->value.len / 8;
            e->value.data = take(p, e->room);
        }
        if (c->value.len > 0)
            memcpy((uint8_t *)(uintptr_t)e->value.data, c->value.data, c->value.len);
        e->value.len = c->value.len;
        e->has_value = true;
        e->deleted = false;
    }
    e->written = written;
    for (size_t i = 0; i < c->nrows; i++) {
        e->touched |= !c->rows[i].gone;
        add_row(p, e, &c->rows[i], written);
    }
}

static int fold_row(const struct isola__entry *e, const struct isola__overlay_row *r,
                    struct isola__tables *t, struct isola__history *h)
{
    bool same = false;
    int code = r->row.gone ? isola__history_gone(h, e->address, &r->row)
                           : isola__history_put(h, e->address, &r->row, r->row.value, &same);
    if (code != 0 || same)
        return code;
    return isola__tables_put_row(t, e->address, &r->row, h->point);
}

static int fold_value(const struct isola__entry *e, struct isola__tables *t,
                      struct isola__history *h)
{
    bool same;
    int code = isola__history_put(h, e->address, NULL, e->value, &same);
    if (code != 0 || same)
        return code;
    return isola__tables_put(t, e->address, e->value, h->point);
}

int isola__entry_fold(const struct isola__entry *e, struct isola__tables *t,
                      struct isola__history *h)
{
    int code = 0;
    if (e->cleared && (code = isola__history_gone(h, e->address, NULL)) == 0)
        code = isola__tables_clear_rows(t, e->address);
    if (code == 0 && e->deleted && (code = isola__history_deleted(h, e->address)) == 0)
        code = isola__tables_del(t, e->address);
    if (code == 0 && e->has_value)
        code = fold_value(e, t, h);
    for (const struct isola__overlay_row *r = e->rows; r != NULL && code == 0; r = r->next)
        code = fold_row(e, r, t, h);
    if (code == 0 && e->touched && !e->has_value)
        code = isola__tables_touch(t, e->address, h->point);
    return code;
}

static int peek_rows(const struct isola__entry *e, struct isola__tables *t, unsigned parts)
{
    int code = 0;
    for (uint8_t part = 1; e->cleared && part <= ISOLA_KEPT_LAST && code == 0; part++) {
        struct isola_kept all = {.part = part, .gone = true, .whole = true};
        if ((parts >> part & 1) != 0)
            code = isola__tables_put_row(t, e->address, &all, e->written);
    }
    for (const struct isola__overlay_row *r = e->rows; r != NULL && code == 0; r = r->next)
        if ((parts >> r->row.part & 1) != 0)
            code = isola__tables_put_row(t, e->address, &r->row, r->written);
    return code;
}

int isola__entry_peek(const struct isola__entry *e, struct isola__tables *t, unsigned parts)
{
    int code = e->deleted ? isola__tables_del(t, e->address) : 0;
    if (code == 0)
        code = peek_rows(e, t, parts);
    if (code == 0 && e->has_value)
        code = isola__tables_put(t, e->address, e->value, e->written);
    else if (code == 0 && e->touched)
        code = isola__tables_touch(t, e->address, e->written);
    return code;
}

void isola__entry_change(const struct isola__entry *e, struct isola__change *out,
                         struct isola_kept **rows)
{
    *rows = e->nrows > 0 ? isola_alloc(e->nrows * sizeof(**rows)) : NULL;
    size_t n = 0;
    for (const struct isola__overlay_row *r = e->rows; r != NULL; r = r->next)
        (*rows)[n++] = r->row;
    *out = (struct isola__change){.address = e->address,
                                  .has_value = e->has_value,
                                  .clear = e->cleared,
                                  .deleted = e->deleted,
                                  .touched = e->touched,
                                  .value = e->value,
                                  .rows = *rows,
                                  .nrows = n};
}

void isola__overlay_beneath(struct isola__overlay *p, const struct isola__entry *e)
{
    struct isola__change older, newer = {0};
    struct isola_kept *older_rows, *newer_rows = NULL;
    struct isola__entry *here = entry_of(p, e->address);
    int64_t written = here->written;
    isola__entry_change(e, &older, &older_rows);
    isola__entry_change(here, &newer, &newer_rows);
    drop_rows(here);
    here->has_value = here->deleted = here->cleared = here->touched = false;
    here->room = 0; /* the value is where `newer` says */
    isola__overlay_add(p, &older, e->written);
    if (written != 0)
        isola__overlay_add(p, &newer, written);
    free(older_rows);
    free(newer_rows);
}

/* --- as bytes --- */

/* [address, what, state (bin) or nil, [part, what, peer, number, value (bin), …]] */
enum { CLEAR = 1, DELETED = 2, TOUCHED = 4 };
enum { GONE = 1, WHOLE = 2 };

void isola__change_write(struct isola_buf *out, const struct isola__change *c)
{
    isola_mp_array(out, 4);
    isola_mp_str(out, c->address);
    isola_mp_uint(out,
                  (c->clear ? CLEAR : 0) | (c->deleted ? DELETED : 0) | (c->touched ? TOUCHED : 0));
    if (c->has_value)
        isola_mp_bin(out, c->value);
    else
        isola_mp_nil(out);
    isola_mp_array(out, c->nrows * 5);
    for (size_t i = 0; i < c->nrows; i++) {
        const struct isola_kept *row = &c->rows[i];
        isola_mp_uint(out, row->part);
        isola_mp_uint(out, (row->gone ? GONE : 0) | (row->whole ? WHOLE : 0));
        isola_mp_str(out, row->peer);
        isola_mp_uint(out, row->seq);
        isola_mp_bin(out, row->gone ? isola_slice(NULL, 0) : row->value);
    }
}

static bool read_row(struct isola_mp_reader *r, struct isola_kept *row)
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_UINT, &item) || item.u < ISOLA_KEPT_SENT ||
        item.u > ISOLA_KEPT_LAST)
        return false;
    *row = (struct isola_kept){.part = (uint8_t)item.u};
    if (!isola_mp_take(r, ISOLA_MP_UINT, &item) || item.u > (GONE | WHOLE))
        return false;
    row->gone = (item.u & GONE) != 0;
    row->whole = (item.u & WHOLE) != 0;
    if (!isola_mp_take(r, ISOLA_MP_STR, &item))
        return false;
    row->peer = item.bytes;
    if (!isola_mp_take(r, ISOLA_MP_UINT, &item) || item.u > INT64_MAX)
        return false;
    row->seq = item.u;
    if (!isola_mp_take(r, ISOLA_MP_BIN, &item))
        return false;
    row->value = item.bytes;
    return true;
}

static bool read_change(struct isola_mp_reader *r, struct isola__change *c, struct isola_buf *rows)
{
    struct isola_mp_item item;
    *c = (struct isola__change){0};
    if (!isola_mp_take(r, ISOLA_MP_ARRAY, &item) || item.n != 4 ||
        !isola_mp_take(r, ISOLA_MP_STR, &item))
        return false;
    c->address = item.bytes;
    if (!isola_mp_take(r, ISOLA_MP_UINT, &item) || item.u > (CLEAR | DELETED | TOUCHED))
        return false;
    c->clear = (item.u & CLEAR) != 0;
    c->deleted = (item.u & DELETED) != 0;
    c->touched = (item.u & TOUCHED) != 0;
    if (isola_mp_next(r, &item) != 0 || (item.type != ISOLA_MP_BIN && item.type != ISOLA_MP_NIL))
        return false;
    c->has_value = item.type == ISOLA_MP_BIN;
    if (c->has_value)
        c->value = item.bytes;
    if (!isola_mp_take(r, ISOLA_MP_ARRAY, &item) || item.n % 5 != 0)
        return false;
    rows->len = 0;
    for (uint32_t n = item.n / 5; n > 0; n--) {
        struct isola_kept row;
        if (!read_row(r, &row))
            return false;
        isola_buf_append(rows, &row, sizeof(row));
    }
    c->rows = (const struct isola_kept *)(const void *)rows->data;
    c->nrows = rows->len / sizeof(struct isola_kept);
    return !rows->failed;
}

bool isola__changes_read(struct isola_slice changes,
                         void (*fn)(void *arg, const struct isola__change *c), void *arg)
{
    struct isola_mp_reader r = isola_mp_reader(changes);
    struct isola_buf rows = {0};
    bool ok = true;
    while (ok && r.p < r.end) {
        struct isola__change c;
        ok = read_change(&r, &c, &rows);
        if (ok)
            fn(arg, &c);
    }
    isola_buf_free(&rows);
    return ok;
}
