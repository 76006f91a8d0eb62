/* SPDX-License-Identifier: Apache-2.0
 *
 * Unpacking: into a directory beside, which gets its name when all is on disk.
 */
#include "store/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "store/room.h"

#define PART_SUFFIX ".part" /* of a directory that is being written */

static int fail_file(struct isola_err *err, const char *doing, const char *path)
{
    int e = errno;
    int code = e == EACCES || e == EPERM || e == EROFS ? ISOLA_EPERM : ISOLA_EIO;
    return isola_fail(err, code, "cannot %s %.400s: %s", doing, path,
                      e == ENOSPC ? "the disk is full; make room on it" : strerror(e));
}

/* `path` without its last name, below `root` bytes of it: mkdir -p, unless they are `made`. */
static int make_parents(char *path, size_t root, struct isola_buf *made, struct isola_err *err)
{
    struct isola_slice above = isola_slice(path, (size_t)(strrchr(path, '/') - path));
    if (isola_slice_eq(isola_buf_slice(made), above))
        return 0;
    made->len = 0;
    isola_buf_append(made, above.data, above.len);
    for (char *at = strchr(path + root, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return fail_file(err, "make", path);
        *at = '/';
    }
    return 0;
}

static int write_file(struct isola_cache *c, const struct isola_tree_entry *e, const char *path,
                      struct isola_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  e->kind == ISOLA_TREE_PROGRAM ? 0755 : 0644);
    struct isola_buf piece = {0};
    int code = fd < 0 ? fail_file(err, "make", path) : 0;
    for (size_t i = 0; code == 0 && i < isola_tree_pieces(e->size); i++) {
        piece.len = 0;
        code = isola_cache_get(c, &e->pieces[i], &piece, err);
        if (code == 0 && isola_write_all(fd, isola_buf_slice(&piece)) != 0)
            code = fail_file(err, "write", path);
    }
    if (fd >= 0)
        close(fd);
    isola_buf_free(&piece);
    return code;
}

static int unpack_entry(struct isola_cache *c, const struct isola_tree_entry *e, const char *root,
                        struct isola_buf *made, struct isola_err *err)
{
    char *path = isola_format("%s/%s", root, e->path);
    int code = isola__room_for(root, path, e->kind != ISOLA_TREE_LINK ? e->size : 0, err);
    if (code == 0)
        code = make_parents(path, strlen(root) + 1, made, err);
    if (code == 0 && e->kind != ISOLA_TREE_LINK)
        code = write_file(c, e, path, err);
    else if (code == 0 && symlink(e->target, path) != 0)
        code = fail_file(err, "make", path);
    free(path);
    return code;
}

static int sync_dir(const char *dir, struct isola_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = fd < 0 || syncfs(fd) != 0 ? fail_file(err, "write", dir) : 0;
    if (fd >= 0)
        close(fd);
    return code;
}

/* An empty directory; or the spare one, with what of it is kept. */
static int begin(const struct isola_tree *t, const char *part, const char *spare, bool *kept,
                 struct isola_err *err)
{
    if (isola_dir_remove(part) != 0)
        return fail_file(err, "remove", part);
    if (spare != NULL && rename(spare, part) == 0) {
        if (isola__tree_keep(t, part, kept) == 0)
            return 0;
        memset(kept, 0, t->n * sizeof(*kept));
        if (isola_dir_remove(part) != 0)
            return fail_file(err, "remove", part);
    }
    return mkdir(part, 0755) != 0 ? fail_file(err, "make", part) : 0;
}

int isola_cache_unpack(struct isola_cache *c, const struct isola_tree *t, const char *dir,
                       const char *spare, struct isola_err *err)
{
    struct stat st;
    if (lstat(dir, &st) == 0)
        return isola_fail(err, ISOLA_EEXIST, "%s is there already", dir);
    char *part = isola_format("%s" PART_SUFFIX, dir);
    bool *kept = isola_zalloc((t->n > 0 ? t->n : 1) * sizeof(*kept));
    struct isola_buf made = {0};
    int code = begin(t, part, spare, kept, err);
    for (size_t i = 0; code == 0 && i < t->n; i++)
        if (!kept[i])
            code = unpack_entry(c, &t->entries[i], part, &made, err);
    if (code == 0)
        code = sync_dir(part, err);
    if (code == 0 && rename(part, dir) != 0)
        code = fail_file(err, "make", dir);
    if (code != 0)
        (void)isola_dir_remove(part);
    isola_buf_free(&made);
    free(kept);
    free(part);
    return code;
}
