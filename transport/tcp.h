/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of a tcp:// url, for those who choose where to listen and what to tell others.
 */
#ifndef ISOLA_TRANSPORT_TCP_H
#define ISOLA_TRANSPORT_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/annotate.h"
#include "base/error.h"

struct isola_tcp {
    char host[64]; /* a numeric address, IPv6 without brackets */
    uint16_t port;
};

#define ISOLA_TCP_URL 96 /* holds any url below, with its NUL */

/* "tcp://HOST:PORT", IPv6 in brackets, "localhost" for 127.0.0.1. False: it is none. */
ANY_THREAD bool isola_tcp_parse(const char *url, struct isola_tcp *out);
/* "HOST" or "HOST:PORT", as above; port 0 when it is not said. */
ANY_THREAD bool isola_tcp_parse_host(const char *text, struct isola_tcp *out);
ANY_THREAD void isola_tcp_format(const struct isola_tcp *tcp, char out[ISOLA_TCP_URL]);
/* All addresses of this machine: nothing that others can dial. */
ANY_THREAD bool isola_tcp_wildcard(const struct isola_tcp *tcp);
/* Reached from this machine only. */
ANY_THREAD bool isola_tcp_loopback(const struct isola_tcp *tcp);
/* Why nothing listens at `url`, from errno, as the caller's error: as below. */
ANY_THREAD int isola_tcp_fail_listen(const char *url, int system, struct isola_err *err);
/* Could this process listen there now? Listens and stops at once, so whoever listens next may still
 * be too late. ISOLA_EBUSY: another process does; ISOLA_EPERM, ISOLA_EIO: what the system says, an
 * address that this machine does not have among it. Does not block. */
ANY_THREAD ISOLA_MUST_USE int isola_tcp_try_listen(const struct isola_tcp *tcp,
                                                   struct isola_err *err);

#endif
