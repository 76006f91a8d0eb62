/* SPDX-License-Identifier: Apache-2.0
 *
 * The actor runtime of one process: worker threads, realms (isolates with one or many actors),
 * actors, their turns, the output gate, subscriptions.
 *
 * It touches the world only through `struct isola_host_ops`, so it can be run against fakes.
 * Messages come in by isola_host_post from any thread; what actors send to other nodes, and answers
 * to connections, go out through ops.
 */
#ifndef ISOLA_ACTORS_HOST_H
#define ISOLA_ACTORS_HOST_H

#include "actors/mail.h"
#include "base/kept.h"
#include "base/log.h"
#include "base/sql.h"

struct isola_host;
struct isola_js;

/* One read or write of an actor's state. The caller of ops->state_* embeds it; it stays valid until
 * `done`. */
struct isola_state_io {
    /* Any thread. code 0, ISOLA_ENOENT (a read of what is not there), or an error with a sentence.
     * `value`, and io->rows, are borrowed for the call, and only for reads. A read that ends with
     * ISOLA_EUNREACHABLE (the state is elsewhere and cannot be had now) lets the actor start, but
     * its script cannot touch its state. */
    void (*done)(struct isola_state_io *io, int code, struct isola_slice value, const char *why);
    struct isola_slice address; /* borrowed until done */
    /* Writes: the state is replaced if `has_value`, and rows beside it are put or removed, all of
     * it or nothing; borrowed until done. Reads: `rows` are those that are kept. */
    bool has_value;
    struct isola_slice value;
    const struct isola_kept *rows; /* of state_rows: those that are wanted, until done */
    size_t nrows;
    union { /* borrowed until done */
        const struct isola_kept_range *range;
        const struct isola_kept_due *due;
    };
    void *adapter[12]; /* the implementation's */
};

/* The wish to have a type's module prepared (isola_v8_prepare, in a process of its own). All is
 * borrowed until `done`. */
struct isola_prepare {
    /* Once, from any thread. What was made, each perhaps empty; without an image `why` there is
     * none, in words as those of ISOLA_V8_NO_IMAGE. */
    void (*done)(struct isola_prepare *req, struct isola_slice cache, struct isola_slice image,
                 const char *why);
    const char *app, *release, *type;
    const char *file; /* what stacks call the module */
    struct isola_slice code, env, secrets;
    uint64_t heap, external; /* its limits, bytes: what exceeds them is not prepared */
    bool want_cache, want_image;
    void *adapter[4]; /* the implementation's */
};

/* What a worker that has come to the end of a visit, or of its work, is about to do. */
enum isola_look {
    ISOLA_LOOK_GLANCE, /* to go on: it looks once */
    ISOLA_LOOK_BEGIN,  /* to look on and on; false: there is nothing to expect, or another does */
    ISOLA_LOOK_ON,     /* it has begun, or its gate is readable, and looks */
    ISOLA_LOOK_END,    /* of looking on and on */
    ISOLA_LOOK_SLEEP,  /* it sleeps, once it has looked for work a last time; perhaps again */
    ISOLA_LOOK_WAKE,   /* it has slept, and has work */
};

