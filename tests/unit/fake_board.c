/* SPDX-License-Identifier: Apache-2.0
 *
 * What a test sees of the isolates and steers them by: notes, flags, opened names, counts. And the
 * thread that posts tasks, as V8's background threads do: a poster outlives its isolate, and wakes
 * nobody once that is closed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "actors/worker.h"
#include "base/clock.h"
#include "fake_script.h"
#include "fake_v8.h"

struct words {
    char **at;
    unsigned n, cap;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct words notes, flags, opened, alive;
static unsigned failing_opens, isolates, activations;

#define WORKERS 16
#define STEP    5 /* ms */

/* The CPU time of the workers' threads. */
static struct cpu {
    uint64_t ns;
    unsigned looping, looks;
} cpus[WORKERS];
static unsigned step = STEP;

struct fake_poster {
    pthread_mutex_t lock;
    struct isola_v8 *v; /* NULL: closed */
    unsigned refs, tasks;
    uint64_t late_at; /* 0: none */
};

static struct post {
    struct post *next;
    struct fake_poster *poster;
    uint64_t ms;
    bool late;
} * posts; /* under `lock` */

uint64_t fake_deadline(void)
{
    return isola_clock_ms() + FAKE_DEADLINE_S * 1000u;
}

void fake_cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

bool fake_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, uint64_t deadline_ms)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000),
                             .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    return pthread_cond_timedwait(c, m, &until) != ETIMEDOUT;
}

static void *post_them(void *arg);

static void init(void)
{
    pthread_t thread;
    fake_cond_init(&changed);
    ISOLA_CHECK(pthread_create(&thread, NULL, post_them, NULL) == 0);
    pthread_detach(thread);
}

static void hold(void)
{
    pthread_once(&once, init);
    pthread_mutex_lock(&lock);
}

static void release(void)
{
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void add(struct words *w, const char *word)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->at = isola_realloc(w->at, w->cap * sizeof(char *));
    }
    w->at[w->n++] = isola_strdup(word);
}

static unsigned count(const struct words *w, const char *word)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->n; i++)
        n += strcmp(w->at[i], word) == 0;
    return n;
}

static void drop(struct words *w, const char *word)
{
    for (unsigned i = 0; i < w->n; i++)
        if (strcmp(w->at[i], word) == 0) {
            free(w->at[i]);
            w->at[i] = w->at[--w->n];
            return;
        }
}

static void clear(struct words *w)
{
    for (unsigned i = 0; i < w->n; i++)
        free(w->at[i]);
    free(w->at);
    *w = (struct words){0};
}

static void late(const char *what, const char *which)
{
    fprintf(stderr, "fake_v8: %s \"%s\" did not come in %d s; noted so far:\n", what, which,
            FAKE_DEADLINE_S);
    for (unsigned i = notes.n > 50 ? notes.n - 50 : 0; i < notes.n; i++)
        fprintf(stderr, "  %s\n", notes.at[i]);
    abort();
}

/* --- what tests call --- */

void fake_fail_opens(unsigned n)
{
    hold();
    failing_opens = n;
    release();
}

void fake_flag(const char *flag, bool set)
{
    hold();
    drop(&flags, flag);
    if (set)
        add(&flags, flag);
    release();
}

void fake_open(const char *name)
{
    hold();
    add(&opened, name);
    release();
}

void fake_await_note(const char *note, unsigned times)
{
    uint64_t deadline = fake_deadline();
    hold();
    while (count(&notes, note) < times)
        if (!fake_cond_wait(&changed, &lock, deadline))
            late("the note", note);
    release();
}

unsigned fake_count_note(const char *note)
{
    hold();
    unsigned n = count(&notes, note);
    release();
    return n;
}

const char *fake_note_from(const char *prefix, unsigned *at)
{
    const char *found = NULL;
    hold();
    for (; *at < notes.n && found == NULL; ++*at)
        if (strncmp(notes.at[*at], prefix, strlen(prefix)) == 0)
            found = notes.at[*at];
    release();
    return found;
}

