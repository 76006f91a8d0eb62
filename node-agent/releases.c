/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/releases.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/trust.h"
#include "store/deploys.h"
#include "transport/seal.h"

#define FETCH_LIMIT_MS   30000
#define RETRY_MS         5000 /* after a fetch that failed; after the next one twice that, … */
#define RETRY_DOUBLED    6    /* … and so on, so often */
#define RELEASE_LIMIT_MS 60000
#define OFFERS_MAX       100000
#define APP_MAX          64
/* A revision is a counter and, below it, bits of the name of the node that made it. */
#define REVISION_SHIFT 16

/* --- what others have --- */

void isola__offers_clear(struct isola__offers *offers)
{
    for (size_t i = 0; i < offers->count; i++)
        free(offers->list[i].app);
    free(offers->list);
    *offers = (struct isola__offers){0};
}

static void offers_remove(struct isola__offers *offers, const char *app)
{
    for (size_t i = 0; i < offers->count; i++) {
        if (strcmp(offers->list[i].app, app) == 0) {
            free(offers->list[i].app);
            offers->list[i] = offers->list[--offers->count];
            return;
        }
    }
}

void isola__offers_add(struct isola__offers *offers, struct isola_slice app, uint64_t revision)
{
    if (app.len == 0 || app.len > APP_MAX || offers->count >= OFFERS_MAX)
        return;
    char *name = isola_strndup((const char *)app.data, app.len);
    offers_remove(offers, name);
    offers->list = isola_realloc(offers->list, (offers->count + 1) * sizeof(*offers->list));
    offers->list[offers->count++] = (struct isola__offer){.app = name, .revision = revision};
}

void isola__offers_read(struct isola__offers *offers, struct isola_slice releases)
{
    isola__offers_clear(offers);
    size_t n = isola_mp_count(releases);
    if (n == 0 || n > OFFERS_MAX)
        return;
    offers->list = calloc(n, sizeof(*offers->list));
    if (offers->list == NULL)
        return;
    struct isola_mp_reader r = isola_mp_reader(releases);
    struct isola_mp_item head;
    struct isola_slice one;
    if (isola_mp_next(&r, &head) != 0)
        return;
    for (size_t i = 0; i < n && isola_mp_skip(&r, &one) == 0; i++) {
        struct isola_slice app;
        uint64_t revision;
        if (isola_mp_find_str(one, "app", &app) && app.len > 0 && app.len <= APP_MAX &&
            isola_mp_find_uint(one, "revision", &revision))
            offers->list[offers->count++] = (struct isola__offer){
                .app = isola_strndup((const char *)app.data, app.len), .revision = revision};
    }
}

bool isola__releases_lacks(struct isola__releases *releases, const struct isola__offers *offers)
{
    struct isola_map has = {0};
    for (size_t i = 0; i < offers->count; i++)
        isola_map_set(&has, isola_slice_str(offers->list[i].app), &offers->list[i]);
    bool lacks = false;
    ISOLA_MAP_EACH(&releases->current, e)
    {
        const struct isola__current *current = e->value;
        const struct isola__offer *offer = isola_map_get(&has, isola_slice(e->key, e->len));
        lacks = lacks || offer == NULL || offer->revision < current->revision;
    }
    isola_map_free(&has);
    return lacks;
}

/* --- who waits for one --- */

struct isola__awaiting {
    struct isola__awaiting *next;
    struct isola__conn *from; /* counted */
    uint64_t id, revision;
    char *app;
};

void isola__releases_await(struct isola__releases *releases, struct isola__conn *from, uint64_t id,
                           struct isola_slice app, uint64_t revision)
{
    struct isola__awaiting *w = isola_zalloc(sizeof(*w));
    w->from = from;
    isola__conn_ref(from);
    w->id = id;
    w->revision = revision;
    w->app = isola_strndup((const char *)app.data, app.len);
    w->next = releases->awaiting;
    releases->awaiting = w;
}

static void await_end(struct isola__releases *releases, struct isola__awaiting *w)
{
    releases->awaiting = w->next;
    isola__conn_unref(w->from);
    free(w->app);
    free(w);
}

/* --- what is here --- */

