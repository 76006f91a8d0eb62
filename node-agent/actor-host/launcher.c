/* SPDX-License-Identifier: Apache-2.0
 *
 * actor-host: becomes the pinned Node.js with our addon. Node.js, the addon and its starter are
 * installed with this program (isola_path_installed).
 *
 * The flags: --no-node-snapshot, because all isolates of a process must come from snapshots over
 * one read-only heap;
 * --no-turboshaft-loop-unrolling, because unrolled loops lose the check by which a script is
 * stopped;
 * --hash-seed, kept in the data directory, because what is prepared of modules (V8's code for them,
 * snapshots) is good for processes of the same flags and the same seed only. It is random and
 * nobody's to read: who knows it can make keys that collide.
 *
 * And isola-pages.so is loaded into it, for more isolates to fit in it (pages.c).
 *
 * `actor-host --service PID GROUP PROCESSORS DATA ARGUMENT…` becomes a plain Node.js instead, with
 * service/preload.cjs loaded before the program: a service of the agent PID (docs/services.md),
 * which ends with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/path.h"

static const char *data_directory(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--data") == 0)
            return argv[i + 1];
    return NULL;
}

static bool read_seed(const char *path, uint64_t *seed)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read(fd, seed, sizeof(*seed)) == sizeof(*seed);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* The seed of this data directory, made by the first actor-host. Without one (a full disk, say)
 * this process has its own, and does without what others have prepared. */
static uint64_t hash_seed(const char *data)
{
    uint64_t seed = 0;
    char *path = isola_format("%s/hash-seed", data != NULL ? data : "");
    char *fresh = isola_format("%s.%ld", path, (long)getpid());
    if (data == NULL || !read_seed(path, &seed)) {
        ISOLA_CHECK(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
        int fd = data == NULL ? -1 : open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0) {
            bool ok = write(fd, &seed, sizeof(seed)) == sizeof(seed) && fsync(fd) == 0;
            close(fd);
            if (!ok || rename(fresh, path) != 0)
                unlink(fresh);
        }
    }
    free(fresh);
    free(path);
    return seed >> 2 | 1; /* 0 would be no seed; V8 wants less than 63 bits */
}

#ifndef ISOLA_PRELOAD
/* pages.c takes itself off again. */
static void preload(void)
{
    char *ours = isola_path_installed("isola-pages.so");
    const char *theirs = getenv("LD_PRELOAD");
    /* What is listed there is divided by colons and spaces. */
    if (ours != NULL && access(ours, R_OK) == 0 && strpbrk(ours, ": ") == NULL) {
        char *all = theirs != NULL && theirs[0] != '\0' ? isola_format("%s:%s", ours, theirs)
                                                        : isola_strdup(ours);
        setenv("LD_PRELOAD", all, 1);
        free(all);
    }
    free(ours);
}
#endif

/* Into the control group of this directory. */
static bool enter_group(const char *dir)
{
    char *path = isola_format("%s/cgroup.procs", dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, "0", 1) == 1;
    if (!done)
        fprintf(stderr, "actor-host: cannot enter the control group %s: %s\n", dir,
                strerror(errno));
    if (fd >= 0)
        close(fd);
    free(path);
    return done;
}

/* "FIRST:N": of the processors it may use it keeps N, beginning with that one and around. */
static bool keep_processors(const char *which)
{
    unsigned first, n;
    cpu_set_t all, kept;
    int cpus[CPU_SETSIZE];
    unsigned have = 0;
    if (sscanf(which, "%u:%u", &first, &n) != 2 || sched_getaffinity(0, sizeof(all), &all) != 0) {
        fprintf(stderr, "actor-host: cannot tell its processors: %s\n", strerror(errno));
        return false;
    }
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all))
            cpus[have++] = i;
    if (n >= have)
        return true;
    CPU_ZERO(&kept);
    for (unsigned i = 0; i < n; i++)
        CPU_SET(cpus[(first + i) % have], &kept);
    if (sched_setaffinity(0, sizeof(kept), &kept) == 0)
        return true;
    fprintf(stderr, "actor-host: cannot be kept on %u processors: %s\n", n, strerror(errno));
    return false;
}

