/* SPDX-License-Identifier: Apache-2.0
 *
 * An app is deleted: its actors end, and what they keep goes too when that is wanted.
 *
 * Messages for it are refused from the moment the agent says so. For what is kept, every activation
 * is waited for: those that were starting when they were told are found when they are told once
 * more, so that is done until there are none. Then a thread removes what is in the store. A release
 * of the app that comes meanwhile waits for the end of that: what it begins with is its own.
 *
 * Failure modes: what cannot be removed is said, and the agent asks again when the process has
 * started anew.
 */
#include "node-agent/actor-host/app.h"

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "store/manifest.h"
#include "store/wipe.h"

/* A release that waits. */
struct held_release {
    struct held_release *next;
    uint64_t asked;
    struct isola_buf params;
};

struct wiping {
    struct store_job job; /* first */
    struct wiping *next;
    uint64_t id;
    char *name;  /* of the app */
    size_t left; /* activations that have not ended */
    uint64_t removed;
    struct held_release *held, **last;
};

static struct wiping *wipings; /* of the one actor-host a process is; the loop's */

static struct wiping *of_app(struct isola_slice name)
{
    struct wiping *w = wipings;
    while (w != NULL && !isola_slice_is(name, w->name))
        w = w->next;
    return w;
}

static void drop_outbox(void *arg, struct isola_slice address)
{
    isola_host_outbox_drop(((struct app *)arg)->host, address);
}

static void wipe(struct store_job *j)
{
    struct wiping *w = (struct wiping *)j;
    char *prefix = isola_format("%s/", w->name);
    if (isola_state_wipe(j->app->state, isola_slice_str(prefix), store_stop(), drop_outbox, j->app,
                         &w->removed, &j->err) == 0) {
        isola_mp_map(&j->out, 1);
        isola_mp_kuint(&j->out, "removed", w->removed);
        isola_log(ISOLA_LOG_INFO, "what %llu actors of app %s had kept is removed",
                  (unsigned long long)w->removed, w->name);
    }
    free(prefix);
}

static void wiped(struct store_job *j)
{
    struct wiping *w = (struct wiping *)j;
    struct wiping **at = &wipings;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    while (w->held != NULL) {
        struct held_release *h = w->held;
        w->held = h->next;
        agent_link_release(j->app, h->asked, isola_buf_slice(&h->params));
        isola_buf_free(&h->params);
        free(h);
    }
    free(w->name);
    free(w);
}

/* Again and again, until there is none. */
static void end_activations(struct wiping *w)
{
    struct app *app = w->job.app;
    struct isola_origin origin = {.link = GIVE_LINK, .id = w->id};
    w->left = isola_host_remove_app(app->host, isola_slice_str(w->name), origin);
    if (w->left == 0)
        (void)store_job(&w->job); /* one that does not begin has ended */
}

bool wipe_answered(struct app *app, uint64_t id)
{
    struct wiping *w = wipings;
    (void)app;
    while (w != NULL && w->id != id)
        w = w->next;
    if (w == NULL)
        return false;
    if (--w->left == 0)
        end_activations(w);
    return true;
}

/* Messages to them are no more the agent's. */
static void forget_services(struct app *app, struct isola_slice name)
{
    char *text = isola_strndup((const char *)name.data, name.len);
    if (services_release(app, text, &(struct isola_manifest){0}, NULL)) {
        isola_host_moved(app->host);
        subs_out_settle(app);
    }
    free(text);
}

void wipe_asked(struct app *app, uint64_t asked, struct isola_slice params)
{
    static const uint8_t nil[] = {0xc0};
    struct isola_slice name;
    bool state = false;
    (void)isola_mp_find_bool(params, "state", &state);
    if (!isola_mp_find_str(params, "app", &name) || name.len == 0) {
        agent_link_fail(app, asked, ISOLA_EINVAL, "delete: \"app\" is missing");
        return;
    }
    forget_services(app, name);
    if (!state) {
        (void)isola_host_remove_app(app->host, name, (struct isola_origin){0});
        agent_link_reply(app, asked, isola_slice(nil, 1));
        return;
    }
    if (of_app(name) != NULL) {
        agent_link_fail(app, asked, ISOLA_EBUSY, "what its actors kept is being removed already");
        return;
    }
    struct wiping *w = isola_zalloc(sizeof(*w));
    w->job.app = app;
    w->job.asked = asked;
    w->job.work = wipe;
    w->job.ended = wiped;
    w->name = isola_strndup((const char *)name.data, name.len);
    w->id = ++app->next_claim;
    w->last = &w->held;
    w->next = wipings;
    wipings = w;
    end_activations(w);
}

bool wipe_holds(struct app *app, uint64_t asked, struct isola_slice name, struct isola_slice params)
{
    struct wiping *w = of_app(name);
    (void)app;
    if (w == NULL)
        return false;
    struct held_release *h = isola_zalloc(sizeof(*h));
    h->asked = asked;
    isola_buf_append(&h->params, params.data, params.len);
    *w->last = h;
    w->last = &h->next;
    return true;
}
