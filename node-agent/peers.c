/* SPDX-License-Identifier: Apache-2.0
 *
 * Control links: dialled and accepted, listened to, and given up when silent. Whoever has not
 * joined may only join.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/admin.h"
#include "node-agent/agent.h"
#include "node-agent/debug_far.h"
#include "node-agent/debug_tunnel.h"
#include "node-agent/inspect.h"
#include "node-agent/letters.h"
#include "node-agent/links.h"
#include "node-agent/members.h"
#include "node-agent/service_debug.h"
#include "node-agent/status.h"
#include "node-agent/stores.h"
#include "node-agent/trust.h"
#include "transport/envelope.h"

#define SILENT_MS     3000
#define PING_MS       1000
#define RETIRED_MS    1000
#define STRANGERS_MAX 256

/* --- what joined peers may ask --- */

static void ping(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    (void)params;
    isola__reply(from, m->id, isola_slice(NULL, 0));
}

static void node_changed(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    struct isola__peer *peer = (struct isola__peer *)from;
    struct isola_slice map = {0};
    struct isola__record record;
    struct isola_err err;
    (void)isola_mp_find(params, "node", &map);
    if (isola__record_read(&from->agent->cluster, map, &record, &err) != 0) {
        isola__fail(from, m->id, ISOLA_EINVAL, "node: %s", err.text);
        return;
    }
    if (strcmp(record.name, peer->member->record.name) == 0) {
        (void)isola__member_take(&from->agent->members, &record);
        isola__members_changed(&from->agent->members);
    }
    isola__record_free(&record);
    isola__reply(from, m->id, isola_slice(NULL, 0));
}

static void log_line(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__peer *peer = (struct isola__peer *)from;
    (void)m;
    isola__follow_line(from->agent, peer->member->record.name, params);
}

static const struct isola__method methods[] = {
    {"ping", ping},
    {"node", node_changed},
    {"join", isola__join},
    {"caught_up", isola__caught_up},
    {"certify", isola__certify},
    {"remove", isola__remove_peer},
    {"removed", isola__removed},
    {"prepare", isola__prepare},
    {"abandon", isola__abandon},
    {"commit", isola__commit},
    {"canary", isola__commit},
    {"fetch", isola__fetch},
    {"rollout", isola__rollout_peer},
    {"proven", isola__rollout_proven},
    {"deleted", isola__deleted},
    {"trust", isola__trust_peer},
    {"trusted", isola__trusted},
    {"secrets_have", isola__secrets_have},
    {"secrets_take", isola__secrets_take},
    {"secrets_give", isola__secrets_give},
    {"piece", isola__piece},
    {"ps", isola__ps_local},
    {"service", isola__service_peer},
    {"links", isola__links_local},
    {"store", isola__store_local},
    {"timers", isola__timers_local},
    {"history", isola__history_local},
    {"restore", isola__restore_local},
    {"dead-letters", isola__letters_local},
    {"logs", isola__logs_peer},
    {"log", log_line},
    {"inspect", isola__inspect_local},
    {"inspect_read", isola__inspect_read_local},
    {"debug", isola__debug_peer},
    {"debug_leave", isola__debug_leave},
    {"debug_ended", isola__debug_far_ended},
    {"debug_connect", isola__tunnel_connect},
    {"debug_read", isola__tunnel_read},
    {"debug_write", isola__tunnel_write},
    {"debug_close", isola__tunnel_close},
    {NULL, NULL},
};

void isola__peer_follow(struct isola__conn *conn, bool follow)
{
    ((struct isola__peer *)conn)->follow = follow;
}

/* --- the link --- */

/* The other end is proven now. False: it has no business here any more, and knows why. */
static bool identified(struct isola__peer *peer, struct isola_link *link)
{
    struct isola__agent *agent = peer->conn.agent;
    const struct isola_identity *who = isola_link_identity(link);
    if (who != NULL)
        peer->who = *who;
    if (isola_removals_find(&agent->cluster.removals, peer->who.node_key) == NULL)
        return true;
    isola__removed_tell(&peer->conn, peer->who.node_key);
    peer->refused = true;
    isola__conn_refuse(&peer->conn, "it is node %s, which was removed from the cluster",
                       peer->who.name);
    return false;
}

