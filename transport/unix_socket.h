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
/* Members of the group `gid` may connect too: the file is that group's, with mode 0660. Errors with
 * sentences: ISOLA_EPERM, ISOLA_EIO; then nothing has changed for the worse. */
ANY_THREAD ISOLA_MUST_USE int isola__unix_open_to(const struct isola__unix_socket *s, unsigned gid,
                                                  struct isola_err *err);
/* Who has connected, or has made the pair, on the connected socket `fd`: true when that is the user
 * this process runs as, or root, or one of the group `gid` (ISOLA__NO_GROUP: of none). `*uid` is
 * always set; a socket of another kind is refused. */
#define ISOLA__NO_GROUP ((unsigned)-1)
ANY_THREAD ISOLA_MUST_USE bool isola__unix_peer_ok(int fd, unsigned gid, unsigned *uid);
/* Removes the file, if it is still ours. */
ANY_THREAD void isola__unix_remove(const struct isola__unix_socket *s);

#endif