const char *fake_note_at(const char *prefix, unsigned nth)
{
    unsigned at = 0;
    const char *found = fake_note_from(prefix, &at);
    while (nth-- > 0 && found != NULL)
        found = fake_note_from(prefix, &at);
    return found;
}

void fake_await_isolates(unsigned n)
{
    uint64_t deadline = fake_deadline();
    hold();
    while (isolates != n)
        if (!fake_cond_wait(&changed, &lock, deadline)) {
            fprintf(stderr, "fake_v8: %u isolates are open, not %u\n", isolates, n);
            abort();
        }
    release();
}

unsigned fake_activations(void)
{
    hold();
    unsigned n = activations;
    release();
    return n;
}

void fake_reset(void)
{
    hold();
    clear(&notes);
    clear(&flags);
    clear(&opened);
    clear(&alive);
    isolates = 0;
    failing_opens = 0;
    step = STEP;
    release();
}

void fake_cpu_step(unsigned ms)
{
    hold();
    step = ms;
    release();
}

uint64_t fake_cpu(unsigned worker)
{
    ISOLA_CHECK(worker < WORKERS);
    struct cpu *c = &cpus[worker];
    hold();
    c->looks++;
    if (c->looping > 0)
        c->ns += step * UINT64_C(1000000);
    uint64_t ns = c->ns;
    release();
    return ns;
}

unsigned fake_cpu_looks(void)
{
    unsigned n = 0;
    hold();
    for (int i = 0; i < WORKERS; i++)
        n += cpus[i].looks;
    release();
    return n;
}

/* --- what isolates call --- */

bool fake__opened(void)
{
    hold();
    bool ok = failing_opens == 0;
    if (ok)
        isolates++;
    else
        failing_opens--;
    release();
    return ok;
}

void fake__closed(void)
{
    hold();
    isolates--;
    release();
}

void fake__alive(const char *address, bool is)
{
    hold();
    ISOLA_CHECK(count(&alive, address) == (is ? 0 : 1)); /* never two activations of one address */
    if (is) {
        add(&alive, address);
        activations++;
    } else {
        drop(&alive, address);
    }
    release();
}

void fake__note(const char *address, const char *word)
{
    char *note = isola_format("%s %s", address, word);
    hold();
    add(&notes, note);
    release();
    free(note);
}

bool fake__flagged(const char *flag)
{
    hold();
    bool set = count(&flags, flag) > 0;
    release();
    return set;
}

void fake__block(const char *name)
{
    uint64_t deadline = fake_deadline();
    hold();
    while (count(&opened, name) == 0)
        if (!fake_cond_wait(&changed, &lock, deadline))
            late("the opening of", name);
    release();
}

/* --- the ends of scripts, and CPU time --- */

void fake__end(struct isola_v8 *v, enum isola_v8_end why)
{
    hold();
    if (v->ending == 0)
        v->ending = (int)why;
    release();
}

void fake__halt(struct isola_v8 *v)
{
    hold();
    v->halted = true;
    release();
}

int fake__ending(struct isola_v8 *v)
{
    hold();
    int why = v->ending;
    release();
    return why;
}

void fake__left(struct isola_v8 *v, bool goes_on)
{
    hold();
    v->halted = false;
    if (goes_on)
        v->ending = 0;
    release();
}

static struct cpu *my_cpu(void)
{
    const struct isola_worker *w = isola__worker_here();
    ISOLA_CHECK(w != NULL && w->number < WORKERS);
    return &cpus[w->number];
}

