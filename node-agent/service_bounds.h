/* SPDX-License-Identifier: Apache-2.0
 *
 * How much memory and CPU time a process of a service may have ("memory", "cpus" of the manifest),
 * with all that it starts.
 *
 * Where the node has control groups (cgroup.h) the kernel holds each process in one. Elsewhere the
 * agent looks once a second and ends what has more (service_memory.h), behind a limit of data
 * (RLIMIT_DATA) for what grows faster than that, and a process is kept on so many processors as its
 * "cpus" are, rounded up. In both V8's heap gets a part of the memory, so that it collects garbage
 * before it is ended.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_BOUNDS_H
#define ISOLA_NODE_AGENT_SERVICE_BOUNDS_H

#include <stdbool.h>

#include "base/error.h"
#include "node-agent/service_memory.h"

struct isola__agent;
struct isola_manifest_service;

struct isola__bounds {
    struct isola__watched watched; /* first */
    struct isola__agent *agent;
    const struct isola_manifest_service *service; /* borrowed */
    char *group;                                  /* its control group, or NULL */
    bool over;                                    /* it was ended for its memory */
    uint64_t had;                                 /* and had so much then */
};

/* Before it is started; `address` names it. An error: it cannot be held. Then nothing is owed, else
 * isola__bounds_end. */
LOOP_THREAD ISOLA_MUST_USE int isola__bounds_make(struct isola__bounds *b,
                                                  struct isola__agent *agent,
                                                  const struct isola_manifest_service *service,
                                                  const char *address, struct isola_err *err);
/* What the launcher is told (actor-host/launcher.c), three words, the caller's: its group, its
 * processors, its data; number `number` of its service. */
LOOP_THREAD void isola__bounds_words(const struct isola__bounds *b, unsigned number, char *out[3]);
/* What V8's old space may have, MB; 0: as V8 likes. */
ANY_THREAD unsigned isola__bounds_heap(const struct isola_manifest_service *service);
/* It lives, under this pid. */
LOOP_THREAD void isola__bounds_begin(struct isola__bounds *b, int pid);
/* What it has of its memory, bytes; 0: not known. */
LOOP_THREAD uint64_t isola__bounds_memory(const struct isola__bounds *b);
/* Ends all that is in its group. */
LOOP_THREAD void isola__bounds_kill(const struct isola__bounds *b);
/* It has ended, by this signal (0: by itself), and said that of it last. If it was for its memory
 * says so in `why`, and returns true. */
LOOP_THREAD bool isola__bounds_explain(const struct isola__bounds *b, int signal, const char *said,
                                       char *why, size_t size);
/* It is gone. As often as one likes. */
LOOP_THREAD void isola__bounds_end(struct isola__bounds *b);

#endif
