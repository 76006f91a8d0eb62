/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_address(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    return inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1;
}

static int parse_unix(const char *text, const char *path, struct isola__url *out,
                      struct isola_err *err)
{
    size_t len = strlen(path);
    if (len == 0)
        return isola_fail(err, ISOLA_EINVAL, "\"%s\" has no path; give unix:/path", text);
    if (len >= sizeof(out->path))
        return isola_fail(err, ISOLA_EINVAL,
                          "\"%.200s\" is too long for a unix socket: %zu bytes, %zu are allowed",
                          path, len, sizeof(out->path) - 1);
    out->kind = ISOLA__URL_UNIX;
    memcpy(out->path, path, len + 1);
    return 0;
}

static int bad_tcp(const char *text, struct isola_err *err)
{
    return isola_fail(err, ISOLA_EINVAL,
                      "\"%.200s\" is not an address; give tcp://ADDRESS:PORT, with the port from "
                      "0 to 65535 and IPv6 in brackets",
                      text);
}

static int parse_port(const char *digits, uint16_t *out)
{
    size_t len = strlen(digits);
    if (len == 0 || len > 5 || strspn(digits, "0123456789") != len)
        return ISOLA_EINVAL;
    unsigned port = 0;
    for (size_t i = 0; i < len; i++)
        port = port * 10 + (unsigned)(digits[i] - '0');
    if (port > UINT16_MAX)
        return ISOLA_EINVAL;
    *out = (uint16_t)port;
    return 0;
}

static int parse_tcp(const char *text, const char *rest, struct isola__url *out,
                     struct isola_err *err)
{
    bool bracketed = rest[0] == '[';
    const char *host = rest + bracketed;
    const char *end = strchr(host, bracketed ? ']' : ':');
    if (end == NULL || end == host || end[bracketed] != ':' ||
        parse_port(end + bracketed + 1, &out->port) != 0)
        return bad_tcp(text, err);
    size_t len = (size_t)(end - host);
    if (memchr(host, '/', len) != NULL || memchr(host, '@', len) != NULL)
        return bad_tcp(text, err);

    char name[sizeof(out->host)] = "";
    if (len < sizeof(name))
        memcpy(name, host, len);
    if (!bracketed && strcmp(name, "localhost") == 0)
        strcpy(name, "127.0.0.1");
    if (bracketed != (strchr(name, ':') != NULL) && name[0] != '\0')
        return bad_tcp(text, err);
    if (!is_address(name))
        return isola_fail(err, ISOLA_EINVAL,
                          "\"%.200s\" does not name an address: give one of IPv4, one of IPv6 in "
                          "brackets, or localhost",
                          text);
    out->kind = ISOLA__URL_TCP;
    strcpy(out->host, name);
    return 0;
}

int isola__url_parse(const char *text, struct isola__url *out, struct isola_err *err)
{
    *out = (struct isola__url){0};
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text, text + 5, out, err);
    if (strncmp(text, "tcp://", 6) == 0)
        return parse_tcp(text, text + 6, out, err);
    return isola_fail(err, ISOLA_EINVAL,
                      "\"%.200s\" is not an address; give unix:/path or tcp://ADDRESS:PORT", text);
}

void isola__url_format(const struct isola__url *url, char out[ISOLA__URL_SIZE])
{
    if (url->kind == ISOLA__URL_UNIX)
        snprintf(out, ISOLA__URL_SIZE, "unix:%s", url->path);
    else if (strchr(url->host, ':') != NULL)
        snprintf(out, ISOLA__URL_SIZE, "tcp://[%s]:%u", url->host, url->port);
    else
        snprintf(out, ISOLA__URL_SIZE, "tcp://%s:%u", url->host, url->port);
}