bool fake__loop(struct isola_v8 *v, bool hard)
{
    uint64_t deadline = fake_deadline();
    bool in_time = true;
    struct cpu *c = my_cpu();
    hold();
    c->looping++;
    while (v->ending == 0 && (hard || !v->halted) && in_time)
        in_time = fake_cond_wait(&changed, &lock, deadline);
    if (v->halted && !hard) {
        v->ending = v->ending != 0 ? v->ending : ISOLA_V8_TERMINATED;
        snprintf(v->where, sizeof(v->where), "\n    at loop (t/t.js:1:1)");
    }
    c->looping--;
    release();
    return in_time;
}

void fake__deaf(const char *name)
{
    struct cpu *c = my_cpu();
    hold();
    c->looping++;
    release();
    fake__block(name);
    hold();
    c->looping--;
    release();
}

static bool await_looks(struct isola_v8 *v, const struct cpu *c, unsigned n, bool deaf,
                        uint64_t deadline)
{
    unsigned from = c->looks;
    bool in_time = true;
    while (c->looks - from < n && (deaf || (v->ending == 0 && !v->halted)) && in_time)
        in_time = fake_cond_wait(&changed, &lock, deadline);
    return in_time;
}

void fake__spin(struct isola_v8 *v, uint64_t ms, bool deaf)
{
    uint64_t deadline = fake_deadline();
    struct cpu *c = my_cpu();
    hold();
    /* The first look at an entry does not charge it with all there is. What is seen by a look has
     * been counted when there is another one. */
    bool in_time = await_looks(v, c, 1, deaf, deadline);
    c->ns += ms * 1000000;
    in_time = in_time && await_looks(v, c, 2, deaf, deadline);
    if (v->ending == 0 && v->halted && !deaf)
        v->ending = ISOLA_V8_TERMINATED;
    release();
    if (!in_time)
        late("a look at", "the CPU time of a script");
}

/* --- posted tasks --- */

static void poster_unref(struct fake_poster *p)
{
    pthread_mutex_lock(&p->lock);
    bool last = --p->refs == 0;
    pthread_mutex_unlock(&p->lock);
    if (last) {
        pthread_mutex_destroy(&p->lock);
        free(p);
    }
}

static void *post_them(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (posts == NULL)
            pthread_cond_wait(&changed, &lock);
        struct post *post = posts;
        posts = post->next;
        pthread_mutex_unlock(&lock);
        struct fake_poster *p = post->poster;
        pthread_mutex_lock(&p->lock);
        if (p->v != NULL && post->late) {
            p->late_at = isola_clock_ms() + post->ms;
            p->v->ops->wake_later(p->v->arg, post->ms + 1);
        } else if (p->v != NULL) {
            p->tasks++;
            p->v->ops->wake(p->v->arg);
        }
        pthread_mutex_unlock(&p->lock);
        poster_unref(p);
        free(post);
    }
    return NULL;
}

struct fake_poster *fake__poster_new(struct isola_v8 *v)
{
    struct fake_poster *p = isola_zalloc(sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    p->v = v;
    p->refs = 1;
    return p;
}

void fake__poster_close(struct fake_poster *p)
{
    pthread_mutex_lock(&p->lock);
    p->v = NULL;
    pthread_mutex_unlock(&p->lock);
    poster_unref(p);
}

void fake__post(struct fake_poster *p, uint64_t ms, bool is_late)
{
    struct post *post = isola_zalloc(sizeof(*post));
    *post = (struct post){.poster = p, .ms = ms, .late = is_late};
    pthread_mutex_lock(&p->lock);
    p->refs++;
    pthread_mutex_unlock(&p->lock);
    hold();
    struct post **end = &posts;
    while (*end != NULL)
        end = &(*end)->next;
    *end = post;
    release();
}

bool fake__due(struct fake_poster *p, bool *is_late)
{
    pthread_mutex_lock(&p->lock);
    bool tasks = p->tasks > 0;
    *is_late = p->late_at != 0 && p->late_at <= isola_clock_ms();
    p->tasks = 0;
    if (*is_late)
        p->late_at = 0;
    pthread_mutex_unlock(&p->lock);
    return tasks;
}
