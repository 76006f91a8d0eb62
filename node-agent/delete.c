/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/delete.h"

#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/status.h"
#include "node-agent/trust.h"
#include "store/gone.h"
#include "store/secrets.h"

#define HOST_LIMIT_MS  600000 /* of much state */
#define NODES_LIMIT_MS 600000
#define LIST_MAX       100000u

struct isola__gone {
    struct isola_gone gone; /* its texts are owned */
};

static void gone_free(struct isola__gone *g)
{
    if (g == NULL)
        return;
    free((char *)(uintptr_t)g->gone.app);
    free((char *)(uintptr_t)g->gone.by);
    free(g);
}

static struct isola__gone *find(const struct isola__gone_apps *all, struct isola_slice app)
{
    return isola_map_get(&all->all, app);
}

static void index_add(struct isola__gone_apps *all, const struct isola_gone *gone)
{
    struct isola__gone *g = isola_zalloc(sizeof(*g));
    g->gone = *gone;
    g->gone.app = isola_strdup(gone->app);
    g->gone.by = isola_strdup(gone->by != NULL ? gone->by : "");
    gone_free(isola_map_set(&all->all, isola_slice_str(gone->app), g));
}

static void open_each(const struct isola_gone *gone, void *arg)
{
    index_add(arg, gone);
}

int isola__gone_open(struct isola__gone_apps *gone, struct isola__agent *agent,
                     struct isola_err *err)
{
    *gone = (struct isola__gone_apps){.agent = agent};
    return isola_catalog_gone(agent->catalog, open_each, gone, err);
}

void isola__gone_free(struct isola__gone_apps *gone)
{
    ISOLA_MAP_EACH(&gone->all, e)
    gone_free(e->value);
    isola_map_free(&gone->all);
}

uint64_t isola__gone_at(const struct isola__gone_apps *gone, struct isola_slice app)
{
    const struct isola__gone *g = find(gone, app);
    return g != NULL ? g->gone.revision : 0;
}

int isola__gone_fail(struct isola__gone_apps *gone, const char *app, struct isola_err *err)
{
    const struct isola__gone *g = find(gone, isola_slice_str(app));
    char when[40] = "", hint[ISOLA_NEAREST_HINT];
    struct tm tm;
    if (g == NULL)
        return isola_fail(err, ISOLA_ENOENT, "no app \"%s\" is deployed%s", app,
                          isola__releases_hint(&gone->agent->releases, isola_slice_str(app), hint));
    time_t at = (time_t)(g->gone.deleted_ms / 1000);
    if (gmtime_r(&at, &tm) != NULL)
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
    return isola_fail(err, ISOLA_ENOENT,
                      "app \"%s\" was deleted at %s%s%s, with its releases; deploy it to have it "
                      "again%s",
                      app, when, *g->gone.by != '\0' ? " by " : "", g->gone.by,
                      g->gone.state ? "" : ", with the state its actors had");
}

/* --- on the wire: {app, revision, deleted_ms, by, state, signature (optional)} --- */

static void write_one(const struct isola_gone *g, struct isola_buf *out)
{
    isola_mp_map(out, 5 + g->is_signed);
    isola_mp_kstr(out, "app", g->app);
    isola_mp_kuint(out, "revision", g->revision);
    isola_mp_kuint(out, "deleted_ms", g->deleted_ms > 0 ? (uint64_t)g->deleted_ms : 0);
    isola_mp_kstr(out, "by", g->by != NULL ? g->by : "");
    isola_mp_kbool(out, "state", g->state);
    if (g->is_signed) {
        isola_mp_cstr(out, "signature");
        isola_mp_bin(out, isola_slice(g->signature, sizeof(g->signature)));
    }
}

