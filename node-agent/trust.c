/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/trust.h"

#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "transport/trust.h"

#define TRUST_LIMIT_MS 5000

_Static_assert(ISOLA_RELEASE_SIGNATURE == ISOLA_RELEASE_SIGNED, "both are the same signature");
_Static_assert(ISOLA_RELEASE_HASH_SIZE == ISOLA_RELEASE_HASH, "both are the same hash");

int isola__trust_check(struct isola__agent *agent, const struct isola_release *r,
                       struct isola_err *err)
{
    const struct isola_trust *trust = &agent->cluster.trust;
    uint8_t hash[ISOLA_RELEASE_HASH];
    char key[ISOLA_DEPLOYER_TEXT];
    if (trust->n == 0)
        return 0;
    if (!r->is_signed)
        return isola_fail(err, ISOLA_EPERM,
                          "release %s of app \"%s\" is not signed; `ctl trust list` says who may "
                          "deploy, `ctl trust init` makes a key to sign with",
                          r->id, r->app);
    isola_release_hash(r, hash);
    if (!isola_deployer_signed(r->signature, r->app, hash))
        return isola_fail(err, ISOLA_EPERM,
                          "the signature of release %s of app \"%s\" is of something else", r->id,
                          r->app);
    if (isola_trust_allows(trust, r->signature, r->app))
        return r->candidate != NULL ? isola__trust_check(agent, r->candidate, err) : 0;
    isola_deployer_write(r->signature, key);
    return isola_fail(err, ISOLA_EPERM,
                      "release %s of app \"%s\" is signed by one who may not deploy it (%s); `ctl "
                      "trust list` says who may",
                      r->id, r->app, key);
}

/* --- telling --- */

static void tell(struct isola__agent *agent)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "list");
    isola_mp_bin(&params, isola_buf_slice(&agent->cluster.trust_list));
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        if (m->peer != NULL)
            (void)isola__emit(&m->peer->conn, "trusted", isola_buf_slice(&params));
    }
    isola_buf_free(&params);
}

void isola__trust_learn(struct isola__agent *agent, struct isola_slice list)
{
    struct isola_err err;
    int rc = isola__cluster_take_trust(&agent->cluster, list, &err);
    if (rc < 0)
        isola_log(ISOLA_LOG_WARN, "%s", err.text);
    if (rc > 0) {
        isola_log(ISOLA_LOG_INFO, "who may deploy has changed: %zu may now",
                  agent->cluster.trust.n);
        tell(agent);
    }
}

void isola__trusted(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice list;
    if (isola_mp_find_bin(params, "list", &list))
        isola__trust_learn(from->agent, list);
    isola__reply(from, m->id, isola_slice(NULL, 0));
}

/* --- the list --- */

struct unsigned_apps {
    struct isola__agent *agent;
    struct isola_buf names;
    size_t n;
};

static void note_unsigned(const struct isola_release *r, void *arg)
{
    struct unsigned_apps *u = arg;
    struct isola_err err;
    if (isola__trust_check(u->agent, r, &err) != 0) {
        isola_mp_cstr(&u->names, r->app);
        u->n++;
    }
}

static void reply_list(struct isola__conn *from, uint64_t id)
{
    struct isola__agent *agent = from->agent;
    const struct isola_trust *trust = &agent->cluster.trust;
    struct unsigned_apps u = {.agent = agent};
    struct isola_buf out = {0};
    struct isola_err err;
    if (isola_catalog_each(agent->catalog, note_unsigned, &u, &err) != 0)
        isola_log(ISOLA_LOG_WARN, "%s", err.text);
    isola_mp_map(&out, 3);
    isola_mp_kuint(&out, "revision", trust->revision);
    isola_mp_cstr(&out, "trusted");
    isola_mp_array(&out, trust->n);
    for (size_t i = 0; i < trust->n; i++) {
        char key[ISOLA_DEPLOYER_TEXT];
        isola_deployer_write(trust->list[i].key, key);
        isola_mp_map(&out, 3);
        isola_mp_kstr(&out, "name", trust->list[i].name);
        isola_mp_kstr(&out, "key", key);
        isola_mp_kstr(&out, "app", trust->list[i].app);
    }
    isola_mp_cstr(&out, "unsigned");
    isola_mp_array(&out, u.n);
    isola_buf_append(&out, u.names.data, u.names.len);
    isola_buf_free(&u.names);
    isola__reply_buf(from, id, &out);
}

/* --- changing it --- */

static int add(const struct isola_trust *now, const struct isola_trusted *who,
               struct isola_trust *next, struct isola_err *err)
{
    for (size_t i = 0; i < now->n; i++) {
        const struct isola_trusted *t = &now->list[i];
        isola_trust_add(next, t);
        if (strcmp(t->name, who->name) == 0 && memcmp(t->key, who->key, ISOLA_KEY_SIZE) != 0)
            return isola_fail(err, ISOLA_EEXIST,
                              "trust: %s is trusted already, with another key; `ctl trust remove "
                              "%s` first, or choose another name",
                              who->name, who->name);
    }
    if (now->n >= ISOLA_TRUSTED_MAX)
        return isola_fail(err, ISOLA_EOVERLOAD, "trust: %d are trusted already", ISOLA_TRUSTED_MAX);
    if (!isola_trust_has(now, who))
        isola_trust_add(next, who);
    return 0;
}

