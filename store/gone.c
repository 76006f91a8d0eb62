/* SPDX-License-Identifier: Apache-2.0 */
#include "store/gone.h"

#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "store/catalog_own.h"

static const char prefix[] = "isola deletion 1";

void isola_gone_hash(const struct isola_gone *gone, uint8_t hash[ISOLA_RELEASE_HASH_SIZE])
{
    crypto_generichash_state h;
    uint8_t rest[9];
    for (int i = 0; i < 8; i++)
        rest[i] = (uint8_t)(gone->revision >> (56 - 8 * i));
    rest[8] = gone->state;
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_generichash_init(&h, NULL, 0, ISOLA_RELEASE_HASH_SIZE);
    crypto_generichash_update(&h, (const uint8_t *)prefix, sizeof(prefix));
    crypto_generichash_update(&h, rest, sizeof(rest));
    crypto_generichash_final(&h, hash, ISOLA_RELEASE_HASH_SIZE);
}

/* The number that `sql` gives for the app; 0 when there is none. */
static int number_of(struct isola_catalog *c, const char *sql, const char *app, uint64_t *out,
                     struct isola_err *err)
{
    struct isola__db *db = isola__catalog_db(c);
    sqlite3_stmt *stmt = NULL;
    int code = isola__db_prepare(db, sql, &stmt, err);
    *out = 0;
    if (code != 0)
        return code;
    isola__bind_text(stmt, 1, isola_slice_str(app));
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = (uint64_t)sqlite3_column_int64(stmt, 0);
    else if (rc != SQLITE_DONE)
        code = isola__db_fail(db, rc, "read", err);
    sqlite3_finalize(stmt);
    return code;
}

/* `sql` with the app as ?1 and the revision as ?2. */
static int run(struct isola_catalog *c, const char *sql, const struct isola_gone *gone,
               struct isola_err *err)
{
    struct isola__db *db = isola__catalog_db(c);
    sqlite3_stmt *stmt = NULL;
    int code = isola__db_prepare(db, sql, &stmt, err);
    if (code != 0)
        return code;
    isola__bind_text(stmt, 1, isola_slice_str(gone->app));
    if (sqlite3_bind_parameter_count(stmt) > 1)
        isola__bind_int(stmt, 2, (int64_t)gone->revision);
    code = isola__db_run(db, stmt, "write", err);
    sqlite3_finalize(stmt);
    return code;
}

static int note(struct isola_catalog *c, const struct isola_gone *gone, struct isola_err *err)
{
    struct isola__db *db = isola__catalog_db(c);
    sqlite3_stmt *stmt = NULL;
    int code = isola__db_prepare(
        db,
        "INSERT INTO gone (app, revision, deleted_ms, who, state, todo, signature)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT (app) DO UPDATE SET"
        " revision = excluded.revision, deleted_ms = excluded.deleted_ms, who = excluded.who,"
        " state = excluded.state, todo = todo OR excluded.todo, signature = excluded.signature",
        &stmt, err);
    if (code != 0)
        return code;
    isola__bind_text(stmt, 1, isola_slice_str(gone->app));
    isola__bind_int(stmt, 2, (int64_t)gone->revision);
    isola__bind_int(stmt, 3, gone->deleted_ms);
    isola__bind_text(stmt, 4, isola_slice_str(gone->by != NULL ? gone->by : ""));
    isola__bind_int(stmt, 5, gone->state);
    int rc = gone->is_signed ? sqlite3_bind_blob64(stmt, 6, gone->signature,
                                                   sizeof(gone->signature), SQLITE_STATIC)
                             : SQLITE_OK;
    code = rc != SQLITE_OK ? isola__db_fail(db, rc, "write", err)
                           : isola__db_run(db, stmt, "write", err);
    sqlite3_finalize(stmt);
    return code;
}

static int delete_all(struct isola_catalog *c, const struct isola_gone *gone, struct isola_err *err)
{
    static const char *const steps[] = {
        "DELETE FROM current WHERE app = ?1",
        "DELETE FROM canary WHERE app = ?1",
        "DELETE FROM deploy WHERE app = ?1",
        "DELETE FROM prepared WHERE release IN (SELECT id FROM release WHERE app = ?1)",
        "DELETE FROM release WHERE app = ?1", /* and with them their lists of files */
        "DELETE FROM secret WHERE app = ?1 AND revision < ?2",
    };
    uint64_t current, before;
    int code =
        number_of(c, "SELECT revision FROM current WHERE app = ?1", gone->app, &current, err);
    if (code == 0)
        code = number_of(c, "SELECT revision FROM gone WHERE app = ?1", gone->app, &before, err);
    if (code != 0)
        return code;
    if (current >= gone->revision || before >= gone->revision)
        return isola_fail(err, ISOLA_EEXIST,
                          "app \"%s\" was %s meanwhile, at revision %llu; look again", gone->app,
                          current >= before ? "deployed" : "deleted",
                          (unsigned long long)(current >= before ? current : before));
    for (size_t i = 0; code == 0 && i < sizeof(steps) / sizeof(steps[0]); i++)
        code = run(c, steps[i], gone, err);
    return code == 0 ? note(c, gone, err) : code;
}

int isola_catalog_delete(struct isola_catalog *c, const struct isola_gone *gone,
                         struct isola_err *err)
{
    if (gone->revision == 0 || gone->revision > INT64_MAX)
        return isola_fail(err, ISOLA_EINVAL, "a deletion has a revision from 1 to 2^63 - 1");
    int code = isola__catalog_begin(c, err);
    if (code == 0)
        code = delete_all(c, gone, err);
    return isola__catalog_end(c, code, err);
}

int isola_catalog_wiped(struct isola_catalog *c, const char *app, struct isola_err *err)
{
    return run(c, "UPDATE gone SET todo = 0 WHERE app = ?1", &(struct isola_gone){.app = app}, err);
}

int isola_catalog_gone(struct isola_catalog *c,
                       void (*each)(const struct isola_gone *gone, void *arg), void *arg,
                       struct isola_err *err)
{
    struct isola__db *db = isola__catalog_db(c);
    sqlite3_stmt *stmt = NULL;
    int rc, code = isola__db_prepare(db,
                                     "SELECT app, revision, deleted_ms, who, state, todo, signature"
                                     " FROM gone ORDER BY app",
                                     &stmt, err);
    if (code != 0)
        return code;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_gone g = {.app = (const char *)sqlite3_column_text(stmt, 0),
                               .revision = (uint64_t)sqlite3_column_int64(stmt, 1),
                               .deleted_ms = sqlite3_column_int64(stmt, 2),
                               .by = (const char *)sqlite3_column_text(stmt, 3),
                               .state = sqlite3_column_int(stmt, 4) != 0,
                               .todo = sqlite3_column_int(stmt, 5) != 0};
        struct isola_slice signature = isola__column(stmt, 6);
        g.is_signed = signature.len == sizeof(g.signature);
        if (g.is_signed)
            memcpy(g.signature, signature.data, sizeof(g.signature));
        if (g.app != NULL && g.by != NULL)
            each(&g, arg);
    }
    if (rc != SQLITE_DONE)
        code = isola__db_fail(db, rc, "read", err);
    sqlite3_finalize(stmt);
    return code;
}
