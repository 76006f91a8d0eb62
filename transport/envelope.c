/* SPDX-License-Identifier: Apache-2.0
 *
 * Envelopes to bytes and back. Decoding copies nothing: the message's slices point into the frame.
 *
 * Invariants: what decode accepts is wholly well-formed (every item of args, also inside Map, Set
 * and Error values, is there and nests no deeper than ISOLA_VALUE_DEPTH below args), so that later
 * readers need not fear cut-off input. Whether src and dst are addresses is for those who look at
 * them.
 */
#include "transport/envelope.h"

#include "base/msgpack.h"

/* By version. */
static const unsigned fields_of[ISOLA_WIRE_VERSION + 1] = {0, 9, 12};

static void array_or_none(struct isola_buf *out, struct isola_slice array)
{
    if (array.len == 0)
        isola_mp_array(out, 0);
    else
        isola_buf_append(out, array.data, array.len);
}

/* Large args begin at an even place of the envelope, which begins at `begun`, so that their
 * receiver may leave texts where they lie: the trace has a longer header for that. */
static void put_trace(const struct isola_msg *m, size_t begun, struct isola_buf *out)
{
    size_t rest = 2 + m->trace.len + (m->chain.len > 0 ? m->chain.len : 1);
    if (m->args.len < ISOLA_VALUES_LARGE || (out->len - begun + rest) % 2 == 0) {
        isola_mp_bin(out, m->trace);
        return;
    }
    uint8_t bin16[] = {0xc5, 0, (uint8_t)m->trace.len};
    isola_buf_append(out, bin16, sizeof(bin16));
    isola_buf_append(out, m->trace.data, m->trace.len);
}

void isola_envelope_encode_head(const struct isola_msg *m, unsigned version, struct isola_buf *out)
{
    bool all = version > 1;
    size_t begun = out->len;
    isola_mp_array(out, fields_of[version]);
    isola_mp_uint(out, version);
    isola_mp_uint(out, (uint64_t)m->kind);
    if (all)
        isola_mp_uint(out, m->flags);
    isola_mp_uint(out, m->id);
    if (all)
        isola_mp_uint(out, m->seq);
    isola_mp_str(out, m->src);
    isola_mp_str(out, m->dst);
    isola_mp_str(out, m->event);
    isola_mp_uint(out, m->timeout_ms);
    if (all)
        put_trace(m, begun, out);
    array_or_none(out, m->chain);
}

void isola_envelope_encode_args(const struct isola_msg *m, struct isola_buf *out)
{
    array_or_none(out, m->args);
}

void isola_envelope_encode(const struct isola_msg *m, unsigned version, struct isola_buf *out)
{
    isola_envelope_encode_head(m, version, out);
    isola_envelope_encode_args(m, out);
}

/* A field's number and what is wrong with it, as the caller's error. */
static int malformed(struct isola_err *err, const char *field, const char *why)
{
    return isola_fail(err, ISOLA_EPROTO, "malformed envelope: %s %s", field, why);
}

static int read_any_uint(struct isola_mp_reader *r, const char *field, uint64_t max, uint64_t *out,
                         struct isola_err *err)
{
    struct isola_mp_item item;
    if (isola_mp_next(r, &item) != 0)
        return malformed(err, field, "is cut off");
    if (item.type != ISOLA_MP_UINT)
        return malformed(err, field, "is not an unsigned integer");
    if (item.u > max)
        return malformed(err, field, "is out of range");
    *out = item.u;
    return 0;
}

/* Most are one byte. */
static inline int read_uint(struct isola_mp_reader *r, const char *field, uint64_t max,
                            uint64_t *out, struct isola_err *err)
{
    if (r->p == r->end || *r->p >= 0x80 || *r->p > max)
        return read_any_uint(r, field, max, out, err);
    *out = *r->p++;
    return 0;
}

static int read_any_str(struct isola_mp_reader *r, const char *field, struct isola_slice *out,
                        struct isola_err *err)
{
    struct isola_mp_item item;
    if (isola_mp_next(r, &item) != 0)
        return malformed(err, field, "is cut off");
    if (item.type != ISOLA_MP_STR)
        return malformed(err, field, "is not a string");
    *out = item.bytes;
    return 0;
}

