/* SPDX-License-Identifier: Apache-2.0
 *
 * Which actors live here: address → actor, in shards with a lock each.
 *
 * Mail is handed over under the shard's lock, and an actor leaves, or changes its realm, under it
 * too: so no mail is ever put into the inbox of a realm the actor has left, and none is lost or
 * overtaken when an activation ends while more arrives.
 */
#include "actors/directory.h"

#include "actors/arrivals.h"
#include "actors/gate.h"
#include "actors/host_own.h"
#include "actors/limits.h"
#include "actors/pace.h"
#include "actors/quarantine.h"
#include "base/clock.h"
#include "base/hash.h"

struct isola_directory_shard *isola__directory_shard(struct isola_host *h, uint64_t hash)
{
    return &h->directory[hash % ISOLA_DIRECTORY_SHARDS];
}

static uint64_t hash_of(struct isola_slice address)
{
    return isola_hash_table(address.data, address.len);
}

/* The link that points to the actor, or to where it would be added; NULL while there are no
 * buckets. The shard is locked. */
static struct isola_actor **find(struct isola_directory_shard *shard, struct isola_slice address,
                                 uint64_t hash)
{
    if (shard->nbuckets == 0)
        return NULL;
    struct isola_actor **at =
        &shard->buckets[hash / ISOLA_DIRECTORY_SHARDS & (shard->nbuckets - 1)];
    while (*at != NULL && !((*at)->hash == hash && isola_slice_eq((*at)->address, address)))
        at = &(*at)->next_same;
    return at;
}

static struct isola_actor *get(struct isola_directory_shard *shard, struct isola_slice address,
                               uint64_t hash)
{
    struct isola_actor **at = find(shard, address, hash);
    return at != NULL ? *at : NULL;
}

static void add(struct isola_directory_shard *shard, struct isola_actor *a)
{
    if (shard->count >= shard->nbuckets) {
        size_t n = shard->nbuckets ? shard->nbuckets * 2 : 4;
        struct isola_actor **buckets = isola_zalloc(n * sizeof(struct isola_actor *));
        for (size_t i = 0; i < shard->nbuckets; i++)
            for (struct isola_actor *next, *b = shard->buckets[i]; b != NULL; b = next) {
                next = b->next_same;
                struct isola_actor **to = &buckets[b->hash / ISOLA_DIRECTORY_SHARDS & (n - 1)];
                b->next_same = *to;
                *to = b;
            }
        free(shard->buckets);
        shard->buckets = buckets;
        shard->nbuckets = n;
    }
    *find(shard, a->address, a->hash) = a;
    shard->count++;
}

struct isola_actor *isola__actor_ref(struct isola_actor *a)
{
    atomic_fetch_add(&a->refs, 1);
    return a;
}

