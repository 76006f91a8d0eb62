/* SPDX-License-Identifier: Apache-2.0
 *
 * What is done for scripts outside of isolates. Worker, in a visit, but for what is marked
 * otherwise.
 */
#ifndef ISOLA_ACTORS_IO_H
#define ISOLA_ACTORS_IO_H

#include "actors/mail.h"

struct isola_host;

/* As the ops of v8/realm.h. */
int isola__io_start(struct isola_realm *r, uint32_t actor, bool gated, struct isola_slice what,
                    struct isola_slice head, struct isola_slice body, uint64_t *id,
                    struct isola_err *err);
void isola__io_more(struct isola_realm *r, uint64_t id);
void isola__io_cancel(struct isola_realm *r, uint64_t id);
/* Cancels all of an actor whose activation ends, or (NULL) of a realm that is closed. */
void isola__io_forget(struct isola_realm *r, struct isola_actor *a);
/* An IO_EVENT or IO_END from the inbox. The serial of the actor whose code has run, or 0. */
uint32_t isola__io_event(struct isola_realm *r, const struct isola_mail *m);
/* Hands a mail to the outside. Takes it. */
ANY_THREAD void isola__io_release(struct isola_host *h, struct isola_mail *mail);

#endif
