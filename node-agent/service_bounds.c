/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_bounds.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "node-agent/agent.h"
#include "store/manifest.h"

#define MB ((uint64_t)1 << 20)
/* What Node.js has beside its heap, and the part of the rest that is not V8's old space: buffers,
 * the young generation, code, stacks. */
#define BASE_MB 32u
/* Node.js maps some 600 MB that it never touches, and each thread of a program more; these are data
 * too. The limit is there for what doubles its memory within a second. */
#define DATA_MORE (1024 * MB)

static void format(uint64_t bytes, char *out, size_t size)
{
    if (bytes % (1024 * MB) == 0)
        snprintf(out, size, "%" PRIu64 " GB", bytes / (1024 * MB));
    else
        snprintf(out, size, "%" PRIu64 " MB", (bytes + MB - 1) / MB);
}

/* --- before it is started --- */

int isola__bounds_make(struct isola__bounds *b, struct isola__agent *agent,
                       const struct isola_manifest_service *service, const char *address,
                       struct isola_err *err)
{
    struct isola__cgroups *c = &agent->services.cgroups;
    bool bounded = service->memory != 0 || service->millicpus != 0;
    *b = (struct isola__bounds){.agent = agent, .service = service};
    if (c->dir == NULL && bounded && !c->told)
        isola_log(ISOLA_LOG_INFO,
                  "memory of services is looked at once a second, and their cpus are rounded up: "
                  "%s",
                  c->why);
    c->told = c->told || bounded;
    if (c->dir == NULL)
        return 0;
    char *name = isola_strdup(address);
    for (char *p = name; *p != '\0'; p++)
        if (*p == '/')
            *p = '.';
    b->group = isola__cgroup_make(c, name, service->memory, service->millicpus, err);
    free(name);
    return b->group != NULL ? 0 : err->code;
}

static bool watches(const struct isola__bounds *b)
{
    return b->service->memory != 0 && !(b->group != NULL && b->agent->services.cgroups.memory);
}

void isola__bounds_words(const struct isola__bounds *b, unsigned number, char *out[3])
{
    const struct isola_manifest_service *s = b->service;
    unsigned n = (s->millicpus + 999) / 1000;
    bool pinned = n != 0 && !(b->group != NULL && b->agent->services.cgroups.cpu);
    out[0] = isola_strdup(b->group != NULL ? b->group : "");
    out[1] = pinned ? isola_format("%u:%u", number * n, n) : isola_strdup("");
    out[2] = watches(b) ? isola_format("%" PRIu64, 2 * s->memory + DATA_MORE) : isola_strdup("");
}

unsigned isola__bounds_heap(const struct isola_manifest_service *service)
{
    unsigned mb = (unsigned)(service->memory / MB);
    for (char **arg = service->node_args; arg != NULL && *arg != NULL; arg++)
        if (strncmp(*arg, "--max-old-space-size=", 21) == 0)
            return 0; /* as the manifest says */
    return mb != 0 ? (mb - BASE_MB) / 4 * 3 : 0;
}

/* --- while it lives --- */

static void over(struct isola__watched *w)
{
    struct isola__bounds *b = (struct isola__bounds *)w;
    b->over = true;
    b->had = w->memory;
    isola__memory_watch_remove(&b->agent->services.watch, w);
    (void)kill(-w->group, SIGKILL);
}

void isola__bounds_begin(struct isola__bounds *b, int pid)
{
    b->watched.group = pid;
    b->watched.limit = b->service->memory;
    b->watched.over = over;
    if (watches(b))
        isola__memory_watch_add(&b->agent->services.watch, &b->watched);
}

uint64_t isola__bounds_memory(const struct isola__bounds *b)
{
    if (b->service->memory == 0)
        return 0;
    return watches(b) ? b->watched.memory : isola__cgroup_memory(b->group);
}

/* --- its end --- */

void isola__bounds_kill(const struct isola__bounds *b)
{
    if (b->group != NULL)
        isola__cgroup_kill(b->group);
}

bool isola__bounds_explain(const struct isola__bounds *b, int sig, const char *said, char *why,
                           size_t size)
{
    char limit[32], had[32];
    unsigned heap = isola__bounds_heap(b->service);
    format(b->service->memory, limit, sizeof(limit));
    format(b->had, had, sizeof(had));
    if (b->over)
        snprintf(why, size, "it used more than its %s (\"memory\"): %s", limit, had);
    else if (b->service->memory != 0 && sig == SIGKILL && b->group != NULL &&
             isola__cgroup_oom(b->group))
        snprintf(why, size, "it used more than its %s (\"memory\")", limit);
    else if (heap != 0 && sig != 0 && strstr(said, "heap out of memory") != NULL)
        snprintf(why, size,
                 "it used more than its %s (\"memory\"), of which its JavaScript heap has %u MB",
                 limit, heap);
    else if (b->service->memory != 0 && strstr(said, "RangeError: ") == said &&
             strstr(said, "alloc") != NULL) /* of buffers */
        snprintf(why, size, "it has no more memory within its %s (\"memory\"): %s", limit, said);
    else
        return false;
    return true;
}

void isola__bounds_end(struct isola__bounds *b)
{
    if (b->agent == NULL)
        return;
    isola__memory_watch_remove(&b->agent->services.watch, &b->watched);
    if (b->group != NULL)
        isola__cgroup_remove(&b->agent->services.cgroups, b->group);
    b->group = NULL;
}
