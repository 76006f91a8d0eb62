/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages: one block each, the struct first, then the bytes its slices point to.
 */
#include "base/msg.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/msgpack.h"
#include "base/utf8.h"

static uint8_t *place(uint8_t *to, struct isola_slice *out, struct isola_slice from)
{
    if (from.len > 0)
        memcpy(to, from.data, from.len);
    *out = isola_slice(to, from.len);
    return to + from.len;
}

struct isola_msg *isola_msg_copy(const struct isola_msg *from)
{
    size_t bytes = from->src.len + from->dst.len + from->event.len + from->trace.len +
                   from->chain.len + from->args.len;
    struct isola_msg *m = malloc(sizeof(*m) + bytes);
    if (m == NULL)
        return NULL;
    *m = *from;
    m->next = NULL;
    m->context = NULL;
    uint8_t *to = (uint8_t *)(m + 1);
    to = place(to, &m->src, from->src);
    to = place(to, &m->dst, from->dst);
    to = place(to, &m->event, from->event);
    to = place(to, &m->trace, from->trace);
    to = place(to, &m->chain, from->chain);
    place(to, &m->args, from->args);
    return m;
}

struct isola_msg *isola_msg_reply(uint64_t id, struct isola_slice value)
{
    static const uint8_t nil = 0xc0;
    if (value.len == 0)
        value = isola_slice(&nil, 1);
    struct isola_msg *m = malloc(sizeof(*m) + 1 + value.len);
    if (m == NULL)
        return NULL;
    uint8_t *args = (uint8_t *)(m + 1);
    *m = (struct isola_msg){
        .kind = ISOLA_MSG_REPLY, .id = id, .args = isola_slice(args, 1 + value.len)};
    args[0] = 0x91; /* an array of one */
    memcpy(args + 1, value.data, value.len);
    return m;
}

struct isola_msg *isola_msg_fail(uint64_t id, int code, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    struct isola_buf value = {0};
    isola_mp_error(&value, code, text, NULL);
    free(text);
    struct isola_msg *m = value.failed ? NULL : isola_msg_reply(id, isola_buf_slice(&value));
    isola_buf_free(&value);
    if (m != NULL)
        m->kind = ISOLA_MSG_FAIL;
    return m;
}

void isola_msgq_clear(struct isola_msgq *q)
{
    struct isola_msg *m;
    while ((m = isola_msgq_pop(q)) != NULL)
        free(m);
}

/* Letters, digits, '_' and '-' of ASCII, a bit each. */
static const uint32_t plain_ones[8] = {0, 0x03ff2000, 0x87fffffe, 0x07fffffe};

static bool plain(struct isola_slice s)
{
    uint32_t all = 1;
    for (size_t i = 0; i < s.len; i++)
        all &= plain_ones[s.data[i] >> 5] >> (s.data[i] & 31);
    return all != 0;
}

/* Eight characters, each of printing ASCII? */
static bool eight_print(const uint8_t *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    uint64_t del = v ^ ones * 0x7f; /* a zero where there is one */
    return ((v | (v - ones * 0x20) | (del - ones)) & tops) == 0;
}

/* The length of the well-formed UTF-8 sequence at `p`, 0 when there is none or when it is a control
 * character. */
static size_t sequence(const uint8_t *p, size_t left)
{
    uint32_t code = 0;
    size_t n = isola_utf8_next(p, left, &code);
    return code >= 0x20 && (code < 0x7f || code > 0x9f) ? n : 0;
}

/* Up to the first '/', which is skipped; false when there is none. */
static bool split(struct isola_slice *rest, struct isola_slice *part)
{
    const uint8_t *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    if (slash == NULL)
        return false;
    *part = isola_slice(rest->data, (size_t)(slash - rest->data));
    *rest = isola_slice(slash + 1, rest->len - part->len - 1);
    return true;
}

bool isola_is_trace(struct isola_slice bytes)
{
    uint8_t trace = 0, span = 0;
    for (size_t i = 0; i < bytes.len && i < 16; i++)
        trace |= bytes.data[i];
    for (size_t i = 16; i < bytes.len && i < 24; i++)
        span |= bytes.data[i];
    return bytes.len == ISOLA_TRACE_SIZE && trace != 0 && span != 0;
}

#define PROGRAM_LEN 23

bool isola_is_program(struct isola_slice name)
{
    bool ok = name.len == PROGRAM_LEN && name.data[0] == '~';
    for (size_t i = 1; ok && i < name.len; i++) {
        uint8_t c = name.data[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '-' || c == '_';
    }
    return ok;
}

int isola_address_parse(struct isola_slice text, struct isola_address *out, struct isola_err *err)
{
    if (text.len > ISOLA_ADDRESS_MAX)
        return isola_fail(err, ISOLA_EINVAL, "an address of %zu bytes is too long; %d are allowed",
                          text.len, ISOLA_ADDRESS_MAX);
    for (size_t i = 0, n; i < text.len; i += n) {
        n = text.len - i >= 8 && eight_print(text.data + i) ? 8
                                                            : sequence(text.data + i, text.len - i);
        if (n == 0)
            return isola_fail(err, ISOLA_EINVAL,
                              "the address has a control character or is not UTF-8 at byte %zu", i);
    }
    struct isola_slice rest = text, app, type;
    if (!split(&rest, &app) || !split(&rest, &type) || app.len == 0 || type.len == 0 ||
        rest.len == 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "\"%.*s\" is not an address: it has the form app/Type/key",
                          ISOLA_FMT(text));
    if (!plain(app) || !plain(type))
        return isola_fail(
            err, ISOLA_EINVAL,
            "\"%.*s\" is not an address: app and type are made of letters, digits, - and _",
            ISOLA_FMT(text));
    *out = (struct isola_address){app, type, rest};
    return 0;
}