/* All of them: ANY_THREAD, must not block. */
struct isola_host_ops {
    /* Where an address lives: 0 here, > 0 another node, < 0 an error code (ISOLA_EUNREACHABLE). */
    int (*locate)(void *arg, struct isola_slice address);
    /* A mail for an actor on another node. Takes it; answers come back by isola_host_answer. An
     * UNSUB may have node 0: the actor lives here now, and its subscription has perhaps not come
     * back yet; if so it is to be dropped, else the UNSUB to be posted again as passed_on. */
    void (*forward)(void *arg, int node, struct isola_mail *mail);
    /* A worker's: sends an ASK or EMIT there at once, if it can. Borrows it, but for the origin of
     * an ask, which it takes when it returns true. False: it is to be forwarded. May be NULL. */
    bool (*send)(void *arg, int node, struct isola_mail *mail);
    /* A REPLY, FAIL or EVENT (origin.id says which), or a PACE (origin.id is its id), for the
     * connection origin.link. Takes it. */
    void (*answer)(void *arg, struct isola_mail *mail);
    void (*state_read)(void *arg, struct isola_state_io *io);
    /* True: an actor with this address, which lives here, has no state for certain, so it need not
     * be read. NULL: nothing is known without reading. */
    bool (*state_absent)(void *arg, struct isola_slice address);
    void (*state_write)(void *arg, struct isola_state_io *io);
    /* Reads of rows of an actor that lives here and has been read, by name or in a range, and of
     * the timers of all that are stored here: io->rows, what is not there is left out
     * (store/state.h). They see every write before. NULL, all three: there are none. */
    void (*state_rows)(void *arg, struct isola_state_io *io);
    void (*state_range)(void *arg, struct isola_state_io *io);
    void (*state_due)(void *arg, struct isola_state_io *io);
    /* One row, for who waits: blocks. 0 (appends its value), ISOLA_ENOENT, ISOLA_EIO. */
    int (*state_row)(void *arg, struct isola_slice address, const struct isola_kept *wanted,
                     struct isola_buf *out, struct isola_err *err);
    /* Databases of actors, whose pages are rows of theirs. NULL: there are none. */
    const struct isola_sql_ops *sql;
    /* A line of an actor's log (address may be empty). */
    void (*log)(void *arg, enum isola_log_level level, struct isola_slice address,
                struct isola_slice text);
    /* Something a script wants done that isolates cannot do. Takes the mail. NULL: nothing is.
     * origin says what it is known by, and for whom: .realm and .id together.
     * IO_START: `event` names what is to be done, `chain` is JSON and `args` bytes for it, `src`
     * the actor's address (empty: code of none), `dst` what permissions.net of its app says, one
     * pattern a line. Answered by isola_io_answer: by one answer, which is the last, or by several,
     * each asked for by an IO_MORE but for the first. IO_CANCEL: nobody waits any more. MORE and
     * CANCEL may come for what has ended. */
    void (*io)(void *arg, struct isola_mail *mail);
    /* Has a type's module prepared for isolates to begin with. NULL: nothing is prepared. */
    void (*prepare)(void *arg, struct isola_prepare *req);
    /* A worker begins a visit of an isolate, or has ended one: what it has forwarded and answered
     * in between may leave together. In a long visit in between, too. May be NULL. */
    void (*batch)(void *arg, bool begin);
    /* Looks for what has come from other nodes, and delivers it. NULL: nothing ever does. */
    bool (*look)(void *arg, enum isola_look look);
    /* A descriptor of this worker's, which calls it once, at its start: while it sleeps and this is
     * readable it is to look. -1, or NULL: it has none. */
    int (*gate)(void *arg);
    /* There is a new dead letter, and isola_host_watch_letters wants to know. May be NULL. */
    void (*dead_letter)(void *arg);
    /* A script of `address` holds a thread and cannot be stopped: whatever happens now, this
     * process must end. Says who is to blame to whoever starts the next one; does not return. On a
     * thread that holds no lock; workers may hold any. */
    void (*stuck)(void *arg, struct isola_slice address, const char *why);
    /* The CPU time the thread of this worker has used, in ns. NULL: what the system says. */
    uint64_t (*cpu)(void *arg, unsigned worker);
    /* An actor's quarantine has been lifted: to be remembered. May block a little. */
    void (*lifted)(void *arg, struct isola_slice address);
    /* isola_host_drain has come to its end. */
    void (*drained)(void *arg);
};

/* What becomes of the children of an actor when one of them crashes. */
enum isola_strategy {
    ISOLA_ONE_FOR_ONE,
    ISOLA_ONE_FOR_ALL,
    ISOLA_REST_FOR_ONE,
    ISOLA_ESCALATE,
};

