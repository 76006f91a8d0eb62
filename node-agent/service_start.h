/* SPDX-License-Identifier: Apache-2.0
 *
 * What a service's process is started with: its arguments and its environment.
 */
#ifndef ISOLA_NODE_AGENT_SERVICE_START_H
#define ISOLA_NODE_AGENT_SERVICE_START_H

#include "node-agent/secrets.h"
#include "node-agent/service.h"

/* A list that ends with NULL; the caller frees it as below. `words`, which it takes, are those of
 * isola__bounds_words. */
ANY_THREAD char **isola__service_args(const struct isola__service_def *def, const char *launcher,
                                      char *const words[3]);
/* The same of NAME=VALUE. Of the agent's own environment there is little in it: PATH, HOME, TZ,
 * LANG, and what the manifest's permissions name. `socket`: the agent's.
 * `listen`: the addresses of the sockets that it is given, a line each, or NULL. NULL: it names a
 * secret that cannot be had, and `err` says which. */
LOOP_THREAD char **isola__service_env(const struct isola__service_def *def,
                                      const struct isola__secrets *secrets, const char *socket,
                                      unsigned number, const char *listen, struct isola_err *err);
/* Wipes it: there may be secrets in it. */
ANY_THREAD void isola__service_list_free(char **list);

#endif