/* Most have fewer than 32 bytes. */
static inline int read_str(struct isola_mp_reader *r, const char *field, struct isola_slice *out,
                           struct isola_err *err)
{
    if (r->p == r->end || (*r->p & 0xe0) != 0xa0 || r->end - r->p <= (*r->p & 0x1f))
        return read_any_str(r, field, out, err);
    *out = isola_slice(r->p + 1, *r->p & 0x1f);
    r->p += 1 + out->len;
    return 0;
}

static int read_trace(struct isola_mp_reader *r, struct isola_slice *out, struct isola_err *err)
{
    static const uint8_t none[] = {0xc4, 0};
    struct isola_mp_item item;
    if (r->end - r->p >= 2 && memcmp(r->p, none, sizeof(none)) == 0) {
        *out = isola_slice(NULL, 0);
        r->p += sizeof(none);
        return 0;
    }
    if (isola_mp_next(r, &item) != 0)
        return malformed(err, "trace", "is cut off");
    if (item.type != ISOLA_MP_BIN || (item.bytes.len != 0 && !isola_is_trace(item.bytes)))
        return malformed(err, "trace", "is no trace context");
    *out = item.bytes;
    return 0;
}

static int read_chain(struct isola_mp_reader *r, struct isola_slice *out, struct isola_err *err)
{
    const uint8_t *start = r->p;
    struct isola_mp_item item;
    if (r->p < r->end && *r->p == 0x90) {
        *out = isola_slice(NULL, 0);
        r->p++;
        return 0;
    }
    if (isola_mp_next(r, &item) != 0)
        return malformed(err, "chain", "is cut off");
    if (item.type != ISOLA_MP_ARRAY)
        return malformed(err, "chain", "is not an array");
    uint32_t n = item.n;
    for (uint32_t i = 0; i < n; i++) {
        struct isola_slice address;
        int rc = read_str(r, "chain", &address, err);
        if (rc != 0)
            return rc;
    }
    *out = n == 0 ? isola_slice(NULL, 0) : isola_slice(start, (size_t)(r->p - start));
    return 0;
}

/* One open container: the items still to come, or, for the payload of an extension, as many as fill
 * it. */
struct level {
    uint64_t owed;            /* FILLS for a payload */
    const uint8_t *outer_end; /* of a payload: the reader's end outside of it */
};
#define FILLS UINT64_MAX

static int read_args(struct isola_mp_reader *r, struct isola_slice *out, struct isola_err *err)
{
    struct level levels[ISOLA_VALUE_DEPTH + 1];
    const uint8_t *start = r->p;
    struct isola_mp_item item;
    if (isola_mp_next(r, &item) != 0)
        return malformed(err, "args", "is cut off");
    if (item.type != ISOLA_MP_ARRAY)
        return malformed(err, "args", "is not an array");

    size_t depth = 0; /* of the innermost open container; args is 0 */
    levels[0].owed = item.n;
    for (;;) {
        struct level *l = &levels[depth];
        if (l->owed == FILLS ? r->p == r->end : l->owed == 0) {
            if (depth == 0)
                break;
            if (l->owed == FILLS)
                r->end = l->outer_end;
            depth--;
            continue;
        }
        if (l->owed != FILLS)
            l->owed--;
        if (isola_mp_next(r, &item) != 0)
            return malformed(err, "args", "holds a malformed value");

        bool payload = isola_mp_holds_values(&item);
        if (!payload && item.type != ISOLA_MP_ARRAY && item.type != ISOLA_MP_MAP)
            continue;
        if (depth == ISOLA_VALUE_DEPTH)
            return malformed(err, "args", "nests too deeply");
        l = &levels[++depth];
        if (payload) {
            *l = (struct level){FILLS, r->end};
            r->p = item.bytes.data;
            r->end = item.bytes.data + item.bytes.len;
        } else {
            l->owed = item.type == ISOLA_MP_MAP ? 2 * (uint64_t)item.n : item.n;
        }
    }
    *out = isola_slice(start, (size_t)(r->p - start));
    return 0;
}

static int trailing(const struct isola_mp_reader *r, struct isola_err *err)
{
    return isola_fail(err, ISOLA_EPROTO, "malformed envelope: %zu bytes after its end",
                      (size_t)(r->end - r->p));
}

