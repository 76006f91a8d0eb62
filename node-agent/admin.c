/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/admin.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"

#define REMOVE_LIMIT_MS 5000

static bool in_cluster(struct isola__conn *from, const struct isola_msg *m, const char *what)
{
    const struct isola__cluster *cluster = &from->agent->cluster;
    const struct isola_removal *gone = isola__cluster_removed(cluster);
    char when[ISOLA_DATE_SIZE];
    if (!cluster->member)
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "%s: node %s is in no cluster; `ctl init` makes one of it", what,
                    from->agent->opt.name);
    else if (gone != NULL)
        isola__fail(from, m->id, ISOLA_EPERM, "%s: node %s was removed from cluster %s (%s)", what,
                    from->agent->opt.name, cluster->name,
                    isola_identity_date(gone->removed_ms, when));
    return cluster->member && gone == NULL;
}

/* The member that has the cluster's key, or NULL. */
static struct isola__member *keeper(struct isola__agent *agent)
{
    struct isola__member *m = agent->members.first;
    while (m != NULL && !m->record.keeper)
        m = m->next;
    return m;
}

static void fail_no_key(struct isola__conn *from, uint64_t id, const char *what, const char *how)
{
    const struct isola__member *m = keeper(from->agent);
    if (m == NULL)
        isola__fail(from, id, ISOLA_EUNREACHABLE,
                    "%s: the cluster's key is on none of the nodes that are known here; it is on "
                    "the one where `ctl init` was run",
                    what);
    else
        isola__fail(from, id, ISOLA_EUNREACHABLE,
                    "%s: the cluster's key is on node %s%s; run %s there", what, m->record.name,
                    m->peer == NULL ? ", which is down" : "", how);
}

/* --- init --- */

static void reply_init(struct isola__conn *from, uint64_t id)
{
    const struct isola__agent *agent = from->agent;
    struct isola_buf out = {0};
    isola_mp_map(&out, 4);
    isola_mp_kstr(&out, "cluster", agent->cluster.name);
    isola_mp_kstr(&out, "id", agent->cluster.id);
    isola_mp_kstr(&out, "node", agent->opt.name);
    isola_mp_kstr(&out, "url", agent->url);
    isola__reply_buf(from, id, &out);
}

void isola__init(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice given = isola_slice_str("isola");
    struct isola_slice any;
    struct isola_err err;
    if (isola_mp_find(params, "name", &any) && !isola_mp_find_str(params, "name", &given)) {
        isola__fail(from, m->id, ISOLA_EINVAL, "init: \"name\" must be a string");
        return;
    }
    if (!isola_node_name_ok((const char *)given.data, given.len)) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "init: a cluster's name is 1 to %d letters, digits, '.', '_' or '-', the first "
                    "a letter or digit",
                    ISOLA_NODE_NAME_MAX);
        return;
    }
    if (agent->state != ISOLA_AGENT_READY) {
        isola__fail(from, m->id, ISOLA_EBUSY, "init: node %s is still starting", agent->opt.name);
        return;
    }
    char *name = isola_strndup((const char *)given.data, given.len);
    int rc = isola__agent_found(agent, name, &err);
    free(name);
    if (rc != 0)
        isola__fail(from, m->id, rc, "init: %s", err.text);
    else
        reply_init(from, m->id);
}

/* --- token --- */

static void fill_addresses(const struct isola__agent *agent, struct isola_token *token)
{
    snprintf(token->addresses[0], sizeof(token->addresses[0]), "%s", agent->url);
    token->naddresses = 1;
}

void isola__token(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola__cluster *cluster = &agent->cluster;
    uint64_t life = ISOLA_TOKEN_LIFE_MS;
    struct isola_err err;
    struct isola_tcp at;
    if (!in_cluster(from, m, "token"))
        return;
    if (cluster->issuer == NULL) {
        fail_no_key(from, m->id, "token", "`ctl token`");
        return;
    }
    (void)isola_mp_find_uint(params, "expires_ms", &life);
    struct isola_token *token = isola_secret_alloc(sizeof(*token));
    int rc =
        isola__issuer_token(cluster->issuer, life > ISOLA_TOKEN_MAX_MS ? INT64_MAX : (int64_t)life,
                            isola_clock_wall_ms(), token, &err);
    if (rc != 0) {
        isola__fail(from, m->id, rc, "token: %s", err.text);
    } else {
        struct isola_buf text = {0}, out = {0};
        fill_addresses(agent, token);
        isola_token_write(token, &text);
        isola_mp_map(&out, 5);
        isola_mp_kstr(&out, "token", isola_buf_cstr(&text));
        isola_mp_kuint(&out, "expires", (uint64_t)token->expires_ms);
        isola_mp_kstr(&out, "cluster", cluster->name);
        isola_mp_kstr(&out, "address", agent->url);
        isola_mp_kbool(&out, "local", isola_tcp_parse(agent->url, &at) && isola_tcp_loopback(&at));
        isola_log(ISOLA_LOG_INFO, "a join token was made, which lets one node in");
        isola__reply_buf(from, m->id, &out);
        isola_buf_free(&text);
    }
    isola_secret_free(token);
}

