/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "actors/internal.h"
#include "base/clock.h"
#include "base/msgpack.h"

#define LINK 1

struct job {
    struct job *next;
    struct isola_state_io *io;
    bool write;
};

struct world {
    struct world *next; /* all of them, so that none counts as leaked */
    struct isola_host *host;
    const char *apps; /* what releases permit */
    uint64_t seed, store_seed;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    /* the store */
    struct job *jobs, **jobs_tail;
    unsigned waiting;
    bool held;
    struct isola_map stored; /* address → struct isola_buf */
    struct isola_map kept;   /* address → struct isola_kept_rows */
    unsigned fail_writes, fail_per_mille, fail_reads, writes;
    int fail_reads_code;
    /* places */
    struct isola_map places; /* address → (void *) node */
    struct isola_mailq forwarded;
    bool others_refuse;
    struct world *other; /* the node they go to; NULL: they wait */
    unsigned mess;
    struct isola_mail *late; /* to follow the next one */
    bool cut;                /* nothing gets out any more */
    /* answers, by id */
    struct outcome *outcomes;
    uint64_t noutcomes, cap;
    unsigned answers;
    struct isola_mailq events;
    bool drained;
    char *stuck; /* "ADDRESS: why" */
    bool expected_stuck;
    unsigned lifted;
    char lifted_last[100];
    char **log;
    unsigned nlog;
};

static struct world *worlds;
static unsigned nworlds; /* that have not ended */

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

unsigned world_random(struct world *w, unsigned n)
{
    return (unsigned)(next_random(&w->seed) >> 33) % n;
}

static void change(struct world *w)
{
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void show(const struct isola_host_info *i, void *arg)
{
    (void)arg;
    fprintf(stderr, "  %.*s %s, %s, release %s, thread %u, mailbox %llu, turns %llu\n",
            ISOLA_FMT(i->address), i->isolation, i->state, i->release, i->thread,
            (unsigned long long)i->mailbox, (unsigned long long)i->turns);
}

static void wait_for(struct world *w, uint64_t deadline, const char *what)
{
    if (fake_cond_wait(&w->changed, &w->lock, deadline))
        return;
    fprintf(stderr, "fake_world: %s did not come in %d s; live:\n", what, FAKE_DEADLINE_S);
    pthread_mutex_unlock(&w->lock);
    (void)isola_host_each(w->host, (struct isola_slice){0}, SIZE_MAX, show, NULL);
    abort();
}

/* --- the store --- */

/* Where a row of that key is, or of those a removal is for; n when there is none. */
static size_t row_of(const struct isola_kept_rows *rows, const struct isola_kept *row)
{
    size_t i = 0;
    while (i < rows->n &&
           !(rows->row[i].part == row->part && isola_slice_eq(rows->row[i].peer, row->peer) &&
             (row->gone ? rows->row[i].seq <= row->seq : rows->row[i].seq == row->seq)))
        i++;
    return i;
}

/* What a write has beside the state. The lock is held. */
static void keep(struct world *w, const struct isola_state_io *io)
{
    struct isola_kept_rows *kept = isola_map_get(&w->kept, io->address);
    if (kept == NULL && io->nrows > 0) {
        kept = isola_zalloc(sizeof(*kept));
        isola_map_set(&w->kept, io->address, kept);
    }
    for (size_t i = 0; i < io->nrows; i++) {
        bool fresh = io->rows[i].part == ISOLA_KEPT_OUTBOX && !io->rows[i].gone;
        size_t at; /* a number is given out once */
        while (!fresh && (at = row_of(kept, &io->rows[i])) < kept->n) {
            free((void *)(uintptr_t)kept->row[at].peer.data);
            memmove(&kept->row[at], &kept->row[at + 1],
                    (--kept->n - at) * sizeof(struct isola_kept));
        }
        if (!io->rows[i].gone)
            isola_kept_add(kept, &io->rows[i]);
    }
}

static void do_job(struct world *w, struct job *job)
{
    struct isola_state_io *io = job->io;
    struct isola_buf copy = {0};
    struct isola_kept_rows rows = {0};
    int code = 0;
    pthread_mutex_lock(&w->lock);
    struct isola_buf *value = isola_map_get(&w->stored, io->address);
    if (job->write) {
        bool unlucky =
            w->fail_per_mille > 0 && (next_random(&w->store_seed) >> 33) % 1000 < w->fail_per_mille;
        if (w->fail_writes > 0 || unlucky) {
            w->fail_writes -= w->fail_writes > 0;
            code = ISOLA_EIO;
        } else {
            if (value == NULL) {
                value = isola_zalloc(sizeof(*value));
                isola_map_set(&w->stored, io->address, value);
            }
            if (io->has_value) {
                value->len = 0;
                isola_buf_append(value, io->value.data, io->value.len);
            }
            keep(w, io);
        }
        w->writes++;
    } else if (w->fail_reads > 0) {
        w->fail_reads--;
        code = w->fail_reads_code;
    } else if (value == NULL) {
        code = ISOLA_ENOENT;
    } else {
        isola_buf_append(&copy, value->data, value->len);
        struct isola_kept_rows *kept = isola_map_get(&w->kept, io->address);
        if (kept != NULL)
            isola_kept_copy(&rows, kept->row, kept->n);
        io->rows = rows.row;
        io->nrows = rows.n;
    }
    change(w);
    /* A read that fails says nothing: whoever reports it must have words of their own. */
    io->done(io, code, isola_buf_slice(&copy), code == ISOLA_EIO ? "the disk is full" : NULL);
    isola_buf_free(&copy);
    isola_kept_free(&rows);
    free(job);
}

static void *store_thread(void *arg)
{
    struct world *w = arg;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (w->jobs == NULL || w->held)
            pthread_cond_wait(&w->changed, &w->lock);
        if (next_random(&w->store_seed) % 8 == 0) { /* lets more come in the meantime */
            uint64_t until = isola_clock_ms() + 1;
            while (fake_cond_wait(&w->changed, &w->lock, until))
                ;
        }
        struct job *job = w->held ? NULL : w->jobs;
        if (job != NULL) {
            w->jobs = job->next;
            w->waiting--;
        }
        if (w->jobs == NULL)
            w->jobs_tail = &w->jobs;
        pthread_mutex_unlock(&w->lock);
        if (job != NULL)
            do_job(w, job);
    }
    return NULL;
}

