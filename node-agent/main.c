/* SPDX-License-Identifier: Apache-2.0
 *
 * node-agent: one per host. Reads the command line and runs the agent.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/log.h"
#include "node-agent/agent.h"

/* Every client, peer and isolate costs descriptors; the soft limit is often 1,024. The actor-host
 * inherits it. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct isola__options opt;
    int rc = isola__options_parse(argc, argv, &opt);
    if (rc != 0) {
        isola__options_free(&opt);
        return rc == 1 ? (fflush(stdout) == 0 ? 0 : 1) : rc;
    }
    isola_log_setup("node-agent", ISOLA_LOG_INFO);
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error code, not the end of the agent */
    raise_descriptor_limit();
    return isola__agent_run(&opt);
}
