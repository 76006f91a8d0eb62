/* SPDX-License-Identifier: Apache-2.0
 *
 * What there is to see of a link, as one msgpack map (`link` in docs/protocol.md): the same from
 * agents and actor-hosts.
 */
#ifndef ISOLA_TRANSPORT_LINK_REPORT_H
#define ISOLA_TRANSPORT_LINK_REPORT_H

#include "transport/link.h"

/* What has become of the links to one peer, since this process began. Zero: nothing yet. */
struct isola_link_past {
    uint64_t lost;    /* so many */
    uint64_t lost_at; /* the last, ms of isola_clock_ms */
    uint64_t refused; /* messages for it, for want of room, but for those a present link counts */
    char why[160];    /* the last was lost, or could not be made; "": all is well so far */
};
/* A link has ended that was in use (`lost`), or an attempt to make one. */
ANY_THREAD void isola_link_past_note(struct isola_link_past *past, bool lost, const char *why);

struct isola_link_about {
    const char *node, *peer;            /* names; peer NULL: not known */
    const char *kind;                   /* "control", "data" */
    bool dialled;                       /* by us */
    const char *state;                  /* "up", "dialling", "waiting" */
    const char *url;                    /* where it leads; NULL: the link knows */
    const char *version;                /* the peer's release; NULL: not known */
    size_t queued, queued_bytes;        /* what waits for a link */
    const struct isola_link_past *past; /* NULL: of this row, nothing is said of that */
};

/* Appends what there is to see of a listener (`listener` in docs/protocol.md). */
LOOP_THREAD void isola_listener_report(const char *node, const char *kind,
                                       const struct isola_listener *listener,
                                       struct isola_buf *out);
/* Appends the map. `link` NULL: there is none at the moment. */
LOOP_THREAD void isola_link_report(const struct isola_link_about *about, struct isola_link *link,
                                   struct isola_buf *out);

#endif
