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
#include "node-agent/service_sockets.h"
#include "node-agent/status.h"

#define RECENT_MS 60000

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
    isola__service_def_unref(s->canary);
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

/* For who monitors it; its service has, or had, so many places. */
static void down(const struct isola__place *place, unsigned of, const char *reason, const char *why)
{
    const struct isola__service *s = place->service;
    if (s->services->stopping)
        return; /* who is on another node hears that this one is lost */
    char *type = isola_format("%s/%s", s->app, s->type);
    isola__calls_down(s->services->agent, type, place->number, of, reason, why);
    free(type);
}

/* No longer one of the `of` of its service; it must be taken from the list. `others`: who have its
 * port. */
static void place_end(struct isola__place *place, unsigned of, bool others)
{
    char why[ISOLA_ADDRESS_MAX + 80];
    place->gone = true;
    uv_timer_stop(&place->timer);
    snprintf(why, sizeof(why), "%s ends on node %s", place->line.address,
             place->service->services->agent->opt.name);
    isola__line_end(&place->line, why);
    down(place, of, "stopped", why);
    if (place->program != NULL && others)
        isola__program_leave(place->program);
    else if (place->program != NULL)
        isola__program_stop(place->program);
    if (place->next != NULL)
        isola__program_stop(place->next);
    check_gone(place);
}

void isola__service_end(struct isola__service *s)
{
    unsigned n = s->nplaces;
    s->nplaces = s->stay = 0;
    for (unsigned i = 0; i < n; i++)
        place_end(s->places[i], n, false);
    service_unref(s);
}

/* --- places --- */

bool isola__place_tries(const struct isola__place *place)
{
    const struct isola__service *s = place->service;
    return place->number < s->stay && place->number + s->canaries >= s->stay;
}

struct isola__service_def *isola__place_wants(const struct isola__place *place)
{
    const struct isola__service *s = place->service;
    return s->canary != NULL && isola__place_tries(place) ? s->canary : s->def;
}

static const struct isola_manifest_life *life(const struct isola__place *place)
{
    return &isola__place_wants(place)->type->life;
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

/* An instance of this definition, which is the place's latest, did not begin or has crashed. */
static void note_trouble(struct isola__place *place, const struct isola__service_def *def,
                         const char *why)
{
    struct isola__service *s = place->service;
    if (strcmp(def->release, s->trial) != 0) {
        s->crashes_now++;
        return;
    }
    s->crashes++;
    if (s->trouble[0] == '\0')
        snprintf(s->trouble, sizeof(s->trouble), "%s/%s/%u: %.480s", s->app, s->type, place->number,
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
static void start_place(struct isola__place *place);

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
                 "%s; that is %u time%s within %" PRIu64 " ms (\"restart\"): it has failed", why, n,
                 n == 1 ? "" : "s", l->within_ms);
        say(place, "error", text);
        down(place, place->service->nplaces, "failed", why);
        isola__place_check(place);
        return;
    }
    down(place, place->service->nplaces, "crashed", why);
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

static void resize(struct isola__service *s);
static void redirect(struct isola__place *place, bool anew);

/* What was to replace it does not begin. Of a release that is new the one before goes on, also
 * where it had been replaced; of a canary, the current one. */
static void refuse(struct isola__place *place, const struct isola__service_def *def,
                   const char *why)
{
    struct isola__service *s = place->service;
    const struct isola__service_def *has = isola__program_def(place->program);
    char text[sizeof(place->failure)];
    note_trouble(place, def, why);
    for (unsigned i = 0; i < s->nplaces; i++)
        s->places[i]->renew = false;
    if (def == s->canary && def != has) {
        snprintf(text, sizeof(text), "canary %s did not begin: %s; release %s goes on",
                 def->release, why, has->release);
        isola__service_def_unref(s->canary);
        s->canary = NULL;
    } else if (s->before != NULL) {
        snprintf(text, sizeof(text), "release %s did not begin: %s; release %s goes on",
                 def->release, why, s->before->release);
        isola__service_def_unref(s->def);
        s->def = s->before;
        s->before = NULL;
        resize(s);
        for (unsigned i = 0; i < s->stay; i++)
            if (s->places[i]->aim[0] == '\0') /* it is new */
                redirect(s->places[i], false);
    } else if (def != has) { /* back from a canary: there is nothing else */
        place->kept = true;
        snprintf(text, sizeof(text), "release %s did not begin: %s; release %s goes on here",
                 def->release, why, has->release);
    } else {
        snprintf(text, sizeof(text), "its replacement did not begin: %s; the one before goes on",
                 why);
    }
    say(place, "error", text);
    memcpy(place->failure, text, sizeof(text));
    roll(s);
}

/* Says so in its log. */
static void note_replaced(const struct isola__place *place, const struct isola__service_def *old,
                          const struct isola__service_def *def)
{
    const struct isola__service *s = place->service;
    char text[200];
    if (strcmp(old->release, def->release) == 0)
        return;
    snprintf(text, sizeof(text), "it runs release %s now%s, in place of %s", def->release,
             def == s->canary ? ", a canary" : "", old->release);
    say(place, "info", text);
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
        note_replaced(place, isola__program_def(old), isola__program_def(p));
        isola__program_stop(old);
    } else {
        isola__place_check(place);
    }
    roll(place->service);
}

