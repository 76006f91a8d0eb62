/* SPDX-License-Identifier: Apache-2.0 */
#include "store/journal.h"

#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/check.h"
#include "store/sqlite.h"

_Static_assert(crypto_shorthash_KEYBYTES == 16 && crypto_shorthash_BYTES == 8, "SipHash-2-4");

static const char magic[8] = "IsolaLog";
#define VERSION 1

/* Numbers as this machine has them: the files do not leave it. */
struct header {
    char magic[8];
    uint32_t version, zero;
    int64_t first;
    uint8_t key[16];
    uint8_t check[8]; /* of what is before it */
};
_Static_assert(sizeof(struct header) == 48, "no holes");

struct record {
    uint32_t len; /* of the changes behind it */
    uint32_t zero;
    int64_t number, written;
    uint8_t check[8]; /* of what is before it and the changes */
};
_Static_assert(sizeof(struct record) == ISOLA__JOURNAL_ROOM, "no holes");

/* A file that has grown beyond this is cut when it is used again. */
#define FILE_MAX (64u << 20)

struct file {
    struct isola__db name; /* for sentences */
    sqlite3_file *file;
    bool open, valid; /* valid: it has a header, and commits may follow */
    struct header header;
    int64_t last; /* its last commit */
    int64_t end;  /* where the next one goes */
    int64_t size;
    bool torn; /* something that has failed may be at its end */
};

struct isola__journal {
    sqlite3_vfs *vfs;
    struct file file[2];
    int at; /* the one that is written, if it is valid */
    bool turn;
    int64_t number;
};

static void check_of(const uint8_t key[16], const void *head, size_t n, struct isola_slice changes,
                     uint8_t out[8])
{
    /* of two parts: a hash of the changes, and one of the head with that */
    uint8_t both[64 + 8];
    ISOLA_CHECK(n <= 64);
    crypto_shorthash(both + n, changes.data, changes.len, key);
    memcpy(both, head, n);
    crypto_shorthash(out, both, n + 8, key);
}

static int fail(const struct isola__journal *j, struct file *f, int rc, const char *doing,
                struct isola_err *err)
{
    int sys = j->vfs->xGetLastError != NULL ? j->vfs->xGetLastError(j->vfs, 0, NULL) : 0;
    return isola__io_fail(f->name.path, rc, sys, NULL, doing, err);
}

/* --- opening --- */

static int open_file(struct isola__journal *j, struct file *f, const char *path, int which,
                     struct isola_err *err)
{
    /* SQLite's VFS gives such a file the mode and the owner of what stands before its last '-'. */
    char *name = isola_format("%s-log%d", path, which + 1);
    f->name.path = isola_zalloc(strlen(name) + 4); /* a VFS may look for parameters behind it */
    strcpy(f->name.path, name);
    free(name);
    f->file = isola_zalloc((size_t)j->vfs->szOsFile);
    int got = 0;
    int rc = j->vfs->xOpen(j->vfs, f->name.path, f->file,
                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL, &got);
    if (rc != SQLITE_OK || (got & SQLITE_OPEN_READWRITE) == 0)
        return fail(j, f, rc != SQLITE_OK ? rc : SQLITE_READONLY, "open", err);
    f->open = true;
    sqlite3_int64 size = 0;
    rc = f->file->pMethods->xFileSize(f->file, &size);
    f->size = size;
    return rc == SQLITE_OK ? 0 : fail(j, f, rc, "read", err);
}

static int read_all(struct isola__journal *j, struct file *f, struct isola_buf *out,
                    struct isola_err *err)
{
    const int piece = 64 << 10;
    for (int64_t at = 0; at < f->size; at += piece) {
        int n = f->size - at < piece ? (int)(f->size - at) : piece;
        uint8_t *to = isola_buf_extend(out, (size_t)n);
        if (to == NULL)
            return isola_fail(err, ISOLA_ENOMEM, "no memory to read %s", f->name.path);
        int rc = f->file->pMethods->xRead(f->file, to, n, at);
        if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ)
            return fail(j, f, rc, "read", err);
    }
    return 0;
}

