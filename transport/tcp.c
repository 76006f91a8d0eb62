/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/tcp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
