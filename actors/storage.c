/* SPDX-License-Identifier: Apache-2.0
 *
 * What an actor keeps by keys: self.storage.
 *
 * The happy path. What a script puts and deletes is gathered (items.c), the last change of each
 * key; when the turn is settled it is written, in one commit with the state and all else that is
 * kept, and what the turn has caused waits for that (gate.c). A read of a key that is among the
 * changes is answered from them. All others are read by the store, which sees every write handed to
 * it before; its answer comes into the realm's inbox as a mail, and is merged with what there was
 * of changes when it was asked for. While a transaction is open its changes are in a layer of their
 * own over the others: it joins them or is dropped, and a settle in between writes what is below.
 *
 * What was read or written lately is kept in memory, as it is on disk or being written: all writes
 * of an actor are its activation's own.
 *
 * Failure modes. What has not been written when the activation ends (a crash, a write that fails)
 * is dropped with it; so are answers that come then: nobody knows their number any more. A read
 * that fails is an error to who awaits it.
 *
 * Bounds: bytes of changes (the limit "output"), reads under way, bytes of one read, and of what is
 * kept in memory.
 */
#include "actors/storage.h"

#include <stdio.h>

#include "actors/gate.h"
#include "actors/host_own.h"

/* Bytes of one read of a range: of keys and values, and room for the last one to be whole. */
#define PAGE_BYTES (1u << 20)
#define PAGE_ROOM  (PAGE_BYTES + ISOLA_STORAGE_VALUE + ISOLA_STORAGE_KEY)
/* Bytes that are kept in memory of an actor, and of one item. */
#define CACHE_BYTES (256u << 10)
#define CACHE_ITEM  (16u << 10)

/* What a script waits for. */
struct wait {
    struct wait *next;
    uint64_t id;
    uint64_t saves; /* there had been so many */
    /* of one key: */
    char *key;
    size_t len;
    /* of a range: */
    bool is_range, reverse;
    size_t rows;             /* wanted; 0: all */
    size_t asked;            /* of the store; 0: all */
    struct isola_kept *laid; /* changes in it, in its order; they lie in the next two */
    size_t nlaid;
    struct isola_items *under, *over;
};

/* An actor's. */
struct isola_storage {
    struct isola_items *changes; /* since it was settled last, or NULL */
    struct isola_items *open;    /* a transaction's, or NULL */
    struct isola_items *cache;   /* as they are below the changes, or NULL */
    uint64_t saves;              /* counts the changes that were handed to the store */
    struct wait *waits;
    unsigned nwaits;
};

/* A read on its way: the store's thread frees it. */
struct job {
    struct isola_state_io io;
    struct isola_realm *realm; /* counted */
    uint32_t actor;
    uint64_t id;
    struct isola_kept_range range;
    struct isola_kept *wanted;
    uint8_t bytes[]; /* of the address and keys */
};

static struct isola_storage *of(struct isola_actor *a)
{
    if (a->storage == NULL)
        a->storage = isola_zalloc(sizeof(*a->storage));
    return a->storage;
}

static struct isola_actor *find(struct isola_realm *r, uint32_t actor, struct isola_err *err)
{
    struct isola_actor *a = isola__realm_actor(r, actor);
    if (a == NULL) {
        isola_fail(err, ISOLA_ECLOSED, "this activation of the actor has ended");
    } else if (a->no_state.len > 0) {
        isola_fail(err, ISOLA_EUNREACHABLE, "%.*s", ISOLA_FMT(isola_buf_slice(&a->no_state)));
        a = NULL;
    }
    return a;
}

/* There is something to be written, perhaps outside of any turn. */
static void changed(struct isola_actor *a)
{
    a->looked |= ISOLA_LOOKED_KEPT;
    if (a->nrunning == 0 && !a->activating)
        a->turn_ended = true;
    isola__realm_touch(a->realm, a);
}

/* --- changes --- */

static size_t bytes_of(const struct isola_items *items)
{
    return items != NULL ? items->bytes + items->n * sizeof(*items->row) : 0;
}

