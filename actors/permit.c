/* SPDX-License-Identifier: Apache-2.0
 *
 * Which apps the scripts of an app may send to (permissions.apps of its manifest; to its own they
 * always may). Asked twice: where a script sends, so that it is told at once, and where a message
 * of an actor comes from another node, which has this node's word for it alone.
 *
 * Answers, and events that were subscribed to, need no permission: who asks for them has it.
 */
#include "actors/permit.h"

#include "actors/host_own.h"

/* Is `name` one of `list`, a name a line? */
static bool is_in(const char *list, struct isola_slice name)
{
    while (*list != '\0') {
        size_t n = strcspn(list, "\n");
        if ((n == 1 && *list == '*') || isola_slice_eq(isola_slice(list, n), name))
            return true;
        list += n + (list[n] == '\n');
    }
    return false;
}

int isola__permit_other(const struct isola_release_rt *r, struct isola_slice app,
                        struct isola_err *err)
{
    if (is_in(r->apps, app))
        return 0;
    return isola_fail(err, ISOLA_EPERM,
                      "app \"%s\" may not send to app \"%.*s\"; its manifest permits it with "
                      "\"permissions\": { \"apps\": [\"%.*s\"] }",
                      r->app, ISOLA_FMT(app), ISOLA_FMT(app));
}

/* What an actor elsewhere may be the sender of. A START or STOP comes from a parent, and what ends
 * something needs no permission. */
static bool is_asked_for(int kind)
{
    return kind == ISOLA_MSG_ASK || kind == ISOLA_MSG_EMIT || kind == ISOLA_MSG_SUB ||
           kind == ISOLA_MSG_START || kind == ISOLA_MSG_STOP;
}

int isola__permit_from(struct isola_host *h, const struct isola_mail *m, struct isola_err *err)
{
    struct isola_address from, to;
    if (m->src.len == 0 || !is_asked_for(m->kind) || isola__stream_permits(m))
        return 0;
    int e = isola_address_parse(m->src, &from, err);
    if (e == 0)
        e = isola_address_parse(m->dst, &to, err);
    if (e != 0 || isola_slice_eq(from.app, to.app))
        return e;
    pthread_rwlock_rdlock(&h->apps_lock);
    const struct isola_app *app = isola_map_get(&h->apps, from.app);
    const struct isola_type *type = app != NULL ? isola__app_type(app, &from) : NULL;
    if (app == NULL)
        e = isola_fail(err, ISOLA_EPERM,
                       "app \"%.*s\" is not known here, so it may not send to app \"%.*s\"",
                       ISOLA_FMT(from.app), ISOLA_FMT(to.app));
    else
        e = isola__permit_other(type != NULL ? type->release : app->current, to.app, err);
    pthread_rwlock_unlock(&h->apps_lock);
    return e;
}
