/* SPDX-License-Identifier: Apache-2.0 */
#include "state_model.h"

#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "crash_disk.h"

/* --- the model --- */

static struct isola_slice copy(struct isola_slice s)
{
    uint8_t *p = isola_zalloc(s.len + 1);
    if (s.len > 0)
        memcpy(p, s.data, s.len);
    return isola_slice(p, s.len);
}

static void row_free(struct isola_kept *row)
{
    free((void *)(uintptr_t)row->peer.data);
    free((void *)(uintptr_t)row->value.data);
}

static int by_key(const struct isola_kept *a, const struct isola_kept *b)
{
    if (a->part != b->part)
        return a->part < b->part ? -1 : 1;
    int is = isola_slice_order(a->peer, b->peer);
    return is != 0 ? is : (a->seq > b->seq) - (a->seq < b->seq);
}

static void put_row(struct model *m, const struct isola_kept *row)
{
    size_t i = 0;
    while (i < m->rows && by_key(&m->row[i], row) < 0)
        i++;
    if (i < m->rows && by_key(&m->row[i], row) == 0) {
        row_free(&m->row[i]);
    } else {
        m->row = isola_realloc(m->row, (m->rows + 1) * sizeof(*m->row));
        memmove(m->row + i + 1, m->row + i, (m->rows - i) * sizeof(*m->row));
        m->rows++;
    }
    m->row[i] = *row;
    m->row[i].peer = copy(row->peer);
    m->row[i].value = copy(row->value);
}

static bool falls(const struct isola_kept *row, const struct isola_kept *gone)
{
    return row->part == gone->part &&
           (gone->whole || (isola_slice_eq(row->peer, gone->peer) && row->seq <= gone->seq));
}

static bool same_key(const struct isola_kept *row, const struct isola_kept *none)
{
    return by_key(row, none) == 0;
}

static bool forgettable(const struct isola_kept *row, const struct isola_kept *none)
{
    (void)none;
    return row->part == ISOLA_KEPT_ANSWER ||
           (row->part == ISOLA_KEPT_DONE && row->peer.len > 0 && row->peer.data[0] >= '~');
}

static bool any(const struct isola_kept *row, const struct isola_kept *none)
{
    (void)row, (void)none;
    return true;
}

static void drop_rows(struct model *m,
                      bool (*drops)(const struct isola_kept *, const struct isola_kept *),
                      const struct isola_kept *gone)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->rows; i++)
        if (drops(&m->row[i], gone))
            row_free(&m->row[i]);
        else
            m->row[kept++] = m->row[i];
    m->rows = kept;
}

void model_write(struct model *m, const struct isola_state_change *change)
{
    if (change->clear)
        drop_rows(m, any, NULL);
    if (change->has_value) {
        isola_buf_free(&m->value);
        isola_buf_append(&m->value, change->value.data, change->value.len);
        m->there = true;
    }
    for (size_t i = 0; i < change->nrows; i++)
        if (change->rows[i].gone) {
            drop_rows(m, falls, &change->rows[i]);
        } else if (isola_kept_is_none(&change->rows[i])) {
            drop_rows(m, same_key, &change->rows[i]);
            m->there = true;
        } else {
            put_row(m, &change->rows[i]);
            m->there = true;
        }
}

void model_del(struct model *m)
{
    drop_rows(m, any, NULL);
    isola_buf_free(&m->value);
    m->there = false;
}

void model_forget(struct model *m)
{
    drop_rows(m, forgettable, NULL);
}

void model_free(struct model *m)
{
    model_del(m);
    free(m->row);
    m->row = NULL;
}

/* --- text --- */

static void print_value(struct isola_buf *out, struct isola_slice value)
{
    isola_buf_printf(out, "%zu:%08x", value.len, (unsigned)isola_hash(value.data, value.len, 7));
}

char *model_text_of(struct isola_slice value, const struct isola_kept *rows, size_t n)
{
    struct isola_buf out = {0};
    print_value(&out, value);
    isola_buf_puts(&out, " |");
    for (size_t i = 0; i < n; i++) {
        isola_buf_printf(&out, " %u %.*s %llu ", rows[i].part, ISOLA_FMT(rows[i].peer),
                         (unsigned long long)rows[i].seq);
        print_value(&out, rows[i].value);
        isola_buf_puts(&out, ",");
    }
    return isola_buf_cstr(&out);
}

