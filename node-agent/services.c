/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/services_own.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/service.h"
#include "node-agent/service_log.h"
#include "node-agent/status.h"

#define RECENT_MS    60000
#define CRASH_TOLD_S 600 /* so long `ctl ps` says why one that runs again had ended */

static void roll(struct isola__service *s);

/* --- what ends --- */

static void service_unref(struct isola__service *s)
{
    if (--s->refs > 0)
        return;
    if (isola__releases_current(&s->services->agent->releases, s->app) == NULL)
        isola__services_sweep(s->services, s->app);
    isola__service_def_unref(s->def);
    isola__service_def_unref(s->before);
    free((void *)s->places);
    free(s->app);
    free(s->type);
    free(s);
}

static void on_place_closed(uv_handle_t *handle)
{
    struct isola__place *place = handle->data;
    struct isola__services *services = place->service->services;
    service_unref(place->service);
    free(place->crashes);
    free(place);
    if (--services->places == 0 && services->stopping)
        isola__agent_services_stopped(services->agent);
}

static void check_gone(struct isola__place *place)
{
    if (place->gone && place->programs == 0)
        uv_close((uv_handle_t *)&place->timer, on_place_closed);
}

/* No longer one of its service's; it must be taken from the list. */
static void place_end(struct isola__place *place)
{
    char why[ISOLA_ADDRESS_MAX + 80];
    place->gone = true;
    uv_timer_stop(&place->timer);
    snprintf(why, sizeof(why), "%s ends on node %s", place->line.address,
             place->service->services->agent->opt.name);
    isola__line_end(&place->line, why);
    if (place->program != NULL)
        isola__program_stop(place->program);
    if (place->next != NULL)
        isola__program_stop(place->next);
    check_gone(place);
}

static void service_end(struct isola__service *s)
{
    unsigned n = s->nplaces;
    s->nplaces = 0;
    for (unsigned i = 0; i < n; i++)
        place_end(s->places[i]);
    service_unref(s);
}

/* --- places --- */

static const struct isola_manifest_life *life(const struct isola__place *place)
{
    return &place->service->def->type->life;
}

/* A line about it, in its own log. */
static void say(const struct isola__place *place, const char *level, const char *what)
{
    struct isola__agent *agent = place->service->services->agent;
    char address[ISOLA_ADDRESS_MAX + 1];
    snprintf(address, sizeof(address), "%s/%s/%u", place->service->app, place->service->type,
             place->number);
    struct isola__service_log log = {
        .logs = &agent->logs, .node = agent->opt.name, .address = address};
    isola__service_log_say(&log, level, "%s", what);
}

/* The release that came last does not do well. */
static void note_trouble(struct isola__place *place, const char *why)
{
    struct isola__service *s = place->service;
    if (s->trouble[0] == '\0')
        snprintf(s->trouble, sizeof(s->trouble), "%s/%s/%u: %.400s", s->app, s->type, place->number,
                 why);
}

static void forget_crashes(struct isola__place *place)
{
    place->failed = false;
    place->ncrashes = 0;
    place->failure[0] = place->crash[0] = '\0';
    uv_timer_stop(&place->timer);
}

/* How many there were within the window, this one among them. */
static uint32_t count_crash(struct isola__place *place)
{
    uint64_t now = isola_clock_ms();
    uint32_t kept = 0;
    for (uint32_t i = 0; i < place->ncrashes; i++)
        if (now - place->crashes[i] <= life(place)->within_ms)
            place->crashes[kept++] = place->crashes[i];
    place->crashes = isola_realloc(place->crashes, (kept + 1) * sizeof(*place->crashes));
    place->crashes[kept] = now;
    return place->ncrashes = kept + 1;
}

static void on_pause_over(uv_timer_t *timer);