/* Its texts are for the caller to free, also after false: it is malformed. */
static bool read_one(struct isola_slice map, struct isola_gone *out)
{
    struct isola_slice app, by = {0}, signature;
    uint64_t deleted = 0;
    *out = (struct isola_gone){0};
    if (!isola_mp_find_str(map, "app", &app) || !isola_secret_app_ok(app) ||
        !isola_mp_find_uint(map, "revision", &out->revision) || out->revision == 0 ||
        out->revision > INT64_MAX || !isola_mp_find_bool(map, "state", &out->state) ||
        (isola_mp_find_uint(map, "deleted_ms", &deleted) && deleted > INT64_MAX) ||
        (isola_mp_find_str(map, "by", &by) && !isola_release_text_ok(by, ISOLA_RELEASE_BY_MAX)))
        return false;
    out->deleted_ms = (int64_t)deleted;
    out->is_signed =
        isola_mp_find_bin(map, "signature", &signature) && signature.len == sizeof(out->signature);
    if (out->is_signed)
        memcpy(out->signature, signature.data, sizeof(out->signature));
    out->app = isola_strndup((const char *)app.data, app.len);
    out->by = by.len > 0 ? isola_strndup((const char *)by.data, by.len) : isola_strdup("");
    return true;
}

static void free_texts(struct isola_gone *g)
{
    free((char *)(uintptr_t)g->app);
    free((char *)(uintptr_t)g->by);
}

void isola__gone_write(const struct isola__gone_apps *gone, struct isola_buf *out)
{
    isola_mp_array(out, gone->all.count);
    ISOLA_MAP_EACH(&gone->all, e)
    write_one(&((const struct isola__gone *)e->value)->gone, out);
}

/* --- the actor-host --- */

/* It is to end the actors of an app, and perhaps to remove what they keep. */
struct ending {
    struct isola__ask ask; /* first */
    struct isola__agent *agent;
    char *app;
    bool state;
    void (*cb)(struct ending *e, const struct isola_msg *answer); /* or NULL */
    struct isola__conn *from;                                     /* counted; with cb */
    uint64_t id;
};

static void ended(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct ending *e = (struct ending *)ask;
    struct isola_err err;
    int code = answer->kind == ISOLA_MSG_FAIL ? isola__answer_error(answer, &err) : 0;
    if (code == 0 && e->state) {
        struct isola__gone *g = find(&e->agent->gone, isola_slice_str(e->app));
        if (isola_catalog_wiped(e->agent->catalog, e->app, &err) != 0)
            isola_log(ISOLA_LOG_WARN, "%s", err.text);
        else if (g != NULL)
            g->gone.todo = false;
    } else if (code != 0 && code != ISOLA_EUNREACHABLE) {
        isola_log(ISOLA_LOG_WARN, "of app %s, which is deleted, not all has gone here yet: %s",
                  e->app, err.text);
    }
    if (e->cb != NULL)
        e->cb(e, answer);
    free(e->app);
    free(e);
}

static struct ending *ending_new(struct isola__agent *agent, const char *app)
{
    const struct isola__gone *g = find(&agent->gone, isola_slice_str(app));
    struct ending *e = isola_zalloc(sizeof(*e));
    e->agent = agent;
    e->ask.cb = ended;
    e->app = isola_strdup(app);
    e->state = g != NULL && g->gone.todo;
    return e;
}

/* One that starts is told when it has. */
static void end_in_host(struct ending *e)
{
    struct isola__host *host = &e->agent->host;
    struct isola_buf params = {0};
    if (host->state != ISOLA_HOST_READY || host->conn == NULL) {
        struct isola_msg *none = isola_msg_fail(0, ISOLA_EUNREACHABLE, "the actor-host restarts");
        ISOLA_CHECK(none != NULL);
        e->ask.cb(&e->ask, none);
        free(none);
        return;
    }
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "app", e->app);
    isola_mp_kbool(&params, "state", e->state);
    isola__ask(host->conn, &e->ask, "delete", isola_buf_slice(&params), HOST_LIMIT_MS);
    isola_buf_free(&params);
}

