/* SPDX-License-Identifier: Apache-2.0
 *
 * The method `logs`: the last lines of all nodes, then, for those who follow, each new one.
 *
 * Between two agents at most one stream of lines flows each way, unfiltered: `follow` in a `logs`
 * ask switches it on or off for that link. Here it is filtered for each client. A client that
 * begins to follow gets every line once: those logged before a node's answer are in that answer,
 * those after it wait until all answers are here.
 */
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/logs.h"
#include "node-agent/status.h"

#define LINES_DEFAULT 200
#define ANSWER_MAX    ((size_t)48 << 20) /* of lines; a frame holds 64 MB */

/* --- lines of the past --- */

static bool takes(const struct isola__log_filter *f, struct isola_slice line)
{
    struct isola__log_fields fields;
    return isola__log_fields_read(line, &fields) && isola__log_filter_takes(f, &fields);
}

/* {lines: […]} of this node: the last `limit` that match, fewer when they are very long. */
static void local_lines(struct isola__logs *logs, const struct isola__log_filter *f, uint64_t limit,
                        struct isola_buf *out)
{
    const struct isola__log_line **chosen = isola_alloc((logs->count + 1) * sizeof(*chosen));
    size_t n = 0;
    size_t bytes = 0;
    for (size_t from = logs->count; from > 0 && n < limit; from--) {
        const struct isola__log_line *line = isola__logs_at(logs, from - 1);
        if (!takes(f, line->whole))
            continue;
        bytes += line->whole.len;
        if (bytes > ANSWER_MAX)
            break;
        chosen[n++] = line;
    }
    isola_mp_map(out, 1);
    isola_mp_cstr(out, "lines");
    isola_mp_array(out, n);
    while (n-- > 0)
        isola_buf_append(out, chosen[n]->whole.data, chosen[n]->whole.len);
    free(chosen);
}

/* What a gathering of them belongs to. */
struct past {
    struct isola__follow *follow; /* NULL: nobody follows, or not any more */
    struct isola__log_filter filter;
};

struct merged {
    int64_t time_ms;
    size_t order; /* lines of equal time stay as they came */
    struct isola_slice line;
};

static int by_time(const void *a, const void *b)
{
    const struct merged *x = a;
    const struct merged *y = b;
    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static size_t collect(const struct isola__part *part, const struct isola__log_filter *f,
                      struct merged *out, size_t n, size_t max)
{
    struct isola_slice lines;
    if (!part->answered || !isola_mp_find(isola_buf_slice(&part->value), "lines", &lines))
        return n;
    struct isola_mp_reader r = isola_mp_reader(lines);
    struct isola_mp_item head;
    if (isola_mp_next(&r, &head) != 0 || head.type != ISOLA_MP_ARRAY)
        return n;
    struct isola_slice line;
    for (uint32_t i = 0; i < head.n && n < max && isola_mp_skip(&r, &line) == 0; i++) {
        struct isola__log_fields fields;
        if (isola__log_fields_read(line, &fields) && isola__log_filter_takes(f, &fields)) {
            out[n].time_ms = fields.time_ms;
            out[n].order = n;
            out[n].line = line;
            n++;
        }
    }
    return n;
}

static void answer_lines(struct isola__gather *g)
{
    size_t max = 0;
    for (size_t i = 0; i < g->nparts; i++) {
        struct isola_slice lines;
        if (isola_mp_find(isola_buf_slice(&g->parts[i].value), "lines", &lines))
            max += isola_mp_count(lines);
    }
    const struct past *past = g->arg;
    struct merged *all = calloc(max + 1, sizeof(*all));
    if (all == NULL) {
        isola__fail(g->from, g->id, ISOLA_ENOMEM, "no memory for %zu lines", max);
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < g->nparts; i++)
        n = collect(&g->parts[i], &past->filter, all, n, max);
    qsort(all, n, sizeof(*all), by_time);
    size_t from = n;
    size_t bytes = 0;
    while (from > 0 && n - from < g->limit && bytes + all[from - 1].line.len <= ANSWER_MAX)
        bytes += all[--from].line.len;
    struct isola_buf out = {0};
    isola_mp_map(&out, 2);
    isola_mp_cstr(&out, "lines");
    isola_mp_array(&out, n - from);
    for (size_t i = from; i < n; i++)
        isola_buf_append(&out, all[i].line.data, all[i].line.len);
    isola__gather_unreachable(g, &out);
    free(all);
    isola__reply_buf(g->from, g->id, &out);
}

static void lines_done(struct isola__gather *g)
{
    struct past *past = g->arg;
    struct isola__follow *follow = past->follow;
    answer_lines(g);
    isola__log_filter_free(&past->filter);
    free(past);
    if (follow == NULL || follow->gather != g)
        return;
    follow->gather = NULL;
    struct isola_msg *m;
    while ((m = isola_msgq_pop(&follow->waiting)) != NULL) {
        (void)isola__conn_send(g->from, m);
        free(m);
    }
}

/* --- following --- */

void isola__follow_end(struct isola__follow *follow)
{
    if (follow->gather != NULL)
        ((struct past *)follow->gather->arg)->follow = NULL;
    follow->on = false;
    follow->gather = NULL;
    isola__log_filter_free(&follow->filter);
    isola_msgq_clear(&follow->waiting);
}

static void follow_one(struct isola__follow *follow, const char *node, struct isola_slice args)
{
    struct isola_msg m = {
        .kind = ISOLA_MSG_EMIT, .bulk = true, .event = isola_slice_str("log"), .args = args};
    if (follow->gather == NULL) {
        (void)isola__conn_send(follow->conn, &m);
        return;
    }
    const struct isola__part *part = isola__gather_part(follow->gather, node);
    if (part != NULL && !part->answered)
        return; /* will be in its answer */
    struct isola_msg *copy =
        follow->waiting.count < ISOLA_LOG_LINES_MAX ? isola_msg_copy(&m) : NULL;
    if (copy != NULL)
        isola_msgq_push(&follow->waiting, copy);
}

void isola__follow_line(struct isola__agent *agent, const char *node, struct isola_slice line)
{
    struct isola__log_fields fields;
    if (!isola__log_fields_read(line, &fields))
        return;
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_buf_append(&args, line.data, line.len);
    if (args.failed) {
        isola_buf_free(&args);
        return;
    }
    for (struct isola__client *c = agent->clients.first; c != NULL; c = c->next) {
        if (c->follow.on && isola__log_filter_takes(&c->follow.filter, &fields))
            follow_one(&c->follow, node != NULL ? node : agent->opt.name, isola_buf_slice(&args));
    }
    if (node == NULL)
        isola__peers_log(&agent->members, isola_buf_slice(&args));
    isola_buf_free(&args);
}

static bool anyone_follows(struct isola__agent *agent)
{
    for (struct isola__client *c = agent->clients.first; c != NULL; c = c->next) {
        if (c->follow.on)
            return true;
    }
    return false;
}

static void peer_params(struct isola__agent *agent, const struct isola__log_filter *f,
                        uint64_t lines, struct isola_buf *out)
{
    isola_mp_map(out, 3 + isola__log_filter_keys(f));
    isola_mp_kbool(out, "local", true);
    isola_mp_kbool(out, "follow", anyone_follows(agent));
    isola_mp_kuint(out, "lines", lines);
    isola__log_filter_write(f, out);
}

static void member_answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    (void)answer;
    free(ask);
}

