/* SPDX-License-Identifier: Apache-2.0
 *
 * Releases: which types an app has, and their code. The host's map holds a reference to the current
 * one of each app, and to that which is tried beside it, every actor and realm one to its own.
 */
#include "actors/release.h"

#include "actors/host_own.h"
#include "actors/prepared.h"
#include "base/canary.h"
#include "base/nearest.h"
#include "base/sourcemap.h"

static char *copy_code(struct isola_slice code)
{
    return isola_strndup(code.data != NULL ? (const char *)code.data : "", code.len);
}

struct isola_release_rt *isola__release_new(const struct isola_host_release *def)
{
    struct isola_release_rt *r = aligned_alloc(_Alignof(struct isola_release_rt), sizeof(*r));
    ISOLA_CHECK(r != NULL);
    memset(r, 0, sizeof(*r));
    isola__tally_init(&r->tally);
    atomic_init(&r->refs, 1);
    r->app = isola_strdup(def->app);
    r->id = isola_strdup(def->id);
    r->version = def->version != NULL ? isola_strdup(def->version) : NULL;
    r->app_len = strlen(r->app);
    r->net = isola_strdup(def->net != NULL ? def->net : "");
    r->apps = isola_strdup(def->apps != NULL ? def->apps : "");
    r->env = isola_slice(copy_code(def->env), def->env.len);
    r->secrets = isola_slice(copy_code(def->secrets), def->secrets.len);
    r->ntypes = def->ntypes;
    r->types = isola_zalloc(def->ntypes * sizeof(*r->types));
    for (size_t i = 0; i < def->ntypes; i++) {
        struct isola_type *t = &r->types[i];
        t->def = def->types[i];
        t->def.name = isola_strdup(def->types[i].name);
        t->def.module = isola_strdup(def->types[i].module);
        t->def.code = isola_slice(copy_code(def->types[i].code), def->types[i].code.len);
        t->def.map = isola_slice(copy_code(def->types[i].map), def->types[i].map.len);
        t->def.cache = (struct isola_slice){0}; /* in `prepared` */
        t->prepared = isola__prepared_new(def->types[i].cache);
        t->release = r;
    }
    return r;
}

struct isola_release_rt *isola__release_ref(struct isola_release_rt *r)
{
    atomic_fetch_add(&r->refs, 1);
    return r;
}

void isola__release_unref(struct isola_release_rt *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    for (size_t i = 0; i < r->ntypes; i++) {
        free((char *)(uintptr_t)r->types[i].def.name);
        free((char *)(uintptr_t)r->types[i].def.module);
        free((void *)(uintptr_t)r->types[i].def.code.data);
        free((void *)(uintptr_t)r->types[i].def.map.data);
        isola__prepared_free(r->types[i].prepared);
        isola_sourcemap_free(atomic_load(&r->types[i].map));
    }
    isola__tally_free(&r->tally);
    free(r->types);
    free(r->app);
    free(r->id);
    free(r->version);
    free(r->net);
    free(r->apps);
    free((void *)(uintptr_t)r->env.data);
    explicit_bzero((void *)(uintptr_t)r->secrets.data, r->secrets.len);
    free((void *)(uintptr_t)r->secrets.data);
    free(r);
}

/* A script is not told what other apps there are. */
static void fail_app(struct isola_host *h, const struct isola_address *at, bool told,
                     struct isola_err *err)
{
    char hint[ISOLA_NEAREST_HINT];
    struct isola_nearest near = isola_nearest_begin(at->app);
    if (told) {
        ISOLA_MAP_EACH(&h->apps, e)
        isola_nearest_try(&near, isola_slice(e->key, e->len));
    }
    isola_fail(err, ISOLA_ENOACTOR, "there is no app \"%.*s\"%s", ISOLA_FMT(at->app),
               *isola_nearest_hint(&near, hint) != '\0' ? hint : ": deploy it first");
}

static void fail_type(const struct isola_release_rt *r, const struct isola_address *at,
                      struct isola_err *err)
{
    char hint[ISOLA_NEAREST_HINT];
    struct isola_nearest near = isola_nearest_begin(at->type);
    for (size_t i = 0; i < r->ntypes; i++)
        isola_nearest_try(&near, isola_slice_str(r->types[i].def.name));
    isola_fail(err, ISOLA_ENOACTOR, "app \"%.*s\" has no actor type \"%.*s\"%s", ISOLA_FMT(at->app),
               ISOLA_FMT(at->type), isola_nearest_hint(&near, hint));
}

static const struct isola_type *type_of(struct isola_release_rt *r, struct isola_slice name)
{
    for (size_t i = 0; r != NULL && i < r->ntypes; i++)
        if (isola_slice_is(name, r->types[i].def.name))
            return &r->types[i];
    return NULL;
}

const struct isola_type *isola__app_type(const struct isola_app *app,
                                         const struct isola_address *at)
{
    const struct isola_type *current = type_of(app->current, at->type);
    const struct isola_type *candidate = type_of(app->candidate, at->type);
    /* The three lie in one text. */
    struct isola_slice address =
        isola_slice(at->app.data, (size_t)(at->key.data + at->key.len - at->app.data));
    if (candidate != NULL && (current == NULL || isola_canary_has(address, app->share)))
        return candidate;
    return current;
}

bool isola__release_is_live(struct isola_host *h, const struct isola_release_rt *r)
{
    const struct isola_app *app = isola_map_get(&h->apps, isola_slice_str(r->app));
    return app != NULL && (app->current == r || app->candidate == r);
}

const struct isola_type *isola__type_find(struct isola_host *h, const struct isola_address *at,
                                          bool told, struct isola_err *err)
{
    pthread_rwlock_rdlock(&h->apps_lock);
    const struct isola_app *app = isola_map_get(&h->apps, at->app);
    const struct isola_type *found = app != NULL ? isola__app_type(app, at) : NULL;
    if (found != NULL)
        isola__release_ref(found->release);
    else if (app == NULL)
        fail_app(h, at, told, err);
    else
        fail_type(app->current, at, err);
    pthread_rwlock_unlock(&h->apps_lock);
    return found;
}