/* When actors of a type hibernate, and how often they may crash. */
struct isola_host_life {
    uint64_t hibernate_after_ms; /* after the end of the last turn; 0: never */
    uint32_t restarts;           /* with more crashes `within_ms` it fails for good */
    uint64_t within_ms;
    uint64_t backoff_ms, max_backoff_ms; /* pause before a restart: at first, and at the most */
    enum isola_strategy strategy;
};

/* What an actor may use (docs/limits.md). 0 is no limit, but for `mailbox`. */
struct isola_host_limits {
    uint64_t heap, external;              /* bytes of the isolate, and of its array buffers; the
                                             largest of those that share it counts */
    uint64_t cpu_ms;                      /* CPU time of a turn */
    uint32_t mailbox;                     /* messages */
    uint64_t mailbox_bytes, message;      /* bytes in the mailbox, and of one message */
    uint64_t output;                      /* bytes of what waits for the output gate */
    uint64_t sql_bytes;                   /* of the database */
    uint32_t asks, timers, subscriptions; /* under way */
    uint32_t log_rate;                    /* lines a second */
};

/* An app's release, as far as running it goes. */
struct isola_host_type {
    const char *name;
    const char *module; /* the file it was made from, for stack traces */
    bool shared;
    bool reentrant;
    struct isola_host_life life;
    struct isola_host_limits limits;
    struct isola_slice cache; /* V8's code for it, kept by an earlier process; may be empty */
    struct isola_slice code;
    struct isola_slice map; /* the source map of `code`, or empty */
};
struct isola_host_release {
    const char *app;
    const char *id;
    const char *version; /* of the app; NULL: it has none */
    size_t ntypes;
    const struct isola_host_type *types;
    const char *net;  /* hosts its scripts may connect to: patterns HOST or HOST:PORT, one a line
                         (permissions.net of the manifest); NULL: none */
    const char *apps; /* whose actors they may send to, one a line, or "*"; NULL: their own app's */
    struct isola_slice env;     /* what they find in process.env: NAME=VALUE, each ended by a NUL */
    struct isola_slice secrets; /* likewise: what no image may have in it */
    bool unproven; /* the release it replaces was still watched: the one before that is its measure
                    */
};

/* Starts `threads` workers. isola_v8_start must have been called. `ops` and `arg` must outlive it.
 */
ISOLA_MUST_USE int isola_host_start(const struct isola_host_ops *ops, void *arg, unsigned threads,
                                    struct isola_host **out, struct isola_err *err);
/* Begins no more turns, fails what waits with ISOLA_EUNREACHABLE, and calls ops->drained once the
 * turns that run have ended and their state is saved. There is no isola_host_stop: the process
 * ends. */
ANY_THREAD void isola_host_drain(struct isola_host *h);

/* The memory this process should not have more of in use, in bytes; 0: no bound. Beyond it idle
 * actors hibernate, those that have been idle longest first, whatever their types say. */
ANY_THREAD void isola_host_set_memory(struct isola_host *h, uint64_t bytes);

/* How many isolates may be open for actors that are yet to begin, two at the most; 0, as it is at
 * first: none, and those there are go. They are made while workers have nothing to do, once actors
 * begin. */
ANY_THREAD void isola_host_set_spares(struct isola_host *h, unsigned n);

/* Makes this the app's current release (copies), also when it is that already and only its secrets
 * are others. Actors of the one before end their activation
 * after their turn; their next message activates them under the new one. */
ANY_THREAD void isola_host_set_release(struct isola_host *h, const struct isola_host_release *r);
/* The app is gone: messages for its actors are refused as for any app that is not there, and those
 * that are live end their activation after their turn. Each that was live, when `origin.link` is
 * not 0, answers that origin when it has: how many these are. Those that were starting when it was
 * asked may not be among them; asked again, they are. */
ANY_THREAD size_t isola_host_remove_app(struct isola_host *h, struct isola_slice app,
                                        struct isola_origin origin);