static void current_free(struct isola__current *current)
{
    if (current != NULL) {
        isola_manifest_free(current->manifest);
        isola_manifest_free(current->candidate_manifest);
        isola_roster_free(&current->roster);
    }
    free(current);
}

static void index_add(struct isola__releases *releases, const struct isola_release *r)
{
    struct isola_err err;
    struct isola__current *current = isola_zalloc(sizeof(*current));
    memcpy(current->id, r->id, sizeof(current->id));
    current->revision = r->revision;
    if (isola_manifest_parse(r->manifest, r->app, &current->manifest, &err) != 0)
        current->manifest = NULL; /* another version of Isola took it */
    if (r->candidate != NULL) {
        current->share = r->share;
        isola_roster_copy(&current->roster, &r->roster);
        memcpy(current->candidate, r->candidate->id, sizeof(current->candidate));
        if (isola_manifest_parse(r->candidate->manifest, r->app, &current->candidate_manifest,
                                 &err) != 0)
            current->candidate_manifest = NULL;
    }
    current_free(isola_map_set(&releases->current, isola_slice_str(r->app), current));
}

static void open_each(const struct isola_release *r, void *arg)
{
    struct isola__releases *releases = arg;
    index_add(releases, r);
    isola__rollout_found(&releases->agent->rollouts, r);
}

int isola__releases_open(struct isola__releases *releases, struct isola__agent *agent,
                         struct isola_err *err)
{
    *releases = (struct isola__releases){.agent = agent};
    agent->rollouts.agent = agent;
    return isola_catalog_each(agent->catalog, open_each, releases, err);
}

void isola__releases_free(struct isola__releases *releases)
{
    ISOLA_MAP_EACH(&releases->current, e)
    current_free(e->value);
    isola_map_free(&releases->current);
    while (releases->awaiting != NULL)
        await_end(releases, releases->awaiting);
    free(releases->fetch_app);
}

const struct isola__current *isola__releases_current(struct isola__releases *releases,
                                                     const char *app)
{
    return isola_map_get(&releases->current, isola_slice_str(app));
}

const char *isola__releases_hint(struct isola__releases *releases, struct isola_slice app,
                                 char out[ISOLA_NEAREST_HINT])
{
    struct isola_nearest near = isola_nearest_begin(app);
    ISOLA_MAP_EACH(&releases->current, e)
    isola_nearest_try(&near, isola_slice(e->key, e->len));
    return isola_nearest_hint(&near, out);
}

/* The same of an app's types. */
static const char *type_hint(const struct isola_manifest *m, struct isola_slice type,
                             char out[ISOLA_NEAREST_HINT])
{
    struct isola_nearest near = isola_nearest_begin(type);
    for (size_t i = 0; i < m->ntypes; i++)
        isola_nearest_try(&near, isola_slice_str(m->types[i].name));
    return isola_nearest_hint(&near, out);
}

int isola__releases_find(struct isola__releases *releases, struct isola_slice app,
                         struct isola_slice type, struct isola_err *err)
{
    const struct isola__current *current = isola_map_get(&releases->current, app);
    char hint[ISOLA_NEAREST_HINT];
    if (current == NULL)
        return isola_fail(err, ISOLA_ENOACTOR, "there is no app \"%.*s\"%s", ISOLA_FMT(app),
                          *isola__releases_hint(releases, app, hint) != '\0' ? hint
                                                                             : ": deploy it first");
    if (type.data != NULL && current->manifest != NULL &&
        isola_manifest_type(current->manifest, type) == NULL &&
        (current->candidate_manifest == NULL ||
         isola_manifest_type(current->candidate_manifest, type) == NULL))
        return isola_fail(err, ISOLA_ENOACTOR, "app \"%.*s\" has no actor type \"%.*s\"%s",
                          ISOLA_FMT(app), ISOLA_FMT(type),
                          type_hint(current->manifest, type, hint));
    return 0;
}