static void on_up(struct isola_link *link, void *arg)
{
    struct isola__peer *peer = arg;
    peer->heard_ms = peer->since_ms = isola_clock_ms();
    if (!identified(peer, link))
        return;
    isola__join_ask(peer);
}

/* Before it has joined: a member that, or to be told by whom we dialled that we are out; one that
 * has shown no certificate for one. */
static bool may_ask(const struct isola__peer *peer, struct isola_slice method)
{
    if (peer->who.name[0] == '\0')
        return isola_slice_is(method, "certify");
    return isola_slice_is(method, "join") || (peer->dialled && isola_slice_is(method, "removed"));
}

static void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct isola__peer *peer = arg;
    struct isola__agent *agent = peer->conn.agent;
    struct isola_msg m;
    struct isola_err err;
    (void)link;
    peer->heard_ms = isola_clock_ms();
    if (peer->refused)
        return;
    if (isola_link_decode(link, frame, &m, &err) != 0) {
        peer->refused = true;
        isola__conn_refuse(&peer->conn, "%s", err.text);
    } else if (m.kind == ISOLA_MSG_REPLY || m.kind == ISOLA_MSG_FAIL) {
        isola__asks_answer(&agent->asks, &peer->conn, &m);
    } else if (m.dst.len > 0 || (m.kind != ISOLA_MSG_ASK && m.kind != ISOLA_MSG_EMIT)) {
        isola__fail(&peer->conn, m.id, ISOLA_EINVAL,
                    "a control link carries no messages for actors");
    } else if (peer->member == NULL && !may_ask(peer, m.event)) {
        peer->refused = true;
        isola__conn_refuse(&peer->conn, peer->who.name[0] == '\0'
                                            ? "it shows no certificate, and may only ask for one"
                                            : "it did not begin with `join`");
    } else if (agent->state == ISOLA_AGENT_STOPPING) {
        isola__fail(&peer->conn, m.id, ISOLA_EUNREACHABLE, "node %s is stopping", agent->opt.name);
    } else {
        isola__call(methods, &peer->conn, &m);
    }
}

static void free_peer(struct isola__conn *conn)
{
    struct isola__peer *peer = (struct isola__peer *)conn;
    free(peer);
}

static void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct isola__peer *peer = arg;
    struct isola__members *members = &peer->conn.agent->members;
    struct isola__member *member = peer->member;
    struct isola__member *target = peer->target;
    bool bad = peer->refused || code == ISOLA_EPROTO;
    if (bad && !peer->dialled && peer->conn.agent->control != NULL)
        isola_listener_refused(peer->conn.agent->control, link, NULL);
    if (peer->prev != NULL)
        peer->prev->next = peer->next;
    else
        members->peers = peer->next;
    if (peer->next != NULL)
        peer->next->prev = peer->prev;
    if (member == NULL) {
        members->nstrangers--;
        if (!peer->dialled && code != 0 && code != ISOLA_ECLOSED)
            isola_log(ISOLA_LOG_WARN, "%s: %s", peer->conn.label, why);
    }
    peer->conn.link = NULL;
    if (peer->owed && member != NULL && member->peer != NULL)
        member->peer->owed = true; /* the pair's other link */
    bool lost = member != NULL && member->peer == peer;
    if (lost)
        isola__member_lost(member, why);
    if (target != NULL && target->dialling == peer) {
        target->dialling = NULL;
        if (target->peer == NULL)
            isola__member_failed(members, target, why);
    }
    struct isola_err err;
    isola_fail(&err, ISOLA_EUNREACHABLE, "node %s is down: %s",
               member != NULL ? member->record.name : "(not joined)", why);
    isola__conn_down(&peer->conn, ISOLA_EUNREACHABLE, err.text);
}

