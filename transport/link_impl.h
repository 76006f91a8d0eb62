/* SPDX-License-Identifier: Apache-2.0
 *
 * Between link.c (the life of a link, its queues, its callbacks to the user), link_send.c (what
 * leaves) and the backends link_uv.c and link_nng.c (moving bytes).
 *
 *     CONNECTING ──▶ SHAKING ──up──▶ UP ──close──▶ CLOSING (flush, goodbye, wait for the peer's
 * end) └─────────────┴───────────┴── failure, end of the peer, a second is over ──┴──▶ ENDING ──▶
 * down, freed
 *
 * Threads. The life of a link is the loop's. What leaves has a lock: any thread may put frames, and
 * who finds nobody writing writes (`writing` is a property with one owner: a thread, or an
 * operation of the backend's that is under way, whose end passes it on). What arrives is seen to by
 * one thread at a time: the loop, or, where the link is direct and up, that on which the backend
 * reports it.
 *
 * Invariants: CONNECTING with close asked for lasts only while something is queued. In ENDING
 * nothing is delivered and nothing is sent. `down` and the end of the link happen in the last
 * handle's close callback, so never inside a call of the user's; the memory goes with the last
 * reference. The lock is not held across a call of the user's, or of the backend's but for `wake`:
 * after `writing` was given up the link may be gone.
 */
#ifndef ISOLA_TRANSPORT_LINK_IMPL_H
#define ISOLA_TRANSPORT_LINK_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "transport/heads.h"
#include "transport/inflow.h"
#include "transport/link.h"
#include "transport/outflow.h"
#include "transport/silence.h"
#include "transport/url.h"

/* How long a close may take to flush and to see the peer's end. */
#define ISOLA__LINK_LINGER_MS 1000
/* How long a peer may take to say who it is. */
#define ISOLA__LINK_SHAKE_MS 3000

enum isola__link_state {
    ISOLA__LINK_CONNECTING,
    ISOLA__LINK_SHAKING,
    ISOLA__LINK_UP,
    ISOLA__LINK_CLOSING,
    ISOLA__LINK_ENDING,
};

struct isola__backend {
    /* Loop. Begins to read: bytes go to isola__inflow_room, then isola__link_arrived; the end to
     * isola__link_ended. Once. */
    void (*read)(struct isola_link *link);
    /* By the owner of `writing`. Writes what goes at once and returns how much: less than `n` only
     * when 0, and then all of it is under way and isola__link_written follows, from any thread.
     * Negative: writing failed for good, `why` says how. */
    ssize_t (*write)(struct isola_link *link, const uint8_t *data, size_t n, const char **why);
    /* As isola_link_poll and isola_link_rest. NULL: it cannot be polled. */
    int (*poll)(struct isola_link *link, bool take);
    void (*rest)(struct isola_link *link);
    /* Loop. All is written: tells the peer that nothing follows. Once. NULL: a goodbye is an item.
     */
    void (*goodbye)(struct isola_link *link);
    /* Any thread, with the lock or without. Has the loop call isola__link_attend soon. */
    void (*wake)(struct isola_link *link);
    /* Loop. Stops everything, and when nothing is under way any more and `writing` is over,
     * isola__link_stopped, later. Once. */
    void (*stop)(struct isola_link *link);
    /* By whoever gives back the last reference, just before the memory is freed. NULL: nothing. */
    void (*release)(struct isola_link *link);
};

struct isola_link {
    uv_loop_t *loop;
    pthread_t owner; /* the loop's thread */
    const struct isola__backend *backend;
    struct isola_link_ops ops;
    void *arg;
    atomic_uint refs;
    _Atomic(enum isola__link_state) state; /* changed by the loop, with the lock */
    atomic_uint wire;                      /* the version of envelopes we send */
    bool close_asked;
    bool accepted;      /* ops are set */
    bool knows_peer;    /* peer_key: who must answer */
    bool direct;        /* frames are delivered on the thread they arrive on */
    bool stream;        /* leaves the machine, or could: it is kept alive */
    int socket;         /* set by the backend before it is up; closed with the memory; or -1 */
    bool deaf;          /* of who sees to what arrives: it has said that the link is to end */
    atomic_bool cuts;   /* the peer takes large frames in parts: once, and for all */
    atomic_bool much;   /* waits; changed with the lock */
    int handles;        /* still to be closed */
    unsigned linger_ms; /* ISOLA__LINK_LINGER_MS, but for tests */
    int shake_ms;       /* left for the peer to say who it is */
    int code;           /* for down */
    char why[400];
    char peer[ISOLA__URL_SIZE];
    const struct isola_link_security *security; /* until it is known who the peer is */
    uint8_t peer_key[ISOLA_KEY_SIZE];
    struct isola_identity who;
    struct isola__secure *secure;
    struct isola_listener *listener; /* of a stranger's link */
    struct isola_link *next_stranger, **stranger_at;
    struct isola__inflow in;
    struct isola__heads_in heads_in;
    const struct isola_msg *head; /* of the frame that is being delivered, which is its args */
    atomic_ullong frames_in, bytes_in, heard_ns, rtt_ns;
    uint64_t pinged_ns;
    struct isola__silence silence;
    uv_idle_t flush;   /* runs while something was sent that no write has taken */
    uv_timer_t linger; /* bounds a close, and a broken link that does not end */
    uv_timer_t beat;   /* of a stream: is the peer there? */