static void add_job(struct world *w, struct isola_state_io *io, bool write)
{
    struct job *job = isola_zalloc(sizeof(*job));
    job->io = io;
    job->write = write;
    pthread_mutex_lock(&w->lock);
    *w->jobs_tail = job;
    w->jobs_tail = &job->next;
    w->waiting++;
    change(w);
}

static void state_read(void *arg, struct isola_state_io *io)
{
    add_job(arg, io, false);
}

static void state_write(void *arg, struct isola_state_io *io)
{
    add_job(arg, io, true);
}

void world_hold_store(struct world *w, bool hold)
{
    pthread_mutex_lock(&w->lock);
    w->held = hold;
    change(w);
}

void world_await_held(struct world *w, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->waiting < n)
        wait_for(w, deadline, "a read or write");
    pthread_mutex_unlock(&w->lock);
}

void world_fail_writes(struct world *w, unsigned n)
{
    pthread_mutex_lock(&w->lock);
    w->fail_writes = n;
    change(w);
}

void world_fail_writes_of(struct world *w, unsigned per_mille)
{
    pthread_mutex_lock(&w->lock);
    w->fail_per_mille = per_mille;
    change(w);
}

void world_fail_reads(struct world *w, unsigned n, int code)
{
    pthread_mutex_lock(&w->lock);
    w->fail_reads = n;
    w->fail_reads_code = code;
    change(w);
}

static int64_t int_of(struct isola_slice value)
{
    struct isola_mp_reader r = isola_mp_reader(value);
    struct isola_mp_item item;
    if (isola_mp_next(&r, &item) != 0 || (item.type != ISOLA_MP_UINT && item.type != ISOLA_MP_INT))
        return 0;
    return item.type == ISOLA_MP_UINT ? (int64_t)item.u : item.i;
}

int64_t world_stored(struct world *w, const char *address)
{
    pthread_mutex_lock(&w->lock);
    struct isola_buf *value = isola_map_get(&w->stored, isola_slice_str(address));
    int64_t n = value != NULL ? int_of(isola_buf_slice(value)) : -1;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* --- the wire --- */

static int locate(void *arg, struct isola_slice address)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    int node = (int)(intptr_t)isola_map_get(&w->places, address);
    pthread_mutex_unlock(&w->lock);
    return node;
}

