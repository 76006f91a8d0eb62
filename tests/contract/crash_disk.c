/* SPDX-License-Identifier: Apache-2.0
 *
 * Files are tables of pages that are shared between what is read (`now`), what is on the disk for
 * certain (`synced`) and other disks, and copied when they are written. An operation on a disk is
 * an entry of its log that is applied to it; another disk follows by applying the same ones.
 */
#include "crash_disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define PAGE ((size_t)4096)

struct page {
    size_t refs;
    uint8_t bytes[PAGE];
};

/* Where there is no page there are zeros, as there are behind the end. */
struct content {
    struct page **page;
    size_t pages;
    size_t size;
};

enum op_kind { OP_CREATE, OP_REMOVE, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_SYNC_DIR, OP_LOST_SYNC };
struct op {
    enum op_kind kind;
    int file;
    char *name; /* of CREATE, REMOVE, SYNC_DIR */
    size_t at, len;
    uint64_t seed; /* of LOST_SYNC: what is lost */
    bool evict;
    size_t number;
    uint8_t data[];
};

/* Borrowed operations. */
struct ops {
    const struct op **op;
    size_t n, cap;
};

struct file {
    struct content now, synced;
    struct ops pending; /* since it was synced */
};

struct name {
    char *name;
    int file;
};
struct names {
    struct name *name;
    size_t n, cap;
};

struct disk {
    struct file *file;
    size_t files;
    struct names now, synced;
    struct ops renamed; /* CREATE and REMOVE since their directory was synced */
    struct op **log;
    size_t ops, cap;
    size_t began; /* with operations that are another's */

    size_t count[6]; /* by bit of enum disk_kind */
    size_t failures;
    size_t room;
    struct {
        unsigned kinds;
        size_t first, times;
        int error;
        bool evict;
        uint64_t seed;
    } fault;
};

/* Pages are shared between disks. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* --- content --- */

static void page_drop(struct page *p)
{
    if (p != NULL && --p->refs == 0)
        free(p);
}

static void content_free(struct content *c)
{
    for (size_t i = 0; i < c->pages; i++)
        page_drop(c->page[i]);
    free((void *)c->page);
    *c = (struct content){0};
}

static void content_pages(struct content *c, size_t pages)
{
    if (pages > c->pages) {
        size_t n = pages > 2 * c->pages ? pages : 2 * c->pages;
        c->page = isola_realloc((void *)c->page, n * sizeof(*c->page));
        memset((void *)(c->page + c->pages), 0, (n - c->pages) * sizeof(*c->page));
        c->pages = n;
    }
}

static void content_share(struct content *to, const struct content *from, size_t i)
{
    struct page *p = i < from->pages ? from->page[i] : NULL;
    content_pages(to, i + 1);
    if (p != NULL)
        p->refs++;
    page_drop(to->page[i]);
    to->page[i] = p;
}

static struct content content_copy(const struct content *from)
{
    struct content c = {0};
    size_t pages = (from->size + PAGE - 1) / PAGE;
    content_pages(&c, pages);
    for (size_t i = 0; i < pages; i++)
        content_share(&c, from, i);
    c.size = from->size;
    return c;
}

static uint8_t *content_own(struct content *c, size_t i)
{
    content_pages(c, i + 1);
    struct page *p = c->page[i];
    if (p == NULL || p->refs > 1) {
        struct page *own = isola_zalloc(sizeof(*own));
        own->refs = 1;
        if (p != NULL) {
            memcpy(own->bytes, p->bytes, PAGE);
            p->refs--;
        }
        c->page[i] = own;
    }
    return c->page[i]->bytes;
}

static void content_write(struct content *c, const uint8_t *from, size_t len, size_t at)
{
    if (len > 0 && at + len > c->size)
        c->size = at + len;
    while (len > 0) {
        size_t in = at % PAGE, n = len < PAGE - in ? len : PAGE - in;
        memcpy(content_own(c, at / PAGE) + in, from, n);
        from += n;
        at += n;
        len -= n;
    }
}

