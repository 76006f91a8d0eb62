/* SPDX-License-Identifier: Apache-2.0
 *
 * The link to our agent: descriptor 3. What the agent asks of this process, and the messages it
 * passes on from its clients. When it ends, so does the actor-host: an agent starts a new one.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actors/v8/realm.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "node-agent/actor-host/app.h"
#include "store/catalog.h"
#include "store/manifest.h"
#include "transport/envelope.h"

#define AGENT_FD         3
#define CHECK_TIMEOUT_MS 10000

void agent_link_reply(struct app *app, uint64_t id, struct isola_slice value)
{
    struct isola_msg *m = isola_msg_reply(id, value);
    if (m != NULL && app->agent != NULL)
        (void)!isola_link_send_msg(app->agent, m);
    free(m);
}

void agent_link_fail(struct app *app, uint64_t id, int code, const char *why)
{
    struct isola_msg *m = isola_msg_fail(id, code, "%s", why);
    if (m != NULL && app->agent != NULL)
        (void)!isola_link_send_msg(app->agent, m);
    free(m);
}

/* --- releases --- */

static struct isola_host_life host_life(const struct isola_manifest_life *l)
{
    static const enum isola_strategy strategies[] = {
        [ISOLA_MANIFEST_ONE_FOR_ONE] = ISOLA_ONE_FOR_ONE,
        [ISOLA_MANIFEST_ONE_FOR_ALL] = ISOLA_ONE_FOR_ALL,
        [ISOLA_MANIFEST_REST_FOR_ONE] = ISOLA_REST_FOR_ONE,
        [ISOLA_MANIFEST_ESCALATE] = ISOLA_ESCALATE,
    };
    return (struct isola_host_life){.hibernate_after_ms = l->hibernate_after_ms,
                                    .restarts = l->restarts,
                                    .within_ms = l->within_ms,
                                    .backoff_ms = l->backoff_ms,
                                    .max_backoff_ms = l->max_backoff_ms,
                                    .strategy = strategies[l->strategy]};
}

/* The code of a type that an earlier process like this one has prepared; empty: none. */
static struct isola_slice kept_code(struct isola_slice params, const char *type)
{
    struct isola_slice list, item, s, code;
    char key[ISOLA_V8_KEY_SIZE];
    isola_v8_key(key);
    if (isola_mp_find(params, "prepared", &list))
        for (size_t i = 0; isola_mp_at(list, i, &item); i++)
            if (isola_mp_find_str(item, "type", &s) && isola_slice_is(s, type) &&
                isola_mp_find_str(item, "key", &s) && isola_slice_is(s, key) &&
                isola_mp_find_bin(item, "cache", &code))
                return code;
    return (struct isola_slice){0};
}

/* The runtime's form of a release; `types` is for the caller to free after use. */
static struct isola_host_release host_release(const struct isola_release *r,
                                              const struct isola_manifest *m,
                                              struct isola_slice params)
{
    struct isola_host_type *types = isola_zalloc(m->ntypes * sizeof(*types));
    size_t n = 0;
    for (size_t i = 0; i < m->ntypes; i++) {
        const struct isola_actor_type *t = &m->types[i];
        if (t->service != NULL)
            continue;
        struct isola_host_type *to = &types[n++];
        *to = (struct isola_host_type){.name = t->name,
                                       .module = t->module,
                                       .shared = t->isolation == ISOLA_ISOLATION_SHARED,
                                       .reentrant = t->reentrant,
                                       .life = host_life(&t->life),
                                       .limits = {.heap = t->heap,
                                                  .external = t->external,
                                                  .cpu_ms = t->cpu_ms,
                                                  .mailbox = t->mailbox,
                                                  .mailbox_bytes = t->mailbox_bytes,
                                                  .message = t->message,
                                                  .output = t->output,
                                                  .sql_bytes = t->sql_bytes,
                                                  .asks = t->asks,
                                                  .timers = t->timers,
                                                  .subscriptions = t->subscriptions,
                                                  .log_rate = t->log_rate}};
        for (size_t b = 0; b < r->nbundles; b++)
            if (strcmp(r->bundles[b].type, t->name) == 0) {
                to->code = r->bundles[b].code;
                to->map = r->bundles[b].map;
            }
        to->cache = kept_code(params, t->name);
    }
    return (struct isola_host_release){.app = r->app,
                                       .id = r->id,
                                       .version = m->version,
                                       .ntypes = n,
                                       .types = types,
                                       .net = m->net,
                                       .apps = m->apps};
}

