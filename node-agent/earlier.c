/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/earlier.h"

#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/canary.h"
#include "store/deploys.h"

#define GET_LIMIT_MS 30000

/* --- which --- */

static int deploys_of(struct isola__agent *agent, const char *app, struct isola_deploys *out,
                      struct isola_err *err)
{
    *out = (struct isola_deploys){0};
    if (isola__releases_current(&agent->releases, app) == NULL)
        return isola__gone_fail(&agent->gone, app, err);
    return isola_catalog_deploys(agent->catalog, app, out, err);
}

int isola__earlier_target(struct isola__agent *agent, const char *app, struct isola_slice wanted,
                          char id[ISOLA_RELEASE_ID_SIZE], uint64_t *restores, struct isola_err *err)
{
    struct isola_deploys deploys;
    const struct isola_deploy *to = NULL;
    int rc = deploys_of(agent, app, &deploys, err);
    if (rc == 0 && wanted.len > 0)
        rc = isola_deploys_find(&deploys, app, wanted, &to, err);
    else if (rc == 0 && isola__releases_current(&agent->releases, app)->share > 0)
        to = isola_deploys_current(&deploys); /* the canary goes */
    else if (rc == 0 && (to = isola_deploys_back(&deploys)) == NULL)
        rc = isola_fail(err, ISOLA_ENOENT,
                        "app \"%s\" has nothing to go back to: no other release was current before "
                        "%s, or none that is kept; 'ctl releases %s' lists them",
                        app, isola__releases_current(&agent->releases, app)->id, app);
    if (rc == 0 && to == NULL)
        rc =
            isola_fail(err, ISOLA_ENOENT, "no deploy of app \"%s\" is known: deploy it again", app);
    if (rc == 0) {
        memcpy(id, to->release, sizeof(to->release));
        *restores = isola_deploys_base(&deploys, to)->revision;
    }
    isola_deploys_free(&deploys);
    return rc;
}

/* --- from where --- */

static void ask_next(struct isola__earlier *e);

static void got(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__earlier *e = (struct isola__earlier *)ask;
    struct isola_release *r = NULL;
    struct isola_err err;
    int rc = answer->kind == ISOLA_MSG_FAIL ? isola__answer_error(answer, &err)
                                            : isola_release_decode(isola__value(answer), &r, &err);
    if (rc == 0 && (strcmp(r->app, e->app) != 0 || strcmp(r->id, e->id) != 0)) {
        isola_release_free(r);
        rc = ISOLA_EPROTO; /* an older version, which knows the current one only */
    }
    if (rc == 0)
        e->cb(e, r, NULL);
    else
        ask_next(e);
}

/* Members come and go meanwhile: then one may be asked twice, or not at all. */
static void ask_next(struct isola__earlier *e)
{
    size_t at = 0;
    struct isola_err err;
    for (struct isola__member *m = e->agent->members.first; m != NULL; m = m->next) {
        struct isola__conn *conn = isola__member_conn(m);
        if (at++ < e->asked || conn == NULL)
            continue;
        struct isola_buf params = {0};
        isola_mp_map(&params, 2);
        isola_mp_kstr(&params, "app", e->app);
        isola_mp_kstr(&params, "release", e->id);
        e->asked = at;
        e->from = conn;
        e->ask = (struct isola__ask){.cb = got};
        isola__ask(conn, &e->ask, "fetch", isola_buf_slice(&params), GET_LIMIT_MS);
        isola_buf_free(&params);
        return;
    }
    isola_fail(&err, ISOLA_ENOENT,
               "release %s of app \"%s\" is on none of the nodes that are up; deploy it again",
               e->id, e->app);
    e->cb(e, NULL, &err);
}

void isola__earlier_get(struct isola__earlier *e)
{
    struct isola_release *r = NULL;
    struct isola_err err;
    e->asked = 0;
    e->from = NULL;
    int rc = isola_catalog_release(e->agent->catalog, e->app, e->id, &r, &err);
    if (rc == 0) {
        e->cb(e, r, NULL);
        return;
    }
    if (rc != ISOLA_ENOENT)
        isola_log(ISOLA_LOG_WARN, "%s: other nodes are asked for it", err.text);
    ask_next(e);
}

/* --- lists --- */

static void append_app(const struct isola_release *r, void *arg)
{
    struct isola_buf *out = arg;
    isola_mp_map(out, 5);
    isola_mp_kstr(out, "app", r->app);
    isola_mp_kstr(out, "release", r->id);
    isola_mp_kuint(out, "deployed_ms", r->deployed_ms > 0 ? (uint64_t)r->deployed_ms : 0);
    isola_mp_kstr(out, "by", r->by);
    isola_mp_kstr(out, "message", r->message);
}

static int list_apps(struct isola__agent *agent, struct isola_buf *out, struct isola_err *err)
{
    struct isola_buf apps = {0};
    isola_mp_map(out, 1);
    isola_mp_cstr(out, "apps");
    int rc = isola_catalog_each(agent->catalog, append_app, &apps, err);
    isola_mp_array(out, agent->releases.current.count);
    isola_buf_append(out, apps.data, apps.len);
    isola_buf_free(&apps);
    return rc;
}

