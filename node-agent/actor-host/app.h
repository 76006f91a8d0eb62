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
#include "base/idmap.h"
#include "base/map.h"
#include "node-agent/actor-host/visits.h"
#include "node-agent/actor-host/waiting.h"
#include "scheduler/place.h"
#include "store/sql.h"
#include "store/state.h"
#include "transport/link_report.h"

/* A node remembers as many others, at the most, as there were since it started. */
#define ISOLA_PEERS_MAX 4096

struct app;
struct isola_outside;
struct preparer;
struct pull;

/* --- options.c --- */

struct options {
    const char *node; /* name */
    const char *data; /* directory, made and locked by the agent */
    unsigned threads;
    unsigned long long memory;                    /* bytes; 0: no bound */
    unsigned long long history_ms, history_bytes; /* as of isola_state_options */
};
int options_parse(int argc, char **argv, struct options *out, struct isola_err *err);

/* The key of a map by numbers. */
static inline struct isola_slice number_key(const uint64_t *number)
{
    return isola_slice(number, sizeof(*number));
}

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

/* --- asks_out.c: asks this host has at another --- */

/* An ask on its way to a peer. */
struct ask_out {
    struct isola_heap_node due;
    uint64_t id; /* on the wire */
    struct isola_origin origin;
};
/* The lock of its peer guards it. */
struct asks_out {
    struct isola_map by_id, by_origin;
    struct isola_heap due;
};
/* Notes an ask under this id. Takes the origin. */
ANY_THREAD void asks_out_add(struct asks_out *asks, uint64_t id, struct isola_origin origin,
                             uint32_t timeout_ms);
/* Takes the ask with this id out; false when there is none. The origin is the caller's. */
ANY_THREAD bool asks_out_take(struct asks_out *asks, uint64_t id, struct isola_origin *out);
/* The id on the wire of the ask of this origin, which is forgotten; 0: there is none. */
ANY_THREAD uint64_t asks_out_cancel(struct asks_out *asks, struct isola_origin origin);
/* Takes all out, or those that are due, as failures to be answered with isola_host_answer. */
ANY_THREAD void asks_out_fail_all(struct asks_out *asks, int code, const char *why,
                                  struct isola_mailq *out);
ANY_THREAD void asks_out_expire(struct asks_out *asks, uint64_t now, struct isola_mailq *out);

/* --- links to other actor-hosts: data_links.c, data_listen.c; what goes on them: sending.c --- */

struct conn;
struct sub_out;

/* Another node's actor-host. Once known, a peer keeps its number and its memory for the life of the
 * process. */
struct peer {
    struct app *app;
    int number; /* > 0 */
    char *name;
    /* the loop's */
    char *url;                   /* NULL while its actor-host is not there */
    uint8_t key[ISOLA_KEY_SIZE]; /* its actor-host's; with url */
    uint64_t started;            /* as that one's certificate says; with url */
    char *version;               /* the release it runs; NULL: not known */
    struct conn *dialling;
    uint64_t dial_at; /* not before, after a failure */
    unsigned failures;
    /* anyone's, with the lock */
    pthread_mutex_t lock;
    bool live;         /* in the view */
    bool behind;       /* it lacks releases that are here: what is for it waits, linked or not */
    struct conn *conn; /* the one link that messages take; NULL: there is none */
    bool wanted;       /* the loop has been told that there should be one */
    struct asks_out asks;
    struct waiting waiting; /* for the link */
    struct isola_link_past past;
    unsigned sends;       /* pieces it has asked for: pieces.c; the loop's */
    struct sub_out *subs; /* last sent to it: SUBS_OF_PEER; with app->subs.lock */
};

/* A connection: the agent's, or a link with a peer. */
struct conn {
    struct app *app;
    struct isola_link *link;
    uint64_t number;   /* origin.link */
    struct peer *peer; /* NULL: the agent */
    bool dialled;      /* by us */
    bool ready;        /* chosen, by us or the peer, and not closed; with the peer's lock */
    struct isola_arrivals *arrivals; /* of who reads; NULL: nothing came twice yet */
    uint64_t started; /* accepted: when the peer's actor-host was, as its certificate says */
    uint8_t node_key[ISOLA_KEY_SIZE];
};

