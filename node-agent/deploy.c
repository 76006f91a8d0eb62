/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/deploy.h"

#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/canary.h"
#include "node-agent/earlier.h"
#include "node-agent/trust.h"

#define DEPLOYS_MAX      4 /* each holds a release of up to 64 MB */
#define CHECK_LIMIT_MS   60000
#define PREPARE_LIMIT_MS 30000
#define PULL_LIMIT_MS    900000 /* the same, with files that it has to pull first */
#define COMMIT_LIMIT_MS  60000
#define PREPARED_MS      180000

struct part {
    struct isola__ask ask; /* first */
    struct isola__deploy *deploy;
    struct isola__member *member; /* NULL: our own actor-host */
    bool taken;
};

struct isola__deploy {
    struct isola__deploy *next;
    struct isola__agent *agent;
    struct isola__conn *from; /* counted; NULL: the agent itself wants it, and `done` is called */
    uint64_t id;
    void (*done)(void *arg, int code, const char *why);
    void *arg;
    struct isola_release *release; /* NULL: of a roll-back, not found yet */
    struct isola__pull files;
    struct isola__unpack unpack;
    bool held; /* the directory of its files */
    struct isola__ask check;
    uint32_t share;                        /* not 0: it is to be a canary */
    char unwatched[ISOLA_RELEASE_ID_SIZE]; /* the current release, whose watch a canary ends; or ""
                                            */
    /* Of a roll-back. */
    struct isola_release *note; /* its app, by and message; NULL: it is a deploy */
    char *wanted;               /* the beginning of an id, or "" */
    uint64_t expected;          /* not 0: the revision that is to be current */
    bool promotes;              /* it goes to the canary */
    char before[ISOLA_RELEASE_ID_SIZE];
    struct isola__earlier earlier;
    struct part *parts;
    size_t nparts, outstanding;
    const char *stage; /* "files", "check", "prepare", "commit"; NULL: it waits */
    struct isola_err refused;
    struct isola_buf dropped; /* names of the types before, when none of them is in it */
    size_t ndropped;
};

static void start(struct isola__deploy *d);

static void finish(struct isola__deploy *d)
{
    struct isola__deploys *deploys = &d->agent->deploys;
    ISOLA_CHECK(deploys->first == d);
    deploys->first = d->next;
    deploys->count--;
    if (d->held) {
        isola__packages_let_go(&d->agent->packages, d->release->app, d->release->id);
        isola__services_sweep(&d->agent->services, d->release->app);
    }
    isola_release_free(d->release);
    isola_release_free(d->note);
    free(d->wanted);
    isola_buf_free(&d->dropped);
    if (d->from != NULL)
        isola__conn_unref(d->from);
    free(d->parts);
    free(d);
    if (deploys->first != NULL)
        start(deploys->first);
}

static void refuse(struct isola__deploy *d, int code, const char *text)
{
    if (d->from != NULL)
        isola__fail(d->from, d->id, code, "%s", text);
    else
        d->done(d->arg, code, text);
    finish(d);
}

static bool has_taken(const struct isola__deploy *d, const struct isola__member *member)
{
    for (size_t i = 0; i < d->nparts; i++) {
        if (d->parts[i].taken && d->parts[i].member == member)
            return true;
    }
    return false;
}

/* The other nodes that have taken the release, or have not. */
static void name_members(const struct isola__deploy *d, bool taken, struct isola_buf *out)
{
    for (struct isola__member *m = d->agent->members.first; m != NULL; m = m->next) {
        if (has_taken(d, m) == taken)
            isola_mp_cstr(out, m->record.name);
    }
}

static void name_types(const struct isola_release *r, struct isola_buf *out)
{
    struct isola_manifest *m = NULL;
    struct isola_err err;
    int rc = isola_manifest_parse(r->manifest, r->app, &m, &err);
    ISOLA_CHECK(rc == 0); /* it was decoded */
    isola_mp_cstr(out, "types");
    isola_mp_array(out, m->ntypes);
    for (size_t i = 0; i < m->ntypes; i++)
        isola_mp_cstr(out, m->types[i].name);
    isola_manifest_free(m);
}

