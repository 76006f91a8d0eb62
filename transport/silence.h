/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a peer has been silent, as far as we can tell, who may have stood still ourselves: not
 * scheduled, stopped, or busy with something else. What came in that time is there and not read, so
 * it is no silence of the peer's; but who stands still again and again owes an answer too, in the
 * end. So of the time between two looks, in which all that had arrived was read, so much counts at
 * the most: a peer is given up after a bounded number of our own looks, however far apart they are.
 *
 * No clock and no loop: link.c looks at each beat of a link.
 */
#ifndef ISOLA_TRANSPORT_SILENCE_H
#define ISOLA_TRANSPORT_SILENCE_H

#include <stdbool.h>
#include <stdint.h>

/* Well before 3 s; and a peer that stands still for 2 s, with the beat before it, is not silent. */
#define ISOLA__SILENT_NS  2250000000ull
#define ISOLA__SILENT_GAP 500000000ull /* what the time between two looks counts, at the most */

struct isola__silence {
    uint64_t looked_ns; /* at the last look */
    uint64_t ns;        /* of silence, up to then */
};

static inline void isola__silence_start(struct isola__silence *s, uint64_t now)
{
    *s = (struct isola__silence){.looked_ns = now};
}

/* `heard`: when something has come last, which may be after `now` by another thread's clock. True:
 * the peer is to be given up. */
static inline bool isola__silence_look(struct isola__silence *s, uint64_t now, uint64_t heard)
{
    bool news = heard >= s->looked_ns;
    uint64_t from = news ? heard : s->looked_ns;
    uint64_t gap = now > from ? now - from : 0;
    s->ns = (news ? 0 : s->ns) + (gap < ISOLA__SILENT_GAP ? gap : ISOLA__SILENT_GAP);
    s->looked_ns = now;
    return s->ns > ISOLA__SILENT_NS;
}

#endif
