/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/members.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "base/nearest.h"
#include "node-agent/agent.h"
#include "node-agent/debug_far.h"
#include "node-agent/debug_tunnel.h"

#define TICK_MS       500
#define TICK_LATE_MS  1500
#define REDIAL_MIN_MS 100
#define REDIAL_MAX_MS 5000

/* --- telling --- */

static void tell_host(struct isola__agent *agent)
{
    if (agent->host.state != ISOLA_HOST_READY || agent->host.conn == NULL)
        return;
    size_t live = 1;
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next)
        live += m->peer != NULL;
    struct isola_buf view = {0};
    isola_mp_map(&view, 5);
    isola_mp_kstr(&view, "self", agent->opt.name);
    isola_mp_cstr(&view, "open");
    isola_mp_bool(&view, agent->host.open);
    isola_mp_cstr(&view, "nodes");
    isola_mp_array(&view, live);
    isola_mp_map(&view, 2);
    isola_mp_kstr(&view, "name", agent->opt.name);
    isola_mp_kstr(&view, "url", agent->host.url);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        if (m->peer == NULL)
            continue;
        isola_mp_map(&view, m->record.host_url != NULL ? 6 : 4);
        isola_mp_kstr(&view, "version", m->record.version);
        isola_mp_kstr(&view, "name", m->record.name);
        isola_mp_kbool(&view, "behind", m->behind);
        isola_mp_kstr(&view, "url", m->record.host_url);
        if (m->record.host_url != NULL) {
            isola_mp_cstr(&view, "key");
            isola_mp_bin(&view, isola_slice(m->record.host_key, ISOLA_KEY_SIZE));
            isola_mp_kuint(&view, "started", m->record.host_started);
        }
    }
    isola_mp_cstr(&view, "removed");
    const struct isola_removals *removed = &agent->cluster.removals;
    isola_mp_array(&view, removed->n - agent->host.removals_told);
    for (size_t i = agent->host.removals_told; i < removed->n; i++)
        isola_mp_bin(&view, isola_buf_slice(&removed->entries[i]->bytes));
    isola_mp_cstr(&view, "down");
    isola_mp_array(&view, 1 + agent->members.count - live);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        if (m->peer == NULL)
            isola_mp_cstr(&view, m->record.name);
    }
    if (view.failed || isola__emit(agent->host.conn, "view", isola_buf_slice(&view)) != 0)
        isola_log(ISOLA_LOG_ERROR, "the actor-host could not be told which nodes are live");
    else
        agent->host.removals_told = removed->n;
    isola_buf_free(&view);
}

/* {node}: our record. */
static void write_own(struct isola__agent *agent, struct isola_buf *params)
{
    struct isola__record own;
    isola__record_own(agent, &own);
    isola_mp_map(params, 1);
    isola_mp_cstr(params, "node");
    isola__record_write(&own, params);
    isola__record_free(&own);
}

void isola__member_tell(struct isola__member *member)
{
    struct isola_buf params = {0};
    if (member->peer == NULL)
        return;
    write_own(member->peer->conn.agent, &params);
    (void)isola__emit(&member->peer->conn, "node", isola_buf_slice(&params));
    isola_buf_free(&params);
}

static void tell_peers(struct isola__members *members)
{
    struct isola_buf params = {0};
    write_own(members->agent, &params);
    if (isola_slice_eq(isola_buf_slice(&params), isola_buf_slice(&members->told))) {
        isola_buf_free(&params);
        return;
    }
    isola_buf_free(&members->told);
    members->told = params;
    for (struct isola__member *m = members->first; m != NULL; m = m->next) {
        if (m->peer != NULL)
            (void)isola__emit(&m->peer->conn, "node", isola_buf_slice(&params));
    }
}

void isola__members_changed(struct isola__members *members)
{
    if (members->stopping)
        return;
    tell_host(members->agent);
    if (members->agent->cluster.member)
        tell_peers(members);
    isola__notify_changed(&members->agent->notify);
}

void isola__peers_log(struct isola__members *members, struct isola_slice args)
{
    struct isola_msg m = {
        .kind = ISOLA_MSG_EMIT, .bulk = true, .event = isola_slice_str("log"), .args = args};
    for (struct isola__member *member = members->first; member != NULL; member = member->next) {
        if (member->peer != NULL && member->peer->follow)
            (void)isola__conn_send(&member->peer->conn, &m);
    }
}

