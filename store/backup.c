/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a backup.
 *
 * While all groups are held between two commits, a snapshot is begun on a connection of its own to
 * each file; that takes as long as a commit or two. From these snapshots the files are copied, page
 * by page, while commits go on: so an actor that has heard of another's commit is not in the backup
 * without it. The directory has another name until everything in it is on disk.
 *
 * Failure modes: whatever goes wrong, what was written is removed, and the store has not noticed.
 * While the snapshots last, write-ahead logs grow.
 */
#include "store/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/files.h"
#include "store/backup_own.h"
#include "store/state_own.h"

#define STEP_PAGES 256
#define READ_BYTES ((size_t)1 << 20)

void isola_backup_free(struct isola_backup *b)
{
    free(b->node);
    free(b->aside);
    *b = (struct isola_backup){0};
}

/* --- files --- */

int isola__backup_errno(struct isola_err *err, const char *doing, const char *path)
{
    int e = errno;
    int code = e == EACCES || e == EPERM || e == EROFS ? ISOLA_EPERM
               : e == ENOENT                           ? ISOLA_ENOENT
                                                       : ISOLA_EIO;
    return isola_fail(err, code, "cannot %s %s: %s", doing, path, strerror(e));
}

int isola__backup_sync(const char *path, struct isola_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int code = fd < 0 || fsync(fd) != 0 ? isola__backup_errno(err, "write", path) : 0;
    if (fd >= 0)
        close(fd);
    return code;
}

void isola__backup_remove(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char *name = isola_format("%s/%s", path, e->d_name);
        (void)unlink(name);
        free(name);
    }
    if (dir != NULL)
        closedir(dir);
    (void)rmdir(path);
}

