/* SPDX-License-Identifier: Apache-2.0
 *
 * Random messages from several threads to random actors, with crashes, stops, releases, moves,
 * time-outs, turns that never end, scripts that are ended, parents and monitors, reads, writes and
 * isolates that fail mixed in. At the end: every ask was answered once (the world aborts at a
 * second answer), no acknowledged change is lost and none was made that nobody asked for, mail kept
 * its order, who monitors an actor has heard of each of its ends once, and nothing is left behind
 * (world_end, and the sanitizers).
 *
 * ISOLA_TEST_SEED repeats a run's choices, though not how its threads interleave; ISOLA_STRESS_OPS
 * makes it longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "actors/host_own.h"
#include "base/clock.h"
#include "fake_world.h"

#define POSTERS   4
#define ADDRESSES 12
#define CPU       10 /* ms */
#define WATCHER   "w/T/w"
#define MOVING    6 /* the first of them change their place: for these no order is promised */

struct op {
    uint64_t id;     /* of its answer; 0: nobody waits for one */
    int first, then; /* whose state it changes, -1: nobody's; asked of `first` */
};

struct poster {
    struct world *w;
    pthread_t thread;
    unsigned number, seed, nops;
    struct op *ops;
};

static char addresses[ADDRESSES][16];
static pthread_mutex_t release_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned releases;

static unsigned pick(struct poster *p, unsigned n)
{
    p->seed = p->seed * 1664525u + 1013904223u;
    return (p->seed >> 8) % n;
}

static void release(struct world *w)
{
    static const char start[] = "start timer 1; task; throwif broken";
    struct isola_host_type types[] = {
        world_type("T", "", ""), world_type("S", "shared", start),
        world_type("R", "reentrant shared", "reentrant\nload later\nstop add 0; timer 1")};
    types[0].life.hibernate_after_ms = 8;
    types[1].life.hibernate_after_ms = 16;
    for (int i = 0; i < 3; i++)
        types[i].limits.cpu_ms = CPU;
    types[0].life.strategy = ISOLA_ONE_FOR_ALL;
    types[2].life.strategy = ISOLA_REST_FOR_ONE;
    char id[16];
    pthread_mutex_lock(&release_lock);
    snprintf(id, sizeof(id), "r%u", releases++ % 3); /* old ids come back */
    world_release_types(w, "t", id, 3, types);
    pthread_mutex_unlock(&release_lock);
}

/* Something that goes wrong, or changes where and how actors live. */
static void disturb(struct poster *p)
{
    const char *whom = addresses[pick(p, ADDRESSES)];
    static const char *const modes[] = {"transient", "permanent", "temporary"};
    char program[100];
    switch (pick(p, 17)) {
    case 0:
        world_emit(p->w, whom, "throw oh");
        break;
    case 1:
        (void)world_await(p->w, world_ask(p->w, whom, "later 1 {throw late}; crash oh"));
        break;
    case 2:
        (void)world_await(p->w, world_stop(p->w, whom));
        break;
    case 3:
        (void)world_stop(p->w, whom);
        break;
    case 4:
        release(p->w);
        break;
    case 5:
    case 6:
        world_place(p->w, addresses[pick(p, MOVING)], pick(p, 2) ? 2 : 0);
        isola_host_moved(world_host(p->w));
        break;
    case 7:
        world_fail_writes(p->w, 1);
        break;
    case 8:
        world_fail_reads(p->w, 1, pick(p, 2) ? ISOLA_EIO : ISOLA_EUNREACHABLE);
        break;
    case 9:
        fake_fail_opens(1);
        break;
    case 11:
        world_emit(p->w, whom, pick(p, 2) ? "add 0; loop" : "timer 1; add 0; loop hard");
        break;
    case 12:
        world_emit(p->w, whom, pick(p, 2) ? "spin 12; add 0" : "spin 6; timer 1; spin 6; add 0");
        break;
    case 13:
        if (pick(p, 4) == 0)
            world_emit(p->w, whom, pick(p, 2) ? "grow heap" : "grow external");
        break;
    case 15:
        whom = addresses[MOVING + pick(p, ADDRESSES - MOVING)]; /* where a stop finds it */
        world_emit(p->w, whom,
                   pick(p, 2) ? "hold never" : "add 0; watch; tryask t/T/k2 {timer 40; get}");
        (void)world_stop(p->w, whom);
        break;
    case 14:
        snprintf(program, sizeof(program), "spawn %s %s", addresses[pick(p, ADDRESSES)],
                 modes[pick(p, 3)]);
        (void)world_await(p->w, world_ask(p->w, whom, program));
        break;
    case 10:
        isola_host_drop_link(world_host(p->w), 2 + p->number);
        break;
    default:
        fake_flag("broken", pick(p, 5) == 0);
        break;
    }
}

