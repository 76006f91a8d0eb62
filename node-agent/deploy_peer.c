/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/deploy_own.h"

#include <string.h>

#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/canary.h"
#include "node-agent/trust.h"

#define PREPARED_MS 180000

void isola__prepared_clear(struct isola__prepared *p)
{
    struct isola_release *r = p->release;
    p->release = NULL;
    if (r != NULL && r->files.len > 0) {
        isola__packages_let_go(&p->agent->packages, r->app, r->id);
        isola__services_sweep(&p->agent->services, r->app);
    }
    isola_release_free(r);
}

void isola__prepared_expire(struct isola__prepared *p, uint64_t now)
{
    if (p->release != NULL && now - p->at_ms > PREPARED_MS)
        isola__prepared_clear(p);
}

/* The release that `params` names without its content; answers the asker when it is not here. */
static struct isola_release *already_here(struct isola__conn *from, const struct isola_msg *m,
                                          struct isola_slice params)
{
    struct isola_slice app, id;
    struct isola_release *r = NULL;
    struct isola_err err;
    if (!isola_mp_find_str(params, "app", &app) || !isola_mp_find_str(params, "release", &id)) {
        isola__fail(from, m->id, ISOLA_EINVAL, "prepare: \"app\" or \"release\" is missing");
        return NULL;
    }
    char *name = isola_strndup((const char *)app.data, app.len);
    char *release = isola_strndup((const char *)id.data, id.len);
    int rc = isola_catalog_release(from->agent->catalog, name, release, &r, &err);
    free(name);
    free(release);
    /* A copy that is damaged is as good as none: then it is sent. */
    if (rc == ISOLA_EIO)
        rc = ISOLA_ENOENT;
    if (rc == 0)
        rc = isola_release_read_note(params, r, &err);
    if (rc == 0)
        return r;
    isola_release_free(r);
    isola__fail(from, m->id, rc, "%s", err.text);
    return NULL;
}

/* Takes `r`. The member may be gone meanwhile. */
static void prepared_here(struct isola__conn *from, uint64_t id, struct isola_release *r)
{
    struct isola__member *member = ((struct isola__peer *)from)->member;
    if (r->files.len > 0)
        isola__packages_hold(&from->agent->packages, r->app, r->id);
    struct isola__prepared none = {.agent = from->agent, .release = r};
    if (member == NULL) {
        isola__prepared_clear(&none);
        return;
    }
    isola__prepared_clear(&member->prepared);
    member->prepared = none;
    member->prepared.at_ms = isola_clock_ms();
    struct isola_buf out = {0};
    isola_mp_map(&out, 1);
    isola_mp_kuint(&out, "processors", uv_available_parallelism());
    isola__reply_buf(from, id, &out);
}

void isola__abandon(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__member *member = ((struct isola__peer *)from)->member;
    struct isola_release *r = member->prepared.release;
    struct isola_slice app, id;
    (void)m;
    if (r != NULL && isola_mp_find_str(params, "app", &app) && isola_slice_is(app, r->app) &&
        isola_mp_find_str(params, "release", &id) && isola_slice_is(id, r->id))
        isola__prepared_clear(&member->prepared);
}

struct preparing {
    struct isola__pull pull; /* first */
    struct isola__unpack unpack;
    struct isola__conn *from;
    uint64_t id;
    struct isola_release *release;
};

static void preparing_end(struct preparing *p, const struct isola_err *err)
{
    if (err->code == 0) {
        prepared_here(p->from, p->id, p->release);
    } else {
        isola__fail(p->from, p->id, err->code, "the app's files: %s", err->text);
        isola_release_free(p->release);
    }
    isola__conn_unref(p->from);
    free(p);
}

static void prepare_unpacked(struct isola__unpack *unpack)
{
    struct preparing *p =
        (struct preparing *)(void *)((char *)unpack - offsetof(struct preparing, unpack));
    preparing_end(p, &unpack->err);
}

static void prepare_pulled(struct isola__pull *pull)
{
    struct preparing *p = (struct preparing *)pull;
    if (pull->err.code != 0) {
        preparing_end(p, &pull->err);
        return;
    }
    p->unpack.cb = prepare_unpacked;
    isola__packages_unpack(&p->from->agent->packages, &p->unpack, p->release);
}

