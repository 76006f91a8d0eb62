/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes, and filling writes from them.
 *
 * Small frames lie in chunks, one behind the other, each with its key. Large ones are transfers in
 * the queue of their sender; senders take turns, a part each. A frame whose sender has something in
 * a later lane goes into that lane: `behind` counts what waits there for each key.
 *
 * A part that is worth it gets a record of its own and is not copied. Its transfer may be over, and
 * gone, before it is encrypted: then its memory is the write's.
 */
#include "transport/outflow.h"

#include <endian.h>

#include "base/check.h"
#include "base/hash.h"
#include "transport/link.h"

#define CHUNK_MIN (2u << 10)
#define CHUNK_MAX (64u << 10)
/* Smaller parts are copied, to share a record with others. */
#define PART_LEAST (4u << 10)

/* A frame in a chunk: this, then its item. */
struct entry {
    uint32_t len; /* of the item, header included */
    uint32_t key;
};

struct isola__chunk {
    struct isola__chunk *next;
    size_t taken;
    struct isola_buf bytes;
};

struct isola__transfer {
    struct isola__transfer *next;
    void *memory;
    uint8_t *frame; /* in it, behind ISOLA__FRAME_BEFORE bytes or more */
    size_t len, sent;
    uint32_t number;
};

struct isola__sender {
    struct isola__sender *next;
    struct isola__transfer *head, *tail;
    uint8_t key;
};

/* --- lanes --- */

enum isola__lane isola__lane_of(const struct isola_msg *m)
{
    switch (m->kind) {
    case ISOLA_MSG_REPLY:
    case ISOLA_MSG_FAIL:
        return ISOLA__LANE_REPLY;
    case ISOLA_MSG_ACK:
    case ISOLA_MSG_PACE:
        return ISOLA__LANE_CONTROL;
    case ISOLA_MSG_EMIT:
        return m->dst.len == 0 && !m->bulk ? ISOLA__LANE_CONTROL : ISOLA__LANE_EMIT;
    case ISOLA_MSG_EVENT:
        return ISOLA__LANE_EMIT;
    case ISOLA_MSG_ASK:
        return m->dst.len == 0 ? ISOLA__LANE_CONTROL : ISOLA__LANE_ASK;
    default:
        return ISOLA__LANE_ASK;
    }
}

uint32_t isola__key_of(const struct isola_msg *m)
{
    if (m->order != 0)
        return m->order;
    if (m->kind == ISOLA_MSG_ACK || m->kind == ISOLA_MSG_PACE)
        return 0;
    /* those without a sender keep their order among one another */
    return (uint32_t)isola_hash_table(m->src.data, m->src.len) | 1;
}

/* Its place among ISOLA__KEYS; 0 is for what has no order. */
static uint8_t fold(uint32_t key)
{
    uint8_t k = (uint8_t)(key ^ key >> 8 ^ key >> 16 ^ key >> 24);
    return key != 0 && k == 0 ? 1 : k;
}

static enum isola__lane behind(const struct isola__outflow *out, enum isola__lane lane, uint8_t key)
{
    if (key == 0 || out->behind == NULL)
        return lane;
    for (int l = ISOLA__LANE_LARGE; l > (int)lane; l--)
        if (out->behind[l][key] != 0)
            return (enum isola__lane)l;
    return lane;
}

static bool count(struct isola__outflow *out, enum isola__lane lane, uint8_t key)
{
    if (out->behind == NULL)
        out->behind = calloc(ISOLA__LANES, sizeof(*out->behind));
    if (out->behind == NULL)
        return false;
    out->behind[lane][key]++;
    return true;
}

static void free_chunk(struct isola__outflow *out, struct isola__chunk *c)
{
    if (out->spare == NULL && c->bytes.cap <= CHUNK_MAX) {
        c->bytes.len = c->taken = 0;
        c->next = NULL;
        out->spare = c;
        return;
    }
    isola_buf_free(&c->bytes);
    free(c);
}

/* A chunk with room for `n` bytes: the lane's last, or one that is not in the lane yet. */
static struct isola__chunk *chunk_for(struct isola__outflow *out, enum isola__lane lane, size_t n)
{
    struct isola__chunk *c = out->tail[lane];
    if (c != NULL && (c->bytes.cap - c->bytes.len >= n || c->bytes.len + n <= CHUNK_MAX))
        return c;
    c = out->spare;
    out->spare = NULL;
    if (c == NULL)
        c = calloc(1, sizeof(*c));
    if (c != NULL && c->bytes.cap < n &&
        !isola_buf_grow(&c->bytes, n > CHUNK_MIN ? n : CHUNK_MIN)) {
        isola_buf_free(&c->bytes);
        free(c);
        return NULL;
    }
    return c;
}