/* It ended, or could not begin, and nobody wanted that. */
static void crashed(struct isola__place *place, const char *why)
{
    const struct isola_manifest_life *l = life(place);
    uint32_t n = count_crash(place);
    char text[sizeof(place->failure) + 100];
    snprintf(place->failure, sizeof(place->failure), "%s", why);
    snprintf(place->crash, sizeof(place->crash), "%s", why);
    place->crash_ms = isola_clock_ms();
    if (n > l->restarts) {
        place->failed = true;
        snprintf(text, sizeof(text),
                 "%s; that is %u times within %" PRIu64 " ms (\"restart\"): it has failed", why, n,
                 l->within_ms);
        say(place, "error", text);
        isola__place_check(place);
        return;
    }
    uint64_t pause = n < 2 ? 0 : n < 40 ? l->backoff_ms << (n - 2) : l->max_backoff_ms;
    if (pause > l->max_backoff_ms)
        pause = l->max_backoff_ms;
    snprintf(text, sizeof(text), "%s; it is started again in %" PRIu64 " ms", why, pause);
    say(place, "error", text);
    place->restarts++;
    uv_update_time(place->timer.loop);
    int rc = uv_timer_start(&place->timer, on_pause_over, pause, 0);
    ISOLA_CHECK(rc == 0);
}

/* A new release does not begin: the one before goes on, also where it had been replaced. */
static void refuse(struct isola__place *place, const char *why)
{
    struct isola__service *s = place->service;
    char text[sizeof(place->failure)];
    note_trouble(place, why);
    for (unsigned i = 0; i < s->nplaces; i++)
        s->places[i]->renew = false;
    if (s->before == NULL) {
        snprintf(text, sizeof(text), "its replacement did not begin: %s; the one before goes on",
                 why);
    } else {
        snprintf(text, sizeof(text), "release %s did not begin: %s; release %s goes on",
                 s->def->release, why, s->before->release);
        isola__service_def_unref(s->def);
        s->def = s->before;
        s->before = NULL;
    }
    say(place, "error", text);
    memcpy(place->failure, text, sizeof(text));
    roll(s);
}

static void on_ready(struct isola__program *p)
{
    struct isola__place *place = isola__program_arg(p);
    if (place->gone)
        return;
    place->failure[0] = '\0';
    place->ready_ms = isola_clock_ms();
    if (p == place->next) {
        struct isola__program *old = place->program;
        place->next = NULL;
        place->program = p;
        isola__place_check(place); /* from here on the new one has them */
        isola__program_stop(old);
    } else {
        isola__place_check(place);
    }
    roll(place->service);
}

static void on_ended(struct isola__program *p, const char *why)
{
    struct isola__place *place = isola__program_arg(p);
    bool wanted = !place->gone && !place->stopped;
    bool latest = isola__program_def(p) == place->service->def;
    place->programs--;
    if (p == place->next) {
        place->next = NULL;
        if (wanted && latest)
            refuse(place, why);
        else if (wanted) /* another release has come meanwhile */
            roll(place->service);
    } else if (p == place->program) {
        place->program = place->next;
        place->next = NULL;
        if (wanted && latest)
            note_trouble(place, why);
        if (wanted && place->program == NULL)
            crashed(place, why);
    }
    if (!place->gone)
        isola__place_check(place);
    check_gone(place);
}

static const struct isola__program_ops program_ops = {.ready = on_ready, .ended = on_ended};

/* NULL: `err` says why. */
static struct isola__program *start_program(struct isola__place *place, struct isola_err *err)
{
    struct isola__service *s = place->service;
    struct isola__program *p = isola__program_start(s->services->agent, s->def, place->number,
                                                    place->program, &program_ops, place, err);
    place->programs += p != NULL;
    return p;
}

static void start_place(struct isola__place *place)
{
    struct isola_err err;
    place->renew = false;
    place->program = start_program(place, &err);
    if (place->program == NULL) {
        note_trouble(place, err.text);
        crashed(place, err.text);
    }
}

static void on_pause_over(uv_timer_t *timer)
{
    start_place(timer->data);
}

/* --- services --- */

/* Replaces the next place that is to be, unless one is being. */
static void roll(struct isola__service *s)
{
    struct isola__place *first = NULL;
    struct isola_err err;
    for (unsigned i = 0; i < s->nplaces; i++) {
        struct isola__place *place = s->places[i];
        if (place->next != NULL)
            return;
        bool other = place->program != NULL &&
                     (place->renew || isola__program_def(place->program) != s->def);
        if (other && !place->stopped && first == NULL)
            first = place;
    }
    if (first == NULL) {
        isola__service_def_unref(s->before);
        s->before = NULL;
        return;
    }
    first->renew = false;
    first->next = start_program(first, &err);
    if (first->next == NULL)
        refuse(first, err.text);
}

