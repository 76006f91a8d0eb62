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

#include "actors/internal.h"
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
    m->timeout_ms = 0;
    m->ref = 0;
    m->ref_table = 0;
    m->deadline = 0;
    m->origin = (struct isola_origin){0};
    return m;
}

static void release(struct isola_mail *m)
{
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

struct isola_mail *isola_mail_new(int kind, struct isola_slice src, struct isola_slice dst,
                                  struct isola_slice event, struct isola_slice chain,
                                  struct isola_slice args)
{
    size_t bytes = src.len + dst.len + event.len + chain.len + args.len;
    struct isola_mail *m = allocate(bytes);
    if (m == NULL)
        return NULL;
    m->kind = (uint8_t)kind;
    uint8_t *at = (uint8_t *)(m + 1);
    m->args = store(&at, args); /* first what each message needs */
    m->event = store(&at, event);
    m->chain = store(&at, chain);
    m->src = store(&at, src);
    m->dst = store(&at, dst);
    return m;
}

struct isola_mail *isola_mail_answer(struct isola_origin origin, bool ok, struct isola_slice args)
{
    struct isola_slice none = {0};
    struct isola_mail *m =
        isola_mail_new(ok ? ISOLA_MSG_REPLY : ISOLA_MSG_FAIL, none, none, none, none, args);
    if (m != NULL)
        m->origin = origin;
    else if (origin.realm != NULL)
        isola__realm_unref(origin.realm);
    return m;
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

struct isola_mail *isola_mail_readdress(struct isola_mail *m, struct isola_slice dst)
{
    struct isola_mail *copy = isola_mail_new(m->kind, m->src, dst, m->event, m->chain, m->args);
    if (copy != NULL) {
        copy->timeout_ms = m->timeout_ms;
        copy->deadline = m->deadline;
        copy->passed_on = m->passed_on;
        copy->origin = isola_mail_take_origin(m);
    }
    isola_mail_free(m);
    return copy;
}

struct isola_mail *isola_mail_turn_round(struct isola_mail *ask, bool ok, struct isola_slice args)
{
    if (!ask->pooled || sizeof(*ask) + args.len > POOL_SIZE)
        return NULL;
    isola__mail_uncount(ask);
    uint8_t *at = (uint8_t *)(ask + 1);
    struct isola_slice none = {0};
    ask->kind = ok ? ISOLA_MSG_REPLY : ISOLA_MSG_FAIL;
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
    if (m->counted != NULL)
        atomic_fetch_sub(&m->counted->mail_bytes, m->args.len);
    m->counted = NULL;
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
