/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalog of releases. `release` holds each release whole, in its wire form, under its id;
 * `current` says which of an app's it is, and since which deploy, `canary` which is tried beside
 * it. Releases are never changed: a deploy adds one and moves the app's pointer in one transaction.
 * `deploy` is the list of these deploys; which of them stay, and with them their releases,
 * deploys.h says. `files` has the list of files of each release once more, or nothing: who wants to
 * know which files there are does not read the bundles.
 *
 * Every release read is decoded as if a stranger had sent it, its hash included, so a damaged file
 * is noticed here.
 *
 * `prepared` holds what actor-hosts have made of current releases to load them faster. It is no
 * part of them: whatever is wrong with it, it can be made again. V8 believes what it is given, so
 * each is kept with its BLAKE2b.
 *
 * Order of releases of one app: by revision, and between equal ones (two nodes deployed at once) by
 * id, so that all nodes settle on the same one whatever order they hear of them in.
 */
#include "store/catalog.h"

#include <sodium.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "store/catalog_own.h"
#include "store/deploys.h"

static const char *const migrations[ISOLA__CATALOG_SCHEMA] = {
    "CREATE TABLE release (id TEXT NOT NULL PRIMARY KEY, app TEXT NOT NULL,"
    "  stored_ms INTEGER NOT NULL, content BLOB NOT NULL);"
    "CREATE INDEX release_app ON release (app);"
    "CREATE TABLE current (app TEXT NOT NULL PRIMARY KEY,"
    "  release TEXT NOT NULL REFERENCES release (id), revision INTEGER NOT NULL,"
    "  deployed_ms INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE prepared (release TEXT NOT NULL REFERENCES release (id), type TEXT NOT NULL,"
    "  key TEXT NOT NULL, digest BLOB NOT NULL, code BLOB NOT NULL, PRIMARY KEY (release, type))",
    "CREATE TABLE deploy (app TEXT NOT NULL, revision INTEGER NOT NULL, release TEXT NOT NULL,"
    "  deployed_ms INTEGER NOT NULL, who TEXT NOT NULL, message TEXT NOT NULL,"
    "  restores INTEGER NOT NULL, PRIMARY KEY (app, revision)) WITHOUT ROWID;"
    "INSERT INTO deploy (app, revision, release, deployed_ms, who, message, restores)"
    "  SELECT app, revision, release, deployed_ms, '', '', 0 FROM current",
    "CREATE TABLE files (release TEXT NOT NULL PRIMARY KEY"
    "  REFERENCES release (id) ON DELETE CASCADE, tree BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE secret (app TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL,"
    "  set_ms INTEGER NOT NULL, who TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (app, name))",
    "CREATE TABLE gone (app TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL,"
    "  deleted_ms INTEGER NOT NULL, who TEXT NOT NULL, state INTEGER NOT NULL,"
    "  todo INTEGER NOT NULL, signature BLOB) WITHOUT ROWID",
    "ALTER TABLE deploy ADD COLUMN share INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE canary (app TEXT NOT NULL PRIMARY KEY,"
    "  release TEXT NOT NULL REFERENCES release (id), share INTEGER NOT NULL) WITHOUT ROWID",
    "ALTER TABLE canary ADD COLUMN nodes BLOB",
};
static const struct isola__schema schema = {ISOLA__CATALOG_SCHEMA, migrations, .exclusive = false};

enum statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    FIND,
    ADD,
    MOVE,
    TRY,
    UNTRY,
    CURRENT,
    EACH,
    FILES,
    ADD_FILES,
    FILES_LACKING,
    REVISION,
    GONE_AT,
    FORGET,
    IS_CURRENT,
    PREPARE,
    PREPARED,
    RELEASE,
    DEPLOYS,
    NOTE,
    LEARN,
    UNNOTE,
    DROP,
    STATEMENTS
};
#define CURRENT_ROWS                                                                               \
    "SELECT r.id, r.content, c.revision, c.deployed_ms, d.who, d.message, d.restores, k.release,"  \
    " k.share, k.nodes FROM current c JOIN release r ON r.id = c.release"                          \
    " LEFT JOIN canary k ON k.app = c.app"                                                         \
    " LEFT JOIN deploy d ON d.app = c.app AND d.revision = c.revision"