/* The same, and beside it a candidate of the same app (NULL: none) for so much (base/canary.h):
 * actors that are in the share, or whose type no other has, are of that. Those that are of neither
 * any more, or of the other one, end their activation likewise. */
ANY_THREAD void isola_host_set_releases(struct isola_host *h, const struct isola_host_release *r,
                                        const struct isola_host_release *candidate, uint32_t share);
/* Loads each of its modules in an isolate of its own. `done` fires on a thread of its own, code 0
 * or ISOLA_EMODULE with a sentence. Modules that have not finished loading after `timeout_ms` are
 * stopped and count as failed. Copies `r`. */
ANY_THREAD void isola_host_check(struct isola_host *h, const struct isola_host_release *r,
                                 uint64_t timeout_ms,
                                 void (*done)(void *arg, int code, const char *why), void *arg);

/* This actor is not started: its senders get EFAILED with `why`, and who monitors it hears that it
 * has failed. An ISOLA_MSG_START lifts it, but not one of an actor: a parent would start it over
 * and over. */
ANY_THREAD void isola_host_quarantine(struct isola_host *h, struct isola_slice address,
                                      const char *why);

/* --- durable messages (durable.c, outbox.c) --- */

/* Those that `address` has sent and that are not acknowledged (rows of ISOLA_KEPT_OUTBOX; others
 * are not looked at) are sent from now on, unless its messages are known here already. Copies. */
ANY_THREAD void isola_host_outbox_load(struct isola_host *h, struct isola_slice address,
                                       const struct isola_kept *rows, size_t n);
/* What is kept of `address` has gone to another node, or will with this: its messages are sent from
 * there. Its activation here has ended. It is woken there, if it has sent any. */
ANY_THREAD void isola_host_outbox_drop(struct isola_host *h, struct isola_slice address);
/* Its state is not here, but on its way to where it lives: it is started there, until that has
 * worked once. */
ANY_THREAD void isola_host_outbox_wake(struct isola_host *h, struct isola_slice address);
/* Releases and places are known: messages of the outbox may be sent, and timers (alarm.c) fire.
 * Once is enough. */
ANY_THREAD void isola_host_outbox_begin(struct isola_host *h);
/* There is a way to this node (as ops->locate numbers it; 0: here) again: what is not acknowledged
 * by its actors is sent anew, without waiting for its time. */
ANY_THREAD void isola_host_reachable(struct isola_host *h, int node);

/* Since the host began, but for `waiting`. */
struct isola_host_durables {
    uint64_t sent, resent;           /* resent: of those sent, not for the first time */
    uint64_t acknowledged, given_up; /* given_up: dead letters, which their senders were told of */
    uint64_t duplicates, gaps;       /* dropped by actors here: had before; before their turn */
    uint64_t waiting;                /* not acknowledged yet, of actors here */
};
ANY_THREAD void isola_host_durables(struct isola_host *h, struct isola_host_durables *out);

/* A message for an actor. Takes `mail`. Goes to this node or another as ops->locate says. */
ANY_THREAD void isola_host_post(struct isola_host *h, struct isola_mail *mail);
/* The answer (REPLY, FAIL) to a mail that was forwarded, to the origin it had; an EVENT for a
 * subscription of a local actor (dst); or what isola_io_answer has made. Takes `mail`. */
ANY_THREAD void isola_host_answer(struct isola_host *h, struct isola_mail *mail);
/* An answer to an IO_START (ops->io), for isola_host_answer: JSON and bytes. NULL when there is no
 * memory. */
ANY_THREAD struct isola_mail *isola_io_answer(const struct isola_mail *start, bool last,
                                              struct isola_slice head, struct isola_slice body);
/* The places of actors have changed: those that live elsewhere now end their activation after their
 * turn, and what waits for them is sent on; so are subscriptions to them. */