/* As it comes out of a link. */
static void arrive(struct world *to, const struct isola_mail *m)
{
    struct isola_mail *copy = isola_mail_new_in(isola_mail_trace(m), m->kind, m->src,
                                                isola_mail_dst(m), m->event, m->chain, m->args);
    copy->durable = m->durable;
    copy->passed_on = true;
    if (m->durable) {
        copy->seq = m->seq;
        copy->before = m->before;
    }
    isola_host_post(to->host, copy);
}

/* To the other node, if it is durable, by a bad way. */
static void pass(struct world *w, struct isola_mail *m)
{
    pthread_mutex_lock(&w->lock);
    struct world *to = w->other;
    struct isola_mail *late = w->late;
    w->late = NULL;
    unsigned fate = m->durable ? (unsigned)(next_random(&w->store_seed) >> 33) % 1000 : 1000;
    unsigned mess = w->mess;
    bool later = fate >= 2 * mess && fate < 3 * mess;
    if (later)
        w->late = m;
    pthread_mutex_unlock(&w->lock);
    if (fate >= mess && !later)
        arrive(to, m);
    if (fate >= mess && fate < 2 * mess)
        arrive(to, m);
    if (!later)
        isola_mail_free(m);
    if (late != NULL) {
        arrive(to, late);
        isola_mail_free(late);
    }
}

static void forward(void *arg, int node, struct isola_mail *mail)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    bool cut = w->cut, passes = w->other != NULL && mail->kind != ISOLA_MSG_UNSUB;
    pthread_mutex_unlock(&w->lock);
    if (cut && mail->durable) {
        isola_mail_free(mail);
        return;
    }
    if (!cut && passes) {
        pass(w, mail);
        return;
    }
    if (node == 0) { /* nothing comes back from others here */
        ISOLA_CHECK(mail->kind == ISOLA_MSG_UNSUB && !mail->passed_on);
        isola_mail_free(mail);
        return;
    }
    ISOLA_CHECK(node > 0);
    pthread_mutex_lock(&w->lock);
    bool refuse = w->others_refuse;
    if (!refuse)
        isola_mailq_push(&w->forwarded, mail);
    change(w);
    if (!refuse)
        return;
    if (mail->kind == ISOLA_MSG_ASK || mail->kind == ISOLA_MSG_STOP) {
        struct isola_origin origin = mail->origin;
        mail->origin.realm = NULL;
        isola_host_answer(w->host, isola_mail_failure(origin, ISOLA_EUNREACHABLE, "gone"));
    }
    isola_mail_free(mail);
}

static void answer(void *arg, struct isola_mail *mail)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    if (mail->kind == ISOLA_MSG_EVENT) {
        isola_mailq_push(&w->events, mail);
        change(w);
        return;
    }
    ISOLA_CHECK(mail->origin.id > 0 && mail->origin.id <= w->noutcomes);
    struct outcome *o = &w->outcomes[mail->origin.id - 1];
    ISOLA_CHECK(o->kind == 0); /* answered once */
    ISOLA_CHECK(!mail->traced);
    struct isola_slice value;
    struct isola_mp_error e = {0};
    struct isola_mp_item item = {0};
    ISOLA_CHECK(isola_mp_at(mail->args, 0, &value));
    o->kind = mail->kind;
    o->order = ++w->answers;
    o->stored = w->writes;
    if (mail->kind == ISOLA_MSG_FAIL) {
        ISOLA_CHECK(isola_mp_read_error(value, &e));
        o->code = e.code;
        snprintf(o->text, sizeof(o->text), "%.*s", ISOLA_FMT(e.message));
    } else {
        struct isola_mp_reader r = isola_mp_reader(value);
        ISOLA_CHECK(isola_mp_next(&r, &item) == 0);
        if (item.type == ISOLA_MP_STR)
            snprintf(o->text, sizeof(o->text), "%.*s", ISOLA_FMT(item.bytes));
        o->is_bool = item.type == ISOLA_MP_BOOL;
        o->value = item.type == ISOLA_MP_BOOL ? item.b : int_of(value);
    }
    change(w);
    isola_mail_free(mail);
}

static void log_line(void *arg, enum isola_log_level level, struct isola_slice address,
                     struct isola_slice text)
{
    struct world *w = arg;
    (void)level;
    pthread_mutex_lock(&w->lock);
    if ((w->nlog & (w->nlog - 1)) == 0)
        w->log = isola_realloc(w->log, (w->nlog ? 2 * w->nlog : 1) * sizeof(char *));
    w->log[w->nlog++] = isola_format("%.*s: %.*s", ISOLA_FMT(address), ISOLA_FMT(text));
    change(w);
}

