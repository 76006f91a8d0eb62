/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets, asked of a node by people and by other nodes. What people set is sent to every node that
 * is up, and the answer says which have it; what else a node lacks it asks for, when it has heard
 * that another has it.
 */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/secrets_own.h"
#include "node-agent/status.h"
#include "transport/seal.h"

#define SET_LIMIT_MS  10000
#define GIVE_LIMIT_MS 30000
#define GIVE_BYTES    ((size_t)1 << 20) /* of values in one answer, about */
#define GIVE_MAX      500u              /* secrets in one question */

/* --- on the wire: [{app, name, revision, set_ms, by, value (bin; not there: removed)}…] --- */

static void write_one(const struct isola__secret_given *g, struct isola_buf *out)
{
    isola_mp_map(out, g->gone ? 5 : 6);
    isola_mp_cstr(out, "app");
    isola_mp_str(out, g->app);
    isola_mp_cstr(out, "name");
    isola_mp_str(out, g->name);
    isola_mp_kuint(out, "revision", g->revision);
    isola_mp_kuint(out, "set_ms", g->set_ms > 0 ? (uint64_t)g->set_ms : 0);
    isola_mp_cstr(out, "by");
    isola_mp_str(out, g->by);
    if (!g->gone) {
        isola_mp_cstr(out, "value");
        isola_mp_bin(out, g->value);
    }
}

static bool value_ok(struct isola_slice value)
{
    return isola_release_text_ok(value, ISOLA_SECRET_MAX);
}

static bool read_one(struct isola_slice map, struct isola__secret_given *out)
{
    uint64_t set_ms;
    *out = (struct isola__secret_given){0};
    out->gone = !isola_mp_find(map, "value", &out->value);
    if (!out->gone && (!isola_mp_find_bin(map, "value", &out->value) || !value_ok(out->value)))
        return false;
    if (!isola_mp_find_str(map, "app", &out->app) || !isola_secret_app_ok(out->app) ||
        !isola_mp_find_str(map, "name", &out->name) || !isola_secret_name_ok(out->name) ||
        !isola_mp_find_str(map, "by", &out->by) ||
        !isola_release_text_ok(out->by, ISOLA_RELEASE_BY_MAX) ||
        !isola_mp_find_uint(map, "revision", &out->revision) || out->revision == 0 ||
        out->revision > INT64_MAX || !isola_mp_find_uint(map, "set_ms", &set_ms) ||
        set_ms > INT64_MAX)
        return false;
    out->set_ms = (int64_t)set_ms;
    return true;
}

/* Those of `array`; NULL: it is malformed. The caller frees. */
static struct isola__secret_given *read_all(struct isola_slice array, size_t *n)
{
    struct isola_mp_reader r = isola_mp_reader(array);
    struct isola_mp_item head;
    struct isola_slice map;
    *n = 0;
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &head))
        return NULL;
    struct isola__secret_given *list = isola_zalloc((head.n + 1) * sizeof(*list));
    for (; *n < head.n; ++*n) {
        if (isola_mp_skip(&r, &map) != 0 || !read_one(map, &list[*n])) {
            free(list);
            return NULL;
        }
    }
    return list;
}

/* --- which there are --- */

static void append_have(const struct isola__secret *s, struct isola_buf *out)
{
    isola_mp_array(out, 3);
    isola_mp_cstr(out, s->app);
    isola_mp_cstr(out, s->name);
    isola_mp_uint(out, s->revision);
}

static void emit_have(struct isola__conn *peer, size_t n, const struct isola_buf *rows)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "have");
    isola_mp_array(&params, n);
    isola_buf_append(&params, rows->data, rows->len);
    (void)isola__emit(peer, "secrets_have", isola_buf_slice(&params));
    isola_buf_free(&params);
}