static bool read_header(struct file *f, struct isola_slice bytes)
{
    uint8_t check[8];
    if (bytes.len < sizeof(f->header))
        return false;
    memcpy(&f->header, bytes.data, sizeof(f->header));
    if (memcmp(f->header.magic, magic, sizeof(magic)) != 0 || f->header.version != VERSION ||
        f->header.first < 1)
        return false;
    check_of(f->header.key, &f->header, offsetof(struct header, check), isola_slice("", 0), check);
    return memcmp(check, f->header.check, sizeof(check)) == 0;
}

/* The commit at f->end, if there is one with the number that follows. */
static bool next(struct file *f, struct isola_slice bytes, struct record *r,
                 struct isola_slice *changes)
{
    uint8_t check[8];
    size_t at = (size_t)f->end;
    if (at > bytes.len || bytes.len - at < sizeof(*r))
        return false;
    memcpy(r, bytes.data + at, sizeof(*r));
    if (r->number != f->last + 1 || bytes.len - at - sizeof(*r) < r->len)
        return false;
    *changes = isola_slice(bytes.data + at + sizeof(*r), r->len);
    check_of(f->header.key, r, offsetof(struct record, check), *changes, check);
    if (memcmp(check, r->check, sizeof(check)) != 0)
        return false;
    f->last++;
    f->end += (int64_t)sizeof(*r) + r->len;
    return true;
}

/* Gives out what is after j->number, which becomes the last one. Numbers from `until` on are in the
 * other file. */
static void give_out(struct isola__journal *j, struct file *f, struct isola_slice bytes,
                     int64_t until, isola__journal_fn fn, void *arg, bool *goes_on)
{
    struct record r;
    struct isola_slice changes;
    f->last = f->header.first - 1;
    f->end = sizeof(f->header);
    while (f->last + 1 < until && next(f, bytes, &r, &changes))
        if (*goes_on && r.number == j->number + 1) {
            j->number = r.number;
            *goes_on = fn(arg, r.number, r.written, changes);
        }
}

/* What a file says is the next, and follows on what is in the tables or in the other file, is
 * there; it does not begin later unless something is lost. */
static int replay(struct isola__journal *j, struct isola_slice bytes[2], isola__journal_fn fn,
                  void *arg, struct isola_err *err)
{
    struct file *a = &j->file[0], *b = &j->file[1];
    a->valid = read_header(a, bytes[0]);
    b->valid = read_header(b, bytes[1]);
    int newer = b->valid && (!a->valid || b->header.first > a->header.first) ? 1 : 0;
    struct file *n = &j->file[newer], *o = &j->file[1 - newer];
    bool goes_on = true;
    j->at = newer;
    if (o->valid)
        give_out(j, o, bytes[1 - newer], n->header.first, fn, arg, &goes_on);
    if (n->valid && n->header.first > j->number + 1)
        return isola_fail(err, ISOLA_EIO,
                          "cannot open %s: commits %lld to %lld are missing; restore a backup",
                          n->name.path, (long long)j->number + 1, (long long)n->header.first - 1);
    if (n->valid)
        give_out(j, n, bytes[newer], INT64_MAX, fn, arg, &goes_on);
    /* What is numbered next goes behind the last one, which may have been folded long ago. */
    if (n->valid && n->last < j->number)
        n->valid = false;
    return 0;
}

int isola__journal_open(const char *path, int64_t after, isola__journal_fn fn, void *arg,
                        struct isola__journal **out, struct isola_err *err)
{
    struct isola__journal *j = isola_zalloc(sizeof(*j));
    struct isola_buf bytes[2] = {{0}, {0}};
    int code = 0;
    j->vfs = sqlite3_vfs_find(NULL);
    j->number = after;
    ISOLA_CHECK(sodium_init() >= 0);
    for (int i = 0; i < 2 && code == 0; i++) {
        code = open_file(j, &j->file[i], path, i, err);
        if (code == 0)
            code = read_all(j, &j->file[i], &bytes[i], err);
    }
    if (code == 0)
        code = replay(
            j, (struct isola_slice[]){isola_buf_slice(&bytes[0]), isola_buf_slice(&bytes[1])}, fn,
            arg, err);
    isola_buf_free(&bytes[0]);
    isola_buf_free(&bytes[1]);
    if (code != 0) {
        isola__journal_close(j);
        return code;
    }
    *out = j;
    return 0;
}

/* What has failed is not to be found again: the file ends before it. Where even that cannot be done
 * it is tried again before anything else. */
