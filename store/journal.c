/* SPDX-License-Identifier: Apache-2.0 */
#include "store/journal.h"

#include <errno.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/check.h"
#include "store/direct.h"
#include "store/sqlite.h"

_Static_assert(crypto_shorthash_KEYBYTES == 16 && crypto_shorthash_BYTES == 8, "SipHash-2-4");

static const char magic[8] = "IsolaLog";
/* Version 1 had one commit right behind the other. */
#define VERSION 2

/* Numbers as this machine has them: the files do not leave it. */
struct header {
    char magic[8];
    uint32_t version;
    uint32_t unit; /* at multiples of which commits begin; in version 1 nothing, which is 1 */
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
    struct isola__direct *direct; /* or NULL */
    bool open, valid;             /* valid: it has a header, and commits may follow */
    struct header header;
    int64_t last; /* its last commit */
    int64_t end;  /* where the next one goes */
    int64_t size;
    bool torn;             /* something that has failed may be at its end */
    struct isola_buf seen; /* while it is opened: what of it is in memory, */
    int64_t seen_at;       /* from here on */
};

struct isola__journal {
    sqlite3_vfs *vfs;
    struct file file[2];
    int at; /* the one that is written, if it is valid */
    bool turn;
    int64_t number;
    int sys; /* errno of a direct write, or 0 */
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
    int sys = j->sys;
    if (sys == 0 && j->vfs->xGetLastError != NULL)
        sys = j->vfs->xGetLastError(j->vfs, 0, NULL);
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
    if (j->vfs->zName != NULL && strcmp(j->vfs->zName, "unix") == 0)
        f->direct = isola__direct_open(f->name.path);
    sqlite3_int64 size = 0;
    rc = f->file->pMethods->xFileSize(f->file, &size);
    f->size = size;
    return rc == SQLITE_OK ? 0 : fail(j, f, rc, "read", err);
}

/* Has `n` bytes from `from` on in memory, where they stay until the next call; nothing before them
 * is asked for again. 1, 0 (the file ends before), or a code. */
static int look(struct isola__journal *j, struct file *f, int64_t from, size_t n,
                struct isola_err *err)
{
    const int64_t piece = 64 << 10;
    struct isola_buf *seen = &f->seen;
    int64_t end = f->seen_at + (int64_t)seen->len;
    if ((int64_t)n > f->size - from)
        return 0;
    if (from + (int64_t)n <= end)
        return 1;
    seen->len = end > from ? (size_t)(end - from) : 0;
    if (seen->len > 0)
        memmove(seen->data, seen->data + (from - f->seen_at), seen->len);
    f->seen_at = from;
    for (end = from + (int64_t)seen->len; end < from + (int64_t)n;) {
        int some = (int)(f->size - end < piece ? f->size - end : piece);
        uint8_t *to = isola_buf_extend(seen, (size_t)some);
        if (to == NULL)
            return isola_fail(err, ISOLA_ENOMEM, "no memory to read %s", f->name.path);
        int rc = f->file->pMethods->xRead(f->file, to, some, end);
        if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ)
            return fail(j, f, rc, "read", err);
        end += some;
    }
    return 1;
}

static const uint8_t *at(const struct file *f, int64_t offset)
{
    return f->seen.data + (offset - f->seen_at);
}

static int read_header(struct isola__journal *j, struct file *f, struct isola_err *err)
{
    uint8_t check[8];
    int there = look(j, f, 0, sizeof(f->header), err);
    if (there <= 0)
        return there;
    memcpy(&f->header, at(f, 0), sizeof(f->header));
    check_of(f->header.key, &f->header, offsetof(struct header, check), isola_slice("", 0), check);
    f->valid = memcmp(f->header.magic, magic, sizeof(magic)) == 0 && f->header.version >= 1 &&
               f->header.version <= VERSION && f->header.first >= 1 &&
               memcmp(check, f->header.check, sizeof(check)) == 0;
    return 0;
}

/* Where a commit may begin. */
static int64_t unit_after(const struct file *f, int64_t at)
{
    int64_t unit = f->header.unit > 0 ? f->header.unit : 1;
    return (at + unit - 1) / unit * unit;
}

