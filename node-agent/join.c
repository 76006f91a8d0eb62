/* SPDX-License-Identifier: Apache-2.0
 *
 * `join`: two agents meet on a fresh control link, and each learns what the other knows.
 *
 * The side that dialled sends its record, the nodes it knows and the releases it has; the other
 * answers with the same. Then both dial the nodes they had not heard of, and fetch the releases of
 * which the other has newer ones; when that is done each says on this link that it has caught up. A
 * refusal leaves both as they were.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/admin.h"
#include "node-agent/agent.h"
#include "node-agent/members.h"
#include "node-agent/trust.h"
#include "transport/envelope.h"

#define JOIN_LIMIT_MS 3000

/* {node, nodes, down, removed, trust, deleted, releases} and, in the question, {wire, version}. */
static void write_self(struct isola__agent *agent, bool question, struct isola_buf *out)
{
    struct isola__record own;
    isola__record_own(agent, &own);
    isola_mp_map(out, question ? 9 : 7);
    isola_mp_cstr(out, "node");
    isola__record_write(&own, out);
    isola__record_free(&own);
    if (question) {
        isola_mp_kuint(out, "wire", ISOLA_WIRE_VERSION);
        isola_mp_kstr(out, "version", ISOLA_VERSION);
    }
    isola__members_write(&agent->members, out);
    isola_mp_cstr(out, "removed");
    isola_removals_write(&agent->cluster.removals, out);
    isola_mp_cstr(out, "trust");
    isola_mp_bin(out, isola_buf_slice(&agent->cluster.trust_list));
    isola_mp_cstr(out, "deleted");
    isola__gone_write(&agent->gone, out);
    isola_mp_cstr(out, "releases");
    isola__releases_list(&agent->releases, out);
}

/* Others' records: those we have not heard of are dialled, also when they are down by the other's
 * view: what they hold is missed by name, not started afresh. Of those, what we know already is as
 * good. */
static void learn_nodes(struct isola__agent *agent, struct isola_slice params, bool live)
{
    struct isola__members *members = &agent->members;
    struct isola_slice nodes;
    if (!isola_mp_find(params, live ? "nodes" : "down", &nodes))
        return;
    struct isola_mp_reader r = isola_mp_reader(nodes);
    struct isola_mp_item head;
    if (isola_mp_next(&r, &head) != 0 || head.type != ISOLA_MP_ARRAY)
        return;
    struct isola_slice map;
    for (uint32_t i = 0; i < head.n && isola_mp_skip(&r, &map) == 0; i++) {
        struct isola__record record;
        if (isola__record_read(&agent->cluster, map, &record, NULL) != 0)
            continue;
        if (isola_removals_find(&agent->cluster.removals, record.id.node_key) != NULL) {
            isola__record_free(&record);
            continue;
        }
        struct isola__member *m = isola__member_find(members, record.name);
        bool ours = strcmp(record.name, agent->opt.name) == 0;
        bool news =
            m == NULL || (live && m->peer == NULL && !isola__record_same(&m->record, &record));
        if (!ours && news)
            m = isola__member_take(members, &record);
        if (!ours && m != NULL && m->peer == NULL) {
            m->initial = m->initial || agent->state == ISOLA_AGENT_STARTING;
            isola__member_dial(members, m);
        }
        isola__record_free(&record);
    }
}