static const char *const sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [FIND] = "SELECT release, revision FROM current WHERE app = ?1",
    /* The same id is the same content: written over only to mend a damaged row. */
    [ADD] = "INSERT INTO release (id, app, stored_ms, content) VALUES (?1, ?2, ?3, ?4)"
            " ON CONFLICT (id) DO UPDATE SET content = excluded.content",
    [MOVE] = "INSERT INTO current (app, release, revision, deployed_ms) VALUES (?1, ?2, ?3, ?4)"
             " ON CONFLICT (app) DO UPDATE SET release = excluded.release,"
             " revision = excluded.revision, deployed_ms = excluded.deployed_ms",
    [TRY] = "INSERT OR REPLACE INTO canary (app, release, share, nodes) VALUES (?1, ?2, ?3, ?4)",
    [UNTRY] = "DELETE FROM canary WHERE app = ?1",
    [CURRENT] = CURRENT_ROWS " WHERE c.app = ?1",
    [EACH] = CURRENT_ROWS " ORDER BY c.app",
    [FILES] = "SELECT tree FROM files WHERE tree <> x''",
    [ADD_FILES] = "INSERT OR REPLACE INTO files (release, tree) VALUES (?1, ?2)",
    [FILES_LACKING] = "SELECT id, content FROM release"
                      " WHERE id NOT IN (SELECT release FROM files) LIMIT 1",
    [REVISION] = "SELECT max(coalesce((SELECT max(revision) FROM current), 0),"
                 " coalesce((SELECT max(revision) FROM secret), 0),"
                 " coalesce((SELECT max(revision) FROM gone), 0))",
    [GONE_AT] = "SELECT revision FROM gone WHERE app = ?1",

    [FORGET] = "DELETE FROM prepared WHERE release NOT IN"
               " (SELECT release FROM current UNION SELECT release FROM canary)",
    [IS_CURRENT] = "SELECT 1 FROM current WHERE release = ?1"
                   " UNION SELECT 1 FROM canary WHERE release = ?1",
    [PREPARE] = "INSERT OR REPLACE INTO prepared (release, type, key, digest, code)"
                " VALUES (?1, ?2, ?3, ?4, ?5)",
    [PREPARED] = "SELECT type, key, digest, code FROM prepared WHERE release = ?1"
                 " ORDER BY type",
    [RELEASE] = "SELECT id, content, 0, 0, NULL, NULL, 0, NULL, 0, NULL FROM release"
                " WHERE id = ?2 AND app = ?1",
    [DEPLOYS] = "SELECT revision, release, deployed_ms, who, message, restores, share FROM deploy"
                " WHERE app = ?1 ORDER BY revision DESC",
    [NOTE] = "INSERT OR REPLACE INTO deploy"
             " (app, revision, release, deployed_ms, who, message, restores, share)"
             " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [LEARN] = "INSERT OR IGNORE INTO deploy"
              " (app, revision, release, deployed_ms, who, message, restores, share)"
              " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8"
              " WHERE ?2 > coalesce((SELECT revision FROM gone WHERE app = ?1), 0)",
    [UNNOTE] = "DELETE FROM deploy WHERE app = ?1 AND revision = ?2",
    [DROP] = "DELETE FROM release WHERE app = ?1"
             " AND id NOT IN (SELECT release FROM deploy WHERE app = ?1)"
             " AND id NOT IN (SELECT release FROM current)"
             " AND id NOT IN (SELECT release FROM canary)",
};

struct isola_catalog {
    struct isola__db db;
    sqlite3_stmt *stmt[STATEMENTS];
};

static int fill_files(struct isola_catalog *c, struct isola_err *err);

