/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows and columns for people: aligned by what a terminal shows, two spaces between columns, no
 * space at line ends.
 *
 * A table that is wider than the terminal gets its ISOLA__LONG column shortened, if that is enough.
 * Else each row is a block of its own, of as many lines as it takes: every value after the title of
 * its column, line ends at the same columns in all of them, lines after the first indented.
 */
#ifndef ISOLA_CLI_TABLE_H
#define ISOLA_CLI_TABLE_H

#include "base/buf.h"

#define ISOLA__TABLE_COLUMNS 20

/* Colours by meaning. */
enum isola__tone { ISOLA__PLAIN, ISOLA__BOLD, ISOLA__DIM, ISOLA__GOOD, ISOLA__WARN, ISOLA__BAD };

enum isola__content {
    ISOLA__WORD,
    ISOLA__NUMBER, /* ends where the column ends */
    ISOLA__LONG,   /* names whose middle may be left out; one column of a table at the most */
};

struct isola__column {
    const char *title;
    enum isola__content content;
};

struct isola__cell {
    char *text; /* owned, clean */
    size_t len, width;
    enum isola__tone tone;
};

struct isola__table {
    const struct isola__column *columns; /* borrowed */
    size_t ncolumns;
    struct isola__cell *cells; /* row by row, the titles first */
    size_t n, cap;
};

/* `columns`: ISOLA__TABLE_COLUMNS at the most, static storage. */
ANY_THREAD void isola__table_init(struct isola__table *t, const struct isola__column *columns,
                                  size_t n);
/* The next cell, left to right and row by row. Copies; hostile text is made harmless. */
ANY_THREAD void isola__table_add(struct isola__table *t, struct isola_slice text,
                                 enum isola__tone tone);
/* `width` of the terminal in columns; 0: as wide as it gets. */
ANY_THREAD void isola__table_print(const struct isola__table *t, size_t width, bool colour,
                                   struct isola_buf *out);
ANY_THREAD void isola__table_free(struct isola__table *t);

/* Appends `text` in its tone; plain when `colour` is false. */
ANY_THREAD void isola__tone(struct isola_buf *out, enum isola__tone tone, bool colour,
                            struct isola_slice text);

#define ISOLA__HUMAN_SIZE 24
/* "512 B", "1.5 KB", "64 MB": three digits or so, units of 1024. */
ANY_THREAD void isola__human_bytes(uint64_t bytes, char out[ISOLA__HUMAN_SIZE]);
/* "850 ms", "42 s", "3 min 5 s", "2 h 10 min", "4 d 1 h" */
ANY_THREAD void isola__human_time(uint64_t ms, char out[ISOLA__HUMAN_SIZE]);

#endif