void isola__prepare(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice manifest;
    struct isola_release *r = isola_mp_find(params, "manifest", &manifest)
                                  ? isola__deploy_read(from, m, params)
                                  : already_here(from, m, params);
    struct isola_err err;
    if (r == NULL)
        return;
    if (isola__trust_check(from->agent, r, &err) != 0) {
        isola__fail(from, m->id, err.code, "%s", err.text);
        isola_release_free(r);
        return;
    }
    if (r->files.len == 0) {
        prepared_here(from, m->id, r);
        return;
    }
    struct preparing *p = isola_zalloc(sizeof(*p));
    *p = (struct preparing){.pull.cb = prepare_pulled, .from = from, .id = m->id, .release = r};
    isola__conn_ref(from);
    isola__packages_pull(&from->agent->packages, &p->pull, r->files, from);
}

struct commit_wait {
    struct isola__ask ask; /* first */
    struct isola__conn *from;
    uint64_t id;
};

static void host_took(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct commit_wait *w = (struct commit_wait *)ask;
    struct isola_err err;
    /* Without a host it is committed all the same: the next one is told. */
    if (answer->kind == ISOLA_MSG_FAIL && isola__answer_error(answer, &err) != ISOLA_EUNREACHABLE)
        isola__pass_answer(w->from, w->id, answer);
    else
        isola__reply(w->from, w->id, isola_slice(NULL, 0));
    isola__conn_unref(w->from);
    free(w);
}

void isola__commit(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__member *member = ((struct isola__peer *)from)->member;
    struct isola__agent *agent = from->agent;
    struct isola_release *r = member->prepared.release;
    struct isola_slice app, id, beside, nodes;
    struct isola_roster roster = {0};
    uint64_t revision, deployed;
    uint32_t share;
    struct isola_err err;
    if (!isola_mp_find_str(params, "app", &app) || !isola_mp_find_str(params, "release", &id) ||
        !isola_mp_find_uint(params, "revision", &revision) || revision == 0) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "commit: \"app\", \"release\" or \"revision\" is missing");
        return;
    }
    if (isola__canary_read(params, &share, &err) != 0 ||
        (share > 0 && isola_mp_find(params, "nodes", &nodes) &&
         isola_roster_read(nodes, &roster, &err) != 0)) {
        isola__fail(from, m->id, err.code, "%s", err.text);
        return;
    }
    /* Beside another one than ours: then it is fetched, with that. */
    const struct isola__current *current =
        r != NULL ? isola__releases_current(&agent->releases, r->app) : NULL;
    bool other = share > 0 && (!isola_mp_find_str(params, "current", &beside) || current == NULL ||
                               !isola_slice_is(beside, current->id));
    if (r == NULL || other || !isola_slice_is(app, r->app) || !isola_slice_is(id, r->id)) {
        isola__releases_await(&agent->releases, from, m->id, app, revision);
        isola__offers_add(&member->offers, app, revision);
        isola__releases_sync(&agent->releases);
        isola_roster_free(&roster);
        return;
    }
    r->revision = revision;
    if (isola_mp_find_uint(params, "deployed_ms", &deployed) && deployed <= INT64_MAX)
        r->deployed_ms = (int64_t)deployed;
    struct isola_release *put =
        share > 0 ? isola__canary_beside(agent, r, share, &roster, &err) : r;
    isola_roster_free(&roster);
    int rc = put != NULL ? isola__releases_put(&agent->releases, put, &err) : err.code;
    if (rc != 0) {
        if (put != NULL && put != r)
            isola__canary_free(put);
        isola__fail(from, m->id, rc, "%s", err.text);
        return;
    }
    struct commit_wait *w = isola_zalloc(sizeof(*w));
    w->ask = (struct isola__ask){.cb = host_took, .hasty = true};
    w->from = from;
    isola__conn_ref(from);
    w->id = m->id;
    isola__releases_tell(&agent->releases, put, &w->ask);
    if (put != r)
        isola__canary_free(put);
    isola__prepared_clear(&member->prepared);
}