int isola_catalog_open(const char *path, struct isola_catalog **out, struct isola_err *err)
{
    struct isola_catalog *c = isola_zalloc(sizeof(*c));
    int code = isola__db_open(&c->db, path, &schema, err);
    for (int i = 0; code == 0 && i < STATEMENTS; i++)
        code = isola__db_prepare(&c->db, sql[i], &c->stmt[i], err);
    if (code == 0)
        code = fill_files(c, err);
    if (code != 0)
        isola_catalog_close(c);
    else
        *out = c;
    return code;
}

void isola_catalog_close(struct isola_catalog *c)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(c->stmt[i]);
    isola__db_close(&c->db);
    free(c);
}

struct isola__db *isola__catalog_db(struct isola_catalog *c)
{
    return &c->db;
}

static int run(struct isola_catalog *c, enum statement which, struct isola_err *err)
{
    int code = isola__db_run(&c->db, c->stmt[which], "write", err);
    sqlite3_clear_bindings(c->stmt[which]);
    return code;
}

int isola__catalog_begin(struct isola_catalog *c, struct isola_err *err)
{
    return run(c, BEGIN, err);
}

int isola__catalog_end(struct isola_catalog *c, int code, struct isola_err *err)
{
    if (code == 0)
        code = run(c, COMMIT, err);
    if (code != 0 && !sqlite3_get_autocommit(c->db.handle)) {
        sqlite3_step(c->stmt[ROLLBACK]);
        sqlite3_reset(c->stmt[ROLLBACK]);
    }
    return code;
}

/* --- files --- */

static int add_files(struct isola_catalog *c, struct isola_slice id, struct isola_slice tree,
                     struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[ADD_FILES];
    isola__bind_text(stmt, 1, id);
    int rc = sqlite3_bind_blob64(stmt, 2, tree.len > 0 ? (const void *)tree.data : "", tree.len,
                                 SQLITE_STATIC);
    return rc != SQLITE_OK ? isola__db_fail(&c->db, rc, "write", err) : run(c, ADD_FILES, err);
}

/* Of releases that were stored by a version that did not keep them apart. */
static int fill_files(struct isola_catalog *c, struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[FILES_LACKING];
    int rc, code = 0;
    while (code == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_slice tree = {0};
        (void)isola_mp_find_bin(isola__column(stmt, 1), "files", &tree);
        code = add_files(c, isola__column(stmt, 0), tree, err);
        sqlite3_reset(stmt);
    }
    if (code == 0 && rc != SQLITE_DONE)
        code = isola__db_fail(&c->db, rc, "read", err);
    sqlite3_reset(stmt);
    return code;
}

int isola_catalog_files(struct isola_catalog *c, void (*each)(struct isola_slice files, void *arg),
                        void *arg, struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[FILES];
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        each(isola__column(stmt, 0), arg);
    int code = rc == SQLITE_DONE ? 0 : isola__db_fail(&c->db, rc, "read", err);
    sqlite3_reset(stmt);
    return code;
}

/* --- put --- */

/* The app was deleted after it: nothing of it is to stay. */
static int refuse_gone(struct isola_catalog *c, const struct isola_release *r,
                       struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[GONE_AT];
    int code = 0;
    isola__bind_text(stmt, 1, isola_slice_str(r->app));
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && (uint64_t)sqlite3_column_int64(stmt, 0) >= r->revision)
        code = isola_fail(err, ISOLA_ECANCELED,
                          "release %s of app \"%s\" at revision %llu comes too late: the app was "
                          "deleted at revision %llu",
                          r->id, r->app, (unsigned long long)r->revision,
                          (unsigned long long)sqlite3_column_int64(stmt, 0));
    else if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        code = isola__db_fail(&c->db, rc, "read", err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return code;
}

