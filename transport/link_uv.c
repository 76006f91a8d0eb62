/* SPDX-License-Identifier: Apache-2.0
 *
 * Links over unix sockets, on libuv's pipes. Everything happens on the loop's thread. Only what
 * libuv 1.44 has is used: the same objects run on the agent's libuv and on the one inside the
 * pinned Node.js.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "transport/link_impl.h"
#include "transport/unix_socket.h"

struct uv_link {
    struct isola_link link; /* first: freed through it */
    uv_pipe_t pipe;
    uv_connect_t connect;
    uv_write_t write;
    size_t write_size; /* of the write that is under way */
    uv_shutdown_t shutdown;
};

static struct uv_link *of(struct isola_link *link)
{
    return (struct uv_link *)link;
}

static uv_stream_t *stream(struct isola_link *link)
{
    return (uv_stream_t *)&of(link)->pipe;
}

/* --- reading --- */

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct isola_link *link = handle->data;
    uint8_t *to;
    size_t room;
    (void)suggested;
    if (isola__inflow_room(&link->in, &to, &room) != 0)
        *buf = uv_buf_init(NULL, 0); /* read as UV_ENOBUFS */
    else
        *buf = uv_buf_init((char *)to, room < INT32_MAX ? (unsigned)room : INT32_MAX);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct isola_link *link = handle->data;
    (void)buf;
    if (n > 0)
        (void)isola__link_arrived(link, (size_t)n);
    else if (n == UV_EOF)
        isola__link_ended(link, ISOLA_ECLOSED, "closed by the peer");
    else if (n == UV_ECONNRESET)
        isola__link_ended(link, ISOLA_ECLOSED, "reset by the peer");
    else if (n == UV_ENOBUFS)
        isola__link_ended(link, ISOLA_ENOMEM, "no memory for what %s sends", link->peer);
    else if (n < 0)
        isola__link_ended(link, ISOLA_EIO, "reading from %s failed: %s", link->peer,
                          uv_strerror((int)n));
}

static void start_reading(struct isola_link *link)
{
    int rc = uv_read_start(stream(link), on_room, on_read);
    if (rc != 0)
        isola__link_ended(link, ISOLA_EIO, "reading from %s failed: %s", link->peer,
                          uv_strerror(rc));
}

/* --- writing --- */

static void on_written(uv_write_t *req, int status)
{
    struct uv_link *l = (struct uv_link *)req->data;
    isola__link_written(&l->link, status == 0 ? l->write_size : 0,
                        status == 0 ? NULL : uv_strerror(status));
}

/* At once what the socket takes; what it does not when it can be written. */
static ssize_t write_some(struct isola_link *link, const uint8_t *data, size_t n, const char **why)
{
    struct uv_link *l = of(link);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, n < INT32_MAX ? (unsigned)n : INT32_MAX);
    int rc = uv_try_write(stream(link), &buf, 1);
    if (rc == UV_EAGAIN) {
        l->write_size = n;
        buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)n); /* a write is less than 4 GiB */
        rc = uv_write(&l->write, stream(link), &buf, 1, on_written);
    }
    if (rc < 0)
        *why = uv_strerror(rc);
    return rc;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req;
    (void)status; /* a peer that is gone shows itself to the reader */
}

static void goodbye(struct isola_link *link)
{
    /* Refused when the peer has broken off already: then the reader or the linger timer ends the
     * link. */
    (void)uv_shutdown(&of(link)->shutdown, stream(link), on_shutdown);
}

/* --- beginning and end --- */

static void on_closed(uv_handle_t *handle)
{
    isola__link_stopped(handle->data);
}

static void stop(struct isola_link *link)
{
    uv_close((uv_handle_t *)&of(link)->pipe, on_closed);
}

static const struct isola__backend backend = {.read = start_reading,
                                              .write = write_some,
                                              .goodbye = goodbye,
                                              .wake = isola__link_soon,
                                              .stop = stop};

static struct uv_link *new_link(uv_loop_t *loop)
{
    struct uv_link *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    isola__link_init(&l->link, loop, &backend);
    ISOLA_CHECK(uv_pipe_init(loop, &l->pipe, 0) == 0);
    l->pipe.data = l;
    l->write.data = l;
    return l;
}

static void on_connected(uv_connect_t *req, int status)
{
    struct isola_link *link = req->data;
    if (status == 0)
        isola__link_up(link);
    else if (status == UV_EACCES || status == UV_EPERM)
        isola__link_ended(link, ISOLA_EPERM, "cannot connect to %s: %s", link->peer,
                          uv_strerror(status));
    else if (status == UV_ENOENT || status == UV_ECONNREFUSED)
        isola__link_ended(link, ISOLA_EUNREACHABLE, "cannot connect to %s: nothing listens there",
                          link->peer);
    else
        isola__link_ended(link, ISOLA_EUNREACHABLE, "cannot connect to %s: %s", link->peer,
                          uv_strerror(status));
}