void isola__secrets_tell(const struct isola__secrets *secrets, struct isola__conn *peer)
{
    struct isola_buf rows = {0};
    size_t n = 0;
    ISOLA_MAP_EACH(&secrets->index, e)
    {
        const struct isola__secret *s = e->value;
        if (s->sealed)
            continue;
        append_have(s, &rows);
        n++;
    }
    if (n > 0)
        emit_have(peer, n, &rows);
    isola_buf_free(&rows);
}

/* These were news: every other node hears that they are here. */
static void tell_on(struct isola__secrets *secrets, const struct isola__secret_given *list,
                    size_t n, const struct isola__conn *from)
{
    struct isola_buf rows = {0};
    for (size_t i = 0; i < n; i++)
        append_have(isola__secret_find(secrets, list[i].app, list[i].name), &rows);
    for (struct isola__member *m = secrets->agent->members.first; m != NULL; m = m->next)
        if (m->peer != NULL && &m->peer->conn != from)
            emit_have(&m->peer->conn, n, &rows);
    isola_buf_free(&rows);
}

/* Keeps those that are newer than what is here. */
static int take(struct isola__secrets *secrets, struct isola_slice array,
                const struct isola__conn *from, struct isola_err *err)
{
    size_t n, news = 0;
    struct isola__secret_given *list = read_all(array, &n);
    if (list == NULL)
        return isola_fail(err, ISOLA_EPROTO, "a list of secrets is malformed");
    for (size_t i = 0; i < n; i++)
        if (isola__secret_wanted(secrets, list[i].app, list[i].name, list[i].revision))
            list[news++] = list[i];
    int rc = 0;
    if (secrets->index.count + news > ISOLA_SECRETS_MAX)
        rc = isola_fail(err, ISOLA_EOVERLOAD, "there are %zu secrets on node %s already",
                        secrets->index.count, secrets->agent->opt.name);
    else if (news > 0 && (rc = isola__secrets_put(secrets, list, news, err)) == 0)
        tell_on(secrets, list, news, from);
    free(list);
    return rc;
}

void isola__secrets_take(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    struct isola_slice array = {0};
    struct isola_err err;
    (void)isola_mp_find(params, "secrets", &array);
    if (take(&from->agent->secrets, array, from, &err) != 0)
        isola__fail(from, m->id, err.code, "%s", err.text);
    else
        isola__reply(from, m->id, isola_slice(NULL, 0));
}

/* --- asking for what another has --- */

struct pull {
    struct isola__ask ask;    /* first */
    struct isola__conn *from; /* counted */
    struct isola_buf wanted;  /* [app, name] one after the other */
    size_t *ends;             /* of each, in it */
    size_t n, at, asked;
};

static void pull_next(struct pull *p);

static void pull_end(struct pull *p)
{
    isola__conn_unref(p->from);
    isola_buf_free(&p->wanted);
    free(p->ends);
    free(p);
}

static void gave(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct pull *p = (struct pull *)ask;
    struct isola_slice array = {0}, value = isola__value(answer);
    struct isola_err err;
    uint64_t n = 0;
    int rc = answer->kind == ISOLA_MSG_FAIL ? isola__answer_error(answer, &err) : 0;
    if (rc == 0 && (!isola_mp_find(value, "secrets", &array) ||
                    !isola_mp_find_uint(value, "n", &n) || n == 0 || n > p->asked))
        rc = isola_fail(&err, ISOLA_EPROTO, "what it sent is not what it was asked for");
    if (rc == 0)
        rc = take(&p->from->agent->secrets, array, p->from, &err);
    if (rc != 0) {
        isola_log(ISOLA_LOG_WARN, "secrets could not be taken from %s: %s", p->from->label,
                  err.text);
        pull_end(p);
        return;
    }
    p->at += n;
    pull_next(p);
}

