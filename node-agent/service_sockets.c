/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_sockets.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"

static int duplicate(int pid, int fd)
{
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process < 0)
        return -1;
    int own = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
    close(process);
    return own;
}

int isola__sockets_take(struct isola__sockets *s, int pid, int fd, const char *at)
{
    size_t i = 0;
    while (i < s->n && strcmp(s->all[i].at, at) != 0)
        i++;
    if (i == ISOLA_SOCKETS_MAX || strchr(at, '\n') != NULL)
        return -1;
    int own = duplicate(pid, fd);
    if (own < 0)
        return -1;
    if (i < s->n) {
        close(s->all[i].fd);
        s->all[i].fd = own;
    } else {
        s->all[s->n++] = (struct isola__socket){own, isola_strdup(at)};
    }
    return own;
}

void isola__sockets_drop(struct isola__sockets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        close(s->all[i].fd);
        free(s->all[i].at);
    }
    s->n = 0;
}

char *isola__sockets_names(const struct isola__sockets *s)
{
    char *names = NULL;
    for (size_t i = 0; i < s->n; i++) {
        char *before = names;
        names = isola_format("%s%s%s", i > 0 ? before : "", i > 0 ? "\n" : "", s->all[i].at);
        free(before);
    }
    return names;
}

bool isola__port_has_listener(unsigned port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    bool has = false;
    int on = 1;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool both = fd >= 0; /* without IPV6_V6ONLY it is of both families */
    if (!both)
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    /* With SO_REUSEADDR only sockets that listen are in its way, not connections that are over. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0)
        has = bind(fd, both ? (struct sockaddr *)&six : (struct sockaddr *)&four,
                   both ? sizeof(six) : sizeof(four)) != 0 &&
              errno == EADDRINUSE;
    close(fd);
    return has;
}

bool isola__sockets_shut(const struct isola__sockets *s)
{
    /* Of a segment that comes to a socket that listens, the flags are in byte 13 of its header (RFC
     * 9293): SYN is the second bit. */
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {sizeof(steps) / sizeof(steps[0]), steps};
    for (size_t i = 0; i < s->n; i++)
        if (setsockopt(s->all[i].fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0)
            return false;
    return s->n > 0;
}

bool isola__sockets_wait(const struct isola__sockets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct tcp_info info = {0};
        socklen_t len = sizeof(info);
        /* Of one that listens, how many wait to be accepted. */
        if (getsockopt(s->all[i].fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
            info.tcpi_unacked > 0)
            return true;
    }
    return false;
}

bool isola__socket_stick(int fd, unsigned n)
{
    /* Of a packet, SKF_NET_OFF is where its IP header begins: the version is the first four bits,
     * where it comes from are four bytes from 12 on (RFC 791), or sixteen from 8 on (RFC 8200).
     * They are multiplied by 2^32 / phi (Knuth, The Art of Computer Programming, 6.4), so that
     * neighbours spread. */
    const unsigned ip = (unsigned)SKF_NET_OFF;
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ip),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip + 12),
        BPF_JUMP(BPF_JMP | BPF_JA, 10, 0, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip + 8),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip + 12),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip + 16),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip + 20),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 2654435769u),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {sizeof(steps) / sizeof(steps[0]), steps};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}