/* --- certify --- */

/* {certificate, cluster, nodes, down, removed}: all a new member needs to begin. */
static void reply_certified(struct isola__conn *from, uint64_t id, struct isola_buf *cert)
{
    struct isola__agent *agent = from->agent;
    struct isola__record own;
    struct isola_buf out = {0};
    isola__record_own(agent, &own);
    isola_mp_map(&out, 6);
    isola_mp_cstr(&out, "certificate");
    isola_mp_bin(&out, isola_buf_slice(cert));
    isola_mp_kstr(&out, "cluster", agent->cluster.name);
    isola_mp_cstr(&out, "node");
    isola__record_write(&own, &out);
    isola__members_write(&agent->members, &out);
    isola_mp_cstr(&out, "removed");
    isola_removals_write(&agent->cluster.removals, &out);
    isola__record_free(&own);
    isola__reply_buf(from, id, &out);
}

void isola__certify(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__cluster *cluster = &from->agent->cluster;
    struct isola__request q = {0};
    struct isola_buf cert = {0};
    struct isola_err err;
    (void)isola_mp_find_bin(params, "token", &q.token_id);
    (void)isola_mp_find_bin(params, "secret", &q.secret);
    (void)isola_mp_find_str(params, "name", &q.name);
    (void)isola_mp_find_bin(params, "key", &q.node_key);
    (void)isola_mp_find_bin(params, "static", &q.static_key);
    (void)isola_mp_find_bin(params, "signature", &q.signature);
    struct isola__peer *peer = (struct isola__peer *)from;
    if (peer->certified) {
        peer->refused = true;
        isola__conn_refuse(from, "it asks for a certificate twice");
        return;
    }
    peer->certified = true;
    if (cluster->issuer == NULL) {
        fail_no_key(from, m->id, "certify", "`ctl token`");
        return;
    }
    int rc = isola__issuer_certify(cluster->issuer, &q, isola_clock_wall_ms(), &cert, &err);
    if (rc != 0) {
        isola_log(ISOLA_LOG_WARN, "%s is not let in: %s", from->label, err.text);
        isola__fail(from, m->id, rc, "%s", err.text);
    } else {
        isola_log(ISOLA_LOG_INFO, "node %.*s joins the cluster, with a token", ISOLA_FMT(q.name));
        reply_certified(from, m->id, &cert);
    }
    isola_buf_free(&cert);
}

/* --- removed nodes --- */

static void write_entries(const struct isola__agent *agent, size_t first, struct isola_buf *out)
{
    const struct isola_removals *list = &agent->cluster.removals;
    isola_mp_map(out, 1);
    isola_mp_cstr(out, "entries");
    isola_mp_array(out, list->n - first);
    for (size_t i = first; i < list->n; i++)
        isola_mp_bin(out, isola_buf_slice(&list->entries[i]->bytes));
}

/* To all, the removed among them: whose links end with it. */
static void tell_removed(struct isola__agent *agent, size_t first)
{
    struct isola_buf params = {0};
    write_entries(agent, first, &params);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        if (m->peer != NULL)
            (void)isola__emit(&m->peer->conn, "removed", isola_buf_slice(&params));
    }
    isola_buf_free(&params);
}

void isola__removed_tell(struct isola__conn *conn, const uint8_t node_key[ISOLA_KEY_SIZE])
{
    const struct isola_removals *list = &conn->agent->cluster.removals;
    for (size_t i = 0; i < list->n; i++) {
        if (memcmp(list->entries[i]->removal.node_key, node_key, ISOLA_KEY_SIZE) != 0)
            continue;
        struct isola_buf params = {0};
        isola_mp_map(&params, 1);
        isola_mp_cstr(&params, "entries");
        isola_mp_array(&params, 1);
        isola_mp_bin(&params, isola_buf_slice(&list->entries[i]->bytes));
        (void)isola__emit(conn, "removed", isola_buf_slice(&params));
        isola_buf_free(&params);
    }
}

