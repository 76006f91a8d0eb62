/* SPDX-License-Identifier: Apache-2.0
 *
 * What an actor may use, and what becomes of one that uses more. In a visit, but for what is
 * marked otherwise.
 */
#ifndef ISOLA_ACTORS_LIMITS_H
#define ISOLA_ACTORS_LIMITS_H

#include "actors/v8/realm.h"

struct isola_actor;
struct isola_realm;
struct isola_type;

/* Those of an isolate of its own for `type`, or of one that its release's shared types share. */
struct isola_v8_limits isola__limits_of(const struct isola_type *type);
/* ops of the isolate: the watch over its entries, and what becomes of actors whose scripts were
 * ended. */
void isola__limits_enter(void *realm, uint32_t actor, uint32_t turn);
void isola__limits_run(void *realm);
void isola__limits_leave(void *realm);
bool isola__limits_ended(void *realm, uint32_t actor, enum isola_v8_end why);
/* In a visit: the actor has used more than it may of something other than CPU and memory. Its
 * script is ended, and it crashes with this text. */
void isola__limits_exceeded(struct isola_actor *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* It is about to send so many bytes. EOVERLOAD: too many asks are under way; or its script is
 * ended, for the other limits. */
int isola__limits_send(struct isola_actor *a, int kind, size_t bytes, struct isola_err *err);
/* May it log a line of so many bytes? */
bool isola__limits_log(struct isola_actor *a, size_t bytes);
/* Worker, the isolate not entered: an isolate whose scripts were ended for good goes; the realm
 * stays until all who live in it have found another. */
void isola__limits_bury(struct isola_realm *r);

#endif
