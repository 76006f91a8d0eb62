/* SPDX-License-Identifier: Apache-2.0
 *
 * What there is to see of services: `ps`, and how far a release is (docs/protocol.md, `rollout`).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/canary.h"
#include "node-agent/services_own.h"

#define RESTING_MAX  100
#define CRASH_TOLD_S 600 /* so long `ctl ps` says why one that runs again had ended */

static const char *state_of(const struct isola__place *place)
{
    static const char *const names[] = {[ISOLA_PROGRAM_STARTING] = "starting",
                                        [ISOLA_PROGRAM_READY] = "running",
                                        [ISOLA_PROGRAM_STOPPING] = "stopping"};
    return place->program != NULL ? names[isola__program_state(place->program)]
           : place->stopped       ? "stopped"
           : place->failed        ? "failed"
                                  : "crashed";
}

/* What there is to know of an instance that has not failed; "": nothing. */
static void write_note(const struct isola__place *place, char *out, size_t size)
{
    uint64_t ago = (isola_clock_ms() - place->crash_ms) / 1000;
    const struct isola__program *p = place->program;
    unsigned elsewhere = p != NULL ? isola__program_elsewhere(p) : 0;
    out[0] = '\0';
    if (p != NULL)
        isola__program_trouble(p, out, size);
    if (out[0] != '\0')
        return;
    if (elsewhere != 0)
        snprintf(out, size, "it listens on port %u, and not on %u yet, where it is waited for",
                 elsewhere, isola__program_def(p)->type->service->port);
    else if (p != NULL && place->failure[0] == '\0' && place->crash[0] != '\0' &&
             ago < CRASH_TOLD_S)
        snprintf(out, size, "ended %" PRIu64 " s ago, and was started again: %s", ago,
                 place->crash);
    else if (place->next != NULL)
        snprintf(out, size, "is to be replaced: process %d, of release %s, begins",
                 isola__program_pid(place->next), isola__program_def(place->next)->release);
    else if (p != NULL && place->programs > 1)
        snprintf(out, size,
                 "has replaced a process that is not done yet with what it was asked: it has "
                 "\"stopTimeout\" for that");
    else if (p != NULL && place->crowded && isola__program_state(p) == ISOLA_PROGRAM_READY)
        snprintf(
            out, size,
            "began while another program listened on port %u: if that shares it still, as a "
            "service of another agent does, each gets a part of the requests (`ss -ltnp` shows "
            "who)",
            isola__program_def(p)->type->service->port);
}

static void row(const struct isola__place *place, struct isola_buf *out)
{
    const struct isola__service *s = place->service;
    const struct isola__program *p = place->program;
    struct isola__program_use use = {0};
    char address[ISOLA_ADDRESS_MAX + 1];
    snprintf(address, sizeof(address), "%s/%s/%u", s->app, s->type, place->number);
    const struct isola__service_def *def =
        p != NULL ? isola__program_def(p) : isola__place_wants(place);
    if (p != NULL)
        use = isola__program_use(p);
    const struct isola_manifest_service *m = def->type->service;
    bool canary = isola__place_tries(place) && s->canary != NULL && def == s->canary;
    char note[sizeof(place->crash) + 100];
    write_note(place, note, sizeof(note));
    isola_mp_map(out, 10 + canary + (place->failure[0] != '\0') + (note[0] != '\0') +
                          (m->memory != 0) + (m->millicpus != 0));
    if (canary)
        isola_mp_kbool(out, "canary", true);
    isola_mp_kstr(out, "address", address);
    isola_mp_kstr(out, "isolation", "process");
    isola_mp_kstr(out, "node", s->services->agent->opt.name);
    isola_mp_kstr(out, "state", state_of(place));
    isola_mp_kstr(out, "release", def->release);
    isola_mp_cstr(out, "pid");
    if (p != NULL)
        isola_mp_uint(out, (uint64_t)isola__program_pid(p));
    else
        isola_mp_nil(out);
    isola_mp_cstr(out, "port");
    if (m->port != 0)
        isola_mp_uint(out, m->port);
    else
        isola_mp_nil(out);
    isola_mp_kuint(out, "memory", use.memory);
    if (m->memory != 0)
        isola_mp_kuint(out, "memory_limit", m->memory);
    isola_mp_kuint(out, "cpu_ms", use.cpu_ms);
    if (m->millicpus != 0)
        isola_mp_kuint(out, "millicpus", m->millicpus);
    isola_mp_kuint(out, "restarts", place->restarts);
    if (place->failure[0] != '\0')
        isola_mp_kstr(out, "failure", place->failure);
    if (note[0] != '\0')
        isola_mp_kstr(out, "note", note);
}