static void content_truncate(struct content *c, size_t size)
{
    for (size_t i = (size + PAGE - 1) / PAGE; i < c->pages; i++) {
        page_drop(c->page[i]);
        c->page[i] = NULL;
    }
    if (size < c->size && size % PAGE != 0)
        memset(content_own(c, size / PAGE) + size % PAGE, 0, PAGE - size % PAGE);
    c->size = size;
}

static size_t content_read(const struct content *c, uint8_t *to, size_t len, size_t at)
{
    size_t got = at >= c->size ? 0 : len < c->size - at ? len : c->size - at;
    memset(to, 0, len);
    for (size_t done = 0; done < got;) {
        size_t in = (at + done) % PAGE, i = (at + done) / PAGE;
        size_t n = got - done < PAGE - in ? got - done : PAGE - in;
        if (i < c->pages && c->page[i] != NULL)
            memcpy(to + done, c->page[i]->bytes + in, n);
        done += n;
    }
    return got;
}

/* --- names --- */

static void ops_add(struct ops *ops, const struct op *op)
{
    if (ops->n == ops->cap) {
        ops->cap = ops->cap == 0 ? 16 : 2 * ops->cap;
        ops->op = isola_realloc((void *)ops->op, ops->cap * sizeof(const struct op *));
    }
    ops->op[ops->n++] = op;
}

static struct name *find(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->name[i].name, name) == 0)
            return &names->name[i];
    return NULL;
}

static void names_set(struct names *names, const char *name, int file)
{
    struct name *is = find(names, name);
    if (is == NULL) {
        if (names->n == names->cap) {
            names->cap = names->cap == 0 ? 8 : 2 * names->cap;
            names->name = isola_realloc(names->name, names->cap * sizeof(*names->name));
        }
        is = &names->name[names->n++];
        is->name = isola_strdup(name);
    }
    is->file = file;
}

static void names_remove(struct names *names, const char *name)
{
    struct name *is = find(names, name);
    if (is != NULL) {
        free(is->name);
        *is = names->name[--names->n];
    }
}

static void names_apply(struct names *names, const struct op *op)
{
    if (op->kind == OP_CREATE)
        names_set(names, op->name, op->file);
    else
        names_remove(names, op->name);
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->name[i].name);
    free(names->name);
}

static bool same_directory(const char *a, const char *b)
{
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');
    size_t n = x != NULL ? (size_t)(x - a) : 0;
    return (y != NULL ? (size_t)(y - b) : 0) == n && memcmp(a, b, n) == 0;
}

/* --- the power goes --- */

enum loss {
    LOST_ALL,
    LOST_NONE,
    LOST_LATER,
    LOST_SECTORS,
    LOST_MOST,
    LOST_FEW,
    LOST_FILES,
    LOSSES
};
static const char *const losses[LOSSES] = {
    "all that was not synced is lost",
    "nothing is lost",
    "what was written last is lost",
    "half of the sectors are lost",
    "most sectors that were not synced are lost",
    "few sectors are lost",
    "all that was not synced of some files is lost",
};

struct fate {
    uint64_t seed;
    enum loss loss;
    size_t sector;
    size_t until; /* of LOST_LATER: up to this operation all is there */
    bool file;    /* of LOST_FILES */
    bool garbage; /* where there is length but no content */
};

static struct fate fate_of(uint64_t seed)
{
    struct fate f = {.seed = seed};
    f.loss = (enum loss)disk_pick(&f.seed, LOSSES);
    f.sector = disk_pick(&f.seed, 2) == 0 ? 512 : 4096;
    f.garbage = disk_pick(&f.seed, 2) == 0;
    return f;
}

const char *disk_what_is_lost(uint64_t seed)
{
    return losses[fate_of(seed).loss];
}

static bool survives(struct fate *f, const struct op *op)
{
    switch (f->loss) {
    case LOST_NONE:
        return true;
    case LOST_LATER: /* of the last one half */
        return op->number < f->until || (op->number == f->until && disk_pick(&f->seed, 2) == 0);
    case LOST_SECTORS:
        return disk_pick(&f->seed, 2) == 0;
    case LOST_MOST:
        return disk_pick(&f->seed, 16) == 0;
    case LOST_FEW:
        return disk_pick(&f->seed, 16) != 0;
    case LOST_FILES:
        return f->file;
    default:
        return false;
    }
}

