/* SPDX-License-Identifier: Apache-2.0
 *
 * Between outbox.c (what is sent when, and acknowledged), outbox_pairs.c (whose messages, for whom,
 * and their rows) and outbox_kept.c (what the store has of them). All with the outbox' lock held,
 * but where it says otherwise.
 */
#ifndef ISOLA_ACTORS_OUTBOX_H
#define ISOLA_ACTORS_OUTBOX_H

#include "actors/host_own.h"

#define ISOLA__WINDOW_FIRST    64
#define ISOLA__PAUSE_FIRST     200 /* ms */
#define ISOLA__PAUSE_MAX       10000
#define ISOLA__OUTBOX_OVERHEAD 200 /* bytes a message counts beside its values */
/* Who waits for room in the outbox of a sender waits until there are no more messages in it. */
#define ISOLA__OUTBOX_ROOM 500

struct isola__sender {
    char *text;
    size_t len;
    struct isola_map pairs;     /* receiver → struct isola__pair; "": it is woken (see due) */
    size_t count, bytes;        /* of its messages, also of those that are being written */
    uint64_t wake;              /* the id of the START under way */
    struct isola_mailq waiters; /* answers to those who wait for room */
};

struct isola__pair {
    struct isola_heap_node due;
    struct isola_host *host;
    struct isola__sender *sender; /* NULL: it is dropped, and goes when nobody uses it */
    char *text;                   /* the receiver */
    size_t len;
    /* In order. `before` of each: the number of the one before it here, or 0. */
    struct isola_mailq queue;
    struct isola_mail *next; /* the first that has not been sent since it went back, or NULL */
    unsigned flying;         /* those before it */
    unsigned window;
    uint64_t last;               /* the number of the last one that was put in */
    uint64_t ever;               /* that was ever sent */
    uint64_t acked;              /* all up to here are acknowledged, */
    uint64_t cleaned;            /* and their rows up to here gone, or on their way */
    unsigned uncleaned;          /* messages between the two, or more */
    uint64_t again_at, clean_at; /* ms; 0: not */
    unsigned pause;
    bool busy;     /* a thread sends */
    bool cleaning; /* a write is under way */
    bool fresh;    /* sent again because there is a way: as many as at first */
};

static inline struct isola_slice isola__sender_text(const struct isola__sender *s)
{
    return isola_slice(s->text, s->len);
}
static inline struct isola_slice isola__pair_text(const struct isola__pair *p)
{
    return isola_slice(p->text, p->len);
}
static inline size_t isola__outbox_cost(const struct isola_mail *m)
{
    return ISOLA__OUTBOX_OVERHEAD + m->event.len + m->args.len;
}

/* --- outbox_pairs.c --- */

/* NULL: it has nothing here. */
struct isola__sender *isola__sender_find(struct isola_outbox *o, struct isola_slice address);
/* Found or made. */
struct isola__sender *isola__sender_get(struct isola_outbox *o, struct isola_slice address);
/* Frees it if it is of no more use. */
void isola__sender_leave(struct isola_outbox *o, struct isola__sender *s);
struct isola__pair *isola__pair_get(struct isola_host *h, struct isola__sender *s,
                                    struct isola_slice receiver);
/* Frees it if it is of no more use. */
void isola__pair_leave(struct isola__pair *p);
void isola__pair_free(struct isola__pair *p);
/* Behind the others of its pair. Takes the mail. */
void isola__pair_put(struct isola__pair *p, struct isola_mail *m);
/* Its times have changed. */
void isola__pair_arm(struct isola__pair *p);
/* Has the rows of what is acknowledged removed. */
void isola__pair_clean(struct isola__pair *p);
/* `n` more are acknowledged, perhaps the least of those that were not. */
void isola__pair_acked(struct isola__pair *p, unsigned n);
/* A message of so many bytes comes, or goes. */
void isola__outbox_account(struct isola_outbox *o, struct isola__sender *s, bool in, size_t bytes);
/* Between three and five quarters of `ms`, so that not all come at the same time. */
uint64_t isola__outbox_jittered(struct isola_outbox *o, uint64_t ms);
/* Gives up the lock, and tells who has waited for room that there is some. */
void isola__outbox_leave(struct isola_host *h);

/* --- outbox_kept.c --- */

/* Has it started where it lives. */
void isola__outbox_wake(struct isola_host *h, struct isola_slice address);

#endif
