/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "cli/text.h"

#define GAP            2
#define INDENT         2  /* of a block's further lines */
#define LONG_MIN_WIDTH 16 /* columns: less of an address says too little */

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

/* Of each column; without the titles when `titles` is false. */
static void measure(const struct isola__table *t, bool titles, size_t widths[])
{
    for (size_t i = titles ? 0 : t->ncolumns; i < t->n; i++)
        if (t->cells[i].width > widths[i % t->ncolumns])
            widths[i % t->ncolumns] = t->cells[i].width;
}

/* Makes `widths` fit into `width`; false: they cannot. */
static bool fit(const struct isola__table *t, size_t width, size_t widths[])
{
    size_t total = GAP * (t->ncolumns - 1), *longest = NULL;
    for (size_t i = 0; i < t->ncolumns; i++) {
        total += widths[i];
        if (t->columns[i].content == ISOLA__LONG)
            longest = &widths[i];
    }
    if (total <= width)
        return true;
    if (longest == NULL || *longest < LONG_MIN_WIDTH + (total - width))
        return false;
    *longest -= total - width;
    return true;
}

static void print_cell(const struct isola__cell *cell, size_t width, bool colour,
                       struct isola_buf *out)
{
    struct isola_buf text = {0};
    if (cell->width > width)
        isola__text_shorten(&text, isola_slice(cell->text, cell->len), width);
    else
        isola_buf_append(&text, cell->text, cell->len);
    isola__tone(out, cell->tone, colour, isola_buf_slice(&text));
    isola_buf_free(&text);
}

static void print_rows(const struct isola__table *t, const size_t widths[], bool colour,
                       struct isola_buf *out)
{
    size_t owed = 0; /* spaces that are printed only when something follows */
    for (size_t i = 0; i < t->n; i++) {
        const struct isola__cell *cell = &t->cells[i];
        size_t column = i % t->ncolumns;
        size_t pad = widths[column] > cell->width ? widths[column] - cell->width : 0;
        bool right = t->columns[column].content == ISOLA__NUMBER;
        if (right)
            owed += pad;
        if (cell->len > 0) {
            spaces(out, owed);
            owed = 0;
            print_cell(cell, widths[column], colour, out);
        }
        owed += GAP + (right ? 0 : pad);
        if (column + 1 == t->ncolumns) {
            isola_buf_puts(out, "\n");
            owed = 0;
        }
    }
}

static void print_blocks(const struct isola__table *t, size_t width, bool colour,
                         struct isola_buf *out)
{
    size_t widths[ISOLA__TABLE_COLUMNS] = {0};
    measure(t, false, widths);
    for (size_t i = t->ncolumns; i < t->n; i += t->ncolumns) {
        size_t at = 0, owed = 0;
        for (size_t k = 0; k < t->ncolumns; k++) {
            const struct isola__cell *title = &t->cells[k], *cell = &t->cells[i + k];
            size_t wide = title->width + 1 + widths[k];
            if (k > 0 && at + GAP + wide > width) {
                isola_buf_puts(out, "\n");
                at = owed = INDENT;
            } else if (k > 0) {
                at += GAP;
                owed += GAP;
            }
            spaces(out, owed);
            isola__tone(out, title->tone, colour, isola_slice(title->text, title->len));
            isola_buf_puts(out, cell->len > 0 ? " " : "");
            isola__tone(out, cell->tone, colour, isola_slice(cell->text, cell->len));
            owed = widths[k] - cell->width + (cell->len > 0 ? 0 : 1);
            at += wide;
        }
        isola_buf_puts(out, "\n");
    }
}

void isola__table_print(const struct isola__table *t, size_t width, bool colour,
                        struct isola_buf *out)
{
    size_t widths[ISOLA__TABLE_COLUMNS] = {0};
    ISOLA_CHECK(t->n % t->ncolumns == 0);
    measure(t, true, widths);
    if (width == 0 || fit(t, width, widths))
        print_rows(t, widths, colour, out);
    else
        print_blocks(t, width, colour, out);
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