/* Whom the other knows to be removed we know from then on; and it may be the other, or we. */
static int check_member(const struct isola__peer *peer, struct isola_slice value,
                        const struct isola__record *record, struct isola_err *err)
{
    struct isola__agent *agent = peer->conn.agent;
    struct isola_slice entries;
    if (memcmp(record->id.node_key, peer->who.node_key, ISOLA_KEY_SIZE) != 0)
        return isola_fail(err, ISOLA_EPERM, "it is node %s, and joins with the record of node %s",
                          peer->who.name, record->name);
    if (isola_mp_find(value, "removed", &entries))
        isola__removed_learn(agent, entries);
    if (isola_mp_find_bin(value, "trust", &entries) && entries.len > 0)
        isola__trust_learn(agent, entries);
    if (isola_mp_find(value, "deleted", &entries))
        isola__gone_learn(agent, entries);
    if (isola__cluster_removed(&agent->cluster) != NULL)
        return isola_fail(err, ISOLA_EPERM, "node %s was removed from the cluster",
                          agent->opt.name);
    if (isola_removals_find(&agent->cluster.removals, record->id.node_key) != NULL)
        return isola_fail(err, ISOLA_EPERM, "node %s was removed from the cluster", record->name);
    /* A name that was given to another key since: the entry that says so may still be on its way.
     */
    struct isola__member *known = isola__member_find(&agent->members, record->name);
    if (known == NULL ||
        memcmp(known->record.id.node_key, record->id.node_key, ISOLA_KEY_SIZE) == 0)
        return 0;
    if (known->record.id.serial > record->id.serial)
        return isola_fail(err, ISOLA_EPERM, "the name %s belongs to another node now",
                          record->name);
    isola__member_bury(&agent->members, known);
    return 0;
}

/* The link has joined, by `params`. */
static void attach(struct isola__peer *peer, struct isola__member *member,
                   struct isola_slice params)
{
    struct isola__agent *agent = peer->conn.agent;
    struct isola_slice releases = {0};
    (void)isola_mp_find(params, "releases", &releases);
    isola__offers_read(&member->offers, releases);
    member->behind = isola__releases_lacks(&agent->releases, &member->offers);
    peer->owed = true;
    struct isola__peer *other = member->peer;
    uint64_t now = isola_clock_ms();
    agent->members.nstrangers--;
    peer->member = member;
    peer->since_ms = now;
    snprintf(peer->conn.label, sizeof(peer->conn.label), "node %s", member->record.name);
    isola__secrets_tell(&agent->secrets, &peer->conn);
    if (other == NULL) {
        isola__member_up(member, peer);
        return;
    }
    bool ours_stays = strcmp(agent->opt.name, member->record.name) < 0;
    bool newer_stays = peer->dialled == other->dialled || peer->dialled == ours_stays;
    struct isola__peer *loser = newer_stays ? other : peer;
    loser->retired = true;
    loser->since_ms = now;
    if (newer_stays) {
        peer->follow = other->follow;
        isola__member_up(member, peer);
    }
}

static void learn(struct isola__agent *agent, struct isola_slice params)
{
    learn_nodes(agent, params, true);
    learn_nodes(agent, params, false);
    isola__releases_sync(&agent->releases);
}

/* --- we were dialled --- */

static int check(struct isola__peer *peer, struct isola_slice params, struct isola__record *record,
                 struct isola_err *err)
{
    struct isola__agent *agent = peer->conn.agent;
    struct isola_slice map;
    uint64_t wire;
    *record = (struct isola__record){0};
    if (peer->member != NULL || peer->dialled)
        return isola_fail(err, ISOLA_EPROTO, "join: this link has joined already");
    if (!isola_mp_find(params, "node", &map))
        return isola_fail(err, ISOLA_EINVAL, "join: \"node\" is missing");
    if (!isola_mp_find_uint(params, "wire", &wire))
        return isola_fail(err, ISOLA_EINVAL, "join: \"wire\" is missing");
    /* First, as a record of another release may be another. The link speaks a version of both. */
    if (wire + 1 < ISOLA_WIRE_VERSION || wire > ISOLA_WIRE_VERSION + 1)
        return isola_fail(
            err, ISOLA_EPROTO,
            "it speaks wire version %llu, node %s speaks %d; run releases that are at "
            "most one apart",
            (unsigned long long)wire, agent->opt.name, ISOLA_WIRE_VERSION);
    int rc = isola__record_read(&agent->cluster, map, record, err);
    if (rc != 0)
        return rc;
    rc = check_member(peer, params, record, err);
    if (rc != 0)
        return rc;
    struct isola__member *live = isola__member_find(&agent->members, record->name);
    bool taken = strcmp(record->name, agent->opt.name) == 0 ||
                 (live != NULL && live->peer != NULL && !isola__record_same(&live->record, record));
    if (taken)
        return isola_fail(err, ISOLA_EEXIST,
                          "a live node is named %s already; choose another with --name",
                          record->name);
    return 0;
}

