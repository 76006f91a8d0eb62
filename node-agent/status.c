/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/status.h"

#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"

/* --- gathering --- */

struct isola__gather *isola__gather_new(struct isola__conn *from, uint64_t id, size_t max,
                                        void (*done)(struct isola__gather *g))
{
    struct isola__gather *g = isola_zalloc(sizeof(*g) + max * sizeof(struct isola__part));
    g->from = from;
    isola__conn_ref(from);
    g->id = id;
    g->done = done;
    g->outstanding = 1; /* until isola__gather_start */
    g->patience_ms = ISOLA_GATHER_MS;
    return g;
}

static void settle(struct isola__gather *g)
{
    if (--g->outstanding > 0)
        return;
    g->done(g);
    for (size_t i = 0; i < g->nparts; i++) {
        free(g->parts[i].node);
        isola_buf_free(&g->parts[i].value);
    }
    isola__conn_unref(g->from);
    free(g);
}

static void part_answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__part *part = (struct isola__part *)ask;
    if (answer->kind == ISOLA_MSG_REPLY) {
        struct isola_slice value = isola__value(answer);
        isola_buf_append(&part->value, value.data, value.len);
        part->answered = !part->value.failed;
    }
    settle(part->gather);
}

static struct isola__part *part_new(struct isola__gather *g, const char *node)
{
    struct isola__part *part = &g->parts[g->nparts++];
    part->gather = g;
    part->node = isola_strdup(node);
    part->ask.cb = part_answered;
    return part;
}

void isola__gather_ask(struct isola__gather *g, struct isola__conn *conn, const char *node,
                       const char *method, struct isola_slice params)
{
    struct isola__part *part = part_new(g, node);
    if (conn == NULL)
        return;
    g->outstanding++;
    isola__ask(conn, &part->ask, method, params, (uint32_t)g->patience_ms);
}

struct isola__part *isola__gather_wait(struct isola__gather *g, const char *node)
{
    g->outstanding++;
    return part_new(g, node);
}

void isola__gather_have(struct isola__gather *g, const char *node, struct isola_buf *value)
{
    struct isola__part *part = part_new(g, node);
    part->value = *value;
    part->answered = !value->failed;
    *value = (struct isola_buf){0};
}

void isola__gather_members(struct isola__gather *g, const char *method, struct isola_slice params)
{
    struct isola__members *members = &g->from->agent->members;
    for (struct isola__member *member = members->first; member != NULL; member = member->next)
        isola__gather_ask(g, isola__member_conn(member), member->record.name, method, params);
}

void isola__gather_start(struct isola__gather *g)
{
    settle(g);
}

struct isola__part *isola__gather_part(struct isola__gather *g, const char *node)
{
    for (size_t i = 0; i < g->nparts; i++) {
        if (strcmp(g->parts[i].node, node) == 0)
            return &g->parts[i];
    }
    return NULL;
}

/* A node that answers may have had none from its own actor-host, and says so by its own name. */
static bool whole(const struct isola__part *part)
{
    struct isola_slice missing;
    return part->answered &&
           !(isola_mp_find(isola_buf_slice(&part->value), "unreachable", &missing) &&
             isola_mp_count(missing) > 0);
}

void isola__gather_unreachable(struct isola__gather *g, struct isola_buf *out)
{
    size_t n = 0;
    for (size_t i = 0; i < g->nparts; i++)
        n += !whole(&g->parts[i]);
    isola_mp_cstr(out, "unreachable");
    isola_mp_array(out, n);
    for (size_t i = 0; i < g->nparts; i++) {
        if (!whole(&g->parts[i]))
            isola_mp_cstr(out, g->parts[i].node);
    }
}

static void name_parts(const struct isola__gather *g, const char *key, bool answered,
                       struct isola_buf *out)
{
    size_t n = 0;
    for (size_t i = 0; i < g->nparts; i++)
        n += g->parts[i].answered == answered;
    isola_mp_cstr(out, key);
    isola_mp_array(out, n);
    for (size_t i = 0; i < g->nparts; i++)
        if (g->parts[i].answered == answered)
            isola_mp_cstr(out, g->parts[i].node);
}

void isola__gather_done(const struct isola__gather *g, struct isola_buf *out)
{
    name_parts(g, "nodes", true, out);
    name_parts(g, "later", false, out);
}

