/* SPDX-License-Identifier: Apache-2.0
 *
 * The adapter over SQLite. The happy path: open, look at application_id and user_version before
 * anything is changed, switch to WAL, run the missing migrations each in a transaction of its own,
 * then put the new version into the main file, where isola_datadir_open reads it without opening
 * the database.
 *
 * Failure modes: a newer schema and a file of another program are refused untouched; a migration
 * that fails or is interrupted leaves the schema before it.
 */
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define APPLICATION_ID 0x49736f6c /* "Isol" */

int isola__db_newer(const char *path, int found, int known, struct isola_err *err)
{
    return isola_fail(err, ISOLA_ESCHEMA,
                      "%s was written by a newer version of Isola (schema %d, this one knows %d): "
                      "start that version, or use another data directory",
                      path, found, known);
}

int isola__db_fail(struct isola__db *db, int rc, const char *doing, struct isola_err *err)
{
    bool open = db->handle != NULL;
    return isola__io_fail(db->path, rc, open ? sqlite3_system_errno(db->handle) : 0,
                          open ? sqlite3_errmsg(db->handle) : NULL, doing, err);
}

int isola__io_fail(const char *path, int rc, int sys, const char *said, const char *doing,
                   struct isola_err *err)
{
    const char *os = sys != 0 && sys != EIO ? strerror(sys) : "input/output error";
    if (said == NULL)
        said = sqlite3_errstr(rc);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return isola_fail(err, ISOLA_EBUSY,
                          "cannot %s %s: another process has it open; stop that one first", doing,
                          path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return isola_fail(err, ISOLA_EPERM,
                          "cannot %s %s: it is read-only; make it and its directory writable",
                          doing, path);
    case SQLITE_CANTOPEN:
        return isola_fail(err,
                          sys == EACCES || sys == EPERM || sys == EROFS ? ISOLA_EPERM : ISOLA_EIO,
                          "cannot %s %s: %s", doing, path, sys != 0 ? os : said);
    case SQLITE_FULL:
        return isola_fail(err, ISOLA_EIO, "cannot %s %s: the disk is full; make room on it", doing,
                          path);
    case SQLITE_IOERR: /* of a commit SQLite does not say more */
        return isola_fail(err, ISOLA_EIO, "cannot %s %s: %s%s", doing, path, os,
                          sys == 0 || sys == EIO
                              ? "; see what the system's log says of the disk, and make it well"
                              : "");
    case SQLITE_CORRUPT:
        return isola_fail(err, ISOLA_EIO,
                          "cannot %s %s: the file is damaged (%s); restore a backup", doing, path,
                          said);
    case SQLITE_NOTADB:
        return isola_fail(err, ISOLA_EIO,
                          "cannot %s %s: it is not an SQLite database; move it away", doing, path);
    case SQLITE_TOOBIG:
        return isola_fail(err, ISOLA_ETOOBIG, "cannot %s %s: the value is too big", doing, path);
    case SQLITE_NOMEM:
        return isola_fail(err, ISOLA_ENOMEM, "cannot %s %s: out of memory", doing, path);
    default:
        return isola_fail(err, ISOLA_EIO, "cannot %s %s: %s", doing, path, said);
    }
}

int isola__db_prepare(struct isola__db *db, const char *sql, sqlite3_stmt **out,
                      struct isola_err *err)
{
    int rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return rc == SQLITE_OK ? 0 : isola__db_fail(db, rc, "read", err);
}

int isola__db_run(struct isola__db *db, sqlite3_stmt *stmt, const char *doing,
                  struct isola_err *err)
{
    int rc = sqlite3_step(stmt);
    int code = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : isola__db_fail(db, rc, doing, err);
    sqlite3_reset(stmt);
    return code;
}

void isola__bind_text(sqlite3_stmt *stmt, int at, struct isola_slice text)
{
    /* NULL would bind SQL's NULL */
    const char *p = text.len != 0 ? (const char *)text.data : "";
    ISOLA_CHECK(sqlite3_bind_text64(stmt, at, p, text.len, SQLITE_STATIC, SQLITE_UTF8) ==
                SQLITE_OK);
}

void isola__bind_int(sqlite3_stmt *stmt, int at, int64_t n)
{
    ISOLA_CHECK(sqlite3_bind_int64(stmt, at, n) == SQLITE_OK);
}

struct isola_slice isola__column(sqlite3_stmt *stmt, int at)
{
    const void *p = sqlite3_column_blob(stmt, at);
    return isola_slice(p, (size_t)sqlite3_column_bytes(stmt, at));
}

int isola__db_exec(struct isola__db *db, const char *sql, const char *doing, struct isola_err *err)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : isola__db_fail(db, rc, doing, err);
}

int isola__db_int(struct isola__db *db, const char *sql, int *out, struct isola_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    int code = rc == SQLITE_ROW ? 0 : isola__db_fail(db, rc, "open", err);
    if (code == 0)
        *out = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return code;
}