ANY_THREAD void isola_host_moved(struct isola_host *h);
/* Ends the activation of `address` on this node, if there is one, whatever its place is now. Takes
 * `mail`, a STOP; or an ISOLA_MAIL_UPGRADE, which is not behind what waits: that is for the next
 * activation. Its origin, if it has one, hears when the activation has ended. */
ANY_THREAD void isola_host_stop(struct isola_host *h, struct isola_mail *mail);
/* A timer of `address`, which has no activation now, has been written by others than itself: it is
 * due then, ms since 1970. */
ANY_THREAD void isola_host_timer(struct isola_host *h, struct isola_slice address, uint64_t due);
/* What the value of a row of ISOLA_KEPT_TIMER says (docs/protocol.md), without `id` and `due`,
 * which are the row's: slices of it. False: it is none. */
struct isola_v8_timer;
ANY_THREAD ISOLA_MUST_USE bool isola_host_timer_read(struct isola_slice value,
                                                     struct isola_v8_timer *out);
/* Another node says that the mailbox of an actor of its is crowded, or is not any more (a PACE). */
ANY_THREAD void isola_host_paced(struct isola_host *h, int node, struct isola_slice address,
                                 unsigned what);
/* An emit of this connection's, which asks for a PACE, has been posted. */
ANY_THREAD void isola_host_pace_answer(struct isola_host *h, struct isola_slice address,
                                       uint64_t link);
/* Much waits to be sent to this node, or not any more: `emit` to what lives there returns false. */
ANY_THREAD void isola_host_pace_node(struct isola_host *h, int node, bool slow);
/* The link to this node is lost, and with it what it has said of its actors. */
ANY_THREAD void isola_host_pace_lost(struct isola_host *h, int node);
/* Forgets the subscriptions of a connection that has ended, and cancels what it has asked. */
ANY_THREAD void isola_host_drop_link(struct isola_host *h, uint64_t link);

/* A dead letter: a message that reached no handler, or whose handler crashed. */
struct isola_host_letter {
    uint64_t seq;    /* counts them, from 1 */
    int64_t time_ms; /* since 1970 */
    int kind;        /* ISOLA_MSG_ASK, ISOLA_MSG_EMIT or ISOLA_MSG_EVENT */
    int code;        /* ISOLA_E… */
    struct isola_slice from, to, event, reason;
    size_t size;             /* of its values */
    struct isola_slice args; /* empty when they were too long to be kept */
};
/* Is a SUB, or an EVENT, of a monitor (docs/actors.md)? */
ANY_THREAD bool isola_is_monitor(const struct isola_mail *sub);
/* Tells a monitor, of a local actor or a connection, that what it monitors is down: `reason` is
 * "lost" or another of monitor.c's. Borrows `sub`, its SUB. */
ANY_THREAD void isola_host_down(struct isola_host *h, const struct isola_mail *sub,
                                const char *reason, struct isola_slice message);

/* Is it part of a stream between actors (docs/wire.md)? Then its sender is told that it cannot be
 * delivered. Borrows. */
ANY_THREAD bool isola_host_stream_refused(struct isola_host *h, const struct isola_mail *mail,
                                          int code, const char *why);

/* Nobody here can have it: its sender is told why, and it is a dead letter if it is a message of an
 * actor's. Takes it. */
ANY_THREAD void isola_host_refuse(struct isola_host *h, struct isola_mail *mail, int code,
                                  const char *why);
/* May the app of its sender, who lives on another node, send it? ISOLA_EPERM, with a sentence. */
ANY_THREAD ISOLA_MUST_USE int
isola_host_permits(struct isola_host *h, const struct isola_mail *mail, struct isola_err *err);
/* Notes one (copies); what is no message of an actor's is not noted. */
ANY_THREAD void isola_host_dead_letter(struct isola_host *h, const struct isola_mail *mail,
                                       int code, struct isola_slice why);
/* Calls `each` for those that are kept and whose receiver is `of` (an app, an address, or empty:
 * any), from the first one after number `after`, oldest first. `each` must not call the host.
 * Returns how many there were since the host began. */
