/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directory: created, or refused when another user may write to it; locked, and looked
 * over before anything in it is opened.
 *
 * What a restore has left half done is refused (restore.c).
 *
 * The lock is flock() on `lock`, which holds the owner's pid for the sentence another agent gets.
 * The kernel gives it up with its owner, so a crash leaves nothing to clean.
 *
 * Schema versions are read from the files' headers: this process has no SQLite connection yet that
 * would see the close of the descriptor as the end of its own locks, and a store still open in an
 * actor-host on its way out does not matter. isola__db_open checks again, exactly.
 */
#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "store/db_own.h"
#include "store/sqlite.h"

struct isola_datadir {
    char *path;
    int lock;
};

static int fail_errno(struct isola_err *err, const char *doing, const char *path, int e)
{
    int code = e == EACCES || e == EPERM || e == EROFS ? ISOLA_EPERM : ISOLA_EIO;
    return isola_fail(err, code, "cannot %s %s: %s; choose another data directory", doing, path,
                      strerror(e));
}

/* mkdir -p, mode 0700 for what is made. */
static int make_directories(const char *path, struct isola_err *err)
{
    char *copy = isola_strdup(path);
    int code = 0;
    for (char *p = copy + 1; code == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char at = *p;
        *p = '\0';
        struct stat st;
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            code = fail_errno(err, "create the data directory", copy, errno);
        else if (stat(copy, &st) != 0)
            code = fail_errno(err, "use the data directory", copy, errno);
        else if (!S_ISDIR(st.st_mode))
            code = fail_errno(err, "use the data directory", copy, ENOTDIR);
        *p = at;
        if (at == '\0')
            break;
    }
    free(copy);
    return code;
}

/* Who may write to it can put keys, state and releases of their own there, and who owns it can give
 * themselves that right. */
static int check_owner(const char *path, struct isola_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fail_errno(err, "use the data directory", path, errno);
    if (st.st_uid != geteuid())
        return isola_fail(err, ISOLA_EPERM,
                          "the data directory %s belongs to user %u, not to user %u as whom this "
                          "runs: run it as that one, `chown -R %u %s`, or choose another data "
                          "directory",
                          path, (unsigned)st.st_uid, (unsigned)geteuid(), (unsigned)geteuid(),
                          path);
    if ((st.st_mode & 022) != 0)
        return isola_fail(err, ISOLA_EPERM,
                          "others may write to the data directory %s (mode %03o), where keys and "
                          "state are: if you trust what is in it, `chmod go-w %s`, else choose "
                          "another data directory",
                          path, (unsigned)(st.st_mode & 0777), path);
    return 0;
}

static int locked_by_other(const char *path, int fd, struct isola_err *err)
{
    char text[32] = {0};
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    char owner[48] = "another agent";
    if (pid > 0)
        snprintf(owner, sizeof(owner), "another agent (pid %ld)", pid);
    return isola_fail(err, ISOLA_EBUSY,
                      "the data directory %s is in use by %s: stop it, or use another directory",
                      path, owner);
}

static int take_lock(struct isola_datadir *dir, struct isola_err *err)
{
    char *path = isola_format("%s/lock", dir->path);
    int code = 0;
    dir->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (dir->lock < 0) {
        code = fail_errno(err, "open", path, errno);
    } else if (flock(dir->lock, LOCK_EX | LOCK_NB) != 0) {
        code = errno == EWOULDBLOCK ? locked_by_other(dir->path, dir->lock, err)
                                    : fail_errno(err, "lock", path, errno);
    } else {
        char pid[32];
        int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
        if (pwrite(dir->lock, pid, (size_t)n, 0) != n || ftruncate(dir->lock, n) != 0)
            code = fail_errno(err, "write", path, errno);
    }
    free(path);
    return code;
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* user_version stands at byte 60 of an SQLite file (https://www.sqlite.org/fileformat2.html). What
 * is missing, empty or no SQLite file is for isola__db_open to judge. */
static int check_schema(const struct isola_datadir *dir, const char *file, int known,
                        struct isola_err *err)
{
    char *path = isola_format("%s/%s", dir->path, file);
    uint8_t header[64];
    int code = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (pread(fd, header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
            memcmp(header, "SQLite format 3", 16) == 0) {
            uint32_t found = big_endian(header + 60);
            if (found <= INT_MAX && (int)found > known)
                code = isola__db_newer(path, (int)found, known, err);
        }
        close(fd);
    } else if (errno != ENOENT) {
        code = fail_errno(err, "open", path, errno);
    }
    free(path);
    return code;
}

static int check_restored(const struct isola_datadir *dir, struct isola_err *err)
{
    struct stat st;
    char *path = isola_format("%s/" ISOLA__RESTORING, dir->path);
    bool there = lstat(path, &st) == 0;
    free(path);
    return !there ? 0
                  : isola_fail(err, ISOLA_EIO,
                               "a restore into the data directory %s was interrupted: run `ctl "
                               "restore` again",
                               dir->path);
}

int isola__datadir_lock(const char *path, struct isola_datadir **out, struct isola_err *err)
{
    if (path[0] == '\0')
        return isola_fail(err, ISOLA_EINVAL, "the data directory's name is empty");
    int code = make_directories(path, err);
    if (code != 0)
        return code;
    struct isola_datadir *dir = isola_zalloc(sizeof(*dir));
    dir->lock = -1;
    dir->path = realpath(path, NULL);
    if (dir->path == NULL)
        code = fail_errno(err, "use the data directory", path, errno);
    else if (access(dir->path, R_OK | W_OK | X_OK) != 0)
        code = fail_errno(err, "write to the data directory", path, errno);
    else
        code = check_owner(dir->path, err);
    if (code == 0)
        code = take_lock(dir, err);
    if (code != 0) {
        isola_datadir_close(dir);
        return code;
    }
    *out = dir;
    return 0;
}

int isola_datadir_open(const char *path, struct isola_datadir **out, struct isola_err *err)
{
    struct isola_datadir *dir;
    int code = isola__datadir_lock(path, &dir, err);
    if (code != 0)
        return code;
    code = check_restored(dir, err);
    if (code == 0)
        code = check_schema(dir, ISOLA__STATE_FILE, ISOLA__STATE_SCHEMA, err);
    if (code == 0)
        code = check_schema(dir, ISOLA__CATALOG_FILE, ISOLA__CATALOG_SCHEMA, err);
    if (code == 0)
        code = check_schema(dir, ISOLA__CACHE_FILE, ISOLA__CACHE_SCHEMA, err);
    if (code != 0) {
        isola_datadir_close(dir);
        return code;
    }
    *out = dir;
    return 0;
}

void isola_datadir_close(struct isola_datadir *dir)
{
    if (dir->lock >= 0)
        close(dir->lock);
    free(dir->path);
    free(dir);
}

const char *isola_datadir_path(const struct isola_datadir *dir)
{
    return dir->path;
}
