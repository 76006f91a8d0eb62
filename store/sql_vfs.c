/* SPDX-License-Identifier: Apache-2.0
 *
 * A file system for SQLite in which there is one database, the pages of `current`, and files in
 * memory for what a query sorts and keeps aside. There is no journal (it is in SQLite's memory),
 * no other process, and nothing to lock.
 */
#include "store/sql_impl.h"

#include <string.h>

#include "base/check.h"

struct database {
    sqlite3_file base;
    struct isola_sql *db;
};

#define CHUNK ((size_t)64 << 10)

/* Its memory is SQLite's, so that it counts. */
struct aside {
    sqlite3_file base;
    uint8_t **chunk;
    size_t chunks, cap;
    sqlite3_int64 size;
};

/* --- the database --- */

static int db_close(sqlite3_file *f)
{
    (void)f;
    return SQLITE_OK;
}

static int db_read(sqlite3_file *f, void *to, int amount, sqlite3_int64 offset)
{
    struct isola__pages *p = &((struct database *)f)->db->pages;
    uint8_t *at = to;
    size_t left = (size_t)amount, from = (size_t)(offset % ISOLA__PAGE);
    uint64_t n = (uint64_t)offset / ISOLA__PAGE + 1;
    for (; left > 0 && n <= p->size; n++, from = 0) {
        size_t some = ISOLA__PAGE - from < left ? ISOLA__PAGE - from : left;
        if (isola__pages_read(p, n, from, at, some) != 0)
            return SQLITE_IOERR_READ;
        at += some;
        left -= some;
    }
    memset(at, 0, left);
    return left > 0 ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int db_write(sqlite3_file *f, const void *from, int amount, sqlite3_int64 offset)
{
    struct isola__pages *p = &((struct database *)f)->db->pages;
    if (amount != ISOLA__PAGE || offset % ISOLA__PAGE != 0) /* not with our size of pages */
        return SQLITE_IOERR_WRITE;
    return isola__pages_write(p, (uint64_t)offset / ISOLA__PAGE + 1, from) ? SQLITE_OK
                                                                           : SQLITE_IOERR_NOMEM;
}

static int db_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    isola__pages_truncate(&((struct database *)f)->db->pages, (uint64_t)size / ISOLA__PAGE);
    return SQLITE_OK;
}

static int db_size(sqlite3_file *f, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)(((struct database *)f)->db->pages.size * ISOLA__PAGE);
    return SQLITE_OK;
}

/* --- files aside --- */

static int aside_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct aside *a = (struct aside *)f;
    size_t keep = ((size_t)size + CHUNK - 1) / CHUNK;
    while (a->chunks > keep)
        sqlite3_free(a->chunk[--a->chunks]);
    a->size = size < a->size ? size : a->size;
    return SQLITE_OK;
}

static int aside_close(sqlite3_file *f)
{
    (void)aside_truncate(f, 0);
    sqlite3_free(((struct aside *)f)->chunk);
    return SQLITE_OK;
}

