/* SPDX-License-Identifier: Apache-2.0
 *
 * Mails and their memory. Small ones, which most are, come from a list each thread keeps for
 * itself; whoever frees one puts it into its own list. Traffic between two threads is mostly in
 * pairs of question and answer, so the lists stay level. Where it goes one way, whole chains go
 * back through a depot (Bonwick and Adams, "Magazines and Vmem", 2001).
 */
#include "actors/mail.h"

#include <pthread.h>
#include <stdio.h>

#include "actors/pace.h"
#include "base/msgpack.h"

#define LINE      64  /* bytes of a cache line: mails begin with one */
#define POOL_SIZE 320 /* bytes of a pooled mail, with its text */
#define CHAIN     256 /* mails that go to the depot or come from it at once */
#define DEPOT_MAX 64  /* chains there */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOLED false /* they are to see every use after free */
#else
#define POOLED true
#endif

/* `loaded` is used up and filled; `spare` is a whole chain, or empty. */
static ISOLA_THREAD_LOCAL struct {
    struct isola_mail *loaded, *spare;
    size_t count; /* of `loaded` */
} pool;

static struct {
    pthread_mutex_t lock;
    struct isola_mail *chains[DEPOT_MAX];
    size_t count;
} depot = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The list is empty: the spare chain, or one from the depot, if there is any. */
static void load(void)
{
    pool.loaded = pool.spare;
    pool.spare = NULL;
    if (pool.loaded == NULL) {
        pthread_mutex_lock(&depot.lock);
        if (depot.count > 0)
            pool.loaded = depot.chains[--depot.count];
        pthread_mutex_unlock(&depot.lock);
    }
    pool.count = pool.loaded != NULL ? CHAIN : 0;
}

/* The list is a whole chain: it becomes the spare one, and that goes to the depot. */
static void unload(void)
{
    struct isola_mail *old = pool.spare;
    pool.spare = pool.loaded;
    pool.loaded = NULL;
    pool.count = 0;
    if (old == NULL)
        return;
    pthread_mutex_lock(&depot.lock);
    if (depot.count < DEPOT_MAX) {
        depot.chains[depot.count++] = old;
        old = NULL;
    }
    pthread_mutex_unlock(&depot.lock);
    while (old != NULL) {
        struct isola_mail *next = old->next;
        free(old);
        old = next;
    }
}

static struct isola_mail *allocate(size_t bytes)
{
    bool pooled = POOLED && sizeof(struct isola_mail) + bytes <= POOL_SIZE;
    struct isola_mail *m = NULL;
    if (pooled && pool.loaded == NULL)
        load();
    if (pooled && pool.loaded != NULL) {
        m = pool.loaded;
        pool.loaded = m->next;
        pool.count--;
        __builtin_prefetch(pool.loaded, 1); /* many are made one after the other */
    } else {
        m = pooled ? aligned_alloc(LINE, POOL_SIZE) : malloc(sizeof(*m) + bytes);
    }
    if (m == NULL)
        return NULL;
    /* All but `kind` and the slices, which isola_mail_new sets; one by one, as it is done for every
     * message. */
    m->next = NULL;
    m->actor = NULL;
    m->pooled = pooled;
    m->counted = NULL;
    m->passed_on = false;
    m->final = false;
    m->durable = false;
    m->fired = false;
    m->around = false;
    m->shared = false;
    m->timeout_ms = 0;
    m->seq = 0; /* and `ref` */
    m->before = 0;
    m->deadline = 0;
    m->origin = (struct isola_origin){0};
    return m;
}

/* Behind the trace context. */
static void *kept(const struct isola_mail *m)
{
    void *kept;
    memcpy(&kept, (const uint8_t *)(m + 1) + ISOLA_TRACE_SIZE, sizeof(kept));
    return kept;
}

static void keep(struct isola_mail *m, void *kept)
{
    memcpy((uint8_t *)(m + 1) + ISOLA_TRACE_SIZE, &kept, sizeof(kept));
}

void *isola_mail_memory(const struct isola_mail *m)
{
    return m->around && !m->shared ? kept(m) : NULL;
}

struct isola_block *isola_mail_share(struct isola_mail *m)
{
    if (m->around && !m->shared) {
        struct isola_block *block = isola_block_new(kept(m));
        if (block == NULL)
            return NULL;
        keep(m, block);
        m->shared = true;
    }
    return m->shared ? kept(m) : NULL;
}

void isola_mail_lend_memory(struct isola_mail *m, void *memory)
{
    m->around = true;
    keep(m, memory);
}

void isola_mail_lost_memory(struct isola_mail *m)
{
    m->around = false;
    m->args.data = NULL;
}

static void release(struct isola_mail *m)
{
    if (m->shared)
        isola_block_unref(kept(m));
    else if (m->around)
        free(kept(m));
    if (!m->pooled) {
        free(m);
        return;
    }
    m->next = pool.loaded;
    pool.loaded = m;
    if (++pool.count == CHAIN)
        unload();
}