void isola__follow_member(struct isola__agent *agent, struct isola__conn *peer)
{
    if (!anyone_follows(agent))
        return;
    struct isola__log_filter all = {0};
    struct isola_buf params = {0};
    peer_params(agent, &all, 0, &params);
    struct isola__ask *ask = isola_zalloc(sizeof(*ask));
    ask->cb = member_answered;
    isola__ask(peer, ask, "logs", isola_buf_slice(&params), ISOLA_GATHER_MS);
    isola_buf_free(&params);
}

/* --- the method --- */

static bool read_params(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params, struct isola__log_filter *filter,
                        uint64_t *limit)
{
    struct isola_slice any;
    *limit = LINES_DEFAULT;
    if (isola_mp_find(params, "lines", &any) && !isola_mp_find_uint(params, "lines", limit)) {
        isola__fail(from, m->id, ISOLA_EINVAL, "logs: \"lines\" must be a whole number, 0 or more");
        return false;
    }
    if (*limit > ISOLA_LOG_LINES_MAX)
        *limit = ISOLA_LOG_LINES_MAX;
    const char *wrong = isola__log_filter_read(params, filter);
    if (wrong != NULL)
        isola__fail(from, m->id, ISOLA_EINVAL, "logs: %s", wrong);
    return wrong == NULL;
}

/* Asks the other nodes, or the one that is named. False: there is none of that name. */
static bool ask_members(struct isola__gather *g, const char *node, struct isola_slice params)
{
    struct isola__agent *agent = g->from->agent;
    bool found = node == NULL || strcmp(node, agent->opt.name) == 0;
    for (struct isola__member *member = agent->members.first; member != NULL;
         member = member->next) {
        if (node != NULL && strcmp(node, member->record.name) != 0)
            continue;
        isola__gather_ask(g, isola__member_conn(member), member->record.name, "logs", params);
        found = true;
    }
    return found;
}

void isola__logs_method(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola__client *client = (struct isola__client *)from; /* its conn is its first member */
    struct isola__log_filter filter;
    uint64_t limit;
    bool follow = false;
    bool local = false;
    if (!read_params(from, m, params, &filter, &limit))
        return;
    (void)isola_mp_find_bool(params, "follow", &follow);
    (void)isola_mp_find_bool(params, "local", &local);
    struct isola__gather *g = isola__gather_new(from, m->id, 1 + agent->members.count, lines_done);
    struct past *past = isola_zalloc(sizeof(*past));
    g->limit = limit;
    g->arg = past;
    if (follow) {
        isola__follow_end(&client->follow);
        const char *wrong = isola__log_filter_read(params, &client->follow.filter);
        ISOLA_CHECK(wrong == NULL); /* it has been read once */
        client->follow.on = true;
        client->follow.conn = from;
        client->follow.gather = g;
        past->follow = &client->follow;
    }
    struct isola_buf own = {0};
    local_lines(&agent->logs, &filter, limit, &own);
    isola__gather_have(g, agent->opt.name, &own);
    if (!local) {
        struct isola_buf peers = {0};
        peer_params(agent, &filter, limit, &peers);
        if (!ask_members(g, filter.node, isola_buf_slice(&peers))) {
            g->id = 0; /* the answer is this one */
            isola__member_unknown(from, m->id, isola_slice_str(filter.node));
            if (follow)
                isola__follow_end(&client->follow);
        }
        isola_buf_free(&peers);
    }
    past->filter = filter;
    isola__gather_start(g);
}

void isola__logs_peer(struct isola__conn *from, const struct isola_msg *m,
                      struct isola_slice params)
{
    struct isola__log_filter filter;
    uint64_t limit;
    bool follow = false;
    if (!read_params(from, m, params, &filter, &limit))
        return;
    (void)isola_mp_find_bool(params, "follow", &follow);
    struct isola_buf out = {0};
    local_lines(&from->agent->logs, &filter, limit, &out);
    isola__reply_buf(from, m->id, &out);
    isola__peer_follow(from, follow);
    isola__log_filter_free(&filter);
}
