/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside fake_v8: what an isolate holds, and what its two files call of each other.
 */
#ifndef ISOLA_TESTS_FAKE_SCRIPT_H
#define ISOLA_TESTS_FAKE_SCRIPT_H

#include <pthread.h>

#include "actors/v8/realm.h"
#include "base/map.h"

#define FAKE_MAGIC 0x150a15u

enum fake_task_kind { FAKE_TURN, FAKE_START, FAKE_BACKGROUND };
enum fake_wait {
    FAKE_NOTHING,
    FAKE_ASK,
    FAKE_TIMER,
    FAKE_TASK,
    FAKE_LATE_TASK,
    FAKE_HOLD,
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
    bool active, touched, bad, no_state;
    char *address;
    struct fake_module *module;
    int64_t n; /* its state */
    struct fake_task *tasks;
    struct fake_sub *subs;
};

struct isola_v8 {
    uint32_t magic;
    const struct isola_v8_ops *ops;
    void *arg;
    bool visiting, in_op;
    pthread_t visitor;
    bool terminated;          /* under fake_board.c's lock */
    struct isola_map serials; /* those used so far */
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
/* The rest of the line of `code` that begins with `word`; empty when there is none. */
struct isola_slice fake__line(const char *code, const char *word);

/* fake_board.c: what tests see and steer, and the thread that posts tasks */

bool fake__opened(void);
void fake__closed(void);
void fake__alive(const char *address, bool alive);
void fake__note(const char *address, const char *word);
bool fake__flagged(const char *flag);
void fake__block(const char *name);
void fake__terminate(bool *terminated);
/* False when the deadline has passed. */
bool fake__await_terminate(const bool *terminated);
struct fake_poster *fake__poster_new(struct isola_v8 *v);
void fake__poster_close(struct fake_poster *p);
/* Another thread posts a task, due at once or (`late`) in `ms`. */
void fake__post(struct fake_poster *p, uint64_t ms, bool late);
/* Takes what is due: true for tasks, *late for delayed ones. */
bool fake__due(struct fake_poster *p, bool *late);

#endif
