/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/stores.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/status.h"
#include "transport/identity.h"

/* Before who asks loses its patience, so that it learns who has not answered. */
#define EARLIER_MS 1000u

static void answer(struct isola__gather *g)
{
    struct isola_buf out = {0};
    isola_mp_map(&out, 2);
    isola__gather_lists(g, g->arg, &out);
    isola__gather_unreachable(g, &out);
    isola__reply_buf(g->from, g->id, &out);
}

/* `list`: what an answer has, an array. */
static struct isola__gather *begin(struct isola__conn *from, const struct isola_msg *m,
                                   const char *method, const char *list, size_t others, bool own,
                                   struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola__gather *g = isola__gather_new(from, m->id, 1 + others, answer);
    g->arg = (void *)(uintptr_t)list;
    if (m->timeout_ms > 2 * EARLIER_MS)
        g->patience_ms = m->timeout_ms - EARLIER_MS;
    if (own)
        isola__gather_ask(g, isola__host_conn(&agent->host), agent->opt.name, method, params);
    return g;
}

/* Of all nodes, or of one. */
static void ask_nodes(struct isola__conn *from, const struct isola_msg *m, const char *method,
                      const char *list, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice node = {0};
    (void)isola_mp_find_str(params, "node", &node);
    bool own = node.len == 0 || isola_slice_is(node, agent->opt.name);
    bool found = own;
    struct isola__gather *g = begin(from, m, method, list, agent->members.count, own, params);
    for (struct isola__member *member = agent->members.first; member != NULL;
         member = member->next) {
        if (node.len != 0 && !isola_slice_is(node, member->record.name))
            continue;
        found = true;
        isola__gather_ask(g, isola__member_conn(member), member->record.name, method, params);
    }
    if (!found) {
        g->id = 0; /* the answer is this one */
        isola__member_unknown(from, m->id, node);
    }
    isola__gather_start(g);
}

void isola__store(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    ask_nodes(from, m, "store", "stores", params);
}

void isola__timers(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    ask_nodes(from, m, "timers", "schedules", params);
}

void isola__history(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_slice text;
    struct isola_address address;
    struct isola_err err;
    if (!isola_mp_find_str(params, "address", &text) ||
        isola_address_parse(text, &address, &err) != 0)
        isola__fail(from, m->id, ISOLA_EINVAL, "history: \"address\" is missing or no address");
    else
        ask_nodes(from, m, "history", "histories", params);
}

void isola__restore_local(struct isola__conn *from, const struct isola_msg *m,
                          struct isola_slice params)
{
    isola__pass_on(from, m, isola__host_conn(&from->agent->host), from->agent->opt.name, params,
                   m->timeout_ms);
}

void isola__restore(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice name;
    if (!isola_mp_find_str(params, "node", &name) ||
        !isola_node_name_ok((const char *)name.data, name.len)) {
        isola__fail(from, m->id, ISOLA_EINVAL, "restore: \"node\" is missing or no node's name");
        return;
    }
    if (isola_slice_is(name, agent->opt.name)) {
        isola__restore_local(from, m, params);
        return;
    }
    isola__member_pass_on(from, m, name, params, m->timeout_ms);
}

/* Into a directory of this machine: for who may use its socket, and not for other nodes. */
void isola__backup(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    isola__pass_on(from, m, isola__host_conn(&from->agent->host), from->agent->opt.name, params,
                   m->timeout_ms);
}

void isola__store_local(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params)
{
    isola__gather_start(begin(from, m, "store", "stores", 0, true, params));
}

void isola__history_local(struct isola__conn *from, const struct isola_msg *m,
                          struct isola_slice params)
{
    isola__gather_start(begin(from, m, "history", "histories", 0, true, params));
}

void isola__timers_local(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    isola__gather_start(begin(from, m, "timers", "schedules", 0, true, params));
}
