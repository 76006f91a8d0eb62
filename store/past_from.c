/* SPDX-License-Identifier: Apache-2.0
 *
 * What is to be written so that an actor has what another store says it had: of each part that
 * differs all goes, and then comes what there was.
 */
#include "base/check.h"
#include "store/past_own.h"

static int by_name(const struct isola_kept *a, const struct isola_kept *b)
{
    if (a->part != b->part)
        return a->part < b->part ? -1 : 1;
    int is = isola_slice_order(a->peer, b->peer);
    return is != 0 ? is : (a->seq > b->seq) - (a->seq < b->seq);
}

static bool is_in_order(const struct isola_kept_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        const struct isola_kept *row = &rows->row[i];
        if (row->part < ISOLA__HISTORY_FROM || row->part > ISOLA_KEPT_LAST || row->gone ||
            row->seq > INT64_MAX || (i > 0 && by_name(row - 1, row) >= 0))
            return false;
    }
    return true;
}

/* Counts what differs. The parts it is of, as bits. */
static unsigned compare(const struct isola_kept_rows *then, const struct isola_kept_rows *now,
                        struct isola_history_changes *what)
{
    unsigned parts = 0;
    for (size_t i = 0, k = 0; i < then->n || k < now->n;) {
        const struct isola_kept *was = &then->row[i], *is = &now->row[k];
        int order = i == then->n ? 1 : k == now->n ? -1 : by_name(was, is);
        if (order == 0 && isola_slice_eq(was->value, is->value)) {
            i++;
            k++;
            continue;
        }
        const struct isola_kept *row = order > 0 ? is : was;
        isola__history_count(what, row->part, order > 0, row->peer.len + row->value.len);
        parts |= 1u << row->part;
        i += order <= 0;
        k += order >= 0;
    }
    return parts;
}

static void replace(const struct isola_kept_rows *then, unsigned parts, struct isola_past *out)
{
    for (uint8_t part = ISOLA__HISTORY_FROM; part <= ISOLA_KEPT_LAST; part++)
        if ((parts >> part & 1) != 0)
            isola_kept_add(&out->rows,
                           &(struct isola_kept){.part = part, .gone = true, .whole = true});
    for (size_t i = 0; i < then->n; i++) {
        const struct isola_kept *row = &then->row[i];
        if ((parts >> row->part & 1) == 0)
            continue;
        isola_kept_add(&out->rows, row);
        if (row->part == ISOLA_KEPT_TIMER && (out->due == 0 || row->seq < out->due))
            out->due = row->seq;
    }
}

int isola_state_past_from(struct isola_state *s, struct isola_slice address,
                          const struct isola_past *then, struct isola_past *out,
                          struct isola_err *err)
{
    struct isola_past now;
    *out = (struct isola_past){.there = then->there};
    if (!is_in_order(&then->rows))
        return isola_fail(err, ISOLA_EINVAL, "what it had then is not in order");
    int code = isola_state_then(s, address, ISOLA_PAST_NOW, &now, err);
    if (code != 0)
        return code;
    if (!isola_slice_eq(isola_buf_slice(&then->state), isola_buf_slice(&now.state))) {
        isola__history_count(&out->what, ISOLA__PAST_STATE, false, then->state.len);
        isola_buf_append(&out->state, then->state.data, then->state.len);
        out->change.has_value = true;
    }
    replace(&then->rows, compare(&then->rows, &now.rows, &out->what), out);
    out->change.value = isola_buf_slice(&out->state);
    out->change.rows = out->rows.row;
    out->change.nrows = out->rows.n;
    isola_past_free(&now);
    return 0;
}