static void drained(void *arg)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    ISOLA_CHECK(!w->drained);
    w->drained = true;
    change(w);
}

/* A script cannot be stopped: where the process would end, its watchdog does. */
static void stuck(void *arg, struct isola_slice address, const char *why)
{
    struct world *w = arg;
    char *said = isola_format("%.*s: %s", ISOLA_FMT(address), why);
    pthread_mutex_lock(&w->lock);
    ISOLA_CHECK(w->stuck == NULL);
    w->stuck = said;
    change(w);
    for (;;)
        pause();
}

static void lifted(void *arg, struct isola_slice address)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    w->lifted++;
    snprintf(w->lifted_last, sizeof(w->lifted_last), "%.*s", ISOLA_FMT(address));
    change(w);
}

static uint64_t cpu(void *arg, unsigned worker)
{
    (void)arg;
    return fake_cpu(worker);
}

static const struct isola_host_ops ops = {
    .locate = locate,
    .forward = forward,
    .answer = answer,
    .state_read = state_read,
    .state_write = state_write,
    .log = log_line,
    .stuck = stuck,
    .cpu = cpu,
    .lifted = lifted,
    .drained = drained,
};

void world_place(struct world *w, const char *address, int node)
{
    pthread_mutex_lock(&w->lock);
    if (node == 0)
        (void)isola_map_del(&w->places, isola_slice_str(address));
    else
        (void)isola_map_set(&w->places, isola_slice_str(address), (void *)(intptr_t)node);
    pthread_mutex_unlock(&w->lock);
}

unsigned world_forwards(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = (unsigned)w->forwarded.count;
    pthread_mutex_unlock(&w->lock);
    return n;
}

struct isola_mail *world_take_forwarded(struct world *w)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->forwarded.head == NULL)
        wait_for(w, deadline, "a forwarded mail");
    struct isola_mail *m = isola_mailq_pop(&w->forwarded);
    if (w->forwarded.head == NULL)
        w->forwarded.tail = NULL;
    pthread_mutex_unlock(&w->lock);
    return m;
}

static void connect_to(struct world *w, struct world *to, unsigned mess)
{
    pthread_mutex_lock(&w->lock);
    w->other = to;
    w->mess = mess;
    pthread_mutex_unlock(&w->lock);
}

void world_connect(struct world *a, struct world *b, unsigned mess)
{
    connect_to(a, b, mess);
    connect_to(b, a, mess);
}

void world_mend(struct world *a, struct world *b)
{
    world_connect(a, b, 0);
}

static unsigned count_kept(struct world *w, const char *address, int part)
{
    const struct isola_kept_rows *kept = isola_map_get(&w->kept, isola_slice_str(address));
    unsigned n = 0;
    for (size_t i = 0; kept != NULL && i < kept->n; i++)
        n += kept->row[i].part == part;
    return n;
}

void world_await_kept(struct world *w, const char *address, int part, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (count_kept(w, address, part) != n)
        wait_for(w, deadline, "the end of what is kept");
    pthread_mutex_unlock(&w->lock);
}

void world_await_forwarded(struct world *w, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->forwarded.count < n)
        wait_for(w, deadline, "a forwarded mail");
    pthread_mutex_unlock(&w->lock);
}

const struct isola_mail *world_forwarded(struct world *w, unsigned nth)
{
    pthread_mutex_lock(&w->lock);
    const struct isola_mail *m = w->forwarded.head;
    while (m != NULL && nth-- > 0)
        m = m->next;
    pthread_mutex_unlock(&w->lock);
    return m;
}

void world_others_refuse(struct world *w)
{
    struct isola_mailq q;
    pthread_mutex_lock(&w->lock);
    w->others_refuse = true;
    q = w->forwarded;
    w->forwarded = (struct isola_mailq){0};
    pthread_mutex_unlock(&w->lock);
    struct isola_mail *m;
    while ((m = isola_mailq_pop(&q)) != NULL)
        forward(w, 1, m);
}

/* --- messages --- */

uint64_t world_number(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    if (w->noutcomes == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->outcomes = isola_realloc(w->outcomes, w->cap * sizeof(*w->outcomes));
    }
    w->outcomes[w->noutcomes] = (struct outcome){0};
    uint64_t id = ++w->noutcomes;
    pthread_mutex_unlock(&w->lock);
    return id;
}

