/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/rollout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgpack.h"
#include "node-agent/agent.h"
#include "node-agent/rollout_judge.h"
#include "node-agent/rollout_poll.h"

#define TICK_MS     250
#define RETRY_MS    1000
#define INSIST_MS   60000 /* for so long a roll-back that is refused is tried again */
#define SLACK_MS    60000 /* after its time a release that nobody has spoken of has proven itself */
#define MESSAGE_MAX (ISOLA_RELEASE_MESSAGE_MAX - 100)

enum trial_state { OPEN, PROVEN, FAILED };

/* How a revision that was watched has ended. */
struct outcome {
    uint64_t revision;                /* 0: none */
    char back[ISOLA_RELEASE_ID_SIZE]; /* what is current instead, by itself; "": nothing is */
    struct isola__verdict verdict;
};

struct isola__trial {
    struct isola__rollouts *rollouts;
    char *app;
    uint64_t revision;
    char release[ISOLA_RELEASE_ID_SIZE];
    enum trial_state state;
    struct isola_manifest_rollout settings;
    bool judged;                       /* it may fail: else it is only seen whether it begins */
    bool canary;                       /* it is tried beside `good`, which is current */
    bool found;                        /* as the agent started: what was before is not known */
    bool mine;                         /* this node watches it */
    bool polling, rolling, attempting; /* rolling: it is to be gone back */
    bool unproven;                     /* what it replaced was watched still, or had failed */
    bool holds;                        /* the directory of `good` */
    uint64_t since_ms, rolling_ms, retry_ms;
    char good[ISOLA_RELEASE_ID_SIZE]; /* what it would go back to; "": what `ctl rollback` does */
    char fallback[ISOLA_RELEASE_ID_SIZE]; /* and that one, which was watched; "": nothing */
    struct isola__measure before;         /* of this node's actors, the most that was seen */
    struct isola__standing standing;      /* by the last poll */
    struct isola__verdict verdict;        /* FAILED: why */
    struct outcome last;                  /* of a revision before it */
};

static struct isola__trial *find(const struct isola__rollouts *rollouts, const char *app)
{
    return isola_map_get(&rollouts->trials, isola_slice_str(app));
}

static void let_go(struct isola__trial *t)
{
    struct isola__agent *agent = t->rollouts->agent;
    if (!t->holds)
        return;
    t->holds = false;
    isola__packages_let_go(&agent->packages, t->app, t->good);
    isola__services_sweep(&agent->services, t->app);
}

static void trial_free(struct isola__trial *t)
{
    if (t == NULL)
        return;
    let_go(t);
    isola__verdict_free(&t->verdict);
    isola__verdict_free(&t->last.verdict);
    isola__standing_free(&t->standing);
    free(t->app);
    free(t);
}

/* --- its end --- */

static void tell_proven(struct isola__trial *t)
{
    struct isola__agent *agent = t->rollouts->agent;
    struct isola_buf params = {0};
    isola_mp_map(&params, 2);
    isola_mp_kstr(&params, "app", t->app);
    isola_mp_kuint(&params, "revision", t->revision);
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next) {
        struct isola__conn *conn = isola__member_conn(m);
        if (conn != NULL)
            (void)isola__emit(conn, "proven", isola_buf_slice(&params));
    }
    isola_buf_free(&params);
}

static void prove(struct isola__trial *t)
{
    t->state = PROVEN;
    t->mine = false;
    let_go(t);
}

static void attempt(struct isola__trial *t);

struct attempt {
    struct isola__rollouts *rollouts;
    char *app;
    uint64_t revision;
};

