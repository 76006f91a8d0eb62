/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/rollout_poll.h"

#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/status.h"

/* --- this node --- */

/* A question to our actor-host, for whoever wants the report. */
struct local {
    struct isola__ask ask; /* first */
    struct isola__agent *agent;
    char *app;
    uint64_t revision;                               /* that was current when it was asked, or 0 */
    void (*cb)(void *arg, struct isola_buf *report); /* takes what it holds; empty: no such app */
    void *arg;
};

/* `tally` is of `revision`. */
static void write_report(struct isola__agent *agent, const char *app, uint64_t revision,
                         struct isola_slice tally, struct isola_buf *out)
{
    const struct isola__current *current = isola__releases_current(&agent->releases, app);
    struct isola_slice release;
    if (current == NULL)
        return;
    const char *watched = current->share > 0 ? current->candidate : current->id;
    bool counts = revision == current->revision && isola_mp_find_str(tally, "release", &release) &&
                  isola_slice_is(release, watched); /* else it has not got it yet */
    isola_mp_map(out, 6);
    isola_mp_kstr(out, "release", current->id);
    isola_mp_kuint(out, "revision", current->revision);
    isola_mp_kbool(out, "watching", isola__rollout_watches(&agent->rollouts, app));
    isola_mp_kbool(out, "proven", isola__rollout_is_proven(&agent->rollouts, app));
    isola__services_report(&agent->services, app, current, out);
    isola_mp_cstr(out, "tally");
    if (counts)
        isola_buf_append(out, tally.data, tally.len);
    else
        isola_mp_nil(out);
}

static void tallied(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct local *l = (struct local *)ask;
    struct isola_buf report = {0};
    struct isola_slice tally = {0};
    if (answer->kind == ISOLA_MSG_REPLY)
        tally = isola__value(answer);
    write_report(l->agent, l->app, l->revision, tally, &report);
    l->cb(l->arg, &report);
    free(l->app);
    free(l);
}

/* `cb` may fire at once. */
static void report_local(struct isola__agent *agent, const char *app,
                         void (*cb)(void *arg, struct isola_buf *report), void *arg)
{
    struct isola__conn *host = isola__host_conn(&agent->host);
    struct isola_buf params = {0}, report = {0};
    if (host == NULL) {
        write_report(agent, app, 0, (struct isola_slice){0}, &report);
        cb(arg, &report);
        return;
    }
    const struct isola__current *current = isola__releases_current(&agent->releases, app);
    struct local *l = isola_zalloc(sizeof(*l));
    *l = (struct local){.ask = {.cb = tallied, .hasty = true},
                        .agent = agent,
                        .app = isola_strdup(app),
                        .revision = current != NULL ? current->revision : 0,
                        .cb = cb,
                        .arg = arg};
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "app", app);
    isola__ask(host, &l->ask, "tally", isola_buf_slice(&params), ISOLA_GATHER_LOCAL_MS);
    isola_buf_free(&params);
}

struct answering {
    struct isola__conn *from; /* counted */
    uint64_t id;
};

static void answer(void *arg, struct isola_buf *report)
{
    struct answering *a = arg;
    if (report->len == 0)
        isola__fail(a->from, a->id, ISOLA_ENOENT, "no such app is deployed on node %s",
                    a->from->agent->opt.name);
    else
        isola__reply_buf(a->from, a->id, report);
    isola_buf_free(report);
    isola__conn_unref(a->from);
    free(a);
}

void isola__rollout_answer(struct isola__conn *from, uint64_t id, const char *app)
{
    struct answering *a = isola_zalloc(sizeof(*a));
    *a = (struct answering){from, id};
    isola__conn_ref(from);
    report_local(from->agent, app, answer, a);
}

/* --- all nodes --- */

struct part {
    struct isola__ask ask; /* first */
    struct poll *poll;
    char *node;
    struct isola_buf value;
};

struct poll {
    struct isola__agent *agent;
    char *app;
    uint64_t revision;
    isola__rollout_poll_cb cb;
    size_t outstanding, n;
    struct part parts[]; /* the first is this node's */
};

static void settle(struct poll *p)
{
    if (--p->outstanding > 0)
        return;
    struct isola__rollout_report *reports = isola_zalloc(p->n * sizeof(*reports));
    for (size_t i = 0; i < p->n; i++)
        reports[i] =
            (struct isola__rollout_report){p->parts[i].node, isola_buf_slice(&p->parts[i].value)};
    p->cb(p->agent, p->app, p->revision, reports, p->n);
    for (size_t i = 0; i < p->n; i++) {
        free(p->parts[i].node);
        isola_buf_free(&p->parts[i].value);
    }
    free(reports);
    free(p->app);
    free(p);
}

static void part_answered(struct isola__ask *ask, const struct isola_msg *m)
{
    struct part *part = (struct part *)ask;
    if (m->kind == ISOLA_MSG_REPLY) {
        struct isola_slice value = isola__value(m);
        isola_buf_append(&part->value, value.data, value.len);
    }
    settle(part->poll);
}

static void own_reported(void *arg, struct isola_buf *report)
{
    struct poll *p = arg;
    p->parts[0].value = *report;
    settle(p);
}

void isola__rollout_poll(struct isola__agent *agent, const char *app, uint64_t revision,
                         isola__rollout_poll_cb cb)
{
    struct poll *p = isola_zalloc(sizeof(*p) + (1 + agent->members.count) * sizeof(p->parts[0]));
    struct isola_buf params = {0};
    *p = (struct poll){.agent = agent,
                       .app = isola_strdup(app),
                       .revision = revision,
                       .cb = cb,
                       .outstanding = 2, /* this node, and who asks */
                       .n = 1};
    p->parts[0].node = isola_strdup(agent->opt.name);
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "app", app);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        struct isola__conn *conn = isola__member_conn(m);
        if (conn == NULL)
            continue;
        struct part *part = &p->parts[p->n++];
        *part =
            (struct part){.ask.cb = part_answered, .poll = p, .node = isola_strdup(m->record.name)};
        p->outstanding++;
        isola__ask(conn, &part->ask, "rollout", isola_buf_slice(&params), ISOLA_GATHER_MS);
    }
    isola_buf_free(&params);
    report_local(agent, app, own_reported, p);
    settle(p);
}
