/* SPDX-License-Identifier: Apache-2.0
 *
 * fork and exec by hand: libuv's has no way to say that a child ends with its parent. Between them
 * only what is safe there is called.
 */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

#define NO_PROGRAM 127

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char chunk[65536]; /* of one loop, which reads one pipe at a time */
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(chunk, sizeof(chunk));
}

static void keep(struct isola__child *child, const void *p, size_t n)
{
    size_t room = ISOLA__CHILD_SAID - child->said.len;
    isola_buf_append(&child->said, p, n < room ? n : room);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct isola__child *child = stream->data;
    if (n < 0) {
        uv_read_stop(stream);
        return;
    }
    keep(child, buf->base, (size_t)n);
    if (child->heard != NULL)
        child->heard(child, isola_buf_slice(&child->said));
}

/* In the child: never returns. */
static void become(char *const *argv, pid_t parent, int out, int errors)
{
    int none = open("/dev/null", O_RDWR);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && none >= 0 && dup2(none, STDIN_FILENO) >= 0 &&
        dup2(errors, STDERR_FILENO) >= 0 && (out < 0 || dup2(out, STDOUT_FILENO) >= 0))
        execvp(argv[0], argv);
    _exit(NO_PROGRAM);
}

static int listen_to(uv_loop_t *loop, struct isola__child *child, int fd)
{
    child->out = isola_zalloc(sizeof(*child->out));
    child->out->data = child;
    uv_pipe_init(loop, child->out, 0);
    int rc = uv_pipe_open(child->out, fd);
    if (rc == 0)
        return uv_read_start((uv_stream_t *)child->out, on_alloc, on_read);
    close(fd);
    return rc;
}

int isola__child_start(uv_loop_t *loop, struct isola__child *child, char *const *argv, bool listen,
                       int errors, struct isola_err *err)
{
    int ends[2] = {-1, -1};
    pid_t parent = getpid();
    isola_buf_free(&child->said);
    if (listen && pipe2(ends, O_CLOEXEC) != 0)
        return isola_fail(err, ISOLA_EIO, "cannot make a pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        become(argv, parent, ends[1], errors);
    if (ends[1] >= 0)
        close(ends[1]);
    if (pid < 0) {
        if (ends[0] >= 0)
            close(ends[0]);
        return isola_fail(err, ISOLA_EIO, "cannot start %s: %s", argv[0], strerror(errno));
    }
    child->pid = pid;
    if (listen && listen_to(loop, child, ends[0]) != 0)
        isola__child_kill(child, SIGKILL); /* nothing would be known of it: it ends as it failed */
    return 0;
}

/* What it had written when it ended; a child of its own may have the other end still. */
static void drain(struct isola__child *child)
{
    uint8_t chunk[4096];
    uv_os_fd_t fd;
    ssize_t n;
    if (child->out == NULL)
        return;
    while (uv_fileno((uv_handle_t *)child->out, &fd) == 0 &&
           (n = read(fd, chunk, sizeof(chunk))) > 0)
        keep(child, chunk, (size_t)n);
    uv_close((uv_handle_t *)child->out, on_closed);
    child->out = NULL;
}

void isola__child_look(struct isola__child *child)
{
    int status;
    if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
        return;
    child->pid = 0;
    drain(child);
    struct isola_buf said = child->said;
    child->said = (struct isola_buf){0};
    child->ended(child, status, isola_buf_slice(&said));
    isola_buf_free(&said);
}

void isola__child_kill(const struct isola__child *child, int signum)
{
    if (child->pid > 0)
        (void)kill(child->pid, signum);
}