static void attempted(void *arg, int code, const char *why)
{
    struct attempt *a = arg;
    struct isola__trial *t = find(a->rollouts, a->app);
    uint64_t now = isola_clock_ms();
    if (t != NULL && t->revision == a->revision && code != 0) { /* else another is current */
        bool first = t->retry_ms == 0;
        t->attempting = false;
        t->retry_ms = now + RETRY_MS;
        bool over = code == ISOLA_ENOENT || now - t->rolling_ms > INSIST_MS;
        t->rolling = !over;
        if (over) {
            if (code == ISOLA_ENOENT)
                isola__verdict_add(&t->verdict, "; there is no release before it to go back to",
                                   "");
            else
                isola__verdict_add(&t->verdict, "; it could not be rolled back: ", why);
            let_go(t);
        }
        if (code == ISOLA_ENOENT && !t->canary)
            isola_log(ISOLA_LOG_WARN,
                      "release %s of %s stays: there is none before it to go back to", t->release,
                      t->app);
        else if (over || first)
            isola_log(ISOLA_LOG_WARN, "%s %s of %s cannot be rolled back%s: %s",
                      t->canary ? "canary" : "release", t->release, t->app, over ? "" : " now",
                      why);
    }
    free(a->app);
    free(a);
}

static void attempt(struct isola__trial *t)
{
    struct isola__agent *agent = t->rollouts->agent;
    struct attempt *a = isola_zalloc(sizeof(*a));
    *a = (struct attempt){t->rollouts, isola_strdup(t->app), t->revision};
    char *by = isola_format("isola@%s", agent->opt.name);
    struct isola_slice said = isola_slice_str(t->verdict.why);
    said = isola_slice_cut(said, MESSAGE_MAX);
    char *message = isola_format("by itself: %.*s", ISOLA_FMT(said));
    t->attempting = true;
    /* A canary goes as by `ctl rollback`: what it is tried beside stays. */
    isola__deploy_back(agent, t->app, t->canary ? "" : t->good, t->revision, by, message, attempted,
                       a);
    free(message);
    free(by);
}

/* Takes what the verdict holds. */
static void fail(struct isola__trial *t, struct isola__verdict *verdict)
{
    t->state = FAILED;
    t->verdict = *verdict;
    *verdict = (struct isola__verdict){0};
    t->rolling = t->judged && t->settings.rollback;
    const char *what = t->canary ? "canary" : "release";
    if (t->rolling) {
        isola_log(ISOLA_LOG_ERROR, "%s %s of %s has failed, to be %s: %s", what, t->release, t->app,
                  t->canary ? "dropped" : "rolled back", t->verdict.why);
        t->rolling_ms = isola_clock_ms();
        t->retry_ms = 0;
        attempt(t);
        return;
    }
    isola_log(ISOLA_LOG_WARN, "%s %s of %s has failed, and stays%s: %s", what, t->release, t->app,
              t->judged ? " as its manifest says (\"rollout\")" : "", t->verdict.why);
    let_go(t);
}

/* --- watching --- */

static void polled(struct isola__agent *agent, const char *app, uint64_t revision,
                   const struct isola__rollout_report *reports, size_t n)
{
    struct isola__trial *t = find(&agent->rollouts, app);
    struct isola__verdict verdict = {0};
    if (t == NULL || t->revision != revision)
        return;
    t->polling = false;
    if (t->state != OPEN || agent->state != ISOLA_AGENT_READY)
        return;
    struct isola__judged j = {.app = t->app,
                              .revision = revision,
                              .settings = &t->settings,
                              .errors_count = t->judged,
                              .canary = t->canary,
                              .age_ms = isola_clock_ms() - t->since_ms,
                              .before = &t->before};
    isola__standing_free(&t->standing);
    enum isola__judgement what = isola__rollout_judge(&j, reports, n, &t->standing, &verdict);
    if (what == ISOLA__ROLLOUT_FAILED) {
        fail(t, &verdict);
    } else if (t->standing.proven || what == ISOLA__ROLLOUT_PROVEN) {
        if (t->judged && !t->standing.proven)
            isola_log(ISOLA_LOG_INFO, "%s %s of %s has proven itself",
                      t->canary ? "canary" : "release", t->release, t->app);
        prove(t);
        tell_proven(t);
    } else if (t->standing.watcher != NULL && strcmp(t->standing.watcher, agent->opt.name) < 0) {
        t->mine = false; /* one is enough */
    }
    isola__verdict_free(&verdict);
}

/* Is the agent that committed this revision live, and not this one? */
static bool owner_is_live(const struct isola__agent *agent, uint64_t revision)
{
    bool live = false;
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next)
        live = live ||
               (isola__member_conn(m) != NULL && isola__releases_made_by(revision, m->record.name));
    return live;
}