ANY_THREAD uint64_t isola_host_letters(struct isola_host *h, struct isola_slice of, uint64_t after,
                                       void (*each)(const struct isola_host_letter *letter,
                                                    void *arg),
                                       void *arg);

/* Has ops->dead_letter called for the next one, once. */
ANY_THREAD void isola_host_watch_letters(struct isola_host *h, bool watch);
/* --- looking into the isolate of an actor (inspect.c) --- */

/* Something to be done in an isolate. Embed it; zero it but for `run`; it stays valid until `run`
 * has been called, which happens exactly once. */
struct isola_inspect {
    /* With the isolate locked and perhaps in the middle of a script: must not run JavaScript. `js`
     * is NULL when the isolate has ended. May not call the host but for isola_host_inspect_at_end
     * and isola_host_inspect_end. */
    void (*run)(struct isola_inspect *i, struct isola_js *js);
    bool shared; /* set by isola_host_inspect: other actors are in it too */
    /* the host's */
    struct isola_inspect *next;
    struct isola_realm *realm;
    bool at_end, pins;
};
/* Soon, in the isolate that `address` lives in on this node now. ISOLA_ENOACTOR: it does not; `run`
 * is not called. Otherwise isola_host_inspect_end is owed. */
ANY_THREAD ISOLA_MUST_USE int isola_host_inspect(struct isola_host *h, struct isola_slice address,
                                                 struct isola_inspect *i, struct isola_err *err);
/* From `run` of `of`: `i` is to be done in the same isolate when that ends, or when
 * isola_host_inspect_now is called for it, whichever comes first. Until then the isolate stays with
 * this thread. isola_host_inspect_end is owed.
 */
void isola_host_inspect_at_end(struct isola_inspect *i, struct isola_inspect *of);
/* False: it is being done already, or has been. */
ANY_THREAD bool isola_host_inspect_now(struct isola_inspect *i);
/* Lets go of the isolate. */
ANY_THREAD void isola_host_inspect_end(struct isola_inspect *i);

/* What `ps` shows of an actor. Borrowed for the call. */
struct isola_host_info {
    struct isola_slice address;
    const char *isolation, *state, *release;
    /* How its module was loaded: "snapshot", "cache" or "source", NULL while it is not; and why
     * not from a snapshot, or "". */
    const char *start, *why;
    struct isola_slice failure; /* why it has failed: "could not start: …"; empty: it has not */
    unsigned thread;
    uint64_t mailbox, turns, heap;
    uint64_t cpu_ns;     /* of its scripts since it is live, by samples some ms apart */
    size_t timers;       /* of self.schedule */
    uint64_t next_timer; /* when the first of them is due, ms since 1970; 0: there is none, or it is
                            being carried out */
};
/* What actors of an app's release have done since it is current, or, while there is a canary, those
 * of that since it has its share; at the most since this process has them. */
struct isola_host_tally {
    char *release;                        /* its id */
    uint64_t turns, errors;               /* errors: asks that failed, crashes, failed starts */
    uint64_t before_turns, before_errors; /* of the release before, as far as it ran here; with
                                             a canary of the current one in the same time */
    struct isola_buf first_of, first;     /* the first error: the actor's address, the text with its
                                             stack; empty: there was none */
};
/* False: there is no such app. isola_host_tally_free either way. */
ANY_THREAD bool isola_host_tally(struct isola_host *h, struct isola_slice app,
                                 struct isola_host_tally *out);
ANY_THREAD void isola_host_tally_free(struct isola_host_tally *t);

/* Calls `each` for the live actors of `app` (empty: of all), `limit` of them at most, in no order.
 * `each` must not call the host. Returns how many there are. */
ANY_THREAD size_t isola_host_each(struct isola_host *h, struct isola_slice app, size_t limit,
                                  void (*each)(const struct isola_host_info *info, void *arg),
                                  void *arg);

#endif
