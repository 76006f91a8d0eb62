/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl releases: which release of an app was current when; ctl rollback: an earlier one is again;
 * ctl promote: the canary is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/deploy.h"
#include "cli/rollout.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/when.h"

#define ROLLBACK_MS 120000u
#define HOW         24 /* bytes, of how a release became what it is */

static struct isola_slice text_of(const json_t *row, const char *key)
{
    return isola__text_of(json_object_get(row, key));
}

static uint64_t number_of(const json_t *row, const char *key)
{
    double d = json_number_value(json_object_get(row, key));
    return d >= 0 && d < 9e15 ? (uint64_t)d : 0;
}

/* --- releases --- */

static void add(struct isola__table *t, struct isola_slice text)
{
    isola__table_add(t, text, ISOLA__PLAIN);
}

static void add_when(struct isola__cli *cli, struct isola__table *t, const json_t *row)
{
    struct isola_buf cell = {0};
    isola__when_write(&cell, (int64_t)number_of(row, "deployed_ms"), cli->options.utc);
    add(t, isola_buf_slice(&cell));
    isola_buf_free(&cell);
}

static void show_apps(struct isola__cli *cli, const json_t *apps)
{
    static const struct isola__column columns[] = {{"APP", ISOLA__WORD},
                                                   {"RELEASE", ISOLA__WORD},
                                                   {"SINCE", ISOLA__WORD},
                                                   {"BY", ISOLA__WORD},
                                                   {"MESSAGE", ISOLA__LONG}};
    struct isola__table t;
    struct isola_buf out = {0};
    size_t i;
    const json_t *row;
    if (json_array_size(apps) == 0) {
        isola_buf_puts(&out, "no app is deployed\n");
        isola__out(cli, &out);
        return;
    }
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(apps, i, row)
    {
        isola__table_add(&t, text_of(row, "app"), ISOLA__BOLD);
        add(&t, text_of(row, "release"));
        add_when(cli, &t, row);
        add(&t, text_of(row, "by"));
        add(&t, text_of(row, "message"));
    }
    isola__table_print(&t, cli->width, cli->colour, &out);
    isola__table_free(&t);
    isola__out(cli, &out);
}

/* "deploy"; "roll-back"; "canary 10%"; "promote", of a release that was a canary just before. */
static void how(const json_t *deploys, size_t i, char out[HOW])
{
    const json_t *row = json_array_get(deploys, i), *before = json_array_get(deploys, i + 1);
    uint64_t share = number_of(row, "share");
    bool promoted = number_of(before, "share") != 0 &&
                    isola_slice_eq(text_of(before, "release"), text_of(row, "release"));
    if (share != 0)
        snprintf(out, HOW, "canary %g%%", (double)share / 1e4);
    else
        snprintf(out, HOW, "%s",
                 number_of(row, "restores") != 0 ? "roll-back"
                 : promoted                      ? "promote"
                                                 : "deploy");
}

/* What a deploy is now: "current"; "canary"; or nothing any more. */
static const char *what_now(const json_t *value, size_t i, const json_t *row, bool *seen)
{
    bool canary = number_of(row, "share") != 0;
    if (canary)
        return i == 0 && text_of(value, "canary").len > 0 ? "canary" : "";
    bool first = !*seen;
    *seen = true;
    return first ? "current" : "";
}

