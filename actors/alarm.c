/* SPDX-License-Identifier: Apache-2.0
 *
 * The alarm clock of the host: wakes actors whose timers (schedule.c) are due, whether they are
 * active or not.
 *
 * The happy path. Of each address that has a timer soon the alarm clock knows when its first one is
 * due: it has read that in the store, in pages, in the order in which they are due and no further
 * ahead than it needs to; or the actor has said so when a write with timers was on disk. When that
 * time has come the actor gets a FIRE. It says what its next one is when what was due has been
 * carried out and is on disk. FLYING_MAX of them are under way at once, and the next ones follow as
 * these end; one that takes long does not count after SLOW_MS.
 *
 * An actor that lives on another node now, though its rows are here, is started there: it takes
 * them along, and the alarm clock there hears of them. Of one that does not get its FIRE, or
 * crashes of it, it is tried again after a pause, twice as long each time; at once when releases or
 * places change. Timers of an app or a type that is not there are left to the store: it is read
 * again when there is another release, and every LOOK_MS.
 *
 * The wall clock may be set. Times of the store are its times, and so are those waited for: the
 * kernel ends such a wait when the clock is set beyond its end.
 *
 * Invariant: of an address with a timer on disk that is due at `known` or before, it is known when
 * the first one is due, or earlier; or something under way will say so; or the store is read again.
 * An actor is sometimes woken for nothing, never too late.
 */
#include "actors/host_own.h"
#include "base/clock.h"
#include "base/thread.h"

#define FLYING_MAX 1024
#define SLOW_MS    10000
#define HORIZON_MS 600000
#define KNOWN_MAX  20000 /* addresses that wait, without those that are tried again */
#define PAUSED_MAX 10000
#define PAGE_ROWS  1000
#define PAUSE_MS   100
#define PAUSE_MAX  300000
#define LOOK_MS    300000
#define CRASHED    100000

struct isola__alarm_entry {
    struct isola_heap_node due;            /* ms since 1970 */
    struct isola__alarm_entry *next, **at; /* of those under way; NULL: it is not */
    uint64_t since;                        /* when it began to be, ms of isola_clock_ms */
    uint64_t wake;                         /* the id of the START under way; 0: none is */
    uint32_t pause;                        /* the last one, ms; 0: it was not in vain */
    bool counts;                           /* in nflying */
    bool paused;                           /* in npaused */
    uint32_t len;
    char address[];
};

struct crashed {
    uint64_t due;
    unsigned times;
};

static uint64_t wall(void)
{
    int64_t now = isola_clock_wall_ms();
    return now > 0 ? (uint64_t)now : 1;
}

static struct isola_slice address_of(const struct isola__alarm_entry *e)
{
    return isola_slice(e->address, e->len);
}

/* --- all with the lock held, to where it says otherwise --- */

static void unheap(struct isola_alarm *al, struct isola__alarm_entry *e)
{
    isola_heap_remove(&al->due, &e->due);
    al->npaused -= e->paused;
    e->paused = false;
}

static void await(struct isola_alarm *al, struct isola__alarm_entry *e, uint64_t due)
{
    const struct isola_heap_node *first = isola_heap_min(&al->due);
    bool sooner = first == NULL || due < first->key;
    unheap(al, e);
    isola_heap_insert(&al->due, &e->due, due);
    if (sooner && !al->full)
        pthread_cond_signal(&al->wake);
}

static void uncount(struct isola_alarm *al, struct isola__alarm_entry *e)
{
    al->nflying -= e->counts;
    e->counts = false;
    if (al->full && al->nflying <= FLYING_MAX / 2) {
        al->full = false;
        pthread_cond_signal(&al->wake);
    }
}

static void take_off(struct isola_alarm *al, struct isola__alarm_entry *e)
{
    e->since = isola_clock_ms();
    e->counts = true;
    al->nflying++;
    e->next = NULL;
    e->at = al->last;
    *al->last = e;
    al->last = &e->next;
}