/* The variables of this process' environment that the manifest permits. */
static void permitted_env(const char *names, struct isola_buf *out)
{
    for (const char *at = names; at != NULL && *at != '\0';) {
        size_t n = strcspn(at, "\n");
        char *name = isola_strndup(at, n);
        const char *value = getenv(name);
        if (value != NULL) {
            isola_buf_printf(out, "%s=%s", name, value);
            isola_buf_append(out, "", 1);
        }
        free(name);
        at += n + (at[n] == '\n');
    }
}

struct check_parcel {
    struct parcel parcel;
    struct app *app;
    uint64_t id;
    int code;
    char *why;
};

static void run_checked(struct app *app, struct parcel *parcel)
{
    struct check_parcel *c = (struct check_parcel *)parcel;
    static const uint8_t nil[] = {0xc0};
    if (c->code == 0)
        agent_link_reply(app, c->id, isola_slice(nil, 1));
    else
        agent_link_fail(app, c->id, c->code, c->why);
    free(c->why);
    free(c);
}

static void checked(void *arg, int code, const char *why)
{
    struct check_parcel *c = arg;
    c->code = code;
    c->why = isola_strdup(why);
    outbox_put(c->app, &c->parcel);
}

/* A release as it is told, and what the runtime needs of it. */
struct told {
    struct isola_manifest *manifest;
    struct isola_buf env;
    struct isola_host_release def; /* its secrets are borrowed */
};

static int read_told(const struct isola_release *r, struct isola_slice params,
                     struct isola_slice secrets, struct told *out, struct isola_err *err)
{
    int code = isola_manifest_parse(r->manifest, "isola.json", &out->manifest, err);
    if (code != 0)
        return code;
    permitted_env(out->manifest->env, &out->env);
    out->def = host_release(r, out->manifest, params);
    out->def.env = isola_buf_slice(&out->env);
    out->def.secrets = secrets;
    return 0;
}

static void told_free(struct told *t)
{
    free((void *)(uintptr_t)t->def.types);
    isola_buf_free(&t->env);
    isola_manifest_free(t->manifest);
}

static void take_release(struct app *app, uint64_t id, struct isola_slice params, bool check)
{
    struct isola_release *release = NULL;
    struct told told = {0}, candidate = {0};
    struct isola_slice canary = {0}, secrets = {0}, of_canary = {0};
    struct isola_err err;
    int r = isola_release_decode(params, &release, &err);
    (void)isola_mp_find_bin(params, "secrets", &secrets);
    (void)isola_mp_find_bin(params, "canary_secrets", &of_canary);
    if (r == 0)
        r = read_told(release, params, secrets, &told, &err);
    if (r == 0 && release->candidate != NULL && isola_mp_find(params, "canary", &canary))
        r = read_told(release->candidate, canary, of_canary, &candidate, &err);
    if (r != 0) {
        agent_link_fail(app, id, r, err.text);
    } else if (check) {
        struct check_parcel *c = isola_zalloc(sizeof(*c));
        c->parcel.run = run_checked;
        c->app = app;
        c->id = id;
        isola_host_check(app->host, &told.def, CHECK_TIMEOUT_MS, checked, c);
    } else if (!wipe_holds(app, id, isola_slice_str(release->app), params)) {
        static const uint8_t nil[] = {0xc0};
        bool services = services_release(app, release->app, told.manifest, candidate.manifest);
        (void)isola_mp_find_bool(params, "unproven", &told.def.unproven);
        isola_host_set_releases(app->host, &told.def,
                                release->candidate != NULL ? &candidate.def : NULL, release->share);
        if (services) {
            isola_host_moved(app->host); /* as their addresses have */
            subs_out_settle(app);
        }
        agent_link_reply(app, id, isola_slice(nil, 1));
    }
    told_free(&told);
    told_free(&candidate);
    isola_release_free(release);
}

void agent_link_release(struct app *app, uint64_t asked, struct isola_slice params)
{
    take_release(app, asked, params, false);
}

/* --- ps --- */

/* Actors listed, of the millions there may be: what nobody says, and what has room in a frame. */
#define PS_DEFAULT 10000
#define PS_MAX     50000

struct listing {
    struct app *app;
    struct isola_buf actors;
    size_t n;
};

