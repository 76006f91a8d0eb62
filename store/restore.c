/* SPDX-License-Identifier: Apache-2.0
 *
 * Bringing a data directory to what a backup has.
 *
 * The happy path: lock the directory as an agent would; copy each file into `restore.part` there,
 * compare its BLAKE2b, have SQLite go through it; then, with the file `restoring` there, move what
 * was there aside, and the copies to their places.
 *
 * Failure modes: until `restoring` is there nothing has changed. From then on
 * isola_datadir_open refuses the directory until a restore has come to its end, so that no agent
 * starts with half of one and half of the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "store/backup.h"
#include "store/backup_own.h"
#include "store/db_own.h"
#include "store/sqlite.h"

#define ABOUT_MAX ((off_t)1 << 20)

struct file {
    char name[24];
    uint64_t bytes;
    char digest[ISOLA__BACKUP_DIGEST];
};

struct restore {
    const char *from;
    const char *data;   /* as the directory is really called */
    char *part, *aside; /* directories in `data` */
    struct file *files;
    unsigned n, groups;
    struct isola_backup *out;
    struct isola_err *err;
};

static int no_backup(struct restore *r, const char *why)
{
    return isola_fail(r->err, ISOLA_EIO,
                      "%.300s/" ISOLA__BACKUP_FILE " is not what it should be: %s", r->from, why);
}

/* --- what the backup says of itself --- */

static bool is_of_releases(const char *name)
{
    return strcmp(name, ISOLA__CATALOG_FILE) == 0 || strcmp(name, ISOLA__CACHE_FILE) == 0;
}

/* state.db, state-0.db … of so many groups, catalog.db, cache.db; nothing else is ever written. */
static bool known_name(const char *name, unsigned groups)
{
    char each[24];
    if (strcmp(name, ISOLA__STATE_FILE) == 0 || is_of_releases(name))
        return true;
    for (unsigned i = 0; i < groups; i++) {
        snprintf(each, sizeof(each), "state-%u.db", i);
        if (strcmp(name, each) == 0)
            return true;
    }
    return false;
}

static int take_files(struct restore *r, const json_t *list)
{
    size_t i;
    json_t *each;
    unsigned releases = 0;
    r->files = isola_zalloc((json_array_size(list) + 1) * sizeof(*r->files));
    json_array_foreach(list, i, each)
    {
        const char *name, *digest;
        json_int_t bytes;
        struct file *f = &r->files[r->n];
        if (json_unpack(each, "{s:s, s:I, s:s}", "name", &name, "bytes", &bytes, "blake2b",
                        &digest) != 0 ||
            bytes < 0 || strlen(digest) != ISOLA__BACKUP_DIGEST - 1 || !known_name(name, r->groups))
            return no_backup(r, "a file in it has no known name, size and BLAKE2b");
        for (unsigned k = 0; k < r->n; k++)
            if (strcmp(r->files[k].name, name) == 0)
                return no_backup(r, "a file is named twice");
        releases += is_of_releases(name);
        snprintf(f->name, sizeof(f->name), "%s", name);
        snprintf(f->digest, sizeof(f->digest), "%s", digest);
        f->bytes = (uint64_t)bytes;
        r->n++;
    }
    return r->n == 1 + r->groups + releases ? 0 : no_backup(r, "files of the store are missing");
}

static int take_about(struct restore *r, const json_t *about)
{
    int format = 0, state, group, catalog, groups;
    const char *node;
    json_int_t time;
    const json_t *files;
    (void)json_unpack((json_t *)(uintptr_t)about, "{s:i}", "format", &format);
    if (format > ISOLA__BACKUP_FORMAT)
        return isola_fail(r->err, ISOLA_ESCHEMA,
                          "the backup in %.300s was made by a newer version of Isola: use that one",
                          r->from);
    if (json_unpack((json_t *)(uintptr_t)about, "{s:i, s:s, s:I, s:{s:i, s:i, s:i}, s:i, s:o}",
                    "format", &format, "node", &node, "time", &time, "schema", "state", &state,
                    "group", &group, "catalog", &catalog, "groups", &groups, "files",
                    &files) != 0 ||
        format != ISOLA__BACKUP_FORMAT || groups < 1 || groups > ISOLA__GROUPS_MAX)
        return no_backup(r, "something is missing in it");
    if (state > ISOLA__STATE_SCHEMA || group > ISOLA__GROUP_SCHEMA ||
        catalog > ISOLA__CATALOG_SCHEMA)
        return isola_fail(r->err, ISOLA_ESCHEMA,
                          "the backup in %.300s was made by a newer version of Isola: use that one",
                          r->from);
    r->out->node = isola_strdup(node);
    r->out->time = time;
    r->groups = (unsigned)groups;
    return take_files(r, files);
}