static void put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof(v));
}

struct isola_buf *isola__outflow_begin(struct isola__outflow *out, enum isola__lane lane,
                                       uint32_t key, bool cut, size_t estimate)
{
    ISOLA_CHECK(out->building == NULL);
    out->key = fold(key);
    out->lane = behind(out, lane, out->key);
    if (out->lane == ISOLA__LANE_LARGE || (cut && estimate > ISOLA__SMALL_MAX)) {
        out->lane = ISOLA__LANE_LARGE;
        if (estimate > SIZE_MAX / 2 ||
            !isola_buf_grow(&out->large, ISOLA__FRAME_BEFORE + estimate)) {
            isola_buf_free(&out->large);
            return NULL;
        }
        isola_buf_extend(&out->large, ISOLA__FRAME_BEFORE);
        return out->building = &out->large;
    }
    struct isola__chunk *c =
        chunk_for(out, out->lane, sizeof(struct entry) + ISOLA__ITEM_HEADER + estimate);
    if (c == NULL)
        return NULL;
    out->chunk = c;
    out->building = &c->bytes;
    out->begun = c->bytes.len;
    isola_buf_extend(&c->bytes, sizeof(struct entry) + ISOLA__ITEM_HEADER);
    return &c->bytes;
}

static void put_sender(struct isola__outflow *out, struct isola__sender *s)
{
    bool now = out->senders < ISOLA__SENDERS_MAX;
    struct isola__sender **first = now ? &out->first : &out->waiting;
    struct isola__sender **last = now ? &out->last : &out->more;
    s->next = NULL;
    if (*first == NULL)
        *first = s;
    else
        (*last)->next = s;
    *last = s;
    out->senders += now;
}

static struct isola__sender *find_sender(struct isola__sender *s, uint8_t key)
{
    while (s != NULL && s->key != key)
        s = s->next;
    return s;
}

static int put_large(struct isola__outflow *out, void *memory, uint8_t *frame, size_t len)
{
    if (len > ISOLA_MESSAGE_MAX)
        return ISOLA_ETOOBIG;
    struct isola__transfer *t = calloc(1, sizeof(*t));
    struct isola__sender *s = NULL, *fresh = NULL;
    if (t == NULL)
        goto fail;
    /* What has no order among frames has one among its parts: it is a sender of its own. */
    if (out->key != 0 && (s = find_sender(out->first, out->key)) == NULL)
        s = find_sender(out->waiting, out->key);
    if (s == NULL && (s = fresh = calloc(1, sizeof(*s))) == NULL)
        goto fail;
    if (!count(out, ISOLA__LANE_LARGE, out->key))
        goto fail;
    t->memory = memory;
    t->frame = frame;
    t->len = len;
    t->number = out->next_number++;
    if (fresh != NULL) {
        fresh->key = out->key;
        fresh->head = t;
        put_sender(out, fresh);
    } else {
        s->tail->next = t;
    }
    s->tail = t;
    out->bytes += ISOLA__ITEM_HEADER + len;
    out->count++;
    return 0;
fail:
    free(fresh);
    free(t);
    return ISOLA_ENOMEM;
}

static int end_large(struct isola__outflow *out)
{
    struct isola_buf b = out->large;
    out->large = (struct isola_buf){0};
    int rc = b.failed ? ISOLA_ENOMEM
                      : put_large(out, b.data, b.data + ISOLA__FRAME_BEFORE,
                                  b.len - ISOLA__FRAME_BEFORE);
    if (rc != 0)
        isola_buf_free(&b);
    return rc;
}

int isola__outflow_take(struct isola__outflow *out, uint32_t key, void *memory, uint8_t *frame,
                        size_t len)
{
    ISOLA_CHECK(out->building == NULL && len > ISOLA__SMALL_MAX);
    out->lane = ISOLA__LANE_LARGE;
    out->key = fold(key);
    return put_large(out, memory, frame, len);
}

