/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool parse_port(const char *digits, uint16_t *out)
{
    size_t len = strlen(digits);
    if (len == 0 || len > 5 || strspn(digits, "0123456789") != len)
        return false;
    unsigned long port = strtoul(digits, NULL, 10);
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

/* Numeric, and IPv6 exactly when it was in brackets. */
static bool take_host(const char *host, size_t len, bool bracketed, struct isola_tcp *out)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (len == 0 || len >= sizeof(out->host))
        return false;
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    if (bracketed)
        return inet_pton(AF_INET6, out->host, &v6) == 1;
    if (strcmp(out->host, "localhost") == 0)
        strcpy(out->host, "127.0.0.1");
    return inet_pton(AF_INET, out->host, &v4) == 1;
}

static bool parse(const char *text, bool need_port, struct isola_tcp *out)
{
    bool bracketed = text[0] == '[';
    const char *host = text + bracketed;
    size_t len = strcspn(host, bracketed ? "]" : ":");
    const char *rest = host + len;
    *out = (struct isola_tcp){0};
    if (bracketed && *rest++ != ']')
        return false;
    if (!take_host(host, len, bracketed, out))
        return false;
    if (*rest == '\0')
        return !need_port;
    return *rest == ':' && parse_port(rest + 1, &out->port);
}

bool isola_tcp_parse(const char *url, struct isola_tcp *out)
{
    return strncmp(url, "tcp://", 6) == 0 && parse(url + 6, true, out);
}

bool isola_tcp_parse_host(const char *text, struct isola_tcp *out)
{
    return parse(text, false, out);
}

void isola_tcp_format(const struct isola_tcp *tcp, char out[ISOLA_TCP_URL])
{
    bool v6 = strchr(tcp->host, ':') != NULL;
    snprintf(out, ISOLA_TCP_URL, v6 ? "tcp://[%s]:%u" : "tcp://%s:%u", tcp->host, tcp->port);
}

bool isola_tcp_wildcard(const struct isola_tcp *tcp)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, tcp->host, &v4) == 1)
        return v4.s_addr == INADDR_ANY;
    return inet_pton(AF_INET6, tcp->host, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6);
}

bool isola_tcp_loopback(const struct isola_tcp *tcp)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, tcp->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, tcp->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

int isola_tcp_fail_listen(const char *url, int system, struct isola_err *err)
{
    if (system == EADDRINUSE)
        return isola_fail(err, ISOLA_EBUSY,
                          "%s is in use by another process; stop that one or choose another port",
                          url);
    if (system == EADDRNOTAVAIL)
        return isola_fail(err, ISOLA_EIO,
                          "cannot listen on %s: this machine has no such address; choose one of "
                          "those that `ip address` shows",
                          url);
    return isola_fail(err, system == EACCES ? ISOLA_EPERM : ISOLA_EIO, "cannot listen on %s: %s",
                      url, strerror(system));
}

int isola_tcp_try_listen(const struct isola_tcp *tcp, struct isola_err *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {.any = {.sa_family = AF_UNSPEC}};
    char url[ISOLA_TCP_URL];
    int on = 1;
    if (inet_pton(AF_INET, tcp->host, &at.v4.sin_addr) == 1) {
        at.v4.sin_family = AF_INET;
        at.v4.sin_port = htons(tcp->port);
    } else if (inet_pton(AF_INET6, tcp->host, &at.v6.sin6_addr) == 1) {
        at.v6.sin6_family = AF_INET6;
        at.v6.sin6_port = htons(tcp->port);
    }
    isola_tcp_format(tcp, url);
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return isola_tcp_fail_listen(url, errno, err);
    /* As whoever listens next: connections of the past are no hindrance. */
    bool failed = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
                  bind(fd, &at.any, sizeof(at)) != 0 || listen(fd, 1) != 0;
    int system = errno;
    close(fd);
    return failed ? isola_tcp_fail_listen(url, system, err) : 0;
}
