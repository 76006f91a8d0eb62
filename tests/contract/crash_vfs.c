/* SPDX-License-Identifier: Apache-2.0
 *
 * What connections share of a file, its locks and its shared memory, is a `struct shared`, which
 * lives as long as one of them has the file open. How locks work:
 * https://www.sqlite.org/lockingv3.html and https://www.sqlite.org/walformat.html.
 */
#include "crash_vfs.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

struct shared {
    struct disk *disk;
    int file;
    size_t opens;
    struct shared *next;

    size_t readers;
    const void *reserved, *pending, *exclusive; /* the handle that has it */

    size_t mappings;
    void **region;
    size_t regions;
    size_t slot_readers[SQLITE_SHM_NLOCK];
    const void *slot_writer[SQLITE_SHM_NLOCK];
};

struct handle {
    sqlite3_file base;
    struct shared *shared;
    char *name;
    int level; /* SQLITE_LOCK_… */
    bool remove, sync_dir, keep_log, mapped;
    unsigned slots_read, slots_written; /* masks */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sqlite3_vfs ours, *system_vfs;
static struct disk *disk;
static struct shared *all;
static _Atomic uint64_t randomness = 1;
static _Thread_local int last_errno;

static int failed(int e, int rc)
{
    last_errno = e;
    return e == ENOSPC ? SQLITE_FULL : rc;
}

/* --- what is shared --- */

static struct shared *share(struct disk *on, int file)
{
    struct shared *s = all;
    while (s != NULL && (s->disk != on || s->file != file))
        s = s->next;
    if (s == NULL) {
        s = isola_zalloc(sizeof(*s));
        s->disk = on;
        s->file = file;
        s->next = all;
        all = s;
    }
    s->opens++;
    return s;
}

static void drop_regions(struct shared *s)
{
    for (size_t i = 0; i < s->regions; i++)
        free(s->region[i]);
    free((void *)s->region);
    s->region = NULL;
    s->regions = 0;
}

static void let_go(struct shared *s)
{
    struct shared **at = &all;
    if (--s->opens > 0)
        return;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    drop_regions(s);
    free(s);
}

/* --- files --- */

static int vfs_read(sqlite3_file *base, void *to, int len, sqlite3_int64 at)
{
    struct handle *h = (struct handle *)base;
    size_t got;
    int e = disk_read(h->shared->disk, h->shared->file, to, (size_t)len, (size_t)at, &got);
    if (e != 0)
        return failed(e, SQLITE_IOERR_READ);
    return got == (size_t)len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int vfs_write(sqlite3_file *base, const void *from, int len, sqlite3_int64 at)
{
    struct handle *h = (struct handle *)base;
    int e = disk_write(h->shared->disk, h->shared->file, from, (size_t)len, (size_t)at);
    return e == 0 ? SQLITE_OK : failed(e, SQLITE_IOERR_WRITE);
}

static int vfs_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct handle *h = (struct handle *)base;
    int e = disk_truncate(h->shared->disk, h->shared->file, (size_t)size);
    return e == 0 ? SQLITE_OK : failed(e, SQLITE_IOERR_TRUNCATE);
}

static int vfs_sync(sqlite3_file *base, int flags)
{
    struct handle *h = (struct handle *)base;
    (void)flags;
    int e = disk_sync(h->shared->disk, h->shared->file);
    if (e != 0)
        return failed(e, SQLITE_IOERR_FSYNC);
    if (h->sync_dir) {
        e = disk_sync_dir(h->shared->disk, h->name);
        if (e != 0)
            return failed(e, SQLITE_IOERR_DIR_FSYNC);
        h->sync_dir = false;
    }
    return SQLITE_OK;
}

static int vfs_size(sqlite3_file *base, sqlite3_int64 *out)
{
    struct handle *h = (struct handle *)base;
    *out = (sqlite3_int64)disk_size(h->shared->disk, h->shared->file);
    return SQLITE_OK;
}

static int vfs_control(sqlite3_file *base, int op, void *arg)
{
    struct handle *h = (struct handle *)base;
    int *flag = arg;
    if (op == SQLITE_FCNTL_LOCKSTATE) {
        *flag = h->level;
        return SQLITE_OK;
    }
    if (op != SQLITE_FCNTL_PERSIST_WAL)
        return SQLITE_NOTFOUND;
    if (*flag < 0)
        *flag = h->keep_log;
    else
        h->keep_log = *flag != 0;
    return SQLITE_OK;
}

static int vfs_sector(sqlite3_file *base)
{
    (void)base;
    return 4096;
}

static int vfs_device(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* --- locks --- */

static int take(struct shared *s, struct handle *h, int level)
{
    if (level == SQLITE_LOCK_SHARED) {
        if (s->pending != NULL || s->exclusive != NULL)
            return SQLITE_BUSY;
        s->readers++;
    } else if (level == SQLITE_LOCK_RESERVED) {
        if (s->reserved != NULL)
            return SQLITE_BUSY;
        s->reserved = h;
    } else {
        if ((s->pending != NULL && s->pending != h) || (s->reserved != NULL && s->reserved != h))
            return SQLITE_BUSY;
        s->pending = h;
        h->level = SQLITE_LOCK_PENDING;
        if (s->readers > 1)
            return SQLITE_BUSY;
        s->exclusive = h;
    }
    h->level = level;
    return SQLITE_OK;
}

static int vfs_lock(sqlite3_file *base, int level)
{
    struct handle *h = (struct handle *)base;
    pthread_mutex_lock(&lock);
    int rc = h->level >= level ? SQLITE_OK : take(h->shared, h, level);
    pthread_mutex_unlock(&lock);
    return rc;
}

static int vfs_unlock(sqlite3_file *base, int level)
{
    struct handle *h = (struct handle *)base;
    struct shared *s = h->shared;
    pthread_mutex_lock(&lock);
    if (h->level > level) {
        s->reserved = s->reserved == h ? NULL : s->reserved;
        s->pending = s->pending == h ? NULL : s->pending;
        s->exclusive = s->exclusive == h ? NULL : s->exclusive;
        if (level == SQLITE_LOCK_NONE)
            s->readers--;
        h->level = level;
    }
    pthread_mutex_unlock(&lock);
    return SQLITE_OK;
}

static int vfs_reserved(sqlite3_file *base, int *out)
{
    struct handle *h = (struct handle *)base;
    pthread_mutex_lock(&lock);
    *out = h->shared->reserved != NULL || h->shared->exclusive != NULL;
    pthread_mutex_unlock(&lock);
    return SQLITE_OK;
}

/* --- shared memory --- */

static int vfs_shm_map(sqlite3_file *base, int i, int size, int extend, void volatile **out)
{
    struct handle *h = (struct handle *)base;
    struct shared *s = h->shared;
    pthread_mutex_lock(&lock);
    s->mappings += !h->mapped;
    h->mapped = true;
    if ((size_t)i >= s->regions && extend) {
        s->region = isola_realloc((void *)s->region, ((size_t)i + 1) * sizeof(*s->region));
        while (s->regions <= (size_t)i)
            s->region[s->regions++] = isola_zalloc((size_t)size);
    }
    *out = (size_t)i < s->regions ? s->region[i] : NULL;
    pthread_mutex_unlock(&lock);
    return SQLITE_OK;
}

static void slots_unlock(struct handle *h, unsigned mask)
{
    for (unsigned i = 0; i < SQLITE_SHM_NLOCK; i++) {
        if ((mask & h->slots_read) >> i & 1)
            h->shared->slot_readers[i]--;
        if ((mask & h->slots_written) >> i & 1)
            h->shared->slot_writer[i] = NULL;
    }
    h->slots_read &= ~mask;
    h->slots_written &= ~mask;
}

static int slots_lock(struct handle *h, unsigned mask, bool alone)
{
    struct shared *s = h->shared;
    unsigned fresh = mask & ~(alone ? h->slots_written : h->slots_read);
    for (unsigned i = 0; i < SQLITE_SHM_NLOCK; i++)
        if ((fresh >> i & 1) && (s->slot_writer[i] != NULL || (alone && s->slot_readers[i] > 0)))
            return SQLITE_BUSY;
    for (unsigned i = 0; i < SQLITE_SHM_NLOCK; i++)
        if (fresh >> i & 1) {
            s->slot_readers[i] += !alone;
            s->slot_writer[i] = alone ? h : s->slot_writer[i];
        }
    h->slots_read |= alone ? 0 : mask;
    h->slots_written |= alone ? mask : 0;
    return SQLITE_OK;
}

static int vfs_shm_lock(sqlite3_file *base, int first, int n, int flags)
{
    struct handle *h = (struct handle *)base;
    unsigned mask = ((1u << n) - 1) << first;
    int rc = SQLITE_OK;
    pthread_mutex_lock(&lock);
    if (flags & SQLITE_SHM_UNLOCK)
        slots_unlock(h, mask);
    else
        rc = slots_lock(h, mask, (flags & SQLITE_SHM_EXCLUSIVE) != 0);
    pthread_mutex_unlock(&lock);
    return rc;
}

static void vfs_shm_barrier(sqlite3_file *base)
{
    (void)base;
    atomic_thread_fence(memory_order_seq_cst);
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
}

static int vfs_shm_unmap(sqlite3_file *base, int remove)
{
    struct handle *h = (struct handle *)base;
    pthread_mutex_lock(&lock);
    if (h->mapped) {
        slots_unlock(h, ~0u);
        h->mapped = false;
        if (--h->shared->mappings == 0 && remove)
            drop_regions(h->shared);
    }
    pthread_mutex_unlock(&lock);
    return SQLITE_OK;
}

static int vfs_close(sqlite3_file *base)
{
    struct handle *h = (struct handle *)base;
    vfs_shm_unmap(base, 0);
    vfs_unlock(base, SQLITE_LOCK_NONE);
    if (h->remove)
        (void)disk_remove(h->shared->disk, h->name);
    pthread_mutex_lock(&lock);
    let_go(h->shared);
    pthread_mutex_unlock(&lock);
    free(h->name);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = vfs_close,
    .xRead = vfs_read,
    .xWrite = vfs_write,
    .xTruncate = vfs_truncate,
    .xSync = vfs_sync,
    .xFileSize = vfs_size,
    .xLock = vfs_lock,
    .xUnlock = vfs_unlock,
    .xCheckReservedLock = vfs_reserved,
    .xFileControl = vfs_control,
    .xSectorSize = vfs_sector,
    .xDeviceCharacteristics = vfs_device,
    .xShmMap = vfs_shm_map,
    .xShmLock = vfs_shm_lock,
    .xShmBarrier = vfs_shm_barrier,
    .xShmUnmap = vfs_shm_unmap,
};

/* --- the file system --- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out)
{
    struct handle *h = (struct handle *)base;
    int file;
    bool made;
    (void)vfs;
    if (name == NULL)
        return system_vfs->xOpen(system_vfs, name, base, flags, out);
    *h = (struct handle){0};
    pthread_mutex_lock(&lock);
    struct disk *on = disk;
    pthread_mutex_unlock(&lock);
    int e = on == NULL ? EIO : disk_open(on, name, (flags & SQLITE_OPEN_CREATE) != 0, &file, &made);
    if (e != 0)
        return failed(e, SQLITE_CANTOPEN);
    pthread_mutex_lock(&lock);
    h->shared = share(on, file);
    pthread_mutex_unlock(&lock);
    h->name = isola_strdup(name);
    h->remove = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    /* as SQLite's own does, whoever made the file */
    h->sync_dir =
        (flags & SQLITE_OPEN_CREATE) != 0 &&
        (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL)) != 0;
    h->base.pMethods = &methods;
    if (out != NULL)
        *out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    int e = disk_remove(disk, name);
    if (e != 0)
        return e == ENOENT ? SQLITE_IOERR_DELETE_NOENT : failed(e, SQLITE_IOERR_DELETE);
    if (sync_dir && (e = disk_sync_dir(disk, name)) != 0)
        return failed(e, SQLITE_IOERR_DIR_FSYNC);
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs, (void)flags;
    *out = disk_has(disk, name);
    return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    size_t n = strlen(name) + 1;
    if (n > (size_t)size)
        return SQLITE_CANTOPEN;
    memcpy(out, name, n);
    return SQLITE_OK;
}

