/* SPDX-License-Identifier: Apache-2.0
 *
 * Databases of actors (base/sql.h): SQLite, over pages that are rows of what actors keep
 * (ISOLA_KEPT_PAGE). Row 0 has their number, 8 bytes; rows from 1 on are pages of 4,096 bytes
 * (sql_pages.h says how).
 *
 * What scripts may do is bounded: by an authorizer, by SQLite's own limits, by a budget of memory
 * for each database, and by whoever wants a query to stop (sql_rules.c).
 */
#ifndef ISOLA_STORE_SQL_H
#define ISOLA_STORE_SQL_H

#include "base/sql.h"

#define ISOLA_SQL_VALUE_MAX (2u << 20)   /* bytes of a text, a blob, a row of a table */
#define ISOLA_SQL_TEXT_MAX  (100u << 10) /* bytes of a query */
#define ISOLA_SQL_GIVES_MAX                                                                        \
    (16u << 20)               /* bytes of a row of a result, and of all rows of a statement        \
                                 that writes */
#define ISOLA_SQL_CURSORS 100 /* at once */
/* Bytes of memory beside the changed pages: so much, and as many as the database may have. */
#define ISOLA_SQL_MEMORY (64u << 20)

/* Once, before anything else in the process uses SQLite: counts the memory of it from then on. */
void isola_sql_start(void);
extern const struct isola_sql_ops isola_sql_ops;

#endif
