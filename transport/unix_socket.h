/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking a path for a unix socket, so that of two programs that want it one gets it, and giving it
 * back.
 */
#ifndef ISOLA_TRANSPORT_UNIX_SOCKET_H
#define ISOLA_TRANSPORT_UNIX_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "transport/url.h"

struct isola__unix_socket {
    int fd; /* listening, non-blocking, close-on-exec; the caller's */
    char path[ISOLA__UNIX_PATH_SIZE];
    dev_t dev; /* which file is ours */
    ino_t ino;
};

/* Mode 0600. A socket nobody listens on is replaced. Errors with sentences: ISOLA_EBUSY,
 * ISOLA_EPERM, ISOLA_EIO. Makes a few short system calls, none of which waits. */
ANY_THREAD ISOLA_MUST_USE int isola__unix_listen(const char *path, struct isola__unix_socket *out,
                                                 struct isola_err *err);
/* Who has connected, or has made the pair, on the connected socket `fd`: true when that is the user
 * this process runs as, or root. `*uid` is always set; a socket of another kind is refused. */
ANY_THREAD ISOLA_MUST_USE bool isola__unix_peer_ok(int fd, unsigned *uid);
/* Removes the file, if it is still ours. */
ANY_THREAD void isola__unix_remove(const struct isola__unix_socket *s);

#endif