static void link_chunk(struct isola__outflow *out)
{
    struct isola__chunk *c = out->chunk;
    if (c == out->tail[out->lane])
        return;
    c->next = NULL;
    if (out->tail[out->lane] == NULL)
        out->head[out->lane] = c;
    else
        out->tail[out->lane]->next = c;
    out->tail[out->lane] = c;
}

/* What lies behind `begun` is an entry whose item has this header. */
static int end_small(struct isola__outflow *out, uint32_t header)
{
    struct isola_buf *b = &out->chunk->bytes;
    if (!b->failed && count(out, out->lane, out->key)) {
        struct entry e = {(uint32_t)(b->len - out->begun - sizeof(e)), out->key};
        memcpy(b->data + out->begun, &e, sizeof(e));
        put32(b->data + out->begun + sizeof(e), header);
        link_chunk(out);
        out->bytes += e.len;
        out->count++;
        return 0;
    }
    b->failed = false;
    b->len = out->begun;
    if (out->chunk != out->tail[out->lane])
        free_chunk(out, out->chunk);
    return ISOLA_ENOMEM;
}

static uint32_t header_of(enum isola__item kind, size_t len)
{
    return kind == ISOLA__ITEM_FRAME || kind == ISOLA__ITEM_GOODBYE
               ? (uint32_t)len
               : 1u << 31 | (uint32_t)kind << 24 | (uint32_t)len;
}

int isola__outflow_end_as(struct isola__outflow *out, enum isola__item kind)
{
    bool large = out->building == &out->large;
    out->building = NULL;
    if (large) {
        ISOLA_CHECK(kind == ISOLA__ITEM_FRAME);
        return end_large(out);
    }
    struct isola_buf *b = &out->chunk->bytes;
    size_t n = b->failed ? 0 : b->len - out->begun - sizeof(struct entry) - ISOLA__ITEM_HEADER;
    if (n <= ISOLA_FRAME_MAX)
        return end_small(out, header_of(kind, n));
    b->len = out->begun;
    if (out->chunk != out->tail[out->lane])
        free_chunk(out, out->chunk);
    return ISOLA_ETOOBIG;
}

int isola__outflow_end(struct isola__outflow *out)
{
    return isola__outflow_end_as(out, ISOLA__ITEM_FRAME);
}

int isola__outflow_item(struct isola__outflow *out, int kind, const void *data, size_t len)
{
    ISOLA_CHECK(out->building == NULL && len <= ISOLA__SMALL_MAX);
    out->lane = ISOLA__LANE_CONTROL;
    out->key = 0;
    out->chunk = chunk_for(out, out->lane, sizeof(struct entry) + ISOLA__ITEM_HEADER + len);
    if (out->chunk == NULL)
        return ISOLA_ENOMEM;
    struct isola_buf *b = &out->chunk->bytes;
    out->begun = b->len;
    isola_buf_extend(b, sizeof(struct entry) + ISOLA__ITEM_HEADER);
    isola_buf_append(b, data, len);
    return end_small(out, header_of((enum isola__item)kind, len));
}

/* --- filling --- */

static bool begin_record(struct isola__fill *fill, bool gaps)
{
    size_t before = gaps ? ISOLA__RECORD_BEFORE : 0;
    if (isola_buf_extend(&fill->bytes, before) == NULL && before > 0)
        return false;
    fill->records[fill->nrecords++] = (struct isola__span){.at = fill->bytes.len};
    return true;
}

static void end_record(struct isola__fill *fill, bool gaps)
{
    struct isola__span *r = &fill->records[fill->nrecords - 1];
    r->len = fill->bytes.len - r->at;
    if (gaps)
        isola_buf_extend(&fill->bytes, ISOLA__RECORD_AFTER); /* reserved before */
}

/* What the record that is being filled has room for. */
static size_t left(const struct isola__fill *fill)
{
    const struct isola__span *r = &fill->records[fill->nrecords - 1];
    size_t used = fill->bytes.len - r->at;
    return used < ISOLA__RECORD_MAX && r->part == NULL ? ISOLA__RECORD_MAX - used : 0;
}