int isola__storage_put(struct isola_realm *r, uint32_t actor, struct isola_slice key,
                       const struct isola_slice *value, struct isola_err *err)
{
    struct isola_actor *a = find(r, actor, err);
    if (a == NULL)
        return err->code;
    struct isola_storage *s = of(a);
    struct isola_slice none = {0};
    uint64_t most = a->type->def.limits.output;
    size_t more = key.len + (value != NULL ? value->len : 0);
    if (most > 0 && bytes_of(s->changes) + bytes_of(s->open) + more > most)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "more than %.6g MB of changes wait to be saved (limit \"output\"): await "
                          "sync() in between",
                          (double)most / (1 << 20));
    struct isola_items **to = s->open != NULL ? &s->open : &s->changes;
    if (s->open == NULL && s->changes == NULL)
        changed(a);
    if (*to == NULL)
        *to = isola__items_new();
    isola__items_put(*to, key, value != NULL ? *value : none, value == NULL);
    return 0;
}

static void drop_cache(struct isola_storage *s)
{
    isola__items_unref(s->cache);
    s->cache = NULL;
}

static void keep(struct isola_storage *s, struct isola_slice key, struct isola_slice value,
                 bool gone)
{
    size_t more = key.len + value.len;
    bool large = more > CACHE_ITEM;
    if (s->cache != NULL && (bytes_of(s->cache) + more > CACHE_BYTES ||
                             (large && isola__items_find(s->cache, key) != NULL)))
        drop_cache(s);
    if (large)
        return;
    if (s->cache == NULL)
        s->cache = isola__items_new();
    isola__items_put(s->cache, key, value, gone);
}

struct isola_items *isola__storage_take(struct isola_actor *a)
{
    struct isola_storage *s = a->storage;
    struct isola_items *items = s != NULL ? s->changes : NULL;
    if (items == NULL)
        return NULL;
    s->changes = NULL;
    s->saves++;
    bool many = bytes_of(items) > CACHE_BYTES;
    if (items->wiped || many)
        drop_cache(s);
    for (size_t i = items->wiped; i < items->n && !many; i++)
        keep(s, items->row[i].peer, items->row[i].value, items->row[i].gone);
    isola__items_sort(items);
    return items;
}

/* --- what is waited for --- */

static struct wait *await(struct isola_storage *s, uint64_t id)
{
    struct wait *w = isola_zalloc(sizeof(*w));
    w->id = id;
    w->saves = s->saves;
    w->next = s->waits;
    s->waits = w;
    s->nwaits++;
    return w;
}

static void forget(struct wait *w)
{
    free(w->key);
    free(w->laid);
    isola__items_unref(w->under);
    isola__items_unref(w->over);
    free(w);
}

static struct wait *take_wait(struct isola_storage *s, uint64_t id)
{
    struct wait **at = &s->waits;
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    struct wait *w = *at;
    if (w != NULL) {
        *at = w->next;
        s->nwaits--;
    }
    return w;
}

static int refuse(const struct isola_storage *s, struct isola_err *err)
{
    if (s->nwaits >= ISOLA_STORAGE_READS)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "%d reads of this actor's storage are under way, which is the limit: "
                          "await them, or read more keys in one",
                          ISOLA_STORAGE_READS);
    return 0;
}

bool isola__storage_dirty(const struct isola_actor *a)
{
    return a->storage != NULL && a->storage->changes != NULL;
}

bool isola__storage_waits(const struct isola_actor *a)
{
    return a->storage != NULL && a->storage->nwaits > 0;
}

void isola__storage_end(struct isola_actor *a)
{
    struct isola_storage *s = a->storage;
    if (s == NULL)
        return;
    a->storage = NULL;
    for (struct wait *next, *w = s->waits; w != NULL; w = next) {
        next = w->next;
        forget(w);
    }
    isola__items_unref(s->changes);
    isola__items_unref(s->open);
    drop_cache(s);
    free(s);
}