static const struct isola_link_ops link_ops = {.up = on_up, .frame = on_frame, .down = on_down};

static struct isola__peer *peer_new(struct isola__members *members)
{
    struct isola__peer *peer = isola_zalloc(sizeof(*peer));
    isola__conn_init(&peer->conn, members->agent, free_peer);
    peer->since_ms = peer->heard_ms = isola_clock_ms();
    peer->next = members->peers;
    if (peer->next != NULL)
        peer->next->prev = peer;
    members->peers = peer;
    members->nstrangers++;
    return peer;
}

struct isola__peer *isola__peer_dial(struct isola__members *members, struct isola__member *target,
                                     struct isola_err *err)
{
    struct isola__peer *peer = peer_new(members);
    peer->dialled = true;
    peer->target = target;
    snprintf(peer->conn.label, sizeof(peer->conn.label), "node %s at %.80s", target->record.name,
             target->record.url);
    if (isola_link_dial(&members->agent->loop, target->record.url,
                        &members->agent->security.dialling, target->record.id.node_static,
                        &link_ops, peer, &peer->conn.link, err) == 0)
        return peer;
    members->peers = peer->next;
    if (peer->next != NULL)
        peer->next->prev = NULL;
    members->nstrangers--;
    isola__conn_unref(&peer->conn);
    return NULL;
}

static void accepted(struct isola_listener *listener, struct isola_link *link, void *arg)
{
    struct isola__agent *agent = arg;
    struct isola__members *members = &agent->members;
    (void)listener;
    struct isola__peer *peer = peer_new(members);
    snprintf(peer->conn.label, sizeof(peer->conn.label), "peer %" PRIu64 " (%.64s)",
             ++members->numbers, isola_link_peer(link));
    peer->conn.link = link;
    isola_link_accept(link, &link_ops, peer);
    if (!identified(peer, link))
        return;
    if (peer->who.name[0] != '\0')
        snprintf(peer->conn.label, sizeof(peer->conn.label), "node %s (%s)", peer->who.name,
                 isola_link_peer(link));
    if (members->nstrangers > STRANGERS_MAX || members->stopping) {
        peer->refused = true;
        isola__conn_refuse(&peer->conn, "too many connections that have not joined");
    }
}

const struct isola_listener_ops isola__control_listener_ops = {.accepted = accepted};

/* --- time passes --- */

static void ping_answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__peer *peer =
        (struct isola__peer *)((char *)ask - offsetof(struct isola__peer, ping));
    (void)answer;
    peer->pinging = false;
}

void isola__peer_tick(struct isola__peer *peer, uint64_t now)
{
    if (peer->conn.link == NULL || peer->refused)
        return;
    struct isola__agent *agent = peer->conn.agent;
    if (peer->member == NULL) {
        if (now - peer->since_ms > SILENT_MS) {
            peer->refused = true;
            isola__conn_refuse(&peer->conn, "it has not joined within %d ms", SILENT_MS);
        }
        return;
    }
    if (peer->retired) {
        bool ours = strcmp(agent->opt.name, peer->member->record.name) < 0;
        if (now - peer->since_ms > (ours ? RETIRED_MS : SILENT_MS))
            isola__conn_close(&peer->conn);
        return;
    }
    if (now - peer->heard_ms > SILENT_MS) {
        char why[64];
        snprintf(why, sizeof(why), "silent for %d ms", SILENT_MS);
        peer->retired = true;
        if (peer->member->peer == peer)
            isola__member_lost(peer->member, why);
        isola__asks_fail_conn(&agent->asks, &peer->conn, ISOLA_EUNREACHABLE, why);
        isola__conn_close(&peer->conn);
        return;
    }
    isola__prepared_expire(&peer->member->prepared, now);
    if (!peer->pinging && now - peer->pinged_ms >= PING_MS) {
        peer->pinging = true;
        peer->pinged_ms = now;
        peer->ping = (struct isola__ask){.cb = ping_answered};
        isola__ask(&peer->conn, &peer->ping, "ping", isola_slice(NULL, 0), 0);
    }
}