static uint64_t post(struct world *w, int kind, uint64_t link, const char *address,
                     const char *event, const char *program, uint64_t id)
{
    struct isola_buf args = {0};
    struct isola_slice none = {0};
    if (program != NULL) {
        isola_mp_array(&args, 1);
        isola_mp_cstr(&args, program);
    }
    struct isola_mail *m = isola_mail_new(kind, none, isola_slice_str(address),
                                          isola_slice_str(event), none, isola_buf_slice(&args));
    isola_buf_free(&args);
    m->origin.link = link;
    m->origin.id = id;
    isola_host_post(w->host, m);
    return id;
}

uint64_t world_ask(struct world *w, const char *address, const char *program)
{
    return post(w, ISOLA_MSG_ASK, LINK, address, "run", program, world_number(w));
}

void world_emit(struct world *w, const char *address, const char *program)
{
    (void)post(w, ISOLA_MSG_EMIT, 0, address, "run", program, 0);
}

uint64_t world_stop(struct world *w, const char *address)
{
    return post(w, ISOLA_MSG_STOP, LINK, address, "", NULL, world_number(w));
}

uint64_t world_start(struct world *w, const char *address)
{
    return post(w, ISOLA_MSG_START, LINK, address, "", NULL, world_number(w));
}

uint64_t world_sub(struct world *w, uint64_t link, const char *address, const char *event)
{
    return post(w, ISOLA_MSG_SUB, link, address, event, NULL, world_number(w));
}

void world_unsub(struct world *w, uint64_t link, uint64_t id, const char *address,
                 const char *event)
{
    (void)post(w, ISOLA_MSG_UNSUB, link, address, event, NULL, id);
}

struct outcome world_outcome(struct world *w, uint64_t id)
{
    pthread_mutex_lock(&w->lock);
    struct outcome o = w->outcomes[id - 1];
    pthread_mutex_unlock(&w->lock);
    return o;
}

struct outcome world_await(struct world *w, uint64_t id)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->outcomes[id - 1].kind == 0)
        wait_for(w, deadline, "an answer");
    struct outcome o = w->outcomes[id - 1];
    pthread_mutex_unlock(&w->lock);
    return o;
}

void must_reply(struct world *w, uint64_t id, int64_t value)
{
    struct outcome o = world_await(w, id);
    if (o.kind != ISOLA_MSG_REPLY)
        fail_msg("%s: %s", isola_error_name(o.code), o.text);
    assert_int_equal(o.value, value);
}

void must_fail(struct world *w, uint64_t id, int code)
{
    struct outcome o = world_await(w, id);
    assert_int_equal(o.kind, ISOLA_MSG_FAIL);
    if (o.code != code)
        fail_msg("%s, not %s: %s", isola_error_name(o.code), isola_error_name(code), o.text);
}

static unsigned count_events(const struct world *w, uint64_t link)
{
    unsigned n = 0;
    for (const struct isola_mail *m = w->events.head; m != NULL; m = m->next)
        n += m->origin.link == link;
    return n;
}

unsigned world_events(struct world *w, uint64_t link)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = count_events(w, link);
    pthread_mutex_unlock(&w->lock);
    return n;
}

void world_await_events(struct world *w, uint64_t link, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (count_events(w, link) < n)
        wait_for(w, deadline, "an event");
    pthread_mutex_unlock(&w->lock);
}

static unsigned count_log(const struct world *w, const char *part)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->nlog; i++)
        n += strstr(w->log[i], part) != NULL;
    return n;
}

unsigned world_logged(struct world *w, const char *part)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = count_log(w, part);
    pthread_mutex_unlock(&w->lock);
    return n;
}

void world_await_logged(struct world *w, const char *part, unsigned n)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (count_log(w, part) < n)
        wait_for(w, deadline, part);
    pthread_mutex_unlock(&w->lock);
}

void world_await_drained(struct world *w)
{
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (!w->drained)
        wait_for(w, deadline, "the end of the drain");
    pthread_mutex_unlock(&w->lock);
}

const char *world_await_stuck(struct world *w)
{
    w->expected_stuck = true; /* by this thread alone */
    uint64_t deadline = fake_deadline();
    pthread_mutex_lock(&w->lock);
    while (w->stuck == NULL)
        wait_for(w, deadline, "a script that cannot be stopped");
    pthread_mutex_unlock(&w->lock);
    return w->stuck;
}

