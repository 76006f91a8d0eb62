/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite's memory, counted: an allocation for a database beyond its budget fails, as if there were
 * no memory, and SQLite ends the query that asked for it. What is allocated while there is no
 * current database, as for the files of a node, is not counted.
 */
#include "store/sql_impl.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/check.h"

_Thread_local struct isola_sql *isola__sql_current;

static bool fits(const struct isola_sql *db, size_t n)
{
    return db == NULL || db->memory + n <= db->budget;
}

static void *take(int n)
{
    struct isola_sql *db = isola__sql_current;
    void *p = fits(db, (size_t)n) ? malloc((size_t)n) : NULL;
    if (p != NULL && db != NULL)
        db->memory += malloc_usable_size(p);
    return p;
}

static void give(void *p)
{
    struct isola_sql *db = isola__sql_current;
    if (p != NULL && db != NULL)
        db->memory -= malloc_usable_size(p);
    free(p);
}

static void *resize(void *p, int n)
{
    struct isola_sql *db = isola__sql_current;
    size_t before = malloc_usable_size(p);
    if ((size_t)n > before && !fits(db, (size_t)n - before))
        return NULL;
    void *moved = realloc(p, (size_t)n);
    if (moved != NULL && db != NULL)
        db->memory += malloc_usable_size(moved) - before;
    return moved;
}

static int size_of(void *p)
{
    return (int)malloc_usable_size(p);
}

static int round_up(int n)
{
    return (n + 7) & ~7;
}

static int begin(void *arg)
{
    (void)arg;
    return SQLITE_OK;
}

static void end(void *arg)
{
    (void)arg;
}

void isola__sql_memory_start(void)
{
    static const sqlite3_mem_methods methods = {.xMalloc = take,
                                                .xFree = give,
                                                .xRealloc = resize,
                                                .xSize = size_of,
                                                .xRoundup = round_up,
                                                .xInit = begin,
                                                .xShutdown = end};
    ISOLA_CHECK(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK);
    /* Else every allocation takes a lock of the whole process. */
    ISOLA_CHECK(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
    /* Else every database begins with room for twenty pages in its cache. */
    ISOLA_CHECK(sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0) == SQLITE_OK);
}