void isola__join(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__peer *peer = (struct isola__peer *)from;
    struct isola__agent *agent = from->agent;
    struct isola__record record;
    struct isola_err err;
    int rc = check(peer, params, &record, &err);
    struct isola__member *member = NULL;
    if (rc == 0) {
        member = isola__member_take(&agent->members, &record);
        if (member == NULL)
            rc = isola_fail(&err, ISOLA_EOVERLOAD, "this mesh has %d nodes already",
                            ISOLA_MEMBERS_MAX);
    } else {
        isola__removed_tell(from, record.id.node_key);
    }
    isola__record_free(&record);
    if (rc != 0) {
        isola_log(ISOLA_LOG_WARN, "%s is refused: %s", from->label, err.text);
        isola__fail(from, m->id, rc, "%s", err.text);
        peer->refused = peer->member == NULL;
        if (peer->refused)
            isola__conn_close(from);
        return;
    }
    struct isola_buf answer = {0};
    write_self(agent, false, &answer);
    isola__reply_buf(from, m->id, &answer);
    attach(peer, member, params);
    learn(agent, params);
}

/* --- we dialled --- */

static int take_answer(struct isola__peer *peer, const struct isola_msg *answer,
                       struct isola_err *err)
{
    struct isola__agent *agent = peer->conn.agent;
    if (answer->kind == ISOLA_MSG_FAIL)
        return isola__answer_error(answer, err);
    struct isola_slice value = isola__value(answer);
    struct isola_slice map = {0};
    struct isola__record record;
    (void)isola_mp_find(value, "node", &map);
    int rc = isola__record_read(&agent->cluster, map, &record, err);
    if (rc == 0)
        rc = check_member(peer, value, &record, err);
    if (rc != 0) {
        isola__record_free(&record);
        return rc;
    }
    struct isola__member *member = isola__member_find(&agent->members, record.name);
    if (peer->target != NULL && strcmp(peer->target->record.name, record.name) != 0)
        rc = isola_fail(err, ISOLA_EUNREACHABLE, "node %s answers there", record.name);
    else if (strcmp(record.name, agent->opt.name) == 0 ||
             (member != NULL && member->peer != NULL &&
              !isola__record_same(&member->record, &record)))
        rc = isola_fail(err, ISOLA_EEXIST, "a live node is named %s already", record.name);
    else if ((member = isola__member_take(&agent->members, &record)) == NULL)
        rc = isola_fail(err, ISOLA_EOVERLOAD, "this mesh has %d nodes already", ISOLA_MEMBERS_MAX);
    isola__record_free(&record);
    if (rc != 0)
        return rc;
    if (peer->target != NULL && peer->target->dialling == peer) {
        peer->target->dialling = NULL;
        peer->target->initial = false;
    }
    attach(peer, member, value);
    isola__member_tell(member); /* what we are now: we have asked a while ago */
    learn(agent, value);
    isola__agent_check_ready(agent);
    return 0;
}

static void answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__peer *peer =
        (struct isola__peer *)((char *)ask - offsetof(struct isola__peer, join));
    struct isola__members *members = &peer->conn.agent->members;
    struct isola_err err;
    /* When the link is down its end tells the story. */
    if (peer->conn.link == NULL || members->stopping || take_answer(peer, answer, &err) == 0)
        return;
    peer->refused = true;
    isola__conn_close(&peer->conn);
    if (peer->target != NULL && peer->target->dialling == peer) {
        peer->target->dialling = NULL;
        isola__member_failed(members, peer->target, err.text);
    }
}

void isola__join_ask(struct isola__peer *peer)
{
    struct isola_buf params = {0};
    write_self(peer->conn.agent, true, &params);
    peer->join = (struct isola__ask){.cb = answered};
    isola__ask(&peer->conn, &peer->join, "join", isola_buf_slice(&params), JOIN_LIMIT_MS);
    isola_buf_free(&params);
}
