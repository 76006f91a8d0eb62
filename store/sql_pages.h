/* SPDX-License-Identifier: Apache-2.0
 *
 * The pages of a database, between SQLite and what keeps them. Internal to store/.
 *
 * A page that has changed is held in memory until it has been taken and what took it says that it
 * can be read again. All others are read when SQLite asks for them, which has a cache of its own.
 *
 * As it is kept, a page that has a run of zeros in it is shorter: two bytes say where the run
 * begins (big-endian), then come the bytes before it, then those behind it. So small tables take
 * as much as is in them.
 *
 * Invariants: a page up to `whole` is in memory, or what is kept of it is right; one beyond is in
 * memory, or zeros.
 */
#ifndef ISOLA_STORE_SQL_PAGES_H
#define ISOLA_STORE_SQL_PAGES_H

#include "base/idmap.h"
#include "base/sql.h"

#define ISOLA__PAGE 4096u

struct isola__page;

struct isola__pages {
    struct isola_sql_pages source;
    uint64_t size;             /* of the file, in pages */
    uint64_t told;             /* that size, as it was taken last */
    uint64_t whole;            /* see above */
    struct isola_idmap held;   /* number → struct isola__page */
    struct isola__page *first; /* all that are held */
    bool changed;
    uint64_t taken; /* so often */
    uint64_t last;  /* the number of the page in `copy`, or 0 */
    uint8_t *copy;
    struct isola_err err; /* why the last read failed */
};

/* Reads the size. On failure nothing is left to free. ISOLA_EIO. */
ISOLA_MUST_USE int isola__pages_open(struct isola__pages *p, const struct isola_sql_pages *source);
void isola__pages_close(struct isola__pages *p);
/* Some of the bytes of a page, which is within the file. ISOLA_EIO, with p->err. */
ISOLA_MUST_USE int isola__pages_read(struct isola__pages *p, uint64_t n, size_t from, uint8_t *to,
                                     size_t len);
/* All of one; the file grows to have it. False: there is no memory. */
ISOLA_MUST_USE bool isola__pages_write(struct isola__pages *p, uint64_t n, const uint8_t *bytes);
void isola__pages_truncate(struct isola__pages *p, uint64_t size);
uint64_t isola__pages_take(struct isola__pages *p,
                           void (*each)(void *arg, uint64_t n, struct isola_slice value),
                           void *arg);
void isola__pages_kept(struct isola__pages *p, uint64_t taken);

#endif
