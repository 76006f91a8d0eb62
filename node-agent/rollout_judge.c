/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/rollout_judge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/msgpack.h"

#define WORSE    2.0 /* than the release before, so many times */
#define LATE_MAX 200

/* At the beginning of a canary so many times as many turns have to fail, while what it is compared
 * with has had fewer turns than that: it may fail as often, and just not have been asked yet. */
#define UNSURE   4u
#define YOUNG_MS 5000

/* Of a service with a canary, on all nodes together: how often its instances ended by themselves or
 * did not begin. */
struct ends {
    struct isola_slice type;
    uint64_t of, crashes;            /* instances of the canary */
    uint64_t beside, beside_crashes; /* those of the current release, in the same time */
    char trouble[900];               /* the first of the canary's, or "" */
};

/* What is gathered of all reports. */
struct sum {
    struct isola__judged *j;
    struct isola__standing *standing;
    uint64_t healthy_ms; /* for how long all services are ready */
    char trouble[900];   /* the first, or "" */
    struct ends *ends;   /* of a canary: nends of them, owned */
    size_t nends;
    char late[LATE_MAX]; /* a service that is not ready, or "" */
    struct isola__measure now, before;
    struct isola_slice first_of, first;
};

void isola__verdict_free(struct isola__verdict *v)
{
    free(v->error_of);
    free(v->error);
    *v = (struct isola__verdict){0};
}

void isola__verdict_add(struct isola__verdict *v, const char *what, const char *more)
{
    size_t n = strlen(v->why);
    snprintf(v->why + n, sizeof(v->why) - n, "%s%s", what, more);
}

void isola__standing_free(struct isola__standing *s)
{
    free(s->watcher);
    isola_buf_free(&s->nodes);
    *s = (struct isola__standing){0};
}

static struct isola_slice first_line(struct isola_slice s)
{
    const uint8_t *end = s.len > 0 ? memchr(s.data, '\n', s.len) : NULL;
    return end != NULL ? isola_slice(s.data, (size_t)(end - s.data)) : s;
}

static uint64_t number(struct isola_slice map, const char *key, uint64_t otherwise)
{
    uint64_t v = otherwise;
    (void)isola_mp_find_uint(map, key, &v);
    return v;
}

/* --- one node --- */

static struct ends *ends_of(struct sum *s, struct isola_slice type)
{
    for (size_t i = 0; i < s->nends; i++)
        if (isola_slice_eq(s->ends[i].type, type))
            return &s->ends[i];
    s->ends = isola_realloc(s->ends, (s->nends + 1) * sizeof(*s->ends));
    s->ends[s->nends] = (struct ends){.type = type};
    return &s->ends[s->nends++];
}

static void add_ends(struct sum *s, struct isola_slice row, struct isola_slice type,
                     const char *trouble, bool troubled)
{
    struct ends *e = ends_of(s, type);
    e->of += number(row, "of", 0);
    e->beside += number(row, "beside", 0);
    e->beside_crashes += number(row, "beside_crashes", 0);
    if (troubled || trouble[0] == '\0')
        return;
    uint64_t crashes = number(row, "crashes", 1);
    e->crashes += crashes > 0 ? crashes : 1;
    if (e->trouble[0] == '\0')
        snprintf(e->trouble, sizeof(e->trouble), "%s", trouble);
}

