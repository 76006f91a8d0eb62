/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting what arrives into records, items and frames. Arriving bytes lie in one buffer that grows
 * as they come; records are opened where they lie; large frames are put together beside it. A
 * record that has nothing but a part is opened to where the part belongs, by what its header seems
 * to be: that is looked at before it is known to be the peer's, and if it is not, the record does
 * not open.
 */
#include "transport/inflow.h"

#include <endian.h>

#include "base/check.h"
#include "transport/link.h"
#include "transport/secure.h"

#define HEADER ISOLA__ITEM_HEADER
/* What an idle link keeps for its next read, the least room worth a read, and the most. */
#define READ_FIRST (4u << 10)
#define READ_LEAST (2u << 10)
#define READ_MAX   (256u << 10)
/* An item with less of a part in it is not worth the look. */
#define PART_LEAST (4u << 10)
#define PART_HEAD  (HEADER + 4u)

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

static int resize(struct isola__inflow *in, size_t cap)
{
    uint8_t *data = realloc(in->data, cap);
    if (data == NULL)
        return ISOLA_ENOMEM;
    in->data = data;
    in->cap = cap;
    return 0;
}

/* The size of what is at the beginning, as far as is known. */
static size_t whole(const struct isola__inflow *in, size_t have)
{
    if (in->secure != NULL)
        return have >= 2 ? 2 + ((size_t)in->data[0] << 8 | in->data[1]) : 2;
    if (have < HEADER)
        return HEADER;
    uint32_t header = get32(in->data);
    return HEADER + (header >> 31 ? header & 0xffffff : header);
}

int isola__inflow_room(struct isola__inflow *in, uint8_t **to, size_t *room)
{
    size_t have = in->len - in->start;
    int rc = 0;
    isola_buf_free(&in->whole);
    if (have == 0) {
        in->start = in->len = 0;
        if (in->filled == 0 && in->cap > READ_FIRST) {
            free(in->data);
            in->data = NULL;
            in->cap = 0;
        }
        if (in->cap == 0)
            rc = resize(in, READ_FIRST);
        else if (in->filled > 0 && in->cap < (in->filled > 2 ? READ_MAX : ISOLA__INFLOW_REST))
            rc = resize(in, in->filled > 2 ? READ_MAX : ISOLA__INFLOW_REST);
    } else {
        if (in->start > 0) {
            memmove(in->data, in->data + in->start, have);
            in->start = 0;
            in->len = have;
        }
        /* As much again as has arrived, but no more than the item lacks, nor so little that reads
         * get tiny; and only when there is little left, or each small read would copy all. */
        size_t lacks = whole(in, have) - have;
        size_t wanted = lacks < have ? lacks : have;
        if (in->cap - have < (lacks < READ_LEAST ? lacks : READ_LEAST)) {
            size_t cap = have + (wanted < READ_LEAST ? READ_LEAST : wanted);
            rc = resize(in, cap > ISOLA__INFLOW_REST ? cap : ISOLA__INFLOW_REST);
        } else if (in->filled > 2 && in->cap < READ_MAX) {
            rc = resize(in, READ_MAX);
        }
    }
    if (rc != 0)
        return rc;
    *to = in->data + in->len;
    *room = in->cap - in->len;
    return 0;
}

void isola__inflow_arrived(struct isola__inflow *in, size_t n)
{
    ISOLA_CHECK(n <= in->cap - in->len);
    bool all = n == in->cap - in->len;
    in->filled = all ? in->filled + 1 : n < READ_LEAST ? 0 : in->filled;
    in->len += n;
}

/* --- frames that come in parts --- */

