/* SPDX-License-Identifier: Apache-2.0 */
#include "store/secrets.h"

#include <string.h>

#include "store/catalog_own.h"

#define APP_MAX 64

bool isola_secret_app_ok(struct isola_slice app)
{
    if (app.len == 0 || app.len > APP_MAX || app.data[0] < 'a' || app.data[0] > 'z')
        return false;
    for (size_t i = 0; i < app.len; i++) {
        uint8_t c = app.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

bool isola_secret_name_ok(struct isola_slice name)
{
    if (name.len == 0 || name.len > ISOLA_SECRET_NAME_MAX ||
        (name.data[0] >= '0' && name.data[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_'))
            return false;
    }
    return true;
}

static int put(struct isola__db *db, sqlite3_stmt *stmt, const struct isola_secret *s,
               struct isola_err *err)
{
    isola__bind_text(stmt, 1, isola_slice_str(s->app));
    isola__bind_text(stmt, 2, isola_slice_str(s->name));
    isola__bind_int(stmt, 3, (int64_t)s->revision);
    isola__bind_int(stmt, 4, s->set_ms);
    isola__bind_text(stmt, 5, isola_slice_str(s->by != NULL ? s->by : ""));
    int rc = sqlite3_bind_blob64(stmt, 6, s->sealed.len > 0 ? (const void *)s->sealed.data : "",
                                 s->sealed.len, SQLITE_STATIC);
    return rc != SQLITE_OK ? isola__db_fail(db, rc, "write", err)
                           : isola__db_run(db, stmt, "write", err);
}

int isola_catalog_put_secrets(struct isola_catalog *c, const struct isola_secret *list, size_t n,
                              struct isola_err *err)
{
    struct isola__db *db = isola__catalog_db(c);
    sqlite3_stmt *stmt = NULL;
    int code = isola__db_prepare(db,
                                 "INSERT OR REPLACE INTO secret"
                                 " (app, name, revision, set_ms, who, sealed)"
                                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                                 &stmt, err);
    if (code != 0)
        return code;
    code = isola__catalog_begin(c, err);
    for (size_t i = 0; code == 0 && i < n; i++)
        code = put(db, stmt, &list[i], err);
    sqlite3_finalize(stmt);
    return isola__catalog_end(c, code, err);
}

int isola_catalog_secret(struct isola_catalog *c, const char *app, const char *name,
                         struct isola_buf *sealed, uint64_t *revision, struct isola_err *err)
{
    struct isola__db *db = isola__catalog_db(c);
    sqlite3_stmt *stmt = NULL;
    int code = isola__db_prepare(db,
                                 "SELECT sealed, revision FROM secret"
                                 " WHERE app = ?1 AND name = ?2 AND sealed <> x''",
                                 &stmt, err);
    if (code != 0)
        return code;
    isola__bind_text(stmt, 1, isola_slice_str(app));
    isola__bind_text(stmt, 2, isola_slice_str(name));
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        struct isola_slice bytes = isola__column(stmt, 0);
        isola_buf_append(sealed, bytes.data, bytes.len);
        *revision = (uint64_t)sqlite3_column_int64(stmt, 1);
    } else if (rc == SQLITE_DONE) {
        code = isola_fail(err, ISOLA_ENOENT, "the secret %s of app %s is not set", name, app);
    } else {
        code = isola__db_fail(db, rc, "read", err);
    }
    sqlite3_finalize(stmt);
    return code;
}

int isola_catalog_secrets(struct isola_catalog *c,
                          void (*each)(const struct isola_secret *secret, void *arg), void *arg,
                          struct isola_err *err)
{
    struct isola__db *db = isola__catalog_db(c);
    sqlite3_stmt *stmt = NULL;
    int rc, code = isola__db_prepare(db,
                                     "SELECT app, name, revision, set_ms, who, sealed FROM secret"
                                     " ORDER BY app, name",
                                     &stmt, err);
    if (code != 0)
        return code;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_secret s = {.app = (const char *)sqlite3_column_text(stmt, 0),
                                 .name = (const char *)sqlite3_column_text(stmt, 1),
                                 .revision = (uint64_t)sqlite3_column_int64(stmt, 2),
                                 .set_ms = sqlite3_column_int64(stmt, 3),
                                 .by = (const char *)sqlite3_column_text(stmt, 4),
                                 .sealed = isola__column(stmt, 5)};
        if (s.app != NULL && s.name != NULL && s.by != NULL)
            each(&s, arg);
    }
    if (rc != SQLITE_DONE)
        code = isola__db_fail(db, rc, "read", err);
    sqlite3_finalize(stmt);
    return code;
}