static void on_ended(struct isola__program *p, const char *why)
{
    struct isola__place *place = isola__program_arg(p);
    struct isola__service *s = place->service;
    const struct isola__service_def *def = isola__program_def(p);
    bool wanted = !place->gone && !place->stopped;
    bool latest = def == isola__place_wants(place);
    bool asked = isola__program_asked(p); /* and wanted again since */
    place->programs--;
    if (p == place->next) {
        place->next = NULL;
        if (wanted && latest && !asked && place->number < s->stay)
            refuse(place, def, why);
        else if (wanted) /* another release has come meanwhile */
            roll(s);
    } else if (p == place->program) {
        place->program = place->next;
        place->next = NULL;
        if (wanted && latest && !asked)
            note_trouble(place, def, why);
        if (wanted && asked && place->program == NULL)
            start_place(place);
        else if (wanted && place->program == NULL)
            crashed(place, why);
        else if (wanted && !asked) /* what is to replace it begins already */
            down(place, place->service->nplaces, "crashed", why);
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
    struct isola__program *p =
        isola__program_start(s->services->agent, isola__place_wants(place), place->number, s->stay,
                             place->program, &program_ops, place, err);
    place->programs += p != NULL;
    return p;
}

/* Has this node a process that may listen there? */
static bool is_ours(const struct isola__services *services, unsigned port)
{
    for (const struct isola__service *s = services->first; s != NULL; s = s->next)
        for (unsigned i = 0; s->def->type->service->port == port && i < s->nplaces; i++)
            if (s->places[i]->programs > 0)
                return true;
    return false;
}

/* What listens there already may share the port as well as ours do, as those of another agent: then
 * nothing fails, and requests go astray. */
static void look_at_port(struct isola__place *place)
{
    unsigned port = isola__place_wants(place)->type->service->port;
    char text[200];
    if (port == 0 || is_ours(place->service->services, port))
        return;
    bool before = place->crowded;
    place->crowded = isola__port_has_listener(port);
    if (!place->crowded || before)
        return;
    snprintf(text, sizeof(text),
             "another program of this machine listens on port %u: if it shares it, as a service of "
             "another agent does, each gets a part of the requests",
             port);
    say(place, "warn", text);
}

static void start_place(struct isola__place *place)
{
    struct isola_err err;
    place->renew = false;
    look_at_port(place);
    place->program = start_program(place, &err);
    if (place->program == NULL) {
        note_trouble(place, isola__place_wants(place), err.text);
        crashed(place, err.text);
    }
}

static void on_pause_over(uv_timer_t *timer)
{
    start_place(timer->data);
}

/* --- services --- */

/* Replaces the next place that is to be, unless one is being; at the end those that are too many
 * end. */
static void roll(struct isola__service *s)
{
    struct isola__place *first = NULL;
    struct isola_err err;
    for (unsigned i = 0; i < s->stay; i++) {
        struct isola__place *place = s->places[i];
        if (place->next != NULL)
            return;
        bool other =
            place->program != NULL &&
            (place->renew ||
             (isola__program_def(place->program) != isola__place_wants(place) && !place->kept));
        if (other && !place->stopped && first == NULL)
            first = place;
    }
    if (first == NULL) {
        isola__service_def_unref(s->before);
        s->before = NULL;
        for (unsigned n = s->nplaces; s->nplaces > s->stay;)
            place_end(s->places[--s->nplaces], n, true);
        return;
    }
    first->renew = false;
    first->next = start_program(first, &err);
    if (first->next == NULL)
        refuse(first, isola__place_wants(first), err.text);
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
        if (isola__place_tries(place)) /* it runs a canary */
            continue;
        troubled = troubled || place->failed ||
                   (n > 0 && (place->program == NULL || now - place->crashes[n - 1] < RECENT_MS));
    }
    return troubled;
}

