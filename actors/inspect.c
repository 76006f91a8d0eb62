/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking into the isolate of a live actor: a piece of work that is done in it, between two
 * messages or in the middle of a script that runs, whichever comes first.
 *
 * What is to be done waits in the realm's list, and the isolate is asked to call in (a script that
 * never ends has its interrupt, a realm at rest a visit). It is done once, by the thread that has
 * the isolate. When the isolate ends first, it is done just before that, or told that there is
 * none.
 */
#include "actors/inspect.h"

#include "actors/directory.h"

static void push(struct isola_inspect **list, struct isola_inspect *i)
{
    i->next = NULL;
    while (*list != NULL)
        list = &(*list)->next;
    *list = i;
}

static bool take(struct isola_inspect **list, struct isola_inspect *i)
{
    for (; *list != NULL; list = &(*list)->next) {
        if (*list == i) {
            *list = i->next;
            return true;
        }
    }
    return false;
}

int isola_host_inspect(struct isola_host *h, struct isola_slice address, struct isola_inspect *i,
                       struct isola_err *err)
{
    int state;
    struct isola_realm *r = isola__directory_realm(h, address, &state);
    if (r != NULL && state == ISOLA_ACTOR_FAILED) {
        isola__realm_unref(r);
        return isola_fail(err, ISOLA_ENOACTOR, "%.*s has failed, and is not active (ctl ps)",
                          ISOLA_FMT(address));
    }
    if (r == NULL)
        return isola_fail(err, ISOLA_ENOACTOR, "%.*s is not active here", ISOLA_FMT(address));
    i->realm = r;
    i->shared = r->shared;
    if (isola_host_inspect_now(i))
        return 0;
    isola_host_inspect_end(i);
    return isola_fail(err, ISOLA_ENOACTOR, "%.*s is ending", ISOLA_FMT(address));
}

bool isola_host_inspect_now(struct isola_inspect *i)
{
    struct isola_realm *r = i->realm;
    pthread_mutex_lock(&r->lock);
    bool can = !r->inspected && (!i->at_end || take(&r->at_end, i));
    if (can) {
        i->at_end = false;
        push(&r->inspects, i);
        if (r->v8 != NULL) /* stays while we have the lock */
            isola_v8_interrupt(r->v8);
    }
    pthread_mutex_unlock(&r->lock);
    if (can)
        isola__realm_post(r, NULL);
    return can;
}

void isola_host_inspect_at_end(struct isola_inspect *i, struct isola_inspect *of)
{
    struct isola_realm *r = isola__realm_ref(of->realm);
    i->realm = r;
    i->shared = of->shared;
    i->at_end = i->pins = true;
    atomic_fetch_add(&r->pins, 1);
    pthread_mutex_lock(&r->lock);
    push(&r->at_end, i);
    pthread_mutex_unlock(&r->lock);
}

void isola_host_inspect_end(struct isola_inspect *i)
{
    if (i->realm != NULL)
        isola__realm_unref(i->realm);
    i->realm = NULL;
}

bool isola__inspect_waits(struct isola_realm *r)
{
    pthread_mutex_lock(&r->lock);
    bool any = r->inspects != NULL;
    pthread_mutex_unlock(&r->lock);
    return any;
}

void isola__inspect_run(struct isola_realm *r, struct isola_js *js)
{
    for (;;) {
        pthread_mutex_lock(&r->lock);
        struct isola_inspect *i = r->inspects;
        if (i != NULL)
            r->inspects = i->next;
        pthread_mutex_unlock(&r->lock);
        if (i == NULL)
            return;
        bool pins = i->pins;
        i->run(i, js);
        if (pins)
            atomic_fetch_sub(&r->pins, 1);
    }
}

static void run_in(struct isola_js *js, void *arg)
{
    isola__inspect_run(arg, js);
}

void isola__inspect_close(struct isola_realm *r)
{
    bool any;
    do { /* what is done now may leave something for the end */
        pthread_mutex_lock(&r->lock);
        for (struct isola_inspect *i = r->at_end; i != NULL; i = i->next)
            i->at_end = false;
        struct isola_inspect **end = &r->inspects;
        while (*end != NULL)
            end = &(*end)->next;
        *end = r->at_end;
        r->at_end = NULL;
        any = r->inspects != NULL;
        r->inspected = !any;
        pthread_mutex_unlock(&r->lock);
        if (any && r->v8 != NULL)
            isola_v8_visit(r->v8, run_in, r);
        else if (any)
            isola__inspect_run(r, NULL);
    } while (any);
}
