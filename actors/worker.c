/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker: a thread with a libuv loop that visits the realms that have something to do.
 *
 * Whoever makes a realm ready puts it into the queue and, when the worker may be asleep, wakes its
 * loop. One timer stands for the least deadline of all its realms. An idle worker sleeps in the
 * loop; nothing is polled.
 */
#include "actors/internal.h"

#include "base/clock.h"

/* Visits before the loop gets a turn for its timer. */
#define VISITS 64

static _Thread_local struct isola_worker *here;

void isola__worker_ready(struct isola_worker *w, struct isola_realm *r)
{
    isola__realm_ref(r);
    pthread_mutex_lock(&w->lock);
    bool wake = w->ready_head == NULL && here != w;
    r->next_ready = NULL;
    if (w->ready_head == NULL)
        w->ready_head = r;
    else
        *w->ready_tail = r;
    w->ready_tail = &r->next_ready;
    pthread_mutex_unlock(&w->lock);
    if (wake)
        uv_async_send(&w->async);
}

void isola__worker_committed(struct isola_worker *w, struct isola_commit *c)
{
    pthread_mutex_lock(&w->lock);
    bool wake = w->committed == NULL;
    c->next_done = NULL;
    if (w->committed == NULL)
        w->committed = c;
    else
        *w->committed_tail = c;
    w->committed_tail = &c->next_done;
    pthread_mutex_unlock(&w->lock);
    if (wake)
        uv_async_send(&w->async);
}

void isola__worker_read(struct isola_worker *w, struct isola_read *r)
{
    pthread_mutex_lock(&w->lock);
    bool wake = w->reads == NULL;
    r->next = NULL;
    if (w->reads == NULL)
        w->reads = r;
    else
        *w->reads_tail = r;
    w->reads_tail = &r->next;
    pthread_mutex_unlock(&w->lock);
    if (wake)
        uv_async_send(&w->async);
}

static struct isola_realm *next_ready(struct isola_worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct isola_realm *r = w->ready_head;
    if (r != NULL)
        w->ready_head = r->next_ready;
    pthread_mutex_unlock(&w->lock);
    return r;
}

/* Finished reads and writes need no isolate. */
static void take_finished(struct isola_worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct isola_commit *c = w->committed;
    struct isola_read *r = w->reads;
    w->committed = NULL;
    w->reads = NULL;
    pthread_mutex_unlock(&w->lock);
    while (c != NULL) {
        struct isola_commit *next = c->next_done;
        isola__gate_committed(c);
        c = next;
    }
    while (r != NULL) {
        struct isola_read *next = r->next;
        isola__actor_read(r);
        r = next;
    }
}

static void arm(struct isola_worker *w);

static void on_timer(uv_timer_t *timer)
{
    struct isola_worker *w = timer->data;
    uint64_t now = isola_clock_ms();
    struct isola_heap_node *node;
    while ((node = isola_heap_min(&w->wakes)) != NULL && node->key <= now) {
        isola_heap_remove(&w->wakes, node);
        struct isola_realm *r =
            (struct isola_realm *)(void *)((char *)node - offsetof(struct isola_realm, wake));
        isola__realm_post(r, NULL);
    }
    uv_async_send(&w->async);
    arm(w);
}

static void arm(struct isola_worker *w)
{
    struct isola_heap_node *node = isola_heap_min(&w->wakes);
    if (node == NULL) {
        uv_timer_stop(&w->timer);
        return;
    }
    uint64_t now = isola_clock_ms();
    uv_update_time(&w->loop);
    uv_timer_start(&w->timer, on_timer, node->key > now ? node->key - now : 0, 0);
}

void isola__worker_wake_at(struct isola_worker *w, struct isola_realm *r)
{
    struct isola_heap_node *least = isola_heap_min(&r->due);
    if (least != NULL && r->wake.place != 0 && r->wake.key == least->key)
        return;
    isola_heap_remove(&w->wakes, &r->wake);
    if (least != NULL)
        isola_heap_insert(&w->wakes, &r->wake, least->key);
    arm(w);
}