static void pull_next(struct pull *p)
{
    struct isola_buf params = {0};
    if (p->at == p->n || p->from->link == NULL) {
        pull_end(p);
        return;
    }
    p->asked = p->n - p->at < GIVE_MAX ? p->n - p->at : GIVE_MAX;
    size_t from = p->at > 0 ? p->ends[p->at - 1] : 0;
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "want");
    isola_mp_array(&params, p->asked);
    isola_buf_append(&params, p->wanted.data + from, p->ends[p->at + p->asked - 1] - from);
    p->ask = (struct isola__ask){.cb = gave};
    isola__ask(p->from, &p->ask, "secrets_give", isola_buf_slice(&params), GIVE_LIMIT_MS);
    isola_buf_free(&params);
}

/* [app, name, …] */
static bool read_names(struct isola_mp_reader *r, uint32_t fields, struct isola_slice *app,
                       struct isola_slice *name)
{
    struct isola_mp_item item;
    if (!isola_mp_take(r, ISOLA_MP_ARRAY, &item) || item.n != fields ||
        !isola_mp_take(r, ISOLA_MP_STR, &item))
        return false;
    *app = item.bytes;
    if (!isola_mp_take(r, ISOLA_MP_STR, &item))
        return false;
    *name = item.bytes;
    return isola_secret_app_ok(*app) && isola_secret_name_ok(*name);
}

void isola__secrets_have(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    struct isola_slice array = {0}, app, name;
    struct isola_mp_item item;
    (void)isola_mp_find(params, "have", &array);
    struct isola_mp_reader r = isola_mp_reader(array);
    bool good = isola_mp_take(&r, ISOLA_MP_ARRAY, &item) && item.n <= ISOLA_SECRETS_MAX;
    size_t n = good ? item.n : 0;
    struct pull *p = isola_zalloc(sizeof(*p));
    p->from = from;
    isola__conn_ref(from);
    p->ends = isola_alloc((n + 1) * sizeof(*p->ends));
    for (size_t i = 0; good && i < n; i++) {
        good = read_names(&r, 3, &app, &name) && isola_mp_take(&r, ISOLA_MP_UINT, &item);
        if (good && isola__secret_wanted(&from->agent->secrets, app, name, item.u)) {
            isola_mp_array(&p->wanted, 2);
            isola_mp_str(&p->wanted, app);
            isola_mp_str(&p->wanted, name);
            p->ends[p->n++] = p->wanted.len;
        }
    }
    if (!good)
        isola_log(ISOLA_LOG_WARN, "%s says which secrets it has, and that is malformed",
                  from->label);
    isola__reply(from, m->id, isola_slice(NULL, 0));
    pull_next(p);
}

/* False: there is none that could be given. */
static bool give_one(const struct isola__secrets *secrets, struct isola_slice app,
                     struct isola_slice name, struct isola_buf *out)
{
    const struct isola__secret *s = isola__secret_find(secrets, app, name);
    struct isola_buf value = {0};
    struct isola_err err;
    if (s == NULL || s->sealed ||
        (!s->gone && isola__secrets_get(secrets, s->app, s->name, &value, &err) != 0)) {
        isola_wipe(&value);
        return false;
    }
    write_one(&(struct isola__secret_given){.app = app,
                                            .name = name,
                                            .by = isola_slice_str(s->by),
                                            .revision = s->revision,
                                            .set_ms = s->set_ms,
                                            .gone = s->gone,
                                            .value = isola_buf_slice(&value)},
              out);
    isola_wipe(&value);
    return true;
}

void isola__secrets_give(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    struct isola_slice array = {0}, app, name;
    struct isola_mp_item item;
    struct isola_buf rows = {0}, out = {0};
    size_t given = 0, n = 0;
    (void)isola_mp_find(params, "want", &array);
    struct isola_mp_reader r = isola_mp_reader(array);
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &item) || item.n > GIVE_MAX) {
        isola__fail(from, m->id, ISOLA_EINVAL, "secrets_give: \"want\" must be an array of %u",
                    GIVE_MAX);
        return;
    }
    /* Of those that were asked for the first ones, as many as an answer holds. */
    for (size_t all = item.n; n < all && rows.len < GIVE_BYTES && read_names(&r, 2, &app, &name);
         n++)
        given += give_one(&from->agent->secrets, app, name, &rows);
    isola_mp_map(&out, 2);
    isola_mp_kuint(&out, "n", n);
    isola_mp_cstr(&out, "secrets");
    isola_mp_array(&out, given);
    isola_buf_append(&out, rows.data, rows.len);
    isola_wipe(&rows);
    isola__reply_buf(from, m->id, &out);
}