static void add_service(struct sum *s, const char *node, struct isola_slice row,
                        uint64_t *instances, uint64_t *ready)
{
    struct isola_slice type = {0}, trouble = {0};
    bool troubled = false;
    uint64_t of = number(row, "of", 0), done = number(row, "ready", 0);
    uint64_t since = number(row, "ready_ms", UINT64_MAX);
    (void)isola_mp_find_str(row, "type", &type);
    (void)isola_mp_find_str(row, "trouble", &trouble);
    (void)isola_mp_find_bool(row, "troubled", &troubled);
    *instances += of;
    *ready += done;
    if (done < of) {
        s->standing->all_ready = false;
        if (s->late[0] == '\0')
            snprintf(s->late, sizeof(s->late), "%s/%.*s on node %s: %" PRIu64 " of %" PRIu64,
                     s->j->app, (int)(type.len < 64 ? type.len : 64), (const char *)type.data, node,
                     done, of);
    } else if (since < s->healthy_ms) {
        s->healthy_ms = since;
    }
    trouble = isola_slice_cut(first_line(trouble), 700);
    char said[sizeof(s->trouble)] = "";
    if (trouble.len > 0)
        snprintf(said, sizeof(said), "on node %s, %.*s", node, ISOLA_FMT(trouble));
    if (s->j->canary)
        add_ends(s, row, type, said, troubled);
    else if (!troubled && s->trouble[0] == '\0')
        memcpy(s->trouble, said, sizeof(said));
}

static void add_tally(struct sum *s, struct isola_slice tally, bool own)
{
    struct isola__measure before = {number(tally, "before_turns", 0),
                                    number(tally, "before_errors", 0)};
    struct isola_slice first = {0};
    s->now.turns += number(tally, "turns", 0);
    s->now.errors += number(tally, "errors", 0);
    if (own && before.turns >= s->j->before->turns)
        *s->j->before = before;
    else if (own)
        before = *s->j->before;
    s->before.turns += before.turns;
    s->before.errors += before.errors;
    (void)isola_mp_find_str(tally, "first", &first);
    if (s->first.len == 0 && first.len > 0) {
        s->first = first;
        (void)isola_mp_find_str(tally, "first_of", &s->first_of);
    }
}

static void add_report(struct sum *s, const struct isola__rollout_report *report, bool own)
{
    struct isola__standing *standing = s->standing;
    struct isola_slice services, row, tally = {0};
    uint64_t instances = 0, ready = 0;
    bool watching = false, proven = false;
    bool has = number(report->value, "revision", 0) == s->j->revision;
    if (has && isola_mp_find(report->value, "services", &services))
        for (size_t i = 0; i < ISOLA_MANIFEST_TYPES && isola_mp_at(services, i, &row); i++)
            add_service(s, report->node, row, &instances, &ready);
    if (has) {
        (void)isola_mp_find(report->value, "tally", &tally);
        add_tally(s, tally, own);
        (void)isola_mp_find_bool(report->value, "watching", &watching);
        (void)isola_mp_find_bool(report->value, "proven", &proven);
    }
    standing->instances += instances;
    standing->ready += ready;
    standing->proven = standing->proven || (proven && !own);
    if (watching && !own &&
        (standing->watcher == NULL || strcmp(report->node, standing->watcher) < 0)) {
        free(standing->watcher);
        standing->watcher = isola_strdup(report->node);
    }
    isola_mp_map(&standing->nodes, 4);
    isola_mp_kstr(&standing->nodes, "node", report->node);
    isola_mp_kbool(&standing->nodes, "has", has);
    isola_mp_kuint(&standing->nodes, "instances", instances);
    isola_mp_kuint(&standing->nodes, "ready", ready);
    standing->n++;
}

/* --- all of them --- */

static double rate(const struct isola__measure *m)
{
    uint64_t of = m->turns > m->errors ? m->turns : m->errors; /* what never began has no turn */
    return of > 0 ? (double)m->errors / (double)of : 0;
}

/* Do more turns fail than may, and more than before? */
static bool too_many(const struct sum *s)
{
    const struct isola_manifest_rollout *r = s->j->settings;
    double now = rate(&s->now);
    uint64_t sure = (uint64_t)UNSURE * r->min_errors;
    bool young = s->j->canary && s->j->age_ms < YOUNG_MS && s->standing->left_ms > 0;
    uint64_t enough = young && s->before.turns < sure ? sure : r->min_errors;
    return s->j->errors_count && s->now.errors >= enough && now * 10000 > r->errors &&
           now > WORSE * rate(&s->before);
}

