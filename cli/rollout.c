/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rollout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msg.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/code_frame.h"
#include "cli/progress.h"
#include "cli/text.h"

#define LOOK_MS    200u
#define RESTART_MS 120000u

static struct isola_slice text_of(const json_t *row, const char *key)
{
    return isola__text_of(json_object_get(row, key));
}

static uint64_t number_of(const json_t *row, const char *key)
{
    double d = json_number_value(json_object_get(row, key));
    return d >= 0 && d < 9e18 ? (uint64_t)d : 0;
}

/* --- a release --- */

struct wait {
    struct isola__cli *cli;
    struct isola__client *client;
    struct isola__progress progress;
    struct isola_slice app, release;
    uint64_t revision, until;
    bool canary;
    const char *dir;
};

/* What the agent says; NULL: nothing, and that has been told. */
static json_t *look(struct wait *w)
{
    struct isola_buf params = {0};
    struct isola_msg *answer = NULL;
    struct isola_err err;
    uint64_t now = isola_clock_ms(), left = w->until > now ? w->until - now : 1;
    isola_mp_map(&params, 2);
    isola_mp_cstr(&params, "app");
    isola_mp_str(&params, w->app);
    isola_mp_kuint(&params, "revision", w->revision);
    int rc = isola__client_call(w->client, "rollout", isola_buf_slice(&params), (uint32_t)left,
                                &answer, &err);
    isola_buf_free(&params);
    json_t *value = NULL;
    if (rc == 0 && answer->kind != ISOLA_MSG_REPLY)
        isola__progress_clear(&w->progress);
    if (rc == 0) {
        value = isola__result(w->cli, answer, NULL);
    } else {
        struct isola_err whole;
        isola__progress_clear(&w->progress);
        isola_fail(&whole, rc,
                   "release %.*s of %.*s is %s, but how it does cannot be seen any more: %.500s; "
                   "'ctl releases %.*s' says whether it has stayed",
                   ISOLA_FMT(w->release), ISOLA_FMT(w->app), w->canary ? "a canary" : "current",
                   err.text, ISOLA_FMT(w->app));
        isola__fail(w->cli, &whole);
    }
    free(answer);
    return value;
}

static void say(struct wait *w, const json_t *value)
{
    uint64_t all = number_of(value, "instances"), ready = number_of(value, "ready");
    const json_t *left = json_object_get(value, "left_ms");
    if (isola_slice_is(text_of(value, "state"), "failing"))
        isola__progress_say(&w->progress, "it has failed and is %s",
                            w->canary ? "dropped" : "rolled back");
    else if (ready < all)
        isola__progress_say(&w->progress, "%" PRIu64 " of %" PRIu64 " instances ready", ready, all);
    else if (json_is_number(left))
        isola__progress_say(&w->progress, "%s%" PRIu64 " s of its window left",
                            all > 0 ? "all instances ready, " : "",
                            (number_of(value, "left_ms") + 999) / 1000);
}

/* What was thrown, with its stack and the code around it, for people. */
static void show_error(struct wait *w, const json_t *value)
{
    struct isola_buf out = {0}, frame = {0};
    struct isola_slice error = text_of(value, "error");
    if (w->cli->options.json || error.len == 0)
        return;
    isola__text_clean(&out, text_of(value, "error_of"));
    isola_buf_puts(&out, ": ");
    isola__text_clean(&out, error);
    isola_buf_puts(&out, "\n");
    if (w->dir != NULL) {
        char *app = isola_strndup((const char *)w->app.data, w->app.len);
        isola__code_frame(w->dir, app, error, &frame);
        free(app);
    }
    isola_buf_append(&out, frame.data, frame.len);
    if (!out.failed)
        fwrite(out.data, 1, out.len, stderr);
    isola_buf_free(&frame);
    isola_buf_free(&out);
}

static void tell_failed(struct wait *w, const json_t *value)
{
    struct isola_err err;
    struct isola_slice back = text_of(value, "back");
    struct isola_slice why = isola_slice_cut(text_of(value, "why"), 800);
    const char *what = w->canary ? "canary" : "release";
    const char *how = w->canary ? "and is dropped: it is all of release" : "and release";
    if (back.len > 0)
        isola_fail(&err, ISOLA_EFAILED, "%s %.*s of %.*s has failed, %s %.*s%s again: %.*s", what,
                   ISOLA_FMT(w->release), ISOLA_FMT(w->app), how, ISOLA_FMT(back),
                   w->canary ? "" : " is current", ISOLA_FMT(why));
    else
        isola_fail(&err, ISOLA_EFAILED, "%s %.*s of %.*s has failed, and stays: %.*s", what,
                   ISOLA_FMT(w->release), ISOLA_FMT(w->app), ISOLA_FMT(why));
    isola__fail(w->cli, &err);
    show_error(w, value);
}