/* --- setting --- */

/* What a client has asked for, until every node has answered. */
struct change {
    char *app;
    struct isola_buf names, same, used; /* arrays' elements: changed, unchanged, types */
    size_t nnames, nsame;
};

static void change_free(struct change *c)
{
    free(c->app);
    isola_buf_free(&c->names);
    isola_buf_free(&c->same);
    isola_buf_free(&c->used);
    free(c);
}

static void put_names(struct isola_buf *out, const char *key, size_t n,
                      const struct isola_buf *from)
{
    isola_mp_cstr(out, key);
    isola_mp_array(out, n);
    isola_buf_append(out, from->data, from->len);
}

static void changed(struct isola__gather *g)
{
    struct change *c = g->arg;
    struct isola_buf out = {0};
    isola_mp_map(&out, 6);
    isola_mp_kstr(&out, "app", c->app);
    put_names(&out, "changed", c->nnames, &c->names);
    put_names(&out, "unchanged", c->nsame, &c->same);
    isola_mp_cstr(&out, "used");
    isola_buf_append(&out, c->used.data, c->used.len);
    isola__gather_done(g, &out);
    isola__reply_buf(g->from, g->id, &out);
    change_free(c);
}

static bool uses_any(char *const *at, const struct isola__secret_given *list, size_t n)
{
    for (; at != NULL && *at != NULL; at++)
        for (size_t i = 0; i < n; i++)
            if (isola_slice_is(list[i].name, *at))
                return true;
    return false;
}

static bool type_uses(const struct isola_manifest *m, const char *name,
                      const struct isola__secret_given *list, size_t n)
{
    const struct isola_actor_type *type =
        m != NULL ? isola_manifest_type(m, isola_slice_str(name)) : NULL;
    return type != NULL && uses_any(isola_manifest_secrets(m, type), list, n);
}

/* Appends the names of those types of `m` that use any, and do not in `except`: how many. Either
 * may be NULL. */
static size_t append_users(const struct isola_manifest *m, const struct isola_manifest *except,
                           const struct isola__secret_given *list, size_t n, struct isola_buf *out)
{
    size_t count = 0;
    for (size_t i = 0; m != NULL && i < m->ntypes; i++) {
        const char *type = m->types[i].name;
        if (!uses_any(isola_manifest_secrets(m, &m->types[i]), list, n) ||
            type_uses(except, type, list, n))
            continue;
        isola_mp_cstr(out, type);
        count++;
    }
    return count;
}

/* The types whose instances are replaced, also those of a canary. */
static void write_users(const struct isola__agent *agent, const char *app,
                        const struct isola__secret_given *list, size_t n, struct isola_buf *out)
{
    const struct isola__current *current =
        isola__releases_current((struct isola__releases *)(uintptr_t)&agent->releases, app);
    const struct isola_manifest *m = current != NULL ? current->manifest : NULL;
    const struct isola_manifest *canary = current != NULL ? current->candidate_manifest : NULL;
    struct isola_buf names = {0};
    size_t count = append_users(m, NULL, list, n, &names);
    count += append_users(canary, m, list, n, &names);
    isola_mp_array(out, count);
    isola_buf_append(out, names.data, names.len);
    isola_buf_free(&names);
}

