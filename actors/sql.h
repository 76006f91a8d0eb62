/* SPDX-License-Identifier: Apache-2.0
 *
 * self.sql: an actor's own database (base/sql.h), opened when its script first asks for it.
 *
 * What has changed of it are rows (ISOLA_KEPT_PAGE) of the commit its turn is settled with, and
 * what a turn leaves open ends there. Where an activation ends the database is closed: what was not
 * settled is gone with it. All of it in visits.
 */
#ifndef ISOLA_ACTORS_SQL_H
#define ISOLA_ACTORS_SQL_H

#include "base/kept.h"
#include "base/sql.h"

struct isola_actor;
struct isola_realm;

/* That of the actor with this serial. Reading its pages blocks for what a read of the store takes.
 * NULL, with a reason: ISOLA_ECLOSED when the activation has ended, ISOLA_EUNREACHABLE when its
 * state cannot be had, ISOLA_EIO. */
struct isola_sql *isola__sql_of(struct isola_realm *r, uint32_t serial,
                                const struct isola_sql_ops **ops, struct isola_sql_fault *fault);
/* Its script has run: cursors end, and transactions that nobody has ended. */
void isola__sql_rest(struct isola_actor *a);
bool isola__sql_dirty(const struct isola_actor *a);
/* Adds what has changed. Returns a number for isola__sql_kept. */
uint64_t isola__sql_rows(struct isola_actor *a, struct isola_kept_rows *out);
/* The rows of this number are on disk. */
void isola__sql_kept(struct isola_actor *a, uint64_t taken);
void isola__sql_end(struct isola_actor *a);

#endif