int isola__uv_dial(uv_loop_t *loop, const struct isola__url *url, struct isola_link **out,
                   struct isola_err *err)
{
    struct uv_link *l = new_link(loop);
    if (l == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a link to %s", url->path);
    l->connect.data = l;
    uv_pipe_connect(&l->connect, &l->pipe, url->path, on_connected);
    *out = &l->link;
    return 0;
}

int isola__uv_open_fd(uv_loop_t *loop, int fd, struct isola_link **out, struct isola_err *err)
{
    int type = 0;
    socklen_t len = sizeof(type);
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM ||
        getpeername(fd, (struct sockaddr *)&peer, &peer_len) != 0)
        return isola_fail(err, ISOLA_EINVAL, "descriptor %d is not a connected stream socket", fd);
    unsigned uid;
    if (peer.ss_family == AF_UNIX && !isola__unix_peer_ok(fd, ISOLA__NO_GROUP, &uid))
        return isola_fail(err, ISOLA_EPERM,
                          "descriptor %d was made by user %u, not by user %u as whom this runs", fd,
                          uid, (unsigned)geteuid());
    struct uv_link *l = new_link(loop);
    if (l == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory for a link on descriptor %d", fd);
    int rc = uv_pipe_open(&l->pipe, fd);
    if (rc != 0) {
        isola__link_ended(&l->link, ISOLA_EIO, "not opened");
        return isola_fail(err, ISOLA_EIO, "cannot use descriptor %d: %s", fd, uv_strerror(rc));
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    *out = &l->link;
    return 0;
}

/* --- listening --- */

struct uv_listener {
    struct isola_listener listener; /* first */
    uv_pipe_t pipe;
    uv_pipe_t spare;   /* takes a connection there is no memory for, to end it */
    bool turning_away; /* `spare` is closing */
    bool waiting;      /* another one of these has come meanwhile, and is not taken yet */
    bool closed;
    unsigned group; /* whose members may connect, or ISOLA__NO_GROUP */
    struct isola__unix_socket socket;
};

static void free_when_closed(struct uv_listener *l)
{
    if (l->closed && !l->turning_away)
        free(l);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct uv_listener *l = handle->data;
    l->closed = true;
    free_when_closed(l);
}

static void close_listener(struct isola_listener *listener)
{
    struct uv_listener *l = (struct uv_listener *)listener;
    isola__unix_remove(&l->socket);
    uv_close((uv_handle_t *)&l->pipe, on_listener_closed);
}

static void turn_away(struct uv_listener *l);

static void on_turned_away(uv_handle_t *handle)
{
    struct uv_listener *l = handle->data;
    bool waiting = l->waiting && !uv_is_closing((uv_handle_t *)&l->pipe);
    l->turning_away = l->waiting = false;
    if (waiting)
        turn_away(l);
    free_when_closed(l);
}

/* There is no memory for a link. libuv tells of no other connection before one is taken, so it is,
 * and ended. */
static void turn_away(struct uv_listener *l)
{
    if (l->turning_away) {
        l->waiting = true;
        return;
    }
    isola__listener_turned_away(&l->listener, l->listener.url, "no memory for another link");
    ISOLA_CHECK(uv_pipe_init(l->listener.loop, &l->spare, 0) == 0);
    l->spare.data = l;
    l->turning_away = true;
    (void)uv_accept((uv_stream_t *)&l->pipe, (uv_stream_t *)&l->spare);
    uv_close((uv_handle_t *)&l->spare, on_turned_away);
}

static void on_connection(uv_stream_t *handle, int status)
{
    struct uv_listener *l = handle->data;
    if (status == 0) {
        struct uv_link *accepted = new_link(l->listener.loop);
        if (accepted == NULL) {
            turn_away(l);
            return;
        }
        memcpy(accepted->link.peer, l->listener.url, sizeof(accepted->link.peer));
        uv_os_fd_t fd;
        unsigned uid;
        status = uv_accept(handle, (uv_stream_t *)&accepted->pipe);
        if (status == 0)
            status = uv_fileno((uv_handle_t *)&accepted->pipe, &fd);
        if (status == 0 && isola__unix_peer_ok(fd, l->group, &uid)) {
            isola__listener_offer(&l->listener, &accepted->link);
            return;
        }
        if (status == 0) {
            isola_log(ISOLA_LOG_WARN, "%s: user %u is refused: only user %u%s and root may connect",
                      l->listener.url, uid, (unsigned)geteuid(),
                      l->group != ISOLA__NO_GROUP ? ", the socket's group" : "");
            l->listener.stats.refused++;
            isola__link_ended(&accepted->link, ISOLA_EPERM, "another user's");
            return;
        }
        isola__link_ended(&accepted->link, ISOLA_EIO, "not accepted");
    }
    isola_log(ISOLA_LOG_WARN, "%s: a connection was lost: %s", l->listener.url,
              uv_strerror(status));
}

int isola__uv_listen(uv_loop_t *loop, const struct isola__url *url, struct isola_listener **out,
                     struct isola_err *err)
{
    struct uv_listener *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return isola_fail(err, ISOLA_ENOMEM, "no memory to listen on %s", url->path);
    int rc = isola__unix_listen(url->path, &l->socket, err);
    if (rc != 0) {
        free(l);
        return rc;
    }
    l->group = ISOLA__NO_GROUP;
    l->listener.loop = loop;
    l->listener.close = close_listener;
    ISOLA_CHECK(uv_pipe_init(loop, &l->pipe, 0) == 0);
    l->pipe.data = l;
    rc = uv_pipe_open(&l->pipe, l->socket.fd);
    if (rc != 0) {
        isola__unix_remove(&l->socket);
        close(l->socket.fd);
        uv_close((uv_handle_t *)&l->pipe, on_listener_closed);
        return isola_fail(err, ISOLA_EIO, "cannot listen on %s: %s", url->path, uv_strerror(rc));
    }
    rc = uv_listen((uv_stream_t *)&l->pipe, 511, on_connection);
    if (rc != 0) {
        close_listener(&l->listener);
        return isola_fail(err, ISOLA_EIO, "cannot listen on %s: %s", url->path, uv_strerror(rc));
    }
    *out = &l->listener;
    return 0;
}

int isola_listener_admit_group(struct isola_listener *listener, unsigned gid, struct isola_err *err)
{
    struct uv_listener *l = (struct uv_listener *)listener;
    ISOLA_CHECK(listener->close == close_listener);
    int rc = isola__unix_open_to(&l->socket, gid, err);
    if (rc == 0)
        l->group = gid;
    return rc;
}
