/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking a release before it is used: each of its modules is loaded in an isolate of its own, on
 * a worker, with nothing else in it.
 *
 * One realm per type, one after the other. A module that loops is stopped: its deadline is kept by
 * a pool thread's wait, not by the worker it holds.
 */
#include "actors/check.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "actors/host_own.h"
#include "actors/limits.h"
#include "actors/stack.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "base/thread.h"

struct isola_check {
    struct isola_host *host;
    struct isola_release_rt *release;
    uint64_t timeout_ms;
    void (*done)(void *arg, int code, const char *why);
    void *arg;
    size_t at; /* the type being loaded */
    bool started;
    /* the present module */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct isola_realm *realm;
    bool ended, stopped;
    char why[900];
};

/* One thread per check: starts a realm for each type and waits for it, for as long as it may take.
 */
static void *run(void *arg)
{
    struct isola_check *c = arg;
    int code = 0;
    for (c->at = 0; code == 0 && c->at < c->release->ntypes; c->at++) {
        const struct isola_type *type = &c->release->types[c->at];
        struct isola_worker *w =
            &c->host->workers[atomic_fetch_add(&c->host->next_worker, 1) % c->host->nworkers];
        struct isola_realm *r =
            isola__realm_new(c->host, w, c->release, false, isola__limits_of(type));
        r->check = c;
        uint64_t end_ms = isola_clock_ms() + c->timeout_ms;
        struct timespec until = {.tv_sec = (time_t)(end_ms / 1000),
                                 .tv_nsec = (long)(end_ms % 1000) * 1000000};
        pthread_mutex_lock(&c->lock);
        c->started = c->ended = c->stopped = false;
        c->realm = r;
        isola__realm_post(r, NULL);
        while (!c->ended) {
            int waited = c->stopped ? pthread_cond_wait(&c->changed, &c->lock)
                                    : pthread_cond_timedwait(&c->changed, &c->lock, &until);
            if (waited == ETIMEDOUT && !c->ended) {
                c->stopped = true;
                snprintf(c->why, sizeof(c->why), "it has not finished loading after %g s",
                         (double)c->timeout_ms / 1000);
                pthread_mutex_lock(&r->lock);
                if (r->v8 != NULL) /* stays until this thread closes the realm */
                    isola_v8_terminate(r->v8);
                pthread_mutex_unlock(&r->lock);
                isola__realm_post(r, NULL);
            }
        }
        if (c->why[0] != '\0')
            code = ISOLA_EMODULE;
        pthread_mutex_unlock(&c->lock);
        isola__realm_close(r);
        isola__realm_unref(r);
        if (code != 0)
            break;
    }
    char text[1000] = "";
    if (code != 0)
        snprintf(text, sizeof(text), "actor type %s (%s): %s", c->release->types[c->at].def.name,
                 c->release->types[c->at].def.module, c->why);
    c->done(c->arg, code, text);
    isola__release_unref(c->release);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
    return NULL;
}

static void end(struct isola_check *c)
{
    pthread_mutex_lock(&c->lock);
    c->ended = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void isola__check_loaded(struct isola_realm *r, struct isola_slice type, struct isola_slice error)
{
    struct isola_check *c = r->check;
    (void)type;
    if (c == NULL)
        return;
    struct isola_slice value;
    struct isola_mp_error e;
    pthread_mutex_lock(&c->lock);
    if (error.len > 0 && !c->stopped) {
        struct isola_buf said = {0};
        if (isola_mp_at(error, 0, &value) && isola_mp_read_error(value, &e)) {
            if (e.code == ISOLA_EMODULE) /* the message says where; the stack is the runtime's */
                isola_buf_append(&said, e.message.data, e.message.len);
            else
                isola__error_text(value, &said);
        }
        if (said.len > 0)
            snprintf(c->why, sizeof(c->why), "%.*s", ISOLA_FMT(isola_buf_slice(&said)));
        else
            snprintf(c->why, sizeof(c->why), "it threw something that is no Error");
        isola_buf_free(&said);
    }
    pthread_mutex_unlock(&c->lock);
    r->check = NULL;
    end(c);
}

/* Its script was ended. */
void isola__check_ended(struct isola_realm *r, const char *why)
{
    struct isola_check *c = r->check;
    pthread_mutex_lock(&c->lock);
    if (!c->stopped)
        snprintf(c->why, sizeof(c->why), "%s", why);
    pthread_mutex_unlock(&c->lock);
    r->check = NULL;
    end(c);
}

void isola__check_visit(struct isola_realm *r)
{
    struct isola_check *c = r->check;
    pthread_mutex_lock(&c->lock);
    bool start = !c->started, stopped = c->stopped;
    c->started = true;
    pthread_mutex_unlock(&c->lock);
    if (stopped) { /* a top-level await that never ends */
        r->check = NULL;
        end(c);
    } else if (start) {
        isola__realm_module(r, &c->release->types[c->at]);
    }
}

void isola_host_check(struct isola_host *h, const struct isola_host_release *def,
                      uint64_t timeout_ms, void (*done)(void *arg, int code, const char *why),
                      void *arg)
{
    struct isola_check *c = isola_zalloc(sizeof(*c));
    c->host = h;
    c->release = isola__release_new(def);
    c->timeout_ms = timeout_ms;
    c->done = done;
    c->arg = arg;
    pthread_mutex_init(&c->lock, NULL);
    isola_cond_init(&c->changed);
    pthread_t thread;
    if (isola_thread_start(&thread, "isola-check", run, c) != 0) {
        done(arg, ISOLA_EIO, "no thread for the check");
        isola__release_unref(c->release);
        pthread_mutex_destroy(&c->lock);
        pthread_cond_destroy(&c->changed);
        free(c);
        return;
    }
    pthread_detach(thread);
}
