/* SPDX-License-Identifier: Apache-2.0
 *
 * The actor-host's command line. Only its agent starts it, so this is terse.
 */
#include <stdlib.h>

#include "node-agent/actor-host/app.h"

int options_parse(int argc, char **argv, struct options *out, struct isola_err *err)
{
    *out = (struct options){.threads = 1};
    for (int i = 1; i < argc; i++) {
        struct isola_slice a = isola_slice_str(argv[i]);
        if (i + 1 == argc)
            return isola_fail(err, ISOLA_EINVAL, "option %s wants a value", argv[i]);
        const char *value = argv[++i];
        if (isola_slice_is(a, "--node"))
            out->node = value;
        else if (isola_slice_is(a, "--data"))
            out->data = value;
        else if (isola_slice_is(a, "--threads"))
            out->threads = (unsigned)strtoul(value, NULL, 10);
        else if (isola_slice_is(a, "--memory"))
            out->memory = strtoull(value, NULL, 10);
        else if (isola_slice_is(a, "--history"))
            out->history_ms = strtoull(value, NULL, 10);
        else if (isola_slice_is(a, "--history-size"))
            out->history_bytes = strtoull(value, NULL, 10);
        else
            return isola_fail(err, ISOLA_EINVAL,
                              "unknown option %s; node-agent starts this program", argv[i - 1]);
    }
    if (out->node == NULL || out->data == NULL || out->threads == 0 || out->threads > 1024)
        return isola_fail(
            err, ISOLA_EINVAL,
            "usage: actor-host --node NAME --data DIR --threads N; node-agent starts this program");
    return 0;
}