/* Do instances of the canary end more often than those beside it, each for itself? */
static void compare_ends(struct sum *s)
{
    for (size_t i = 0; i < s->nends && s->trouble[0] == '\0'; i++) {
        const struct ends *e = &s->ends[i];
        double now = e->of > 0 ? (double)e->crashes / (double)e->of : 0;
        double beside = e->beside > 0 ? (double)e->beside_crashes / (double)e->beside : 0;
        if (now <= WORSE * beside)
            continue;
        memcpy(s->trouble, e->trouble, sizeof(s->trouble));
        size_t n = strlen(s->trouble);
        if (e->beside_crashes > 0)
            snprintf(s->trouble + n, sizeof(s->trouble) - n,
                     " (%" PRIu64 " times with %" PRIu64
                     " instance%s, of the current release meanwhile "
                     "%" PRIu64 " times with %" PRIu64 ")",
                     e->crashes, e->of, e->of == 1 ? "" : "s", e->beside_crashes, e->beside);
    }
}

static void explain_errors(const struct sum *s, struct isola__verdict *v)
{
    const struct isola__measure *m = &s->now;
    struct isola_slice line = isola_slice_cut(first_line(s->first), 600);
    uint64_t of = m->turns > m->errors ? m->turns : m->errors;
    char before[80] = "";
    if (s->before.turns > 0)
        snprintf(before, sizeof(before), ", of the %s %.2g%%",
                 s->j->canary ? "current release meanwhile" : "release before",
                 100 * rate(&s->before));
    snprintf(v->why, sizeof(v->why),
             "%" PRIu64 " of %" PRIu64 " turns of its actors failed (%.3g%%%s)", m->errors, of,
             100 * rate(m), before);
    if (s->first.len == 0)
        return;
    v->error_of = isola_strndup((const char *)s->first_of.data, s->first_of.len);
    v->error = isola_strndup((const char *)s->first.data, s->first.len);
    size_t n = strlen(v->why);
    snprintf(v->why + n, sizeof(v->why) - n, ", first %.*s: %.*s",
             ISOLA_FMT(isola_slice_cut(s->first_of, 200)), ISOLA_FMT(line));
}

enum isola__judgement isola__rollout_judge(struct isola__judged *j,
                                           const struct isola__rollout_report *reports, size_t n,
                                           struct isola__standing *standing,
                                           struct isola__verdict *verdict)
{
    struct sum s = {.j = j, .standing = standing, .healthy_ms = UINT64_MAX};
    uint64_t window = j->settings->window_ms;
    standing->all_ready = true;
    for (size_t i = 0; i < n; i++)
        add_report(&s, &reports[i], i == 0);
    compare_ends(&s);
    free(s.ends);
    standing->turns = s.now.turns;
    standing->errors = s.now.errors;
    standing->before = s.before;
    uint64_t passed = j->age_ms < s.healthy_ms ? j->age_ms : s.healthy_ms;
    standing->left_ms = passed < window ? window - passed : 0;
    if (s.trouble[0] != '\0')
        isola__verdict_add(verdict, s.trouble, "");
    else if (too_many(&s))
        explain_errors(&s, verdict);
    else if (!standing->all_ready && j->age_ms > j->settings->deadline_ms)
        snprintf(verdict->why, sizeof(verdict->why),
                 "not all services were ready within %g s (\"deadline\" of \"rollout\"): %s "
                 "instances are",
                 (double)j->settings->deadline_ms / 1000, s.late);
    if (verdict->why[0] != '\0')
        return ISOLA__ROLLOUT_FAILED;
    return standing->all_ready && standing->left_ms == 0 ? ISOLA__ROLLOUT_PROVEN
                                                         : ISOLA__ROLLOUT_OPEN;
}
