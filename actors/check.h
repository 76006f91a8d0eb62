/* SPDX-License-Identifier: Apache-2.0
 *
 * Modules of a release that are loaded before it is used.
 */
#ifndef ISOLA_ACTORS_CHECK_H
#define ISOLA_ACTORS_CHECK_H

#include "actors/v8/realm.h"

struct isola_realm;

/* In a visit of a realm that only loads a module. */
void isola__check_visit(struct isola_realm *r);
void isola__check_loaded(struct isola_realm *r, struct isola_slice type, struct isola_slice error);
void isola__check_ended(struct isola_realm *r, const char *why);

#endif