static int list_deploys(struct isola__agent *agent, const char *app, struct isola_buf *out,
                        struct isola_err *err)
{
    struct isola_deploys deploys;
    int rc = deploys_of(agent, app, &deploys, err);
    if (rc != 0)
        return rc;
    const struct isola__current *current = isola__releases_current(&agent->releases, app);
    const struct isola_deploy *back =
        current->share > 0 ? isola_deploys_current(&deploys) : isola_deploys_back(&deploys);
    isola_mp_map(out, 4 + (current->share > 0 ? 3 : 0));
    isola_mp_kstr(out, "app", app);
    isola_mp_kstr(out, "current", current->id);
    if (current->share > 0) {
        isola_mp_kstr(out, "canary", current->candidate);
        isola_mp_kuint(out, "share", current->share);
        isola__canary_put_instances(agent, app, out);
    }
    isola_mp_cstr(out, "back");
    isola_mp_cstr(out, back != NULL ? back->release : NULL);
    isola_mp_cstr(out, "deploys");
    isola_deploys_write(&deploys, out);
    isola_deploys_free(&deploys);
    return 0;
}

/* The app that `params` names; NULL: none. The caller frees. */
static char *app_of(struct isola_slice params)
{
    struct isola_slice app;
    return isola_mp_find_str(params, "app", &app) && app.len > 0
               ? isola_strndup((const char *)app.data, app.len)
               : NULL;
}

void isola__releases_method(struct isola__conn *from, const struct isola_msg *m,
                            struct isola_slice params)
{
    char *app = app_of(params);
    struct isola_buf out = {0};
    struct isola_err err;
    int rc = app != NULL ? list_deploys(from->agent, app, &out, &err)
                         : list_apps(from->agent, &out, &err);
    free(app);
    if (rc == 0) {
        isola__reply_buf(from, m->id, &out);
        return;
    }
    isola_buf_free(&out);
    isola__fail(from, m->id, rc, "%s", err.text);
}

/* --- one --- */

/* An ask for what is in a release. */
struct look {
    struct isola__earlier earlier; /* first */
    struct isola__conn *from;      /* counted */
    uint64_t id;
    char *app;
};

static void looked(struct isola__earlier *earlier, struct isola_release *r,
                   const struct isola_err *err)
{
    struct look *l = (struct look *)earlier;
    if (r == NULL) {
        isola__fail(l->from, l->id, err->code, "%s", err->text);
    } else {
        struct isola_buf out = {0};
        isola_mp_map(&out, 4 + (r->files.len > 0) + (r->link != NULL));
        isola_mp_kstr(&out, "app", r->app);
        isola_mp_kstr(&out, "release", r->id);
        if (r->link != NULL)
            isola_mp_kstr(&out, "link", r->link);
        isola_release_put_files(r, &out);
        isola_mp_cstr(&out, "manifest");
        isola_mp_str(&out, r->manifest);
        isola_mp_cstr(&out, "bundles");
        isola_mp_array(&out, r->nbundles);
        for (size_t i = 0; i < r->nbundles; i++) {
            char hash[ISOLA_RELEASE_ID_SIZE];
            isola_bundle_hash(&r->bundles[i], hash);
            isola_mp_map(&out, 4);
            isola_mp_kstr(&out, "type", r->bundles[i].type);
            isola_mp_kuint(&out, "bytes", r->bundles[i].code.len);
            isola_mp_kuint(&out, "map_bytes", r->bundles[i].map.len);
            isola_mp_kstr(&out, "hash", hash);
        }
        isola__reply_buf(l->from, l->id, &out);
    }
    isola_release_free(r);
    isola__conn_unref(l->from);
    free(l->app);
    free(l);
}

void isola__release_method(struct isola__conn *from, const struct isola_msg *m,
                           struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice wanted = {0};
    struct isola_deploys deploys;
    const struct isola_deploy *found = NULL;
    struct isola_err err;
    char *app = app_of(params);
    if (app == NULL) {
        isola__fail(from, m->id, ISOLA_EINVAL, "release: \"app\" is missing");
        return;
    }
    (void)isola_mp_find_str(params, "release", &wanted);
    int rc = deploys_of(agent, app, &deploys, &err);
    if (rc == 0 && wanted.len > 0)
        rc = isola_deploys_find(&deploys, app, wanted, &found, &err);
    if (rc != 0) {
        isola__fail(from, m->id, rc, "%s", err.text);
        isola_deploys_free(&deploys);
        free(app);
        return;
    }
    struct look *l = isola_zalloc(sizeof(*l));
    l->earlier = (struct isola__earlier){.agent = agent, .cb = looked, .app = app};
    const char *id =
        found != NULL ? found->release : isola__releases_current(&agent->releases, app)->id;
    memcpy(l->earlier.id, id, sizeof(l->earlier.id));
    isola_deploys_free(&deploys);
    l->from = from;
    isola__conn_ref(from);
    l->id = m->id;
    l->app = app;
    isola__earlier_get(&l->earlier);
}
