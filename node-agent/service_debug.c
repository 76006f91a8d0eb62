/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/service_debug.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/clients.h"
#include "node-agent/services_own.h"

#define OPEN_MS 5000

static const char opened[] = "Debugger listening on ";

static struct isola__place *place_of(const struct isola__debug *d)
{
    return isola__program_arg(d->program);
}

/* Answers what was asked with an error; the client has it no more. */
static void refuse(struct isola__debug *d, int code, const char *why)
{
    struct isola__client *c = d->client;
    isola__fail(&c->conn, d->id, code, "%s", why);
    d->id = 0;
    d->client = NULL;
    c->debugs = NULL;
}

static void too_late(struct isola__ask *ask, const struct isola_msg *answer)
{
    struct isola__debug *d = (struct isola__debug *)ask;
    char why[ISOLA_ADDRESS_MAX + 150];
    (void)answer;
    snprintf(why, sizeof(why),
             "%s has not opened its inspector within %d s of SIGUSR1: its program may have taken "
             "that signal for itself",
             place_of(d)->line.address, OPEN_MS / 1000);
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
    isola__fail(from, m->id, ISOLA_ENOENT,
                "%.*s/%.*s has no such instance on node %s; `ctl ps %.*s` lists them",
                ISOLA_FMT(at.app), ISOLA_FMT(at.type), agent->opt.name, ISOLA_FMT(at.app));
    return NULL;
}

/* May it be opened? Else that has been answered. */
static bool may_open(struct isola__conn *from, const struct isola_msg *m,
                     const struct isola__place *place)
{
    const struct isola__program *p = place->program;
    const char *address = place->line.address, *node = from->agent->opt.name;
    if (p == NULL) {
        isola__fail(from, m->id, ISOLA_ENOACTOR, "%s does not run on node %s", address, node);
    } else if (isola__program_def(p)->type->service->sandbox) {
        isola__fail(from, m->id, ISOLA_EPERM,
                    "%s is in its sandbox, in which Node.js does not open its inspector", address);
    } else if (isola__program_debug(place->program)->client != NULL) {
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

void isola__debug(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__client *c = (struct isola__client *)from; /* its first field */
    struct isola_slice text;
    if (!isola_mp_find_str(params, "address", &text) || c->debugs != NULL || m->id == 0) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "debug: \"address\" is missing, or this connection has an inspector already");
        return;
    }
    struct isola__place *place = find(from, m, text);
    if (place == NULL || !may_open(from, m, place))
        return;
    struct isola__debug *d = isola__program_debug(place->program);
    d->limit = (struct isola__ask){.cb = too_late};
    if (!isola__asks_add(&from->agent->asks, &d->limit, OPEN_MS, 0)) {
        isola__fail(from, m->id, ISOLA_EOVERLOAD, "node %s has too many requests under way",
                    from->agent->opt.name);
        return;
    }
    d->client = c;
    d->id = m->id;
    c->debugs = d;
    (void)kill(isola__program_pid(d->program), SIGUSR1);
}

void isola__debug_said(struct isola__debug *d, const char *line)
{
    if (d->id == 0)
        return;
    struct isola__conn *conn = &d->client->conn;
    isola__asks_drop(&conn->agent->asks, &d->limit);
    if (strncmp(line, opened, sizeof(opened) - 1) != 0) {
        refuse(d, ISOLA_EBUSY, line);
        return;
    }
    struct isola_buf out = {0};
    isola_mp_map(&out, 4);
    isola_mp_kstr(&out, "address", place_of(d)->line.address);
    isola_mp_kstr(&out, "node", conn->agent->opt.name);
    isola_mp_kuint(&out, "pid", (uint64_t)isola__program_pid(d->program));
    isola_mp_kstr(&out, "url", line + sizeof(opened) - 1);
    isola__reply_buf(conn, d->id, &out);
    d->id = 0;
}

void isola__debug_left(struct isola__debug *d)
{
    if (d->id != 0)
        isola__asks_drop(&d->client->conn.agent->asks, &d->limit);
    d->id = 0;
    d->client->debugs = NULL;
    d->client = NULL;
    isola__program_tell(d->program, "{\"cmd\":\"NODE_ISOLA_INSPECTOR_CLOSE\"}\n");
}

void isola__debug_ended(struct isola__debug *d, const char *why)
{
    struct isola__client *c = d->client;
    if (c == NULL)
        return;
    if (d->id != 0) {
        isola__asks_drop(&c->conn.agent->asks, &d->limit);
        refuse(d, ISOLA_EUNREACHABLE, why);
        return;
    }
    struct isola_buf params = {0};
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "why", why);
    (void)isola__emit(&c->conn, "ended", isola_buf_slice(&params));
    isola_buf_free(&params);
    c->debugs = NULL;
    d->client = NULL;
}
