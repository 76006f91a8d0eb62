/* SPDX-License-Identifier: Apache-2.0
 *
 * Between link.c (the life of a link, its queues, its callbacks to the user) and the backends
 * link_uv.c and link_nng.c (moving bytes). All of it on the loop's thread.
 *
 *     CONNECTING ──up──▶ UP ──close──▶ CLOSING (flush, goodbye, wait for the peer's end) ──▶ ENDING
 * ──▶ down, freed └───────────────┴── failure, end of the peer, a second is over
 * ──────────────────────┘
 *
 * Invariants: CONNECTING with close asked for lasts only while something is queued. In ENDING
 * nothing is delivered and nothing is sent. `down` and the freeing happen in the last handle's
 * close callback, so never inside a call of the user's.
 */
#ifndef ISOLA_TRANSPORT_LINK_IMPL_H
#define ISOLA_TRANSPORT_LINK_IMPL_H

#include <stdbool.h>

#include "transport/frames.h"
#include "transport/link.h"
#include "transport/url.h"

/* How long a close may take to flush and to see the peer's end. */
#define ISOLA__LINK_LINGER_MS 1000

enum isola__link_state {
    ISOLA__LINK_CONNECTING,
    ISOLA__LINK_UP,
    ISOLA__LINK_CLOSING,
    ISOLA__LINK_ENDING,
};

struct isola__backend {
    /* Begins to read: bytes go to isola__frames_room, then isola__link_arrived; the end to
     * isola__link_ended. Once. */
    void (*read)(struct isola_link *link);
    /* Writes what is queued, as much as goes: isola__link_wrote for what went at once, then, unless
     * that was all, sets `writing` until isola__link_written. Called only when up, with something
     * queued and not `writing`. Never calls the user. */
    void (*write)(struct isola_link *link);
    /* All is written: tells the peer that nothing follows. Once. Never calls the user. */
    void (*goodbye)(struct isola_link *link);
    /* Stops everything, then isola__link_stopped, later, from the loop. Once. */
    void (*stop)(struct isola_link *link);
};

struct isola_link {
    uv_loop_t *loop;
    const struct isola__backend *backend;
    struct isola_link_ops ops;
    void *arg;
    enum isola__link_state state;
    bool close_asked;
    bool accepted; /* ops are set */
    bool writing;  /* a write is under way */
    bool broken;   /* a write failed: what is still queued never leaves */
    bool said_goodbye;
    bool overloaded; /* a send was refused; `drained` is owed */
    int handles;     /* still to be closed */
    int code;        /* for down */
    char why[400];
    char peer[ISOLA__URL_SIZE];
    struct isola__frames_in in;
    struct isola__frames_out out;
    struct isola_link_stats stats;
    uv_idle_t flush;   /* runs while something was sent that no write has taken */
    uv_timer_t linger; /* bounds a close, and a broken link that does not end */
};

/* Makes `link` (zeroed, the first member of the backend's own struct, from malloc) ready to start,
 * in state CONNECTING. From now on it ends by isola__link_ended only. */
void isola__link_init(struct isola_link *link, uv_loop_t *loop,
                      const struct isola__backend *backend);

/* What backends report. Each may end the link, none frees it at once. */
void isola__link_up(struct isola_link *link);
void isola__link_arrived(struct isola_link *link, size_t n);
/* `n` bytes of the queue left. Never calls the user. */
void isola__link_wrote(struct isola_link *link, size_t n);
/* Writing failed for good. What has arrived from the peer is still read until its end. Never calls
 * the user. */
void isola__link_broke(struct isola_link *link, const char *why);
/* The write that set `writing` is over: `n` bytes left. `why` NULL, or it failed for good. */
void isola__link_written(struct isola_link *link, size_t n, const char *why);
/* Nothing more will arrive: ISOLA_ECLOSED (the peer's end), or why. */
void isola__link_ended(struct isola_link *link, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void isola__link_stopped(struct isola_link *link);

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