int isola__backup_digest(const char *path, int to, uint64_t *bytes,
                         char digest[ISOLA__BACKUP_DIGEST], struct isola_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return isola__backup_errno(err, "read", path);
    uint8_t *buf = isola_zalloc(READ_BYTES), hash[32];
    crypto_generichash_state h;
    ssize_t n;
    int code = 0;
    *bytes = 0;
    crypto_generichash_init(&h, NULL, 0, sizeof(hash));
    while (code == 0 && (n = read(fd, buf, READ_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            code = isola__backup_errno(err, "read", path);
        } else {
            crypto_generichash_update(&h, buf, (size_t)n);
            *bytes += (uint64_t)n;
            if (to >= 0 && isola_write_all(to, isola_slice(buf, (size_t)n)) != 0)
                code = isola__backup_errno(err, "copy", path);
        }
    }
    crypto_generichash_final(&h, hash, sizeof(hash));
    sodium_bin2hex(digest, ISOLA__BACKUP_DIGEST, hash, sizeof(hash));
    free(buf);
    close(fd);
    return code;
}

/* --- what is copied --- */

struct source {
    struct isola__db db; /* of its own, with a snapshot; handle NULL: the root */
    char *path;
    uint64_t bytes; /* for who wants to see progress */
};

struct work {
    struct isola_state *s;
    const char *node;
    const atomic_bool *stop;
    struct isola_backup_progress *progress; /* or NULL */
    uint64_t copied;                        /* bytes, of the files before */
    char *part;                             /* the directory, until it is whole */
    struct source *sources;
    unsigned n;
    int64_t time;
    json_t *files;
    struct isola_backup *out;
    int code; /* of `snap` */
    struct isola_err *err;
};

/* Of all files, while none changes. */
static void snap(void *arg)
{
    struct work *w = arg;
    int some;
    w->time = isola_clock_wall_ms();
    for (unsigned i = 0; i < w->n && w->code == 0; i++)
        if (w->sources[i].db.handle != NULL &&
            (w->code = isola__db_exec(&w->sources[i].db, "BEGIN", "read", w->err)) == 0)
            w->code = isola__db_int(&w->sources[i].db, "SELECT count(*) FROM sqlite_schema", &some,
                                    w->err);
}

/* Of a file as its connection sees it. */
static uint64_t size_of(struct isola__db *db)
{
    struct isola_err err; /* it is told when copying fails of it */
    int pages, each;
    if (isola__db_int(db, "PRAGMA page_count", &pages, &err) != 0 ||
        isola__db_int(db, "PRAGMA page_size", &each, &err) != 0)
        return 0;
    return (uint64_t)pages * (uint64_t)each;
}

static void measure(struct work *w)
{
    pthread_mutex_t *lock;
    struct isola__db *root = isola__state_root(w->s, &lock);
    uint64_t of = 0;
    pthread_mutex_lock(lock);
    w->sources[0].bytes = size_of(root);
    pthread_mutex_unlock(lock);
    for (unsigned i = 1; i < w->n; i++)
        w->sources[i].bytes = size_of(&w->sources[i].db);
    for (unsigned i = 0; i < w->n; i++)
        of += w->sources[i].bytes;
    if (w->progress != NULL)
        atomic_store(&w->progress->of, of);
}

static int open_sources(struct work *w, struct isola_err *err)
{
    pthread_mutex_t *lock;
    struct stat st;
    unsigned groups = isola__state_groups(w->s);
    const char *root = isola__state_root(w->s, &lock)->path;
    const char *end = strrchr(root, '/');
    static const char *const others[] = {ISOLA__CATALOG_FILE, ISOLA__CACHE_FILE};
    int code = 0;
    w->sources = isola_zalloc((groups + 3) * sizeof(*w->sources));
    w->sources[w->n++].path = isola_strdup(root);
    for (unsigned i = 0; i < groups; i++)
        w->sources[w->n++].path = isola_strdup(isola__state_path(w->s, i));
    for (size_t i = 0; i < 2; i++) {
        char *path =
            isola_format("%.*s%s", end != NULL ? (int)(end + 1 - root) : 0, root, others[i]);
        if (stat(path, &st) == 0)
            w->sources[w->n++].path = path;
        else
            free(path);
    }
    for (unsigned i = 1; i < w->n && code == 0; i++)
        code = isola__db_join(&w->sources[i].db, w->sources[i].path, err);
    return code;
}

/* --- copies --- */

static bool stopped(const struct work *w)
{
    return w->stop != NULL && atomic_load(w->stop);
}

static void note_progress(struct work *w, const struct source *source, sqlite3_backup *b)
{
    uint64_t all = (uint64_t)sqlite3_backup_pagecount(b);
    uint64_t left = (uint64_t)sqlite3_backup_remaining(b);
    if (w->progress != NULL && all > 0)
        atomic_store(&w->progress->bytes, w->copied + source->bytes / all * (all - left));
}

static int copy_pages(struct work *w, const struct source *source, sqlite3 *from,
                      struct isola__db *to, struct isola_err *err)
{
    sqlite3_backup *b = sqlite3_backup_init(to->handle, "main", from, "main");
    int rc = b != NULL ? SQLITE_OK : sqlite3_errcode(to->handle);
    while (rc == SQLITE_OK && !stopped(w)) {
        rc = sqlite3_backup_step(b, STEP_PAGES);
        note_progress(w, source, b);
    }
    int ended = sqlite3_backup_finish(b);
    if (rc == SQLITE_DONE)
        return ended == SQLITE_OK ? 0 : isola__db_fail(to, ended, "write", err);
    return rc == SQLITE_OK ? isola_fail(err, ISOLA_ECANCELED, "the node is stopping")
                           : isola__db_fail(to, rc, "write", err);
}

static int copy_file(struct work *w, struct source *source, const char *to, struct isola_err *err)
{
    pthread_mutex_t *lock;
    struct isola__db *root = isola__state_root(w->s, &lock);
    struct isola__db db = {.path = isola_strdup(to)};
    int fd = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int code = fd < 0 ? isola__backup_errno(err, "write", to) : 0;
    if (fd >= 0)
        close(fd);
    if (code == 0) {
        int rc = sqlite3_open_v2(
            to, &db.handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
            NULL);
        code = rc != SQLITE_OK ? isola__db_fail(&db, rc, "write", err) : 0;
    }
    if (code == 0) /* it is synced when all of it is there */
        code = isola__db_exec(&db, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", "write",
                              err);
    bool is_root = source->db.handle == NULL;
    if (is_root)
        pthread_mutex_lock(lock);
    if (code == 0)
        code = copy_pages(w, source, is_root ? root->handle : source->db.handle, &db, err);
    if (is_root)
        pthread_mutex_unlock(lock);
    isola__db_close(&db);
    return code != 0 ? code : isola__backup_sync(to, err);
}

static int add_file(struct work *w, struct source *source, struct isola_err *err)
{
    const char *slash = strrchr(source->path, '/');
    const char *name = slash != NULL ? slash + 1 : source->path;
    char *to = isola_format("%s/%s", w->part, name), digest[ISOLA__BACKUP_DIGEST];
    uint64_t bytes = 0;
    int code = copy_file(w, source, to, err);
    if (code == 0)
        code = isola__backup_digest(to, -1, &bytes, digest, err);
    if (code == 0) {
        json_array_append_new(w->files, json_pack("{s:s, s:I, s:s}", "name", name, "bytes",
                                                  (json_int_t)bytes, "blake2b", digest));
        w->out->files++;
        w->out->bytes += bytes;
    }
    w->copied += source->bytes;
    /* Its snapshot is not needed any more. */
    isola__db_close(&source->db);
    free(to);
    return code;
}

static int write_about(struct work *w, struct isola_err *err)
{
    char *path = isola_format("%s/" ISOLA__BACKUP_FILE, w->part);
    json_t *about = json_pack("{s:i, s:s, s:I, s:s, s:{s:i, s:i, s:i}, s:i, s:O}", "format",
                              ISOLA__BACKUP_FORMAT, "node", w->node, "time", (json_int_t)w->time,
                              "version", ISOLA_VERSION, "schema", "state", ISOLA__STATE_SCHEMA,
                              "group", ISOLA__GROUP_SCHEMA, "catalog", ISOLA__CATALOG_SCHEMA,
                              "groups", (int)isola__state_groups(w->s), "files", w->files);
    char *text = about != NULL ? json_dumps(about, JSON_INDENT(2)) : NULL;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int code = 0;
    if (text == NULL)
        code = isola_fail(err, ISOLA_ENOMEM, "no memory for %s", path);
    else if (fd < 0 || isola_write_all(fd, isola_slice_str(text)) != 0 ||
             isola_write_all(fd, isola_slice_str("\n")) != 0 || fsync(fd) != 0)
        code = isola__backup_errno(err, "write", path);
    if (fd >= 0)
        close(fd);
    free(text);
    json_decref(about);
    free(path);
    return code;
}

/* Gives the directory its name. */
static int publish(struct work *w, const char *to, struct isola_err *err)
{
    int code = isola__backup_sync(w->part, err);
    if (code != 0)
        return code;
    if (renameat2(AT_FDCWD, w->part, AT_FDCWD, to, RENAME_NOREPLACE) != 0)
        return isola__backup_errno(err, "write", to);
    char *parent = isola_strndup(to, (size_t)(strrchr(to, '/') - to) + 1);
    code = isola__backup_sync(parent, err);
    free(parent);
    return code;
}

int isola_state_backup(struct isola_state *s, const char *node, const char *to,
                       const atomic_bool *stop, struct isola_backup_progress *progress,
                       struct isola_backup *out, struct isola_err *err)
{
    struct work w = {
        .s = s, .node = node, .stop = stop, .progress = progress, .out = out, .err = err};
    struct stat st;
    *out = (struct isola_backup){0};
    if (to[0] != '/')
        return isola_fail(err, ISOLA_EINVAL, "%.300s is no absolute path", to);
    if (lstat(to, &st) == 0)
        return isola_fail(err, ISOLA_EEXIST,
                          "%.300s is there already; name a directory that is not", to);
    w.part = isola_format("%s.part-%d", to, (int)getpid());
    w.files = json_array();
    isola__backup_remove(w.part); /* of a process before, with this one's number */
    int code = mkdir(w.part, 0700) != 0 ? isola__backup_errno(err, "create", w.part) : 0;
    bool made = code == 0;
    if (code == 0)
        code = open_sources(&w, err);
    if (code == 0) {
        code = isola__state_hold(s, snap, &w, err);
        if (code == 0)
            code = w.code;
    }
    if (code == 0)
        measure(&w);
    for (unsigned i = 0; i < w.n && code == 0; i++)
        code = add_file(&w, &w.sources[i], err);
    if (code == 0)
        code = write_about(&w, err);
    if (code == 0)
        code = publish(&w, to, err);
    if (code != 0 && made)
        isola__backup_remove(w.part);
    for (unsigned i = 0; i < w.n; i++) {
        isola__db_close(&w.sources[i].db);
        free(w.sources[i].path);
    }
    free(w.sources);
    free(w.part);
    json_decref(w.files);
    out->node = isola_strdup(node);
    out->time = w.time;
    if (code != 0)
        isola_backup_free(out);
    return code;
}