static bool sorts_first(const struct isola__agent *agent)
{
    bool first = true;
    for (struct isola__member *m = agent->members.first; m != NULL; m = m->next)
        first =
            first && (isola__member_conn(m) == NULL || strcmp(agent->opt.name, m->record.name) < 0);
    return first;
}

static void look(struct isola__trial *t, uint64_t now)
{
    struct isola__agent *agent = t->rollouts->agent;
    if (t->state == FAILED && t->rolling && !t->attempting && now >= t->retry_ms)
        attempt(t);
    if (t->state != OPEN)
        return;
    if (!t->mine && !owner_is_live(agent, t->revision) && sorts_first(agent))
        t->mine = true;
    if (t->mine && !t->polling) {
        t->polling = true;
        isola__rollout_poll(agent, t->app, t->revision, polled);
    } else if (!t->mine &&
               now - t->since_ms > t->settings.deadline_ms + t->settings.window_ms + SLACK_MS) {
        prove(t);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct isola__rollouts *rollouts = timer->data;
    uint64_t now = isola_clock_ms();
    bool any = false;
    if (rollouts->agent->state != ISOLA_AGENT_READY)
        return;
    ISOLA_MAP_EACH(&rollouts->trials, e)
    {
        struct isola__trial *t = e->value;
        any = any || t->state == OPEN || t->rolling;
        look(t, now); /* puts no release before another turn of the loop */
    }
    if (!any) {
        uv_timer_stop(timer);
        rollouts->ticking = false;
    }
}

static void begin_ticking(struct isola__rollouts *rollouts)
{
    if (rollouts->ticking || !rollouts->open)
        return;
    uv_update_time(&rollouts->agent->loop);
    int rc = uv_timer_start(&rollouts->tick, on_tick, TICK_MS, TICK_MS);
    ISOLA_CHECK(rc == 0);
    rollouts->ticking = true;
}

/* --- what becomes current --- */

/* What is new of what is put: the canary, when there is one. */
static const struct isola_release *tried(const struct isola_release *r)
{
    return r->candidate != NULL ? r->candidate : r;
}

static struct isola__trial *trial_new(struct isola__rollouts *rollouts,
                                      const struct isola_release *r)
{
    struct isola_manifest *m = NULL;
    struct isola_err err;
    struct isola__trial *t = isola_zalloc(sizeof(*t));
    t->rollouts = rollouts;
    t->app = isola_strdup(r->app);
    t->revision = r->revision;
    t->canary = r->candidate != NULL;
    memcpy(t->release, tried(r)->id, sizeof(t->release));
    t->since_ms = isola_clock_ms();
    if (isola_manifest_parse(tried(r)->manifest, r->app, &m, &err) == 0)
        t->settings = m->rollout;
    else
        t->state = PROVEN; /* another version of Isola took it */
    isola_manifest_free(m);
    return t;
}

static void id_copy(char to[ISOLA_RELEASE_ID_SIZE], const char *from)
{
    snprintf(to, ISOLA_RELEASE_ID_SIZE, "%s", from);
}

/* Has what was current in the time of `prev` not proven itself? Beside a canary that has, it has
 * stood as well. */
static bool left_unproven(const struct isola__trial *prev)
{
    return prev != NULL && prev->state != PROVEN &&
           (prev->canary ? prev->unproven : prev->good[0] != '\0');
}

/* `prev`: what was watched before it, or NULL. */
static void place(struct isola__trial *t, const struct isola_release *r,
                  const struct isola__current *before, const struct isola__trial *prev)
{
    /* The release that was current: a canary of it has ended. */
    bool again = before != NULL && strcmp(before->id, tried(r)->id) == 0;
    if (r->restores == 0 && tried(r)->link == NULL && !again) {
        t->judged = true;
        t->unproven = left_unproven(prev);
        id_copy(t->good, before != NULL ? before->id : "");
        if (t->unproven)
            id_copy(t->fallback, prev->canary ? prev->fallback : prev->good);
    } else if ((r->restores != 0 || again) && prev != NULL && prev->fallback[0] != '\0' &&
               strcmp(r->id, prev->good) == 0) { /* its own watch was cut short */
        t->judged = t->unproven = true;
        id_copy(t->good, prev->fallback);
    } else {
        t->settings.window_ms = 0;
    }
    if (t->good[0] != '\0' && t->state == OPEN) {
        t->holds = true;
        isola__packages_hold(&t->rollouts->agent->packages, t->app, t->good);
    }
}

void isola__rollout_put(struct isola__rollouts *rollouts, const struct isola_release *r,
                        const struct isola__current *before)
{
    struct isola__trial *prev = find(rollouts, r->app), *t = trial_new(rollouts, r);
    place(t, r, before, prev);
    if (prev != NULL && prev->state == FAILED) {
        t->last.revision = prev->revision;
        t->last.verdict = prev->verdict;
        prev->verdict = (struct isola__verdict){0};
        id_copy(t->last.back, r->restores != 0 ? r->id : "");
    }
    if (t->unproven && prev != NULL && !prev->canary && !t->canary)
        t->before = prev->before;
    trial_free(isola_map_set(&rollouts->trials, isola_slice_str(r->app), t));
    begin_ticking(rollouts);
}

void isola__rollout_found(struct isola__rollouts *rollouts, const struct isola_release *r)
{
    int64_t age = isola_clock_wall_ms() - r->deployed_ms;
    if (r->restores != 0 || tried(r)->link != NULL)
        return;
    struct isola__trial *t = trial_new(rollouts, r);
    if (t->state != OPEN || age < 0 || (uint64_t)age >= t->settings.window_ms) {
        trial_free(t);
        return;
    }
    t->judged = t->found = true;
    trial_free(isola_map_set(&rollouts->trials, isola_slice_str(r->app), t));
}

void isola__rollout_watch(struct isola__rollouts *rollouts, const char *app)
{
    struct isola__trial *t = find(rollouts, app);
    if (t == NULL)
        return;
    t->mine = true;
    look(t, isola_clock_ms());
}

void isola__rollout_gone(struct isola__rollouts *rollouts, const char *app)
{
    trial_free(isola_map_del(&rollouts->trials, isola_slice_str(app)));
}

bool isola__rollout_unproven(struct isola__rollouts *rollouts, const char *app)
{
    const struct isola__trial *t = find(rollouts, app);
    return t != NULL && t->unproven;
}

bool isola__rollout_watches(struct isola__rollouts *rollouts, const char *app)
{
    const struct isola__trial *t = find(rollouts, app);
    return t != NULL && t->mine && t->state == OPEN;
}

bool isola__rollout_in_window(struct isola__rollouts *rollouts, const char *app)
{
    const struct isola__trial *t = find(rollouts, app);
    return t != NULL && t->judged && !t->canary && t->state == OPEN &&
           (t->good[0] != '\0' || t->found);
}

bool isola__rollout_is_proven(struct isola__rollouts *rollouts, const char *app)
{
    const struct isola__trial *t = find(rollouts, app);
    return t != NULL && t->state == PROVEN;
}

void isola__rollouts_init(struct isola__rollouts *rollouts, struct isola__agent *agent)
{
    rollouts->agent = agent;
    int rc = uv_timer_init(&agent->loop, &rollouts->tick);
    ISOLA_CHECK(rc == 0);
    rollouts->tick.data = rollouts;
    rollouts->open = true;
    if (rollouts->trials.count > 0)
        begin_ticking(rollouts);
}

void isola__rollouts_close(struct isola__rollouts *rollouts)
{
    if (rollouts->open)
        uv_close((uv_handle_t *)&rollouts->tick, NULL);
    rollouts->open = false;
}

void isola__rollouts_free(struct isola__rollouts *rollouts)
{
    ISOLA_MAP_EACH(&rollouts->trials, e)
    trial_free(e->value);
    isola_map_free(&rollouts->trials);
}

/* --- methods --- */

static const char *state_name(const struct isola__trial *t)
{
    return t->state == OPEN     ? "watched"
           : t->state == PROVEN ? "proven"
           : t->rolling         ? "failing"
                                : "failed";
}

static void put_verdict(const struct isola__verdict *v, const char *back, struct isola_buf *out)
{
    isola_mp_kstr(out, "why", v->why);
    isola_mp_kstr(out, "error_of", v->error_of != NULL ? v->error_of : "");
    isola_mp_kstr(out, "error", v->error != NULL ? v->error : "");
    isola_mp_cstr(out, "back");
    if (back[0] != '\0')
        isola_mp_cstr(out, back);
    else
        isola_mp_nil(out);
}

static void put_standing(const struct isola__trial *t, struct isola_buf *out)
{
    const struct isola__standing *s = &t->standing;
    isola_mp_kuint(out, "instances", s->instances);
    isola_mp_kuint(out, "ready", s->ready);
    isola_mp_kuint(out, "turns", s->turns);
    isola_mp_kuint(out, "errors", s->errors);
    isola_mp_kuint(out, "before_turns", s->before.turns);
    isola_mp_kuint(out, "before_errors", s->before.errors);
    isola_mp_cstr(out, "left_ms");
    if (s->all_ready)
        isola_mp_uint(out, s->left_ms);
    else
        isola_mp_nil(out);
    isola_mp_cstr(out, "nodes");
    isola_mp_array(out, s->n);
    isola_buf_append(out, s->nodes.data, s->nodes.len);
}

static void describe(struct isola__rollouts *rollouts, const char *app, uint64_t wanted,
                     const struct isola__current *current, struct isola_buf *out)
{
    const struct isola__trial *t = find(rollouts, app);
    uint64_t revision = wanted != 0 ? wanted : current->revision;
    bool now = revision == current->revision;
    bool last = t != NULL && t->last.revision == revision;
    bool standing = now && t != NULL && t->revision == revision;
    bool failed = last || (standing && t->state == FAILED);
    const char *state = last ? "failed" : standing ? state_name(t) : now ? "proven" : "replaced";
    isola_mp_map(out, 4 + (failed ? 4 : 0) + (standing ? 8 : 0));
    isola_mp_kstr(out, "app", app);
    isola_mp_kstr(out, "release", current->id);
    isola_mp_kuint(out, "revision", revision);
    isola_mp_kstr(out, "state", state);
    if (failed)
        put_verdict(last ? &t->last.verdict : &t->verdict, last ? t->last.back : "", out);
    if (standing)
        put_standing(t, out);
}

/* NULL: the asker has been told why. The caller frees. */
static char *read_app(struct isola__conn *from, const struct isola_msg *m,
                      struct isola_slice params)
{
    struct isola_slice app;
    if (!isola_mp_find_str(params, "app", &app) || app.len == 0 || app.len > 64 ||
        memchr(app.data, 0, app.len) != NULL) {
        isola__fail(from, m->id, ISOLA_EINVAL, "rollout: \"app\" is missing or no app's name");
        return NULL;
    }
    return isola_strndup((const char *)app.data, app.len);
}

void isola__rollout(struct isola__conn *from, const struct isola_msg *m, struct isola_slice params)
{
    struct isola__agent *agent = from->agent;
    struct isola_buf out = {0};
    uint64_t revision = 0;
    char *app = read_app(from, m, params);
    if (app == NULL)
        return;
    (void)isola_mp_find_uint(params, "revision", &revision);
    const struct isola__current *current = isola__releases_current(&agent->releases, app);
    if (current == NULL) {
        isola__fail(from, m->id, ISOLA_ENOENT, "no app \"%s\" is deployed", app);
    } else {
        describe(&agent->rollouts, app, revision, current, &out);
        isola__reply_buf(from, m->id, &out);
    }
    free(app);
}

void isola__rollout_peer(struct isola__conn *from, const struct isola_msg *m,
                         struct isola_slice params)
{
    char *app = read_app(from, m, params);
    if (app != NULL)
        isola__rollout_answer(from, m->id, app);
    free(app);
}

void isola__rollout_proven(struct isola__conn *from, const struct isola_msg *m,
                           struct isola_slice params)
{
    struct isola_slice app;
    uint64_t revision;
    (void)m;
    if (!isola_mp_find_str(params, "app", &app) ||
        !isola_mp_find_uint(params, "revision", &revision))
        return;
    struct isola__trial *t = isola_map_get(&from->agent->rollouts.trials, app);
    if (t != NULL && t->revision == revision && t->state == OPEN)
        prove(t);
}
