/* SPDX-License-Identifier: Apache-2.0
 *
 * To which apps an app may send.
 */
#ifndef ISOLA_ACTORS_PERMIT_H
#define ISOLA_ACTORS_PERMIT_H

#include "actors/release.h"

/* May it send to another app than its own? ISOLA_EPERM and how to permit it. */
int isola__permit_other(const struct isola_release_rt *r, struct isola_slice app,
                        struct isola_err *err);
static inline int isola__permit(const struct isola_release_rt *r, struct isola_slice app,
                                struct isola_err *err)
{
    if (app.len == r->app_len && memcmp(app.data, r->app, app.len) == 0)
        return 0;
    return isola__permit_other(r, app, err);
}
/* May this mail of an actor of another node's reach its receiver here? */
ANY_THREAD int isola__permit_from(struct isola_host *h, const struct isola_mail *m,
                                  struct isola_err *err);

#endif