int isola_envelope_decode_args(struct isola_slice bytes, struct isola_slice *out,
                               struct isola_err *err)
{
    struct isola_mp_reader r = isola_mp_reader(bytes);
    int rc = read_args(&r, out, err);
    return rc == 0 && r.p != r.end ? trailing(&r, err) : rc;
}

/* What is left of the envelope after version and kind. */
static int read_fields(struct isola_mp_reader *r, bool all, struct isola_msg *m,
                       struct isola_err *err)
{
    uint64_t flags = 0, timeout;
    int rc;
    if (all && (rc = read_uint(r, "flags", ISOLA_MSG_FLAGS, &flags, err)) != 0)
        return rc;
    if ((rc = read_uint(r, "id", UINT64_MAX, &m->id, err)) != 0 ||
        (all && (rc = read_uint(r, "seq", INT64_MAX, &m->seq, err)) != 0) ||
        (rc = read_str(r, "src", &m->src, err)) != 0 ||
        (rc = read_str(r, "dst", &m->dst, err)) != 0 ||
        (rc = read_str(r, "event", &m->event, err)) != 0 ||
        (rc = read_uint(r, "timeout", UINT32_MAX, &timeout, err)) != 0 ||
        (all && (rc = read_trace(r, &m->trace, err)) != 0) ||
        (rc = read_chain(r, &m->chain, err)) != 0 || (rc = read_args(r, &m->args, err)) != 0)
        return rc;
    m->flags = (uint32_t)flags;
    m->timeout_ms = (uint32_t)timeout;
    bool durable = (m->flags & ISOLA_MSG_DURABLE) != 0;
    bool counted = durable || m->kind == ISOLA_MSG_ACK;
    if (durable && m->kind != ISOLA_MSG_ASK && m->kind != ISOLA_MSG_EMIT &&
        m->kind != ISOLA_MSG_REPLY && m->kind != ISOLA_MSG_FAIL)
        return malformed(err, "flags", "say durable of what cannot be");
    if ((m->flags & ISOLA_MSG_TELL) != 0 && m->kind != ISOLA_MSG_EMIT)
        return malformed(err, "flags", "ask to be told of what is no emit");
    if (counted != (m->seq != 0))
        return malformed(err, "seq", counted ? "is missing" : "is not for this kind of message");
    return 0;
}

int isola_envelope_decode(struct isola_slice frame, struct isola_msg *out, unsigned *version,
                          struct isola_err *err)
{
    struct isola_mp_reader r = isola_mp_reader(frame);
    struct isola_mp_item item;
    struct isola_msg m = {0};
    uint64_t spoken, kind;
    int rc;

    if (isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_ARRAY || item.n == 0)
        return isola_fail(err, ISOLA_EPROTO, "malformed envelope: it is not an array");
    /* The version first: another one may have another number of fields. */
    uint32_t fields = item.n;
    if ((rc = read_uint(&r, "version", UINT64_MAX, &spoken, err)) != 0)
        return rc;
    if (spoken < ISOLA_WIRE_OLDEST || spoken > ISOLA_WIRE_VERSION)
        return isola_fail(err, ISOLA_EPROTO,
                          "the peer speaks wire version %llu, this program speaks versions %d to "
                          "%d; run releases that are at most one apart",
                          (unsigned long long)spoken, ISOLA_WIRE_OLDEST, ISOLA_WIRE_VERSION);
    if (fields != fields_of[spoken])
        return isola_fail(err, ISOLA_EPROTO,
                          "malformed envelope: %u fields, wire version %u has %u", fields,
                          (unsigned)spoken, fields_of[spoken]);
    if ((rc = read_uint(&r, "kind", UINT64_MAX, &kind, err)) != 0)
        return rc;
    if (kind < ISOLA_MSG_ASK || kind > (spoken > 1 ? ISOLA_MSG_LAST : ISOLA_MSG_CANCEL))
        return isola_fail(err, ISOLA_EPROTO, "malformed envelope: kind %llu is unknown",
                          (unsigned long long)kind);
    m.kind = (enum isola_msg_kind)kind;
    if ((rc = read_fields(&r, spoken > 1, &m, err)) != 0)
        return rc;
    if (r.p != r.end)
        return trailing(&r, err);
    if (version != NULL)
        *version = (unsigned)spoken;
    *out = m;
    return 0;
}