static struct op message(struct poster *p, unsigned n)
{
    char program[256], note[32];
    struct op op = {.first = (int)pick(p, ADDRESSES), .then = -1};
    int other = (int)pick(p, ADDRESSES);
    snprintf(note, sizeof(note), "note p%u:%u", p->number, n);
    switch (pick(p, 10)) {
    case 0:
        snprintf(program, sizeof(program), "%s; add 1; ask %s {add 1} 50", note, addresses[other]);
        op.then = other;
        break;
    case 1:
        snprintf(program, sizeof(program), "%s; tryask %s {timer 3; get} 1; add 1", note,
                 addresses[other]);
        break;
    case 2:
        snprintf(program, sizeof(program), "%s; timer 1; add 1", note);
        break;
    case 3:
        snprintf(program, sizeof(program), "%s; task; add 1; task 1", note);
        break;
    case 4:
        snprintf(program, sizeof(program), "%s; sub %s x; add 1; pub x {get}", note,
                 addresses[other]);
        break;
    case 5:
        snprintf(program, sizeof(program), "%s; pub x {get}; unsub; add 1", note);
        break;
    case 6:
        snprintf(program, sizeof(program), "%s; add 1; emit %s {get}", note, addresses[other]);
        break;
    default:
        snprintf(program, sizeof(program), "%s; add 1", note);
        break;
    }
    if (pick(p, 5) == 0)
        world_emit(p->w, addresses[op.first], program);
    else
        op.id = world_ask(p->w, addresses[op.first], program);
    return op;
}

static void *post(void *arg)
{
    struct poster *p = arg;
    for (unsigned i = 0; i < p->nops; i++) {
        if (pick(p, 20) == 0)
            disturb(p);
        if (pick(p, 50) == 0)
            (void)world_sub(p->w, 2 + p->number, addresses[pick(p, ADDRESSES)], "x");
        p->ops[i] = message(p, i);
        if (pick(p, 30) == 0 && p->ops[i].id != 0)
            (void)world_await(p->w, p->ops[i].id); /* lets actors become idle at times */
    }
    for (unsigned i = 0; i < p->nops; i++)
        if (p->ops[i].id != 0)
            (void)world_await(p->w, p->ops[i].id);
    return NULL;
}

static void order_was_kept(const char *address)
{
    long last[POSTERS] = {-1, -1, -1, -1};
    char prefix[32];
    unsigned poster;
    long n;
    snprintf(prefix, sizeof(prefix), "%s ", address);
    const char *note;
    for (unsigned at = 0; (note = fake_note_from(prefix, &at)) != NULL;) {
        if (sscanf(note + strlen(prefix), "p%u:%ld", &poster, &n) != 2)
            continue;
        assert_in_range(poster, 0, POSTERS - 1);
        if (n <= last[poster])
            fail_msg("%s saw message %ld of poster %u after %ld", address, n, poster, last[poster]);
        last[poster] = n;
    }
}

