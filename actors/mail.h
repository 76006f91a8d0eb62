/* SPDX-License-Identifier: Apache-2.0
 *
 * A message inside the actor-host, with the place its answer goes to.
 *
 * One allocation holds the struct and all bytes. A mail has one owner at a time: a queue, a turn,
 * an effect behind the output gate, or a connection.
 */
#ifndef ISOLA_ACTORS_MAIL_H
#define ISOLA_ACTORS_MAIL_H

#include "base/block.h"
#include "base/msg.h"
#include "base/queue.h"

struct isola_realm;
struct isola_actor;
struct isola_timer;

/* Who waits for the answer: an ask of a script (`realm`, of which this is a counted reference), a
 * connection (`link`), or nobody. */
struct isola_origin {
    struct isola_realm *realm;
    uint64_t link; /* the owner's number for a connection; 0: none */
    uint64_t id;   /* what the asker calls the ask or subscription */
};

/* origin.link of what the host itself asks; no connection has it. */
#define ISOLA_HOST_LINK (UINT64_MAX - 2)

/* Kinds beside those of enum isola_msg_kind, never on a wire. */
enum {
    ISOLA_MAIL_PUBLISH = 100, /* src: the actor; to be fanned out to its subscribers */
    ISOLA_MAIL_UPGRADE,       /* end the activation after its turn: there is a newer release */
    ISOLA_MAIL_HIBERNATE,     /* end the activation if it is idle */
    ISOLA_MAIL_DRAIN,         /* fail what waits: the host is going down */
    ISOLA_MAIL_IO_START,      /* to ops->io of host.h, which has these five */
    ISOLA_MAIL_IO_MORE,
    ISOLA_MAIL_IO_CANCEL,
    ISOLA_MAIL_IO_EVENT, /* back from it */
    ISOLA_MAIL_IO_END,
    ISOLA_MAIL_MONITORED, /* the SUB of a monitor: to be told if the actor has failed */
    ISOLA_MAIL_PACE,      /* its origin is to be told when dst is not crowded (pace.c); without
                              one, when src has room in the outbox */
    ISOLA_MAIL_FIRE,      /* timers of the actor are due */
    ISOLA_MAIL_NUDGE,     /* the actor has come to this realm with work to do */
    ISOLA_MAIL_STORED,    /* what a script reads of its storage (storage.c): of the actor whose
                             serial is timeout_ms, `deadline` rows in args; event: why not */
    /* Part of something else, and not counted as mail of the actor's: */
    ISOLA_MAIL_READ,      /* in a struct isola_read */
    ISOLA_MAIL_COMMITTED, /* in a struct isola_commit */
};

/* In the order in which a message's way needs it: two cache lines, and in the third its values. */
struct isola_mail {
    struct isola_mail *next;
    struct isola_actor *actor; /* the receiver once it is known: its mailbox counts this mail, so it
                                  stays */
    struct isola_actor *counted; /* whose mail_bytes it is in, while it is this one's */
    uint8_t kind;                /* enum isola_msg_kind, or one of the above */
    bool pooled;                 /* its memory goes back to a list (mail.c) */
    bool passed_on;              /* came from another actor-host */
    bool durable : 1;            /* it is, or speaks of, a durable message: dst is its own */
    bool fired : 1;              /* durable, and of a timer of its receiver's own (schedule.c) */
    bool hidden : 1;             /* `event` is none of a script's: it begins with \1 */
    bool traced : 1;             /* it has a trace context: isola_mail_trace */
    bool final : 1;      /* has been sent on by one where its receiver was not: no further */
    bool around : 1;     /* its args lie in memory of which it has the address (mail.c) */
    bool shared : 1;     /* that is a block, and this the address of its reference */
    uint32_t timeout_ms; /* EMIT: not 0: a PACE is to say that it has come (pace.c) */
    uint64_t
        deadline; /* ASK: nobody waits for the answer after it; ms of isola_clock_ms; 0: none */
    struct isola_origin origin;
    /* Into the mail itself. dst: empty while it is `actor`'s (isola_mail_dst). */
    struct isola_slice args, event, chain, src;
    struct isola_slice dst;
    union {
        struct {
            uint32_t ref;       /* the receiver's number in a table of refs (refs.c), or 0 */
            uint64_t ref_table; /* its id */
        };
        struct {             /* durable: */
            uint64_t seq;    /* its number, or of what it speaks of; 0: it has none yet */
            uint64_t before; /* of the one of its pair before it that is not acknowledged; or 0 */
        };
        struct {                       /* fired: */
            struct isola_timer *timer; /* the receiver's, while the turn runs */
            uint64_t again;            /* when it comes next, ms since 1970; 0: not at all */
        };
    };
};

