/* SPDX-License-Identifier: Apache-2.0
 *
 * One table, `piece`. What trees have is put into a temporary table, `used`, when it is counted or
 * what nobody has is dropped.
 */
#include "store/cache.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/map.h"
#include "store/room.h"
#include "store/sqlite.h"

static const char *const migrations[ISOLA__CACHE_SCHEMA] = {
    "CREATE TABLE piece (hash BLOB NOT NULL PRIMARY KEY, stored_ms INTEGER NOT NULL,"
    "  content BLOB NOT NULL)",
};
static const struct isola__schema schema = {ISOLA__CACHE_SCHEMA, migrations, .shrinks = true};

#define GIVE_BACK 1000 /* pages at a time, so that others come to theirs between */

enum statement { BEGIN, COMMIT, ROLLBACK, HAS, ADD, GET, DROP, USE, FREE_BYTES, STATEMENTS };
static const char *const sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [HAS] = "SELECT 1 FROM piece WHERE hash = ?1",
    [ADD] = "INSERT OR IGNORE INTO piece (hash, stored_ms, content) VALUES (?1, ?2, ?3)",
    [GET] = "SELECT content FROM piece WHERE hash = ?1",
    [DROP] = "DELETE FROM piece WHERE hash = ?1",
    [USE] = "INSERT OR IGNORE INTO temp.used (hash) VALUES (?1)",
    [FREE_BYTES] = "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size",
};

struct isola_cache {
    struct isola__db db;
    sqlite3_stmt *stmt[STATEMENTS];
    pthread_mutex_t lock; /* of all above */
};