static void lengthen(struct content *c, struct fate *f, size_t size)
{
    for (size_t at = c->size; f->garbage && at < size; at = c->size) {
        uint64_t any = disk_random(&f->seed);
        content_write(c, (uint8_t *)&any, size - at < sizeof(any) ? size - at : sizeof(any), at);
    }
    if (c->size < size)
        c->size = size;
}

static void write_in_part(struct content *c, struct fate *f, const struct op *op)
{
    size_t at = op->at, end = op->at + op->len;
    if (end > c->size && disk_pick(&f->seed, 4) == 0)
        lengthen(c, f, end);
    while (at < end) {
        size_t n = f->sector - at % f->sector;
        const uint8_t *from = op->data + (at - op->at);
        if (n > end - at)
            n = end - at;
        if (survives(f, op)) {
            size_t skip = 0, some = n;
            bool whole = f->loss == LOST_NONE || (f->loss == LOST_LATER && op->number < f->until);
            if (!whole && disk_pick(&f->seed, 16) == 0) {
                some = disk_pick(&f->seed, n) + 1;
                skip = disk_pick(&f->seed, 2) == 0 ? 0 : n - some;
            }
            lengthen(c, f, at + skip);
            content_write(c, from + skip, some, at + skip);
        }
        at += n;
    }
}

/* Of what was not synced of a file, what is there nevertheless. */
static void settle(struct content *c, const struct ops *pending, struct fate *f)
{
    f->file = disk_pick(&f->seed, 2) == 0;
    for (size_t i = 0; i < pending->n; i++)
        if (pending->op[i]->kind == OP_WRITE)
            write_in_part(c, f, pending->op[i]);
        else if (survives(f, pending->op[i]))
            content_truncate(c, pending->op[i]->at);
}

struct disk *disk_lose_power(const struct disk *d, uint64_t seed)
{
    pthread_mutex_lock(&lock);
    struct disk *to = isola_zalloc(sizeof(*to));
    struct fate f = fate_of(seed);
    size_t end = d->began + d->ops, oldest = end;
    for (size_t i = 0; i < d->files; i++)
        if (d->file[i].pending.n > 0 && d->file[i].pending.op[0]->number < oldest)
            oldest = d->file[i].pending.op[0]->number;
    f.until = oldest + disk_pick(&f.seed, end - oldest + 1);
    to->room = SIZE_MAX;
    for (size_t i = 0; i < d->synced.n; i++)
        names_set(&to->now, d->synced.name[i].name, d->synced.name[i].file);
    f.file = disk_pick(&f.seed, 2) == 0;
    for (size_t i = 0; i < d->renamed.n; i++)
        if (survives(&f, d->renamed.op[i]))
            names_apply(&to->now, d->renamed.op[i]);
    to->files = to->now.n;
    to->file = isola_zalloc((to->files + 1) * sizeof(*to->file));
    for (size_t i = 0; i < to->files; i++) {
        const struct file *from = &d->file[to->now.name[i].file];
        to->now.name[i].file = (int)i;
        to->file[i].now = content_copy(&from->synced);
        settle(&to->file[i].now, &from->pending, &f);
        to->file[i].synced = content_copy(&to->file[i].now);
        names_set(&to->synced, to->now.name[i].name, (int)i);
    }
    pthread_mutex_unlock(&lock);
    return to;
}

/* --- operations --- */

static void share_written(struct file *f, const struct op *op)
{
    if (op->kind == OP_TRUNCATE) {
        content_truncate(&f->synced, op->at);
        return;
    }
    for (size_t i = op->at / PAGE; i * PAGE < op->at + op->len; i++)
        content_share(&f->synced, &f->now, i);
}

static void apply_sync(struct file *f)
{
    for (size_t i = 0; i < f->pending.n; i++)
        share_written(f, f->pending.op[i]);
    content_truncate(&f->synced, f->now.size);
    f->pending.n = 0;
}

