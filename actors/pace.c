/* SPDX-License-Identifier: Apache-2.0
 *
 * A slow receiver slows its senders, here and on other nodes, and nobody else.
 *
 * Happy path. When half of what a mailbox may hold is in it, it is crowded: `emit` to it returns
 * false from then on, and its sender is told when no more than a quarter is left ('drain'). A
 * sender on another node cannot look, so no more than a window of its messages is on the way: every
 * sixteenth emit of an isolate to an address asks for a PACE, and while as many of these as the
 * window has are to come the address counts as crowded. A window is two at first; each PACE says
 * what it may be from then on, a quarter of the mailbox. A message that finds the mailbox crowded
 * is answered with a PACE that says so; another says when that is over. A link on which much waits
 * makes all that live behind it crowded in the same way.
 *
 * Failure modes. A sender that goes on is not stopped: what finds the mailbox full is dropped, or
 * fails with EOVERLOAD. What has been emitted on another node in good faith is not: when half of
 * the mailbox is empty a window may come and what an isolate has emitted in one go, for which there
 * is room beyond the limit (directory.c). When the link is lost, what its node has said of its
 * actors is forgotten and who waits is told, to find out anew.
 *
 * Invariants: `crowded` of the host counts all that may make emit return false, so as long as it is
 * 0 nobody looks further. Whoever waits is told once, by an answer to its origin. The lock is a
 * leaf.
 */
#include "actors/pace.h"

#include "actors/host_own.h"

struct waiter {
    struct waiter *next;
    struct isola_origin origin; /* of a script's wait; or the connection of a peer that was told */
};

/* PACEs that are not answered, from which on senders wait: before one has said more, and the most
 * that one says. */
#define WINDOW      2
#define WINDOW_MOST 64
/* Addresses whose windows are remembered while nothing else is to be. */
#define REMEMBERED 4096

/* An address somebody waits for, or on another node: one that is crowded, or was sent to. */
struct paced {
    int node;        /* that says it is crowded; 0: none does */
    unsigned asked;  /* PACEs that are to come */
    unsigned window; /* and how many may be */
    bool counted;    /* in host.crowded */
    struct waiter *first;
};

static bool is_crowded(const struct paced *e)
{
    return e->node != 0 || e->asked >= e->window;
}

static struct paced *get(struct isola_pace *p, struct isola_slice address, bool make)
{
    struct paced *e = isola_map_get(&p->of, address);
    if (e == NULL && make) {
        e = isola_zalloc(sizeof(*e));
        e->window = WINDOW;
        isola_map_set(&p->of, address, e);
    }
    return e;
}

static void tidy(struct isola_pace *p, struct isola_slice address, struct paced *e)
{
    if (e->node == 0 && e->asked == 0 && e->first == NULL &&
        (e->window == WINDOW || p->of.count > REMEMBERED))
        free(isola_map_del(&p->of, address));
}

static void add(struct paced *e, struct isola_origin origin)
{
    struct waiter *w = isola_zalloc(sizeof(*w));
    w->origin = origin;
    w->next = e->first;
    e->first = w;
}

static struct waiter *take_waiters(struct paced *e)
{
    struct waiter *first = e->first;
    e->first = NULL;
    return first;
}

/* It has changed. */
static void count(struct isola_host *h, struct paced *e)
{
    bool crowded = is_crowded(e);
    if (crowded && !e->counted)
        atomic_fetch_add(&h->crowded, 1);
    else if (!crowded && e->counted)
        atomic_fetch_sub(&h->crowded, 1);
    e->counted = crowded;
}

static void say(struct isola_host *h, struct isola_slice address, uint64_t link, unsigned what)
{
    struct isola_slice none = {0};
    struct isola_mail *m = isola_mail_new(ISOLA_MSG_PACE, address, none, none, none, none);
    if (m == NULL)
        return;
    m->origin.link = link;
    m->origin.id = what;
    h->ops->answer(h->arg, m);
}

static void wake(struct isola_host *h, struct isola_slice address, struct waiter *w)
{
    while (w != NULL) {
        struct waiter *next = w->next;
        if (w->origin.link != 0) {
            say(h, address, w->origin.link, ISOLA_PACE_ROOM);
        } else {
            struct isola_mail *m = isola_mail_answer(w->origin, true, isola_slice("\x91\xc0", 2));
            if (m != NULL)
                isola_host_answer(h, m);
        }
        free(w);
        w = next;
    }
}

