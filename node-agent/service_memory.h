/* SPDX-License-Identifier: Apache-2.0
 *
 * What processes of services have of memory, looked at once a second: for nodes without control
 * groups (cgroup.h), where nobody else bounds it.
 *
 * Of a group of processes that counts what is nobody else's: anonymous and shared memory, not the
 * pages of files, which the system takes back. A look goes once through /proc, however many are
 * watched, and there is none while nobody is.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_MEMORY_H
#define ISOLA_NODE_AGENT_SERVICE_MEMORY_H

#include <uv.h>

#include "base/annotate.h"
#include "base/idmap.h"

/* Embed it; zero it but for the first three. */
struct isola__watched {
    int group;      /* of processes: the pid of the first */
    uint64_t limit; /* bytes */
    /* It has more. Once for each look. May unwatch this one, and no other. */
    void (*over)(struct isola__watched *w);
    uint64_t memory; /* what it had when it was looked at last; 0: it was not yet */
    struct isola__watched *next, **at;
};

struct isola__memory_watch {
    uv_timer_t timer;
    struct isola__watched *first;
};

LOOP_THREAD void isola__memory_watch_init(struct isola__memory_watch *watch, uv_loop_t *loop);
/* Nothing is watched any more. */
LOOP_THREAD void isola__memory_watch_close(struct isola__memory_watch *watch);
LOOP_THREAD void isola__memory_watch_add(struct isola__memory_watch *watch,
                                         struct isola__watched *w);
/* No matter whether it is watched. */
LOOP_THREAD void isola__memory_watch_remove(struct isola__memory_watch *watch,
                                            struct isola__watched *w);

#endif