/* --- answers --- */

/* An ISOLA_MAIL_STORED, in whose memory are the rows and what they refer to. */
static struct isola_mail *answer(uint32_t actor, uint64_t id, const struct isola_kept *rows,
                                 size_t n, const char *why)
{
    struct isola_slice none = {0};
    size_t bytes = n * sizeof(*rows);
    for (size_t i = 0; i < n; i++)
        bytes += rows[i].peer.len + rows[i].value.len;
    struct isola_mail *m;
    struct isola_kept *to = n > 0 ? malloc(bytes) : NULL;
    if (n > 0 && to == NULL)
        why = "out of memory";
    if (to == NULL) {
        m = isola_mail_new(ISOLA_MAIL_STORED, none, none, why != NULL ? isola_slice_str(why) : none,
                           none, none);
    } else {
        uint8_t *at = (uint8_t *)(to + n);
        for (size_t i = 0; i < n; i++) {
            to[i] = rows[i];
            to[i].peer = isola_slice(at, rows[i].peer.len);
            if (rows[i].peer.len > 0)
                memcpy(at, rows[i].peer.data, rows[i].peer.len);
            at += rows[i].peer.len;
            to[i].value = isola_slice(at, rows[i].value.len);
            if (rows[i].value.len > 0)
                memcpy(at, rows[i].value.data, rows[i].value.len);
            at += rows[i].value.len;
        }
        m = isola_mail_around(to, none, ISOLA_MAIL_STORED, none, none, none, none,
                              isola_slice(to, bytes));
    }
    ISOLA_CHECK(m != NULL); /* who waits for it would do so for ever */
    m->origin.id = id;
    m->timeout_ms = actor;
    m->deadline = n;
    return m;
}

/* On the store's thread, or before the read that was asked for returns. */
static void read_done(struct isola_state_io *io, int code, struct isola_slice value,
                      const char *why)
{
    struct job *job = (struct job *)(void *)((char *)io - offsetof(struct job, io));
    struct isola_realm *r = job->realm;
    (void)value;
    if (code != 0 && (why == NULL || why[0] == '\0'))
        why = isola_error_name(code);
    isola__realm_post(r, answer(job->actor, job->id, io->rows, code == 0 ? io->nrows : 0,
                                code != 0 ? why : NULL));
    isola__realm_unref(r);
    free(job->wanted);
    free(job);
}

static struct job *job_new(struct isola_actor *a, uint64_t id, size_t bytes)
{
    struct job *job = isola_zalloc(sizeof(*job) + a->address.len + bytes);
    job->io.done = read_done;
    memcpy(job->bytes, a->address.data, a->address.len);
    job->io.address = isola_slice(job->bytes, a->address.len);
    job->realm = isola__realm_ref(a->realm);
    job->actor = a->serial;
    job->id = id;
    return job;
}

/* Nothing is on disk that would have to be read. */
static bool is_bare(const struct isola_actor *a)
{
    const struct isola_host *h = a->host;
    const struct isola_storage *s = a->storage;
    return (s != NULL && s->changes != NULL && s->changes->wiped) || h->ops->state_range == NULL ||
           (h->ops->state_absent != NULL && h->ops->state_absent(h->arg, a->address));
}

/* --- reads of keys --- */

int isola__storage_peek(struct isola_realm *r, uint32_t actor, struct isola_slice key,
                        const struct isola_kept **item, struct isola_err *err)
{
    static const struct isola_kept none = {.gone = true};
    struct isola_actor *a = find(r, actor, err);
    if (a == NULL)
        return err->code;
    const struct isola_storage *s = a->storage;
    const struct isola_kept *found = NULL;
    if (s != NULL && s->open != NULL)
        found = isola__items_find(s->open, key);
    if (found == NULL && s != NULL && s->changes != NULL)
        found = isola__items_find(s->changes, key);
    if (found == NULL && is_bare(a))
        found = &none;
    if (found == NULL && s != NULL && s->cache != NULL)
        found = isola__items_find(s->cache, key);
    *item = found;
    return 0;
}