static int aside_read(sqlite3_file *f, void *to, int amount, sqlite3_int64 offset)
{
    const struct aside *a = (const struct aside *)f;
    uint8_t *out = to;
    sqlite3_int64 there = a->size - offset;
    size_t left = there <= 0 ? 0 : there < amount ? (size_t)there : (size_t)amount;
    size_t missing = (size_t)amount - left, at = (size_t)offset;
    while (left > 0) {
        size_t from = at % CHUNK, some = CHUNK - from < left ? CHUNK - from : left;
        memcpy(out, a->chunk[at / CHUNK] + from, some);
        out += some;
        at += some;
        left -= some;
    }
    memset(out, 0, missing);
    return missing > 0 ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static bool aside_grow(struct aside *a, size_t chunks)
{
    if (chunks > a->cap) {
        size_t cap = a->cap * 2 > chunks ? a->cap * 2 : chunks;
        uint8_t **grown = sqlite3_realloc64(a->chunk, cap * sizeof(*grown));
        if (grown == NULL)
            return false;
        a->chunk = grown;
        a->cap = cap;
    }
    while (a->chunks < chunks) {
        uint8_t *fresh = sqlite3_malloc64(CHUNK);
        if (fresh == NULL)
            return false;
        memset(fresh, 0, CHUNK);
        a->chunk[a->chunks++] = fresh;
    }
    return true;
}

static int aside_write(sqlite3_file *f, const void *from, int amount, sqlite3_int64 offset)
{
    struct aside *a = (struct aside *)f;
    const uint8_t *in = from;
    size_t at = (size_t)offset, left = (size_t)amount;
    if (!aside_grow(a, (at + left + CHUNK - 1) / CHUNK))
        return SQLITE_IOERR_NOMEM;
    while (left > 0) {
        size_t to = at % CHUNK, some = CHUNK - to < left ? CHUNK - to : left;
        memcpy(a->chunk[at / CHUNK] + to, in, some);
        in += some;
        at += some;
        left -= some;
    }
    if (offset + amount > a->size)
        a->size = offset + amount;
    return SQLITE_OK;
}

static int aside_size(sqlite3_file *f, sqlite3_int64 *out)
{
    *out = ((struct aside *)f)->size;
    return SQLITE_OK;
}

/* --- both --- */

static int no_sync(sqlite3_file *f, int flags)
{
    (void)f, (void)flags;
    return SQLITE_OK;
}

static int no_lock(sqlite3_file *f, int level)
{
    (void)f, (void)level;
    return SQLITE_OK;
}

static int nobody_locks(sqlite3_file *f, int *out)
{
    (void)f;
    *out = 0;
    return SQLITE_OK;
}

static int no_control(sqlite3_file *f, int op, void *arg)
{
    (void)f, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int sector(sqlite3_file *f)
{
    (void)f;
    return ISOLA__PAGE;
}

static int traits(sqlite3_file *f)
{
    (void)f;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* --- the file system --- */

static const sqlite3_io_methods db_methods = {
    .iVersion = 1,
    .xClose = db_close,
    .xRead = db_read,
    .xWrite = db_write,
    .xTruncate = db_truncate,
    .xSync = no_sync,
    .xFileSize = db_size,
    .xLock = no_lock,
    .xUnlock = no_lock,
    .xCheckReservedLock = nobody_locks,
    .xFileControl = no_control,
    .xSectorSize = sector,
    .xDeviceCharacteristics = traits,
};
static const sqlite3_io_methods aside_methods = {
    .iVersion = 1,
    .xClose = aside_close,
    .xRead = aside_read,
    .xWrite = aside_write,
    .xTruncate = aside_truncate,
    .xSync = no_sync,
    .xFileSize = aside_size,
    .xLock = no_lock,
    .xUnlock = no_lock,
    .xCheckReservedLock = nobody_locks,
    .xFileControl = no_control,
    .xSectorSize = sector,
    .xDeviceCharacteristics = traits,
};

#define ASIDE                                                                                      \
    (SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_TRANSIENT_DB | SQLITE_OPEN_TEMP_JOURNAL |                   \
     SQLITE_OPEN_SUBJOURNAL)

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *out_flags)
{
    (void)vfs, (void)name;
    file->pMethods = NULL;
    if (flags & SQLITE_OPEN_MAIN_DB) {
        *(struct database *)file = (struct database){{&db_methods}, isola__sql_current};
        ISOLA_CHECK(isola__sql_current != NULL);
    } else if (flags & ASIDE) {
        *(struct aside *)file = (struct aside){{&aside_methods}, NULL, 0, 0, 0};
    } else {
        return SQLITE_CANTOPEN;
    }
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs, (void)name, (void)sync;
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs, (void)name, (void)flags;
    *out = 0; /* there never is a journal */
    return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
}

void isola__sql_vfs_start(void)
{
    static sqlite3_vfs vfs;
    const sqlite3_vfs *system = sqlite3_vfs_find(NULL);
    ISOLA_CHECK(system != NULL);
    vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)(sizeof(struct database) > sizeof(struct aside) ? sizeof(struct database)
                                                                         : sizeof(struct aside)),
        .mxPathname = 64,
        .zName = ISOLA__SQL_VFS,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_name,
        /* These take no VFS of their own into account. */
        .xRandomness = system->xRandomness,
        .xSleep = system->xSleep,
        .xCurrentTime = system->xCurrentTime,
        .xGetLastError = system->xGetLastError,
        .xCurrentTimeInt64 = system->xCurrentTimeInt64,
    };
    ISOLA_CHECK(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
}