/* The commit at f->end, if there is one with the number that follows: 1, 0 or a code. */
static int next(struct isola__journal *j, struct file *f, struct record *r,
                struct isola_slice *changes, struct isola_err *err)
{
    uint8_t check[8];
    int there = look(j, f, f->end, sizeof(*r), err);
    if (there <= 0)
        return there;
    memcpy(r, at(f, f->end), sizeof(*r));
    if (r->number != f->last + 1)
        return 0;
    there = look(j, f, f->end, sizeof(*r) + r->len, err);
    if (there <= 0)
        return there;
    *changes = isola_slice(at(f, f->end) + sizeof(*r), r->len);
    check_of(f->header.key, r, offsetof(struct record, check), *changes, check);
    if (memcmp(check, r->check, sizeof(check)) != 0)
        return 0;
    f->last++;
    f->end = unit_after(f, f->end + (int64_t)sizeof(*r) + r->len);
    return 1;
}

/* Who is given the commits, while he wants them. */
struct reader {
    isola__journal_fn fn;
    void *arg;
    bool over;
};

/* Gives out what is after j->number, which becomes the last one. Numbers from `until` on are in the
 * other file. Who has written it may have been killed before it was on disk: now it is. */
static int give_out(struct isola__journal *j, struct file *f, int64_t until, struct reader *to,
                    struct isola_err *err)
{
    struct record r;
    struct isola_slice changes;
    int there = 1;
    f->last = f->header.first - 1;
    f->end = unit_after(f, sizeof(f->header));
    int rc = f->file->pMethods->xSync(f->file, SQLITE_SYNC_NORMAL);
    if (rc != SQLITE_OK)
        return fail(j, f, rc, "write", err);
    while (f->last + 1 < until && (there = next(j, f, &r, &changes, err)) > 0)
        if (!to->over && r.number == j->number + 1) {
            j->number = r.number;
            to->over = !to->fn(to->arg, r.number, r.written, changes);
        }
    isola_buf_free(&f->seen);
    return there < 0 ? there : 0;
}

/* What a file says is the next, and follows on what is in the tables or in the other file, is
 * there; it does not begin later unless something is lost. Of a file whose commits are all in the
 * tables nothing is read. */
static int replay(struct isola__journal *j, struct reader *to, struct isola_err *err)
{
    struct file *a = &j->file[0], *b = &j->file[1];
    int code;
    if ((code = read_header(j, a, err)) != 0 || (code = read_header(j, b, err)) != 0)
        return code;
    int newer = b->valid && (!a->valid || b->header.first > a->header.first) ? 1 : 0;
    struct file *n = &j->file[newer], *o = &j->file[1 - newer];
    j->at = newer;
    if (!n->valid)
        return 0;
    o->last = n->header.first - 1;
    if (o->valid && o->last > j->number && (code = give_out(j, o, n->header.first, to, err)) != 0)
        return code;
    if (n->header.first > j->number + 1)
        return isola_fail(err, ISOLA_EIO,
                          "cannot open %s: commits %lld to %lld are missing; restore a backup",
                          n->name.path, (long long)j->number + 1, (long long)n->header.first - 1);
    if ((code = give_out(j, n, INT64_MAX, to, err)) != 0)
        return code;
    /* What is numbered next goes behind the last one, which may have been folded long ago. */
    if (n->last < j->number)
        n->valid = false;
    return 0;
}

static void let_go(struct isola__journal *j)
{
    for (int i = 0; i < 2; i++) {
        isola__direct_close(j->file[i].direct);
        if (j->file[i].open)
            j->file[i].file->pMethods->xClose(j->file[i].file);
        free(j->file[i].file);
        free(j->file[i].name.path);
    }
    free(j);
}

int isola__journal_open(const char *path, int64_t after, isola__journal_fn fn, void *arg,
                        struct isola__journal **out, struct isola_err *err)
{
    struct isola__journal *j = isola_zalloc(sizeof(*j));
    j->vfs = sqlite3_vfs_find(NULL);
    j->number = after;
    ISOLA_CHECK(sodium_init() >= 0);
    int code = open_file(j, &j->file[0], path, 0, err);
    if (code == 0)
        code = open_file(j, &j->file[1], path, 1, err);
    if (code == 0)
        code = replay(j, &(struct reader){.fn = fn, .arg = arg}, err);
    for (int i = 0; i < 2; i++)
        isola_buf_free(&j->file[i].seen);
    if (code != 0) {
        let_go(j);
        return code;
    }
    *out = j;
    return 0;
}

