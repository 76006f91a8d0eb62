/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/deploy_own.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/canary.h"

#define PREPARE_LIMIT_MS 30000
#define PULL_LIMIT_MS    900000 /* the same, with files that it has to pull first */
#define COMMIT_LIMIT_MS  60000

/* --- who takes part --- */

/* Nobody yet. One that is outstanding stands for who asks them. */
static void begin_parts(struct isola__deploy *d)
{
    free(d->parts);
    d->parts = isola_zalloc((1 + d->agent->members.count) * sizeof(*d->parts));
    d->nparts = 0;
    d->outstanding = 1;
}

/* `member` NULL: our own actor-host. */
static struct isola__part *add_part(struct isola__deploy *d, struct isola__member *member,
                                    isola__ask_cb cb)
{
    struct isola__part *part = &d->parts[d->nparts++];
    *part = (struct isola__part){.deploy = d, .member = member, .ask.cb = cb};
    d->outstanding++;
    return part;
}

/* All that are live. Frees `params`. */
static void ask_members(struct isola__deploy *d, const char *method, struct isola_buf *params,
                        unsigned limit_ms, isola__ask_cb cb)
{
    for (struct isola__member *m = d->agent->members.first; m != NULL; m = m->next) {
        struct isola__conn *conn = isola__member_conn(m);
        if (conn != NULL)
            isola__ask(conn, &add_part(d, m, cb)->ask, method, isola_buf_slice(params), limit_ms);
    }
    isola_buf_free(params);
}

/* --- commit --- */

static void committed(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__part *part = (struct isola__part *)ask;
    struct isola__deploy *d = part->deploy;
    struct isola_err err;
    part->taken = answer->kind == ISOLA_MSG_REPLY;
    if (!part->taken) {
        (void)isola__answer_error(answer, &err);
        isola_log(ISOLA_LOG_WARN, "release %s of %s is current, but %s did not take it over: %s",
                  d->release->id, d->release->app,
                  part->member != NULL ? part->member->record.name : "the actor-host", err.text);
    }
    if (--d->outstanding == 0)
        isola__deploy_succeed(d, false);
}

/* Those that have prepared it need not keep it for later. */
static void abandon(struct isola__deploy *d)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "app", d->release->app);
    isola_mp_kstr(&params, "release", d->release->id);
    for (struct isola__member *m = d->agent->members.first; m != NULL; m = m->next) {
        struct isola__conn *conn = isola__deploy_has_taken(d, m) ? isola__member_conn(m) : NULL;
        if (conn != NULL)
            (void)isola__emit(conn, "abandon", isola_buf_slice(&params));
    }
    isola_buf_free(&params);
}

static void commit(struct isola__deploy *d)
{
    d->stage = "commit";
    struct isola__releases *releases = &d->agent->releases;
    struct isola_err err;
    if (isola__deploy_replaced(d)) {
        abandon(d);
        isola__deploy_refuse(d, ISOLA_ECANCELED, "another release is current");
        return;
    }
    bool same;
    if (d->share > 0 && isola__canary_check(d->agent, d->release, d->share, &same, &err) != 0) {
        abandon(d); /* another node has deployed meanwhile */
        isola__deploy_refuse(d, err.code, err.text);
        return;
    }
    d->release->revision = isola__releases_next_revision(releases);
    d->release->deployed_ms = isola_clock_wall_ms();
    struct isola_release *put = d->release;
    bool in_window = isola__rollout_in_window(&d->agent->rollouts, d->release->app);
    if (d->share > 0)
        put = isola__canary_beside(d->agent, d->release, d->share, &d->roster, &err);
    int rc = put != NULL ? isola__releases_put(releases, put, &err) : err.code;
    if (rc != 0) {
        abandon(d);
        if (put != NULL && put != d->release)
            isola__canary_free(put);
        isola__deploy_refuse(d, rc, err.text);
        return;
    }
    if (d->share > 0)
        isola_log(ISOLA_LOG_INFO, "release %s of %s is a canary for %g %% beside %s",
                  d->release->id, d->release->app, d->share / 1e4, put->id);
    if (d->share > 0 && in_window) {
        memcpy(d->unwatched, put->id, sizeof(put->id));
        isola_log(ISOLA_LOG_WARN,
                  "release %s of %s was watched still, and is not while it has a canary", put->id,
                  d->release->app);
    }
    if (d->share == 0)
        isola_log(ISOLA_LOG_INFO, "release %s of %s is current %s", d->release->id, d->release->app,
                  d->note != NULL && !d->promotes ? "again" : "now");
    struct isola_buf params = {0};
    isola_mp_map(&params, 4 + (d->share > 0 ? 3 : 0));
    if (d->share > 0) {
        isola_mp_kuint(&params, "share", d->share);
        isola_mp_kstr(&params, "current", put->id);
        isola_mp_cstr(&params, "nodes");
        isola_roster_write(&d->roster, &params);
    }
    isola_mp_kstr(&params, "app", d->release->app);
    isola_mp_kstr(&params, "release", d->release->id);
    isola_mp_kuint(&params, "revision", d->release->revision);
    isola_mp_kuint(&params, "deployed_ms", (uint64_t)d->release->deployed_ms);
    /* Whoever is live now: a node that joined since the others prepared fetches it, then answers.
     */
    begin_parts(d);
    struct isola__part *own = add_part(d, NULL, committed);
    own->ask.hasty = true;
    isola__releases_tell(releases, put, &own->ask);
    if (put != d->release)
        isola__canary_free(put);
    /* Versions that know no canaries must not take it for a release that is current. */
    ask_members(d, d->share > 0 ? "canary" : "commit", &params, COMMIT_LIMIT_MS, committed);
    if (--d->outstanding == 0)
        isola__deploy_succeed(d, false);
}

