/* SPDX-License-Identifier: Apache-2.0
 *
 * build/bin/actor-host: becomes the pinned Node.js with our addon. The addon and its starter lie in
 * ../lib beside this program.
 *
 * The flags: --no-node-snapshot, because all isolates of a process must come from snapshots over
 * one read-only heap;
 * --no-turboshaft-loop-unrolling, because unrolled loops lose the check by which a script is
 * stopped.
 */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

int main(int argc, char **argv)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0) {
        fprintf(stderr, "actor-host: cannot find its own path: %s\n", strerror(errno));
        return 1;
    }
    self[n] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(self, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    const char *node = getenv("ISOLA_NODE_BINARY");
    if (node == NULL || node[0] == '\0')
        node = ISOLA_NODE_BINARY;
    char *script = isola_format("%s/lib/actor-host.cjs", self);
    const char *flags[] = {node, "--no-node-snapshot", "--no-turboshaft-loop-unrolling", script};
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
#endif
    execv(node, args);
    fprintf(stderr, "actor-host: cannot run %s: %s; `make build` installs it\n", node,
            strerror(errno));
    free(script);
    free(args);
    return 1;
}