unsigned world_lifted(struct world *w, char last[100])
{
    pthread_mutex_lock(&w->lock);
    unsigned n = w->lifted;
    memcpy(last, w->lifted_last, sizeof(w->lifted_last));
    pthread_mutex_unlock(&w->lock);
    return n;
}

bool world_drained(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    bool is = w->drained;
    pthread_mutex_unlock(&w->lock);
    return is;
}

/* --- releases --- */

struct isola_host_type world_type(const char *name, const char *options, const char *code)
{
    return (struct isola_host_type){
        .name = name,
        .module = "t.js",
        .shared = strstr(options, "shared") != NULL,
        .reentrant = strstr(options, "reentrant") != NULL,
        .limits = {.heap = 1 << 20, .mailbox = strstr(options, "small") != NULL ? 4 : 1000000},
        .life = {.restarts = UINT32_MAX, .within_ms = 1, .backoff_ms = 1, .max_backoff_ms = 1},
        .code = isola_slice_str(code),
    };
}

void world_release_types(struct world *w, const char *app, const char *id, size_t n,
                         const struct isola_host_type *types)
{
    isola_host_set_release(w->host,
                           &(struct isola_host_release){
                               .app = app, .id = id, .ntypes = n, .types = types, .apps = w->apps});
}

void world_permit(struct world *w, const char *apps)
{
    w->apps = apps;
}

void world_release(struct world *w, const char *app, const char *id, const char *options,
                   const char *code)
{
    struct isola_host_type type = world_type("T", options, code);
    world_release_types(w, app, id, 1, &type);
}

/* --- beginning and end --- */

static struct world *make(unsigned threads)
{
    static uint64_t seed;
    if (seed == 0) {
        const char *given = getenv("ISOLA_TEST_SEED");
        seed = given != NULL ? strtoull(given, NULL, 10) : isola_clock_ns() | 1;
        printf("seed: ISOLA_TEST_SEED=%llu\n", (unsigned long long)seed);
    }
    struct world *w = isola_zalloc(sizeof(*w));
    nworlds++;
    w->next = worlds;
    worlds = w;
    w->seed = seed;
    w->apps = "*";
    w->store_seed = seed ^ 0x9e3779b97f4a7c15u;
    w->jobs_tail = &w->jobs;
    pthread_mutex_init(&w->lock, NULL);
    fake_cond_init(&w->changed);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, store_thread, w), 0);
    pthread_detach(thread);
    struct isola_err err;
    assert_int_equal(isola_host_start(&ops, w, threads, &w->host, &err), 0);
    return w;
}

struct world *world_new(unsigned threads)
{
    fake_reset();
    struct world *w = make(threads);
    isola_host_outbox_begin(w->host);
    return w;
}

struct world *world_join(unsigned threads)
{
    struct world *w = make(threads);
    isola_host_outbox_begin(w->host);
    return w;
}

static void copy_store(struct world *w, struct isola_map *stored, struct isola_map *kept)
{
    ISOLA_MAP_EACH(&w->stored, e)
    {
        const struct isola_buf *value = e->value;
        struct isola_buf *copy = isola_zalloc(sizeof(*copy));
        isola_buf_append(copy, value->data, value->len);
        isola_map_set(stored, isola_slice(e->key, e->len), copy);
    }
    ISOLA_MAP_EACH(&w->kept, k)
    {
        const struct isola_kept_rows *rows = k->value;
        struct isola_kept_rows *copy = isola_zalloc(sizeof(*copy));
        isola_kept_copy(copy, rows->row, rows->n);
        isola_map_set(kept, isola_slice(k->key, k->len), copy);
    }
}

struct world *world_crash(struct world *w)
{
    struct isola_map stored = {0}, kept = {0};
    unsigned threads = w->host->nworkers;
    pthread_mutex_lock(&w->lock);
    w->cut = true; /* what it still does is seen by nobody */
    copy_store(w, &stored, &kept);
    pthread_mutex_unlock(&w->lock);
    world_end(w);
    struct world *fresh = make(threads);
    pthread_mutex_lock(&fresh->lock);
    fresh->stored = stored;
    fresh->kept = kept;
    fresh->places = w->places;
    pthread_mutex_unlock(&fresh->lock);
    ISOLA_MAP_EACH(&kept, e)
    {
        const struct isola_kept_rows *rows = e->value;
        isola_host_outbox_load(fresh->host, isola_slice(e->key, e->len), rows->row, rows->n);
    }
    return fresh;
}