static bool behind_slow_link(struct isola_host *h, struct isola_slice address)
{
    if (h->pace.nslow == 0)
        return false;
    int node = h->ops->locate(h->arg, address);
    for (size_t i = 0; i < h->pace.nslow; i++)
        if (h->pace.slow[i] == node)
            return true;
    return false;
}

/* --- mailboxes --- */

static bool much(const struct isola_actor *a, unsigned part)
{
    const struct isola_host_limits *l = &a->type->def.limits;
    return atomic_load(&a->mailbox) > l->mailbox / part ||
           (l->mailbox_bytes != 0 && atomic_load(&a->mail_bytes) > l->mailbox_bytes / part);
}

void isola__pace_filled(struct isola_actor *a)
{
    if (!atomic_exchange(&a->paced, true))
        atomic_fetch_add(&a->host->crowded, 1);
}

void isola__pace_emptied(struct isola_actor *a)
{
    struct isola_host *h = a->host;
    if (much(a, 4) || !atomic_exchange(&a->paced, false))
        return;
    atomic_fetch_sub(&h->crowded, 1);
    pthread_mutex_lock(&h->pace.lock);
    struct paced *e = get(&h->pace, a->address, false);
    struct waiter *w = e != NULL ? take_waiters(e) : NULL;
    if (e != NULL)
        tidy(&h->pace, a->address, e);
    pthread_mutex_unlock(&h->pace.lock);
    wake(h, a->address, w);
}

/* Those who have come to wait just when it was over would wait for ever. */
static void look_again(struct isola_host *h, struct isola_slice address)
{
    struct waiter *w = NULL;
    if (isola__directory_paced(h, address, NULL))
        return;
    pthread_mutex_lock(&h->pace.lock);
    struct paced *e = get(&h->pace, address, false);
    if (e != NULL && !is_crowded(e) && !behind_slow_link(h, address)) {
        w = take_waiters(e);
        tidy(&h->pace, address, e);
    }
    pthread_mutex_unlock(&h->pace.lock);
    wake(h, address, w);
}

/* What may be on the way to such an actor from one node. */
static unsigned window_of(const struct isola_host_limits *l)
{
    uint64_t n = l->mailbox / 4 / ISOLA_PACE_EACH,
             by_bytes = (l->mailbox_bytes >> (3 + ISOLA_PACE_BYTES)) / ISOLA_PACE_EACH;
    if (l->mailbox_bytes != 0 && n > by_bytes)
        n = by_bytes;
    return n < WINDOW ? WINDOW : n > WINDOW_MOST ? WINDOW_MOST : (unsigned)n;
}

void isola__pace_tell(struct isola_host *h, struct isola_slice address, uint64_t link, bool asked)
{
    struct isola_host_limits limits;
    bool crowded = isola__directory_paced(h, address, &limits), news = crowded;
    unsigned window = asked ? window_of(&limits) : 0;
    if (crowded) {
        pthread_mutex_lock(&h->pace.lock);
        struct paced *e = get(&h->pace, address, true);
        for (struct waiter *w = e->first; w != NULL; w = w->next)
            news = news && w->origin.link != link;
        if (news)
            add(e, (struct isola_origin){.link = link});
        pthread_mutex_unlock(&h->pace.lock);
    }
    if (news || asked)
        say(h, address, link,
            (crowded ? ISOLA_PACE_CROWDED : ISOLA_PACE_ROOM) | (asked ? ISOLA_PACE_ASKED : 0) |
                window << ISOLA_PACE_WINDOW);
    if (crowded && !isola__directory_paced(h, address, NULL)) {
        /* It has emptied meanwhile, and may have been said to before it was said to be crowded. */
        say(h, address, link, ISOLA_PACE_ROOM);
        look_again(h, address);
    }
}

/* --- other nodes --- */