/* --- prepare --- */

static void prepared_all(struct isola__deploy *d)
{
    if (d->refused.code == 0) {
        commit(d);
        return;
    }
    abandon(d);
    isola__deploy_refuse(d, d->refused.code, d->refused.text);
}

/* It has prepared the canary: its services may have instances of it. Versions that do not say how
 * many processors they have know none. */
static void note_node(struct isola__deploy *d, const char *name, uint64_t processors)
{
    struct isola_err err;
    if (d->share > 0 && processors > 0 &&
        isola_roster_add(&d->roster, isola_slice_str(name), processors, &err) != 0)
        isola_log(ISOLA_LOG_WARN, "the canary of %s has no services on node %s: %s",
                  d->release->app, name, err.text);
}

static void prepared(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__part *part = (struct isola__part *)ask;
    struct isola__deploy *d = part->deploy;
    struct isola_err err;
    part->taken = answer->kind == ISOLA_MSG_REPLY;
    uint64_t processors = 0;
    if (part->taken && isola_mp_find_uint(isola__value(answer), "processors", &processors))
        note_node(d, part->member->record.name, processors);
    if (!part->taken) {
        int code = isola__answer_error(answer, &err);
        /* One whose link was lost meanwhile has not refused. */
        if (code != ISOLA_EUNREACHABLE)
            isola_fail(&d->refused, code, "node %s: %s", part->member->record.name, err.text);
    }
    if (--d->outstanding == 0)
        prepared_all(d);
}

/* Who lacks files pulls them first. */
static unsigned prepare_limit(const struct isola__deploy *d)
{
    return d->release->files.len > 0 ? PULL_LIMIT_MS : PREPARE_LIMIT_MS;
}

/* Of a roll-back: one that has not got the release is sent it. */
static void offered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__part *part = (struct isola__part *)ask;
    struct isola__deploy *d = part->deploy;
    struct isola__conn *conn = isola__member_conn(part->member);
    struct isola_err err;
    int code = answer->kind == ISOLA_MSG_REPLY ? 0 : isola__answer_error(answer, &err);
    /* EINVAL: an older version, which takes whole ones only. */
    if (conn == NULL || (code != ISOLA_ENOENT && code != ISOLA_EINVAL)) {
        prepared(ask, answer);
        return;
    }
    struct isola_buf params = {0};
    isola__release_params(d->release, &params);
    part->ask = (struct isola__ask){.cb = prepared};
    isola__ask(conn, &part->ask, "prepare", isola_buf_slice(&params), prepare_limit(d));
    isola_buf_free(&params);
}

/* What says which release it is, without its content. */
static void brief_params(const struct isola_release *r, struct isola_buf *out)
{
    isola_mp_map(out, 2 + ISOLA_RELEASE_NOTE_PAIRS);
    isola_mp_kstr(out, "app", r->app);
    isola_mp_kstr(out, "release", r->id);
    isola_release_put_note(r, out);
}

void isola__deploy_prepare(struct isola__deploy *d)
{
    struct isola_buf params = {0};
    if (d->note != NULL)
        brief_params(d->release, &params);
    else
        isola__release_params(d->release, &params);
    begin_parts(d);
    isola_roster_free(&d->roster);
    note_node(d, d->agent->opt.name, uv_available_parallelism());
    d->stage = "prepare";
    ask_members(d, "prepare", &params, prepare_limit(d), d->note != NULL ? offered : prepared);
    if (--d->outstanding == 0)
        prepared_all(d);
}

void isola__deploy_unchanged(struct isola__deploy *d)
{
    begin_parts(d);
    for (struct isola__member *m = d->agent->members.first; m != NULL; m = m->next) {
        if (isola__member_conn(m) != NULL)
            add_part(d, m, NULL)->taken = true;
    }
    isola__deploy_succeed(d, true);
}