static void land(struct isola_alarm *al, struct isola__alarm_entry *e)
{
    if (e->at == NULL)
        return;
    *e->at = e->next;
    if (e->next != NULL)
        e->next->at = e->at;
    else
        al->last = e->at;
    e->at = NULL;
    e->wake = 0;
    uncount(al, e);
}

static void forget(struct isola_alarm *al, struct isola__alarm_entry *e)
{
    land(al, e);
    unheap(al, e);
    isola_map_del(&al->entries, address_of(e));
    free(e);
}

static struct isola__alarm_entry *get(struct isola_alarm *al, struct isola_slice address)
{
    struct isola__alarm_entry *e = isola_map_get(&al->entries, address);
    if (e != NULL)
        return e;
    e = isola_zalloc(sizeof(*e) + address.len);
    memcpy(e->address, address.data, address.len);
    e->len = (uint32_t)address.len;
    isola_map_set(&al->entries, address, e);
    return e;
}

/* What is due then is, or will be, read of the store. */
static bool is_beyond(const struct isola_alarm *al, uint64_t due)
{
    return due > (al->reading != ISOLA_PAGE_NONE ? al->want.until : al->known);
}

static void note(struct isola_alarm *al, struct isola_slice address, uint64_t due)
{
    struct isola__alarm_entry *e = isola_map_get(&al->entries, address);
    if (e == NULL && is_beyond(al, due))
        return;
    e = e != NULL ? e : get(al, address);
    if (e->at == NULL && (e->due.place == 0 || (!e->paused && due < e->due.key)))
        await(al, e, due); /* else who is under way will say */
}

static uint32_t jittered(struct isola_alarm *al, uint32_t ms)
{
    al->seed = al->seed * 6364136223846793005u + 1442695040888963407u;
    return ms / 4 * 3 + (uint32_t)(al->seed >> 33) % (ms / 2 + 1);
}

static void try_again(struct isola_alarm *al, struct isola__alarm_entry *e)
{
    e->pause = e->pause == 0 ? PAUSE_MS : e->pause * 2 < PAUSE_MAX ? e->pause * 2 : PAUSE_MAX;
    if (al->npaused >= PAUSED_MAX) {
        al->asleep = true;
        forget(al, e);
        return;
    }
    await(al, e, wall() + jittered(al, e->pause));
    e->paused = true;
    al->npaused++;
}

static void crash_key(struct isola_buf *key, struct isola_slice address, struct isola_slice id)
{
    isola_buf_append(key, address.data, address.len);
    isola_buf_append(key, "", 1);
    isola_buf_append(key, id.data, id.len);
}

/* --- what is said --- */

void isola__alarm_add(struct isola_host *h, struct isola_slice address, uint64_t due)
{
    struct isola_alarm *al = &h->alarm;
    pthread_mutex_lock(&al->lock);
    if (due != 0)
        note(al, address, due);
    pthread_mutex_unlock(&al->lock);
}

void isola_host_timer(struct isola_host *h, struct isola_slice address, uint64_t due)
{
    isola__alarm_add(h, address, due);
}

void isola__alarm_set(struct isola_host *h, struct isola_slice address, uint64_t due)
{
    struct isola_alarm *al = &h->alarm;
    pthread_mutex_lock(&al->lock);
    struct isola__alarm_entry *e = isola_map_get(&al->entries, address);
    if (due == 0 || is_beyond(al, due)) {
        if (e != NULL)
            forget(al, e);
    } else {
        e = e != NULL ? e : get(al, address);
        e->pause = 0;
        land(al, e);
        await(al, e, due);
    }
    pthread_mutex_unlock(&al->lock);
}

void isola__alarm_again(struct isola_host *h, struct isola_slice address)
{
    struct isola_alarm *al = &h->alarm;
    pthread_mutex_lock(&al->lock);
    struct isola__alarm_entry *e = get(al, address);
    land(al, e);
    if (!e->paused)
        try_again(al, e);
    pthread_mutex_unlock(&al->lock);
}

