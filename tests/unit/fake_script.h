/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside fake_v8: what an isolate holds, and what its two files call of each other.
 */
#ifndef ISOLA_TESTS_FAKE_SCRIPT_H
#define ISOLA_TESTS_FAKE_SCRIPT_H

#include <pthread.h>
#include <stdatomic.h>

#include "actors/v8/realm.h"
#include "base/map.h"

#define FAKE_MAGIC 0x150a15u
#define FAKE_SLOTS 65536 /* asks of an isolate under way */
#define FAKE_BATCH 256
#define FAKE_DOWN  "\1down" /* the event monitors subscribe to */

enum fake_task_kind { FAKE_TURN, FAKE_START, FAKE_BACKGROUND };
enum fake_wait {
    FAKE_NOTHING,
    FAKE_ASK,
    FAKE_TIMER,
    FAKE_TASK,
    FAKE_LATE_TASK,
    FAKE_HOLD,
    FAKE_STORED,
    FAKE_CUT_OFF, /* its script was ended: it never goes on */
};

/* A program on its way. */
struct fake_task {
    struct fake_task *next;
    enum fake_task_kind kind;
    uint32_t turn;
    char *program;
    size_t at;
    enum fake_wait wait;
    uint64_t id;    /* of the ask or timer */
    char asked[64]; /* whom */
    bool try;       /* ask: a failure is a value */
    bool lists;     /* what it waits for is a list of items */
    char hold[32];
    bool opened; /* what it waits for has come: to be resumed */
    int code;    /* not 0: it has failed, with `text` */
    int64_t value;
    bool is_text; /* the value is `text` */
    char text[200];
};

struct fake_sub {
    struct fake_sub *next;
    uint64_t id;
    char *address, *event;
};

struct fake_module {
    struct fake_module *next;
    char *type, *code;
    bool reentrant;
    enum { FAKE_LOADING, FAKE_READY, FAKE_FAILED } state;
};

struct fake_actor {
    struct fake_actor *next;
    uint32_t serial;
    bool active, touched;
    char from[40];      /* who has written its state, if another release */
    char no_state[300]; /* why its state cannot be had; empty: it can */
    bool bad, endless;  /* its state cannot be encoded; that never ends */
    bool ended;         /* with its isolate */
    char *address;
    struct fake_module *module;
    int64_t n; /* its state */
    struct fake_task *tasks;
    struct fake_sub *subs;
};

/* A message or an answer until isola_js_run. */
struct fake_record {
    bool forgotten, is_turn, ok;
    uint32_t actor, turn;
    uint64_t id;
    struct isola_slice args;
};

struct isola_v8 {
    uint32_t magic;
    const struct isola_v8_ops *ops;
    void *arg;
    bool visiting, in_op;
    pthread_t visitor;
    atomic_bool entered;
    bool dead;                  /* nothing runs in it any more */
    struct fake_actor *current; /* whose program runs */
    int ending;                 /* enum isola_v8_end; these two under fake_board.c's lock */
    bool halted;
    char where[64];
    struct isola_map serials; /* those used so far */
    uint32_t asks;            /* so far */
    struct fake_record *records;
    uint32_t nrecords;
    bool runs; /* the one at `at` */
    int32_t at;
    struct fake_actor *actors;
    struct fake_module *modules;
    struct fake_poster *poster;
};

struct isola_js {
    uint32_t magic;
    struct isola_v8 *v;
};

/* fake_script.c */

/* Runs a program until it has to wait (false) or has ended (true). */
bool fake__run(struct isola_v8 *v, struct fake_actor *a, struct fake_task *t);
void fake__answered(struct fake_task *t, bool ok, struct isola_slice args);
/* What was read of its storage, or a code. */
void fake__stored(struct fake_task *t, int code, const char *why, const struct isola_kept *items,
                  size_t n, struct isola_slice beyond);
/* The rest of the line of `code` that begins with `word`; empty when there is none. */
struct isola_slice fake__line(const char *code, const char *word);

/* fake_board.c: what tests see and steer, and the thread that posts tasks */

bool fake__opened(void);
void fake__closed(void);
void fake__alive(const char *address, bool alive);
void fake__note(const char *address, const char *word);
bool fake__flagged(const char *flag);
void fake__block(const char *name);
/* Asks for the end of the entry under way. */
void fake__end(struct isola_v8 *v, enum isola_v8_end why);
void fake__halt(struct isola_v8 *v);
/* Why scripts are being ended, or 0. */
int fake__ending(struct isola_v8 *v);
/* The entry is left: a halt is forgotten, and, if the isolate goes on, why scripts were ended. */
void fake__left(struct isola_v8 *v, bool goes_on);
/* Uses CPU time until scripts are ended; a `hard` loop does not notice halts. False when the
 * deadline has passed. */
bool fake__loop(struct isola_v8 *v, bool hard);
/* Uses CPU time until `name` is opened, whatever happens. */
void fake__deaf(const char *name);
/* Uses so much CPU time, and waits until that has been seen; the end of scripts does not keep a
 * `deaf` one from it. */
void fake__spin(struct isola_v8 *v, uint64_t ms, bool deaf);
struct fake_poster *fake__poster_new(struct isola_v8 *v);
void fake__poster_close(struct fake_poster *p);
/* Another thread posts a task, due at once or (`late`) in `ms`. */
void fake__post(struct fake_poster *p, uint64_t ms, bool late);
/* Takes what is due: true for tasks, *late for delayed ones. */
bool fake__due(struct fake_poster *p, bool *late);

#endif