static struct isola_slice store(uint8_t **at, struct isola_slice s)
{
    struct isola_slice copy = isola_slice(*at, s.len);
    if (s.len > 0)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

static inline struct isola_mail *make(struct isola_slice trace, int kind, struct isola_slice src,
                                      struct isola_slice dst, struct isola_slice event,
                                      struct isola_slice chain, struct isola_slice args)
{
    size_t bytes = trace.len + src.len + dst.len + event.len + chain.len + args.len;
    struct isola_mail *m = allocate(bytes);
    if (m == NULL)
        return NULL;
    m->kind = (uint8_t)kind;
    m->traced = trace.len > 0;
    uint8_t *at = (uint8_t *)(m + 1);
    (void)store(&at, trace);
    m->args = store(&at, args); /* first what each message needs */
    m->event = store(&at, event);
    m->hidden = event.len > 0 && event.data[0] == 1;
    m->chain = store(&at, chain);
    m->src = store(&at, src);
    m->dst = store(&at, dst);
    return m;
}

struct isola_mail *isola_mail_new(int kind, struct isola_slice src, struct isola_slice dst,
                                  struct isola_slice event, struct isola_slice chain,
                                  struct isola_slice args)
{
    return make((struct isola_slice){0}, kind, src, dst, event, chain, args);
}

struct isola_mail *isola_mail_new_in(struct isola_slice trace, int kind, struct isola_slice src,
                                     struct isola_slice dst, struct isola_slice event,
                                     struct isola_slice chain, struct isola_slice args)
{
    return make(trace, kind, src, dst, event, chain, args);
}

struct isola_mail *isola_mail_answer_in(void **memory, struct isola_origin origin, bool ok,
                                        struct isola_slice args)
{
    struct isola_slice none = {0};
    int kind = ok ? ISOLA_MSG_REPLY : ISOLA_MSG_FAIL;
    struct isola_mail *m;
    if (memory != NULL && *memory != NULL) {
        m = isola_mail_around(*memory, none, kind, none, none, none, none, args);
        *memory = NULL;
    } else {
        m = isola_mail_new(kind, none, none, none, none, args);
    }
    if (m != NULL)
        m->origin = origin;
    else if (origin.realm != NULL)
        isola__realm_unref(origin.realm);
    return m;
}

struct isola_mail *isola_mail_answer(struct isola_origin origin, bool ok, struct isola_slice args)
{
    return isola_mail_answer_in(NULL, origin, ok, args);
}

struct isola_mail *isola_mail_failure(struct isola_origin origin, int code, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_error(&args, code, text, NULL);
    struct isola_mail *m = isola_mail_answer(origin, false, isola_buf_slice(&args));
    isola_buf_free(&args);
    return m;
}

struct isola_mail *isola_mail_around(void *memory, struct isola_slice trace, int kind,
                                     struct isola_slice src, struct isola_slice dst,
                                     struct isola_slice event, struct isola_slice chain,
                                     struct isola_slice args)
{
    struct isola_mail *m = allocate(ISOLA_MAIL_OWN);
    if (m == NULL) {
        free(memory);
        return NULL;
    }
    m->kind = (uint8_t)kind;
    m->args = args;
    m->event = event;
    m->hidden = event.len > 0 && event.data[0] == 1;
    m->chain = chain;
    m->src = src;
    m->dst = dst;
    m->traced = trace.len == ISOLA_TRACE_SIZE;
    if (m->traced)
        memcpy(m + 1, trace.data, ISOLA_TRACE_SIZE);
    isola_mail_lend_memory(m, memory);
    return m;
}

struct isola_mail *isola_mail_copy(struct isola_mail *m, struct isola_slice dst)
{
    struct isola_mail *copy =
        isola_mail_new_in(isola_mail_trace(m), m->kind, m->src, dst, m->event, m->chain, m->args);
    if (copy == NULL)
        return NULL;
    copy->timeout_ms = m->timeout_ms;
    copy->deadline = m->deadline;
    copy->passed_on = m->passed_on;
    copy->final = m->final;
    copy->durable = m->durable;
    if (m->durable) {
        copy->seq = m->seq;
        copy->before = m->before;
    }
    copy->origin = isola_mail_take_origin(m);
    return copy;
}

struct isola_mail *isola_mail_readdress(struct isola_mail *m, struct isola_slice dst)
{
    struct isola_mail *copy = isola_mail_copy(m, dst);
    isola_mail_free(m);
    return copy;
}

struct isola_mail *isola_mail_turn_round(struct isola_mail *ask, bool ok, struct isola_slice args)
{
    if (!ask->pooled || ask->around || sizeof(*ask) + args.len > POOL_SIZE)
        return NULL;
    isola__mail_uncount(ask);
    uint8_t *at = (uint8_t *)(ask + 1);
    struct isola_slice none = {0};
    ask->kind = ok ? ISOLA_MSG_REPLY : ISOLA_MSG_FAIL;
    ask->traced = false; /* the answer begins there */
    ask->actor = NULL;
    ask->src = ask->dst = ask->event = ask->chain = none;
    ask->args = store(&at, args);
    return ask;
}

struct isola_slice isola_mail_dst(const struct isola_mail *m)
{
    return m->dst.len == 0 && m->actor != NULL ? m->actor->address : m->dst;
}

struct isola_origin isola_mail_take_origin(struct isola_mail *m)
{
    struct isola_origin origin = m->origin;
    m->origin.realm = NULL;
    return origin;
}

void isola_origin_drop(struct isola_origin origin)
{
    if (origin.realm != NULL)
        isola__realm_unref(origin.realm);
}

void isola__mail_uncount(struct isola_mail *m)
{
    struct isola_actor *a = m->counted;
    if (a == NULL)
        return;
    atomic_fetch_sub(&a->mail_bytes, m->args.len);
    m->counted = NULL;
    if (atomic_load_explicit(&a->paced, memory_order_relaxed))
        isola__pace_emptied(a);
}

void isola_mail_free(struct isola_mail *m)
{
    if (m == NULL)
        return;
    isola__mail_uncount(m);
    if (m->origin.realm != NULL)
        isola__realm_unref(m->origin.realm);
    release(m);
}
