/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/secrets.h"

#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/secrets_own.h"
#include "transport/seal.h"

/* --- the index --- */

static char *key_of(struct isola_slice app, struct isola_slice name)
{
    return isola_format("%.*s/%.*s", ISOLA_FMT(app), ISOLA_FMT(name));
}

static void entry_free(struct isola__secret *s)
{
    if (s == NULL)
        return;
    free(s->app);
    free(s->name);
    free(s->by);
    free(s);
}

struct isola__secret *isola__secret_find(const struct isola__secrets *secrets,
                                         struct isola_slice app, struct isola_slice name)
{
    char *key = key_of(app, name);
    struct isola__secret *s = isola_map_get(&secrets->index, isola_slice_str(key));
    free(key);
    return s;
}

static struct isola__secret *note(struct isola__secrets *secrets, struct isola_slice app,
                                  struct isola_slice name, struct isola_slice by)
{
    struct isola__secret *s = isola_zalloc(sizeof(*s));
    s->app = isola_strndup((const char *)app.data, app.len);
    s->name = isola_strndup((const char *)name.data, name.len);
    s->by = by.len > 0 ? isola_strndup((const char *)by.data, by.len) : isola_strdup("");
    char *key = key_of(app, name);
    entry_free(isola_map_set(&secrets->index, isola_slice_str(key), s));
    free(key);
    return s;
}

/* What a sealed value is of: so that none can be put in another's place. */
static void write_about(const char *app, const char *name, uint64_t revision, struct isola_buf *out)
{
    isola_buf_append(out, app, strlen(app) + 1);
    isola_buf_append(out, name, strlen(name) + 1);
    for (int i = 0; i < 8; i++) {
        uint8_t byte = (uint8_t)(revision >> (56 - 8 * i));
        isola_buf_append(out, &byte, 1);
    }
}

static bool open_sealed(const struct isola__secrets *secrets, const char *app, const char *name,
                        uint64_t revision, struct isola_slice sealed, struct isola_buf *out)
{
    struct isola_buf about = {0};
    write_about(app, name, revision, &about);
    bool good = isola_unseal(secrets->sealer, isola_buf_slice(&about), sealed, out);
    isola_buf_free(&about);
    return good;
}

static char *key_path(const struct isola__secrets *secrets)
{
    return isola_format("%s/secrets.key", secrets->agent->cluster.dir);
}

static int need_sealer(struct isola__secrets *secrets, struct isola_err *err)
{
    if (secrets->sealer != NULL)
        return 0;
    char *path = key_path(secrets);
    int rc = isola_sealer_open(path, &secrets->sealer, err);
    free(path);
    return rc;
}

struct reading {
    struct isola__secrets *secrets;
    size_t unreadable;
    struct isola_err err;
};

static void read_each(const struct isola_secret *row, void *arg)
{
    struct reading *r = arg;
    if (r->err.code != 0 || (r->secrets->sealer == NULL && row->sealed.len > 0 &&
                             need_sealer(r->secrets, &r->err) != 0))
        return;
    struct isola__secret *s = note(r->secrets, isola_slice_str(row->app),
                                   isola_slice_str(row->name), isola_slice_str(row->by));
    struct isola_buf value = {0};
    s->revision = row->revision;
    s->set_ms = row->set_ms;
    s->gone = row->sealed.len == 0;
    s->sealed = !s->gone &&
                !open_sealed(r->secrets, row->app, row->name, row->revision, row->sealed, &value);
    r->unreadable += s->sealed;
    isola_wipe(&value);
}

int isola__secrets_open(struct isola__secrets *secrets, struct isola__agent *agent,
                        struct isola_err *err)
{
    struct reading r = {.secrets = secrets};
    *secrets = (struct isola__secrets){.agent = agent};
    int rc = isola_catalog_secrets(agent->catalog, read_each, &r, err);
    if (rc == 0 && r.err.code != 0) {
        *err = r.err;
        rc = err->code;
    }
    if (rc == 0 && r.unreadable > 0) {
        char *path = key_path(secrets);
        isola_log(ISOLA_LOG_WARN,
                  "%zu secret%s cannot be opened: %s is not the key of that time. What other nodes "
                  "have is taken from them; else put that file back, or set it again",
                  r.unreadable, r.unreadable > 1 ? "s" : "", path);
        free(path);
    }
    return rc;
}

void isola__secrets_free(struct isola__secrets *secrets)
{
    ISOLA_MAP_EACH(&secrets->index, e)
    entry_free(e->value);
    isola_map_free(&secrets->index);
    isola_sealer_free(secrets->sealer);
}

/* --- what they are --- */

