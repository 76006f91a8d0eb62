/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl releases: which release of an app was current when; ctl rollback: an earlier one is again.
 */
#include <inttypes.h>
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

/* "deploy"; "roll-back". */
static const char *how(const json_t *row)
{
    return number_of(row, "restores") != 0 ? "roll-back" : "deploy";
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
    struct isola_slice back = text_of(value, "back");
    isola__table_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
    json_array_foreach(json_object_get(value, "deploys"), i, row)
    {
        add(&t, text_of(row, "release"));
        isola__table_add(&t, isola_slice_str(i == 0 ? "current" : ""), ISOLA__GOOD);
        add_when(cli, &t, row);
        add(&t, isola_slice_str(how(row)));
        add(&t, text_of(row, "by"));
        add(&t, text_of(row, "message"));
    }
    isola__table_print(&t, cli->width, cli->colour, &out);
    isola__table_free(&t);
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

static void show_rollback(struct isola__cli *cli, json_t *result, uint64_t ms)
{
    struct isola_buf out = {0};
    bool unchanged = json_is_true(json_object_get(result, "unchanged"));
    if (cli->options.json) {
        json_object_set_new(result, "ms", json_integer((json_int_t)ms));
        isola__out_json(cli, result, false);
        return;
    }
    isola__text_clean(&out, text_of(result, "app"));
    isola_buf_puts(&out, unchanged ? " is at release " : " is back at release ");
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

void isola__run_rollback(struct isola__cli *cli)
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
    json_t *result = isola__call(cli, "rollback", &params, ROLLBACK_MS, NULL);
    uint64_t took = isola_clock_ms() - start;
    if (result != NULL && (!cli->options.wait || isola__rollout_wait(cli, result, start, NULL)))
        show_rollback(cli, result, took);
    json_decref(result);
}