void isola__alarm_refused(struct isola_host *h, struct isola_mail *fire, int code)
{
    struct isola_alarm *al = &h->alarm;
    struct isola_slice address = isola_mail_dst(fire);
    if (code == ISOLA_ENOACTOR) {
        pthread_mutex_lock(&al->lock);
        struct isola__alarm_entry *e = isola_map_get(&al->entries, address);
        al->asleep = true;
        if (e != NULL)
            forget(al, e);
        pthread_mutex_unlock(&al->lock);
    } else {
        isola__alarm_again(h, address);
    }
    isola_mail_free(fire);
}

void isola__alarm_started(struct isola_host *h, struct isola_mail *answer)
{
    struct isola_alarm *al = &h->alarm;
    uint64_t id = answer->origin.id;
    pthread_mutex_lock(&al->lock);
    struct isola__alarm_entry *e = al->first;
    while (e != NULL && e->wake != id)
        e = e->next;
    if (e != NULL && answer->kind == ISOLA_MSG_REPLY)
        forget(al, e); /* it is known there */
    else if (e != NULL)
        land(al, e); /* it is tried again as it is */
    pthread_mutex_unlock(&al->lock);
    isola_mail_free(answer);
}

/* From the first row, at once. */
static void read_again(struct isola_alarm *al)
{
    if (al->reading != ISOLA_PAGE_NONE) {
        al->again = true;
        return;
    }
    al->again = al->asleep = al->all = false;
    al->known = al->read_at = 0;
    al->want.due = 0;
    al->at_address.len = al->at_id.len = 0;
}

void isola__alarm_changed(struct isola_host *h)
{
    struct isola_alarm *al = &h->alarm;
    uint64_t now = wall();
    pthread_mutex_lock(&al->lock);
    ISOLA_MAP_EACH(&al->entries, x)
    {
        struct isola__alarm_entry *e = x->value;
        if (!e->paused)
            continue;
        e->pause = 0;
        await(al, e, now);
    }
    if (al->asleep)
        read_again(al);
    pthread_cond_signal(&al->wake);
    pthread_mutex_unlock(&al->lock);
}

unsigned isola__alarm_crashed(struct isola_host *h, struct isola_slice address,
                              struct isola_slice id, uint64_t due)
{
    struct isola_alarm *al = &h->alarm;
    struct isola_buf key = {0};
    unsigned times = 0;
    crash_key(&key, address, id);
    pthread_mutex_lock(&al->lock);
    struct crashed *c = isola_map_get(&al->crashed, isola_buf_slice(&key));
    if (c == NULL && al->crashed.count < CRASHED) {
        c = isola_zalloc(sizeof(*c));
        isola_map_set(&al->crashed, isola_buf_slice(&key), c);
        atomic_store_explicit(&al->ncrashed, al->crashed.count, memory_order_relaxed);
    }
    if (c != NULL) {
        c->times = c->due == due ? c->times + 1 : 1;
        c->due = due;
        times = c->times;
    }
    pthread_mutex_unlock(&al->lock);
    isola_buf_free(&key);
    return times;
}

void isola__alarm_forgive(struct isola_host *h, struct isola_slice address, struct isola_slice id)
{
    struct isola_alarm *al = &h->alarm;
    struct isola_buf key = {0};
    if (atomic_load_explicit(&al->ncrashed, memory_order_relaxed) == 0)
        return;
    crash_key(&key, address, id);
    pthread_mutex_lock(&al->lock);
    free(isola_map_del(&al->crashed, isola_buf_slice(&key)));
    atomic_store_explicit(&al->ncrashed, al->crashed.count, memory_order_relaxed);
    pthread_mutex_unlock(&al->lock);
    isola_buf_free(&key);
}

/* --- reading ahead --- */