int data_links_open(struct app *app, struct isola_err *err);
/* Listens for other actor-hosts, as the agent's `credentials` say (docs/protocol.md). Once. */
int data_links_listen(struct app *app, struct isola_slice credentials, struct isola_err *err);
/* The loop's: nodes that were removed, as `view` lists them. */
void data_links_removed(struct app *app, struct isola_slice params);
/* The loop's: where the peer's actor-host is now, and its key; `url` empty: it is not there. */
void peer_set_url(struct peer *p, struct isola_slice url, const uint8_t *key);
/* The loop's: it is in the view, and behind with its releases or not. */
void peer_set_live(struct peer *p, bool behind);
/* The loop's: it is not in the view any more. */
void peer_leave(struct peer *p);
/* The loop's: the view has changed. Links that have waited for it are used, others dialled. */
void data_links_settle(struct app *app);
/* Sends a mail to a peer, or fails it. Takes it. */
ANY_THREAD void peer_send(struct peer *p, struct isola_mail *mail);
/* Sends a mail if there is a link with room: then the origin of an ask is taken. Borrows the rest.
 */
ANY_THREAD bool peer_send_now(struct peer *p, struct isola_mail *mail);
/* Sends a mail that is no ask, with this id, when there is a link; borrows it. False: there is
 * none. */
ANY_THREAD bool peer_tell(struct peer *p, const struct isola_mail *mail, uint64_t id);
/* Has the loop see to a link with this peer. True: there is one that takes what is for it. */
ANY_THREAD bool peer_want(struct peer *p);
/* Is there a link that takes what is for it? */
ANY_THREAD bool peer_linked(struct peer *p);
/* An answer or event for the connection mail->origin.link. Takes it. */
ANY_THREAD void conn_answer(struct app *app, struct isola_mail *mail);

/* --- subs_out.c: subscriptions this host has at others --- */

/* The lists that one is in: of the actors' shard, of the peer it was last sent to, if any, and of
 * the connection that said it, if it was one. */
enum { SUBS_OF_SHARD, SUBS_OF_PEER, SUBS_OF_CONN, SUBS_LISTS };
struct sub_out {
    struct {
        struct sub_out *next, **at; /* `at` NULL: in none */
    } in[SUBS_LISTS];
    struct sub_out *same;    /* an older one of the same origin: a connection may say one twice */
    uint64_t id;             /* on the wire */
    int node;                /* the peer it was last sent to, or 0 */
    struct isola_mail *mail; /* the SUB: src is the subscriber, dst and event what it hears */
};
struct subs_out {
    pthread_mutex_t lock;
    struct sub_out *of_shard[ISOLA_SHARDS]; /* by the actors they are for */
    struct isola_map by_id, by_origin;
    struct isola_idmap
        by_conn; /* number → its list's beginning, which is there while it is not empty */
    bool again;  /* a link there is did not take one */
};
/* SUB or UNSUB of an actor or connection here for an actor elsewhere; `node` 0: an UNSUB whose
 * actor has come here, and the subscription perhaps as well. Takes the mail. */
ANY_THREAD void subs_out_mail(struct app *app, int node, struct isola_mail *mail);
/* An EVENT, or the refusal of a subscription, from this peer. */
ANY_THREAD void subs_out_event(struct peer *p, const struct isola_msg *m);
ANY_THREAD void subs_out_refused(struct peer *p, const struct isola_msg *m);
/* The link to this peer is there: all of its are sent. With the lock, and that of the peer. */
ANY_THREAD void subs_out_repeat(struct peer *p, struct isola_link *link);
/* Tells the monitors of actors at this peer that they may be gone. */
ANY_THREAD void subs_out_lost(struct peer *p, const char *why);
/* The view has changed: they go to where their actors live now. The loop's. */
void subs_out_settle(struct app *app);
/* Those that a link had no room for are sent again. The loop's. */
void subs_out_tick(struct app *app);
/* Is there one for an actor at this peer? */
ANY_THREAD bool subs_out_any(struct peer *p);
/* A connection has ended: so have its subscriptions. The loop's. */
void subs_out_drop_conn(struct app *app, uint64_t conn);

/* --- peers.c: which nodes there are, and where actors live --- */

void peers_view(struct app *app, struct isola_slice params);
ANY_THREAD int peers_locate(void *arg, struct isola_slice address);
ANY_THREAD void peers_forward(void *arg, int node, struct isola_mail *mail);
/* ops->send. */
ANY_THREAD bool peers_send(void *arg, int node, struct isola_mail *mail);
/* Where the address lives, if elsewhere; else NULL. */
ANY_THREAD struct peer *peers_of(struct app *app, struct isola_slice address);
/* The peer of that name, made if need be. The loop's. */
struct peer *peers_named(struct app *app, struct isola_slice name);

/* --- services.c: messages to services, which are the agent's --- */

struct isola_manifest;
struct service_types;

/* What stands for the agent where nodes have numbers. */
#define ISOLA_SERVICES (ISOLA_PEERS_MAX + 1)

void services_open(struct app *app);
/* The loop's: this release of the app becomes the current one. True: there are other types that are
 * services than before. */