/* --- one member --- */

struct isola__conn *isola__member_conn(const struct isola__member *member)
{
    return member->peer != NULL && member->peer->conn.link != NULL ? &member->peer->conn : NULL;
}

void isola__member_pass_on(struct isola__conn *from, const struct isola_msg *m,
                           struct isola_slice name, struct isola_slice params, uint32_t ms)
{
    char *node = isola_strndup((const char *)name.data, name.len);
    struct isola__member *member = isola__member_find(&from->agent->members, node);
    isola__pass_on(from, m, member != NULL ? isola__member_conn(member) : NULL, node, params, ms);
    free(node);
}

void isola__member_unknown(struct isola__conn *from, uint64_t id, struct isola_slice name)
{
    const struct isola__agent *agent = from->agent;
    char hint[ISOLA_NEAREST_HINT];
    struct isola_nearest near = isola_nearest_begin(name);
    isola_nearest_try(&near, isola_slice_str(agent->opt.name));
    for (const struct isola__member *m = agent->members.first; m != NULL; m = m->next)
        isola_nearest_try(&near, isola_slice_str(m->record.name));
    isola__fail(from, id, ISOLA_ENOENT, "no node named %.*s is known to node %s%s",
                ISOLA_FMT(isola_slice_cut(name, 64)), agent->opt.name,
                isola_nearest_hint(&near, hint));
}

struct isola__member *isola__member_find(struct isola__members *members, const char *name)
{
    struct isola__member *m = members->first;
    while (m != NULL && strcmp(m->record.name, name) != 0)
        m = m->next;
    return m;
}

struct isola__member *isola__member_of_key(struct isola__members *members,
                                           const uint8_t node_key[ISOLA_KEY_SIZE])
{
    struct isola__member *m = members->first;
    while (m != NULL && memcmp(m->record.id.node_key, node_key, ISOLA_KEY_SIZE) != 0)
        m = m->next;
    return m;
}

struct isola__member *isola__member_take(struct isola__members *members,
                                         struct isola__record *record)
{
    struct isola__member *m = isola__member_find(members, record->name);
    if (m == NULL) {
        if (members->count >= ISOLA_MEMBERS_MAX)
            return NULL;
        m = isola_zalloc(sizeof(*m));
        struct isola__member **at = &members->first; /* by name, so that lists read the same */
        while (*at != NULL && strcmp((*at)->record.name, record->name) < 0)
            at = &(*at)->next;
        m->next = *at;
        *at = m;
        members->count++;
    }
    if (m->record.name != NULL && isola__record_older(record, &m->record)) {
        isola__record_free(record);
        return m;
    }
    isola__record_free(&m->record);
    m->record = *record;
    *record = (struct isola__record){0};
    return m;
}

void isola__member_dial(struct isola__members *members, struct isola__member *member)
{
    struct isola_err err;
    if (members->stopping || !members->begun || member->peer != NULL || member->dialling != NULL)
        return;
    member->dialling = isola__peer_dial(members, member, &err);
    if (member->dialling == NULL)
        isola__member_failed(members, member, err.text);
}

void isola__member_up(struct isola__member *member, struct isola__peer *peer)
{
    struct isola__agent *agent = peer->conn.agent;
    bool was_up = member->peer != NULL;
    member->peer = peer;
    member->failures = 0;
    member->complained = false;
    isola__members_keep(&agent->members);
    if (was_up)
        return;
    isola_log(ISOLA_LOG_INFO, "node %s (%s) is up", member->record.name, member->record.url);
    isola__members_changed(&agent->members);
    isola__follow_member(agent, &peer->conn);
}

void isola__members_caught_up(struct isola__members *members)
{
    for (struct isola__peer *p = members->peers; p != NULL; p = p->next) {
        if (p->owed && p->conn.link != NULL)
            (void)isola__emit(&p->conn, "caught_up", isola_slice(NULL, 0));
        p->owed = false;
    }
}