/* The same salts in each run. */
static int vfs_random(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs;
    uint64_t seed = atomic_fetch_add(&randomness, 1);
    for (int i = 0; i < n; i++)
        out[i] = (char)disk_random(&seed);
    return n;
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs, (void)n, (void)out;
    return last_errno;
}

void crash_vfs_use(struct disk *d)
{
    if (system_vfs == NULL) {
        system_vfs = sqlite3_vfs_find(NULL);
        ours = *system_vfs;
        ours.zName = "crash";
        ours.pNext = NULL;
        ours.szOsFile = system_vfs->szOsFile > (int)sizeof(struct handle)
                            ? system_vfs->szOsFile
                            : (int)sizeof(struct handle);
        ours.xOpen = vfs_open;
        ours.xDelete = vfs_delete;
        ours.xAccess = vfs_access;
        ours.xFullPathname = vfs_full_name;
        ours.xRandomness = vfs_random;
        ours.xGetLastError = vfs_last_error;
        ISOLA_CHECK(sqlite3_vfs_register(&ours, 1) == SQLITE_OK);
    }
    pthread_mutex_lock(&lock);
    disk = d;
    pthread_mutex_unlock(&lock);
}

size_t crash_vfs_open_files(void)
{
    size_t n = 0;
    pthread_mutex_lock(&lock);
    for (const struct shared *s = all; s != NULL; s = s->next)
        n += s->opens;
    pthread_mutex_unlock(&lock);
    return n;
}
