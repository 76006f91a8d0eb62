/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "cli/text.h"

#define GAP 2

void isola__table_init(struct isola__table *t, const struct isola__column *columns, size_t n)
{
    ISOLA_CHECK(n > 0 && n <= ISOLA__TABLE_COLUMNS);
    *t = (struct isola__table){.columns = columns, .ncolumns = n};
    for (size_t i = 0; i < n; i++)
        isola__table_add(t, isola_slice_str(columns[i].title), ISOLA__BOLD);
}

void isola__table_add(struct isola__table *t, struct isola_slice text, enum isola__tone tone)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->cells = isola_realloc(t->cells, t->cap * sizeof(*t->cells));
    }
    struct isola_buf clean = {0};
    isola__text_clean(&clean, text);
    for (size_t i = 0; i < clean.len; i++)
        if (clean.data[i] == '\n' || clean.data[i] == '\t')
            clean.data[i] = ' ';
    t->cells[t->n++] = (struct isola__cell){.text = (char *)clean.data,
                                            .len = clean.len,
                                            .width = isola__text_width(isola_buf_slice(&clean)),
                                            .tone = tone};
}

static const char *const escapes[] = {
    [ISOLA__PLAIN] = "",        [ISOLA__BOLD] = "\x1b[1m",  [ISOLA__DIM] = "\x1b[2m",
    [ISOLA__GOOD] = "\x1b[32m", [ISOLA__WARN] = "\x1b[33m", [ISOLA__BAD] = "\x1b[31m",
};

void isola__tone(struct isola_buf *out, enum isola__tone tone, bool colour, struct isola_slice text)
{
    colour = colour && tone != ISOLA__PLAIN;
    if (colour)
        isola_buf_puts(out, escapes[tone]);
    isola_buf_append(out, text.data, text.len);
    if (colour)
        isola_buf_puts(out, "\x1b[0m");
}

static void spaces(struct isola_buf *out, size_t n)
{
    while (n-- > 0)
        isola_buf_puts(out, " ");
}

void isola__table_print(const struct isola__table *t, bool colour, struct isola_buf *out)
{
    size_t widths[ISOLA__TABLE_COLUMNS] = {0};
    ISOLA_CHECK(t->n % t->ncolumns == 0);
    for (size_t i = 0; i < t->n; i++)
        if (t->cells[i].width > widths[i % t->ncolumns])
            widths[i % t->ncolumns] = t->cells[i].width;

    size_t owed = 0; /* spaces that are printed only when something follows */
    for (size_t i = 0; i < t->n; i++) {
        const struct isola__cell *cell = &t->cells[i];
        size_t column = i % t->ncolumns;
        size_t pad = widths[column] - cell->width;
        bool right = t->columns[column].right;
        if (right)
            owed += pad;
        if (cell->len > 0) {
            spaces(out, owed);
            owed = 0;
            isola__tone(out, cell->tone, colour, isola_slice(cell->text, cell->len));
        }
        owed += GAP + (right ? 0 : pad);
        if (column + 1 == t->ncolumns) {
            isola_buf_puts(out, "\n");
            owed = 0;
        }
    }
}

void isola__table_free(struct isola__table *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i].text);
    free(t->cells);
    *t = (struct isola__table){0};
}

void isola__human_bytes(uint64_t bytes, char out[ISOLA__HUMAN_SIZE])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)bytes;
    size_t unit = 0;
    /* 1023.95 would be printed as 1024 */
    while (v >= (unit == 0 ? 1024 : 1023.5) && unit + 1 < sizeof(units) / sizeof(units[0])) {
        v /= 1024;
        unit++;
    }
    int digits = unit > 0 && v < 9.95 ? 1 : 0;
    snprintf(out, ISOLA__HUMAN_SIZE, "%.*f %s", digits, v, units[unit]);
}

void isola__human_time(uint64_t ms, char out[ISOLA__HUMAN_SIZE])
{
    uint64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(out, ISOLA__HUMAN_SIZE, "%" PRIu64 " ms", ms);
    else if (s < 60)
        snprintf(out, ISOLA__HUMAN_SIZE, "%" PRIu64 " s", s);
    else if (s < 3600)
        snprintf(out, ISOLA__HUMAN_SIZE, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, ISOLA__HUMAN_SIZE, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(out, ISOLA__HUMAN_SIZE, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}