void isola__find(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice of;
    struct isola_address at = {0};
    struct isola_err err;
    if (!isola_mp_find_str(params, "of", &of) || of.len == 0 || of.len > ISOLA_ADDRESS_MAX) {
        isola__fail(from, m->id, ISOLA_EINVAL, "find: \"of\" is missing or no app or address");
        return;
    }
    const uint8_t *slash = memchr(of.data, '/', of.len);
    size_t rest = slash != NULL ? (size_t)(of.data + of.len - slash) - 1 : 0;
    if (slash == NULL || (rest > 0 && memchr(slash + 1, '/', rest) == NULL)) {
        at.app = isola_slice(of.data, slash != NULL ? (size_t)(slash - of.data) : of.len);
        if (slash != NULL)
            at.type = isola_slice(slash + 1, rest);
    } else if (isola_address_parse(of, &at, &err) != 0) {
        isola__fail(from, m->id, ISOLA_EINVAL, "find: %s", err.text);
        return;
    }
    if (isola__releases_find(&from->agent->releases, at.app, at.type, &err) != 0)
        isola__fail(from, m->id, err.code, "%s", err.text);
    else
        isola__reply(from, m->id, isola_slice(NULL, 0));
}

/* The service that listens on this port, or NULL. */
static const struct isola_actor_type *listens(const struct isola_manifest *m, uint32_t port)
{
    for (size_t i = 0; m != NULL && i < m->ntypes; i++)
        if (m->types[i].service != NULL && m->types[i].service->port == port)
            return &m->types[i];
    return NULL;
}

int isola__releases_check_ports(struct isola__releases *releases, const struct isola_manifest *m,
                                struct isola_err *err)
{
    for (size_t i = 0; i < m->ntypes; i++) {
        uint32_t port = m->types[i].service != NULL ? m->types[i].service->port : 0;
        if (port == 0)
            continue;
        ISOLA_MAP_EACH(&releases->current, e)
        {
            const struct isola__current *other = e->value;
            if (isola_slice_is(isola_slice(e->key, e->len), m->name))
                continue;
            const struct isola_actor_type *type = listens(other->manifest, port);
            if (type == NULL)
                type = listens(other->candidate_manifest, port);
            if (type != NULL)
                return isola_fail(
                    err, ISOLA_EEXIST,
                    "%s/%s would listen on port %u, which %.*s/%s has: each would get "
                    "a part of the other's requests. Give it another one (\"port\" "
                    "in isola.json, or PORT=… before the command of \"start\"); or, when that app "
                    "is not to be any more: 'ctl delete %.*s'",
                    m->name, m->types[i].name, port, (int)e->len, (const char *)e->key, type->name,
                    (int)e->len, (const char *)e->key);
        }
    }
    return 0;
}

static uint64_t mark_of(const char *node)
{
    return isola_hash(node, strlen(node), 0) & ((1u << REVISION_SHIFT) - 1);
}

uint64_t isola__releases_next_revision(struct isola__releases *releases)
{
    uint64_t highest = isola_catalog_revision(releases->agent->catalog);
    return ((highest >> REVISION_SHIFT) + 1) << REVISION_SHIFT | mark_of(releases->agent->opt.name);
}

bool isola__releases_made_by(uint64_t revision, const char *node)
{
    return (revision & ((1u << REVISION_SHIFT) - 1)) == mark_of(node);
}

int isola__releases_put(struct isola__releases *releases, const struct isola_release *r,
                        struct isola_err *err)
{
    int rc = isola__trust_check(releases->agent, r, err);
    if (rc == 0)
        rc = isola_catalog_put(releases->agent->catalog, r, err);
    if (rc == 0) {
        isola__rollout_put(&releases->agent->rollouts, r,
                           isola__releases_current(releases, r->app));
        index_add(releases, r);
        isola__services_release(&releases->agent->services, r);
    }
    if (rc == 0 && (r->files.len > 0 || (r->candidate != NULL && r->candidate->files.len > 0)))
        isola__packages_collect(&releases->agent->packages); /* an old release may have gone */
    return rc;
}

void isola__releases_forget(struct isola__releases *releases, const char *app)
{
    current_free(isola_map_del(&releases->current, isola_slice_str(app)));
}

void isola__releases_list(struct isola__releases *releases, struct isola_buf *out)
{
    isola_mp_array(out, releases->current.count);
    ISOLA_MAP_EACH(&releases->current, e)
    {
        const struct isola__current *current = e->value;
        isola_mp_map(out, 3);
        isola_mp_cstr(out, "app");
        isola_mp_str(out, isola_slice(e->key, e->len));
        isola_mp_kstr(out, "release", current->id);
        isola_mp_kuint(out, "revision", current->revision);
    }
}