static void apply_lost_sync(struct file *f, const struct op *op)
{
    struct fate fate = fate_of(op->seed);
    fate.until = op->number;
    settle(&f->synced, &f->pending, &fate);
    f->pending.n = 0;
    if (op->evict) {
        content_free(&f->now);
        f->now = content_copy(&f->synced);
    }
}

static void apply_sync_dir(struct disk *d, const struct op *op)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->renamed.n; i++)
        if (same_directory(d->renamed.op[i]->name, op->name))
            names_apply(&d->synced, d->renamed.op[i]);
        else
            d->renamed.op[kept++] = d->renamed.op[i];
    d->renamed.n = kept;
}

static void apply(struct disk *d, const struct op *op)
{
    struct file *f = op->file >= 0 && (size_t)op->file < d->files ? &d->file[op->file] : NULL;
    switch (op->kind) {
    case OP_CREATE:
        d->file = isola_realloc(d->file, (d->files + 1) * sizeof(*d->file));
        d->file[d->files++] = (struct file){0};
        names_apply(&d->now, op);
        ops_add(&d->renamed, op);
        break;
    case OP_REMOVE:
        names_apply(&d->now, op);
        ops_add(&d->renamed, op);
        break;
    case OP_WRITE:
        content_write(&f->now, op->data, op->len, op->at);
        ops_add(&f->pending, op);
        break;
    case OP_TRUNCATE:
        content_truncate(&f->now, op->at);
        ops_add(&f->pending, op);
        break;
    case OP_SYNC:
        apply_sync(f);
        break;
    case OP_LOST_SYNC:
        apply_lost_sync(f, op);
        break;
    case OP_SYNC_DIR:
        apply_sync_dir(d, op);
        break;
    }
}

static void op_add(struct disk *d, const struct op *op, const char *name, const void *data)
{
    struct op *own = isola_zalloc(sizeof(*own) + op->len);
    *own = *op;
    own->number = d->began + d->ops;
    own->name = name != NULL ? isola_strdup(name) : NULL;
    if (op->len > 0)
        memcpy(own->data, data, op->len);
    if (d->ops == d->cap) {
        d->cap = d->cap == 0 ? 256 : 2 * d->cap;
        d->log = isola_realloc((void *)d->log, d->cap * sizeof(*d->log));
    }
    d->log[d->ops++] = own;
    apply(d, own);
}

void disk_follow(struct disk *d, const struct disk *from, size_t ops)
{
    pthread_mutex_lock(&lock);
    ISOLA_CHECK(d->log == NULL && ops <= from->ops);
    for (; d->ops < ops; d->ops++)
        apply(d, from->log[d->ops]);
    pthread_mutex_unlock(&lock);
}

/* --- faults --- */

static unsigned bit(enum disk_kind kind)
{
    return (unsigned)__builtin_ctz((unsigned)kind);
}

/* An errno, or 0. */
static int begin(struct disk *d, enum disk_kind kind)
{
    d->count[bit(kind)]++;
    if ((d->fault.kinds & (unsigned)kind) == 0)
        return 0;
    if (d->fault.first > 1) {
        d->fault.first--;
        return 0;
    }
    if (d->fault.times == 0)
        return 0;
    if (d->fault.times != SIZE_MAX)
        d->fault.times--;
    d->failures++;
    return d->fault.error;
}

void disk_fail(struct disk *d, unsigned kinds, size_t first, size_t times, int error, bool evict,
               uint64_t seed)
{
    pthread_mutex_lock(&lock);
    d->fault.kinds = kinds;
    d->fault.first = first;
    d->fault.times = times;
    d->fault.error = error;
    d->fault.evict = evict;
    d->fault.seed = seed;
    pthread_mutex_unlock(&lock);
}

void disk_set_room(struct disk *d, size_t bytes)
{
    pthread_mutex_lock(&lock);
    d->room = bytes;
    pthread_mutex_unlock(&lock);
}

void disk_heal(struct disk *d)
{
    pthread_mutex_lock(&lock);
    d->fault.kinds = 0;
    d->room = SIZE_MAX;
    pthread_mutex_unlock(&lock);
}

