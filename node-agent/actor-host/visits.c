/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker does with links at the end of its visits: what it has sent leaves together, and
 * before it sleeps it looks a while for what comes, and sleeps so that what comes wakes it.
 *
 * Happy path. A worker asks something of another node, has nothing else to do, and reads the answer
 * from the link itself (isola_link_poll): nobody needs to be woken for it. One worker of a host
 * looks at a time, or sleeps by the links: `gate` is a descriptor its loop waits on, which is
 * readable while one of the links is, if it is the gate of the one that waits. It is moved when
 * another looks, or sleeps while the one that has it is at work. Nobody begins to read while
 * another sleeps by the links, nor does anybody sleep by them while another reads: it would be
 * woken by what is being read, again and again for as long as that lasts.
 *
 * Where they look: at links that are hot, by which messages were sent by workers or have come.
 *
 * When all workers are busy nobody reads from the links that were taken from nng: so a timer of the
 * loop, the guard, gives them back when nobody has looked from one time to the next, nor reads, nor
 * sleeps by them. It runs only while there is something to guard.
 */
#include "node-agent/actor-host/visits.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/epoll.h>

#include "base/check.h"
#include "base/clock.h"
#include "node-agent/actor-host/app.h"

#define GUARD_MS 5
/* Times the guard finds a worker asleep by the links, and goes itself. */
#define GUARD_REST 10
/* A hot link that was of no use for so long makes room for another, ms. */
#define STALE_MS 100

#define DIRTY_MAX 8
static _Thread_local struct {
    bool held;
    unsigned n;
    struct isola_link *links[DIRTY_MAX];
} dirty;

static _Thread_local struct {
    struct visits *all; /* it is a worker */
    int gate;
    bool fresh;              /* something was sent since it looked last in vain */
    struct isola_link *last; /* hot, if `changes` is still what it was */
    unsigned changes;
} mine = {.gate = -1};

/* --- leaving together --- */

static void flush_dirty(void)
{
    for (unsigned i = 0; i < dirty.n; i++) {
        isola_link_flush(dirty.links[i]);
        isola_link_unref(dirty.links[i]);
    }
    dirty.n = 0;
}

static void heat(struct visits *v, struct isola_link *link);

void visits_sent(struct isola_link *link)
{
    if (mine.all != NULL) {
        mine.fresh = true;
        heat(mine.all, link);
    }
    for (unsigned i = 0; i < dirty.n; i++)
        if (dirty.links[i] == link)
            return;
    if (dirty.n == DIRTY_MAX)
        flush_dirty();
    isola_link_ref(link);
    dirty.links[dirty.n++] = link;
}

void visits_sent_all(void)
{
    if (!dirty.held && dirty.n > 0)
        flush_dirty();
    for (unsigned i = 0; i < dirty.n; i++)
        isola_link_flush_much(dirty.links[i]);
}

void visits_hold(bool hold)
{
    dirty.held = hold;
    visits_sent_all();
}

void visits_batch(void *arg, bool begin)
{
    (void)arg;
    visits_hold(begin);
}

/* --- what is hot --- */

/* With the lock. */
static void cool(struct visits *v, unsigned i, struct isola_link *out[static 1])
{
    out[0] = v->hot[i].link;
    (void)epoll_ctl(v->links, EPOLL_CTL_DEL, isola_link_socket(out[0]), NULL);
    v->hot[i].link = NULL;
    atomic_fetch_sub(&v->nhot, 1);
    atomic_fetch_add(&v->changes, 1);
}

/* With the lock. The place of the link, or else one where it may be put; HOT_MAX: there is none. */
static unsigned place_of(const struct visits *v, const struct isola_link *link, uint64_t now)
{
    unsigned best = ISOLA_HOT_MAX;
    uint64_t least = now > STALE_MS ? now - STALE_MS : 0;
    for (unsigned i = 0; i < ISOLA_HOT_MAX; i++) {
        if (v->hot[i].link == link)
            return i;
        uint64_t used = v->hot[i].link != NULL ? v->hot[i].used : 0;
        if (used < least) {
            best = i;
            least = used;
        }
    }
    return best;
}

static void heat(struct visits *v, struct isola_link *link)
{
    if (mine.last == link && mine.changes == atomic_load(&v->changes))
        return;
    int socket = isola_link_socket(link);
    uint64_t now = isola_clock_ms();
    struct isola_link *old = NULL;
    if (socket < 0)
        return;
    pthread_mutex_lock(&v->lock);
    unsigned at = place_of(v, link, now);
    if (at < ISOLA_HOT_MAX && v->hot[at].link != link) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = at};
        if (v->hot[at].link != NULL)
            cool(v, at, &old);
        if (epoll_ctl(v->links, EPOLL_CTL_ADD, socket, &event) == 0) {
            isola_link_ref(link);
            v->hot[at].link = link;
            atomic_fetch_add(&v->nhot, 1);
            atomic_fetch_add(&v->changes, 1);
        }
    }
    if (at < ISOLA_HOT_MAX)
        v->hot[at].used = now;
    mine.last = link;
    mine.changes = atomic_load(&v->changes);
    pthread_mutex_unlock(&v->lock);
    if (old != NULL) {
        isola_link_rest(old);
        isola_link_unref(old);
    }
}

