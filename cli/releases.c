/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl releases: which release of an app was current when; ctl rollback: an earlier one is again;
 * ctl diff: what two of them have different.
 */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/msgpack.h"
#include "cli/call.h"
#include "cli/commands.h"
#include "cli/deploy.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/when.h"

#define ROLLBACK_MS 120000u
#define RELEASE_MS  60000u

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
    if (result != NULL)
        show_rollback(cli, result, isola_clock_ms() - start);
    json_decref(result);
}

/* --- diff --- */

/* What is in a release (the current one: `id` NULL); NULL: it has been said why not. */
static json_t *get(struct isola__cli *cli, const char *app, const char *id)
{
    struct isola_buf params = {0};
    isola_mp_map(&params, 1 + (id != NULL));
    isola_mp_kstr(&params, "app", app);
    if (id != NULL)
        isola_mp_kstr(&params, "release", id);
    return isola__call(cli, "release", &params, RELEASE_MS, "bundles");
}

/* The id of the release that a roll-back would go to; NULL: it has been said that there is none. */
static char *before(struct isola__cli *cli, const char *app)
{
    struct isola_buf params = {0};
    struct isola_err err;
    char *id = NULL;
    isola_mp_map(&params, 1);
    isola_mp_kstr(&params, "app", app);
    json_t *value = isola__call(cli, "releases", &params, ISOLA__STATUS_MS, "deploys");
    if (value == NULL)
        return NULL;
    struct isola_slice back = text_of(value, "back");
    if (back.len > 0) {
        id = isola_strndup((const char *)back.data, back.len);
    } else {
        isola_fail(&err, ISOLA_ENOENT,
                   "app \"%s\" has nothing to be compared with: no other release was current "
                   "before this one, or none that is kept",
                   app);
        isola__fail(cli, &err);
    }
    json_decref(value);
    return id;
}

static const json_t *bundle_of(const json_t *release, struct isola_slice type)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(release, "bundles"), i, row)
    {
        if (isola_slice_eq(text_of(row, "type"), type))
            return row;
    }
    return NULL;
}

static void add_change(json_t *list, const char *key, const json_t *a, const json_t *b)
{
    json_t *row = json_pack("{s:s}", "key", key);
    if (a != NULL)
        json_object_set(row, "before", (json_t *)(uintptr_t)a);
    if (b != NULL)
        json_object_set(row, "after", (json_t *)(uintptr_t)b);
    json_array_append_new(list, row);
}

/* Appends where two values differ, by the path of keys to it. A type that is only in one of them is
 * not looked into. */
static void compare(const char *path, json_t *a, json_t *b, json_t *list)
{
    const char *key;
    json_t *value;
    bool types = strcmp(path, "actors") == 0;
    if (!json_is_object(a) || !json_is_object(b)) {
        if (!json_equal(a, b))
            add_change(list, path, a, b);
        return;
    }
    json_object_foreach(a, key, value)
    {
        json_t *other = json_object_get(b, key);
        char *below = isola_format("%s%s%s", path, *path != '\0' ? "." : "", key);
        if (other != NULL)
            compare(below, value, other, list);
        else if (!types)
            add_change(list, below, value, NULL);
        free(below);
    }
    json_object_foreach(b, key, value)
    {
        char *below = isola_format("%s%s%s", path, *path != '\0' ? "." : "", key);
        if (json_object_get(a, key) == NULL && !types)
            add_change(list, below, NULL, value);
        free(below);
    }
}

static json_t *manifest_of(const json_t *release)
{
    struct isola_slice text = text_of(release, "manifest");
    json_t *m = json_loadb((const char *)text.data, text.len, 0, NULL);
    return m != NULL ? m : json_object();
}

/* {app, from, to, added: [type], removed: [type], changed: [{type, before, after}], manifest:
 * [{key, before, after}]}; before and after of a type: bytes of its bundle. */