static struct isola__partial **find(struct isola__inflow *in, uint32_t number)
{
    struct isola__partial **at = &in->partial;
    while (*at != NULL && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

static void drop(struct isola__inflow *in, struct isola__partial **at)
{
    struct isola__partial *p = *at;
    *at = p->next;
    in->partials--;
    in->partial_bytes -= p->total;
    isola_buf_free(&p->bytes);
    free(p);
}

static int open_partial(struct isola__inflow *in, struct isola_slice *bytes, struct isola_err *err)
{
    if (bytes->len < 12)
        return isola_fail(err, ISOLA_EPROTO, "the beginning of a large frame is cut off");
    uint32_t number = get32(bytes->data);
    uint64_t total = get64(bytes->data + 4);
    if (total == 0 || total > ISOLA_MESSAGE_MAX)
        return isola_fail(err, ISOLA_EPROTO, "a frame of %llu bytes was announced; %zu are allowed",
                          (unsigned long long)total, (size_t)ISOLA_MESSAGE_MAX);
    if (*find(in, number) != NULL)
        return isola_fail(err, ISOLA_EPROTO, "large frame %u was begun twice", number);
    if (in->partials == ISOLA__PARTS_MAX || in->partial_bytes + total > ISOLA__PARTS_BYTES_MAX)
        return isola_fail(err, ISOLA_EPROTO,
                          "too much was begun and not ended: %zu large frames of %zu bytes",
                          in->partials + 1, in->partial_bytes + (size_t)total);
    struct isola__partial *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a frame of %llu bytes",
                          (unsigned long long)total);
    p->number = number;
    p->total = (size_t)total;
    p->next = in->partial;
    in->partial = p;
    in->partials++;
    in->partial_bytes += p->total;
    *bytes = isola_slice(bytes->data + 12, bytes->len - 12);
    return 0;
}

/* Room for what has come and as much again, but for no more than is to come. */
static bool make_room(struct isola__partial *p, size_t n)
{
    size_t cap = 2 * (p->bytes.len + n);
    cap = cap < (1u << 20) ? 1u << 20 : cap;
    if (p->bytes.cap - p->bytes.len >= n)
        return true;
    return isola_buf_grow(&p->bytes, (cap < p->total ? cap : p->total) - p->bytes.len);
}

/* The frame whose part has come may be whole now: 1, and then it is in in->whole. */
static int came(struct isola__inflow *in, struct isola__partial **at)
{
    struct isola__partial *p = *at;
    if (p->bytes.len < p->total)
        return 0;
    in->whole = p->bytes;
    p->bytes = (struct isola_buf){0};
    drop(in, at);
    return 1;
}

/* 1: it is whole, in in->whole. */
static int add_part(struct isola__inflow *in, uint32_t number, struct isola_slice bytes,
                    struct isola_err *err)
{
    struct isola__partial **at = find(in, number), *p = *at;
    if (p == NULL)
        return isola_fail(err, ISOLA_EPROTO, "a part of large frame %u, which was not begun",
                          number);
    if (bytes.len == 0 || bytes.len > p->total - p->bytes.len)
        return isola_fail(err, ISOLA_EPROTO,
                          "%zu bytes for large frame %u, which lacks %zu of its %zu", bytes.len,
                          number, p->total - p->bytes.len, p->total);
    if (!make_room(p, bytes.len))
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a frame of %zu bytes", p->total);
    isola_buf_append(&p->bytes, bytes.data, bytes.len);
    return came(in, at);
}

/* --- items --- */

/* 1: there is an item at `start` that ends before `end`. */
static int take(struct isola__inflow *in, size_t end, enum isola__item *kind,
                struct isola_slice *bytes, struct isola_err *err)
{
    size_t have = end - in->start;
    if (have < HEADER)
        return 0;
    const uint8_t *p = in->data + in->start;
    uint32_t header = get32(p);
    bool frame = header >> 31 == 0;
    size_t n = frame ? header : header & 0xffffff;
    if (frame && n > ISOLA_FRAME_MAX)
        return isola_fail(err, ISOLA_EPROTO, "a frame of %zu bytes was announced; %u are allowed",
                          n, ISOLA_FRAME_MAX);
    *kind = frame ? n == 0 ? ISOLA__ITEM_GOODBYE : ISOLA__ITEM_FRAME : (int)(header >> 24 & 0x7f);
    if (!frame && (*kind < ISOLA__ITEM_PART || *kind > ISOLA__ITEM_AGAIN || n > ISOLA__INFLOW_REST))
        return isola_fail(err, ISOLA_EPROTO, "an item of kind %d and %zu bytes, which is unknown",
                          (int)*kind, n);
    if (have - HEADER < n)
        return 0;
    *bytes = isola_slice(p + HEADER, n);
    in->start += HEADER + n;
    return 1;
}

/* Opens the record at `start`. 1: it is open. */
static int open_record(struct isola__inflow *in, struct isola_err *err)
{
    struct isola_slice plain;
    size_t size;
    int rc = isola__secure_open(in->secure, in->data + in->start, in->len - in->start, &plain,
                                &size, err);
    if (rc != 1)
        return rc;
    size_t end = in->start + size;
    in->start = (size_t)(plain.data - in->data);
    in->record_end = in->start + plain.len;
    in->tail = end - in->record_end;
    return 1;
}

int isola__inflow_prove(struct isola__inflow *in, struct isola_err *err)
{
    return in->record_end != 0 ? 1 : open_record(in, err);
}

/* The frame that all of the record at `start` seems to be a part of, of `*n` bytes; or NULL. */
static struct isola__partial **part_of(struct isola__inflow *in, size_t *n)
{
    uint8_t head[PART_HEAD];
    size_t plain;
    if (in->partial == NULL ||
        !isola__secure_peek(in->secure, in->data + in->start, in->len - in->start,
                            PART_HEAD + PART_LEAST, &plain, head, PART_HEAD))
        return NULL;
    *n = plain - PART_HEAD;
    if (get32(head) != (1u << 31 | ISOLA__ITEM_PART << 24 | (uint32_t)(*n + 4)))
        return NULL;
    struct isola__partial **at = find(in, get32(head + HEADER)), *p = *at;
    return p != NULL && *n <= p->total - p->bytes.len && p->bytes.len >= PART_HEAD ? at : NULL;
}

/* A record that is a part of a large frame, opened to its place. 0: the next is no such record;
 * 1: it was; 2: and the frame is whole now. */
static int open_part(struct isola__inflow *in, struct isola_err *err)
{
    uint8_t before[PART_HEAD];
    size_t n, size;
    struct isola__partial **at = part_of(in, &n), *p = at != NULL ? *at : NULL;
    if (p == NULL)
        return 0;
    if (!make_room(p, n))
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a frame of %zu bytes", p->total);
    uint8_t *to = p->bytes.data + p->bytes.len - PART_HEAD; /* its header lies there for a moment */
    memcpy(before, to, PART_HEAD);
    int rc = isola__secure_open_to(in->secure, in->data + in->start, in->len - in->start, to, &size,
                                   err);
    memcpy(to, before, PART_HEAD);
    if (rc != 1)
        return rc;
    in->start += size;
    p->bytes.len += n;
    return 1 + came(in, at);
}

static int next_item(struct isola__inflow *in, enum isola__item *kind, struct isola_slice *bytes,
                     struct isola_err *err)
{
    if (in->secure == NULL)
        return take(in, in->len, kind, bytes, err);
    for (;;) {
        if (in->record_end == 0) {
            int rc = open_part(in, err);
            if (rc == 1)
                continue;
            if (rc == 0)
                rc = open_record(in, err);
            if (rc != 1)
                return rc;
        }
        if (in->start < in->record_end) {
            int rc = take(in, in->record_end, kind, bytes, err);
            if (rc == 0)
                rc = isola_fail(err, ISOLA_EPROTO, "an item is cut off by the end of its record");
            return rc;
        }
        in->start += in->tail;
        in->record_end = 0;
    }
}

int isola__inflow_next(struct isola__inflow *in, enum isola__item *kind, struct isola_slice *bytes,
                       struct isola_err *err)
{
    int rc;
    isola_buf_free(&in->whole);
    while ((rc = next_item(in, kind, bytes, err)) == 1) {
        uint32_t number = bytes->len >= 4 ? get32(bytes->data) : 0;
        if (*kind == ISOLA__ITEM_OPEN) {
            rc = open_partial(in, bytes, err);
        } else if (*kind == ISOLA__ITEM_PART) {
            if (bytes->len < 4)
                return isola_fail(err, ISOLA_EPROTO, "a part of a large frame is cut off");
            *bytes = isola_slice(bytes->data + 4, bytes->len - 4);
        } else if ((*kind == ISOLA__ITEM_PING || *kind == ISOLA__ITEM_PONG) && bytes->len != 8) {
            return isola_fail(err, ISOLA_EPROTO, "a ping of %zu bytes", bytes->len);
        } else {
            return 1;
        }
        if (rc >= 0)
            rc = add_part(in, number, *bytes, err);
        if (rc < 0)
            return rc;
        if (rc == 1) {
            rc = 2;
            break;
        }
    }
    if (rc == 2) {
        *kind = ISOLA__ITEM_FRAME;
        *bytes = isola_buf_slice(&in->whole);
        rc = 1;
    }
    return rc;
}

size_t isola__inflow_partial(const struct isola__inflow *in)
{
    size_t n = in->len - in->start;
    for (const struct isola__partial *p = in->partial; p != NULL; p = p->next)
        n += p->bytes.len;
    return n;
}

void *isola__inflow_take(struct isola__inflow *in, struct isola_slice frame)
{
    void *memory = in->whole.data;
    if (memory == NULL || frame.data != in->whole.data)
        return NULL;
    in->whole = (struct isola_buf){0};
    return memory;
}

void isola__inflow_free(struct isola__inflow *in)
{
    while (in->partial != NULL)
        drop(in, &in->partial);
    isola_buf_free(&in->whole);
    free(in->data);
    *in = (struct isola__inflow){0};
}
