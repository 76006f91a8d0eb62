/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/inspect.h"

#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "transport/identity.h"

/* Beside the time a profile is to take: for its start, its end, and a heap to be walked. */
#define MORE_MS 120000u
#define READ_MS 10000u
#define MS_MAX  600000u

/* --- one question passed on --- */

static uint32_t limit_of(struct isola_slice params)
{
    uint64_t ms = 0;
    (void)isola_mp_find_uint(params, "ms", &ms);
    return MORE_MS + (ms < MS_MAX ? (uint32_t)ms : MS_MAX);
}

void isola__inspect_local(struct isola__conn *from, const struct isola_msg *m,
                          struct isola_slice params)
{
    isola__pass_on(from, m, isola__host_conn(&from->agent->host), from->agent->opt.name, params,
                   limit_of(params));
}

void isola__inspect_read_local(struct isola__conn *from, const struct isola_msg *m,
                               struct isola_slice params)
{
    isola__pass_on(from, m, isola__host_conn(&from->agent->host), from->agent->opt.name, params,
                   READ_MS);
}

void isola__inspect_read(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    struct isola_slice name;
    struct isola__agent *agent = from->agent;
    if (!isola_mp_find_str(params, "node", &name) || name.len > ISOLA_NODE_NAME_MAX) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "inspect_read: \"node\" is missing or no node's name");
        return;
    }
    if (isola_slice_is(name, agent->opt.name)) {
        isola__inspect_read_local(from, m, params);
        return;
    }
    isola__member_pass_on(from, m, name, params, READ_MS);
}

/* --- a question to all --- */

struct search;

struct place {
    struct isola__ask ask; /* first */
    struct search *search;
    char *node;
};

struct search {
    struct isola__conn *from;
    uint64_t id;
    char *address;
    bool over; /* the client has its answer */
    size_t outstanding, nplaces;
    struct isola_buf unreached; /* names, for a person */
    struct place places[];
};

static void not_active(struct search *s)
{
    struct isola_address at;
    struct isola_err err;
    ISOLA_CHECK(isola_address_parse(isola_slice_str(s->address), &at, &err) == 0);
    if (isola__releases_find(&s->from->agent->releases, at.app, at.type, &err) == 0)
        isola_fail(&err, ISOLA_ENOACTOR, "%s is not active: its next message activates it",
                   s->address);
    isola__fail(s->from, s->id, ISOLA_ENOACTOR, "%s", err.text);
}

static void settle(struct search *s)
{
    if (--s->outstanding > 0)
        return;
    if (!s->over && s->unreached.len > 0)
        isola__fail(s->from, s->id, ISOLA_ENOACTOR,
                    "%s is not active on a node that answered; not reached: %s", s->address,
                    isola_buf_cstr(&s->unreached));
    else if (!s->over)
        not_active(s);
    for (size_t i = 0; i < s->nplaces; i++)
        free(s->places[i].node);
    isola_buf_free(&s->unreached);
    isola__conn_unref(s->from);
    free(s->address);
    free(s);
}

static void unreached(struct search *s, const char *node)
{
    isola_buf_printf(&s->unreached, "%s%s", s->unreached.len > 0 ? ", " : "", node);
}

static void found(struct search *s, const char *node, struct isola_slice value)
{
    struct isola_slice isolation;
    uint64_t id, bytes;
    if (!isola_mp_find_uint(value, "id", &id) || !isola_mp_find_uint(value, "bytes", &bytes) ||
        !isola_mp_find_str(value, "isolation", &isolation))
        return; /* it does not live there */
    s->over = true;
    struct isola_buf out = {0};
    isola_mp_map(&out, 4);
    isola_mp_kstr(&out, "node", node);
    isola_mp_kuint(&out, "id", id);
    isola_mp_kuint(&out, "bytes", bytes);
    isola_mp_cstr(&out, "isolation");
    isola_mp_str(&out, isolation);
    isola__reply_buf(s->from, s->id, &out);
}

static void answered(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct place *p = (struct place *)ask;
    struct search *s = p->search;
    struct isola_err err;
    if (!s->over && answer->kind == ISOLA_MSG_REPLY) {
        found(s, p->node, isola__value(answer));
    } else if (!s->over && isola__answer_error(answer, &err) == ISOLA_EUNREACHABLE) {
        unreached(s, p->node);
    } else if (!s->over) {
        s->over = true;
        isola__fail(s->from, s->id, err.code, "%s (node %s)", err.text, p->node);
    }
    settle(s);
}

static void look(struct search *s, const char *node, struct isola__conn *conn,
                 struct isola_slice params)
{
    if (conn == NULL) {
        unreached(s, node);
        return;
    }
    struct place *p = &s->places[s->nplaces++];
    p->search = s;
    p->node = isola_strdup(node);
    p->ask.cb = answered;
    s->outstanding++;
    isola__ask(conn, &p->ask, "inspect", params, limit_of(params));
}

void isola__inspect(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice text;
    struct isola_address address;
    struct isola_err err;
    if (!isola_mp_find_str(params, "address", &text) ||
        isola_address_parse(text, &address, &err) != 0) {
        isola__fail(from, m->id, ISOLA_EINVAL, "inspect: \"address\" is missing or no address");
        return;
    }
    struct search *s = isola_zalloc(sizeof(*s) + (1 + agent->members.count) * sizeof(struct place));
    s->from = from;
    isola__conn_ref(from);
    s->id = m->id;
    s->address = isola_strndup((const char *)text.data, text.len);
    s->outstanding = 1; /* until all have been asked */
    look(s, agent->opt.name, isola__host_conn(&agent->host), params);
    for (struct isola__member *member = agent->members.first; member != NULL; member = member->next)
        look(s, member->record.name, isola__member_conn(member), params);
    settle(s);
}