static void show_deploys(struct isola__cli *cli, const json_t *value)
{
    static const struct isola__column columns[] = {
        {"RELEASE", ISOLA__WORD}, {"", ISOLA__WORD},   {"WHEN", ISOLA__WORD},
        {"HOW", ISOLA__WORD},     {"BY", ISOLA__WORD}, {"MESSAGE", ISOLA__LONG}};
    struct isola__table t;
    struct isola_buf out = {0};
    size_t i;
    const json_t *row;
    struct isola_slice back = text_of(value, "back"), canary = text_of(value, "canary");
    const json_t *deploys = json_object_get(value, "deploys");
    char way[HOW];
    bool seen = false;
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(deploys, i, row)
    {
        add(&t, text_of(row, "release"));
        isola__table_add(&t, isola_slice_str(what_now(value, i, row, &seen)), ISOLA__GOOD);
        add_when(cli, &t, row);
        how(deploys, i, way);
        add(&t, isola_slice_str(way));
        add(&t, text_of(row, "by"));
        add(&t, text_of(row, "message"));
    }
    isola__table_print(&t, cli->width, cli->colour, &out);
    isola__table_free(&t);
    isola__deploy_instances(value, "the canary has ", &out);
    if (canary.len > 0)
        isola_buf_printf(&out, "'ctl promote %s' makes the canary current, ",
                         cli->options.operands[0]);
    if (back.len > 0) {
        isola_buf_printf(&out, "'ctl rollback %s' goes back to ", cli->options.operands[0]);
        isola__text_clean(&out, back);
        isola_buf_puts(&out, "\n");
    }
    isola__out(cli, &out);
}

void isola__run_releases(struct isola__cli *cli)
{
    const char *app = cli->options.noperands > 0 ? cli->options.operands[0] : NULL;
    struct isola_buf params = {0};
    if (app != NULL && !isola__check_app(cli, app))
        return;
    isola_mp_map(&params, app != NULL);
    if (app != NULL)
        isola_mp_kstr(&params, "app", app);
    json_t *value =
        isola__call(cli, "releases", &params, ISOLA__STATUS_MS, app != NULL ? "deploys" : "apps");
    if (value == NULL)
        return;
    if (cli->options.json)
        isola__out_json(cli, value, false);
    else if (app != NULL)
        show_deploys(cli, value);
    else
        show_apps(cli, json_object_get(value, "apps"));
    json_decref(value);
}

/* --- rollback --- */

static void show_rollback(struct isola__cli *cli, json_t *result, bool promoted, uint64_t ms)
{
    struct isola_buf out = {0};
    bool unchanged = json_is_true(json_object_get(result, "unchanged"));
    if (cli->options.json) {
        json_object_set_new(result, "ms", json_integer((json_int_t)ms));
        isola__out_json(cli, result, false);
        return;
    }
    isola__text_clean(&out, text_of(result, "app"));
    isola_buf_puts(&out, unchanged  ? " is at release "
                         : promoted ? " is at release "
                                    : " is back at release ");
    isola__text_clean(&out, text_of(result, "release"));
    if (unchanged) {
        isola_buf_puts(&out, " already");
    } else {
        isola_buf_puts(&out, "; it was at ");
        isola__text_clean(&out, text_of(result, "before"));
    }
    isola_buf_printf(&out, " (%" PRIu64 " ms)\n", ms);
    isola__deploy_nodes(result, &out);
    isola__rollout_line(result, &out);
    isola__out(cli, &out);
}

/* `method`: rollback or promote. */
static void change(struct isola__cli *cli, const char *method)
{
    struct isola_release note = {0};
    struct isola_buf params = {0};
    struct isola_err err;
    uint64_t start = isola_clock_ms();
    const char *release = cli->options.noperands > 1 ? cli->options.operands[1] : NULL;
    if (!isola__check_app(cli, cli->options.operands[0]))
        return;
    if (isola__deploy_note(cli, &note, &err) != 0) {
        isola__fail(cli, &err);
        return;
    }
    isola_mp_map(&params, 1 + ISOLA_RELEASE_NOTE_PAIRS + (release != NULL));
    isola_mp_kstr(&params, "app", cli->options.operands[0]);
    if (release != NULL)
        isola_mp_kstr(&params, "release", release);
    isola_release_put_note(&note, &params);
    free(note.by);
    free(note.message);
    json_t *result = isola__call(cli, method, &params, ROLLBACK_MS, NULL);
    uint64_t took = isola_clock_ms() - start;
    if (result != NULL && (!cli->options.wait || isola__rollout_wait(cli, result, start, NULL)))
        show_rollback(cli, result, strcmp(method, "promote") == 0, took);
    json_decref(result);
}

void isola__run_rollback(struct isola__cli *cli)
{
    change(cli, "rollback");
}

void isola__run_promote(struct isola__cli *cli)
{
    change(cli, "promote");
}