void visits_heard(struct visits *v, struct isola_link *link)
{
    if (mine.all != NULL)
        return; /* it has looked for it */
    heat(v, link);
    if (!atomic_load_explicit(&v->heard, memory_order_relaxed))
        atomic_store(&v->heard, true);
}

/* --- the guard --- */

/* Nobody looks: all that is hot goes back to nng. */
static void leave_all(struct visits *v)
{
    struct isola_link *left[ISOLA_HOT_MAX];
    unsigned n = 0;
    pthread_mutex_lock(&v->lock);
    for (unsigned i = 0; i < ISOLA_HOT_MAX; i++)
        if (v->hot[i].link != NULL)
            cool(v, i, &left[n++]);
    pthread_mutex_unlock(&v->lock);
    while (n > 0) {
        isola_link_rest(left[--n]);
        isola_link_unref(left[n]);
    }
}

static void on_guard(uv_timer_t *timer)
{
    struct visits *v = timer->data;
    unsigned looks = atomic_load(&v->looks);
    bool watched = atomic_load(&v->watched);
    if (looks != v->seen || atomic_load(&v->reading) > 0) {
        v->seen = looks;
        v->quiet = 0;
        return;
    }
    if (!watched)
        leave_all(v);
    else if (++v->quiet < GUARD_REST)
        return;
    atomic_store(&v->guarded, false);
    /* Who has just woken, or begun to look, may have seen that it is guarded. */
    bool anew = atomic_load(&v->nhot) > 0 && !atomic_load(&v->watched);
    if (!anew || atomic_exchange(&v->guarded, true))
        uv_timer_stop(timer);
}

static void on_guarded(uv_async_t *async)
{
    struct visits *v = async->data;
    v->quiet = 0;
    uv_timer_start(&v->guard, on_guard, GUARD_MS, GUARD_MS);
}

static void see_to_guard(struct visits *v)
{
    if (!atomic_load(&v->guarded) && !atomic_exchange(&v->guarded, true))
        uv_async_send(&v->wake);
}

/* --- looking --- */

static void drop(struct visits *v, struct isola_link *link)
{
    struct isola_link *dropped = NULL;
    pthread_mutex_lock(&v->lock);
    for (unsigned i = 0; i < ISOLA_HOT_MAX && dropped == NULL; i++)
        if (v->hot[i].link == link)
            cool(v, i, &dropped);
    pthread_mutex_unlock(&v->lock);
    if (dropped != NULL)
        isola_link_unref(dropped);
}

/* What may have something to be read, in `out`, each with a reference; `changes` as of then. */
static unsigned readable(struct visits *v, struct isola_link *out[ISOLA_HOT_MAX], bool all,
                         unsigned *changes)
{
    struct epoll_event events[ISOLA_HOT_MAX];
    bool among[ISOLA_HOT_MAX] = {false};
    unsigned n = 0;
    if (atomic_load(&v->nhot) == 1) /* to read is as quick as to ask */
        all = true;
    int nevents = all ? 0 : epoll_wait(v->links, events, ISOLA_HOT_MAX, 0);
    for (int i = 0; i < nevents; i++)
        among[events[i].data.u32] = true;
    if (!all && nevents <= 0)
        return 0;
    pthread_mutex_lock(&v->lock);
    for (unsigned i = 0; i < ISOLA_HOT_MAX; i++) {
        if (v->hot[i].link == NULL || (!all && !among[i]))
            continue;
        isola_link_ref(v->hot[i].link);
        out[n++] = v->hot[i].link;
    }
    *changes = atomic_load(&v->changes);
    pthread_mutex_unlock(&v->lock);
    return n;
}

/* One that was given back to nng while it was polled was taken from it again, perhaps, and is
 * nobody's. */
static void leave_cold(struct visits *v, struct isola_link *const *links, unsigned n)
{
    bool hot[ISOLA_HOT_MAX] = {false};
    pthread_mutex_lock(&v->lock);
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < ISOLA_HOT_MAX; k++)
            hot[i] |= v->hot[k].link == links[i];
    pthread_mutex_unlock(&v->lock);
    for (unsigned i = 0; i < n; i++)
        if (!hot[i])
            isola_link_rest(links[i]);
}