int isola__secrets_get(const struct isola__secrets *secrets, const char *app, const char *name,
                       struct isola_buf *out, struct isola_err *err)
{
    struct isola_buf sealed = {0};
    uint64_t revision = 0;
    const struct isola__secret *s =
        isola__secret_find(secrets, isola_slice_str(app), isola_slice_str(name));
    if (s == NULL || s->gone)
        return isola_fail(err, ISOLA_ENOENT,
                          "the secret %s is not set; `ctl secret set %s %s` sets it", name, app,
                          name);
    int rc = isola_catalog_secret(secrets->agent->catalog, app, name, &sealed, &revision, err);
    if (rc == 0 && !open_sealed(secrets, app, name, revision, isola_buf_slice(&sealed), out))
        rc = isola_fail(err, ISOLA_EIO,
                        "the secret %s cannot be opened on this node, which has another key than "
                        "it was sealed with; `ctl secret set %s %s` sets it anew",
                        name, app, name);
    isola_buf_free(&sealed);
    return rc;
}

static bool names_it(const struct isola_manifest *m, const struct isola_actor_type *type,
                     const char *name)
{
    char *const *at = isola_manifest_secrets(m, type);
    for (; at != NULL && *at != NULL; at++)
        if (strcmp(*at, name) == 0)
            return true;
    return false;
}

size_t isola__secret_users(const struct isola__secrets *secrets, const char *app, const char *name,
                           struct isola_buf *out)
{
    const struct isola__current *current = isola__releases_current(&secrets->agent->releases, app);
    const struct isola_manifest *m = current != NULL ? current->manifest : NULL;
    const struct isola_manifest *canary = current != NULL ? current->candidate_manifest : NULL;
    struct isola_buf names = {0};
    size_t n = 0;
    for (size_t i = 0; m != NULL && i < m->ntypes; i++)
        if (names_it(m, &m->types[i], name)) {
            isola_mp_cstr(&names, m->types[i].name);
            n++;
        }
    for (size_t i = 0; canary != NULL && i < canary->ntypes; i++) {
        const struct isola_actor_type *type = &canary->types[i];
        const struct isola_actor_type *same =
            m != NULL ? isola_manifest_type(m, isola_slice_str(type->name)) : NULL;
        if (names_it(canary, type, name) && (same == NULL || !names_it(m, same, name))) {
            isola_mp_cstr(&names, type->name);
            n++;
        }
    }
    isola_mp_array(out, n);
    isola_buf_append(out, names.data, names.len);
    out->failed = out->failed || names.failed;
    isola_buf_free(&names);
    return n;
}

bool isola__secrets_among(char *const *used, const struct isola_slice *names, size_t n)
{
    for (; used != NULL && *used != NULL; used++)
        for (size_t i = 0; i < n; i++)
            if (isola_slice_is(names[i], *used))
                return true;
    return false;
}

/* Counts those of `names` that are not set, and appends them. */
static void lacking(const struct isola__secrets *secrets, const char *app, char *const *names,
                    const char *of, struct isola_buf *missing, const char **first, size_t *n)
{
    for (; names != NULL && *names != NULL; names++) {
        const struct isola__secret *s =
            isola__secret_find(secrets, isola_slice_str(app), isola_slice_str(*names));
        if (s != NULL && !s->gone)
            continue;
        if (missing->len < 600)
            isola_buf_printf(missing, "%s%s (of %s)", *n > 0 ? ", " : "", *names, of);
        *first = *first == NULL ? *names : *first;
        ++*n;
    }
}

int isola__secrets_check(const struct isola__secrets *secrets, const struct isola_manifest *m,
                         struct isola_err *err)
{
    struct isola_buf missing = {0};
    const char *first = NULL;
    size_t n = 0;
    lacking(secrets, m->name, m->secrets, "permissions", &missing, &first, &n);
    for (size_t i = 0; i < m->ntypes; i++)
        if (m->types[i].service != NULL)
            lacking(secrets, m->name, m->types[i].service->secrets, m->types[i].name, &missing,
                    &first, &n);
    int rc = 0;
    if (n == 1)
        rc = isola_fail(err, ISOLA_EINVAL,
                        "%s needs a secret that is not set: %s; `ctl secret set %s %s` sets it",
                        m->name, isola_buf_cstr(&missing), m->name, first);
    else if (n > 1)
        rc = isola_fail(err, ISOLA_EINVAL,
                        "%s needs secrets that are not set: %s; `ctl secret set %s %s` sets one, "
                        "`ctl secret import %s FILE` several",
                        m->name, isola_buf_cstr(&missing), m->name, first, m->name);
    isola_buf_free(&missing);
    return rc;
}

/* --- taking --- */