/* One that is never disturbed monitors all that stay here. */
static void watch(struct world *w)
{
    char program[400] = "";
    world_release(w, "w", "1", "", "");
    for (int i = MOVING; i < ADDRESSES; i++) {
        strcat(program, "monitor ");
        strcat(program, addresses[i]);
        strcat(program, "; ");
    }
    strcat(program, "echo 0");
    must_reply(w, world_ask(w, WATCHER, program), 0);
}

static unsigned count(struct world *w, const char *address, const char *reason)
{
    char note[100];
    (void)w;
    snprintf(note, sizeof(note), WATCHER " down %s %s", address, reason);
    return fake_count_note(note);
}

static unsigned lines(struct world *w, const char *address, const char *said)
{
    char line[100];
    snprintf(line, sizeof(line), "%s: %s", address, said);
    return world_logged(w, line);
}

/* What it has crashed and failed of is in the log: the watcher has heard as often, soon. */
static void each_end_was_told_once(struct world *w, const char *address)
{
    uint64_t deadline = fake_deadline();
    for (;;) {
        unsigned crashed = lines(w, address, "crashed"), failed = lines(w, address, "could not");
        must_reply(w, world_ask(w, WATCHER, "echo 0"), 0);
        unsigned c = count(w, address, "crashed"), f = count(w, address, "failed");
        if (c == crashed && f == failed)
            return;
        if (isola_clock_ms() > deadline)
            fail_msg("%s has crashed %u times and failed %u times; %u and %u were told", address,
                     crashed, failed, c, f);
    }
}

static void nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    const char *more = getenv("ISOLA_STRESS_OPS");
    unsigned nops = more != NULL ? (unsigned)strtoul(more, NULL, 10) : 1000;
    struct world *w = world_new(3);
    struct poster posters[POSTERS];
    isola_host_set_spares(world_host(w), 2);
    for (int i = 0; i < ADDRESSES; i++)
        snprintf(addresses[i], sizeof(addresses[i]), "t/%c/k%d", "TSR"[i % 3], i / 3);
    world_host(w)->graces = (struct isola_graces){.stop = 10, .upgrade = 20, .last = 5};
    world_others_refuse(w);
    release(w);
    watch(w);
    world_fail_writes_of(w, 10);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] =
            (struct poster){.w = w, .number = i, .seed = world_random(w, 1u << 30), .nops = nops};
        posters[i].ops = isola_zalloc(nops * sizeof(struct op));
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post, &posters[i]), 0);
    }
    int64_t least[ADDRESSES] = {0}, most[ADDRESSES] = {0};
    unsigned replies = 0;
    for (unsigned i = 0; i < POSTERS; i++) {
        struct poster *p = &posters[i];
        pthread_join(p->thread, NULL);
        for (unsigned n = 0; n < nops; n++) {
            struct op *op = &p->ops[n];
            bool ok = op->id != 0 && world_outcome(w, op->id).kind == ISOLA_MSG_REPLY;
            replies += ok;
            least[op->first] += ok;
            most[op->first]++;
            if (op->then >= 0) {
                least[op->then] += ok;
                most[op->then]++;
            }
        }
        free(p->ops);
    }
    fake_flag("broken", false);
    fake_fail_opens(0);
    for (int i = MOVING; i < ADDRESSES; i++)
        each_end_was_told_once(w, addresses[i]);
    world_end(w);
    for (int i = 0; i < ADDRESSES; i++) {
        int64_t stored = world_stored(w, addresses[i]);
        if ((stored < least[i] && least[i] > 0) || stored > most[i])
            fail_msg("%s holds %lld; %lld were acknowledged, %lld sent", addresses[i],
                     (long long)stored, (long long)least[i], (long long)most[i]);
        if (i >= MOVING)
            order_was_kept(addresses[i]);
    }
    printf("%u of %u asks were granted, %u activations\n", replies, POSTERS * nops,
           fake_activations());
    assert_true(replies > POSTERS * nops / 20); /* else it has shown nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