struct isola_host *world_host(struct world *w)
{
    return w->host;
}

struct census {
    const char *address, *state;
    struct isola_mailq live; /* a STOP for each */
};

static void take(const struct isola_host_info *info, void *arg)
{
    struct census *c = arg;
    struct isola_slice none = {0};
    if (c->address != NULL && isola_slice_is(info->address, c->address))
        c->state = info->state;
    if (strcmp(info->state, "quarantined") == 0) /* and not alive */
        return;
    isola_mailq_push(&c->live,
                     isola_mail_new(ISOLA_MSG_STOP, none, info->address, none, none, none));
}

static void drop_all(struct isola_mailq *q)
{
    struct isola_mail *m;
    while ((m = isola_mailq_pop(q)) != NULL)
        isola_mail_free(m);
}

unsigned world_live(struct world *w)
{
    struct census c = {0};
    (void)isola_host_each(w->host, (struct isola_slice){0}, SIZE_MAX, take, &c);
    unsigned n = (unsigned)c.live.count;
    drop_all(&c.live);
    return n;
}

const char *world_state(struct world *w, const char *address)
{
    struct census c = {.address = address, .state = "none"};
    (void)isola_host_each(w->host, (struct isola_slice){0}, SIZE_MAX, take, &c);
    drop_all(&c.live);
    return c.state;
}

static void forget_mails(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    drop_all(&w->events);
    drop_all(&w->forwarded);
    pthread_mutex_unlock(&w->lock);
}

static void replace_app(struct world *w)
{
    /* A release without types: the realms that many share have no reason to stay. */
    pthread_rwlock_rdlock(&w->host->apps_lock);
    char *names[8];
    unsigned n = 0;
    ISOLA_MAP_EACH(&w->host->apps, e)
    {
        if (n < 8)
            names[n++] = isola_strndup((const char *)e->key, e->len);
    }
    pthread_rwlock_unlock(&w->host->apps_lock);
    for (unsigned i = 0; i < n; i++) {
        world_release_types(w, names[i], "the end", 0, NULL);
        free(names[i]);
    }
}

void world_end(struct world *w)
{
    isola_host_set_spares(w->host, 0);
    world_hold_store(w, false);
    world_fail_writes(w, 0);
    world_fail_writes_of(w, 0);
    world_fail_reads(w, 0, 0);
    world_others_refuse(w);
    replace_app(w);
    while (world_live(w) >
           0) { /* one that crashed as it was told to stop may have come back for what waited */
        struct census c = {0};
        (void)isola_host_each(w->host, (struct isola_slice){0}, SIZE_MAX, take, &c);
        unsigned n = 0;
        uint64_t *ids = isola_zalloc(c.live.count * sizeof(*ids) + 1);
        struct isola_mail *m;
        while ((m = isola_mailq_pop(&c.live)) != NULL) {
            m->origin.link = LINK;
            m->origin.id = ids[n++] = world_number(w);
            isola_host_stop(w->host, m);
        }
        for (unsigned i = 0; i < n; i++)
            (void)world_await(w, ids[i]);
        free(ids);
    }
    if (--nworlds == 0) /* else some are others' */
        fake_await_isolates(0);
    isola_host_drain(w->host);
    world_await_drained(w);
    assert_int_equal(atomic_load(&w->host->busy), 0);
    assert_int_equal(atomic_load(&w->host->crowded), 0);
    assert_true(w->stuck == NULL || w->expected_stuck);
    for (unsigned i = 0; i < w->host->nworkers; i++) {
        pthread_mutex_lock(&w->host->shared_lock);
        assert_int_equal(w->host->workers[i].shared.count, 0);
        pthread_mutex_unlock(&w->host->shared_lock);
    }
    for (uint64_t link = 1; link < 8; link++)
        isola_host_drop_link(w->host, link);
    pthread_rwlock_rdlock(&w->host->subs_lock);
    ISOLA_MAP_EACH(&w->host->subs, e)
    {
        size_t n = strnlen((const char *)e->key, e->len);
        fprintf(stderr, "fake_world: a subscription to %.*s \"%.*s\" is left\n", (int)n, e->key,
                (int)(e->len - n) - 1, e->key + n + 1);
    }
    assert_int_equal(w->host->subs.count, 0);
    pthread_rwlock_unlock(&w->host->subs_lock);
    forget_mails(w);
}