static void take_small(struct isola__outflow *out, enum isola__lane lane, struct isola__fill *fill)
{
    struct isola__chunk *c;
    while ((c = out->head[lane]) != NULL) {
        while (c->taken < c->bytes.len) {
            struct entry e;
            memcpy(&e, c->bytes.data + c->taken, sizeof(e));
            /* One that is larger than any record is on a link without records. */
            size_t used = fill->bytes.len - fill->records[fill->nrecords - 1].at;
            if (e.len > left(fill) && (used > 0 || e.len <= ISOLA__RECORD_MAX))
                return;
            isola_buf_append(&fill->bytes, c->bytes.data + c->taken + sizeof(e), e.len);
            if (fill->bytes.failed)
                return;
            c->taken += sizeof(e) + e.len;
            out->bytes -= e.len;
            out->count--;
            out->behind[lane][e.key]--;
        }
        out->head[lane] = c->next;
        if (c->next == NULL)
            out->tail[lane] = NULL;
        free_chunk(out, c);
    }
}

/* The transfer at the head of the first sender has been sent, or is dropped. `fill`: it has parts
 * in there. */
static void sent_transfer(struct isola__outflow *out, struct isola__fill *fill)
{
    struct isola__sender *s = out->first;
    struct isola__transfer *t = s->head;
    s->head = t->next;
    out->bytes -= ISOLA__ITEM_HEADER + t->len - t->sent;
    out->count--;
    out->behind[ISOLA__LANE_LARGE][s->key]--;
    if (fill != NULL)
        fill->spent[fill->nspent++] = t->memory;
    else
        free(t->memory);
    free(t);
}

/* The first sender goes, when it has nothing more, or to the end of the line: to that of those who
 * wait to be let in, when it is between two frames and there are any. */
static void next_sender(struct isola__outflow *out)
{
    struct isola__sender *s = out->first, *in = out->waiting;
    out->first = s->next;
    if (out->first == NULL)
        out->last = NULL;
    out->senders--;
    if (s->head != NULL && s->head->sent > 0)
        in = NULL; /* its place is not free */
    if (in != NULL) {
        out->waiting = in->next;
        if (out->waiting == NULL)
            out->more = NULL;
        put_sender(out, in);
    }
    if (s->head != NULL)
        put_sender(out, s);
    else
        free(s);
}

/* Does something its sender has put before it still wait in another lane? */
static bool waits_for_small(const struct isola__outflow *out, uint8_t key)
{
    for (int l = 0; key != 0 && l < ISOLA__LANE_LARGE; l++)
        if (out->behind[l][key] != 0)
            return true;
    return false;
}

/* One part of the first sender's frame, or a whole one that is small. False: there is no room. */
static bool take_one(struct isola__outflow *out, bool gaps, struct isola__fill *fill)
{
    struct isola__transfer *t = out->first->head;
    size_t room = left(fill), rest = t->len - t->sent;
    bool whole = t->sent == 0 && t->len <= ISOLA__SMALL_MAX;
    size_t head = ISOLA__ITEM_HEADER + (whole ? 0 : t->sent == 0 ? 12 : 4);
    if (room < head + (whole ? rest : 1))
        return false;
    size_t n = rest < room - head ? rest : room - head;
    struct isola__span *r = &fill->records[fill->nrecords - 1];
    bool stays = gaps && !whole && fill->bytes.len == r->at && n >= PART_LEAST;
    uint8_t *p = stays ? r->head : isola_buf_extend(&fill->bytes, head); /* reserved */
    put32(p, header_of(whole          ? ISOLA__ITEM_FRAME
                       : t->sent == 0 ? ISOLA__ITEM_OPEN
                                      : ISOLA__ITEM_PART,
                       head - ISOLA__ITEM_HEADER + n));
    if (!whole)
        put32(p + ISOLA__ITEM_HEADER, t->number);
    if (!whole && t->sent == 0) {
        uint64_t total = htobe64(t->len);
        memcpy(p + ISOLA__ITEM_HEADER + 4, &total, sizeof(total));
    }
    if (stays) {
        r->nhead = (uint8_t)head;
        r->part = t->frame + t->sent;
        isola_buf_extend(&fill->bytes, head + n);
    } else {
        isola_buf_append(&fill->bytes, t->frame + t->sent, n);
    }
    t->sent += n;
    out->bytes -= n;
    if (t->sent == t->len)
        sent_transfer(out, gaps && !whole ? fill : NULL);
    return true;
}

static bool is_small(const struct isola__transfer *t)
{
    return t != NULL && t->sent == 0 && t->len <= ISOLA__SMALL_MAX;
}

/* The turn of the first sender: a part of what is large, and of what is small and has to wait
 * behind it as much as there is room for. */