/* What is delivered may be sent on, and so change what is hot. True: something was. */
static bool poll_hot(struct visits *v, bool take, bool all)
{
    struct isola_link *links[ISOLA_HOT_MAX];
    bool came = false;
    if (atomic_load(&v->nhot) == 0)
        return false;
    atomic_fetch_add(&v->looks, 1);
    if (take)
        see_to_guard(v);
    atomic_fetch_add(&v->reading, 1);
    unsigned changes = 0, n = readable(v, links, all, &changes);
    for (unsigned i = 0; i < n; i++) {
        int r = isola_link_poll(links[i], take);
        if (r < 0)
            drop(v, links[i]);
        came |= r > 0;
    }
    atomic_fetch_sub(&v->reading, 1);
    if (n > 0 && changes != atomic_load(&v->changes))
        leave_cold(v, links, n);
    for (unsigned i = 0; i < n; i++)
        isola_link_unref(links[i]);
    return came;
}

/* With the lock. From now on nobody, or this thread, is woken by what comes. */
static void move_gate(struct visits *v, int gate)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (v->gate == gate)
        return;
    if (v->gate >= 0)
        (void)epoll_ctl(v->gate, EPOLL_CTL_DEL, v->links, NULL);
    v->gate = gate;
    if (gate >= 0 && epoll_ctl(gate, EPOLL_CTL_ADD, v->links, &event) != 0)
        v->gate = -1;
}

static bool begin(struct visits *v)
{
    if (atomic_load(&v->nhot) == 0 || (!mine.fresh && !atomic_exchange(&v->heard, false)) ||
        atomic_exchange(&v->looked, true))
        return false;
    pthread_mutex_lock(&v->lock);
    if (v->gate != mine.gate) {
        move_gate(v, -1);
        atomic_store(&v->watched, false);
    }
    pthread_mutex_unlock(&v->lock);
    poll_hot(v, true, true);
    return true;
}

static void glance(struct visits *v)
{
    atomic_fetch_add(&v->reading, 1);
    if (!atomic_load(&v->watched)) /* else somebody is woken for it */
        (void)poll_hot(v, false, false);
    atomic_fetch_sub(&v->reading, 1);
}

/* This thread sleeps by the links, unless another does, or looks at them. */
static void sleep_by(struct visits *v)
{
    if (atomic_load(&v->nhot) == 0 || atomic_load(&v->looked) || atomic_load(&v->reading) > 0)
        return;
    pthread_mutex_lock(&v->lock);
    bool anew = !atomic_exchange(&v->watched, true);
    if (anew)
        move_gate(v, mine.gate);
    if (anew && atomic_load(&v->reading) > 0) /* who reads sees one of the two, or is seen */
        move_gate(v, -1);
    if (anew && v->gate < 0)
        atomic_store(&v->watched, false);
    bool by_me = v->gate == mine.gate && mine.gate >= 0;
    pthread_mutex_unlock(&v->lock);
    if (by_me)
        poll_hot(v, true, true);
}

static void wake_up(struct visits *v)
{
    pthread_mutex_lock(&v->lock);
    bool was = v->gate == mine.gate && atomic_load(&v->watched);
    if (was)
        atomic_store(&v->watched, false);
    pthread_mutex_unlock(&v->lock);
    if (was)
        see_to_guard(v);
}

bool visits_look(void *arg, enum isola_look look)
{
    struct visits *v = &((struct app *)arg)->visits;
    switch (look) {
    case ISOLA_LOOK_GLANCE:
        if (mine.fresh)
            glance(v);
        break;
    case ISOLA_LOOK_BEGIN:
        return begin(v);
    case ISOLA_LOOK_ON:
        if (poll_hot(v, true, false))
            mine.fresh = true; /* what is answered, or not, may be followed by more */
        break;
    case ISOLA_LOOK_END:
        atomic_store(&v->looked, false);
        break;
    case ISOLA_LOOK_SLEEP:
        mine.fresh = false;
        sleep_by(v);
        break;
    case ISOLA_LOOK_WAKE:
        wake_up(v);
        break;
    }
    return false;
}

int visits_gate(void *arg)
{
    mine.all = &((struct app *)arg)->visits;
    mine.gate = epoll_create1(EPOLL_CLOEXEC);
    return mine.gate;
}

int visits_open(struct visits *v, uv_loop_t *loop, struct isola_err *err)
{
    pthread_mutex_init(&v->lock, NULL);
    v->gate = -1;
    v->links = epoll_create1(EPOLL_CLOEXEC);
    if (v->links < 0)
        return isola_fail(err, ISOLA_EIO, "cannot watch links to other nodes: %s", strerror(errno));
    int r = uv_async_init(loop, &v->wake, on_guarded);
    if (r == 0)
        r = uv_timer_init(loop, &v->guard);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot watch links to other nodes: %s", uv_strerror(r));
    v->wake.data = v->guard.data = v;
    return 0;
}
