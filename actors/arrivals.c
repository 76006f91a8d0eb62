/* SPDX-License-Identifier: Apache-2.0
 *
 * Who sends to whom over one connection with another node, as it was found for a message before:
 * the next one between the two needs neither its addresses looked at, nor the directory.
 *
 * Two tables, of senders and of receivers, in which each address has one place. It is taken by who
 * is not found there a second time running: what passes once drives nobody out. Before them, those
 * found last by what the connection itself knows the two by.
 */
#include "actors/arrivals.h"

#include "actors/host_own.h"
#include "base/hash.h"

#define PLACES 512 /* a power of two */
/* Messages after which a place is looked at. */
#define SWEEP_EVERY 16

struct place {
    uint64_t hash, missed;     /* of who is there; of who was last not found there */
    char *text;                /* NULL: nobody is */
    uint32_t len, app;         /* bytes of the address, and of its app */
    struct isola_actor *actor; /* a receiver's, counted */
};

struct headed {
    uint32_t head;
    struct isola_actor *actor; /* counted; NULL: none */
};

struct isola_arrivals {
    struct headed headed[PLACES];
    struct place senders[PLACES], receivers[PLACES];
    const struct place *last; /* the sender that was found last */
    unsigned swept;
    unsigned moves; /* of the host, when the receivers were found */
};

static void clear(struct place *p)
{
    if (p->actor != NULL)
        isola__actor_unref(p->actor);
    free(p->text);
    p->actor = NULL;
    p->text = NULL;
}

static void set_headed(struct headed *at, uint32_t head, struct isola_actor *actor)
{
    if (actor != NULL)
        isola__actor_ref(actor);
    if (at->actor != NULL)
        isola__actor_unref(at->actor);
    *at = (struct headed){head, actor};
}

static bool has_gone(const struct isola_actor *a)
{
    return a != NULL && atomic_load_explicit(&a->state, memory_order_relaxed) == ISOLA_ACTOR_GONE;
}

static void forget_receivers(struct isola_arrivals *a)
{
    for (size_t i = 0; i < PLACES; i++) {
        clear(&a->receivers[i]);
        set_headed(&a->headed[i], 0, NULL);
    }
}

void isola_arrivals_free(struct isola_arrivals *a)
{
    if (a == NULL)
        return;
    forget_receivers(a);
    for (size_t i = 0; i < PLACES; i++)
        clear(&a->senders[i]);
    free(a);
}

static struct place *place_of(struct place *table, struct isola_slice address, uint64_t *hash)
{
    *hash = isola_hash_table(address.data, address.len);
    return &table[*hash & (PLACES - 1)];
}

static bool is_at(const struct place *p, struct isola_slice address)
{
    return p->text != NULL && p->len == address.len &&
           memcmp(p->text, address.data, address.len) == 0;
}

static const struct place *find(struct place *table, struct isola_slice address)
{
    uint64_t hash;
    const struct place *p = place_of(table, address, &hash);
    return p->hash == hash && is_at(p, address) ? p : NULL;
}

/* Who has gone, and the realm it was in, would stay. */
static void sweep(struct isola_arrivals *a, unsigned i)
{
    if (has_gone(a->receivers[i].actor))
        clear(&a->receivers[i]);
    if (has_gone(a->headed[i].actor))
        set_headed(&a->headed[i], 0, NULL);
}

static struct isola_actor *find_pair(struct isola_arrivals *a, struct isola_slice src,
                                     struct isola_slice dst)
{
    const struct place *to = find(a->receivers, dst);
    if (to == NULL || has_gone(to->actor))
        return NULL;
    if (src.len == 0)
        return to->actor;
    /* Many come from one after another. */
    const struct place *from =
        a->last != NULL && is_at(a->last, src) ? a->last : find(a->senders, src);
    a->last = from;
    bool same_app =
        from != NULL && from->app == to->app && memcmp(from->text, to->text, to->app) == 0;
    return same_app ? to->actor : NULL;
}

struct isola_actor *isola_arrivals_find(const struct isola_host *h, struct isola_arrivals *a,
                                        uint32_t head, struct isola_slice src,
                                        struct isola_slice dst)
{
    if (a == NULL)
        return NULL;
    unsigned moves = atomic_load_explicit(&h->moves, memory_order_acquire);
    if (a->moves != moves) { /* it may be about to leave */
        forget_receivers(a);
        a->moves = moves;
    }
    if (a->swept++ % SWEEP_EVERY == 0)
        sweep(a, a->swept / SWEEP_EVERY % PLACES);
    struct headed *headed = &a->headed[head & (PLACES - 1)];
    if (head != 0 && headed->head == head && !has_gone(headed->actor))
        return headed->actor;
    struct isola_actor *found = find_pair(a, src, dst);
    if (head != 0 && found != NULL)
        set_headed(headed, head, found);
    return found;
}

/* Takes the place for an address, if it is its turn; NULL: not, or it has it. */
static struct place *take(struct place *table, struct isola_slice address)
{
    uint64_t hash;
    struct isola_address parsed;
    struct place *p = place_of(table, address, &hash);
    bool again = p->missed == hash;
    if (has_gone(p->actor))
        clear(p);
    if (p->text != NULL && p->hash == hash)
        return NULL;
    p->missed = hash;
    if (!again || isola_address_parse(address, &parsed, NULL) != 0)
        return NULL;
    clear(p);
    p->hash = hash;
    p->text = isola_strndup((const char *)address.data, address.len);
    p->len = (uint32_t)address.len;
    p->app = (uint32_t)parsed.app.len;
    return p;
}

void isola_arrivals_note(struct isola_host *h, struct isola_arrivals **at, struct isola_slice src,
                         struct isola_slice dst)
{
    if (*at == NULL && (*at = calloc(1, sizeof(**at))) == NULL)
        return;
    struct isola_arrivals *a = *at;
    struct place *to = take(a->receivers, dst);
    if (to != NULL) {
        to->actor = isola__directory_actor(h, dst, to->hash);
        if (to->actor == NULL)
            clear(to);
    }
    if (src.len > 0)
        (void)take(a->senders, src);
}