static void list_actor(const struct isola_host_info *info, void *arg)
{
    struct listing *l = arg;
    struct isola_buf *b = &l->actors;
    const char *from;
    uint64_t bytes, total;
    bool coming = claims_coming(l->app, info->address, &from, &bytes, &total);
    isola_mp_map(b, 11 + coming + (info->next_timer != 0) + (info->start != NULL) +
                        (info->start != NULL && info->why[0] != '\0') + (info->failure.len > 0));
    isola_mp_cstr(b, "address");
    isola_mp_str(b, info->address);
    isola_mp_kstr(b, "isolation", info->isolation);
    isola_mp_kstr(b, "node", l->app->options.node);
    isola_mp_kuint(b, "thread", info->thread);
    isola_mp_kstr(b, "state", info->state);
    isola_mp_kuint(b, "mailbox", info->mailbox);
    isola_mp_kuint(b, "turns", info->turns);
    isola_mp_kuint(b, "heap", info->heap);
    isola_mp_kuint(b, "cpu_us", info->cpu_ns / 1000);
    isola_mp_kstr(b, "release", info->release);
    isola_mp_kuint(b, "timers", info->timers);
    if (info->next_timer != 0)
        isola_mp_kuint(b, "next_timer", info->next_timer);
    if (info->start != NULL)
        isola_mp_kstr(b, "start", info->start);
    if (info->start != NULL && info->why[0] != '\0')
        isola_mp_kstr(b, "start_reason", info->why);
    if (info->failure.len > 0) {
        isola_mp_cstr(b, "failure");
        isola_mp_str(b, info->failure);
    }
    if (coming) {
        isola_mp_cstr(b, "coming");
        isola_mp_map(b, 3);
        isola_mp_kstr(b, "from", from);
        isola_mp_kuint(b, "bytes", bytes);
        isola_mp_kuint(b, "total", total);
    }
    l->n++;
}

