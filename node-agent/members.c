/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/members.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"

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
    isola_mp_map(&view, 3);
    isola_mp_kstr(&view, "self", agent->opt.name);
    isola_mp_cstr(&view, "nodes");
    isola_mp_array(&view, live);
    isola_mp_map(&view, 2);
    isola_mp_kstr(&view, "name", agent->opt.name);
    isola_mp_kstr(&view, "url", agent->host.url);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        if (m->peer == NULL)
            continue;
        isola_mp_map(&view, 2);
        isola_mp_kstr(&view, "name", m->record.name);
        isola_mp_kstr(&view, "url", m->record.host_url);
    }
    isola_mp_cstr(&view, "down");
    isola_mp_array(&view, 1 + agent->members.count - live);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        if (m->peer == NULL)
            isola_mp_cstr(&view, m->record.name);
    }
    if (view.failed || isola__emit(agent->host.conn, "view", isola_buf_slice(&view)) != 0)
        isola_log(ISOLA_LOG_ERROR, "the actor-host could not be told which nodes are live");
    isola_buf_free(&view);
}

static void tell_peers(struct isola__members *members)
{
    struct isola__record own;
    isola__record_own(members->agent, &own);
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "node");
    isola__record_write(&own, &params);
    isola__record_free(&own);
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
    tell_peers(members);
}

void isola__peers_log(struct isola__members *members, struct isola_slice args)
{
    struct isola_msg m = {.kind = ISOLA_MSG_EMIT, .event = isola_slice_str("log"), .args = args};
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

struct isola__member *isola__member_find(struct isola__members *members, const char *name)
{
    struct isola__member *m = members->first;
    while (m != NULL && strcmp(m->record.name, name) != 0)
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
    isola__record_free(&m->record);
    m->record = *record;
    *record = (struct isola__record){0};
    return m;
}

void isola__member_dial(struct isola__members *members, struct isola__member *member)
{
    struct isola_err err;
    if (members->stopping || member->peer != NULL || member->dialling != NULL)
        return;
    member->dialling = isola__peer_dial(members, member->record.url, member, &err);
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
    if (was_up)
        return;
    isola_log(ISOLA_LOG_INFO, "node %s (%s) is up", member->record.name, member->record.url);
    isola__members_changed(&agent->members);
    isola__follow_member(agent, &peer->conn);
}

void isola__member_lost(struct isola__member *member, const char *why)
{
    struct isola__agent *agent = member->peer->conn.agent;
    struct isola__members *members = &agent->members;
    member->peer = NULL;
    member->redial_at = isola_clock_ms() + arc4random_uniform(REDIAL_MIN_MS);
    isola__offers_clear(&member->offers);
    if (members->stopping)
        return;
    isola_log(ISOLA_LOG_WARN, "node %s (%s) is down: %s", member->record.name, member->record.url,
              why);
    isola__members_changed(members);
}

void isola__member_failed(struct isola__members *members, struct isola__member *member,
                          const char *why)
{
    if (members->stopping)
        return;
    bool first = !member->complained;
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

void isola__members_free(struct isola__members *members)
{
    while (members->first != NULL) {
        struct isola__member *m = members->first;
        members->first = m->next;
        isola__record_free(&m->record);
        isola__offers_clear(&m->offers);
        free(m);
    }
    isola_buf_free(&members->told);
}
