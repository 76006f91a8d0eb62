/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_debug.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/clients.h"
#include "node-agent/debug_tunnel.h"
#include "node-agent/members.h"
#include "node-agent/services_own.h"

static const char opened[] = "Debugger listening on ";

static void close_it(const struct isola__debug *d)
{
    isola__program_tell(d->program, "{\"cmd\":\"NODE_ISOLA_INSPECTOR_CLOSE\"}\n");
}

static struct isola__place *place_of(const struct isola__debug *d)
{
    return isola__program_arg(d->program);
}

/* Nobody has it any more. */
static void let_go(struct isola__debug *d)
{
    if (d->asker != NULL)
        isola__conn_unref(d->asker);
    d->asker = NULL;
    if (d->client != NULL)
        d->client->debugs = NULL;
    d->client = NULL;
    if (d->tunnels != NULL)
        isola__tunnels_end(d->tunnels);
    d->tunnels = NULL;
}

/* Answers what was asked with an error; who asked has it no more. */
static void refuse(struct isola__debug *d, int code, const char *why)
{
    isola__fail(d->asker, d->id, code, "%s", why);
    let_go(d);
}

static void too_late(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__debug *d = (struct isola__debug *)ask;
    char why[ISOLA_ADDRESS_MAX + 150];
    (void)answer;
    snprintf(why, sizeof(why),
             "%s has not opened its inspector within %d s of SIGUSR1: its program may have taken "
             "that signal for itself",
             place_of(d)->line.address, ISOLA_DEBUG_OPEN_MS / 1000);
    d->late = true;
    refuse(d, ISOLA_ETIMEDOUT, why);
}

/* Would SIGUSR1 be taken? proc(5): SigCgt, a bit for each signal from 1. */
static bool catches(int pid)
{
    char path[40], line[256];
    uint64_t caught = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "SigCgt: %" SCNx64, &caught) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return (caught >> (SIGUSR1 - 1) & 1) != 0;
}

/* The instance of that address here. NULL: it has been answered why not. */
static struct isola__place *find(struct isola__conn *from, const struct isola_msg *m,
                                 struct isola_slice text)
{
    struct isola__agent *agent = from->agent;
    struct isola_address at;
    struct isola_err err;
    if (isola_address_parse(text, &at, &err) != 0) {
        isola__fail(from, m->id, ISOLA_EINVAL, "%s", err.text);
        return NULL;
    }
    struct isola__service *s = isola__services_find(&agent->services, at.app, at.type);
    if (s == NULL) {
        int rc = isola__releases_find(&agent->releases, at.app, at.type, &err);
        if (rc == 0)
            isola_fail(&err, ISOLA_EINVAL,
                       "%.*s is an actor, and inspectors are of services: `ctl profile` and `ctl "
                       "heap` look into its isolate",
                       ISOLA_FMT(text));
        isola__fail(from, m->id, err.code, "%s", err.text);
        return NULL;
    }
    for (unsigned i = 0; i < s->nplaces; i++)
        if (isola_slice_is(text, s->places[i]->line.address))
            return s->places[i];
    isola__fail(
        from, m->id, ISOLA_ENOENT,
        "%.*s/%.*s has no instance \"%.*s\" on node %s: its instances have the numbers from "
        "0 to %u",
        ISOLA_FMT(at.app), ISOLA_FMT(at.type), ISOLA_FMT(isola_slice_cut(at.key, 60)),
        agent->opt.name, s->nplaces - 1);
    return NULL;
}

/* Is it in a sandbox that has no inspector? */
static bool is_closed(const struct isola_manifest_service *s)
{
    for (char **arg = s->node_args; arg != NULL && *arg != NULL; arg++)
        if (strcmp(*arg, "--allow-inspector") == 0)
            return false;
    return s->sandbox;
}

/* May it be opened? Else that has been answered. */
static bool may_open(struct isola__conn *from, const struct isola_msg *m,
                     const struct isola__place *place)
{
    struct isola__program *p = place->program;
    const char *address = place->line.address, *node = from->agent->opt.name;
    if (p == NULL) {
        isola__fail(from, m->id, ISOLA_ENOACTOR, "%s does not run on node %s", address, node);
    } else if (is_closed(isola__program_def(p)->type->service)) {
        isola__fail(from, m->id, ISOLA_EPERM,
                    "%s is in its sandbox, in which Node.js opens no inspector: it could undo the "
                    "sandbox. Deploy it with \"nodeArgs\": [\"--allow-inspector\"] while you look "
                    "into it",
                    address);
    } else if (isola__program_debug(p)->client != NULL ||
               isola__program_debug(p)->tunnels != NULL) {
        isola__fail(from, m->id, ISOLA_EBUSY, "another one has the inspector of %s on node %s",
                    address, node);
    } else if (!catches(isola__program_pid(p))) {
        isola__fail(from, m->id, ISOLA_EBUSY,
                    "%s does not take SIGUSR1, as when it has just begun: try again", address);
    } else {
        return true;
    }
    return false;
}

