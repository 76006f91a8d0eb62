/* SPDX-License-Identifier: Apache-2.0
 *
 * Durable messages: what actors have of them (durable.c), and the outbox of the host (outbox.c).
 */
#ifndef ISOLA_ACTORS_DURABLE_H
#define ISOLA_ACTORS_DURABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "actors/mail.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/kept.h"
#include "base/map.h"

struct isola_host;

/* --- an actor's (durable.c). In a visit --- */

/* In a visit, called by a script: a durable message of `a` has been made, and waits for its settle.
 */
void isola__durable_sent(struct isola_actor *a);
/* Is there anything to be written with, or without, its state? */
bool isola__durable_dirty(const struct isola_actor *a);
/* The rows of that: they count as written. Numbers the messages among its effects. */
void isola__durable_rows(struct isola_actor *a, struct isola_kept_rows *out);
/* Its state was read, and these rows with it. */
void isola__durable_load(struct isola_actor *a, const struct isola_kept_rows *rows);
/* It leaves its realm. */
void isola__durable_end(struct isola_actor *a);
/* May the turn of this durable message begin? False: it is a duplicate, out of its order, or too
 * early, and was taken. */
ISOLA_MUST_USE bool isola__durable_begin(struct isola_actor *a, struct isola_mail *m);
/* Its turn has ended otherwise than by a crash. Borrows `m`, an ask with its answer's `args`. An
 * emit that was not `heard`, as there is no handler for it, is done as well, and its sender told.
 */
void isola__durable_done(struct isola_actor *a, const struct isola_mail *m, bool ok, bool heard,
                         struct isola_slice args);
/* Its turn has crashed the actor: `why` is for a person. Borrows `m`. */
void isola__durable_crashed(struct isola_actor *a, const struct isola_mail *m,
                            struct isola_slice why);
/* It cannot be delivered: its sender is told if that stays so, else it comes again. Takes it. */
ANY_THREAD void isola__durable_refuse(struct isola_host *h, struct isola_mail *m, int code,
                                      const char *why);
/* isola_host_post of what belongs to durable messages. Takes it. */
ANY_THREAD void isola__durable_post(struct isola_host *h, struct isola_mail *m);
/* The connection has ended: no program is reached by it. */
ANY_THREAD void isola__durable_drop_link(struct isola_host *h, uint64_t link);

/* Messages of programs have a sender that begins with this. */
static inline bool isola__is_program(struct isola_slice address)
{
    return address.len > 0 && address.data[0] == '~';
}

/* --- the outbox (outbox.c). ANY_THREAD --- */

struct isola_outbox {
    pthread_mutex_t lock; /* guards all */
    pthread_cond_t wake;
    pthread_t thread;
    bool open; /* messages may be sent: releases and places are known */
    struct isola_map senders;
    struct isola_heap due; /* pairs, ms of isola_clock_ms */
    size_t bytes;
    uint64_t seed, wakes;
    struct isola_mailq woken; /* answers for who gives up the lock to send */
};

struct isola_durables {
    atomic_ullong sent, resent, acknowledged, duplicates, gaps, given_up;
    /* How often messages that crashed their receiver have: "receiver\0sender" → struct crashed. */
    pthread_mutex_t lock; /* guards the next two */
    struct isola_map crashed;
    struct isola_map programs; /* "~…" → the connection it was heard from last */
    atomic_uint ncrashed;
};

ISOLA_MUST_USE int isola__outbox_open(struct isola_host *h, struct isola_err *err);
/* Room for a message that is to be written. EOVERLOAD. *congested: there is much already. */
ISOLA_MUST_USE int isola__outbox_reserve(struct isola_host *h, struct isola_slice sender,
                                         const struct isola_mail *m, bool *congested,
                                         struct isola_err *err);
/* `origin` is answered when there is room for many more: at once, if there is. Takes the origin. */
void isola__outbox_wait(struct isola_host *h, struct isola_slice sender,
                        struct isola_origin origin);
/* It was not written. */
void isola__outbox_unreserve(struct isola_host *h, const struct isola_mail *m);
/* It was: sends it until it is acknowledged. Takes it. */
void isola__outbox_add(struct isola_host *h, struct isola_mail *m);
/* An ACK, or a REPLY or FAIL, for a sender that lives here. Takes it. */
void isola__outbox_answered(struct isola_host *h, struct isola_mail *answer);
/* What a START of the outbox' own has ended with. Takes it. */
void isola__outbox_started(struct isola_host *h, struct isola_mail *answer);
/* The row's value of a message; in `out`. */
struct isola_slice isola__outbox_value(struct isola_buf *out, const struct isola_mail *m);
/* Places have changed. */
void isola__outbox_moved(struct isola_host *h);
size_t isola__outbox_waiting(struct isola_host *h);

#endif