size_t disk_failures(const struct disk *d)
{
    pthread_mutex_lock(&lock);
    size_t n = d->failures;
    pthread_mutex_unlock(&lock);
    return n;
}

size_t disk_count(const struct disk *d, unsigned kinds)
{
    size_t n = 0;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < 6; i++)
        n += (kinds >> i & 1) != 0 ? d->count[i] : 0;
    pthread_mutex_unlock(&lock);
    return n;
}

/* --- the disk --- */

static void ops_copy(struct ops *to, const struct ops *from)
{
    for (size_t i = 0; i < from->n; i++)
        ops_add(to, from->op[i]);
}

static void names_copy(struct names *to, const struct names *from)
{
    for (size_t i = 0; i < from->n; i++)
        names_set(to, from->name[i].name, from->name[i].file);
}

struct disk *disk_new(const struct disk *image)
{
    struct disk *d = isola_zalloc(sizeof(*d));
    d->room = SIZE_MAX;
    if (image == NULL)
        return d;
    pthread_mutex_lock(&lock);
    d->files = image->files;
    d->file = isola_zalloc((d->files + 1) * sizeof(*d->file));
    for (size_t i = 0; i < d->files; i++) {
        d->file[i].now = content_copy(&image->file[i].now);
        d->file[i].synced = content_copy(&image->file[i].now);
    }
    names_copy(&d->now, &image->now);
    names_copy(&d->synced, &image->now);
    pthread_mutex_unlock(&lock);
    return d;
}

struct disk *disk_kill(const struct disk *from)
{
    struct disk *d = isola_zalloc(sizeof(*d));
    pthread_mutex_lock(&lock);
    d->room = SIZE_MAX;
    d->began = from->began + from->ops;
    d->files = from->files;
    d->file = isola_zalloc((d->files + 1) * sizeof(*d->file));
    for (size_t i = 0; i < d->files; i++) {
        d->file[i].now = content_copy(&from->file[i].now);
        d->file[i].synced = content_copy(&from->file[i].synced);
        ops_copy(&d->file[i].pending, &from->file[i].pending);
    }
    names_copy(&d->now, &from->now);
    names_copy(&d->synced, &from->synced);
    ops_copy(&d->renamed, &from->renamed);
    pthread_mutex_unlock(&lock);
    return d;
}

void disk_free(struct disk *d)
{
    if (d == NULL)
        return;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < d->files; i++) {
        content_free(&d->file[i].now);
        content_free(&d->file[i].synced);
        free((void *)d->file[i].pending.op);
    }
    for (size_t i = 0; d->log != NULL && i < d->ops; i++) {
        free(d->log[i]->name);
        free(d->log[i]);
    }
    pthread_mutex_unlock(&lock);
    free((void *)d->log);
    free(d->file);
    names_free(&d->now);
    names_free(&d->synced);
    free((void *)d->renamed.op);
    free(d);
}

size_t disk_ops(const struct disk *d)
{
    pthread_mutex_lock(&lock);
    size_t n = d->ops;
    pthread_mutex_unlock(&lock);
    return n;
}

bool disk_syncs(const struct disk *d, size_t op)
{
    pthread_mutex_lock(&lock);
    bool syncs = op < d->ops && d->log[op]->kind == OP_SYNC;
    pthread_mutex_unlock(&lock);
    return syncs;
}

int disk_open(struct disk *d, const char *name, bool create, int *file, bool *made)
{
    pthread_mutex_lock(&lock);
    int e = begin(d, DISK_OPEN);
    const struct name *is = find(&d->now, name);
    *made = e == 0 && is == NULL && create;
    if (*made) {
        *file = (int)d->files;
        op_add(d, &(struct op){.kind = OP_CREATE, .file = *file}, name, NULL);
    } else if (e == 0 && is == NULL) {
        e = ENOENT;
    } else if (e == 0) {
        *file = is->file;
    }
    pthread_mutex_unlock(&lock);
    return e;
}