static void add_place(struct isola__service *s)
{
    struct isola__place *place = isola_zalloc(sizeof(*place));
    place->service = s;
    s->refs++;
    s->services->places++;
    place->number = s->nplaces;
    int rc = uv_timer_init(&s->services->agent->loop, &place->timer);
    ISOLA_CHECK(rc == 0);
    place->timer.data = place;
    char address[ISOLA_ADDRESS_MAX + 1];
    snprintf(address, sizeof(address), "%s/%s/%u", s->app, s->type, place->number);
    isola__line_init(&place->line, s->services->agent, address);
    s->places = isola_realloc((void *)s->places, (s->nplaces + 1) * sizeof(struct isola__place *));
    s->places[s->nplaces++] = place;
}

static unsigned wanted(const struct isola__service *s)
{
    uint32_t n = s->def->type->service->instances;
    return n != 0 ? n : uv_available_parallelism();
}

/* Does it fare badly, or did it so a moment ago? */
static bool is_troubled(const struct isola__service *s)
{
    uint64_t now = isola_clock_ms();
    bool troubled = false;
    for (unsigned i = 0; i < s->nplaces; i++) {
        const struct isola__place *place = s->places[i];
        uint32_t n = place->ncrashes;
        troubled = troubled || place->failed ||
                   (n > 0 && (place->program == NULL || now - place->crashes[n - 1] < RECENT_MS));
    }
    return troubled;
}

/* Its places have another definition, or the same anew. Takes `def`. `unproven`: what they have now
 * is no measure for it. */
static void define(struct isola__service *s, struct isola__service_def *def, bool unproven)
{
    if (!unproven)
        s->troubled = is_troubled(s);
    s->trouble[0] = '\0';
    if (s->before == NULL)
        s->before = s->def;
    else
        isola__service_def_unref(s->def); /* which some had not taken yet */
    s->def = def;
    if (s->before != NULL && s->before != def && strcmp(s->before->release, def->release) == 0 &&
        strcmp(s->before->dir != NULL ? s->before->dir : "", def->dir != NULL ? def->dir : "") ==
            0 &&
        !def->link) { /* back again, where it had not been replaced yet */
        isola__service_def_unref(def);
        s->def = s->before;
        s->before = NULL;
    }
    while (s->nplaces > wanted(s))
        place_end(s->places[--s->nplaces]);
    while (s->nplaces < wanted(s))
        add_place(s);
    for (unsigned i = 0; i < s->nplaces; i++) {
        struct isola__place *place = s->places[i];
        if (place->next != NULL && isola__program_def(place->next) != s->def)
            isola__program_stop(place->next);
        place->ncrashes = 0; /* they were of another release */
        if (place->program != NULL)
            continue;
        forget_crashes(place);
        place->stopped = false;
        start_place(place);
    }
    roll(s);
}

struct isola__service *isola__services_find(const struct isola__services *services,
                                            struct isola_slice app, struct isola_slice type)
{
    struct isola__service *s = services->first;
    while (s != NULL && !(isola_slice_is(app, s->app) && isola_slice_is(type, s->type)))
        s = s->next;
    return s;
}

static struct isola__service *add_service(struct isola__services *services, const char *app,
                                          const char *type)
{
    struct isola__service **at = &services->first;
    while (*at != NULL)
        at = &(*at)->next;
    struct isola__service *s = *at = isola_zalloc(sizeof(*s));
    s->services = services;
    s->refs = 1;
    s->app = isola_strdup(app);
    s->type = isola_strdup(type);
    return s;
}

static struct isola__service_def *def_new(const struct isola_release *r, const char *type,
                                          const char *dir)
{
    struct isola_err err;
    struct isola__service_def *def = isola_zalloc(sizeof(*def));
    def->refs = 1;
    int rc = isola_manifest_parse(r->manifest, r->app, &def->manifest, &err);
    ISOLA_CHECK(rc == 0); /* it was parsed a moment ago */
    def->type = isola_manifest_type(def->manifest, isola_slice_str(type));
    memcpy(def->release, r->id, sizeof(def->release));
    def->dir = dir != NULL ? isola_strdup(dir) : NULL;
    def->link = r->link != NULL;
    return def;
}

