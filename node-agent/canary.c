/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/canary.h"

#include <string.h>

#include "base/canary.h"
#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"

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

/* Services run the current release, so of one that has nothing else nothing would be tried. */
static bool has_actors(const struct isola_release *r)
{
    struct isola_manifest *m = NULL;
    struct isola_err err;
    bool has = false;
    if (isola_manifest_parse(r->manifest, r->app, &m, &err) != 0)
        return true; /* which is told later */
    for (size_t i = 0; i < m->ntypes; i++)
        has = has || m->types[i].service == NULL;
    isola_manifest_free(m);
    return has;
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
    if (!has_actors(r))
        return isola_fail(
            err, ISOLA_EINVAL,
            "app \"%s\" has services only, and services run the current release while "
            "there is a canary: nothing would be tried. Deploy it without --canary: "
            "it is watched then, and gone back from when it fails",
            r->app);
    *same = current->share == share && strcmp(current->candidate, r->id) == 0 && r->link == NULL;
    return 0;
}

static void copy_text(char **to, const char *from)
{
    free(*to);
    *to = isola_strdup(from != NULL ? from : "");
}

struct isola_release *isola__canary_beside(struct isola__agent *agent, struct isola_release *r,
                                           uint32_t share, struct isola_err *err)
{
    struct isola_release *beside = NULL;
    if (isola_catalog_current(agent->catalog, r->app, &beside, err) != 0)
        return NULL;
    isola_release_free(beside->candidate);
    beside->candidate = r;
    beside->share = share;
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