void isola__gather_lists(const struct isola__gather *g, const char *key, struct isola_buf *out)
{
    struct isola_buf rows = {0};
    size_t n = 0;
    for (size_t i = 0; i < g->nparts; i++) {
        const struct isola__part *part = &g->parts[i];
        struct isola_slice list;
        struct isola_mp_item head;
        if (!part->answered || !isola_mp_find(isola_buf_slice(&part->value), key, &list))
            continue;
        struct isola_mp_reader r = isola_mp_reader(list);
        if (isola_mp_next(&r, &head) != 0 || head.type != ISOLA_MP_ARRAY)
            continue;
        n += head.n;
        isola_buf_append(&rows, r.p, (size_t)(r.end - r.p));
    }
    isola_mp_cstr(out, key);
    isola_mp_array(out, n);
    isola_buf_append(out, rows.data, rows.len);
    out->failed = out->failed || rows.failed;
    isola_buf_free(&rows);
}

/* --- ps --- */

/* Actors in an answer, of all nodes together: it is one frame. */
#define PS_MAX 50000

static struct isola_slice actors_of(const struct isola__part *part)
{
    struct isola_slice actors = {0};
    if (part->answered)
        (void)isola_mp_find(isola_buf_slice(&part->value), "actors", &actors);
    return actors;
}

/* How many actors a node has, listed or not. */
static uint64_t total_of(const struct isola__part *part)
{
    uint64_t total = isola_mp_count(actors_of(part));
    if (part->answered)
        (void)isola_mp_find_uint(isola_buf_slice(&part->value), "total", &total);
    return total;
}

static void ps_done(struct isola__gather *g)
{
    size_t n = 0;
    uint64_t total = 0;
    for (size_t i = 0; i < g->nparts; i++) {
        n += isola_mp_count(actors_of(&g->parts[i]));
        total += total_of(&g->parts[i]);
    }
    if (n > PS_MAX)
        n = PS_MAX;
    struct isola_buf out = {0};
    isola_mp_map(&out, 4);
    isola_mp_kuint(&out, "total", total);
    isola__gather_lists(g, "hosts", &out);
    isola_mp_cstr(&out, "actors");
    isola_mp_array(&out, n);
    for (size_t i = 0; i < g->nparts && n > 0; i++) {
        struct isola_slice actors = actors_of(&g->parts[i]), actor;
        struct isola_mp_reader r = isola_mp_reader(actors);
        struct isola_mp_item head;
        /* The elements follow the header; an answer is well-formed, or its frame would have been
         * refused. */
        size_t here = isola_mp_count(actors);
        if (here == 0 || isola_mp_next(&r, &head) != 0)
            continue;
        for (; here > 0 && n > 0 && isola_mp_skip(&r, &actor) == 0; here--, n--)
            isola_buf_append(&out, actor.data, actor.len);
    }
    isola__gather_unreachable(g, &out);
    isola__reply_buf(g->from, g->id, &out);
}

/* False when `app` is there and no string. */
static bool ps_params(struct isola_slice params, bool local, struct isola_buf *out)
{
    struct isola_slice app = {0};
    uint64_t limit = 0;
    bool limited = isola_mp_find_uint(params, "limit", &limit);
    struct isola_slice any;
    bool given = isola_mp_find(params, "app", &any);
    if (given && !isola_mp_find_str(params, "app", &app)) {
        struct isola_mp_reader r = isola_mp_reader(any);
        struct isola_mp_item item;
        if (isola_mp_next(&r, &item) != 0 || item.type != ISOLA_MP_NIL)
            return false;
        given = false;
    }
    isola_mp_map(out, (size_t)given + local + limited);
    if (limited)
        isola_mp_kuint(out, "limit", limit);
    if (given) {
        isola_mp_cstr(out, "app");
        isola_mp_str(out, app);
    }
    if (local)
        isola_mp_kbool(out, "local", true);
    return true;
}

/* The services of this node are its agent's own to tell. */
static void have_services(struct isola__gather *g, struct isola_slice params)
{
    struct isola__agent *agent = g->from->agent;
    struct isola_buf services = {0};
    struct isola_slice app = {0};
    uint64_t limit = PS_MAX;
    (void)isola_mp_find_str(params, "app", &app);
    (void)isola_mp_find_uint(params, "limit", &limit);
    isola__services_ps(&agent->services, app, limit, &services);
    isola__gather_have(g, agent->opt.name, &services);
}