void isola__gone_to_host(struct isola__gone_apps *gone)
{
    ISOLA_MAP_EACH(&gone->all, e)
    {
        const struct isola__gone *g = e->value;
        if (g->gone.todo)
            end_in_host(ending_new(gone->agent, g->gone.app));
    }
}

void isola__gone_sweep(struct isola__gone_apps *gone)
{
    ISOLA_MAP_EACH(&gone->all, e)
    {
        const struct isola__gone *g = e->value;
        if (isola__releases_current(&gone->agent->releases, g->gone.app) == NULL)
            isola__services_sweep(&gone->agent->services, g->gone.app);
    }
}

/* --- deleting, on this node --- */

static int check_trust(struct isola__agent *agent, const struct isola_gone *g,
                       struct isola_err *err)
{
    uint8_t hash[ISOLA_RELEASE_HASH_SIZE];
    if (agent->cluster.trust.n == 0)
        return 0;
    if (!g->is_signed)
        return isola_fail(err, ISOLA_EPERM,
                          "the deletion of app \"%s\" is not signed; `ctl trust list` says who may "
                          "deploy, and so delete, `ctl trust init` makes a key to sign with",
                          g->app);
    isola_gone_hash(g, hash);
    if (!isola_deployer_signed(g->signature, g->app, hash) ||
        !isola_trust_allows(&agent->cluster.trust, g->signature, g->app))
        return isola_fail(err, ISOLA_EPERM,
                          "the deletion of app \"%s\" is signed by one who may not deploy it; `ctl "
                          "trust list` says who may",
                          g->app);
    return 0;
}

/* All but the actor-host's part. */
static int apply(struct isola__agent *agent, const struct isola_gone *g, struct isola_err *err)
{
    const struct isola__gone *before = find(&agent->gone, isola_slice_str(g->app));
    struct isola_gone entry = *g;
    entry.todo = g->state || (before != NULL && before->gone.todo);
    int rc = check_trust(agent, g, err);
    if (rc == 0)
        rc = isola_catalog_delete(agent->catalog, g, err);
    if (rc != 0)
        return rc;
    index_add(&agent->gone, &entry);
    isola__releases_forget(&agent->releases, g->app);
    isola__rollout_gone(&agent->rollouts, g->app);
    isola__secrets_forget(&agent->secrets, g->app, g->revision);
    isola__services_delete(&agent->services, g->app);
    isola__packages_collect(&agent->packages);
    isola_log(ISOLA_LOG_INFO, "app %s is deleted%s%s%s", g->app,
              g->state ? ", with what its actors kept" : "", *g->by != '\0' ? ", by " : "", g->by);
    return 0;
}

static bool is_news(const struct isola__agent *agent, const struct isola_gone *g)
{
    const struct isola__current *current =
        isola__releases_current((struct isola__releases *)(uintptr_t)&agent->releases, g->app);
    return isola__gone_at(&agent->gone, isola_slice_str(g->app)) < g->revision &&
           (current == NULL || current->revision < g->revision);
}

static void tell_members(struct isola__agent *agent, const struct isola_gone *g,
                         const struct isola__conn *from)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "deleted");
    isola_mp_array(&params, 1);
    write_one(g, &params);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next)
        if (m->peer != NULL && &m->peer->conn != from)
            (void)isola__emit(&m->peer->conn, "deleted", isola_buf_slice(&params));
    isola_buf_free(&params);
}

void isola__gone_learn(struct isola__agent *agent, struct isola_slice list)
{
    struct isola_mp_reader r = isola_mp_reader(list);
    struct isola_mp_item head;
    struct isola_slice map;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &head) || head.n > LIST_MAX)
        return;
    for (uint32_t i = 0; i < head.n && isola_mp_skip(&r, &map) == 0; i++) {
        struct isola_gone g;
        struct isola_err err;
        if (read_one(map, &g) && is_news(agent, &g)) {
            if (apply(agent, &g, &err) != 0) {
                isola_log(ISOLA_LOG_WARN, "%s", err.text);
            } else {
                tell_members(agent, &g, NULL);
                end_in_host(ending_new(agent, g.app));
            }
        }
        free_texts(&g);
    }
}