/* Has it this value already? */
static bool same_value(const struct isola__secrets *secrets, const struct isola__secret_given *g)
{
    const struct isola__secret *s = isola__secret_find(secrets, g->app, g->name);
    struct isola_buf value = {0};
    struct isola_err err;
    bool same = s != NULL && !s->gone && !s->sealed &&
                isola__secrets_get(secrets, s->app, s->name, &value, &err) == 0 &&
                isola_slice_eq(isola_buf_slice(&value), g->value);
    isola_wipe(&value);
    return same;
}

/* Keeps them here, then tells every node. */
static void spread(struct isola__conn *from, uint64_t id, struct change *c,
                   struct isola__secret_given *list, size_t n)
{
    struct isola__agent *agent = from->agent;
    struct isola_err err;
    uint64_t revision = isola__releases_next_revision(&agent->releases);
    int64_t now = isola_clock_wall_ms();
    struct isola_buf params = {0}, nothing = {0};
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "secrets");
    isola_mp_array(&params, n);
    for (size_t i = 0; i < n; i++) {
        list[i].revision = revision;
        list[i].set_ms = now;
        write_one(&list[i], &params);
        isola_mp_str(&c->names, list[i].name);
    }
    c->nnames = n;
    write_users(agent, c->app, list, n, &c->used);
    if (n > 0 && isola__secrets_put(&agent->secrets, list, n, &err) != 0) {
        isola__fail(from, id, err.code, "%s", err.text);
        isola_wipe(&params);
        change_free(c);
        return;
    }
    struct isola__gather *g = isola__gather_new(from, id, 1 + agent->members.count, changed);
    g->arg = c;
    g->patience_ms = SET_LIMIT_MS;
    isola_mp_nil(&nothing);
    isola__gather_have(g, agent->opt.name, &nothing);
    isola__gather_members(g, "secrets_take", isola_buf_slice(&params));
    isola_wipe(&params);
    isola__gather_start(g);
}

static size_t count_of(const struct isola__secrets *secrets, struct isola_slice app)
{
    size_t n = 0;
    ISOLA_MAP_EACH(&secrets->index, e)
    {
        const struct isola__secret *s = e->value;
        n += !s->gone && isola_slice_is(app, s->app);
    }
    return n;
}

/* The app and who asks for it; false: the asker has been told what is wrong. */
static bool read_change(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params, struct isola_slice *app, struct isola_slice *by)
{
    *by = (struct isola_slice){0};
    if (!isola_mp_find_str(params, "app", app) || !isola_secret_app_ok(*app))
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "%.*s: \"app\" must be the name of an app: a lower-case letter, then "
                    "lower-case letters, digits or \"-\"",
                    ISOLA_FMT(m->event));
    else if (isola_mp_find_str(params, "by", by) &&
             !isola_release_text_ok(*by, ISOLA_RELEASE_BY_MAX))
        isola__fail(from, m->id, ISOLA_EINVAL, "%.*s: \"by\" must be a string of %d bytes at most",
                    ISOLA_FMT(m->event), ISOLA_RELEASE_BY_MAX);
    else
        return true;
    return false;
}

/* One of those a client sets: {name, value}. */
static int read_set(struct isola_slice map, struct isola__secret_given *out, struct isola_err *err)
{
    if (!isola_mp_find_str(map, "name", &out->name) || !isola_secret_name_ok(out->name))
        return isola_fail(err, ISOLA_EINVAL,
                          "\"%.*s\" cannot be a secret's name: that is letters, digits and \"_\", "
                          "the first no digit, %d at the most, as of any variable of the "
                          "environment",
                          ISOLA_FMT(isola_slice_cut(out->name, 100)), ISOLA_SECRET_NAME_MAX);
    if (!isola_mp_find_bin(map, "value", &out->value))
        return isola_fail(err, ISOLA_EINVAL, "the secret %.*s has no value", ISOLA_FMT(out->name));
    if (out->value.len > ISOLA_SECRET_MAX)
        return isola_fail(err, ISOLA_ETOOBIG, "the secret %.*s has %zu bytes; %u at the most",
                          ISOLA_FMT(out->name), out->value.len, ISOLA_SECRET_MAX);
    if (out->value.len == 0)
        return isola_fail(err, ISOLA_EINVAL,
                          "the secret %.*s would be empty; `ctl secret rm` removes one",
                          ISOLA_FMT(out->name));
    if (!value_ok(out->value))
        return isola_fail(err, ISOLA_EINVAL,
                          "the secret %.*s is no text: a variable of the environment can only be "
                          "UTF-8 without NUL; encode it, in base64 say",
                          ISOLA_FMT(out->name));
    return 0;
}

