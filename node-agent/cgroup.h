/* SPDX-License-Identifier: Apache-2.0
 *
 * Control groups (version 2) for the processes of services: what bounds their memory and CPU time,
 * and ends them together.
 *
 * An agent that finds itself alone in a group it may write to, as systemd's Delegate= gives it,
 * takes that for its own: it moves into a group `node` below it, where the actor-host is born too,
 * and makes one beside that for each process of a service. Where it is not alone, or may not write,
 * or the system has no version 2, or the controllers are bound to version 1, there are none, and
 * `why` says so; service_memory.h does without.
 *
 * Every function makes a few short system calls on files of the kernel's.
 */
#ifndef ISOLA_NODE_AGENT_CGROUP_H
#define ISOLA_NODE_AGENT_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/annotate.h"
#include "base/error.h"

struct isola__cgroups {
    char *dir;        /* in which the groups of services are made; NULL: there are none */
    bool memory, cpu; /* what can be bounded in it */
    char why[300];    /* not; for people */
    bool told;        /* why not, in the log */
    uint64_t made;
    char **left; /* that could not be removed yet */
    size_t nleft;
};

/* Finds and takes the group, by what PROC/self/cgroup and PROC/self/mountinfo say; PROC is /proc
 * but in tests. Before the process has children. Never fails: there may be none. */
LOOP_THREAD void isola__cgroups_open(struct isola__cgroups *c, const char *proc);
LOOP_THREAD void isola__cgroups_close(struct isola__cgroups *c);

/* Makes a group for a process called `name` (of a file's characters), with bounds: bytes, and
 * thousandths of a processor, 0 for none; those of a controller that is not there are not set. Its
 * directory, the caller's, to be given back to isola__cgroup_remove; NULL, with `err`. */
LOOP_THREAD char *isola__cgroup_make(struct isola__cgroups *c, const char *name, uint64_t memory,
                                     uint32_t millicpus, struct isola_err *err);
/* Has the kernel ended a process of it because its memory was used up? */
LOOP_THREAD bool isola__cgroup_oom(const char *group);
/* Bytes that its processes have; 0: not known. */
LOOP_THREAD uint64_t isola__cgroup_memory(const char *group);
/* Ends all its processes. */
LOOP_THREAD void isola__cgroup_kill(const char *group);
/* Takes `group`. One in which something still is goes when the next one is made or removed. */
LOOP_THREAD void isola__cgroup_remove(struct isola__cgroups *c, char *group);

#endif