/* --- another agent says so --- */

static void ended_for(struct ending *e, const struct isola_msg *answer)
{
    struct isola_err err;
    /* Without a host it is deleted all the same: the next one removes what is left. */
    if (answer->kind == ISOLA_MSG_FAIL && isola__answer_error(answer, &err) != ISOLA_EUNREACHABLE)
        isola__pass_answer(e->from, e->id, answer);
    else
        isola__reply(e->from, e->id, isola_slice(NULL, 0));
    isola__conn_unref(e->from);
}

void isola__deleted(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice list = {0}, map;
    struct isola_gone g = {0};
    struct isola_err err;
    (void)isola_mp_find(params, "deleted", &list);
    if (!isola_mp_at(list, 0, &map) || !read_one(map, &g)) {
        isola__fail(from, m->id, ISOLA_EINVAL, "deleted: \"deleted\" is missing or malformed");
    } else if (!is_news(agent, &g)) {
        isola__reply(from, m->id, isola_slice(NULL, 0));
    } else if (apply(agent, &g, &err) != 0) {
        isola__fail(from, m->id, err.code, "%s", err.text);
    } else {
        struct ending *e = ending_new(agent, g.app);
        tell_members(agent, &g, from);
        e->cb = ended_for;
        e->from = from;
        isola__conn_ref(from);
        e->id = m->id;
        end_in_host(e);
    }
    free_texts(&g);
}

/* --- a client asks for it --- */

/* What was asked for, until every node has answered. */
struct deletion {
    char *app;
    char release[ISOLA_RELEASE_ID_SIZE]; /* "": it was deleted before */
    bool state;
    struct isola__gather *gather;
};

static void all_done(struct isola__gather *g)
{
    struct deletion *d = g->arg;
    struct isola_buf out = {0};
    isola_mp_map(&out, 5);
    isola_mp_kstr(&out, "app", d->app);
    isola_mp_kstr(&out, "release", d->release);
    isola_mp_kbool(&out, "state", d->state);
    isola__gather_done(g, &out);
    isola__reply_buf(g->from, g->id, &out);
    free(d->app);
    free(d);
}

/* Our own actor-host is done, or will be when it has started. */
static void ended_here(struct ending *e, const struct isola_msg *answer)
{
    struct isola__part *part = (struct isola__part *)e->from; /* not a connection */
    struct isola_err err;
    int code = answer->kind == ISOLA_MSG_FAIL ? isola__answer_error(answer, &err) : 0;
    struct isola_msg *reply = code == 0 || code == ISOLA_EUNREACHABLE
                                  ? isola_msg_reply(0, isola_slice(NULL, 0))
                                  : isola_msg_fail(0, code, "%s", err.text);
    ISOLA_CHECK(reply != NULL);
    part->ask.cb(&part->ask, reply);
    free(reply);
}

/* What there is, and the revision to ask again with. */
static void tell_plan(struct isola__conn *from, uint64_t id, const char *app)
{
    struct isola__agent *agent = from->agent;
    const struct isola__current *current = isola__releases_current(&agent->releases, app);
    const struct isola_manifest *m = current != NULL ? current->manifest : NULL;
    struct isola_buf out = {0};
    isola_mp_map(&out, 5);
    isola_mp_kstr(&out, "app", app);
    isola_mp_kuint(&out, "revision", isola__releases_next_revision(&agent->releases));
    isola_mp_kstr(&out, "release", current != NULL ? current->id : "");
    isola_mp_cstr(&out, "types");
    isola_mp_array(&out, m != NULL ? m->ntypes : 0);
    for (size_t i = 0; m != NULL && i < m->ntypes; i++)
        isola_mp_cstr(&out, m->types[i].name);
    isola_mp_cstr(&out, "services");
    size_t n = 0;
    for (size_t i = 0; m != NULL && i < m->ntypes; i++)
        n += m->types[i].service != NULL;
    isola_mp_array(&out, n);
    for (size_t i = 0; m != NULL && i < m->ntypes; i++)
        if (m->types[i].service != NULL)
            isola_mp_cstr(&out, m->types[i].name);
    isola__reply_buf(from, id, &out);
}

