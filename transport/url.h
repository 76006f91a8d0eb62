/* SPDX-License-Identifier: Apache-2.0
 *
 * The addresses links are opened on: "unix:/path" and "tcp://address:port".
 */
#ifndef ISOLA_TRANSPORT_URL_H
#define ISOLA_TRANSPORT_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* What fits in sockaddr_un with its NUL, and more than a tcp url needs. */
#define ISOLA__UNIX_PATH_SIZE 108
#define ISOLA__URL_SIZE       128

enum isola__url_kind { ISOLA__URL_UNIX, ISOLA__URL_TCP };

struct isola__url {
    enum isola__url_kind kind;
    uint16_t port;                    /* tcp */
    char path[ISOLA__UNIX_PATH_SIZE]; /* unix */
    char host[64];                    /* tcp: a numeric address, IPv6 without brackets */
};

/* ISOLA_EINVAL: not a url, or a path too long for a unix socket. "localhost" means 127.0.0.1. */
ANY_THREAD ISOLA_MUST_USE int isola__url_parse(const char *text, struct isola__url *out,
                                               struct isola_err *err);
/* The canonical text. */
ANY_THREAD void isola__url_format(const struct isola__url *url, char out[ISOLA__URL_SIZE]);

#endif
