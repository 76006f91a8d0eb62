/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/files.h"
#include "base/msgpack.h"
#include "transport/identity.h"

static int fail_errno(struct isola_err *err, const char *doing, const char *path, int e)
{
    int code = e == ENOENT                               ? ISOLA_ENOENT
               : e == EACCES || e == EPERM || e == EROFS ? ISOLA_EPERM
                                                         : ISOLA_EIO;
    return isola_fail(err, code, "cannot %s %s: %s", doing, path, strerror(e));
}

/* Ours, and nobody else's. */
static int check_owner(const struct stat *st, const char *path, struct isola_err *err)
{
    if (st->st_uid != geteuid())
        return isola_fail(err, ISOLA_EPERM,
                          "%s belongs to user %u, not to user %u as whom this runs; it is not used",
                          path, (unsigned)st->st_uid, (unsigned)geteuid());
    if ((st->st_mode & 077) != 0)
        return isola_fail(err, ISOLA_EPERM,
                          "others have rights to %s (mode %03o), so what is in it may be known to "
                          "them; if you are sure that it is not: chmod %s it",
                          path, (unsigned)(st->st_mode & 0777),
                          S_ISDIR(st->st_mode) ? "700" : "600");
    return 0;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return isola_strdup(".");
    return slash == path ? isola_strdup("/") : isola_strndup(path, (size_t)(slash - path));
}

/* The directory that `path` is in, open and checked; or an error. */
static int open_parent(const char *path, struct isola_err *err)
{
    struct stat st;
    char *dir = directory_of(path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = 0;
    if (fd < 0 || fstat(fd, &st) != 0)
        rc = fail_errno(err, "open", dir, errno);
    else
        rc = check_owner(&st, dir, err);
    free(dir);
    if (rc == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return rc;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

int isola_secret_dir(const char *path, struct isola_err *err)
{
    struct stat st;
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        return fail_errno(err, "create", path, errno);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fail_errno(err, "open", path, errno);
    int rc =
        fstat(fd, &st) == 0 ? check_owner(&st, path, err) : fail_errno(err, "look at", path, errno);
    close(fd);
    if (rc == 0 && made) {
        char *dir = directory_of(path);
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0)
            rc = fail_errno(err, "sync", dir, errno);
        if (fd >= 0)
            close(fd);
        free(dir);
    }
    return rc;
}

int isola_secret_read(const char *path, size_t max, uint8_t **data, size_t *len,
                      struct isola_err *err)
{
    struct stat st;
    uint8_t *content = NULL;
    int rc = 0;
    int dir = open_parent(path, err);
    if (dir < 0)
        return dir;
    int fd = openat(dir, base_of(path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = fail_errno(err, "open", path, errno);
    } else if (!S_ISREG(st.st_mode)) {
        rc = isola_fail(err, ISOLA_EPERM, "%s is no ordinary file; it is not used", path);
    } else if ((rc = check_owner(&st, path, err)) != 0) {
        ;
    } else if (st.st_size < 0 || (uint64_t)st.st_size > max) {
        rc = isola_fail(err, ISOLA_ETOOBIG, "%s is larger than the %zu bytes it may have", path,
                        max);
    } else {
        content = isola_secret_alloc((size_t)st.st_size + 1);
        ssize_t n = isola_read_all(fd, content, (size_t)st.st_size);
        if (n < 0)
            rc = fail_errno(err, "read", path, errno);
        else
            *len = (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    close(dir);
    if (rc == 0)
        *data = content;
    else
        isola_secret_free(content);
    return rc;
}

int isola_secret_write(const char *path, struct isola_slice content, struct isola_err *err)
{
    int rc = 0;
    int dir = open_parent(path, err);
    if (dir < 0)
        return dir;
    char *fresh = isola_format("%s.new", base_of(path));
    /* What a crash has left of an earlier attempt is nothing. */
    if (unlinkat(dir, fresh, 0) != 0 && errno != ENOENT)
        rc = fail_errno(err, "replace", path, errno);
    int fd = rc != 0
                 ? -1
                 : openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (rc == 0 &&
        (fd < 0 || fchmod(fd, 0600) != 0 || isola_write_all(fd, content) != 0 || fsync(fd) != 0))
        rc = fail_errno(err, "write", path, errno);
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = fail_errno(err, "write", path, errno);
    if (rc == 0 && (renameat(dir, fresh, dir, base_of(path)) != 0 || fsync(dir) != 0))
        rc = fail_errno(err, "write", path, errno);
    if (rc != 0 && fd >= 0)
        (void)unlinkat(dir, fresh, 0);
    free(fresh);
    close(dir);
    return rc;
}

/* --- keys to sign with --- */

#define FORMAT  1
#define KEY_MAX 256

int isola_sign_keys_read(const char *path, const char *kind, const char *damaged,
                         struct isola_sign_keys *keys, struct isola_err *err)
{
    uint8_t *data = NULL, seed[ISOLA_KEY_SIZE];
    size_t len = 0;
    struct isola_mp_item item;
    int rc = isola_secret_read(path, KEY_MAX, &data, &len, err);
    if (rc != 0)
        return rc;
    struct isola_mp_reader r = isola_mp_reader(isola_slice(data, len));
    if (isola_mp_take(&r, ISOLA_MP_ARRAY, &item) && item.n == 3 &&
        isola_mp_take(&r, ISOLA_MP_UINT, &item) && item.u == FORMAT &&
        isola_mp_take(&r, ISOLA_MP_STR, &item) && isola_slice_is(item.bytes, kind) &&
        isola_mp_take_bytes(&r, seed, sizeof(seed)) && r.p == r.end)
        isola_sign_keys_from(seed, keys);
    else
        rc = isola_fail(err, ISOLA_EIO, "%s %s", path, damaged);
    sodium_memzero(seed, sizeof(seed));
    isola_secret_free(data);
    return rc;
}

int isola_sign_keys_write(const char *path, const char *kind, const struct isola_sign_keys *keys,
                          struct isola_err *err)
{
    struct isola_buf b = {0};
    uint8_t seed[ISOLA_KEY_SIZE];
    ISOLA_CHECK(isola_buf_grow(&b, KEY_MAX)); /* once: no copies left behind */
    crypto_sign_ed25519_sk_to_seed(seed, keys->secret_key);
    isola_mp_array(&b, 3);
    isola_mp_uint(&b, FORMAT);
    isola_mp_cstr(&b, kind);
    isola_mp_bin(&b, isola_slice(seed, sizeof(seed)));
    int rc = isola_secret_write(path, isola_buf_slice(&b), err);
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(b.data, b.cap);
    isola_buf_free(&b);
    return rc;
}