/* Of that app alone, when there is one. */
static int drop(const struct isola_trust *now, const struct isola_trusted *who,
                struct isola_trust *next, struct isola_err *err)
{
    for (size_t i = 0; i < now->n; i++) {
        const struct isola_trusted *t = &now->list[i];
        if (strcmp(t->name, who->name) != 0 ||
            (who->app[0] != '\0' && strcmp(t->app, who->app) != 0))
            isola_trust_add(next, t);
    }
    return next->n < now->n
               ? 0
               : isola_fail(err, ISOLA_ENOENT,
                            "trust: no %s is trusted%s%s; `ctl trust list` says who is", who->name,
                            who->app[0] != '\0' ? " with app " : "", who->app);
}

static int read_change(struct isola_slice params, struct isola_trusted *who, bool *adds,
                       struct isola_err *err)
{
    struct isola_slice name, key, app = {0};
    *who = (struct isola_trusted){0};
    *adds = isola_mp_find_str(params, "add", &name);
    if (!*adds && !isola_mp_find_str(params, "remove", &name))
        return isola_fail(err, ISOLA_EINVAL, "trust: \"add\" or \"remove\" must be a name");
    if (!isola_node_name_ok((const char *)name.data, name.len))
        return isola_fail(err, ISOLA_EINVAL,
                          "trust: a name is 1 to %d letters, digits, '.', '_' or '-', the first a "
                          "letter or digit",
                          ISOLA_NODE_NAME_MAX);
    memcpy(who->name, name.data, name.len);
    if (isola_mp_find_str(params, "app", &app)) {
        if (app.len == 0 || app.len > ISOLA_TRUST_APP_MAX || memchr(app.data, 0, app.len) != NULL)
            return isola_fail(err, ISOLA_EINVAL, "trust: \"app\" must be the name of an app");
        memcpy(who->app, app.data, app.len);
    }
    if (!*adds)
        return 0;
    if (!isola_mp_find_str(params, "key", &key))
        return isola_fail(err, ISOLA_EINVAL, "trust: \"key\" is missing");
    return isola_deployer_read(key, who->key, err);
}

/* Here, where the cluster's key is, or in no cluster. */
static void change(struct isola__conn *from, uint64_t id, const struct isola_trusted *who,
                   bool adds)
{
    struct isola__agent *agent = from->agent;
    const struct isola_trust *now = &agent->cluster.trust;
    struct isola_trust next = {.revision = now->revision + 1};
    struct isola_err err;
    int rc = adds ? add(now, who, &next, &err) : drop(now, who, &next, &err);
    if (rc == 0 && next.n != now->n &&
        (rc = isola__cluster_trust(&agent->cluster, &next, &err)) == 0) {
        isola_log(ISOLA_LOG_INFO, "%s %s deploy%s%s", who->name, adds ? "may" : "may no more",
                  who->app[0] != '\0' ? " app " : "", who->app);
        tell(agent);
    }
    isola_trust_free(&next);
    if (rc != 0)
        isola__fail(from, id, rc, "%s", err.text);
    else
        reply_list(from, id);
}

static void trust(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params,
                  bool may_pass)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice any;
    struct isola_trusted who;
    struct isola_err err;
    bool adds;
    if (!isola_mp_find(params, "add", &any) && !isola_mp_find(params, "remove", &any)) {
        reply_list(from, m->id);
        return;
    }
    if (read_change(params, &who, &adds, &err) != 0) {
        isola__fail(from, m->id, err.code, "%s", err.text);
        return;
    }
    if (!agent->cluster.member || agent->cluster.issuer != NULL) {
        change(from, m->id, &who, adds);
        return;
    }
    const struct isola__member *keeper = agent->members.first;
    while (keeper != NULL && !keeper->record.keeper)
        keeper = keeper->next;
    if (may_pass && keeper != NULL && keeper->peer != NULL)
        isola__pass_on(from, m, &keeper->peer->conn, keeper->record.name, params, TRUST_LIMIT_MS);
    else
        isola__fail(from, m->id, ISOLA_EUNREACHABLE,
                    "trust: who may deploy is changed where the cluster's key is, on %s%s",
                    keeper != NULL ? keeper->record.name : "the node where `ctl init` was run",
                    keeper != NULL && keeper->peer == NULL ? ", which is down" : "");
}

void isola__trust(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    trust(from, m, params, true);
}

void isola__trust_peer(struct isola__conn *from, const struct isola_msg *m,
                       struct isola_slice params)
{
    trust(from, m, params, false);
}