void isola__secret_set(struct isola__conn *from, const struct isola_msg *m,
                       struct isola_slice params)
{
    struct isola__secrets *secrets = &from->agent->secrets;
    struct isola_slice app, by, array = {0}, map;
    struct isola_mp_item head;
    struct isola_err err = {0};
    if (!read_change(from, m, params, &app, &by))
        return;
    (void)isola_mp_find(params, "secrets", &array);
    struct isola_mp_reader r = isola_mp_reader(array);
    if (!isola_mp_take(&r, ISOLA_MP_ARRAY, &head) || head.n > ISOLA_SECRETS_OF_APP) {
        isola__fail(from, m->id, ISOLA_EINVAL, "secret_set: \"secrets\" must be an array of %u",
                    ISOLA_SECRETS_OF_APP);
        return;
    }
    struct isola__secret_given *list = isola_zalloc((head.n + 1) * sizeof(*list));
    struct change *c = isola_zalloc(sizeof(*c));
    size_t n = 0, fresh = 0;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < head.n; i++) {
        struct isola__secret_given *g = &list[n];
        *g = (struct isola__secret_given){.app = app, .by = by};
        rc = isola_mp_skip(&r, &map) != 0 ? ISOLA_EINVAL : read_set(map, g, &err);
        if (rc != 0)
            break;
        if (same_value(secrets, g)) {
            isola_mp_str(&c->same, g->name);
            c->nsame++;
            continue;
        }
        const struct isola__secret *s = isola__secret_find(secrets, app, g->name);
        fresh += s == NULL || s->gone;
        n++;
    }
    if (rc == 0 && (count_of(secrets, app) + fresh > ISOLA_SECRETS_OF_APP ||
                    secrets->index.count + fresh > ISOLA_SECRETS_MAX))
        rc = isola_fail(&err, ISOLA_EOVERLOAD,
                        "an app can have %u secrets, all apps together %u; `ctl secret list %.*s` "
                        "says which there are",
                        ISOLA_SECRETS_OF_APP, ISOLA_SECRETS_MAX, ISOLA_FMT(app));
    if (rc != 0) {
        isola__fail(from, m->id, rc, "%s", err.text);
        change_free(c);
    } else {
        c->app = isola_strndup((const char *)app.data, app.len);
        spread(from, m->id, c, list, n);
    }
    free(list);
}

/* May it be removed? */
static int check_removal(const struct isola__secrets *secrets, struct isola_slice app,
                         struct isola_slice name, struct isola_err *err)
{
    const struct isola__secret *s =
        isola_secret_name_ok(name) ? isola__secret_find(secrets, app, name) : NULL;
    if (s == NULL || s->gone)
        return isola_fail(err, ISOLA_ENOENT,
                          "app %.*s has no secret %.*s; `ctl secret list %.*s` says which it has",
                          ISOLA_FMT(app), ISOLA_FMT(isola_slice_cut(name, 100)), ISOLA_FMT(app));
    struct isola_buf types = {0};
    struct isola_slice first = {0};
    size_t n = isola__secret_users(secrets, s->app, s->name, &types);
    int rc = 0;
    if (n > 0) {
        struct isola_mp_reader r = isola_mp_reader(isola_buf_slice(&types));
        struct isola_mp_item item = {0};
        if (isola_mp_take(&r, ISOLA_MP_ARRAY, &item) && isola_mp_take(&r, ISOLA_MP_STR, &item))
            first = item.bytes;
        rc = isola_fail(err, ISOLA_EBUSY,
                        "%s/%.*s uses the secret %s, and could not be started without: deploy a "
                        "release that does not name it first, or set it to something else",
                        s->app, ISOLA_FMT(first), s->name);
    }
    isola_buf_free(&types);
    return rc;
}

