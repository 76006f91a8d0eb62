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
        isola_buf_puts(out, REPLACEMENT);
        i += n > 0 ? n : 1;
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

#define NAME_MAX_LEN 32

/* Optimal string alignment (Damerau-Levenshtein without overlapping swaps), three rows. */
static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= nb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                above2[j - 2] + 1 < best)
                best = above2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *isola__text_nearest(const char *word, const char *const *names, size_t n)
{
    size_t len = strlen(word);
    if (len == 0 || len > NAME_MAX_LEN)
        return NULL;
    const char *nearest = NULL;
    size_t least = len / 3 + 1; /* more edits than that are another word */
    for (size_t i = 0; i < n; i++) {
        size_t name_len = strlen(names[i]);
        if (name_len > NAME_MAX_LEN)
            continue;
        size_t d = distance(word, len, names[i], name_len);
        if (d <= least && d < name_len && (nearest == NULL || d < least)) {
            nearest = names[i];
            least = d;
        }
    }
    return nearest;
}