int isola_cache_open(const char *path, struct isola_cache **out, struct isola_err *err)
{
    struct isola_cache *c = isola_zalloc(sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    int code = isola__db_open(&c->db, path, &schema, err);
    if (code == 0)
        code =
            isola__db_exec(&c->db,
                           "PRAGMA secure_delete = OFF;" /* else what goes is written once more */
                           "CREATE TEMP TABLE used (hash BLOB NOT NULL PRIMARY KEY) "
                           "WITHOUT ROWID",
                           "open", err);
    for (int i = 0; code == 0 && i < STATEMENTS; i++)
        code = isola__db_prepare(&c->db, sql[i], &c->stmt[i], err);
    if (code != 0)
        isola_cache_close(c);
    else
        *out = c;
    return code;
}

void isola_cache_close(struct isola_cache *c)
{
    if (c == NULL)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(c->stmt[i]);
    isola__db_close(&c->db);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static int run(struct isola_cache *c, enum statement which, struct isola_err *err)
{
    int code = isola__db_run(&c->db, c->stmt[which], "write", err);
    sqlite3_clear_bindings(c->stmt[which]);
    return code;
}

static int begin(struct isola_cache *c, struct isola_err *err)
{
    pthread_mutex_lock(&c->lock);
    int code = run(c, BEGIN, err);
    if (code != 0)
        pthread_mutex_unlock(&c->lock);
    return code;
}

static int end(struct isola_cache *c, int code, struct isola_err *err)
{
    if (code == 0)
        code = run(c, COMMIT, err);
    if (code != 0 && !sqlite3_get_autocommit(c->db.handle)) {
        sqlite3_step(c->stmt[ROLLBACK]);
        sqlite3_reset(c->stmt[ROLLBACK]);
    }
    pthread_mutex_unlock(&c->lock);
    return code;
}

static void bind_hash(sqlite3_stmt *stmt, const struct isola_hash *h)
{
    sqlite3_bind_blob(stmt, 1, h->bytes, ISOLA_HASH_SIZE, SQLITE_STATIC);
}

/* --- what is there --- */

static struct isola_slice slice_of(const struct isola_hash *h)
{
    return isola_slice(h->bytes, ISOLA_HASH_SIZE);
}

int isola_cache_missing(struct isola_cache *c, struct isola_hash *hashes, size_t *n,
                        struct isola_err *err)
{
    struct isola_map seen = {0};
    size_t missing = 0;
    int code = 0;
    static char any;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; code == 0 && i < *n; i++) {
        if (isola_map_set(&seen, slice_of(&hashes[i]), &any) != NULL)
            continue;
        bind_hash(c->stmt[HAS], &hashes[i]);
        int rc = sqlite3_step(c->stmt[HAS]);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            code = isola__db_fail(&c->db, rc, "read", err);
        else if (rc == SQLITE_DONE)
            hashes[missing++] = hashes[i];
        sqlite3_reset(c->stmt[HAS]);
    }
    sqlite3_clear_bindings(c->stmt[HAS]);
    pthread_mutex_unlock(&c->lock);
    isola_map_free(&seen);
    if (code == 0)
        *n = missing;
    return code;
}

int isola_cache_lacks(struct isola_cache *c, const struct isola_tree *t, struct isola_hash **out,
                      size_t *n, struct isola_err *err)
{
    size_t all = 0, at = 0;
    for (size_t i = 0; i < t->n; i++)
        all += isola_tree_pieces(t->entries[i].size);
    struct isola_hash *hashes = isola_alloc((all > 0 ? all : 1) * sizeof(*hashes));
    for (size_t i = 0; i < t->n; i++) {
        size_t pieces = isola_tree_pieces(t->entries[i].size);
        if (pieces > 0)
            memcpy(&hashes[at], t->entries[i].pieces, pieces * sizeof(*hashes));
        at += pieces;
    }
    int code = isola_cache_missing(c, hashes, &all, err);
    if (code != 0) {
        free(hashes);
        return code;
    }
    *out = hashes;
    *n = all;
    return 0;
}

/* --- in and out --- */

static int add(struct isola_cache *c, struct isola_slice piece, int64_t now, struct isola_err *err)
{
    sqlite3_stmt *stmt = c->stmt[ADD];
    struct isola_hash h = isola_hash_of(piece);
    bind_hash(stmt, &h);
    sqlite3_bind_int64(stmt, 2, now);
    int rc = sqlite3_bind_blob64(stmt, 3, piece.len > 0 ? piece.data : (const uint8_t *)"",
                                 piece.len, SQLITE_STATIC);
    return rc != SQLITE_OK ? isola__db_fail(&c->db, rc, "write", err) : run(c, ADD, err);
}

/* The bytes of its file that nothing is in. Under the lock. */
static uint64_t free_bytes(struct isola_cache *c)
{
    sqlite3_stmt *stmt = c->stmt[FREE_BYTES];
    uint64_t bytes = 0;
    if (sqlite3_step(stmt) == SQLITE_ROW)
        bytes = (uint64_t)sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return bytes;
}

/* May so much be written: to the log, and from there to the file? */
static int check_room(struct isola_cache *c, uint64_t bytes, struct isola_err *err)
{
    pthread_mutex_lock(&c->lock);
    uint64_t unused = free_bytes(c);
    pthread_mutex_unlock(&c->lock);
    return isola__room_for(c->db.path, c->db.path, bytes + (bytes > unused ? bytes - unused : 0),
                           err);
}

int isola_cache_put(struct isola_cache *c, const struct isola_slice *pieces, size_t n,
                    struct isola_err *err)
{
    int64_t now = isola_clock_wall_ms();
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += pieces[i].len;
        if (pieces[i].len > ISOLA_PIECE_MAX)
            return isola_fail(err, ISOLA_ETOOBIG,
                              "a piece of a file has %zu bytes; %u are the most", pieces[i].len,
                              ISOLA_PIECE_MAX);
    }
    int code = check_room(c, bytes, err);
    if (code == 0)
        code = begin(c, err);
    if (code != 0)
        return code;
    for (size_t i = 0; code == 0 && i < n; i++)
        code = add(c, pieces[i], now, err);
    return end(c, code, err);
}

static int drop(struct isola_cache *c, const struct isola_hash *hash, struct isola_err *err)
{
    struct isola_err ignored;
    bind_hash(c->stmt[DROP], hash);
    (void)run(c, DROP, &ignored);
    return isola_fail(err, ISOLA_EIO, "a piece in %s was damaged, and is to be sent again",
                      c->db.path);
}

