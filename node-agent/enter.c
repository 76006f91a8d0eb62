/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/enter.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "transport/envelope.h"

#define ANSWER_LIMIT_MS 10000

static void try_next(struct isola__enter *enter);

/* --- asking --- */

static void write_request(const struct isola__agent *agent, struct isola_buf *out)
{
    const struct isola_node_keys *keys = agent->cluster.keys;
    const struct isola_token *token = agent->opt.token;
    struct isola_slice id = isola_slice(token->id, sizeof(token->id));
    uint8_t signature[64];
    isola_request_sign(keys, agent->opt.name, id, signature);
    isola_mp_map(out, 6);
    isola_mp_cstr(out, "token");
    isola_mp_bin(out, id);
    isola_mp_cstr(out, "secret");
    isola_mp_bin(out, isola_slice(token->secret, sizeof(token->secret)));
    isola_mp_kstr(out, "name", agent->opt.name);
    isola_mp_cstr(out, "key");
    isola_mp_bin(out, isola_slice(keys->sign.public_key, ISOLA_KEY_SIZE));
    isola_mp_cstr(out, "static");
    isola_mp_bin(out, isola_slice(keys->fixed.public_key, ISOLA_KEY_SIZE));
    isola_mp_cstr(out, "signature");
    isola_mp_bin(out, isola_slice(signature, sizeof(signature)));
}

/* A certificate that was given is kept; the rest of the answer is of use, not needed. */
static int take(struct isola__agent *agent, struct isola_slice value, struct isola_err *err)
{
    struct isola__cluster *cluster = &agent->cluster;
    struct isola_slice cert, name, entries, node;
    struct isola_buf nodes = {0};
    if (!isola_mp_find_bin(value, "certificate", &cert) ||
        !isola_mp_find_str(value, "cluster", &name))
        return isola_fail(err, ISOLA_EPROTO, "the answer has no certificate in it");
    int rc = isola__cluster_enter(cluster, agent->opt.token->cluster_key, name, cert, err);
    if (rc != 0)
        return rc;
    if (isola_mp_find(value, "removed", &entries) &&
        isola__cluster_learn(cluster, entries, err) < 0)
        isola_log(ISOLA_LOG_WARN, "%s", err->text);
    isola__members_learn(&agent->members, value);
    if (isola_mp_find(value, "node", &node)) {
        isola_mp_map(&nodes, 1);
        isola_mp_cstr(&nodes, "nodes");
        isola_mp_array(&nodes, 1);
        isola_buf_append(&nodes, node.data, node.len);
        isola__members_learn(&agent->members, isola_buf_slice(&nodes));
        isola_buf_free(&nodes);
    }
    return 0;
}

static void answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__enter *enter =
        (struct isola__enter *)((char *)ask - offsetof(struct isola__enter, ask));
    struct isola__agent *agent = enter->agent;
    const struct isola_token *token = agent->opt.token;
    struct isola__conn *conn = enter->conn;
    struct isola_err err;
    if (enter->done)
        return;
    if (conn == NULL || conn->link == NULL) /* the end of the link tells why */
        return;
    int rc = answer->kind == ISOLA_MSG_REPLY ? take(agent, isola__value(answer), &err)
                                             : isola__answer_error(answer, &err);
    if (rc == ISOLA_ETIMEDOUT) { /* its link says no more: the next one may */
        enter->last = err;
        isola__conn_close(conn);
        return;
    }
    enter->done = true;
    isola__conn_close(conn);
    if (rc == 0)
        isola__agent_entered(agent);
    else
        isola__agent_start_failed(agent, "cannot join the cluster of this token at %s: %s",
                                  token->addresses[enter->next - 1], err.text);
}

/* --- the link --- */

static void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct isola__conn *conn = arg;
    struct isola_msg m;
    struct isola_err err;
    if (isola_link_decode(link, frame, &m, &err) != 0)
        isola__conn_refuse(conn, "%s", err.text);
    else if (m.kind == ISOLA_MSG_REPLY || m.kind == ISOLA_MSG_FAIL)
        isola__asks_answer(&conn->agent->asks, conn, &m);
    else
        isola__fail(conn, m.id, ISOLA_EINVAL, "node %s is no member yet", conn->agent->opt.name);
}

static void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct isola__conn *conn = arg;
    struct isola__enter *enter = &conn->agent->enter;
    (void)link;
    enter->conn = NULL;
    if (code != 0)
        isola_fail(&enter->last, ISOLA_EUNREACHABLE, "%s", why);
    isola__conn_down(conn, ISOLA_EUNREACHABLE, why);
    if (!enter->done)
        try_next(enter);
}

static const struct isola_link_ops link_ops = {.frame = on_frame, .down = on_down};

static void free_conn(struct isola__conn *conn)
{
    free(conn);
}

static int try_address(struct isola__enter *enter, const char *url)
{
    struct isola__agent *agent = enter->agent;
    struct isola__conn *conn = isola_zalloc(sizeof(*conn));
    isola__conn_init(conn, agent, free_conn);
    snprintf(conn->label, sizeof(conn->label), "node at %.80s", url);
    int rc = isola_link_dial(&agent->loop, url, &agent->security.entering, NULL, &link_ops, conn,
                             &conn->link, &enter->last);
    if (rc != 0) {
        isola__conn_unref(conn);
        return rc;
    }
    enter->conn = conn;
    struct isola_buf params = {0};
    write_request(agent, &params);
    enter->ask = (struct isola__ask){.cb = answered};
    isola__ask(conn, &enter->ask, "certify", isola_buf_slice(&params), ANSWER_LIMIT_MS);
    sodium_memzero(params.data, params.len);
    isola_buf_free(&params);
    return 0;
}

static void try_next(struct isola__enter *enter)
{
    const struct isola_token *token = enter->agent->opt.token;
    while (enter->next < token->naddresses) {
        if (try_address(enter, token->addresses[enter->next++]) == 0)
            return;
    }
    enter->done = true;
    isola__agent_start_failed(enter->agent,
                              "cannot join the cluster of this token at %s: %s; is the node that "
                              "made the token running, and can this machine reach it?",
                              token->addresses[token->naddresses - 1], enter->last.text);
}

void isola__enter(struct isola__agent *agent)
{
    struct isola__enter *enter = &agent->enter;
    const struct isola_token *token = agent->opt.token;
    struct isola_tcp at;
    struct isola_err err;
    *enter = (struct isola__enter){.agent = agent};
    bool far = isola_tcp_parse(token->addresses[0], &at) && !isola_tcp_loopback(&at);
    if (far && isola_tcp_loopback(&agent->opt.listen) && agent->opt.advertise.host[0] == '\0') {
        enter->done = true;
        isola__agent_start_failed(agent,
                                  "the cluster is at %s, but this node would listen on %s, where "
                                  "nobody there can reach it; say where with --listen "
                                  "tcp://HOST:PORT",
                                  token->addresses[0], agent->opt.listen.host);
    } else if (isola_tcp_try_listen(&agent->opt.listen, &err) != 0 ||
               isola_tcp_try_listen(&agent->opt.data_listen, &err) != 0 ||
               isola__cluster_make_keys(&agent->cluster, &err) != 0) {
        /* Before the token is used up. */
        enter->done = true;
        isola__agent_start_failed(agent, "%s", err.text);
    } else {
        isola__security_set(agent);
        try_next(enter);
    }
}

void isola__enter_close(struct isola__enter *enter)
{
    enter->done = true;
    if (enter->conn != NULL)
        isola__conn_close(enter->conn);
}