bool services_release(struct app *app, const char *name, const struct isola_manifest *m,
                      const struct isola_manifest *canary);
/* Is it an address of one, here or elsewhere? */
ANY_THREAD bool services_has(const struct app *app, struct isola_slice address);
/* A message to one that is here; not a SUB or UNSUB, which are for the other. Takes it. */
ANY_THREAD void services_send(struct app *app, struct isola_mail *mail);
ANY_THREAD void services_sub(struct app *app, struct isola_mail *mail);
/* A message that another node has sent, if it is for one that is here: takes it then. */
ANY_THREAD bool services_take(struct app *app, struct isola_mail *mail);
/* As peer_tell, to the agent. */
ANY_THREAD bool services_tell(struct app *app, const struct isola_mail *mail, uint64_t id);
/* The loop's: a REPLY, FAIL or EVENT came from the agent. */
void services_answered(struct app *app, const struct isola_msg *m);

/* --- claims.c, gives.c: where the state of an actor that has moved is, and how it follows --- */

/* origin.link of what claims.c itself asks. */
#define CLAIM_LINK UINT64_MAX
#define GIVE_LINK  (UINT64_MAX - 1)

int claims_open(struct app *app, struct isola_err *err);
ANY_THREAD void claims_read(void *arg, struct isola_state_io *io);
/* The same though it is being put back (put_back.c). */
ANY_THREAD void claims_read_now(struct app *app, struct isola_state_io *io);
/* The loop's: its state is on its way here, or away. */
bool claims_moving(const struct app *app, struct isola_slice address);
/* One of these alone. What is on its way here may be written at any moment. */
bool claims_taking(const struct app *app, struct isola_slice address);
bool claims_giving(const struct app *app, struct isola_slice address);
/* The activation has ended that was to for this one of `gives`. False: there is no such one. */
bool claims_given(struct app *app, uint64_t id);
/* The loop's: what comes here in pieces, from whom, and how much of it there is. False: it does
 * not.
 */
bool claims_coming(const struct app *app, struct isola_slice address, const char **from,
                   uint64_t *bytes, uint64_t *total);
/* Soon, what waits to be asked once more is. The loop's. */
void claims_retry(struct app *app);
/* The process is to end: what comes here in pieces goes on with the next one. The loop's. */
void claims_end(struct app *app);
ANY_THREAD bool claims_absent(void *arg, struct isola_slice address);
/* At the start: what the actors whose state is here have sent is read, and sent again. */
void claims_outboxes(struct app *app);
/* A peer asks for the state of an address. */
void claims_asked(struct conn *conn, const struct isola_msg *m);
/* The answer to a mail of ours with one of the links above. Takes it. */
void claims_answered(struct app *app, struct isola_mail *mail);
/* The view has changed: claims that wait for it are tried again. */
void claims_view(struct app *app);

/* --- forget.c: what is too old to be kept --- */

int forget_open(struct app *app, struct isola_err *err);

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
void agent_link_drained(void *arg);
/* Answers an ask of the agent's. */
void agent_link_reply(struct app *app, uint64_t id, struct isola_slice value);
void agent_link_fail(struct app *app, uint64_t id, int code, const char *why);
/* A release that was held back is taken. */
void agent_link_release(struct app *app, uint64_t asked, struct isola_slice params);

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

/* --- links.c --- */

void links_asked(struct app *app, const struct isola_msg *m);

/* --- store.c: what is in the store, and whether it is sound; backups --- */

/* Something the agent wants of the store that takes its time: in a thread of its own. Embed it. */
struct store_job {
    struct parcel parcel; /* first */
    struct app *app;
    uint64_t asked;                     /* the agent's; 0: it is somebody else who wants it */
    void (*work)(struct store_job *j);  /* in the thread: fills `out` or `err` */
    void (*ended)(struct store_job *j); /* on the loop, when the agent has its answer; frees it */
    struct isola_buf out;
    struct isola_err err;
    /* --- */
    struct store_job *next;
    pthread_t thread;
    bool joined;
};
/* Begins it. False: it has been answered why it does not begin, and it has ended. */
bool store_job(struct store_job *j);
void store_asked(struct app *app, uint64_t asked, struct isola_slice params);
void backup_asked(struct app *app, uint64_t asked, struct isola_slice params);
/* How far the backup has come that is being made, if any. */
void backup_progress_asked(struct app *app, uint64_t asked);
/* Are they to end? */
ANY_THREAD bool store_stops(void);
ANY_THREAD const atomic_bool *store_stop(void);
/* Before the store is closed: what goes on is ended, and nothing begins any more. */
void store_end(void);

/* --- timers.c: timers of actors, for who asks --- */

void timers_asked(struct app *app, uint64_t asked, struct isola_slice params);

