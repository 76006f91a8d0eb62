/* SPDX-License-Identifier: Apache-2.0
 *
 * What scripts may do with a database: all that stays in it, is theirs to see, and comes to an end.
 *
 * Statements are looked at as they are prepared, by SQLite's authorizer; what it refuses is told in
 * words of ours (isola_sql.denied).
 */
#include "store/sql_impl.h"

#include <string.h>

/* How often the end of a query is asked for: operations of SQLite's machine, some ten of which take
 * a microsecond. */
#define STOP_EVERY 1000

static bool is_in(const char *const *words, const char *word)
{
    while (*words != NULL && sqlite3_stricmp(*words, word) != 0)
        words++;
    return *words != NULL;
}

static int deny(struct isola_sql *db, const char *why)
{
    db->denied = why;
    return SQLITE_DENY;
}

/* `data_version` is asked for by fts5, `page_size` by rtree. */
static int pragma(struct isola_sql *db, const char *name, const char *value)
{
    static const char *const allowed[] = {"application_id",
                                          "data_version",
                                          "defer_foreign_keys",
                                          "foreign_key_check",
                                          "foreign_keys",
                                          "foreign_key_list",
                                          "freelist_count",
                                          "function_list",
                                          "collation_list",
                                          "incremental_vacuum",
                                          "index_info",
                                          "index_list",
                                          "index_xinfo",
                                          "integrity_check",
                                          "optimize",
                                          "page_count",
                                          "quick_check",
                                          "recursive_triggers",
                                          "table_info",
                                          "table_list",
                                          "table_xinfo",
                                          "user_version",
                                          NULL};
    if (sqlite3_stricmp(name, "page_size") == 0 && value == NULL)
        return SQLITE_OK;
    return is_in(allowed, name) ? SQLITE_OK
                                : deny(db, "this PRAGMA is not for scripts (docs/actors.md names "
                                           "those that are)");
}

static int authorize(void *arg, int action, const char *a, const char *b, const char *schema,
                     const char *within)
{
    static const char *const modules[] = {"fts5", "fts5vocab", "rtree", "rtree_i32", NULL};
    static const char *const functions[] = {"load_extension", "fts3_tokenizer", "sqlite_log", NULL};
    struct isola_sql *db = arg;
    (void)schema, (void)within;
    if (db->ours)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        return deny(db, "an actor has one database: ATTACH, DETACH and VACUUM are not for scripts "
                        "(PRAGMA incremental_vacuum gives back what it does not use)");
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return deny(db, "BEGIN, COMMIT, ROLLBACK and SAVEPOINT are not for scripts: use "
                        "self.sql.transaction(fn)");
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
        return deny(db, "what is TEMP would be gone when the actor hibernates");
    case SQLITE_CREATE_VTABLE:
        return is_in(modules, b) ? SQLITE_OK
                                 : deny(db, "of virtual tables there are fts5, fts5vocab, rtree "
                                            "and rtree_i32");
    case SQLITE_FUNCTION:
        return is_in(functions, b) ? deny(db, "this function is not for scripts") : SQLITE_OK;
    case SQLITE_PRAGMA:
        return pragma(db, a, b);
    default:
        return SQLITE_OK;
    }
}

static int stops(void *arg)
{
    struct isola_sql *db = arg;
    return db->stop != NULL && db->stop(db->stop_arg);
}

int isola__sql_rules(struct isola_sql *db)
{
    static const int limits[][2] = {
        {SQLITE_LIMIT_LENGTH, ISOLA_SQL_VALUE_MAX},
        {SQLITE_LIMIT_SQL_LENGTH, ISOLA_SQL_TEXT_MAX},
        {SQLITE_LIMIT_COLUMN, 200},
        {SQLITE_LIMIT_EXPR_DEPTH, 100},
        {SQLITE_LIMIT_COMPOUND_SELECT, 50},
        {SQLITE_LIMIT_VDBE_OP, 100000},
        {SQLITE_LIMIT_FUNCTION_ARG, 100},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100},
        {SQLITE_LIMIT_VARIABLE_NUMBER, ISOLA__SQL_VARIABLES},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 20},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };
    static const int switches[][2] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
        {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
        {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
        (void)sqlite3_limit(db->handle, limits[i][0], limits[i][1]);
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof(switches) / sizeof(*switches); i++)
        rc = sqlite3_db_config(db->handle, switches[i][0], switches[i][1], NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_set_authorizer(db->handle, authorize, db);
    sqlite3_progress_handler(db->handle, STOP_EVERY, stops, db);
    return rc;
}
