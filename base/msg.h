/* SPDX-License-Identifier: Apache-2.0
 *
 * A message in memory, as it waits in mailboxes and goes between threads. transport/envelope.h has
 * its form on the wire.
 *
 * One allocation holds the struct and all its bytes. A message has one owner at a time.
 */
#ifndef ISOLA_BASE_MSG_H
#define ISOLA_BASE_MSG_H

#include "base/buf.h"
#include "base/error.h"
#include "base/queue.h"

ISOLA_BEGIN_C

/* The numbers are the wire format. */
enum isola_msg_kind {
    ISOLA_MSG_ASK = 1, /* wants a REPLY or FAIL with the same id; dst "" asks the peer itself: event
                          is the method */
    ISOLA_MSG_EMIT = 2,  /* one way; dst "" tells the peer itself */
    ISOLA_MSG_REPLY = 3, /* args: [value] */
    ISOLA_MSG_FAIL = 4,  /* args: [Error value] */
    ISOLA_MSG_SUB = 5,   /* dst, event: send EVENTs with this id from now on */
    ISOLA_MSG_UNSUB = 6, /* dst, event, id of the SUB */
    ISOLA_MSG_EVENT = 7, /* src: who emitted; event, args; id of the SUB */
    ISOLA_MSG_STOP =
        8, /* an ask: end the activation of dst after its turn; REPLY [true when there was one] */
    ISOLA_MSG_START = 9,   /* an ask: activate dst if it is not; REPLY [true] when it is */
    ISOLA_MSG_CANCEL = 10, /* nobody waits any more for the answer to the ask with this id; dst is
                              that of the ask */
    ISOLA_MSG_ACK = 11,    /* src has received the durable message `seq` of dst for good, and all of
                              dst's before it */
    ISOLA_MSG_PACE = 12,   /* of the mailbox of src; id: ISOLA_PACE_… */
};
#define ISOLA_MSG_LAST ISOLA_MSG_PACE

/* What a PACE says; the numbers are the wire format. */
#define ISOLA_PACE_ROOM    0u /* senders may go on */
#define ISOLA_PACE_CROWDED 1u /* senders should wait for one with room */
#define ISOLA_PACE_ASKED   2u /* and an emit that asked for this has come */
/* From this bit on: so many such emits may be on the way to it from now on; 0: as before. */
#define ISOLA_PACE_WINDOW 8

/* Flags; the numbers are the wire format. */
#define ISOLA_MSG_DURABLE                                                                          \
    1u /* an ASK or EMIT that is sent until there is an ACK: `seq` is not 0                        \
        */
#define ISOLA_MSG_PASSED_ON 2u /* another node has sent it on: it goes no further */
#define ISOLA_MSG_TELL      4u /* an EMIT: a PACE is to say that it has come */
#define ISOLA_MSG_FLAGS     7u

/* Does a REPLY or FAIL follow? */
static inline bool isola_msg_is_ask(int kind)
{
    return kind == ISOLA_MSG_ASK || kind == ISOLA_MSG_STOP || kind == ISOLA_MSG_START;
}

/* Trace id (16 bytes), id of the span that sent it (8), flags (1):
 * https://www.w3.org/TR/trace-context/
 */
#define ISOLA_TRACE_SIZE 25
/* Is it that, with neither id all zeros? */
ANY_THREAD bool isola_is_trace(struct isola_slice bytes);

struct isola_msg {
    struct isola_msg *next; /* the owner's, for queues */
    void *context;          /* the owner's */
    uint32_t order; /* of an answer: whose it is, for the order of what leaves; 0: no one's */
    uint32_t head;  /* of what has come: what its link knows its src, dst and event by, the same
                       for no others; 0: by nothing */
    bool bulk;      /* an EMIT to the peer itself that gives way to whatever else is to be sent */
    enum isola_msg_kind kind;
    uint32_t
        timeout_ms; /* how long the asker waits from when the message was sent; 0: no limit known */
    uint64_t id;    /* correlation, chosen by the asker and unique on that connection; 0: none */
    uint64_t seq;   /* durable messages of one sender to one receiver count from 1; 0: it is not */
    uint32_t flags; /* ISOLA_MSG_DURABLE … */
    struct isola_slice src;   /* address of the sender, or "" */
    struct isola_slice dst;   /* address "app/Type/key", or "" for the peer itself */
    struct isola_slice event; /* event or method name */
    struct isola_slice trace; /* W3C trace context: ISOLA_TRACE_SIZE bytes, or empty */
    struct isola_slice chain; /* msgpack array of the addresses that wait on this call, or empty */
    struct isola_slice args;  /* msgpack array */
};

/* The event that who monitors an address subscribes to. Its one value: {address, reason, message}.
 */
#define ISOLA_DOWN "\1down"

/* Before the args of a large message that are in memory of their own: room for the rest of it, as a
 * rule. */
#define ISOLA_MSG_BEFORE 1024

/* A copy of all of `from`'s fields and bytes (`next`, `context` are NULL), or NULL when there is no
 * memory. Free with free(). */
ANY_THREAD struct isola_msg *isola_msg_copy(const struct isola_msg *from);
/* A REPLY or FAIL to `id`; copies. `value` is one whole msgpack value (empty: nil). NULL when there
 * is no memory. */
ANY_THREAD struct isola_msg *isola_msg_reply(uint64_t id, struct isola_slice value);
ANY_THREAD struct isola_msg *isola_msg_fail(uint64_t id, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* An address "app/Type/key" taken apart. Slices of the input. The key may hold anything but NUL,
 * also "/". */
struct isola_address {
    struct isola_slice app, type, key;
};
#define ISOLA_ADDRESS_MAX 512
/* ISOLA_EINVAL with a sentence when it is not an address: empty parts, over ISOLA_ADDRESS_MAX
 * bytes, control characters, or app and type not of [A-Za-z0-9_-]. */
ANY_THREAD ISOLA_MUST_USE int isola_address_parse(struct isola_slice text,
                                                  struct isola_address *out, struct isola_err *err);

/* Is it what a program that sends durable messages calls itself: `~` and 22 characters of
 * base64url? */
ANY_THREAD bool isola_is_program(struct isola_slice name);

ISOLA_QUEUE(isola_msgq, isola_msg)
ANY_THREAD void isola_msgq_clear(struct isola_msgq *q);

ISOLA_END_C

#endif
