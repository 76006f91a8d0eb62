/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/debug_far.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/clients.h"
#include "node-agent/debug_tunnel.h"
#include "node-agent/service_debug.h"

/* The other node says ETIMEDOUT itself. */
#define OPEN_MS (ISOLA_DEBUG_OPEN_MS + 2000)
#define PASS_MS (ISOLA_TUNNEL_READ_MS + 10000)

/* The inspector that a client has at another node, or has asked for. */
struct isola__debug_far {
    struct isola__ask ask; /* first */
    struct isola__agent *agent;
    struct isola__client *client; /* NULL: it has left before the answer was there */
    char node[ISOLA_NODE_NAME_MAX + 1];
    uint64_t id;    /* what that node is told it is called */
    uint64_t asked; /* the client's request, to be answered; 0: it is */
};

static struct isola__conn *conn_to(const struct isola__debug_far *far)
{
    const struct isola__member *member = isola__member_find(&far->agent->members, far->node);
    return member != NULL ? isola__member_conn(member) : NULL;
}

/* Tells the other node that nobody wants it any more. */
static void leave(const struct isola__debug_far *far)
{
    struct isola__conn *conn = conn_to(far);
    struct isola_buf params = {0};
    if (conn == NULL)
        return;
    isola_mp_map(&params, 1);
    isola_mp_kuint(&params, "id", far->id);
    (void)isola__emit(conn, "debug_leave", isola_buf_slice(&params));
    isola_buf_free(&params);
}

static void far_free(struct isola__debug_far *far)
{
    if (far->client != NULL)
        far->client->far = NULL;
    free(far);
}

static void answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__debug_far *far = (struct isola__debug_far *)ask;
    uint64_t id = far->asked;
    far->asked = 0;
    if (far->client != NULL)
        isola__pass_answer(&far->client->conn, id, answer);
    if (answer->kind == ISOLA_MSG_REPLY && far->client != NULL)
        return; /* it is open */
    leave(far); /* of one that has failed it may know nothing, or open it yet */
    far_free(far);
}

/* The other node's, by its name. */
static void open_far(struct isola__client *c, const struct isola_msg *m, const char *node,
                     struct isola_slice address)
{
    struct isola__agent *agent = c->conn.agent;
    const struct isola__member *member = isola__member_find(&agent->members, node);
    struct isola__conn *to = member != NULL ? isola__member_conn(member) : NULL;
    if (member == NULL) {
        isola__member_unknown(&c->conn, m->id, isola_slice_str(node));
        return;
    }
    if (to == NULL) {
        isola__fail(&c->conn, m->id, ISOLA_EUNREACHABLE, "node %s cannot be reached now", node);
        return;
    }
    struct isola__debug_far *far = isola_zalloc(sizeof(*far));
    struct isola_buf params = {0};
    far->ask.cb = answered;
    far->agent = agent;
    far->client = c;
    far->id = ++agent->clients.numbers;
    far->asked = m->id;
    snprintf(far->node, sizeof(far->node), "%s", node);
    c->far = far;
    isola_mp_map(&params, 2);
    isola_mp_cstr(&params, "address");
    isola_mp_str(&params, address);
    isola_mp_kuint(&params, "id", far->id);
    isola__ask(to, &far->ask, "debug", isola_buf_slice(&params), OPEN_MS);
    isola_buf_free(&params);
}

void isola__debug(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__client *c = (struct isola__client *)from; /* its first field */
    struct isola_slice address, node;
    bool named = isola_mp_find_str(params, "node", &node) && node.len <= ISOLA_NODE_NAME_MAX;
    if (!isola_mp_find_str(params, "address", &address) || m->id == 0 || c->debugs != NULL ||
        c->far != NULL) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "debug: \"address\" is missing, or this connection has an inspector already");
        return;
    }
    if (!named || isola_slice_is(node, from->agent->opt.name)) {
        isola__debug_here(from, m, params);
        return;
    }
    char *name = isola_strndup((const char *)node.data, node.len);
    open_far(c, m, name, address);
    free(name);
}

/* The client's own, whatever it says: it may name a connection, and have bytes for it. */
void isola__debug_pass(struct isola__conn *from, const struct isola_msg *m,
                       struct isola_slice params)
{
    const struct isola__debug_far *far = ((struct isola__client *)from)->far;
    struct isola_slice bytes = {0};
    uint64_t connection = 0;
    if (far == NULL || far->asked != 0) {
        isola__fail(from, m->id, ISOLA_ECLOSED,
                    "this connection has no inspector open at another node");
        return;
    }
    (void)isola_mp_find_uint(params, "connection", &connection);
    (void)isola_mp_find_bin(params, "bytes", &bytes);
    struct isola_buf out = {0};
    isola_mp_map(&out, 3);
    isola_mp_kuint(&out, "id", far->id);
    isola_mp_kuint(&out, "connection", connection);
    isola_mp_cstr(&out, "bytes");
    isola_mp_bin(&out, bytes);
    isola__pass_on(from, m, conn_to(far), far->node, isola_buf_slice(&out), PASS_MS);
    isola_buf_free(&out);
}

void isola__debug_far_left(struct isola__client *c)
{
    struct isola__debug_far *far = c->far;
    c->far = NULL;
    far->client = NULL;
    if (far->asked != 0)
        return; /* when the answer is there */
    leave(far);
    far_free(far);
}

static void ended(struct isola__debug_far *far, struct isola_slice why)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "why");
    isola_mp_str(&params, why);
    (void)isola__emit(&far->client->conn, "ended", isola_buf_slice(&params));
    isola_buf_free(&params);
    far_free(far);
}

void isola__debug_far_lost(struct isola__agent *agent, const char *node, const char *why)
{
    for (struct isola__client *c = agent->clients.first; c != NULL; c = c->next) {
        if (c->far == NULL || c->far->asked != 0 || strcmp(c->far->node, node) != 0)
            continue;
        char *text = isola_format("node %s is down: %s", node, why);
        ended(c->far, isola_slice_str(text));
        free(text);
    }
}

void isola__debug_far_ended(struct isola__conn *from, const struct isola_msg *m,
                            struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    const char *node = ((struct isola__peer *)from)->member->record.name;
    struct isola_slice why;
    uint64_t id;
    (void)m;
    if (!isola_mp_find_uint(params, "id", &id) || !isola_mp_find_str(params, "why", &why))
        return;
    struct isola__client *c = agent->clients.first;
    while (c != NULL && (c->far == NULL || c->far->id != id || c->far->asked != 0 ||
                         strcmp(c->far->node, node) != 0))
        c = c->next;
    if (c != NULL)
        ended(c->far, why);
}