/* How many places there are to be: those that end do so when no other is to be replaced. */
static void resize(struct isola__service *s)
{
    s->stay = wanted(s) + s->added;
    if (s->canaries > s->stay)
        s->canaries = s->stay;
    while (s->nplaces < s->stay)
        add_place(s);
}

/* What this one is to run is another now, or the same `anew`. */
static void redirect(struct isola__place *place, bool anew)
{
    const struct isola__service_def *def = isola__place_wants(place);
    bool same = strcmp(place->aim, def->release) == 0 && !anew;
    if (place->next != NULL && isola__program_def(place->next) != def)
        isola__program_stop(place->next);
    place->kept = false;
    if (same)
        return;
    memcpy(place->aim, def->release, sizeof(place->aim));
    place->ncrashes = 0; /* they were of another release */
    place->stopped = false;
    if (place->program != NULL)
        return;
    forget_crashes(place);
    start_place(place);
}

void isola__service_define(struct isola__service *s, struct isola__service_def *def,
                           struct isola__service_def *canary, struct isola_roster_part part,
                           const char *trial, bool unproven)
{
    bool other = def != s->def;
    if (!other && canary == NULL && s->canaries == 0 && strcmp(s->trial, trial) == 0) {
        isola__service_def_unref(def); /* of what has the same content nothing changes */
        return;
    }
    if (!unproven || strcmp(trial, def->release) != 0)
        s->troubled = is_troubled(s);
    s->trouble[0] = '\0';
    s->crashes = s->crashes_now = 0;
    snprintf(s->trial, sizeof(s->trial), "%s", trial);
    struct isola__service_def *was = s->def;
    s->def = def;
    if (!other || s->before != NULL)
        isola__service_def_unref(was); /* which some had not taken yet */
    else
        s->before = was;
    if (s->before == def) { /* back again, where it had not been replaced yet */
        isola__service_def_unref(s->before);
        s->before = NULL;
    }
    bool fresh = canary != s->canary;
    isola__service_def_unref(s->canary);
    s->canary = canary;
    s->canaries = part.canaries;
    s->added = canary != NULL && part.instances > 1 && wanted(s) == 1;
    resize(s);
    for (unsigned i = 0; i < s->stay; i++)
        redirect(s->places[i], isola__place_tries(s->places[i]) ? fresh : other);
    for (unsigned i = s->stay; i < s->nplaces; i++)
        if (s->places[i]->next != NULL)
            isola__program_stop(s->places[i]->next);
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

void isola__services_stop(struct isola__services *services)
{
    if (services->stopping)
        return;
    services->stopping = true;
    while (services->first != NULL) {
        struct isola__service *s = services->first;
        services->first = s->next;
        isola__service_end(s);
    }
}

bool isola__services_has(const struct isola__services *services, struct isola_slice app,
                         struct isola_slice type)
{
    return isola__services_find(services, app, type) != NULL;
}

/* --- stop and restart --- */

/* Does another one go on, which has its port? */
static bool has_others(const struct isola__place *place)
{
    const struct isola__service *s = place->service;
    for (unsigned i = 0; i < s->nplaces; i++)
        if (s->places[i] != place && s->places[i]->program != NULL && !s->places[i]->stopped)
            return true;
    return false;
}

/* `alone`: the others of its service are not stopped with it. */
static void stop_place(struct isola__place *place, bool alone)
{
    forget_crashes(place);
    if (!place->stopped)
        down(place, place->service->nplaces, "stopped", "it was stopped; `ctl restart` starts it");
    place->stopped = true;
    if (place->program != NULL && alone && has_others(place))
        isola__program_leave(place->program);
    else if (place->program != NULL)
        isola__program_stop(place->program);
    if (place->next != NULL)
        isola__program_stop(place->next);
    isola__place_check(place);
}

static void restart_place(struct isola__place *place)
{
    forget_crashes(place);
    place->stopped = place->kept = false;
    if (place->program == NULL)
        start_place(place);
    else
        place->renew = true;
}

void isola__services_secrets(struct isola__services *services, struct isola_slice app,
                             const struct isola_slice *names, size_t n)
{
    for (struct isola__service *s = services->first; s != NULL; s = s->next) {
        if (!isola_slice_is(app, s->app) || services->stopping)
            continue;
        for (unsigned i = 0; i < s->nplaces; i++)
            if (!s->places[i]->stopped &&
                isola__secrets_among(isola__place_wants(s->places[i])->type->service->secrets,
                                     names, n))
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
                stop_place(s->places[i], !isola_slice_is(of, name));
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
