/* SPDX-License-Identifier: Apache-2.0
 *
 * What the emits of one actor to another have in common, and the events of a subscription, said
 * once. Who sends gives the head of such an envelope (all of it but the args) a number; what
 * follows between the two is that number and the args, which spares both ends the better part of a
 * small message (docs/wire.md, items HEAD and AGAIN). Numbers are places of a table that belongs to
 * the sender, as in the atom cache of Erlang's distribution header: one that is given anew means
 * the new head from then on.
 *
 * Items of both kinds of one link must arrive in the order they were put in: they are of one lane.
 */
#ifndef ISOLA_TRANSPORT_HEADS_H
#define ISOLA_TRANSPORT_HEADS_H

#include "base/msg.h"
#include "transport/inflow.h"

/* Numbers of a link and direction. */
#define ISOLA__HEADS 512
/* Bytes of addresses and event that a head may have together. */
#define ISOLA__HEAD_MAX 1280
/* Of an item of either kind: the number. */
#define ISOLA__HEAD_NUMBER 2

/* Zero is empty. One thread at a time. */
struct isola__heads_out {
    struct isola__head_place *places; /* ISOLA__HEADS of them; NULL: no emit was asked about yet */
};

/* What `m` goes as: AGAIN, with `number` and the key of its order; HEAD, which gives `number`,
 * because such a one was asked for before it; or FRAME, with nothing. */
ANY_THREAD enum isola__item isola__heads_find(struct isola__heads_out *out,
                                              const struct isola_msg *m, unsigned *number,
                                              uint32_t *key);
/* `m` was put as HEAD with that number. */
ANY_THREAD void isola__heads_given(struct isola__heads_out *out, const struct isola_msg *m,
                                   unsigned number, uint32_t key);
ANY_THREAD void isola__heads_out_free(struct isola__heads_out *out);

/* Zero is empty. One thread at a time. */
struct isola__heads_in {
    struct isola_msg **heads; /* by number; NULL: none was given yet */
    uint32_t given;
};

/* A HEAD has come: remembers it; `item` is its frame then. ISOLA_EPROTO with a sentence: it is
 * malformed, or not of what may have a head; ISOLA_ENOMEM. */
ANY_THREAD ISOLA_MUST_USE int isola__heads_learn(struct isola__heads_in *in,
                                                 struct isola_slice *item, struct isola_err *err);
/* An AGAIN has come: its head, borrowed until one is learnt, with `head` set and no args; `item` is
 * its args then, which were not looked at. NULL, with a sentence: its number was never given. */
ANY_THREAD ISOLA_MUST_USE const struct isola_msg *
isola__heads_recall(struct isola__heads_in *in, struct isola_slice *item, struct isola_err *err);
ANY_THREAD void isola__heads_in_free(struct isola__heads_in *in);

#endif
