/* SPDX-License-Identifier: Apache-2.0
 *
 * Values for who speaks version 1 of the wire.
 *
 * Happy path: a first walk finds no string in a form that version 1 has not, and nothing is copied.
 * Else a second one copies what there is, but for those strings, and for the lengths of the
 * extensions that they are in.
 */
#include "transport/older.h"

#include "base/msgpack.h"

struct walk {
    struct isola_mp_reader r;
    struct isola_buf *out; /* NULL: only looks */
    bool found;
};

static bool is_text(const struct isola_mp_item *item)
{
    return item->type == ISOLA_MP_EXT &&
           (item->ext == ISOLA_EXT_LATIN1 || item->ext == ISOLA_EXT_UTF16);
}

static int text(struct walk *w, const struct isola_mp_item *item)
{
    w->found = true;
    struct isola_slice units;
    if (w->out == NULL)
        return item->ext != ISOLA_EXT_UTF16 || isola_mp_units(item->bytes, &units) ? 0
                                                                                   : ISOLA_EPROTO;
    size_t begun = isola_mp_str_begin(w->out);
    if (!isola_mp_utf8(item, w->out))
        return ISOLA_EPROTO;
    isola_mp_str_end(w->out, begun);
    return 0;
}

static int value(struct walk *w, unsigned depth);

/* The values that fill an extension. */
static int payload(struct walk *w, const struct isola_mp_item *item, unsigned depth)
{
    struct isola_mp_reader outer = w->r;
    size_t begun = w->out != NULL ? isola_mp_ext_begin(w->out, (enum isola_ext)item->ext) : 0;
    int rc = 0;
    w->r = isola_mp_reader(item->bytes);
    while (rc == 0 && w->r.p != w->r.end)
        rc = value(w, depth);
    w->r = outer;
    if (w->out != NULL)
        isola_mp_ext_end(w->out, begun);
    return rc;
}

static int value(struct walk *w, unsigned depth)
{
    const uint8_t *begun = w->r.p;
    struct isola_mp_item item;
    if (isola_mp_next(&w->r, &item) != 0)
        return ISOLA_EPROTO;
    if (is_text(&item))
        return text(w, &item);
    bool holds = isola_mp_holds_values(&item);
    bool list = item.type == ISOLA_MP_ARRAY || item.type == ISOLA_MP_MAP;
    if ((holds || list) && depth > ISOLA_VALUE_DEPTH)
        return ISOLA_EPROTO;
    if (holds)
        return payload(w, &item, depth + 1);
    if (w->out != NULL)
        isola_buf_append(w->out, begun, (size_t)(w->r.p - begun));
    int rc = 0;
    if (list)
        for (uint64_t n = item.type == ISOLA_MP_MAP ? 2 * (uint64_t)item.n : item.n;
             rc == 0 && n > 0; n--)
            rc = value(w, depth + 1);
    return rc;
}

static int walk(struct walk *w, struct isola_slice args)
{
    w->r = isola_mp_reader(args);
    int rc = value(w, 0);
    return rc == 0 && w->r.p != w->r.end ? ISOLA_EPROTO : rc;
}

int isola__older_args(struct isola_slice args, struct isola_buf *out)
{
    struct walk w = {0};
    int rc = walk(&w, args);
    if (rc != 0 || !w.found)
        return rc;
    w.out = out;
    rc = walk(&w, args);
    return rc != 0 ? rc : 1;
}
