/* SPDX-License-Identifier: Apache-2.0
 *
 * How long something takes, and deadlines, on a machine that may have no time for us now and then:
 * time in which the loop was run, up to its last look; each look counts for so much at the most.
 */
#ifndef ISOLA_TESTS_WATCH_H
#define ISOLA_TESTS_WATCH_H

#include <uv.h>

#define WATCH_MS 20

struct watch {
    uv_timer_t timer;
    uint64_t looked_ns, ns; /* ns: so far */
};

static inline void on_watch(uv_timer_t *timer)
{
    struct watch *w = timer->data;
    uint64_t now = uv_hrtime(), gap = now - w->looked_ns, most = 5 * WATCH_MS * 1000000u;
    w->looked_ns = now;
    w->ns += gap < most ? gap : most;
}

/* From nothing, and again and again. */
static inline void watch_reset(struct watch *w)
{
    w->looked_ns = uv_hrtime();
    w->ns = 0;
    uv_timer_start(&w->timer, on_watch, WATCH_MS, WATCH_MS);
}

/* 0, or libuv's error; `w` is in use until its timer is closed. */
static inline int watch_init(struct watch *w, uv_loop_t *on)
{
    w->timer.data = w;
    return uv_timer_init(on, &w->timer);
}

static inline void watch_start(struct watch *w, uv_loop_t *on)
{
    (void)watch_init(w, on);
    watch_reset(w);
}

/* The time, ns, since watch_start; the loop forgets its timer. */
static inline uint64_t watch_stop(struct watch *w)
{
    uv_loop_t *on = w->timer.loop;
    uv_close((uv_handle_t *)&w->timer, NULL);
    uv_run(on, UV_RUN_NOWAIT);
    return w->ns;
}

/* Has it gone on for so long? */
static inline bool watch_over(const struct watch *w, unsigned ms)
{
    return w->ns > (uint64_t)ms * 1000000u;
}

#endif