void isola_host_paced(struct isola_host *h, int node, struct isola_slice address, unsigned what)
{
    struct waiter *w = NULL;
    bool crowded = (what & ISOLA_PACE_CROWDED) != 0;
    unsigned window = what >> ISOLA_PACE_WINDOW;
    pthread_mutex_lock(&h->pace.lock);
    struct paced *e = get(&h->pace, address, crowded);
    if (e != NULL) {
        if ((what & ISOLA_PACE_ASKED) != 0 && e->asked > 0)
            e->asked--;
        if (window >= WINDOW)
            e->window = window < WINDOW_MOST ? window : WINDOW_MOST;
        if (crowded)
            e->node = node;
        else if (e->node == node)
            e->node = 0;
        count(h, e);
        if (!is_crowded(e))
            w = take_waiters(e);
        tidy(&h->pace, address, e);
    }
    pthread_mutex_unlock(&h->pace.lock);
    wake(h, address, w);
}

void isola_host_pace_answer(struct isola_host *h, struct isola_slice address, uint64_t link)
{
    isola__pace_tell(h, address, link, true);
}

void isola__pace_ask(struct isola_host *h, struct isola_slice address)
{
    pthread_mutex_lock(&h->pace.lock);
    struct paced *e = get(&h->pace, address, true);
    e->asked++;
    count(h, e);
    pthread_mutex_unlock(&h->pace.lock);
}

/* What is known of a node has changed, or, with the link to it, is `lost`: tells who waits for what
 * lives there and is not crowded any more. */
static void sweep(struct isola_host *h, int node, bool lost)
{
    struct swept {
        struct swept *next;
        struct waiter *waiters;
        struct isola_buf address;
    } *all = NULL;
    pthread_mutex_lock(&h->pace.lock);
    ISOLA_MAP_EACH(&h->pace.of, entry)
    {
        struct isola_slice address = isola_slice(entry->key, entry->len);
        struct paced *e = entry->value;
        if (e->node != node && h->ops->locate(h->arg, address) != node)
            continue;
        struct swept *s = isola_zalloc(sizeof(*s));
        isola_buf_append(&s->address, address.data, address.len);
        if (lost) {
            e->node = 0;
            e->asked = 0;
            count(h, e);
        }
        if (!is_crowded(e))
            s->waiters = take_waiters(e);
        s->next = all;
        all = s;
    }
    for (struct swept *s = all; s != NULL; s = s->next)
        tidy(&h->pace, isola_buf_slice(&s->address),
             get(&h->pace, isola_buf_slice(&s->address), false));
    pthread_mutex_unlock(&h->pace.lock);
    while (all != NULL) {
        struct swept *s = all;
        all = s->next;
        wake(h, isola_buf_slice(&s->address), s->waiters);
        isola_buf_free(&s->address);
        free(s);
    }
}

void isola_host_pace_node(struct isola_host *h, int node, bool slow)
{
    struct isola_pace *p = &h->pace;
    size_t i = 0;
    pthread_mutex_lock(&p->lock);
    while (i < p->nslow && p->slow[i] != node)
        i++;
    bool was = i < p->nslow;
    if (slow && !was) {
        p->slow = isola_realloc(p->slow, (p->nslow + 1) * sizeof(*p->slow));
        p->slow[p->nslow++] = node;
        atomic_fetch_add(&h->crowded, 1);
    } else if (!slow && was) {
        p->slow[i] = p->slow[--p->nslow];
        atomic_fetch_sub(&h->crowded, 1);
    }
    pthread_mutex_unlock(&p->lock);
    if (!slow && was)
        sweep(h, node, false);
}

void isola_host_pace_lost(struct isola_host *h, int node)
{
    isola_host_pace_node(h, node, false);
    sweep(h, node, true);
}

/* --- senders --- */

bool isola__pace_crowded(struct isola_host *h, struct isola_slice address)
{
    if (atomic_load_explicit(&h->crowded, memory_order_relaxed) == 0)
        return false;
    pthread_mutex_lock(&h->pace.lock);
    const struct paced *e = get(&h->pace, address, false);
    bool yes = (e != NULL && is_crowded(e)) || behind_slow_link(h, address);
    pthread_mutex_unlock(&h->pace.lock);
    return yes || isola__directory_paced(h, address, NULL);
}

void isola__pace_wait(struct isola_host *h, struct isola_slice address, struct isola_origin origin)
{
    pthread_mutex_lock(&h->pace.lock);
    add(get(&h->pace, address, true), origin);
    pthread_mutex_unlock(&h->pace.lock);
    look_again(h, address);
}