void isola__caught_up(struct isola__conn *from, const struct isola_msg *m,
                      struct isola_slice params)
{
    struct isola__member *member = ((struct isola__peer *)from)->member;
    (void)params;
    if (member->behind) {
        member->behind = false;
        isola__members_changed(&from->agent->members);
    }
    isola__reply(from, m->id, isola_slice(NULL, 0));
}

/* Inspectors of what runs there, or that ask from there. */
static void end_debugging(struct isola__agent *agent, const char *node, const char *why)
{
    isola__tunnels_lost(agent, node);
    isola__debug_far_lost(agent, node, why);
}

void isola__member_lost(struct isola__member *member, const char *why)
{
    struct isola__agent *agent = member->peer->conn.agent;
    struct isola__members *members = &agent->members;
    member->peer = NULL;
    member->redial_at = isola_clock_ms() + arc4random_uniform(REDIAL_MIN_MS);
    isola__offers_clear(&member->offers);
    isola__prepared_clear(&member->prepared);
    if (members->stopping)
        return;
    isola_link_past_note(&member->past, true, why);
    isola_log(ISOLA_LOG_WARN, "node %s (%s) is down: %s", member->record.name, member->record.url,
              why);
    end_debugging(agent, member->record.name, why);
    isola__members_changed(members);
}

void isola__member_failed(struct isola__members *members, struct isola__member *member,
                          const char *why)
{
    if (members->stopping)
        return;
    bool first = !member->complained;
    isola_link_past_note(&member->past, false, why);
    if (first)
        isola_log(ISOLA_LOG_WARN, "node %s cannot be reached at %s: %s; trying again",
                  member->record.name, member->record.url, why);
    member->complained = true;
    if (first)
        isola__members_changed(members); /* it may be known, and down, since just now */
    uint32_t delay = member->failures < 6 ? REDIAL_MIN_MS << member->failures : REDIAL_MAX_MS;
    if (delay > REDIAL_MAX_MS)
        delay = REDIAL_MAX_MS;
    member->failures++;
    member->redial_at = isola_clock_ms() + delay / 2 + arc4random_uniform(delay / 2 + 1);
    if (member->initial) {
        member->initial = false;
        isola__agent_check_ready(members->agent);
    }
}

/* --- those that were removed --- */

void isola__member_bury(struct isola__members *members, struct isola__member *member)
{
    static const char why[] = "the node was removed from the cluster";
    struct isola__member **at = &members->first;
    while (*at != member)
        at = &(*at)->next;
    *at = member->next;
    member->next = members->buried;
    members->buried = member;
    members->count--;
    member->peer = member->dialling = NULL; /* their ends concern nobody any more */
    member->initial = false;
    isola__offers_clear(&member->offers);
    isola__prepared_clear(&member->prepared);
    for (struct isola__peer *p = members->peers; p != NULL; p = p->next) {
        if (p->member == member || p->target == member) {
            p->refused = true;
            isola__asks_fail_conn(&members->agent->asks, &p->conn, ISOLA_EUNREACHABLE, why);
            isola__conn_close(&p->conn);
        }
    }
    end_debugging(members->agent, member->record.name, why);
}

void isola__members_bury_all(struct isola__members *members)
{
    while (members->first != NULL)
        isola__member_bury(members, members->first);
    for (struct isola__peer *p = members->peers; p != NULL; p = p->next) {
        p->refused = true;
        isola__conn_close(&p->conn);
    }
}

/* --- kept on disk --- */

void isola__members_write(struct isola__members *members, struct isola_buf *out)
{
    for (int live = 1; live >= 0; live--) {
        size_t n = 0;
        for (struct isola__member *m = members->first; m != NULL; m = m->next)
            n += (m->peer != NULL) == live;
        isola_mp_cstr(out, live ? "nodes" : "down");
        isola_mp_array(out, n);
        for (struct isola__member *m = members->first; m != NULL; m = m->next) {
            if ((m->peer != NULL) == live)
                isola__record_write(&m->record, out);
        }
    }
}

/* What changes with every start of theirs is left out: it is of no use after one of ours. */
void isola__members_keep(struct isola__members *members)
{
    struct isola_buf out = {0};
    isola_mp_map(&out, 2);
    isola_mp_kuint(&out, "port", members->last_port);
    isola_mp_cstr(&out, "nodes");
    isola_mp_array(&out, members->count);
    for (const struct isola__member *m = members->first; m != NULL; m = m->next) {
        struct isola__record r = m->record;
        r.pid = r.host_pid = r.started_ms = 0;
        r.host_url = NULL;
        isola__record_write(&r, &out);
    }
    isola__cluster_keep_peers(&members->agent->cluster, &out);
}

