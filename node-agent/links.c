/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/links.h"

#include <string.h>

#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/status.h"
#include "transport/link_report.h"

/* --- this node's control links --- */

static size_t report_peers(const struct isola__agent *agent, struct isola_buf *rows)
{
    size_t n = 0;
    for (struct isola__peer *p = agent->members.peers; p != NULL; p = p->next) {
        const struct isola__member *m = p->member != NULL ? p->member : p->target;
        if (p->conn.link == NULL || p->refused)
            continue;
        struct isola_link_about about = {.node = agent->opt.name,
                                         .peer = m != NULL ? m->record.name : NULL,
                                         .kind = "control",
                                         .dialled = p->dialled,
                                         .state = p->retired          ? "closing"
                                                  : p->member != NULL ? "up"
                                                  : p->dialled        ? "dialling"
                                                                      : "joining",
                                         .version = p->member != NULL ? m->record.version : NULL,
                                         .past = m != NULL && !p->retired ? &m->past : NULL};
        isola_link_report(&about, p->conn.link, rows);
        n++;
    }
    return n;
}

/* Members there is no link with, and none being made at this moment. */
static size_t report_waiting(const struct isola__agent *agent, struct isola_buf *rows)
{
    size_t n = 0;
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        if (m->peer != NULL || m->dialling != NULL)
            continue;
        struct isola_link_about about = {.node = agent->opt.name,
                                         .peer = m->record.name,
                                         .kind = "control",
                                         .dialled = true,
                                         .state = "waiting",
                                         .url = m->record.url,
                                         .past = &m->past};
        isola_link_report(&about, NULL, rows);
        n++;
    }
    return n;
}

static void own_links(const struct isola__agent *agent, struct isola_buf *out)
{
    struct isola_buf rows = {0};
    size_t n = report_peers(agent, &rows) + report_waiting(agent, &rows);
    isola_mp_map(out, 2);
    isola_mp_cstr(out, "listeners");
    isola_mp_array(out, 1 + (size_t)(agent->control != NULL));
    isola_listener_report(agent->opt.name, "clients", agent->socket, out);
    if (agent->control != NULL)
        isola_listener_report(agent->opt.name, "control", agent->control, out);
    isola_mp_cstr(out, "links");
    isola_mp_array(out, n);
    isola_buf_append(out, rows.data, rows.len);
    out->failed = out->failed || rows.failed;
    isola_buf_free(&rows);
}

/* --- put together --- */

static void answer(struct isola__gather *g)
{
    struct isola_buf out = {0};
    isola_mp_map(&out, 4);
    isola__gather_lists(g, "links", &out);
    isola__gather_lists(g, "listeners", &out);
    isola__gather_lists(g, "durables", &out);
    isola__gather_unreachable(g, &out);
    isola__reply_buf(g->from, g->id, &out);
}

static struct isola__gather *begin(struct isola__conn *from, uint64_t id, size_t others, bool own,
                                   uint64_t patience_ms)
{
    struct isola__agent *agent = from->agent;
    struct isola__gather *g = isola__gather_new(from, id, 2 + others, answer);
    struct isola_buf mine = {0};
    g->patience_ms = patience_ms;
    if (!own)
        return g;
    own_links(agent, &mine);
    isola__gather_have(g, agent->opt.name, &mine);
    isola_buf_free(&mine);
    struct isola__conn *host = isola__host_conn(&agent->host);
    if (host != NULL)
        isola__gather_ask(g, host, agent->opt.name, "links", isola_slice(NULL, 0));
    return g;
}

void isola__links(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice node = {0};
    (void)isola_mp_find_str(params, "node", &node);
    bool own = node.len == 0 || isola_slice_is(node, agent->opt.name);
    bool found = own;
    struct isola__gather *g = begin(from, m->id, agent->members.count, own, ISOLA_GATHER_MS);
    for (struct isola__member *member = agent->members.first; member != NULL;
         member = member->next) {
        if (node.len != 0 && !isola_slice_is(node, member->record.name))
            continue;
        found = true;
        isola__gather_ask(g, isola__member_conn(member), member->record.name, "links",
                          isola_slice(NULL, 0));
    }
    if (!found) {
        g->id = 0; /* the answer is this one */
        isola__member_unknown(from, m->id, node);
    }
    isola__gather_start(g);
}

void isola__links_local(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params)
{
    (void)params;
    isola__gather_start(begin(from, m->id, 0, true, ISOLA_GATHER_LOCAL_MS));
}