void isola__secrets_write(const struct isola__secrets *secrets, const struct isola_release *r,
                          struct isola_buf *out)
{
    struct isola_manifest *m;
    struct isola_err err;
    if (isola_manifest_parse(r->manifest, "isola.json", &m, &err) != 0)
        return; /* who gets it says so */
    for (char **name = m->secrets; name != NULL && *name != NULL; name++) {
        struct isola_buf value = {0};
        if (isola__secrets_get(secrets, m->name, *name, &value, &err) == 0) {
            isola_buf_printf(out, "%s=", *name);
            isola_buf_append(out, value.data, value.len);
            isola_buf_append(out, "", 1);
        } else {
            isola_log(ISOLA_LOG_WARN, "actors of %s begin without one: %s", r->app, err.text);
        }
        isola_wipe(&value);
    }
    isola_manifest_free(m);
}

bool isola__secret_wanted(const struct isola__secrets *secrets, struct isola_slice app,
                          struct isola_slice name, uint64_t revision)
{
    const struct isola__secret *s = isola__secret_find(secrets, app, name);
    return s == NULL || revision > s->revision || (s->sealed && revision == s->revision);
}

static void seal(const struct isola__secrets *secrets, const struct isola__secret_given *given,
                 char *app, char *name, struct isola_buf *out)
{
    struct isola_buf about = {0};
    write_about(app, name, given->revision, &about);
    isola_seal(secrets->sealer, isola_buf_slice(&about), given->value, out);
    isola_buf_free(&about);
}

static int store(struct isola__secrets *secrets, const struct isola__secret_given *list, size_t n,
                 struct isola_err *err)
{
    struct isola_secret *rows = isola_zalloc((n + 1) * sizeof(*rows));
    struct isola_buf *sealed = isola_zalloc((n + 1) * sizeof(*sealed));
    char **texts = isola_zalloc((3 * n + 1) * sizeof(*texts));
    for (size_t i = 0; i < n; i++) {
        const struct isola__secret_given *g = &list[i];
        char **t = &texts[3 * i];
        t[0] = isola_strndup((const char *)g->app.data, g->app.len);
        t[1] = isola_strndup((const char *)g->name.data, g->name.len);
        t[2] =
            g->by.len > 0 ? isola_strndup((const char *)g->by.data, g->by.len) : isola_strdup("");
        if (!g->gone)
            seal(secrets, g, t[0], t[1], &sealed[i]);
        rows[i] = (struct isola_secret){.app = t[0],
                                        .name = t[1],
                                        .by = t[2],
                                        .revision = g->revision,
                                        .set_ms = g->set_ms,
                                        .sealed = isola_buf_slice(&sealed[i])};
    }
    int rc = isola_catalog_put_secrets(secrets->agent->catalog, rows, n, err);
    for (size_t i = 0; i < n; i++)
        isola_buf_free(&sealed[i]);
    for (size_t i = 0; i < 3 * n; i++)
        free(texts[i]);
    free(texts);
    free(sealed);
    free(rows);
    return rc;
}

/* Services and actors that use any of them, app by app: `list` may be of several. */
static void replace_users(struct isola__secrets *secrets, const struct isola__secret_given *list,
                          size_t n)
{
    struct isola_slice *names = isola_alloc((n + 1) * sizeof(*names));
    bool *done = isola_zalloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        for (size_t j = i; !done[i] && j < n; j++) {
            if (!isola_slice_eq(list[j].app, list[i].app))
                continue;
            if (!list[j].gone) /* else they go on with what they have */
                names[k++] = list[j].name;
            done[j] = j > i;
        }
        if (k == 0)
            continue;
        isola__services_secrets(&secrets->agent->services, list[i].app, names, k);
        isola__releases_secrets(&secrets->agent->releases, list[i].app, names, k);
    }
    free(done);
    free(names);
}

int isola__secrets_put(struct isola__secrets *secrets, const struct isola__secret_given *list,
                       size_t n, struct isola_err *err)
{
    int rc = need_sealer(secrets, err);
    if (rc == 0)
        rc = store(secrets, list, n, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const struct isola__secret_given *g = &list[i];
        struct isola__secret *s = note(secrets, g->app, g->name, g->by);
        s->revision = g->revision;
        s->set_ms = g->set_ms;
        s->gone = g->gone;
        isola_log(ISOLA_LOG_INFO, "the secret %s of app %s was %s%s%s", s->name, s->app,
                  s->gone ? "removed" : "set", *s->by != '\0' ? " by " : "", s->by);
    }
    replace_users(secrets, list, n);
    return 0;
}

void isola__secrets_forget(struct isola__secrets *secrets, const char *app, uint64_t revision)
{
    bool again = true;
    while (again) {
        again = false;
        ISOLA_MAP_EACH(&secrets->index, e)
        {
            struct isola__secret *s = e->value;
            if (strcmp(s->app, app) == 0 && s->revision < revision) {
                entry_free(isola_map_del(&secrets->index, isola_slice(e->key, e->len)));
                again = true;
                break;
            }
        }
    }
}
