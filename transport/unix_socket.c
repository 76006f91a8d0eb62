/* SPDX-License-Identifier: Apache-2.0
 *
 * Between bind and listen a socket looks abandoned to whoever tries to connect. So replacing one
 * happens under a lock on the directory (flock, released with the descriptor), and whoever binds
 * takes that lock too when it is free: nobody replaces a socket that is about to listen. The lock
 * is never waited for.
 */
#include "transport/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 511

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path); /* isola__url_parse made sure that it fits */
    return address;
}

static int open_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int connect_to(int fd, const char *path)
{
    struct sockaddr_un address = address_of(path);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
}

static int bind_to(int fd, const char *path)
{
    struct sockaddr_un address = address_of(path);
    return bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
}

static int fail_errno(const char *path, int error, struct isola_err *err)
{
    bool denied = error == EACCES || error == EPERM || error == EROFS;
    int code = denied ? ISOLA_EPERM : ISOLA_EIO;
    const char *hint = denied            ? "; choose a directory you may write to"
                       : error == ENOENT ? "; create its directory first"
                                         : "";
    return isola_fail(err, code, "cannot make the socket %s: %s%s", path, strerror(error), hint);
}

/* A descriptor that holds the lock, or -1. */
static int lock_directory(const char *path)
{
    char copy[ISOLA__UNIX_PATH_SIZE];
    strcpy(copy, path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Removes what is at `path` if it is a socket that nobody listens on. */
static int remove_stale(const char *path, bool locked, struct isola_err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : fail_errno(path, errno, err);
    if (!S_ISSOCK(st.st_mode))
        return isola_fail(err, ISOLA_EBUSY,
                          "%s exists and is not a socket; remove it or choose another path", path);
    int fd = open_socket();
    if (fd < 0)
        return fail_errno(path, errno, err);
    int error = connect_to(fd, path);
    close(fd);
    if (error == EACCES || error == EPERM)
        return isola_fail(err, ISOLA_EPERM, "%s is another user's socket; choose another path",
                          path);
    if (error != ECONNREFUSED && error != ENOENT)
        return isola_fail(err, ISOLA_EBUSY,
                          "%s is in use by another process; stop that one or choose another path",
                          path);
    if (!locked)
        return isola_fail(err, ISOLA_EBUSY,
                          "another process is making a socket beside %s just now; try again", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return fail_errno(path, errno, err);
    return 0;
}

int isola__unix_listen(const char *path, struct isola__unix_socket *out, struct isola_err *err)
{
    int rc = 0;
    int error = 0;
    int lock = lock_directory(path);
    int fd = open_socket();
    if (fd < 0) {
        rc = fail_errno(path, errno, err);
        goto unlock;
    }
    fchmod(fd, 0600); /* Linux gives the file this mode when it is bound */
    error = bind_to(fd, path);
    if (error == EADDRINUSE) {
        rc = remove_stale(path, lock >= 0, err);
        if (rc != 0)
            goto close_fd;
        error = bind_to(fd, path);
    }
    struct stat st = {0};
    if (error == 0) {
        if (lstat(path, &st) != 0 || listen(fd, BACKLOG) != 0) {
            error = errno;
            unlink(path);
        }
    }
    if (error != 0) {
        rc = fail_errno(path, error, err);
        goto close_fd;
    }
    *out = (struct isola__unix_socket){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
    strcpy(out->path, path);
    goto unlock;

close_fd:
    close(fd);
unlock:
    if (lock >= 0)
        close(lock);
    return rc;
}

void isola__unix_remove(const struct isola__unix_socket *s)
{
    struct stat st;
    if (lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
        unlink(s->path);
}

int isola__unix_open_to(const struct isola__unix_socket *s, unsigned gid, struct isola_err *err)
{
    struct stat st;
    if (lstat(s->path, &st) != 0 || st.st_dev != s->dev || st.st_ino != s->ino)
        return isola_fail(err, ISOLA_EIO, "the socket %s is not there any more", s->path);
    if (lchown(s->path, (uid_t)-1, gid) != 0 || chmod(s->path, 0660) != 0) {
        bool denied = errno == EPERM || errno == EACCES;
        return isola_fail(err, denied ? ISOLA_EPERM : ISOLA_EIO,
                          "the socket %s cannot be given to group %u: %s%s", s->path, gid,
                          strerror(errno),
                          denied ? "; the user it runs as must be a member of that group" : "");
    }
    return 0;
}

/* Of its groups at the time it connected, the supplementary ones. */
static bool in_group(int fd, unsigned gid)
{
    socklen_t len = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
        return false; /* it has none, or they cannot be had */
    gid_t *groups = malloc(len);
    bool found = false;
    if (groups != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0)
        for (size_t i = 0; i < len / sizeof(*groups); i++)
            found = found || groups[i] == (gid_t)gid;
    free(groups);
    return found;
}

bool isola__unix_peer_ok(int fd, unsigned gid, unsigned *uid)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof(peer);
    int rc = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    *uid = (unsigned)peer.uid;
    if (rc != 0 || len != sizeof(peer))
        return false;
    if (peer.uid == geteuid() || peer.uid == 0)
        return true;
    return gid != ISOLA__NO_GROUP && (peer.gid == (gid_t)gid || in_group(fd, gid));
}
