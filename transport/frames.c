/* SPDX-License-Identifier: Apache-2.0
 *
 * Cutting and joining frames. Arriving bytes lie in one buffer that grows as they come; leaving
 * frames lie in chunks, many small ones to a chunk.
 */
#include "transport/frames.h"

#include <endian.h>

#include "base/check.h"
#include "transport/link.h"

#define HEADER ISOLA__FRAME_HEADER
/* What an idle link keeps for its next read, and the least room worth a read. */
#define READ_FIRST (16u << 10)
#define READ_LEAST (4u << 10)
/* Frames up to this are copied, chunks of copies grow to that. */
#define COPY_MAX  (8u << 10)
#define CHUNK_MIN (4u << 10)
#define CHUNK_MAX (64u << 10)

/* --- arriving --- */

static uint32_t get_length(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return be32toh(v);
}

static int resize(struct isola__frames_in *in, size_t cap)
{
    uint8_t *data = realloc(in->data, cap);
    if (data == NULL)
        return ISOLA_ENOMEM;
    in->data = data;
    in->cap = cap;
    return 0;
}

int isola__frames_room(struct isola__frames_in *in, uint8_t **to, size_t *room)
{
    size_t have = in->len - in->start;
    int rc = 0;
    if (have == 0) {
        in->start = in->len = 0;
        if (in->cap > ISOLA__FRAMES_REST)
            isola__frames_in_free(in);
        if (in->cap == 0)
            rc = resize(in, READ_FIRST);
        else if (in->filled && in->cap < ISOLA__FRAMES_REST)
            rc = resize(in, ISOLA__FRAMES_REST);
    } else {
        if (in->start > 0) {
            memmove(in->data, in->data + in->start, have);
            in->start = 0;
            in->len = have;
        }
        /* As much again as has arrived, but no more than the frame lacks, nor so little that reads
         * get tiny; and only when there is little left, or each small read would copy all. */
        size_t lacks = have >= HEADER ? get_length(in->data) + (size_t)HEADER - have : HEADER;
        size_t wanted = lacks < have ? lacks : have;
        if (in->cap - have < (lacks < READ_LEAST ? lacks : READ_LEAST)) {
            size_t cap = have + (wanted < READ_LEAST ? READ_LEAST : wanted);
            rc = resize(in, cap > ISOLA__FRAMES_REST ? cap : ISOLA__FRAMES_REST);
        }
    }
    if (rc != 0)
        return rc;
    *to = in->data + in->len;
    *room = in->cap - in->len;
    return 0;
}

void isola__frames_arrived(struct isola__frames_in *in, size_t n)
{
    ISOLA_CHECK(n <= in->cap - in->len);
    in->filled = n == in->cap - in->len;
    in->len += n;
}

int isola__frames_next(struct isola__frames_in *in, struct isola_slice *frame)
{
    size_t have = in->len - in->start;
    if (have < HEADER)
        return 0;
    const uint8_t *p = in->data + in->start;
    uint32_t length = get_length(p);
    if (length > ISOLA_FRAME_MAX)
        return ISOLA_EPROTO;
    if (have - HEADER < length)
        return 0;
    *frame = isola_slice(p + HEADER, length);
    in->start += (size_t)HEADER + length;
    return 1;
}

void isola__frames_in_free(struct isola__frames_in *in)
{
    free(in->data);
    *in = (struct isola__frames_in){0};
}

/* --- leaving --- */

static void link_chunk(struct isola__frames_out *out, struct isola__chunk *c)
{
    if (out->tail == NULL)
        out->head = c;
    else
        out->tail->next = c;
    out->tail = c;
}

static void free_chunk(struct isola__chunk *c)
{
    isola_buf_free(&c->bytes);
    free(c);
}

static struct isola__chunk *new_chunk(size_t cap)
{
    struct isola__chunk *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->bytes.data = malloc(cap);
    if (c->bytes.data == NULL) {
        free(c);
        return NULL;
    }
    c->bytes.cap = cap;
    return c;
}

