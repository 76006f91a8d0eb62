/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/deploy_own.h"

#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/canary.h"
#include "node-agent/trust.h"
#include "transport/seal.h"

#define CHECK_LIMIT_MS 60000

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
        isola__deploy_refuse(d, err.code, err.text);
        return;
    }
    if (answer->kind == ISOLA_MSG_FAIL) {
        isola__deploy_pass(d, answer); /* with the script's own stack */
        return;
    }
    isola__deploy_prepare(d);
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
        isola__deploy_refuse(d, err.code, err.text);
        return;
    }
    if (isola__host_silent(&agent->host, &err)) {
        isola__deploy_refuse(d, err.code, err.text);
        return;
    }
    struct isola_buf params = {0};
    isola__releases_host_params(&agent->releases, d->release, &params);
    d->check = (struct isola__ask){.cb = checked, .hasty = true};
    isola__ask(agent->host.conn, &d->check, "check", isola_buf_slice(&params), CHECK_LIMIT_MS);
    isola_wipe(&params);
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
    isola__deploy_refuse(d, err.code, err.text);
}

static void files_checked(struct isola__pull *pull)
{
    struct isola__deploy *d =
        (struct isola__deploy *)(void *)((char *)pull - offsetof(struct isola__deploy, files));
    if (pull->err.code != 0) {
        isola__deploy_refuse(d, pull->err.code, pull->err.text);
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
void isola__deploy_check(struct isola__deploy *d, struct isola__conn *from)
{
    struct isola__agent *agent = d->agent;
    struct isola_err err;
    if (isola__trust_check(agent, d->release, &err) != 0) {
        isola__deploy_refuse(d, err.code, err.text);
        return;
    }
    const struct isola__current *current =
        isola__releases_current(&agent->releases, d->release->app);
    bool same = false;
    if (d->share > 0 && isola__canary_check(agent, d->release, d->share, &same, &err) != 0) {
        isola__deploy_refuse(d, err.code, err.text);
        return;
    }
    /* Of a link the files may have changed, which its id does not say. */
    if (d->share == 0)
        same = current != NULL && current->share == 0 && strcmp(current->id, d->release->id) == 0 &&
               d->release->link == NULL;
    if (same && stands(agent, d->release->app)) {
        isola__deploy_unchanged(d);
        return;
    }
    if (d->share == 0)
        note_dropped(d, current);
    if (check_link(d, &err) != 0 || check_services(d, &err) != 0) {
        isola__deploy_refuse(d, err.code, err.text);
    } else if (d->release->files.len > 0) {
        d->stage = "files";
        d->files.cb = files_checked;
        isola__packages_pull(&agent->packages, &d->files, d->release->files, from);
    } else {
        check(d);
    }
}