bool disk_has(struct disk *d, const char *name)
{
    pthread_mutex_lock(&lock);
    const struct name *is = find(&d->now, name);
    bool has = is != NULL && d->file[is->file].now.size > 0;
    pthread_mutex_unlock(&lock);
    return has;
}

int disk_remove(struct disk *d, const char *name)
{
    pthread_mutex_lock(&lock);
    int e = begin(d, DISK_DELETE);
    if (e == 0 && find(&d->now, name) == NULL)
        e = ENOENT;
    if (e == 0)
        op_add(d, &(struct op){.kind = OP_REMOVE, .file = -1}, name, NULL);
    pthread_mutex_unlock(&lock);
    return e;
}

int disk_read(struct disk *d, int file, void *to, size_t len, size_t at, size_t *got)
{
    pthread_mutex_lock(&lock);
    int e = begin(d, DISK_READ);
    *got = e == 0 ? content_read(&d->file[file].now, to, len, at) : 0;
    pthread_mutex_unlock(&lock);
    return e;
}

int disk_write(struct disk *d, int file, const void *from, size_t len, size_t at)
{
    pthread_mutex_lock(&lock);
    int e = begin(d, DISK_WRITE);
    size_t size = d->file[file].now.size, end = at + len;
    if (e != 0 && len > 0)
        len = disk_pick(&d->fault.seed, len + 1);
    else if (end > size && d->room != SIZE_MAX) {
        if (end - size > d->room) {
            e = ENOSPC;
            d->failures++;
            len = size + d->room > at ? size + d->room - at : 0;
        }
        d->room -= at + len > size ? at + len - size : 0;
    }
    if (len > 0)
        op_add(d, &(struct op){.kind = OP_WRITE, .file = file, .at = at, .len = len}, NULL, from);
    pthread_mutex_unlock(&lock);
    return e;
}

int disk_truncate(struct disk *d, int file, size_t size)
{
    pthread_mutex_lock(&lock);
    int e = begin(d, DISK_TRUNCATE);
    if (e == 0 && d->room != SIZE_MAX && size < d->file[file].now.size)
        d->room += d->file[file].now.size - size;
    if (e == 0)
        op_add(d, &(struct op){.kind = OP_TRUNCATE, .file = file, .at = size}, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return e;
}

int disk_sync(struct disk *d, int file)
{
    pthread_mutex_lock(&lock);
    int e = begin(d, DISK_SYNC);
    if (e == 0)
        op_add(d, &(struct op){.kind = OP_SYNC, .file = file}, NULL, NULL);
    else
        op_add(d,
               &(struct op){.kind = OP_LOST_SYNC,
                            .file = file,
                            .seed = disk_random(&d->fault.seed),
                            .evict = d->fault.evict},
               NULL, NULL);
    pthread_mutex_unlock(&lock);
    return e;
}

int disk_sync_dir(struct disk *d, const char *name)
{
    pthread_mutex_lock(&lock);
    int e = begin(d, DISK_SYNC);
    if (e == 0)
        op_add(d, &(struct op){.kind = OP_SYNC_DIR, .file = -1}, name, NULL);
    pthread_mutex_unlock(&lock);
    return e;
}

size_t disk_size(struct disk *d, int file)
{
    pthread_mutex_lock(&lock);
    size_t n = d->file[file].now.size;
    pthread_mutex_unlock(&lock);
    return n;
}

char *disk_name(struct disk *d, size_t i)
{
    pthread_mutex_lock(&lock);
    char *name = i < d->now.n ? isola_strdup(d->now.name[i].name) : NULL;
    pthread_mutex_unlock(&lock);
    return name;
}

void disk_flip(struct disk *d, const char *name, size_t at, uint8_t mask)
{
    pthread_mutex_lock(&lock);
    struct file *f = &d->file[find(&d->now, name)->file];
    ISOLA_CHECK(at < f->now.size && at < f->synced.size);
    content_own(&f->now, at / PAGE)[at % PAGE] ^= mask;
    content_own(&f->synced, at / PAGE)[at % PAGE] ^= mask;
    pthread_mutex_unlock(&lock);
}