/* --- past.c, put_back.c: when an actor has changed, and putting it back to what it had --- */

void history_asked(struct app *app, uint64_t asked, struct isola_slice params);
void restore_asked(struct app *app, uint64_t asked, struct isola_slice params);
/* To one that is put back, known by origin.id: its activation has ended, or that is what another
 * node says that it had. Borrows it. */
void past_answered(struct app *app, const struct isola_mail *mail);
/* A peer asks what an actor had here. */
void past_asked(struct conn *conn, const struct isola_msg *m);
/* Is the address being put back? */
ANY_THREAD bool past_holds(struct app *app, struct isola_slice address);
/* The same; if so this read is done when it has been. */
ANY_THREAD bool past_hold(struct app *app, struct isola_state_io *io);

/* --- wipe.c: apps that are deleted --- */

void wipe_asked(struct app *app, uint64_t asked, struct isola_slice params);
/* An activation has ended that was to for this one. False: there is no such one. */
bool wipe_answered(struct app *app, uint64_t id);
/* What an earlier app of that name kept is being removed: its release is taken when that has ended.
 * False: it is not. */
bool wipe_holds(struct app *app, uint64_t asked, struct isola_slice name,
                struct isola_slice params);

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
    uint64_t shutdown_id;            /* of the agent's `shutdown`, to be answered when drained */
    struct isola_listener *listener; /* NULL: in no cluster, or not yet */
    struct isola_link_security security;
    struct isola_static_keys *keys; /* NULL as above; the following is set with them */
    uint8_t cluster_key[ISOLA_KEY_SIZE];
    struct isola_buf chain;
    struct isola_removals removals;
    pthread_mutex_t conns_lock;
    struct isola_map conns; /* number (8 bytes) → struct conn; with conns_lock */
    uint64_t next_conn;
    atomic_ullong next_wire_id;
    struct visits visits;
    _Atomic uint16_t places[ISOLA_SHARDS]; /* peer number, 0: here; written by the loop */
    uint16_t lost[ISOLA_SHARDS]; /* loop only: 1 + index into `down` of the node that would have the
                                    shard, 0: none */
    atomic_bool alone; /* no other node is there, nor missed: what is not here is nowhere */
    size_t ndown;
    char **down;                    /* names of nodes that are known and not live */
    struct isola_map claims, gives; /* id (8 bytes) → what claims.c has under way */
    struct isola_map missed; /* addresses of activations that had to start without their state */
    uint64_t next_claim;
    unsigned pulls;             /* that go on: pieces.c */
    struct pull *pulls_wait;    /* for their turn */
    struct put_back *put_backs; /* those under way: put_back.c; with past_lock */
    pthread_mutex_t past_lock;
    atomic_uint nput_backs;
    uv_timer_t claim_retry, forget;
    struct isola_state_req outboxes, forget_req;
    atomic_bool forgetting;
    atomic_size_t npeers;
    struct peer *peers[ISOLA_PEERS_MAX]; /* [number - 1]; written by the loop, before npeers */
    struct peer services;                /* the agent, in the way of a peer: services.c */
    struct service_types *_Atomic service_types;
    struct subs_out subs;
    struct letters letters;
    uv_timer_t tick;
    struct preparer *preparer;
    const struct isola_outside *outside;
    struct isola_map jobs, jobs_by_origin; /* outside.c */
    uint64_t next_job;
};

void conn_add(struct app *app, struct conn *conn, struct isola_link *link);
/* The loop's. */
void conn_close(struct conn *conn);
/* A message from a connection for an actor; origin.link will be `conn`. `passed_on`: it came from
 * another actor-host. `memory`: it lies there, and this is taken, for free(); NULL: it is copied.
 */
ANY_THREAD void conn_deliver(struct conn *conn, const struct isola_msg *m, bool passed_on,
                             void *memory);
/* What a peer says of a durable message. */
ANY_THREAD void durable_deliver(struct app *app, const struct isola_msg *m);
/* A mail as a message of this id, without what only nodes say to each other (`order`, `flags`,
 * `seq`); borrows what the mail has. */
struct isola_msg msg_of(const struct isola_mail *mail, uint64_t id);
/* Encodes a mail and sends it with this id, on a link of the calling thread's, or a direct one. */
int send_mail(struct isola_link *link, const struct isola_mail *mail, uint64_t id);
/* The same for the last time: what is large leaves with the memory of its args
 * (isola_mail_lost_memory), and is not copied. */
int send_last(struct isola_link *link, struct isola_mail *mail, uint64_t id);
/* As send_last, an answer to a peer: it says nobody's name, and a large one is not to hold up those
 * to others. */
int send_answer(struct isola_link *link, struct isola_mail *mail, uint64_t id);

#endif