static int refuse_older(struct isola_catalog *c, const struct isola_release *r,
                        struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[FIND];
    int code = 0;
    isola__bind_text(stmt, 1, isola_slice_str(r->app));
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        const char *id = (const char *)sqlite3_column_text(stmt, 0);
        uint64_t revision = (uint64_t)sqlite3_column_int64(stmt, 1);
        if (revision > r->revision ||
            (revision == r->revision && id != NULL && strcmp(id, r->id) > 0))
            code = isola_fail(err, ISOLA_EEXIST,
                              "release %s of app \"%s\" at revision %llu comes too late: %s is "
                              "current since revision %llu",
                              r->id, r->app, (unsigned long long)r->revision, id,
                              (unsigned long long)revision);
    } else if (rc != SQLITE_DONE) {
        code = isola__db_fail(&c->db, rc, "read", err);
    }
    sqlite3_reset(stmt);
    return code;
}

static int note(struct isola_catalog *c, enum statement how, const char *app,
                const struct isola_deploy *d, struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[how];
    isola__bind_text(stmt, 1, isola_slice_str(app));
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)d->revision);
    isola__bind_text(stmt, 3, isola_slice_str(d->release));
    sqlite3_bind_int64(stmt, 4, d->deployed_ms);
    isola__bind_text(stmt, 5, isola_slice_str(d->by != NULL ? d->by : ""));
    isola__bind_text(stmt, 6, isola_slice_str(d->message != NULL ? d->message : ""));
    sqlite3_bind_int64(stmt, 7, (sqlite3_int64)d->restores);
    sqlite3_bind_int64(stmt, 8, d->share);
    return run(c, how, err);
}

/* Drops deploys that are not to be kept, then releases that have none. */
static int drop_old(struct isola_catalog *c, const char *app, struct isola_err *err)
{
    struct isola_deploys deploys;
    int code = isola_catalog_deploys(c, app, &deploys, err);
    if (code != 0)
        return code;
    bool *keep = isola_zalloc(deploys.count + 1);
    isola_deploys_keep(&deploys, keep);
    for (size_t i = 0; code == 0 && i < deploys.count; i++) {
        if (keep[i])
            continue;
        isola__bind_text(c->stmt[UNNOTE], 1, isola_slice_str(app));
        sqlite3_bind_int64(c->stmt[UNNOTE], 2, (sqlite3_int64)deploys.list[i].revision);
        code = run(c, UNNOTE, err);
    }
    free(keep);
    isola_deploys_free(&deploys);
    if (code != 0 || (code = run(c, FORGET, err)) != 0)
        return code;
    isola__bind_text(c->stmt[DROP], 1, isola_slice_str(app));
    return run(c, DROP, err);
}

/* Its content, whatever it becomes. */
static int add(struct isola_catalog *c, const struct isola_release *r, struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[ADD];
    struct isola_buf content = {0};
    struct isola_release bare = *r;
    bare.by = bare.message = NULL;
    bare.restores = 0;
    isola_release_encode(&bare, &content);
    if (content.failed) {
        isola_buf_free(&content);
        return isola_fail(err, ISOLA_ENOMEM, "release %s of app \"%s\": out of memory", r->id,
                          r->app);
    }
    isola__bind_text(stmt, 1, isola_slice_str(r->id));
    isola__bind_text(stmt, 2, isola_slice_str(r->app));
    sqlite3_bind_int64(stmt, 3, isola_clock_wall_ms());
    int rc = sqlite3_bind_blob64(stmt, 4, content.data, content.len, SQLITE_STATIC);
    int code = rc != SQLITE_OK ? isola__db_fail(&c->db, rc, "write", err) : run(c, ADD, err);
    isola_buf_free(&content);
    return code == 0 ? add_files(c, isola_slice_str(r->id), r->files, err) : code;
}

static int put_canary(struct isola_catalog *c, const struct isola_release *r, struct isola_err *err)
{
    enum statement how = r->candidate != NULL ? TRY : UNTRY;
    struct isola_buf nodes = {0};
    isola__bind_text(c->stmt[how], 1, isola_slice_str(r->app));
    if (r->candidate != NULL) {
        isola_roster_write(&r->roster, &nodes);
        isola__bind_text(c->stmt[how], 2, isola_slice_str(r->candidate->id));
        sqlite3_bind_int64(c->stmt[how], 3, r->share);
        sqlite3_bind_blob64(c->stmt[how], 4, nodes.data, nodes.len, SQLITE_STATIC);
    }
    int code = nodes.failed ? isola_fail(err, ISOLA_ENOMEM, "out of memory") : run(c, how, err);
    isola_buf_free(&nodes);
    return code;
}

