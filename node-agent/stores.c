/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/stores.h"

#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/status.h"

/* Before who asks loses its patience, so that it learns who has not answered. */
#define EARLIER_MS 1000u

static void answer(struct isola__gather *g)
{
    struct isola_buf out = {0};
    isola_mp_map(&out, 2);
    isola__gather_lists(g, "stores", &out);
    isola__gather_unreachable(g, &out);
    isola__reply_buf(g->from, g->id, &out);
}

static struct isola__gather *begin(struct isola__conn *from, const struct isola_msg *m,
                                   size_t others, bool own, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola__gather *g = isola__gather_new(from, m->id, 1 + others, answer);
    if (m->timeout_ms > 2 * EARLIER_MS)
        g->patience_ms = m->timeout_ms - EARLIER_MS;
    if (own) {
        bool there = agent->host.state == ISOLA_HOST_READY && !agent->host.retired;
        isola__gather_ask(g, there ? agent->host.conn : NULL, agent->opt.name, "store", params);
    }
    return g;
}

void isola__store(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice node = {0};
    (void)isola_mp_find_str(params, "node", &node);
    bool own = node.len == 0 || isola_slice_is(node, agent->opt.name);
    bool found = own;
    struct isola__gather *g = begin(from, m, agent->members.count, own, params);
    for (struct isola__member *member = agent->members.first; member != NULL;
         member = member->next) {
        if (node.len != 0 && !isola_slice_is(node, member->record.name))
            continue;
        found = true;
        isola__gather_ask(g, isola__member_conn(member), member->record.name, "store", params);
    }
    if (!found) {
        g->id = 0; /* the answer is this one */
        isola__fail(from, m->id, ISOLA_ENOENT, "no node named %.*s is known to node %s",
                    (int)(node.len < 64 ? node.len : 64), (const char *)node.data, agent->opt.name);
    }
    isola__gather_start(g);
}

/* Into a directory of this machine: for who may use its socket, and not for other nodes. */
void isola__backup(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    bool there = agent->host.state == ISOLA_HOST_READY && !agent->host.retired;
    isola__pass_on(from, m, there ? agent->host.conn : NULL, agent->opt.name, params,
                   m->timeout_ms);
}

void isola__store_local(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params)
{
    isola__gather_start(begin(from, m, 0, true, params));
}