static void succeed(struct isola__deploy *d, bool unchanged)
{
    const struct isola_release *r = d->release;
    struct isola__releases *releases = &d->agent->releases;
    struct isola_buf out = {0};
    if (!unchanged)
        isola__rollout_watch(&d->agent->rollouts, r->app);
    if (d->from == NULL) {
        d->done(d->arg, 0, "");
        finish(d);
        return;
    }
    bool tells = d->agent->cluster.member; /* alone, its socket is its user's */
    isola_mp_map(&out, 7 + (d->note != NULL) + tells + (d->ndropped > 0) + (d->share > 0) +
                           (d->unwatched[0] != '\0'));
    if (d->unwatched[0] != '\0')
        isola_mp_kstr(&out, "unwatched", d->unwatched);
    if (d->ndropped > 0) {
        isola_mp_cstr(&out, "dropped");
        isola_mp_array(&out, d->ndropped);
        isola_buf_append(&out, d->dropped.data, d->dropped.len);
    }
    if (d->share > 0)
        isola_mp_kuint(&out, "share", d->share);
    if (tells)
        isola_mp_kbool(&out, "restricted", d->agent->cluster.trust.n > 0);
    isola_mp_kstr(&out, "app", r->app);
    isola_mp_kstr(&out, "release", r->id);
    if (d->note != NULL)
        isola_mp_kstr(&out, "before", d->before);
    isola_mp_kuint(&out, "revision",
                   unchanged ? isola__releases_current(releases, r->app)->revision : r->revision);
    isola_mp_kbool(&out, "unchanged", unchanged);
    name_types(r, &out);
    size_t n = 0;
    for (struct isola__member *m = d->agent->members.first; m != NULL; m = m->next)
        n += has_taken(d, m);
    isola_mp_cstr(&out, "nodes");
    isola_mp_array(&out, 1 + n);
    isola_mp_cstr(&out, d->agent->opt.name);
    name_members(d, true, &out);
    isola_mp_cstr(&out, "later");
    isola_mp_array(&out, d->agent->members.count - n);
    name_members(d, false, &out);
    isola__reply_buf(d->from, d->id, &out);
    finish(d);
}

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
static struct part *add_part(struct isola__deploy *d, struct isola__member *member,
                             isola__ask_cb cb)
{
    struct part *part = &d->parts[d->nparts++];
    *part = (struct part){.deploy = d, .member = member, .ask.cb = cb};
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
    struct part *part = (struct part *)ask;
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
        succeed(d, false);
}

/* Those that have prepared it need not keep it for later. */
static void abandon(struct isola__deploy *d)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "app", d->release->app);
    isola_mp_kstr(&params, "release", d->release->id);
    for (struct isola__member *m = d->agent->members.first; m != NULL; m = m->next) {
        struct isola__conn *conn = has_taken(d, m) ? isola__member_conn(m) : NULL;
        if (conn != NULL)
            (void)isola__emit(conn, "abandon", isola_buf_slice(&params));
    }
    isola_buf_free(&params);
}

/* Is something else current than what was to be gone back from? */
static bool replaced(const struct isola__deploy *d)
{
    const struct isola__current *current =
        d->expected != 0 ? isola__releases_current(&d->agent->releases, d->note->app) : NULL;
    return d->expected != 0 && (current == NULL || current->revision != d->expected);
}