static int put(struct isola_catalog *c, const struct isola_release *r, bool late,
               struct isola_err *err)
{
    const struct isola_release *deployed = r->candidate != NULL ? r->candidate : r;
    struct isola_deploy how = {.revision = r->revision,
                               .restores = r->restores,
                               .share = r->candidate != NULL ? r->share : 0,
                               .deployed_ms =
                                   r->deployed_ms > 0 ? r->deployed_ms : isola_clock_wall_ms(),
                               .by = r->by,
                               .message = r->message};
    sqlite3_stmt *move = c->stmt[MOVE];
    memcpy(how.release, deployed->id, sizeof(how.release));
    int code = add(c, r, err);
    if (code == 0 && r->candidate != NULL)
        code = add(c, r->candidate, err);
    if (code == 0)
        code = note(c, late ? LEARN : NOTE, r->app, &how, err);
    if (code == 0 && !late) {
        isola__bind_text(move, 1, isola_slice_str(r->app));
        isola__bind_text(move, 2, isola_slice_str(r->id));
        sqlite3_bind_int64(move, 3, (sqlite3_int64)r->revision);
        sqlite3_bind_int64(move, 4, how.deployed_ms);
        code = run(c, MOVE, err);
        if (code == 0)
            code = put_canary(c, r, err);
    }
    return code == 0 ? drop_old(c, r->app, err) : code;
}

int isola_catalog_put(struct isola_catalog *c, const struct isola_release *r, struct isola_err *err)
{
    struct isola_release identified = *r;
    isola_release_identify(&identified);
    if (strcmp(identified.id, r->id) != 0)
        return isola_fail(err, ISOLA_EINVAL, "release %s of app \"%s\" has the content of %s",
                          r->id, r->app, identified.id);
    if (r->revision == 0 || r->revision > INT64_MAX)
        return isola_fail(err, ISOLA_EINVAL,
                          "release %s of app \"%s\": a current release has a revision from 1 to "
                          "2^63 - 1",
                          r->id, r->app);
    struct isola_err late = {0};
    int code = run(c, BEGIN, err);
    if (code == 0)
        code = refuse_gone(c, r, err);
    if (code == 0)
        code = refuse_older(c, r, &late);
    if (code == 0 || code == ISOLA_EEXIST)
        code = put(c, r, code != 0, err);
    else if (late.code != 0)
        *err = late;
    code = isola__catalog_end(c, code, err);
    if (code == 0 && late.code != 0)
        code = isola_fail(err, late.code, "%s", late.text);
    return code;
}

int isola_catalog_learn(struct isola_catalog *c, const char *app,
                        const struct isola_deploys *deploys, struct isola_err *err)
{
    int code = run(c, BEGIN, err);
    for (size_t i = 0; code == 0 && i < deploys->count; i++)
        code = note(c, LEARN, app, &deploys->list[i], err);
    return isola__catalog_end(c, code, err);
}

/* --- get --- */

static char *text_of(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return isola_strdup(text != NULL ? text : "");
}

static int read_row(struct isola_catalog *c, sqlite3_stmt *stmt, struct isola_release **out,
                    struct isola_err *err);

