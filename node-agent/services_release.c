/* SPDX-License-Identifier: Apache-2.0
 *
 * What a release that becomes current wants of the services of this node, with what is tried beside
 * it: its files in directories, and a definition for each type that is a service.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "node-agent/agent.h"
#include "node-agent/canary.h"
#include "node-agent/services_own.h"

/* --- definitions --- */

static struct isola__service *add_service(struct isola__services *services, const char *app,
                                          const char *type)
{
    struct isola__service **at = &services->first;
    while (*at != NULL)
        at = &(*at)->next;
    struct isola__service *s = *at = isola_zalloc(sizeof(*s));
    s->services = services;
    s->refs = 1;
    s->app = isola_strdup(app);
    s->type = isola_strdup(type);
    return s;
}

/* Of a type of what is in `f`, counted: the one that the service has already (NULL: there is none
 * yet), or a fresh one. `anew`: of a link, whose files may be other than they were. */
static struct isola__service_def *define(const struct isola__service *s,
                                         const struct isola__files *f, const char *type, bool anew)
{
    const struct isola_release *r = &f->release;
    const char *dir = f->dir != NULL ? f->dir : "";
    struct isola__service_def *has[] = {s->def, s->before, s->canary};
    for (size_t i = 0; i < sizeof(has) / sizeof(has[0]); i++)
        if (has[i] != NULL && strcmp(has[i]->release, r->id) == 0 &&
            strcmp(has[i]->dir != NULL ? has[i]->dir : "", dir) == 0 && !(anew && r->link != NULL))
            return isola__service_def_ref(has[i]);
    struct isola_err err;
    struct isola__service_def *def = isola_zalloc(sizeof(*def));
    def->refs = 1;
    int rc = isola_manifest_parse(r->manifest, r->app, &def->manifest, &err);
    ISOLA_CHECK(rc == 0); /* it was parsed a moment ago */
    def->type = isola_manifest_type(def->manifest, isola_slice_str(type));
    memcpy(def->release, r->id, sizeof(def->release));
    def->dir = f->dir != NULL ? isola_strdup(f->dir) : NULL;
    def->link = r->link != NULL;
    return def;
}

/* NULL: it is no service there. */
static const struct isola_actor_type *service_in(const struct isola_manifest *m, const char *name)
{
    const struct isola_actor_type *type =
        m != NULL ? isola_manifest_type(m, isola_slice_str(name)) : NULL;
    return type != NULL && type->service != NULL ? type : NULL;
}

/* Ends what neither of the two has. */
static void end_others(struct isola__services *services, const char *app,
                       const struct isola_manifest *m, const struct isola_manifest *canary)
{
    for (struct isola__service **at = &services->first; *at != NULL;) {
        struct isola__service *s = *at;
        if (strcmp(s->app, app) != 0 || service_in(m, s->type) != NULL ||
            service_in(canary, s->type) != NULL) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        isola__service_end(s);
    }
}

/* A type that is a service in one of the two, or in both. */
static void want(struct isola__services *services, const struct isola__unpacking *u,
                 const struct isola_manifest *m, const struct isola_manifest *canary,
                 const char *type)
{
    struct isola__agent *agent = services->agent;
    const char *app = u->current.release.app;
    const struct isola__current *current = isola__releases_current(&agent->releases, app);
    bool tries = canary != NULL, own = service_in(m, type) == NULL;
    struct isola_roster_part part = isola__canary_part(agent, app, current, type);
    struct isola__service *s =
        isola__services_find(services, isola_slice_str(app), isola_slice_str(type));
    if (s == NULL)
        s = add_service(services, app, type);
    struct isola__service_def *beside = NULL;
    if (!own && part.canaries > 0 && service_in(canary, type) != NULL)
        beside = define(s, &u->canary, type, true);
    if (beside == NULL)
        part.canaries = 0;
    /* What was deployed is the canary, when there is one. */
    struct isola__service_def *def = define(s, own ? &u->canary : &u->current, type, own || !tries);
    isola__service_define(s, def, beside, part,
                          tries ? u->canary.release.id : u->current.release.id,
                          isola__rollout_unproven(&agent->rollouts, app));
}

static void release(struct isola__services *services, const struct isola__unpacking *u)
{
    const struct isola_release *r = &u->current.release, *c = &u->canary.release;
    struct isola_manifest *m = NULL, *canary = NULL;
    struct isola_err err;
    if (services->stopping || isola_manifest_parse(r->manifest, r->app, &m, &err) != 0)
        return; /* another version of Isola took it */
    if (c->app != NULL && isola_manifest_parse(c->manifest, c->app, &canary, &err) != 0)
        canary = NULL;
    end_others(services, r->app, m, canary);
    for (size_t i = 0; i < m->ntypes; i++)
        if (m->types[i].service != NULL)
            want(services, u, m, canary, m->types[i].name);
    for (size_t i = 0; canary != NULL && i < canary->ntypes; i++)
        if (canary->types[i].service != NULL && service_in(m, canary->types[i].name) == NULL)
            want(services, u, m, canary, canary->types[i].name);
    isola_manifest_free(m);
    isola_manifest_free(canary);
}