static void on_async(uv_async_t *async)
{
    struct isola_worker *w = async->data;
    for (int i = 0; i < VISITS; i++) {
        take_finished(w);
        struct isola_realm *r = next_ready(w);
        if (r == NULL)
            return;
        isola__realm_visit(r);
        isola__realm_unref(r);
    }
    uv_async_send(async);
}

static void *run(void *arg)
{
    struct isola_worker *w = arg;
    here = w;
    uv_run(&w->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* A release is one object for as long as a realm refers to it, while its id may be that of an older
 * one that comes back. */
static struct isola_slice shared_key(struct isola_release_rt *const *release)
{
    return isola_slice(release, sizeof(struct isola_release_rt *));
}

struct isola_realm *isola__worker_shared_realm(struct isola_worker *w,
                                               const struct isola_type *type)
{
    struct isola_host *h = w->host;
    pthread_mutex_lock(&h->shared_lock);
    struct isola_realm *r = isola_map_get(&w->shared, shared_key(&type->release));
    if (r == NULL) {
        r = isola__realm_new(h, w, type->release, true, isola__limits_of(type));
        isola_map_set(&w->shared, shared_key(&type->release), r);
    }
    isola__realm_ref(r);
    r->residents++;
    pthread_mutex_unlock(&h->shared_lock);
    return r;
}

void isola__worker_leave_shared(struct isola_worker *w, struct isola_realm *r)
{
    struct isola_host *h = w->host;
    /* Both locks, so that either we see the newer release or its sweep sees that nobody is left. */
    pthread_rwlock_rdlock(&h->apps_lock);
    pthread_mutex_lock(&h->shared_lock);
    bool current = isola_map_get(&h->apps, isola_slice_str(r->release->app)) == r->release;
    bool over = --r->residents == 0 && !current;
    bool empty = r->residents == 0;
    if (over)
        ISOLA_CHECK(isola_map_del(&w->shared, shared_key(&r->release)) == r);
    pthread_mutex_unlock(&h->shared_lock);
    pthread_rwlock_unlock(&h->apps_lock);
    if (over) {
        isola__realm_close(r);
        isola__realm_unref(r);
    } else if (empty) {
        isola__idle_empty(r);
    }
}

void isola__worker_evict_shared(struct isola_realm *r)
{
    struct isola_host *h = r->host;
    struct isola_worker *w = r->worker;
    pthread_mutex_lock(&h->shared_lock);
    bool over = r->residents == 0 && isola_map_get(&w->shared, shared_key(&r->release)) == r;
    if (over)
        isola_map_del(&w->shared, shared_key(&r->release));
    pthread_mutex_unlock(&h->shared_lock);
    if (over) {
        isola__realm_close(r);
        isola__realm_unref(r);
    }
}

void isola__worker_sweep_shared(struct isola_worker *w, const struct isola_release_rt *release)
{
    struct isola_host *h = w->host;
    pthread_mutex_lock(&h->shared_lock);
    struct isola_realm *r = isola_map_get(&w->shared, isola_slice(&release, sizeof(release)));
    if (r != NULL && r->residents == 0)
        isola_map_del(&w->shared, isola_slice(&release, sizeof(release)));
    else
        r = NULL;
    pthread_mutex_unlock(&h->shared_lock);
    if (r != NULL) {
        isola__realm_close(r);
        isola__realm_unref(r);
    }
}

int isola__worker_start(struct isola_worker *w, struct isola_host *h, unsigned number,
                        struct isola_err *err)
{
    w->host = h;
    w->number = number;
    pthread_mutex_init(&w->lock, NULL);
    int r = uv_loop_init(&w->loop);
    if (r == 0)
        r = uv_async_init(&w->loop, &w->async, on_async);
    if (r == 0)
        r = uv_timer_init(&w->loop, &w->timer);
    w->async.data = w;
    w->timer.data = w;
    if (r == 0)
        r = -pthread_create(&w->thread, NULL, run, w);
    if (r != 0)
        return isola_fail(err, ISOLA_EIO, "cannot start worker thread %u: %s", number,
                          uv_strerror(r));
    return 0;
}
