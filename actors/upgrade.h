/* SPDX-License-Identifier: Apache-2.0
 *
 * Which release has written a state. In a visit.
 */
#ifndef ISOLA_ACTORS_UPGRADE_H
#define ISOLA_ACTORS_UPGRADE_H

#include "base/buf.h"

struct isola_actor;

/* Its stored state without its mark, if it has one. `from`: what onUpgrade is to be told of who has
 * written it, borrowed: a version or the id of a release; no bytes: it is not known; NULL data:
 * there is nothing to be upgraded. */
struct isola_slice isola__upgrade_from(struct isola_actor *a, struct isola_slice *from);
/* Its script has the hook, which is called now if it was told a `from`. */
void isola__upgrade_begins(struct isola_actor *a);
/* Its start has ended well. */
void isola__upgrade_ended(struct isola_actor *a);
/* Appends its mark, which is in front of each state that it writes; nothing, without the hook. */
void isola__upgrade_mark(const struct isola_actor *a, struct isola_buf *out);
/* Is its mark to be written, though its state need not be? `kept`: something else of it is. */
bool isola__upgrade_due(const struct isola_actor *a, bool kept);
/* Appends `state`, as it was written last (or empty), with the present mark. */
void isola__upgrade_remark(const struct isola_actor *a, struct isola_slice state,
                           struct isola_buf *out);

#endif