static int read_about(struct restore *r)
{
    char *path = isola_format("%s/" ISOLA__BACKUP_FILE, r->from);
    struct stat st;
    json_error_t bad;
    json_t *about = NULL;
    int code = 0;
    if (stat(path, &st) != 0)
        code =
            errno == ENOENT || errno == ENOTDIR
                ? isola_fail(r->err, ISOLA_ENOENT,
                             "there is no backup in %.300s: it has no " ISOLA__BACKUP_FILE, r->from)
                : isola__backup_errno(r->err, "read", path);
    else if (st.st_size > ABOUT_MAX)
        code = no_backup(r, "it is too long");
    else if ((about = json_load_file(path, JSON_REJECT_DUPLICATES, &bad)) == NULL)
        code = no_backup(r, bad.text);
    else
        code = take_about(r, about);
    json_decref(about);
    free(path);
    return code;
}

/* --- copies --- */

static int check_sound(struct restore *r, const char *path)
{
    struct isola__db db = {.path = isola_strdup(path)};
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_open_v2(path, &db.handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db.handle, "PRAGMA integrity_check(1)", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    const char *said = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    int code = 0;
    if (rc != SQLITE_ROW)
        code = isola__db_fail(&db, rc, "check", r->err);
    else if (said == NULL || strcmp(said, "ok") != 0)
        code = isola_fail(r->err, ISOLA_EIO, "the backup in %.300s is damaged: %s", r->from,
                          said != NULL ? said : "no memory to say where");
    sqlite3_finalize(stmt);
    isola__db_close(&db);
    return code;
}

static int copy_file(struct restore *r, const struct file *f)
{
    char *from = isola_format("%s/%s", r->from, f->name),
         *to = isola_format("%s/%s", r->part, f->name);
    char digest[ISOLA__BACKUP_DIGEST];
    uint64_t bytes;
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int code = fd < 0 ? isola__backup_errno(r->err, "write", to)
                      : isola__backup_digest(from, fd, &bytes, digest, r->err);
    if (fd >= 0)
        close(fd);
    if (code == 0 && (bytes != f->bytes || strcmp(digest, f->digest) != 0))
        code = isola_fail(r->err, ISOLA_EIO,
                          "the backup in %.300s is damaged: %s is not what was written then",
                          r->from, f->name);
    if (code == 0)
        code = check_sound(r, to);
    if (code == 0)
        code = isola__backup_sync(to, r->err);
    r->out->bytes += f->bytes;
    r->out->files++;
    free(from);
    free(to);
    return code;
}

/* --- their places --- */

static bool is_there(const char *dir, const char *name)
{
    struct stat st;
    char *path = isola_format("%s/%s", dir, name);
    bool there = lstat(path, &st) == 0;
    free(path);
    return there;
}

/* Calls for each file of a store, of a catalog and of a package cache that is in the directory. */
static int each_old(struct restore *r, int (*fn)(struct restore *r, const char *name))
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal", "-log1", "-log2"};
    int code = 0;
    for (int i = -3; i < ISOLA__GROUPS_MAX; i++)
        for (size_t k = 0; k < sizeof(endings) / sizeof(endings[0]) && code == 0; k++) {
            char name[40], number[24];
            snprintf(number, sizeof(number), "state-%d.db", i);
            snprintf(name, sizeof(name), "%s%s",
                     i == -3   ? ISOLA__STATE_FILE
                     : i == -2 ? ISOLA__CATALOG_FILE
                     : i == -1 ? ISOLA__CACHE_FILE
                               : number,
                     endings[k]);
            if (is_there(r->data, name))
                code = fn(r, name);
        }
    return code;
}