int isola__storage_get(struct isola_realm *r, uint32_t actor, uint64_t id,
                       const struct isola_slice *keys, size_t n, struct isola_err *err)
{
    struct isola_actor *a = find(r, actor, err);
    if (a == NULL || refuse(of(a), err) != 0)
        return err->code;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += keys[i].len;
    struct job *job = job_new(a, id, bytes);
    uint8_t *at = job->bytes + a->address.len;
    job->wanted = isola_zalloc((n + 1) * sizeof(*job->wanted));
    for (size_t i = 0; i < n; i++) {
        memcpy(at, keys[i].data, keys[i].len);
        job->wanted[i].part = ISOLA_KEPT_ITEM;
        job->wanted[i].peer = isola_slice(at, keys[i].len);
        at += keys[i].len;
    }
    job->io.rows = job->wanted;
    job->io.nrows = n;
    struct wait *w = await(a->storage, id);
    if (n == 1) {
        w->key = isola_strndup((const char *)keys[0].data, keys[0].len);
        w->len = keys[0].len;
    }
    r->host->ops->state_rows(r->host->arg, &job->io);
    return 0;
}

/* --- reads of ranges --- */

int isola__storage_list(struct isola_realm *r, uint32_t actor, uint64_t id,
                        const struct isola_v8_range *range, struct isola_err *err)
{
    struct isola_actor *a = find(r, actor, err);
    if (a == NULL || refuse(of(a), err) != 0)
        return err->code;
    struct isola_storage *s = a->storage;
    struct wait *w = await(s, id);
    w->is_range = true;
    w->reverse = range->reverse;
    w->rows = range->rows;
    w->laid =
        isola__items_range(s->changes, s->open, range->from, range->to, range->reverse, &w->nlaid);
    w->under = w->nlaid > 0 && s->changes != NULL ? isola__items_ref(s->changes) : NULL;
    w->over = w->nlaid > 0 && s->open != NULL ? isola__items_ref(s->open) : NULL;
    if (is_bare(a)) {
        isola__realm_post(r, answer(actor, id, NULL, 0, NULL));
        return 0;
    }
    /* Each change may take one of those that are read away. */
    w->asked = range->rows > 0 ? range->rows + w->nlaid : 0;
    struct job *job = job_new(a, id, range->from.len + range->to.len);
    uint8_t *at = job->bytes + a->address.len;
    job->range = (struct isola_kept_range){.part = ISOLA_KEPT_ITEM,
                                           .reverse = range->reverse,
                                           .from = isola_slice(at, range->from.len),
                                           .to = isola_slice(at + range->from.len, range->to.len),
                                           .rows = w->asked,
                                           .bytes = PAGE_ROOM};
    if (range->from.len > 0)
        memcpy(at, range->from.data, range->from.len);
    if (range->to.len > 0)
        memcpy(at + range->from.len, range->to.data, range->to.len);
    job->io.range = &job->range;
    r->host->ops->state_range(r->host->arg, &job->io);
    return 0;
}

/* Lays the changes over what was read. *beyond: the last key that was looked at, when there may be
 * more. The caller frees. */
static struct isola_kept *lay_over(const struct wait *w, const struct isola_kept *read, size_t n,
                                   size_t *count, struct isola_slice *beyond)
{
    size_t bytes = 0, i = 0, k = 0, all = 0;
    for (size_t j = 0; j < n; j++)
        bytes += read[j].peer.len + read[j].value.len;
    bool more = (w->asked > 0 && n == w->asked) || bytes > PAGE_BYTES;
    struct isola_kept *rows = isola_alloc((n + w->nlaid + 1) * sizeof(*rows));
    while (w->rows == 0 || all < w->rows) {
        int c = k == w->nlaid ? -1 : i == n ? 1 : isola_slice_order(read[i].peer, w->laid[k].peer);
        if (i < n && k < w->nlaid && w->reverse)
            c = -c;
        if ((i == n && k == w->nlaid) || (i == n && more)) /* what follows may come before it */
            break;
        i += c <= 0;
        if (c < 0)
            rows[all++] = read[i - 1];
        else if (!w->laid[k++].gone)
            rows[all++] = w->laid[k - 1];
    }
    *count = all;
    if (i < n || k < w->nlaid || more)
        *beyond = w->rows > 0 && all == w->rows ? rows[all - 1].peer : read[n - 1].peer;
    return rows;
}

