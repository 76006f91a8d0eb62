/* SPDX-License-Identifier: Apache-2.0
 *
 * The sockets that a service's process listens on, as the agent has them too: for who replaces the
 * process, which takes them over with the connections that wait in their queues. Where the system
 * does not let the agent have them (pidfd_getfd(2)), there are none: then a replacement makes
 * sockets of its own, and what waits in the queues of the old ones is lost with them.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_SOCKETS_H
#define ISOLA_NODE_AGENT_SERVICE_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/annotate.h"

#define ISOLA_SOCKETS_MAX  8 /* of one process, on different addresses */
#define ISOLA_SOCKETS_FROM 4 /* the first one's descriptor, in who takes them over */

struct isola__sockets {
    struct isola__socket {
        int fd;
        char *at; /* its address, as the process says it: owned */
    } all[ISOLA_SOCKETS_MAX];
    size_t n;
};

/* The process `pid` says that its descriptor `fd` listens at the address `at`. One at the same
 * address is replaced. Copies `at`. The socket as the agent has it, which `s` owns; -1: it cannot
 * have it. */
LOOP_THREAD int isola__sockets_take(struct isola__sockets *s, int pid, int fd, const char *at);
/* Closes all. */
LOOP_THREAD void isola__sockets_drop(struct isola__sockets *s);
/* The addresses, a line each, in the order in which who takes them over has them; NULL: none. The
 * caller frees it. */
LOOP_THREAD char *isola__sockets_names(const struct isola__sockets *s);
/* From now on the kernel chooses among the `n` sockets that share the port of `fd` by where a
 * connection comes from: all from one address come to one of them, as long as their number stays.
 * False: it cannot, and errno says why. */
LOOP_THREAD bool isola__socket_stick(int fd, unsigned n);

/* Does a process of this machine listen on the TCP port, whoever it is and whether it would share
 * it or not? False also when that cannot be seen: without the right to ports below 1024. */
LOOP_THREAD bool isola__port_has_listener(unsigned port);

/* No new connection comes to them any more: the kernel leaves the first segment of one unanswered,
 * so that the client sends it again, and then it is another socket's of the same port. Those that
 * wait, or are under way, still do. False: that cannot be. */
LOOP_THREAD bool isola__sockets_shut(const struct isola__sockets *s);
/* Do connections wait to be accepted? */
LOOP_THREAD bool isola__sockets_wait(const struct isola__sockets *s);

#endif