void isola__secret_remove(struct isola__conn *from, const struct isola_msg *m,
                          struct isola_slice params)
{
    struct isola__secrets *secrets = &from->agent->secrets;
    struct isola_slice app, by, array = {0};
    struct isola_mp_item item = {0};
    struct isola_err err = {0};
    if (!read_change(from, m, params, &app, &by))
        return;
    (void)isola_mp_find(params, "names", &array);
    struct isola_mp_reader r = isola_mp_reader(array);
    bool good = isola_mp_take(&r, ISOLA_MP_ARRAY, &item) && item.n <= ISOLA_SECRETS_OF_APP;
    size_t n = good ? item.n : 0;
    struct isola__secret_given *list = isola_zalloc((n + 1) * sizeof(*list));
    int rc = 0;
    for (size_t i = 0; good && rc == 0 && i < n; i++) {
        good = isola_mp_take(&r, ISOLA_MP_STR, &item);
        list[i] =
            (struct isola__secret_given){.app = app, .name = item.bytes, .by = by, .gone = true};
        if (good)
            rc = check_removal(secrets, app, item.bytes, &err);
    }
    if (!good)
        rc = isola_fail(&err, ISOLA_EINVAL, "secret_remove: \"names\" must be an array of strings");
    if (rc != 0) {
        isola__fail(from, m->id, rc, "%s", err.text);
    } else {
        struct change *c = isola_zalloc(sizeof(*c));
        c->app = isola_strndup((const char *)app.data, app.len);
        spread(from, m->id, c, list, n);
    }
    free(list);
}

/* --- listing --- */

static int by_name(const void *a, const void *b)
{
    const struct isola__secret *x = *(struct isola__secret *const *)a;
    const struct isola__secret *y = *(struct isola__secret *const *)b;
    int order = strcmp(x->app, y->app);
    return order != 0 ? order : strcmp(x->name, y->name);
}

void isola__secrets_list(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    const struct isola__secrets *secrets = &from->agent->secrets;
    struct isola_slice app = {0};
    bool one = isola_mp_find_str(params, "app", &app);
    const struct isola__secret **all = isola_alloc((secrets->index.count + 1) * sizeof(*all));
    size_t n = 0;
    ISOLA_MAP_EACH(&secrets->index, e)
    {
        const struct isola__secret *s = e->value;
        if (!s->gone && (!one || isola_slice_is(app, s->app)))
            all[n++] = s;
    }
    qsort((void *)all, n, sizeof(*all), by_name);
    struct isola_buf out = {0};
    isola_mp_map(&out, 1);
    isola_mp_cstr(&out, "secrets");
    isola_mp_array(&out, n);
    for (size_t i = 0; i < n; i++) {
        isola_mp_map(&out, 6);
        isola_mp_kstr(&out, "app", all[i]->app);
        isola_mp_kstr(&out, "name", all[i]->name);
        isola_mp_kuint(&out, "set_ms", all[i]->set_ms > 0 ? (uint64_t)all[i]->set_ms : 0);
        isola_mp_kstr(&out, "by", all[i]->by);
        isola_mp_kbool(&out, "unreadable", all[i]->sealed);
        isola_mp_cstr(&out, "used");
        (void)isola__secret_users(secrets, all[i]->app, all[i]->name, &out);
    }
    free((void *)all);
    isola__reply_buf(from, m->id, &out);
}