/* Its files are in `dir`; NULL: it has none. */
static void release(struct isola__services *services, const struct isola_release *r,
                    const char *dir)
{
    struct isola_manifest *m = NULL;
    struct isola_err err;
    if (services->stopping || isola_manifest_parse(r->manifest, r->app, &m, &err) != 0)
        return; /* another version of Isola took it */
    for (struct isola__service **at = &services->first; *at != NULL;) {
        struct isola__service *s = *at;
        const struct isola_actor_type *type = isola_manifest_type(m, isola_slice_str(s->type));
        if (strcmp(s->app, r->app) != 0 || (type != NULL && type->service != NULL)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        service_end(s);
    }
    for (size_t i = 0; i < m->ntypes; i++) {
        const char *type = m->types[i].name;
        if (m->types[i].service == NULL)
            continue;
        struct isola__service *s =
            isola__services_find(services, isola_slice_str(r->app), isola_slice_str(type));
        if (s == NULL)
            s = add_service(services, r->app, type);
        if (s->def == NULL || strcmp(s->def->release, r->id) != 0 || r->link != NULL)
            define(s, def_new(r, type, dir),
                   isola__rollout_unproven(&services->agent->rollouts, r->app));
    }
    isola_manifest_free(m);
}

/* --- files --- */

void isola__services_sweep(struct isola__services *services, const char *app)
{
    if (!services->begun || services->stopping)
        return; /* it is not known what runs */
    const struct isola__current *current = isola__releases_current(&services->agent->releases, app);
    char(*keep)[ISOLA_RELEASE_ID_SIZE] = isola_alloc(sizeof(*keep));
    size_t n = current != NULL;
    if (current != NULL)
        memcpy(keep[0], current->id, sizeof(keep[0]));
    for (const struct isola__service *s = services->first; s != NULL; s = s->next) {
        const struct isola__service_def *defs[] = {s->def, s->before};
        for (size_t i = 0; strcmp(s->app, app) == 0 && i < 2; i++)
            if (defs[i] != NULL) {
                keep = isola_realloc(keep, (n + 1) * sizeof(*keep));
                memcpy(keep[n++], defs[i]->release, sizeof(keep[0]));
            }
    }
    isola__packages_sweep(&services->agent->packages, app,
                          (const char(*)[ISOLA_RELEASE_ID_SIZE])keep, n);
    free(keep);
}

static void unpacked(struct isola__unpack *unpack)
{
    struct isola__unpacking *u = (struct isola__unpacking *)unpack;
    const struct isola_release *r = &u->release;
    const struct isola__current *current =
        isola__releases_current(&u->services->agent->releases, r->app);
    if (unpack->err.code != 0) {
        isola_log(ISOLA_LOG_ERROR, "the services of release %s of %s cannot be started: %s", r->id,
                  r->app, unpack->err.text);
    } else if (current != NULL && strcmp(current->id, r->id) == 0 && !u->services->stopping) {
        isola__services_sweep(u->services, r->app);
        release(u->services, r, unpack->dir);
    }
    *u->at = u->next;
    if (u->next != NULL)
        u->next->at = u->at;
    isola__line_again(&u->line);
    isola__line_end(&u->line, "its services cannot be started");
    isola_buf_free(&u->manifest);
    free(u->release.app);
    free(u);
}

void isola__services_release(struct isola__services *services, const struct isola_release *r)
{
    if (!services->begun || services->stopping)
        return;
    if (r->link != NULL || r->files.len == 0) {
        release(services, r, r->link);
        return;
    }
    struct isola__unpacking *u = isola_zalloc(sizeof(*u));
    u->unpack.cb = unpacked;
    u->services = services;
    isola_buf_append(&u->manifest, r->manifest.data, r->manifest.len);
    u->release.app = isola_strdup(r->app);
    memcpy(u->release.id, r->id, sizeof(u->release.id));
    u->release.manifest = isola_buf_slice(&u->manifest);
    isola__line_init(&u->line, services->agent, r->app);
    u->at = &services->unpacking;
    u->next = *u->at;
    if (u->next != NULL)
        u->next->at = &u->next;
    *u->at = u;
    isola__packages_unpack(&services->agent->packages, &u->unpack, r);
}

static void begin_each(const struct isola_release *r, void *arg)
{
    isola__services_release(arg, r);
}

void isola__services_init(struct isola__services *services, struct isola__agent *agent)
{
    services->agent = agent;
    isola__cgroups_open(&services->cgroups, "/proc");
    isola__memory_watch_init(&services->watch, &agent->loop);
}

void isola__services_close(struct isola__services *services)
{
    isola__cgroups_close(&services->cgroups);
    isola__memory_watch_close(&services->watch);
}

void isola__services_begin(struct isola__services *services)
{
    struct isola__agent *agent = services->agent;
    struct isola_err err;
    services->begun = true;
    isola__gone_sweep(&agent->gone);
    if (isola_catalog_each(agent->catalog, begin_each, services, &err) != 0)
        isola_log(ISOLA_LOG_ERROR, "not all services could be started: %s", err.text);
}

void isola__services_stop(struct isola__services *services)
{
    if (services->stopping)
        return;
    services->stopping = true;
    while (services->first != NULL) {
        struct isola__service *s = services->first;
        services->first = s->next;
        service_end(s);
    }
}

void isola__services_delete(struct isola__services *services, const char *app)
{
    for (struct isola__service **at = &services->first; *at != NULL;) {
        struct isola__service *s = *at;
        if (strcmp(s->app, app) != 0) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        service_end(s);
    }
}

bool isola__services_has(const struct isola__services *services, struct isola_slice app,
                         struct isola_slice type)
{
    return isola__services_find(services, app, type) != NULL;
}

/* --- what there is to see --- */

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
    if (elsewhere != 0)
        snprintf(out, size, "it listens on port %u, and not on %u yet, where it is waited for",
                 elsewhere, isola__program_def(p)->type->service->port);
    else if (p != NULL && place->failure[0] == '\0' && place->crash[0] != '\0' &&
             ago < CRASH_TOLD_S)
        snprintf(out, size, "ended %" PRIu64 " s ago, and was started again: %s", ago,
                 place->crash);
}