int isola_cache_get(struct isola_cache *c, const struct isola_hash *hash, struct isola_buf *out,
                    struct isola_err *err)
{
    size_t before = out->len;
    int code = 0;
    pthread_mutex_lock(&c->lock);
    sqlite3_stmt *stmt = c->stmt[GET];
    bind_hash(stmt, hash);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        struct isola_slice content = isola__column(stmt, 0);
        isola_buf_append(out, content.data, content.len);
    } else if (rc == SQLITE_DONE) {
        code = isola_fail(err, ISOLA_ENOENT, "a piece of a file is not in %s", c->db.path);
    } else {
        code = isola__db_fail(&c->db, rc, "read", err);
    }
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    if (code == 0 && out->failed)
        code = isola_fail(err, ISOLA_ENOMEM, "out of memory for a piece of a file");
    if (code == 0) {
        struct isola_hash h = isola_hash_of(isola_slice(out->data + before, out->len - before));
        if (memcmp(&h, hash, sizeof(h)) != 0) {
            out->len = before;
            code = drop(c, hash, err);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return code;
}

/* --- what is used, and what is not --- */

static int use(struct isola_cache *c, const struct isola_tree *const *trees, size_t n,
               struct isola_err *err)
{
    int code = isola__db_exec(&c->db, "DELETE FROM temp.used", "write", err);
    for (size_t i = 0; code == 0 && i < n; i++)
        for (size_t k = 0; code == 0 && k < trees[i]->n; k++) {
            const struct isola_tree_entry *e = &trees[i]->entries[k];
            for (size_t p = 0; code == 0 && p < isola_tree_pieces(e->size); p++) {
                bind_hash(c->stmt[USE], &e->pieces[p]);
                code = run(c, USE, err);
            }
        }
    return code;
}

static int count(struct isola_cache *c, const char *where, int64_t before,
                 struct isola_cache_counts *out, struct isola_err *err)
{
    char *text =
        isola_format("SELECT count(*), coalesce(sum(length(content)), 0) FROM piece %s", where);
    sqlite3_stmt *stmt = NULL;
    int code = isola__db_prepare(&c->db, text, &stmt, err);
    if (code == 0) {
        if (sqlite3_bind_parameter_count(stmt) > 0)
            sqlite3_bind_int64(stmt, 1, before);
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            *out = (struct isola_cache_counts){(uint64_t)sqlite3_column_int64(stmt, 0),
                                               (uint64_t)sqlite3_column_int64(stmt, 1)};
        else
            code = isola__db_fail(&c->db, rc, "read", err);
    }
    sqlite3_finalize(stmt);
    free(text);
    return code;
}

#define UNUSED "WHERE hash NOT IN (SELECT hash FROM temp.used) AND stored_ms < ?1"

static int drop_unused(struct isola_cache *c, int64_t before, struct isola_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = isola__db_prepare(&c->db, "DELETE FROM piece " UNUSED, &stmt, err);
    if (code == 0) {
        sqlite3_bind_int64(stmt, 1, before);
        code = isola__db_run(&c->db, stmt, "write", err);
    }
    sqlite3_finalize(stmt);
    return code;
}

static void empty_log(struct isola_cache *c)
{
    pthread_mutex_lock(&c->lock);
    (void)sqlite3_wal_checkpoint_v2(c->db.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    pthread_mutex_unlock(&c->lock);
}

/* The file gets as small as what is in it. When that fails it stays as it is, for what comes. */
static void give_back(struct isola_cache *c)
{
    char text[64];
    struct isola_err ignored;
    uint64_t before, after;
    snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%d)", GIVE_BACK);
    do {
        pthread_mutex_lock(&c->lock);
        after = before = free_bytes(c);
        if (before > 0 && isola__db_exec(&c->db, text, "write", &ignored) == 0)
            after = free_bytes(c);
        pthread_mutex_unlock(&c->lock);
    } while (after < before && after > 0);
    empty_log(c);
}

int isola_cache_collect(struct isola_cache *c, const struct isola_tree *const *trees, size_t n,
                        int64_t before, struct isola_cache_counts *gone, struct isola_err *err)
{
    *gone = (struct isola_cache_counts){0};
    empty_log(c); /* the disk may be nearly full */
    int code = begin(c, err);
    if (code != 0)
        return code;
    code = use(c, trees, n, err);
    if (code == 0)
        code = count(c, UNUSED, before, gone, err);
    if (code == 0)
        code = drop_unused(c, before, err);
    code = end(c, code, err);
    if (code == 0)
        give_back(c);
    return code;
}

int isola_cache_count(struct isola_cache *c, const struct isola_tree *const *trees, size_t n,
                      struct isola_cache_counts *all, struct isola_cache_counts *used,
                      struct isola_err *err)
{
    int code = begin(c, err);
    if (code != 0)
        return code;
    code = use(c, trees, n, err);
    if (code == 0)
        code = count(c, "", 0, all, err);
    if (code == 0)
        code = count(c, "WHERE hash IN (SELECT hash FROM temp.used)", 0, used, err);
    return end(c, code, err);
}
