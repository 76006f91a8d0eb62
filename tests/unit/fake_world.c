/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/msgpack.h"
#include "fake_world_parts.h"
#include "store/sql.h"

static struct world *worlds;
static unsigned nworlds; /* that have not ended */

unsigned world__random(uint64_t *seed, unsigned n)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (unsigned)(*seed >> 33) % n;
}

unsigned world_random(struct world *w, unsigned n)
{
    return world__random(&w->seed, n);
}

void world__changed(struct world *w)
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

void world__wait_for(struct world *w, uint64_t deadline, const char *what)
{
    if (fake_cond_wait(&w->changed, &w->lock, deadline))
        return;
    fprintf(stderr, "fake_world: %s did not come in %d s; live:\n", what, FAKE_DEADLINE_S);
    pthread_mutex_unlock(&w->lock);
    (void)isola_host_each(w->host, (struct isola_slice){0}, SIZE_MAX, show, NULL);
    abort();
}

int64_t world__int(struct isola_slice value)
{
    struct isola_mp_reader r = isola_mp_reader(value);
    struct isola_mp_item item;
    if (isola_mp_next(&r, &item) != 0 || (item.type != ISOLA_MP_UINT && item.type != ISOLA_MP_INT))
        return 0;
    return item.type == ISOLA_MP_UINT ? (int64_t)item.u : item.i;
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

static uint64_t cpu(void *arg, unsigned worker)
{
    (void)arg;
    return fake_cpu(worker);
}

static const struct isola_host_ops ops = {
    .locate = world__locate,
    .forward = world__forward,
    .answer = world__answer,
    .state_read = world__state_read,
    .state_rows = world__state_rows,
    .state_range = world__state_range,
    .state_row = world__state_row,
    .sql = &isola_sql_ops,
    .state_write = world__state_write,
    .state_due = world__state_due,
    .log = world__log,
    .stuck = world__stuck,
    .cpu = cpu,
    .lifted = world__lifted_one,
    .drained = world__drained_now,
};

static struct world *make(unsigned threads)
{
    static uint64_t seed;
    if (seed == 0) {
        isola_sql_start();
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
    assert_int_equal(pthread_create(&thread, NULL, world__store_thread, w), 0);
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

struct world *world_crash(struct world *w)
{
    struct isola_map stored = {0}, kept = {0};
    unsigned threads = w->host->nworkers;
    pthread_mutex_lock(&w->lock);
    w->cut = true; /* what it still does is seen by nobody */
    world__copy_store(w, &stored, &kept);
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
            m->origin.link = WORLD_LINK;
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
