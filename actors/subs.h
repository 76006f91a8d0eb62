/* SPDX-License-Identifier: Apache-2.0
 *
 * Who hears what actors emit.
 */
#ifndef ISOLA_ACTORS_SUBS_H
#define ISOLA_ACTORS_SUBS_H

#include "actors/mail.h"

struct isola_host;

ANY_THREAD bool isola__subs_heard(struct isola_host *h, struct isola_slice address,
                                  struct isola_slice event);
ANY_THREAD void isola__subs_add(struct isola_host *h, struct isola_mail *sub);
/* Is it here, and not any more? */
ANY_THREAD bool isola__subs_remove(struct isola_host *h, const struct isola_mail *unsub);
/* Sends subscriptions to actors that live elsewhere now after them. */
ANY_THREAD void isola__subs_moved(struct isola_host *h);
/* Fans a PUBLISH out. */
ANY_THREAD void isola__subs_publish(struct isola_host *h, struct isola_mail *mail);

#endif