/* Of the process: CPU time, all its threads together, and memory. */
static void list_process(struct app *app, struct isola_buf *out)
{
    struct rusage used = {0};
    uint64_t pages = 0;
    (void)getrusage(RUSAGE_SELF, &used);
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%*s %" SCNu64, &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    isola_mp_cstr(out, "hosts");
    isola_mp_array(out, 1);
    isola_mp_map(out, 3);
    isola_mp_kstr(out, "node", app->options.node);
    isola_mp_kuint(out, "cpu_us",
                   (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000u +
                       (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec));
    isola_mp_kuint(out, "memory", pages * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void on_ps(struct app *app, const struct isola_msg *m, struct isola_slice params)
{
    struct listing l = {.app = app};
    struct isola_slice only = {0};
    isola_mp_find_str(params, "app", &only);
    uint64_t limit = PS_DEFAULT;
    (void)isola_mp_find_uint(params, "limit", &limit);
    size_t total =
        isola_host_each(app->host, only, limit < PS_MAX ? limit : PS_MAX, list_actor, &l);
    struct isola_buf out = {0};
    isola_mp_map(&out, 3);
    isola_mp_kuint(&out, "total", total);
    list_process(app, &out);
    isola_mp_cstr(&out, "actors");
    isola_mp_array(&out, l.n);
    isola_buf_append(&out, l.actors.data, l.actors.len);
    agent_link_reply(app, m->id, isola_buf_slice(&out));
    isola_buf_free(&out);
    isola_buf_free(&l.actors);
}

/* --- how it does --- */

static void on_tally(struct app *app, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_host_tally t = {0};
    struct isola_slice of = {0};
    struct isola_buf out = {0};
    if (!isola_mp_find_str(params, "app", &of) || !isola_host_tally(app->host, of, &t)) {
        agent_link_fail(app, m->id, ISOLA_ENOENT, "the actor-host has no such app");
        isola_host_tally_free(&t);
        return;
    }
    isola_mp_map(&out, 7);
    isola_mp_kstr(&out, "release", t.release);
    isola_mp_kuint(&out, "turns", t.turns);
    isola_mp_kuint(&out, "errors", t.errors);
    isola_mp_kuint(&out, "before_turns", t.before_turns);
    isola_mp_kuint(&out, "before_errors", t.before_errors);
    isola_mp_cstr(&out, "first_of");
    isola_mp_str(&out, isola_buf_slice(&t.first_of));
    isola_mp_cstr(&out, "first");
    isola_mp_str(&out, isola_buf_slice(&t.first));
    agent_link_reply(app, m->id, isola_buf_slice(&out));
    isola_buf_free(&out);
    isola_host_tally_free(&t);
}

/* --- the link --- */

static void on_shutdown(struct app *app, const struct isola_msg *m)
{
    if (app->shutdown_id != 0)
        return;
    app->shutdown_id = m->id;
    isola_host_drain(app->host);
    claims_end(app);
}

static void run_drained(struct app *app, struct parcel *parcel)
{
    static const uint8_t nil[] = {0xc0};
    free(parcel);
    store_end();
    isola_state_close(app->state);
    agent_link_reply(app, app->shutdown_id, isola_slice(nil, 1));
    isola_link_close(app->agent); /* `down` ends the process, once this is written */
}

void agent_link_drained(void *arg)
{
    struct parcel *p = isola_zalloc(sizeof(*p));
    p->run = run_drained;
    outbox_put(arg, p);
}

/* In a cluster: who this process is, and where it is to listen for others. */
static void on_credentials(struct app *app, const struct isola_msg *m, struct isola_slice params)
{
    struct isola_err err;
    struct isola_buf out = {0};
    int r = data_links_listen(app, params, &err);
    if (r != 0) {
        agent_link_fail(app, m->id, r, err.text);
        return;
    }
    isola_mp_map(&out, 1);
    isola_mp_kstr(&out, "url", isola_listener_url(app->listener));
    agent_link_reply(app, m->id, isola_buf_slice(&out));
    isola_buf_free(&out);
}

/* Every few seconds. */
static void on_ping(struct app *app, const struct isola_msg *m)
{
    agent_link_reply(app, m->id, isola_slice(NULL, 0));
    isola_v8_trim();
}

static void on_method(struct app *app, const struct isola_msg *m)
{
    struct isola_slice params = {0};
    isola_mp_at(m->args, 0, &params);
    if (isola_slice_is(m->event, "view"))
        peers_view(app, params);
    else if (isola_slice_is(m->event, "credentials"))
        on_credentials(app, m, params);
    else if (isola_slice_is(m->event, "release"))
        take_release(app, m->id, params, false);
    else if (isola_slice_is(m->event, "check"))
        take_release(app, m->id, params, true);
    else if (isola_slice_is(m->event, "delete"))
        wipe_asked(app, m->id, params);
    else if (isola_slice_is(m->event, "ps"))
        on_ps(app, m, params);
    else if (isola_slice_is(m->event, "tally"))
        on_tally(app, m, params);
    else if (isola_slice_is(m->event, "links"))
        links_asked(app, m);
    else if (isola_slice_is(m->event, "store"))
        store_asked(app, m->id, params);
    else if (isola_slice_is(m->event, "backup"))
        backup_asked(app, m->id, params);
    else if (isola_slice_is(m->event, "backup_progress"))
        backup_progress_asked(app, m->id);
    else if (isola_slice_is(m->event, "history"))
        history_asked(app, m->id, params);
    else if (isola_slice_is(m->event, "timers"))
        timers_asked(app, m->id, params);
    else if (isola_slice_is(m->event, "restore"))
        restore_asked(app, m->id, params);
    else if (isola_slice_is(m->event, "dead-letters"))
        letters_asked(app, m, params);
    else if (isola_slice_is(m->event, "inspect"))
        inspect_asked(app, m->id, params);
    else if (isola_slice_is(m->event, "inspect_read"))
        inspect_read(app, m->id, params);
    else if (isola_slice_is(m->event, "ping"))
        on_ping(app, m);
    else if (isola_slice_is(m->event, "shutdown"))
        on_shutdown(app, m);
    else if (m->kind == ISOLA_MSG_ASK)
        agent_link_fail(app, m->id, ISOLA_EINVAL, "the actor-host knows no such method");
}

static void on_frame(struct isola_link *link, struct isola_slice frame, void *arg)
{
    struct app *app = arg;
    struct isola_msg m;
    struct isola_err err;
    if (isola_link_decode(link, frame, &m, &err) != 0) {
        isola_log(ISOLA_LOG_ERROR, "the agent sent a malformed frame: %s", err.text);
        isola_link_close(link);
        return;
    }
    if (m.dst.len > 0)
        conn_deliver(&app->agent_conn, &m, false, NULL);
    else if (m.kind == ISOLA_MSG_REPLY || m.kind == ISOLA_MSG_FAIL || m.kind == ISOLA_MSG_EVENT)
        services_answered(app, &m);
    else
        on_method(app, &m);
}

static void on_down(struct isola_link *link, int code, const char *why, void *arg)
{
    struct app *app = arg;
    (void)link;
    app->agent = NULL;
    if (app->shutdown_id == 0)
        isola_log(ISOLA_LOG_WARN, "the agent has gone (%s): ending",
                  code == 0 ? "link closed" : why);
    fflush(NULL);
    _exit(app->shutdown_id != 0 ? 0 : 1); /* the isolates end with the process */
}

static const struct isola_link_ops ops = {.frame = on_frame, .down = on_down};

int agent_link_open(struct app *app, struct isola_err *err)
{
    int r = isola_link_open_fd(app->loop, AGENT_FD, &ops, app, &app->agent, err);
    if (r != 0)
        return isola_fail(err, r, "no agent on descriptor %d: node-agent starts this program",
                          AGENT_FD);
    struct isola_buf args = {0};
    isola_mp_array(&args, 1);
    isola_mp_map(&args, 2);
    isola_mp_kuint(&args, "pid", (uint64_t)getpid());
    isola_mp_kuint(&args, "threads", app->options.threads);
    struct isola_msg ready = {
        .kind = ISOLA_MSG_EMIT, .event = isola_slice_str("ready"), .args = isola_buf_slice(&args)};
    r = isola_link_send_msg(app->agent, &ready);
    isola_buf_free(&args);
    return r != 0 ? isola_fail(err, r, "cannot tell the agent: %s", isola_error_text(r)) : 0;
}

/* --- from other threads --- */

/* What scripts log is bounded twice: what waits for the loop, and how much of the link's queue it
 * may take, which answers need. Past it lines are dropped, and a line says how many. */
#define LOG_WAITING_MAX (16u << 20)
#define LOG_QUEUED_MAX  (ISOLA_LINK_QUEUE_MAX / 4)

static atomic_size_t log_waiting; /* bytes */
static atomic_ullong log_dropped; /* lines, not told of yet */

struct log_parcel {
    struct parcel parcel;
    struct isola_buf args;
};

static void log_args(struct app *app, struct isola_buf *b, enum isola_log_level level,
                     struct isola_slice address, struct isola_slice text)
{
    isola_mp_array(b, 1);
    isola_mp_map(b, 5);
    isola_mp_kuint(b, "time", (uint64_t)isola_clock_wall_ms());
    isola_mp_kstr(b, "level", isola_log_level_name(level));
    isola_mp_kstr(b, "node", app->options.node);
    isola_mp_cstr(b, "address");
    isola_mp_str(b, address);
    isola_mp_cstr(b, "text");
    isola_mp_str(b, text);
}

/* False: there is no room for it. */
static bool send_log(struct app *app, const struct isola_buf *args)
{
    struct isola_msg m = {.kind = ISOLA_MSG_EMIT,
                          .bulk = true,
                          .event = isola_slice_str("log"),
                          .args = isola_buf_slice(args)};
    struct isola_link_stats stats = {0};
    if (app->agent == NULL || args->failed)
        return true;
    isola_link_stats(app->agent, &stats);
    return stats.queued_bytes <= LOG_QUEUED_MAX && isola_link_send_msg(app->agent, &m) == 0;
}

static void tell_dropped(struct app *app)
{
    unsigned long long n = atomic_exchange(&log_dropped, 0);
    if (n == 0)
        return;
    char text[100];
    int len = snprintf(
        text, sizeof(text),
        "%llu lines of the log were dropped: more were written than can be kept up with", n);
    struct isola_buf args = {0};
    log_args(app, &args, ISOLA_LOG_WARN, (struct isola_slice){0}, isola_slice(text, (size_t)len));
    if (!send_log(app, &args))
        atomic_fetch_add(&log_dropped, n);
    isola_buf_free(&args);
}

static void run_log(struct app *app, struct parcel *parcel)
{
    struct log_parcel *l = (struct log_parcel *)parcel;
    atomic_fetch_sub(&log_waiting, l->args.len);
    tell_dropped(app);
    if (!send_log(app, &l->args))
        atomic_fetch_add(&log_dropped, 1);
    isola_buf_free(&l->args);
    free(l);
}

void agent_link_log(void *arg, enum isola_log_level level, struct isola_slice address,
                    struct isola_slice text)
{
    struct app *app = arg;
    if (atomic_load(&log_waiting) > LOG_WAITING_MAX) { /* the parcels before it tell of it */
        atomic_fetch_add(&log_dropped, 1);
        return;
    }
    struct log_parcel *l = isola_zalloc(sizeof(*l));
    l->parcel.run = run_log;
    log_args(app, &l->args, level, address, text);
    atomic_fetch_add(&log_waiting, l->args.len);
    outbox_put(app, &l->parcel);
}