static void ps(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params,
               bool local)
{
    struct isola__agent *agent = from->agent;
    struct isola_buf own = {0};
    struct isola_buf peers = {0};
    if (!ps_params(params, false, &own) || !ps_params(params, true, &peers)) {
        isola__fail(from, m->id, ISOLA_EINVAL, "ps: \"app\" must be a string");
    } else {
        struct isola__gather *g = isola__gather_new(from, m->id, 2 + agent->members.count, ps_done);
        if (local)
            g->patience_ms = ISOLA_GATHER_LOCAL_MS;
        isola__gather_ask(g, isola__host_conn(&agent->host), agent->opt.name, "ps",
                          isola_buf_slice(&own));
        have_services(g, isola_buf_slice(&own));
        if (!local)
            isola__gather_members(g, "ps", isola_buf_slice(&peers));
        isola__gather_start(g);
    }
    isola_buf_free(&own);
    isola_buf_free(&peers);
}

void isola__ps(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    bool local = false;
    (void)isola_mp_find_bool(params, "local", &local);
    ps(from, m, params, local);
}

void isola__ps_local(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    ps(from, m, params, true);
}

/* --- nodes --- */

/* Who was asked and has said nothing: "agent", "actor-host", or NULL. */
static const char *silent(const struct isola__gather *g, const struct isola__part *part,
                          const char *state)
{
    if (strcmp(state, "up") != 0 || part == NULL || whole(part))
        return NULL;
    bool own = strcmp(part->node, g->from->agent->opt.name) == 0;
    return own || part->answered ? "actor-host" : "agent";
}

static void node(struct isola_buf *out, struct isola__gather *g, const struct isola__record *record,
                 const char *state)
{
    bool down = strcmp(state, "down") == 0;
    const struct isola__part *part = isola__gather_part(g, record->name);
    int64_t up = isola_clock_wall_ms() - (int64_t)record->started_ms;
    isola_mp_map(out, 11);
    isola_mp_kbool(out, "keeper", record->keeper);
    isola_mp_kstr(out, "name", record->name);
    isola_mp_kstr(out, "state", state);
    isola_mp_kstr(out, "url", record->url[0] != '\0' ? record->url : NULL);
    isola_mp_kuint(out, "pid", record->pid);
    isola_mp_kuint(out, "host_pid", record->host_pid);
    isola_mp_cstr(out, "actors");
    if (part != NULL && whole(part))
        isola_mp_uint(out, total_of(part));
    else
        isola_mp_nil(out);
    isola_mp_kstr(out, "silent", silent(g, part, state));
    isola_mp_kuint(out, "threads", record->threads);
    isola_mp_kuint(out, "uptime_ms", down || up < 0 ? 0 : (uint64_t)up);
    isola_mp_kstr(out, "version", record->version);
}

static void nodes_done(struct isola__gather *g)
{
    struct isola__agent *agent = g->from->agent;
    struct isola_buf out = {0};
    struct isola__record own;
    isola__record_own(agent, &own);
    isola_mp_map(&out, 2);
    isola_mp_cstr(&out, "cluster");
    if (agent->cluster.member) {
        isola_mp_map(&out, 2);
        isola_mp_kstr(&out, "name", agent->cluster.name);
        isola_mp_kstr(&out, "id", agent->cluster.id);
    } else {
        isola_mp_nil(&out);
    }
    isola_mp_cstr(&out, "nodes");
    isola_mp_array(&out, 1 + agent->members.count);
    node(&out, g, &own,
         agent->host.retired                                         ? "removed"
         : agent->host.state == ISOLA_HOST_READY && agent->host.open ? "up"
                                                                     : "starting");
    isola__record_free(&own);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next)
        node(&out, g, &m->record,
             isola__member_conn(m) == NULL ? "down"
             : m->record.host_url == NULL  ? "starting"
                                           : "up");
    isola__reply_buf(g->from, g->id, &out);
}

void isola__nodes(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_buf local = {0};
    (void)params;
    isola_mp_map(&local, 2);
    isola_mp_kbool(&local, "local", true);
    isola_mp_kuint(&local, "limit", 0);
    struct isola__gather *g = isola__gather_new(from, m->id, 1 + agent->members.count, nodes_done);
    isola__gather_ask(g, isola__host_conn(&agent->host), agent->opt.name, "ps",
                      isola_buf_slice(&local));
    isola__gather_members(g, "ps", isola_buf_slice(&local));
    isola__gather_start(g);
    isola_buf_free(&local);
}