static void load(struct isola__members *members, struct isola_slice list)
{
    const struct isola__cluster *cluster = &members->agent->cluster;
    struct isola_slice map;
    for (size_t i = 0; isola_mp_at(list, i, &map); i++) {
        struct isola__record record;
        struct isola_err err;
        if (isola__record_read(cluster, map, &record, &err) != 0) {
            isola_log(ISOLA_LOG_WARN, "a node is not known any more: %s", err.text);
            continue;
        }
        bool known = isola_removals_find(&cluster->removals, record.id.node_key) == NULL &&
                     strcmp(record.name, members->agent->opt.name) != 0;
        if (known)
            (void)isola__member_take(members, &record);
        isola__record_free(&record);
    }
}

void isola__members_load(struct isola__members *members)
{
    struct isola_slice kept = isola_buf_slice(&members->agent->cluster.peers), nodes;
    uint64_t port = 0;
    if (isola_mp_find(kept, "nodes", &nodes))
        load(members, nodes);
    if (isola_mp_find_uint(kept, "port", &port) && port <= UINT16_MAX)
        members->last_port = (uint16_t)port;
}

void isola__members_learn(struct isola__members *members, struct isola_slice value)
{
    struct isola_slice list;
    if (isola_mp_find(value, "nodes", &list))
        load(members, list);
    if (isola_mp_find(value, "down", &list))
        load(members, list);
    isola__members_keep(members);
}

void isola__members_begin(struct isola__members *members)
{
    members->begun = true;
    for (struct isola__member *m = members->first; m != NULL; m = m->next)
        m->initial = m->peer == NULL;
    for (struct isola__member *m = members->first; m != NULL; m = m->next)
        isola__member_dial(members, m);
}

/* --- all of them --- */

static void on_tick(uv_timer_t *timer)
{
    struct isola__members *members = timer->data;
    uint64_t now = isola_clock_ms();
    /* If we stood still ourselves, the others' silence means nothing yet. */
    bool late = now - members->ticked_ms > TICK_LATE_MS;
    members->ticked_ms = now;
    for (struct isola__peer *p = members->peers; p != NULL; p = p->next) {
        if (late)
            p->heard_ms = p->since_ms = now;
        isola__peer_tick(p, now);
    }
    for (struct isola__member *m = members->first; m != NULL; m = m->next) {
        if (m->redial_at <= now)
            isola__member_dial(members, m);
    }
    isola__releases_retry(&members->agent->releases);
}

void isola__members_init(struct isola__members *members, struct isola__agent *agent)
{
    *members = (struct isola__members){.agent = agent, .ticked_ms = isola_clock_ms()};
    int rc = uv_timer_init(&agent->loop, &members->tick);
    ISOLA_CHECK(rc == 0);
    members->tick.data = members;
    rc = uv_timer_start(&members->tick, on_tick, TICK_MS, TICK_MS);
    ISOLA_CHECK(rc == 0);
}

bool isola__members_settled(const struct isola__members *members)
{
    for (struct isola__member *m = members->first; m != NULL; m = m->next) {
        if (m->initial)
            return false;
    }
    return true;
}

void isola__members_close(struct isola__members *members)
{
    members->stopping = true;
    if (!uv_is_closing((uv_handle_t *)&members->tick))
        uv_close((uv_handle_t *)&members->tick, NULL);
    for (struct isola__peer *p = members->peers; p != NULL; p = p->next)
        isola__conn_close(&p->conn);
}

static void free_list(struct isola__member *first)
{
    while (first != NULL) {
        struct isola__member *m = first;
        first = m->next;
        isola__record_free(&m->record);
        isola__offers_clear(&m->offers);
        isola__prepared_clear(&m->prepared);
        free(m);
    }
}

void isola__members_free(struct isola__members *members)
{
    free_list(members->first);
    free_list(members->buried);
    members->first = members->buried = NULL;
    isola_buf_free(&members->told);
    isola_buf_free(&members->own);
}