/* What has failed is not to be found again: the file ends before it. Where even that cannot be done
 * the next commit is written over it, with the same number and in the same place, or begins the
 * other file, up to which this one is read; without a next one it is tried again at the close. */
static void cut(struct file *f)
{
    const sqlite3_io_methods *m = f->file->pMethods;
    if (m->xTruncate(f->file, f->end) != SQLITE_OK ||
        m->xSync(f->file, SQLITE_SYNC_NORMAL) != SQLITE_OK)
        return;
    f->size = f->end;
    f->torn = false;
}

/* --- writing --- */

static const uint8_t zeros[ISOLA__DIRECT_UNIT];

void isola__journal_begin(struct isola_buf *commit)
{
    commit->len = 0;
    isola_buf_append(commit, zeros, ISOLA__JOURNAL_ROOM);
}

/* Of whole units of a file that has some. An SQLite code. */
static int write_and_sync(struct isola__journal *j, struct file *f, const void *p, size_t n,
                          int64_t at)
{
    const sqlite3_io_methods *m = f->file->pMethods;
    const size_t most = 64u << 10; /* SQLite's VFS takes less than 128 KB at a time */
    if (f->direct != NULL && f->header.unit == ISOLA__DIRECT_UNIT && n <= ISOLA__DIRECT_MOST) {
        j->sys = isola__direct_write(f->direct, p, n, at);
        if (j->sys != EINVAL)
            return j->sys == 0 ? SQLITE_OK : j->sys == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        isola__direct_close(f->direct); /* the disk's own unit is larger */
        f->direct = NULL;
    }
    j->sys = 0;
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
    uint8_t room[ISOLA__DIRECT_UNIT] = {0};
    struct header h = {.version = VERSION, .unit = sizeof(room), .first = j->number + 1};
    memcpy(h.magic, magic, sizeof(magic));
    randombytes_buf(h.key, sizeof(h.key));
    check_of(h.key, &h, offsetof(struct header, check), isola_slice("", 0), h.check);
    int rc = SQLITE_OK;
    f->valid = false;
    if (f->size > FILE_MAX)
        rc = f->file->pMethods->xTruncate(f->file, 0);
    memcpy(room, &h, sizeof(h));
    f->header = h;
    if (rc == SQLITE_OK)
        rc = write_and_sync(j, f, room, sizeof(room), 0);
    if (rc != SQLITE_OK)
        return fail(j, f, rc, "write", err);
    if (f->size > FILE_MAX)
        f->size = 0;
    f->end = sizeof(room);
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
    struct record r = {.len = (uint32_t)changes.len, .number = j->number + 1, .written = written};
    check_of(f->header.key, &r, offsetof(struct record, check), changes, r.check);
    memcpy(commit->data, &r, sizeof(r));
    size_t pad = (size_t)(unit_after(f, f->end + (int64_t)commit->len) - f->end) - commit->len;
    isola_buf_append(commit, zeros, pad);
    if (commit->failed)
        return isola_fail(err, ISOLA_ENOMEM, "no memory to write %s", f->name.path);
    int rc = write_and_sync(j, f, commit->data, commit->len, f->end);
    if (rc != SQLITE_OK) {
        int code = fail(j, f, rc, "write", err);
        f->torn = true;
        cut(f);
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

/* All of it is in the tables: one file begins anew, and when that is on disk the other is not
 * needed. What fails here leaves more to read to who opens them. */
static void leave_empty(struct isola__journal *j)
{
    struct file *f = &j->file[j->at], *other = &j->file[1 - j->at];
    struct isola_err ignored;
    if (other->file->pMethods->xTruncate(other->file, 0) != SQLITE_OK)
        return;
    other->size = 0;
    if (start(j, other, &ignored) == 0)
        (void)f->file->pMethods->xTruncate(f->file, 0);
}

void isola__journal_close(struct isola__journal *j, int64_t folded)
{
    if (j == NULL)
        return;
    struct file *f = &j->file[j->at];
    if (f->open && f->torn)
        cut(f);
    if (f->valid && f->last >= f->header.first && f->last <= folded)
        leave_empty(j);
    let_go(j);
}
