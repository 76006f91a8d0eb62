/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors that are not started any more.
 */
#ifndef ISOLA_ACTORS_QUARANTINE_H
#define ISOLA_ACTORS_QUARANTINE_H

#include "actors/host.h"

/* Is it? Then err says so; `lift`: it is not any more. */
ANY_THREAD bool isola__quarantined(struct isola_host *h, struct isola_slice address, bool lift,
                                   struct isola_err *err);
ANY_THREAD size_t isola__quarantine_each(struct isola_host *h, struct isola_slice app,
                                         void (*each)(const struct isola_host_info *info,
                                                      void *arg),
                                         void *arg);

#endif
