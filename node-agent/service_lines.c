/* SPDX-License-Identifier: Apache-2.0
 *
 * Which line of service_calls.h a message to a service goes into, and which process takes it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/clients.h"
#include "node-agent/services_own.h"

/* Nobody will take its messages as things are: says why. */
static bool unable(const struct isola__place *place, struct isola_err *err)
{
    const char *address = place->line.address, *node = place->service->services->agent->opt.name;
    const struct isola__program *p = place->program;
    if (place->stopped)
        isola_fail(err, ISOLA_EUNREACHABLE, "%s is stopped on node %s; `ctl restart %s` starts it",
                   address, node, address);
    else if (place->failed)
        isola_fail(err, ISOLA_EFAILED, "%s has failed on node %s: %s", address, node,
                   place->failure);
    else if (p != NULL && isola__program_state(p) == ISOLA_PROGRAM_READY &&
             !isola__program_serves(p))
        isola_fail(err, ISOLA_ENOACTOR,
                   "%s takes no messages: its program does not call service() of the package isola",
                   address);
    else
        return false;
    return true;
}

void isola__place_check(struct isola__place *place)
{
    struct isola_err err;
    isola__line_set(&place->line,
                    place->program != NULL ? isola__program_taker(place->program) : NULL);
    if (place->line.taker == NULL && unable(place, &err))
        isola__line_fail(&place->line, err.code, err.text);
}

struct isola__line *isola__services_line(struct isola__services *services,
                                         const struct isola_address *at, struct isola_err *err)
{
    struct isola__service *s = isola__services_find(services, at->app, at->type);
    struct isola__unpacking *u = s == NULL ? services->unpacking : NULL;
    *err = (struct isola_err){0};
    while (u != NULL && !isola_slice_is(at->app, u->current.release.app))
        u = u->next;
    if (u != NULL && !services->stopping)
        return &u->line; /* it begins in a moment */
    if (s == NULL || s->nplaces == 0 || services->stopping) {
        isola_fail(err, ISOLA_EUNREACHABLE, "%.*s/%.*s %s on node %s", ISOLA_FMT(at->app),
                   ISOLA_FMT(at->type), services->stopping ? "ends" : "has not begun",
                   services->agent->opt.name);
        return NULL;
    }
    struct isola__place *place = s->places[isola__calls_instance(at->key, s->nplaces)];
    isola__place_check(place);
    if (place->line.taker == NULL)
        (void)unable(place, err);
    return &place->line;
}

static struct isola__program *find_process(const struct isola__services *services, uint64_t pid)
{
    for (const struct isola__service *s = services->first; s != NULL; s = s->next)
        for (unsigned i = 0; i < s->nplaces; i++) {
            struct isola__program *both[] = {s->places[i]->program, s->places[i]->next};
            for (size_t k = 0; k < 2; k++)
                if (both[k] != NULL && (uint64_t)isola__program_pid(both[k]) == pid)
                    return both[k];
        }
    return NULL;
}

void isola__serve(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__client *c = (struct isola__client *)from; /* its first field */
    struct isola__services *services = &from->agent->services;
    uint64_t pid = 0;
    if (!isola_mp_find_uint(params, "pid", &pid)) {
        isola__fail(from, m->id, ISOLA_EINVAL, "serve: \"pid\" is missing");
        return;
    }
    struct isola__program *p = find_process(services, pid);
    if (p == NULL || c->program != NULL) {
        isola__fail(from, m->id, ISOLA_EPERM,
                    "process %" PRIu64 " is no instance of a service that node %s has started", pid,
                    services->agent->opt.name);
        return;
    }
    struct isola__place *place = isola__program_arg(p);
    struct isola_buf out = {0};
    isola_mp_map(&out, 1);
    isola_mp_kstr(&out, "address", place->line.address);
    isola__reply_buf(from, m->id, &out); /* before what waits */
    c->program = p;
    isola__program_take(p, c);
    isola__place_check(place);
}

void isola__services_left(struct isola__program *p)
{
    struct isola__place *place = isola__program_arg(p);
    isola__program_take(p, NULL);
    if (!place->gone)
        isola__place_check(place);
}

void isola__services_event(struct isola__program *p, const struct isola_msg *m)
{
    const struct isola__place *place = isola__program_arg(p);
    const struct isola__service *s = place->service;
    if (place->gone)
        return;
    char *type = isola_format("%s/%s", s->app, s->type);
    isola__calls_event(s->services->agent, type, place->number, s->nplaces, m);
    free(type);
}
