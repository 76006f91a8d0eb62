/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/deploy_own.h"

#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/canary.h"
#include "store/manifest.h"

#define DEPLOYS_MAX 4 /* each holds a release of up to 64 MB */

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
    isola_roster_free(&d->roster);
    if (d->from != NULL)
        isola__conn_unref(d->from);
    free(d->parts);
    free(d);
    if (deploys->first != NULL)
        start(deploys->first);
}

void isola__deploy_refuse(struct isola__deploy *d, int code, const char *text)
{
    if (d->from != NULL)
        isola__fail(d->from, d->id, code, "%s", text);
    else
        d->done(d->arg, code, text);
    finish(d);
}

void isola__deploy_pass(struct isola__deploy *d, const struct isola_msg *answer)
{
    struct isola_err err;
    if (d->from == NULL) {
        int code = isola__answer_error(answer, &err);
        isola__deploy_refuse(d, code, err.text);
        return;
    }
    isola__pass_answer(d->from, d->id, answer);
    finish(d);
}

bool isola__deploy_has_taken(const struct isola__deploy *d, const struct isola__member *member)
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
        if (isola__deploy_has_taken(d, m) == taken)
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

void isola__deploy_succeed(struct isola__deploy *d, bool unchanged)
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
    struct isola_buf resting = {0};
    size_t nresting =
        unchanged ? isola__services_resting(&d->agent->services, r->app, &resting) : 0;
    isola_mp_map(&out, 7 + (d->note != NULL) + tells + (d->ndropped > 0) + 2 * (d->share > 0) +
                           (d->unwatched[0] != '\0') + (nresting > 0));
    if (nresting > 0) {
        isola_mp_cstr(&out, "resting");
        isola_mp_array(&out, nresting);
        isola_buf_append(&out, resting.data, resting.len);
    }
    isola_buf_free(&resting);
    if (d->unwatched[0] != '\0')
        isola_mp_kstr(&out, "unwatched", d->unwatched);
    if (d->ndropped > 0) {
        isola_mp_cstr(&out, "dropped");
        isola_mp_array(&out, d->ndropped);
        isola_buf_append(&out, d->dropped.data, d->dropped.len);
    }
    if (d->share > 0) {
        isola_mp_kuint(&out, "share", d->share);
        isola__canary_put_instances(d->agent, r->app, &out);
    }
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
        n += isola__deploy_has_taken(d, m);
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

/* Is something else current than what was to be gone back from? */
bool isola__deploy_replaced(const struct isola__deploy *d)
{
    const struct isola__current *current =
        d->expected != 0 ? isola__releases_current(&d->agent->releases, d->note->app) : NULL;
    return d->expected != 0 && (current == NULL || current->revision != d->expected);
}

/* --- a roll-back --- */

static void found(struct isola__earlier *earlier, struct isola_release *r,
                  const struct isola_err *err)
{
    struct isola__deploy *d =
        (struct isola__deploy *)((char *)earlier - offsetof(struct isola__deploy, earlier));
    if (r == NULL) {
        isola__deploy_refuse(d, err->code, err->text);
        return;
    }
    isola__canary_strip(r);
    free(r->by);
    free(r->message);
    r->by = isola_strdup(d->note->by != NULL ? d->note->by : "");
    r->message = isola_strdup(d->note->message != NULL ? d->note->message : "");
    r->restores = d->note->restores;
    d->release = r;
    isola__deploy_check(d, earlier->from);
}

static void start(struct isola__deploy *d)
{
    struct isola_err err;
    d->begun = true;
    if (d->agent->state == ISOLA_AGENT_STOPPING) {
        isola_fail(&err, ISOLA_EUNREACHABLE, "node %s is stopping", d->agent->opt.name);
        isola__deploy_refuse(d, err.code, err.text);
        return;
    }
    if (d->note == NULL) {
        isola__deploy_check(d, NULL);
        return;
    }
    if (isola__deploy_replaced(d)) {
        isola__deploy_refuse(d, ISOLA_ECANCELED, "another release is current");
        return;
    }
    struct isola__earlier *e = &d->earlier;
    *e = (struct isola__earlier){.agent = d->agent, .cb = found, .app = d->note->app};
    /* Only now: the deploys before it in the queue are done. */
    int rc = d->promotes ? isola__canary_of(d->agent, d->note->app, e->id, &err)
                         : isola__earlier_target(d->agent, d->note->app, isola_slice_str(d->wanted),
                                                 e->id, &d->note->restores, &err);
    if (rc != 0) {
        isola__deploy_refuse(d, rc, err.text);
        return;
    }
    const struct isola__current *current =
        isola__releases_current(&d->agent->releases, d->note->app);
    bool drops = strcmp(current->id, e->id) == 0 && current->share > 0;
    memcpy(d->before, drops ? current->candidate : current->id, sizeof(d->before));
    isola__earlier_get(e);
}

/* The release in `params`; answers the asker when there is none. */
struct isola_release *isola__deploy_read(struct isola__conn *from, const struct isola_msg *m,
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
    if (deploys->first == d && d->agent->state != ISOLA_AGENT_STARTING)
        start(d);
}

void isola__deploys_begin(struct isola__deploys *deploys)
{
    if (deploys->first != NULL && !deploys->first->begun)
        start(deploys->first);
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
    d->release = isola__deploy_read(from, m, params);
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
    bool starting = from->agent->state == ISOLA_AGENT_STARTING;
    isola_mp_kstr(&out, "stage", d->stage != NULL ? d->stage : starting ? "start" : "wait");
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