static void row(const struct isola__place *place, struct isola_buf *out)
{
    const struct isola__service *s = place->service;
    const struct isola__program *p = place->program;
    struct isola__program_use use = {0};
    char address[ISOLA_ADDRESS_MAX + 1];
    snprintf(address, sizeof(address), "%s/%s/%u", s->app, s->type, place->number);
    const struct isola__service_def *def = p != NULL ? isola__program_def(p) : s->def;
    if (p != NULL)
        use = isola__program_use(p);
    const struct isola_manifest_service *m = def->type->service;
    char note[sizeof(place->crash) + 60];
    write_note(place, note, sizeof(note));
    isola_mp_map(out, 10 + (place->failure[0] != '\0') + (note[0] != '\0') + (m->memory != 0) +
                          (m->millicpus != 0));
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

/* Whether it is to be looked at no more: it is ready with the release, or was stopped. */
static bool is_done(const struct isola__place *place, const char *release)
{
    const struct isola__service_def *def = place->service->def;
    return strcmp(def->release, release) == 0 &&
           (place->stopped ||
            (place->program != NULL && isola__program_def(place->program) == def &&
             isola__program_state(place->program) == ISOLA_PROGRAM_READY && !place->renew &&
             place->next == NULL));
}

void isola__services_report(const struct isola__services *services, const char *app,
                            const struct isola__current *current, struct isola_buf *out)
{
    struct isola_buf rows = {0};
    size_t n = 0;
    uint64_t now = isola_clock_ms();
    const struct isola_manifest *m = current->manifest;
    for (size_t i = 0; m != NULL && i < m->ntypes; i++) {
        if (m->types[i].service == NULL)
            continue;
        const char *type = m->types[i].name;
        const struct isola__service *s =
            isola__services_find(services, isola_slice_str(app), isola_slice_str(type));
        unsigned of = s != NULL ? s->nplaces : 1, ready = 0;
        uint64_t since = 0;
        for (unsigned k = 0; s != NULL && k < s->nplaces; k++) {
            const struct isola__place *place = s->places[k];
            bool done = is_done(place, current->id);
            ready += done;
            if (done && !place->stopped && place->ready_ms > since)
                since = place->ready_ms;
        }
        isola_mp_map(&rows, 5 + (since > 0));
        isola_mp_kstr(&rows, "type", type);
        isola_mp_kuint(&rows, "of", of);
        isola_mp_kuint(&rows, "ready", ready);
        if (since > 0)
            isola_mp_kuint(&rows, "ready_ms", since < now ? now - since : 0);
        isola_mp_kstr(&rows, "trouble", s != NULL ? s->trouble : "");
        isola_mp_kbool(&rows, "troubled", s != NULL && s->troubled);
        n++;
    }
    isola_mp_cstr(out, "services");
    isola_mp_array(out, n);
    isola_buf_append(out, rows.data, rows.len);
    out->failed = out->failed || rows.failed;
    isola_buf_free(&rows);
}

/* --- stop and restart --- */

static void stop_place(struct isola__place *place)
{
    forget_crashes(place);
    place->stopped = true;
    if (place->program != NULL)
        isola__program_stop(place->program);
    if (place->next != NULL)
        isola__program_stop(place->next);
    isola__place_check(place);
}

static void restart_place(struct isola__place *place)
{
    forget_crashes(place);
    place->stopped = false;
    if (place->program == NULL)
        start_place(place);
    else
        place->renew = true;
}

static bool uses(const struct isola__service_def *def, const struct isola_slice *names, size_t n)
{
    char *const *at = def->type->service->secrets;
    for (; at != NULL && *at != NULL; at++)
        for (size_t i = 0; i < n; i++)
            if (isola_slice_is(names[i], *at))
                return true;
    return false;
}

void isola__services_secrets(struct isola__services *services, struct isola_slice app,
                             const struct isola_slice *names, size_t n)
{
    for (struct isola__service *s = services->first; s != NULL; s = s->next) {
        if (!isola_slice_is(app, s->app) || !uses(s->def, names, n) || services->stopping)
            continue;
        for (unsigned i = 0; i < s->nplaces; i++)
            if (!s->places[i]->stopped)
                restart_place(s->places[i]);
        roll(s);
    }
}

/* The places that `of` names (app/Type, app/Type/N) here, each told to `stop` or to start anew. */
static void apply(struct isola__services *services, struct isola_slice of, bool stop,
                  struct isola_buf *out)
{
    struct isola_buf rows = {0};
    size_t n = 0;
    for (struct isola__service *s = services->first; s != NULL; s = s->next) {
        char name[ISOLA_ADDRESS_MAX + 1], address[ISOLA_ADDRESS_MAX + 1];
        snprintf(name, sizeof(name), "%s/%s", s->app, s->type);
        for (unsigned i = 0; i < s->nplaces; i++) {
            snprintf(address, sizeof(address), "%s/%s/%u", s->app, s->type, i);
            if (!isola_slice_is(of, name) && !isola_slice_is(of, address))
                continue;
            if (stop)
                stop_place(s->places[i]);
            else
                restart_place(s->places[i]);
            n++;
            isola_mp_map(&rows, 2);
            isola_mp_kstr(&rows, "node", services->agent->opt.name);
            isola_mp_kstr(&rows, "address", address);
        }
        roll(s);
    }
    isola_mp_map(out, 1);
    isola_mp_cstr(out, "instances");
    isola_mp_array(out, n);
    isola_buf_append(out, rows.data, rows.len);
    out->failed = out->failed || rows.failed;
    isola_buf_free(&rows);
}

static void service_done(struct isola__gather *g)
{
    struct isola_buf out = {0};
    isola_mp_map(&out, 2);
    isola__gather_lists(g, "instances", &out);
    isola__gather_unreachable(g, &out);
    isola__reply_buf(g->from, g->id, &out);
}

static void service(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params,
                    bool local)
{
    struct isola__agent *agent = from->agent;
    struct isola_slice of, what;
    struct isola_buf own = {0};
    if (!isola_mp_find_str(params, "of", &of) || !isola_mp_find_str(params, "do", &what) ||
        !(isola_slice_is(what, "stop") || isola_slice_is(what, "restart"))) {
        isola__fail(from, m->id, ISOLA_EINVAL,
                    "service: \"of\" is missing, or \"do\" is neither \"stop\" nor \"restart\"");
        return;
    }
    apply(&agent->services, of, isola_slice_is(what, "stop"), &own);
    struct isola__gather *g =
        isola__gather_new(from, m->id, 1 + agent->members.count, service_done);
    isola__gather_have(g, agent->opt.name, &own);
    if (!local)
        isola__gather_members(g, "service", params);
    isola__gather_start(g);
}

void isola__service_method(struct isola__conn *from, const struct isola_msg *m,
                           struct isola_slice params)
{
    service(from, m, params, false);
}

void isola__service_peer(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    service(from, m, params, true);
}
