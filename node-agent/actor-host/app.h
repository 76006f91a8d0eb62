/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the actor-host's composition root share. All of it belongs to the main loop's
 * thread, but for the outbox, which has a lock, and the map of places, which is atomic.
 */
#ifndef ISOLA_ACTOR_HOST_APP_H
#define ISOLA_ACTOR_HOST_APP_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "actors/host.h"
#include "base/heap.h"
#include "base/map.h"
#include "scheduler/place.h"
#include "store/state.h"
#include "transport/link.h"

struct app;
struct isola_outside;
struct preparer;

/* --- options.c --- */

struct options {
    const char *node; /* name */
    const char *data; /* directory, made and locked by the agent */
    unsigned threads;
    unsigned long long memory; /* bytes; 0: no bound */
};
int options_parse(int argc, char **argv, struct options *out, struct isola_err *err);

/* --- outbox.c: what other threads hand to the loop --- */

struct parcel {
    struct parcel *next;
    void (*run)(struct app *app, struct parcel *parcel); /* on the loop; owns the parcel */
};
struct outbox {
    pthread_mutex_t lock;
    struct parcel *head, **tail;
    uv_async_t async;
};
int outbox_open(struct app *app, struct isola_err *err);
ANY_THREAD void outbox_put(struct app *app, struct parcel *parcel);

/* --- asks_out.c: asks and subscriptions this host has at another --- */

/* An ask on its way to a peer. */
struct ask_out {
    struct isola_heap_node due;
    uint64_t id; /* on the wire */
    struct isola_origin origin;
};
struct asks_out {
    struct isola_map by_id, by_origin;
    struct isola_heap due;
};
/* Notes an ask and returns the id it has on the wire. Takes the origin. */
uint64_t asks_out_add(struct app *app, struct asks_out *asks, struct isola_origin origin,
                      uint32_t timeout_ms);
/* Takes the ask with this id out; false when there is none. The origin is the caller's. */
bool asks_out_take(struct asks_out *asks, uint64_t id, struct isola_origin *out);
/* The id on the wire of the ask of this origin, which is forgotten; 0: there is none. */
uint64_t asks_out_cancel(struct asks_out *asks, struct isola_origin origin);
/* Fails all, or those that are due. */
void asks_out_fail_all(struct app *app, struct asks_out *asks, int code, const char *why);
void asks_out_expire(struct app *app, struct asks_out *asks, uint64_t now);

/* A subscription at a peer: of an actor here, or of a connection. */
struct sub_out {
    struct sub_out *next;
    uint64_t id;             /* on the wire */
    int node;                /* the peer it was last sent to, or 0 */
    struct isola_mail *mail; /* the SUB: src is the subscriber, dst and event what it hears */
};

/* --- peers.c --- */

/* Another node's actor-host. Once known, a peer keeps its number for the life of the process. */
struct peer {
    struct app *app;
    int number; /* > 0 */
    char *name;
    char *url;               /* NULL while its actor-host is not there */
    bool live;               /* in the view */
    struct isola_link *link; /* ours to it, dialled when first needed */
    bool up;
    uint64_t dial_at; /* not before, after a failure */
    unsigned failures;
    struct asks_out asks;
    struct isola_mailq waiting; /* for the peer's actor-host to come back */
};

/* A connection some peer has dialled to us, or the agent's. */
struct conn {
    struct app *app;
    struct isola_link *link;
    uint64_t number; /* origin.link */
};

int peers_listen(struct app *app, struct isola_err *err);
void peers_view(struct app *app, struct isola_slice params);
int peers_locate(void *arg, struct isola_slice address);
void peers_forward(void *arg, int node, struct isola_mail *mail);
/* A connection has ended: so have its subscriptions that were passed on to peers. */
void peers_drop_conn(struct app *app, uint64_t conn);

/* Sends a mail to a peer, or fails it. Takes it. */
void peer_send(struct peer *p, struct isola_mail *mail);

/* --- claims.c: where the state of an actor that has moved is, and how it follows --- */

/* origin.link of what claims.c itself asks. */
#define CLAIM_LINK UINT64_MAX
#define GIVE_LINK  (UINT64_MAX - 1)

