/* SPDX-License-Identifier: Apache-2.0
 *
 * The world around a host of actors, for tests: a store whose thread ends reads and writes in order
 * after short random delays, places that can be changed, a wire on which answers and events are
 * collected.
 *
 * A host cannot be stopped, so a world is never freed: world_end stops its actors instead, and
 * checks that nothing of them is left.
 */
#ifndef ISOLA_TESTS_FAKE_WORLD_H
#define ISOLA_TESTS_FAKE_WORLD_H

#include "actors/host.h"
#include "fake_v8.h"

struct world;

/* How a message was answered. */
struct outcome {
    int kind;     /* 0: not yet; ISOLA_MSG_REPLY or ISOLA_MSG_FAIL */
    int code;     /* FAIL */
    bool is_bool; /* the value: 0 or 1 */
    int64_t value;
    char text[300];  /* the message of a FAIL, or a reply that is a text */
    unsigned order;  /* the how manieth answer of all it was, from 1 */
    unsigned stored; /* how many writes had ended by then */
};

struct world *world_new(unsigned threads);
/* One more beside it. */
struct world *world_join(unsigned threads);
struct isola_host *world_host(struct world *w);
/* A random number in [0, n), of the world's seed; not for several threads. */
unsigned world_random(struct world *w, unsigned n);
/* Stops every actor and waits until they, their isolates and their subscriptions are gone; then
 * drains the host. */
void world_end(struct world *w);

/* One type named T (or `types`) with this code. `options`: any of "shared", "reentrant". Mailboxes
 * hold `mailbox`. */
void world_release(struct world *w, const char *app, const char *id, const char *options,
                   const char *code);
/* The apps that those of later releases may send to, one a line; without it, all. */
void world_permit(struct world *w, const char *apps);
void world_release_types(struct world *w, const char *app, const char *id, size_t n,
                         const struct isola_host_type *types);
struct isola_host_type world_type(const char *name, const char *options, const char *code);

/* Posts a message that runs `program`; the id names its answer. */
uint64_t world_number(struct world *w); /* an id, for a message made by hand from link 1 */
uint64_t world_ask(struct world *w, const char *address, const char *program);
void world_emit(struct world *w, const char *address, const char *program);
uint64_t world_stop(struct world *w, const char *address);
uint64_t world_start(struct world *w, const char *address); /* as `ctl restart` */
uint64_t world_sub(struct world *w, uint64_t link, const char *address, const char *event);
void world_unsub(struct world *w, uint64_t link, uint64_t id, const char *address,
                 const char *event);
struct outcome world_await(struct world *w, uint64_t id);
/* As it is now. */
struct outcome world_outcome(struct world *w, uint64_t id);
void must_reply(struct world *w, uint64_t id, int64_t value);
void must_fail(struct world *w, uint64_t id, int code);

/* Events that came on a link: their number so far, or wait for the nth. */
unsigned world_events(struct world *w, uint64_t link);
void world_await_events(struct world *w, uint64_t link, unsigned n);

/* The store. */
void world_hold_store(struct world *w, bool hold);
void world_await_held(struct world *w, unsigned n);  /* until `n` reads and writes wait */
void world_fail_writes(struct world *w, unsigned n); /* the next n */
void world_fail_writes_of(struct world *w, unsigned per_mille);
void world_fail_reads(struct world *w, unsigned n, int code);
int64_t world_stored(struct world *w, const char *address); /* -1: nothing */
/* The bytes of that; the caller frees. */
struct isola_buf world_stored_bytes(struct world *w, const char *address);

/* Places: everything lives here (0) unless set. */
void world_place(struct world *w, const char *address, int node);
/* Mails forwarded to other nodes wait until answered; the nth from the front, or NULL. */
void world_await_forwarded(struct world *w, unsigned n);
const struct isola_mail *world_forwarded(struct world *w, unsigned nth);
unsigned world_forwards(struct world *w);
/* The other nodes answer all that is sent to them with EUNREACHABLE from now on. */
void world_others_refuse(struct world *w);

/* Takes the first mail that was forwarded, once there is one. The caller frees it. */
struct isola_mail *world_take_forwarded(struct world *w);
/* Two worlds are nodes of one cluster from now on: what one forwards comes to the other, as over a
 * link. Of a thousand durable messages and their answers `mess` are lost, as many come twice, and
 * as many later than what was sent after them. */
void world_connect(struct world *a, struct world *b, unsigned mess);
/* Nothing is lost, doubled or held up any more. */
void world_mend(struct world *a, struct world *b);
/* What is kept beside the state of an address (base/kept.h): until there are n rows of the part. */
void world_await_kept(struct world *w, const char *address, int part, unsigned n);
/* The process dies, and another one has what the store had at that moment. `w` is ended. It is
 * connected to nothing, knows no releases yet, and sends nothing before isola_host_outbox_begin. */
struct world *world_crash(struct world *w);

/* Waits for a script to be told of as one that cannot be stopped: "ADDRESS: why". Its world is not
 * watched any more. */
const char *world_await_stuck(struct world *w);
/* How often a quarantine was lifted, and which was the last one. */
unsigned world_lifted(struct world *w, char last[100]);

void world_await_drained(struct world *w);
bool world_drained(struct world *w);
/* Live actors. */
unsigned world_live(struct world *w);
/* The state `ps` shows of one; "none" when it is not there. */
const char *world_state(struct world *w, const char *address);
unsigned world_logged(struct world *w, const char *part);
void world_await_logged(struct world *w, const char *part, unsigned n);

#endif