void isola__actor_unref(struct isola_actor *a)
{
    if (atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    ISOLA_CHECK(a->waiting.count == 0 && a->running == NULL && a->commits == NULL);
    isola__realm_unref(a->realm);
    isola__release_unref(a->type->release);
    isola_buf_free(&a->saved);
    isola_buf_free(&a->crash);
    isola_buf_free(&a->failure);
    free(a->crashes);
    free(a);
}

/* The shard is locked. */
static struct isola_actor *create(struct isola_host *h, struct isola_slice address, uint64_t hash,
                                  const struct isola_type *type)
{
    struct isola_actor *a = NULL;
    size_t size = sizeof(*a) + address.len;
    ISOLA_CHECK(posix_memalign((void **)&a, 64, size) == 0); /* see its first lines */
    memset(a, 0, size);
    atomic_init(&a->refs, 1); /* the directory's */
    atomic_init(&a->state, ISOLA_ACTOR_STARTING);
    memcpy(a->text, address.data, address.len);
    a->address = isola_slice(a->text, address.len);
    ISOLA_CHECK(isola_address_parse(a->address, &a->at, NULL) == 0);
    a->type = type;
    a->commits_tail = &a->commits;
    a->host = h;
    a->hash = hash;
    /* In turn: what is made together is often used together, and is to be on all CPUs alike. */
    struct isola_worker *w = &h->workers[atomic_fetch_add(&h->next_worker, 1) % h->nworkers];
    if (type->def.shared)
        a->realm = isola__worker_shared_realm(w, type);
    else
        a->realm = isola__realm_new(h, w, type->release, false, isola__limits_of(type));
    return a;
}

/* No actor is made for these: they mean nothing to one that is not there. */
static bool wants_living(const struct isola_mail *m)
{
    int kind = m->kind;
    return isola__stream_is(m) || kind == ISOLA_MSG_EVENT || kind == ISOLA_MSG_CANCEL ||
           kind == ISOLA_MSG_STOP || kind == ISOLA_MAIL_UPGRADE || kind == ISOLA_MAIL_HIBERNATE ||
           kind == ISOLA_MAIL_DRAIN || kind == ISOLA_MAIL_MONITORED;
}

/* Lines a second about what is dropped of the actors of one shard: who is flooded is not to fill
 * the log, in which other lines say why. */
#define DROPS_SAID 20

void isola__directory_dropped(struct isola_host *h, struct isola_slice address,
                              struct isola_slice event, const char *why)
{
    struct isola_directory_shard *shard = isola__directory_shard(h, hash_of(address));
    uint64_t second = isola_clock_ms() / 1000;
    pthread_mutex_lock(&shard->lock);
    if (shard->drops_second != second) {
        shard->drops_second = second;
        shard->drops = 0;
    }
    unsigned nth = ++shard->drops;
    pthread_mutex_unlock(&shard->lock);
    if (nth <= DROPS_SAID)
        isola__host_logf(h, ISOLA_LOG_WARN, address, "\"%.*s\" was dropped: %s", ISOLA_FMT(event),
                         why);
    else if (nth == DROPS_SAID + 1)
        isola__host_logf(h, ISOLA_LOG_WARN, address,
                         "more is dropped in this second than is said here: `ctl dead-letters` has "
                         "the last of it");
}

void isola__directory_refuse(struct isola_host *h, struct isola_mail *mail, int code,
                             const char *why)
{
    if (mail->durable) {
        isola__durable_refuse(h, mail, code, why);
        return;
    }
    if (mail->kind == ISOLA_MAIL_FIRE) {
        isola__alarm_refused(h, mail, code);
        return;
    }
    if (isola_host_stream_refused(h, mail, code, why)) {
        isola_mail_free(mail);
        return;
    }
    isola_host_dead_letter(h, mail, code, isola_slice_str(why));
    if (isola_msg_is_ask(mail->kind))
        isola__gate_fail(h, mail, code, why);
    else if (mail->kind == ISOLA_MSG_EMIT)
        isola__directory_dropped(h, mail->dst, mail->event, why);
    isola_mail_free(mail);
}

/* Beyond the limit "mailbox" there is room for so many mails of streams, which are no turns and
 * wait for none: the credit of all an actor's streams is for some 28,000. */
#define STREAMS 32768
/* And for so many emits of other nodes, which could not know when they were sent that it would be
 * full (pace.c). */
#define FROM_AFAR 64

static uint64_t room_beyond(const struct isola_mail *mail)
{
    if (isola__stream_is(mail))
        return STREAMS;
    return mail->passed_on && mail->kind == ISOLA_MSG_EMIT ? FROM_AFAR : 0;
}

/* Mails of no more bytes are bounded well enough by their number. */
#define COUNTED 4096

/* Whether a large mail fits in beside `held` bytes; an error for its sender when not. */
static int fits(const struct isola_host_limits *l, size_t held, const struct isola_mail *mail,
                struct isola_err *err)
{
    size_t n = mail->args.len;
    if (mail->kind >= ISOLA_MAIL_PUBLISH)
        return 0;
    if (l->message > 0 && n > l->message)
        return isola_fail(err, ISOLA_ETOOBIG,
                          "a message to %.*s has at most %llu bytes, this one has %zu (limit "
                          "\"message\")",
                          ISOLA_FMT(mail->dst), (unsigned long long)l->message, n);
    if (l->mailbox_bytes > 0 && held + n > l->mailbox_bytes)
        return isola_fail(err, ISOLA_EOVERLOAD,
                          "the mailbox of %.*s is full (limit \"mailboxBytes\")",
                          ISOLA_FMT(mail->dst));
    return 0;
}

/* The shard is locked. */
static int count_bytes(struct isola_actor *a, struct isola_mail *mail, struct isola_err *err)
{
    int rc = fits(&a->type->def.limits, atomic_load(&a->mail_bytes), mail, err);
    if (rc == 0 && mail->kind < ISOLA_MAIL_PUBLISH) {
        uint64_t bytes = atomic_fetch_add(&a->mail_bytes, mail->args.len) + mail->args.len;
        mail->counted = a;
        if (a->type->def.limits.mailbox_bytes != 0 && bytes > a->type->def.limits.mailbox_bytes / 2)
            isola__pace_filled(a);
    }
    return rc;
}

void isola__directory_post(struct isola_host *h, struct isola_mail *mail)
{
    struct isola_err err;
    uint64_t hash = hash_of(mail->dst);
    struct isola_directory_shard *shard = isola__directory_shard(h, hash);
    pthread_mutex_lock(&shard->lock);
    struct isola_actor *a = get(shard, mail->dst, hash);
    if (a == NULL && !wants_living(mail) && !atomic_load(&h->draining)) {
        if (h->ops->locate(h->arg, mail->dst) != 0) {
            /* It has moved since this mail was sent here, and isola_host_moved may have been by:
             * nobody would end this one. */
            pthread_mutex_unlock(&shard->lock);
            if (mail->kind == ISOLA_MAIL_FIRE)
                isola__alarm_refused(h, mail, ISOLA_EUNREACHABLE);
            else
                isola_host_post(h, mail);
            return;
        }
        struct isola_address at;
        const struct isola_type *type = NULL;
        if (isola_address_parse(mail->dst, &at, &err) == 0)
            type = isola__type_find(h, &at, mail->src.len == 0, &err);
        if (type == NULL) {
            pthread_mutex_unlock(&shard->lock);
            isola__directory_refuse(h, mail, err.code, err.text);
            return;
        }
        bool by_hand = mail->kind == ISOLA_MSG_START && mail->src.len == 0;
        if (isola__quarantined(h, mail->dst, by_hand, &err)) {
            pthread_mutex_unlock(&shard->lock);
            isola__release_unref(type->release);
            isola__directory_refuse(h, mail, err.code, err.text);
            return;
        }
        if (mail->args.len > COUNTED && fits(&type->def.limits, 0, mail, &err) != 0) {
            pthread_mutex_unlock(&shard->lock); /* nobody is to be there because of it */
            isola__release_unref(type->release);
            isola__directory_refuse(h, mail, err.code, err.text);
            return;
        }
        a = create(h, mail->dst, hash, type);
        add(shard, a);
    }
    int code = 0;
    if (atomic_load(&h->draining) && mail->kind != ISOLA_MAIL_DRAIN) {
        code = isola_fail(&err, ISOLA_EUNREACHABLE, "the node is shutting down");
    } else if (a != NULL && mail->kind < ISOLA_MAIL_PUBLISH && mail->kind != ISOLA_MSG_STOP &&
               mail->kind != ISOLA_MSG_CANCEL &&
               atomic_load(&a->mailbox) >= a->type->def.limits.mailbox + room_beyond(mail)) {
        code = isola_fail(&err, ISOLA_EOVERLOAD, "the mailbox of %.*s is full (limit \"mailbox\")",
                          ISOLA_FMT(mail->dst));
    } else if (a != NULL && mail->args.len > COUNTED) {
        code = count_bytes(a, mail, &err);
    }
    uint64_t tell = 0; /* a peer that is to hear that it is crowded */
    struct isola_slice whom = mail->dst;
    if (a != NULL && mail->passed_on && mail->kind == ISOLA_MSG_EMIT &&
        atomic_load_explicit(&a->paced, memory_order_relaxed)) {
        tell = mail->origin.link;
        whom = isola__actor_ref(a)->address;
    }
    if (a != NULL && code == 0) {
        mail->actor = a;
        isola__mailbox_add(a);
        isola__realm_post(a->realm, mail);
    }
    pthread_mutex_unlock(&shard->lock);
    if (tell != 0) {
        isola__pace_tell(h, whom, tell, false);
        isola__actor_unref(a);
    }
    if (code != 0)
        isola__directory_refuse(h, mail, code, err.text);
    else if (a == NULL) { /* nobody there, and nobody wanted */
        if (mail->kind == ISOLA_MSG_STOP ||
            (mail->kind == ISOLA_MAIL_UPGRADE && mail->origin.link != 0)) {
            isola__stop_answer(h, mail, false);
            return;
        }
        if (mail->kind == ISOLA_MAIL_DRAIN)
            isola__host_unbusy(h);
        if (!isola_host_stream_refused(h, mail, ISOLA_ECANCELED,
                                       "the activation that had the other end has ended"))
            isola_host_dead_letter(h, mail, ISOLA_ENOACTOR,
                                   isola_slice_str("its subscriber is gone"));
        isola_mail_free(mail);
    }
}

struct isola_actor *isola__directory_actor(struct isola_host *h, struct isola_slice address,
                                           uint64_t hash)
{
    struct isola_directory_shard *shard = isola__directory_shard(h, hash);
    pthread_mutex_lock(&shard->lock);
    struct isola_actor *a = get(shard, address, hash);
    if (a != NULL)
        isola__actor_ref(a);
    pthread_mutex_unlock(&shard->lock);
    return a;
}

/* In what is usual: all else is for isola__directory_post. */
static bool has_room(const struct isola_host *h, const struct isola_actor *a,
                     const struct isola_mail *mail)
{
    return !atomic_load_explicit(&h->draining, memory_order_relaxed) && mail->args.len <= COUNTED &&
           atomic_load_explicit(&a->mailbox, memory_order_relaxed) < a->type->def.limits.mailbox;
}

static void give(struct isola_actor *a, struct isola_mail *mail)
{
    mail->actor = a;
    mail->dst = (struct isola_slice){0};
    isola__mailbox_add(a);
}

/* From another realm, or another node. */
static int hand_over(struct isola_actor *a, struct isola_mail *mail)
{
    int e = 0;
    isola_lock_take(&a->lock);
    if (atomic_load_explicit(&a->state, memory_order_relaxed) == ISOLA_ACTOR_GONE) {
        e = ISOLA_ECLOSED;
    } else if (!has_room(a->host, a, mail)) {
        e = ISOLA_EBUSY;
    } else {
        give(a, mail);
        isola__realm_post(a->realm, mail);
    }
    isola_lock_drop(&a->lock);
    return e;
}

bool isola_host_hand(struct isola_actor *a, struct isola_mail *mail)
{
    bool tells = mail->kind == ISOLA_MSG_EMIT &&
                 atomic_load_explicit(&a->paced, memory_order_relaxed); /* how full it is */
    return !tells && hand_over(a, mail) == 0;
}

int isola__directory_hand(struct isola_actor *a, struct isola_mail *mail, struct isola_realm *r)
{
    if (atomic_load_explicit(&a->realm, memory_order_acquire) == r && !a->behind) {
        /* Nobody else takes it out of this realm, or out of the directory. */
        if (atomic_load_explicit(&a->state, memory_order_relaxed) == ISOLA_ACTOR_GONE)
            return ISOLA_ECLOSED;
        if (!has_room(r->host, a, mail))
            return ISOLA_EBUSY;
        give(a, mail);
        a->ndirect++;
        isola_mailq_push(&r->direct, mail);
        return 0;
    }
    return hand_over(a, mail);
}

bool isola__directory_notify(struct isola_actor *a, struct isola_mail *note, const bool *quiet)
{
    struct isola_directory_shard *shard = isola__directory_shard(a->host, a->hash);
    pthread_mutex_lock(&shard->lock);
    note->actor = a;
    struct isola_realm *r = isola__realm_ref(a->realm);
    bool waits = quiet != NULL && *quiet;
    bool open = waits ? isola__realm_leave(r, note) : isola__realm_push(r, note);
    pthread_mutex_unlock(&shard->lock);
    if (!open)
        isola__realm_drop(r);
    isola__realm_unref(r);
    return waits;
}

void isola__directory_await(struct isola_actor *a, const struct isola_mail *note, bool *quiet)
{
    struct isola_directory_shard *shard = isola__directory_shard(a->host, a->hash);
    pthread_mutex_lock(&shard->lock);
    if (note->actor == NULL) /* else the visit that runs finds it before it ends */
        *quiet = false;
    pthread_mutex_unlock(&shard->lock);
}

bool isola__directory_leave(struct isola_actor *a)
{
    struct isola_directory_shard *shard = isola__directory_shard(a->host, a->hash);
    pthread_mutex_lock(&shard->lock);
    isola_lock_take(&a->lock);
    bool empty = atomic_load(&a->mailbox) == 0;
    if (empty)
        atomic_store(&a->state, ISOLA_ACTOR_GONE);
    isola_lock_drop(&a->lock);
    if (empty) {
        struct isola_actor **at = find(shard, a->address, a->hash);
        ISOLA_CHECK(*at == a);
        *at = a->next_same;
        shard->count--;
    }
    pthread_mutex_unlock(&shard->lock);
    if (empty)
        isola__actor_unref(a);
    return empty;
}

bool isola__directory_paced(struct isola_host *h, struct isola_slice address,
                            struct isola_host_limits *limits)
{
    uint64_t hash = hash_of(address);
    struct isola_directory_shard *shard = isola__directory_shard(h, hash);
    pthread_mutex_lock(&shard->lock);
    struct isola_actor *a = get(shard, address, hash);
    bool paced = a != NULL && atomic_load(&a->paced);
    if (limits != NULL)
        *limits = a != NULL ? a->type->def.limits : (struct isola_host_limits){0};
    pthread_mutex_unlock(&shard->lock);
    return paced;
}

struct isola_realm *isola__directory_realm(struct isola_host *h, struct isola_slice address,
                                           int *state)
{
    uint64_t hash = hash_of(address);
    struct isola_directory_shard *shard = isola__directory_shard(h, hash);
    pthread_mutex_lock(&shard->lock);
    struct isola_actor *a = get(shard, address, hash);
    struct isola_realm *r = a != NULL && a->realm != NULL ? isola__realm_ref(a->realm) : NULL;
    *state = a != NULL ? atomic_load(&a->state) : ISOLA_ACTOR_GONE;
    pthread_mutex_unlock(&shard->lock);
    return r;
}