static void tell_replaced(struct wait *w, const json_t *value)
{
    struct isola_err err;
    struct isola_slice now = text_of(value, "release");
    bool beside = isola_slice_eq(now, w->release);
    if (w->canary && beside)
        isola_fail(&err, ISOLA_ECANCELED,
                   "canary %.*s of %.*s has been promoted, and is watched anew as the current "
                   "release ('ctl releases %.*s')",
                   ISOLA_FMT(w->release), ISOLA_FMT(w->app), ISOLA_FMT(w->app));
    else if (w->canary)
        isola_fail(&err, ISOLA_ECANCELED,
                   "canary %.*s of %.*s has ended, or has another share, by another deploy or "
                   "roll-back: release %.*s is current ('ctl releases %.*s')",
                   ISOLA_FMT(w->release), ISOLA_FMT(w->app), ISOLA_FMT(now), ISOLA_FMT(w->app));
    else if (beside)
        isola_fail(&err, ISOLA_ECANCELED,
                   "release %.*s of %.*s is current, but has not proven itself: another deploy has "
                   "ended its watch, as of a canary beside it ('ctl releases %.*s')",
                   ISOLA_FMT(w->release), ISOLA_FMT(w->app), ISOLA_FMT(w->app));
    else
        isola_fail(&err, ISOLA_ECANCELED,
                   "release %.*s of %.*s is not current any more: %.*s is, by another deploy or "
                   "roll-back ('ctl releases %.*s')",
                   ISOLA_FMT(w->release), ISOLA_FMT(w->app), ISOLA_FMT(now), ISOLA_FMT(w->app));
    isola__fail(w->cli, &err);
}

static void tell_late(struct wait *w, const json_t *value, uint64_t begun)
{
    struct isola_err err;
    uint64_t all = number_of(value, "instances"), ready = number_of(value, "ready");
    char how[100];
    if (ready < all)
        snprintf(how, sizeof(how), "%" PRIu64 " of %" PRIu64 " instances are ready", ready, all);
    else
        snprintf(how, sizeof(how), "%" PRIu64 " s of its window are left",
                 (number_of(value, "left_ms") + 999) / 1000);
    isola_fail(&err, ISOLA_ETIMEDOUT,
               "release %.*s of %.*s is %s, but has not proven itself within %g s: %s; it is "
               "watched on ('ctl releases %.*s' says whether it has stayed)",
               ISOLA_FMT(w->release), ISOLA_FMT(w->app), w->canary ? "a canary" : "current",
               (double)(w->until - begun) / 1000, how, ISOLA_FMT(w->app));
    isola__fail(w->cli, &err);
}

/* True: it goes on. `*good`: it has proven itself. */
static bool goes_on(struct wait *w, const json_t *value, uint64_t begun, bool *good)
{
    struct isola_slice state = text_of(value, "state");
    struct isola_err err;
    *good = isola_slice_is(state, "proven");
    if (isola_slice_is(state, "watched") || isola_slice_is(state, "failing")) {
        if (isola_clock_ms() + LOOK_MS < w->until) {
            say(w, value);
            if (isola__client_pause(w->client, LOOK_MS, &err) == 0)
                return true;
            isola__progress_clear(&w->progress);
            isola__fail(w->cli, &err);
            return false;
        }
        isola__progress_clear(&w->progress);
        tell_late(w, value, begun);
        return false;
    }
    isola__progress_clear(&w->progress);
    if (isola_slice_is(state, "failed"))
        tell_failed(w, value);
    else if (!*good)
        tell_replaced(w, value);
    return false;
}

bool isola__rollout_wait(struct isola__cli *cli, json_t *result, uint64_t begun, const char *dir)
{
    struct isola_err err;
    uint64_t since = isola_clock_ms();
    bool good = false;
    struct wait w = {.cli = cli,
                     .app = text_of(result, "app"),
                     .release = text_of(result, "release"),
                     .revision = number_of(result, "revision"),
                     .canary = json_object_get(result, "share") != NULL,
                     .until = begun + isola__wait_ms(cli, ISOLA__ROLLOUT_MS),
                     .dir = dir};
    if (w.revision == 0) {
        isola_fail(&err, ISOLA_EPROTO,
                   "the agent is of an older version, which watches no releases: without --wait "
                   "the same is deployed");
        isola__fail(cli, &err);
        return false;
    }
    if (isola__client_open(cli->socket, &w.client, &err) != 0) {
        isola__fail(cli, &err);
        return false;
    }
    isola__progress_begin(&w.progress, cli);
    json_t *value = NULL;
    do {
        json_decref(value);
        value = look(&w);
    } while (value != NULL && goes_on(&w, value, begun, &good));
    isola__progress_clear(&w.progress);
    isola__client_close(w.client);
    if (good) {
        json_object_set_new(value, "ms", json_integer((json_int_t)(isola_clock_ms() - since)));
        json_object_set(result, "rollout", value);
    }
    json_decref(value);
    return good;
}