/* Reads what the file says it is; changes nothing. */
static int inspect(struct isola__db *db, const struct isola__schema *schema, int *version,
                   struct isola_err *err)
{
    int id = 0, objects = 0;
    int code;
    if ((code = isola__db_int(db, "PRAGMA application_id", &id, err)) != 0 ||
        (code = isola__db_int(db, "PRAGMA user_version", version, err)) != 0 ||
        (code = isola__db_int(db, "SELECT count(*) FROM sqlite_schema", &objects, err)) != 0)
        return code;
    bool fresh = id == 0 && *version == 0 && objects == 0;
    if (!fresh && id != APPLICATION_ID)
        return isola_fail(err, ISOLA_EIO,
                          "cannot open %s: it is a database of another program; move it away",
                          db->path);
    if (*version > schema->version)
        return isola__db_newer(db->path, *version, schema->version, err);
    if (*version < 0)
        return isola_fail(err, ISOLA_EIO, "cannot open %s: it claims schema %d; restore a backup",
                          db->path, *version);
    return 0;
}

static int migrate(struct isola__db *db, const struct isola__schema *schema, int version,
                   struct isola_err *err)
{
    for (int v = version; v < schema->version; v++) {
        char *script = isola_format("BEGIN IMMEDIATE; %s; PRAGMA application_id = %d;"
                                    "PRAGMA user_version = %d; COMMIT",
                                    schema->migrations[v], APPLICATION_ID, v + 1);
        int code = isola__db_exec(db, script, "set up", err);
        free(script);
        if (code != 0) {
            if (!sqlite3_get_autocommit(db->handle))
                (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
            return code;
        }
    }
    return version < schema->version
               ? isola__db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", "set up", err)
               : 0;
}

/* What each connection sets for itself. */
static int settings(struct isola__db *db, struct isola_err *err)
{
    return isola__db_exec(db,
                          "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;"
                          "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192;"
                          "PRAGMA foreign_keys = ON",
                          "open", err);
}

static int use_wal(struct isola__db *db, struct isola_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode = WAL", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    int code = 0;
    if (rc != SQLITE_ROW)
        code = isola__db_fail(db, rc, "open", err);
    else if (sqlite3_stricmp((const char *)sqlite3_column_text(stmt, 0), "wal") != 0)
        code = isola_fail(err, ISOLA_EIO,
                          "cannot open %s: its file system cannot hold a write-ahead log; use "
                          "another data directory",
                          db->path);
    sqlite3_finalize(stmt);
    return code != 0 ? code : settings(db, err);
}

/* Who has written the log may have been killed before it was on disk. What is found in it is to
 * stay. */
static int sync_log(struct isola__db *db, struct isola_err *err)
{
    sqlite3_file *log = NULL;
    sqlite3_int64 size = 0;
    int rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, (void *)&log);
    if (rc == SQLITE_OK && log != NULL && log->pMethods != NULL)
        rc = log->pMethods->xFileSize(log, &size);
    if (rc == SQLITE_OK && size > 0)
        rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    return rc == SQLITE_OK ? 0 : isola__db_fail(db, rc, "open", err);
}

static int connect_to(struct isola__db *db, int flags, struct isola_err *err)
{
    int rc = sqlite3_open_v2(
        db->path, &db->handle,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | flags, NULL);
    if (rc != SQLITE_OK)
        return isola__db_fail(db, rc, "open", err);
    sqlite3_busy_timeout(db->handle, ISOLA__BUSY_MS);
    return 0;
}

int isola__db_join(struct isola__db *db, const char *path, struct isola_err *err)
{
    *db = (struct isola__db){.path = isola_strdup(path)};
    int code = connect_to(db, 0, err);
    if (code == 0)
        code = settings(db, err);
    if (code == 0)
        code = isola__db_exec(db, "PRAGMA wal_autocheckpoint = 0", "open", err);
    if (code != 0)
        isola__db_close(db);
    return code;
}

int isola__db_open(struct isola__db *db, const char *path, const struct isola__schema *schema,
                   struct isola_err *err)
{
    *db = (struct isola__db){.path = isola_strdup(path)};
    int version = 0, code;
    /* What actors keep is nobody else's to read; SQLite gives its log the same mode. EXCL, because
     * closing a second descriptor of a file in use would drop this process's locks on it. */
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    if ((code = connect_to(db, SQLITE_OPEN_CREATE, err)) != 0)
        goto fail;
    /* Closing a refused file must not fold its log into it. */
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (schema->exclusive &&
        (code = isola__db_exec(db, "PRAGMA locking_mode = EXCLUSIVE", "open", err)) != 0)
        goto fail;
    if ((code = inspect(db, schema, &version, err)) != 0)
        goto fail;
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    /* Takes effect in a file that has no page yet, and would write to others. */
    if (schema->shrinks && version == 0 &&
        (code = isola__db_exec(db, "PRAGMA auto_vacuum = INCREMENTAL", "open", err)))
        goto fail;
    if ((code = use_wal(db, err)) != 0 || (code = sync_log(db, err)) != 0 ||
        (code = migrate(db, schema, version, err)) != 0)
        goto fail;
    if (schema->checkpoints &&
        (code = isola__db_exec(db, "PRAGMA wal_autocheckpoint = 0", "open", err)))
        goto fail;
    return 0;
fail:
    isola__db_close(db);
    return code;
}

void isola__db_close(struct isola__db *db)
{
    ISOLA_CHECK(sqlite3_close(db->handle) == SQLITE_OK);
    free(db->path);
    *db = (struct isola__db){0};
}