static bool limit_data(const char *bytes)
{
    rlim_t n = strtoull(bytes, NULL, 10);
    struct rlimit now, limit = {.rlim_cur = n, .rlim_max = n};
    if (getrlimit(RLIMIT_DATA, &now) == 0 && now.rlim_max < n) /* it has less already */
        return true;
    if (setrlimit(RLIMIT_DATA, &limit) == 0)
        return true;
    fprintf(stderr, "actor-host: its data cannot be limited: %s\n", strerror(errno));
    return false;
}

/* What bounds it, as node-agent/service_bounds.c says it: each empty, if there is none. */
static bool take_bounds(char **words)
{
    return (words[0][0] == '\0' || enter_group(words[0])) &&
           (words[1][0] == '\0' || keep_processors(words[1])) &&
           (words[2][0] == '\0' || limit_data(words[2]));
}

/* Becomes a service, of which argv[6] is the first argument; returns when that fails. */
static void run_service(const char *node, int argc, char **argv)
{
    char pid[24];
    char *before = isola_path_installed("service/preload.cjs");
    if (before == NULL || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        fprintf(stderr, "actor-host: cannot start a service: %s\n", strerror(errno));
        free(before);
        return;
    }
    if (getppid() != atoi(argv[2]) || !take_bounds(argv + 3)) { /* or it has ended meanwhile */
        free(before);
        return;
    }
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("ISOLA_PROCESS", pid, 1);
    char **args = isola_zalloc((size_t)(argc + 2) * sizeof(*args));
    args[0] = (char *)(uintptr_t)node;
    args[1] = isola_format("--require=%s", before);
    for (int i = 6; i < argc; i++)
        args[i - 4] = argv[i];
    execv(node, args);
    fprintf(stderr, "actor-host: cannot run %s: %s; `make build` installs it\n", node,
            strerror(errno));
    free(args[1]);
    free(args);
    free(before);
}

int main(int argc, char **argv)
{
    const char *named = getenv("ISOLA_NODE_BINARY");
    char *node =
        named != NULL && named[0] != '\0' ? isola_strdup(named) : isola_path_installed("node");
    char *script = isola_path_installed("actor-host.cjs");
    if (node == NULL || script == NULL) {
        fprintf(stderr, "actor-host: cannot find its own path: %s\n", strerror(errno));
        free(node);
        free(script);
        return 1;
    }
    if (argc > 6 && strcmp(argv[1], "--service") == 0) {
        run_service(node, argc, argv);
        free(script);
        free(node);
        return 1;
    }
    char *seed =
        isola_format("--hash-seed=%llu", (unsigned long long)hash_seed(data_directory(argc, argv)));
    const char *flags[] = {node, "--no-node-snapshot", "--no-turboshaft-loop-unrolling", seed,
                           script};
    size_t nflags = sizeof(flags) / sizeof(flags[0]);
    char **args = isola_zalloc((nflags + (size_t)argc) * sizeof(*args));
    for (size_t i = 0; i < nflags; i++)
        args[i] = (char *)(uintptr_t)flags[i];
    for (int i = 1; i < argc; i++)
        args[nflags + (size_t)i - 1] = argv[i];
#ifdef ISOLA_PRELOAD
    /* The sanitizers' libraries must come before all others. Leaks are the other programs' tests'
     * matter: isolates end with the process. */
    setenv("LD_PRELOAD", ISOLA_PRELOAD, 1);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
#else
    preload();
#endif
    execv(node, args);
    fprintf(stderr,
            "actor-host: cannot run %s: %s; `make build` puts it there, or `make install`\n", node,
            strerror(errno));
    free(node);
    free(script);
    free(seed);
    free(args);
    return 1;
}
