/* SPDX-License-Identifier: Apache-2.0
 *
 * Notes beside states: on which node the state of an address is, as far as this one knows, and
 * where it was. What they mean claims.c says.
 */
#ifndef ISOLA_ACTOR_HOST_NOTES_H
#define ISOLA_ACTOR_HOST_NOTES_H

#include "node-agent/actor-host/app.h"

enum note_kind { NOTE_MINE = 'm', NOTE_TAKING = 't', NOTE_GIVEN = 'g' };

struct note {
    int kind; /* enum note_kind */
    uint64_t moves;
    struct isola_buf taker; /* GIVEN: to whom; TAKING: from whom, and of what comes in pieces, once
                               some are here, how much it is ("NAME/BYTES") */
};

/* Appends the address under which the store has the note. */
ANY_THREAD void note_key(struct isola_buf *key, struct isola_slice address);
/* The note as the store has it; replaces what is in `out`. */
ANY_THREAD void note_write(struct isola_buf *out, int kind, uint64_t moves,
                           struct isola_slice taker);
/* What the store said of a note. 0 or why it cannot be known. */
ANY_THREAD int note_read(int code, struct isola_slice value, struct note *out);

/* From when until when (INT64_MAX: still) the note was so, ms since 1970, in order, as far as the
 * history tells (store/history.h). */
struct note_stay {
    int64_t from, until;
    struct note note;
};
struct note_stays {
    struct note_stay *stay;
    size_t n;
};
/* Blocks. Free in any case. */
POOL_THREAD ISOLA_MUST_USE int note_stays(struct app *app, struct isola_slice address,
                                          struct note_stays *out, struct isola_err *err);
ANY_THREAD void note_stays_free(struct note_stays *stays);

#endif
