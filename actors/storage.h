/* SPDX-License-Identifier: Apache-2.0
 *
 * What an actor keeps by keys (storage.c). All in a visit.
 */
#ifndef ISOLA_ACTORS_STORAGE_H
#define ISOLA_ACTORS_STORAGE_H

#include "actors/items.h"
#include "actors/mail.h"
#include "actors/v8/realm.h"
#include "base/error.h"

#define ISOLA_STORAGE_KEY   2048u       /* bytes of a key, at most */
#define ISOLA_STORAGE_VALUE (16u << 20) /* of an encoded value */
#define ISOLA_STORAGE_READS 10000       /* of an actor, under way */

/* Called by scripts: as the ops of v8/realm.h. */
ISOLA_MUST_USE int isola__storage_put(struct isola_realm *r, uint32_t actor, struct isola_slice key,
                                      const struct isola_slice *value, struct isola_err *err);
ISOLA_MUST_USE int isola__storage_peek(struct isola_realm *r, uint32_t actor,
                                       struct isola_slice key, const struct isola_kept **item,
                                       struct isola_err *err);
ISOLA_MUST_USE int isola__storage_get(struct isola_realm *r, uint32_t actor, uint64_t id,
                                      const struct isola_slice *keys, size_t n,
                                      struct isola_err *err);
ISOLA_MUST_USE int isola__storage_list(struct isola_realm *r, uint32_t actor, uint64_t id,
                                       const struct isola_v8_range *range, struct isola_err *err);
ISOLA_MUST_USE int isola__storage_step(struct isola_realm *r, uint32_t actor,
                                       enum isola_v8_step step, uint64_t id, struct isola_err *err);

/* In the isolate: what a read has ended with, or that all is on disk. Borrows it. The serial of the
 * actor whose code has run, or 0. */
uint32_t isola__storage_answered(struct isola_realm *r, const struct isola_mail *m);
/* Is there anything to be written with, or without, its state? */
bool isola__storage_dirty(const struct isola_actor *a);
/* What has changed since this was called last, to be written and unreferenced then; or NULL. Its
 * rows do not change any more. */
struct isola_items *isola__storage_take(struct isola_actor *a);
/* Does its script wait for a read, or a sync? */
bool isola__storage_waits(const struct isola_actor *a);
/* It leaves its realm. */
void isola__storage_end(struct isola_actor *a);

#endif