static int check(struct isola__agent *agent, const struct isola_gone *g, struct isola_err *err)
{
    if (agent->state != ISOLA_AGENT_READY)
        return isola_fail(err, ISOLA_EUNREACHABLE,
                          "node %s is still starting; try again when it has said that it is ready",
                          agent->opt.name);
    if (isola__releases_current(&agent->releases, g->app) == NULL &&
        (!g->state || isola__gone_at(&agent->gone, isola_slice_str(g->app)) == 0))
        return isola__gone_fail(&agent->gone, g->app, err);
    if (isola__deploy_under_way(&agent->deploys, g->app))
        return isola_fail(err, ISOLA_EBUSY,
                          "a deploy of \"%s\" is under way; delete it when that has ended", g->app);
    return 0;
}

static void begin(struct isola__conn *from, uint64_t id, const struct isola_gone *g)
{
    struct isola__agent *agent = from->agent;
    const struct isola__current *current = isola__releases_current(&agent->releases, g->app);
    struct isola_err err;
    struct deletion *d = isola_zalloc(sizeof(*d));
    d->app = isola_strdup(g->app);
    d->state = g->state;
    if (current != NULL)
        memcpy(d->release, current->id, sizeof(d->release));
    if (apply(agent, g, &err) != 0) {
        isola__fail(from, id, err.code, "%s", err.text);
        free(d->app);
        free(d);
        return;
    }
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "deleted");
    isola_mp_array(&params, 1);
    write_one(g, &params);
    struct isola__gather *gather = isola__gather_new(from, id, 1 + agent->members.count, all_done);
    gather->arg = d;
    gather->patience_ms = NODES_LIMIT_MS;
    struct ending *e = ending_new(agent, g->app);
    e->cb = ended_here;
    e->from = (struct isola__conn *)(void *)isola__gather_wait(gather, agent->opt.name);
    end_in_host(e);
    isola__gather_members(gather, "deleted", isola_buf_slice(&params));
    isola_buf_free(&params);
    isola__gather_start(gather);
}

void isola__delete(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice any;
    struct isola_gone g = {0};
    struct isola_err err;
    bool plan = !isola_mp_find(params, "revision", &any);
    struct isola_slice app;
    if (plan) {
        if (!isola_mp_find_str(params, "app", &app) || !isola_secret_app_ok(app)) {
            isola__fail(from, m->id, ISOLA_EINVAL, "delete: \"app\" must be the name of an app");
            return;
        }
        g.app = isola_strndup((const char *)app.data, app.len);
        (void)isola_mp_find_bool(params, "state", &g.state);
    } else if (!read_one(params, &g)) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "delete: \"app\", \"revision\", \"state\" or \"by\" is missing or wrong");
        free_texts(&g);
        return;
    }
    g.deleted_ms = isola_clock_wall_ms();
    int rc = check(agent, &g, &err);
    if (rc == 0 && !plan && g.revision > isola__releases_next_revision(&agent->releases))
        rc = isola_fail(&err, ISOLA_EINVAL, "delete: there is no such revision yet");
    if (rc != 0)
        isola__fail(from, m->id, rc, "%s", err.text);
    else if (plan)
        tell_plan(from, m->id, g.app);
    else
        begin(from, m->id, &g);
    free_texts(&g);
}
