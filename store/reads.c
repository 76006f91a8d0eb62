/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads of a group: from what is pending, from the tables, from both.
 *
 * A state is where it was written last: in `fresh`, in `folding`, or in the tables. Rows that are
 * pending are found there by name; for more of them than that the group's thread puts them into the
 * tables, in a transaction that it takes back when it has read.
 */
#include "store/group_own.h"

/* What is pending of an address: newest first. */
struct layers {
    const struct isola__entry *at[2];
    size_t n;
};

/* What a read has found. */
struct found {
    int code; /* as for the callback */
    struct isola_buf value;
    struct isola_kept_rows rows;
    bool more;
};

enum outcome {
    ANSWERED,
    FOLD, /* it is to be put into the tables first */
    VALUE_FROM_TABLES = 1 << 1,
    ROWS_FROM_TABLES = 1 << 2,
};

static struct layers layers_of(const struct isola__group *g, struct isola_slice address)
{
    struct layers l = {0};
    const struct isola__entry *e = isola__overlay_entry(&g->fresh, address);
    if (e != NULL)
        l.at[l.n++] = e;
    e = isola__overlay_entry(&g->folding, address);
    if (e != NULL)
        l.at[l.n++] = e;
    return l;
}

/* Is nothing in the tables of its rows any more? */
static bool cleared(const struct layers *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i]->cleared)
            return true;
    return false;
}

static bool has_parts(const struct layers *l, unsigned parts)
{
    for (size_t i = 0; i < l->n; i++)
        if (isola__entry_has_parts(l->at[i], parts))
            return true;
    return false;
}

/* Is it one of the state as well? */
static bool has_state(const struct isola_state_req *req)
{
    return req->op == ISOLA__OP_GET || (req->op == ISOLA__OP_PIECE && req->after->part == 0);
}

/* The parts, as bits, of the rows that it is of. */
static unsigned parts_of(const struct isola_state_req *req)
{
    unsigned parts = 0;
    if (req->op == ISOLA__OP_RANGE)
        return 1u << req->range->part;
    for (size_t i = 0; req->op == ISOLA__OP_ROWS && i < req->nrows; i++)
        parts |= 1u << req->rows[i].part;
    if (req->op == ISOLA__OP_ROWS)
        return parts;
    return req->op == ISOLA__OP_GET && !req->all ? (2u << ISOLA_KEPT_READ) - 1 : ~0u;
}

static unsigned get_pending(const struct isola__group *g, const struct isola_state_req *req,
                            const struct layers *l, struct found *out)
{
    bool any_rows = atomic_load_explicit(&g->any_rows, memory_order_relaxed);
    unsigned rows = any_rows && !cleared(l) ? ROWS_FROM_TABLES : ANSWERED;
    if (has_parts(l, parts_of(req)))
        return FOLD;
    for (size_t i = 0; i < l->n; i++) {
        const struct isola__entry *e = l->at[i];
        if (e->has_value) {
            isola_buf_append(&out->value, e->value.data, e->value.len);
            return rows;
        }
        if (e->touched) /* it has a state, but perhaps none in the tables yet */
            return FOLD;
        if (e->deleted) {
            out->code = ISOLA_ENOENT;
            return ANSWERED;
        }
    }
    return VALUE_FROM_TABLES | rows;
}

/* The rows that are known here, and (as `gone`) those that are to be looked for in the tables. */
static unsigned rows_pending(const struct isola_state_req *req, const struct layers *l,
                             struct isola_kept_rows *out)
{
    for (size_t i = 0; i < req->nrows; i++) {
        struct isola_kept row = req->rows[i];
        int known = 0;
        for (size_t k = 0; k < l->n && known == 0; k++)
            known = isola__entry_row(l->at[k], &req->rows[i], &row.value);
        if (known == -2)
            return FOLD;
        if (known == 1 && isola_kept_is_none(&row))
            known = -1;
        row.gone = known == 0;
        if (known >= 0)
            isola_kept_add(out, &row);
    }
    return ROWS_FROM_TABLES;
}

/* Without any tables, with the lock of what is pending. */
static unsigned look(const struct isola__group *g, struct isola_state_req *req, struct found *out)
{
    struct layers l = layers_of(g, req->address);
    if (has_state(req))
        return get_pending(g, req, &l, out);
    if (req->op == ISOLA__OP_ROWS)
        return rows_pending(req, &l, &out->rows);
    if (has_parts(&l, parts_of(req)))
        return FOLD;
    return cleared(&l) ? ANSWERED : ROWS_FROM_TABLES;
}

/* Of `rows`, those that are not known yet. */
static int named_rows(struct isola__tables *t, struct isola_slice address,
                      struct isola_kept_rows *rows)
{
    struct isola_kept_rows all = {0};
    int code = 0;
    for (size_t i = 0; i < rows->n && code == 0; i++)
        if (rows->row[i].gone)
            code = isola__tables_row(t, address, &rows->row[i], &all);
        else
            isola_kept_add(&all, &rows->row[i]);
    isola_kept_free(rows);
    *rows = all;
    return code;
}

