/* SPDX-License-Identifier: Apache-2.0
 *
 * What the service manager is told: sd_notify(3), a datagram to $NOTIFY_SOCKET.
 *
 * Whether the agent is ready or stops, a line that says how it is, and, when a watchdog is set
 * ($WATCHDOG_USEC), twice within its time that the loop goes round. Each datagram says all of it,
 * so one that is lost is made up for by the next. The manager is never waited for: what it does not
 * take at once is said again a moment later.
 *
 * Both variables are taken out of the environment: what the agent starts has nothing to say there.
 */
#ifndef ISOLA_NODE_AGENT_NOTIFY_H
#define ISOLA_NODE_AGENT_NOTIFY_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#include "base/annotate.h"

struct isola__agent;

struct isola__notify {
    struct isola__agent *agent;
    int fd; /* -1: nobody wants to be told */
    struct sockaddr_un to;
    socklen_t to_len;
    uv_timer_t timer;
    uint64_t every_ms; /* between signs of life; 0: no watchdog */
    char *told;        /* the last that was taken; NULL: nothing yet */
};

/* Reads and clears the environment. Before there is another thread. */
LOOP_THREAD void isola__notify_open(struct isola__notify *notify, struct isola__agent *agent);
/* Something of the agent has changed: says so, if it is worth a word. */
LOOP_THREAD void isola__notify_changed(struct isola__notify *notify);
/* The last thing the agent does on its loop. */
LOOP_THREAD void isola__notify_close(struct isola__notify *notify);

#endif