static void take_part(struct isola__outflow *out, bool gaps, struct isola__fill *fill)
{
    struct isola__sender *s = out->first;
    bool part = false, any = false;
    if (!waits_for_small(out, s->key))
        while (s->head != NULL && !(part && !is_small(s->head))) {
            part |= !is_small(s->head);
            if (!take_one(out, gaps, fill))
                break;
            any = true;
        }
    else
        any = true; /* not now */
    if (any)
        next_sender(out);
}

static bool any_small(const struct isola__outflow *out)
{
    for (int l = 0; l < ISOLA__LANE_LARGE; l++)
        if (out->head[l] != NULL)
            return true;
    return false;
}

/* A record's bytes are reserved before any of it is taken, so that none is lost for want of memory.
 */
static int reserve(struct isola__outflow *out, struct isola__fill *fill)
{
    size_t n = out->bytes + ISOLA__ITEM_HEADER + 12;
    if (n > ISOLA__RECORD_MAX) {
        n = ISOLA__RECORD_MAX;
        for (int l = 0; l < ISOLA__LANE_LARGE; l++) { /* a frame that is not to be cut */
            struct isola__chunk *c = out->head[l];
            struct entry e;
            if (c == NULL)
                continue;
            memcpy(&e, c->bytes.data + c->taken, sizeof(e));
            n = e.len > n ? e.len : n;
        }
    }
    n += ISOLA__RECORD_BEFORE + ISOLA__RECORD_AFTER;
    if (fill->bytes.cap - fill->bytes.len >= n)
        return 0;
    return isola_buf_grow(&fill->bytes, n) ? 0 : ISOLA_ENOMEM;
}

/* The part that is next gets a record of its own, when this one has something already. */
static bool wants_record(const struct isola__outflow *out, bool gaps,
                         const struct isola__fill *fill)
{
    const struct isola__transfer *t = out->first->head;
    bool any = fill->bytes.len > fill->records[fill->nrecords - 1].at;
    return gaps && any && !is_small(t) && t->len - t->sent >= PART_LEAST;
}

int isola__outflow_fill(struct isola__outflow *out, bool gaps, struct isola__fill *fill)
{
    isola__fill_spent(fill);
    fill->bytes.len = 0;
    fill->nrecords = 0;
    while (fill->nrecords < ISOLA__RECORDS && (any_small(out) || out->first != NULL)) {
        if (reserve(out, fill) != 0) {
            fill->bytes.failed = false;
            return fill->nrecords > 0 ? 0 : ISOLA_ENOMEM;
        }
        begin_record(fill, gaps);
        /* The last record is for a part, however much is small. */
        bool last = fill->nrecords == ISOLA__RECORDS;
        if (last && out->first != NULL)
            take_part(out, gaps, fill);
        for (int l = 0; l < ISOLA__LANE_LARGE; l++) {
            take_small(out, (enum isola__lane)l, fill);
            if (out->head[l] != NULL)
                break; /* what follows may be of the same senders, and later */
        }
        if (!last && out->first != NULL && !any_small(out) && !wants_record(out, gaps, fill))
            take_part(out, gaps, fill);
        end_record(fill, gaps);
    }
    return 0;
}

uint8_t *isola__fill_plain(struct isola__fill *fill, size_t record)
{
    struct isola__span *r = &fill->records[record];
    if (r->part == NULL)
        return fill->bytes.data + r->at;
    memcpy(r->part - r->nhead, r->head, r->nhead);
    return r->part - r->nhead;
}

void isola__fill_spent(struct isola__fill *fill)
{
    while (fill->nspent > 0)
        free(fill->spent[--fill->nspent]);
}

void isola__fill_free(struct isola__fill *fill)
{
    isola__fill_spent(fill);
    isola_buf_free(&fill->bytes);
    fill->nrecords = 0;
}

void isola__outflow_free(struct isola__outflow *out)
{
    for (int l = 0; l < ISOLA__LANE_LARGE; l++)
        while (out->head[l] != NULL) {
            struct isola__chunk *c = out->head[l];
            out->head[l] = c->next;
            isola_buf_free(&c->bytes);
            free(c);
        }
    if (out->spare != NULL)
        isola_buf_free(&out->spare->bytes);
    free(out->spare);
    while (out->first != NULL) {
        while (out->first->head != NULL)
            sent_transfer(out, NULL);
        next_sender(out);
    }
    isola_buf_free(&out->large);
    free(out->behind);
    *out = (struct isola__outflow){0};
}