/* What is tried beside `r`, in the same row. */
static int read_canary(struct isola_catalog *c, sqlite3_stmt *row, struct isola_release *r,
                       struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[RELEASE];
    if (sqlite3_column_type(row, 7) == SQLITE_NULL)
        return 0;
    isola__bind_text(stmt, 1, isola_slice_str(r->app));
    isola__bind_text(stmt, 2, isola__column(row, 7));
    int rc = sqlite3_step(stmt);
    int code = rc == SQLITE_ROW ? read_row(c, stmt, &r->candidate, err)
                                : isola__db_fail(&c->db, rc, "read", err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    r->share = (uint32_t)sqlite3_column_int64(row, 8);
    /* Of older versions there is none; one that is damaged is as good. */
    struct isola_err none;
    if (code == 0 && sqlite3_column_type(row, 9) == SQLITE_BLOB)
        (void)!isola_roster_read(isola__column(row, 9), &r->roster, &none);
    return code;
}

/* The release in the row (id, content, revision, deployed_ms, who, message, restores, id, share
 * and nodes of its canary) that `stmt` stands at. */
static int read_row(struct isola_catalog *c, sqlite3_stmt *stmt, struct isola_release **out,
                    struct isola_err *err)
{
    struct isola_err why = {0};
    struct isola_release *r = NULL;
    const char *id = (const char *)sqlite3_column_text(stmt, 0);
    int code = isola_release_decode(isola__column(stmt, 1), &r, &why);
    if (code == 0 && (id == NULL || strcmp(id, r->id) != 0))
        code = isola_fail(&why, ISOLA_EIO, "it has the content of %s", r->id);
    if (code != 0) {
        isola_release_free(r);
        return isola_fail(err, code == ISOLA_ENOMEM ? code : ISOLA_EIO,
                          "release %s in %s is damaged (%s): deploy the app again",
                          id != NULL ? id : "?", c->db.path, why.text);
    }
    r->revision = (uint64_t)sqlite3_column_int64(stmt, 2);
    r->deployed_ms = sqlite3_column_int64(stmt, 3);
    free(r->by);
    free(r->message);
    r->by = text_of(stmt, 4);
    r->message = text_of(stmt, 5);
    r->restores = (uint64_t)sqlite3_column_int64(stmt, 6);
    if ((code = read_canary(c, stmt, r, err)) != 0) {
        isola_release_free(r);
        return code;
    }
    *out = r;
    return 0;
}

int isola_catalog_current(struct isola_catalog *c, const char *app, struct isola_release **out,
                          struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[CURRENT];
    int code;
    isola__bind_text(stmt, 1, isola_slice_str(app));
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        code = read_row(c, stmt, out, err);
    else if (rc == SQLITE_DONE)
        code = isola_fail(err, ISOLA_ENOENT, "no app \"%s\" is deployed", app);
    else
        code = isola__db_fail(&c->db, rc, "read", err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return code;
}

int isola_catalog_release(struct isola_catalog *c, const char *app, const char *id,
                          struct isola_release **out, struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[RELEASE];
    int code;
    isola__bind_text(stmt, 1, isola_slice_str(app));
    isola__bind_text(stmt, 2, isola_slice_str(id));
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        code = read_row(c, stmt, out, err);
    else if (rc == SQLITE_DONE)
        code = isola_fail(err, ISOLA_ENOENT, "release %s of app \"%s\" is not here", id, app);
    else
        code = isola__db_fail(&c->db, rc, "read", err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return code;
}

int isola_catalog_deploys(struct isola_catalog *c, const char *app, struct isola_deploys *out,
                          struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[DEPLOYS];
    int rc, code = 0;
    *out = (struct isola_deploys){0};
    isola__bind_text(stmt, 1, isola_slice_str(app));
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_deploy d = {.revision = (uint64_t)sqlite3_column_int64(stmt, 0),
                                 .deployed_ms = sqlite3_column_int64(stmt, 2),
                                 .by = text_of(stmt, 3),
                                 .message = text_of(stmt, 4),
                                 .restores = (uint64_t)sqlite3_column_int64(stmt, 5),
                                 .share = (uint32_t)sqlite3_column_int64(stmt, 6)};
        struct isola_slice id = isola__column(stmt, 1);
        memcpy(d.release, id.data, id.len < sizeof(d.release) ? id.len : 0);
        isola_deploys_add(out, &d);
    }
    if (rc != SQLITE_DONE) {
        code = isola__db_fail(&c->db, rc, "read", err);
        isola_deploys_free(out);
    }
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return code;
}

int isola_catalog_each(struct isola_catalog *c,
                       void (*each)(const struct isola_release *r, void *arg), void *arg,
                       struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[EACH];
    int rc, code = 0;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct isola_release *r = NULL;
        struct isola_err ignored;
        int failed = read_row(c, stmt, &r, code == 0 ? err : &ignored);
        if (failed == 0) {
            each(r, arg);
            isola_release_free(r);
        } else if (code == 0) {
            code = failed;
        }
    }
    if (code == 0 && rc != SQLITE_DONE)
        code = isola__db_fail(&c->db, rc, "read", err);
    sqlite3_reset(stmt);
    return code;
}

uint64_t isola_catalog_revision(struct isola_catalog *c)
{
    sqlite3_stmt *stmt = c->stmt[REVISION];
    uint64_t revision = 0;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        revision = (uint64_t)sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return revision;
}

/* --- what is prepared --- */

#define DIGEST 32

static void hash_text(crypto_generichash_state *h, const char *s)
{
    crypto_generichash_update(h, (const uint8_t *)s, strlen(s) + 1);
}

static void digest_of(const char *release, const char *type, const char *key,
                      struct isola_slice code, uint8_t out[DIGEST])
{
    crypto_generichash_state h;
    ISOLA_CHECK(sodium_init() >= 0);
    crypto_generichash_init(&h, NULL, 0, DIGEST);
    hash_text(&h, release);
    hash_text(&h, type);
    hash_text(&h, key);
    crypto_generichash_update(&h, code.data, code.len);
    crypto_generichash_final(&h, out, DIGEST);
}

static bool is_current(struct isola_catalog *c, const char *release)
{
    sqlite3_stmt *stmt = c->stmt[IS_CURRENT];
    isola__bind_text(stmt, 1, isola_slice_str(release));
    bool yes = sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return yes;
}

int isola_catalog_prepare(struct isola_catalog *c, const char *release, const char *type,
                          const char *key, struct isola_slice code, struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[PREPARE];
    uint8_t digest[DIGEST];
    if (!is_current(c, release))
        return isola_fail(err, ISOLA_ENOENT, "release %s is not current", release);
    digest_of(release, type, key, code, digest);
    isola__bind_text(stmt, 1, isola_slice_str(release));
    isola__bind_text(stmt, 2, isola_slice_str(type));
    isola__bind_text(stmt, 3, isola_slice_str(key));
    sqlite3_bind_blob(stmt, 4, digest, DIGEST, SQLITE_STATIC);
    int rc = sqlite3_bind_blob64(stmt, 5, code.data, code.len, SQLITE_STATIC);
    return rc != SQLITE_OK ? isola__db_fail(&c->db, rc, "write", err) : run(c, PREPARE, err);
}

int isola_catalog_prepared(struct isola_catalog *c, const char *release,
                           void (*each)(const char *type, const char *key, struct isola_slice code,
                                        void *arg),
                           void *arg, struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[PREPARED];
    int rc, code = 0;
    isola__bind_text(stmt, 1, isola_slice_str(release));
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *type = (const char *)sqlite3_column_text(stmt, 0);
        const char *key = (const char *)sqlite3_column_text(stmt, 1);
        struct isola_slice content = isola__column(stmt, 3);
        const void *kept = sqlite3_column_blob(stmt, 2);
        uint8_t digest[DIGEST];
        bool whole = type != NULL && key != NULL && content.data != NULL && kept != NULL &&
                     sqlite3_column_bytes(stmt, 2) == DIGEST;
        if (whole)
            digest_of(release, type, key, content, digest);
        if (whole && sodium_memcmp(digest, kept, DIGEST) == 0)
            each(type, key, content, arg);
        else
            code = isola_fail(err, ISOLA_EIO, "what is prepared of type %s in %s is damaged",
                              type != NULL ? type : "?", c->db.path);
    }
    if (code == 0 && rc != SQLITE_DONE)
        code = isola__db_fail(&c->db, rc, "read", err);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return code;
}
