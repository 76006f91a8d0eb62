/* SPDX-License-Identifier: Apache-2.0
 *
 * Its file: a msgpack array [version, written (ns since 1970), files], files an array of
 * [path, size, inode, changed (mtime, ns), changed (ctime, ns), hashes (bin)].
 */
#include "cli/file_index.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/map.h"
#include "base/msgpack.h"

#define VERSION 1u
#define FIELDS  6u
#define RECENT_NS                                                                                  \
    100000000u /* more than a tick of the clock that file systems take times from,                 \
                */
#define COARSE_NS                                                                                  \
    2000000000u /* and of those of file systems that keep no fractions of a second                 \
                 */

struct known {
    uint64_t size, inode, mtime, ctime;
    const struct isola_hash *hashes;
};

struct isola__file_index {
    char *path; /* NULL: there is no place for it */
    void *mapped;
    size_t mapped_len;
    uint64_t written;
    struct known *files;
    size_t n;
    struct isola_map by_path; /* of `files` */
    struct isola_buf noted;
    size_t nnoted, nsame;
};

char *isola__cache_path(const char *name)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *base = cache != NULL && cache[0] == '/' ? isola_strdup(cache)
                 : home != NULL && home[0] == '/' ? isola_format("%s/.cache", home)
                                                  : NULL;
    if (base == NULL)
        return NULL;
    char *own = isola_format("%s/isola", base);
    (void)mkdir(base, 0700);
    (void)mkdir(own, 0700);
    char *path = isola_format("%s/%s", own, name);
    free(own);
    free(base);
    return path;
}

static uint64_t ns(struct timespec t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- reading --- */

static bool read_known(struct isola_mp_reader *r, struct isola_slice *path, struct known *k)
{
    struct isola_mp_item head, s, number[4], hashes;
    if (!isola_mp_take(r, ISOLA_MP_ARRAY, &head) || head.n != FIELDS ||
        !isola_mp_take(r, ISOLA_MP_STR, &s))
        return false;
    for (int i = 0; i < 4; i++)
        if (!isola_mp_take(r, ISOLA_MP_UINT, &number[i]))
            return false;
    if (!isola_mp_take(r, ISOLA_MP_BIN, &hashes) || number[0].u > ISOLA_TREE_BYTES ||
        hashes.bytes.len != isola_tree_pieces(number[0].u) * ISOLA_HASH_SIZE)
        return false;
    *path = s.bytes;
    *k = (struct known){.size = number[0].u,
                        .inode = number[1].u,
                        .mtime = number[2].u,
                        .ctime = number[3].u,
                        .hashes = (const struct isola_hash *)(const void *)hashes.bytes.data};
    return true;
}

static void read_index(struct isola__file_index *x)
{
    struct isola_mp_reader r = isola_mp_reader(isola_slice(x->mapped, x->mapped_len));
    struct isola_mp_item head, version, written, files;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &head) || head.n != 3 ||
        !isola_mp_take(&r, ISOLA_MP_UINT, &version) || version.u != VERSION ||
        !isola_mp_take(&r, ISOLA_MP_UINT, &written) || !isola_mp_take(&r, ISOLA_MP_ARRAY, &files))
        return;
    x->written = written.u;
    x->files = isola_zalloc((files.n > 0 ? files.n : 1) * sizeof(*x->files));
    for (uint32_t i = 0; i < files.n; i++) {
        struct isola_slice path;
        if (!read_known(&r, &path, &x->files[i]))
            return; /* what stands before it is good */
        isola_map_set(&x->by_path, path, &x->files[i]);
        x->n++;
    }
}

struct isola__file_index *isola__file_index_open(const char *dir)
{
    struct isola__file_index *x = isola_zalloc(sizeof(*x));
    struct isola_hash h = isola_hash_of(isola_slice_str(dir));
    char hex[33];
    struct stat st;
    char *name =
        isola_format("files-%s", sodium_bin2hex(hex, sizeof(hex), h.bytes, (sizeof(hex) - 1) / 2));
    x->path = isola__cache_path(name);
    free(name);
    int fd = x->path != NULL ? open(x->path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p != MAP_FAILED) {
            x->mapped = p;
            x->mapped_len = (size_t)st.st_size;
            read_index(x);
        }
    }
    if (fd >= 0)
        close(fd);
    return x;
}

/* Could a change since the index was written have the same time? */
static bool is_recent(const struct isola__file_index *x, uint64_t time)
{
    return time + (time % 1000000000u == 0 ? COARSE_NS : RECENT_NS) >= x->written;
}

const struct isola_hash *isola__file_index_find(const struct isola__file_index *x, const char *path,
                                                const struct stat *st)
{
    const struct known *k = isola_map_get(&x->by_path, isola_slice_str(path));
    bool same = k != NULL && k->size == (uint64_t)st->st_size && k->inode == st->st_ino &&
                k->mtime == ns(st->st_mtim) && k->ctime == ns(st->st_ctim) &&
                !is_recent(x, k->mtime) && !is_recent(x, k->ctime);
    return same ? k->hashes : NULL;
}

/* --- writing --- */

void isola__file_index_note(struct isola__file_index *x, const char *path, const struct stat *st,
                            const struct isola_hash *hashes, bool known)
{
    struct isola_buf *b = &x->noted;
    x->nnoted++;
    x->nsame += known;
    isola_mp_array(b, FIELDS);
    isola_mp_cstr(b, path);
    isola_mp_uint(b, (uint64_t)st->st_size);
    isola_mp_uint(b, st->st_ino);
    isola_mp_uint(b, ns(st->st_mtim));
    isola_mp_uint(b, ns(st->st_ctim));
    isola_mp_bin(b,
                 isola_slice(hashes, isola_tree_pieces((uint64_t)st->st_size) * ISOLA_HASH_SIZE));
}

static void write_index(const struct isola__file_index *x)
{
    struct isola_buf head = {0};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    isola_mp_array(&head, 3);
    isola_mp_uint(&head, VERSION);
    isola_mp_uint(&head, ns(now));
    isola_mp_array(&head, x->nnoted);
    char *part = isola_format("%s.%d", x->path, (int)getpid());
    FILE *f = fopen(part, "wxe");
    bool good = f != NULL && !head.failed && !x->noted.failed;
    if (good) {
        good = fwrite(head.data, 1, head.len, f) == head.len;
        good = fwrite(x->noted.data, 1, x->noted.len, f) == x->noted.len && good;
    }
    if (f != NULL) {
        good = fclose(f) == 0 && good;
        if (!good || rename(part, x->path) != 0)
            (void)unlink(part);
    }
    free(part);
    isola_buf_free(&head);
}

void isola__file_index_close(struct isola__file_index *x)
{
    if (x->path != NULL && x->nnoted > 0 && (x->nsame < x->nnoted || x->nnoted != x->n))
        write_index(x);
    if (x->mapped != NULL)
        munmap(x->mapped, x->mapped_len);
    isola_map_free(&x->by_path);
    isola_buf_free(&x->noted);
    free(x->files);
    free(x->path);
    free(x);
}