int claims_open(struct app *app, struct isola_err *err);
ANY_THREAD void claims_read(void *arg, struct isola_state_io *io);
ANY_THREAD bool claims_absent(void *arg, struct isola_slice address);
/* A peer asks for the state of an address. */
void claims_asked(struct conn *conn, const struct isola_msg *m);
/* The answer to a mail of ours with one of the links above. Takes it. */
void claims_answered(struct app *app, struct isola_mail *mail);
/* The view has changed: claims that wait for it are tried again. */
void claims_view(struct app *app);

/* --- outside.c: what scripts have done by the JavaScript of the main thread --- */

struct io_parcel {
    struct parcel parcel;
    struct isola_mail *mail;
};
ANY_THREAD void outside_io(void *arg, struct isola_mail *mail);

/* --- prepare.c: modules are prepared --- */

void prepare_open(struct app *app);
ANY_THREAD void prepare_wish(void *arg, struct isola_prepare *req);

/* --- blame.c: who was running when the process had to end --- */

/* In the data directory: a line per end, "TIME ADDRESS\tWHY". */
#define BLAME_FILE "blame"
/* Exit status when a script could not be stopped. */
#define BLAME_EXIT 70
void blame_open(struct app *app);
/* Says who ended the process before this one, and puts into quarantine who has done so repeatedly.
 */
void blame_read(struct app *app);
void blame_lifted(void *arg, struct isola_slice address);
void blame_stuck(void *arg, struct isola_slice address, const char *why);

/* --- agent_link.c --- */

int agent_link_open(struct app *app, struct isola_err *err);
void agent_link_log(void *arg, enum isola_log_level level, struct isola_slice address,
                    struct isola_slice text);
void agent_link_answer(void *arg, struct isola_mail *mail);
void agent_link_drained(void *arg);
/* Answers an ask of the agent's. */
void agent_link_reply(struct app *app, uint64_t id, struct isola_slice value);
void agent_link_fail(struct app *app, uint64_t id, int code, const char *why);

/* --- letters.c: dead letters, for who asks --- */

struct question;
struct letters {
    struct question *first;
    unsigned waiting;
    uv_timer_t timer;
};
int letters_open(struct app *app, struct isola_err *err);
void letters_asked(struct app *app, const struct isola_msg *m, struct isola_slice params);
ANY_THREAD void letters_new(void *arg);

/* --- inspect.c: profiles and heap snapshots --- */

void inspect_asked(struct app *app, uint64_t asked, struct isola_slice params);
void inspect_read(struct app *app, uint64_t asked, struct isola_slice params);

/* --- main.c --- */

struct app {
    uv_loop_t *loop;
    struct options options;
    struct isola_state *state;
    struct isola_host *host;
    struct outbox outbox;
    struct isola_link *agent;
    struct conn agent_conn;
    uint64_t shutdown_id; /* of the agent's `shutdown`, to be answered when drained */
    struct isola_listener *listener;
    struct isola_map conns; /* number (8 bytes) → struct conn */
    uint64_t next_conn, next_wire_id;
    _Atomic uint16_t places[ISOLA_SHARDS]; /* peer number, 0: here; written by the loop */
    uint16_t lost[ISOLA_SHARDS]; /* loop only: 1 + index into `down` of the node that would have the
                                    shard, 0: none */
    atomic_bool alone; /* no other node is there, nor missed: what is not here is nowhere */
    size_t ndown;
    char **down;                    /* names of nodes that are known and not live */
    struct isola_map claims, gives; /* id (8 bytes) → what claims.c has under way */
    struct isola_map missed; /* addresses of activations that had to start without their state */
    uint64_t next_claim;
    uv_timer_t claim_retry;
    size_t npeers;
    struct peer **peers; /* [number - 1] */
    struct sub_out *subs;
    struct letters letters;
    uv_timer_t tick;
    struct preparer *preparer;
    const struct isola_outside *outside;
    struct isola_map jobs, jobs_by_origin; /* outside.c */
    uint64_t next_job;
};

struct conn *conn_open(struct app *app, struct isola_link *link);
void conn_close(struct conn *conn);
/* A message from a connection for an actor; origin.link will be `conn`. `passed_on`: it came from
 * another actor-host. */
void conn_deliver(struct conn *conn, const struct isola_msg *m, bool passed_on);
/* An answer or event for the connection mail->origin.link. Takes it. */
void conn_answer(struct app *app, struct isola_mail *mail);
/* Encodes a mail and sends it with this id. */
int send_mail(struct isola_link *link, const struct isola_mail *mail, uint64_t id);

#endif