static json_t *difference(const json_t *a, const json_t *b)
{
    json_t *added = json_array(), *removed = json_array(), *changed = json_array();
    json_t *manifest = json_array(), *ma = manifest_of(a), *mb = manifest_of(b);
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(b, "bundles"), i, row)
    {
        const json_t *old = bundle_of(a, text_of(row, "type"));
        if (old == NULL)
            json_array_append(added, json_object_get(row, "type"));
        else if (!isola_slice_eq(text_of(old, "hash"), text_of(row, "hash")))
            json_array_append_new(changed,
                                  json_pack("{s:O, s:I, s:I}", "type", json_object_get(row, "type"),
                                            "before", (json_int_t)number_of(old, "bytes"), "after",
                                            (json_int_t)number_of(row, "bytes")));
    }
    json_array_foreach(json_object_get(a, "bundles"), i, row)
    {
        if (bundle_of(b, text_of(row, "type")) == NULL)
            json_array_append(removed, json_object_get(row, "type"));
    }
    compare("", ma, mb, manifest);
    json_decref(ma);
    json_decref(mb);
    return json_pack("{s:O, s:O, s:O, s:o, s:o, s:o, s:o}", "app", json_object_get(b, "app"),
                     "from", json_object_get(a, "release"), "to", json_object_get(b, "release"),
                     "added", added, "removed", removed, "changed", changed, "manifest", manifest);
}

static void put_value(struct isola_buf *out, const json_t *value)
{
    struct isola_buf text = {0};
    if (value == NULL)
        isola_buf_puts(&text, "nothing");
    else
        isola__json_print(value, false, &text);
    isola__text_clean(out, isola_buf_slice(&text));
    isola_buf_free(&text);
}

static void list_types(struct isola_buf *out, const char *what, const json_t *types)
{
    size_t i;
    const json_t *type;
    json_array_foreach(types, i, type)
    {
        isola_buf_printf(out, "  %s type ", what);
        isola__text_clean(out, isola__text_of(type));
        isola_buf_puts(out, "\n");
    }
}

static void show_difference(struct isola__cli *cli, const json_t *diff)
{
    struct isola_buf out = {0};
    char size[ISOLA__HUMAN_SIZE];
    size_t i;
    const json_t *row;
    isola__text_clean(&out, text_of(diff, "app"));
    isola_buf_puts(&out, " from release ");
    isola__text_clean(&out, text_of(diff, "from"));
    isola_buf_puts(&out, " to ");
    isola__text_clean(&out, text_of(diff, "to"));
    isola_buf_puts(&out, "\n");
    size_t at = out.len;
    list_types(&out, "+", json_object_get(diff, "added"));
    list_types(&out, "-", json_object_get(diff, "removed"));
    json_array_foreach(json_object_get(diff, "changed"), i, row)
    {
        isola_buf_puts(&out, "  ~ type ");
        isola__text_clean(&out, text_of(row, "type"));
        isola__human_bytes(number_of(row, "before"), size);
        isola_buf_printf(&out, ": its bundle, %s", size);
        isola__human_bytes(number_of(row, "after"), size);
        isola_buf_printf(&out, " before, %s after\n", size);
    }
    json_array_foreach(json_object_get(diff, "manifest"), i, row)
    {
        isola_buf_puts(&out, "  ~ manifest ");
        isola__text_clean(&out, text_of(row, "key"));
        isola_buf_puts(&out, ": ");
        put_value(&out, json_object_get(row, "before"));
        isola_buf_puts(&out, " before, ");
        put_value(&out, json_object_get(row, "after"));
        isola_buf_puts(&out, " after\n");
    }
    if (out.len == at)
        isola_buf_puts(&out, "  nothing is different\n");
    isola__out(cli, &out);
}

void isola__run_diff(struct isola__cli *cli)
{
    char **operands = cli->options.operands;
    size_t n = cli->options.noperands;
    if (!isola__check_app(cli, operands[0]))
        return;
    char *from = n > 1 ? isola_strdup(operands[1]) : before(cli, operands[0]);
    json_t *a = from != NULL ? get(cli, operands[0], from) : NULL;
    json_t *b = a != NULL ? get(cli, operands[0], n > 2 ? operands[2] : NULL) : NULL;
    if (b != NULL) {
        json_t *diff = difference(a, b);
        if (cli->options.json)
            isola__out_json(cli, diff, false);
        else
            show_difference(cli, diff);
        json_decref(diff);
    }
    json_decref(a);
    json_decref(b);
    free(from);
}