/* Has the release that is a canary types which are no services? */
static bool has_actors(const json_t *result)
{
    const json_t *instances = json_object_get(result, "instances"), *type, *one;
    struct isola_slice app = text_of(result, "app");
    size_t i, k;
    json_array_foreach(json_object_get(result, "types"), i, type)
    {
        bool service = false;
        char *name = isola_format("%.*s/%.*s/", ISOLA_FMT(app), ISOLA_FMT(isola__text_of(type)));
        json_array_foreach(instances, k, one)
        {
            struct isola_slice address = text_of(one, "address");
            size_t n = strlen(name);
            service = service || (address.len > n && memcmp(address.data, name, n) == 0);
        }
        free(name);
        if (!service)
            return true;
    }
    return false;
}

void isola__rollout_line(const json_t *result, struct isola_buf *out)
{
    const json_t *value = json_object_get(result, "rollout");
    uint64_t all = number_of(value, "instances"), errors = number_of(value, "errors");
    uint64_t turns = number_of(value, "turns");
    if (value == NULL)
        return;
    isola_buf_puts(out, "  stays  ");
    bool canary = json_object_get(result, "share") != NULL;
    bool actors = canary ? has_actors(result) : all == 0 || turns > 0;
    if (all > 0)
        isola_buf_printf(out, "%" PRIu64 " instance%s ready%s", all, all == 1 ? "" : "s",
                         actors ? ", " : "");
    if (actors)
        isola_buf_printf(out, "%" PRIu64 " of %" PRIu64 " turns failed", errors, turns);
    if (canary && actors)
        isola_buf_printf(out, ", of the current release %" PRIu64 " of %" PRIu64,
                         number_of(value, "before_errors"), number_of(value, "before_turns"));
    isola_buf_printf(out, ", seen for %.1f s\n", (double)number_of(value, "ms") / 1000);
    if (canary && actors && json_object_get(value, "turns") != NULL && turns == 0 && errors == 0)
        isola_buf_puts(out, "         none of its actors was asked anything: how it does is not "
                            "known yet\n");
}

/* --- instances that are restarted --- */

static const json_t *row_of(const json_t *rows, const json_t *instance)
{
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (json_equal(json_object_get(row, "address"), json_object_get(instance, "address")) &&
            json_equal(json_object_get(row, "node"), json_object_get(instance, "node")))
            return row;
    }
    return NULL;
}

/* Told when one could not be replaced. `*done`: how many have been. */
static bool fare(struct isola__cli *cli, const json_t *instances, const json_t *before,
                 const json_t *rows, size_t *done)
{
    size_t i;
    const json_t *one;
    *done = 0;
    json_array_foreach(instances, i, one)
    {
        const json_t *row = row_of(rows, one), *old = row_of(before, one);
        struct isola_slice state = text_of(row, "state"), failure = text_of(row, "failure");
        bool other = !json_equal(json_object_get(row, "pid"), json_object_get(old, "pid"));
        if (isola_slice_is(state, "running") && other) {
            *done += 1;
        } else if (failure.len > 0 &&
                   !json_equal(json_object_get(row, "failure"), json_object_get(old, "failure"))) {
            struct isola_err err;
            isola_fail(&err, ISOLA_EFAILED, "%.*s on node %.*s: %.*s",
                       ISOLA_FMT(text_of(one, "address")), ISOLA_FMT(text_of(one, "node")),
                       ISOLA_FMT(failure));
            isola__fail(cli, &err);
            return false;
        }
    }
    return true;
}

json_t *isola__restart_rows(struct isola__cli *cli)
{
    struct isola_buf params = {0};
    const char *of = cli->options.operands[0];
    struct isola_slice app = isola_slice(of, strcspn(of, "/"));
    isola_mp_map(&params, 1);
    isola_mp_cstr(&params, "app");
    isola_mp_str(&params, app);
    return isola__call(cli, "ps", &params, ISOLA__STATUS_MS, "actors");
}

bool isola__restart_wait(struct isola__cli *cli, const json_t *instances, const json_t *before)
{
    struct isola__progress progress;
    struct isola__client *client = NULL;
    struct isola_err err;
    uint64_t until = isola_clock_ms() + isola__wait_ms(cli, RESTART_MS);
    size_t n = json_array_size(instances), done = 0;
    bool good = true;
    isola__progress_begin(&progress, cli);
    int rc = isola__client_open(cli->socket, &client, &err);
    while (rc == 0 && good && done < n) {
        json_t *value = isola__restart_rows(cli);
        isola__progress_clear(&progress);
        good = value != NULL && fare(cli, instances, json_object_get(before, "actors"),
                                     json_object_get(value, "actors"), &done);
        json_decref(value);
        if (!good || done == n)
            break;
        isola__progress_say(&progress, "%zu of %zu instances replaced", done, n);
        if (isola_clock_ms() + LOOK_MS >= until)
            rc = isola_fail(&err, ISOLA_ETIMEDOUT,
                            "%zu of %zu instances were replaced in time; it goes on ('ctl ps')",
                            done, n);
        else
            rc = isola__client_pause(client, LOOK_MS, &err);
    }
    isola__progress_clear(&progress);
    if (client != NULL)
        isola__client_close(client);
    if (rc != 0)
        isola__fail(cli, &err);
    return rc == 0 && good;
}