uint32_t isola__storage_answered(struct isola_realm *r, const struct isola_mail *m)
{
    struct isola_actor *a = isola__realm_actor(r, m->timeout_ms);
    struct wait *w = a != NULL && a->storage != NULL ? take_wait(a->storage, m->origin.id) : NULL;
    if (w == NULL)
        return 0;
    uint32_t serial = a->serial;
    const struct isola_kept *read = (const void *)m->args.data;
    size_t n = (size_t)m->deadline;
    struct isola_slice beyond = {0};
    if (m->event.len > 0) {
        char why[300];
        snprintf(why, sizeof(why), "its storage cannot be read: %.*s", ISOLA_FMT(m->event));
        isola_js_stored(r->js, serial, w->id, ISOLA_EIO, why, NULL, 0, beyond);
    } else if (w->is_range) {
        struct isola_kept *rows = lay_over(w, read, n, &n, &beyond);
        isola_js_stored(r->js, serial, w->id, 0, NULL, rows, n, beyond);
        free(rows);
    } else {
        /* What was written meanwhile is newer. */
        for (size_t i = 0; i < n && w->saves == a->storage->saves; i++)
            keep(a->storage, read[i].peer, read[i].value, false);
        if (n == 0 && w->key != NULL && w->saves == a->storage->saves)
            keep(a->storage, isola_slice(w->key, w->len), (struct isola_slice){0}, true);
        isola_js_stored(r->js, serial, w->id, 0, NULL, read, n, beyond);
    }
    forget(w);
    return serial;
}

/* --- steps --- */

/* An effect: it comes back when all before it is on disk. */
static int sync_all(struct isola_actor *a, uint64_t id, struct isola_err *err)
{
    struct isola_storage *s = of(a);
    if (refuse(s, err) != 0)
        return err->code;
    (void)await(s, id);
    struct isola_mail *m = answer(a->serial, id, NULL, 0, NULL);
    m->origin.realm = isola__realm_ref(a->realm);
    isola__gate_put(a->realm, a, m);
    return 0;
}

int isola__storage_step(struct isola_realm *r, uint32_t actor, enum isola_v8_step step, uint64_t id,
                        struct isola_err *err)
{
    struct isola_actor *a = find(r, actor, err);
    if (a == NULL)
        return err->code;
    struct isola_storage *s = of(a);
    struct isola_items *open = s->open;
    switch (step) {
    case ISOLA_V8_BEGIN:
        if (open != NULL)
            return isola_fail(err, ISOLA_EINVAL, "a transaction is open");
        s->open = isola__items_new();
        break;
    case ISOLA_V8_COMMIT:
        if (open == NULL)
            break;
        s->open = NULL;
        if (open->n == 0 || s->changes == NULL) {
            struct isola_items *empty = open->n == 0 ? open : NULL;
            s->changes = empty != NULL ? s->changes : open;
            isola__items_unref(empty);
        } else {
            isola__items_join(s->changes, open);
        }
        if (s->changes != NULL)
            changed(a);
        break;
    case ISOLA_V8_ROLLBACK:
        s->open = NULL;
        isola__items_unref(open);
        break;
    case ISOLA_V8_WIPE:
        if (open != NULL)
            return isola_fail(err, ISOLA_EINVAL, "a transaction is open");
        if (s->changes == NULL)
            s->changes = isola__items_new();
        isola__items_wipe(s->changes);
        changed(a);
        break;
    case ISOLA_V8_SYNC:
        return sync_all(a, id, err);
    }
    return 0;
}