/* --- the actor-host --- */

static void release_params(const struct isola_release *r, size_t more, struct isola_buf *out)
{
    isola_mp_map(out, 6 + ISOLA_RELEASE_NOTE_PAIRS + more + (r->link != NULL) + (r->files.len > 0) +
                          r->is_signed + (r->candidate != NULL ? ISOLA_RELEASE_CANARY_PAIRS : 0));
    if (r->link != NULL)
        isola_mp_kstr(out, "link", r->link);
    isola_mp_kstr(out, "app", r->app);
    isola_mp_kstr(out, "release", r->id);
    isola_mp_kuint(out, "revision", r->revision);
    isola_mp_kuint(out, "deployed_ms", r->deployed_ms > 0 ? (uint64_t)r->deployed_ms : 0);
    isola_release_put_note(r, out);
    isola_release_put_content(r, out);
    isola_release_put_files(r, out);
    isola_release_put_signature(r, out);
    isola_release_put_canary(r, out);
}

void isola__release_params(const struct isola_release *r, struct isola_buf *out)
{
    release_params(r, 0, out);
}

/* --- what is prepared of them --- */

#define PREPARED_MAX (16u << 20) /* bytes of one module's code */

void isola__releases_prepared(struct isola__releases *releases, struct isola_slice params)
{
    static const char *const names[] = {"release", "type", "key"};
    char *texts[3] = {0};
    struct isola_slice s, code;
    struct isola_err err;
    bool whole = isola_mp_find_bin(params, "cache", &code) && code.len <= PREPARED_MAX;
    for (size_t i = 0; i < 3; i++) {
        whole = whole && isola_mp_find_str(params, names[i], &s) && s.len > 0 && s.len < 200 &&
                memchr(s.data, 0, s.len) == NULL;
        texts[i] = whole ? isola_strndup((const char *)s.data, s.len) : NULL;
    }
    if (!whole)
        isola_log(ISOLA_LOG_WARN, "the actor-host sent something prepared that is malformed");
    else if (isola_catalog_prepare(releases->agent->catalog, texts[0], texts[1], texts[2], code,
                                   &err) != 0 &&
             err.code != ISOLA_ENOENT) /* else another release has become current meanwhile */
        isola_log(ISOLA_LOG_WARN, "what was prepared of type %s cannot be kept: %s", texts[1],
                  err.text);
    for (size_t i = 0; i < 3; i++)
        free(texts[i]);
}

struct kept {
    struct isola_buf list;
    size_t n;
};

static void append_kept(const char *type, const char *key, struct isola_slice code, void *arg)
{
    struct kept *k = arg;
    k->n++;
    isola_mp_map(&k->list, 3);
    isola_mp_kstr(&k->list, "type", type);
    isola_mp_kstr(&k->list, "key", key);
    isola_mp_cstr(&k->list, "cache");
    isola_mp_bin(&k->list, code);
}

static void append_secrets(const struct isola__releases *releases, const char *key,
                           const struct isola_release *r, struct isola_buf *out)
{
    struct isola_buf all = {0};
    isola__secrets_write(&releases->agent->secrets, r, &all);
    isola_mp_cstr(out, key);
    isola_mp_bin(out, isola_buf_slice(&all));
    isola_wipe(&all);
}

/* With what earlier actor-hosts have prepared of it. */
void isola__releases_host_params(struct isola__releases *releases, const struct isola_release *r,
                                 struct isola_buf *out)
{
    struct kept k = {0};
    struct isola_err err;
    if (isola_catalog_prepared(releases->agent->catalog, r->id, append_kept, &k, &err) != 0)
        isola_log(ISOLA_LOG_WARN, "%s of app %s: it is made anew", err.text, r->app);
    release_params(r, r->candidate != NULL ? 4 : 3, out);
    append_secrets(releases, "secrets", r, out);
    if (r->candidate != NULL)
        append_secrets(releases, "canary_secrets", r->candidate, out);
    isola_mp_kbool(out, "unproven", isola__rollout_unproven(&releases->agent->rollouts, r->app));
    isola_mp_cstr(out, "prepared");
    isola_mp_array(out, k.n);
    isola_buf_append(out, k.list.data, k.list.len);
    isola_buf_free(&k.list);
}

