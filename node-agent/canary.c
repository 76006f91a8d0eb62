/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/canary.h"

#include <stdio.h>
#include <string.h>

#include "base/canary.h"
#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"

#define LIST_MAX 1000 /* instances that are named */

int isola__canary_read(struct isola_slice params, uint32_t *share, struct isola_err *err)
{
    struct isola_slice any;
    uint64_t n;
    *share = 0;
    if (!isola_mp_find(params, "share", &any))
        return 0;
    if (!isola_mp_find_uint(params, "share", &n) || n == 0 || n >= ISOLA_CANARY_WHOLE)
        return isola_fail(err, ISOLA_EINVAL,
                          "deploy: \"share\" of a canary must be a whole number from 1 to %u, of a "
                          "million",
                          ISOLA_CANARY_WHOLE - 1);
    *share = (uint32_t)n;
    return 0;
}

void isola__canary_strip(struct isola_release *r)
{
    isola_release_free(r->candidate);
    r->candidate = NULL;
    r->share = 0;
}

/* A type that is a service in one of the two and none in the other: its messages would go to both
 * or to nobody. ISOLA_EINVAL. */
static int check_kinds(const struct isola_release *r, const struct isola__current *current,
                       struct isola_err *err)
{
    struct isola_manifest *m = NULL;
    struct isola_err none;
    int rc = 0;
    if (current->manifest == NULL || isola_manifest_parse(r->manifest, r->app, &m, &none) != 0)
        return 0; /* which is told later */
    for (size_t i = 0; rc == 0 && i < m->ntypes; i++) {
        const struct isola_actor_type *now = &m->types[i];
        const struct isola_actor_type *was =
            isola_manifest_type(current->manifest, isola_slice_str(now->name));
        if (was != NULL && (was->service != NULL) != (now->service != NULL))
            rc = isola_fail(err, ISOLA_EINVAL,
                            "%s/%s is %s in this release and %s in the current one, %s: both "
                            "cannot be there at a time. Deploy it without --canary",
                            r->app, now->name, now->service != NULL ? "a service" : "an actor",
                            was->service != NULL ? "a service" : "an actor", current->id);
    }
    isola_manifest_free(m);
    return rc;
}

/* Is a node live that was not when the canary was deployed? Its services have nothing of it. */
static bool lacks_nodes(struct isola__agent *agent, const struct isola__current *current)
{
    bool services = false, lacks = !isola_roster_has(&current->roster, agent->opt.name);
    const struct isola_manifest *m = current->candidate_manifest;
    for (size_t i = 0; m != NULL && i < m->ntypes; i++)
        services = services || m->types[i].service != NULL;
    for (struct isola__member *o = agent->members.first; o != NULL; o = o->next)
        lacks = lacks || (isola__member_conn(o) != NULL &&
                          !isola_roster_has(&current->roster, o->record.name));
    return services && lacks;
}

int isola__canary_check(struct isola__agent *agent, const struct isola_release *r, uint32_t share,
                        bool *same, struct isola_err *err)
{
    const struct isola__current *current = isola__releases_current(&agent->releases, r->app);
    *same = false;
    if (current == NULL)
        return isola_fail(err, ISOLA_EINVAL, /* ENOENT would have its files sent */
                          "app \"%s\" has no release yet that a canary could be tried beside: "
                          "deploy it without --canary",
                          r->app);
    if (strcmp(current->id, r->id) == 0)
        return isola_fail(
            err, ISOLA_EINVAL,
            "release %s is the current one of app \"%s\": a canary is another release", r->id,
            r->app);
    if (check_kinds(r, current, err) != 0)
        return err->code;
    *same = current->share == share && strcmp(current->candidate, r->id) == 0 && r->link == NULL &&
            !lacks_nodes(agent, current);
    return 0;
}

static void copy_text(char **to, const char *from)
{
    free(*to);
    *to = isola_strdup(from != NULL ? from : "");
}

struct isola_release *isola__canary_beside(struct isola__agent *agent, struct isola_release *r,
                                           uint32_t share, const struct isola_roster *roster,
                                           struct isola_err *err)
{
    struct isola_release *beside = NULL;
    if (isola_catalog_current(agent->catalog, r->app, &beside, err) != 0)
        return NULL;
    isola_release_free(beside->candidate);
    beside->candidate = r;
    beside->share = share;
    isola_roster_copy(&beside->roster, roster);
    beside->revision = r->revision;
    beside->deployed_ms = r->deployed_ms;
    beside->restores = 0;
    copy_text(&beside->by, r->by);
    copy_text(&beside->message, r->message);
    return beside;
}