/* Copies all slices. NULL when there is no memory. Free with isola_mail_free. */
ANY_THREAD struct isola_mail *isola_mail_new(int kind, struct isola_slice src,
                                             struct isola_slice dst, struct isola_slice event,
                                             struct isola_slice chain, struct isola_slice args);
/* The same with a trace context: ISOLA_TRACE_SIZE bytes, which are copied too, or empty. */
ANY_THREAD struct isola_mail *isola_mail_new_in(struct isola_slice trace, int kind,
                                                struct isola_slice src, struct isola_slice dst,
                                                struct isola_slice event, struct isola_slice chain,
                                                struct isola_slice args);
/* It lies where the mail's own bytes begin; empty when there is none. */
static inline struct isola_slice isola_mail_trace(const struct isola_mail *m)
{
    return m->traced ? isola_slice(m + 1, ISOLA_TRACE_SIZE) : (struct isola_slice){0};
}
/* Copies nothing but the trace context: all other slices lie in `memory`, which it takes, to be
 * freed with free(). NULL when there is no memory; then `memory` is freed too. */
ANY_THREAD struct isola_mail *isola_mail_around(void *memory, struct isola_slice trace, int kind,
                                                struct isola_slice src, struct isola_slice dst,
                                                struct isola_slice event, struct isola_slice chain,
                                                struct isola_slice args);
/* The memory that the args of a mail lie in, if it is the mail's alone and not its own bytes; NULL:
 * it is not. */
ANY_THREAD void *isola_mail_memory(const struct isola_mail *m);
/* The same as a block that others may share from now on, while nothing in it is changed; the mail
 * has a reference. NULL: its args lie in its own bytes, or there is no memory. */
ANY_THREAD struct isola_block *isola_mail_share(struct isola_mail *m);
/* In a mail that is not to be freed, and has ISOLA_MAIL_OWN bytes behind it: its args lie there. */
ANY_THREAD void isola_mail_lend_memory(struct isola_mail *m, void *memory);
#define ISOLA_MAIL_OWN (ISOLA_TRACE_SIZE + sizeof(void *))
/* That is somebody else's from now on, with all that lay in it. */
ANY_THREAD void isola_mail_lost_memory(struct isola_mail *m);
/* A copy that holds all of `m` and `dst` in its own bytes, and has its origin, which `m` has no
 * more. NULL when there is no memory; then it has it still. */
ANY_THREAD struct isola_mail *isola_mail_copy(struct isola_mail *m, struct isola_slice dst);
/* A copy that holds `dst` in its own bytes; takes the mail, whose dst may have been borrowed. NULL
 * when there is no memory. */
ANY_THREAD struct isola_mail *isola_mail_readdress(struct isola_mail *m, struct isola_slice dst);
/* Makes an ask its own answer, where there is room for it; NULL: there is not. Keeps the origin. */
ANY_THREAD struct isola_mail *isola_mail_turn_round(struct isola_mail *ask, bool ok,
                                                    struct isola_slice args);
/* An answer to `origin`, whose realm reference it takes over. */
ANY_THREAD struct isola_mail *isola_mail_answer(struct isola_origin origin, bool ok,
                                                struct isola_slice args);
/* The same. `args` lie in `*memory`, which it takes, to be freed with free(): it is NULL then; or
 * `memory` is NULL or has NULL. */
ANY_THREAD struct isola_mail *isola_mail_answer_in(void **memory, struct isola_origin origin,
                                                   bool ok, struct isola_slice args);
ANY_THREAD struct isola_mail *isola_mail_failure(struct isola_origin origin, int code,
                                                 const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Who waits for the answer; the mail has it no more, and the caller its reference. */
ANY_THREAD struct isola_origin isola_mail_take_origin(struct isola_mail *m);
/* Gives the reference of an origin back that no mail has. */
ANY_THREAD void isola_origin_drop(struct isola_origin origin);
/* Takes it out of its receiver's mail_bytes. */
ANY_THREAD void isola__mail_uncount(struct isola_mail *m);
/* Whom it is for: valid as long as the mail, or while its receiver is. */
ANY_THREAD struct isola_slice isola_mail_dst(const struct isola_mail *m);
/* Drops its references too. NULL is allowed. */
ANY_THREAD void isola_mail_free(struct isola_mail *m);

ISOLA_QUEUE(isola_mailq, isola_mail)
/* Moves all of `from` to the end of `to`. */
static inline void isola_mailq_join(struct isola_mailq *to, struct isola_mailq *from)
{
    if (from->head == NULL)
        return;
    if (to->head == NULL)
        to->head = from->head;
    else
        *to->tail = from->head;
    to->tail = from->tail;
    to->count += from->count;
    *from = (struct isola_mailq){0};
}

#endif
