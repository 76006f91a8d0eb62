/* SPDX-License-Identifier: Apache-2.0
 *
 * V8 as the rest of the project sees it: an isolate with the JavaScript side of Isola
 * (actors/lib/runtime) in it.
 *
 * Pure C. Nothing of V8 and no C++ exception crosses it. Whatever touches JavaScript takes the
 * `struct isola_js *` that isola_v8_visit hands out, which proves that this thread holds the
 * isolate's lock, and must not store it.
 *
 * An isolate holds one or more actors, each known by a `serial` its owner chooses (never 0, never
 * used twice in an isolate). What scripts do comes out through `struct isola_v8_ops`; those
 * functions run inside of the call that ran the script and must not enter JavaScript again.
 *
 * After every entry the microtasks are run, and promise rejections nobody handles are reported as
 * crashes.
 */
#ifndef ISOLA_ACTORS_V8_REALM_H
#define ISOLA_ACTORS_V8_REALM_H

#include "base/block.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/kept.h"
#include "base/log.h"
#include "base/sql.h"

#ifdef __cplusplus
extern "C" {
#endif

struct isola_v8;
struct isola_js;
struct isola_v8_image;

/* --- the process --- */

/* Once, on the main thread of the pinned Node.js: takes its platform (a node::MultiIsolatePlatform
 * *) and evaluates the runtime's source into the platform snapshot that all isolates start from. */
ISOLA_MUST_USE int isola_v8_start(void *node_platform, struct isola_slice runtime,
                                  struct isola_err *err);
/* Now and then: memory that is kept to be used again, and was not for a while, is freed. */
ANY_THREAD void isola_v8_trim(void);
/* After the last isolate was closed. */
void isola_v8_stop(void);

/* --- an isolate --- */

/* What a script sends. Slices are borrowed for the call. */
struct isola_v8_send {
    uint32_t actor; /* serial of the sender; 0 for code outside of any actor */
    uint32_t turn;  /* the turn it was sent in, as given to isola_js_deliver (at most 2^21 - 1); 0:
                       none */
    int kind;       /* enum isola_msg_kind: ASK, EMIT, SUB or UNSUB */
    bool durable;   /* ASK, EMIT */
    uint32_t to;    /* ASK, EMIT: whom, as ops->refer has numbered it */
    struct isola_slice dst; /* SUB, UNSUB, and what is durable: whom */
    struct isola_slice event, args;
    void **memory; /* ASK, EMIT: NULL, or args lie in this, from malloc(), behind ISOLA_MSG_BEFORE
                      bytes that are nobody's. Who takes it leaves NULL */
    uint32_t timeout_ms; /* ASK */
    uint64_t id; /* ASK: what isola_js_settle is to name it by; UNSUB: what the SUB returned */
};

/* Messages that ops->expects hears of at once. */
#define ISOLA_EXPECTED 32
/* The low bits of an ask's id: no two asks that wait in an isolate have the same ones. */
#define ISOLA_ASK_SLOT_BITS 24
#define ISOLA_ASK_SLOT(id)  ((uint32_t)((id) & ((1u << ISOLA_ASK_SLOT_BITS) - 1)))

/* Why scripts were ended. */
enum isola_v8_end {
    ISOLA_V8_TERMINATED = 1, /* isola_v8_terminate */
    ISOLA_V8_HEAP,           /* more heap than it may use */
    ISOLA_V8_EXTERNAL,       /* more array buffers */
};

/* A durable timer (self.schedule). Slices are borrowed for the call. */
struct isola_v8_timer {
    struct isola_slice id; /* empty: it is to get one */
    struct isola_slice event, args;
    uint64_t due;          /* when it comes, or comes next, ms since 1970; not 0 */
    uint64_t every, start; /* ms: it comes at `start` (0, as it is set: `due`) and each `every`
                              after it; 0: it does not */
    struct isola_slice cron, zone; /* when it comes, as a cron expression, and where; or empty */
};
/* Some of the items of an actor's storage. */
struct isola_v8_range {
    struct isola_slice from, to; /* as those of struct isola_kept_range */
    size_t rows;                 /* 0: all, as far as they go into one answer */
    bool reverse;
};
enum isola_v8_step {
    ISOLA_V8_BEGIN, /* a transaction: of which there is none */
    ISOLA_V8_COMMIT,
    ISOLA_V8_ROLLBACK,
    ISOLA_V8_WIPE, /* all items go; outside of a transaction */
    ISOLA_V8_SYNC, /* isola_js_stored when all so far is on disk */
};

struct isola_v8_ops {
    /* ANY_THREAD: a task of V8's waits: visit the isolate soon, and call isola_js_tasks. */
    void (*wake)(void *arg);
    /* ANY_THREAD: likewise, `ms` milliseconds from now. */
    void (*wake_later)(void *arg, uint64_t ms);

    /* All below: JS_THREAD. */

    /* A number for an address; 0: nothing may be sent to it. When it sets *epoch to another value,
     * all numbers given out before are good for nothing; a new isolate has epoch 0. */
    uint32_t (*refer)(void *arg, struct isola_slice address, uint32_t *epoch,
                      struct isola_err *err);
    /* Is the mailbox of the actor with this number full? Is anyone's? */
    bool (*congested)(void *arg, uint32_t to);
    bool (*crowded)(void *arg);
    /* An ask with this id of the actor with this serial, which is answered when the actor at `dst`
     * is not congested any more. */
    void (*pace)(void *arg, uint32_t actor, uint64_t id, struct isola_slice dst);
    /* Between drains and drained: what scripts have sent and ended before, some of it a little
     * late. `last`: nothing more comes in this entry, and what has crashed in it was reported.
     * expects: what follows is for these numbers, of which there are ISOLA_EXPECTED at the most. */
    void (*drains)(void *arg, bool last);
    void (*drained)(void *arg);
    void (*expects)(void *arg, const uint32_t *to, uint32_t n);
    /* SUB: `id` gets what isola_js_event names it by; what is durable: 1 when so much waits that
     * its sender had better pause, else 0. An ASK that cannot be sent fails in the isolate. */
    int (*send)(void *arg, const struct isola_v8_send *s, uint64_t *id, struct isola_err *err);
    /* What an end of a stream of this actor's says to the other, at `dst`. */
    int (*stream_send)(void *arg, uint32_t actor, struct isola_slice dst, struct isola_slice args,
                       struct isola_err *err);
    /* Wants isola_js_stream when the activation at `dst` ends, or is lost: `*id` is 0 and gets what
     * this is known by; or, with that, not any more. */
    int (*stream_watch)(void *arg, uint32_t actor, struct isola_slice dst, uint64_t *id,
                        struct isola_err *err);
    /* Nobody waits any more for this ask, which went to `dst`. */
    void (*cancel)(void *arg, uint64_t id, struct isola_slice dst);
    /* Wants isola_js_abort when nobody waits for this turn any more. 0: it does not run, 1: done,
     * 2: nobody does. */
    int (*watch)(void *arg, uint32_t actor, uint32_t turn);
    bool (*runs)(void *arg, uint32_t actor, uint32_t turn);
    /* Makes the actor at `dst` a child of the one with this serial, and starts it. `mode`: enum
     * isola_child_mode of actors/life.h. */
    int (*spawn)(void *arg, uint32_t actor, uint32_t turn, struct isola_slice dst, int mode,
                 struct isola_err *err);
    /* Does anyone subscribe to `event` of this actor? (So that nothing is encoded for nobody.) */
    bool (*heard)(void *arg, uint32_t actor, struct isola_slice event);
    void (*publish)(void *arg, uint32_t actor, uint32_t turn, struct isola_slice event,
                    struct isola_slice args);
    /* Appends the trace context of what code of this actor sends in this turn: ISOLA_TRACE_SIZE
     * bytes. False: there is none. */
    bool (*trace)(void *arg, uint32_t actor, uint32_t turn, struct isola_buf *out);
    /* The message of this turn has no handler. The turn goes on, and ends as others do. */
    void (*unheard)(void *arg, uint32_t actor, uint32_t turn);
    /* A turn has ended. `args`: [value] or, when not ok, [Error value]; `memory` as that of a
     * message, or NULL. */
    void (*done)(void *arg, uint32_t actor, uint32_t turn, bool ok, struct isola_slice args,
                 void **memory);
    /* The turn of the message delivered as the `record`th of a run (from 0) has ended. `args`:
     * [value], and `memory` as above. Those of a run are told in its order, after what was sent
     * before they ended. NULL: `done` is told. */
    void (*finished)(void *arg, uint32_t record, struct isola_slice args, void **memory);
    /* This actor, which is being activated, has the hook onUpgrade. It is called next if the
     * activation was told a `from`. */
    void (*upgrades)(void *arg, uint32_t actor);
    /* An activation is complete (error empty), or failed: [Error value]. */
    void (*activated)(void *arg, uint32_t actor, struct isola_slice error);
    /* Code of this actor (0: of none) threw where nobody could catch it. `text`: the error with its
     * stack. */
    void (*crash)(void *arg, uint32_t actor, struct isola_slice text);
    void (*log)(void *arg, uint32_t actor, enum isola_log_level level, struct isola_slice text);
    uint64_t (*timer_set)(void *arg, uint32_t actor, uint64_t ms, bool repeat);
    void (*timer_clear)(void *arg, uint64_t id);
    /* Sets a durable timer of this actor's, in the place of one with the same id, which is appended
     * to `id`: unless it repeats, and is as that one but for `due`, which that one keeps; removes
     * one (*was: it was there); calls `each` for all there are, in no order. */
    int (*schedule)(void *arg, uint32_t actor, const struct isola_v8_timer *timer,
                    struct isola_buf *id, struct isola_err *err);
    int (*unschedule)(void *arg, uint32_t actor, struct isola_slice id, bool *was,
                      struct isola_err *err);
    int (*schedules)(void *arg, uint32_t actor,
                     void (*each)(void *ctx, const struct isola_v8_timer *timer), void *ctx,
                     struct isola_err *err);
    /* Storage (actors/storage.c): rows of ISOLA_KEPT_ITEM. ISOLA_ECLOSED, ISOLA_EUNREACHABLE,
     * ISOLA_EOVERLOAD. `value` NULL: the key goes. */
    int (*storage_put)(void *arg, uint32_t actor, struct isola_slice key,
                       const struct isola_slice *value, struct isola_err *err);
    /* What is known of a key without reading: NULL is nothing; `gone`: it is not there. Borrowed
     * until the next of these calls. */
    int (*storage_peek)(void *arg, uint32_t actor, struct isola_slice key,
                        const struct isola_kept **item, struct isola_err *err);
    /* Reads: isola_js_stored is called with the id, which is the isolate's. */
    int (*storage_get)(void *arg, uint32_t actor, uint64_t id, const struct isola_slice *keys,
                       size_t n, struct isola_err *err);
    int (*storage_list)(void *arg, uint32_t actor, uint64_t id, const struct isola_v8_range *range,
                        struct isola_err *err);
    int (*storage_step)(void *arg, uint32_t actor, enum isola_v8_step step, uint64_t id,
                        struct isola_err *err);
    /* The script of this actor looks at its state for the first time. */
    void (*looked)(void *arg, uint32_t actor);
    /* The database of this actor, and what is done with it, in the call this is asked in and no
     * longer. NULL: it cannot be had. */
    struct isola_sql *(*sql)(void *arg, uint32_t actor, const struct isola_sql_ops **ops,
                             struct isola_sql_fault *fault);
    /* The module of `type` is loaded (error empty), or cannot be: [Error value]. */
    void (*loaded)(void *arg, struct isola_slice type, struct isola_slice error);
    /* Appends `text`, which V8 made of places in bundles, with those in the author's files instead.
     * May be NULL. */
    void (*place)(void *arg, struct isola_slice text, struct isola_buf *out);
    /* What scripts find in process.env: NAME=VALUE, each ended by a NUL. Borrowed for the call. */
    struct isola_slice (*env)(void *arg);
    /* The same of those whose values are to be in no image. */
    struct isola_slice (*secrets)(void *arg);
    /* Something is to be done outside of isolates: `what` names it, `head` is JSON, `body` bytes.
     * `gated`: others will see of it, so it waits for the state it is caused in. `id` gets what
     * isola_js_io and the next two name it by. */
    int (*io_start)(void *arg, uint32_t actor, bool gated, struct isola_slice what,
                    struct isola_slice head, struct isola_slice body, uint64_t *id,
                    struct isola_err *err);
    /* The next answer is wanted; none is any more. Of what has ended: nothing happens. */
    void (*io_more)(void *arg, uint64_t id);
    void (*io_cancel)(void *arg, uint64_t id);
    /* After isola_v8_interrupt, perhaps in the middle of a script: must not run JavaScript. */
    void (*interrupted)(void *arg, struct isola_js *js);

    /* These four may be NULL. Around each entry: all between enter and leave runs in the name of
     * `actor` (0: of none, or several) and, if it is known, in `turn`; between run and leave it is
     * the record isola_js_at says. isola_v8_terminate may be called between them, by whoever knows
     * that the entry has not been left. */
    void (*enter)(void *arg, uint32_t actor, uint32_t turn);
    void (*run)(void *arg);
    void (*leave)(void *arg);
    /* The entry that has just been left was ended, whatever it was about: none of the other ops may
     * have been called. `actor`: whose code it was, as far as is known, else that of the entry.
     * True: the isolate goes on, which it can when `why` is ISOLA_V8_TERMINATED; false: nothing
     * runs in it any more: all entries return at once and call nothing. */
    bool (*ended)(void *arg, uint32_t actor, enum isola_v8_end why);
};

/* Bytes of the isolate's heap, and of its array buffers. 0: no limit. */
struct isola_v8_limits {
    uint64_t heap, external;
    uint64_t young; /* bytes new objects have at once, 0: as V8 thinks fit */
    uint32_t batch; /* records it takes before a run, at least; it has room for 16 in any case */
    bool shared;    /* by many actors */
};

/* Creates an isolate; 1 ms. `ops`, `arg` and `image` must outlive it. With an image (NULL: none)
 * the module of that is loaded already. Takes no lock: visit it afterwards. */
POOL_THREAD ISOLA_MUST_USE int isola_v8_open(const struct isola_v8_ops *ops, void *arg,
                                             struct isola_v8_limits limits,
                                             const struct isola_v8_image *image,
                                             struct isola_v8 **out, struct isola_err *err);
/* To an isolate opened with NULL for `arg`, which has not been visited: it belongs to this one now,
 * and begins to live. What V8 has posted for it meanwhile is reported. */
POOL_THREAD void isola_v8_adopt(struct isola_v8 *v, void *arg);
/* Nobody may be visiting. Timers and promises of its scripts end silently. */
POOL_THREAD void isola_v8_close(struct isola_v8 *v);
/* Calls `fn` with the isolate locked and entered. */
POOL_THREAD void isola_v8_visit(struct isola_v8 *v, void (*fn)(struct isola_js *js, void *arg),
                                void *arg);
/* Ends the entry that is under way, with an exception no script can catch; native code that works
 * for a script looks for it every so often. Without an entry under way, the next one. */
ANY_THREAD void isola_v8_terminate(struct isola_v8 *v);
/* Likewise, having noted where the script is, at its next chance to; isola_v8_terminate is to
 * follow when it is still under way a little later. Without an entry under way: nothing. */
ANY_THREAD void isola_v8_halt(struct isola_v8 *v);
/* In ops->ended: appends where it was, as lines of a stack each after a newline, if that was noted.
 */
JS_THREAD void isola_v8_where(struct isola_v8 *v, struct isola_buf *out);

/* Has ops->interrupted called soon, if a script runs in it now, or when the next one does. */
ANY_THREAD void isola_v8_interrupt(struct isola_v8 *v);

/* --- what makes loading a module faster --- */

/* Names what code caches and images are good for: V8, its flags, and this program. */
#define ISOLA_V8_KEY_SIZE 96
ANY_THREAD void isola_v8_key(char out[ISOLA_V8_KEY_SIZE]);

/* Evaluates a module and gives out what lets others begin with it: its code, and an image if one is
 * wanted. In a process of its own, on its main thread: the script may end the process at any
 * moment, or never come to an end. A module that does not load within `limits` gives nothing:
 * isolates with them could not begin with it. `env`, `secrets`: as of ops; a module that looks at
 * one of the latter while it loads has no image. */
enum isola_v8_part {
    ISOLA_V8_CODE_CACHE, /* V8's code for the module; first, if it loads */
    ISOLA_V8_IMAGE,      /* a snapshot with the module evaluated; last */
    ISOLA_V8_NO_IMAGE,   /* or why there is none: a sentence without its subject, the module */
};
void isola_v8_prepare(struct isola_slice type, struct isola_slice name, struct isola_slice code,
                      struct isola_slice env, struct isola_slice secrets,
                      struct isola_v8_limits limits, bool image,
                      void (*part)(void *arg, enum isola_v8_part part, struct isola_slice bytes),
                      void *arg);

/* An image, made in a process of the same key and hash seed, for isolates to start from. Copies
 * `bytes`; `code` must outlive it. The bytes are trusted. */
ANY_THREAD ISOLA_MUST_USE int isola_v8_image_new(struct isola_slice bytes, struct isola_slice code,
                                                 struct isola_v8_image **out,
                                                 struct isola_err *err);
ANY_THREAD void isola_v8_image_free(struct isola_v8_image *image); /* NULL is fine */

/* --- inside a visit --- */

/* Loads the ES module of an actor type; ends by ops->loaded, perhaps before it returns. `name` is
 * for stack traces; `code` must outlive the isolate. `cache`: V8's code for it, or empty. True:
 * that was used; false: it was rejected, and everything compiled. */
JS_THREAD bool isola_js_load(struct isola_js *js, struct isola_slice type, struct isola_slice code,
                             struct isola_slice name, struct isola_slice cache);
/* Creates an actor of a loaded type, with its stored state (empty: none, else one msgpack value);
 * ends by ops->activated. `no_state`, unless empty, says why its state cannot be had: touching it
 * throws EUNREACHABLE. `from`: another release has written that state, or one that is not known
 * (no bytes); NULL data: this one, or there is none. */
JS_THREAD void isola_js_activate(struct isola_js *js, uint32_t actor, struct isola_slice app,
                                 struct isola_slice type, struct isola_slice key,
                                 struct isola_slice state, struct isola_slice no_state,
                                 struct isola_slice from);
JS_THREAD void isola_js_deactivate(struct isola_js *js, uint32_t actor);
/* Messages and answers are records that isola_js_run hands over together; until then their slices
 * are borrowed. There must be room for one more. `block`: where `args` lie, which never changes
 * then: what is long stays there, and the isolate has references; NULL: it copies all.
 *
 * One turn, ended by ops->done with the same `turn` (never 0), perhaps in that run. */
JS_THREAD void isola_js_deliver(struct isola_js *js, uint32_t actor, uint32_t turn, bool is_ask,
                                struct isola_slice event, struct isola_slice args,
                                struct isola_block *block);
/* The last turn of an activation: the script's onHibernate, if it has one. */
JS_THREAD void isola_js_hibernate(struct isola_js *js, uint32_t actor, uint32_t turn);
/* A turn too: an event the actor subscribed to. */
JS_THREAD void isola_js_event(struct isola_js *js, uint32_t actor, uint32_t turn, uint64_t sub,
                              struct isola_slice args);
/* The answer to an ask of `actor`: `args` as in ops->done. False: `args` are not borrowed. */
JS_THREAD bool isola_js_settle(struct isola_js *js, uint32_t actor, uint64_t id, bool ok,
                               struct isola_slice args, struct isola_block *block);
/* Runs them in their order, the microtasks after each that may have left some; asks that could not
 * be sent fail. False: there was nothing to do. */
JS_THREAD bool isola_js_run(struct isola_js *js);
/* The record of this index, counted from the last run, is not to run. */
JS_THREAD void isola_js_forget(struct isola_js *js, uint32_t record);
/* Where the index is of the record that runs; written while others may read it. */
JS_THREAD const int32_t *isola_js_at(struct isola_js *js);
/* The time of an ask is over: it fails with ETIMEDOUT. */
JS_THREAD void isola_js_expire(struct isola_js *js, uint32_t actor, uint64_t id);
/* Nobody waits for the turn that this ask of `actor` was made in: it fails with ISOLA_ECANCELED,
 * after ops->cancel. */
JS_THREAD void isola_js_cancelled(struct isola_js *js, uint32_t actor, uint64_t id);
/* The activation, of `actor`, that it belongs to ends: ops->cancel is called, and no script. */
JS_THREAD void isola_js_drop_ask(struct isola_js *js, uint32_t actor, uint64_t id);
/* Nobody waits for a turn that ops->watch was called for: ISOLA_ECANCELED, or ISOLA_ETIMEDOUT. */
JS_THREAD void isola_js_abort(struct isola_js *js, uint32_t actor, uint32_t turn, int code);
JS_THREAD void isola_js_timer(struct isola_js *js, uint32_t actor, uint64_t id);
/* When a cron expression of `actor` comes next after this time, both in ms since 1970; 0: never, or
 * it is none, or its script has come to an end. */
JS_THREAD uint64_t isola_js_next(struct isola_js *js, uint32_t actor, struct isola_slice cron,
                                 struct isola_slice zone, uint64_t after);
/* An answer to ops->io_start of `actor`: JSON (or nothing) and bytes (or none). */
JS_THREAD void isola_js_io(struct isola_js *js, uint32_t actor, uint64_t id, bool last,
                           struct isola_slice head, struct isola_slice body);
/* What ops->storage_get, _list or a sync of `actor` has ended with: items in the order that was
 * asked for, or a code and why. `beyond`, unless empty: there may be more, behind this key. */
JS_THREAD void isola_js_stored(struct isola_js *js, uint32_t actor, uint64_t id, int code,
                               const char *why, const struct isola_kept *items, size_t n,
                               struct isola_slice beyond);
/* To the streams of `actor`: what an end at `src` says, or (`ended`) that its activation has ended:
 * [{address, reason, message}]. False: there is no such stream. */
JS_THREAD bool isola_js_stream(struct isola_js *js, uint32_t actor, struct isola_slice src,
                               bool ended, struct isola_slice args);
/* Runs what V8 posted and is due. */
JS_THREAD void isola_js_tasks(struct isola_js *js);
/* Appends the actor's state (one msgpack value) to `out`, if its script has looked at it
 * (*touched). ISOLA_ECLONE with the path when it holds something that cannot be stored. */
JS_THREAD ISOLA_MUST_USE int isola_js_state(struct isola_js *js, uint32_t actor,
                                            struct isola_buf *out, bool *touched,
                                            struct isola_err *err);
/* --- looking into it: in a visit, or in ops->interrupted (inspect.cc) --- */

/* Where the bytes of a file go. False: no more of them, it has failed. */
struct isola_v8_sink {
    bool (*write)(void *arg, struct isola_slice bytes);
    void *arg;
};
/* Takes samples of what runs, every `interval_us`, until isola_js_profile_end or the isolate's end.
 * Only while it runs on this thread. ISOLA_EBUSY: one is being taken already. */
JS_THREAD ISOLA_MUST_USE int isola_js_profile(struct isola_js *js, uint32_t interval_us,
                                              struct isola_err *err);
/* Writes what was sampled as Chrome's .cpuprofile. ISOLA_ENOENT: none is being taken; ISOLA_EIO:
 * the sink has failed. */
JS_THREAD ISOLA_MUST_USE int isola_js_profile_end(struct isola_js *js, struct isola_v8_sink sink,
                                                  struct isola_err *err);
/* Writes a .heapsnapshot. Takes seconds for a big heap, and several times its size in memory.
 * ISOLA_ETIMEDOUT: it took more than `max_ms`; ISOLA_EIO: the sink has failed. */
JS_THREAD ISOLA_MUST_USE int isola_js_heap_snapshot(struct isola_js *js, uint64_t max_ms,
                                                    struct isola_v8_sink sink,
                                                    struct isola_err *err);

/* Bytes of the isolate's heap in use. */
JS_THREAD size_t isola_js_heap(struct isola_js *js);
/* Puts up to `max` addresses into `lines`: what a visit for one message of the actor that has the
 * isolate to itself is known to need, by lines of a processor's cache. Returns how many; none of an
 * isolate many share. They are to be prefetched, never read: garbage collection moves what they
 * are of. */
JS_THREAD unsigned isola_js_footprint(struct isola_js *js, const void **lines, unsigned max);

#ifdef __cplusplus
}
#endif

#endif