/* --- telling --- */

/* Everything that was known to be newer elsewhere is here, or could not be had. */
static void all_here(struct isola__releases *releases)
{
    while (releases->awaiting != NULL) {
        struct isola__awaiting *w = releases->awaiting;
        const struct isola__current *current = isola__releases_current(releases, w->app);
        if (current != NULL && current->revision >= w->revision)
            isola__reply(w->from, w->id, isola_slice(NULL, 0));
        else
            isola__fail(w->from, w->id, ISOLA_ENOENT, "the release of %s could not be fetched",
                        w->app);
        await_end(releases, w);
    }
}

static void check_here(struct isola__releases *releases)
{
    if (releases->fetching || releases->untold > 0)
        return;
    all_here(releases);
    isola__members_caught_up(&releases->agent->members);
    isola__agent_check_ready(releases->agent);
}

struct telling {
    struct isola__ask ask;
    struct isola__releases *releases;
};

static void told(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__releases *releases = ((struct telling *)ask)->releases;
    struct isola_err err;
    if (answer->kind == ISOLA_MSG_FAIL && isola__answer_error(answer, &err) != ISOLA_EUNREACHABLE)
        isola_log(ISOLA_LOG_ERROR, "the actor-host did not take a release: %s", err.text);
    free(ask);
    if (--releases->untold > 0)
        return;
    check_here(releases);
    isola__host_check_open(&releases->agent->host);
}

void isola__releases_tell(struct isola__releases *releases, const struct isola_release *r,
                          struct isola__ask *ask)
{
    struct isola__host *host = &releases->agent->host;
    if (ask == NULL) {
        struct telling *t = isola_zalloc(sizeof(*t));
        t->releases = releases;
        releases->untold++;
        ask = &t->ask;
        ask->cb = told;
    }
    if (host->state != ISOLA_HOST_READY || host->conn == NULL) {
        struct isola_msg *none = isola_msg_fail(0, ISOLA_EUNREACHABLE, "the actor-host restarts");
        ISOLA_CHECK(none != NULL);
        ask->cb(ask, none);
        free(none);
        return;
    }
    struct isola_buf params = {0};
    isola__releases_host_params(releases, r, &params);
    isola__ask(host->conn, ask, "release", isola_buf_slice(&params), RELEASE_LIMIT_MS);
    isola_wipe(&params);
    isola__host_hasten(host);
}

static void tell_each(const struct isola_release *r, void *arg)
{
    isola__releases_tell(arg, r, NULL);
}

static bool uses(const struct isola_manifest *m, const struct isola_slice *names, size_t n)
{
    return m != NULL && isola__secrets_among(m->secrets, names, n);
}

void isola__releases_secrets(struct isola__releases *releases, struct isola_slice app,
                             const struct isola_slice *names, size_t n)
{
    const struct isola__current *current = isola_map_get(&releases->current, app);
    struct isola_release *r = NULL;
    struct isola_err err;
    if (current == NULL ||
        (!uses(current->manifest, names, n) && !uses(current->candidate_manifest, names, n)))
        return;
    char *name = isola_strndup((const char *)app.data, app.len);
    if (isola_catalog_current(releases->agent->catalog, name, &r, &err) == 0)
        isola__releases_tell(releases, r, NULL);
    else
        isola_log(ISOLA_LOG_ERROR, "actors of %s do not hear of its new secrets: %s", name,
                  err.text);
    isola_release_free(r);
    free(name);
}

void isola__releases_to_host(struct isola__releases *releases)
{
    struct isola_err err;
    releases->untold++; /* until the last one is on its way */
    isola__gone_to_host(&releases->agent->gone);
    if (isola_catalog_each(releases->agent->catalog, tell_each, releases, &err) != 0)
        isola_log(ISOLA_LOG_ERROR, "the actor-host could not be told its releases: %s", err.text);
    releases->untold--;
}

/* --- fetching --- */