/* --- files --- */

void isola__services_sweep(struct isola__services *services, const char *app)
{
    if (!services->begun || services->stopping)
        return; /* it is not known what runs */
    const struct isola__current *current = isola__releases_current(&services->agent->releases, app);
    char(*keep)[ISOLA_RELEASE_ID_SIZE] = isola_alloc(2 * sizeof(*keep));
    size_t n = 0;
    if (current != NULL)
        memcpy(keep[n++], current->id, sizeof(keep[0]));
    if (current != NULL && current->share > 0)
        memcpy(keep[n++], current->candidate, sizeof(keep[0]));
    for (const struct isola__service *s = services->first; s != NULL; s = s->next) {
        const struct isola__service_def *defs[] = {s->def, s->before, s->canary};
        for (size_t i = 0; strcmp(s->app, app) == 0 && i < 3; i++)
            if (defs[i] != NULL) {
                keep = isola_realloc(keep, (n + 1) * sizeof(*keep));
                memcpy(keep[n++], defs[i]->release, sizeof(keep[0]));
            }
    }
    isola__packages_sweep(&services->agent->packages, app,
                          (const char(*)[ISOLA_RELEASE_ID_SIZE])keep, n);
    free(keep);
}

static void files_free(struct isola__files *f)
{
    isola_buf_free(&f->manifest);
    free(f->release.app);
    free(f->release.link);
    free(f->dir);
}

static void unpacking_free(struct isola__unpacking *u)
{
    files_free(&u->current);
    files_free(&u->canary);
    free(u);
}

/* All that can be had is there. */
static void have(struct isola__unpacking *u)
{
    struct isola__services *services = u->services;
    const struct isola_release *r = &u->current.release;
    const struct isola__current *now = isola__releases_current(&services->agent->releases, r->app);
    bool whole = u->current.dir != NULL || u->current.unpack.err.code == 0;
    if (whole && now != NULL && now->revision == u->revision && !services->stopping) {
        isola__services_sweep(services, r->app);
        release(services, u);
    }
}

static void unpacked(struct isola__unpack *unpack)
{
    struct isola__files *f = (struct isola__files *)unpack;
    struct isola__unpacking *u = f->of;
    if (unpack->err.code != 0)
        isola_log(ISOLA_LOG_ERROR, "the services of release %s of %s cannot be started: %s",
                  f->release.id, f->release.app, unpack->err.text);
    else
        f->dir = isola_strdup(unpack->dir);
    if (--u->outstanding > 0)
        return;
    have(u);
    *u->at = u->next;
    if (u->next != NULL)
        u->next->at = u->at;
    isola__line_again(&u->line);
    isola__line_end(&u->line, "its services cannot be started");
    unpacking_free(u);
}

/* Copies. Has it files to be unpacked? */
static bool note(struct isola__unpacking *u, struct isola__files *f, const struct isola_release *r)
{
    f->of = u;
    f->unpack.cb = unpacked;
    isola_buf_append(&f->manifest, r->manifest.data, r->manifest.len);
    f->release.app = isola_strdup(r->app);
    memcpy(f->release.id, r->id, sizeof(f->release.id));
    f->release.manifest = isola_buf_slice(&f->manifest);
    f->release.link = r->link != NULL ? isola_strdup(r->link) : NULL;
    f->dir = r->link != NULL ? isola_strdup(r->link) : NULL;
    return r->link == NULL && r->files.len > 0;
}

void isola__services_release(struct isola__services *services, const struct isola_release *r)
{
    if (!services->begun || services->stopping)
        return;
    struct isola__unpacking *u = isola_zalloc(sizeof(*u));
    u->services = services;
    u->revision = r->revision;
    bool unpacks = note(u, &u->current, r);
    bool tries = r->candidate != NULL && note(u, &u->canary, r->candidate);
    u->outstanding = (unsigned)unpacks + (unsigned)tries;
    if (u->outstanding == 0) {
        release(services, u);
        unpacking_free(u);
        return;
    }
    isola__line_init(&u->line, services->agent, r->app);
    u->at = &services->unpacking;
    u->next = *u->at;
    if (u->next != NULL)
        u->next->at = &u->next;
    *u->at = u;
    if (unpacks)
        isola__packages_unpack(&services->agent->packages, &u->current.unpack, r);
    if (tries)
        isola__packages_unpack(&services->agent->packages, &u->canary.unpack, r->candidate);
}

static void begin_each(const struct isola_release *r, void *arg)
{
    isola__services_release(arg, r);
}

void isola__services_begin(struct isola__services *services)
{
    struct isola__agent *agent = services->agent;
    struct isola_err err;
    services->begun = true;
    isola__gone_sweep(&agent->gone);
    if (isola_catalog_each(agent->catalog, begin_each, services, &err) != 0)
        isola_log(ISOLA_LOG_ERROR, "not all services could be started: %s", err.text);
}

void isola__services_delete(struct isola__services *services, const char *app)
{
    for (struct isola__service **at = &services->first; *at != NULL;) {
        struct isola__service *s = *at;
        if (strcmp(s->app, app) != 0) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        isola__service_end(s);
    }
}