static void commit(struct isola__deploy *d)
{
    d->stage = "commit";
    struct isola__releases *releases = &d->agent->releases;
    struct isola_err err;
    if (replaced(d)) {
        abandon(d);
        refuse(d, ISOLA_ECANCELED, "another release is current");
        return;
    }
    d->release->revision = isola__releases_next_revision(releases);
    d->release->deployed_ms = isola_clock_wall_ms();
    struct isola_release *put = d->release;
    bool in_window = isola__rollout_in_window(&d->agent->rollouts, d->release->app);
    if (d->share > 0)
        put = isola__canary_beside(d->agent, d->release, d->share, &err);
    int rc = put != NULL ? isola__releases_put(releases, put, &err) : err.code;
    if (rc != 0) {
        abandon(d);
        if (put != NULL && put != d->release)
            isola__canary_free(put);
        refuse(d, rc, err.text);
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
    isola_mp_map(&params, 4 + (d->share > 0 ? 2 : 0));
    if (d->share > 0) {
        isola_mp_kuint(&params, "share", d->share);
        isola_mp_kstr(&params, "current", put->id);
    }
    isola_mp_kstr(&params, "app", d->release->app);
    isola_mp_kstr(&params, "release", d->release->id);
    isola_mp_kuint(&params, "revision", d->release->revision);
    isola_mp_kuint(&params, "deployed_ms", (uint64_t)d->release->deployed_ms);
    /* Whoever is live now: a node that joined since the others prepared fetches it, then answers.
     */
    begin_parts(d);
    struct part *own = add_part(d, NULL, committed);
    own->ask.hasty = true;
    isola__releases_tell(releases, put, &own->ask);
    if (put != d->release)
        isola__canary_free(put);
    /* Versions that know no canaries must not take it for a release that is current. */
    ask_members(d, d->share > 0 ? "canary" : "commit", &params, COMMIT_LIMIT_MS, committed);
    if (--d->outstanding == 0)
        succeed(d, false);
}

/* --- prepare --- */

static void prepared_all(struct isola__deploy *d)
{
    if (d->refused.code == 0) {
        commit(d);
        return;
    }
    abandon(d);
    refuse(d, d->refused.code, d->refused.text);
}

static void prepared(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct part *part = (struct part *)ask;
    struct isola__deploy *d = part->deploy;
    struct isola_err err;
    part->taken = answer->kind == ISOLA_MSG_REPLY;
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
    struct part *part = (struct part *)ask;
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

static void checked(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__deploy *d =
        (struct isola__deploy *)((char *)ask - offsetof(struct isola__deploy, check));
    struct isola_err err;
    if (answer->kind == ISOLA_MSG_FAIL && isola__answer_error(answer, &err) == ISOLA_ETIMEDOUT) {
        isola_fail(&err, ISOLA_ETIMEDOUT,
                   "the actor-host of node %s has not checked the release within %d s; `ctl nodes` "
                   "says whether it answers at all",
                   d->agent->opt.name, CHECK_LIMIT_MS / 1000);
        refuse(d, err.code, err.text);
        return;
    }
    if (answer->kind == ISOLA_MSG_FAIL) {
        isola__pass_answer(d->from, d->id, answer); /* with the script's own stack */
        finish(d);
        return;
    }
    struct isola_buf params = {0};
    if (d->note != NULL)
        brief_params(d->release, &params);
    else
        isola__release_params(d->release, &params);
    begin_parts(d);
    d->stage = "prepare";
    ask_members(d, "prepare", &params, prepare_limit(d), d->note != NULL ? offered : prepared);
    if (--d->outstanding == 0)
        prepared_all(d);
}

/* --- check --- */

/* It is current already, so nobody has to do anything. */
static void unchanged(struct isola__deploy *d)
{
    begin_parts(d);
    for (struct isola__member *m = d->agent->members.first; m != NULL; m = m->next) {
        if (isola__member_conn(m) != NULL)
            add_part(d, m, NULL)->taken = true;
    }
    succeed(d, true);
}

/* What its services need and may not be had. */
static int check_services(const struct isola__deploy *d, struct isola_err *err)
{
    struct isola_manifest *m = NULL;
    int rc = isola_manifest_parse(d->release->manifest, d->release->app, &m, err);
    if (rc == 0)
        rc = isola__secrets_check(&d->agent->secrets, m, err);
    if (rc == 0)
        rc = isola__releases_check_ports(&d->agent->releases, m, err);
    isola_manifest_free(m);
    return rc;
}

/* What services run is on this machine alone, in the directory of the link. */
static int check_link(struct isola__deploy *d, struct isola_err *err)
{
    const struct isola_release *r = d->release;
    struct isola_manifest *m = NULL;
    struct isola_tcp at;
    struct stat st;
    int rc = isola_manifest_parse(r->manifest, r->app, &m, err);
    for (size_t i = 0; rc == 0 && i < m->ntypes; i++)
        if (m->types[i].service != NULL && r->link == NULL && r->files.len == 0)
            rc = isola_fail(err, ISOLA_EINVAL, "%s has a service, %s, and comes without files",
                            r->app, m->types[i].name);
    isola_manifest_free(m);
    if (rc != 0 || r->link == NULL)
        return rc;
    if (stat(r->link, &st) != 0 || !S_ISDIR(st.st_mode))
        return isola_fail(err, ISOLA_ENOENT,
                          "there is no directory %s on the machine of node %s: --link is for "
                          "nodes on the machine ctl runs on",
                          r->link, d->agent->opt.name);
    for (struct isola__member *other = d->agent->members.first; other != NULL; other = other->next)
        if (!isola_tcp_parse(other->record.url, &at) || !isola_tcp_loopback(&at))
            return isola_fail(err, ISOLA_EINVAL,
                              "node %s may be on another machine, where %s is not: --link is for "
                              "clusters on one machine",
                              other->record.name, r->link);
    return 0;
}

static void check(struct isola__deploy *d)
{
    d->stage = "check";
    struct isola__agent *agent = d->agent;
    struct isola_err err;
    if (agent->host.state != ISOLA_HOST_READY || agent->host.conn == NULL) {
        isola_fail(
            &err, ISOLA_EUNREACHABLE,
            "the actor-host of node %s restarts and cannot check the release; deploy again in a "
            "moment",
            agent->opt.name);
        refuse(d, err.code, err.text);
        return;
    }
    if (isola__host_silent(&agent->host, &err)) {
        refuse(d, err.code, err.text);
        return;
    }
    struct isola_buf params = {0};
    isola__release_params(d->release, &params);
    d->check = (struct isola__ask){.cb = checked, .hasty = true};
    isola__ask(agent->host.conn, &d->check, "check", isola_buf_slice(&params), CHECK_LIMIT_MS);
    isola_buf_free(&params);
}

static void files_unpacked(struct isola__unpack *unpack)
{
    struct isola__deploy *d =
        (struct isola__deploy *)(void *)((char *)unpack - offsetof(struct isola__deploy, unpack));
    struct isola_err err;
    if (unpack->err.code == 0) {
        check(d);
        return;
    }
    isola_fail(&err, unpack->err.code, "node %s: the app's files: %s", d->agent->opt.name,
               unpack->err.text);
    refuse(d, err.code, err.text);
}

static void files_checked(struct isola__pull *pull)
{
    struct isola__deploy *d =
        (struct isola__deploy *)(void *)((char *)pull - offsetof(struct isola__deploy, files));
    if (pull->err.code != 0) {
        refuse(d, pull->err.code, pull->err.text);
        return;
    }
    d->held = true;
    isola__packages_hold(&d->agent->packages, d->release->app, d->release->id);
    d->unpack.cb = files_unpacked;
    isola__packages_unpack(&d->agent->packages, &d->unpack, d->release);
}

/* May the current release be so, by who may deploy now? Else it is deployed anew, signed. */
static bool stands(struct isola__agent *agent, const char *app)
{
    struct isola_release *r = NULL;
    struct isola_err err;
    if (agent->cluster.trust.n == 0)
        return true;
    bool good = isola_catalog_current(agent->catalog, app, &r, &err) == 0 &&
                isola__trust_check(agent, r, &err) == 0;
    isola_release_free(r);
    return good;
}

/* An app that has nothing in common with the one before it may be another, under a name that was
 * taken: that is said. */
static void note_dropped(struct isola__deploy *d, const struct isola__current *current)
{
    const struct isola_release *r = d->release;
    struct isola_manifest *m = NULL;
    struct isola_err err;
    if (d->note != NULL || current == NULL || current->manifest == NULL ||
        isola_manifest_parse(r->manifest, r->app, &m, &err) != 0)
        return;
    bool common = false;
    for (size_t i = 0; i < current->manifest->ntypes; i++)
        common = common ||
                 isola_manifest_type(m, isola_slice_str(current->manifest->types[i].name)) != NULL;
    isola_manifest_free(m);
    for (size_t i = 0; !common && i < current->manifest->ntypes; i++) {
        isola_mp_cstr(&d->dropped, current->manifest->types[i].name);
        d->ndropped++;
    }
}

/* `from`: whom the files can be pulled from; NULL: they are to be here. */
static void begin(struct isola__deploy *d, struct isola__conn *from)
{
    struct isola__agent *agent = d->agent;
    struct isola_err err;
    if (isola__trust_check(agent, d->release, &err) != 0) {
        refuse(d, err.code, err.text);
        return;
    }
    const struct isola__current *current =
        isola__releases_current(&agent->releases, d->release->app);
    bool same = false;
    if (d->share > 0 && isola__canary_check(agent, d->release, d->share, &same, &err) != 0) {
        refuse(d, err.code, err.text);
        return;
    }
    /* Of a link the files may have changed, which its id does not say. */
    if (d->share == 0)
        same = current != NULL && current->share == 0 && strcmp(current->id, d->release->id) == 0 &&
               d->release->link == NULL;
    if (same && stands(agent, d->release->app)) {
        unchanged(d);
        return;
    }
    if (d->share == 0)
        note_dropped(d, current);
    if (check_link(d, &err) != 0 || check_services(d, &err) != 0) {
        refuse(d, err.code, err.text);
    } else if (d->release->files.len > 0) {
        d->stage = "files";
        d->files.cb = files_checked;
        isola__packages_pull(&agent->packages, &d->files, d->release->files, from);
    } else {
        check(d);
    }
}

/* --- a roll-back --- */

static void found(struct isola__earlier *earlier, struct isola_release *r,
                  const struct isola_err *err)
{
    struct isola__deploy *d =
        (struct isola__deploy *)((char *)earlier - offsetof(struct isola__deploy, earlier));
    if (r == NULL) {
        refuse(d, err->code, err->text);
        return;
    }
    isola__canary_strip(r);
    free(r->by);
    free(r->message);
    r->by = isola_strdup(d->note->by != NULL ? d->note->by : "");
    r->message = isola_strdup(d->note->message != NULL ? d->note->message : "");
    r->restores = d->note->restores;
    d->release = r;
    begin(d, earlier->from);
}

static void start(struct isola__deploy *d)
{
    struct isola_err err;
    if (d->note == NULL) {
        begin(d, NULL);
        return;
    }
    if (replaced(d)) {
        refuse(d, ISOLA_ECANCELED, "another release is current");
        return;
    }
    struct isola__earlier *e = &d->earlier;
    *e = (struct isola__earlier){.agent = d->agent, .cb = found, .app = d->note->app};
    /* Only now: the deploys before it in the queue are done. */
    int rc = d->promotes ? isola__canary_of(d->agent, d->note->app, e->id, &err)
                         : isola__earlier_target(d->agent, d->note->app, isola_slice_str(d->wanted),
                                                 e->id, &d->note->restores, &err);
    if (rc != 0) {
        refuse(d, rc, err.text);
        return;
    }
    const struct isola__current *current =
        isola__releases_current(&d->agent->releases, d->note->app);
    bool drops = strcmp(current->id, e->id) == 0 && current->share > 0;
    memcpy(d->before, drops ? current->candidate : current->id, sizeof(d->before));
    isola__earlier_get(e);
}

/* The release in `params`; answers the asker when there is none. */
static struct isola_release *decode(struct isola__conn *from, const struct isola_msg *m,
                                    struct isola_slice params)
{
    static const char *const keys[] = {"app", "manifest", "bundles"};
    struct isola_slice any;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (!isola_mp_find(params, keys[i], &any)) {
            isola__fail(from, m->id, ISOLA_EINVAL, "%.*s: \"%s\" is missing", ISOLA_FMT(m->event),
                        keys[i]);
            return NULL;
        }
    }
    struct isola_release *r = NULL;
    struct isola_err err;
    int rc = isola_release_decode(params, &r, &err);
    if (rc != 0) {
        isola__fail(from, m->id, rc, "%s", err.text);
        return NULL;
    }
    isola__canary_strip(r); /* the commit says what is tried beside what, nobody else */
    return r;
}

/* A deploy that waits for its turn. NULL: the asker has been told why there is none. */
static struct isola__deploy *queued(struct isola__conn *from, const struct isola_msg *m)
{
    struct isola__agent *agent = from->agent;
    struct isola__deploys *deploys = &agent->deploys;
    if (agent->state != ISOLA_AGENT_READY) {
        isola__fail(from, m->id, ISOLA_EUNREACHABLE,
                    "node %s is still starting; try again when it has said that it is ready",
                    agent->opt.name);
        return NULL;
    }
    if (deploys->count >= DEPLOYS_MAX) {
        isola__fail(from, m->id, ISOLA_EOVERLOAD, "%d deploys wait on node %s already", DEPLOYS_MAX,
                    agent->opt.name);
        return NULL;
    }
    struct isola__deploy *d = isola_zalloc(sizeof(*d));
    d->agent = agent;
    d->from = from;
    isola__conn_ref(from);
    d->id = m->id;
    return d;
}

/* The first of `app`, or NULL. */
static const struct isola__deploy *find(const struct isola__deploys *deploys,
                                        struct isola_slice app)
{
    const struct isola__deploy *d = deploys->first;
    while (d != NULL && !isola_slice_is(app, d->note != NULL ? d->note->app : d->release->app))
        d = d->next;
    return d;
}

bool isola__deploy_under_way(const struct isola__deploys *deploys, const char *app)
{
    return find(deploys, isola_slice_str(app)) != NULL;
}

static void enqueue(struct isola__deploy *d)
{
    struct isola__deploys *deploys = &d->agent->deploys;
    struct isola__deploy **at = &deploys->first;
    while (*at != NULL)
        at = &(*at)->next;
    *at = d;
    deploys->count++;
    if (deploys->first == d)
        start(d);
}

/* One that was never enqueued; the asker has been told. */
static void discard(struct isola__deploy *d)
{
    isola_release_free(d->note);
    free(d->wanted);
    isola__conn_unref(d->from);
    free(d);
}

void isola__deploy(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__deploy *d = queued(from, m);
    if (d == NULL)
        return;
    d->release = decode(from, m, params);
    if (d->release == NULL) {
        discard(d);
        return;
    }
    d->release->restores = 0;
    struct isola_err err;
    if (isola__canary_read(params, &d->share, &err) != 0) {
        isola__fail(from, m->id, err.code, "%s", err.text);
        isola_release_free(d->release);
        discard(d);
        return;
    }
    enqueue(d);
}

static void rollback(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params,
                     bool promotes)
{
    struct isola_slice app, wanted = {0};
    struct isola_err err;
    struct isola__deploy *d = queued(from, m);
    if (d == NULL)
        return;
    d->note = isola_zalloc(sizeof(*d->note));
    if (!isola_mp_find_str(params, "app", &app) || app.len == 0) {
        isola__fail(from, m->id, ISOLA_EINVAL, "%.*s: \"app\" is missing", ISOLA_FMT(m->event));
        discard(d);
        return;
    }
    if (isola_release_read_note(params, d->note, &err) != 0) {
        isola__fail(from, m->id, err.code, "%s", err.text);
        discard(d);
        return;
    }
    (void)isola_mp_find_str(params, "release", &wanted);
    d->note->app = isola_strndup((const char *)app.data, app.len);
    d->wanted = isola_strndup((const char *)wanted.data, wanted.len);
    d->promotes = promotes;
    enqueue(d);
}

void isola__deploy_back(struct isola__agent *agent, const char *app, const char *wanted,
                        uint64_t revision, const char *by, const char *message,
                        void (*done)(void *arg, int code, const char *why), void *arg)
{
    struct isola__deploy *d = isola_zalloc(sizeof(*d));
    d->agent = agent;
    d->done = done;
    d->arg = arg;
    d->expected = revision;
    d->wanted = isola_strdup(wanted);
    d->note = isola_zalloc(sizeof(*d->note));
    d->note->app = isola_strdup(app);
    d->note->by = isola_strdup(by);
    bool fit = isola_release_text_ok(isola_slice_str(message), ISOLA_RELEASE_MESSAGE_MAX);
    d->note->message = isola_strdup(fit ? message : "by itself");
    enqueue(d);
}

void isola__deploying(struct isola__conn *from, const struct isola_msg *m,
                      struct isola_slice params)
{
    struct isola_slice app = {0};
    struct isola_buf out = {0};
    (void)isola_mp_find_str(params, "app", &app);
    const struct isola__deploy *d = find(&from->agent->deploys, app);
    if (d == NULL) {
        isola__reply(from, m->id, isola_slice(NULL, 0));
        return;
    }
    bool asked =
        d->stage != NULL && (strcmp(d->stage, "prepare") == 0 || strcmp(d->stage, "commit") == 0);
    isola_mp_map(&out, 3);
    isola_mp_kstr(&out, "stage", d->stage != NULL ? d->stage : "wait");
    isola_mp_kuint(&out, "nodes", asked ? d->nparts - d->outstanding : 0);
    isola_mp_kuint(&out, "of", asked ? d->nparts : 0);
    isola__reply_buf(from, m->id, &out);
}

void isola__rollback(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    rollback(from, m, params, false);
}

void isola__promote(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    rollback(from, m, params, true);
}

/* --- the other side --- */

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
    isola__reply(from, id, isola_slice(NULL, 0));
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
                                  ? decode(from, m, params)
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
    struct isola_slice app, id, beside;
    uint64_t revision, deployed;
    uint32_t share;
    struct isola_err err;
    if (!isola_mp_find_str(params, "app", &app) || !isola_mp_find_str(params, "release", &id) ||
        !isola_mp_find_uint(params, "revision", &revision) || revision == 0) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "commit: \"app\", \"release\" or \"revision\" is missing");
        return;
    }
    if (isola__canary_read(params, &share, &err) != 0) {
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
        return;
    }
    r->revision = revision;
    if (isola_mp_find_uint(params, "deployed_ms", &deployed) && deployed <= INT64_MAX)
        r->deployed_ms = (int64_t)deployed;
    struct isola_release *put = share > 0 ? isola__canary_beside(agent, r, share, &err) : r;
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
