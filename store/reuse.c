/* SPDX-License-Identifier: Apache-2.0
 *
 * What of a directory with the files of one release is as another one has it: most of it, as a
 * rule, and to make thousands of files anew takes a file system much longer than to read them.
 *
 * A program has run in it, which may have changed anything there: a file is kept when it is a file
 * of the agent's, with the right mode and no other name, and its bytes have the right hashes; a
 * link, when it leads where it should. All else is removed. No link is followed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "base/map.h"
#include "store/unpack.h"

#define DEPTH_MAX 64 /* directories below one another; what is deeper is written again */

struct reuse {
    const struct isola_tree *tree;
    bool *kept;
    struct isola_map names; /* path → its entry, or `above` for a directory of some */
    struct isola_buf path;  /* of the directory, and in it */
    size_t root;            /* bytes of `path` before the tree's own */
    mode_t mask;            /* of the process */
    uint8_t *piece;
};
static char above;

/* There is no call that reads it and changes nothing. */
static mode_t umask_of_process(void)
{
    struct isola_buf text = {0};
    mode_t mask = 022;
    if (isola_file_read("/proc/self/status", 65536, &text) == 0) {
        const char *at = strstr(isola_buf_cstr(&text), "\nUmask:");
        if (at != NULL)
            mask = (mode_t)strtoul(at + 7, NULL, 8);
    }
    isola_buf_free(&text);
    return mask & 0777;
}

static void note_names(struct reuse *r)
{
    const struct isola_tree *t = r->tree;
    for (size_t i = 0; i < t->n; i++) {
        const char *path = t->entries[i].path;
        for (const char *at = strchr(path, '/'); at != NULL; at = strchr(at + 1, '/'))
            isola_map_set(&r->names, isola_slice(path, (size_t)(at - path)), &above);
        isola_map_set(&r->names, isola_slice_str(path), &t->entries[i]);
    }
}

static bool is_own(const struct reuse *r, const struct stat *st, mode_t mode)
{
    return st->st_uid == geteuid() && (st->st_mode & 07777) == (mode & ~r->mask);
}

static bool same_content(const struct reuse *r, int fd, const struct isola_tree_entry *e)
{
    uint64_t left = e->size;
    for (size_t i = 0; left > 0; i++) {
        size_t n = left < ISOLA_PIECE_MAX ? (size_t)left : ISOLA_PIECE_MAX;
        if (isola_read_all(fd, r->piece, n) != (ssize_t)n)
            return false;
        struct isola_hash h = isola_hash_of(isola_slice(r->piece, n));
        if (memcmp(&h, &e->pieces[i], sizeof(h)) != 0)
            return false;
        left -= n;
    }
    return true;
}

static bool same_link(int dir, const char *name, const char *target)
{
    char text[PATH_MAX];
    ssize_t n = readlinkat(dir, name, text, sizeof(text));
    return n >= 0 && (size_t)n == strlen(target) && memcmp(text, target, (size_t)n) == 0;
}

static bool same(const struct reuse *r, int dir, const char *name, const struct isola_tree_entry *e)
{
    struct stat st;
    if (e->kind == ISOLA_TREE_LINK)
        return same_link(dir, name, e->target);
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
                is_own(r, &st, e->kind == ISOLA_TREE_PROGRAM ? 0755 : 0644) &&
                (uint64_t)st.st_size == e->size && same_content(r, fd, e);
    close(fd);
    return good;
}

static int keep_in(struct reuse *r, int fd, unsigned depth);

/* A directory below; or not one that can be used, and does not stay. */
static int keep_below(struct reuse *r, int dir, const char *name, unsigned depth, bool *stays)
{
    struct stat st;
    int fd =
        depth < DEPTH_MAX ? openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    *stays = fstat(fd, &st) == 0 && is_own(r, &st, 0755);
    if (*stays)
        return keep_in(r, fd, depth + 1);
    close(fd);
    return 0;
}

/* Takes the descriptor. */
static int keep_in(struct reuse *r, int fd, unsigned depth)
{
    DIR *d = fdopendir(fd);
    struct dirent *e;
    size_t len = r->path.len;
    int code = 0;
    if (d == NULL) {
        close(fd);
        return -1;
    }
    while (code == 0 && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        isola_buf_printf(&r->path, "/%s", e->d_name);
        const struct isola_tree_entry *entry =
            isola_map_get(&r->names, isola_slice(r->path.data + r->root, r->path.len - r->root));
        bool stays = false;
        if ((const void *)entry == &above)
            code = keep_below(r, fd, e->d_name, depth, &stays);
        else if (entry != NULL)
            stays = r->kept[entry - r->tree->entries] = same(r, fd, e->d_name, entry);
        if (code == 0 && !stays && unlinkat(fd, e->d_name, 0) != 0)
            code = isola_dir_remove(isola_buf_cstr(&r->path));
        r->path.len = len;
    }
    closedir(d);
    return code;
}

int isola__tree_keep(const struct isola_tree *t, const char *dir, bool *kept)
{
    struct reuse r = {.tree = t, .kept = kept, .mask = umask_of_process()};
    struct stat st;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !is_own(&r, &st, 0755)) {
        close(fd);
        return -1;
    }
    r.piece = isola_alloc(ISOLA_PIECE_MAX);
    isola_buf_puts(&r.path, dir);
    r.root = r.path.len + 1;
    note_names(&r);
    int code = keep_in(&r, fd, 0);
    isola_map_free(&r.names);
    isola_buf_free(&r.path);
    free(r.piece);
    return code;
}