/* Has the process open it; `from` is answered when it has. NULL: that has been answered why not. */
static struct isola__debug *begin(struct isola__conn *from, const struct isola_msg *m,
                                  struct isola_slice address)
{
    struct isola__place *place = find(from, m, address);
    if (place == NULL || !may_open(from, m, place))
        return NULL;
    struct isola__debug *d = isola__program_debug(place->program);
    d->limit = (struct isola__ask){.cb = too_late};
    if (!isola__asks_add(&from->agent->asks, &d->limit, ISOLA_DEBUG_OPEN_MS, 0)) {
        isola__fail(from, m->id, ISOLA_EOVERLOAD, "node %s has too many requests under way",
                    from->agent->opt.name);
        return NULL;
    }
    d->asker = from;
    isola__conn_ref(from);
    d->id = m->id;
    d->late = false;
    (void)kill(isola__program_pid(d->program), SIGUSR1);
    return d;
}

void isola__debug_here(struct isola__conn *from, const struct isola_msg *m,
                       struct isola_slice params)
{
    struct isola__client *c = (struct isola__client *)from; /* its first field */
    struct isola_slice text;
    if (!isola_mp_find_str(params, "address", &text) || m->id == 0) {
        isola__fail(from, m->id, ISOLA_EINVAL, "debug: \"address\" is missing");
        return;
    }
    struct isola__debug *d = begin(from, m, text);
    if (d == NULL)
        return;
    d->client = c;
    c->debugs = d;
}

/* --- for other nodes --- */

void isola__debug_peer(struct isola__conn *from, const struct isola_msg *m,
                       struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    const char *node = ((struct isola__peer *)from)->member->record.name;
    struct isola_slice text;
    uint64_t id;
    if (!isola_mp_find_str(params, "address", &text) || !isola_mp_find_uint(params, "id", &id) ||
        m->id == 0 || isola__tunnels_find(agent, node, id) != NULL) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "debug: \"address\" or \"id\" is missing, or the latter is in use");
        return;
    }
    if (agent->cluster.trust.n > 0) {
        isola__fail(from, m->id, ISOLA_EPERM,
                    "node %s takes code of those alone who may deploy (`ctl trust list`), and who "
                    "has an inspector can run any: use ctl on that node itself",
                    agent->opt.name);
        return;
    }
    if (isola__tunnels_count(agent) >= ISOLA_TUNNELS_MAX) {
        isola__fail(from, m->id, ISOLA_EOVERLOAD,
                    "node %s has %d inspectors open for other nodes already", agent->opt.name,
                    ISOLA_TUNNELS_MAX);
        return;
    }
    struct isola__debug *d = begin(from, m, text);
    if (d == NULL)
        return;
    d->tunnels = isola__tunnels_new(agent, node, id, d);
    isola_log(ISOLA_LOG_INFO, "%s: its inspector is opened for node %s", place_of(d)->line.address,
              node);
}

void isola__debug_leave(struct isola__conn *from, const struct isola_msg *m,
                        struct isola_slice params)
{
    const char *node = ((struct isola__peer *)from)->member->record.name;
    uint64_t id;
    (void)m;
    struct isola__tunnels *t =
        isola_mp_find_uint(params, "id", &id) ? isola__tunnels_find(from->agent, node, id) : NULL;
    if (t != NULL)
        isola__debug_left(isola__tunnels_of(t));
}

/* --- what becomes of it --- */

void isola__debug_said(struct isola__debug *d, const char *line)
{
    struct isola__conn *conn = d->asker;
    bool open = strncmp(line, opened, sizeof(opened) - 1) == 0;
    if (conn == NULL) {
        if (open && d->late)
            close_it(d);
        d->late = false;
        return;
    }
    isola__asks_drop(&conn->agent->asks, &d->limit);
    if (!open) {
        refuse(d, ISOLA_EBUSY, line);
        return;
    }
    const char *url = line + sizeof(opened) - 1;
    struct isola_buf out = {0};
    isola_mp_map(&out, 5);
    isola_mp_kstr(&out, "address", place_of(d)->line.address);
    isola_mp_kstr(&out, "node", conn->agent->opt.name);
    isola_mp_kuint(&out, "pid", (uint64_t)isola__program_pid(d->program));
    isola_mp_kstr(&out, "url", url);
    isola_mp_kbool(&out, "far", d->tunnels != NULL);
    if (d->tunnels != NULL)
        isola__tunnels_open(d->tunnels, url);
    isola__reply_buf(conn, d->id, &out);
    isola__conn_unref(conn);
    d->asker = NULL;
}

void isola__debug_left(struct isola__debug *d)
{
    if (d->asker != NULL)
        isola__asks_drop(&d->asker->agent->asks, &d->limit);
    let_go(d);
    close_it(d);
}

void isola__debug_ended(struct isola__debug *d, const char *why)
{
    if (d->asker != NULL) {
        isola__asks_drop(&d->asker->agent->asks, &d->limit);
        refuse(d, ISOLA_EUNREACHABLE, why);
        return;
    }
    struct isola_buf params = {0};
    if (d->client != NULL) {
        isola_mp_map(&params, 1);
        isola_mp_kstr(&params, "why", why);
        (void)isola__emit(&d->client->conn, "ended", isola_buf_slice(&params));
        isola_buf_free(&params);
    } else if (d->tunnels != NULL) {
        isola__tunnels_tell(d->tunnels, why);
    }
    let_go(d);
}