/* The tail, when a write is not looking at it and the frame may be copied behind it. */
static bool extendable(const struct isola__chunk *tail, size_t n)
{
    if (tail == NULL || tail->sealed)
        return false;
    return tail->bytes.cap - tail->bytes.len >= n || tail->bytes.len + n <= CHUNK_MAX;
}

struct isola_buf *isola__frames_begin(struct isola__frames_out *out, size_t estimate)
{
    ISOLA_CHECK(out->building == NULL);
    size_t n = HEADER + estimate;
    struct isola__chunk *c = extendable(out->tail, n) ? out->tail : NULL;
    if (c == NULL)
        c = new_chunk(n > CHUNK_MIN ? n : CHUNK_MIN);
    if (c == NULL)
        return NULL;
    out->building = c;
    out->begun = c->bytes.len;
    isola_buf_extend(&c->bytes, HEADER); /* no memory: `failed`, seen by end */
    return &c->bytes;
}

/* `more` bytes of the frame follow in a chunk of their own. */
static int end(struct isola__frames_out *out, size_t more)
{
    struct isola__chunk *c = out->building;
    int rc = 0;
    out->building = NULL;
    size_t length = 0;
    if (c->bytes.failed)
        rc = ISOLA_ENOMEM;
    else if ((length = c->bytes.len - out->begun - HEADER + more) > ISOLA_FRAME_MAX)
        rc = ISOLA_ETOOBIG;
    if (rc != 0) {
        c->bytes.failed = false;
        c->bytes.len = out->begun;
        if (c != out->tail)
            free_chunk(c);
        return rc;
    }
    uint32_t header = htobe32((uint32_t)length);
    memcpy(c->bytes.data + out->begun, &header, HEADER);
    if (c != out->tail)
        link_chunk(out, c);
    out->bytes += HEADER + length;
    return 0;
}

int isola__frames_end(struct isola__frames_out *out)
{
    return end(out, 0);
}

/* A large frame: its header goes with what is before it, its bytes are taken. */
static int push_whole(struct isola__frames_out *out, struct isola_buf *frame)
{
    struct isola__chunk *c = calloc(1, sizeof(*c));
    if (c == NULL || isola__frames_begin(out, 0) == NULL) {
        free(c);
        return ISOLA_ENOMEM;
    }
    int rc = end(out, frame->len);
    if (rc != 0) {
        free(c);
        return rc;
    }
    c->bytes = *frame;
    *frame = (struct isola_buf){0};
    link_chunk(out, c);
    return 0;
}

int isola__frames_push(struct isola__frames_out *out, struct isola_buf *frame)
{
    if (frame->len > COPY_MAX)
        return push_whole(out, frame);
    struct isola_buf *b = isola__frames_begin(out, frame->len);
    if (b == NULL)
        return ISOLA_ENOMEM;
    isola_buf_append(b, frame->data, frame->len);
    int rc = end(out, 0);
    if (rc == 0)
        isola_buf_free(frame);
    return rc;
}

size_t isola__frames_gather(struct isola__frames_out *out, struct isola__span *spans, size_t max)
{
    size_t n = 0;
    for (struct isola__chunk *c = out->head; c != NULL && n < max; c = c->next) {
        c->sealed = true;
        spans[n++] = (struct isola__span){c->bytes.data + c->written, c->bytes.len - c->written};
    }
    return n;
}

void isola__frames_written(struct isola__frames_out *out, size_t n)
{
    ISOLA_CHECK(n <= out->bytes);
    out->bytes -= n;
    while (n > 0) {
        struct isola__chunk *c = out->head;
        size_t left = c->bytes.len - c->written;
        if (n < left) {
            c->written += n;
            return;
        }
        n -= left;
        out->head = c->next;
        if (out->head == NULL)
            out->tail = NULL;
        free_chunk(c);
    }
}

void isola__frames_out_free(struct isola__frames_out *out)
{
    while (out->head != NULL) {
        struct isola__chunk *c = out->head;
        out->head = c->next;
        free_chunk(c);
    }
    *out = (struct isola__frames_out){0};
}
