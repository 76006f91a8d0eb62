/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <locale.h>
#include <wchar.h>

#include "base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

static bool drives_terminal(uint32_t u)
{
    if (u < 0x20)
        return u != '\t' && u != '\n';
    /* DEL, the C1 controls, and what reorders a line */
    return (u >= 0x7f && u <= 0x9f) || (u >= 0x202a && u <= 0x202e) || (u >= 0x2066 && u <= 0x2069);
}

/* The bytes of the sequence at the beginning of `s` that sets colours (ECMA-48, SGR); 0: it is
 * none. */
static size_t colours(struct isola_slice s)
{
    size_t n = 2;
    if (s.len < 3 || s.data[0] != 0x1b || s.data[1] != '[')
        return 0;
    while (n < s.len &&
           ((s.data[n] >= '0' && s.data[n] <= '9') || s.data[n] == ';' || s.data[n] == ':'))
        n++;
    return n < s.len && s.data[n] == 'm' ? n + 1 : 0;
}

static void copy(struct isola_buf *out, struct isola_slice s, bool for_terminal)
{
    size_t kept = 0; /* everything before has been appended */
    for (size_t i = 0; i < s.len;) {
        uint32_t u = 0;
        size_t n = isola_utf8_next(s.data + i, s.len - i, &u);
        if (n > 0 && !(for_terminal && drives_terminal(u))) {
            i += n;
            continue;
        }
        isola_buf_append(out, s.data + kept, i - kept);
        size_t coloured = for_terminal ? colours(isola_slice(s.data + i, s.len - i)) : 0;
        if (coloured == 0)
            isola_buf_puts(out, REPLACEMENT);
        i += coloured > 0 ? coloured : n > 0 ? n : 1;
        kept = i;
    }
    if (kept < s.len)
        isola_buf_append(out, s.data + kept, s.len - kept);
}

void isola__text_utf8(struct isola_buf *out, struct isola_slice s)
{
    copy(out, s, false);
}

void isola__text_clean(struct isola_buf *out, struct isola_slice s)
{
    copy(out, s, true);
}

void isola__text_indent(struct isola_buf *out, struct isola_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        isola_buf_append(out, s.data + i, 1);
        if (s.data[i] == '\n')
            isola_buf_puts(out, "    ");
    }
}

/* wcwidth goes by the thread's locale; the program's own stays "C" so that numbers keep their
 * point. */
struct measure {
    locale_t utf8, before;
};

static struct measure measure_begin(void)
{
    struct measure m = {.utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0)};
    if (m.utf8 != (locale_t)0)
        m.before = uselocale(m.utf8);
    return m;
}

static void measure_end(struct measure m)
{
    if (m.utf8 == (locale_t)0)
        return;
    uselocale(m.before);
    freelocale(m.utf8);
}

/* Of the character at `*at`, which it steps over. */
static size_t next_width(struct isola_slice s, size_t *at)
{
    uint32_t u = 0;
    size_t n = isola_utf8_next(s.data + *at, s.len - *at, &u);
    int w = n == 0 || u < 0x80 ? 1 : wcwidth((wchar_t)u);
    *at += n > 0 ? n : 1;
    return w < 0 ? 1 : (size_t)w;
}

static size_t width(struct isola_slice s)
{
    size_t columns = 0;
    for (size_t i = 0; i < s.len;)
        columns += next_width(s, &i);
    return columns;
}

size_t isola__text_width(struct isola_slice s)
{
    struct measure m = measure_begin();
    size_t columns = width(s);
    measure_end(m);
    return columns;
}

void isola__text_shorten(struct isola_buf *out, struct isola_slice s, size_t columns)
{
    struct measure m = measure_begin();
    size_t left = width(s); /* columns from `i` on */
    size_t head = columns / 2, tail = columns - 1 - head;
    size_t head_end = 0, tail_begin = s.len;
    for (size_t i = 0, passed = 0; i < s.len;) {
        size_t at = i, w = next_width(s, &i);
        /* never a combining mark without what it combines with */
        if (left <= tail && w > 0 && tail_begin == s.len)
            tail_begin = at;
        passed += w;
        left -= w;
        if (passed <= head)
            head_end = i;
    }
    measure_end(m);
    isola_buf_append(out, s.data, head_end);
    isola_buf_puts(out, "…");
    isola_buf_append(out, s.data + tail_begin, s.len - tail_begin);
}
