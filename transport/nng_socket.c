/* SPDX-License-Identifier: Apache-2.0
 *
 * A TCP connection is known by the addresses of its two ends: of the sockets this process has open
 * just one has those of the stream, in this order.
 *
 * nng 1.5 registers a socket with epoll before it connects it, which counts as a hang-up, and at
 * times takes that for the end of connecting: a stream may be handed out while its connection is
 * still being made, as on any network slower than loopback. It has no peer's address yet. Reads and
 * writes say EAGAIN until it has.
 */
#include "transport/nng_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

typedef int (*name_of)(int fd, struct sockaddr *out, socklen_t *len);

static bool same(int fd, name_of end, const nng_sockaddr *want)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } is;
    socklen_t len = sizeof(is);
    if (end(fd, &is.any, &len) != 0)
        return false;
    if (want->s_family == NNG_AF_INET)
        return is.any.sa_family == AF_INET && is.in.sin_port == want->s_in.sa_port &&
               is.in.sin_addr.s_addr == want->s_in.sa_addr;
    return want->s_family == NNG_AF_INET6 && is.any.sa_family == AF_INET6 &&
           is.in6.sin6_port == want->s_in6.sa_port &&
           memcmp(&is.in6.sin6_addr, want->s_in6.sa_addr, sizeof(is.in6.sin6_addr)) == 0;
}

bool isola__socket_connecting(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_state == TCP_SYN_SENT;
}

/* The descriptor of the one socket that fits; -1: none does, or two that connect from one port at
 * once cannot be told apart. `there` NULL: it is still connecting. */
static int find(const nng_sockaddr *here, const nng_sockaddr *there)
{
    int found = -1, fits = 0;
    DIR *fds = opendir("/proc/self/fd");
    if (fds == NULL)
        return -1;
    for (const struct dirent *e; (e = readdir(fds)) != NULL;) {
        char *end;
        long fd = strtol(e->d_name, &end, 10);
        if (end != e->d_name && *end == '\0' && same((int)fd, getsockname, here) &&
            (there != NULL ? same((int)fd, getpeername, there)
                           : isola__socket_connecting((int)fd))) {
            found = (int)fd;
            fits++;
        }
    }
    closedir(fds);
    return fits == 1 ? fcntl(found, F_DUPFD_CLOEXEC, 0) : -1;
}

int isola__nng_socket(nng_stream *stream)
{
    nng_sockaddr here, there;
    if (nng_stream_get_addr(stream, NNG_OPT_LOCADDR, &here) != 0)
        return -1;
    if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &there) != 0) {
        int found = find(&here, NULL);
        /* Else it is connected since then. */
        if (found >= 0 || nng_stream_get_addr(stream, NNG_OPT_REMADDR, &there) != 0)
            return found;
    }
    return find(&here, &there);
}