void isola__removed_learn(struct isola__agent *agent, struct isola_slice entries)
{
    struct isola__cluster *cluster = &agent->cluster;
    size_t before = cluster->removals.n;
    struct isola_err err;
    bool was = isola__cluster_removed(cluster) != NULL;
    if (isola__cluster_learn(cluster, entries, &err) < 0)
        isola_log(ISOLA_LOG_WARN, "%s", err.text);
    if (cluster->removals.n == before)
        return;
    tell_removed(agent, before);
    for (size_t i = before; i < cluster->removals.n; i++) {
        const struct isola_removal *r = &cluster->removals.entries[i]->removal;
        struct isola__member *m = isola__member_of_key(&agent->members, r->node_key);
        isola_log(ISOLA_LOG_WARN, "node %s was removed from the cluster", r->name);
        if (m != NULL)
            isola__member_bury(&agent->members, m);
    }
    isola__members_keep(&agent->members);
    isola__members_changed(&agent->members);
    if (!was && isola__cluster_removed(cluster) != NULL)
        isola__agent_removed(agent);
}

void isola__removed(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice entries = {0};
    if (isola_mp_find(params, "entries", &entries))
        isola__removed_learn(from->agent, entries);
    isola__reply(from, m->id, isola_slice(NULL, 0));
}

/* Here, where the cluster's key is. */
static void remove_here(struct isola__conn *from, uint64_t id, const char *name, bool force)
{
    struct isola__agent *agent = from->agent;
    struct isola__member *member = isola__member_find(&agent->members, name);
    bool up = member != NULL && member->peer != NULL;
    struct isola_buf entry = {0}, list = {0}, out = {0};
    struct isola_err err;
    if (strcmp(name, agent->opt.name) == 0) {
        isola__fail(from, id, ISOLA_EPERM,
                    "remove: the cluster's key is on node %s, without which no node could join or "
                    "be removed any more; move the key to another node first (docs/security.md)",
                    name);
        return;
    }
    if (up && !force) {
        isola__fail(from, id, ISOLA_EBUSY,
                    "remove: node %s is up. Once removed it is out for good, and the state of the "
                    "actors that live there with it. Stop it first, or, if it must be out at once, "
                    "--force",
                    name);
        return;
    }
    int rc = isola__issuer_remove(agent->cluster.issuer, name, isola_clock_wall_ms(), &entry, &err);
    if (rc != 0) {
        isola__fail(from, id, rc, "remove: %s", err.text);
    } else {
        size_t before = agent->cluster.removals.n;
        isola_mp_array(&list, 1);
        isola_mp_bin(&list, isola_buf_slice(&entry));
        isola__removed_learn(agent, isola_buf_slice(&list));
        if (agent->cluster.removals.n == before)
            tell_removed(agent, 0); /* whoever asks again has a reason */
        isola_mp_map(&out, 3);
        isola_mp_kstr(&out, "node", name);
        isola_mp_kbool(&out, "was_up", up);
        isola_mp_kbool(&out, "already", agent->cluster.removals.n == before);
        isola__reply_buf(from, id, &out);
    }
    isola_buf_free(&entry);
    isola_buf_free(&list);
}

static void pass_on(struct isola__conn *from, const struct isola_msg *m, struct isola__conn *to,
                    const char *name, bool force)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "node", name);
    isola_mp_kbool(&params, "force", force);
    isola__pass_on(from, m, to, name, isola_buf_slice(&params), REMOVE_LIMIT_MS);
    isola_buf_free(&params);
}

static void remove_node(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params, bool may_pass)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice given;
    bool force = false;
    if (!in_cluster(from, m, "remove"))
        return;
    (void)isola_mp_find_bool(params, "force", &force);
    if (!isola_mp_find_str(params, "node", &given) ||
        !isola_node_name_ok((const char *)given.data, given.len)) {
        isola__fail(from, m->id, ISOLA_EINVAL, "remove: \"node\" must be the name of a node");
        return;
    }
    char *name = isola_strndup((const char *)given.data, given.len);
    struct isola__member *to = may_pass ? keeper(agent) : NULL;
    if (agent->cluster.issuer != NULL)
        remove_here(from, m->id, name, force);
    else if (to != NULL && to->peer != NULL)
        pass_on(from, m, &to->peer->conn, name, force);
    else
        fail_no_key(from, m->id, "remove", "`ctl remove`");
    free(name);
}

void isola__remove(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    remove_node(from, m, params, true);
}

void isola__remove_peer(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params)
{
    remove_node(from, m, params, false);
}