/* The release in an answer, if it is what was asked for. */
static int decode_fetched(struct isola__releases *releases, const struct isola_msg *answer,
                          struct isola_release **out, struct isola_err *err)
{
    if (answer->kind == ISOLA_MSG_FAIL)
        return isola__answer_error(answer, err);
    struct isola_slice value = isola__value(answer), deploys;
    struct isola_release *r = NULL;
    int rc = isola_release_decode(value, &r, err);
    if (rc != 0)
        return rc;
    if (isola_mp_find(value, "deploys", &deploys) && /* older versions say nothing of them */
        (rc = isola_deploys_read(deploys, &releases->deploys, err)) != 0) {
        isola_release_free(r);
        return rc;
    }
    if (strcmp(r->app, releases->fetch_app) != 0 ||
        !isola_mp_find_uint(value, "revision", &r->revision) || r->revision == 0) {
        rc = isola_fail(err, ISOLA_EPROTO, "it is of app %s, revision %llu", r->app,
                        (unsigned long long)r->revision);
        isola_release_free(r);
        return rc;
    }
    if ((rc = isola__trust_check(releases->agent, r, err)) != 0) {
        isola_release_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

static int take_fetched(struct isola__releases *releases, const struct isola_release *r,
                        struct isola_err *err)
{
    const struct isola__current *current = isola__releases_current(releases, releases->fetch_app);
    if (current != NULL && current->revision >= r->revision)
        return 0;
    int rc = isola_catalog_learn(releases->agent->catalog, r->app, &releases->deploys, err);
    if (rc == 0)
        rc = isola__releases_put(releases, r, err);
    if (rc == 0) {
        isola_log(ISOLA_LOG_INFO, "release %s of %s was fetched from node %s", r->id, r->app,
                  releases->fetch_from->record.name);
        isola__releases_tell(releases, r, NULL);
    }
    return rc;
}

/* It is tried again after a pause, which grows. Another node may have the same release. */
static void put_off(struct isola__releases *releases, const char *why)
{
    struct isola__offers *offers = &releases->fetch_from->offers;
    char again[64] = "";
    for (size_t i = 0; i < offers->count; i++) {
        struct isola__offer *o = &offers->list[i];
        if (strcmp(o->app, releases->fetch_app) != 0)
            continue;
        uint64_t pause = (uint64_t)RETRY_MS << o->failures;
        o->failures += o->failures < RETRY_DOUBLED;
        o->again_ms = isola_clock_ms() + pause;
        if (releases->again_ms == 0 || o->again_ms < releases->again_ms)
            releases->again_ms = o->again_ms;
        snprintf(again, sizeof(again), "; it is asked for again in %" PRIu64 " s", pause / 1000);
    }
    isola_log(ISOLA_LOG_WARN, "the release of %s could not be fetched from node %s: %s%s",
              releases->fetch_app, releases->fetch_from->record.name, why, again);
}

/* `r`: what was fetched, which it takes; NULL: nothing, for the reason in `err`. */
static void fetch_ended(struct isola__releases *releases, struct isola_release *r,
                        struct isola_err *err)
{
    if (r == NULL || take_fetched(releases, r, err) != 0)
        put_off(releases, err->text);
    else
        offers_remove(&releases->fetch_from->offers, releases->fetch_app);
    isola_release_free(r);
    isola_deploys_free(&releases->deploys);
    free(releases->fetch_app);
    releases->fetch_app = NULL;
    releases->fetching = false;
    isola__releases_sync(releases);
}

static void pull_next(struct isola__releases *releases, struct isola_release *r);

static void fetch_pulled(struct isola__pull *pull)
{
    struct isola__releases *releases =
        (struct isola__releases *)(void *)((char *)pull - offsetof(struct isola__releases, pull));
    struct isola_release *r = releases->pulled;
    releases->pulled = NULL;
    if (pull->err.code != 0) {
        isola_release_free(r);
        fetch_ended(releases, NULL, &pull->err);
        return;
    }
    pull_next(releases, r);
}

/* Pulls the files of `r`, which was fetched, and then those of its canary. Takes it. */
static void pull_next(struct isola__releases *releases, struct isola_release *r)
{
    const struct isola_release *of[] = {r, r->candidate};
    struct isola_err none = {0};
    while (releases->pulls < 2 &&
           (of[releases->pulls] == NULL || of[releases->pulls]->files.len == 0))
        releases->pulls++;
    if (releases->pulls == 2) {
        fetch_ended(releases, r, &none);
        return;
    }
    const struct isola_release *next = of[releases->pulls++];
    releases->pulled = r;
    releases->pull = (struct isola__pull){.cb = fetch_pulled};
    isola__packages_pull(&releases->agent->packages, &releases->pull, next->files,
                         isola__member_conn(releases->fetch_from));
}

static void fetched(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__releases *releases =
        (struct isola__releases *)((char *)ask - offsetof(struct isola__releases, fetch));
    struct isola_release *r = NULL;
    struct isola_err err;
    if (decode_fetched(releases, answer, &r, &err) != 0) {
        fetch_ended(releases, NULL, &err);
        return;
    }
    releases->pulls = 0;
    pull_next(releases, r);
}

static bool newer(struct isola__releases *releases, const struct isola__offer *offer)
{
    const struct isola__current *current = isola__releases_current(releases, offer->app);
    return (current == NULL || current->revision < offer->revision) &&
           isola__gone_at(&releases->agent->gone, isola_slice_str(offer->app)) < offer->revision &&
           offer->again_ms <= isola_clock_ms();
}

static void fetch(struct isola__releases *releases, struct isola__member *member, const char *app)
{
    releases->fetching = true;
    releases->fetch_from = member;
    releases->fetch_app = isola_strdup(app);
    releases->fetch = (struct isola__ask){.cb = fetched};
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "app", app);
    isola__ask(&member->peer->conn, &releases->fetch, "fetch", isola_buf_slice(&params),
               FETCH_LIMIT_MS);
    isola_buf_free(&params);
}

void isola__releases_sync(struct isola__releases *releases)
{
    struct isola__members *members = &releases->agent->members;
    if (releases->fetching || members->stopping)
        return;
    for (struct isola__member *m = members->first; m != NULL; m = m->next) {
        for (size_t i = 0; m->peer != NULL && i < m->offers.count; i++) {
            if (newer(releases, &m->offers.list[i])) {
                fetch(releases, m, m->offers.list[i].app);
                return;
            }
        }
    }
    check_here(releases);
}

void isola__releases_retry(struct isola__releases *releases)
{
    uint64_t now = isola_clock_ms();
    if (releases->again_ms == 0 || releases->again_ms > now || releases->fetching)
        return;
    releases->again_ms = 0;
    for (const struct isola__member *m = releases->agent->members.first; m != NULL; m = m->next) {
        for (size_t i = 0; i < m->offers.count; i++) {
            uint64_t at = m->offers.list[i].again_ms;
            if (at > now && (releases->again_ms == 0 || at < releases->again_ms))
                releases->again_ms = at;
        }
    }
    isola__releases_sync(releases);
}

/* Appends the current release of `app`, and what its deploys were; or that of `id`. */
static int append_release(struct isola__agent *agent, const char *app, const char *id,
                          struct isola_buf *out, struct isola_err *err)
{
    struct isola_release *r = NULL;
    struct isola_deploys deploys = {0};
    int rc = id != NULL ? isola_catalog_release(agent->catalog, app, id, &r, err)
                        : isola_catalog_current(agent->catalog, app, &r, err);
    if (rc == 0 && id == NULL)
        rc = isola_catalog_deploys(agent->catalog, app, &deploys, err);
    if (rc == 0) {
        release_params(r, id == NULL, out);
        if (id == NULL) {
            isola_mp_cstr(out, "deploys");
            isola_deploys_write(&deploys, out);
        }
    }
    isola_deploys_free(&deploys);
    isola_release_free(r);
    return rc;
}

void isola__fetch(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice name, release;
    struct isola_err err;
    if (!isola_mp_find_str(params, "app", &name) || name.len > APP_MAX) {
        isola__fail(from, m->id, ISOLA_EINVAL, "fetch: \"app\" is missing or no app's name");
        return;
    }
    char *app = isola_strndup((const char *)name.data, name.len), *id = NULL;
    if (isola_mp_find_str(params, "release", &release))
        id = isola_strndup((const char *)release.data, release.len);
    struct isola_buf out = {0};
    int rc = append_release(from->agent, app, id, &out, &err);
    free(app);
    free(id);
    if (rc == 0) {
        isola__reply_buf(from, m->id, &out);
        return;
    }
    isola_buf_free(&out);
    isola__fail(from, m->id, rc, "%s", err.text);
}