char *model_text(const struct model *m, uint8_t last)
{
    size_t n = 0;
    if (!m->there)
        return isola_strdup("none");
    while (n < m->rows && m->row[n].part <= last)
        n++;
    return model_text_of(isola_buf_slice(&m->value), m->row, n);
}

/* --- changes at random --- */

static size_t some_bytes(uint64_t *seed, bool large)
{
    switch (disk_pick(seed, 16)) {
    case 0:
        return 0;
    case 1:
        return large ? 50000 + disk_pick(seed, 300000) : 9000;
    case 2:
    case 3:
        return 2000 + disk_pick(seed, 4000);
    default:
        return disk_pick(seed, 300);
    }
}

static void make_row(struct model_change *c, size_t i, uint64_t *seed, unsigned *touched)
{
    struct isola_kept *row = &c->row[i];
    row->part = (uint8_t)(1 + disk_pick(seed, ISOLA_KEPT_LAST));
    row->gone = disk_pick(seed, 4) == 0;
    row->whole = row->gone && (*touched >> row->part & 1) == 0 && disk_pick(seed, 4) == 0;
    row->seq = 0;
    c->peer[i][0] = '\0';
    unsigned n = (unsigned)disk_pick(seed, 6);
    switch ((enum isola_kept_part)row->part) {
    case ISOLA_KEPT_SENT:
        break;
    case ISOLA_KEPT_OUTBOX:
    case ISOLA_KEPT_ANSWER:
        snprintf(c->peer[i], sizeof(c->peer[i]), "c/Peer/%u", n);
        row->seq = 1 + disk_pick(seed, 20);
        break;
    case ISOLA_KEPT_DONE:
        snprintf(c->peer[i], sizeof(c->peer[i]), n < 3 ? "~%u" : "c/Peer/%u", n);
        break;
    case ISOLA_KEPT_TIMER:
        snprintf(c->peer[i], sizeof(c->peer[i]), "timer %u", n);
        row->seq = UINT64_C(1800000000000) + disk_pick(seed, 50);
        break;
    case ISOLA_KEPT_ITEM:
        snprintf(c->peer[i], sizeof(c->peer[i]), "k\xc3\xa9y %zu", disk_pick(seed, 30));
        break;
    case ISOLA_KEPT_PAGE:
        row->seq = disk_pick(seed, 20);
        break;
    }
    row->peer = isola_slice_str(c->peer[i]);
    *touched |= (row->whole ? 1u << 8 : 1u) << row->part;
}

void model_change_make(struct model_change *c, uint64_t *seed, bool large, bool anew)
{
    size_t bytes = some_bytes(seed, large), per_row = 20 + disk_pick(seed, 1100);
    unsigned touched = 0;
    memset(c, 0, sizeof(*c));
    c->change.has_value = anew || disk_pick(seed, 3) > 0;
    c->change.clear = anew || disk_pick(seed, 16) == 0;
    c->change.rows = c->row;
    for (size_t n = disk_pick(seed, MODEL_ROWS + 1), i = 0; i < n; i++) {
        make_row(c, c->change.nrows, seed, &touched);
        uint8_t part = c->row[c->change.nrows].part;
        /* What is removed as a whole is not changed otherwise. */
        if ((touched >> part & 1) == 0 || (touched >> 8 >> part & 1) == 0)
            c->change.nrows++;
        else
            break;
    }
    c->bytes = isola_zalloc(bytes + MODEL_ROWS * per_row + 8);
    for (size_t i = 0; i < bytes + MODEL_ROWS * per_row; i += 8) {
        uint64_t any_bytes = disk_random(seed);
        memcpy(c->bytes + i, &any_bytes, 8);
    }
    c->change.value = isola_slice(c->bytes, c->change.has_value ? bytes : 0);
    for (size_t i = 0; i < c->change.nrows; i++)
        if (!c->row[i].gone && !(c->row[i].part == ISOLA_KEPT_PAGE && disk_pick(seed, 4) == 0))
            c->row[i].value = isola_slice(c->bytes + bytes + i * per_row, per_row - i);
}

void model_change_free(struct model_change *c)
{
    free(c->bytes);
    c->bytes = NULL;
}