void isola__canary_free(struct isola_release *beside)
{
    beside->candidate = NULL;
    isola_release_free(beside);
}

int isola__canary_of(struct isola__agent *agent, const char *app, char id[ISOLA_RELEASE_ID_SIZE],
                     struct isola_err *err)
{
    const struct isola__current *current = isola__releases_current(&agent->releases, app);
    char hint[ISOLA_NEAREST_HINT];
    if (current == NULL)
        return isola_fail(err, ISOLA_ENOENT, "no app \"%s\" is deployed%s", app,
                          isola__releases_hint(&agent->releases, isola_slice_str(app), hint));
    if (current->share == 0)
        return isola_fail(
            err, ISOLA_ENOENT,
            "app \"%s\" has no canary: 'ctl deploy DIR --canary 10%%' tries a release "
            "beside the current one, %s",
            app, current->id);
    memcpy(id, current->candidate, sizeof(current->candidate));
    return 0;
}

/* --- its services --- */

/* On each node of the roster; the caller frees. */
static struct isola_roster_part *parts_of(const char *app, const struct isola__current *current,
                                          const struct isola_actor_type *tried)
{
    const struct isola_roster *roster = &current->roster;
    const struct isola_actor_type *type =
        current->manifest != NULL
            ? isola_manifest_type(current->manifest, isola_slice_str(tried->name))
            : NULL;
    struct isola_roster_part *parts = isola_zalloc((roster->n + 1) * sizeof(*parts));
    if (type != NULL && type->service != NULL) {
        char *service = isola_format("%s/%s", app, tried->name);
        isola_roster_parts(roster, service, type->service->instances, current->share, parts);
        free(service);
    }
    for (size_t i = 0; type == NULL && i < roster->n; i++) { /* the canary's own: all of them */
        uint32_t n = tried->service->instances;
        n = n != 0 ? n : roster->nodes[i].processors;
        parts[i] = (struct isola_roster_part){n, n};
    }
    return parts;
}

static const struct isola_actor_type *tried_service(const struct isola__current *current,
                                                    const char *type)
{
    const struct isola_actor_type *tried =
        current->share > 0 && current->candidate_manifest != NULL
            ? isola_manifest_type(current->candidate_manifest, isola_slice_str(type))
            : NULL;
    return tried != NULL && tried->service != NULL ? tried : NULL;
}

struct isola_roster_part isola__canary_part(const struct isola__agent *agent, const char *app,
                                            const struct isola__current *current, const char *type)
{
    const struct isola_actor_type *tried = tried_service(current, type);
    struct isola_roster_part part = {0};
    if (tried != NULL) {
        struct isola_roster_part *parts = parts_of(app, current, tried);
        part = parts[isola_roster_find(&current->roster, agent->opt.name)];
        free(parts);
    }
    return part;
}

void isola__canary_put_instances(struct isola__agent *agent, const char *app, struct isola_buf *out)
{
    const struct isola__current *current = isola__releases_current(&agent->releases, app);
    const struct isola_manifest *m =
        current != NULL && current->share > 0 ? current->candidate_manifest : NULL;
    struct isola_buf rows = {0};
    size_t n = 0;
    for (size_t i = 0; m != NULL && i < m->ntypes; i++) {
        const struct isola_actor_type *tried = tried_service(current, m->types[i].name);
        struct isola_roster_part *parts = tried != NULL ? parts_of(app, current, tried) : NULL;
        for (size_t k = 0; parts != NULL && k < current->roster.n; k++) {
            unsigned j = parts[k].instances - parts[k].canaries;
            for (; j < parts[k].instances && n < LIST_MAX; j++, n++) {
                char address[ISOLA_ADDRESS_MAX + 1];
                snprintf(address, sizeof(address), "%s/%s/%u", app, tried->name, j);
                isola_mp_map(&rows, 2);
                isola_mp_kstr(&rows, "node", current->roster.nodes[k].name);
                isola_mp_kstr(&rows, "address", address);
            }
        }
        free(parts);
    }
    isola_mp_cstr(out, "instances");
    isola_mp_array(out, n);
    isola_buf_append(out, rows.data, rows.len);
    out->failed = out->failed || rows.failed;
    isola_buf_free(&rows);
}