static int refuse(struct restore *r, const char *name)
{
    return isola_fail(r->err, ISOLA_EEXIST,
                      "%.300s has data already (%s); with --force it is moved aside, not removed",
                      r->data, name);
}

static int move(struct restore *r, const char *from_dir, const char *name, const char *to_dir)
{
    char *from = isola_format("%s/%s", from_dir, name), *to = isola_format("%s/%s", to_dir, name);
    int code = rename(from, to) != 0 ? isola__backup_errno(r->err, "move", from) : 0;
    free(from);
    free(to);
    return code;
}

static int move_aside(struct restore *r, const char *name)
{
    if (r->out->aside == NULL) {
        if (mkdir(r->aside, 0700) != 0)
            return isola__backup_errno(r->err, "create", r->aside);
        r->out->aside = isola_strdup(r->aside);
    }
    return move(r, r->data, name, r->aside);
}

static int mark(struct restore *r)
{
    char *path = isola_format("%s/" ISOLA__RESTORING, r->data);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int code = fd < 0 ? isola__backup_errno(r->err, "write", path) : 0;
    if (fd >= 0)
        close(fd);
    free(path);
    return code != 0 ? code : isola__backup_sync(r->data, r->err);
}

static int unmark(struct restore *r)
{
    char *path = isola_format("%s/" ISOLA__RESTORING, r->data);
    int code = unlink(path) != 0 ? isola__backup_errno(r->err, "remove", path) : 0;
    free(path);
    return code != 0 ? code : isola__backup_sync(r->data, r->err);
}

static int put_in_place(struct restore *r)
{
    int code = mark(r);
    if (code == 0)
        code = each_old(r, move_aside);
    for (unsigned i = 0; i < r->n && code == 0; i++)
        code = move(r, r->part, r->files[i].name, r->data);
    if (code == 0 && r->out->aside != NULL)
        code = isola__backup_sync(r->out->aside, r->err);
    if (code == 0)
        code = isola__backup_sync(r->data, r->err);
    return code != 0 ? code : unmark(r);
}

/* --- all of it --- */

static int run(struct restore *r, bool force)
{
    int code = 0;
    if (!force && !is_there(r->data, ISOLA__RESTORING))
        code = each_old(r, refuse);
    if (code != 0)
        return code;
    isola__backup_remove(r->part); /* of one that was interrupted */
    if (mkdir(r->part, 0700) != 0)
        return isola__backup_errno(r->err, "create", r->part);
    for (unsigned i = 0; i < r->n && code == 0; i++)
        code = copy_file(r, &r->files[i]);
    if (code == 0)
        code = isola__backup_sync(r->part, r->err);
    if (code == 0)
        code = put_in_place(r);
    isola__backup_remove(r->part);
    return code;
}

/* "replaced-20310102T030405Z", or with a number behind it. */
static char *aside_name(const char *data)
{
    time_t now = (time_t)(isola_clock_wall_ms() / 1000);
    struct tm tm;
    char when[32] = "";
    if (gmtime_r(&now, &tm) != NULL)
        (void)strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
    char *name = isola_format("replaced-%s", when);
    for (unsigned i = 2; is_there(data, name); i++) {
        free(name);
        name = isola_format("replaced-%s-%u", when, i);
    }
    char *path = isola_format("%s/%s", data, name);
    free(name);
    return path;
}

int isola_backup_restore(const char *from, const char *data, bool force, struct isola_backup *out,
                         struct isola_err *err)
{
    struct isola_datadir *dir = NULL;
    struct restore r = {.from = from, .out = out, .err = err};
    *out = (struct isola_backup){0};
    int code = read_about(&r);
    if (code == 0)
        code = isola__datadir_lock(data, &dir, err);
    if (code == 0) {
        r.data = isola_datadir_path(dir);
        r.part = isola_format("%s/restore.part", r.data);
        r.aside = aside_name(r.data);
        code = run(&r, force);
        isola_datadir_close(dir);
    }
    free(r.part);
    free(r.aside);
    free(r.files);
    if (code != 0)
        isola_backup_free(out);
    return code;
}