void isola__services_ps(const struct isola__services *services, struct isola_slice app,
                        uint64_t limit, struct isola_buf *out)
{
    struct isola_buf rows = {0};
    uint64_t n = 0, total = 0;
    for (const struct isola__service *s = services->first; s != NULL; s = s->next) {
        if (app.data != NULL && !isola_slice_is(app, s->app))
            continue;
        total += s->nplaces;
        for (unsigned i = 0; i < s->nplaces && n < limit; i++, n++)
            row(s->places[i], &rows);
    }
    isola_mp_map(out, 2);
    isola_mp_kuint(out, "total", total);
    isola_mp_cstr(out, "actors");
    isola_mp_array(out, n);
    isola_buf_append(out, rows.data, rows.len);
    out->failed = out->failed || rows.failed;
    isola_buf_free(&rows);
}

size_t isola__services_resting(const struct isola__services *services, const char *app,
                               struct isola_buf *out)
{
    size_t n = 0;
    for (const struct isola__service *s = services->first; s != NULL; s = s->next)
        for (unsigned i = 0; strcmp(s->app, app) == 0 && i < s->nplaces && n < RESTING_MAX; i++)
            if (s->places[i]->stopped || s->places[i]->failed) {
                isola_mp_cstr(out, s->places[i]->line.address);
                n++;
            }
    return n;
}

/* Whether it is to be looked at no more: it is ready with the release, or was stopped. */
static bool is_done(const struct isola__place *place, const char *release)
{
    const struct isola__service_def *def = isola__place_wants(place);
    return strcmp(def->release, release) == 0 &&
           (place->stopped ||
            (place->program != NULL && isola__program_def(place->program) == def &&
             isola__program_state(place->program) == ISOLA_PROGRAM_READY && !place->renew &&
             place->next == NULL));
}

/* `s` NULL: it has not begun. Of a canary, its instances alone: `part`; else NULL. */
static void report(const struct isola__service *s, const char *type, const char *release,
                   const struct isola_roster_part *part, struct isola_buf *out)
{
    unsigned of = part != NULL ? part->canaries : s != NULL ? s->stay : 1, ready = 0;
    bool own = s != NULL && s->def != NULL && strcmp(s->def->release, release) == 0;
    /* Its files may be written still: until then all that is noted is of the one before. */
    bool taken = s != NULL && strcmp(s->trial, release) == 0;
    uint64_t since = 0, now = isola_clock_ms();
    for (unsigned i = 0; s != NULL && i < s->stay; i++) {
        const struct isola__place *place = s->places[i];
        if (!own && part != NULL && !isola__place_tries(place))
            continue;
        bool done = is_done(place, release);
        ready += done;
        if (done && !place->stopped && place->ready_ms > since)
            since = place->ready_ms;
    }
    isola_mp_map(out, 5 + (since > 0) + (part != NULL ? 3 : 0));
    isola_mp_kstr(out, "type", type);
    isola_mp_kuint(out, "of", of);
    isola_mp_kuint(out, "ready", ready);
    if (since > 0)
        isola_mp_kuint(out, "ready_ms", since < now ? now - since : 0);
    isola_mp_kstr(out, "trouble", taken ? s->trouble : "");
    isola_mp_kbool(out, "troubled", taken && s->troubled);
    if (part != NULL) {
        isola_mp_kuint(out, "crashes", taken ? s->crashes : 0);
        isola_mp_kuint(out, "beside", s != NULL && s->stay > of ? s->stay - of : 0);
        isola_mp_kuint(out, "beside_crashes", taken ? s->crashes_now : 0);
    }
}

void isola__services_report(const struct isola__services *services, const char *app,
                            const struct isola__current *current, struct isola_buf *out)
{
    struct isola_buf rows = {0};
    size_t n = 0;
    bool tries = current->share > 0;
    const struct isola_manifest *m = tries ? current->candidate_manifest : current->manifest;
    for (size_t i = 0; m != NULL && i < m->ntypes; i++) {
        const char *type = m->types[i].name;
        if (m->types[i].service == NULL)
            continue;
        struct isola_roster_part part = isola__canary_part(services->agent, app, current, type);
        report(isola__services_find(services, isola_slice_str(app), isola_slice_str(type)), type,
               tries ? current->candidate : current->id, tries ? &part : NULL, &rows);
        n++;
    }
    isola_mp_cstr(out, "services");
    isola_mp_array(out, n);
    isola_buf_append(out, rows.data, rows.len);
    out->failed = out->failed || rows.failed;
    isola_buf_free(&rows);
}