static void page_read(struct isola_state_io *io, int code, struct isola_slice value,
                      const char *why)
{
    struct isola_alarm *al =
        (struct isola_alarm *)(void *)((char *)io - offsetof(struct isola_alarm, io));
    (void)value;
    if (code != 0)
        isola_log(ISOLA_LOG_ERROR, "timers that are due cannot be read: %s",
                  why != NULL ? why : isola_error_text(code));
    pthread_mutex_lock(&al->lock);
    if (code == 0)
        isola_kept_copy(&al->page, io->rows, io->nrows);
    al->page_code = code;
    al->reading = ISOLA_PAGE_READ;
    pthread_cond_signal(&al->wake);
    pthread_mutex_unlock(&al->lock);
}

/* When the next page is to be read, ms since 1970; 0: not now, something else comes first. */
static uint64_t page_at(const struct isola_host *h, const struct isola_alarm *al)
{
    if (al->reading != ISOLA_PAGE_NONE || h->ops->state_due == NULL ||
        al->due.n - al->npaused >= KNOWN_MAX)
        return 0;
    uint64_t at = al->all ? al->known - HORIZON_MS / 2 : 1;
    return at > al->read_at ? at : al->read_at;
}

static void copy(struct isola_buf *to, struct isola_slice from)
{
    to->len = 0;
    isola_buf_append(to, from.data, from.len);
}

static void take_page(struct isola_alarm *al, uint64_t now)
{
    struct isola_kept_rows page = al->page;
    al->page = (struct isola_kept_rows){0};
    if (al->page_code != 0) {
        al->reading = ISOLA_PAGE_NONE;
        al->read_at = now + 1000;
        return;
    }
    for (size_t i = 0; i < page.n; i++)
        note(al, page.row[i].value, page.row[i].seq);
    al->reading = ISOLA_PAGE_NONE;
    al->all = page.n < PAGE_ROWS;
    if (al->all) {
        al->known = al->want.due = al->want.until;
        al->at_address.len = al->at_id.len = 0;
    } else {
        const struct isola_kept *last = &page.row[page.n - 1];
        al->known = al->want.due = last->seq;
        copy(&al->at_address, last->value);
        copy(&al->at_id, last->peer);
    }
    isola_kept_free(&page);
    if (al->again)
        read_again(al);
}

/* Gives up the lock meanwhile. */
static void read_page(struct isola_host *h, uint64_t now)
{
    struct isola_alarm *al = &h->alarm;
    al->reading = ISOLA_PAGE_READING;
    al->want.until = now + HORIZON_MS > al->known ? now + HORIZON_MS : al->known;
    al->want.address = isola_buf_slice(&al->at_address);
    al->want.id = isola_buf_slice(&al->at_id);
    al->want.rows = PAGE_ROWS;
    al->io = (struct isola_state_io){.done = page_read, .due = &al->want};
    pthread_mutex_unlock(&al->lock);
    h->ops->state_due(h->arg, &al->io);
    pthread_mutex_lock(&al->lock);
}

/* --- time --- */

/* Has it started where it lives. Gives up the lock meanwhile. */
static void start(struct isola_host *h, struct isola__alarm_entry *e)
{
    struct isola_alarm *al = &h->alarm;
    struct isola_slice none = {0};
    /* Of itself: one of nobody's would lift its quarantine. */
    struct isola_mail *m =
        isola_mail_new(ISOLA_MSG_START, address_of(e), address_of(e), none, none, none);
    take_off(al, e);
    e->wake = ++al->wakes | ISOLA_ALARM_ID;
    try_again(al, e); /* should no answer come */
    if (m == NULL)
        return;
    m->origin.link = ISOLA_HOST_LINK;
    m->origin.id = al->wakes | ISOLA_ALARM_ID;
    m->timeout_ms = SLOW_MS;
    pthread_mutex_unlock(&al->lock);
    isola_host_post(h, m);
    pthread_mutex_lock(&al->lock);
}

