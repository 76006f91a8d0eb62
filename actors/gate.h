/* SPDX-License-Identifier: Apache-2.0
 *
 * The output gate: what a turn has caused leaves when its state is on disk.
 */
#ifndef ISOLA_ACTORS_GATE_H
#define ISOLA_ACTORS_GATE_H

#include "actors/actor.h"

struct isola_items;

/* A write of state on its way, and the effects that wait for it. */
struct isola_commit {
    struct isola_state_io io;
    struct isola_mail note;    /* ISOLA_MAIL_COMMITTED: it has ended */
    struct isola_commit *next; /* the actor's list, oldest first */
    struct isola_actor *actor; /* counted */
    uint32_t activation;       /* the actor's, when it began */
    struct isola_buf value;    /* io.has_value: its state */
    struct isola_kept_rows rows;
    bool timers;                /* there are some among its rows */
    struct isola_items *items;  /* rows of its storage, or NULL */
    struct isola_kept *all;     /* those and `rows`, where there are both */
    uint64_t sql_taken;         /* its rows of self.sql are, or 0 */
    struct isola_mailq effects; /* the store's thread's until it has ended */
    struct isola_mailq later;   /* of turns that changed nothing, behind those */
    bool direct;                /* its effects leave from the store's thread, if it succeeds */
    bool quiet;                 /* under the shard's lock: and nobody waits for word of that */
    int code;
    char *why; /* of a code, or NULL */
};

/* In a visit, after scripts of this actor have run: saves its state if that is due and lets
 * its effects out, now or when the state is on disk. False: its activation has ended, and it is not
 * to be touched again. */
ISOLA_MUST_USE bool isola__gate_settle(struct isola_actor *a);
/* In a visit: what a script of this actor has caused waits for its settle; of none (NULL), it goes
 * at once. Takes it. */
void isola__gate_put(struct isola_realm *r, struct isola_actor *a, struct isola_mail *m);
/* In a visit: of what its script has caused and that waits for nothing yet, answers become errors
 * and all else is dropped, but for what the host sends of itself. */
void isola__gate_refuse(struct isola_actor *a, int code, const char *why);
/* In a visit: sends a mail of this actor after all that waits for its writes. Takes it. */
void isola__gate_follow(struct isola_actor *a, struct isola_mail *mail);
/* In a visit: writes these rows alone, for `effects` to leave then. Takes both. */
void isola__gate_keep(struct isola_actor *a, struct isola_kept_rows *rows,
                      struct isola_mailq *effects);
/* In a visit, or when there are no more: a write has ended. */
void isola__gate_committed(struct isola_commit *c);
/* May what it sends leave at once? */
static inline bool isola__gate_open(const struct isola_actor *a)
{
    return !a->hurt && !a->looked && !a->activating && a->commits == NULL &&
           a->effects.head == NULL;
}
/* An answer of an actor that lives in `r`: to where it is waited for, in order with messages that
 * go there. Takes it. */
void isola__gate_reply(struct isola_realm *r, struct isola_mail *answer);
/* Whoever waits for the answer to this mail is told why there is none. Its origin is gone then. */
void isola__gate_fail(struct isola_host *h, struct isola_mail *m, int code, const char *why);
/* Sends one effect on its way. Takes it. */
void isola__gate_release(struct isola_host *h, struct isola_mail *mail);

#endif
