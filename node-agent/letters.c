/* SPDX-License-Identifier: Apache-2.0
 *
 * Dead letters are kept by the actor-hosts; here they are asked for, of all nodes or of one. A
 * question to one node may wait there until there is something new (`wait`): so a client follows.
 */
#include "node-agent/letters.h"

#include <string.h>

#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/status.h"
#include "transport/identity.h"

#define WAIT_MAX_MS 60000

struct query {
    struct isola_slice of, node;
    uint64_t after, wait_ms;
};

static bool optional_text(struct isola_slice params, const char *key, size_t max,
                          struct isola_slice *out)
{
    struct isola_slice any;
    if (!isola_mp_find(params, key, &any) || (any.len == 1 && any.data[0] == 0xc0)) /* nil */
        return true;
    return isola_mp_find_str(params, key, out) && out->len <= max;
}

static bool optional_number(struct isola_slice params, const char *key, uint64_t *out)
{
    struct isola_slice any;
    return !isola_mp_find(params, key, &any) || isola_mp_find_uint(params, key, out);
}

static bool read_query(struct isola__conn *from, const struct isola_msg *m,
                       struct isola_slice params, struct query *q)
{
    *q = (struct query){0};
    if (!optional_text(params, "of", ISOLA_ADDRESS_MAX, &q->of) ||
        !optional_text(params, "node", ISOLA_NODE_NAME_MAX, &q->node) ||
        !optional_number(params, "after", &q->after) ||
        !optional_number(params, "wait", &q->wait_ms)) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "dead-letters: \"of\" and \"node\" must be strings, \"after\" and \"wait\" "
                    "whole numbers");
        return false;
    }
    if (q->wait_ms > WAIT_MAX_MS)
        q->wait_ms = WAIT_MAX_MS;
    return true;
}

static void query_params(const struct query *q, struct isola_buf *out)
{
    isola_mp_map(out, 3);
    isola_mp_cstr(out, "of");
    isola_mp_str(out, q->of);
    isola_mp_kuint(out, "after", q->after);
    isola_mp_kuint(out, "wait", q->wait_ms);
}

/* {letters, counts: {node: how many there were}, unreachable} */
static void answer(struct isola__gather *g)
{
    struct isola_buf letters = {0}, counts = {0}, out = {0};
    size_t n = 0, nodes = 0;
    for (size_t i = 0; i < g->nparts; i++) {
        const struct isola__part *part = &g->parts[i];
        struct isola_slice value = isola_buf_slice(&part->value), list;
        struct isola_mp_item head;
        uint64_t count;
        if (!part->answered || !isola_mp_find(value, "letters", &list) ||
            !isola_mp_find_uint(value, "count", &count))
            continue;
        struct isola_mp_reader r = isola_mp_reader(list);
        if (isola_mp_next(&r, &head) != 0 || head.type != ISOLA_MP_ARRAY)
            continue;
        n += head.n;
        isola_buf_append(&letters, r.p, (size_t)(r.end - r.p));
        isola_mp_kuint(&counts, part->node, count);
        nodes++;
    }
    isola_mp_map(&out, 3);
    isola_mp_cstr(&out, "letters");
    isola_mp_array(&out, n);
    isola_buf_append(&out, letters.data, letters.len);
    isola_mp_cstr(&out, "counts");
    isola_mp_map(&out, nodes);
    isola_buf_append(&out, counts.data, counts.len);
    isola__gather_unreachable(g, &out);
    isola__reply_buf(g->from, g->id, &out);
    isola_buf_free(&letters);
    isola_buf_free(&counts);
}

void isola__letters(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_buf ask = {0};
    struct query q;
    if (!read_query(from, m, params, &q))
        return;
    if (q.node.len == 0)
        q.after = q.wait_ms = 0; /* each node counts for itself */
    struct isola__gather *g = isola__gather_new(from, m->id, 1 + agent->members.count, answer);
    g->patience_ms = q.wait_ms + ISOLA_GATHER_MS;
    query_params(&q, &ask);
    if (q.node.len == 0 || isola_slice_is(q.node, agent->opt.name))
        isola__gather_ask(g, isola__host_conn(&agent->host), agent->opt.name, "dead-letters",
                          isola_buf_slice(&ask));
    for (struct isola__member *member = agent->members.first; member != NULL; member = member->next)
        if (q.node.len == 0 || isola_slice_is(q.node, member->record.name))
            isola__gather_ask(g, isola__member_conn(member), member->record.name, "dead-letters",
                              isola_buf_slice(&ask));
    isola__gather_start(g);
    isola_buf_free(&ask);
}

static void local_answer(struct isola__gather *g)
{
    struct isola__part *part = &g->parts[0];
    if (!part->answered) {
        isola__fail(g->from, g->id, ISOLA_EUNREACHABLE, "the actor-host of this node is not there");
        return;
    }
    struct isola_buf value = part->value;
    part->value = (struct isola_buf){0};
    isola__reply_buf(g->from, g->id, &value);
}

void isola__letters_local(struct isola__conn *from, const struct isola_msg *m,
                          struct isola_slice params)
{
    struct isola_buf ask = {0};
    struct query q;
    if (!read_query(from, m, params, &q))
        return;
    struct isola__gather *g = isola__gather_new(from, m->id, 1, local_answer);
    g->patience_ms = q.wait_ms + ISOLA_GATHER_LOCAL_MS;
    query_params(&q, &ask);
    isola__gather_ask(g, isola__host_conn(&from->agent->host), from->agent->opt.name,
                      "dead-letters", isola_buf_slice(&ask));
    isola__gather_start(g);
    isola_buf_free(&ask);
}