    pthread_mutex_t lock; /* of all that follows */
    bool writing;         /* has an owner */
    bool broken;          /* a write failed: what is still queued never leaves */
    bool said_goodbye;
    bool overloaded; /* a send was refused, or told to wait; `drained` is owed */
    bool attend;     /* the loop has been told of room while the writing goes on */
    bool over;       /* seen by another thread than the loop: it is to end, with ended_… */
    int ended_code;
    char ended_why[400];
    unsigned pongs; /* were put since control last left */
    struct isola__outflow out;
    struct isola__heads_out heads_out;
    uint64_t frames_out, bytes_out, refused, up_ms;
    struct isola_buf said; /* of the handshake, not begun to be written */

    struct isola__fill fill; /* what is being written: of the owner of `writing` */
    size_t written;
};

/* Makes `link` (zeroed, the first member of the backend's own struct, from malloc) ready to start,
 * in state CONNECTING. From now on it ends by isola__link_ended only. */
void isola__link_init(struct isola_link *link, uv_loop_t *loop,
                      const struct isola__backend *backend);

static inline bool isola__link_on_loop(const struct isola_link *link)
{
    return pthread_equal(link->owner, pthread_self()) != 0;
}
static inline enum isola__link_state isola__link_state(const struct isola_link *link)
{
    return atomic_load_explicit(&link->state, memory_order_acquire);
}

/* Is `drained` due? With the lock. */
static inline bool isola__link_has_room(const struct isola_link *link)
{
    return link->overloaded && link->out.bytes < ISOLA_LINK_CROWDED / 2;
}

/* What backends report. Each may end the link, none frees it at once. */
void isola__link_up(struct isola_link *link);
/* By whom arrivals are seen to. False: nothing more is to be read. */
bool isola__link_arrived(struct isola_link *link, size_t n);
/* The write that did not go at once is over: `n` bytes left. `why` NULL, or it failed for good. Any
 * thread; it has become the owner of `writing`. */
void isola__link_written(struct isola_link *link, size_t n, const char *why);
/* Nothing more will arrive: ISOLA_ECLOSED (the peer's end), or why. */
void isola__link_ended(struct isola_link *link, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Loop: what other threads have left to it. */
void isola__link_attend(struct isola_link *link);
void isola__link_stopped(struct isola_link *link);

/* Its peer is spoken to in this version from now on. Any thread. */
void isola__link_speaks(struct isola_link *link, unsigned version);
void isola__link_set_state(struct isola_link *link, enum isola__link_state state);
/* The peer is known: `up`, or it is offered to the listener's user, and it goes on. */
void isola__link_established(struct isola_link *link, struct isola_listener *listener);
/* Loop. Pumps and attends, after all that this turn of the loop still does. */
void isola__link_soon(struct isola_link *link);
/* Answers a ping, unless many answers wait already. */
void isola__link_pong(struct isola_link *link, struct isola_slice stamp);

/* --- link_secure.c --- */

/* Connected: the handshake begins. */
void isola__link_shake(struct isola_link *link);
/* Something has arrived while SHAKING. True: the peer is known, and what is left are records. */
bool isola__link_shaken(struct isola_link *link);
/* The link ends: if it was a stranger's, its listener is told. */
void isola__link_left(struct isola_link *link);
/* A connection of `peer` ends before anybody was given it: counts it, and logs `why`, unless NULL
 * or too much is logged. */
void isola__listener_turned_away(struct isola_listener *listener, const char *peer,
                                 const char *why);
/* The listener closes: its strangers go. */
void isola__listener_leave(struct isola_listener *listener);

/* --- link_send.c --- */

/* By the owner of `writing`, with the lock, which it drops: writes what there is to be written. */
void isola__link_run(struct isola_link *link);

/* Writes what waits, if nobody does. Any thread. */
void isola__link_pump(struct isola_link *link);
/* Puts an item that is no frame. */
void isola__link_item(struct isola_link *link, int kind, const void *data, size_t len);
/* Encrypts what link->fill holds, to where it is written from. 0, or -1 and why. */
ssize_t isola__link_seal(struct isola_link *link, const char **why);
/* Is a write under way? */
bool isola__link_writing(struct isola_link *link);

/* The backends' ways in. As isola_link_dial and isola_listener_open, on a parsed url; `ops` and
 * `arg` are link.c's to set. */
ISOLA_MUST_USE int isola__uv_dial(uv_loop_t *loop, const struct isola__url *url,
                                  struct isola_link **out, struct isola_err *err);
/* As isola_link_open_fd, but that the link is CONNECTING still. */
ISOLA_MUST_USE int isola__uv_open_fd(uv_loop_t *loop, int fd, struct isola_link **out,
                                     struct isola_err *err);
ISOLA_MUST_USE int isola__nng_dial(uv_loop_t *loop, const struct isola__url *url,
                                   struct isola_link **out, struct isola_err *err);

/* A listener: link.c owns the struct's public part, the backend the rest. */
struct isola_listener {
    uv_loop_t *loop;
    struct isola_listener_ops ops;
    void *arg;
    char url[ISOLA__URL_SIZE];
    bool closing;
    const struct isola_link_security *security;
    struct isola_link *strangers;
    int shake_ms; /* that they have: ISOLA__LINK_SHAKE_MS, but for tests */
    struct isola_listener_stats stats;
    uint64_t told_ms; /* when a line about refusals was logged first in this second */
    unsigned told, untold;
    void (*close)(struct isola_listener *listener); /* stops, and frees later from the loop */
};
ISOLA_MUST_USE int isola__uv_listen(uv_loop_t *loop, const struct isola__url *url,
                                    struct isola_listener **out, struct isola_err *err);
/* Sets url->port to the real one. */
ISOLA_MUST_USE int isola__nng_listen(uv_loop_t *loop, struct isola__url *url,
                                     struct isola_listener **out, struct isola_err *err);
/* A connected link, in state CONNECTING: offers it to the user, and starts or closes it. */
void isola__listener_offer(struct isola_listener *listener, struct isola_link *link);

#endif