static bool cut(struct file *f)
{
    const sqlite3_io_methods *m = f->file->pMethods;
    if (!f->torn)
        return true;
    if (m->xTruncate(f->file, f->end) != SQLITE_OK ||
        m->xSync(f->file, SQLITE_SYNC_NORMAL) != SQLITE_OK)
        return false;
    f->size = f->end;
    f->torn = false;
    return true;
}

void isola__journal_close(struct isola__journal *j)
{
    if (j == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        if (j->file[i].open) {
            (void)cut(&j->file[i]);
            j->file[i].file->pMethods->xClose(j->file[i].file);
        }
        free(j->file[i].file);
        free(j->file[i].name.path);
    }
    free(j);
}

/* --- writing --- */

void isola__journal_begin(struct isola_buf *commit)
{
    static const uint8_t room[ISOLA__JOURNAL_ROOM];
    commit->len = 0;
    isola_buf_append(commit, room, sizeof(room));
}

static int write_and_sync(struct file *f, const void *p, size_t n, int64_t at)
{
    const sqlite3_io_methods *m = f->file->pMethods;
    const size_t most = 64u << 10; /* SQLite's VFS takes less than 128 KB at a time */
    for (size_t done = 0; done < n;) {
        int piece = (int)(n - done < most ? n - done : most);
        int rc = m->xWrite(f->file, (const uint8_t *)p + done, piece, at + (int64_t)done);
        if (rc != SQLITE_OK)
            return rc;
        done += (size_t)piece;
    }
    return m->xSync(f->file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
}

/* The file begins anew, with the next number. */
static int start(struct isola__journal *j, struct file *f, struct isola_err *err)
{
    struct header h = {.version = VERSION, .first = j->number + 1};
    memcpy(h.magic, magic, sizeof(magic));
    randombytes_buf(h.key, sizeof(h.key));
    check_of(h.key, &h, offsetof(struct header, check), isola_slice("", 0), h.check);
    int rc = SQLITE_OK;
    f->valid = false;
    if (f->size > FILE_MAX)
        rc = f->file->pMethods->xTruncate(f->file, 0);
    if (rc == SQLITE_OK)
        rc = write_and_sync(f, &h, sizeof(h), 0);
    if (rc != SQLITE_OK)
        return fail(j, f, rc, "write", err);
    if (f->size > FILE_MAX)
        f->size = 0;
    f->header = h;
    f->end = sizeof(h);
    f->last = j->number;
    f->valid = true;
    f->torn = false;
    return 0;
}

int isola__journal_append(struct isola__journal *j, struct isola_buf *commit, int64_t written,
                          struct isola_err *err)
{
    ISOLA_CHECK(commit->len >= ISOLA__JOURNAL_ROOM && !commit->failed);
    struct isola_slice changes =
        isola_slice(commit->data + ISOLA__JOURNAL_ROOM, commit->len - ISOLA__JOURNAL_ROOM);
    struct file *f = &j->file[j->at];
    if (changes.len > UINT32_MAX)
        return isola_fail(err, ISOLA_ETOOBIG, "cannot write %s: the change is too big",
                          f->name.path);
    if (j->turn || !f->valid) {
        int other = j->turn ? 1 - j->at : j->at;
        int code = start(j, &j->file[other], err);
        if (code != 0)
            return code;
        j->at = other;
        j->turn = false;
        f = &j->file[other];
    }
    if (!cut(f))
        return fail(j, f, SQLITE_IOERR_WRITE, "write", err);
    struct record r = {.len = (uint32_t)changes.len, .number = j->number + 1, .written = written};
    check_of(f->header.key, &r, offsetof(struct record, check), changes, r.check);
    memcpy(commit->data, &r, sizeof(r));
    int rc = write_and_sync(f, commit->data, commit->len, f->end);
    if (rc != SQLITE_OK) {
        int code = fail(j, f, rc, "write", err);
        f->torn = true;
        (void)cut(f);
        return code;
    }
    f->end += (int64_t)commit->len;
    f->size = f->end > f->size ? f->end : f->size;
    f->last = ++j->number;
    return 0;
}

int64_t isola__journal_number(const struct isola__journal *j)
{
    return j->number;
}

void isola__journal_turn(struct isola__journal *j, int64_t folded)
{
    const struct file *other = &j->file[1 - j->at];
    if (j->file[j->at].valid && j->file[j->at].last >= j->file[j->at].header.first)
        j->turn = !other->valid || other->last <= folded;
}