/* What is to come from the tables. */
static int read_tables(struct isola__tables *t, const struct isola_state_req *req, unsigned what,
                       struct found *out)
{
    int code = 0;
    if ((what & VALUE_FROM_TABLES) != 0)
        code = isola__tables_get(t, req->address, &out->value);
    if (code != 0 || (what & ROWS_FROM_TABLES) == 0)
        return code;
    switch (req->op) {
    case ISOLA__OP_GET:
        return isola__tables_kept(t, req->address, req->all ? ISOLA_KEPT_LAST : ISOLA_KEPT_READ,
                                  &out->rows);
    case ISOLA__OP_ROWS:
        return named_rows(t, req->address, &out->rows);
    case ISOLA__OP_PIECE:
        return isola__tables_piece(t, req->address, req->after, &out->rows, &out->more);
    case ISOLA__OP_EXTENT:
        return isola__tables_extent(t, req->address, &out->rows);
    default:
        return isola__tables_range(t, req->address, req->range, &out->rows);
    }
}

/* Value and rows are of one moment. */
static int read_at_once(struct isola__tables *t, const struct isola_state_req *req, unsigned what,
                        struct found *out)
{
    if (what != (VALUE_FROM_TABLES | ROWS_FROM_TABLES))
        return read_tables(t, req, what, out);
    int code = isola__tables_run(t, ISOLA__SNAPSHOT);
    if (code == 0)
        code = read_tables(t, req, what, out);
    isola__tables_roll_back(t);
    return code;
}

static void answer(struct isola__group *g, struct isola_state_req *req, struct found *f,
                   const char *why)
{
    atomic_fetch_add_explicit(&g->reads, 1, memory_order_relaxed);
    if (f->code == 0 && f->value.failed) {
        f->code = ISOLA_ENOMEM;
        why = "out of memory";
    }
    req->rows = f->rows.row;
    req->nrows = f->rows.n;
    req->more = f->more;
    if (f->code == 0) {
        req->cb(req, 0, isola_buf_slice(&f->value), NULL);
    } else if (f->code == ISOLA_ENOENT) {
        req->cb(req, ISOLA_ENOENT, isola_slice(NULL, 0), "no state is stored");
    } else {
        isola__group_failed(g, why);
        req->cb(req, ISOLA_EIO, isola_slice(NULL, 0), why);
    }
    isola_buf_free(&f->value);
    isola_kept_free(&f->rows);
}

/* What has to be in the tables for it is put there. */
static void answer_folded(struct isola__group *g, struct isola_state_req *req)
{
    struct found f = {0};
    unsigned what =
        has_state(req) ? VALUE_FROM_TABLES | ROWS_FROM_TABLES : (unsigned)ROWS_FROM_TABLES;
    if (req->op == ISOLA__OP_ROWS) /* all of them are to be looked for */
        (void)rows_pending(req, &(struct layers){0}, &f.rows);
    isola__fold_take_tables(g);
    f.code = isola__fold_peek_address(g, req->address, parts_of(req));
    if (f.code == 0)
        f.code = read_tables(&g->tables, req, what, &f);
    g->err = g->tables.err;
    isola__fold_leave_tables(g);
    answer(g, req, &f, g->err.text);
}

/* With what is in memory, and the reader's tables. False: it takes more. */
static bool answer_read(struct isola__group *g, struct isola_state_req *req)
{
    struct found f = {0};
    struct isola_err err = {0};
    pthread_mutex_lock(&g->overlay_lock);
    unsigned what = look(g, req, &f);
    pthread_mutex_unlock(&g->overlay_lock);
    if (what == FOLD) {
        isola_buf_free(&f.value);
        isola_kept_free(&f.rows);
        return false;
    }
    if (f.code == 0 && what != ANSWERED) {
        pthread_mutex_lock(&g->reader_lock);
        f.code = read_at_once(&g->reader, req, what, &f);
        if (f.code != 0 && f.code != ISOLA_ENOENT)
            err = g->reader.err;
        pthread_mutex_unlock(&g->reader_lock);
    }
    answer(g, req, &f, err.text);
    return true;
}

void isola__group_answer(struct isola__group *g, struct isola_state_req *req)
{
    if (!answer_read(g, req))
        answer_folded(g, req);
}

void isola__group_read(struct isola__group *g, struct isola_state_req *req)
{
    if (atomic_load_explicit(&g->flying[isola__place(req->address)], memory_order_acquire) != 0 ||
        atomic_load_explicit(&g->flying_all, memory_order_acquire) != 0 || !answer_read(g, req))
        isola__group_request(g, req);
}
