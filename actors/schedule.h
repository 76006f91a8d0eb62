/* SPDX-License-Identifier: Apache-2.0
 *
 * Durable timers: what actors have of them (schedule.c), and the alarm clock of the host (alarm.c).
 */
#ifndef ISOLA_ACTORS_SCHEDULE_H
#define ISOLA_ACTORS_SCHEDULE_H

#include <pthread.h>
#include <stdatomic.h>

#include "actors/host.h"
#include "actors/v8/realm.h"
#include "base/heap.h"
#include "base/kept.h"
#include "base/map.h"

struct isola_actor;

/* What an actor may have of them: timers, bytes of them all, bytes of the values of one and of an
 * id. */
#define ISOLA_TIMERS_MAX     10000
#define ISOLA_TIMERS_BYTES   ((size_t)8 << 20)
#define ISOLA_TIMER_ARGS_MAX ((size_t)64 << 10)
#define ISOLA_TIMER_ID_MAX   256

/* --- an actor's (schedule.c). In a visit --- */

/* Called by a script, as the ops of v8/realm.h. They count with the next settle. */
ISOLA_MUST_USE int isola__schedule_set(struct isola_actor *a, const struct isola_v8_timer *timer,
                                       struct isola_buf *id, struct isola_err *err);
ISOLA_MUST_USE int isola__schedule_cancel(struct isola_actor *a, struct isola_slice id, bool *was,
                                          struct isola_err *err);
ISOLA_MUST_USE int isola__schedule_each(struct isola_actor *a,
                                        void (*each)(void *ctx, const struct isola_v8_timer *timer),
                                        void *ctx, struct isola_err *err);
/* Is there anything to be written? */
bool isola__schedule_dirty(const struct isola_actor *a);
/* The rows of that: they count as written. */
void isola__schedule_rows(struct isola_actor *a, struct isola_kept_rows *out);
/* A write with such rows has ended, of this activation or an earlier one. */
void isola__schedule_written(struct isola_actor *a, bool current, int code);
/* Its state was read, and these rows with it. */
void isola__schedule_load(struct isola_actor *a, const struct isola_kept_rows *rows);
/* It leaves its realm. */
void isola__schedule_end(struct isola_actor *a);
/* How many it has, and when the first is due (0: none is, or that is being carried out), as of the
 * last settle. Under the lock of its directory shard. */
ANY_THREAD size_t isola__schedule_told(const struct isola_actor *a, uint64_t *due);
/* A FIRE has its turn: the message of a timer that is due, or NULL. Takes the FIRE, which comes
 * again when more are due. */
struct isola_mail *isola__schedule_fire(struct isola_actor *a, struct isola_mail *fire);
/* The turn of that message has ended otherwise than by a crash; `heard`: there was a handler. */
void isola__schedule_done(struct isola_actor *a, const struct isola_mail *m, bool heard);
/* It has crashed the actor: `why` is for a person. Borrows `m`. */
void isola__schedule_crashed(struct isola_actor *a, const struct isola_mail *m,
                             struct isola_slice why);

/* --- the alarm clock (alarm.c). ANY_THREAD --- */

/* In the origin of its STARTs, beside a number. */
#define ISOLA_ALARM_ID (UINT64_C(1) << 62)

struct isola__alarm_entry;

struct isola_alarm {
    pthread_mutex_t lock; /* guards all */
    pthread_cond_t wake;  /* on the wall clock */
    pthread_t thread;
    bool open;                /* releases and places are known */
    struct isola_map entries; /* address → struct isola__alarm_entry */
    struct isola_heap due;    /* of those, ms since 1970 */
    size_t npaused;           /* of those in `due`, that are tried again */
    /* Those a FIRE or START is under way for, the oldest first, and how many of them count. */
    struct isola__alarm_entry *first, **last;
    size_t nflying;
    bool full; /* the thread waits for fewer */
    uint64_t wakes, seed;
    /* What has been read of the store: all that is not beyond `known`. */
    struct isola_state_io io;
    struct isola_kept_due want;
    struct isola_buf at_address, at_id; /* want's */
    struct isola_kept_rows page;
    int page_code;
    enum { ISOLA_PAGE_NONE, ISOLA_PAGE_READING, ISOLA_PAGE_READ } reading;
    bool again;       /* from the first, once the page under way is read */
    bool all;         /* there was nothing more up to `known` */
    uint64_t known;   /* ms since 1970 */
    uint64_t read_at; /* not before, ms since 1970 */
    bool asleep;      /* some were left to the store that nobody wants now */
    uint64_t look_at; /* for those, ms since 1970 */
    /* How often those that crashed their actor have: "address\0id" → struct crashed. */
    struct isola_map crashed;
    atomic_size_t ncrashed; /* of these */
};

ISOLA_MUST_USE int isola__alarm_open(struct isola_host *h, struct isola_err *err);
/* Releases and places are known. */
void isola__alarm_begin(struct isola_host *h);
/* The actor at `address` has a timer that is due then: perhaps its first. */
void isola__alarm_add(struct isola_host *h, struct isola_slice address, uint64_t due);
/* That is its first one for certain, 0: it has none; and what a FIRE has come for is done. */
void isola__alarm_set(struct isola_host *h, struct isola_slice address, uint64_t due);
/* It is to get a FIRE in a while, longer each time: what it came for is not done, or nobody knows.
 */
void isola__alarm_again(struct isola_host *h, struct isola_slice address);
/* A FIRE did not reach it. Takes it. */
void isola__alarm_refused(struct isola_host *h, struct isola_mail *fire, int code);
/* What a START of the alarm's own has ended with. Takes it. */
void isola__alarm_started(struct isola_host *h, struct isola_mail *answer);
/* There is another release, or places have changed: what was in vain is tried again. */
void isola__alarm_changed(struct isola_host *h);
/* This timer, which was due then, has crashed its actor: for the how manieth time in a row? 0: not
 * known. */
unsigned isola__alarm_crashed(struct isola_host *h, struct isola_slice address,
                              struct isola_slice id, uint64_t due);
/* It has not, or is given up. */
void isola__alarm_forgive(struct isola_host *h, struct isola_slice address, struct isola_slice id);

#endif