/* Its time has come. Gives up the lock meanwhile. */
static void due(struct isola_host *h, struct isola__alarm_entry *e)
{
    struct isola_alarm *al = &h->alarm;
    struct isola_slice none = {0};
    land(al, e);
    unheap(al, e);
    int node = h->ops->locate(h->arg, address_of(e));
    if (node > 0) {
        start(h, e);
        return;
    }
    struct isola_mail *m =
        node == 0 ? isola_mail_new(ISOLA_MAIL_FIRE, none, address_of(e), none, none, none) : NULL;
    if (m == NULL) {
        try_again(al, e);
        return;
    }
    take_off(al, e);
    pthread_mutex_unlock(&al->lock);
    isola__directory_post(h, m);
    pthread_mutex_lock(&al->lock);
}

/* Those that take long do not count: how long until the next one does not, ms. */
static uint64_t uncount_slow(struct isola_alarm *al)
{
    uint64_t now = isola_clock_ms();
    struct isola__alarm_entry *e = al->first;
    while (e != NULL && (!e->counts || e->since + SLOW_MS <= now)) {
        uncount(al, e);
        e = e->next;
    }
    return e != NULL ? e->since + SLOW_MS - now : SLOW_MS;
}

static void wait_until(struct isola_alarm *al, uint64_t ms)
{
    if (ms == 0 || ms / 1000 > INT32_MAX) {
        pthread_cond_wait(&al->wake, &al->lock);
        return;
    }
    isola_cond_wait_until(&al->wake, &al->lock, ms);
}

/* One step. The lock is held, but not all the time. */
static void step(struct isola_host *h)
{
    struct isola_alarm *al = &h->alarm;
    uint64_t now = wall();
    if (al->reading == ISOLA_PAGE_READ)
        take_page(al, now);
    if (al->asleep && al->look_at == 0)
        al->look_at = now + LOOK_MS;
    if (al->asleep && al->look_at <= now)
        read_again(al);
    if (!al->asleep)
        al->look_at = 0;
    uint64_t page = page_at(h, al);
    struct isola_heap_node *first = isola_heap_min(&al->due);
    if (page != 0 && page <= now) {
        read_page(h, now);
        return;
    }
    if (first != NULL && first->key <= now && al->nflying < FLYING_MAX) {
        due(h, (struct isola__alarm_entry *)(void *)first);
        return;
    }
    uint64_t until = first != NULL ? first->key : 0;
    if (until != 0 && until <= now) {
        uint64_t slow = uncount_slow(al);
        al->full = al->nflying >= FLYING_MAX;
        if (!al->full)
            return;
        until = now + slow;
    }
    if (page != 0 && (until == 0 || page < until))
        until = page;
    if (al->look_at != 0 && (until == 0 || al->look_at < until))
        until = al->look_at;
    wait_until(al, until);
    al->full = false;
}
_Static_assert(offsetof(struct isola__alarm_entry, due) == 0, "a node of the heap is an entry");

static void *run(void *arg)
{
    struct isola_host *h = arg;
    struct isola_alarm *al = &h->alarm;
    pthread_mutex_lock(&al->lock);
    for (;;) {
        if (!al->open || atomic_load(&h->draining))
            pthread_cond_wait(&al->wake, &al->lock);
        else
            step(h);
    }
    return NULL;
}

void isola__alarm_begin(struct isola_host *h)
{
    struct isola_alarm *al = &h->alarm;
    pthread_mutex_lock(&al->lock);
    al->open = true;
    pthread_cond_signal(&al->wake);
    pthread_mutex_unlock(&al->lock);
}

int isola__alarm_open(struct isola_host *h, struct isola_err *err)
{
    struct isola_alarm *al = &h->alarm;
    al->seed = isola_clock_ns() | 1;
    al->last = &al->first;
    pthread_mutex_init(&al->lock, NULL);
    pthread_cond_init(&al->wake, NULL); /* on the wall clock */
    int rc = isola_thread_start(&al->thread, "isola-alarm", run, h);
    if (rc != 0)
        return isola_fail(err, ISOLA_EIO, "cannot start the thread of the alarm clock: %s",
                          strerror(rc));
    return 0;
}
