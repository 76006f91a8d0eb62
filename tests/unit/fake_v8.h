// clang-format off: the tables stay as they are
/* SPDX-License-Identifier: Apache-2.0
 *
 * A stand-in for actors/v8: isolates whose "JavaScript" is a tiny language, so that actors/ can be
 * run under the sanitizers. It checks the contract of actors/v8/realm.h as it goes, and aborts on a
 * breach: one thread at a time in an isolate, no entry from within an op or another entry, each
 * turn begun once and one at a time, asks and timers settled once, nothing used after it was
 * closed, and no address alive twice.
 *
 * A message runs a program: its args are [text]. A program is operations with ';' between them; a
 * word in braces may hold spaces, and programs for others. The last operation with a value answers
 * an ask.
 *
 *   add N        state += N                          get          the state
 *   echo W       W
 *   bad          the state cannot be encoded any more; "bad endless": encoding it never ends
 *   throw W      fails the program                   throwif FLAG fails it when the flag is set
 *   crash W      the crash op; "crash" alone: without a text
 *   ask A {P}    waits for the answer                ask A {P} MS with a timeout
 *   tryask ...   likewise; a failure's value is its code
 *   emit A {P}   value: not congested                pub EVENT {P}
 *   demit A {P}, dask A {P} [MS]: durable ones
 *   droom        waits until there is room for more of them
 *   sub A EVENT  hears it: events run their P        unsub        the newest subscription
 *   monitor A    hears that it is down: "WHO down A REASON" is noted; unsub ends it
 *   spawn A [permanent | transient | temporary]      a child
 *   put K N      an item of its storage, a number      drop K  deletes it
 *   fetch K      its value, or -1                     look K   what is known without reading, or -2
 *   keys [FROM TO ROWS]      the keys from FROM to before TO ("-": no bound), and "+" when there
 *                are more; "down ..." from the last one on
 *   begin, commit, undo: a transaction                wipe     deletes all
 *   sync         waits until all is on disk
 *   sql {TEXT}   a query of its database; value: the first of its rows' first, a number
 *   sqlopen {TEXT}           likewise, and reads no more of it    sqlbegin     a transaction of it
 *   hold NAME    waits for an "open NAME" in this isolate, from another turn
 *   timer MS     waits                               later MS {P} runs P outside of any turn
 *   task         waits until a task is run that another thread posts; "task MS": with wake_later
 *   block NAME   holds the thread until fake_open(NAME)
 *   loop         uses CPU time until its script is ended; "loop hard" notices no halt, "loop deaf
 *                NAME" nothing, until fake_open(NAME)
 *   spin MS      uses so much CPU time; "spin MS deaf" even when its script is ended meanwhile
 *   grow heap    uses more heap than there is; "grow external" likewise array buffers
 *   watch        wants to know when nobody waits for the turn: then "ADDRESS CODE" is noted
 *   schedule ID {P} MS [EVERY | =EVERY | cMS]  a durable timer in MS (or before now), and each
 * EVERY ms from there on (=EVERY: without a start); or as a cron expression: MS after it was looked
 * at, c0 never cancel ID    value: it was there                 schedules    value: how many there
 * are trace        the 16th byte of the trace context it sends in, or 0 note W       notes "ADDRESS
 * W"; see fake_await_note log W        a line of its log
 *
 * A module's code is lines:
 *   load fail | load failif FLAG | load later | load never | load loop | load deaf NAME
 *                (nothing: loads at once)
 *   upgrade P    the hook onUpgrade, ahead of that; in it "from" notes "ADDRESS from VERSION"
 *   start P      the activation
 *   stop P       its last turn
 *   reentrant    its turns may overlap
 */
// clang-format on
#ifndef ISOLA_TESTS_FAKE_V8_H
#define ISOLA_TESTS_FAKE_V8_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Longest wait of a test for anything, s. */
#define FAKE_DEADLINE_S 60

/* A condition variable on the monotonic clock, and waiting for it until the deadline; false: it has
 * passed. */
void fake_cond_init(pthread_cond_t *c);
bool fake_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline_ms);
uint64_t fake_deadline(void);

/* The next `n` isolates cannot be made. */
void fake_fail_opens(unsigned n);
void fake_flag(const char *flag, bool set);
/* Lets "block NAME" go on, now and later. */
void fake_open(const char *name);
/* Waits until `note` was noted `times` times; aborts at the deadline. */
void fake_await_note(const char *note, unsigned times);
unsigned fake_count_note(const char *note);
/* The nth note that begins with `prefix`, or NULL; valid until fake_reset. */
const char *fake_note_at(const char *prefix, unsigned nth);
/* The first such note at or after *at, which is moved behind it. */
const char *fake_note_from(const char *prefix, unsigned *at);
/* The CPU time the thread of a worker has used, for ops->cpu. It goes on only in "loop" and "spin",
 * and in a loop by `step` ms each time somebody looks (5 unless set). */
uint64_t fake_cpu(unsigned worker);
void fake_cpu_step(unsigned ms);
/* How often anyone has looked. */
unsigned fake_cpu_looks(void);
/* Waits until `n` isolates are open; aborts at the deadline. */
void fake_await_isolates(unsigned n);
/* Activations so far. */
unsigned fake_activations(void);
/* Forgets notes, flags and opened names, and the isolates of hosts that are not used any more. */
void fake_reset(void);

#endif
